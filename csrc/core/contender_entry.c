/* contender_entry.c: the entry a contender has on the server: getting in, waiting behind somebody, noticing that it is
 * gone. Who in this client it is for is contender.c's business.
 */
#include "contender_entry.h"

#include <stdio.h>
#include <string.h>

#include "../base/buf.h"
#include "../base/rfc3339.h"
#include "value.h"

#define RETRY_CAP_NS DS_SECOND
#define FIRST_POLL_NS DS_SECOND
#define POLL_NS (10 * DS_SECOND)
#define DELAY_POLL_MIN_MS INT64_C(100)
#define DELAY_POLL_MAX_MS INT64_C(1000)

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void start_call(ds_contender *c, void (*done)(ds_call *, const ds_reply *)) {
    ds_backend *backend = ds_entry_backend(c);
    backend->ops->cancel(backend, &c->call);
    ds_timer_stop(c->engine->world, &c->timer);
    c->heard = 0;
    c->call.done = done;
    c->call.timeout_ns = ds_engine_request_timeout(c->engine, c->user.session->timing.ttl_ns);
}

void ds_entry_again_in(ds_contender *c, int64_t pause_ns) {
    ds_timer_set(c->engine->world, &c->timer, ds_now(c->engine->world) + pause_ns);
}

static void note_failure(ds_contender *c, const ds_reply *reply) {
    snprintf(c->last_error, sizeof c->last_error, "%s", reply->message != NULL ? reply->message : "no answer");
    c->attempt++;
    c->engine->stats.retries++;
    ds_entry_again_in(c, ds_backoff(c->attempt, RETRY_CAP_NS, ds_random64(c->engine->world)));
}

static void note_answer(ds_contender *c, const ds_reply *reply) {
    c->attempt = 0;
    c->answered = true;
    ds_timer_stop(c->engine->world, &c->patience);
    if (reply->revision > c->seen) {
        c->seen = reply->revision;
    }
}

void ds_entry_retry(ds_timer *timer) {
    ds_contender *c = DS_CONTAINER_OF(timer, ds_contender, timer);
    if (c->user.session == NULL || !ds_session_usable(c->user.session)) {
        return;
    }
    if (c->state == DS_CONTENDER_ENTERING && c->swapping) {
        ds_entry_swap(c);
    } else if (c->state == DS_CONTENDER_ENTERING) {
        ds_entry_enter(c);
    } else if (c->state != DS_CONTENDER_IDLE) {
        if (c->state == DS_CONTENDER_WAITING) {
            ds_entry_watch_own(c);
        }
        ds_entry_check(c);
    }
}

/* ---- identity ---------------------------------------------------------------------------------------------------- */

bool ds_entry_make_value(ds_contender *c, const ds_waiter *waiter, int64_t acquired_ms) {
    ds_buf buf = DS_BUF_EMPTY;
    bool made = ds_value_make(&buf, waiter->node_id, waiter->value, waiter->value_size, waiter->value_is_json,
                              waiter->raw, waiter->queued_wall_ms, acquired_ms, NULL);
    if (!made || buf.failed) {
        ds_buf_free(&buf);
        return false;
    }
    ds_free(c->value);
    c->value = buf.data;
    c->entry.value = buf.data != NULL ? buf.data : "";
    c->entry.value_size = buf.size;
    return true;
}

bool ds_entry_renew_identity(ds_contender *c) {
    ds_waiter *front = ds_contender_front(c);
    ds_world *world = c->engine->world;
    c->trying = front->only_try;
    if (!ds_entry_make_value(c, front, c->trying ? world->ops->wall_ms(world) : 0)) {
        return false;
    }
    c->entry.path = c->path;
    if (!ds_spare_names_take(&c->user.session->spare_names, &c->entry)) {
        snprintf(c->entry.nonce, sizeof c->entry.nonce, "%016llx", (unsigned long long)ds_random64(world));
        c->entry.former = 0;
    }
    c->entry.candidate = !c->shared;
    c->entry.lease = &c->user.session->lease;
    c->entry.token = 0;
    c->sent = false;
    c->dirty = false;
    c->marked = c->trying || front->raw;
    c->mark_uncertain = false;
    c->own_ended = false;
    c->ahead_ended = 0;
    c->seen = 0;
    return true;
}

