/* etcd_queue.c: taking, asking for, exchanging and giving up a place in a queue. One transaction each.
 *
 * The queue is every key below its path, in the order of creation; the oldest owns it. A key's create revision is the
 * place, the token, and the guard of everything that follows.
 */
#include "etcd.h"
#include "stamp.h"

#include <string.h>

/* What the branch for a failed guard reads, in this order. The fewer and shorter the parts of a transaction, the sooner
 * the JSON gateway is done with it: this is most of what a cycle costs. */
enum { AT_OWN, AT_SESSION, AT_OWNER };

static void look_again(ds_etcd_call *call);

static bool is_own(const ds_etcd_call *call, const ds_etcd_kv *kv) {
    return ds_bytes_equal(kv->key, ds_bytes_of(&call->own));
}

static const ds_peer *as_holder(ds_etcd_call *call, const ds_etcd_kv *kv) {
    ds_peer *holder = &call->holder;
    holder->path = call->text.data;
    holder->key = kv->key.data;
    holder->value = kv->value.data;
    holder->value_size = kv->value.size;
    holder->token = kv->create;
    holder->holds = true;
    return holder;
}

/* `ahead`: of the entries that were found. */
static void finish_waiting(ds_etcd_call *call, int64_t revision, const ds_etcd_answer *found, size_t ahead) {
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_WAITING, .token = call->token, .revision = revision};
    reply.ahead = found->kvs[ahead].key.data;
    reply.crowd = found->total;
    ds_etcd_finish(call, &reply);
}

static void tell_place_of(ds_etcd_call *call, const ds_etcd_kv *own);

/* The entry was made by this transaction, so it is the newest. Somebody before it? Where a late copy of a request for
 * the last entry of its name had made it, an exchange has only written it: then it is as old as that. */
static void tell_place(ds_etcd_call *call, const ds_etcd_reply *reply, const ds_etcd_answer *newest) {
    call->token = reply->header.revision;
    if (newest == NULL || newest->count == 0 || !is_own(call, &newest->kvs[0])) {
        ds_etcd_finish_impossible(call);
    } else if (newest->kvs[0].create != reply->header.revision) {
        tell_place_of(call, &newest->kvs[0]);
    } else if (newest->count == 1) {
        ds_etcd_finish_place(call, DS_PLACE_HELD, reply->header.revision);
    } else {
        finish_waiting(call, reply->header.revision, newest, 1);
    }
}

/* An earlier copy of the request made the entry, or one of the last entry's of this name; others may have come since.
 */
static void tell_place_of(ds_etcd_call *call, const ds_etcd_kv *own) {
    if (own->create <= call->former) {
        ds_reply reply = {.outcome = DS_RESET, .message = "etcd: a removed entry is back: it shows an older state"};
        ds_etcd_finish(call, &reply);
        return;
    }
    call->token = own->create;
    call->made_before = true;
    look_again(call);
}

static void fill_entry(ds_etcd_call *call, const ds_entry *entry) {
    const ds_lease *lease = entry->lease;
    call->lease_id = (int64_t)lease->nonce;
    call->token = entry->token;
    call->former = entry->former;
    ds_etcd_key_entry(&call->own, entry);
    ds_etcd_key_range(&call->queue, &call->queue_end, entry->path);
    ds_etcd_key_session(&call->session, lease);
    ds_buf_add_text(&call->text, entry->path);
}

/* ---- enter ------------------------------------------------------------------------------------------------------- */

