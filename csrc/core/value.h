/* value.h: what is stored beside a holder or waiter, so that people and other clients can see who it is:
 *
 *     {"id":"web-1:4711:9f2c","queued_at":"2024-05-06T07:08:09.123Z","acquired_at":"...","value":"any string or JSON"}
 *
 * "acquired_at" appears once it holds; "value" is absent when none was given; a value that JSON cannot carry (bytes
 * that are not UTF-8, or NUL) is stored as "value_base64" instead. Pure.
 */
#ifndef DS_VALUE_H
#define DS_VALUE_H

#include "../base/buf.h"

/* Appends the stored form. `value` NULL: none. With `value_is_json` the value is JSON text and becomes the member
 * itself, written compactly with its numbers as they were. With `raw` the value is stored as it is and everything else
 * is left out. Times are milliseconds since 1970, 0 = none. False, and nothing appended: `value` is not the JSON it is
 * said to be (`why`, which may be NULL, gets a static reason), or out of memory (then also out->failed). */
bool ds_value_make(ds_buf *out, const char *id, const char *value, size_t value_size, bool value_is_json, bool raw,
                   int64_t queued_at_ms, int64_t acquired_at_ms, const char **why);

typedef struct ds_value {
    char *id;    /* NULL: a foreign text */
    char *value; /* NUL-terminated too; may hold any bytes; NULL: none was given */
    size_t value_size;
    bool value_is_json;
    int64_t queued_at_ms, acquired_at_ms; /* 0 = unknown */
} ds_value;

/* Reads a stored form. A text that is no JSON object with a string "id" is foreign: all of it is the value. False: out
 * of memory, and nothing to free. */
bool ds_value_read(const char *text, size_t size, ds_value *out) DS_MUST_USE;
void ds_value_free(ds_value *value); /* also of a zeroed one */

#endif
