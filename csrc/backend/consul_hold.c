/* consul_hold.c: whose the lock is, of a session's entries, and the condition that it is still theirs.
 *
 * That the session has the lock's key is not enough. After somebody deleted the key by hand, another entry of the same
 * session may have made it anew, or a late copy of a request. Its CreateIndex tells, which stays while it is held; but
 * what a transaction can ask for is the ModifyIndex, and that moves with everybody's plain writes. So the condition is
 * the ModifyIndex that was seen last; where it fails, the lock is looked at, and the transaction repeated if only that
 * has moved.
 */
#include "consul_queue.h"

#include <string.h>

#define ROUNDS_MAX 8

static bool is_known_holder(const ds_consul *consul, const ds_consul_pair *entry, const ds_consul_pair *native) {
    const ds_consul_place *place = ds_consul_place_find(consul, strrchr(entry->key, '/') + 1);
    return place != NULL && place->standing == DS_CONSUL_OWNER && !ds_consul_place_lost(place, native);
}

/* An entry that got in at once was made together with the lock; one that was handed the lock, or wrote to it, wrote
 * both. */
const ds_consul_pair *ds_consul_holder(const ds_consul_call *call, const ds_consul_answer *answer,
                                       const ds_consul_pair *native) {
    const ds_consul_pair *made = NULL, *written = NULL;
    if (native == NULL || native->session[0] == '\0') {
        return NULL;
    }
    for (size_t i = 0; i < answer->count; i++) {
        const ds_consul_pair *pair = &answer->pairs[i];
        if (strncmp(pair->key, call->queue.data, call->queue.size) != 0 ||
            strcmp(pair->session, native->session) != 0) {
            continue;
        }
        if (is_known_holder(call->consul, pair, native)) {
            return pair;
        }
        made = pair->created == native->created ? pair : made;
        written = pair->modified == native->modified ? pair : written;
    }
    if (made == NULL && written == NULL) {
        return ds_consul_oldest(answer, call->queue.data, native->session);
    }
    return made != NULL ? made : written;
}

void ds_consul_if_held(ds_consul_call *call, ds_consul_txn *txn, const char *nonce) {
    const ds_consul_place *place = ds_consul_place_find(call->consul, nonce);
    if (place != NULL && (place->standing == DS_CONSUL_OWNER || place->standing == DS_CONSUL_ROBBED)) {
        ds_consul_if_index(txn, call->native.data, place->since);
    } else {
        ds_consul_if_session(txn, call->native.data, call->id);
    }
}

static void on_lock_read(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    ds_consul_place *place = ds_consul_place_find(call->consul, call->holder_nonce);
    if (native != NULL && strcmp(native->session, call->id) == 0 && place != NULL &&
        place->standing == DS_CONSUL_OWNER && !ds_consul_place_lost(place, native)) {
        place->since = native->modified;
        call->again(call);
    } else {
        call->not_held(call);
    }
}

void ds_consul_look_at_lock(ds_consul_call *call, const char *nonce, void (*again)(ds_consul_call *call),
                            void (*not_held)(ds_consul_call *call)) {
    if (++call->rounds > ROUNDS_MAX) {
        ds_consul_finish_restless(call);
        return;
    }
    call->holder_nonce = nonce;
    call->again = again;
    call->not_held = not_held;
    ds_consul_get(ds_consul_txn_of(call), call->native.data);
    ds_consul_step(call, DS_CONSUL_READ, on_lock_read);
}
