/* memory.h: the parts of the memory: backend among themselves.
 *
 * A store is the "server": sessions, queues and data of one name, shared by all clients of the process and guarded by
 * one mutex. A client (ds_memory) is a ds_backend bound to one world. Everything marked [store] is touched only with
 * the store's mutex held; the rest belongs to the thread that owns the client's world. A thread never runs another
 * client's code: it leaves events in that client's inbox and notifies its world.
 *
 * Holds no behaviour; not seen outside memory*.c.
 */
#ifndef DS_MEMORY_H
#define DS_MEMORY_H

#include <pthread.h>
#include <sys/types.h>

#include "../base/buf.h"
#include "../base/map.h"
#include "backend.h"

#define MEM_FIRST_BUCKETS 64
#define MEM_HISTORY 1024                    /* past changes kept for watches that begin in the past */
#define MEM_HISTORY_BYTES ((size_t)1 << 18) /* of values in them */

/* ---- what is stored ---------------------------------------------------------------------------------------------- */

/* An immutable value. History and undelivered events refer to values that are no longer current. */
typedef struct mem_value {
    unsigned refs; /* [store] */
    size_t size;
    char bytes[]; /* and a NUL */
} mem_value;

/* A key with its revisions; the first member of everything that has a key. Lives on while events speak of it. */
typedef struct mem_node {
    unsigned refs;    /* [store] */
    int64_t token;    /* revision at which it was made */
    int64_t modified; /* [store] revision of the last change */
    mem_value *value; /* [store] NULL: empty */
    char *key;        /* allocated together with the node */
} mem_node;

typedef struct mem_session {
    mem_node node;
    ds_list in_store;
    ds_list entries;
    int64_t deadline_ns;
    int64_t ttl_ms;
    uint64_t epoch;
    bool alive; /* false: ended, and out of the store */
} mem_session;

typedef struct mem_queue {
    ds_list entries; /* in the order of their tokens; the first one owns the queue */
    size_t count;
    char path[];
} mem_queue;

typedef struct mem_entry mem_entry;
struct mem_entry {
    mem_node node;
    ds_list in_queue;
    ds_list in_session;
    mem_queue *queue;
    mem_session *session;
    mem_entry *next_in_bucket;
    uint64_t hash; /* of the nonce, which is random */
};

/* One change, as history keeps it. */
typedef struct mem_change {
    int64_t revision;
    ds_watch_kind kind;
    mem_node *node;
    mem_value *value;
} mem_change;

typedef struct mem_store {
    ds_list in_registry;
    unsigned client_count; /* guarded by the registry's mutex */
    char *name;

    pthread_mutex_t mutex; /* all that follows is [store] */
    int64_t revision;
    int64_t next_expiry_ns; /* no session ends before this time */
    ds_list session_list;
    ds_list clients;
    ds_map sessions;     /* session key -> mem_session */
    ds_map queues;       /* path -> mem_queue, never an empty one */
    mem_entry **buckets; /* entries by nonce: chains */
    size_t bucket_count; /* a power of two */
    size_t entry_count;
    ds_map data;    /* data key -> mem_node */
    ds_map exact;   /* key -> mem_topic */
    ds_map trees;   /* key -> mem_topic of everything below it */
    ds_buf scratch; /* a key being built */
    mem_change history[MEM_HISTORY];
    size_t history_first, history_count, history_bytes;
    int64_t history_floor; /* all changes from this revision on are in history */
} mem_store;

/* ---- who uses it ------------------------------------------------------------------------------------------------- */

/* A call whose answer is on its way. */
typedef struct ds_memory ds_memory;
typedef struct mem_op {
    ds_list node; /* in the client's free list, else in none */
    ds_memory *memory;
    ds_reply reply;
    ds_peer holder;
    void *text;           /* owned: what the reply's pointers point into */
    mem_session *session; /* open: a reference on its way to the lease */
    ds_lease *lease;      /* open */
} mem_op;

struct ds_memory {
    ds_backend base;
    mem_store *store;
    pid_t process; /* a forked child leaves the store alone */
    char *id;      /* this node's name, for evict */
    char *address; /* "memory:name" */
    ds_list free_ops;
    size_t free_count;
    unsigned busy;  /* its owner's code is running below us: memory must stay */
    bool destroyed; /* free it when that has ended */
    ds_timer expiry;
    ds_list batch; /* events being delivered */

    ds_list in_store;   /* [store] */
    ds_list inbox;      /* [store] mem_event */
    ds_task inbox_task; /* posted or notified while `notified` */
    bool notified;      /* [store] */
    ds_list watches;    /* [store] mem_watch */
    size_t watch_count; /* [store] those that still report */
};

/* ---- memory_store.c: state changes; the store's mutex is held ---------------------------------------------------- */

mem_store *mem_store_get(const char *name, ds_world *world); /* by name, made if need be; NULL: out of memory */
void mem_store_put(ds_memory *client);                       /* gives back client->store, whose watches have ended */

/* Locks the store and ends the sessions whose time is over. */
void mem_lock(ds_memory *client);
void mem_unlock(ds_memory *client);

