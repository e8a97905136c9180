/* consul_watch.c: watches: what the answers to queries mean for those who watch.
 *
 * Whoever is told of something may end its watch, or any other, or begin new ones.
 */
#include "consul_watch.h"

#include "../base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REASON_NS (250 * DS_MS) /* what asking for the reason of a removal may take */
#define OWN_DELAY_NS (10 * DS_MS)
#define LOOK_NS DS_SECOND /* between two hints to look, where an answer cannot tell */

/* ---- life of a watch --------------------------------------------------------------------------------------------- */

static ds_consul_place *own_place(const ds_consul_watching *w) {
    return w->own ? ds_consul_place_find(w->consul, strrchr(w->key, '/') + 1) : NULL;
}

static void dispose(ds_consul_watching *w) {
    ds_consul_place *place = own_place(w);
    if (place != NULL && place->watch == w) {
        place->watch = NULL;
    }
    ds_timer_stop(w->consul->base.world, &w->timer);
    ds_list_remove(&w->node);
    ds_list_remove(&w->task.node);
    ds_consul_cancel(&w->consul->base, &w->reason);
    ds_free(w->target);
    ds_free(w->key);
    ds_free(w);
}

void ds_consul_unwatch(ds_backend *backend, ds_watch *watch) {
    (void)backend;
    ds_consul_watching *w = watch->impl;
    if (w != NULL) {
        watch->impl = NULL;
        dispose(w);
    }
}

static void forget_all(ds_list *list) {
    while (!ds_list_empty(list)) {
        ds_consul_watching *w = DS_LIST_ENTRY(list->next, ds_consul_watching, node);
        w->owner->impl = NULL;
        dispose(w);
    }
}

void ds_consul_free_watches(ds_consul *consul) {
    forget_all(&consul->beginning);
    while (!ds_list_empty(&consul->queries)) {
        ds_consul_query *query = DS_LIST_ENTRY(consul->queries.next, ds_consul_query, node);
        forget_all(&query->watches);
        ds_consul_query_free(query);
    }
}

void ds_consul_drop_left(ds_consul *consul) {
    bool watched = !ds_list_empty(&consul->beginning);
    for (ds_list *node = consul->queries.next; node != &consul->queries; node = node->next) {
        watched = watched || !ds_list_empty(&DS_LIST_ENTRY(node, ds_consul_query, node)->watches);
    }
    while (!watched && !ds_list_empty(&consul->queries)) {
        ds_consul_query_free(DS_LIST_ENTRY(consul->queries.next, ds_consul_query, node));
    }
}

static void tell(ds_consul_watching *w, ds_watch_event *event) {
    event->key = w->key;
    w->owner->on_event(w->owner, event);
}

static void end(ds_consul_watching *w, ds_class outcome, const char *message) {
    ds_watch *owner = w->owner;
    dispose(w);
    owner->impl = NULL;
    ds_watch_event event = {.kind = DS_WATCH_ENDED, .outcome = outcome, .message = message};
    owner->on_event(owner, &event);
}

void ds_consul_watch_failed(ds_consul_query *query, ds_class outcome, const char *message) {
    ds_list all;
    ds_list_init(&all);
    ds_list_splice(&all, &query->watches);
    ds_consul_query_free(query);
    while (!ds_list_empty(&all)) {
        end(DS_LIST_ENTRY(all.next, ds_consul_watching, node), outcome, message);
    }
}

/* ---- gone -------------------------------------------------------------------------------------------------------- */

static void on_reason(ds_call *call, const ds_reply *reply) {
    ds_consul_watching *w = DS_CONTAINER_OF(call, ds_consul_watching, reason);
    ds_watch_event event = {.kind = DS_WATCH_DELETED};
    if (reply->outcome == DS_OK) {
        event.value = reply->value;
        event.value_size = reply->value_size;
    }
    tell(w, &event);
}

