/* h2_internal.h: what the files of HTTP/2 know of each other. Nobody else includes this.
 *
 * A host is an origin. It has one link, the connection that new requests go to, made when the first of them comes. A
 * link that takes no more requests (the server said so, or it has gone silent) leaves its host and lives on until its
 * last stream has ended, while another one takes its place. Requests are reused together with their buffers.
 *
 * No request is written before the server has shown that it speaks HTTP/2, so whatever goes wrong before that is
 * certain to have executed nothing.
 */
#ifndef DS_H2_INTERNAL_H
#define DS_H2_INTERNAL_H

#include "h2.h"

#include "../base/buf.h"

#include "h2_dial.h"
#include "h2_late.h"

typedef struct ds_h2_host ds_h2_host;
typedef struct ds_h2_link ds_h2_link;
typedef struct ds_h2_request ds_h2_request;

#define DS_H2_HEADERS_MAX (DS_HTTP_HEADERS_MAX + 5) /* with the pseudo headers and user-agent */

typedef enum ds_h2_state {
    DS_H2_FREE,      /* in client->spare */
    DS_H2_NEW,       /* in client->fresh: asked for, not looked at */
    DS_H2_QUEUED,    /* in host->queue: no link takes it so far */
    DS_H2_ACTIVE,    /* in link->active: it has a stream */
    DS_H2_CANCELLED, /* in client->cancelled: it has a stream, but nobody listens */
    DS_H2_ENDED,     /* in client->ended: its sink is to be told */
    DS_H2_ENDING,    /* its sink is being told */
} ds_h2_state;

/* Why a request without an answer has ended. */
typedef struct ds_h2_failure {
    dsync_code code; /* for the result; DSYNC_OK: none */
    bool not_http2;
    char text[160]; /* for people, without the origin */
} ds_h2_failure;

typedef enum ds_h2_outcome {
    DS_H2_OPEN,
    DS_H2_COMPLETE, /* the whole answer is there */
    DS_H2_RESET,    /* the stream was closed before, with `error_code` */
    DS_H2_TOO_LONG, /* our own caps */
    DS_H2_TOO_MANY,
    DS_H2_NO_MEMORY,
} ds_h2_outcome;

struct ds_h2_request {
    ds_http_any any;
    ds_list node;
    ds_h2_client *client;
    ds_h2_host *host;
    ds_h2_link *link;   /* while it has a stream */
    ds_http_sink *sink; /* NULL: nobody listens */
    ds_timer deadline;
    int64_t timeout_ns;
    int64_t begun_ns; /* when it got its stream */
    ds_h2_state state;
    bool urgent, stream, duplex, read_only;
    const char *unsound; /* why it cannot be sent at all, or NULL */

    char *store; /* headers and body, one block that is kept */
    size_t store_capacity, store_used;
    nghttp2_nv headers[DS_H2_HEADERS_MAX]; /* over `store` and literals */
    size_t header_count;
    const char *body;
    size_t body_size, body_sent;
    ds_buf upload; /* duplex: what has not been sent */
    ds_list upload_node;

    int32_t stream_id;
    bool framed;       /* its first frame is in the link's output ... */
    uint64_t frame_at; /* ... at this place */
    bool sent;         /* set when it leaves its link: the server may have seen some of it */

    ds_h2_outcome outcome;
    uint32_t error_code;
    int status;
    bool head_ended;
    size_t header_bytes;
    unsigned header_lines;
    size_t reply_max;
    ds_buf reply;
    ds_buf reply_headers; /* wanted values, NUL-terminated, one after the other */
    const char *want_headers[DS_HTTP_HEADERS_MAX + 1];
    size_t value_at[DS_HTTP_HEADERS_MAX]; /* offset + 1 in reply_headers; 0 = absent */
    const char *values[DS_HTTP_HEADERS_MAX];
};

struct ds_h2_host {
    ds_list node; /* client->hosts */
    ds_h2_client *client;
    char *origin;    /* as in the endpoint */
    char *unix_path; /* or NULL */
    char *authority; /* "host:port" */
    char *name;      /* to be looked up; NULL: `addresses` is all there ever is */
    char *addresses; /* last good ones, in the form of lookup.h; NULL: none yet */
    uint16_t port;
    int64_t looked_ns;        /* when the last look-up began */
    struct ds_lookup *lookup; /* under way, or NULL */
    ds_list queue;            /* requests that have no stream, urgent ones first */
    ds_h2_link *link;         /* or NULL */
};

typedef enum ds_h2_stage {
    DS_H2_LOOKUP,   /* the host's address is being looked up */
    DS_H2_DIAL,     /* connecting */
    DS_H2_GREETING, /* connected; the server has not said that it speaks HTTP/2 */
    DS_H2_UP,
} ds_h2_stage;

