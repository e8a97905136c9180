/* settings_show.c: the options in effect as JSON, for people and for programs that show them. Secrets are "***". */
#include <stdio.h>
#include <string.h>

#include "../base/json.h"
#include "../core/timing.h"
#include "client.h"

static void add_name(ds_buf *out, const char *name) {
    if (out->size > 0 && out->data[out->size - 1] != '{') {
        ds_buf_add_char(out, ',');
    }
    ds_json_add_text(out, name, strlen(name));
    ds_buf_add_char(out, ':');
}

static void add_text(ds_buf *out, const char *name, const char *text) {
    if (text != NULL) {
        add_name(out, name);
        ds_json_add_text(out, text, strlen(text));
    }
}

static void add_secret(ds_buf *out, const char *name, const char *text) {
    add_text(out, name, text != NULL ? "***" : NULL);
}

static void add_seconds(ds_buf *out, const char *name, int64_t ms) {
    add_name(out, name);
    ds_buf_add_format(out, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
}

static void add_flag(ds_buf *out, const char *name, bool set) {
    add_name(out, name);
    ds_buf_add_text(out, set ? "true" : "false");
}

static void add_tls(ds_buf *out, const dsync_options *o) {
    if (o->tls_ca == NULL && o->tls_cert == NULL && o->tls_server_name == NULL && !o->tls_insecure_skip_verify) {
        return;
    }
    add_name(out, "tls");
    ds_buf_add_char(out, '{');
    add_text(out, "ca", o->tls_ca);
    add_text(out, "cert", o->tls_cert);
    add_text(out, "key", o->tls_key);
    add_text(out, "server_name", o->tls_server_name);
    if (o->tls_insecure_skip_verify) {
        add_flag(out, "insecure_skip_verify", true);
    }
    ds_buf_add_char(out, '}');
}

static void add_auth(ds_buf *out, const dsync_options *o) {
    if (o->auth_user == NULL && o->auth_token == NULL && o->auth_token_file == NULL) {
        return;
    }
    add_name(out, "auth");
    ds_buf_add_char(out, '{');
    add_text(out, "user", o->auth_user);
    add_secret(out, "password", o->auth_password);
    add_secret(out, "token", o->auth_token);
    add_text(out, "token_file", o->auth_token_file);
    ds_buf_add_char(out, '}');
}

static void add_value(ds_buf *out, const dsync_options *o) {
    if (o->value != NULL) {
        add_name(out, "value");
        ds_json_add_text(out, o->value, o->value_size);
    }
    add_name(out, "max_value");
    ds_buf_add_int(out, (int64_t)o->max_value);
    add_flag(out, "raw", o->raw);
}

/* What is set for the store "consul" goes into an object of that name: {"consul.lock_delay", "5"} is consul =
 * {lock_delay = "5"}. */
static void add_store(ds_buf *out, const dsync_options *o, const char *store, size_t size) {
    bool begun = false;
    for (size_t i = 0; i < o->setting_count; i++) {
        const char *name = o->settings[i].name;
        if (strncmp(name, store, size) != 0 || name[size] != '.') {
            continue;
        }
        if (!begun) {
            char key[40];
            (void)snprintf(key, sizeof key, "%.*s", (int)size, store);
            add_name(out, key);
            ds_buf_add_char(out, '{');
            begun = true;
        }
        add_text(out, name + size + 1, strcmp(name, "zookeeper.digest") == 0 ? "***" : o->settings[i].value);
    }
    if (begun) {
        ds_buf_add_char(out, '}');
    }
}

static bool is_first_of_its_store(const dsync_options *o, size_t at, size_t size) {
    for (size_t i = 0; i < at; i++) {
        if (strncmp(o->settings[i].name, o->settings[at].name, size + 1) == 0) {
            return false;
        }
    }
    return true;
}

static void add_stores(ds_buf *out, const dsync_options *o) {
    for (size_t i = 0; i < o->setting_count; i++) {
        const char *name = o->settings[i].name;
        size_t size = strcspn(name, ".");
        if (is_first_of_its_store(o, i, size)) {
            add_store(out, o, name, size);
        }
    }
}

bool ds_settings_json(const ds_settings *settings, ds_buf *out) {
    const dsync_options *o = &settings->o;
    ds_buf_add_char(out, '{');
    add_text(out, "url", settings->url);
    if (o->endpoint_count > 0) {
        add_name(out, "endpoints");
        for (size_t i = 0; i < o->endpoint_count; i++) {
            ds_buf_add_char(out, i == 0 ? '[' : ',');
            ds_json_add_text(out, o->endpoints[i], strlen(o->endpoints[i]));
        }
        ds_buf_add_char(out, ']');
    }
    add_text(out, "prefix", o->prefix);
    add_text(out, "id", o->id);
    add_text(out, "namespace", o->name_space);
    add_text(out, "region", o->region);
    add_text(out, "scope", o->scope);
    add_text(out, "session", o->own_session ? "own" : "shared");
    add_seconds(out, "ttl", o->ttl_ms);
    if (o->wait_ms >= 0) {
        add_seconds(out, "wait", o->wait_ms);
    }
    if (o->hold_ms > 0) {
        add_seconds(out, "hold", o->hold_ms);
    }
    add_seconds(out, "retry_interval", o->retry_interval_ms);
    add_seconds(out, "connect_timeout", o->connect_timeout_ms);
    add_seconds(out, "request_timeout", ds_timing_request(o->request_timeout_ms, o->ttl_ms * DS_MS) / DS_MS);
    add_seconds(out, "close_timeout", o->close_timeout_ms);
    add_value(out, o);
    add_tls(out, o);
    add_auth(out, o);
    add_flag(out, "allow_plaintext_credentials", o->allow_plaintext_credentials);
    add_stores(out, o);
    ds_buf_add_char(out, '}');
    return !out->failed;
}
