/* consul_watch.c: watches, by blocking queries: a question that the agent answers when there is something new.
 *
 * Such a query names the index of the state it has seen. It is answered early for other reasons, too, and at its end in any
 * case; and when the index falls (a restored snapshot, or the collection of old deletions) it begins again from nothing.
 * So what counts is what the answer shows, not that it came.
 */
#include "consul.h"

#include "../base/error.h"
#include "consul_error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WAIT_S 15                /* how long the agent may keep a query: an answer that got lost is missed so long */
#define SLACK_NS (2 * DS_SECOND) /* and it adds up to a sixteenth of that, and the way */
#define PACE_NS (10 * DS_MS)     /* between two queries of one watch */
#define REASON_NS (250 * DS_MS)  /* what asking for the reason of a removal may take */
#define REPLY_MAX ((size_t)16 * 1024 * 1024)

typedef enum kind {
    WATCH_KEY,  /* that it is there */
    WATCH_LOCK, /* that the same session has it */
    WATCH_TREE, /* that nothing changes */
} kind;

typedef struct watching {
    ds_list node;
    ds_consul *consul;
    ds_watch *owner; /* NULL: given up */
    kind kind;
    bool own; /* our entry: when it holds, the lock is what is watched */
    bool global;
    char *key;        /* as named by the owner */
    char *target;     /* what is watched now, when it is not `key` */
    char session[72]; /* WATCH_LOCK: whose it was, "" = not yet known */
    int64_t index;
    int64_t asked_ns;
    bool ready;
    ds_buf url;
    ds_http_sink sink;
    ds_http *http;
    ds_endpoint *endpoint;
    ds_timer timer;
    ds_task task;
    ds_call reason;
    ds_consul_answer answer;
} watching;

static void ask(watching *w);

/* ---- ends -------------------------------------------------------------------------------------------------------- */

static void stop(watching *w) {
    ds_world *world = w->consul->base.world;
    ds_list_remove(&w->task.node);
    ds_timer_stop(world, &w->timer);
    ds_consul_cancel(&w->consul->base, &w->reason);
    if (w->http != NULL) {
        world->ops->http_cancel(world, w->http);
        w->http = NULL;
    }
}

static void dispose(watching *w) {
    stop(w);
    ds_list_remove(&w->node);
    ds_consul_answer_free(&w->answer);
    ds_buf_free(&w->url);
    ds_free(w->target);
    ds_free(w->key);
    ds_free(w);
}

void ds_consul_free_watches(ds_consul *consul) {
    while (!ds_list_empty(&consul->watches)) {
        watching *w = DS_LIST_ENTRY(consul->watches.next, watching, node);
        if (w->owner != NULL) {
            w->owner->impl = NULL;
        }
        dispose(w);
    }
}

void ds_consul_unwatch(ds_backend *backend, ds_watch *watch) {
    (void)backend;
    watching *w = watch->impl;
    if (w != NULL) {
        watch->impl = NULL;
        dispose(w);
    }
}

static void tell(watching *w, ds_watch_event *event) {
    event->key = w->key;
    w->owner->on_event(w->owner, event);
}

static void end(watching *w, ds_class outcome, const char *message) {
    ds_watch *owner = w->owner;
    dsync_error copy;
    ds_error_set(&copy, DSYNC_UNAVAILABLE, "%s", message);
    dispose(w);
    owner->impl = NULL;
    ds_watch_event event = {.kind = DS_WATCH_ENDED, .outcome = outcome, .message = copy.message};
    owner->on_event(owner, &event);
}

/* ---- what an answer shows ------------------------------------------------------------------------------------------ */

static void on_reason(ds_call *call, const ds_reply *reply) {
    watching *w = DS_CONTAINER_OF(call, watching, reason);
    ds_watch_event event = {.kind = DS_WATCH_DELETED, .token = 0};
    if (reply->outcome == DS_OK) {
        event.value = reply->value;
        event.value_size = reply->value_size;
    }
    tell(w, &event);
}

/* Nothing more is asked: the owner looks, and watches something else. */
static void gone(watching *w) {
    if (w->own) {
        w->reason.done = on_reason;
        w->reason.timeout_ns = REASON_NS;
        w->reason.urgent = true;
        ds_consul_reason(&w->consul->base, &w->reason, w->key);
        return;
    }
    ds_watch_event event = {.kind = DS_WATCH_DELETED};
    tell(w, &event);
}

