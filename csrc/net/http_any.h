/* http_any.h: what all kinds of requests have in common. A world's ds_http is one of several structs, of which each
 * begins with its kind.
 */
#ifndef DS_HTTP_ANY_H
#define DS_HTTP_ANY_H

#include "../core/world.h"

typedef enum ds_http_kind {
    DS_HTTP_KIND_1,       /* HTTP/1.1: http_internal.h */
    DS_HTTP_KIND_2,       /* HTTP/2: h2_internal.h */
    DS_HTTP_KIND_REFUSED, /* nobody can send it: loop_http.c */
} ds_http_kind;

typedef struct ds_http_any {
    ds_http_kind kind;
} ds_http_any;

#define DS_HTTP_HEADER_BYTES_MAX ((size_t)32 * 1024) /* of an answer */
#define DS_HTTP_HEADER_LINES_MAX 64u

/* Why the request cannot be sent at all, for people, or NULL. In http_sound.c. */
const char *ds_http_unsound(const ds_http_request *request);

/* What to say of an errno that connecting failed with; NULL: nothing better than "cannot connect". In http_sound.c. */
const char *ds_http_connect_hint(long os_error);

#endif
