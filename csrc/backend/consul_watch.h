/* consul_watch.h: watches, and the blocking queries that carry them. */
#ifndef DS_CONSUL_WATCH_H
#define DS_CONSUL_WATCH_H

#include "consul.h"

typedef enum ds_consul_watch_kind {
    DS_CONSUL_WATCH_KEY,  /* that it is there */
    DS_CONSUL_WATCH_LOCK, /* that the same session has it */
    DS_CONSUL_WATCH_TREE, /* that nothing changes */
} ds_consul_watch_kind;

typedef struct ds_consul_query ds_consul_query;

typedef struct ds_consul_watching {
    ds_list node; /* in its query's list, or in a local one of those to be told */
    ds_consul *consul;
    ds_consul_query *query; /* NULL while it waits to begin */
    ds_watch *owner;
    ds_consul_watch_kind kind;
    bool own; /* our own entry */
    bool global;
    bool ready;
    char *key;              /* as named by the owner */
    char *target;           /* the key that is looked at */
    char session[72];       /* LOCK: whose it was, "" = not yet known */
    int64_t seen;           /* the state the owner knows, 0 = none */
    uint64_t joined;        /* how many times its query had been asked then */
    int64_t looked_ns;      /* when the owner was last told to look for itself */
    unsigned wanted, found; /* while a wide answer is compared */
    ds_task task;
    ds_timer timer;
    ds_call reason;
} ds_consul_watching;

/* A question that the agent answers when there is something newer than `index`. */
struct ds_consul_query {
    ds_list node; /* consul->queries */
    ds_consul *consul;
    char *target; /* a key; wide and tree: what keys begin with */
    bool wide;    /* carries any number of watches on keys that begin so */
    bool tree;    /* carries one watch on everything that begins so */
    bool global;
    int64_t index;
    int64_t asked_ns, pace_ns;
    uint64_t asked;  /* times */
    ds_list watches; /* none: it goes when it is answered */
    ds_buf url;
    ds_http_sink sink;
    ds_http *http;
    ds_endpoint *endpoint;
    ds_timer timer;
    ds_consul_answer answer;
};

/* consul_query.c */
/* Finds or begins a query for the watch. False: out of memory. */
bool ds_consul_query_join(ds_consul_watching *watching);
void ds_consul_query_free(ds_consul_query *query); /* its watches must have left */

/* consul_watch.c: what a query hears. Either may end watches, and begin new ones. */
void ds_consul_watch_answered(ds_consul_query *query, const ds_http_result *http, int64_t index);
void ds_consul_watch_failed(ds_consul_query *query, ds_class outcome, const char *message);

#endif