/* ---- answers about our place ------------------------------------------------------------------------------------- */

static void held(ds_contender *c, int64_t token) {
    ds_session *session = c->user.session;
    ds_world *world = c->engine->world;
    ds_waiter *front = ds_contender_front(c);
    ds_claim *claim = front->claim;
    int64_t now = ds_now(world);
    if (ds_session_past_deadline(session)) {
        ds_session_lose(session, DSYNC_REASON_EXPIRED, "not renewed in time");
        return;
    }
    c->entry.token = token;
    ds_timer_stop(world, &c->timer);
    ds_list_remove(&front->node);
    ds_entry_linger(c);
    c->holder = front;
    c->held_wall_ms = world->ops->wall_ms(world);
    ds_contender_move(c, DS_CONTENDER_HELD, "first in the queue");
    int64_t hold_until = front->hold_ns == DS_NEVER ? DS_NEVER : now + front->hold_ns;
    atomic_store_explicit(&claim->deadline_ns, session->deadline_ns, memory_order_relaxed);
    atomic_store_explicit(&claim->wall_deadline_ms, session->wall_deadline_ms, memory_order_relaxed);
    atomic_store_explicit(&claim->hold_until_ns, hold_until, memory_order_relaxed);
    atomic_store_explicit(&claim->margin_ns, session->timing.margin_ns, memory_order_relaxed);
    atomic_store_explicit(&claim->token, token, memory_order_relaxed);
    atomic_store_explicit(&claim->reason, DSYNC_NOT_LOST, memory_order_relaxed);
    atomic_store_explicit(&claim->suspect, session->state == DS_SESSION_SUSPECT, memory_order_relaxed);
    atomic_fetch_add_explicit(&claim->acquisition, 1, memory_order_relaxed);
    c->engine->stats.acquisitions++;
    ds_session_unhint(&c->user); /* a moment from now, not from when it began to wait */
    ds_session_hint(&c->user);
    ds_waiter_settle(front, DSYNC_OK, "");
}

static void describe_holder(const ds_peer *holder, char *out, size_t size) {
    ds_value value;
    if (holder == NULL) {
        snprintf(out, size, "held by somebody else");
        return;
    }
    bool read = ds_value_read(holder->value, holder->value_size, &value);
    const char *id = read && value.id != NULL ? value.id : holder->key;
    snprintf(out, size, "held by %s (token %lld)", id, (long long)holder->token);
    if (read) {
        ds_value_free(&value);
    }
}

/* A try that found somebody there. Others may have queued up behind it here meanwhile: they go on. */
static void busy(ds_contender *c, const ds_reply *reply) {
    ds_waiter *front = ds_contender_front(c);
    char message[300];
    if (reply->delay_ms > 0) {
        snprintf(message, sizeof message, "free, but in lock-delay for at most %.1f s", (double)reply->delay_ms / 1e3);
    } else {
        describe_holder(reply->holder, message, sizeof message);
    }
    bool answer = front->only_try && c->trying;
    if (answer) {
        ds_list_remove(&front->node);
    }
    if (!c->dirty) {
        c->sent = false;
        ds_session_spare_name(c->user.session, &c->entry);
    }
    ds_entry_abandon(c, "somebody is there");
    ds_contender_proceed(c);
    if (answer) {
        ds_waiter_settle(front, DSYNC_CONTENDED, message);
    }
}

/* Said once: the bound only ever comes nearer. */
static void show_delay(ds_contender *c, ds_waiter *front, int64_t delay_ms) {
    if (ds_claim_get(front->claim) == DS_CLAIM_DELAYED) {
        return;
    }
    ds_world *world = c->engine->world;
    int64_t until_ms = world->ops->wall_ms(world) + delay_ms;
    ds_buf until = DS_BUF_EMPTY;
    (void)ds_rfc3339_add(&until, until_ms);
    atomic_store(&front->claim->delayed_until_ms, until_ms);
    ds_waiter_show(front, DS_CLAIM_DELAYED, "lock-delay");
    ds_engine_notice(c->engine, "lock-delay", "%s: free, but in lock-delay, at most until %s", front->label,
                     until.data != NULL && !until.failed ? until.data : "?");
    ds_buf_free(&until);
}

