/* error.h: filling in a dsync_error, and showing what a user wrote inside a message. */
#ifndef DS_ERROR_H
#define DS_ERROR_H

#include "base.h"
#include "../dsync.h"

/* Writes code and message and returns the code. `error` may be NULL. The arguments may point into error->message.
 * Control characters become spaces, malformed UTF-8 becomes "?", and what is too long ends in "..." between two
 * characters. */
dsync_code ds_error_set(dsync_error *error, dsync_code code, const char *format, ...) DS_PRINTF(3, 4);
/* DSYNC_RESOURCE, "out of memory". */
dsync_code ds_error_no_memory(dsync_error *error);

/* Text of unknown length and content, short enough to quote in a message. */
typedef struct ds_shown {
    char text[80];
} ds_shown;
/* Returns out->text: `text`, cut between characters after at most 76 bytes and then ending in "...". */
const char *ds_show(ds_shown *out, const char *text, size_t length);

#endif
