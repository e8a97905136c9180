/* consul_settings.c: what a user may set for Consul, and the token that requests carry. */
#include "consul.h"

#include "../base/error.h"
#include "../base/nearest.h"
#include "../net/url.h"
#include "secret.h"

#include <stdlib.h>
#include <string.h>

#define LOCK_DELAY_MS INT64_C(15000) /* Consul's own */
#define LOCK_DELAY_MAX_MS INT64_C(60000)
#define NAME_MAX_BYTES 128

/* ---- settings ---------------------------------------------------------------------------------------------------- */

static bool copy_text(char **out, const char *text, dsync_error *error) {
    ds_free(*out);
    *out = ds_strdup(text);
    if (*out == NULL) {
        ds_error_no_memory(error);
    }
    return *out != NULL;
}

static bool set_word(char **out, const char *name, const char *value, dsync_error *error) {
    size_t size = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    if (size == 0 || size > NAME_MAX_BYTES || value[size] != '\0') {
        ds_shown shown;
        ds_error_set(error, DSYNC_CONFIG, "consul.%s is \"%s\"; it must be letters, digits, \"-\" and \"_\"", name,
                     ds_show(&shown, value, strlen(value)));
        return false;
    }
    return copy_text(out, value, error);
}

/* Seconds as a number; "5s" and "500ms" as Consul writes them. */
static bool set_lock_delay(ds_consul_settings *settings, const char *value, dsync_error *error) {
    char *end = NULL;
    double number = value[0] >= '0' && value[0] <= '9' ? strtod(value, &end) : -1;
    bool ms = end != NULL && strcmp(end, "ms") == 0;
    bool fits = end != NULL && (ms || end[0] == '\0' || strcmp(end, "s") == 0);
    number = ms ? number : number * 1000;
    if (!fits || number < 0 || number > (double)LOCK_DELAY_MAX_MS) {
        ds_shown shown;
        ds_error_set(error, DSYNC_CONFIG,
                     "consul.lock_delay is \"%s\"; it must be 0 to 60 seconds, as a number, \"5s\" or \"500ms\"",
                     ds_show(&shown, value, strlen(value)));
        return false;
    }
    settings->lock_delay_ms = (int64_t)(number + 0.5);
    return true;
}

/* A list of names, separated by commas, as a JSON array. */
static bool set_checks(ds_consul_settings *settings, const char *value, dsync_error *error) {
    ds_buf list = DS_BUF_EMPTY;
    ds_buf_add_char(&list, '[');
    while (*value != '\0') {
        size_t size = strcspn(value, ",");
        if (size > 0) {
            ds_buf_add_text(&list, list.size > 1 ? "," : "");
            ds_json_add_text(&list, value, size);
        }
        value += size + (value[size] == ',' ? 1 : 0);
    }
    ds_buf_add_char(&list, ']');
    bool done = !list.failed && copy_text(&settings->checks, list.data, error);
    if (list.failed) {
        ds_error_no_memory(error);
    }
    ds_buf_free(&list);
    return done;
}

static bool set_consistency(ds_consul_settings *settings, const char *value, dsync_error *error) {
    settings->consistent = strcmp(value, "consistent") == 0;
    if (settings->consistent || strcmp(value, "default") == 0) {
        return true;
    }
    ds_shown shown;
    ds_error_set(
        error, DSYNC_CONFIG,
        "consul.consistency is \"%s\"; it must be \"consistent\" or \"default\" (a stale read is no base for a "
        "lock)",
        ds_show(&shown, value, strlen(value)));
    return false;
}

static bool set(ds_consul_settings *settings, const char *name, const char *value, dsync_error *error) {
    static const char *const names[] = {"datacenter",  "lock_delay", "checks", "namespace",
                                        "consistency", "session",    NULL};
    if (strcmp(name, "datacenter") == 0) {
        return set_word(&settings->datacenter, name, value, error);
    }
    if (strcmp(name, "namespace") == 0) {
        return set_word(&settings->name_space, name, value, error);
    }
    if (strcmp(name, "lock_delay") == 0) {
        return set_lock_delay(settings, value, error);
    }
    if (strcmp(name, "checks") == 0) {
        return set_checks(settings, value, error);
    }
    if (strcmp(name, "consistency") == 0) {
        return set_consistency(settings, value, error);
    }
    if (strcmp(name, "session") == 0) {
        return true; /* the client's own business */
    }
    ds_shown shown;
    const char *nearest = ds_nearest(name, names);
    ds_error_set(error, DSYNC_CONFIG,
                 "unknown setting \"consul.%s\"%s%s%s; consul knows datacenter, lock_delay, checks, namespace, "
                 "consistency and session",
                 ds_show(&shown, name, strlen(name)), nearest != NULL ? " (did you mean \"" : "",
                 nearest != NULL ? nearest : "", nearest != NULL ? "\"?)" : "");
    return false;
}

