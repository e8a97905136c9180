/* etcd_rig_client.c: the backend's asynchronous calls as blocking ones, on the real loop. */
#include "etcd_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USUAL_TIMEOUT_MS 2000
#define LIMIT_NS (10 * DS_SECOND)

static rig_reply last;
static int64_t timeout_ms = USUAL_TIMEOUT_MS;

void rig_timeout(int64_t ms) {
    timeout_ms = ms > 0 ? ms : USUAL_TIMEOUT_MS;
}

bool rig_open(rig *r, const char *const *endpoints, size_t count, const dsync_options *given) {
    dsync_error error = {DSYNC_OK, ""};
    dsync_setting transport = {"etcd.transport", getenv("DSYNC_TEST_TRANSPORT")};
    dsync_options options = given != NULL ? *given : (dsync_options){.prefix = "dsync", .id = "tester"};
    if (options.setting_count == 0 && transport.value != NULL) {
        options.settings = &transport;
        options.setting_count = 1;
    }
    ds_http_config http = {.connect_timeout_ms = 1000};
    ds_backend_config config = {.options = &options, .endpoints = endpoints, .endpoint_count = count};
    memset(r, 0, sizeof(*r));
    r->loop = ds_loop_new(&http, &error);
    if (r->loop != NULL) {
        r->world = ds_loop_world(r->loop);
        r->backend = ds_etcd_backend(r->world, &config, &error);
    }
    if (r->backend == NULL) {
        printf("cannot open: %s\n", error.message);
    }
    return r->backend != NULL;
}

bool rig_open_one(rig *r, const etcd_server *server) {
    const char *endpoint = server->url;
    return rig_open(r, &endpoint, 1, NULL);
}

static void nothing(void *argument) {
    (void)argument;
}

