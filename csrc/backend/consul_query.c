/* consul_query.c: blocking queries: questions that an agent keeps until there is something new.
 *
 * Such a query names the index of the state it has seen. It is answered early for other reasons, too, and at its end in
 * any case; and when the index falls (a restored snapshot, or the collection of old deletions) it begins again from
 * nothing. So what counts is what an answer shows, not that it came.
 *
 * The agent keeps a query that its client has given up, and counts its connection, until the time is over. So a query
 * nobody needs any more is left to end by itself, and there are few: beyond a handful, one query over everything that
 * begins alike carries all watches, at the price of hearing of every change there.
 */
#include "consul_watch.h"

#include "../base/error.h"
#include "consul_error.h"

#include <inttypes.h>
#include <string.h>

#define WAIT_S 10                /* how long the agent may keep a query, and the connection of one that was given up */
#define SLACK_NS (2 * DS_SECOND) /* it adds up to a sixteenth of that, and there is the way */
#define SINGLES_MAX 4            /* queries of one watch each */
#define PACE_NS (10 * DS_MS)     /* between two queries of one kind */
#define PACE_PER_BYTE INT64_C(200)
#define REPLY_MAX ((size_t)32 * 1024 * 1024)

static void ask(ds_consul_query *query);

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void fail(ds_consul_query *query, ds_class outcome, const char *message) {
    dsync_error copy;
    ds_error_set(&copy, DSYNC_UNAVAILABLE, "%s", message);
    ds_consul_watch_failed(query, outcome, copy.message);
}

static void ail(ds_consul_query *query) {
    ds_endpoints_bad(&query->consul->endpoints, query->endpoint, ds_now(query->consul->base.world));
}

static void judge_refusal(ds_consul_query *query, const ds_http_result *http) {
    const char *text = http->body != NULL ? http->body : "";
    ds_consul_verdict verdict = ds_consul_judge(http->status, text, query->consul->known);
    dsync_error error;
    ds_consul_explain(&error, query->endpoint, http->status, text, http->body_size, verdict.advice);
    if (verdict.server_ailing) {
        ail(query);
    }
    fail(query, verdict.outcome == DS_REFUSED ? DS_REFUSED : DS_NOT_EXECUTED, error.message);
}

/* The next one is asked when its answer may be worth it: large ones less often. */
static void ask_again(ds_consul_query *query, size_t size) {
    ds_world *world = query->consul->base.world;
    int64_t now = ds_now(world);
    query->pace_ns = PACE_NS + (query->wide || query->tree ? (int64_t)size * PACE_PER_BYTE : 0);
    int64_t at = query->asked_ns + query->pace_ns;
    ds_timer_set(world, &query->timer, at > now ? at : now);
}

static void judge_answer(ds_consul_query *query, const ds_http_result *http, int64_t index) {
    ds_endpoints_good(&query->consul->endpoints, query->endpoint);
    if (ds_list_empty(&query->watches)) {
        ds_consul_query_free(query);
        return;
    }
    ask_again(query, http->body_size);
    int64_t before = query->index;
    query->index = index < before ? 0 : index;
    ds_consul_watch_answered(query, http, index);
}

