/* kinds_etcd.c: what a request of the etcd backend is for, told by its path and its JSON. */
#include "proxy.h"

#include <string.h>

static int sextet(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
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

px_kind px_etcd_kind(const char *head, const char *body, size_t body_size) {
    static const struct {
        const char *target;
        px_kind kind;
    } targets[] = {{"/v3/lease/grant ", PX_GRANT},   {"/v3/lease/keepalive ", PX_KEEPALIVE},
                   {"/v3/lease/revoke ", PX_REVOKE}, {"/v3/kv/range ", PX_READ},
                   {"/v3/watch ", PX_WATCH},         {"/v3/maintenance/status ", PX_READ}};
    const char *target = strchr(head, ' ');
    (void)body_size;
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
