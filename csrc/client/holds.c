/* holds.c: acquiring, releasing, and waiting for the end of what is held. The objects themselves: locks.c. */
#include <stdio.h>
#include <string.h>

#include "../base/rfc3339.h"
#include "client.h"

static dsync_lock *lock_of(ds_waiter *waiter) {
    return DS_CONTAINER_OF(waiter, dsync_lock, waiter);
}

void dsync_acquire_options_init(dsync_acquire_options *options) {
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
    options->wait_ms = -2;
}

void ds_lock_end_waits(dsync_lock *lock, dsync_code code, const char *message) {
    ds_list *link;
    if (code == DSYNC_LOST) {
        ds_alarms_ring(lock);
    } else {
        ds_alarms_end(lock);
    }
    while ((link = ds_list_pop(&lock->revoked)) != NULL) {
        dsync_op *op = DS_LIST_ENTRY(link, dsync_op, node);
        ds_timer_stop(lock->client->engine->world, &op->timer);
        ds_op_finish(op, code, message);
    }
}

/* ---- acquiring --------------------------------------------------------------------------------------------------- */

static void forget_given(dsync_lock *lock) {
    ds_free(lock->given);
    lock->given = NULL;
}

static void settled(ds_waiter *waiter, dsync_code code, const char *message) {
    dsync_lock *lock = lock_of(waiter);
    dsync_op *op = lock->acquiring;
    lock->acquiring = NULL;
    if (op != NULL) {
        ds_op_finish(op, code, message);
    }
}

static void ended(ds_waiter *waiter, dsync_reason reason) {
    dsync_lock *lock = lock_of(waiter);
    ds_event_node *event = lock->revoked_event;
    if (event != NULL && !lock->gone) {
        lock->revoked_event = NULL;
        event->event.type = DSYNC_EVENT_REVOKED;
        event->event.number = lock->number;
        event->event.reason = reason;
        event->event.acquisition = atomic_load(&lock->claim.acquisition);
        ds_event_push(lock->client, event);
    }
    ds_lock_end_waits(lock, DSYNC_LOST, dsync_reason_name(reason));
}

static dsync_op *ready(dsync_client *client, dsync_lock *lock, dsync_code code, const char *message,
                       dsync_error *error) {
    dsync_op *op = ds_op_new(client, DS_OP_READY, lock, error);
    if (op != NULL) {
        ds_op_finish(op, code, message);
    }
    return op;
}

static bool prepare(dsync_lock *lock, const dsync_acquire_options *options, dsync_error *error) {
    ds_waiter *waiter = &lock->waiter;
    bool own = options->has_value || options->value != NULL;
    if (options->wait_ms < -2 || options->hold_ms < 0) {
        ds_error_set(error, DSYNC_INVALID, "%s: a negative time", options->hold_ms < 0 ? "hold" : "wait");
        return false;
    }
    if (own &&
        !ds_lock_check_value(lock->client, options->value, options->value_size, options->value_is_json != 0, error)) {
        return false;
    }
    if (lock->revoked_event == NULL) {
        lock->revoked_event = ds_calloc(1, sizeof *lock->revoked_event);
        if (lock->revoked_event == NULL) {
            ds_error_no_memory(error);
            return false;
        }
        lock->revoked_event->loose = true;
        ds_list_init(&lock->revoked_event->node);
    }
    forget_given(lock);
    if (own && options->value != NULL) {
        lock->given = ds_memdup(options->value, options->value_size);
        if (lock->given == NULL) {
            ds_error_no_memory(error);
            return false;
        }
    }
    int64_t wait_ms = options->wait_ms == -2 ? lock->wait_ms : options->wait_ms;
    int64_t hold_ms = options->hold_ms != 0 ? options->hold_ms : lock->hold_ms;
    waiter->claim = &lock->claim;
    waiter->label = lock->name;
    waiter->params = lock->params;
    waiter->node_id = lock->node_id;
    waiter->value = own ? lock->given : lock->value;
    waiter->value_size = own ? options->value_size : lock->value_size;
    waiter->value_is_json = own ? options->value_is_json != 0 : lock->value_is_json;
    waiter->raw = lock->raw;
    waiter->shared = !lock->leader;
    waiter->only_try = wait_ms == 0;
    waiter->wait_ns = ds_span(wait_ms);
    waiter->hold_ns = hold_ms > 0 ? ds_span(hold_ms) : DS_NEVER;
    waiter->settled = settled;
    waiter->ended = ended;
    return true;
}

dsync_op *dsync_acquire_start(dsync_lock *lock, const dsync_acquire_options *options, dsync_error *error) {
    dsync_acquire_options o;
    dsync_client *client = lock->client;
    dsync_acquire_options_init(&o);
    if (options != NULL) {
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    }
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    dsync_op *op = NULL;
    ds_waiter_look(&lock->waiter);
    ds_waiter_end_loss(&lock->waiter);
    if (lock->waiter.state != DS_WAITER_DONE) {
        const char *why = lock->acquiring != NULL ? "this object is being acquired already; use one object per waiter"
                                                  : "this object holds it already";
        op = ready(client, lock, DSYNC_ALREADY_HELD, why, error);
    } else if (prepare(lock, &o, error)) {
        op = ds_op_new(client, DS_OP_ACQUIRE, lock, error);
        if (op != NULL) {
            lock->acquiring = op;
            ds_acquire(client->engine, lock->path, &lock->waiter);
        }
    }
    ds_client_leave(client);
    return op;
}

