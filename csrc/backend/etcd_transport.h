/* etcd_transport.h: one message to etcd, and what came of it.
 *
 * Chooses the endpoint, adds the token, sorts errors, and lets no answer through that is older than what was seen
 * before the message was sent. Repeats a message by itself in two cases: after a token was refused (nothing was
 * executed), and after an outdated answer was dropped (which counts as sent more than once).
 */
#ifndef DS_ETCD_TRANSPORT_H
#define DS_ETCD_TRANSPORT_H

#include "backend.h"
#include "etcd_msg.h"

typedef struct ds_etcd ds_etcd;
typedef struct ds_etcd_exchange ds_etcd_exchange;

typedef struct ds_etcd_result {
    ds_class outcome;
    dsync_code code;            /* DS_REFUSED */
    const char *message;        /* not DS_OK */
    bool resent;                /* the server may have got it more than once */
    bool too_large;             /* the answer was more than reply_max */
    ds_etcd_status status;      /* of an error answer */
    const ds_etcd_reply *reply; /* DS_OK */
} ds_etcd_result;

typedef struct ds_etcd_auth_waiter {
    ds_list node;
    void (*done)(struct ds_etcd_auth_waiter *waiter, const ds_etcd_result *failure);
} ds_etcd_auth_waiter;

struct ds_etcd_exchange {
    /* The owner's. */
    void (*done)(ds_etcd_exchange *exchange, const ds_etcd_result *result); /* never from inside ds_etcd_send */
    int64_t deadline_ns;
    bool urgent;
    bool keep;        /* keep what earlier answers of this exchange point to */
    size_t reply_max; /* 0: what fits this kind of message */
    /* The transport's; zero, then ds_etcd_exchange_init. */
    ds_etcd *etcd;
    ds_etcd_kind kind;
    ds_buf body;
    ds_etcd_arena arena;
    ds_http_sink sink;
    ds_http *http;
    ds_endpoint *endpoint, *avoid;
    ds_etcd_auth_waiter waiter;
    ds_task task;
    ds_timer timer;
    int64_t floor, pause_ns;
    uint64_t token_serial;
    bool anew, resent, active;
    ds_class late;
    dsync_error error;
};

void ds_etcd_exchange_init(ds_etcd_exchange *exchange, ds_etcd *etcd);
void ds_etcd_exchange_free(ds_etcd_exchange *exchange); /* must not be active */
/* Encodes the request at once, so nothing it points to is needed afterwards. */
void ds_etcd_send(ds_etcd_exchange *exchange, const ds_etcd_request *request);
void ds_etcd_stop(ds_etcd_exchange *exchange); /* `done` will not come; harmless when idle */

/* Fills in `headers` of a request to etcd: hasleader, content type, and the token if there is one. */
void ds_etcd_headers(ds_etcd *etcd, ds_http_request *request, bool token);
/* Takes note of the header of an answer. False: it is from another cluster; `error` says so, and from now on that one
 * counts: whatever was opened before is DS_RESET. */
bool ds_etcd_note(ds_etcd *etcd, const ds_etcd_header *header, const ds_endpoint *endpoint, dsync_error *error);
/* "etcd at <endpoint>: <what the server said>; <advice>". */
void ds_etcd_explain(dsync_error *error, const ds_endpoint *endpoint, int http, const ds_etcd_status *status,
                     const char *advice);

#endif
