/* value.c: the holder's value as one JSON object, both ways. Does not know who holds. */
#include "value.h"
#include "../base/json.h"
#include "../base/rfc3339.h"

#include <string.h>

/* Sizes are bounded before a value comes here; this bounds what a hostile one can cost in memory. */
static const ds_json_limits own_limits = {.depth = 32, .tokens = 200000};
static const ds_json_limits stored_limits = {.depth = 33, .tokens = 200032};

static bool is_text(const char *value, size_t size) {
    return ds_utf8_valid(value, size) && memchr(value, '\0', size) == NULL;
}

static void add_time(ds_buf *out, const char *name, int64_t ms) {
    ds_buf date = DS_BUF_EMPTY;
    if (ms != 0 && ds_rfc3339_add(&date, ms) && !date.failed) {
        ds_buf_add_format(out, ",\"%s\":\"%s\"", name, date.data);
    }
    out->failed = out->failed || date.failed;
    ds_buf_free(&date);
}

static bool add_json(ds_buf *out, const char *value, size_t size, const char **why) {
    bool no_memory = false;
    ds_json *json = ds_json_parse(value, size, &own_limits, &no_memory, why);
    if (json == NULL) {
        out->failed = out->failed || no_memory;
        return false;
    }
    ds_buf_add_text(out, ",\"value\":");
    ds_json_print(out, json);
    ds_json_free(json);
    return true;
}

static bool add_value(ds_buf *out, const char *value, size_t size, bool is_json, const char **why) {
    if (value == NULL) {
        return true;
    }
    if (is_json) {
        return add_json(out, value, size, why);
    }
    if (size == 0 || is_text(value, size)) {
        ds_buf_add_text(out, ",\"value\":");
        ds_json_add_text(out, value, size);
    } else {
        ds_buf_add_text(out, ",\"value_base64\":\"");
        ds_buf_add_base64(out, value, size);
        ds_buf_add_char(out, '"');
    }
    return true;
}

/* Takes back what was appended behind `start`. */
static bool undo(ds_buf *out, size_t start) {
    if (out->data != NULL) {
        out->size = start;
        out->data[start] = '\0';
    }
    return false;
}

bool ds_value_make(ds_buf *out, const char *id, const char *value, size_t value_size, bool value_is_json, bool raw,
                   int64_t queued_at_ms, int64_t acquired_at_ms, const char **why) {
    const char *reason = NULL;
    size_t start = out->size;
    bool good = true;
    if (raw) {
        ds_buf_add(out, value, value != NULL ? value_size : 0);
    } else {
        ds_buf_add_text(out, "{\"id\":");
        ds_json_add_text(out, id, strlen(id));
        add_time(out, "queued_at", queued_at_ms);
        add_time(out, "acquired_at", acquired_at_ms);
        good = add_value(out, value, value_size, value_is_json, &reason);
        ds_buf_add_char(out, '}');
    }
    if (why != NULL) {
        *why = out->failed ? "out of memory" : reason;
    }
    return (good && !out->failed) || undo(out, start);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Moves the storage of `buf`, which is never NULL afterwards unless there was no memory. */
static bool take(ds_value *out, ds_buf *buf, bool is_json) {
    ds_buf_add(buf, "", 1); /* gives an empty value storage, and marks a failure */
    if (buf->failed) {
        ds_buf_free(buf);
        return false;
    }
    out->value = buf->data;
    out->value_size = buf->size - 1;
    out->value_is_json = is_json;
    return true;
}

static bool read_foreign(const char *text, size_t size, ds_value *out) {
    ds_buf copy = DS_BUF_EMPTY;
    ds_buf_add(&copy, text, size);
    return take(out, &copy, false);
}

typedef enum verdict { FINE, FOREIGN, NO_MEMORY } verdict;

static verdict read_member(const ds_json *object, ds_value *out) {
    const ds_json *member = ds_json_member(object, "value");
    const char *base64 = ds_json_text(object, "value_base64");
    ds_buf value = DS_BUF_EMPTY;
    if (member != NULL) {
        const char *text = ds_json_value_text(member);
        if (text != NULL) {
            ds_buf_add_text(&value, text);
        } else {
            ds_json_print(&value, member);
        }
        return take(out, &value, text == NULL) ? FINE : NO_MEMORY;
    }
    if (base64 == NULL) {
        return FINE;
    }
    if (!ds_base64_decode(base64, strlen(base64), &value)) {
        bool no_memory = value.failed;
        ds_buf_free(&value);
        return no_memory ? NO_MEMORY : FOREIGN;
    }
    return take(out, &value, false) ? FINE : NO_MEMORY;
}

static int64_t read_time(const ds_json *object, const char *name) {
    const char *text = ds_json_text(object, name);
    int64_t ms = 0;
    return text != NULL && ds_rfc3339_read(text, strlen(text), &ms) ? ms : 0;
}

static verdict read_object(const ds_json *json, ds_value *out) {
    const char *id = ds_json_text(json, "id");
    if (id == NULL) {
        return FOREIGN;
    }
    verdict result = read_member(json, out);
    if (result != FINE) {
        return result;
    }
    out->id = ds_strdup(id);
    out->queued_at_ms = read_time(json, "queued_at");
    out->acquired_at_ms = read_time(json, "acquired_at");
    return out->id != NULL ? FINE : NO_MEMORY;
}

bool ds_value_read(const char *text, size_t size, ds_value *out) {
    *out = (ds_value){NULL, NULL, 0, false, 0, 0};
    bool no_memory = false;
    ds_json *json = ds_json_parse(text, size, &stored_limits, &no_memory, NULL);
    verdict result = no_memory ? NO_MEMORY : FOREIGN;
    if (json != NULL) {
        result = read_object(json, out);
        ds_json_free(json);
    }
    if (result == FOREIGN && !read_foreign(text, size, out)) {
        result = NO_MEMORY;
    }
    if (result == NO_MEMORY) {
        ds_value_free(out);
        return false;
    }
    return true;
}

void ds_value_free(ds_value *value) {
    ds_free(value->id);
    ds_free(value->value);
    *value = (ds_value){NULL, NULL, 0, false, 0, 0};
}
