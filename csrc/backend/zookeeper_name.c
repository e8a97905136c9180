/* zookeeper_name.c: what nodes are called, and whose they are. Pure.
 *
 * A node below a lock's path ends in the number that the server gave it. What stands before the number says which
 * recipe it belongs to: Curator's mutex "lock-", its latch "latch-", its readers and writers "__READ__" and "__WRIT__";
 * kazoo's lock and election "__lock__", its readers "__rlock__".
 */
#include "zookeeper.h"

#include <inttypes.h>
#include <string.h>

/* How many bytes at `at` make a character that ZooKeeper allows in no path: beyond the basic plane, for private use,
 * special, or a control character. 0: it allows this one. */
static size_t not_allowed(const unsigned char *at) {
    if (at[0] >= 0xF0) {
        return 4;
    }
    bool private = at[0] == 0xEE || (at[0] == 0xEF && at[1] < 0xA4);
    if (private || (at[0] == 0xEF && at[1] == 0xBF && at[2] >= 0xB0)) {
        return 3;
    }
    return at[0] == 0xC2 && at[1] < 0xA0 ? 2 : at[0] == 0x7F ? 1 : 0;
}

/* Such characters become escapes, which a name of dsync's cannot hold by itself, as "%" is escaped in it. */
static void add_allowed(ds_buf *out, const char *text) {
    const unsigned char *at = (const unsigned char *)text;
    while (*at != '\0') {
        size_t count = not_allowed(at);
        if (count == 0) {
            ds_buf_add_char(out, (char)*at++);
        }
        for (; count > 0 && *at != '\0'; count--) {
            ds_buf_add_format(out, "%%%02X", *at++);
        }
    }
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void ds_zk_add_plain(ds_buf *out, const char *name) {
    while (*name != '\0') {
        int high = name[0] == '%' ? hex_digit(name[1]) : -1;
        int low = high >= 7 ? hex_digit(name[2]) : -1;
        if (low >= 0 && (high > 7 || low == 15)) {
            ds_buf_add_char(out, (char)(high * 16 + low));
            name += 3;
        } else {
            ds_buf_add_char(out, *name++);
        }
    }
}

void ds_zk_path(const ds_zookeeper *zookeeper, ds_buf *out, const char *key) {
    ds_buf_clear(out);
    ds_buf_add_text(out, zookeeper->chroot);
    if (key[0] != '/') {
        ds_buf_add_char(out, '/');
    }
    add_allowed(out, key);
}

void ds_zk_session_key(ds_buf *out, const ds_lease *lease) {
    ds_buf_clear(out);
    ds_buf_add_format(out, "%s/session/%" PRIx64, lease->prefix, lease->nonce);
}

void ds_zk_entry_path(const ds_zookeeper *zookeeper, ds_buf *out, const ds_entry *entry) {
    ds_zk_path(zookeeper, out, entry->path);
    if (zookeeper->dialect == DS_ZK_KAZOO) {
        ds_buf_add_format(out, "/%s__lock__", entry->nonce);
    } else {
        ds_buf_add_format(out, "/_c_%s-%s-", entry->nonce, entry->candidate ? "latch" : "lock");
    }
}

bool ds_zk_is_of(ds_zk_dialect dialect, const char *name, const char *nonce) {
    size_t length = strlen(nonce);
    if (dialect == DS_ZK_KAZOO) {
        return strncmp(name, nonce, length) == 0 && strncmp(name + length, "__lock__", 8) == 0;
    }
    return strncmp(name, "_c_", 3) == 0 && strncmp(name + 3, nonce, length) == 0 && name[3 + length] == '-';
}

void ds_zk_nonce_in(const char *name, char nonce[17]) {
    const char *begin = strncmp(name, "_c_", 3) == 0 ? name + 3 : name;
    size_t length = strspn(begin, "0123456789abcdef");
    nonce[0] = '\0';
    if (length == 16) {
        memcpy(nonce, begin, 16);
        nonce[16] = '\0';
    }
}

/* Where the server's number begins: ten digits, or a minus sign and at least nine. NULL: there is none. */
static const char *number_of(const char *name, int32_t *number) {
    size_t length = strlen(name), digits = 0;
    while (digits < length && digits < 10 && name[length - 1 - digits] >= '0' && name[length - 1 - digits] <= '9') {
        digits++;
    }
    bool negative = digits >= 9 && digits < length && name[length - 1 - digits] == '-';
    if (digits < 10 && !negative) {
        return NULL;
    }
    uint64_t value = 0;
    for (size_t i = length - digits; i < length; i++) {
        value = value * 10 + (uint64_t)(name[i] - '0');
    }
    /* "lock-0000000007" has the recipe's own dash before it: a number below zero has one that follows a mark. */
    const char *begin = name + length - digits;
    if (negative && begin - name >= 2 && (begin[-2] == '-' || begin[-2] == '_')) {
        begin--;
        value = ~value + 1;
    } else if (digits < 10) {
        return NULL;
    }
    *number = (int32_t)(uint32_t)value;
    return begin;
}

static bool ends_in(const char *name, const char *end, const char *what) {
    size_t length = strlen(what);
    return (size_t)(end - name) >= length && memcmp(end - length, what, length) == 0;
}

ds_zk_sort ds_zk_look(ds_zk_dialect dialect, const char *name, int32_t *number) {
    const char *end = number_of(name, number);
    if (end == NULL) {
        return DS_ZK_OTHER_NODE;
    }
    bool curator = ends_in(name, end, "lock-") || ends_in(name, end, "latch-");
    bool curator_beside = ends_in(name, end, "__READ__") || ends_in(name, end, "__WRIT__");
    bool kazoo = ends_in(name, end, "__lock__");
    bool kazoo_beside = ends_in(name, end, "__rlock__");
    if (dialect == DS_ZK_CURATOR ? kazoo || kazoo_beside : curator || curator_beside) {
        return DS_ZK_FOREIGN;
    }
    if (curator || kazoo) {
        return DS_ZK_MEMBER;
    }
    return curator_beside || kazoo_beside ? DS_ZK_BESIDE : DS_ZK_OTHER_NODE;
}

bool ds_zk_before(int32_t a, int32_t b) {
    return a != b && (uint32_t)b - (uint32_t)a < UINT32_C(0x80000000);
}
