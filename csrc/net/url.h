/* url.h: URLs and endpoints: what a user wrote, split, checked and normalised. Pure; no I/O. */
#ifndef DS_URL_H
#define DS_URL_H

#include "../base/base.h"
#include "../dsync.h"

typedef enum ds_scheme {
    DS_SCHEME_MEMORY,
    DS_SCHEME_LOCAL,
    DS_SCHEME_ETCD,
    DS_SCHEME_CONSUL,
    DS_SCHEME_ZOOKEEPER
} ds_scheme;

typedef struct ds_url {
    ds_scheme scheme;
    bool tls;     /* etcds, consuls */
    char **hosts; /* normalised "http://host:port" (or "https://..."; "host:port" for zookeeper; "unix:/path" for
                       consul+unix), in the order given, duplicates dropped */
    size_t host_count;
    char *path; /* memory: the name; local: the file; zookeeper: the chroot; else "" */
} ds_url;

/* Parses `text` and adds `endpoints` (each "host[:port]" or "http[s]://host[:port]"). Refused with DSYNC_CONFIG and a
 * message that names the part: unknown scheme (with the known ones), credentials in the URL, empty host, port out of
 * range, query, fragment, a path where none is meant, control characters, white space, mixed http and https.
 * IPv6 literals are written in brackets. Default ports: etcd 2379, consul 8500 (8501 with TLS), zookeeper 2181. False:
 * error filled and nothing to free. */
bool ds_url_parse(ds_url *url, const char *text, const char *const *endpoints, size_t endpoint_count,
                  dsync_error *error);
void ds_url_free(ds_url *url);
/* Is the host of this origin this machine's loopback (127.0.0.0/8, ::1, "localhost") or a unix socket? */
bool ds_url_is_loopback(const char *origin);

#endif
