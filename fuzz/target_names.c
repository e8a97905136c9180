/* target_names.c: what users write: URLs, endpoints, names, paths, options. What is refused is explained in words that
 * can be shown, and without a secret. */
#include "fuzz.h"

#include "../csrc/base/json.h"
#include "../csrc/client/client.h"
#include "../csrc/net/url.h"

#define SECRET "hunter2" /* in the dictionary */

static void refused(const dsync_error *error, dsync_code code) {
    FZ_CHECK(error->code == code);
    fz_check_message(error->message);
}

static void a_url(fz *in) {
    const char *endpoints[3];
    size_t count = fz_pick(in, 4);
    const char *text = fz_text(in, 1000);
    for (size_t i = 0; i < count; i++) {
        endpoints[i] = fz_text(in, 300);
    }
    dsync_error error = {DSYNC_OK, ""};
    ds_url url;
    if (!ds_url_parse(&url, text, endpoints, count, &error)) {
        refused(&error, DSYNC_CONFIG);
        const char *at = strrchr(text, '@'), *secret = strstr(text, ":" SECRET "@");
        FZ_CHECK(at == NULL || secret == NULL || count > 0 || strstr(error.message, SECRET) == NULL);
        return;
    }
    FZ_CHECK(url.path != NULL);
    for (size_t i = 0; i < url.host_count; i++) {
        (void)ds_url_is_loopback(url.hosts[i]);
        for (size_t k = 0; k < i; k++) {
            FZ_CHECK(strcmp(url.hosts[i], url.hosts[k]) != 0);
        }
        /* What was normalised stays as it is. */
        if (url.scheme == DS_SCHEME_ETCD) {
            const char *again[] = {url.hosts[i]};
            ds_url second;
            FZ_CHECK(ds_url_parse(&second, url.tls ? "etcds://" : "etcd://", again, 1, &error));
            FZ_CHECK(second.host_count == 1 && strcmp(second.hosts[0], url.hosts[i]) == 0 && second.tls == url.tls);
            ds_url_free(&second);
        }
    }
    ds_url_free(&url);
}

static bool contains_control(const char *text, size_t size) {
    for (size_t at = 0; at < size;) {
        uint32_t code_point = 0;
        size_t step = ds_utf8_sequence(text + at, size - at, &code_point);
        if (step == 0 || ds_is_control(code_point)) {
            return true;
        }
        at += step;
    }
    return false;
}

static void a_name(fz *in) {
    size_t size;
    const char *name = fz_bytes(in, 3000, &size);
    dsync_error error = {DSYNC_OK, ""};
    if (!ds_name_check(name, size, "name", &error)) {
        refused(&error, DSYNC_INVALID);
    } else {
        FZ_CHECK(size >= 1 && size <= DS_NAME_MAX && !contains_control(name, size));
        FZ_CHECK(name[0] != '/' && name[size - 1] != '/');
    }
    if (!ds_path_check(name, size, "prefix", &error)) {
        refused(&error, DSYNC_INVALID);
        return;
    }
    FZ_CHECK(size <= 2048 && !contains_control(name, size));
    char *prefix = ds_strndup(name, size);
    ds_keyspace space = {.prefix = prefix, .region = fz_flag(in) ? "r" : NULL, .global = fz_flag(in)};
    ds_buf one = DS_BUF_EMPTY, two = DS_BUF_EMPTY;
    const char *a = fz_text(in, 100), *b = fz_text(in, 100);
    ds_key_lock(&one, &space, a);
    ds_key_lock(&two, &space, b);
    FZ_CHECK((strcmp(a, b) == 0) == (strcmp(one.data, two.data) == 0));
    ds_buf_clear(&one);
    ds_buf_clear(&two);
    ds_key_leader(&one, &space, "n", a);
    ds_key_data(&two, &space, a);
    FZ_CHECK(strcmp(one.data, two.data) != 0 && strncmp(one.data, prefix, size) == 0);
    ds_buf_free(&one);
    ds_buf_free(&two);
    ds_free(prefix);
}

static const char *maybe(fz *in) {
    return fz_flag(in) ? fz_text(in, 300) : NULL;
}

static void an_option_set(fz *in) {
    dsync_options o;
    dsync_options_init(&o);
    o.ttl_ms = fz_int64(in);
    o.wait_ms = fz_int64(in);
    o.retry_interval_ms = fz_int64(in);
    o.hold_ms = fz_int64(in);
    o.connect_timeout_ms = fz_int64(in);
    o.request_timeout_ms = fz_int64(in);
    o.close_timeout_ms = fz_int64(in);
    o.prefix = maybe(in);
    o.id = maybe(in);
    o.name_space = maybe(in);
    o.region = maybe(in);
    o.scope = maybe(in);
    o.tls_ca = maybe(in);
    o.tls_cert = maybe(in);
    o.tls_key = maybe(in);
    o.auth_user = maybe(in);
    o.auth_password = fz_flag(in) ? SECRET : NULL;
    o.auth_token = fz_flag(in) ? SECRET : NULL;
    o.auth_token_file = maybe(in);
    o.value = fz_flag(in) ? fz_bytes(in, 300, &o.value_size) : NULL;
    dsync_setting setting = {fz_text(in, 40), fz_text(in, 40)};
    o.settings = &setting;
    o.setting_count = fz_pick(in, 2);
    ds_settings settings = {.url = NULL};
    dsync_error error = {DSYNC_OK, ""};
    if (ds_settings_copy(&settings, &o, &error)) {
        ds_buf out = DS_BUF_EMPTY;
        FZ_CHECK(ds_settings_json(&settings, &out));
        ds_backend_ops limits = {
            .name = "fuzz", .ttl_min_ms = 1, .ttl_max_ms = INT64_MAX, .margin_divisor = 5, .renew_divisor = 3};
        if (!ds_settings_fit(&settings, &limits, &error)) {
            refused(&error, DSYNC_CONFIG);
        }
        ds_json_limits json_limits = {8, 1000};
        const char *why;
        ds_json *json = ds_json_parse(out.data, out.size, &json_limits, NULL, &why);
        /* Our own reader takes neither of these, which a host may well have given. */
        FZ_CHECK(json != NULL || strcmp(why, "duplicate key") == 0 || strcmp(why, "NUL in a string") == 0);
        const ds_json *auth = ds_json_object(json, "auth");
        FZ_CHECK(ds_json_text(auth, "password") == NULL || strcmp(ds_json_text(auth, "password"), "***") == 0);
        FZ_CHECK(ds_json_text(auth, "token") == NULL || strcmp(ds_json_text(auth, "token"), "***") == 0);
        ds_json_free(json);
        ds_buf_free(&out);
    } else {
        FZ_CHECK(error.code == DSYNC_CONFIG || error.code == DSYNC_INVALID);
        fz_check_message(error.message);
    }
    ds_settings_free(&settings);
}

void fz_target(fz *in) {
    switch (fz_pick(in, 3)) {
    case 0:
        a_url(in);
        break;
    case 1:
        a_name(in);
        break;
    default:
        an_option_set(in);
    }
}
