/* etcd_auth.c: obtaining, keeping and renewing the token that etcd's requests carry.
 *
 * Several requests may need a token at the same moment: one Authenticate is sent, and all wait for it.
 */
#include "etcd.h"

#include "../base/error.h"
#include "../net/url.h"
#include "etcd_error.h"
#include "secret.h"

#include <string.h>

#define AUTHENTICATE_TIMEOUT (5 * DS_SECOND) /* the server hashes the password slowly, by design */

/* ---- the headers ------------------------------------------------------------------------------------------------- */

static void free_headers(char *const *headers) {
    for (size_t i = 0; i < DS_ETCD_WIRES; i++) {
        ds_free_secret(headers[i]);
    }
}

static void drop_headers(ds_etcd_auth *auth) {
    free_headers(auth->headers);
    memset(auth->headers, 0, sizeof(auth->headers));
}

static bool has_token(const ds_etcd_auth *auth) {
    return auth->headers[0] != NULL;
}

static char *header_of(const ds_etcd_wire *wire, const char *token) {
    size_t name = strlen(wire->token), size = strlen(token);
    char *header = ds_malloc(name + size + 1);
    if (header != NULL) {
        memcpy(header, wire->token, name);
        memcpy(header + name, token, size + 1);
    }
    return header;
}

static bool set_token(ds_etcd_auth *auth, const char *token) {
    char *headers[DS_ETCD_WIRES] = {
        [DS_ETCD_JSON] = header_of(&ds_etcd_wire_json, token), [DS_ETCD_GRPC] = header_of(&ds_etcd_wire_grpc, token)};
    if (headers[DS_ETCD_JSON] == NULL || headers[DS_ETCD_GRPC] == NULL) {
        free_headers(headers);
        return false;
    }
    drop_headers(auth);
    memcpy(auth->headers, headers, sizeof(headers));
    auth->serial++;
    auth->taken_ns = ds_now(auth->exchange.etcd->base.world);
    return true;
}

static bool read_token_file(ds_etcd_auth *auth, dsync_error *error) {
    char *token = ds_secret_read(auth->token_file, error);
    if (token == NULL) {
        return false;
    }
    bool done = set_token(auth, token);
    ds_free_secret(token);
    if (!done) {
        ds_error_no_memory(error);
    }
    return done;
}

/* ---- authenticate ------------------------------------------------------------------------------------------------ */

static void tell_waiters(ds_etcd_auth *auth, const ds_etcd_result *failure) {
    ds_list waiters;
    ds_list_init(&waiters);
    ds_list_splice(&waiters, &auth->waiters);
    ds_list *node;
    while ((node = ds_list_pop(&waiters)) != NULL) {
        ds_etcd_auth_waiter *waiter = DS_LIST_ENTRY(node, ds_etcd_auth_waiter, node);
        waiter->done(waiter, failure);
    }
}

static void refuse_all(ds_etcd_auth *auth, dsync_code code, const char *message) {
    ds_etcd_result failure = {.outcome = DS_REFUSED, .code = code, .message = message, .status = {-1, ""}};
    tell_waiters(auth, &failure);
}

static void on_token(ds_etcd_auth *auth, const char *token) {
    if (!ds_secret_fits_header(token)) {
        refuse_all(auth, DSYNC_PROTOCOL, "etcd: the token the server gave is not one");
    } else if (!set_token(auth, token)) {
        refuse_all(auth, DSYNC_RESOURCE, "out of memory");
    } else {
        auth->off = false;
        tell_waiters(auth, NULL);
    }
}

static void on_authenticated(ds_etcd_exchange *exchange, const ds_etcd_result *result) {
    ds_etcd_auth *auth = DS_CONTAINER_OF(exchange, ds_etcd_auth, exchange);
    auth->asking = false;
    if (result->outcome == DS_OK) {
        on_token(auth, result->reply->token);
        ds_etcd_arena_clear(&exchange->arena);
        return;
    }
    if (ds_etcd_auth_is_off(&result->status)) {
        auth->off = true;
        auth->serial++;
        tell_waiters(auth, NULL);
        return;
    }
    /* Whatever became of Authenticate, the waiters' own requests were not sent. */
    ds_etcd_result failure = *result;
    if (failure.outcome == DS_AMBIGUOUS) {
        failure.outcome = DS_NOT_EXECUTED;
    }
    tell_waiters(auth, &failure);
}

void ds_etcd_auth_wait(ds_etcd_auth *auth, ds_etcd_auth_waiter *waiter) {
    ds_list_append(&auth->waiters, &waiter->node);
    if (auth->asking) {
        return;
    }
    auth->asking = true;
    auth->exchange.done = on_authenticated;
    auth->exchange.urgent = true;
    auth->exchange.deadline_ns = ds_now(auth->exchange.etcd->base.world) + AUTHENTICATE_TIMEOUT;
    ds_etcd_request request = {.kind = DS_ETCD_AUTHENTICATE};
    request.as.authenticate.user = auth->user;
    request.as.authenticate.password = auth->password;
    ds_etcd_send(&auth->exchange, &request);
}

