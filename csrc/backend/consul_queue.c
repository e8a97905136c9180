/* consul_queue.c: entering a queue.
 *
 * Getting in takes one transaction while nobody else is there. Otherwise an entry is put at the tail. What came of a
 * transaction is asked of the server only where its failure leaves it open.
 */
#include "consul_queue.h"

#include <string.h>

#define NATIVE_VALUE_MAX ((size_t)64 * 1024) /* a larger value stands in the entry only */
#define LOCK_DELAY_MAX_MS INT64_C(60000)     /* the server's own limit */
#define ROUNDS_MAX 8
#define OWN_OP 3 /* of a request that takes the lock at once: that the entry must not exist */

static void slow(ds_consul_call *call);

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

void ds_consul_fill(ds_consul_call *call, const ds_entry *entry) {
    const ds_consul *consul = call->consul;
    memcpy(call->nonce, entry->nonce, sizeof(call->nonce));
    call->token = entry->token;
    ds_consul_key_native(consul, &call->native, entry->path);
    ds_consul_key_waiting(consul, &call->waiting, entry->path);
    ds_consul_key_queue(consul, &call->queue, entry->path);
    ds_consul_key_entry(consul, &call->own, entry->path, entry->nonce);
    ds_buf_add(&call->value, entry->value, entry->value_size);
    ds_buf_add_text(&call->text, entry->path);
    call->exchange.global = ds_consul_is_global(consul, entry->path);
}

int64_t ds_consul_epoch_index(const ds_lease *lease) {
    const ds_consul_lease *impl = lease->impl;
    return impl != NULL ? impl->modified : 0;
}

void ds_consul_add_take(ds_consul_call *call, ds_consul_txn *txn) {
    size_t shown = call->value.size <= NATIVE_VALUE_MAX ? call->value.size : 0;
    ds_consul_lock(txn, call->native.data, call->value.data, shown, DS_CONSUL_LOCK_FLAGS, call->id);
}

void ds_consul_add_entry(ds_consul_call *call, ds_consul_txn *txn) {
    ds_consul_lock(txn, call->own.data, call->value.data, call->value.size, 0, call->id);
}

void ds_consul_finish_held(ds_consul_call *call, const ds_consul_answer *answer) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    if (native == NULL) {
        ds_consul_finish_impossible(call);
        return;
    }
    call->revision = native->modified;
    if (place != NULL) {
        ds_consul_place_owns(place, native);
    }
    ds_consul_finish_place(call, DS_PLACE_HELD);
}

bool ds_consul_note_written(ds_consul_call *call, const ds_consul_pair *pair) {
    ds_consul *consul = call->consul;
    if (pair == NULL) {
        ds_consul_finish_impossible(call);
        return false;
    }
    call->token = pair->created;
    call->revision = pair->modified;
    ds_consul_place_seen(ds_consul_place_find(consul, call->nonce), pair);
    if (pair->modified <= call->floor) {
        consul->index = pair->modified;
        ds_reply reply = {.outcome = DS_RESET, .message = "Consul's state is older than what it had shown before"};
        ds_consul_finish(call, &reply);
        return false;
    }
    if (pair->modified > consul->index) {
        consul->index = pair->modified;
    }
    return true;
}

/* How long at most until the delay is over: any client may have set any delay up to the server's limit. */
static int64_t delay_left(ds_consul_call *call) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    int64_t now = ds_now(call->consul->base.world);
    if (place == NULL) {
        return LOCK_DELAY_MAX_MS;
    }
    if (place->delayed_ns == 0) {
        place->delayed_ns = now;
    }
    int64_t left = LOCK_DELAY_MAX_MS - (now - place->delayed_ns) / DS_MS;
    return left > 0 ? left : 0;
}

void ds_consul_finish_delayed(ds_consul_call *call, ds_place place) {
    ds_reply reply = {.outcome = DS_OK, .place = place, .token = call->token, .revision = call->revision};
    reply.delay_ms = delay_left(call);
    ds_consul_finish(call, &reply);
}

/* The entry was there already: the server got the request twice, and this is the answer to the second copy. So if
 * nothing comes of what follows, the call has left something all the same. */
static void note_own(ds_consul_call *call, bool exists) {
    call->changed = call->changed || exists;
}

/* ---- the tail of the queue --------------------------------------------------------------------------------------- */

static void on_queued(ds_consul_call *call, const ds_consul_answer *answer) {
    note_own(call, ds_consul_failed(answer, 1));
    if (ds_consul_failed(answer, 0)) {
        ds_consul_finish_unless_lost(call);
    } else if (answer->failed != 0) {
        ds_consul_tell_place(call); /* an earlier copy of the request made the entry */
    } else if (ds_consul_note_written(call, ds_consul_find(answer, call->own.data))) {
        ds_consul_go_on(call, answer, 3);
    }
}

/* The mark that somebody waits holds a value of its own each time: writing the same again would change no index, and
 * whoever is about to remove the mark would not notice. */
static void slow(ds_consul_call *call) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_index(txn, call->session.data, call->modified);
    ds_consul_if_absent(txn, call->own.data);
    ds_consul_set(txn, call->waiting.data, call->nonce, strlen(call->nonce));
    ds_consul_add_entry(call, txn);
    ds_consul_tree(txn, call->queue.data);
    ds_consul_step(call, DS_CONSUL_TXN, on_queued);
}

/* ---- a try: all or nothing --------------------------------------------------------------------------------------- */