/* The guard failed: the entry is there already, or the session is gone or has moved on. */
static void not_entered(ds_etcd_call *call, const ds_etcd_reply *reply, bool only_try) {
    const ds_etcd_answer *own = ds_etcd_answer_at(reply, AT_OWN, DS_ETCD_OP_RANGE);
    const ds_etcd_answer *session = ds_etcd_answer_at(reply, AT_SESSION, DS_ETCD_OP_RANGE);
    const ds_etcd_answer *owner = only_try ? ds_etcd_answer_at(reply, AT_OWNER, DS_ETCD_OP_RANGE) : NULL;
    if (own == NULL || session == NULL || (only_try && owner == NULL)) {
        ds_etcd_finish_impossible(call);
        return;
    }
    if (own->count == 1) {
        tell_place_of(call, &own->kvs[0]);
        return;
    }
    if (only_try && session->count == 1 && owner->count == 1) {
        ds_reply busy = {.outcome = DS_OK, .place = DS_PLACE_BUSY, .revision = reply->header.revision};
        busy.holder = as_holder(call, &owner->kvs[0]);
        ds_etcd_finish(call, &busy);
        return;
    }
    const ds_etcd_kv *stamp = ds_etcd_only(session);
    if (stamp != NULL && ds_bytes_equal(stamp->value, ds_bytes_of(&call->stamp))) {
        ds_etcd_finish_impossible(call); /* then what made the guard fail? */
        return;
    }
    ds_etcd_finish_unless_lost(call, reply, session, DS_PLACE_STALE);
}

static void on_entered(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (reply->succeeded) {
        tell_place(call, reply, ds_etcd_answer_at(reply, 1, DS_ETCD_OP_RANGE));
    } else {
        not_entered(call, reply, false);
    }
}

/* Its guard was that nobody is there at all. */
static void on_tried(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (reply->succeeded) {
        call->token = reply->header.revision;
        ds_etcd_finish_place(call, DS_PLACE_HELD, reply->header.revision);
    } else {
        not_entered(call, reply, true);
    }
}

void ds_etcd_enter(ds_backend *backend, ds_call *owner, const ds_entry *entry, bool only_try) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, entry->lease);
    if (call == NULL) {
        return;
    }
    fill_entry(call, entry);
    ds_stamp_make(&call->stamp, entry->lease, entry->lease->epoch);
    if (ds_etcd_no_memory(call)) {
        return;
    }
    ds_bytes own = ds_bytes_of(&call->own), session = ds_bytes_of(&call->session);
    ds_etcd_compare compares[] = {ds_etcd_if_created(own, 0), ds_etcd_if_value(session, ds_bytes_of(&call->stamp))};
    if (only_try) {
        compares[0] = ds_etcd_if_created(ds_bytes_of(&call->queue), 0);
        compares[0].end = ds_bytes_of(&call->queue_end);
    }
    ds_bytes value = {entry->value, entry->value_size};
    ds_etcd_op then[] = {ds_etcd_op_put(own, value, call->lease_id), ds_etcd_op_newest(call)};
    ds_etcd_op otherwise[] = {ds_etcd_op_get(own), ds_etcd_op_get(session), ds_etcd_op_owner(call)};
    ds_etcd_txn txn = {compares, 2, then, only_try ? 1 : 2, otherwise, only_try ? 3 : 2};
    ds_etcd_step_txn(call, &txn, only_try ? on_tried : on_entered);
}

/* ---- check ------------------------------------------------------------------------------------------------------- */

static void on_checked(ds_etcd_call *call, const ds_etcd_reply *reply) {
    const ds_etcd_answer *answer = ds_etcd_answer_at(reply, 0, DS_ETCD_OP_RANGE);
    if (!reply->succeeded) {
        ds_etcd_finish_unless_lost(call, reply, answer, DS_PLACE_GONE);
    } else if (answer == NULL || (answer->count > 0 && answer->kvs[0].create >= call->token)) {
        ds_etcd_finish_impossible(call);
    } else if (answer->count == 0) {
        ds_etcd_finish_place(call, DS_PLACE_HELD, reply->header.revision);
    } else {
        finish_waiting(call, reply->header.revision, answer, 0);
    }
}

/* A read; even a stale answer does no harm, because those ahead only ever go away. */
static void look_again(ds_etcd_call *call) {
    ds_etcd_compare compare = ds_etcd_if_created(ds_bytes_of(&call->own), call->token);
    ds_etcd_op nearest = ds_etcd_op_newest(call);
    nearest.as.range.limit = 1;
    nearest.as.range.max_create = call->token - 1;
    ds_etcd_op session = ds_etcd_op_get(ds_bytes_of(&call->session));
    ds_etcd_txn txn = {&compare, 1, &nearest, 1, &session, 1};
    ds_etcd_step_txn(call, &txn, on_checked);
}

