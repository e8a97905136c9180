/* secret.h: a secret kept in a file, such as a token that something else renews. Reads; never writes or caches. */
#ifndef DS_SECRET_H
#define DS_SECRET_H

#include "../base/base.h"
#include "../dsync.h"

#define DS_SECRET_MAX 8192

/* The first line of the file, without white space at its ends, as a new string for ds_free_secret. NULL with `error`
 * filled: not a regular file of this size, a symbolic link, open to group or others, or not fit for an HTTP header. */
char *ds_secret_read(const char *path, dsync_error *error);
/* Nothing but visible ASCII (0x21-0x7e), and at least one of it. */
bool ds_secret_fits_header(const char *text);

#endif
