/* etcd.c: the etcd backend as one object: its making, its table of operations, ping and get. */
#include "etcd.h"

#include "../base/error.h"

#include <stdio.h>
#include <string.h>

#define LARGEST_VALUE ((size_t)3 * 1024 * 1024 / 2) /* etcd's own default limit on a request */

/* ---- ping and get ------------------------------------------------------------------------------------------------ */

static void tell_server(ds_etcd_call *call) {
    ds_buf_clear(&call->text);
    ds_buf_add_format(&call->text, "etcd %s", call->etcd->version);
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE, .revision = call->token};
    reply.server = call->text.failed || call->etcd->version[0] == '\0' ? "etcd" : call->text.data;
    ds_etcd_finish(call, &reply);
}

static void on_status(ds_etcd_call *call, const ds_etcd_reply *reply) {
    snprintf(call->etcd->version, sizeof(call->etcd->version), "%s", reply->version);
    tell_server(call);
}

/* The server answered the read; that it keeps its version to itself is no failure. */
static bool on_no_status(ds_etcd_call *call, const ds_etcd_result *result) {
    (void)result;
    tell_server(call);
    return true;
}

static void on_pinged(ds_etcd_call *call, const ds_etcd_reply *reply) {
    call->token = reply->header.revision;
    if (call->etcd->version[0] != '\0') {
        tell_server(call);
        return;
    }
    ds_etcd_request request = {.kind = DS_ETCD_STATUS};
    call->failed = on_no_status;
    ds_etcd_step(call, &request, on_status);
}

void ds_etcd_ping(ds_backend *backend, ds_call *owner) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    ds_buf_add_format(&call->own, "%s/session/", call->etcd->prefix);
    if (ds_etcd_no_memory(call)) {
        return;
    }
    ds_etcd_request request = {.kind = DS_ETCD_RANGE};
    request.as.range.key = ds_bytes_of(&call->own);
    ds_etcd_step(call, &request, on_pinged);
}

static void on_got(ds_etcd_call *call, const ds_etcd_reply *reply) {
    const ds_etcd_kv *kv = ds_etcd_only(&reply->answers[0]);
    ds_reply answer = {.outcome = DS_OK, .place = DS_PLACE_DONE, .revision = reply->header.revision};
    if (kv != NULL) {
        answer.value = kv->value.data;
        answer.value_size = kv->value.size;
        answer.token = kv->mod;
    }
    ds_etcd_finish(call, &answer);
}

void ds_etcd_get(ds_backend *backend, ds_call *owner, const char *key) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    ds_etcd_request request = {.kind = DS_ETCD_RANGE};
    request.as.range.key = (ds_bytes){key, strlen(key)};
    ds_etcd_step(call, &request, on_got);
}

/* ---- the object -------------------------------------------------------------------------------------------------- */

static bool take_key(ds_buf *key, char **out) {
    if (key->failed) {
        ds_buf_free(key);
        return false;
    }
    *out = key->data;
    return true;
}

static bool session_key(ds_backend *backend, const ds_lease *lease, char **out) {
    (void)backend;
    ds_buf key = DS_BUF_EMPTY;
    ds_etcd_key_session(&key, lease);
    return take_key(&key, out);
}

static bool entry_key(ds_backend *backend, const ds_entry *entry, char **out) {
    (void)backend;
    ds_buf key = DS_BUF_EMPTY;
    ds_etcd_key_entry(&key, entry);
    return take_key(&key, out);
}

static const char *endpoint_list(ds_backend *backend) {
    return ds_etcd_of(backend)->endpoints.text;
}

static void destroy(ds_backend *backend) {
    ds_etcd *etcd = ds_etcd_of(backend);
    ds_etcd_stream_free(&etcd->stream);
    ds_etcd_auth_free(&etcd->auth);
    ds_etcd_free_idle(etcd);
    ds_endpoints_free(&etcd->endpoints);
    ds_free(etcd->prefix);
    ds_free(etcd->id);
    ds_free(etcd);
}

static const ds_backend_ops etcd_ops = {
    .name = "etcd",
    .ttl_min_ms = 2000, /* what a server with default timing grants at least; it counts in seconds */
    .ttl_max_ms = INT64_C(1000) * 60 * 60 * 24 * 365,
    .margin_divisor = 5,
    .renew_divisor = 3,
    .reuses_names = true, /* its index has every key since the last compaction, and a range goes through all of them */
    .local = false,
    .destroy = destroy,
    .cancel = ds_etcd_cancel,
    .endpoint_list = endpoint_list,
    .ping = ds_etcd_ping,
    .open = ds_etcd_open,
    .renew = ds_etcd_renew,
    .close = ds_etcd_close,
    .forget = ds_etcd_forget,
    .session_key = session_key,
    .enter = ds_etcd_enter,
    .check = ds_etcd_check,
    .leave = ds_etcd_leave,
    .swap = ds_etcd_swap,
    .withdraw = ds_etcd_withdraw,
    .write = ds_etcd_write,
    .evict = ds_etcd_evict,
    .get = ds_etcd_get,
    .list = ds_etcd_list,
    .watch = ds_etcd_watch,
    .unwatch = ds_etcd_unwatch,
    .entry_key = entry_key,
};

ds_backend *ds_etcd_backend(ds_world *world, const ds_backend_config *config, dsync_error *error) {
    const dsync_options *options = config->options;
    ds_etcd *etcd = ds_calloc(1, sizeof(*etcd));
    if (etcd == NULL) {
        ds_error_no_memory(error);
        return NULL;
    }
    etcd->base.ops = &etcd_ops;
    etcd->base.world = world;
    etcd->value_max = options->max_value > LARGEST_VALUE ? options->max_value : LARGEST_VALUE;
    ds_list_init(&etcd->idle);
    ds_etcd_stream_init(&etcd->stream, etcd);
    if (!ds_etcd_choose_wire(etcd, config, error) || !ds_etcd_auth_init(&etcd->auth, etcd, config, error)) {
        ds_free(etcd);
        return NULL;
    }
    etcd->prefix = ds_strdup(options->prefix != NULL ? options->prefix : "dsync");
    etcd->id = ds_strdup(options->id != NULL ? options->id : "dsync");
    if (etcd->prefix == NULL || etcd->id == NULL ||
        !ds_endpoints_init(&etcd->endpoints, config->endpoints, config->endpoint_count)) {
        destroy(&etcd->base);
        ds_error_no_memory(error);
        return NULL;
    }
    return &etcd->base;
}