ds_etcd_auth_state ds_etcd_auth_ask(ds_etcd_auth *auth, dsync_error *error) {
    if (has_token(auth) || auth->off) {
        return DS_ETCD_AUTH_READY;
    }
    if (auth->user != NULL) {
        return DS_ETCD_AUTH_WAIT;
    }
    if (auth->token_file != NULL && !read_token_file(auth, error)) {
        return DS_ETCD_AUTH_FAILED;
    }
    return DS_ETCD_AUTH_READY;
}

static bool file_has_another(ds_etcd_auth *auth) {
    char *before[DS_ETCD_WIRES];
    memcpy(before, auth->headers, sizeof(before));
    memset(auth->headers, 0, sizeof(auth->headers));
    bool another = read_token_file(auth, NULL) && (before[0] == NULL || strcmp(before[0], auth->headers[0]) != 0);
    free_headers(before);
    return another;
}

bool ds_etcd_auth_refused(ds_etcd_auth *auth, uint64_t serial) {
    if (serial != auth->serial) {
        return true;
    }
    if (auth->user != NULL) {
        drop_headers(auth);
        auth->off = false;
        return true;
    }
    return auth->token_file != NULL && file_has_another(auth);
}

ds_etcd_verdict ds_etcd_auth_judge(const ds_etcd_auth *auth, ds_etcd_verdict verdict) {
    if (verdict.token_refused && auth->user == NULL && verdict.outcome != DS_REFUSED) {
        verdict.outcome = DS_REFUSED;
        verdict.code = DSYNC_DENIED;
        verdict.advice =
            has_token(auth) ? "the token is not valid (any more)" : "the server wants a user and password, or a token";
    }
    return verdict;
}

void ds_etcd_auth_freshen(ds_etcd_auth *auth, int64_t age_ns) {
    bool renewable = auth->user != NULL || auth->token_file != NULL;
    if (renewable && has_token(auth) && ds_now(auth->exchange.etcd->base.world) - auth->taken_ns > age_ns) {
        drop_headers(auth);
    }
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static bool given(const char *text) {
    return text != NULL && text[0] != '\0';
}

static bool check_options(const ds_backend_config *config, dsync_error *error) {
    const dsync_options *options = config->options;
    bool user = given(options->auth_user), token = given(options->auth_token), file = given(options->auth_token_file);
    if (user != given(options->auth_password)) {
        ds_error_set(error, DSYNC_CONFIG, "auth.user and auth.password belong together: %s is missing",
                     user ? "auth.password" : "auth.user");
        return false;
    }
    if (user + token + file > 1) {
        ds_error_set(error, DSYNC_CONFIG, "give one of auth.user with auth.password, auth.token, auth.token_file");
        return false;
    }
    if (token && !ds_secret_fits_header(options->auth_token)) {
        ds_error_set(error, DSYNC_CONFIG, "auth.token holds more than visible ASCII");
        return false;
    }
    if (!(user || token || file) || options->allow_plaintext_credentials) {
        return true;
    }
    for (size_t i = 0; i < config->endpoint_count; i++) {
        const char *origin = config->endpoints[i];
        if (strncmp(origin, "https:", 6) != 0 && !ds_url_is_loopback(origin)) {
            ds_error_set(error, DSYNC_CONFIG,
                         "credentials would go to %s in clear text; use etcds:// (TLS), or set "
                         "allow_plaintext_credentials",
                         origin);
            return false;
        }
    }
    return true;
}

static bool copy_option(char **out, const char *text) {
    if (given(text)) {
        *out = ds_strdup(text);
        return *out != NULL;
    }
    return true;
}

bool ds_etcd_auth_init(ds_etcd_auth *auth, ds_etcd *etcd, const ds_backend_config *config, dsync_error *error) {
    const dsync_options *options = config->options;
    memset(auth, 0, sizeof(*auth));
    ds_list_init(&auth->waiters);
    ds_etcd_exchange_init(&auth->exchange, etcd);
    if (!check_options(config, error)) {
        return false;
    }
    if (copy_option(&auth->user, options->auth_user) && copy_option(&auth->password, options->auth_password) &&
        copy_option(&auth->token_file, options->auth_token_file) &&
        (!given(options->auth_token) || set_token(auth, options->auth_token))) {
        return true;
    }
    ds_etcd_auth_free(auth);
    ds_error_no_memory(error);
    return false;
}

void ds_etcd_auth_free(ds_etcd_auth *auth) {
    ds_etcd_stop(&auth->exchange);
    ds_wipe(auth->exchange.body.data, auth->exchange.body.capacity);
    ds_wipe(auth->exchange.spare.data, auth->exchange.spare.capacity);
    ds_etcd_exchange_free(&auth->exchange);
    drop_headers(auth);
    ds_free(auth->user);
    ds_free(auth->token_file);
    ds_free_secret(auth->password);
}
