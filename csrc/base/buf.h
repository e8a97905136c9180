/* buf.h: a growable byte buffer with a sticky "out of memory" mark.
 *
 * Appending never fails loudly: after the first failed allocation the buffer stays as it is, `failed` is set, and the
 * caller checks once at the end. The content is always NUL-terminated when there is any storage.
 */
#ifndef DS_BUF_H
#define DS_BUF_H

#include "base.h"

typedef struct ds_buf {
    char *data; /* owned; NULL until something is appended */
    size_t size;
    size_t capacity;
    bool failed;
} ds_buf;

#define DS_BUF_EMPTY                                                                                                   \
    { NULL, 0, 0, false }

void ds_buf_free(ds_buf *buf);  /* frees the storage and empties the buffer */
void ds_buf_clear(ds_buf *buf); /* forgets the content and the failure, keeps the storage */
void ds_buf_add(ds_buf *buf, const void *bytes, size_t count);
void ds_buf_add_text(ds_buf *buf, const char *text);
void ds_buf_add_char(ds_buf *buf, char c);
void ds_buf_add_int(ds_buf *buf, int64_t number); /* decimal */
void ds_buf_add_format(ds_buf *buf, const char *format, ...) DS_PRINTF(2, 3);
void ds_buf_add_base64(ds_buf *buf, const void *bytes, size_t count); /* standard alphabet, padded */
void ds_buf_consume(ds_buf *buf, size_t count);                       /* drops the first `count` bytes */

/* Decodes strict standard base64 (padded, no white space) into `out`, replacing its content. False if malformed or out
 * of memory (`out->failed` tells which). */
bool ds_base64_decode(const char *text, size_t length, ds_buf *out) DS_MUST_USE;

#endif
