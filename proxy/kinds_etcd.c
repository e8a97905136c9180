/* kinds_etcd.c: what a request of the etcd backend is for, told by its path and its JSON; what is left on an etcd. */
#include "proxy.h"

#include <stdio.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int sextet(char c) {
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* The bytes of the base64 text at `from`, as text, as far as they fit. */
static void decode(const char *from, char *out, size_t room) {
    unsigned bits = 0, have = 0;
    size_t size = 0;
    for (int value; (value = sextet(*from)) >= 0 && size + 1 < room; from++) {
        bits = bits << 6 | (unsigned)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[size++] = (char)(bits >> have & 0xff);
        }
    }
    out[size] = '\0';
}

/* What stands behind `mark` between `from` and `end`, decoded; false: no such thing. */
static bool key_behind(const char *from, const char *end, const char *mark, char *key, size_t room) {
    const char *at = strstr(from, mark);
    if (at == NULL || at >= end) {
        return false;
    }
    decode(at + strlen(mark), key, room);
    return true;
}

static px_kind transaction(const char *body) {
    const char *then = strstr(body, "\"success\":[");
    const char *otherwise = then != NULL ? strstr(then, "\"failure\":[") : NULL;
    char put[1024], del[1024];
    if (otherwise == NULL) {
        return PX_ELSE;
    }
    bool puts = key_behind(then, otherwise, "\"request_put\":{\"key\":\"", put, sizeof put);
    bool deletes = key_behind(then, otherwise, "\"request_delete_range\":{\"key\":\"", del, sizeof del);
    const char *fresh = strstr(body, "\"create_revision\":\"0\"");
    if (!puts) {
        return !deletes ? PX_CHECK : strstr(del, "/data/") != NULL ? PX_WRITE : PX_LEAVE;
    }
    if (strstr(put, "/session/") != NULL) {
        const char *same = strstr(then, "\"ignore_value\":true");
        return same != NULL && same < otherwise ? PX_CONFIRM : fresh != NULL ? PX_SESSION : PX_WITHDRAW;
    }
    if (deletes) {
        return PX_SWAP;
    }
    if (fresh == NULL || fresh > then) {
        return PX_WRITE;
    }
    const char *range = strstr(body, "\"range_end\":");
    return range != NULL && range < then ? PX_TRY : PX_ENTER;
}

static px_kind kind_of(const char *head, const char *body) {
    static const struct {
        const char *target;
        px_kind kind;
    } targets[] = {{"/v3/lease/grant ", PX_GRANT},   {"/v3/lease/keepalive ", PX_KEEPALIVE},
                   {"/v3/lease/revoke ", PX_REVOKE}, {"/v3/kv/range ", PX_READ},
                   {"/v3/watch ", PX_WATCH},         {"/v3/maintenance/status ", PX_READ}};
    const char *target = strchr(head, ' ');
    if (target == NULL) {
        return PX_ELSE;
    }
    target++;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        if (strncmp(target, targets[i].target, strlen(targets[i].target)) == 0) {
            return targets[i].kind;
        }
    }
    return strncmp(target, "/v3/kv/txn ", 11) == 0 ? transaction(body) : PX_ELSE;
}

/* ---- what is left ------------------------------------------------------------------------------------------------ */

static void encode(const char *text, char *out) {
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i += 3) {
        unsigned bits = 0;
        for (size_t k = 0; k < 3; k++) {
            bits = bits << 8 | (i + k < size ? (unsigned char)text[i + k] : 0);
        }
        for (size_t k = 0; k < 4; k++) {
            *out++ = i + k <= size ? digits[bits >> (18 - 6 * k) & 63] : '=';
        }
    }
    *out = '\0';
}

/* From "proxy/leader" and "proxy/lock", with sessions up to "proxy/session". */
static int keys(int port, bool sessions, px_message *shown) {
    char body[400], from[100], to[100];
    encode("proxy/l", from);
    encode(sessions ? "proxy/z" : "proxy/m", to);
    snprintf(body, sizeof body, "{\"key\":\"%s\",\"range_end\":\"%s\"}", from, to);
    px_free(&shown->text);
    *shown = (px_message){0};
    return px_ask(port, "POST", "/v3/kv/range", body, shown) ? px_occurrences(shown->text.data, "\"create_revision\"")
                                                             : -1;
}

static int leases(int port) {
    px_message reply = {0};
    int found = px_ask(port, "POST", "/v3/lease/leases", "{}", &reply) ? px_occurrences(reply.text.data, "\"ID\"") : -1;
    px_free(&reply.text);
    return found;
}

const px_store px_etcd = {
    .name = "etcd",
    .scheme = "etcd",
    .setting = &(const dsync_setting){"etcd.transport", "json"}, /* what the proxy understands */
    .ttl_ms = 5000,
    .per_mille = 350,
    .tells_cluster = true,
    .kind = kind_of,
    .keys = keys,
    .sessions = leases,
};

const px_store px_etcd_grpc = {
    .name = "etcd-grpc",
    .scheme = "etcd",
    .setting = &(const dsync_setting){"etcd.transport", "grpc"},
    .ttl_ms = 5000,
    .per_mille = 40, /* each ends a connection that all requests of a client share */
    .bytes = true,
    .keys = keys,
    .sessions = leases,
};

const px_store *const px_stores[] = {&px_etcd, &px_etcd_grpc, &px_consul, &px_zookeeper, NULL};