static void look_who(ds_consul_call *call, bool native);

static void on_tried_again(ds_consul_call *call, const ds_consul_answer *answer) {
    note_own(call, ds_consul_failed(answer, OWN_OP));
    if (answer->delayed != 0) {
        ds_consul_finish_delayed(call, DS_PLACE_BUSY);
    } else if (ds_consul_failed(answer, 0)) {
        ds_consul_finish_unless_lost(call);
    } else if (answer->failed != 0) {
        look_who(call, true);
    } else if (ds_consul_note_written(call, ds_consul_find(answer, call->own.data))) {
        ds_consul_finish_held(call, answer);
    }
}

/* Nobody is there, but their keys are: under the condition that these stay as they were seen. */
static void try_again(ds_consul_call *call, const ds_consul_pair *waiting, const ds_consul_pair *native) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_index(txn, call->session.data, call->modified);
    if (waiting != NULL) {
        ds_consul_delete_if(txn, call->waiting.data, waiting->modified);
    } else {
        ds_consul_if_absent(txn, call->waiting.data);
    }
    if (native != NULL) {
        ds_consul_if_index(txn, call->native.data, native->modified);
    } else {
        ds_consul_if_absent(txn, call->native.data);
    }
    ds_consul_if_absent(txn, call->own.data);
    ds_consul_add_take(call, txn);
    ds_consul_add_entry(call, txn);
    ds_consul_step(call, DS_CONSUL_TXN, on_tried_again);
}

static void finish_busy(ds_consul_call *call, const ds_consul_pair *holder) {
    ds_peer *peer = &call->holder;
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_BUSY, .revision = call->revision};
    if (holder != NULL) {
        bool native = strcmp(holder->key, call->native.data) == 0;
        *peer = (ds_peer){.path = call->text.data, .key = holder->key, .value = holder->value, .holds = true};
        peer->value_size = holder->value_size;
        peer->token = native ? holder->modified : holder->created;
        reply.holder = peer;
    }
    ds_consul_finish(call, &reply);
}

static void on_seen(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed != 0) {
        look_who(call, false);
        return;
    }
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    const ds_consul_pair *oldest = ds_consul_oldest(answer, call->queue.data, "");
    const ds_consul_pair *own = ds_consul_find(answer, call->own.data);
    note_own(call, own != NULL);
    if (own != NULL) {
        call->token = own->created;
        ds_consul_verify(call); /* an earlier copy of the request was successful */
    } else if (native != NULL && native->session[0] != '\0') {
        finish_busy(call, oldest != NULL ? oldest : native);
    } else if (oldest != NULL && call->rounds < ROUNDS_MAX) {
        look_who(call, native != NULL); /* nobody holds: that one is about to take the lock, or to go */
    } else if (oldest != NULL) {
        finish_busy(call, oldest);
    } else {
        try_again(call, ds_consul_find(answer, call->waiting.data), native);
    }
}

/* Who is it that is there? `native`: their key exists. */
static void look_who(ds_consul_call *call, bool native) {
    if (++call->rounds > ROUNDS_MAX) {
        finish_busy(call, NULL);
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    if (native) {
        ds_consul_get(txn, call->native.data);
    }
    ds_consul_tree(txn, call->queue.data);
    ds_consul_tree(txn, call->waiting.data);
    ds_consul_step(call, DS_CONSUL_READ, on_seen);
}

/* ---- enter ------------------------------------------------------------------------------------------------------- */

static void note_alone(const ds_consul_call *call) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    if (place != NULL) {
        place->alone = true;
    }
}

static void on_entered(ds_consul_call *call, const ds_consul_answer *answer) {
    note_own(call, ds_consul_failed(answer, OWN_OP));
    if (answer->failed == 0) {
        if (ds_consul_note_written(call, ds_consul_find(answer, call->own.data))) {
            note_alone(call);
            ds_consul_finish_held(call, answer);
        }
    } else if (ds_consul_failed(answer, 0)) {
        ds_consul_finish_unless_lost(call);
    } else if (!call->only_try) {
        slow(call);
    } else if (answer->delayed != 0) {
        ds_consul_finish_delayed(call, DS_PLACE_BUSY);
    } else {
        look_who(call, ds_consul_failed(answer, 2));
    }
}

/* Nobody waits and nobody holds. That the key must not exist, rather than be lockable, keeps out this very session: it
 * may hold the lock for another entry. An entry that is there already has an older token, and takes its turn. */
static void fast(ds_consul_call *call) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_index(txn, call->session.data, call->modified);
    ds_consul_if_absent(txn, call->waiting.data);
    ds_consul_if_absent(txn, call->native.data);
    ds_consul_if_absent(txn, call->own.data);
    ds_consul_add_take(call, txn);
    ds_consul_add_entry(call, txn);
    ds_consul_step(call, DS_CONSUL_TXN, on_entered);
}

void ds_consul_enter(ds_backend *backend, ds_call *owner, const ds_entry *entry, bool only_try) {
    ds_consul_call *call = ds_consul_begin(backend, owner, entry->lease);
    if (call == NULL) {
        return;
    }
    ds_consul_fill(call, entry);
    call->modified = ds_consul_epoch_index(entry->lease);
    call->only_try = only_try;
    if (ds_consul_no_memory(call)) {
        return;
    }
    if (ds_consul_place_get(call->consul, entry) == NULL) {
        ds_consul_refuse_later(call, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
    } else {
        fast(call);
    }
}
