/* consul_guard.c: what an entry does while it owns its queue: hand over to another one, write; and its removal by
 * somebody else.
 */
#include "consul_queue.h"
#include "stamp.h"

#include "../base/error.h"

#include <string.h>

#define ROUNDS_MAX 8

/* ---- swap -------------------------------------------------------------------------------------------------------- */

static void swap(ds_consul_call *call);

/* There is no fresh entry: the call is about the old one from now on. */
static void turn_to_old(ds_consul_call *call) {
    ds_consul_place_forget(call->consul, call->nonce);
    memcpy(call->nonce, call->other_nonce, sizeof(call->nonce));
    ds_consul_key_entry(call->consul, &call->own, call->text.data, call->nonce);
}

static void on_fresh_sought(ds_consul_call *call, const ds_consul_answer *answer) {
    if (ds_consul_find(answer, call->own.data) != NULL) {
        ds_consul_place_forget(call->consul, call->other_nonce);
        ds_consul_tell_place(call); /* an earlier copy of the request made the exchange */
        return;
    }
    turn_to_old(call);
    if (!ds_consul_no_memory(call)) {
        ds_consul_finish_gone(call);
    }
}

static void old_left(ds_consul_call *call, ds_place place) {
    (void)place;
    ds_consul_finish_place(call, DS_PLACE_GONE);
}

/* It holds no more, and what is left of it must go. */
static void leave_old(ds_consul_call *call) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->other_nonce);
    if (place != NULL) {
        place->standing = DS_CONSUL_UNSURE;
    }
    turn_to_old(call);
    if (!ds_consul_no_memory(call)) {
        ds_consul_leave_with(call, old_left);
    }
}

/* The old entry is not there, or the lock not as it was seen: nothing was changed. */
static void swap_failed(ds_consul_call *call, const ds_consul_answer *answer) {
    if (ds_consul_failed(answer, 0)) {
        ds_consul_tree(ds_consul_txn_of(call), call->own.data);
        ds_consul_step(call, DS_CONSUL_READ, on_fresh_sought);
    } else {
        ds_consul_look_at_lock(call, call->other_nonce, swap, leave_old);
    }
}

static void on_swapped_to_tail(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed != 0) {
        swap_failed(call, answer);
        return;
    }
    ds_consul_place_forget(call->consul, call->other_nonce);
    if (ds_consul_note_written(call, ds_consul_find(answer, call->own.data))) {
        ds_consul_tell_place(call);
    }
}

/* Others wait: they come first. */
static void swap_to_tail(ds_consul_call *call) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_session(txn, call->other.data, call->id);
    ds_consul_if_held(call, txn, call->other_nonce);
    ds_consul_delete(txn, call->native.data);
    ds_consul_delete(txn, call->other.data);
    ds_consul_set(txn, call->waiting.data, call->nonce, strlen(call->nonce));
    ds_consul_add_entry(call, txn);
    ds_consul_step(call, DS_CONSUL_TXN, on_swapped_to_tail);
}

static void on_swapped(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed == 0) {
        ds_consul_place_forget(call->consul, call->other_nonce);
        if (ds_consul_note_written(call, ds_consul_find(answer, call->own.data))) {
            ds_consul_finish_held(call, answer);
        }
    } else if (ds_consul_failed(answer, 0) || ds_consul_failed(answer, 1)) {
        swap_failed(call, answer);
    } else {
        swap_to_tail(call);
    }
}

/* Nobody waits: the lock stays where it is. */
static void swap(ds_consul_call *call) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_session(txn, call->other.data, call->id);
    ds_consul_if_held(call, txn, call->other_nonce);
    ds_consul_if_absent(txn, call->waiting.data);
    ds_consul_delete(txn, call->other.data);
    ds_consul_add_take(call, txn);
    ds_consul_add_entry(call, txn);
    ds_consul_step(call, DS_CONSUL_TXN, on_swapped);
}

