/* consul_keys.c: names of dsync's keys in Consul, and how a key is written in a URL. Pure. */
#include "consul.h"

#include "../base/error.h"

#include <string.h>

#define NATIVE_END "/.lock"

/* ---- whose convention -------------------------------------------------------------------------------------------- */

/* No key of Consul's begins with a slash; a path may, as those of other stores do. */
const char *ds_consul_bare(const char *path) {
    return path[0] == '/' ? path + 1 : path;
}

/* What follows `begin`, or NULL. */
static const char *behind(const char *text, const char *begin) {
    size_t size = strlen(begin);
    return text != NULL && strncmp(text, begin, size) == 0 ? text + size : NULL;
}

/* What follows the prefix and the region. */
static const char *behind_space(const ds_consul *consul, const char *path) {
    const char *rest = behind(path, consul->prefix);
    const char *global = behind(rest, "/global/");
    const char *regional = consul->region != NULL ? behind(behind(rest, "/region/"), consul->region) : NULL;
    if (global != NULL) {
        return global - 1;
    }
    return regional != NULL ? regional : rest;
}

/* A path that dsync made of a name, rather than one that somebody gave to meet other programs there. */
static bool is_ours(const ds_consul *consul, const char *path) {
    const char *rest = behind_space(consul, path);
    const char *name = behind(rest, "/lock/");
    if (name != NULL) {
        return strchr(name, '/') == NULL;
    }
    name = behind(rest, "/leader/");
    const char *slash = name != NULL ? strchr(name, '/') : NULL;
    return slash != NULL && strchr(slash + 1, '/') == NULL;
}

bool ds_consul_ends_native(const char *path) {
    size_t size = strlen(path), end = strlen(NATIVE_END);
    return size > end && strcmp(path + size - end, NATIVE_END) == 0;
}

/* Where T and Q lie: beside the key of `consul lock P`, else below the path. */
static void add_base(const ds_consul *consul, ds_buf *out, const char *any_path) {
    const char *path = ds_consul_bare(any_path);
    size_t size = strlen(path);
    bool beside = ds_consul_ends_native(path) && !is_ours(consul, path);
    ds_buf_clear(out);
    ds_buf_add(out, path, beside ? size - strlen(NATIVE_END) : size);
}

void ds_consul_key_native(const ds_consul *consul, ds_buf *out, const char *any_path) {
    const char *path = ds_consul_bare(any_path);
    ds_buf_clear(out);
    ds_buf_add_text(out, path);
    if (is_ours(consul, path)) {
        ds_buf_add_text(out, NATIVE_END);
    }
}

void ds_consul_key_waiting(const ds_consul *consul, ds_buf *out, const char *path) {
    add_base(consul, out, path);
    ds_buf_add_text(out, "/.waiting");
}

void ds_consul_key_queue(const ds_consul *consul, ds_buf *out, const char *path) {
    add_base(consul, out, path);
    ds_buf_add_text(out, "/.queue/");
}

void ds_consul_key_entry(const ds_consul *consul, ds_buf *out, const char *path, const char *nonce) {
    ds_consul_key_queue(consul, out, path);
    ds_buf_add_text(out, nonce);
}

bool ds_consul_is_global(const ds_consul *consul, const char *path) {
    return behind(behind(ds_consul_bare(path), consul->prefix), "/global/") != NULL;
}

/* ---- the session key --------------------------------------------------------------------------------------------- */

void ds_consul_key_session(ds_buf *out, const ds_lease *lease) {
    ds_buf_clear(out);
    ds_buf_add_format(out, "%s/session/%s", ds_consul_bare(lease->prefix), lease->id);
}

/* ---- what a key is ----------------------------------------------------------------------------------------------- */

/* Length of the path of the entry's queue, 0: it is no entry. */
static size_t entry_base(const char *key) {
    static const char mark[] = "/.queue/";
    const char *slash = strrchr(key, '/');
    size_t upto = slash != NULL ? (size_t)(slash - key) + 1 : 0, size = sizeof(mark) - 1;
    return upto > size && strncmp(key + upto - size, mark, size) == 0 ? upto - size : 0;
}

bool ds_consul_is_entry(const char *key) {
    return entry_base(key) > 0;
}

/* All queues of dsync's own names stand together; a queue elsewhere has nothing but its own path. */
size_t ds_consul_room(const ds_consul *consul, const char *key) {
    size_t size = entry_base(key);
    if (size == 0) {
        size = ds_consul_ends_native(key) ? strlen(key) - strlen(NATIVE_END) : strlen(key);
    }
    size_t room = size;
    const char *rest = behind_space(consul, key);
    if (behind(rest, "/lock/") != NULL || behind(rest, "/leader/") != NULL || behind(rest, "/session/") != NULL) {
        while (room > 1 && key[room - 1] != '/') {
            room--;
        }
    }
    return room;
}

/* ---- where it is told why an entry was removed ------------------------------------------------------------------- */

void ds_consul_add_broken_key(ds_buf *out, const char *entry_key) {
    const char *nonce = strrchr(entry_key, '/');
    ds_buf_clear(out);
    ds_buf_add(out, entry_key, entry_base(entry_key));
    ds_buf_add_text(out, "/.broken/");
    ds_buf_add_text(out, nonce != NULL ? nonce + 1 : entry_key);
}

/* ---- in a URL ---------------------------------------------------------------------------------------------------- */

static bool is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == '~';
}

void ds_consul_add_escaped(ds_buf *out, const char *text, bool slashes) {
    static const char digits[] = "0123456789ABCDEF";
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (is_plain(*text) || (slashes && c == '/')) {
            ds_buf_add_char(out, *text);
        } else {
            char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
            ds_buf_add(out, escape, sizeof(escape));
        }
    }
}
