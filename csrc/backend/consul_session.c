/* consul_session.c: a session of Consul's and one key that it locks.
 *
 * Consul chooses the ids of sessions, so a creation cannot simply be repeated: the session's name carries our nonce,
 * and after an answer that never came the session is looked for by that name. How it ends: consul_close.c.
 */
#include "consul.h"
#include "stamp.h"

#include "../base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- open -------------------------------------------------------------------------------------------------------- */

void ds_consul_session_name(char *out, size_t size, const ds_lease *lease) {
    snprintf(out, size, "dsync %016" PRIx64, lease->nonce);
}

bool ds_consul_is_session_id(const char *id) {
    size_t size = id != NULL ? strspn(id, "0123456789abcdefABCDEF-") : 0;
    return size > 0 && id[size] == '\0' && size < sizeof(((ds_lease *)NULL)->id);
}

static bool bind_lease(ds_consul *consul, ds_lease *lease) {
    ds_consul_lease *impl = lease->impl;
    if (impl != NULL && impl->nonce == lease->nonce) {
        return true;
    }
    ds_consul_forget(&consul->base, lease);
    impl = ds_calloc(1, sizeof(*impl));
    if (impl == NULL) {
        return false;
    }
    impl->consul = consul;
    impl->nonce = lease->nonce;
    ds_list_init(&impl->places);
    lease->impl = impl;
    lease->id[0] = '\0';
    return true;
}

void ds_consul_forget(ds_backend *backend, ds_lease *lease) {
    ds_consul *consul = ds_consul_of(backend);
    ds_consul_lease *impl = lease->impl;
    while (impl != NULL && !ds_list_empty(&impl->places)) {
        ds_consul_place_forget(consul, DS_LIST_ENTRY(impl->places.next, ds_consul_place, node)->nonce);
    }
    ds_free(impl);
    lease->impl = NULL;
}

static void opened(ds_consul_call *call, const ds_consul_pair *pair, uint64_t epoch) {
    ds_consul_lease *impl = call->lease->impl;
    impl->modified = pair->modified;
    call->lease->created = pair->created;
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE, .ttl_ms = call->lease->ttl_ms, .epoch = epoch};
    ds_consul_finish(call, &reply);
}

/* The key was there: from an earlier copy of this request. */
static void on_key_found(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *pair = ds_consul_find(answer, call->session.data);
    uint64_t epoch;
    if (pair == NULL || strcmp(pair->session, call->id) != 0 ||
        !ds_stamp_epoch(pair->value, pair->value_size, &epoch)) {
        ds_consul_finish_lost(call);
    } else if (epoch == 0) { /* whose it is cannot be told */
        ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_RESOURCE, .message = "out of memory"};
        ds_consul_finish(call, &reply);
    } else {
        opened(call, pair, epoch);
    }
}

static void on_key_made(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *pair = ds_consul_find(answer, call->session.data);
    if (answer->failed != 0) {
        ds_consul_get(ds_consul_txn_of(call), call->session.data);
        ds_consul_step(call, DS_CONSUL_READ, on_key_found);
    } else if (pair == NULL) {
        ds_consul_finish_impossible(call);
    } else {
        opened(call, pair, call->epoch);
    }
}

static void make_key(ds_consul_call *call) {
    ds_consul_key_session(&call->session, call->lease);
    snprintf(call->id, sizeof(call->id), "%s", call->lease->id);
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_if_absent(txn, call->session.data != NULL ? call->session.data : "");
    ds_consul_lock(txn, call->session.data != NULL ? call->session.data : "", call->stamp.data, call->stamp.size, 0,
                   call->id);
    txn->body.failed = txn->body.failed || call->session.failed;
    ds_consul_step(call, DS_CONSUL_TXN, on_key_made);
}

static bool take_id(ds_consul_call *call, const char *id) {
    if (!ds_consul_is_session_id(id)) {
        return false;
    }
    snprintf(call->lease->id, sizeof(call->lease->id), "%s", id);
    make_key(call);
    return true;
}

static void on_created(ds_consul_call *call, const ds_consul_answer *answer) {
    if (!take_id(call, ds_json_text(answer->json, "ID"))) {
        ds_consul_finish_impossible(call);
    }
}

static void create(ds_consul_call *call) {
    char name[DS_CONSUL_NAME_SIZE];
    const ds_consul_settings *settings = &call->consul->settings;
    ds_buf *body = &call->exchange.txn.body;
    ds_consul_session_name(name, sizeof(name), call->lease);
    ds_buf_clear(body);
    ds_consul_session_body(body, name, call->lease->ttl_ms, settings->lock_delay_ms, settings->checks);
    ((ds_consul_lease *)call->lease->impl)->tried = true;
    ds_consul_step(call, DS_CONSUL_CREATE, on_created);
}

/* Did an earlier try succeed after all? */
static void on_listed(ds_consul_call *call, const ds_consul_answer *answer) {
    char name[DS_CONSUL_NAME_SIZE];
    ds_consul_session_name(name, sizeof(name), call->lease);
    for (const ds_json *item = ds_json_first(answer->json); item != NULL; item = ds_json_next(item)) {
        const char *found = ds_json_is_object(item) ? ds_json_text(item, "Name") : NULL;
        if (found != NULL && strcmp(found, name) == 0 && take_id(call, ds_json_text(item, "ID"))) {
            return;
        }
    }
    create(call);
}

void ds_consul_open(ds_backend *backend, ds_call *owner, ds_lease *lease) {
    ds_consul_call *call = ds_consul_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    if (!bind_lease(call->consul, lease)) {
        ds_consul_refuse_later(call, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
        return;
    }
    call->lease = lease;
    call->exchange.global = lease->global;
    call->epoch = lease->epoch;
    ds_stamp_make(&call->stamp, lease, lease->epoch);
    if (ds_consul_no_memory(call)) {
        return;
    }
    if (lease->id[0] != '\0') {
        make_key(call);
    } else if (((ds_consul_lease *)lease->impl)->tried) {
        ds_consul_step(call, DS_CONSUL_LIST, on_listed);
    } else {
        create(call);
    }
}
