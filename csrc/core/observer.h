/* observer.h: follows who leads and who waits, in one election or in all below a path.
 *
 * Begins with the present state, survives reconnects and compactions by listing anew, and always converges to the
 * present leader: what it tells is the difference between what it told before and what is there now.
 */
#ifndef DS_OBSERVER_H
#define DS_OBSERVER_H

#include "engine.h"
#include "value.h"

typedef enum ds_change_kind {
    DS_CHANGE_JOINED,
    DS_CHANGE_CHANGED, /* a candidate's value */
    DS_CHANGE_LEFT,
    DS_CHANGE_ELECTED,
    DS_CHANGE_VACANT,
} ds_change_kind;

/* Somebody in an observed queue. */
typedef struct ds_member {
    ds_list node; /* in its election, by token */
    char *key;
    int64_t token;
    ds_value value;
    bool listed; /* seen in the listing under way */
    bool holds;  /* as listed; in stores where the first one need not */
} ds_member;

typedef struct ds_election {
    ds_list node;
    char *path;
    ds_list members; /* in the order of their tokens */
    ds_map by_key;   /* the same */
    int64_t leader;  /* token last told, 0 = vacancy told or nothing told yet */
    bool told;
} ds_election;

typedef struct ds_observer ds_observer;
struct ds_observer {
    /* `member` is NULL for VACANT. `missed`: changes in between may have been skipped. */
    void (*on_change)(ds_observer *observer, ds_change_kind kind, const char *path, const ds_member *member,
                      bool missed);
    /* Once, at the end: closed, or it cannot go on (permissions, configuration). */
    void (*on_end)(ds_observer *observer, dsync_code code, const char *message);
    /* private */
    ds_list node;
    ds_engine *engine; /* NULL: ended */
    char *path;
    bool subtree;
    ds_list elections;
    ds_map by_path; /* the same */
    ds_watch watch;
    ds_call call;
    ds_timer timer;
    char *after;
    unsigned attempt;
    bool watching, listing, again, synced, missed;
    unsigned busy;    /* at work on the elections: not to be freed now */
    int64_t revision; /* of the last listing */
    int64_t since;    /* from this revision on the watch tells what changes; 0 = unknown */
};

/* Begins to follow `path` (copied). The callbacks are set by the owner. False: out of memory. */
bool ds_observer_start(ds_engine *engine, ds_observer *observer, const char *path, bool subtree);
/* Ends it: on_end is called. Harmless when it has ended. From inside on_change too: then the observer's memory must
 * last until that has returned. */
void ds_observer_end(ds_observer *observer, dsync_code code, const char *message);

#endif
