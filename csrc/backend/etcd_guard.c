/* etcd_guard.c: writes under a guard: withdrawing entries behind a new epoch, values and data while an entry owns its
 * queue, and the removal of somebody else's entry.
 */
#include "etcd.h"
#include "stamp.h"

#include <string.h>

/* ---- withdraw ---------------------------------------------------------------------------------------------------- */

static void on_withdrawn(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (reply->succeeded) {
        ds_etcd_finish_place(call, DS_PLACE_DONE, reply->header.revision);
        return;
    }
    const ds_etcd_answer *session = ds_etcd_answer_at(reply, 0, DS_ETCD_OP_RANGE);
    const ds_etcd_kv *kv = session != NULL ? ds_etcd_only(session) : NULL;
    if (kv != NULL && ds_bytes_equal(kv->value, ds_bytes_of(&call->stamp_next))) {
        ds_etcd_finish_place(call, DS_PLACE_DONE, reply->header.revision); /* by an earlier copy of this request */
        return;
    }
    ds_etcd_finish_unless_lost(call, reply, session, DS_PLACE_STALE);
}

/* The names of the entries stand one after the other in call->value. */
static void send_withdraw(ds_etcd_call *call, const size_t *ends, size_t count) {
    ds_etcd_op then[DS_WITHDRAW_MAX + 1];
    ds_bytes session = ds_bytes_of(&call->session);
    then[0] = ds_etcd_op_put(session, ds_bytes_of(&call->stamp_next), call->lease_id);
    size_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        then[i + 1] = ds_etcd_op_delete((ds_bytes){call->value.data + begin, ends[i] - begin});
        begin = ends[i];
    }
    ds_etcd_compare compare = ds_etcd_if_value(session, ds_bytes_of(&call->stamp));
    ds_etcd_op otherwise = ds_etcd_op_get(session);
    ds_etcd_txn txn = {&compare, 1, then, count + 1, &otherwise, 1};
    ds_etcd_step_txn(call, &txn, on_withdrawn);
}

void ds_etcd_withdraw(ds_backend *backend, ds_call *owner, const ds_lease *lease, const ds_entry *const *entries,
                      size_t count, uint64_t next_epoch) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, lease);
    if (call == NULL) {
        return;
    }
    if (count > DS_WITHDRAW_MAX) {
        ds_etcd_refuse_later(call, DS_REFUSED, DSYNC_INVALID, "etcd: too many entries to withdraw at once");
        return;
    }
    call->lease_id = (int64_t)lease->nonce;
    call->epoch = next_epoch;
    ds_etcd_key_session(&call->session, lease);
    ds_stamp_make(&call->stamp, lease, lease->epoch);
    ds_stamp_make(&call->stamp_next, lease, next_epoch);
    size_t ends[DS_WITHDRAW_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        ds_etcd_key_entry(&call->own, entries[i]);
        if (call->own.failed) {
            break; /* the next one would forget that */
        }
        ds_buf_add(&call->value, call->own.data, call->own.size);
        ends[i] = call->value.size;
    }
    if (!ds_etcd_no_memory(call)) {
        send_withdraw(call, ends, count);
    }
}

/* ---- write ------------------------------------------------------------------------------------------------------- */

static void on_written(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (reply->succeeded) {
        ds_etcd_finish_place(call, DS_PLACE_DONE, reply->header.revision);
        return;
    }
    const ds_etcd_answer *own = ds_etcd_answer_at(reply, 0, DS_ETCD_OP_RANGE);
    const ds_etcd_kv *kv = own != NULL ? ds_etcd_only(own) : NULL;
    bool there = kv != NULL && kv->create == call->token;
    ds_etcd_finish_unless_lost(call, reply, ds_etcd_answer_at(reply, 1, DS_ETCD_OP_RANGE),
                               there ? DS_PLACE_STALE : DS_PLACE_GONE);
}

static ds_etcd_op write_op(const ds_etcd_call *call, const ds_write *write) {
    ds_bytes value = {write->value, write->value_size};
    if (write->kind == DS_WRITE_VALUE) {
        return ds_etcd_op_put(ds_bytes_of(&call->own), value, call->lease_id);
    }
    ds_bytes key = {write->key, strlen(write->key)};
    return write->kind == DS_WRITE_PUT ? ds_etcd_op_put(key, value, 0) : ds_etcd_op_delete(key);
}

