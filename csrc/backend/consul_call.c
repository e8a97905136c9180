/* consul_call.c: calls in flight: what is common to every operation.
 *
 * A call's buffers are used again by later calls, so that a busy client allocates next to nothing.
 */
#include "consul.h"
#include "stamp.h"

#include "../base/error.h"

#include <stdio.h>
#include <string.h>

#define IDLE_MAX 32                     /* calls kept for later */
#define KEPT_BUFFER ((size_t)16 * 1024) /* larger ones are given back */

/* ---- life of a call ---------------------------------------------------------------------------------------------- */

static void each_buffer(ds_consul_call *call, void (*act)(ds_buf *buf)) {
    ds_buf *const buffers[] = {&call->own,
                               &call->other,
                               &call->native,
                               &call->waiting,
                               &call->queue,
                               &call->session,
                               &call->stamp,
                               &call->value,
                               &call->text,
                               &call->stamp_next,
                               &call->exchange.txn.body};
    for (size_t i = 0; i < DS_COUNT(buffers); i++) {
        act(buffers[i]);
    }
}

static void drop_lists(ds_consul_call *call) {
    for (size_t i = 0; i < call->leaver_count; i++) {
        ds_free(call->leavers[i].path);
    }
    ds_free(call->leavers);
    ds_free(call->peers);
    ds_free(call->strings);
    call->leavers = NULL;
    call->peers = NULL;
    call->strings = NULL;
    call->leaver_count = call->leaver_at = 0;
}

static void free_call(ds_consul_call *call) {
    each_buffer(call, ds_buf_free);
    drop_lists(call);
    ds_consul_exchange_free(&call->exchange);
    ds_free(call);
}

static void tidy_buffer(ds_buf *buf) {
    if (buf->capacity > KEPT_BUFFER) {
        ds_buf_free(buf);
    } else {
        ds_buf_clear(buf);
    }
}

static void release(ds_consul_call *call) {
    ds_consul *consul = call->consul;
    if (consul->idle_count >= IDLE_MAX) {
        free_call(call);
        return;
    }
    each_buffer(call, tidy_buffer);
    drop_lists(call);
    ds_consul_answer_clear(&call->exchange.answer);
    consul->idle_count++;
    ds_list_append(&consul->idle, &call->node);
}

void ds_consul_free_idle(ds_consul *consul) {
    ds_list *node;
    while ((node = ds_list_pop(&consul->idle)) != NULL) {
        free_call(DS_LIST_ENTRY(node, ds_consul_call, node));
    }
}

static void run_late(ds_task *task) {
    ds_consul_call *call = DS_CONTAINER_OF(task, ds_consul_call, task);
    ds_reply reply = {.outcome = call->late, .message = call->error.message};
    reply.code = call->late == DS_REFUSED ? call->error.code : DSYNC_OK;
    ds_consul_finish(call, &reply);
}

/* What was not executed is this request; one before it was. */
static bool is_half_done(const ds_consul_call *call, ds_class outcome) {
    return call->changed && (outcome == DS_NOT_EXECUTED || outcome == DS_REFUSED);
}

static void answered(ds_consul_exchange *exchange, const ds_consul_result *result) {
    ds_consul_call *call = DS_CONTAINER_OF(exchange, ds_consul_call, exchange);
    call->resent = call->resent || result->resent;
    if (result->outcome == DS_OK) {
        call->changed = call->changed || (exchange->kind == DS_CONSUL_TXN && result->answer->failed == 0);
        call->next(call, result->answer);
        return;
    }
    ds_reply reply = {.outcome = result->outcome, .code = result->code, .message = result->message};
    if (call->deferred != NULL) {
        reply.outcome = result->outcome == DS_AMBIGUOUS ? DS_NOT_EXECUTED : result->outcome;
    } else if (call->failed != NULL && call->failed(call, result)) {
        return;
    }
    if (is_half_done(call, result->outcome)) {
        reply.outcome = DS_AMBIGUOUS;
        reply.code = DSYNC_OK;
    }
    ds_consul_finish(call, &reply);
}

