/* local.h: the parts of the local: backend among themselves.
 *
 * The "server" is a SQLite file that all processes of one host open. A store is this process's end of it: one
 * connection, shared by all clients of the process that name the same path, and guarded by one mutex. Every change is
 * one transaction, made on the thread of whoever asked for it, and gets one revision, which is also the token of an
 * entry made in it. A client (ds_local) is a ds_backend bound to one world.
 *
 * Beside the database file F there is a folder F-clients with
 *   gate       a byte that is locked around each writing transaction, so that SQLite's own locks are hardly ever
 *              contended;
 *   ID.alive   a file on which one process holds a POSIX lock as long as it lives. The kernel lets go of it at the end
 *              of the process, whatever forked children do, and in whatever namespaces it and the others are;
 *   ID.wake    that process's datagram socket, while somebody in it watches anything.
 *
 * POSIX locks have a trap: closing any descriptor of a file drops all locks of the process on it. So a process never
 * opens its own ID.alive again, nor the database by itself.
 *
 * Everything in a store is guarded by its mutex, except what is marked. Order: registry, then one store; nothing is
 * called with a store's mutex held that could take another one, but `notify` of a world.
 *
 * Holds no behaviour; not seen outside local*.c.
 */
#ifndef DS_LOCAL_H
#define DS_LOCAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "../base/buf.h"
#include "backend.h"
#include "local_path.h"
#include "local_peer.h"
#include "local_rows.h"
#include "local_sql.h"

#define LOC_DEAD_MAX 256
#define LOC_BUCKETS 256

/* Somebody to be told after the commit. `mark` says what has changed. */
typedef struct loc_wake {
    int64_t client;
    uint64_t mark;
} loc_wake;

#define LOC_MARK_ALL 0 /* anything may have */
#define LOC_MARK_LOG 1 /* something was logged; also: whoever observes should look */

struct loc_store {
    ds_list in_registry;
    unsigned users;        /* guarded by the registry's mutex */
    _Atomic unsigned refs; /* the registry's, and one of each thread */
    char *path;            /* as asked for, absolute */
    bool by_default;
    pid_t process;
    pthread_mutex_t mutex;
    ds_world *world; /* of the client whose thread has the mutex; NULL: no client's */

    sqlite3 *db; /* NULL: not open */
    sqlite3_stmt *sql[LOC_SQL_COUNT];
    char *file; /* canonical path of the database */
    loc_identity files[LOC_FILES];
    int folder, gate, alive, sender; /* descriptors, or -1 */
    int64_t client;                  /* id of this process here */
    char identity[96];               /* of this process on the host: number, start time, pid namespace */
    int64_t era;                     /* in which it was opened */
    bool stale;                      /* to be opened anew */
    int64_t look_ns;                 /* not before this time is it asked whether the file is still there */
    loc_meta meta;                   /* as of the last transaction */
    bool writing, changed;
    int64_t now_ns; /* of this transaction */
    int frames;     /* in the write-ahead log after the last commit */
    int fold_at;    /* when there are so many, it is time to fold it back */
    bool folding;   /* a thread does */
    int failure;    /* SQLite's code of the first failure of this transaction; sticky */
    dsync_error fault;
    ds_class fault_class;
    loc_wake *wakes;
    size_t wake_count, wake_capacity;
    ds_buf scratch;

    ds_list clients;
    ds_list buckets[LOC_BUCKETS]; /* loc_watch by mark */
    ds_list observing;            /* loc_watch: those of subtrees and of keys that are nobody's here */
    size_t watch_count, foreign_count;
    int64_t dead[LOC_DEAD_MAX];  /* processes whose sessions are to be ended */
    size_t dead_count, reaped;   /* reaped: in this transaction */
    int64_t ended[LOC_DEAD_MAX]; /* in this transaction: their files go when it is committed */
    size_t ended_count;
    loc_peer peers[LOC_PEERS_MAX];
    size_t peer_count;
    loc_bell *bell; /* NULL: none was needed yet */
};

