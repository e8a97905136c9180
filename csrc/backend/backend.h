/* backend.h: what the core asks of a store.
 *
 * A backend holds wire format and nothing else: it turns one call into requests to one store, and the answers into one
 * ds_reply. It keeps no deadlines, retries nothing that may already have been executed, and calls nobody but the
 * reply's owner. Retries, deadlines, leases, queues and callbacks are the core's (core/), written once.
 *
 * Rules for a backend:
 *  - `done` is called exactly once per started call, never from inside the function that started it, never after
 *    `cancel`. Running out of memory is a reply too (DS_REFUSED with DSYNC_RESOURCE), posted through the world or, if
 *    even that is impossible, through the task inside ds_call.
 *  - One call is one try at one server. The backend chooses the endpoint (net/endpoints.h) and moves on after a
 *    failure. It may repeat a request by itself only when the first was certainly not executed (such as an expired auth
 *    token).
 *  - Strings in a reply are valid during `done` only.
 *  - It classifies every outcome (ds_class); anything it does not understand about a write is DS_AMBIGUOUS.
 *  - It never answers from older state than it has already shown: replies with a lower revision are dropped and asked
 *    again (bounded by the call's timeout) or become DS_RESET.
 */
#ifndef DS_BACKEND_H
#define DS_BACKEND_H

#include "../core/world.h"
#include "../dsync.h"

/* What became of a request, as far as this client can know. */
typedef enum ds_class {
    DS_OK = 0,       /* executed; `place` and the fields it names are valid */
    DS_NOT_EXECUTED, /* certainly without effect: refused, DNS, no leader, 429, 401; another endpoint may do */
    DS_AMBIGUOUS,    /* may have had, or may yet have, its effect */
    DS_LOST,         /* the session named in the call is gone for certain */
    DS_RESET,        /* another cluster, or an older state, answers behind this address: nothing held there counts */
    DS_REFUSED,      /* asking again cannot help: reply->code says DENIED, CONFIG, PROTOCOL, RESOURCE or UNSUPPORTED */
} ds_class;

/* Where an entry stands, in a DS_OK reply. */
typedef enum ds_place {
    DS_PLACE_NONE = 0,
    DS_PLACE_HELD,    /* enter, check, swap: the entry owns the queue; `token` */
    DS_PLACE_WAITING, /* enter, check, swap: in the queue behind `ahead`; `token` */
    DS_PLACE_DELAYED, /* enter, check, swap: nobody holds, but the server lets nobody in for at most `delay_ms` */
    DS_PLACE_BUSY,    /* enter with `only_try`: somebody is there; no trace was left; `holder` */
    DS_PLACE_STALE,   /* enter, write: the session's epoch has moved on; nothing happened */
    DS_PLACE_GONE,    /* the entry named in the call is no longer there (its session lives) */
    DS_PLACE_DONE,    /* leave, withdraw, write, evict, ...: executed */
} ds_place;

/* A session as the store knows it. Owned by the core's session; a backend fills what its comment says. */
typedef struct ds_lease {
    uint64_t nonce;     /* random, positive, 63 bits: the core's; stores that let us choose use it as the id */
    const char *prefix; /* the client's key prefix without a trailing slash: session keys live below it */
    const char *info;   /* JSON object text: who, where, since when; kept in the session key */
    int64_t ttl_ms;     /* asked for */
    bool global;        /* its entries are in the global scope: stores in several places keep it where those are */
    uint64_t epoch;     /* the core's; a copy of a request that carries an older epoch has no effect on the server */
    char id[72];        /* backend, at open: the store's own name of the session, printable */
    int64_t created;    /* backend, at open: revision at which the session key was made */
    void *impl;         /* backend: whatever it needs; freed by forget() */
} ds_lease;

/* An entry in a queue. Owned by the core; a backend reads it. Its key on the server is derived from path, lease and
 * nonce, and the nonce is not used twice; where the store `reuses_names`, not before the last entry of that name is
 * known to be gone. */
typedef struct ds_entry {
    const ds_lease *lease;
    const char *path;  /* the queue: full key without a trailing slash */
    char nonce[17];    /* 16 hex digits, random */
    bool candidate;    /* of an election; else of a lock. Some stores' own recipes tell them apart by name */
    int64_t token;     /* create revision (or its like) once entered, 0 before */
    int64_t former;    /* token of the last entry of this name, which is gone for certain; 0: there was none */
    const char *value; /* what to write when entering */
    size_t value_size;
} ds_entry;

/* Somebody in a queue, as listed. */
typedef struct ds_peer {
    const char *path; /* queue's full key, NUL-terminated */
    const char *key;  /* entry's full key, NUL-terminated */
    const char *value;
    size_t value_size;
    int64_t token;
    bool holds; /* owns the queue now (not merely first: Consul's lock-delay) */
} ds_peer;