void ds_etcd_check(ds_backend *backend, ds_call *owner, const ds_entry *entry) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, entry->lease);
    if (call == NULL) {
        return;
    }
    fill_entry(call, entry);
    if (ds_etcd_no_memory(call)) {
        return;
    }
    if (call->token <= 1) { /* no key is as old as that, and 0 would mean "no limit" below */
        ds_etcd_refuse_later(call, DS_REFUSED, DSYNC_INVALID, "etcd: an entry without a token cannot be checked");
        return;
    }
    look_again(call);
}

/* ---- leave ------------------------------------------------------------------------------------------------------- */

static void on_left(ds_etcd_call *call, const ds_etcd_reply *reply) {
    const ds_etcd_answer *answer = ds_etcd_answer_at(reply, 0, DS_ETCD_OP_DELETE);
    bool gone = !reply->succeeded || (answer != NULL && answer->deleted == 0);
    ds_etcd_finish_place(call, gone ? DS_PLACE_GONE : DS_PLACE_DONE, reply->header.revision);
}

void ds_etcd_leave(ds_backend *backend, ds_call *owner, const ds_entry *entry) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, entry->lease);
    if (call == NULL) {
        return;
    }
    call->token = entry->token;
    ds_etcd_key_entry(&call->own, entry);
    if (ds_etcd_no_memory(call)) {
        return;
    }
    ds_etcd_compare compare = ds_etcd_if_created(ds_bytes_of(&call->own), entry->token);
    ds_etcd_op remove = ds_etcd_op_delete(ds_bytes_of(&call->own));
    /* Without a token the nonce in the name is the guard: no other entry ever has this name. */
    ds_etcd_txn txn = {&compare, entry->token > 0 ? 1 : 0, &remove, 1, NULL, 0};
    ds_etcd_step_txn(call, &txn, on_left);
}

/* ---- swap -------------------------------------------------------------------------------------------------------- */

static void not_swapped(ds_etcd_call *call, const ds_etcd_reply *reply) {
    const ds_etcd_answer *own = ds_etcd_answer_at(reply, AT_OWN, DS_ETCD_OP_RANGE);
    if (own != NULL && own->count == 1) {
        tell_place_of(call, &own->kvs[0]);
        return;
    }
    ds_etcd_finish_unless_lost(call, reply, ds_etcd_answer_at(reply, AT_SESSION, DS_ETCD_OP_RANGE), DS_PLACE_GONE);
}

static void on_swapped(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (reply->succeeded) {
        tell_place(call, reply, ds_etcd_answer_at(reply, 2, DS_ETCD_OP_RANGE));
    } else {
        not_swapped(call, reply);
    }
}

void ds_etcd_swap(ds_backend *backend, ds_call *owner, const ds_entry *old, const ds_entry *fresh) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, fresh->lease);
    if (call == NULL) {
        return;
    }
    fill_entry(call, fresh);
    ds_etcd_key_entry(&call->other, old);
    if (ds_etcd_no_memory(call)) {
        return;
    }
    ds_bytes own = ds_bytes_of(&call->own), former = ds_bytes_of(&call->other);
    ds_etcd_compare compare = ds_etcd_if_created(former, old->token);
    ds_bytes value = {fresh->value, fresh->value_size};
    ds_etcd_op then[] = {ds_etcd_op_delete(former), ds_etcd_op_put(own, value, call->lease_id),
                         ds_etcd_op_newest(call)};
    ds_etcd_op otherwise[] = {ds_etcd_op_get(own), ds_etcd_op_get(ds_bytes_of(&call->session))};
    ds_etcd_txn txn = {&compare, 1, then, DS_COUNT(then), otherwise, DS_COUNT(otherwise)};
    ds_etcd_step_txn(call, &txn, on_swapped);
}
