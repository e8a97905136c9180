/* consul_renew.c: a renewal, then the question whether the session still has its key, and its entries what they hold.
 *
 * The question counts also where the renewal found no session: a server that has just become the leader renews before
 * it has applied its log, and answers reads of this kind only afterwards.
 *
 * A watch on a lock shows the lock's own key. That an entry alone was removed shows itself here, in a request that is
 * made anyway. When there are more locks than one request can ask about, they take turns.
 */
#include "consul.h"

#include <string.h>

#define HELD_MAX ((DS_CONSUL_OPS_MAX - 1) / 2) /* of each: the entry, and the lock */

/* ---- what is held ------------------------------------------------------------------------------------------------ */

static bool is_held(const ds_consul_place *place) {
    return place->standing == DS_CONSUL_OWNER && place->watch != NULL;
}

static size_t count_places(const ds_consul_lease *impl) {
    size_t count = 0;
    for (const ds_list *node = impl->places.next; node != &impl->places; node = node->next) {
        count++;
    }
    return count;
}

static bool name_keys(ds_consul_call *call, const ds_consul_place *place) {
    ds_consul_key_entry(call->consul, &call->own, place->path, place->nonce);
    ds_consul_key_native(call->consul, &call->native, place->path);
    return !call->own.failed && !call->native.failed;
}

/* Those that are asked about go to the end of the list. Without memory nobody is: the next renewal does. */
static void ask_what_is_held(ds_consul_call *call, ds_consul_txn *txn) {
    ds_consul_lease *impl = call->lease_impl;
    size_t left = impl != NULL ? count_places(impl) : 0;
    call->leavers = left > 0 ? ds_calloc(HELD_MAX, sizeof(*call->leavers)) : NULL;
    for (ds_list *node, *next = left > 0 ? impl->places.next : NULL; call->leavers != NULL && left > 0; left--) {
        node = next;
        next = node->next;
        ds_consul_place *place = DS_LIST_ENTRY(node, ds_consul_place, node);
        if (!is_held(place)) {
            continue;
        }
        if (call->leaver_count == HELD_MAX || !name_keys(call, place)) {
            return;
        }
        ds_consul_leaver *held = &call->leavers[call->leaver_count++];
        memcpy(held->nonce, place->nonce, sizeof(held->nonce));
        held->op = txn->count;
        ds_consul_if_session(txn, call->own.data, call->id);
        ds_consul_if_session(txn, call->native.data, call->id);
        ds_list_remove(node);
        ds_list_append(&impl->places, node);
    }
}

static bool has_lost(ds_consul_call *call, const ds_consul_answer *answer, const ds_consul_leaver *held,
                     const ds_consul_place *place) {
    if (answer->failed != 0) {
        return ds_consul_failed(answer, held->op) || ds_consul_failed(answer, held->op + 1);
    }
    bool named = name_keys(call, place);
    const ds_consul_pair *own = named ? ds_consul_find(answer, call->own.data) : NULL;
    const ds_consul_pair *native = named ? ds_consul_find(answer, call->native.data) : NULL;
    return own != NULL && native != NULL &&
           (ds_consul_place_is_other(place, own) || ds_consul_place_lost(place, native));
}

static void tell_who_lost(ds_consul_call *call, const ds_consul_answer *answer) {
    for (size_t i = 0; i < call->leaver_count; i++) {
        const ds_consul_leaver *held = &call->leavers[i];
        ds_consul_place *place = ds_consul_place_find(call->consul, held->nonce);
        if (place != NULL && is_held(place) && has_lost(call, answer, held, place)) {
            ds_consul_watch_robbed(place);
        }
    }
}

/* ---- the session ------------------------------------------------------------------------------------------------- */

/* The epoch's key only ever moves forward: if it has not, an older state was restored, to which copies of old requests
 * may belong. */
static bool is_older(const ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *key = ds_consul_find(answer, call->session.data);
    return call->consul->settings.consistent && key != NULL && key->modified < call->floor;
}

static void on_confirmed(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *key = ds_consul_find(answer, call->session.data);
    bool made_anew = key != NULL && key->created > call->session_created && !ds_consul_is_session_key(call, key);
    if (ds_consul_failed(answer, 0) || made_anew) {
        ds_consul_finish_lost(call);
        return;
    }
    if (is_older(call, answer)) {
        ds_reply reply = {.outcome = DS_RESET, .message = "Consul's state is older than what it had shown before"};
        ds_consul_finish(call, &reply);
        return;
    }
    tell_who_lost(call, answer);
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE, .ttl_ms = call->modified};
    ds_consul_finish(call, &reply);
}

static void on_renewed(ds_consul_call *call, const ds_consul_answer *answer) {
    (void)answer;
    call->failed = NULL;
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_session(txn, call->session.data, call->id);
    ask_what_is_held(call, txn);
    ds_consul_step(call, DS_CONSUL_READ, on_confirmed);
}

static void on_looked_for(ds_consul_call *call, const ds_consul_answer *answer) {
    if (ds_consul_failed(answer, 0)) {
        ds_consul_finish_lost(call);
        return;
    }
    ds_reply reply = {.outcome = DS_NOT_EXECUTED, .message = "Consul: the server had yet to learn of the session"};
    ds_consul_finish(call, &reply);
}

static bool on_not_renewed(ds_consul_call *call, const ds_consul_result *result) {
    call->failed = NULL;
    if (result->outcome != DS_LOST) {
        return false;
    }
    ds_consul_if_session(ds_consul_txn_of(call), call->session.data, call->id);
    ds_consul_step(call, DS_CONSUL_READ, on_looked_for);
    return true;
}

void ds_consul_renew(ds_backend *backend, ds_call *owner, const ds_lease *lease) {
    ds_consul_call *call = ds_consul_begin(backend, owner, lease);
    if (call == NULL || ds_consul_no_memory(call)) {
        return;
    }
    call->lease_impl = lease->impl;
    call->modified = lease->ttl_ms;
    call->floor = call->lease_impl != NULL ? call->lease_impl->modified : 0;
    call->failed = on_not_renewed;
    ds_consul_step(call, DS_CONSUL_RENEW, on_renewed);
}
