/* consul_leave.c: taking one entry off the server.
 *
 * One that holds the lock gives it back in the same transaction. One that waits must not touch the lock, because
 * this very session may hold it for another entry; but a request to take the lock for it may have been carried out
 * unknown to us (its answer was lost, or a copy of it came late), and then the lock would stay with the session for
 * good. So the transaction that takes the entry away shows whose the lock is: none can be taken for it after that.
 * If the session has it and no other entry, it is given back. Where nothing is known of the entry, the server is
 * asked first.
 */
#include "consul_queue.h"

#include <string.h>

#define ROUNDS_MAX 8

static void look(ds_consul_call *call, bool native);

/* ---- the ends ---------------------------------------------------------------------------------------------------- */

/* One is off the server. */
static void left(ds_consul_call *call) {
    ds_consul_place_forget(call->consul, call->nonce);
    call->failed = NULL;
    call->left(call, call->end);
}

static void on_tidied(ds_consul_call *call, const ds_consul_answer *answer) {
    (void)answer;
    left(call);
}

/* It is gone all the same; the mark goes when somebody next finds it useless. */
static bool on_not_tidied(ds_consul_call *call, const ds_consul_result *result) {
    (void)result;
    left(call);
    return true;
}

/* Shows what is left of the queue, for tidying up. */
static void add_rest(const ds_consul_call *call, ds_consul_txn *txn) {
    ds_consul_tree(txn, call->waiting.data);
    ds_consul_tree(txn, call->queue.data);
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
        left(call);
        return;
    }
    ds_consul_delete_if(ds_consul_txn_of(call), call->waiting.data, waiting->modified);
    call->failed = on_not_tidied;
    ds_consul_step(call, DS_CONSUL_TXN, on_tidied);
}

/* ---- the entry is gone, but the lock may be the session's -------------------------------------------------------- */

static void look_for_lock(ds_consul_call *call);

static void on_lock_given_back(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed != 0) {
        look_for_lock(call);
    } else {
        tidy_up(call, answer);
    }
}

/* The lock is as it was when this entry held it: no other one of the session has taken it since. */
static bool is_left_behind(const ds_consul_call *call, const ds_consul_pair *native) {
    const ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    bool held = place != NULL && (place->standing == DS_CONSUL_OWNER || place->standing == DS_CONSUL_ROBBED);
    return held && place->since == native->modified;
}

/* Then the lock stays with them; which of them has it, they find out. */
static bool session_has_others(const ds_consul_call *call, const ds_consul_answer *answer) {
    for (size_t i = 0; i < answer->count; i++) {
        const ds_consul_pair *pair = &answer->pairs[i];
        if (strncmp(pair->key, call->queue.data, call->queue.size) == 0 && strcmp(pair->key, call->own.data) != 0 &&
            strcmp(pair->session, call->id) == 0) {
            return true;
        }
    }
    return false;
}

static void on_lock_seen(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    bool ours = native != NULL && strcmp(native->session, call->id) == 0;
    if (!ours || (!is_left_behind(call, native) && session_has_others(call, answer))) {
        left(call);
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_index(txn, call->native.data, native->modified);
    ds_consul_delete(txn, call->native.data);
    add_rest(call, txn);
    ds_consul_step(call, DS_CONSUL_TXN, on_lock_given_back);
}

static void look_for_lock(ds_consul_call *call) {
    if (++call->rounds > ROUNDS_MAX) {
        ds_consul_finish_restless(call);
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_get(txn, call->native.data);
    ds_consul_tree(txn, call->queue.data);
    ds_consul_step(call, DS_CONSUL_READ, on_lock_seen);
}

/* The entry itself was not there. */
static void find_gone(ds_consul_call *call) {
    call->end = DS_PLACE_GONE;
    look_for_lock(call);
}

void ds_consul_finish_gone(ds_consul_call *call) {
    call->left = ds_consul_finish_place;
    find_gone(call);
}

/* ---- as one that waits ------------------------------------------------------------------------------------------- */

static void on_waiter_left(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    if (answer->failed != 0) {
        look(call, true);
    } else if (native != NULL && strcmp(native->session, call->id) == 0) {
        on_lock_seen(call, answer); /* taken for this entry, if the session has no other one */
    } else {
        tidy_up(call, answer);
    }
}

static void finish_waiter(ds_consul_call *call, ds_consul_txn *txn) {
    ds_consul_delete(txn, call->own.data);
    add_rest(call, txn);
    ds_consul_step(call, DS_CONSUL_TXN, on_waiter_left);
}

static void leave_as_waiter(ds_consul_call *call) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_session(txn, call->own.data, call->id);
    ds_consul_tree(txn, call->native.data);
    finish_waiter(call, txn);
}

/* The lock is somebody else's, as far as was seen; or another entry's of this session, which then must still be
 * there. */
static void leave_if_unchanged(ds_consul_call *call, const ds_consul_pair *native, const ds_consul_pair *sibling) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_session(txn, call->own.data, call->id);
    if (sibling != NULL) {
        ds_consul_if_session(txn, sibling->key, call->id);
    } else if (native != NULL) {
        ds_consul_if_index(txn, call->native.data, native->modified);
    } else {
        ds_consul_if_absent(txn, call->native.data);
    }
    finish_waiter(call, txn);
}

