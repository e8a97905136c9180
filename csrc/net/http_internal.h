/* http_internal.h: what the files of HTTP know of each other. Nobody else includes this.
 *
 * A request (struct ds_http) owns a libcurl easy handle for its whole life and is reused together with it and its
 * buffers, so that a request on a warm connection allocates nothing of ours.
 */
#ifndef DS_HTTP_INTERNAL_H
#define DS_HTTP_INTERNAL_H

#include "http.h"

#include "../base/buf.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>

#include "curl_late.h"

typedef enum ds_http_state {
    DS_HTTP_FREE,      /* in client->spare */
    DS_HTTP_NEW,       /* in client->fresh: asked for, not looked at */
    DS_HTTP_QUEUED,    /* in client->queue: too many are on the wire */
    DS_HTTP_RESOLVING, /* in host->waiting: the host's address is being looked up */
    DS_HTTP_ACTIVE,    /* in client->active: in the multi handle */
    DS_HTTP_CANCELLED, /* in client->cancelled: still in the multi handle, but nobody listens */
    DS_HTTP_ENDING,    /* its sink is being told */
} ds_http_state;

/* Why we ended a transfer ourselves, from inside a callback of libcurl. */
typedef enum ds_http_abort {
    DS_HTTP_ABORT_NONE,
    DS_HTTP_ABORT_CANCELLED,
    DS_HTTP_ABORT_BODY_SIZE,
    DS_HTTP_ABORT_HEADERS,
    DS_HTTP_ABORT_MEMORY,
} ds_http_abort;

/* Where requests go: an origin and what libcurl needs to get there. Lives as long as the client. */
typedef struct ds_http_host {
    ds_list node;    /* client->hosts */
    char *origin;    /* as in the endpoint */
    char *unix_path; /* or NULL */
    char *url;       /* origin, or with tls_server_name the origin that certificates are checked against */
    char *name;      /* to be looked up; NULL: the origin needs no look-up */
    char *port;      /* digits */
    bool tls;
    struct curl_slist connect_to; /* data NULL: connect where the URL says */
    struct curl_slist resolve;    /* data: last good addresses in libcurl's form; NULL: none yet */
    bool resolve_news;            /* the multi handle has not been told of them */
    int64_t looked_ns;            /* when the last look-up began */
    ds_list waiting;              /* requests that have no address to go to */
    ds_http_client *client;
    struct ds_lookup *lookup; /* under way, or NULL */
} ds_http_host;

struct ds_http {
    ds_http_any any;
    ds_list node;
    ds_http_client *client;
    ds_http_host *host;
    ds_http_sink *sink; /* NULL: nobody listens */
    CURL *easy;
    ds_timer deadline;
    int64_t timeout_ns, ends_ns; /* ends_ns: DS_NEVER or when it is given up */
    ds_http_state state;

    char *store; /* url, headers and body of the request, one block that is kept */
    size_t store_capacity, store_used;
    const char *url, *method;
    const char *body;
    size_t body_size;
    struct curl_slist headers[DS_HTTP_HEADERS_MAX + 4]; /* over `store` and literals */
    size_t header_count;
    const char *unsound; /* why the request cannot be sent at all, or NULL */
    bool urgent, stream, duplex, counted, resolve_set, read_only;

    ds_buf upload; /* duplex: what has not been sent */
    bool upload_paused, upload_over;
    bool heard;              /* libcurl has handed something over since the last look */
    unsigned unheard;        /* looks at its socket with bytes waiting and nothing heard */
    curl_socket_t opened[4]; /* the last sockets libcurl asked for: of several addresses one becomes the connection */
    unsigned opened_count;
    curl_socket_t socket;             /* duplex: the connection's */
    ds_list upload_node, duplex_node; /* client->uploads, client->duplexes */

    ds_http_abort abort;
    unsigned sends; /* how often libcurl began to send the request */
    long status;
    bool head_ended; /* the empty line has come */
    size_t header_bytes;
    unsigned header_lines;
    size_t reply_max;
    ds_buf reply;
    ds_buf reply_headers; /* wanted values, NUL-terminated, one after the other */
    const char *want_headers[DS_HTTP_HEADERS_MAX + 1];
    size_t value_at[DS_HTTP_HEADERS_MAX]; /* offset + 1 in reply_headers; 0 = absent */
    const char *values[DS_HTTP_HEADERS_MAX];
    char curl_error[CURL_ERROR_SIZE];
};

