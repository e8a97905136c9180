/* etcd_call.c: calls in flight: what is common to every operation, and the pieces transactions are made of.
 *
 * A call's buffers are used again by later calls, so that a busy client allocates next to nothing.
 */
#include "etcd.h"
#include "stamp.h"

#include "../base/error.h"

#include <string.h>

#define IDLE_MAX 32                     /* calls kept for later */
#define KEPT_BUFFER ((size_t)16 * 1024) /* larger ones are given back */

typedef struct ds_etcd_lease {
    uint64_t generation;
} ds_etcd_lease;

/* ---- life of a call ---------------------------------------------------------------------------------------------- */

static void each_buffer(ds_etcd_call *call, void (*act)(ds_buf *buf)) {
    ds_buf *const buffers[] = {&call->own,     &call->other,         &call->queue,         &call->queue_end,
                               &call->session, &call->stamp,         &call->stamp_next,    &call->value,
                               &call->text,    &call->exchange.body, &call->exchange.spare};
    for (size_t i = 0; i < DS_COUNT(buffers); i++) {
        act(buffers[i]);
    }
}

static void free_call(ds_etcd_call *call) {
    each_buffer(call, ds_buf_free);
    ds_etcd_exchange_free(&call->exchange);
    ds_free(call->list.found);
    ds_free(call);
}

static void tidy_buffer(ds_buf *buf) {
    if (buf->capacity > KEPT_BUFFER) {
        ds_buf_free(buf);
    } else {
        ds_buf_clear(buf);
    }
}

static void release(ds_etcd_call *call) {
    ds_etcd *etcd = call->etcd;
    if (etcd->idle_count >= IDLE_MAX) {
        free_call(call);
        return;
    }
    each_buffer(call, tidy_buffer);
    ds_etcd_arena_clear(&call->exchange.arena);
    ds_free(call->list.found);
    call->list = (ds_etcd_listing){0};
    etcd->idle_count++;
    ds_list_append(&etcd->idle, &call->node);
}

void ds_etcd_free_idle(ds_etcd *etcd) {
    ds_list *node;
    while ((node = ds_list_pop(&etcd->idle)) != NULL) {
        free_call(DS_LIST_ENTRY(node, ds_etcd_call, node));
    }
}

static void run_late(ds_task *task) {
    ds_etcd_call *call = DS_CONTAINER_OF(task, ds_etcd_call, task);
    ds_reply reply = {.outcome = call->late, .message = call->error.message};
    reply.code = call->late == DS_REFUSED ? call->error.code : DSYNC_OK;
    ds_etcd_finish(call, &reply);
}

/* What was not executed is this message; one before it was. */
static bool is_half_done(const ds_etcd_call *call, ds_class outcome) {
    return call->made_before && (outcome == DS_NOT_EXECUTED || outcome == DS_REFUSED);
}

static void answered(ds_etcd_exchange *exchange, const ds_etcd_result *result) {
    ds_etcd_call *call = DS_CONTAINER_OF(exchange, ds_etcd_call, exchange);
    call->resent = call->resent || result->resent;
    if (result->outcome == DS_OK) {
        call->next(call, result->reply);
        return;
    }
    if (call->failed != NULL && call->failed(call, result)) {
        return;
    }
    ds_reply reply = {.outcome = result->outcome, .message = result->message};
    reply.code = result->outcome == DS_REFUSED ? result->code : DSYNC_OK;
    if (is_half_done(call, result->outcome)) {
        reply.outcome = DS_AMBIGUOUS;
        reply.code = DSYNC_OK;
    }
    ds_etcd_finish(call, &reply);
}

static ds_etcd_call *new_call(ds_etcd *etcd) {
    ds_list *node = ds_list_pop(&etcd->idle);
    if (node != NULL) {
        etcd->idle_count--;
        return DS_LIST_ENTRY(node, ds_etcd_call, node);
    }
    ds_etcd_call *call = ds_calloc(1, sizeof(*call));
    if (call != NULL) {
        call->etcd = etcd;
        call->task.run = run_late;
        ds_list_init(&call->node);
        ds_list_init(&call->task.node);
        ds_etcd_exchange_init(&call->exchange, etcd);
    }
    return call;
}

