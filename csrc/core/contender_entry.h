/* contender_entry.h: between the two halves of a contender (internal to core/): contender.c keeps the local queue,
 * contender_entry.c the entry on the server. */
#ifndef DS_CONTENDER_ENTRY_H
#define DS_CONTENDER_ENTRY_H

#include "contender.h"

static inline ds_waiter *ds_contender_front(const ds_contender *c) {
    return ds_list_empty(&c->waiters) ? NULL : DS_LIST_ENTRY(c->waiters.next, ds_waiter, node);
}

/* contender.c */
void ds_contender_move(ds_contender *c, ds_contender_state to, const char *why);
void ds_waiter_show(ds_waiter *waiter, ds_claim_state to, const char *why); /* the traced setter of its claim */
void ds_waiter_settle(ds_waiter *waiter, dsync_code code, const char *message);
void ds_contender_begin(ds_contender *c);   /* IDLE with waiters: ask for a session, then for a place */
void ds_contender_proceed(ds_contender *c); /* IDLE: begin if somebody waits, else put aside */
void ds_contender_fail_all(ds_contender *c, dsync_code code, const char *message);
void ds_contender_lose(ds_contender *c, dsync_reason reason); /* the holder, once */
void ds_contender_patience(ds_contender *c); /* from now: how long nobody may answer */
void ds_release_finish(ds_release *release, dsync_code code); /* NULL is fine */

/* contender_entry.c */
void ds_entry_enter(ds_contender *c);          /* ENTERING, session usable: send (again) */
bool ds_entry_renew_identity(ds_contender *c); /* a fresh nonce and the front waiter's value; false: out of memory */
void ds_entry_swap(ds_contender *c);           /* send (again) the exchange of `old` for `entry` */
/* Takes the entry, and one being replaced, off the server in the background. The contender is IDLE afterwards. */
void ds_entry_abandon(ds_contender *c, const char *why);
void ds_entry_stop(ds_contender *c);           /* no call, watch or timer of the entry's remains */
void ds_entry_hint(ds_session_user *user);
void ds_entry_retry(ds_timer *timer);

#endif