/* A call whose answer is on its way. */
typedef struct ds_local ds_local;
struct loc_op {
    ds_list node; /* in the client's free list, else in none */
    ds_local *local;
    ds_reply reply;
    ds_peer holder;
    ds_peer *peers; /* owned */
    ds_buf text;    /* what the reply's pointers point into */
    char message[480];
    ds_lease *lease; /* open */
    int64_t created; /* open */
};

struct ds_local {
    ds_backend base;
    loc_store *store;
    pid_t process; /* a forked child leaves the store alone */
    char *id;      /* this node's name, for evict */
    char *address; /* "local:/path" */
    ds_list free_ops;
    size_t free_count;
    int64_t told;   /* revision of the last answer given */
    loc_meta seen;  /* the store's, when its watches last looked; the client's thread's */
    unsigned busy;  /* its owner's code is running below us: local must stay */
    bool destroyed; /* free it when that has ended */
    ds_timer timer; /* the next look that nothing else causes */
    ds_list batch;  /* loc_watch with news being delivered; the client's thread's */
    ds_list in_store;
    ds_list watches; /* loc_watch */
    size_t watch_count, foreign_count, blind_count;
    ds_task task; /* posted or notified while `notified` */
    bool notified;
};

/* ---- local_store.c: the stores of the process -------------------------------------------------------------------- */

loc_store *loc_store_get(const char *path, bool by_default); /* NULL: out of memory */
void loc_store_put(loc_store *store, ds_world *world);
void loc_store_unref(loc_store *store);
void loc_lock(loc_store *store, ds_world *world);
void loc_unlock(loc_store *store);
bool loc_store_ready(loc_store *store); /* opens it if need be; false: store->fault */
void loc_store_close(loc_store *store); /* the connection and all that goes with it; the store stays */

/* ---- local_watch.c ----------------------------------------------------------------------------------------------- */

void loc_client_join(ds_local *local);
void loc_client_hush(ds_local *local); /* nobody is called any more */
void loc_client_part(ds_local *local);
void loc_mark_watches(loc_store *store, uint64_t mark); /* those that this may concern look again */
void loc_mark_waiting(loc_store *store);                /* all that wait for other processes do */
void loc_watches_again(loc_store *store);               /* another database: they end, and begin again */
bool loc_watch_start(ds_backend *backend, ds_watch *watch, const ds_watch_spec *spec);
void loc_watch_stop(ds_backend *backend, ds_watch *watch);

/* ---- local.c ----------------------------------------------------------------------------------------------------- */

ds_local *loc_client_of(ds_backend *backend);
/* Begins a call, locks the store and begins a transaction. NULL: it cannot be, that is what will be answered, and
 * nothing is locked. */
loc_op *loc_call_begin(ds_local *local, ds_call *call, bool write);
void loc_call_end(ds_local *local, loc_op *op);
void loc_say_lost(loc_op *op);
void loc_say_fault(loc_op *op); /* store->fault, whatever else the call had to say */
void loc_say_live(loc_op *op, const loc_session *session);
void loc_client_idle(ds_local *local); /* after the owner's code has run */

/* ---- local_calls.c: as in ds_backend_ops ------------------------------------------------------------------------- */

void loc_call_enter(ds_backend *backend, ds_call *call, const ds_entry *wanted, bool only_try);
void loc_call_check(ds_backend *backend, ds_call *call, const ds_entry *wanted);
void loc_call_leave(ds_backend *backend, ds_call *call, const ds_entry *wanted);
void loc_call_swap(ds_backend *backend, ds_call *call, const ds_entry *old, const ds_entry *fresh);
void loc_call_withdraw(ds_backend *backend, ds_call *call, const ds_lease *lease, const ds_entry *const *entries,
                       size_t count, uint64_t next_epoch);
void loc_call_write(ds_backend *backend, ds_call *call, const ds_write *write);
void loc_call_evict(ds_backend *backend, ds_call *call, const char *path, int64_t token);
void loc_call_get(ds_backend *backend, ds_call *call, const char *key);
void loc_call_list(ds_backend *backend, ds_call *call, const ds_list_spec *spec);

#endif
