/* host.h: one "host[:port]" as people write it, checked and put into one spelling. Used by url.c only. Pure. */
#ifndef DS_HOST_H
#define DS_HOST_H

#include "../base/buf.h"
#include "../dsync.h"

/* Appends "host:port" (IPv6 in brackets, letters in lower case). `where` ("URL", "endpoint") begins the message when it
 * is refused with DSYNC_CONFIG. The text must hold no "@", or a secret could end up in the message. */
bool ds_host_add(ds_buf *out, const char *text, size_t length, unsigned default_port, const char *where,
                 dsync_error *error);
/* Is `text` ("host" or "host:port", exactly) this machine's loopback by its own spelling, without asking a resolver? */
bool ds_host_is_loopback(const char *text, size_t length);

#endif