static void run_no_memory(ds_task *task) {
    ds_call *owner = DS_CONTAINER_OF(task, ds_call, task);
    ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_RESOURCE, .message = "out of memory"};
    owner->impl = NULL;
    owner->done(owner, &reply);
}

static void refuse_without_memory(ds_etcd *etcd, ds_call *owner) {
    owner->impl = owner; /* in flight, without anything of ours */
    owner->task.run = run_no_memory;
    ds_list_init(&owner->task.node);
    ds_post(etcd->base.world, &owner->task);
}

static void reset_call(ds_etcd_call *call, ds_call *owner) {
    call->owner = owner;
    owner->impl = call;
    call->next = NULL;
    call->failed = NULL;
    call->resent = call->made_before = false;
    call->token = call->lease_id = 0;
    call->epoch = 0;
    call->lease = NULL;
    call->exchange.done = answered;
    int64_t now = ds_now(call->etcd->base.world);
    call->exchange.deadline_ns = owner->timeout_ns < DS_NEVER - now ? now + owner->timeout_ns : DS_NEVER;
    call->exchange.urgent = owner->urgent;
    call->exchange.keep = false;
    call->exchange.reply_max = 0;
}

static bool of_this_cluster(const ds_etcd *etcd, const ds_lease *lease) {
    const ds_etcd_lease *impl = lease != NULL ? lease->impl : NULL;
    return impl == NULL || impl->generation == etcd->generation;
}

ds_etcd_call *ds_etcd_begin(ds_backend *backend, ds_call *owner, const ds_lease *lease) {
    ds_etcd *etcd = ds_etcd_of(backend);
    ds_etcd_call *call = new_call(etcd);
    if (call == NULL) {
        refuse_without_memory(etcd, owner);
        return NULL;
    }
    reset_call(call, owner);
    if (!of_this_cluster(etcd, lease)) {
        ds_etcd_refuse_later(call, DS_RESET, DSYNC_OK,
                             "etcd: another or an older cluster answers than the one the session was opened in");
        return NULL;
    }
    return call;
}

bool ds_etcd_bind(ds_etcd *etcd, ds_lease *lease) {
    if (lease->impl == NULL) {
        lease->impl = ds_malloc(sizeof(ds_etcd_lease));
    }
    if (lease->impl == NULL) {
        return false;
    }
    ((ds_etcd_lease *)lease->impl)->generation = etcd->generation;
    return true;
}

void ds_etcd_forget(ds_backend *backend, ds_lease *lease) {
    (void)backend;
    ds_free(lease->impl);
    lease->impl = NULL;
}

void ds_etcd_cancel(ds_backend *backend, ds_call *owner) {
    (void)backend;
    ds_etcd_call *call = owner->impl;
    if (call == NULL) {
        return;
    }
    owner->impl = NULL;
    if ((void *)call == (void *)owner) {
        ds_list_remove(&owner->task.node);
        return;
    }
    ds_etcd_stop(&call->exchange);
    ds_list_remove(&call->task.node);
    release(call);
}

/* ---- steps and ends ---------------------------------------------------------------------------------------------- */

void ds_etcd_step(ds_etcd_call *call, const ds_etcd_request *request,
                  void (*next)(ds_etcd_call *call, const ds_etcd_reply *reply)) {
    call->next = next;
    ds_etcd_send(&call->exchange, request);
}

void ds_etcd_step_txn(ds_etcd_call *call, const ds_etcd_txn *txn,
                      void (*next)(ds_etcd_call *call, const ds_etcd_reply *reply)) {
    ds_etcd_request request = {.kind = DS_ETCD_TXN};
    request.as.txn = *txn;
    ds_etcd_step(call, &request, next);
}

void ds_etcd_finish(ds_etcd_call *call, ds_reply *reply) {
    ds_call *owner = call->owner;
    reply->resent = call->resent;
    owner->impl = NULL;
    owner->done(owner, reply);
    release(call); /* only now: the reply's strings are the call's */
}

void ds_etcd_finish_place(ds_etcd_call *call, ds_place place, int64_t revision) {
    ds_reply reply = {.outcome = DS_OK, .place = place, .token = call->token, .revision = revision};
    reply.epoch = call->epoch;
    ds_etcd_finish(call, &reply);
}

