/* model_parts.h: what model_etcd.c and model_store.c share; tests include model_etcd.h only. */
#ifndef MODEL_PARTS_H
#define MODEL_PARTS_H

#include "../../csrc/base/buf.h"
#include "../../csrc/base/json.h"
#include "model_etcd.h"

#define KEYS 256

typedef struct key {
    ds_buf name, value;
    int64_t create, mod, lease;
} key;

typedef struct lease {
    int64_t id, ttl_s;
    uint64_t renewed; /* which of its alarms counts */
} lease;

typedef struct watch {
    fw_request *stream;
    int64_t id;
    ds_buf begin, end;
    bool deletes_only;
} watch;

struct model_etcd {
    fw *u;
    int64_t revision;
    key keys[KEYS];
    size_t key_count;
    lease leases[32];
    size_t lease_count;
    watch watches[64];
    size_t watch_count;
    model_fault fault;
    const char *fault_target;
    unsigned fault_count;
    fw_request *streams[16];
    size_t stream_count;
};

int64_t model_int(const ds_json *object, const char *name); /* 0 when absent */
void model_add_header(ds_buf *out, const model_etcd *m);
void model_watch_bytes(model_etcd *m, fw_request *stream, const char *bytes,
                       size_t count); /* what a client sends on one */
void model_remove(model_etcd *m, size_t index, int64_t revision);
void model_range(model_etcd *m, const ds_json *body, ds_buf *out); /* appends ,"count":... */
int model_txn(model_etcd *m, const ds_json *body, ds_buf *out);    /* the HTTP status */

#endif
