/* contender.c: the local queue of a contender: who in this client wants the entry, whose turn it is, and how each is
 * told. What happens on the server is contender_entry.c's business.
 *
 * Invariants: ENTERING and WAITING have at least one waiter, the first of which the entry is for; HELD and LOSING have
 * a holder; IDLE has no entry. Callbacks to waiters come last in every function, because they may call back in.
 */
#include "contender.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "../base/error.h"
#include "contender_entry.h"

#define IDLE_MAX 64 /* contenders kept for reuse */
#define MAY(state) (1u << (state))

static const unsigned legal[DS_CONTENDER_STATES] = {
    [DS_CONTENDER_IDLE] = MAY(DS_CONTENDER_ENTERING),
    [DS_CONTENDER_ENTERING] = MAY(DS_CONTENDER_WAITING) | MAY(DS_CONTENDER_HELD) | MAY(DS_CONTENDER_IDLE),
    [DS_CONTENDER_WAITING] = MAY(DS_CONTENDER_HELD) | MAY(DS_CONTENDER_ENTERING) | MAY(DS_CONTENDER_IDLE),
    [DS_CONTENDER_HELD] = MAY(DS_CONTENDER_IDLE) | MAY(DS_CONTENDER_ENTERING) | MAY(DS_CONTENDER_LOSING),
    [DS_CONTENDER_LOSING] = MAY(DS_CONTENDER_IDLE),
};

static const char *const names[DS_CONTENDER_STATES] = {"idle", "entering", "waiting", "held", "losing"};

const char *ds_contender_state_name(ds_contender_state state) {
    return names[state];
}

bool ds_contender_may_move(ds_contender_state from, ds_contender_state to) {
    return (legal[from] & MAY(to)) != 0;
}

static void count(ds_engine_stats *stats, ds_contender_state state, int64_t by) {
    stats->entries += state != DS_CONTENDER_IDLE ? (uint64_t)by : 0;
    stats->held += state == DS_CONTENDER_HELD ? (uint64_t)by : 0;
}

void ds_contender_move(ds_contender *c, ds_contender_state to, const char *why) {
    if (c->state == to) {
        return;
    }
    assert(ds_contender_may_move(c->state, to));
    ds_engine_trace(c->engine, "contender", c->path, names[c->state], names[to], why);
    count(&c->engine->stats, c->state, -1);
    c->state = to;
    count(&c->engine->stats, c->state, 1);
}

void ds_waiter_show(ds_waiter *waiter, ds_claim_state to, const char *why) {
    ds_claim_state from = ds_claim_get(waiter->claim);
    if (from != to && ds_claim_move(waiter->claim, to)) {
        ds_engine_trace(waiter->contender->engine, "claim", waiter->label, ds_claim_state_name(from),
                        ds_claim_state_name(to), why);
    }
}

/* ---- waiters ----------------------------------------------------------------------------------------------------- */

void ds_waiter_settle(ds_waiter *waiter, dsync_code code, const char *message) {
    ds_contender *c = waiter->contender;
    ds_world *world = c->engine->world;
    ds_timer_stop(world, &waiter->timer);
    ds_list_remove(&waiter->node);
    c->engine->stats.waiting--;
    if (code == DSYNC_OK) {
        waiter->state = DS_WAITER_HOLDING;
        ds_waiter_show(waiter, DS_CLAIM_HELD, "acquired");
        if (waiter->hold_ns != DS_NEVER) {
            ds_timer_set(world, &waiter->timer, atomic_load(&waiter->claim->hold_until_ns));
        }
    } else {
        waiter->state = DS_WAITER_DONE;
        ds_waiter_show(waiter, DS_CLAIM_IDLE, message);
        waiter->contender = NULL;
    }
    waiter->settled(waiter, code, message);
}

void ds_contender_disbelieve(ds_contender *c, dsync_reason reason, const char *why) {
    atomic_store(&c->holder->claim->reason, (int)reason);
    c->was_dirty = c->dirty;
    c->dirty = c->dirty || c->engine->backend->ops->delays;
    ds_waiter_show(c->holder, DS_CLAIM_LOST, why);
    ds_contender_move(c, DS_CONTENDER_LOSING, why);
}