/* ---- as one that holds ------------------------------------------------------------------------------------------- */

static void on_rest_seen(ds_consul_call *call, const ds_consul_answer *answer) {
    call->failed = NULL;
    tidy_up(call, answer);
}

/* Nobody waited when it came; has somebody since? */
static void tidy_up_unseen(ds_consul_call *call, const ds_consul_answer *answer) {
    if (ds_consul_find(answer, call->waiting.data) == NULL) {
        left(call);
        return;
    }
    add_rest(call, ds_consul_txn_of(call));
    call->failed = on_not_tidied;
    ds_consul_step(call, DS_CONSUL_READ, on_rest_seen);
}

static void on_holder_left(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed == 0 && call->rest_unseen) {
        tidy_up_unseen(call, answer);
    } else if (answer->failed == 0) {
        tidy_up(call, answer);
    } else if (ds_consul_failed(answer, 0)) {
        find_gone(call);
    } else {
        look(call, true);
    }
}

/* `modified`: of the lock as it was just seen, or 0. Listing a queue costs the server the more, the more entries were
 * in it in the last quarter of an hour (it keeps their tombstones), so one that came alone asks for the mark only. */
static void leave_as_holder(ds_consul_call *call, int64_t modified) {
    const ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    call->rest_unseen = place != NULL && place->alone;
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_session(txn, call->own.data, call->id);
    if (modified != 0) {
        ds_consul_if_index(txn, call->native.data, modified);
    } else {
        ds_consul_if_held(call, txn, call->nonce);
    }
    ds_consul_delete(txn, call->native.data);
    ds_consul_delete(txn, call->own.data);
    if (call->rest_unseen) {
        ds_consul_tree(txn, call->waiting.data);
    } else {
        add_rest(call, txn);
    }
    ds_consul_step(call, DS_CONSUL_TXN, on_holder_left);
}

/* ---- as whichever it is ------------------------------------------------------------------------------------------ */

static void on_looked(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed != 0) {
        look(call, false); /* there is no lock */
        return;
    }
    const ds_consul_pair *own = ds_consul_find(answer, call->own.data);
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    bool ours = native != NULL && strcmp(native->session, call->id) == 0;
    const ds_consul_pair *holder = ours ? ds_consul_holder(call, answer, native) : NULL;
    if (own == NULL && ours) {
        find_gone(call);
    } else if (own == NULL) {
        call->end = DS_PLACE_GONE;
        left(call);
    } else if (ours && holder == own) {
        leave_as_holder(call, native->modified);
    } else {
        leave_if_unchanged(call, native, holder);
    }
}

static void look(ds_consul_call *call, bool native) {
    if (++call->rounds > ROUNDS_MAX) {
        ds_consul_finish_restless(call);
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    if (native) {
        ds_consul_get(txn, call->native.data);
    }
    ds_consul_tree(txn, call->queue.data);
    ds_consul_step(call, DS_CONSUL_READ, on_looked);
}

void ds_consul_leave_with(ds_consul_call *call, void (*then)(ds_consul_call *call, ds_place place)) {
    const ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    call->left = then;
    call->end = DS_PLACE_DONE;
    if (place != NULL && place->standing == DS_CONSUL_OWNER) {
        leave_as_holder(call, 0);
    } else if (place != NULL && place->standing == DS_CONSUL_BEHIND && ds_consul_ends_native(call->native.data)) {
        leave_as_waiter(call); /* what begins with another key than that may be much */
    } else {
        look(call, true);
    }
}

void ds_consul_leave(ds_backend *backend, ds_call *owner, const ds_entry *entry) {
    ds_consul_call *call = ds_consul_begin(backend, owner, entry->lease);
    if (call == NULL) {
        return;
    }
    ds_consul_fill(call, entry);
    if (!ds_consul_no_memory(call)) {
        ds_consul_leave_with(call, ds_consul_finish_place);
    }
}