/* The first poll also begins the watch on the own entry: most who wait do not wait that long. */
static int64_t next_poll(ds_contender *c) {
    if (!c->ahead_on) {
        return DELAY_POLL_MAX_MS * DS_MS;
    }
    int64_t jitter = (int64_t)(ds_random64(c->engine->world) % (uint64_t)DS_SECOND);
    return (c->own_on ? POLL_NS : FIRST_POLL_NS) + jitter;
}

static void waiting(ds_contender *c, const ds_reply *reply) {
    ds_waiter *front = ds_contender_front(c);
    if (reply->token != 0) {
        c->entry.token = reply->token;
    }
    if (c->state != DS_CONTENDER_WAITING) {
        ds_contender_move(c, DS_CONTENDER_WAITING, "somebody is ahead");
    }
    if (reply->place == DS_PLACE_DELAYED) {
        int64_t pause = reply->delay_ms;
        show_delay(c, front, reply->delay_ms);
        pause = pause < DELAY_POLL_MIN_MS ? DELAY_POLL_MIN_MS : pause;
        ds_entry_again_in(c, (pause > DELAY_POLL_MAX_MS ? DELAY_POLL_MAX_MS : pause) * DS_MS);
        return;
    }
    ds_waiter_show(front, DS_CLAIM_WAITING, "in the queue");
    if (reply->ahead != NULL) {
        ds_entry_watch_ahead(c, reply->ahead, reply->crowd);
    }
    ds_entry_again_in(c, next_poll(c));
    if (c->heard > reply->revision) {
        ds_entry_check(c);
    }
}

/* Our place vanished while we waited: take a new one. */
static void reenter(ds_contender *c) {
    if (c->dirty) {
        /* A copy of one of its requests could make it again, or take the lock for another one of its name. */
        ds_entry_abandon(c, "entry deleted while waiting");
        ds_contender_proceed(c);
        return;
    }
    ds_entry_stop(c);
    c->sent = false;
    ds_contender_move(c, DS_CONTENDER_ENTERING, "entry deleted while waiting");
    ds_waiter_show(ds_contender_front(c), DS_CLAIM_ENTERING, "entry deleted while waiting");
    ds_entry_enter(c);
}

static bool common(ds_contender *c, const ds_reply *reply) {
    if (reply->resent) {
        c->engine->stats.resent++;
    }
    if (ds_session_reply_ends(c->user.session, reply)) {
        return true;
    }
    if (reply->outcome == DS_REFUSED) {
        char message[300];
        snprintf(message, sizeof message, "%s", reply->message != NULL ? reply->message : "refused");
        ds_contender_fail_all(c, reply->code, message);
        return true;
    }
    if (reply->outcome != DS_OK) {
        note_failure(c, reply);
        return true;
    }
    note_answer(c, reply);
    return false;
}

/* Not believed any more; was the session lost with it? */
static void explained(ds_contender *c, const ds_reply *reply) {
    if (ds_session_reply_ends(c->user.session, reply)) {
        return;
    }
    if (reply->outcome == DS_OK && reply->place == DS_PLACE_GONE) {
        c->dirty = c->was_dirty;
    } else if (reply->outcome == DS_OK) {
        c->dirty = true; /* something of it is left, or there again: a late copy has made it */
    }
    ds_contender_lose(c, DSYNC_REASON_DELETED);
}

/* Held; did the entry go while nobody watched? */
static void verified(ds_contender *c, const ds_reply *reply) {
    if (ds_session_reply_ends(c->user.session, reply)) {
        return;
    }
    if (reply->outcome == DS_OK && reply->place != DS_PLACE_HELD) {
        ds_entry_gone(c, "entry deleted", 0);
    } else if (reply->outcome == DS_NOT_EXECUTED || reply->outcome == DS_AMBIGUOUS) {
        note_failure(c, reply);
    }
}

