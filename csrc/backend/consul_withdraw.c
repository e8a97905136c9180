/* consul_withdraw.c: taking entries off the server so that no late copy of a request brings one back: first the epoch
 * moves, behind which copies have no effect, then the entries go one by one.
 *
 * Under faults many entries would never all go in one try. What is off the server after the epoch moved stays off, so
 * the next try goes on where the last one ended.
 */
#include "consul_queue.h"
#include "stamp.h"

#include <string.h>

static void leave_next(ds_consul_call *call);

static void one_left(ds_consul_call *call, ds_place place) {
    (void)place;
    memcpy(call->lease_impl->withdrawn_last, call->nonce, sizeof(call->nonce));
    call->lease_impl->withdrawn = ++call->leaver_at;
    leave_next(call);
}

static void leave_next(ds_consul_call *call) {
    if (call->leaver_at == call->leaver_count) {
        ds_consul_finish_place(call, DS_PLACE_DONE);
        return;
    }
    const ds_consul_leaver *leaver = &call->leavers[call->leaver_at];
    const ds_consul *consul = call->consul;
    memcpy(call->nonce, leaver->nonce, sizeof(call->nonce));
    call->token = leaver->token;
    call->rounds = 0;
    ds_consul_key_native(consul, &call->native, leaver->path);
    ds_consul_key_waiting(consul, &call->waiting, leaver->path);
    ds_consul_key_queue(consul, &call->queue, leaver->path);
    ds_consul_key_entry(consul, &call->own, leaver->path, leaver->nonce);
    if (!ds_consul_no_memory(call)) {
        ds_consul_leave_with(call, one_left);
    }
}

static void epoch_moved(ds_consul_call *call, const ds_consul_pair *pair) {
    call->lease_impl->modified = pair->modified;
    call->lease_impl->withdrawn_epoch = call->epoch;
    call->lease_impl->withdrawn = 0;
    leave_next(call);
}

static void on_epoch_read(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *pair = ds_consul_find(answer, call->session.data);
    if (!ds_consul_is_session_key(call, pair)) {
        ds_consul_finish_lost(call);
    } else if (pair->value_size == call->stamp_next.size &&
               memcmp(pair->value, call->stamp_next.data, pair->value_size) == 0) {
        epoch_moved(call, pair); /* by an earlier copy of this request */
    } else {
        (void)ds_stamp_epoch(pair->value, pair->value_size, &call->epoch);
        ds_consul_finish_place(call, DS_PLACE_STALE);
    }
}

static void on_epoch_moved(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *pair = ds_consul_find(answer, call->session.data);
    if (answer->failed != 0) {
        ds_consul_get(ds_consul_txn_of(call), call->session.data);
        ds_consul_step(call, DS_CONSUL_READ, on_epoch_read);
    } else if (pair == NULL) {
        ds_consul_finish_impossible(call);
    } else {
        epoch_moved(call, pair);
    }
}

static bool copy_leavers(ds_consul_call *call, const ds_entry *const *entries, size_t count) {
    call->leavers = ds_calloc(count + 1, sizeof(*call->leavers));
    for (size_t i = 0; call->leavers != NULL && i < count; i++) {
        ds_consul_leaver *leaver = &call->leavers[i];
        memcpy(leaver->nonce, entries[i]->nonce, sizeof(leaver->nonce));
        leaver->token = entries[i]->token;
        leaver->path = ds_strdup(entries[i]->path);
        if (leaver->path == NULL) {
            return false;
        }
        call->leaver_count++;
    }
    return call->leavers != NULL;
}

/* An earlier try of this very withdrawal has moved the epoch: how far did it come? */
static bool begun_before(ds_consul_call *call) {
    const ds_consul_lease *impl = call->lease_impl;
    size_t done = impl->withdrawn;
    bool same = impl->withdrawn_epoch == call->epoch && done < call->leaver_count &&
                (done == 0 || strcmp(call->leavers[done - 1].nonce, impl->withdrawn_last) == 0);
    call->leaver_at = same ? done : 0;
    return same;
}

void ds_consul_withdraw(ds_backend *backend, ds_call *owner, const ds_lease *lease, const ds_entry *const *entries,
                        size_t count, uint64_t next_epoch) {
    ds_consul_call *call = ds_consul_begin(backend, owner, lease);
    if (call == NULL) {
        return;
    }
    call->lease_impl = lease->impl;
    call->epoch = next_epoch;
    call->token = 0;
    ds_stamp_make(&call->stamp_next, lease, next_epoch);
    if (ds_consul_no_memory(call)) {
        return;
    }
    if (call->lease_impl == NULL) {
        ds_consul_refuse_later(call, DS_LOST, DSYNC_OK, "Consul: the session was never opened");
        return;
    }
    if (!copy_leavers(call, entries, count)) {
        ds_consul_refuse_later(call, DS_NOT_EXECUTED, DSYNC_RESOURCE, "out of memory");
        return;
    }
    if (begun_before(call)) {
        leave_next(call);
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_index(txn, call->session.data, ds_consul_epoch_index(lease));
    ds_consul_lock(txn, call->session.data, call->stamp_next.data, call->stamp_next.size, 0, call->id);
    ds_consul_step(call, DS_CONSUL_TXN, on_epoch_moved);
}
