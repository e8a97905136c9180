/* consul_leave.c: taking entries off the server.
 *
 * One that holds the lock gives it back in the same transaction; one that waits must not touch it, because this very
 * session may hold it for another entry. Which of the two it is, the transaction makes sure of: a holder by its session
 * on the lock, a waiter by not having been written since it entered.
 */
#include "consul_queue.h"

#include "../base/error.h"

#include <stdio.h>
#include <string.h>

#define ROUNDS_MAX 8

static void leave_next(ds_consul_call *call);
static void look(ds_consul_call *call);

/* ---- the ends ---------------------------------------------------------------------------------------------------- */

/* One is off the server. */
static void left(ds_consul_call *call, ds_place place) {
    ds_consul_place_forget(call->consul, call->nonce);
    if (call->leaver_at < call->leaver_count) {
        call->leaver_at++;
        leave_next(call);
        return;
    }
    ds_consul_finish_place(call, place);
}

static void on_tidied(ds_consul_call *call, const ds_consul_answer *answer) {
    (void)answer;
    left(call, DS_PLACE_DONE);
}

/* It is gone all the same; the mark goes when somebody next finds it useless. */
static bool on_not_tidied(ds_consul_call *call, const ds_consul_result *result) {
    (void)result;
    call->failed = NULL;
    left(call, DS_PLACE_DONE);
    return true;
}

/* The queue without the entry: if it is empty, nobody waits. */
static void tidy_up(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *waiting = ds_consul_find(answer, call->waiting.data);
    bool others = false;
    for (size_t i = 0; i < answer->count; i++) {
        const char *key = answer->pairs[i].key;
        others = others || (strncmp(key, call->queue.data, call->queue.size) == 0 && strcmp(key, call->own.data) != 0);
    }
    if (waiting == NULL || others) {
        left(call, DS_PLACE_DONE);
        return;
    }
    ds_consul_delete_if(ds_consul_txn_of(call), call->waiting.data, waiting->modified);
    call->failed = on_not_tidied;
    ds_consul_step(call, DS_CONSUL_TXN, on_tidied);
}

/* ---- as one that waits --------------------------------------------------------------------------------------------- */

static void on_waiter_left(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed != 0) {
        look(call);
    } else {
        tidy_up(call, answer);
    }
}

static void leave_as_waiter(ds_consul_call *call, int64_t modified) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_index(txn, call->own.data, modified);
    ds_consul_delete(txn, call->own.data);
    ds_consul_tree(txn, call->waiting.data);
    ds_consul_tree(txn, call->queue.data);
    ds_consul_step(call, DS_CONSUL_TXN, on_waiter_left);
}

/* ---- as one that holds --------------------------------------------------------------------------------------------- */

static void on_bare_left(ds_consul_call *call, const ds_consul_answer *answer) {
    (void)answer;
    left(call, DS_PLACE_GONE);
}

static void on_holder_left(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed == 0) {
        tidy_up(call, answer);
    } else if (ds_consul_failed(answer, 0) && ds_consul_failed(answer, 1)) {
        left(call, DS_PLACE_GONE);
    } else if (ds_consul_failed(answer, 0)) {
        look(call);
    } else {
        /* The lock was taken from it before: then it has nothing to give back. */
        ds_consul_txn *txn = ds_consul_txn_of(call);
        ds_consul_if_session(txn, call->own.data, call->id);
        ds_consul_delete(txn, call->own.data);
        ds_consul_step(call, DS_CONSUL_TXN, on_bare_left);
    }
}

static void leave_as_holder(ds_consul_call *call) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_session(txn, call->own.data, call->id);
    ds_consul_if_session(txn, call->native.data, call->id);
    ds_consul_delete(txn, call->native.data);
    ds_consul_delete(txn, call->own.data);
    ds_consul_tree(txn, call->waiting.data);
    ds_consul_tree(txn, call->queue.data);
    ds_consul_step(call, DS_CONSUL_TXN, on_holder_left);
}