static bool watch_lock_instead(watching *w, int64_t index) {
    const ds_consul_place *place = ds_consul_place_find(w->consul, strrchr(w->key, '/') + 1);
    ds_buf native = DS_BUF_EMPTY;
    if (place == NULL) {
        return false;
    }
    ds_consul_key_native(w->consul, &native, place->path);
    if (native.failed) {
        ds_buf_free(&native);
        return false;
    }
    ds_free(w->target);
    w->target = native.data;
    w->kind = WATCH_LOCK;
    w->index = index;
    return true;
}

/* True: it is as it was. */
static bool key_stands(watching *w, const ds_consul_pair *pair) {
    if (pair == NULL) {
        return false;
    }
    if (w->kind == WATCH_KEY) {
        if (w->own && pair->flags == DS_CONSUL_HOLDS) {
            snprintf(w->session, sizeof(w->session), "%s", pair->session);
            (void)watch_lock_instead(w, pair->modified);
        }
        return true;
    }
    if (w->session[0] == '\0') {
        snprintf(w->session, sizeof(w->session), "%s", pair->session);
    }
    return w->session[0] != '\0' && strcmp(w->session, pair->session) == 0;
}

static void again(watching *w) {
    int64_t now = ds_now(w->consul->base.world);
    int64_t at = w->asked_ns + PACE_NS;
    ds_timer_set(w->consul->base.world, &w->timer, at > now ? at : now);
}

static void judge_shown(watching *w, const ds_http_result *http, int64_t index) {
    bool news = index != w->index;
    w->index = index < w->index ? 0 : index;
    if (w->kind == WATCH_TREE) {
        ds_watch_event event = {.kind = w->ready ? DS_WATCH_CHANGED : DS_WATCH_READY, .revision = index};
        bool tells = news || !w->ready;
        w->ready = true;
        again(w);
        if (tells) {
            tell(w, &event);
        }
        return;
    }
    ds_consul_decoded decoded = DS_CONSUL_DECODED;
    if (http->status == 200) {
        decoded = ds_consul_decode_pairs(&w->answer, http->body != NULL ? http->body : "", http->body_size);
    } else {
        ds_consul_answer_clear(&w->answer);
    }
    if (decoded != DS_CONSUL_DECODED) {
        end(w, DS_NOT_EXECUTED, "the answer to a watch cannot be read");
        return;
    }
    if (!key_stands(w, w->answer.count > 0 ? &w->answer.pairs[0] : NULL)) {
        gone(w);
        return;
    }
    again(w);
    if (!w->ready) {
        w->ready = true;
        ds_watch_event event = {.kind = DS_WATCH_READY, .revision = index};
        tell(w, &event);
    }
}

static void judge_refusal(watching *w, const ds_http_result *http) {
    ds_consul *consul = w->consul;
    const char *text = http->body != NULL ? http->body : "";
    ds_consul_verdict verdict = ds_consul_judge(http->status, text, consul->known);
    dsync_error error;
    ds_consul_explain(&error, w->endpoint, http->status, text, http->body_size, verdict.advice);
    if (verdict.server_ailing) {
        ds_endpoints_bad(&consul->endpoints, w->endpoint, ds_now(consul->base.world));
    }
    end(w, verdict.outcome == DS_REFUSED ? DS_REFUSED : DS_NOT_EXECUTED, error.message);
}

static void on_done(ds_http_sink *sink, const ds_http_result *http) {
    watching *w = DS_CONTAINER_OF(sink, watching, sink);
    ds_consul *consul = w->consul;
    int64_t index = 0;
    w->http = NULL;
    if (http->fate != DS_HTTP_ANSWERED) {
        ds_endpoints_bad(&consul->endpoints, w->endpoint, ds_now(consul->base.world));
        end(w, DS_NOT_EXECUTED, http->message);
        return;
    }
    const char *leader = http->header_values[0], *text = http->header_values[1];
    bool read = text != NULL && ds_parse_int64(text, strlen(text), &index) && index > 0;
    bool found = http->status == 200 || http->status == 404;
    if (!found || !read) {
        judge_refusal(w, http);
    } else if (leader != NULL && strcmp(leader, "false") == 0) {
        ds_endpoints_bad(&consul->endpoints, w->endpoint, ds_now(consul->base.world));
        end(w, DS_NOT_EXECUTED, "the agent knows no leader of its cluster");
    } else {
        ds_endpoints_good(&consul->endpoints, w->endpoint);
        judge_shown(w, http, index);
    }
}