struct ds_http_client {
    ds_world *world;
    CURLM *multi;
    ds_list fresh, queue, active, cancelled, uploads, duplexes, spare, hosts;
    unsigned on_wire;  /* counted against WIRE_MAX */
    unsigned in_multi; /* easy handles in the multi handle */
    unsigned spare_count;
    struct curl_waitfd *watched; /* sockets of duplex requests; behind them what the loop brings */
    unsigned watched_count, brought_count;
    size_t watched_capacity, duplex_count;
    bool guard_sigpipe;
    CURLcode refusal; /* of the last handle that was set up */
    int64_t connect_timeout_ms;
    char *ca, *cert, *key, *server_name;
    bool insecure;
};

/* http_options.c: the handle's unchanging settings, and those of one request. CURLE_OK or the first refusal. */
CURLcode ds_http_options_fixed(ds_http *http);
CURLcode ds_http_options_request(ds_http *http);

/* http_socket.c */
curl_socket_t ds_http_open_socket(void *http, curlsocktype purpose, struct curl_sockaddr *address);
CURLM *ds_http_multi_new(void); /* whose own descriptors do not survive exec; NULL: cannot */

/* Old libraries let OpenSSL write to a dead socket with write(). A caller that drives must not be killed by that, nor
 * may the host miss a SIGPIPE of its own. */
typedef struct ds_sigpipe {
    sigset_t before;
    bool on, was_pending;
} ds_sigpipe;
void ds_sigpipe_begin(const ds_http_client *client, ds_sigpipe *guard);
void ds_sigpipe_end(const ds_sigpipe *guard);

/* http_client.c */
ds_http *ds_http_take_spare(ds_http_client *client); /* or a new one; NULL: out of memory */
void ds_http_recycle(ds_http *http);                 /* forgets everything about the request; not in the multi handle */

/* http.c */
void ds_http_leave_wire(ds_http *http); /* takes it out of the multi handle */
void ds_http_on_deadline(ds_timer *timer);
void ds_http_drop_cancelled(ds_http_client *client);

/* http_transfer.c: libcurl's callbacks. */
size_t ds_http_on_header(char *line, size_t one, size_t count, void *http);
size_t ds_http_on_body(char *bytes, size_t one, size_t count, void *http);
int ds_http_on_send(void *http, char *ip, char *local_ip, int port, int local_port);
int ds_http_on_trace(CURL *easy, curl_infotype kind, char *data, size_t size, void *http);

/* http_duplex.c */
bool ds_http_duplex_begin(ds_http *http);                      /* false: out of memory */
void ds_http_duplex_end(ds_http *http);                        /* harmless for others */
bool ds_http_watch_room(ds_http_client *client, size_t count); /* for so many in `watched`; false: out of memory */
void ds_http_duplex_resume(ds_http_client *client);
void ds_http_duplex_connected(ds_http *http, int local_port);
void ds_http_duplex_look(ds_http_client *client); /* after bytes have moved */
size_t ds_http_on_read(char *out, size_t one, size_t count, void *http);

/* http_result.c: what is to be said of an ended request. `text` takes the message. */
void ds_http_judge(ds_http *http, CURLcode curl, ds_http_result *result, char *text, size_t text_size);
void ds_http_judge_timeout(ds_http *http, ds_http_result *result, char *text, size_t text_size);
/* For a request that never reached libcurl. */
void ds_http_judge_early(ds_http *http, ds_http_fate fate, dsync_code code, const char *why, ds_http_result *result,
                         char *text, size_t text_size);

/* http_request.c: copies a request into a (reused) ds_http. False: out of memory. */
bool ds_http_prepare(ds_http *http, const ds_http_request *request);

/* http_host.c: addresses. */
ds_http_host *ds_http_host_get(ds_http_client *client, const ds_endpoint *endpoint); /* NULL: out of memory */
void ds_http_hosts_free(ds_http_client *client);
typedef enum ds_http_address { DS_HTTP_ADDRESS_KNOWN, DS_HTTP_ADDRESS_SOON, DS_HTTP_ADDRESS_NONE } ds_http_address;
/* KNOWN (perhaps with a fresh look-up begun behind it), SOON (one is under way; put the request on host->waiting) or
 * NONE (out of memory or threads). */
ds_http_address ds_http_host_look(ds_http_client *client, ds_http_host *host);
void ds_http_host_suspect(ds_http_client *client, ds_http_host *host); /* nobody answered there: look it up again */

/* http.c: a look-up has ended; `problem` NULL: well. Requests on host->waiting go on or end. */
void ds_http_host_ready(ds_http_client *client, ds_http_host *host, const char *problem);

#endif