/* ---- as whichever it is --------------------------------------------------------------------------------------------- */

/* Is the lock still ours though the entry is gone (an operator removed it)? Then nobody else would ever get it. */
static const ds_consul_pair *stray_lock(const ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    if (native == NULL || strcmp(native->session, call->id) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < answer->count; i++) {
        const ds_consul_pair *pair = &answer->pairs[i];
        if (pair != native && pair->flags == DS_CONSUL_HOLDS && strcmp(pair->session, call->id) == 0) {
            return NULL; /* another entry of this session holds it */
        }
    }
    return native;
}

static void leave_stray(ds_consul_call *call, int64_t modified) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_index(txn, call->native.data, modified);
    ds_consul_delete(txn, call->native.data);
    ds_consul_step(call, DS_CONSUL_TXN, on_bare_left);
}

static void on_looked(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *own = ds_consul_find(answer, call->own.data), *stray = stray_lock(call, answer);
    if (own == NULL && stray != NULL) {
        leave_stray(call, stray->modified);
    } else if (own == NULL) {
        left(call, DS_PLACE_GONE);
    } else if (own->flags == DS_CONSUL_HOLDS) {
        leave_as_holder(call);
    } else {
        leave_as_waiter(call, own->modified);
    }
}

static void look(ds_consul_call *call) {
    if (++call->rounds > ROUNDS_MAX) {
        ds_consul_finish_restless(call);
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_tree(txn, call->native.data);
    ds_consul_tree(txn, call->queue.data);
    ds_consul_step(call, DS_CONSUL_READ, on_looked);
}

void ds_consul_leave_stray(ds_consul_call *call) {
    look(call);
}

static void leave(ds_consul_call *call) {
    const ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    call->failed = NULL;
    if (place != NULL && place->standing == DS_CONSUL_OWNER) {
        leave_as_holder(call);
    } else if (place != NULL && place->standing == DS_CONSUL_BEHIND && call->token > 0) {
        leave_as_waiter(call, call->token);
    } else {
        look(call);
    }
}

void ds_consul_leave(ds_backend *backend, ds_call *owner, const ds_entry *entry) {
    ds_consul_call *call = ds_consul_begin(backend, owner, entry->lease);
    if (call == NULL) {
        return;
    }
    ds_consul_fill(call, entry);
    if (!ds_consul_no_memory(call)) {
        leave(call);
    }
}

/* ---- withdraw: first the epoch, so that no copy of a request comes after, then one by one ---------------------------- */

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
        leave(call);
    }
}

static void epoch_moved(ds_consul_call *call, const ds_consul_pair *pair) {
    call->lease_impl->modified = pair->modified;
    leave_next(call);
}

static void on_epoch_read(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *pair = ds_consul_find(answer, call->session.data);
    if (pair == NULL || strcmp(pair->session, call->id) != 0) {
        ds_consul_finish_lost(call);
    } else if (pair->value_size == call->stamp_next.size &&
               memcmp(pair->value, call->stamp_next.data, pair->value_size) == 0) {
        epoch_moved(call, pair); /* by an earlier copy of this request */
    } else {
        (void)ds_consul_stamp_epoch(pair->value, pair->value_size, &call->epoch);
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

void ds_consul_withdraw(ds_backend *backend, ds_call *owner, const ds_lease *lease, const ds_entry *const *entries,
                        size_t count, uint64_t next_epoch) {
    ds_consul_call *call = ds_consul_begin(backend, owner, lease);
    if (call == NULL) {
        return;
    }
    call->lease_impl = lease->impl;
    call->epoch = next_epoch;
    call->token = 0;
    ds_consul_stamp(&call->stamp_next, lease, next_epoch);
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
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_index(txn, call->session.data, ds_consul_epoch_index(lease));
    ds_consul_lock(txn, call->session.data, call->stamp_next.data, call->stamp_next.size, 0, call->id);
    ds_consul_step(call, DS_CONSUL_TXN, on_epoch_moved);
}
