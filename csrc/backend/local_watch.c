/* local_watch.c: watches: who looks at what, when they look again, and how they are told.
 *
 * A watch is marked as due by whoever changes something in this process, by the thread that listens to the kernel, or
 * by its client's timer; then the client's own thread looks (local_look.c) and, without the mutex, tells the owner.
 */
#include "local_watch.h"

#include <string.h>

#define OWN_NS (5 * DS_SECOND) /* how often a client looks that only holds */
#define FOREIGN_NS DS_SECOND   /* ... that waits for another process */
#define BLIND_NS (50 * DS_MS)  /* ... one whose death it is not told of */
#define AGAIN_NS (20 * DS_MS)  /* after a look that could not be had */

/* ---- time -------------------------------------------------------------------------------------------------------- */

/* The client's thread only. */
static void arm(ds_local *local) {
    int64_t now = ds_now(local->base.world);
    if (local->watch_count == 0 || now < 0) {
        return;
    }
    int64_t at = now + (local->blind_count > 0 ? BLIND_NS : local->foreign_count > 0 ? FOREIGN_NS : OWN_NS);
    at = local->seen.next_expiry_ns < at ? local->seen.next_expiry_ns : at;
    at = at <= now ? now + AGAIN_NS : at;
    if (local->timer.index == 0 || at < local->timer.at_ns) {
        ds_timer_set(local->base.world, &local->timer, at);
    }
}

/* ---- off --------------------------------------------------------------------------------------------------------- */

static bool observed_by_another(loc_store *store, const loc_watch *watch) {
    for (ds_list *node = store->observing.next; node != &store->observing; node = node->next) {
        if (strcmp(DS_LIST_ENTRY(node, loc_watch, in_store)->key, watch->key) == 0) {
            return true;
        }
    }
    return false;
}

static void stop_observing(loc_store *store, const loc_watch *watch) {
    /* When this cannot be, the row costs others a little until this process ends. */
    if (watch->observing && store->db != NULL && !observed_by_another(store, watch) && loc_begin(store, true)) {
        loc_observe(store, watch->key, false);
        (void)loc_commit(store);
    }
}

static void detach(loc_watch *watch) {
    ds_local *local = watch->local;
    loc_store *store = local->store;
    ds_list_remove(&watch->in_client);
    ds_list_remove(&watch->in_store);
    local->watch_count--;
    store->watch_count--;
    local->foreign_count -= watch->foreign ? 1 : 0;
    store->foreign_count -= watch->foreign ? 1 : 0;
    local->blind_count -= watch->blind ? 1 : 0;
    if (watch->tracked) {
        loc_peer_unwatch(store, watch->client);
    }
    stop_observing(store, watch);
}

static void watch_free(loc_watch *watch) {
    ds_list *node;
    while ((node = ds_list_pop(&watch->news)) != NULL) {
        ds_free(DS_LIST_ENTRY(node, loc_news, node));
    }
    ds_free(watch);
}

static void turn_off(loc_watch *watch) {
    ds_local *local = watch->local;
    watch->owner->impl = NULL;
    loc_lock(local->store, local->base.world);
    detach(watch);
    loc_unlock(local->store);
    watch_free(watch);
}

void loc_watch_stop(ds_backend *backend, ds_watch *owner) {
    (void)backend;
    if (owner->impl != NULL) {
        turn_off(owner->impl);
    }
}

/* ---- on ---------------------------------------------------------------------------------------------------------- */

/* An entry of another process: whoever has the next place is told of its end anyway. */
static bool is_next(loc_store *store, const loc_watch *watch) {
    loc_entry behind;
    char *path = ds_strndup(watch->key, watch->parsed.path_size);
    bool next = path != NULL && loc_entry_at(store, LOC_ENTRY_BEHIND, path, watch->token, &behind) &&
                behind.client == store->client;
    ds_free(path);
    return next;
}

/* What it takes to hear of its changes. */
static void classify(loc_store *store, loc_watch *watch, const loc_found *found) {
    bool is_data = watch->parsed.kind == LOC_KEY_DATA;
    bool others = found->exists && found->client != store->client;
    watch->foreign = watch->subtree || is_data || others;
    watch->observing =
        watch->subtree || is_data || (others && (watch->parsed.kind == LOC_KEY_SESSION || !is_next(store, watch)));
    watch->client = found->client;
}

