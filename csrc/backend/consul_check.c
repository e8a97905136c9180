/* consul_check.c: where an entry stands in its queue, and taking the lock when its turn has come.
 *
 * When the older entries are gone, one transaction takes the lock under the condition that they are, and that the mark
 * of those who wait has been there ever since the entry was made: without it somebody younger may have had the lock,
 * and the entry's token would come too late.
 */
#include "consul_queue.h"

#include <string.h>

#define GUARDED_MAX (DS_CONSUL_OPS_MAX - 4) /* older entries that one transaction can exclude */
#define ROUNDS_MAX 8

static void look(ds_consul_call *call);

/* ---- verify: it held; does it still? ----------------------------------------------------------------------------- */

static void stepped_down(ds_consul_call *call, ds_place place) {
    (void)place;
    ds_consul_finish_place(call, DS_PLACE_GONE);
}

/* An entry that lost its lock, or its turn, must not stand in the way of others. */
static void step_down(ds_consul_call *call) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    if (place != NULL && place->standing != DS_CONSUL_ROBBED) {
        place->standing = DS_CONSUL_UNSURE;
    }
    call->rounds = 0;
    ds_consul_leave_with(call, stepped_down);
}

/* The entry under the key is not the one that the caller knows: a late copy of the request that made that one made this
 * one, after somebody deleted it. It stands further behind, and its token is another one. */
static bool is_other(const ds_consul_call *call, const ds_consul_pair *own) {
    return call->token > 0 && own->created != call->token;
}

/* The session has the entry and the lock: but is the entry the one we know, and is the lock the entry's? A late copy of
 * a request may have made either of them anew. An entry that is not known to hold got the lock in the request that made
 * it, or not at all. */
static bool holds(const ds_consul_call *call, const ds_consul_pair *own, const ds_consul_pair *native) {
    const ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    if (is_other(call, own)) {
        return false;
    }
    if (place != NULL && place->standing == DS_CONSUL_OWNER) {
        return !ds_consul_place_lost(place, native);
    }
    return native->modified == own->modified || native->created == own->created;
}

/* Whoever is believed to hold hears first that it does not, before anything of it is taken off the server. */
static void lose(ds_consul_call *call) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    if (place == NULL || place->standing != DS_CONSUL_OWNER) {
        step_down(call);
        return;
    }
    place->standing = DS_CONSUL_ROBBED;
    ds_consul_finish_ahead(call, call->native.data);
}

static void on_verified(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *own = ds_consul_find(answer, call->own.data);
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    if (ds_consul_failed(answer, 0)) {
        ds_consul_finish_lost(call);
    } else if (ds_consul_failed(answer, 1) && ds_consul_failed(answer, 2)) {
        ds_consul_finish_place(call, DS_PLACE_GONE);
    } else if (answer->failed == 0 && (own == NULL || native == NULL)) {
        ds_consul_finish_impossible(call);
    } else if (answer->failed != 0 || !holds(call, own, native)) {
        lose(call);
    } else {
        ds_consul_place_seen(ds_consul_place_find(call->consul, call->nonce), own);
        ds_consul_finish_held(call, answer);
    }
}

void ds_consul_verify(ds_consul_call *call) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_session(txn, call->session.data, call->id);
    ds_consul_if_session(txn, call->own.data, call->id);
    ds_consul_if_session(txn, call->native.data, call->id);
    ds_consul_step(call, DS_CONSUL_READ, on_verified);
}

/* ---- take: the lock, now that the older ones are gone ------------------------------------------------------------ */

/* Those of the older ones that were still there. The youngest of them is who to wait for. */
static const char *still_ahead(ds_consul_place *place, const ds_consul_answer *answer) {
    size_t kept = 0;
    for (size_t i = 0; i < place->ahead_count; i++) {
        if (ds_consul_failed(answer, (unsigned)i + 2)) {
            place->ahead[kept++] = place->ahead[i];
        } else {
            ds_free(place->ahead[i]);
        }
    }
    place->ahead_count = kept;
    return kept > 0 ? place->ahead[kept - 1] : NULL;
}

