/* settings.c: a client's options: defaults, checks, a deep copy. How they look to people: settings_show.c. */
#include <stdio.h>
#include <string.h>

#include "../base/utf8.h"
#include "../core/timing.h"
#include "client.h"

#define DEFAULT_TTL_MS INT64_C(15000)
#define DEFAULT_MAX_VALUE ((size_t)64 * 1024)
#define ID_MAX 256

typedef struct kept {
    ds_list node;
    size_t size;
    char text[];
} kept;

void dsync_options_init(dsync_options *options) {
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
    options->wait_ms = -1;
}

static char *keep(ds_settings *settings, const void *bytes, size_t size) {
    kept *copy = ds_malloc(sizeof *copy + size + 1);
    if (copy == NULL) {
        return NULL;
    }
    copy->size = size;
    memcpy(copy->text, bytes, size);
    copy->text[size] = '\0';
    ds_list_init(&copy->node);
    ds_list_append(&settings->strings, &copy->node);
    return copy->text;
}

const char *ds_settings_keep(ds_settings *settings, const char *text) {
    return keep(settings, text, strlen(text));
}

void ds_settings_free(ds_settings *settings) {
    ds_list *link;
    while (settings->strings.next != NULL && (link = ds_list_pop(&settings->strings)) != NULL) {
        kept *copy = DS_LIST_ENTRY(link, kept, node);
        ds_wipe(copy->text, copy->size); /* some of them are secrets */
        ds_free(copy);
    }
    ds_free(settings->url);
    settings->url = NULL;
}

/* ---- copying ----------------------------------------------------------------------------------------------------- */

static bool keep_text(ds_settings *settings, const char **text, const char *standard) {
    if (*text == NULL) {
        *text = standard;
    }
    if (*text != NULL) {
        *text = ds_settings_keep(settings, *text);
        return *text != NULL;
    }
    return true;
}

static bool keep_endpoints(ds_settings *settings) {
    dsync_options *o = &settings->o;
    if (o->endpoint_count == 0) {
        return true;
    }
    const char **list = (const char **)(void *)keep(settings, o->endpoints, o->endpoint_count * sizeof *list);
    for (size_t i = 0; list != NULL && i < o->endpoint_count; i++) {
        list[i] = ds_settings_keep(settings, o->endpoints[i]);
        if (list[i] == NULL) {
            return false;
        }
    }
    o->endpoints = list;
    return list != NULL;
}

static bool keep_pairs(ds_settings *settings) {
    dsync_options *o = &settings->o;
    if (o->setting_count == 0) {
        return true;
    }
    dsync_setting *list = (dsync_setting *)(void *)keep(settings, o->settings, o->setting_count * sizeof *list);
    for (size_t i = 0; list != NULL && i < o->setting_count; i++) {
        list[i].name = ds_settings_keep(settings, o->settings[i].name);
        list[i].value = ds_settings_keep(settings, o->settings[i].value);
        if (list[i].name == NULL || list[i].value == NULL) {
            return false;
        }
    }
    o->settings = list;
    return list != NULL;
}

