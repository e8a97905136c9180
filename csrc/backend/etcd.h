/* etcd.h: the parts of the etcd backend among themselves. Not seen outside etcd*.c.
 *
 * The layers: etcd_msg.h (messages) < etcd_wire.h (their encodings) < etcd_transport.h (one message to a server) <
 * calls (here), of which etcd_session.c, etcd_queue.c, etcd_guard.c and etcd_list.c are made. etcd_watch.c stands
 * beside them. Keys and what is stored in them: etcd_keys.c.
 */
#ifndef DS_ETCD_H
#define DS_ETCD_H

#include "../net/endpoints.h"
#include "etcd_auth.h"
#include "etcd_wire.h"
#include "etcd_transport.h"
#include "etcd_watch.h"

struct ds_etcd {
    ds_backend base;
    ds_endpoints endpoints;
    ds_etcd_auth auth;
    ds_etcd_stream stream;
    const ds_etcd_wire *wire; /* what is spoken now */
    bool falls_back;          /* to JSON, where HTTP/2 is not spoken */
    bool wire_proven;         /* an answer came in it */
    uint64_t cluster_id;      /* 0: no answer yet */
    int64_t revision;         /* highest seen */
    uint64_t generation;      /* moves when another or an older cluster answers */
    char *prefix, *id;        /* for ping and evict */
    size_t value_max;         /* largest value expected in the store */
    char version[48];         /* of the server, "" before it was asked */
    ds_list idle;             /* calls to be used again */
    size_t idle_count;
};

static inline ds_etcd *ds_etcd_of(ds_backend *backend) {
    return DS_CONTAINER_OF(backend, ds_etcd, base);
}

/* ---- a call: one or more messages for one ds_call ---------------------------------------------------------------- */

/* Entries gathered from several pages. */
typedef struct ds_etcd_listing {
    bool subtree;
    size_t limit;     /* entries wanted, 0 = all */
    size_t page;      /* entries asked for at once */
    int64_t revision; /* at which all pages are read; 0 before the first */
    size_t bytes;
    ds_etcd_kv *found; /* keys and values are the exchange's */
    size_t count, capacity;
} ds_etcd_listing;

typedef struct ds_etcd_call ds_etcd_call;
struct ds_etcd_call {
    ds_list node;
    ds_etcd *etcd;
    ds_call *owner;
    ds_etcd_exchange exchange;
    void (*next)(ds_etcd_call *call, const ds_etcd_reply *reply);     /* the message succeeded */
    bool (*failed)(ds_etcd_call *call, const ds_etcd_result *result); /* sees failures first; true: dealt with */
    bool resent;
    bool made_before; /* an earlier copy of the request was carried out: whatever fails now, that has happened */
    ds_task task;     /* for failures found before anything was sent */
    ds_class late;
    dsync_error error;

    /* What the answers are compared with; kept here because the caller's structs may change meanwhile. */
    ds_buf own, other, queue, queue_end, session, stamp, stamp_next, value;
    int64_t token, former, lease_id;
    uint64_t epoch;
    ds_lease *lease; /* open */

    /* list, and who holds */
    ds_buf text; /* the queue's path */
    ds_etcd_listing list;
    ds_peer holder;
};

/* NULL: no memory, and the refusal is under way. `lease`, which may be NULL, must be of this cluster, else DS_RESET is
 * under way (and NULL returned). */
ds_etcd_call *ds_etcd_begin(ds_backend *backend, ds_call *owner, const ds_lease *lease);
/* Sends the next message of the call. */
void ds_etcd_step(ds_etcd_call *call, const ds_etcd_request *request,
                  void (*next)(ds_etcd_call *call, const ds_etcd_reply *reply));
void ds_etcd_step_txn(ds_etcd_call *call, const ds_etcd_txn *txn,
                      void (*next)(ds_etcd_call *call, const ds_etcd_reply *reply));