void ds_consul_swap(ds_backend *backend, ds_call *owner, const ds_entry *old, const ds_entry *fresh) {
    ds_consul_call *call = ds_consul_begin(backend, owner, fresh->lease);
    if (call == NULL) {
        return;
    }
    ds_consul_fill(call, fresh);
    memcpy(call->other_nonce, old->nonce, sizeof(call->other_nonce));
    ds_consul_key_entry(call->consul, &call->other, old->path, old->nonce);
    if (ds_consul_no_memory(call)) {
        return;
    }
    if (ds_consul_place_get(call->consul, fresh) == NULL) {
        ds_consul_refuse_later(call, DS_NOT_EXECUTED, DSYNC_RESOURCE, "out of memory");
        return;
    }
    swap(call);
}

/* ---- write ------------------------------------------------------------------------------------------------------- */

static void write_guarded(ds_consul_call *call);

static void finish_gone(ds_consul_call *call) {
    ds_consul_finish_place(call, DS_PLACE_GONE);
}

/* The entry is not as it was seen last: written to by an earlier copy of a request, or made anew, or gone. */
static void on_entry_read(ds_consul_call *call, const ds_consul_answer *answer) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    const ds_consul_pair *own = ds_consul_find(answer, call->own.data);
    if (own == NULL || place == NULL || strcmp(own->session, call->id) != 0 || ds_consul_place_is_other(place, own)) {
        finish_gone(call);
        return;
    }
    ds_consul_place_seen(place, own);
    write_guarded(call);
}

static void look_at_entry(ds_consul_call *call) {
    if (++call->rounds > ROUNDS_MAX) {
        ds_consul_finish_restless(call);
        return;
    }
    ds_consul_tree(ds_consul_txn_of(call), call->own.data);
    ds_consul_step(call, DS_CONSUL_READ, on_entry_read);
}

static void on_written(ds_consul_call *call, const ds_consul_answer *answer) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    const ds_consul_pair *own = ds_consul_find(answer, call->own.data);
    if (ds_consul_failed(answer, 0)) {
        ds_consul_finish_unless_lost(call);
    } else if (ds_consul_failed(answer, 1)) {
        look_at_entry(call);
    } else if (answer->failed != 0) {
        ds_consul_look_at_lock(call, call->nonce, write_guarded, finish_gone);
    } else {
        if (native != NULL && place != NULL && place->standing == DS_CONSUL_OWNER) {
            place->since = native->modified;
        }
        if (own != NULL) {
            ds_consul_place_seen(place, own);
        }
        ds_consul_finish_place(call, DS_PLACE_DONE);
    }
}

/* That the session has an entry of this name is not enough: a late copy of the request that made it may have made it
 * anew. */
static void write_guarded(ds_consul_call *call) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    const ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    ds_consul_if_index(txn, call->session.data, call->modified);
    if (place != NULL && place->modified != 0) {
        ds_consul_if_index(txn, call->own.data, place->modified);
    } else {
        ds_consul_if_session(txn, call->own.data, call->id);
    }
    ds_consul_if_held(call, txn, call->nonce);
    switch (call->write_kind) {
    case DS_WRITE_VALUE:
        ds_consul_add_take(call, txn);
        ds_consul_add_entry(call, txn);
        break;
    case DS_WRITE_PUT:
        ds_consul_set(txn, call->other.data, call->value.data, call->value.size);
        break;
    case DS_WRITE_DELETE:
        ds_consul_delete(txn, call->other.data);
        break;
    }
    ds_consul_step(call, DS_CONSUL_TXN, on_written);
}

void ds_consul_write(ds_backend *backend, ds_call *owner, const ds_write *write) {
    const ds_entry *entry = write->entry;
    ds_consul_call *call = ds_consul_begin(backend, owner, entry->lease);
    if (call == NULL) {
        return;
    }
    ds_consul_fill(call, entry);
    ds_buf_clear(&call->value);
    ds_buf_add(&call->value, write->value, write->value_size);
    ds_buf_add_text(&call->other, write->key != NULL ? ds_consul_bare(write->key) : "");
    call->write_kind = write->kind;
    call->modified = ds_consul_epoch_index(entry->lease);
    if (!ds_consul_no_memory(call)) {
        write_guarded(call);
    }
}

/* ---- evict: find, then remove with a note why -------------------------------------------------------------------- */

static void find(ds_consul_call *call, bool native);