mem_value *mem_value_new(const void *bytes, size_t size); /* NULL: out of memory, or size 0 */
mem_value *mem_value_ref(mem_value *value);
void mem_value_unref(mem_value *value);
mem_node *mem_node_ref(mem_node *node);
void mem_node_unref(mem_node *node);
/* An object of `size` bytes that begins with a mem_node, with a copy of the key behind it; zeroed otherwise. */
void *mem_node_new(size_t size, const char *key, size_t key_size);
mem_node *mem_node_find(mem_store *store, const char *key); /* whatever has this key, or NULL */

/* The session of a lease while it lives, else NULL. */
mem_session *mem_session_find(const ds_lease *lease);
/* A new one, or the one that is there already, renewed. NULL: out of memory. */
mem_session *mem_session_open(ds_memory *by, const ds_lease *lease, int64_t now_ns);
void mem_session_renew(mem_session *session, int64_t now_ns);
void mem_session_end(ds_memory *by, mem_session *session);
void mem_session_key(ds_buf *out, const ds_lease *lease); /* "<prefix>/session/<id>" */

/* Takes over the reference to `value`. */
void mem_node_write(ds_memory *by, mem_node *node, mem_value *value);
bool mem_data_put(ds_memory *by, const char *key, mem_value *value); /* false: out of memory; takes `value` if true */
void mem_data_delete(ds_memory *by, const char *key);

/* ---- memory_queue.c: the store's mutex is held ------------------------------------------------------------------- */

/* NULL: not there, or there is another one (`token` differs). */
mem_entry *mem_entry_find(mem_store *store, const ds_entry *entry);
mem_queue *mem_queue_find(mem_store *store, const char *path);
/* At the tail of its queue, at the store's next revision. `replaced` (or NULL) goes at that same revision. NULL: out of
 * memory, and nothing has changed. */
mem_entry *mem_entry_add(ds_memory *by, mem_session *session, const ds_entry *entry, mem_entry *replaced);
void mem_entry_remove(ds_memory *by, mem_entry *entry); /* at the store's next revision */
mem_entry *mem_entry_ahead(const mem_entry *entry);     /* NULL: it owns the queue */
mem_entry *mem_queue_first(const mem_queue *queue);
/* At `revision`, together with other changes. */
void mem_entry_take_out(ds_memory *by, mem_entry *entry, int64_t revision);
void mem_entry_key(ds_buf *out, const ds_entry *entry); /* "<path>/<session id>-<nonce>" */
mem_entry *mem_entry_by_key(mem_store *store, const char *key);

/* ---- memory_list.c ----------------------------------------------------------------------------------------------- */

/* Fill in op's reply; false: out of memory. */
bool mem_list(mem_store *store, mem_op *op, const ds_list_spec *spec);
bool mem_describe(mem_op *op, const mem_entry *ahead, const mem_entry *holder); /* reply.ahead, reply.holder */

/* ---- memory_watch.c ---------------------------------------------------------------------------------------------- */

/* Records a change of `node` and tells the watches. `value`: the one just written, or the last one. `by` is the client
 * on whose thread this happens. */
void mem_emit(ds_memory *by, ds_watch_kind kind, mem_node *node, mem_value *value, int64_t revision);
void mem_history_clear(mem_store *store);
/* A session may now end earlier than the clients' timers think. */
void mem_retime(ds_memory *by);
/* These take the mutex themselves. */
void mem_client_join(ds_memory *client);
void mem_client_hush(ds_memory *client); /* nobody is called any more */
void mem_client_part(ds_memory *client);
bool mem_watch_start(ds_backend *backend, ds_watch *watch, const ds_watch_spec *spec);
void mem_watch_stop(ds_backend *backend, ds_watch *watch);

/* ---- memory.c ---------------------------------------------------------------------------------------------------- */

ds_memory *mem_client_of(ds_backend *backend);
/* Begins a call and locks the store. NULL: there is no memory, that is what will be answered, and nothing is locked. */
mem_op *mem_begin(ds_memory *memory, ds_call *call);
void mem_end(ds_memory *memory, mem_op *op);
void mem_refuse_no_memory(mem_op *op);
void mem_say_lost(mem_op *op);
void mem_say_live(mem_op *op, const mem_session *session);
/* After the owner's code has run: frees the client if it was destroyed meanwhile. */
void mem_client_idle(ds_memory *client);

/* ---- memory_calls.c: as in ds_backend_ops ------------------------------------------------------------------------ */

void mem_call_enter(ds_backend *backend, ds_call *call, const ds_entry *entry, bool only_try);
void mem_call_check(ds_backend *backend, ds_call *call, const ds_entry *wanted);
void mem_call_leave(ds_backend *backend, ds_call *call, const ds_entry *wanted);
void mem_call_swap(ds_backend *backend, ds_call *call, const ds_entry *old, const ds_entry *fresh);
void mem_call_withdraw(ds_backend *backend, ds_call *call, const ds_lease *lease, const ds_entry *const *entries,
                       size_t count, uint64_t next_epoch);
void mem_call_write(ds_backend *backend, ds_call *call, const ds_write *write);
void mem_call_evict(ds_backend *backend, ds_call *call, const char *path, int64_t token);
void mem_call_get(ds_backend *backend, ds_call *call, const char *key);
void mem_call_list(ds_backend *backend, ds_call *call, const ds_list_spec *spec);

#endif
