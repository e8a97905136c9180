/* local_watch.h: a watch of the local: backend, between local_watch.c (its life and its events) and local_look.c
 * (finding out whether there is news). Guarded by the store's mutex, but for `news`, which only the client's thread
 * touches. */
#ifndef DS_LOCAL_WATCH_H
#define DS_LOCAL_WATCH_H

#include "local.h"

/* Something to be told. */
typedef struct loc_news {
    ds_list node;
    ds_watch_kind kind;
    int64_t token, revision;
    size_t value_size;
    const char *key, *value; /* behind this struct, or NULL */
} loc_news;

typedef struct loc_watch {
    ds_local *local;
    ds_watch *owner;
    ds_list in_client; /* the client's list of watches, or its batch */
    ds_list in_store;  /* a bucket or the list of those that observe */
    bool subtree, deletes_only;
    bool foreign;   /* another process may be what it waits for */
    bool observing; /* there is a row that says so */
    bool tracked;   /* the death of `client` is told by itself */
    bool blind;     /* it is not, and has to be asked for */
    bool due;       /* to be looked at */
    bool there;     /* one key: it was there when last looked at */
    bool ready_due;
    int64_t ready;
    int64_t client; /* whose key it is */
    int64_t token, modified;
    int64_t cursor; /* subtree: number of the last change seen */
    int64_t since;
    const char *ended; /* why; then nothing else is reported but what is in `news` */
    ds_list news;
    uint64_t mark;
    loc_key parsed;
    char key[];
} loc_watch;

/* local_look.c: inside a transaction. Adds to the news. */
void loc_look_at(loc_watch *watch);

/* local_mark.c */
void loc_wake_client(ds_local *local);
void loc_mark_watch(loc_watch *watch);
ds_list *loc_bucket(loc_store *store, uint64_t mark);
void loc_mark_client(ds_local *local, bool all); /* not all: those of others, and some of its own in turn */

#endif
