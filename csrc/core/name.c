/* name.c: what a name may be, and the keys made of names. Nothing here knows a store; stricter rules of one store (such
 * as Consul's about a leading slash) are its backend's. */
#include "name.h"
#include "../base/error.h"
#include "../base/utf8.h"

#include <string.h>

#define PATH_MAX_BYTES 2048

static bool is_dots(const char *text, size_t length) {
    return (length == 1 || length == 2) && memcmp(text, "..", length) == 0;
}

/* What names and paths have in common: length and characters. */
static bool check_text(const char *text, size_t length, size_t most, const char *what, dsync_error *error) {
    if (text == NULL || length == 0) {
        ds_error_set(error, DSYNC_INVALID, "%s is empty: give it 1 to %zu bytes", what, most);
        return false;
    }
    if (length > most) {
        ds_error_set(error, DSYNC_INVALID, "%s is %zu bytes long: at most %zu are possible", what, length, most);
        return false;
    }
    for (size_t at = 0; at < length;) {
        uint32_t code_point = 0;
        size_t step = ds_utf8_sequence(text + at, length - at, &code_point);
        if (step == 0) {
            ds_error_set(error, DSYNC_INVALID,
                         "%s is not valid UTF-8 (byte %zu is 0x%02x): encode it, for example as hex or base64", what,
                         at + 1, (unsigned char)text[at]);
            return false;
        }
        if (ds_is_control(code_point)) {
            ds_error_set(error, DSYNC_INVALID, "%s holds a control character (U+%04X at byte %zu): leave it out", what,
                         (unsigned)code_point, at + 1);
            return false;
        }
        at += step;
    }
    return true;
}

static bool refuse_dots(const char *segment, size_t length, const char *what, dsync_error *error) {
    ds_error_set(error, DSYNC_INVALID,
                 "%s must not %s \"%.*s\": servers and proxies read that as a way up or down a path", what,
                 strcmp(what, "name") == 0 ? "be" : "be or contain the segment", (int)length, segment);
    return false;
}

bool ds_name_check(const char *name, size_t length, const char *what, dsync_error *error) {
    if (!check_text(name, length, DS_NAME_MAX, what, error)) {
        return false;
    }
    if (is_dots(name, length)) {
        return refuse_dots(name, length, what, error);
    }
    bool leading = name[0] == '/';
    if (!leading && name[length - 1] != '/') {
        return true;
    }
    size_t first = 0;
    while (first < length && name[first] == '/') {
        first++;
    }
    size_t last = length;
    while (last > first && name[last - 1] == '/') {
        last--;
    }
    ds_shown shown;
    const char *position = leading ? "begin" : "end";
    if (first == last) {
        ds_error_set(error, DSYNC_INVALID, "%s must not %s with \"/\"", what, position);
    } else {
        ds_error_set(error, DSYNC_INVALID,
                     "%s must not %s with \"/\": write \"%s\" (where it lies is set by prefix = or key =)", what,
                     position, ds_show(&shown, name + first, last - first));
    }
    return false;
}

static bool check_segment(const char *segment, size_t length, const char *what, dsync_error *error) {
    if (length == 0) {
        ds_error_set(error, DSYNC_INVALID, "%s has an empty segment (\"//\"): write one \"/\" between segments", what);
        return false;
    }
    return !is_dots(segment, length) || refuse_dots(segment, length, what, error);
}

bool ds_path_check(const char *path, size_t length, const char *what, dsync_error *error) {
    if (!check_text(path, length, PATH_MAX_BYTES, what, error)) {
        return false;
    }
    /* One leading slash is part of the path: native clients often write their keys that way. */
    size_t at = path[0] == '/' && length > 1 ? 1 : 0;
    if (path[length - 1] == '/') {
        ds_error_set(error, DSYNC_INVALID, "%s must not end with \"/\": leave the last one out", what);
        return false;
    }
    while (at <= length) {
        const char *slash = at < length ? memchr(path + at, '/', length - at) : NULL;
        size_t size = slash != NULL ? (size_t)(slash - path) - at : length - at;
        if (!check_segment(path + at, size, what, error)) {
            return false;
        }
        at += size + 1;
    }
    return true;
}

void ds_name_encode(ds_buf *out, const char *name) {
    for (;;) {
        size_t plain = strcspn(name, "/%");
        ds_buf_add(out, name, plain);
        name += plain;
        if (*name == '\0') {
            return;
        }
        ds_buf_add_text(out, *name == '/' ? "%2F" : "%25");
        name++;
    }
}

void ds_name_decode(ds_buf *out, const char *segment, size_t length) {
    for (size_t at = 0; at < length;) {
        bool whole = segment[at] == '%' && length - at >= 3 && segment[at + 1] == '2';
        char last = whole ? segment[at + 2] : '\0';
        if (last == 'F' || last == '5') {
            ds_buf_add_char(out, last == 'F' ? '/' : '%');
            at += 3;
        } else {
            ds_buf_add_char(out, segment[at++]);
        }
    }
}

static void add_space(ds_buf *out, const ds_keyspace *space, const char *kind) {
    ds_buf_add_text(out, space->prefix);
    if (space->global) {
        ds_buf_add_text(out, "/global");
    } else if (space->region != NULL && space->region[0] != '\0') {
        ds_buf_add_text(out, "/region/");
        ds_buf_add_text(out, space->region);
    }
    ds_buf_add_text(out, kind);
}

bool ds_key_is_global(const char *prefix, const char *key) {
    static const char scope[] = "/global/";
    size_t size = strlen(prefix);
    return strncmp(key, prefix, size) == 0 && strncmp(key + size, scope, sizeof(scope) - 1) == 0;
}

static void add_segment(ds_buf *out, const char *name) {
    if (name != NULL && name[0] != '\0') {
        ds_buf_add_char(out, '/');
        ds_name_encode(out, name);
    }
}

void ds_key_lock(ds_buf *out, const ds_keyspace *space, const char *name) {
    add_space(out, space, "/lock");
    add_segment(out, name);
}

void ds_key_leader(ds_buf *out, const ds_keyspace *space, const char *name_space, const char *name) {
    add_space(out, space, "/leader");
    add_segment(out, name_space);
    add_segment(out, name);
}

void ds_key_data(ds_buf *out, const ds_keyspace *space, const char *key) {
    add_space(out, space, "/data");
    add_segment(out, key);
}
