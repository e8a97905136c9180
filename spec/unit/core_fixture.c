/* core_fixture.c: see core_fixture.h. */
#include "core_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_world_parts.h"

#define LOCKS_MAX 256

static lock *locks[LOCKS_MAX];
static size_t lock_count;

/* ---- engine ------------------------------------------------------------------------------------------------------ */

static void on_trace(void *context, const char *object, const char *name, const char *from, const char *to,
                     const char *why) {
    desk *d = context;
    size_t used = strlen(d->trace);
    if (why == NULL || strcmp(from, to) == 0) {
        fw_misuse("%s %s moves from %s to %s", object, name, from, to);
    }
    (void)snprintf(d->trace + used, sizeof(d->trace) - used, "%s %s %s>%s\n", object, name, from, to);
}

static void on_notice(void *context, const char *name, const char *message) {
    desk *d = context;
    d->notices++;
    (void)snprintf(d->notice, sizeof(d->notice), "%s", name);
    (void)snprintf(d->notice_message, sizeof(d->notice_message), "%s", message);
}

void desk_open_with(desk *d, const ds_engine_config *config, int margin_divisor, int renew_divisor) {
    memset(d, 0, sizeof(*d));
    d->u = fw_new(7);
    d->world = fw_world(d->u);
    d->backend = sb_new(d->u, d->world);
    d->backend->ops.margin_divisor = margin_divisor;
    d->backend->ops.renew_divisor = renew_divisor;
    d->backend->quiet[SB_RENEW] = true;
    ds_engine_config own = config != NULL ? *config : (ds_engine_config){.unavailable_ns = 5 * DS_SECOND};
    own.prefix = "p";
    own.id = "node";
    own.info = "{}";
    own.trace = on_trace;
    own.notice = on_notice;
    own.context = d;
    d->engine = ds_engine_new(d->world, &d->backend->base, &own);
    if (d->engine == NULL) {
        fw_misuse("no engine");
    }
    lock_count = 0;
}

void desk_open(desk *d) {
    desk_open_with(d, NULL, 5, 3);
}

static void on_closed(void *context, bool confirmed) {
    desk *d = context;
    if (d->closed) {
        fw_misuse("closed twice");
    }
    d->closed = true;
    d->confirmed = confirmed;
    sb_note(d->backend, confirmed ? "closed" : "closed unconfirmed");
}

void desk_shut(desk *d, int64_t timeout_ns) {
    ds_engine_close(d->engine, fw_now(d->u) + timeout_ns, on_closed, d);
}

bool desk_close(desk *d) {
    if (!d->engine->closing) {
        sb_release_all(d->backend);
        desk_shut(d, 60 * DS_SECOND);
    }
    bool ended = fw_wait(d->u, &d->closed, 100 * DS_SECOND);
    ds_engine_free(d->engine);
    for (size_t i = 0; i < lock_count; i++) {
        free(locks[i]);
        locks[i] = NULL;
    }
    lock_count = 0;
    fw_settle(d->u);
    sb_free(d->backend);
    return fw_free(d->u) == 0 && ended;
}

const char *desk_log(desk *d) {
    fw_settle(d->u);
    return sb_log(d->backend);
}

ds_session *desk_session(desk *d) {
    return ds_list_empty(&d->engine->sessions) ? NULL : DS_LIST_ENTRY(d->engine->sessions.next, ds_session, node);
}

/* ---- locks ------------------------------------------------------------------------------------------------------- */

static lock *lock_of(ds_waiter *waiter) {
    return DS_CONTAINER_OF(waiter, lock, waiter);
}

