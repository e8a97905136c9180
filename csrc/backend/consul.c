/* consul.c: the Consul backend as one object: its making, its table of operations, ping. */
#include "consul.h"

#include "../base/error.h"

#include <stdio.h>
#include <string.h>

/* ---- ping -------------------------------------------------------------------------------------------------------- */

static void tell_server(ds_consul_call *call) {
    ds_buf_clear(&call->text);
    ds_buf_add_format(&call->text, "Consul %s", call->consul->version);
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE};
    reply.server = call->text.failed || call->consul->version[0] == '\0' ? "Consul" : call->text.data;
    ds_consul_finish(call, &reply);
}

static void on_self(ds_consul_call *call, const ds_consul_answer *answer) {
    const char *version = ds_json_text(ds_json_object(answer->json, "Config"), "Version");
    snprintf(call->consul->version, sizeof(call->consul->version), "%s", version != NULL ? version : "");
    tell_server(call);
}

/* The server answered the read; that the agent keeps its version to itself is no failure. */
static bool on_no_self(ds_consul_call *call, const ds_consul_result *result) {
    (void)result;
    tell_server(call);
    return true;
}

static void on_pinged(ds_consul_call *call, const ds_consul_answer *answer) {
    (void)answer;
    if (call->consul->version[0] != '\0') {
        tell_server(call);
        return;
    }
    call->failed = on_no_self;
    ds_consul_step(call, DS_CONSUL_SELF, on_self);
}

void ds_consul_ping(ds_backend *backend, ds_call *owner) {
    ds_consul_call *call = ds_consul_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    ds_buf_add_format(&call->own, "%s/session/ping", call->consul->prefix);
    if (ds_consul_no_memory(call)) {
        return;
    }
    ds_consul_tree(ds_consul_txn_of(call), call->own.data);
    ds_consul_step(call, DS_CONSUL_READ, on_pinged);
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
    ds_consul_key_session(&key, lease);
    return take_key(&key, out);
}

static bool entry_key(ds_backend *backend, const ds_entry *entry, char **out) {
    ds_buf key = DS_BUF_EMPTY;
    ds_consul_key_entry(ds_consul_of(backend), &key, entry->path, entry->nonce);
    return take_key(&key, out);
}

static const char *endpoint_list(ds_backend *backend) {
    return ds_consul_of(backend)->endpoints.text;
}

static void destroy(ds_backend *backend) {
    ds_consul *consul = ds_consul_of(backend);
    ds_consul_free_watches(consul);
    ds_consul_free_idle(consul);
    ds_map_free(&consul->places);
    ds_consul_auth_free(&consul->auth);
    ds_consul_settings_free(&consul->settings);
    ds_endpoints_free(&consul->endpoints);
    ds_free(consul->prefix);
    ds_free(consul->id);
    ds_free(consul->region);
    ds_free(consul);
}

static const ds_backend_ops consul_ops = {
    .name = "consul",
    .ttl_min_ms = INT64_C(10) * 1000, /* the server's own limits */
    .ttl_max_ms = INT64_C(86400) * 1000,
    .margin_divisor = 5,
    .renew_divisor = 3,
    .local = false,
    .delays = true,
    .destroy = destroy,
    .cancel = ds_consul_cancel,
    .endpoint_list = endpoint_list,
    .ping = ds_consul_ping,
    .open = ds_consul_open,
    .renew = ds_consul_renew,
    .close = ds_consul_close,
    .forget = ds_consul_forget,
    .session_key = session_key,
    .enter = ds_consul_enter,
    .check = ds_consul_check,
    .leave = ds_consul_leave,
    .swap = ds_consul_swap,
    .withdraw = ds_consul_withdraw,
    .write = ds_consul_write,
    .evict = ds_consul_evict,
    .get = ds_consul_get_value,
    .list = ds_consul_list,
    .watch = ds_consul_watch,
    .unwatch = ds_consul_unwatch,
    .entry_key = entry_key,
};

static bool copy(char **out, const char *text) {
    *out = text != NULL ? ds_strdup(text) : NULL;
    return text == NULL || *out != NULL;
}

static bool fill(ds_consul *consul, const ds_backend_config *config, dsync_error *error) {
    const dsync_options *options = config->options;
    const char *prefix = options->prefix != NULL ? options->prefix : "dsync";
    if (!ds_consul_settings_init(&consul->settings, options, error) || !ds_consul_auth_init(consul, config, error)) {
        return false;
    }
    if (copy(&consul->prefix, ds_consul_bare(prefix)) &&
        copy(&consul->id, options->id != NULL ? options->id : "dsync") && copy(&consul->region, options->region) &&
        ds_endpoints_init(&consul->endpoints, config->endpoints, config->endpoint_count)) {
        return true;
    }
    ds_error_no_memory(error);
    return false;
}

ds_backend *ds_consul_backend(ds_world *world, const ds_backend_config *config, dsync_error *error) {
    ds_consul *consul = ds_calloc(1, sizeof(*consul));
    if (consul == NULL) {
        ds_error_no_memory(error);
        return NULL;
    }
    consul->base.ops = &consul_ops;
    consul->base.world = world;
    ds_list_init(&consul->idle);
    ds_list_init(&consul->queries);
    ds_list_init(&consul->beginning);
    ds_map_init(&consul->places, ds_random64(world));
    if (!fill(consul, config, error)) {
        destroy(&consul->base);
        return NULL;
    }
    return &consul->base;
}