typedef struct ds_reply {
    ds_class outcome;
    dsync_code code;     /* DS_REFUSED: which; else 0 */
    const char *message; /* not DS_OK: for people, names the endpoint, holds no secret */
    bool resent;         /* the request may have reached the server more than once: treat its leftovers as ambiguous */
    ds_place place;
    int64_t token;
    int64_t revision;      /* the store's revision of this answer, 0 where it has none */
    const char *ahead;     /* key of the nearest predecessor, to be given to watch() */
    int64_t crowd;         /* WAITING: entries in the queue, 0 where that is not known */
    const ds_peer *holder; /* BUSY: who owns the queue */
    int64_t ttl_ms;        /* open, renew: granted */
    uint64_t epoch;        /* open, withdraw: the session's epoch from now on */
    int64_t delay_ms;
    const ds_peer *peers; /* list */
    size_t peer_count;
    const char *next;  /* list: give this as `after` for the next page; NULL at the end */
    const char *value; /* get; NULL when there is none */
    size_t value_size;
    const char *server; /* ping: product and version, for people */
} ds_reply;

typedef struct ds_backend ds_backend;

/* One call in flight, embedded in its owner. Zero it, set `done` (and `urgent`, `timeout_ns`), start it; it is free
 * again when `done` runs. */
typedef struct ds_call ds_call;
struct ds_call {
    void (*done)(ds_call *call, const ds_reply *reply);
    int64_t timeout_ns; /* for this one try, from now, connecting included */
    bool urgent;        /* renewal and clean-up of a session: never behind other requests */
    void *impl;         /* the backend's while in flight, else NULL */
    ds_task task;       /* the backend's, for a reply that needs no memory */
};

/* A watch: a hint to look again, never the truth. Embedded in its owner. */
typedef enum ds_watch_kind {
    DS_WATCH_READY,   /* from `revision` on changes are reported; look again if you saw an older one */
    DS_WATCH_PUT,     /* key, value, token (create revision) */
    DS_WATCH_DELETED, /* key, and the last value where known */
    DS_WATCH_CHANGED, /* subtree: something is different, perhaps more than once; list to know what (some stores) */
    DS_WATCH_DOUBT,   /* on a session's key: its connection is lost; renew at once, or believe it less */
    DS_WATCH_ENDED,   /* nothing more comes, the watch is off; `outcome` says why; changes may have been missed */
} ds_watch_kind;

typedef struct ds_watch_event {
    ds_watch_kind kind;
    const char *key;
    const char *value; /* NULL where unknown */
    size_t value_size;
    int64_t token; /* create revision of the key, 0 where unknown */
    int64_t revision;
    ds_class outcome;
    const char *message;
} ds_watch_event;

typedef struct ds_watch ds_watch;
struct ds_watch {
    void (*on_event)(ds_watch *watch, const ds_watch_event *event); /* never from inside watch() */
    void *impl;                                                     /* the backend's while on, else NULL */
};

typedef struct ds_watch_spec {
    const char *key; /* copied */
    bool subtree;    /* everything that begins with key + "/" instead of the key itself */
    bool deletes_only;
    bool keys_only; /* nobody looks at values: they need not be told */
    int64_t since;  /* first revision to report, 0 = from now on */
    int64_t seen;   /* the revision the caller knows; stores that wait for "newer than" may begin there; 0 = none */
    const ds_lease *lease; /* whose key it is, or NULL (some stores watch a session in another way) */
    const ds_lease *asker; /* who looks again once told, or NULL: where each session has a connection of its own, it is
                            * told over that one, so that what it then sees is not older than what it was told */
} ds_watch_spec;

/* How a guarded write changes the store. */
typedef enum ds_write_kind {
    DS_WRITE_VALUE,  /* the entry's own value (proclaim, acquired_at) */
    DS_WRITE_PUT,    /* key := value while the entry owns its queue */
    DS_WRITE_DELETE, /* remove key while the entry owns its queue */
} ds_write_kind;

typedef struct ds_write {
    ds_write_kind kind;
    const ds_entry *entry;
    const char *key; /* full key; NULL for DS_WRITE_VALUE */
    const char *value;
    size_t value_size;
} ds_write;

/* What to list. Entries of one queue come in the order of their tokens; queues come in no particular order but whole:
 * a queue is never split over two pages. */
typedef struct ds_list_spec {
    const char *path; /* one queue, or with `subtree` every queue below it */
    bool subtree;
    size_t limit;      /* one queue: at most so many entries, 0 = all */
    const char *after; /* NULL, or `next` of the page before */
} ds_list_spec;

#define DS_WITHDRAW_MAX 64 /* entries in one withdraw(): stores limit the operations of a transaction */

