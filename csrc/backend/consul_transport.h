/* consul_transport.h: one request to a Consul agent, and what came of it.
 *
 * Chooses the agent, adds the token and the datacenter, sorts errors. Repeats a request by itself in one case: after a
 * token was refused and its file holds another one now (nothing was executed).
 */
#ifndef DS_CONSUL_TRANSPORT_H
#define DS_CONSUL_TRANSPORT_H

#include "backend.h"
#include "consul_msg.h"

typedef struct ds_consul ds_consul;
typedef struct ds_consul_exchange ds_consul_exchange;

typedef enum ds_consul_kind {
    DS_CONSUL_TXN,     /* a transaction that changes something */
    DS_CONSUL_READ,    /* one that does not */
    DS_CONSUL_CREATE,  /* a session */
    DS_CONSUL_RENEW,   /* a session; DS_LOST when it is gone */
    DS_CONSUL_DESTROY, /* a session */
    DS_CONSUL_LIST,    /* all sessions */
    DS_CONSUL_SELF,    /* the agent, about itself */
} ds_consul_kind;

typedef struct ds_consul_result {
    ds_class outcome;
    dsync_code code;     /* DS_REFUSED */
    const char *message; /* not DS_OK */
    bool resent;         /* the server may have got it more than once */
    /* DS_OK: a transaction may have failed in some of its operations all the same. */
    const ds_consul_answer *answer;
} ds_consul_result;

struct ds_consul_exchange {
    /* The owner's. */
    void (*done)(ds_consul_exchange *exchange, const ds_consul_result *result); /* never from inside ds_consul_send */
    int64_t deadline_ns;
    bool urgent;
    bool global;         /* in the primary datacenter */
    size_t reply_max;    /* 0: what fits this kind */
    ds_consul_txn txn;   /* the body */
    const char *subject; /* the session meant, stable until done */
    /* The transport's; zero, then ds_consul_exchange_init. */
    ds_consul *consul;
    ds_consul_kind kind;
    ds_consul_answer answer;
    ds_buf target;
    ds_http_sink sink;
    ds_http *http;
    ds_endpoint *endpoint;
    ds_task task;
    uint64_t token_serial;
    bool anew, resent, active;
    ds_class late;
    dsync_error error;
};

void ds_consul_exchange_init(ds_consul_exchange *exchange, ds_consul *consul);
void ds_consul_exchange_free(ds_consul_exchange *exchange); /* must not be active */
void ds_consul_send(ds_consul_exchange *exchange, ds_consul_kind kind);
void ds_consul_stop(ds_consul_exchange *exchange); /* `done` will not come; harmless when idle */

/* Shared with watches. The headers every request carries: */
void ds_consul_headers(const ds_consul *consul, ds_http_request *request);
/* "?dc=...&ns=..." as far as set; then whatever follows begins with '&'. */
void ds_consul_add_query(const ds_consul *consul, ds_buf *target, bool global);
/* An error's words, the agent's name and the advice. */
void ds_consul_explain(dsync_error *error, const ds_endpoint *endpoint, int http, const char *text, size_t size,
                       const char *advice);

#endif