static bool keep_all(ds_settings *settings) {
    dsync_options *o = &settings->o;
    const char *value = o->value;
    if (value != NULL) {
        o->value = keep(settings, value, o->value_size);
        if (o->value == NULL) {
            return false;
        }
    }
    return keep_endpoints(settings) && keep_pairs(settings) && keep_text(settings, &o->prefix, "dsync") &&
           keep_text(settings, &o->id, NULL) && keep_text(settings, &o->name_space, "default") &&
           keep_text(settings, &o->region, NULL) && keep_text(settings, &o->scope, NULL) &&
           keep_text(settings, &o->tls_ca, NULL) && keep_text(settings, &o->tls_cert, NULL) &&
           keep_text(settings, &o->tls_key, NULL) && keep_text(settings, &o->tls_server_name, NULL) &&
           keep_text(settings, &o->auth_user, NULL) && keep_text(settings, &o->auth_password, NULL) &&
           keep_text(settings, &o->auth_token, NULL) && keep_text(settings, &o->auth_token_file, NULL);
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

#define REFUSE(...) (ds_error_set(error, DSYNC_CONFIG, __VA_ARGS__), false)

static bool check_time(const char *name, int64_t ms, int64_t least, dsync_error *error) {
    if (ms < least) {
        return REFUSE("%s of %lld ms: give a time of at least %lld ms", name, (long long)ms, (long long)least);
    }
    if (ms > INT64_C(100) * 366 * 86400 * 1000) {
        return REFUSE("%s of %lld ms: more than a hundred years", name, (long long)ms);
    }
    return true;
}

static bool check_times(const dsync_options *o, dsync_error *error) {
    return check_time("ttl", o->ttl_ms, 1, error) && check_time("wait", o->wait_ms, -1, error) &&
           check_time("retry_interval", o->retry_interval_ms, 1, error) && check_time("hold", o->hold_ms, 0, error) &&
           check_time("connect_timeout", o->connect_timeout_ms, 0, error) &&
           check_time("request_timeout", o->request_timeout_ms, 0, error) &&
           check_time("close_timeout", o->close_timeout_ms, 0, error);
}

/* What would be read, or copied, before anything else is looked at. */
static bool check_lists(const dsync_options *o, dsync_error *error) {
    for (size_t i = 0; i < o->endpoint_count; i++) {
        if (o->endpoints == NULL || o->endpoints[i] == NULL) {
            return REFUSE("endpoints: element %zu of %zu is NULL", i, o->endpoint_count);
        }
    }
    for (size_t i = 0; i < o->setting_count; i++) {
        if (o->settings == NULL || o->settings[i].name == NULL || o->settings[i].value == NULL) {
            return REFUSE("settings: element %zu of %zu is NULL, or its name or value is", i, o->setting_count);
        }
    }
    return o->value != NULL || o->value_size == 0 || REFUSE("value is NULL, but value_size is %zu", o->value_size);
}

static bool check_scope(const dsync_options *o, dsync_error *error) {
    if (o->scope == NULL) {
        return true;
    }
    if (strcmp(o->scope, "region") != 0 && strcmp(o->scope, "global") != 0) {
        return REFUSE("scope \"%.40s\": use \"region\" or \"global\"", o->scope);
    }
    if (strcmp(o->scope, "region") == 0 && o->region == NULL) {
        return REFUSE("scope \"region\" needs a region: set region = \"...\"");
    }
    return true;
}

static bool check_tls(const dsync_options *o, dsync_error *error) {
    if ((o->tls_cert == NULL) != (o->tls_key == NULL)) {
        return REFUSE("tls.cert and tls.key belong together: only tls.%s is set", o->tls_cert != NULL ? "cert" : "key");
    }
    if ((o->auth_user == NULL) != (o->auth_password == NULL)) {
        return REFUSE("auth.user and auth.password belong together: only auth.%s is set",
                      o->auth_user != NULL ? "user" : "password");
    }
    if (o->auth_token != NULL && o->auth_token_file != NULL) {
        return REFUSE("auth.token and auth.token_file exclude each other");
    }
    return true;
}

static bool check_texts(const dsync_options *o, dsync_error *error) {
    if (!ds_path_check(o->prefix, strlen(o->prefix), "prefix", error) ||
        !ds_name_check(o->name_space, strlen(o->name_space), "namespace", error)) {
        return false;
    }
    if (o->region != NULL && !ds_path_check(o->region, strlen(o->region), "region", error)) {
        return false;
    }
    if (o->region != NULL && o->region[0] == '/') {
        return REFUSE("region must not begin with \"/\": leave the first one out");
    }
    if (o->id != NULL && (o->id[0] == '\0' || strlen(o->id) > ID_MAX || !ds_utf8_valid(o->id, strlen(o->id)))) {
        return REFUSE("id: give 1 to %d bytes of UTF-8", ID_MAX);
    }
    if (o->value_size > o->max_value) {
        return REFUSE("value has %zu bytes, more than max_value = %zu", o->value_size, o->max_value);
    }
    return true;
}

/* Consul's people look for it among what is Consul's. */
static bool take_session(dsync_options *o, dsync_error *error) {
    for (size_t i = 0; i < o->setting_count; i++) {
        const dsync_setting *setting = &o->settings[i];
        if (strcmp(setting->name, "consul.session") != 0) {
            continue;
        }
        o->own_session = strcmp(setting->value, "own") == 0;
        if (!o->own_session && strcmp(setting->value, "shared") != 0) {
            return REFUSE("consul.session \"%.40s\": use \"shared\" or \"own\"", setting->value);
        }
    }
    return true;
}

bool ds_settings_copy(ds_settings *settings, const dsync_options *options, dsync_error *error) {
    dsync_options *o = &settings->o;
    ds_list_init(&settings->strings);
    dsync_options_init(o);
    if (options != NULL) {
        if (options->size == 0) {
            return REFUSE("options were not made with dsync_options_init()");
        }
        memcpy(o, options, options->size < sizeof *o ? options->size : sizeof *o);
        o->size = sizeof *o;
    }
    o->ttl_ms = o->ttl_ms != 0 ? o->ttl_ms : DEFAULT_TTL_MS;
    o->retry_interval_ms = o->retry_interval_ms != 0 ? o->retry_interval_ms : 1000;
    o->close_timeout_ms = o->close_timeout_ms != 0 ? o->close_timeout_ms : 2000;
    o->max_value = o->max_value != 0 ? o->max_value : DEFAULT_MAX_VALUE;
    if (!check_lists(o, error)) {
        return false;
    }
    if (!keep_all(settings)) {
        ds_error_no_memory(error);
        return false;
    }
    if (!take_session(o, error) || !check_times(o, error) || !check_scope(o, error) || !check_tls(o, error) ||
        !check_texts(o, error)) {
        return false;
    }
    if (o->connect_timeout_ms == 0) {
        o->connect_timeout_ms = o->ttl_ms / 8 < 1000 ? o->ttl_ms / 8 : 1000;
        if (o->connect_timeout_ms < 50) {
            o->connect_timeout_ms = 50;
        }
    }
    if (o->request_timeout_ms != 0 && o->connect_timeout_ms > o->request_timeout_ms) {
        o->connect_timeout_ms = o->request_timeout_ms;
    }
    return true;
}

bool ds_ttl_check(int64_t ttl_ms, int64_t request_timeout_ms, const ds_backend_ops *backend, dsync_error *error) {
    ds_timing timing;
    if (ttl_ms < backend->ttl_min_ms || ttl_ms > backend->ttl_max_ms) {
        return REFUSE("ttl of %.3g s: %s allows %.3g s to %.10g s", (double)ttl_ms / 1e3, backend->name,
                      (double)backend->ttl_min_ms / 1e3, (double)backend->ttl_max_ms / 1e3);
    }
    return ds_timing_plan(&timing, ttl_ms, backend->margin_divisor, backend->renew_divisor, request_timeout_ms, error);
}

bool ds_settings_fit(const ds_settings *settings, const ds_backend_ops *backend, dsync_error *error) {
    return ds_ttl_check(settings->o.ttl_ms, settings->o.request_timeout_ms, backend, error);
}