typedef struct ds_backend_ops {
    const char *name; /* "etcd", "memory": what tostring shows */
    int64_t ttl_min_ms, ttl_max_ms;
    int margin_divisor; /* margin = ttl / this, at least 250 ms */
    int renew_divisor;  /* renew every ttl / this */
    /* What is owned stands beside the queue: whoever is first need not own it (list() tells), and an entry may outlive
     * the loss of it. */
    bool delays;
    bool reuses_names; /* every name that entries ever had makes later calls dearer */
    bool local;        /* calls complete without a network: a failure is not retried at another endpoint */

    void (*destroy)(ds_backend *backend); /* nothing of it may be in flight */
    void (*cancel)(ds_backend *backend, ds_call *call);
    const char *(*endpoint_list)(ds_backend *backend); /* for messages: "http://a:2379, http://b:2379"; lives as long */

    /* Is anybody there, may we talk to it, does it have a leader? One cheap linearizable read. */
    void (*ping)(ds_backend *backend, ds_call *call);

    /* Opens (idempotently: replayable with the same nonce) a session and writes its session key with lease->epoch.
     * DS_OK: ttl_ms, epoch; lease->id, created and impl are filled before `done`. */
    void (*open)(ds_backend *backend, ds_call *call, ds_lease *lease);
    /* Renews and then confirms by a write that fails on a dead session. DS_OK or DS_LOST, else no statement. */
    void (*renew)(ds_backend *backend, ds_call *call, const ds_lease *lease);
    /* Ends the session and everything under it. DS_OK also when it was gone already. */
    void (*close)(ds_backend *backend, ds_call *call, const ds_lease *lease);
    void (*forget)(ds_backend *backend, ds_lease *lease); /* frees lease->impl; no I/O */
    /* The full key of the session key, for watching it, as a new string in `out`; false: out of memory. */
    bool (*session_key)(ds_backend *backend, const ds_lease *lease, char **out);

    /* Takes a place in the queue; replayable. `only_try`: all or nothing. HELD, WAITING, DELAYED, BUSY, STALE. */
    void (*enter)(ds_backend *backend, ds_call *call, const ds_entry *entry, bool only_try);
    /* Where does it stand now? HELD, WAITING, DELAYED, GONE. */
    void (*check)(ds_backend *backend, ds_call *call, const ds_entry *entry);
    /* Removes this very entry. DONE or GONE; replayable. */
    void (*leave)(ds_backend *backend, ds_call *call, const ds_entry *entry);
    /* Removes `old` and enters `fresh` (same queue and session) at the tail in one step: HELD, WAITING, DELAYED for
     * `fresh`, GONE: `old` was not there, `fresh` is not either. Replayable: a copy that arrives later has no
     * effect. */
    void (*swap)(ds_backend *backend, ds_call *call, const ds_entry *old, const ds_entry *fresh);
    /* Removes the entries (count may be 0) and moves the session's epoch from lease->epoch to `next_epoch` in one
     * step, so that no copy of an earlier enter or write of this session can have an effect any more. DONE with
     * `epoch`. Until then it is repeated with the same entries in the same order, and a try may go on where the last
     * one ended. */
    void (*withdraw)(ds_backend *backend, ds_call *call, const ds_lease *lease, const ds_entry *const *entries,
                     size_t count, uint64_t next_epoch);
    /* A write that the server applies only while the entry owns its queue and the epoch is lease->epoch: DONE, STALE,
     * GONE. */
    void (*write)(ds_backend *backend, ds_call *call, const ds_write *write);
    /* Removes somebody's entry if its token is still `token`, leaving the reason "broken" in its last value. DONE,
     * GONE. */
    void (*evict)(ds_backend *backend, ds_call *call, const char *path, int64_t token);

    /* Reads what a write put: `value`, and as `token` the key's modification revision. */
    void (*get)(ds_backend *backend, ds_call *call, const char *key);
    /* Lists entries, page by page: `peers`, `next`. */
    void (*list)(ds_backend *backend, ds_call *call, const ds_list_spec *spec);

    /* Starts a watch (events come later, also for failures). False: out of memory. */
    bool (*watch)(ds_backend *backend, ds_watch *watch, const ds_watch_spec *spec);
    void (*unwatch)(ds_backend *backend, ds_watch *watch); /* harmless when off */
    /* The full key of an entry, for watching it, as a new string in `out`; false: out of memory. */
    bool (*entry_key)(ds_backend *backend, const ds_entry *entry, char **out);
} ds_backend_ops;

struct ds_backend {
    const ds_backend_ops *ops;
    ds_world *world;
};

#define DS_BROKEN_MARK "\"broken_by\"" /* found in the last value of an entry that evict() removed */

/* What a backend is made from. Everything is copied or parsed at once. */
typedef struct ds_backend_config {
    const dsync_options *options; /* as the caller gave them, defaults filled in */
    const char *const *endpoints; /* normalised origins or the path of a local backend */
    size_t endpoint_count;
    const char *root; /* zookeeper: the chroot, "" or "/app" */
    bool tls;
} ds_backend_config;

/* NULL with `error` filled on bad options or no memory. No I/O happens here. */
ds_backend *ds_memory_backend(ds_world *world, const ds_backend_config *config, dsync_error *error);
ds_backend *ds_local_backend(ds_world *world, const ds_backend_config *config, dsync_error *error);
ds_backend *ds_zookeeper_backend(ds_world *world, const ds_backend_config *config, dsync_error *error);
ds_backend *ds_etcd_backend(ds_world *world, const ds_backend_config *config, dsync_error *error);
ds_backend *ds_consul_backend(ds_world *world, const ds_backend_config *config, dsync_error *error);

#endif