static void settled(ds_waiter *waiter, dsync_code code, const char *message) {
    lock *l = lock_of(waiter);
    bool told_right = (code == DSYNC_OK) == (waiter->state == DS_WAITER_HOLDING) && message != NULL;
    ds_claim_state expected = code == DSYNC_OK ? DS_CLAIM_HELD : DS_CLAIM_IDLE;
    if (!told_right || (ds_claim_get(&l->claim) != expected && ds_claim_get(&l->claim) != DS_CLAIM_LOST)) {
        fw_misuse("%s is told %s, but is %s", l->name, dsync_code_name(code),
                  ds_claim_state_name(ds_claim_get(&l->claim)));
    }
    l->settled++;
    l->code = code;
    l->settled_ns = fw_now(l->d->u);
    (void)snprintf(l->message, sizeof(l->message), "%s", message);
    sb_note(l->d->backend, "%s %s", l->name, code == DSYNC_OK ? "ok" : dsync_code_name(code));
    if (l->on_settled != NULL) {
        l->on_settled(l);
    }
}

static void ended(ds_waiter *waiter, dsync_reason reason) {
    lock *l = lock_of(waiter);
    if (lock_left(l) != 0 || ds_claim_get(&l->claim) != DS_CLAIM_LOST || waiter->state != DS_WAITER_DONE ||
        atomic_load(&l->claim.reason) != (int)reason) {
        fw_misuse("%s hears of its loss before it is lost", l->name);
    }
    l->ended++;
    l->reason = reason;
    l->ended_ns = fw_now(l->d->u);
    sb_note(l->d->backend, "%s lost %s", l->name, dsync_reason_name(reason));
    if (l->on_ended != NULL) {
        l->on_ended(l);
    }
}

static void released(ds_release *release, dsync_code code, int64_t free_by_ms) {
    lock *l = DS_CONTAINER_OF(release, lock, release);
    l->released++;
    l->release_code = code;
    l->free_by_ms = free_by_ms;
    l->released_ns = fw_now(l->d->u);
    if (ds_claim_get(&l->claim) == DS_CLAIM_RELEASING) {
        (void)ds_claim_move(&l->claim, DS_CLAIM_IDLE);
    }
    sb_note(l->d->backend, "%s released %s", l->name, code == DSYNC_OK ? "ok" : dsync_code_name(code));
    if (l->on_released != NULL) {
        l->on_released(l);
    }
}

lock *lock_new(desk *d, const char *name) {
    lock *l = fw_alloc(NULL, sizeof(*l));
    memset(l, 0, sizeof(*l));
    l->d = d;
    (void)snprintf(l->name, sizeof(l->name), "%s", name);
    ds_claim_init(&l->claim);
    l->waiter = (ds_waiter){.claim = &l->claim,
                            .label = l->name,
                            .params = {.ttl_ms = TTL_MS},
                            .node_id = "node",
                            .shared = true,
                            .wait_ns = DS_NEVER,
                            .hold_ns = DS_NEVER,
                            .settled = settled,
                            .ended = ended};
    l->release.done = released;
    if (lock_count == LOCKS_MAX) {
        fw_misuse("too many locks");
    }
    locks[lock_count++] = l;
    return l;
}

void lock_free(lock *l) {
    ds_waiter_drop(&l->waiter);
    for (size_t i = 0; i < lock_count; i++) {
        if (locks[i] == l) {
            locks[i] = NULL;
        }
    }
    free(l);
}

void lock_acquire_at(lock *l, const char *path) {
    ds_acquire(l->d->engine, path, &l->waiter);
}

void lock_acquire(lock *l) {
    lock_acquire_at(l, QUEUE);
}

void lock_try(lock *l) {
    l->waiter.only_try = true;
    lock_acquire(l);
}

lock *lock_held_new(desk *d, const char *name) {
    lock *l = lock_new(d, name);
    lock_acquire(l);
    fw_settle(d->u);
    if (!lock_held(l)) {
        fw_misuse("%s is not held", name);
    }
    return l;
}

void lock_release(lock *l, int64_t timeout_ns) {
    ds_waiter_release(&l->waiter, &l->release, timeout_ns);
}

void lock_cancel(lock *l) {
    ds_waiter_cancel(&l->waiter, DSYNC_CANCELLED, "cancelled");
}

int64_t lock_left(const lock *l) {
    ds_world *world = l->d->world;
    return ds_claim_left(&l->claim, ds_now(world), world->ops->wall_ms(world));
}

bool lock_held(const lock *l) {
    return lock_left(l) > 0;
}