/* From where on it reports. */
static void set_start(loc_store *store, loc_watch *watch, const loc_found *found) {
    int64_t since = watch->since;
    bool past = since != 0 && since <= store->meta.revision;
    int64_t told = watch->local->told;
    watch->ready = past ? since - 1 : store->meta.revision;
    watch->cursor = store->meta.logged;
    watch->token = found->token;
    watch->modified = past ? since - 1 : found->modified;
    watch->there = found->exists || (past && watch->parsed.kind != LOC_KEY_DATA);
    if (watch->subtree && past) {
        watch->ended = "the changes since then are no longer known";
    }
    /* It is there as it was when our last answer was given, so nothing can have been missed since then. */
    if (!watch->subtree && watch->deletes_only && since == 0 && found->exists && found->modified <= told) {
        watch->ready = told;
    }
}

static bool begin_watch(loc_store *store, loc_watch *watch) {
    loc_found found = {false, 0, 0, 0};
    if (!loc_store_ready(store)) {
        return false;
    }
    loc_bell_start(store);
    if (!loc_begin(store, false)) {
        return false;
    }
    if (!watch->subtree) {
        loc_key_find(store, watch->key, &watch->parsed, 0, &found);
    }
    set_start(store, watch, &found);
    classify(store, watch, &found);
    bool observes = watch->observing;
    watch->observing = false;
    if (!loc_commit(store) || (observes && !loc_begin(store, true))) {
        return false;
    }
    if (observes) {
        loc_observe(store, watch->key, true);
        watch->cursor = store->meta.logged;
        watch->ready = watch->ended == NULL ? store->meta.revision : watch->ready;
        watch->observing = loc_commit(store);
        return watch->observing;
    }
    return true;
}

static void attach(loc_store *store, loc_watch *watch) {
    ds_local *local = watch->local;
    if (watch->foreign && !watch->subtree && watch->client != 0) {
        watch->tracked = loc_peer_watch(store, watch->client);
        watch->blind = !watch->tracked && watch->client != store->client;
    }
    ds_list_append(&local->watches, &watch->in_client);
    ds_list_append(watch->observing ? &store->observing : loc_bucket(store, watch->mark), &watch->in_store);
    local->watch_count++;
    store->watch_count++;
    local->foreign_count += watch->foreign ? 1 : 0;
    store->foreign_count += watch->foreign ? 1 : 0;
    local->blind_count += watch->blind ? 1 : 0;
    if (watch->foreign && store->bell != NULL && !store->bell->cares) {
        loc_bell_kick(store);
    }
    watch->ready_due = true;
    loc_mark_watch(watch);
}

static loc_watch *watch_new(ds_local *local, ds_watch *owner, const ds_watch_spec *spec) {
    size_t size = strlen(spec->key) + 1;
    loc_watch *watch = ds_calloc(1, sizeof(*watch) + size);
    if (watch == NULL) {
        return NULL;
    }
    memcpy(watch->key, spec->key, size);
    watch->local = local;
    watch->owner = owner;
    watch->subtree = spec->subtree;
    watch->deletes_only = spec->deletes_only;
    watch->since = spec->since;
    ds_list_init(&watch->in_client);
    ds_list_init(&watch->in_store);
    ds_list_init(&watch->news);
    loc_key_read(watch->key, &watch->parsed);
    watch->mark = loc_key_mark(watch->key, &watch->parsed);
    return watch;
}

bool loc_watch_start(ds_backend *backend, ds_watch *owner, const ds_watch_spec *spec) {
    ds_local *local = loc_client_of(backend);
    loc_store *store = local->store;
    loc_watch *watch = watch_new(local, owner, spec);
    if (watch == NULL) {
        return false;
    }
    loc_lock(store, local->base.world);
    if (!begin_watch(store, watch)) {
        watch->ended = "the database cannot be read";
        watch->foreign = false;
    }
    attach(store, watch);
    local->seen = store->meta;
    loc_unlock(store);
    owner->impl = watch;
    arm(local);
    return true;
}

/* ---- looking, on the client's own thread ------------------------------------------------------------------------- */

static bool has_news(const loc_watch *watch) {
    return watch->ready_due || watch->ended != NULL || !ds_list_empty(&watch->news);
}

/* Inside a transaction: looks at all that are due. */
static void look(ds_local *local) {
    loc_store *store = local->store;
    for (ds_list *node = local->watches.next; node != &local->watches; node = node->next) {
        loc_watch *watch = DS_LIST_ENTRY(node, loc_watch, in_client);
        if (watch->due) {
            loc_look_at(watch);
        }
        if (watch->blind && loc_is_dead(store, watch->client)) {
            loc_mark_dead(store, watch->client);
        }
    }
}

/* What was read in a transaction that failed is not believed: all end but those that were not looked at yet. */
static void end_looked_at(ds_local *local, const char *why) {
    for (ds_list *node = local->watches.next; node != &local->watches; node = node->next) {
        loc_watch *watch = DS_LIST_ENTRY(node, loc_watch, in_client);
        watch->ended = watch->ended == NULL && !watch->due ? why : watch->ended;
    }
}