/* ---- asking -------------------------------------------------------------------------------------------------------- */

static void write_url(watching *w) {
    ds_buf_clear(&w->url);
    ds_buf_add_text(&w->url, "/v1/kv/");
    ds_consul_add_escaped(&w->url, w->target != NULL ? w->target : ds_consul_bare(w->key), true);
    if (w->kind == WATCH_TREE) {
        ds_buf_add_char(&w->url, '/');
    }
    ds_consul_add_query(w->consul, &w->url, w->global);
    ds_buf_add_text(&w->url, w->kind == WATCH_TREE ? "&keys=" : "");
    if (w->index > 0) {
        ds_buf_add_format(&w->url, "&index=%" PRId64 "&wait=%ds", w->index, WAIT_S);
    }
}

static void ask(watching *w) {
    ds_consul *consul = w->consul;
    ds_world *world = consul->base.world;
    dsync_error error;
    write_url(w);
    if (!ds_consul_auth_ready(consul, &error) || w->url.failed) {
        end(w, DS_NOT_EXECUTED, w->url.failed ? "out of memory" : error.message);
        return;
    }
    w->asked_ns = ds_now(world);
    w->endpoint = ds_endpoints_pick(&consul->endpoints, w->asked_ns);
    ds_http_request request = {
        .endpoint = w->endpoint,
        .method = "GET",
        .target = w->url.data,
        .want_headers = {"X-Consul-KnownLeader", "X-Consul-Index", NULL},
        .reply_max = REPLY_MAX,
        .timeout_ns = (WAIT_S + WAIT_S / 16) * DS_SECOND + SLACK_NS,
        .urgent = true, /* it takes long and must not keep others off the wire */
    };
    ds_consul_headers(consul, &request);
    w->http = world->ops->http_start(world, &request, &w->sink);
    if (w->http == NULL) {
        end(w, DS_NOT_EXECUTED, "out of memory");
    }
}

static void on_timer(ds_timer *timer) {
    ask(DS_CONTAINER_OF(timer, watching, timer));
}

/* A state that is known has been seen by the owner, too. */
static void on_start(ds_task *task) {
    watching *w = DS_CONTAINER_OF(task, watching, task);
    ds_timer_set(w->consul->base.world, &w->timer, ds_now(w->consul->base.world));
    if (w->index > 0) {
        w->ready = true;
        ds_watch_event event = {.kind = DS_WATCH_READY, .revision = w->index};
        tell(w, &event);
    }
}

static bool is_entry(const char *key) {
    const char *slash = strrchr(key, '/');
    static const char mark[] = "/.queue/";
    size_t upto = slash != NULL ? (size_t)(slash - key) + 1 : 0, size = sizeof(mark) - 1;
    return upto > size && strncmp(key + upto - size, mark, size) == 0;
}

bool ds_consul_watch(ds_backend *backend, ds_watch *watch, const ds_watch_spec *spec) {
    ds_consul *consul = ds_consul_of(backend);
    watching *w = ds_calloc(1, sizeof(*w));
    char *key = ds_strdup(spec->key);
    if (w == NULL || key == NULL) {
        ds_free(w);
        ds_free(key);
        return false;
    }
    bool entry = is_entry(key);
    w->consul = consul;
    w->owner = watch;
    w->key = key;
    w->own = entry && spec->lease != NULL;
    w->kind = spec->subtree ? WATCH_TREE : entry || spec->lease != NULL ? WATCH_KEY : WATCH_LOCK;
    w->index = spec->since > 0 ? spec->since - 1 : spec->seen;
    w->global = ds_consul_is_global(consul, key);
    w->sink.on_done = on_done;
    w->timer.fire = on_timer;
    w->task.run = on_start;
    ds_list_init(&w->task.node);
    ds_list_init(&w->node);
    ds_list_append(&consul->watches, &w->node);
    watch->impl = w;
    ds_post(backend->world, &w->task);
    return true;
}
