/* scheme.h: the word before the colon of a URL, pieces of text, and what holds for every piece. Used by url.c only. */
#ifndef DS_SCHEME_H
#define DS_SCHEME_H

#include "url.h"

#define DS_SCHEME_LIST "etcd://, etcds://, consul://, consuls://, consul+unix://, zookeeper://, local: or memory:"

typedef enum ds_url_kind { DS_URL_HOSTS, DS_URL_SOCKET, DS_URL_PLACE } ds_url_kind; /* what stands behind the scheme */

typedef struct ds_scheme_info {
    const char *name;
    ds_scheme scheme;
    ds_url_kind kind;
    bool tls;
    unsigned port;
    const char *origin; /* what a host gets in front */
    const char *sample;
} ds_scheme_info;

/* A piece of the text. */
typedef struct ds_span {
    const char *at;
    size_t size;
} ds_span;

/* Takes the scheme and its colon off `text`. NULL: refused. */
const ds_scheme_info *ds_scheme_take(ds_span *text, dsync_error *error);

bool ds_span_has(ds_span s, char c);
bool ds_span_begins(ds_span s, const char *with);
ds_span ds_span_behind(ds_span s, size_t count);
bool ds_span_same_word(ds_span s, const char *word); /* `word` in lower case, `s` in any */

/* `where` ("URL", "endpoint") begins each message. Refused characters: control characters, malformed UTF-8, and spaces,
 * of which `spaces` allows those before the end. */
bool ds_span_check_characters(ds_span s, const char *where, bool spaces, dsync_error *error);
bool ds_span_check_credentials(ds_span s, const char *where, dsync_error *error);
bool ds_span_check_query(ds_span s, const char *where, dsync_error *error);

#endif