struct ds_h2_link {
    ds_list node; /* client->links */
    ds_h2_client *client;
    ds_h2_host *host;
    ds_h2_stage stage;
    ds_timer timer; /* gives up connecting; then looks whether the server is still there */
    ds_h2_dial dial;
    ds_fd fd; /* fd.fd -1: not connected */
    nghttp2_session *session;
    ds_list active;
    unsigned count;    /* in `active` */
    bool carried;      /* it has taken a request */
    bool leaving;      /* it takes no more */
    bool suspect;      /* it takes none unless the server says something */
    bool news;         /* there is something to write */
    ds_timer courtesy; /* writes what can wait for the next request, if none comes soon */
    size_t unthanked;  /* bytes read since the last write */
    bool failed;       /* `failure` says why; it is closed at the next chance */
    ds_h2_failure failure;
    int64_t heard_ns; /* when the server last said anything */
    int64_t asked_ns; /* when it was asked for a sign of life; 0: no question is open */
    char greeting[9]; /* the first bytes that came: a frame's head, or not */
    size_t greeting_size;
    ds_buf out;
    size_t out_written;       /* of `out` */
    uint64_t framed, written; /* bytes, since the beginning */
};

struct ds_h2_client {
    ds_world *world;
    int64_t connect_timeout_ns;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_mem memory;
    bool starved; /* libnghttp2 was refused memory; it takes that for faults of all kinds */
    ds_list fresh, cancelled, uploads, ended, spare, hosts, links;
    unsigned spare_count;
    bool news; /* ds_h2_run has something to do that is on no list */
    char in[32 * 1024];
};

/* h2_host.c: origins and their addresses. */
ds_h2_host *ds_h2_host_get(ds_h2_client *client, const ds_endpoint *endpoint); /* NULL: out of memory */
void ds_h2_host_free(ds_h2_host *host);
typedef enum ds_h2_address { DS_H2_ADDRESS_KNOWN, DS_H2_ADDRESS_SOON, DS_H2_ADDRESS_NONE } ds_h2_address;
/* KNOWN (perhaps with a fresh look-up begun behind it), SOON (one is under way) or NONE (out of memory or threads). */
ds_h2_address ds_h2_host_look(ds_h2_host *host);
void ds_h2_host_suspect(ds_h2_host *host); /* nobody answered there: look it up again */

/* h2_link.c: a connection's life. */
ds_h2_link *ds_h2_link_new(ds_h2_host *host);                     /* NULL: out of memory. It may have failed already. */
void ds_h2_link_free(ds_h2_link *link);                           /* has no requests any more */
void ds_h2_link_looked_up(ds_h2_link *link, const char *problem); /* NULL: the host has addresses */
/* It is not used any more and will be closed; its requests end. The first reason counts. */
void ds_h2_link_fail(ds_h2_link *link, dsync_code code, bool not_http2, const char *format, ...) DS_PRINTF(4, 5);
void ds_h2_link_leave(ds_h2_link *link);   /* takes no more requests */
void ds_h2_link_heard(ds_h2_link *link);   /* the server has said something */
void ds_h2_link_suspect(ds_h2_link *link); /* a request has waited in vain: is anybody there? */
bool ds_h2_link_has_room(const ds_h2_link *link, const ds_h2_request *request);
void ds_h2_link_watch(ds_h2_link *link); /* keeps what is polled, and the timer, in step with what it waits for */
void ds_h2_link_up(ds_h2_link *link);    /* the server has greeted */

/* h2_bytes.c: what is read from and written to a connection. */
void ds_h2_link_ready(ds_fd *fd, unsigned events);
void ds_h2_link_read(ds_h2_link *link);
void ds_h2_link_on_courtesy(ds_timer *courtesy);
void ds_h2_link_write(ds_h2_link *link); /* everything that is to be said now, at once */

/* h2_frames.c: libnghttp2's callbacks, and what is said to it. */
bool ds_h2_session_begin(ds_h2_link *link);                  /* false: out of memory */
bool ds_h2_setup(ds_h2_client *client);                      /* callbacks and options; false: out of memory */
bool ds_h2_submit(ds_h2_link *link, ds_h2_request *request); /* false: this link cannot take it */
void ds_h2_ask(ds_h2_link *link);                            /* PING */

/* h2_request.c */
ds_h2_request *ds_h2_request_take(ds_h2_client *client); /* a used one, or a new one; NULL: out of memory */
bool ds_h2_request_prepare(ds_h2_request *self, const ds_http_request *request); /* false: out of memory */
void ds_h2_request_recycle(ds_h2_request *self);                                 /* has no stream */
void ds_h2_request_free(ds_h2_request *self);

/* h2.c */
void ds_h2_on_deadline(ds_timer *timer);
/* Takes a request off its stream, which is reset with `error_code` unless that is closed. `outcome` OPEN: nobody is to
 * be told; else it goes to client->ended. */
#define DS_H2_CLOSED UINT32_MAX
void ds_h2_let_go(ds_h2_request *self, uint32_t error_code, ds_h2_outcome outcome);
void ds_h2_end_failed(ds_h2_request *self, const ds_h2_failure *failure); /* has no stream; its sink is told */

/* h2_result.c: what is to be said of an ended request. `text` takes the message. */
void ds_h2_judge(ds_h2_request *self, ds_http_result *result, char *text, size_t text_size);
void ds_h2_judge_failure(ds_h2_request *self, const ds_h2_failure *failure, ds_http_result *result, char *text,
                         size_t text_size);
void ds_h2_judge_timeout(ds_h2_request *self, ds_http_result *result, char *text, size_t text_size);
void ds_h2_judge_unsound(ds_h2_request *self, ds_http_result *result, char *text, size_t text_size);

#endif