static ds_consul_call *new_call(ds_consul *consul) {
    ds_list *node = ds_list_pop(&consul->idle);
    if (node != NULL) {
        consul->idle_count--;
        return DS_LIST_ENTRY(node, ds_consul_call, node);
    }
    ds_consul_call *call = ds_calloc(1, sizeof(*call));
    if (call != NULL) {
        call->consul = consul;
        call->task.run = run_late;
        ds_list_init(&call->node);
        ds_list_init(&call->task.node);
        ds_consul_exchange_init(&call->exchange, consul);
    }
    return call;
}

static void run_no_memory(ds_task *task) {
    ds_call *owner = DS_CONTAINER_OF(task, ds_call, task);
    ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_RESOURCE, .message = "out of memory"};
    owner->impl = NULL;
    owner->done(owner, &reply);
}

static void refuse_without_memory(ds_consul *consul, ds_call *owner) {
    owner->impl = owner; /* in flight, without anything of ours */
    owner->task.run = run_no_memory;
    ds_list_init(&owner->task.node);
    ds_post(consul->base.world, &owner->task);
}

static void reset_call(ds_consul_call *call, ds_call *owner) {
    call->owner = owner;
    owner->impl = call;
    call->next = NULL;
    call->failed = NULL;
    call->deferred = NULL;
    call->resent = call->changed = call->only_try = false;
    call->token = call->other_token = call->modified = call->revision = call->session_created = 0;
    call->epoch = 0;
    call->rounds = 0;
    call->lease = NULL;
    call->lease_impl = NULL;
    call->id[0] = call->nonce[0] = call->other_nonce[0] = '\0';
    call->floor = call->consul->index;
    call->exchange.done = answered;
    int64_t now = ds_now(call->consul->base.world);
    call->exchange.deadline_ns = owner->timeout_ns < DS_NEVER - now ? now + owner->timeout_ns : DS_NEVER;
    call->exchange.urgent = owner->urgent;
    call->exchange.global = false;
    call->exchange.reply_max = 0;
    call->exchange.subject = call->id;
}

ds_consul_call *ds_consul_begin(ds_backend *backend, ds_call *owner, const ds_lease *lease) {
    ds_consul *consul = ds_consul_of(backend);
    ds_consul_call *call = new_call(consul);
    if (call == NULL) {
        refuse_without_memory(consul, owner);
        return NULL;
    }
    reset_call(call, owner);
    if (lease != NULL) {
        snprintf(call->id, sizeof(call->id), "%s", lease->id);
        call->epoch = lease->epoch;
        call->session_created = lease->created;
        ds_consul_key_session(&call->session, lease);
        call->exchange.global = lease->global;
    }
    return call;
}

void ds_consul_cancel(ds_backend *backend, ds_call *owner) {
    (void)backend;
    ds_consul_call *call = owner->impl;
    if (call == NULL) {
        return;
    }
    owner->impl = NULL;
    if ((void *)call == (void *)owner) {
        ds_list_remove(&owner->task.node);
        return;
    }
    ds_consul_stop(&call->exchange);
    ds_list_remove(&call->task.node);
    release(call);
}

/* ---- steps and ends ---------------------------------------------------------------------------------------------- */

ds_consul_txn *ds_consul_txn_of(ds_consul_call *call) {
    ds_consul_txn_begin(&call->exchange.txn);
    return &call->exchange.txn;
}

static void on_primary(ds_consul_call *call, const ds_consul_answer *answer) {
    ds_consul *consul = call->consul;
    const char *primary = ds_json_text(ds_json_object(answer->json, "DebugConfig"), "PrimaryDatacenter");
    if (primary == NULL || primary[0] == '\0') {
        primary = ds_json_text(ds_json_object(answer->json, "Config"), "Datacenter");
    }
    snprintf(consul->primary, sizeof(consul->primary), "%s", primary != NULL ? primary : "");
    if (consul->primary[0] == '\0') {
        ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_CONFIG};
        reply.message = "the agent does not name the primary datacenter: set consul.datacenter";
        ds_consul_finish(call, &reply);
        return;
    }
    call->next = call->deferred;
    call->deferred = NULL;
    ds_consul_send(&call->exchange, call->deferred_kind);
}

