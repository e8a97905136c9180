/* etcd_transport.h: one message to etcd, and what came of it.
 *
 * Chooses the endpoint, adds the token, sorts errors, and lets no answer through that is older than what was seen
 * before the message was sent. Repeats a message by itself in two cases: after a token was refused (nothing was
 * executed), and after an outdated answer was dropped (which counts as sent more than once).
 */
#ifndef DS_ETCD_TRANSPORT_H
#define DS_ETCD_TRANSPORT_H

#include "backend.h"
#include "etcd_wire.h"

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
    const ds_etcd_wire *wire; /* of `body` */
    ds_buf body, spare; /* spare: the same as JSON, while it is not known whether gRPC can be spoken; else empty */
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

/* Fills in what every request in this encoding has: headers, with the token if there is one, and those to be told. */
void ds_etcd_dress(const ds_etcd *etcd, const ds_etcd_wire *wire, ds_http_request *request, bool token);
/* The server at `endpoint` certainly does not speak HTTP/2, `why` says what came of it. True: from now on everything is
 * JSON. False: gRPC alone is wanted; `error` says so. */
bool ds_etcd_fall_back(ds_etcd *etcd, const ds_endpoint *endpoint, const char *why, dsync_error *error);
/* Which encoding the settings ask for. */
bool ds_etcd_choose_wire(ds_etcd *etcd, const ds_backend_config *config, dsync_error *error);
/* Another or an older cluster answers: what was opened before is DS_RESET. */
void ds_etcd_another_cluster(ds_etcd *etcd, uint64_t cluster_id, int64_t revision);
/* Takes note of the header of an answer. False: it is from another cluster; `error` says so, and from now on that one
 * counts: whatever was opened before is DS_RESET. */
bool ds_etcd_note(ds_etcd *etcd, const ds_etcd_header *header, const ds_endpoint *endpoint, dsync_error *error);
/* "etcd at <endpoint>: <what the server said>; <advice>". */
void ds_etcd_explain(dsync_error *error, const ds_endpoint *endpoint, int http, const ds_etcd_status *status,
                     const char *advice);

#endif