static void checked(ds_call *call, const ds_reply *reply) {
    ds_contender *c = DS_CONTAINER_OF(call, ds_contender, call);
    if (c->state == DS_CONTENDER_LOSING) {
        explained(c, reply);
        return;
    }
    if (c->state == DS_CONTENDER_HELD) {
        verified(c, reply);
        return;
    }
    if (common(c, reply)) {
        return;
    }
    switch (reply->place) {
    case DS_PLACE_HELD:
        held(c, c->entry.token);
        break;
    case DS_PLACE_WAITING:
    case DS_PLACE_DELAYED:
        waiting(c, reply);
        break;
    case DS_PLACE_GONE:
    default:
        reenter(c);
        break;
    }
}

void ds_entry_check(ds_contender *c) {
    start_call(c, checked);
    if (c->state == DS_CONTENDER_LOSING) {
        c->call.timeout_ns = 200 * DS_MS;
    }
    ds_entry_backend(c)->ops->check(ds_entry_backend(c), &c->call, &c->entry);
}

/* ---- getting in -------------------------------------------------------------------------------------------------- */

static void entered(ds_call *call, const ds_reply *reply) {
    ds_contender *c = DS_CONTAINER_OF(call, ds_contender, call);
    if (reply->outcome == DS_AMBIGUOUS || reply->resent) {
        c->dirty = true;
    } else if (reply->outcome == DS_NOT_EXECUTED && !c->dirty) {
        c->sent = false;
    }
    if (common(c, reply)) {
        return;
    }
    switch (reply->place) {
    case DS_PLACE_HELD:
        held(c, reply->token);
        break;
    case DS_PLACE_WAITING:
    case DS_PLACE_DELAYED:
        waiting(c, reply);
        break;
    case DS_PLACE_BUSY:
        busy(c, reply);
        break;
    case DS_PLACE_GONE: /* taken away again, or of no use any more */
        reenter(c);
        break;
    default: /* STALE: the epoch moved while this was under way; ask again with the present one */
        if (reply->epoch != 0 && reply->epoch < c->epoch_sent) {
            /* Epochs only grow: an older state was restored, and no try would ever succeed. */
            ds_session_lose(c->user.session, DSYNC_REASON_CLUSTER_RESET, "the server is back at an older state");
            return;
        }
        if (!c->dirty) {
            c->sent = false;
        }
        c->attempt++;
        ds_entry_again_in(c, ds_backoff(c->attempt, RETRY_CAP_NS, ds_random64(c->engine->world)));
        break;
    }
}

void ds_entry_enter(ds_contender *c) {
    if (!c->sent && !ds_entry_renew_identity(c)) {
        ds_contender_fail_all(c, DSYNC_RESOURCE, "out of memory");
        return;
    }
    start_call(c, entered);
    c->sent = true;
    c->epoch_sent = c->entry.lease->epoch;
    ds_entry_backend(c)->ops->enter(ds_entry_backend(c), &c->call, &c->entry, c->trying);
}

static void swapped(ds_call *call, const ds_reply *reply) {
    ds_contender *c = DS_CONTAINER_OF(call, ds_contender, call);
    if (common(c, reply)) {
        return;
    }
    ds_release *release = c->releasing;
    c->releasing = NULL;
    c->swapping = false;
    if (reply->place != DS_PLACE_GONE) {
        ds_session_spare_name(c->user.session, &c->old);
    }
    if (reply->place == DS_PLACE_HELD) {
        held(c, reply->token);
    } else if (reply->place == DS_PLACE_WAITING || reply->place == DS_PLACE_DELAYED) {
        waiting(c, reply);
    } else { /* the old entry had been taken away, so the new one was not made */
        c->sent = false;
        ds_entry_enter(c);
        ds_release_finish(release, DSYNC_LOST);
        return;
    }
    ds_release_finish(release, DSYNC_OK);
}

void ds_entry_swap(ds_contender *c) {
    start_call(c, swapped);
    c->sent = true;
    ds_entry_backend(c)->ops->swap(ds_entry_backend(c), &c->call, &c->old, &c->entry);
}