void ds_consul_step(ds_consul_call *call, ds_consul_kind kind,
                    void (*next)(ds_consul_call *call, const ds_consul_answer *answer)) {
    if (kind == DS_CONSUL_TXN || kind == DS_CONSUL_READ) {
        ds_consul_txn_end(&call->exchange.txn);
    }
    call->next = next;
    if (ds_consul_needs_primary(call->consul, call->exchange.global)) {
        call->deferred = next;
        call->deferred_kind = kind;
        call->next = on_primary;
        kind = DS_CONSUL_SELF;
    }
    ds_consul_send(&call->exchange, kind);
}

void ds_consul_finish(ds_consul_call *call, ds_reply *reply) {
    ds_call *owner = call->owner;
    reply->resent = call->resent;
    owner->impl = NULL;
    owner->done(owner, reply);
    release(call); /* only now: the reply's strings are the call's */
}

void ds_consul_finish_place(ds_consul_call *call, ds_place place) {
    ds_reply reply = {.outcome = DS_OK, .place = place, .token = call->token, .revision = call->revision};
    reply.epoch = call->epoch;
    ds_consul_finish(call, &reply);
}

void ds_consul_finish_ahead(ds_consul_call *call, const char *ahead) {
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_WAITING, .token = call->token, .ahead = ahead};
    reply.revision = call->revision;
    ds_consul_finish(call, &reply);
}

void ds_consul_finish_lost(ds_consul_call *call) {
    ds_reply reply = {.outcome = DS_LOST, .message = "Consul: the session is gone"};
    ds_consul_finish(call, &reply);
}

void ds_consul_finish_impossible(ds_consul_call *call) {
    ds_error_set(&call->error, DSYNC_PROTOCOL, "Consul at %s contradicts itself", call->exchange.endpoint->origin);
    ds_reply reply = {.outcome = DS_AMBIGUOUS, .message = call->error.message};
    ds_consul_finish(call, &reply);
}

void ds_consul_finish_restless(ds_consul_call *call) {
    ds_reply reply = {.outcome = call->changed ? DS_AMBIGUOUS : DS_NOT_EXECUTED,
                      .message = "Consul: the keys change faster than they can be read"};
    ds_consul_finish(call, &reply);
}

void ds_consul_refuse_later(ds_consul_call *call, ds_class outcome, dsync_code code, const char *message) {
    call->late = outcome;
    ds_error_set(&call->error, code, "%s", message);
    ds_post(call->consul->base.world, &call->task);
}

bool ds_consul_no_memory(ds_consul_call *call) {
    if (call->own.failed || call->other.failed || call->native.failed || call->waiting.failed || call->queue.failed ||
        call->session.failed || call->stamp.failed || call->stamp_next.failed || call->value.failed ||
        call->text.failed) {
        ds_consul_refuse_later(call, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
        return true;
    }
    return false;
}

/* ---- is the session still there? --------------------------------------------------------------------------------- */

bool ds_consul_is_session_key(const ds_consul_call *call, const ds_consul_pair *pair) {
    return pair != NULL && strcmp(pair->session, call->id) == 0 &&
           (call->session_created == 0 || pair->created == call->session_created);
}

static void on_session_read(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *pair = ds_consul_find(answer, call->session.data);
    if (!ds_consul_is_session_key(call, pair)) {
        ds_consul_finish_lost(call);
        return;
    }
    uint64_t epoch = 0;
    (void)ds_stamp_epoch(pair->value, pair->value_size, &epoch); /* 0: unknown */
    call->epoch = epoch;
    if (call->changed) { /* by a copy of the request that came before the epoch moved */
        ds_reply reply = {.outcome = DS_AMBIGUOUS, .message = "Consul: the session's epoch has moved on meanwhile"};
        ds_consul_finish(call, &reply);
        return;
    }
    ds_consul_finish_place(call, DS_PLACE_STALE);
}

void ds_consul_finish_unless_lost(ds_consul_call *call) {
    ds_consul_get(ds_consul_txn_of(call), call->session.data);
    ds_consul_step(call, DS_CONSUL_READ, on_session_read);
}