void ds_etcd_write(ds_backend *backend, ds_call *owner, const ds_write *write) {
    const ds_entry *entry = write->entry;
    ds_etcd_call *call = ds_etcd_begin(backend, owner, entry->lease);
    if (call == NULL) {
        return;
    }
    call->lease_id = (int64_t)entry->lease->nonce;
    call->token = entry->token;
    ds_etcd_key_entry(&call->own, entry);
    ds_etcd_key_session(&call->session, entry->lease);
    ds_stamp_make(&call->stamp, entry->lease, entry->lease->epoch);
    if (ds_etcd_no_memory(call)) {
        return;
    }
    ds_bytes own = ds_bytes_of(&call->own), session = ds_bytes_of(&call->session);
    /* An entry that was first stays first until it goes: its being there is its owning the queue. */
    ds_etcd_compare compares[] = {ds_etcd_if_created(own, entry->token),
                                  ds_etcd_if_value(session, ds_bytes_of(&call->stamp))};
    ds_etcd_op then = write_op(call, write);
    ds_etcd_op otherwise[] = {ds_etcd_op_get(own), ds_etcd_op_get(session)};
    ds_etcd_txn txn = {compares, 2, &then, 1, otherwise, 2};
    ds_etcd_step_txn(call, &txn, on_written);
}

/* ---- evict: find, mark, remove ----------------------------------------------------------------------------------- */

static void mark(ds_etcd_call *call, int64_t lease);

/* Its owner may have written its value in between (acquired_at): then the mark is gone, and goes on again. Each round
 * needs such a write, and the call's own time bounds them all. */
static void on_removed(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (reply->succeeded) {
        ds_etcd_finish_place(call, DS_PLACE_DONE, reply->header.revision);
        return;
    }
    const ds_etcd_answer *own = ds_etcd_answer_at(reply, 0, DS_ETCD_OP_RANGE);
    const ds_etcd_kv *kv = own != NULL ? ds_etcd_only(own) : NULL;
    if (own == NULL) {
        ds_etcd_finish_impossible(call);
    } else if (kv != NULL && kv->create == call->token) {
        mark(call, kv->lease);
    } else {
        ds_etcd_finish_place(call, DS_PLACE_GONE, reply->header.revision);
    }
}

/* Only with the mark in place, so that whoever watches the entry learns why it went. */
static void remove_marked(ds_etcd_call *call) {
    ds_bytes key = ds_bytes_of(&call->own);
    ds_etcd_compare compare[] = {ds_etcd_if_created(key, call->token),
                                 ds_etcd_if_value(key, ds_bytes_of(&call->value))};
    ds_etcd_op then = ds_etcd_op_delete(key);
    ds_etcd_op otherwise = ds_etcd_op_get(key);
    ds_etcd_txn txn = {compare, 2, &then, 1, &otherwise, 1};
    ds_etcd_step_txn(call, &txn, on_removed);
}

static void on_marked(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (reply->succeeded) {
        remove_marked(call);
    } else {
        ds_etcd_finish_place(call, DS_PLACE_GONE, reply->header.revision);
    }
}

/* One transaction cannot both write and delete a key, so the mark goes first. */
static void mark(ds_etcd_call *call, int64_t lease) {
    ds_bytes key = ds_bytes_of(&call->own);
    ds_etcd_compare compare = ds_etcd_if_created(key, call->token);
    ds_etcd_op then = ds_etcd_op_put(key, ds_bytes_of(&call->value), lease);
    ds_etcd_txn txn = {&compare, 1, &then, 1, NULL, 0};
    ds_etcd_step_txn(call, &txn, on_marked);
}

static void on_found(ds_etcd_call *call, const ds_etcd_reply *reply) {
    const ds_etcd_kv *kv = ds_etcd_only(&reply->answers[0]);
    if (kv == NULL) {
        ds_etcd_finish_place(call, DS_PLACE_GONE, reply->header.revision);
        return;
    }
    int64_t lease = kv->lease;
    ds_buf_add(&call->own, kv->key.data, kv->key.size);
    ds_stamp_broken(&call->value, kv->value.data, kv->value.size, call->etcd->id);
    if (!ds_etcd_no_memory(call)) {
        mark(call, lease);
    }
}

void ds_etcd_evict(ds_backend *backend, ds_call *owner, const char *path, int64_t token) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    call->token = token;
    ds_etcd_key_range(&call->queue, &call->queue_end, path);
    if (ds_etcd_no_memory(call)) {
        return;
    }
    if (token <= 0) {
        ds_etcd_refuse_later(call, DS_REFUSED, DSYNC_INVALID, "etcd: a token is a positive number");
        return;
    }
    ds_etcd_request request = {.kind = DS_ETCD_RANGE};
    request.as.range = (ds_etcd_range){.key = ds_bytes_of(&call->queue), .end = ds_bytes_of(&call->queue_end)};
    request.as.range.min_create = request.as.range.max_create = token;
    request.as.range.limit = 2;
    ds_etcd_step(call, &request, on_found);
}
