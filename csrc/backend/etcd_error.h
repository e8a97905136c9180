/* etcd_error.h: what an etcd error means for a request. Pure. */
#ifndef DS_ETCD_ERROR_H
#define DS_ETCD_ERROR_H

#include "backend.h"
#include "etcd_msg.h"

typedef struct ds_etcd_verdict {
    ds_class outcome;
    dsync_code code;    /* DS_REFUSED */
    bool token_refused; /* nothing was executed; a new token may help */
    bool server_ailing; /* prefer another endpoint for a while */
    const char *advice; /* what to do about it, or NULL; static */
} ds_etcd_verdict;

/* gRPC codes by which callers tell answers apart. */
#define DS_GRPC_NOT_FOUND 5
#define DS_GRPC_FAILED_PRECONDITION 9

/* Of an answer other than success. `http` is the HTTP status, 200 for an error inside a stream. */
ds_etcd_verdict ds_etcd_judge(int http, const ds_etcd_status *status);
/* Of the reason etcd gives for cancelling a watch. */
ds_etcd_verdict ds_etcd_judge_cancel(const char *reason);
bool ds_etcd_lease_missing(const ds_etcd_status *status);
bool ds_etcd_lease_exists(const ds_etcd_status *status);
bool ds_etcd_auth_is_off(const ds_etcd_status *status);

#endif
