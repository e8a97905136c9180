/* etcd_watch.h: the one stream that carries all watches of a client. */
#ifndef DS_ETCD_WATCH_H
#define DS_ETCD_WATCH_H

#include "etcd_transport.h"

#define DS_ETCD_TOKEN_FRESH DS_SECOND /* no token ends sooner after it was given */

typedef enum ds_etcd_stream_state {
    DS_ETCD_STREAM_OFF,
    DS_ETCD_STREAM_ASKING, /* waits for a token */
    DS_ETCD_STREAM_ON,     /* the request is under way */
} ds_etcd_stream_state;

/* One watch. */
typedef struct ds_etcd_watching {
    ds_list node;    /* in one of the stream's lists */
    ds_watch *owner; /* NULL: given up before the server had answered */
    int64_t id;
    int64_t since;
    uint64_t stream_number; /* on which it was begun, 0 = not yet */
    bool deletes_only, keys_only;
    bool answered;
    size_t size, end_size;
    char *key; /* and the end of the range behind it; NULL once answered */
} ds_etcd_watching;

typedef struct ds_etcd_stream {
    ds_etcd *etcd;
    ds_etcd_stream_state state;
    ds_http_sink sink;
    ds_http *http;
    ds_endpoint *endpoint;
    const ds_etcd_wire *wire; /* once it is on */
    ds_etcd_auth_waiter waiter;
    int64_t opened_ns, heard_ns;
    bool probing;    /* asked for a sign of life */
    uint64_t number; /* counts streams: tells a handler that its own has ended meanwhile */
    ds_buf in, out;  /* a message not yet complete; requests not yet handed over */
    ds_task flush;
    ds_timer timer; /* silence while in use, idleness otherwise */
    ds_list queued; /* watches whose creation was not yet sent */
    ds_list asked;  /* sent, unanswered, in order */
    ds_list on;
    size_t count;
    ds_etcd_watching **slots;
    size_t slot_count, slot_hint;
    int64_t serial; /* counts ids: an id is a serial and a slot */
} ds_etcd_stream;

void ds_etcd_stream_init(ds_etcd_stream *stream, ds_etcd *etcd);
void ds_etcd_stream_free(ds_etcd_stream *stream);   /* watches still on hear nothing more */
void ds_etcd_stream_used(ds_etcd_stream *stream);   /* something was queued */
void ds_etcd_stream_unused(ds_etcd_stream *stream); /* the last watch has ended */
void ds_etcd_stream_doubt(ds_etcd_stream *stream, const ds_endpoint *endpoint);
/* Ends the stream and with it all its watches. `fail`: through its server's fault. */
void ds_etcd_stream_end(ds_etcd_stream *stream, ds_class outcome, const char *message);
void ds_etcd_stream_fail(ds_etcd_stream *stream, ds_class outcome, const char *message);
void ds_etcd_stream_nonsense(ds_etcd_stream *stream); /* its server says what no etcd says */

/* What the server says (etcd_events.c): one message of the stream, or an error instead of one. */
void ds_etcd_stream_message(ds_etcd_stream *stream, ds_bytes message);
void ds_etcd_stream_refused(ds_etcd_stream *stream, int http, const ds_etcd_status *status);

/* Single watches (etcd_watch.c). Ending one tells its owner, if it still has one. */
ds_etcd_watching *ds_etcd_watching_find(const ds_etcd_stream *stream, int64_t id); /* NULL: it is over */
void ds_etcd_watching_end(ds_etcd_stream *stream, ds_etcd_watching *watching, ds_class outcome, const char *message);
void ds_etcd_watching_end_all(ds_etcd_stream *stream, ds_class outcome, const char *message);
void ds_etcd_watching_drop_all(ds_etcd_stream *stream);
void ds_etcd_watching_ask_again(ds_etcd_stream *stream); /* those unanswered go on the next stream */

#endif
