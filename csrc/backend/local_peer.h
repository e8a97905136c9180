/* local_peer.h: the other processes that use a database: which of them live, and hearing from them. Included by
 * local.h. */
#ifndef DS_LOCAL_PEER_H
#define DS_LOCAL_PEER_H

#include "../base/base.h"

#define LOC_PEERS_MAX 64

typedef struct loc_store loc_store;

/* Another process that somebody here waits for. */
typedef struct loc_peer {
    int64_t client;
    int pidfd;
    unsigned watches;
} loc_peer;

/* The thread that listens to the kernel for a store, and what it listens to. */
typedef struct loc_bell {
    loc_store *store;               /* a reference, while it runs */
    bool running, closed;           /* closed: it frees itself, or whoever closes it does */
    int control, socket, folder;    /* eventfd, datagrams, inotify; -1: cannot be had */
    int log;                        /* in the latter: the write-ahead log; -1: not listened to */
    bool cares;                     /* it knows that somebody waits for another process */
    int64_t deaf_until_ns;          /* the log speaks at every write of anybody: it is listened to now and then */
    int64_t heard_ns;               /* the log's time of change when we stopped listening */
    int retired[2 * LOC_PEERS_MAX]; /* pidfds to be closed */
    size_t retired_count;
} loc_bell;

/* ---- local_peer.c: processes, alive and dead --------------------------------------------------------------------- */

bool loc_alive_make(loc_store *store); /* this process's file, locked; false: store->fault */
void loc_alive_remove(loc_store *store);
void loc_files_remove(const loc_store *store, int64_t client);
bool loc_files_sweep(loc_store *store);             /* those of no living process; false: one lives */
void loc_files_tidy(loc_store *store);              /* those of no row; with the gate, outside of a transaction */
bool loc_is_dead(loc_store *store, int64_t client); /* for certain; in any transaction */
bool loc_any_dead(loc_store *store);                /* looks at all processes and marks the dead; in any transaction */
void loc_mark_dead(loc_store *store, int64_t client);  /* the next writing transaction ends it */
void loc_reap(loc_store *store);                       /* that does this */
bool loc_peer_watch(loc_store *store, int64_t client); /* false: its death will not be told, so ask now and then */
void loc_peer_unwatch(loc_store *store, int64_t client);
void loc_peer_forget(loc_store *store, loc_peer *peer);

/* ---- local_bell.c ------------------------------------------------------------------------------------------------ */

bool loc_bell_start(loc_store *store); /* false: nothing will ring; whoever watches looks by himself */
void loc_bell_kick(loc_store *store);  /* what it waits for has changed */
void loc_bell_stop(loc_store *store);
void loc_ring(loc_store *store, int64_t client, uint64_t mark); /* another process's */

#endif