void ds_contender_lose(ds_contender *c, dsync_reason reason) {
    ds_waiter *waiter = c->holder;
    /* Deleted is not gone for good when a copy of the request that made it may still arrive. */
    bool deleted = reason == DSYNC_REASON_DELETED && c->dirty;
    /* And whoever broke it may only have said so, and died before it was removed. */
    bool left = reason == DSYNC_REASON_EXPIRED || reason == DSYNC_REASON_BROKEN || deleted;
    bool on_server = c->user.session != NULL && left;
    atomic_store(&waiter->claim->reason, (int)reason);
    ds_waiter_show(waiter, DS_CLAIM_LOST, dsync_reason_name(reason));
    ds_timer_stop(c->engine->world, &waiter->timer);
    c->holder = NULL;
    waiter->state = DS_WAITER_DONE;
    c->engine->stats.losses++;
    if (!on_server) {
        c->sent = false; /* nothing to remove */
    }
    ds_entry_abandon(c, dsync_reason_name(reason));
    ds_contender_proceed(c);
    waiter->contender = NULL;
    waiter->ended(waiter, reason);
}

static void time_is_over(ds_timer *timer) {
    ds_waiter *waiter = DS_CONTAINER_OF(timer, ds_waiter, timer);
    ds_contender *c = waiter->contender;
    if (waiter->state == DS_WAITER_HOLDING) {
        if (c->state == DS_CONTENDER_HELD) {
            ds_contender_lose(c, DSYNC_REASON_EXPIRED);
        }
        return;
    }
    bool unheard = waiter == ds_contender_front(c) && !c->answered;
    bool unanswered = unheard && c->attempt > 0;
    const char *session_error = c->user.session != NULL ? c->user.session->last_error : "";
    char message[360];
    if (unanswered || session_error[0] != '\0' || waiter->only_try) {
        const char *why = unanswered && c->last_error[0] != '\0' ? c->last_error : session_error;
        snprintf(message, sizeof message, "no server answers (%s): %s",
                 c->engine->backend->ops->endpoint_list(c->engine->backend), why[0] != '\0' ? why : "no reply in time");
        ds_waiter_cancel(waiter, DSYNC_UNAVAILABLE, message);
    } else {
        snprintf(message, sizeof message,
                 unheard ? "\"%s\": no server has answered in time" : "\"%s\" was not free in time", waiter->label);
        ds_waiter_cancel(waiter, DSYNC_TIMEOUT, message);
    }
}

void ds_waiter_cancel(ds_waiter *waiter, dsync_code code, const char *message) {
    ds_contender *c = waiter->contender;
    if (waiter->state != DS_WAITER_QUEUED) {
        return;
    }
    bool front = waiter == ds_contender_front(c);
    ds_list_remove(&waiter->node);
    if (front && (c->state == DS_CONTENDER_ENTERING || c->state == DS_CONTENDER_WAITING)) {
        ds_waiter *next = ds_contender_front(c);
        /* The next one takes the entry over; it shows its own value as soon as it holds. */
        if (next == NULL || !ds_same_params(&next->params, &waiter->params)) {
            ds_entry_abandon(c, message);
            ds_contender_proceed(c);
        } else {
            c->marked = false;
            if (c->state == DS_CONTENDER_WAITING) {
                ds_waiter_show(next, DS_CLAIM_WAITING, "took over the place");
            }
        }
    }
    ds_waiter_settle(waiter, code, message);
}

/* ---- beginning and ending ---------------------------------------------------------------------------------------- */

void ds_contender_fail_all(ds_contender *c, dsync_code code, const char *message) {
    char copy[400];
    snprintf(copy, sizeof copy, "%s", message);
    ds_list failed;
    ds_list_init(&failed);
    ds_list_splice(&failed, &c->waiters);
    if (c->state != DS_CONTENDER_IDLE) {
        ds_entry_abandon(c, copy);
    }
    ds_contender_proceed(c);
    while (!ds_list_empty(&failed)) {
        ds_waiter_settle(DS_LIST_ENTRY(failed.next, ds_waiter, node), code, copy);
    }
}

void ds_contender_free(ds_contender *c) {
    ds_engine *engine = c->engine;
    ds_entry_stop(c);
    ds_timer_stop(engine->world, &c->patience);
    if (!ds_list_empty(&c->idle_node)) {
        engine->idle_count--;
        ds_list_remove(&c->idle_node);
    }
    ds_list_remove(&c->node);
    if (c->shared) {
        ds_map_remove(&engine->locks, c->path);
    }
    ds_free(c->ahead_key);
    ds_free(c->value);
    ds_free(c->path);
    ds_free(c);
}