bool ds_consul_settings_init(ds_consul_settings *settings, const dsync_options *options, dsync_error *error) {
    static const char mine[] = "consul.";
    settings->lock_delay_ms = LOCK_DELAY_MS;
    settings->consistent = true;
    if (!copy_text(&settings->checks, "[]", error)) {
        return false;
    }
    for (size_t i = 0; i < options->setting_count; i++) {
        const dsync_setting *setting = &options->settings[i];
        if (strncmp(setting->name, mine, sizeof(mine) - 1) == 0 &&
            !set(settings, setting->name + sizeof(mine) - 1, setting->value, error)) {
            return false;
        }
    }
    return true;
}

void ds_consul_settings_free(ds_consul_settings *settings) {
    ds_free(settings->datacenter);
    ds_free(settings->name_space);
    ds_free(settings->checks);
}

/* Where a key is; NULL: in the agents' own datacenter. Without a region that is the named one, for all keys. With a
 * region its keys are in the agents' own, and the global ones in the named one, else in the one that the agents call
 * primary. */
const char *ds_consul_datacenter(const ds_consul *consul, bool global) {
    if (consul->region != NULL && !global) {
        return NULL;
    }
    const char *primary = consul->region != NULL && consul->primary[0] != '\0' ? consul->primary : NULL;
    return consul->settings.datacenter != NULL ? consul->settings.datacenter : primary;
}

bool ds_consul_needs_primary(const ds_consul *consul, bool global) {
    return global && consul->region != NULL && ds_consul_datacenter(consul, true) == NULL;
}

/* ---- the token --------------------------------------------------------------------------------------------------- */

static void drop_header(ds_consul_auth *auth) {
    ds_free_secret(auth->header);
    auth->header = NULL;
}

static bool set_header(ds_consul_auth *auth, const char *token) {
    ds_buf text = DS_BUF_EMPTY;
    ds_buf_add_text(&text, "X-Consul-Token: ");
    ds_buf_add_text(&text, token);
    if (text.failed) {
        ds_wipe(text.data, text.size);
        ds_buf_free(&text);
        return false;
    }
    drop_header(auth);
    auth->header = text.data; /* NUL-terminated, from ds_malloc like every string */
    auth->serial++;
    return true;
}

static bool read_token_file(ds_consul_auth *auth, dsync_error *error) {
    char *token = ds_secret_read(auth->token_file, error);
    if (token == NULL) {
        return false;
    }
    bool done = set_header(auth, token);
    ds_free_secret(token);
    if (!done) {
        ds_error_no_memory(error);
    }
    return done;
}

bool ds_consul_auth_ready(ds_consul *consul, dsync_error *error) {
    ds_consul_auth *auth = &consul->auth;
    return auth->header != NULL || auth->token_file == NULL || read_token_file(auth, error);
}

bool ds_consul_auth_refused(ds_consul *consul, uint64_t serial) {
    ds_consul_auth *auth = &consul->auth;
    if (serial != auth->serial) {
        return true;
    }
    if (auth->token_file == NULL) {
        return false;
    }
    char *before = auth->header;
    auth->header = NULL;
    bool another = read_token_file(auth, NULL) && (before == NULL || strcmp(before, auth->header) != 0);
    ds_free_secret(before);
    return another;
}

static bool given(const char *text) {
    return text != NULL && text[0] != '\0';
}

static bool check_plaintext(const ds_backend_config *config, dsync_error *error) {
    for (size_t i = 0; i < config->endpoint_count && !config->options->allow_plaintext_credentials; i++) {
        const char *origin = config->endpoints[i];
        if (strncmp(origin, "https:", 6) != 0 && !ds_url_is_loopback(origin)) {
            ds_error_set(error, DSYNC_CONFIG,
                         "the token would go to %s in clear text; use consuls:// (TLS), or set "
                         "allow_plaintext_credentials",
                         origin);
            return false;
        }
    }
    return true;
}

bool ds_consul_auth_init(ds_consul *consul, const ds_backend_config *config, dsync_error *error) {
    const dsync_options *options = config->options;
    if (given(options->auth_user) || given(options->auth_password)) {
        ds_error_set(error, DSYNC_CONFIG, "Consul knows no user and password: give auth.token or auth.token_file");
        return false;
    }
    const char *token = options->auth_token, *where = "auth.token";
    if (!given(token) && !given(options->auth_token_file)) {
        token = getenv("CONSUL_HTTP_TOKEN");
        where = "CONSUL_HTTP_TOKEN";
    }
    if (!given(token) && !given(options->auth_token_file)) {
        return true;
    }
    if (given(token) && !ds_secret_fits_header(token)) {
        ds_error_set(error, DSYNC_CONFIG, "%s holds more than visible ASCII", where);
        return false;
    }
    if (!check_plaintext(config, error)) {
        return false;
    }
    if (given(token)) {
        return set_header(&consul->auth, token) || (ds_error_no_memory(error), false);
    }
    return copy_text(&consul->auth.token_file, options->auth_token_file, error);
}

void ds_consul_auth_free(ds_consul_auth *auth) {
    drop_header(auth);
    ds_free(auth->token_file);
}