dsync_code dsync_acquire(dsync_lock *lock, const dsync_acquire_options *options, dsync_error *error) {
    dsync_error own;
    error = error != NULL ? error : &own;
    return ds_op_await(dsync_acquire_start(lock, options, error), error);
}

/* ---- releasing --------------------------------------------------------------------------------------------------- */

static void released(ds_release *release, dsync_code code, int64_t free_by_ms) {
    dsync_op *op = DS_CONTAINER_OF(release, dsync_op, release);
    dsync_lock *lock = op->lock;
    if (ds_claim_get(&lock->claim) == DS_CLAIM_RELEASING) {
        ds_claim_move(&lock->claim, DS_CLAIM_IDLE);
    }
    if (code == DSYNC_UNKNOWN) {
        ds_buf message = DS_BUF_EMPTY;
        ds_buf_add_text(&message,
                        "the server has not confirmed the release; it goes on in the background, and the lock will "
                        "be free by ");
        (void)ds_rfc3339_add(&message, free_by_ms);
        ds_op_finish(op, code, message.data);
        ds_buf_free(&message);
    } else {
        ds_op_finish(op, code, code == DSYNC_LOST ? "it had been taken away before the release" : "");
    }
}

static int64_t release_timeout(const dsync_lock *lock) {
    int64_t one = ds_engine_request_timeout(lock->client->engine, lock->params.ttl_ms * DS_MS);
    int64_t all = 2 * one + 500 * DS_MS;
    return all < 5 * DS_SECOND ? all : 5 * DS_SECOND;
}

/* There is no memory to tell how it ends; it is given back all the same. */
static void give_up(dsync_lock *lock, dsync_error *error) {
    ds_waiter_release(&lock->waiter, NULL, 0);
    (void)ds_claim_move(&lock->claim, DS_CLAIM_IDLE);
    ds_error_set(error, DSYNC_RESOURCE, "out of memory; the lock is released in the background");
}

dsync_op *dsync_release_start(dsync_lock *lock, dsync_error *error) {
    dsync_client *client = lock->client;
    dsync_op *op;
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    ds_waiter_look(&lock->waiter);
    if (ds_waiter_entry(&lock->waiter) != NULL) {
        op = ds_op_new(client, DS_OP_RELEASE, lock, error);
        /* First, so that whoever waits for the end hears "released" and not what a fast server makes of it. */
        ds_lock_end_waits(lock, DSYNC_OK, "");
        if (op != NULL) {
            op->release.done = released;
            ds_waiter_release(&lock->waiter, &op->release, release_timeout(lock));
        } else {
            give_up(lock, error);
        }
    } else if (ds_claim_get(&lock->claim) == DS_CLAIM_LOST) {
        dsync_reason reason = (dsync_reason)atomic_load(&lock->claim.reason);
        char message[80];
        snprintf(message, sizeof message, "it was lost before: %s", dsync_reason_name(reason));
        op = ready(client, lock, DSYNC_LOST, message, error);
    } else {
        op = ready(client, lock, DSYNC_NOT_HELD, "this object does not hold it", error);
    }
    ds_client_leave(client);
    return op;
}

dsync_code dsync_release(dsync_lock *lock, dsync_error *error) {
    dsync_error own;
    error = error != NULL ? error : &own;
    return ds_op_await(dsync_release_start(lock, error), error);
}

/* ---- waiting for the end ----------------------------------------------------------------------------------------- */

static void revoked_overdue(ds_timer *timer) {
    dsync_op *op = DS_CONTAINER_OF(timer, dsync_op, timer);
    ds_list_remove(&op->node);
    ds_op_finish(op, DSYNC_TIMEOUT, "still held");
}

dsync_op *dsync_revoked_start(dsync_lock *lock, int64_t timeout_ms, dsync_error *error) {
    dsync_client *client = lock->client;
    dsync_op *op;
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    ds_waiter_look(&lock->waiter);
    if (lock->waiter.state == DS_WAITER_HOLDING) {
        op = ds_op_new(client, DS_OP_REVOKED, lock, error);
        if (op != NULL) {
            ds_list_append(&lock->revoked, &op->node);
            op->timer.fire = revoked_overdue;
            if (timeout_ms >= 0) {
                ds_timer_set(client->engine->world, &op->timer, ds_deadline_in(timeout_ms));
            }
        }
    } else if (ds_claim_get(&lock->claim) == DS_CLAIM_LOST) {
        op = ready(client, lock, DSYNC_LOST, dsync_reason_name(dsync_lost_reason(lock)), error);
    } else {
        op = ready(client, lock, DSYNC_NOT_HELD, "this object does not hold it", error);
    }
    ds_client_leave(client);
    return op;
}
