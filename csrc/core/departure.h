/* departure.h: an entry on its way out. Removal is never given up: it is retried until the server confirms it or cannot
 * hold the entry any more (its session is gone).
 *
 * An entry whose acquire had a certain outcome leaves by itself. One whose acquire may still be under way somewhere (no
 * answer, or sent twice) is withdrawn: removed in the same step that moves the session's epoch, after which no late
 * copy can bring it back.
 */
#ifndef DS_DEPARTURE_H
#define DS_DEPARTURE_H

#include "session.h"

typedef struct ds_departure ds_departure;

/* Told once how it ended: DSYNC_OK removed; DSYNC_LOST it was not there any more, or its session was not; DSYNC_UNKNOWN
 * nobody knows yet: it goes with its session. May be NULL. */
typedef void (*ds_departed_fn)(void *context, dsync_code code);

struct ds_departure {
    ds_list node; /* in one of the session's lists */
    ds_session *session;
    ds_entry entry; /* path and value NULL: only moves the epoch */
    char *path;     /* owned */
    bool dirty;
    unsigned attempt;
    ds_call call;
    ds_timer timer;
    ds_departed_fn departed;
    void *context;
};

/* Begins the removal of `entry` (its strings are copied) from the session it was entered under. `dirty`: its outcome is
 * or was uncertain. `entry` NULL: only move the epoch. NULL: out of memory; then the session must be lost, because
 * nothing else removes the entry for certain (the function does that itself). */
ds_departure *ds_depart(ds_session *session, const ds_entry *entry, bool dirty, ds_departed_fn departed, void *context);
/* The owner no longer wants to hear. The removal goes on. */
void ds_departure_forget(ds_departure *departure);
/* Internal to core/: they go with the session, on the server too. Their owners are told `code`. */
void ds_departures_end(ds_session *session, dsync_code code);
/* Internal to core/: starts a withdrawal if one is due. */
void ds_session_withdraw(ds_session *session);

#endif
