/* model_etcd.h: a small etcd in virtual time, behind fake_world's HTTP: keys, leases, transactions and watches, as far
 * as the etcd backend uses them. It shares no code with the backend but the JSON reader.
 *
 * Every request is executed when it is sent and answered a millisecond later, unless a fault was asked for.
 */
#ifndef MODEL_ETCD_H
#define MODEL_ETCD_H

#include "fake_world.h"

typedef struct model_etcd model_etcd;

typedef enum model_fault {
    MODEL_FINE,
    MODEL_REFUSED,    /* not executed, and said so at once */
    MODEL_SILENT,     /* neither executed nor answered */
    MODEL_REPLY_LOST, /* executed, the connection breaks before the answer */
    MODEL_TWICE,      /* executed, answered as sent twice, and the other copy arrives 300 ms later */
} model_fault;

model_etcd *model_etcd_new(fw *u);   /* serves all requests of the universe from now on */
void model_etcd_free(model_etcd *m); /* before fw_free */

/* For the next `count` requests whose target contains `target` ("/v3/kv/txn"); "" is all of them. */
void model_etcd_fault(model_etcd *m, model_fault fault, const char *target, unsigned count);

size_t model_etcd_count(const model_etcd *m, const char *prefix); /* keys that begin so */
size_t model_etcd_leases(const model_etcd *m);
size_t model_etcd_requests(const model_etcd *m, const char *target);
bool model_etcd_delete(model_etcd *m, const char *prefix); /* as an administrator; false: no such key */
void model_etcd_revoke_all(model_etcd *m);
void model_etcd_break_streams(model_etcd *m);

#endif
