/* name.h: names people give to locks, elections and data, and the keys made of them. Pure. */
#ifndef DS_NAME_H
#define DS_NAME_H

#include "../base/buf.h"
#include "../dsync.h"

#define DS_NAME_MAX 512

/* Checks a name or namespace: 1-512 bytes of UTF-8 without control characters, not "." or "..", no leading or trailing
 * slash (with a hint). `what` ("name", "namespace", "key") begins the message. False: DSYNC_INVALID in error. */
bool ds_name_check(const char *name, size_t length, const char *what, dsync_error *error);
/* Prefix, region and `key = ...`: like a name, but "/" separates segments, none of which is empty, "." or "..". At most
 * 2048 bytes. */
bool ds_path_check(const char *path, size_t length, const char *what, dsync_error *error);

/* Appends a name as one segment: "/" and "%" become %2F and %25, nothing else changes. */
void ds_name_encode(ds_buf *out, const char *name);
/* Undoes ds_name_encode; other escapes stay as they are. */
void ds_name_decode(ds_buf *out, const char *segment, size_t length);

typedef struct ds_keyspace {
    const char *prefix;
    const char *region; /* NULL: none */
    bool global;        /* scope = "global" */
} ds_keyspace;

/* Append "<prefix>[/region/<region>|/global]/lock/<name>" and its kin. With name "" they end after the slash-less
 * parent ("<prefix>/lock"). */
void ds_key_lock(ds_buf *out, const ds_keyspace *space, const char *name);
void ds_key_leader(ds_buf *out, const ds_keyspace *space, const char *name_space, const char *name);
void ds_key_data(ds_buf *out, const ds_keyspace *space, const char *key);
/* Does the key lie in the global scope below this prefix? */
bool ds_key_is_global(const char *prefix, const char *key);

#endif