static bool needs_write(const loc_store *store) {
    int64_t now = ds_now(store->world);
    return store->dead_count > 0 || (now >= 0 && now >= store->meta.next_expiry_ns);
}

/* False: to be tried again. */
static bool look_around(ds_local *local) {
    loc_store *store = local->store;
    for (int round = 0; round < 2; round++) {
        if (!loc_begin(store, needs_write(store))) {
            return false;
        }
        look(local);
        if (!loc_commit(store)) {
            end_looked_at(local, "the database cannot be read");
        }
        if (!needs_write(store)) {
            break;
        }
        loc_mark_client(local, false);
    }
    return true;
}

static void gather(ds_local *local) {
    for (ds_list *node = local->watches.next, *next; node != &local->watches; node = next) {
        next = node->next;
        loc_watch *watch = DS_LIST_ENTRY(node, loc_watch, in_client);
        if (has_news(watch)) {
            ds_list_remove(node);
            ds_list_append(&local->batch, node);
        }
    }
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static void tell(ds_watch *owner, const ds_watch_event *event) {
    owner->on_event(owner, event);
}

/* One thing; the watch may be off, and gone, afterwards. */
static void deliver(ds_local *local, loc_watch *watch) {
    ds_watch *owner = watch->owner;
    ds_watch_event event = {.message = ""};
    if (watch->ready_due) {
        watch->ready_due = false;
        event.kind = DS_WATCH_READY;
        event.revision = watch->ready;
        tell(owner, &event);
        return;
    }
    ds_list *node = ds_list_pop(&watch->news);
    if (node != NULL) {
        loc_news *news = DS_LIST_ENTRY(node, loc_news, node);
        event = (ds_watch_event){news->kind,  news->key,      news->value, news->value_size,
                                 news->token, news->revision, DS_OK,       ""};
        tell(owner, &event);
        ds_free(news);
        return;
    }
    event.kind = DS_WATCH_ENDED;
    event.outcome = DS_NOT_EXECUTED;
    event.message = watch->ended;
    event.revision = local->seen.revision;
    turn_off(watch);
    tell(owner, &event);
}

static void deliver_batch(ds_local *local) {
    local->busy++;
    while (!local->destroyed && !ds_list_empty(&local->batch)) {
        loc_watch *watch = DS_LIST_ENTRY(local->batch.next, loc_watch, in_client);
        if (has_news(watch)) {
            deliver(local, watch);
        } else {
            loc_lock(local->store, local->base.world);
            ds_list_remove(&watch->in_client);
            ds_list_append(&local->watches, &watch->in_client);
            if (watch->due) {
                loc_wake_client(local);
            }
            loc_unlock(local->store);
        }
    }
    local->busy--;
}

static void run(ds_local *local) {
    loc_lock(local->store, local->base.world);
    local->notified = false;
    bool looked = local->watch_count == 0 || look_around(local);
    gather(local);
    local->seen = local->store->meta;
    loc_unlock(local->store);
    deliver_batch(local);
    if (!local->destroyed && !looked) {
        ds_timer_set(local->base.world, &local->timer, ds_now(local->base.world) + AGAIN_NS);
    } else if (!local->destroyed) {
        arm(local);
    }
    loc_client_idle(local);
}

static void run_task(ds_task *task) {
    run(DS_CONTAINER_OF(task, ds_local, task));
}

static void on_timer(ds_timer *timer) {
    ds_local *local = DS_CONTAINER_OF(timer, ds_local, timer);
    loc_lock(local->store, local->base.world);
    loc_mark_client(local, false);
    loc_unlock(local->store);
}

/* ---- a client comes and goes ------------------------------------------------------------------------------------- */

void loc_client_join(ds_local *local) {
    local->timer.fire = on_timer;
    local->task.run = run_task;
    ds_list_init(&local->task.node);
    ds_list_init(&local->batch);
    ds_list_init(&local->watches);
    loc_lock(local->store, local->base.world);
    ds_list_append(&local->store->clients, &local->in_store);
    loc_unlock(local->store);
}

void loc_client_hush(ds_local *local) {
    ds_list *lists[] = {&local->batch, &local->watches};
    for (size_t i = 0; i < DS_COUNT(lists); i++) {
        while (!ds_list_empty(lists[i])) {
            turn_off(DS_LIST_ENTRY(lists[i]->next, loc_watch, in_client));
        }
    }
}

void loc_client_part(ds_local *local) {
    ds_timer_stop(local->base.world, &local->timer);
    loc_lock(local->store, local->base.world);
    ds_list_remove(&local->in_store); /* from here on nobody notifies */
    loc_unlock(local->store);
    ds_take_back(local->base.world, &local->task);
}
