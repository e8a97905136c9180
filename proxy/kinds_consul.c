/* kinds_consul.c: what a request of the Consul backend is for, told by its path and its JSON; what is left on a
 * Consul. */
#include "proxy.h"

#include <string.h>

/* ---- transactions ------------------------------------------------------------------------------------------------ */

/* Whether an operation with that verb is about a key with that in it. */
static bool does(const char *body, const char *verb, const char *in_key) {
    for (const char *at = body; (at = strstr(at, "\"Verb\":\"")) != NULL;) {
        at += strlen("\"Verb\":\"");
        bool same = strncmp(at, verb, strlen(verb)) == 0 && at[strlen(verb)] == '"';
        const char *key = strstr(at, "\"Key\":\""), *end = key != NULL ? strchr(key + 7, '"') : NULL;
        const char *found = end != NULL ? strstr(key, in_key) : NULL;
        if (same && found != NULL && found < end) {
            return true;
        }
    }
    return false;
}

static px_kind transaction(const char *body) {
    if (does(body, "lock", "/session/")) {
        return does(body, "check-not-exists", "/session/") ? PX_SESSION : PX_WITHDRAW;
    }
    if (does(body, "set", "/data/") || does(body, "delete", "/data/")) {
        return PX_WRITE;
    }
    bool enters = does(body, "lock", "/.queue/"), leaves = does(body, "delete", "/.queue/");
    if (enters && leaves) {
        return PX_SWAP;
    }
    if (leaves) {
        return PX_LEAVE;
    }
    /* Of those that lock their entry: who is new names the epoch; who waits names the session; who holds neither. */
    if (enters) {
        return does(body, "check-index", "/session/")     ? PX_ENTER
               : does(body, "check-session", "/session/") ? PX_CHECK
                                                          : PX_WRITE;
    }
    if (does(body, "check-session", "/session/")) {
        return strstr(body, "/.queue/") != NULL ? PX_CHECK : PX_CONFIRM;
    }
    return does(body, "delete-cas", "/.waiting") ? PX_ELSE : PX_READ;
}

static px_kind kind_of(const char *head, const char *body) {
    static const struct {
        const char *line;
        px_kind kind;
    } lines[] = {{"PUT /v1/session/create", PX_GRANT},
                 {"PUT /v1/session/renew/", PX_KEEPALIVE},
                 {"PUT /v1/session/destroy/", PX_REVOKE},
                 {"GET /v1/session/", PX_READ},
                 {"GET /v1/agent/", PX_READ},
                 {"GET /v1/status/", PX_READ}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strncmp(head, lines[i].line, strlen(lines[i].line)) == 0) {
            return lines[i].kind;
        }
    }
    if (strncmp(head, "PUT /v1/txn", 11) == 0) {
        return transaction(body);
    }
    if (strncmp(head, "GET /v1/kv/", 11) == 0) {
        const char *end = strstr(head, "\r\n"), *index = strstr(head, "index=");
        return index != NULL && index < end ? PX_BLOCK : PX_READ;
    }
    return PX_ELSE;
}

/* ---- what is left ------------------------------------------------------------------------------------------------ */

/* The mark that somebody waits may stay: the next one who waits finds it. */
static int keys(int port, bool sessions, px_message *shown) {
    px_free(&shown->text);
    *shown = (px_message){0};
    if (px_ask(port, "GET", "/v1/kv/proxy/?keys", "", shown)) {
        return px_occurrences(shown->text.data, "/.queue/") + px_occurrences(shown->text.data, "/.lock\"") +
               (sessions ? px_occurrences(shown->text.data, "/session/") : 0);
    }
    return shown->text.data != NULL && strstr(shown->text.data, " 404 ") != NULL ? 0 : -1;
}

static int sessions(int port) {
    px_message reply = {0};
    int found = px_ask(port, "GET", "/v1/session/list", "", &reply) ? px_occurrences(reply.text.data, "\"ID\"") : -1;
    px_free(&reply.text);
    return found;
}

const px_store px_consul = {
    .name = "consul",
    .scheme = "consul",
    .setting = &(const dsync_setting){"consul.lock_delay", "1s"},
    .ttl_ms = 10000,
    .per_mille = 350,
    .kind = kind_of,
    .keys = keys,
    .sessions = sessions,
};