void ds_etcd_finish_lost(ds_etcd_call *call) {
    ds_reply reply = {.outcome = DS_LOST, .message = "etcd: the session's key is gone"};
    ds_etcd_finish(call, &reply);
}

void ds_etcd_finish_impossible(ds_etcd_call *call) {
    ds_error_set(&call->error, DSYNC_PROTOCOL, "etcd at %s contradicts itself", call->exchange.endpoint->origin);
    ds_reply reply = {.outcome = DS_AMBIGUOUS, .message = call->error.message};
    ds_etcd_finish(call, &reply);
}

void ds_etcd_refuse_later(ds_etcd_call *call, ds_class outcome, dsync_code code, const char *message) {
    call->late = outcome;
    ds_error_set(&call->error, code, "%s", message);
    ds_post(call->etcd->base.world, &call->task);
}

bool ds_etcd_no_memory(ds_etcd_call *call) {
    if (call->own.failed || call->other.failed || call->queue.failed || call->queue_end.failed ||
        call->session.failed || call->stamp.failed || call->stamp_next.failed || call->value.failed ||
        call->text.failed) {
        ds_etcd_refuse_later(call, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
        return true;
    }
    return false;
}

/* ---- pieces of transactions -------------------------------------------------------------------------------------- */

ds_etcd_compare ds_etcd_if_created(ds_bytes key, int64_t revision) {
    return (ds_etcd_compare){.target = DS_ETCD_CREATE_IS, .key = key, .create = revision};
}

ds_etcd_compare ds_etcd_if_value(ds_bytes key, ds_bytes value) {
    return (ds_etcd_compare){.target = DS_ETCD_VALUE_IS, .key = key, .value = value};
}

ds_etcd_op ds_etcd_op_get(ds_bytes key) {
    return (ds_etcd_op){.kind = DS_ETCD_OP_RANGE, .as.range = {.key = key}};
}

ds_etcd_op ds_etcd_op_put(ds_bytes key, ds_bytes value, int64_t lease) {
    return (ds_etcd_op){.kind = DS_ETCD_OP_PUT, .as.put = {.key = key, .value = value, .lease = lease}};
}

ds_etcd_op ds_etcd_op_delete(ds_bytes key) {
    return (ds_etcd_op){.kind = DS_ETCD_OP_DELETE, .as.del = {.key = key}};
}

ds_etcd_op ds_etcd_op_owner(const ds_etcd_call *call) {
    ds_etcd_range range = {.key = ds_bytes_of(&call->queue), .end = ds_bytes_of(&call->queue_end)};
    range.order = DS_ETCD_OLDEST_FIRST;
    range.limit = 1;
    return (ds_etcd_op){.kind = DS_ETCD_OP_RANGE, .as.range = range};
}

ds_etcd_op ds_etcd_op_newest(const ds_etcd_call *call) {
    ds_etcd_range range = {.key = ds_bytes_of(&call->queue), .end = ds_bytes_of(&call->queue_end)};
    range.order = DS_ETCD_NEWEST_FIRST;
    range.limit = 2;
    range.keys_only = true;
    return (ds_etcd_op){.kind = DS_ETCD_OP_RANGE, .as.range = range};
}

const ds_etcd_kv *ds_etcd_only(const ds_etcd_answer *answer) {
    return answer->count == 1 ? &answer->kvs[0] : NULL;
}

void ds_etcd_finish_unless_lost(ds_etcd_call *call, const ds_etcd_reply *reply, const ds_etcd_answer *session,
                                ds_place place) {
    const ds_etcd_kv *kv = session != NULL ? ds_etcd_only(session) : NULL;
    if (session == NULL) {
        ds_etcd_finish_impossible(call);
    } else if (kv == NULL) {
        ds_etcd_finish_lost(call);
    } else {
        uint64_t epoch = 0;
        (void)ds_stamp_epoch(kv->value.data, kv->value.size, &epoch); /* 0: unknown */
        call->epoch = epoch;
        ds_etcd_finish_place(call, place, reply->header.revision);
    }
}