static void on_evicted(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed != 0) {
        find(call, true);
    } else {
        ds_consul_finish_place(call, DS_PLACE_DONE);
    }
}

/* Somebody's who knows of no queue: only the lock itself can be taken from them. */
static void evict_native(ds_consul_call *call) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_index(txn, call->native.data, call->token);
    ds_consul_delete(txn, call->native.data);
    ds_consul_step(call, DS_CONSUL_TXN, on_evicted);
}

/* The note is locked by the evicted one's own session, so that it cannot outlive it. One that waits goes only while the
 * lock is as it was seen: it may just be about to take it. */
static void evict_entry(ds_consul_call *call, const ds_consul_pair *entry, const ds_consul_pair *native, bool holds) {
    int64_t modified = entry->modified, lock = native != NULL ? native->modified : 0;
    ds_consul_add_broken_key(&call->other, entry->key);
    ds_stamp_broken(&call->value, "", 0, call->consul->id);
    ds_buf_add_text(&call->own, entry->key);
    ds_buf_add_text(&call->session, entry->session);
    if (ds_consul_no_memory(call)) {
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_index(txn, call->own.data, modified);
    if (native != NULL) {
        ds_consul_if_index(txn, call->native.data, lock);
    } else {
        ds_consul_if_absent(txn, call->native.data);
    }
    if (holds) {
        ds_consul_delete(txn, call->native.data);
    }
    ds_consul_lock(txn, call->other.data, call->value.data, call->value.size, 0, call->session.data);
    ds_consul_delete(txn, call->own.data);
    ds_consul_step(call, DS_CONSUL_TXN, on_evicted);
}

static void on_found(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed != 0) {
        find(call, false);
        return;
    }
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    const ds_consul_pair *holder = ds_consul_holder(call, answer, native);
    for (size_t i = 0; i < answer->count; i++) {
        const ds_consul_pair *pair = &answer->pairs[i];
        if (pair != native && pair->created == call->token) {
            evict_entry(call, pair, native, holder == pair);
            return;
        }
    }
    bool held = native != NULL && native->session[0] != '\0';
    if (held && holder == NULL && native->modified == call->token) {
        evict_native(call);
    } else {
        ds_consul_finish_place(call, DS_PLACE_GONE);
    }
}

static void find(ds_consul_call *call, bool native) {
    if (++call->rounds > ROUNDS_MAX) {
        ds_consul_finish_restless(call);
        return;
    }
    ds_buf_clear(&call->own);
    ds_buf_clear(&call->session);
    ds_consul_txn *txn = ds_consul_txn_of(call);
    if (native) {
        ds_consul_get(txn, call->native.data);
    }
    ds_consul_tree(txn, call->queue.data);
    ds_consul_step(call, DS_CONSUL_READ, on_found);
}

void ds_consul_evict(ds_backend *backend, ds_call *owner, const char *path, int64_t token) {
    ds_consul_call *call = ds_consul_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    call->token = token;
    call->exchange.global = ds_consul_is_global(call->consul, path);
    ds_consul_key_native(call->consul, &call->native, path);
    ds_consul_key_queue(call->consul, &call->queue, path);
    if (ds_consul_no_memory(call)) {
        return;
    }
    if (token <= 0) {
        ds_consul_refuse_later(call, DS_REFUSED, DSYNC_INVALID, "Consul: a token is a positive number");
        return;
    }
    find(call, true);
}

/* ---- why was it? ------------------------------------------------------------------------------------------------- */

static void on_reason(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *note = ds_consul_find(answer, call->other.data);
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE};
    if (note != NULL) {
        reply.value = note->value;
        reply.value_size = note->value_size;
    }
    ds_consul_finish(call, &reply);
}

void ds_consul_reason(ds_backend *backend, ds_call *owner, const char *entry_key) {
    ds_consul_call *call = ds_consul_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    call->exchange.global = ds_consul_is_global(call->consul, entry_key);
    ds_consul_add_broken_key(&call->other, ds_consul_bare(entry_key));
    if (ds_consul_no_memory(call)) {
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_tree(txn, call->other.data);
    ds_consul_delete(txn, call->other.data);
    ds_consul_step(call, DS_CONSUL_TXN, on_reason);
}