void rig_close(rig *r) {
    ds_loop_lock(r->loop);
    r->backend->ops->destroy(r->backend);
    ds_loop_unlock(r->loop);
    ds_loop_finish(r->loop, nothing, NULL);
    ds_loop_free(r->loop);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void copy_text(char *out, size_t size, const char *text) {
    snprintf(out, size, "%s", text != NULL ? text : "");
}

static void copy_peers(rig_reply *to, const ds_reply *from) {
    to->peer_count = from->peer_count < RIG_PEERS ? from->peer_count : RIG_PEERS;
    for (size_t i = 0; i < to->peer_count; i++) {
        copy_text(to->peers[i].path, sizeof(to->peers[i].path), from->peers[i].path);
        copy_text(to->peers[i].key, sizeof(to->peers[i].key), from->peers[i].key);
        copy_text(to->peers[i].value, sizeof(to->peers[i].value), from->peers[i].value);
        to->peers[i].token = from->peers[i].token;
        to->peers[i].holds = from->peers[i].holds;
    }
}

static void on_done(ds_call *call, const ds_reply *from) {
    rig_reply *to = DS_CONTAINER_OF(call, rig_reply, call);
    to->over = true;
    to->outcome = from->outcome;
    to->code = from->code;
    to->place = from->place;
    to->token = from->token;
    to->revision = from->revision;
    to->ttl_ms = from->ttl_ms;
    to->epoch = from->epoch;
    to->resent = from->resent;
    to->has_holder = from->holder != NULL;
    to->has_next = from->next != NULL;
    to->has_value = from->value != NULL;
    to->value_size = from->value_size;
    copy_text(to->message, sizeof(to->message), from->message);
    copy_text(to->ahead, sizeof(to->ahead), from->ahead);
    to->crowd = from->crowd;
    copy_text(to->next, sizeof(to->next), from->next);
    copy_text(to->server, sizeof(to->server), from->server);
    copy_text(to->value, sizeof(to->value), from->value);
    copy_text(to->holder_key, sizeof(to->holder_key), from->holder != NULL ? from->holder->key : NULL);
    copy_text(to->holder_value, sizeof(to->holder_value), from->holder != NULL ? from->holder->value : NULL);
    copy_peers(to, from);
    ds_loop_wake_waiters(to->r->loop);
}

static ds_call *begin(rig *r) {
    ds_loop_lock(r->loop);
    memset(&last, 0, offsetof(rig_reply, peers));
    last.r = r;
    last.call.done = on_done;
    last.call.timeout_ns = timeout_ms * DS_MS;
    return &last.call;
}

static const rig_reply *finish(rig *r) {
    if (!ds_loop_wait(r->loop, &last.over, ds_now(r->world) + LIMIT_NS)) {
        r->backend->ops->cancel(r->backend, &last.call);
        printf("a call did not end\n");
    }
    ds_loop_unlock(r->loop);
    return &last;
}

const rig_reply *rig_ping(rig *r) {
    r->backend->ops->ping(r->backend, begin(r));
    return finish(r);
}

const rig_reply *rig_lease(rig *r, ds_lease *lease) {
    r->backend->ops->open(r->backend, begin(r), lease);
    return finish(r);
}

const rig_reply *rig_renew(rig *r, const ds_lease *lease) {
    r->backend->ops->renew(r->backend, begin(r), lease);
    return finish(r);
}

const rig_reply *rig_revoke(rig *r, const ds_lease *lease) {
    r->backend->ops->close(r->backend, begin(r), lease);
    return finish(r);
}

const rig_reply *rig_enter(rig *r, const ds_entry *entry, bool only_try) {
    r->backend->ops->enter(r->backend, begin(r), entry, only_try);
    return finish(r);
}

const rig_reply *rig_check(rig *r, const ds_entry *entry) {
    r->backend->ops->check(r->backend, begin(r), entry);
    return finish(r);
}

const rig_reply *rig_leave(rig *r, const ds_entry *entry) {
    r->backend->ops->leave(r->backend, begin(r), entry);
    return finish(r);
}

const rig_reply *rig_swap(rig *r, const ds_entry *old, const ds_entry *fresh) {
    r->backend->ops->swap(r->backend, begin(r), old, fresh);
    return finish(r);
}

const rig_reply *rig_withdraw(rig *r, const ds_lease *lease, const ds_entry *const *entries, size_t count,
                              uint64_t next_epoch) {
    r->backend->ops->withdraw(r->backend, begin(r), lease, entries, count, next_epoch);
    return finish(r);
}

const rig_reply *rig_write(rig *r, const ds_entry *entry, ds_write_kind kind, const char *key, const char *value) {
    ds_write write = {.kind = kind, .entry = entry, .key = key, .value = value};
    write.value_size = value != NULL ? strlen(value) : 0;
    r->backend->ops->write(r->backend, begin(r), &write);
    return finish(r);
}

const rig_reply *rig_evict(rig *r, const char *path, int64_t token) {
    r->backend->ops->evict(r->backend, begin(r), path, token);
    return finish(r);
}

const rig_reply *rig_get(rig *r, const char *key) {
    r->backend->ops->get(r->backend, begin(r), key);
    return finish(r);
}

const rig_reply *rig_list(rig *r, const char *path, bool subtree, size_t limit, const char *after) {
    char from[700]; /* `after` may be the reply that is about to be overwritten */
    copy_text(from, sizeof(from), after);
    ds_list_spec spec = {.path = path, .subtree = subtree, .limit = limit, .after = after != NULL ? from : NULL};
    r->backend->ops->list(r->backend, begin(r), &spec);
    return finish(r);
}

/* ---- sessions and entries ---------------------------------------------------------------------------------------- */

static uint64_t random_number(void) {
    uint64_t number = 0;
    FILE *file = fopen("/dev/urandom", "re");
    if (file == NULL || fread(&number, sizeof(number), 1, file) != 1) {
        abort();
    }
    fclose(file);
    return number;
}

void rig_lease_init(ds_lease *lease, const char *prefix, int64_t ttl_ms) {
    memset(lease, 0, sizeof(*lease));
    lease->nonce = (random_number() >> 1) | 1;
    lease->prefix = prefix;
    lease->info = "{\"id\":\"tester\"}";
    lease->ttl_ms = ttl_ms;
    lease->epoch = 1;
}

void rig_entry_init(ds_entry *entry, const ds_lease *lease, const char *path, const char *value) {
    memset(entry, 0, sizeof(*entry));
    entry->lease = lease;
    entry->path = path;
    entry->value = value;
    entry->value_size = strlen(value);
    snprintf(entry->nonce, sizeof(entry->nonce), "%016" PRIx64, random_number());
}

char *rig_entry_key(rig *r, const ds_entry *entry) {
    char *key = NULL;
    return r->backend->ops->entry_key(r->backend, entry, &key) ? key : NULL;
}

char *rig_session_key(rig *r, const ds_lease *lease) {
    char *key = NULL;
    return r->backend->ops->session_key(r->backend, lease, &key) ? key : NULL;
}

/* ---- watches ----------------------------------------------------------------------------------------------------- */

static void on_event(ds_watch *from, const ds_watch_event *event) {
    rig_watch *watch = DS_CONTAINER_OF(from, rig_watch, watch);
    if (watch->count < RIG_EVENTS) {
        rig_event *copy = &watch->events[watch->count++];
        copy->kind = event->kind;
        copy->token = event->token;
        copy->revision = event->revision;
        copy->outcome = event->outcome;
        copy->has_value = event->value != NULL;
        copy_text(copy->key, sizeof(copy->key), event->key);
        copy_text(copy->value, sizeof(copy->value), event->value);
        copy_text(copy->message, sizeof(copy->message), event->message);
    }
    watch->enough = watch->count >= watch->wanted;
    ds_loop_wake_waiters(watch->r->loop);
}

bool rig_watch_begin(rig *r, rig_watch *watch, const ds_watch_spec *spec) {
    memset(watch, 0, sizeof(*watch));
    watch->r = r;
    watch->watch.on_event = on_event;
    ds_loop_lock(r->loop);
    bool done = r->backend->ops->watch(r->backend, &watch->watch, spec);
    ds_loop_unlock(r->loop);
    return done;
}

void rig_watch_end(rig_watch *watch) {
    ds_loop_lock(watch->r->loop);
    watch->r->backend->ops->unwatch(watch->r->backend, &watch->watch);
    ds_loop_unlock(watch->r->loop);
}

bool rig_watch_wait(rig_watch *watch, size_t count, int64_t ms) {
    ds_loop_lock(watch->r->loop);
    watch->wanted = count;
    watch->enough = watch->count >= count;
    bool enough = ds_loop_wait(watch->r->loop, &watch->enough, ds_now(watch->r->world) + ms * DS_MS);
    ds_loop_unlock(watch->r->loop);
    return enough;
}

void rig_idle(rig *r, int64_t ms) {
    static const bool never = false;
    ds_loop_lock(r->loop);
    ds_loop_wait(r->loop, &never, ds_now(r->world) + ms * DS_MS);
    ds_loop_unlock(r->loop);
}