static void on_done(ds_http_sink *sink, const ds_http_result *http) {
    ds_consul_query *query = DS_CONTAINER_OF(sink, ds_consul_query, sink);
    int64_t index = 0;
    query->http = NULL;
    if (http->fate != DS_HTTP_ANSWERED) {
        dsync_error error;
        ail(query);
        ds_error_set(&error, DSYNC_UNAVAILABLE, "Consul at %s: %s", query->endpoint->origin, http->message);
        fail(query, DS_NOT_EXECUTED, error.message);
        return;
    }
    const char *leader = http->header_values[0], *text = http->header_values[1];
    bool read = text != NULL && ds_parse_int64(text, strlen(text), &index) && index > 0;
    bool found = http->status == 200 || http->status == 404;
    if (!found || !read) {
        judge_refusal(query, http);
    } else if (leader != NULL && strcmp(leader, "false") == 0) {
        ail(query);
        fail(query, DS_NOT_EXECUTED, "the agent knows no leader of its cluster");
    } else {
        judge_answer(query, http, index);
    }
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void write_url(ds_consul_query *query) {
    ds_buf_clear(&query->url);
    ds_buf_add_text(&query->url, "/v1/kv/");
    ds_consul_add_escaped(&query->url, query->target, true);
    ds_consul_add_query(query->consul, &query->url, query->global);
    ds_buf_add_text(&query->url, query->wide || query->tree ? "&keys=" : "");
    if (query->index > 0) {
        ds_buf_add_format(&query->url, "&index=%" PRId64 "&wait=%ds", query->index, WAIT_S);
    }
}

static void ask(ds_consul_query *query) {
    ds_consul *consul = query->consul;
    ds_world *world = consul->base.world;
    dsync_error error;
    write_url(query);
    if (!ds_consul_auth_ready(consul, &error) || query->url.failed) {
        fail(query, DS_NOT_EXECUTED, query->url.failed ? "out of memory" : error.message);
        return;
    }
    query->asked_ns = ds_now(world);
    query->asked++;
    query->endpoint = ds_endpoints_pick(&consul->endpoints, query->asked_ns);
    ds_http_request request = {
        .endpoint = query->endpoint,
        .method = "GET",
        .target = query->url.data,
        .want_headers = {"X-Consul-KnownLeader", "X-Consul-Index", NULL},
        .reply_max = REPLY_MAX,
        .timeout_ns = WAIT_S * DS_SECOND + WAIT_S * DS_SECOND / 16 + SLACK_NS,
        .urgent = true, /* it takes long and must not keep others off the wire */
    };
    ds_consul_headers(consul, &request);
    query->http = world->ops->http_start(world, &request, &query->sink);
    if (query->http == NULL) {
        fail(query, DS_NOT_EXECUTED, "out of memory");
    }
}

static void on_timer(ds_timer *timer) {
    ds_consul_query *query = DS_CONTAINER_OF(timer, ds_consul_query, timer);
    if (ds_list_empty(&query->watches)) {
        ds_consul_query_free(query);
    } else {
        ask(query);
    }
}

/* ---- life of a query --------------------------------------------------------------------------------------------- */

void ds_consul_query_free(ds_consul_query *query) {
    ds_world *world = query->consul->base.world;
    ds_timer_stop(world, &query->timer);
    if (query->http != NULL) {
        world->ops->http_cancel(world, query->http);
    }
    ds_list_remove(&query->node);
    ds_consul_answer_free(&query->answer);
    ds_buf_free(&query->url);
    ds_free(query->target);
    ds_free(query);
}

static ds_consul_query *new_query(ds_consul *consul, const char *target, size_t size, int64_t index) {
    ds_consul_query *query = ds_calloc(1, sizeof(*query));
    char *copy = ds_strndup(target, size);
    if (query == NULL || copy == NULL) {
        ds_free(query);
        ds_free(copy);
        return NULL;
    }
    query->consul = consul;
    query->target = copy;
    query->index = index;
    query->sink.on_done = on_done;
    query->timer.fire = on_timer;
    ds_list_init(&query->watches);
    ds_list_init(&query->node);
    ds_list_append(&consul->queries, &query->node);
    ds_timer_set(consul->base.world, &query->timer, ds_now(consul->base.world));
    return query;
}

/* ---- who carries a watch ----------------------------------------------------------------------------------------- */

static void join(ds_consul_query *query, ds_consul_watching *watching) {
    watching->query = query;
    watching->joined = query->http != NULL ? query->asked : 0;
    query->global = watching->global;
    ds_list_append(&query->watches, &watching->node);
}

static ds_consul_query *query_at(ds_list *node) {
    return DS_LIST_ENTRY(node, ds_consul_query, node);
}

/* One that somebody has left behind and that asks just this. */
static ds_consul_query *find_left(ds_consul *consul, const ds_consul_watching *watching) {
    for (ds_list *node = consul->queries.next; node != &consul->queries; node = node->next) {
        ds_consul_query *query = query_at(node);
        bool single = !query->wide && !query->tree && query->global == watching->global;
        if (single && ds_list_empty(&query->watches) && query->index > 0 && query->index <= watching->seen &&
            strcmp(query->target, watching->target) == 0) {
            return query;
        }
    }
    return NULL;
}

static size_t count_singles(const ds_consul *consul) {
    size_t count = 0;
    for (ds_list *node = consul->queries.next; node != &consul->queries; node = node->next) {
        count += !query_at(node)->wide && !query_at(node)->tree;
    }
    return count;
}

/* How far both are the same, up to the end of a segment. */
static size_t common_room(const char *left, const char *right, size_t right_size) {
    size_t same = 0, segment = 0;
    while (same < right_size && left[same] != '\0' && left[same] == right[same]) {
        same++;
        segment = left[same - 1] == '/' ? same : segment;
    }
    return left[same] == '\0' ? same : segment;
}

static ds_consul_query *find_wide(ds_consul *consul, const ds_consul_watching *watching, size_t room) {
    for (ds_list *node = consul->queries.next; node != &consul->queries; node = node->next) {
        ds_consul_query *query = query_at(node);
        size_t common =
            query->wide && query->global == watching->global ? common_room(query->target, watching->target, room) : 0;
        if (common == 0) {
            continue;
        }
        if (query->target[common] != '\0') {
            /* Shorter from the next time it is asked, which is soon: those that are new must not wait. */
            query->target[common] = '\0';
            query->index = 0;
            if (query->http != NULL) {
                consul->base.world->ops->http_cancel(consul->base.world, query->http);
                query->http = NULL;
            }
            ds_timer_set(consul->base.world, &query->timer, ds_now(consul->base.world));
        }
        return query;
    }
    return NULL;
}

static bool join_wide(ds_consul_watching *watching) {
    ds_consul *consul = watching->consul;
    size_t room = ds_consul_room(consul, watching->target);
    ds_consul_query *query = find_wide(consul, watching, room);
    if (query == NULL) {
        query = new_query(consul, watching->target, room, 0);
    }
    if (query == NULL) {
        return false;
    }
    query->wide = true;
    if (watching->seen < query->index) {
        /* It knows less than the query has shown: an answer from nothing tells. */
        query->index = 0;
        if (query->http != NULL) {
            consul->base.world->ops->http_cancel(consul->base.world, query->http);
            query->http = NULL;
        }
        int64_t now = ds_now(consul->base.world), at = query->asked_ns + query->pace_ns;
        ds_timer_set(consul->base.world, &query->timer, at > now ? at : now);
    }
    join(query, watching);
    return true;
}

bool ds_consul_query_join(ds_consul_watching *watching) {
    ds_consul *consul = watching->consul;
    bool tree = watching->kind == DS_CONSUL_WATCH_TREE;
    ds_consul_query *query = tree ? NULL : find_left(consul, watching);
    if (query == NULL && !tree && count_singles(consul) >= SINGLES_MAX) {
        return join_wide(watching);
    }
    if (query == NULL) {
        query = new_query(consul, watching->target, strlen(watching->target), watching->seen);
    }
    if (query == NULL) {
        return false;
    }
    query->tree = tree;
    join(query, watching);
    return true;
}
