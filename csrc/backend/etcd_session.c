/* etcd_session.c: a session is a lease and one key under it.
 *
 * A keepalive's answer alone proves nothing: it can come from a member that does not know yet that the lease was
 * revoked (etcd issue 14758). So each renewal ends with a write to the session key, which fails on a dead lease.
 */
#include "etcd.h"

#include "../base/error.h"
#include "etcd_error.h"
#include "stamp.h"

#include <inttypes.h>
#include <stdio.h>

static ds_etcd_request lease_request(ds_etcd_kind kind, const ds_lease *lease) {
    ds_etcd_request request = {.kind = kind};
    request.as.lease.id = (int64_t)lease->nonce;
    return request;
}

/* ---- open: grant, then the session key --------------------------------------------------------------------------- */

static void finish_no_memory(ds_etcd_call *call) {
    ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_RESOURCE, .message = "out of memory"};
    ds_etcd_finish(call, &reply);
}

static void opened(ds_etcd_call *call, int64_t created, uint64_t epoch, int64_t revision) {
    ds_lease *lease = call->lease;
    if (!ds_etcd_bind(call->etcd, lease)) {
        finish_no_memory(call);
        return;
    }
    lease->created = created;
    snprintf(lease->id, sizeof(lease->id), "%" PRIx64, lease->nonce);
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE, .ttl_ms = call->token, .epoch = epoch};
    reply.revision = revision;
    ds_etcd_finish(call, &reply);
}

static void on_session_key(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (reply->succeeded) {
        opened(call, reply->header.revision, call->epoch, reply->header.revision);
        return;
    }
    const ds_etcd_answer *answer = ds_etcd_answer_at(reply, 0, DS_ETCD_OP_RANGE);
    const ds_etcd_kv *kv = answer != NULL ? ds_etcd_only(answer) : NULL;
    uint64_t epoch;
    if (kv == NULL) {
        ds_etcd_finish_impossible(call);
    } else if (kv->lease != call->lease_id || !ds_stamp_epoch(kv->value.data, kv->value.size, &epoch)) {
        ds_etcd_finish_lost(call); /* the key is somebody else's, or what was left of an earlier session */
    } else if (epoch == 0) {
        finish_no_memory(call); /* whose it is cannot be told */
    } else {
        opened(call, kv->create, epoch, reply->header.revision);
    }
}

static void put_session_key(ds_etcd_call *call) {
    ds_bytes key = ds_bytes_of(&call->session);
    ds_etcd_compare compare = ds_etcd_if_created(key, 0);
    ds_etcd_op put = ds_etcd_op_put(key, ds_bytes_of(&call->stamp), call->lease_id);
    ds_etcd_op get = ds_etcd_op_get(key);
    ds_etcd_txn txn = {&compare, 1, &put, 1, &get, 1};
    call->failed = NULL;
    ds_etcd_step_txn(call, &txn, on_session_key);
}

static void on_granted(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (reply->ttl <= 0 || reply->ttl > INT64_MAX / 1000) {
        ds_etcd_finish_lost(call); /* kept alive when it had just expired */
        return;
    }
    call->token = reply->ttl * 1000;
    put_session_key(call);
}

/* "Already exists": ours, from an earlier copy of this request, and who knows how old: it is renewed first. */
static bool on_not_granted(ds_etcd_call *call, const ds_etcd_result *result) {
    if (!ds_etcd_lease_exists(&result->status)) {
        return false;
    }
    ds_etcd_request request = {.kind = DS_ETCD_KEEPALIVE};
    request.as.lease.id = call->lease_id;
    call->failed = NULL;
    ds_etcd_step(call, &request, on_granted);
    return true;
}

void ds_etcd_open(ds_backend *backend, ds_call *owner, ds_lease *lease) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    call->lease = lease;
    call->lease_id = (int64_t)lease->nonce;
    call->epoch = lease->epoch;
    ds_etcd_key_session(&call->session, lease);
    ds_stamp_make(&call->stamp, lease, lease->epoch);
    if (ds_etcd_no_memory(call)) {
        return;
    }
    ds_etcd_request request = lease_request(DS_ETCD_GRANT, lease);
    request.as.lease.ttl = (lease->ttl_ms + 999) / 1000;
    call->failed = on_not_granted;
    ds_etcd_step(call, &request, on_granted);
}

/* ---- renew: keepalive, then a write ------------------------------------------------------------------------------ */

static void on_confirmed(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (!reply->succeeded) {
        ds_etcd_finish_lost(call);
        return;
    }
    ds_reply answer = {.outcome = DS_OK, .place = DS_PLACE_DONE, .ttl_ms = call->token};
    answer.revision = reply->header.revision;
    ds_etcd_finish(call, &answer);
}

static void on_kept_alive(ds_etcd_call *call, const ds_etcd_reply *reply) {
    if (reply->ttl <= 0 || reply->ttl > INT64_MAX / 1000) {
        ds_reply answer = {.outcome = DS_LOST, .message = "etcd: the lease has ended"};
        ds_etcd_finish(call, &answer);
        return;
    }
    /* Guarded by the key's creation, which stays when the epoch moves meanwhile. */
    ds_etcd_compare compare = ds_etcd_if_created(ds_bytes_of(&call->session), call->token);
    ds_etcd_op put = {.kind = DS_ETCD_OP_PUT};
    put.as.put = (ds_etcd_put){.key = ds_bytes_of(&call->session), .lease = call->lease_id, .ignore_value = true};
    ds_etcd_txn txn = {&compare, 1, &put, 1, NULL, 0};
    call->token = reply->ttl * 1000;
    ds_etcd_step_txn(call, &txn, on_confirmed);
}

void ds_etcd_renew(ds_backend *backend, ds_call *owner, const ds_lease *lease) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, lease);
    if (call == NULL) {
        return;
    }
    call->lease_id = (int64_t)lease->nonce;
    call->token = lease->created;
    ds_etcd_key_session(&call->session, lease);
    if (ds_etcd_no_memory(call)) {
        return;
    }
    ds_etcd_request request = lease_request(DS_ETCD_KEEPALIVE, lease);
    ds_etcd_step(call, &request, on_kept_alive);
}

/* ---- close ------------------------------------------------------------------------------------------------------- */

static void on_revoked(ds_etcd_call *call, const ds_etcd_reply *reply) {
    ds_etcd_finish_place(call, DS_PLACE_DONE, reply->header.revision);
}

static bool on_not_revoked(ds_etcd_call *call, const ds_etcd_result *result) {
    if (result->outcome != DS_LOST) {
        return false;
    }
    ds_etcd_finish_place(call, DS_PLACE_DONE, 0);
    return true;
}

void ds_etcd_close(ds_backend *backend, ds_call *owner, const ds_lease *lease) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, lease);
    if (call == NULL) {
        return;
    }
    ds_etcd_request request = lease_request(DS_ETCD_REVOKE, lease);
    call->failed = on_not_revoked;
    ds_etcd_step(call, &request, on_revoked);
}