static void not_taken(ds_consul_call *call, const ds_consul_answer *answer) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    if (answer->delayed != 0) {
        ds_consul_finish_delayed(call, DS_PLACE_DELAYED);
        return;
    }
    if (ds_consul_failed(answer, 0)) {
        ds_consul_finish_lost(call);
        return;
    }
    if (ds_consul_failed(answer, 1)) {
        ds_consul_finish_gone(call);
        return;
    }
    bool unmarked = place != NULL && ds_consul_failed(answer, (unsigned)place->ahead_count + 2);
    const char *ahead = place != NULL ? still_ahead(place, answer) : NULL;
    if (place != NULL) {
        place->delayed_ns = 0;
    }
    if (ahead == NULL && unmarked) {
        ds_consul_verify(call); /* an earlier request got in while nobody waited, or somebody removed the mark */
        return;
    }
    /* Nobody older, and yet held: by somebody who knows of no queue. */
    ds_consul_finish_ahead(call, ahead != NULL ? ahead : call->native.data);
}

static void on_taken(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed != 0) {
        not_taken(call, answer);
        return;
    }
    const ds_consul_pair *own = ds_consul_find(answer, call->own.data);
    const ds_consul_pair *mark = ds_consul_find(answer, call->waiting.data);
    if (own == NULL || mark == NULL) {
        ds_consul_finish_impossible(call);
        return;
    }
    if (is_other(call, own) || mark->created > own->created) {
        step_down(call);
        return;
    }
    call->token = own->created;
    ds_consul_place_seen(ds_consul_place_find(call->consul, call->nonce), own);
    ds_consul_finish_held(call, answer);
}

static void take(ds_consul_call *call) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    if (place == NULL || place->standing != DS_CONSUL_BEHIND || place->ahead_count > GUARDED_MAX) {
        look(call);
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_session(txn, call->session.data, call->id);
    ds_consul_if_session(txn, call->own.data, call->id);
    for (size_t i = 0; i < place->ahead_count; i++) {
        ds_consul_if_absent(txn, place->ahead[i]);
    }
    ds_consul_get(txn, call->waiting.data);
    ds_consul_add_take(call, txn);
    ds_consul_step(call, DS_CONSUL_TXN, on_taken);
}

/* ---- look: where does it stand? ---------------------------------------------------------------------------------- */

/* Its place as the queue shows it, which is the answer's pairs from `first` on: go on from there. */
void ds_consul_go_on(ds_consul_call *call, const ds_consul_answer *answer, size_t first) {
    ds_consul_place *place = ds_consul_place_find(call->consul, call->nonce);
    const ds_consul_pair *nearest = ds_consul_nearest(answer, first, call->token);
    if (place != NULL) {
        ds_consul_place_behind(place, answer, first, call->token);
    }
    if (nearest != NULL) {
        ds_consul_finish_ahead(call, nearest->key);
    } else if (place == NULL || place->standing == DS_CONSUL_UNSURE) {
        ds_consul_refuse_later(call, DS_AMBIGUOUS, DSYNC_RESOURCE, "out of memory");
    } else {
        take(call);
    }
}

static void on_looked(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed != 0) {
        ds_consul_finish_lost(call);
        return;
    }
    const ds_consul_pair *own = ds_consul_find(answer, call->own.data);
    if (own == NULL) {
        ds_consul_finish_gone(call);
        return;
    }
    if (is_other(call, own)) {
        step_down(call);
        return;
    }
    call->token = own->created;
    ds_consul_place_seen(ds_consul_place_find(call->consul, call->nonce), own);
    ds_consul_go_on(call, answer, 1);
}

static void look(ds_consul_call *call) {
    if (++call->rounds > ROUNDS_MAX) {
        ds_consul_finish_restless(call);
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_session(txn, call->session.data, call->id);
    ds_consul_tree(txn, call->queue.data);
    ds_consul_step(call, DS_CONSUL_READ, on_looked);
}

void ds_consul_tell_place(ds_consul_call *call) {
    look(call);
}

void ds_consul_check(ds_backend *backend, ds_call *owner, const ds_entry *entry) {
    ds_consul_call *call = ds_consul_begin(backend, owner, entry->lease);
    if (call == NULL) {
        return;
    }
    ds_consul_fill(call, entry);
    if (ds_consul_no_memory(call)) {
        return;
    }
    const ds_consul_place *place = ds_consul_place_get(call->consul, entry);
    if (place == NULL) {
        ds_consul_refuse_later(call, DS_AMBIGUOUS, DSYNC_RESOURCE, "out of memory");
    } else if (place->standing == DS_CONSUL_OWNER) {
        ds_consul_verify(call);
    } else if (place->standing == DS_CONSUL_ROBBED) {
        step_down(call);
    } else {
        take(call);
    }
}