/* Nothing more is asked for this one: its owner looks, and watches something else. */
static void gone(ds_consul_watching *w) {
    if (w->kind == DS_CONSUL_WATCH_LOCK && !w->own) {
        /* Somebody else's key stays the same from holder to holder: the watch goes on. */
        ds_watch_event event = {.kind = DS_WATCH_DELETED};
        w->session[0] = '\0';
        tell(w, &event);
        return;
    }
    ds_list_remove(&w->node);
    ds_list_append(&w->consul->beginning, &w->node);
    w->query = NULL;
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

static void tell_ready(ds_consul_watching *w, int64_t revision) {
    ds_watch_event event = {.kind = DS_WATCH_READY, .revision = revision};
    w->ready = true;
    tell(w, &event);
}

/* The answer to a question from before the watch began, and older than what its owner knew then, says nothing. */
static bool is_outdated(const ds_consul_query *query, const ds_consul_watching *w, int64_t index) {
    return query->asked <= w->joined && index < w->seen;
}

/* ---- the answer about one key ------------------------------------------------------------------------------------ */

/* Is it as it was? */
static bool stands(ds_consul_watching *w, const ds_consul_pair *pair) {
    if (pair == NULL || w->kind == DS_CONSUL_WATCH_KEY) {
        return pair != NULL;
    }
    const ds_consul_place *place = own_place(w);
    if (place != NULL && ds_consul_place_lost(place, pair)) {
        return false;
    }
    if (w->session[0] == '\0') {
        snprintf(w->session, sizeof(w->session), "%s", pair->session);
    }
    return w->session[0] != '\0' && strcmp(w->session, pair->session) == 0;
}

static void answered_single(ds_consul_query *query, const ds_http_result *http, int64_t index) {
    ds_consul_watching *w = DS_LIST_ENTRY(query->watches.next, ds_consul_watching, node);
    const ds_consul_pair *pair = NULL;
    if (is_outdated(query, w, index)) {
        return;
    }
    if (http->status == 200) {
        const char *body = http->body != NULL ? http->body : "";
        if (ds_consul_decode_pairs(&query->answer, body, http->body_size) != DS_CONSUL_DECODED) {
            ds_consul_watch_failed(query, DS_NOT_EXECUTED, "the answer to a watch cannot be read");
            return;
        }
        pair = query->answer.count > 0 ? &query->answer.pairs[0] : NULL;
    }
    if (!stands(w, pair)) {
        gone(w);
    } else if (!w->ready) {
        tell_ready(w, index);
    }
}

static void answered_tree(ds_consul_query *query, int64_t index) {
    ds_consul_watching *w = DS_LIST_ENTRY(query->watches.next, ds_consul_watching, node);
    if (!w->ready) {
        w->seen = index;
        tell_ready(w, index);
    } else if (index != w->seen) {
        w->seen = index;
        ds_watch_event event = {.kind = DS_WATCH_CHANGED, .revision = index};
        tell(w, &event);
    }
}

/* ---- the answer about everything that begins alike --------------------------------------------------------------- */

/* A key that has to be there, and for whom. */
typedef struct wish {
    const char *key;
    char *made; /* `key`, when it was made for this */
    ds_consul_watching *watching;
} wish;

static int compare_wishes(const void *left, const void *right) {
    return strcmp(((const wish *)left)->key, ((const wish *)right)->key);
}

static size_t count_watches(const ds_consul_query *query) {
    size_t count = 0;
    for (const ds_list *node = query->watches.next; node != &query->watches; node = node->next) {
        count++;
    }
    return count;
}

static void add_wish(wish *wishes, size_t *count, const char *key, char *made, ds_consul_watching *w) {
    w->wanted++;
    wishes[(*count)++] = (wish){key, made, w};
}

/* Every watch wants its key; that of an own entry which held when the answer was given wants the lock, too. */
static size_t make_wishes(ds_consul_query *query, wish *wishes, int64_t index) {
    size_t count = 0;
    for (ds_list *node = query->watches.next; node != &query->watches; node = node->next) {
        ds_consul_watching *w = DS_LIST_ENTRY(node, ds_consul_watching, node);
        w->wanted = w->found = 0;
        if (is_outdated(query, w, index)) {
            continue;
        }
        add_wish(wishes, &count, w->own ? ds_consul_bare(w->key) : w->target, NULL, w);
        const ds_consul_place *place = own_place(w);
        if (place == NULL || place->standing != DS_CONSUL_OWNER || place->since > index) {
            continue;
        }
        ds_buf native = DS_BUF_EMPTY;
        ds_consul_key_native(w->consul, &native, place->path);
        if (native.failed || strncmp(native.data, query->target, strlen(query->target)) != 0) {
            ds_buf_free(&native);
        } else {
            add_wish(wishes, &count, native.data, native.data, w);
        }
    }
    return count;
}

static void fulfil(const wish *wishes, size_t count, const char *key) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(wishes[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < count && strcmp(wishes[low].key, key) == 0; low++) {
        wishes[low].watching->found++;
    }
}

/* Who is to be told goes to `told`, because telling one may end others. */
static void sort_out(ds_consul_query *query, ds_list *told) {
    int64_t now = ds_now(query->consul->base.world);
    for (ds_list *node = query->watches.next, *next; node != &query->watches; node = next) {
        ds_consul_watching *w = DS_LIST_ENTRY(node, ds_consul_watching, node);
        next = node->next;
        /* Only names are listed: whether a lock of somebody else's is still theirs has to be looked at. */
        bool look = w->kind == DS_CONSUL_WATCH_LOCK && !w->own && now - w->looked_ns >= LOOK_NS;
        if (w->found < w->wanted || (!w->ready && w->wanted > 0) || look) {
            ds_list_remove(&w->node);
            ds_list_append(told, &w->node);
        }
    }
}

static void tell_all(ds_consul_query *query, ds_list *told, int64_t index) {
    int64_t now = ds_now(query->consul->base.world);
    while (!ds_list_empty(told)) {
        ds_consul_watching *w = DS_LIST_ENTRY(told->next, ds_consul_watching, node);
        bool missing = w->found < w->wanted;
        ds_list_remove(&w->node);
        ds_list_append(&query->watches, &w->node);
        w->looked_ns = now;
        if (missing) {
            gone(w);
        } else {
            tell_ready(w, index);
        }
    }
}

static void answered_wide(ds_consul_query *query, const ds_http_result *http, int64_t index) {
    const char *body = http->body != NULL && http->status == 200 ? http->body : "[]";
    size_t size = http->body != NULL && http->status == 200 ? http->body_size : 2;
    wish *wishes = ds_calloc(2 * count_watches(query), sizeof(*wishes));
    if (wishes == NULL || ds_consul_decode(&query->answer, body, size) != DS_CONSUL_DECODED) {
        ds_free(wishes);
        ds_consul_watch_failed(query, DS_NOT_EXECUTED, "the answer to a watch cannot be read");
        return;
    }
    size_t count = make_wishes(query, wishes, index);
    qsort(wishes, count, sizeof(*wishes), compare_wishes);
    for (const ds_json *item = ds_json_first(query->answer.json); item != NULL; item = ds_json_next(item)) {
        const char *key = ds_json_value_text(item);
        if (key != NULL) {
            fulfil(wishes, count, key);
        }
    }
    for (size_t i = 0; i < count; i++) {
        ds_free(wishes[i].made);
    }
    ds_free(wishes);
    ds_consul_answer_clear(&query->answer);
    ds_list told;
    ds_list_init(&told);
    sort_out(query, &told);
    tell_all(query, &told, index);
}

void ds_consul_watch_answered(ds_consul_query *query, const ds_http_result *http, int64_t index) {
    if (query->wide) {
        answered_wide(query, http, index);
    } else if (query->tree) {
        answered_tree(query, index);
    } else {
        answered_single(query, http, index);
    }
}

/* ---- beginning --------------------------------------------------------------------------------------------------- */

static void begin(ds_consul_watching *w) {
    ds_list_remove(&w->node);
    if (!ds_consul_query_join(w)) {
        ds_list_append(&w->consul->beginning, &w->node);
        end(w, DS_NOT_EXECUTED, "out of memory");
    } else if (!w->ready && w->seen > 0 && w->query->index > 0 && w->kind != DS_CONSUL_WATCH_TREE) {
        tell_ready(w, w->seen); /* a state that the owner knows needs no answer */
    }
}

/* An entry of our own: what matters is the lock, from the moment it has that. Until then nothing is asked: that it is
 * its turn is heard of whoever is ahead, and the end of its session of the session's key. */
static void begin_own(ds_consul_watching *w) {
    ds_consul_place *place = own_place(w);
    ds_buf native = DS_BUF_EMPTY;
    if (place != NULL) {
        place->watch = w;
    }
    if (place == NULL || place->standing != DS_CONSUL_OWNER) {
        if (!w->ready) {
            tell_ready(w, w->seen);
        }
        return;
    }
    ds_consul_key_native(w->consul, &native, place->path);
    if (native.failed) {
        ds_buf_free(&native);
        end(w, DS_NOT_EXECUTED, "out of memory");
        return;
    }
    ds_free(w->target);
    w->target = native.data;
    w->kind = DS_CONSUL_WATCH_LOCK;
    w->seen = w->ready || w->seen > 0 ? place->since : 0;
    begin(w);
}

static void on_begin(ds_task *task) {
    ds_consul_watching *w = DS_CONTAINER_OF(task, ds_consul_watching, task);
    if (w->own) {
        begin_own(w);
    } else {
        begin(w);
    }
}

static void on_timer(ds_timer *timer) {
    begin_own(DS_CONTAINER_OF(timer, ds_consul_watching, timer));
}

/* A moment later: most locks are given back soon. */
void ds_consul_watch_owner(ds_consul_place *place) {
    ds_consul_watching *w = place->watch;
    if (w != NULL && w->query == NULL && w->reason.impl == NULL && w->timer.index == 0) {
        ds_world *world = w->consul->base.world;
        ds_timer_set(world, &w->timer, ds_now(world) + OWN_DELAY_NS);
    }
}

void ds_consul_watch_robbed(ds_consul_place *place) {
    ds_consul_watching *w = place->watch;
    if (w != NULL && w->query != NULL && w->reason.impl == NULL) {
        gone(w);
    }
}

/* A subtree is everything below the key, anything else the key itself. */
static bool name_target(ds_consul_watching *w, const ds_watch_spec *spec) {
    const char *bare = ds_consul_bare(spec->key);
    ds_buf target = DS_BUF_EMPTY;
    ds_buf_add_text(&target, bare);
    if (spec->subtree) {
        ds_buf_add_char(&target, '/');
    }
    w->target = target.data;
    w->key = ds_strdup(spec->key);
    return !target.failed && w->key != NULL;
}

bool ds_consul_watch(ds_backend *backend, ds_watch *watch, const ds_watch_spec *spec) {
    ds_consul *consul = ds_consul_of(backend);
    ds_consul_watching *w = ds_calloc(1, sizeof(*w));
    if (w == NULL || !name_target(w, spec)) {
        if (w != NULL) {
            ds_free(w->target);
            ds_free(w->key);
        }
        ds_free(w);
        return false;
    }
    bool entry = ds_consul_is_entry(w->key);
    w->consul = consul;
    w->owner = watch;
    w->own = entry && spec->lease != NULL;
    w->kind = spec->subtree                  ? DS_CONSUL_WATCH_TREE
              : entry || spec->lease != NULL ? DS_CONSUL_WATCH_KEY
                                             : DS_CONSUL_WATCH_LOCK;
    if (w->own) {
        snprintf(w->session, sizeof(w->session), "%s", spec->lease->id);
    }
    w->seen = spec->since > 0 ? spec->since - 1 : spec->seen;
    w->global = ds_consul_is_global(consul, w->key);
    w->task.run = on_begin;
    w->timer.fire = on_timer;
    ds_list_init(&w->task.node);
    ds_list_init(&w->node);
    ds_list_append(&consul->beginning, &w->node);
    watch->impl = w;
    ds_post(backend->world, &w->task);
    return true;
}
