/* request.h: one question or one guarded write, asked until it is answered or its time is over.
 *
 * Reads are simply repeated. A write whose answer never came is repeated too (it is guarded by its entry, so it cannot
 * happen under another holder), and then the session's epoch is moved, so that no late copy can undo a later write.
 */
#ifndef DS_REQUEST_H
#define DS_REQUEST_H

#include "contender.h"
#include "engine.h"

typedef enum ds_request_kind {
    DS_REQUEST_PING,
    DS_REQUEST_GET,    /* key */
    DS_REQUEST_LIST,   /* key: one queue; limit */
    DS_REQUEST_TREE,   /* key: every queue below it; `page` per page */
    DS_REQUEST_EVICT,  /* key, token */
    DS_REQUEST_PUT,    /* waiter, key, value */
    DS_REQUEST_DELETE, /* waiter, key */
    DS_REQUEST_VALUE,  /* waiter, value: as stored */
} ds_request_kind;

typedef struct ds_request ds_request;
/* Embedded in its owner, who fills in the upper part (strings stay the owner's, stable until done). */
struct ds_request {
    ds_request_kind kind;
    const char *key;
    const char *value;
    size_t value_size;
    size_t limit;
    int64_t token;
    ds_waiter *waiter;
    int64_t timeout_ns;
    /* Each page of a TREE or the one of a LIST, before done. False: out of memory, ends the request. */
    bool (*page)(ds_request *request, const ds_reply *reply);
    /* Once, perhaps before ds_request_start returns. `reply` is NULL unless the code is DSYNC_OK. */
    void (*done)(ds_request *request, dsync_code code, const char *message, const ds_reply *reply);
    /* private */
    ds_list node;
    ds_engine *engine;
    ds_call call;
    ds_timer retry, limit_timer;
    ds_departure *fence; /* moving the epoch before or after a write */
    uint64_t acquisition;
    unsigned attempt;
    bool unsure; /* a copy of the write may be on its way */
    char *after;
    char last_error[200];
};

void ds_request_start(ds_engine *engine, ds_request *request);
/* Ends it now with `code`; done() is called. Harmless when it has ended. */
void ds_request_end(ds_request *request, dsync_code code, const char *message);

#endif