/* Ends the call. Its owner may start another one at once. */
void ds_etcd_finish(ds_etcd_call *call, ds_reply *reply);
void ds_etcd_finish_place(ds_etcd_call *call, ds_place place, int64_t revision);
void ds_etcd_finish_lost(ds_etcd_call *call);
/* A server broke its own rules; whatever was asked may have been done. */
void ds_etcd_finish_impossible(ds_etcd_call *call);
/* Ends a call that could not even be sent; `done` comes later. */
void ds_etcd_refuse_later(ds_etcd_call *call, ds_class outcome, dsync_code code, const char *message);
/* True if one of the call's buffers ran out of memory; the refusal is then under way. */
bool ds_etcd_no_memory(ds_etcd_call *call);

void ds_etcd_cancel(ds_backend *backend, ds_call *owner);
void ds_etcd_free_idle(ds_etcd *etcd);
/* Remembers in which cluster the lease was opened. False: out of memory. */
bool ds_etcd_bind(ds_etcd *etcd, ds_lease *lease);

/* ---- keys (etcd_keys.c) ------------------------------------------------------------------------------------------ */

void ds_etcd_key_session(ds_buf *out, const ds_lease *lease); /* "<prefix>/session/<lease hex>" */
void ds_etcd_key_entry(ds_buf *out, const ds_entry *entry);   /* "<path>/<lease hex>-<nonce>" */
/* [begin, end) covers every key below the path. */
void ds_etcd_key_range(ds_buf *begin, ds_buf *end, const char *path);

/* ---- pieces of transactions -------------------------------------------------------------------------------------- */

ds_etcd_compare ds_etcd_if_created(ds_bytes key, int64_t revision);
ds_etcd_compare ds_etcd_if_value(ds_bytes key, ds_bytes value);
ds_etcd_op ds_etcd_op_get(ds_bytes key);
ds_etcd_op ds_etcd_op_put(ds_bytes key, ds_bytes value, int64_t lease);
ds_etcd_op ds_etcd_op_delete(ds_bytes key);
ds_etcd_op ds_etcd_op_owner(const ds_etcd_call *call);  /* the oldest entry of the call's queue */
ds_etcd_op ds_etcd_op_newest(const ds_etcd_call *call); /* the two newest, keys only */
/* The single key a range found, or NULL. */
const ds_etcd_kv *ds_etcd_only(const ds_etcd_answer *answer);

/* Ends a guarded call whose guard failed, when all that may be missing is the session: lost, else `place` (with the
 * session's epoch). `session`: what ranging the session key found. */
void ds_etcd_finish_unless_lost(ds_etcd_call *call, const ds_etcd_reply *reply, const ds_etcd_answer *session,
                                ds_place place);

/* ---- operations (backend.h) -------------------------------------------------------------------------------------- */

void ds_etcd_ping(ds_backend *backend, ds_call *call);
void ds_etcd_get(ds_backend *backend, ds_call *call, const char *key);
void ds_etcd_open(ds_backend *backend, ds_call *call, ds_lease *lease);
void ds_etcd_renew(ds_backend *backend, ds_call *call, const ds_lease *lease);
void ds_etcd_close(ds_backend *backend, ds_call *call, const ds_lease *lease);
void ds_etcd_forget(ds_backend *backend, ds_lease *lease);
void ds_etcd_enter(ds_backend *backend, ds_call *call, const ds_entry *entry, bool only_try);
void ds_etcd_check(ds_backend *backend, ds_call *call, const ds_entry *entry);
void ds_etcd_leave(ds_backend *backend, ds_call *call, const ds_entry *entry);
void ds_etcd_swap(ds_backend *backend, ds_call *call, const ds_entry *old, const ds_entry *fresh);
void ds_etcd_withdraw(ds_backend *backend, ds_call *call, const ds_lease *lease, const ds_entry *const *entries,
                      size_t count, uint64_t next_epoch);
void ds_etcd_write(ds_backend *backend, ds_call *call, const ds_write *write);
void ds_etcd_evict(ds_backend *backend, ds_call *call, const char *path, int64_t token);
void ds_etcd_list(ds_backend *backend, ds_call *call, const ds_list_spec *spec);
bool ds_etcd_watch(ds_backend *backend, ds_watch *watch, const ds_watch_spec *spec);
void ds_etcd_unwatch(ds_backend *backend, ds_watch *watch);

#endif