void ds_contender_proceed(ds_contender *c) {
    if (c->state != DS_CONTENDER_IDLE) {
        return;
    }
    if (!ds_list_empty(&c->waiters)) {
        ds_contender_begin(c);
    } else if (ds_list_empty(&c->idle_node)) {
        ds_list_append(&c->engine->idle, &c->idle_node);
        c->engine->idle_count++;
    }
}

static ds_contender *make(ds_engine *engine, const char *path, bool shared) {
    ds_contender *c = ds_calloc(1, sizeof *c);
    char *copy = ds_strdup(path);
    if (c == NULL || copy == NULL || (shared && !ds_map_put(&engine->locks, path, c))) {
        ds_free(c);
        ds_free(copy);
        return NULL;
    }
    c->engine = engine;
    c->path = copy;
    c->shared = shared;
    ds_list_init(&c->waiters);
    ds_list_init(&c->idle_node);
    ds_list_init(&c->node);
    ds_contender_listen(c);
    c->timer.fire = ds_entry_retry;
    ds_list_append(&engine->contenders, &c->node);
    return c;
}

static ds_contender *find(ds_engine *engine, const char *path, bool shared) {
    ds_contender *c = shared ? ds_map_get(&engine->locks, path) : NULL;
    /* Only here, never in a callback: nobody up the stack has a finger on an idle one. */
    while (engine->idle_count > IDLE_MAX) {
        ds_contender *oldest = DS_LIST_ENTRY(engine->idle.next, ds_contender, idle_node);
        if (oldest == c) {
            break;
        }
        ds_contender_free(oldest);
    }
    if (c == NULL) {
        return make(engine, path, shared);
    }
    if (!ds_list_empty(&c->idle_node)) {
        ds_list_remove(&c->idle_node);
        engine->idle_count--;
    }
    return c;
}

void ds_acquire(ds_engine *engine, const char *path, ds_waiter *waiter) {
    ds_contender *c = engine->closing ? NULL : find(engine, path, waiter->shared);
    ds_list_init(&waiter->node);
    memset(&waiter->timer, 0, sizeof waiter->timer);
    if (c == NULL) {
        waiter->state = DS_WAITER_DONE;
        waiter->settled(waiter, engine->closing ? DSYNC_CLOSED : DSYNC_RESOURCE,
                        engine->closing ? "the client is closed" : "out of memory");
        return;
    }
    waiter->contender = c;
    waiter->state = DS_WAITER_QUEUED;
    engine->stats.waiting++;
    waiter->timer.fire = time_is_over;
    waiter->queued_wall_ms = engine->world->ops->wall_ms(engine->world);
    ds_waiter_show(waiter, DS_CLAIM_ENTERING, "asked for");
    if (waiter->only_try && (c->holder != NULL || !ds_list_empty(&c->waiters))) {
        char message[300];
        const ds_waiter *other = c->holder != NULL ? c->holder : ds_contender_front(c);
        snprintf(message, sizeof message, "%s by %s, in this client (token %lld)",
                 c->holder != NULL ? "held" : "asked for", other->node_id, (long long)c->entry.token);
        ds_waiter_settle(waiter, DSYNC_CONTENDED, message);
        return;
    }
    ds_list_append(&c->waiters, &waiter->node);
    /* A try has a limit of its own: patience begins anew with each session. */
    int64_t wait_ns = waiter->only_try ? engine->config.unavailable_ns : waiter->wait_ns;
    if (wait_ns != DS_NEVER) {
        ds_timer_set(engine->world, &waiter->timer, ds_now(engine->world) + wait_ns);
    }
    if (c->state == DS_CONTENDER_IDLE) {
        ds_contender_begin(c);
    }
}

void ds_contender_close(ds_contender *c) {
    ds_list failed;
    ds_list_init(&failed);
    ds_list_splice(&failed, &c->waiters);
    if (c->holder != NULL && c->state == DS_CONTENDER_LOSING) {
        ds_waiter_end_loss(c->holder); /* for a reason that came first */
    } else if (c->holder != NULL) {
        ds_contender_lose(c, DSYNC_REASON_CLOSED);
    } else if (c->state != DS_CONTENDER_IDLE) {
        ds_entry_abandon(c, "closed");
        ds_contender_proceed(c);
    }
    while (!ds_list_empty(&failed)) {
        ds_waiter_settle(DS_LIST_ENTRY(failed.next, ds_waiter, node), DSYNC_CLOSED, "the client was closed");
    }
}
