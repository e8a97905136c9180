/* json.h: strict reading and careful writing of JSON, over cJSON.
 *
 * Reading: the text is scanned first (whole input, UTF-8, depth, number of tokens, no duplicate keys within an object,
 * no bare control characters), and every number is kept as its own text, because cJSON would turn it into a double.
 * Getters are case-sensitive and never coerce.
 * Writing: values are appended to a ds_buf with everything escaped that must be.
 */
#ifndef DS_JSON_H
#define DS_JSON_H

#include "buf.h"
#include "utf8.h"

typedef struct cJSON ds_json;

typedef struct ds_json_limits {
    unsigned depth; /* objects and arrays inside each other, at most, e.g. 32; never more than 128 */
    size_t tokens;  /* values and keys, at most */
} ds_json_limits;

/* NULL: not JSON within the limits, or out of memory (*no_memory tells). `why` (may be NULL) gets a static reason. Free
 * with ds_json_free. */
ds_json *ds_json_parse(const char *text, size_t size, const ds_json_limits *limits, bool *no_memory, const char **why);
void ds_json_free(ds_json *json);

/* Getters return NULL/false when the member is absent or of another kind. `object` may be NULL. */
const ds_json *ds_json_member(const ds_json *object, const char *name);
const ds_json *ds_json_object(const ds_json *object, const char *name);
const ds_json *ds_json_array(const ds_json *object, const char *name);
const char *ds_json_text(const ds_json *object, const char *name);       /* of a string */
bool ds_json_bool(const ds_json *object, const char *name, bool absent); /* `absent` also when it is no boolean */
bool ds_json_is_object(const ds_json *json);
bool ds_json_is_text(const ds_json *json);
const char *ds_json_value_text(const ds_json *json);   /* NULL unless a string */
const char *ds_json_value_number(const ds_json *json); /* the number as written; NULL unless a number */
const ds_json *ds_json_first(const ds_json *array);    /* first child of an array or object, or NULL */
const ds_json *ds_json_next(const ds_json *item);
const char *ds_json_name(const ds_json *member); /* key of an object's member */
/* An integer, exact, given as a JSON number or (etcd) as a string of digits; no fraction, exponent, plus or leading
 * zeros. False when absent, malformed or out of int64. */
bool ds_json_int64(const ds_json *object, const char *name, int64_t *out);
bool ds_json_uint64(const ds_json *object, const char *name, uint64_t *out);

bool ds_parse_int64(const char *text, size_t length, int64_t *out);   /* strict decimal */
bool ds_parse_uint64(const char *text, size_t length, uint64_t *out); /* strict decimal */

/* Appends a value read by ds_json_parse as compact JSON text (numbers exactly as they were). */
void ds_json_print(ds_buf *out, const ds_json *json);
/* Appends a quoted, escaped string. Bytes that are not valid UTF-8 are written as U+FFFD. */
void ds_json_add_text(ds_buf *out, const char *text, size_t length);

#endif
