/* contender_entry.h: between the parts of a contender (internal to contender*.c): contender.c keeps the local queue,
 * contender_entry.c the entry on the server, contender_watch.c what is heard of it, contender_release.c its end,
 * contender_session.c the session under it. */
#ifndef DS_CONTENDER_ENTRY_H
#define DS_CONTENDER_ENTRY_H

#include "contender.h"

static inline ds_waiter *ds_contender_front(const ds_contender *c) {
    return ds_list_empty(&c->waiters) ? NULL : DS_LIST_ENTRY(c->waiters.next, ds_waiter, node);
}

static inline bool ds_same_params(const ds_session_params *a, const ds_session_params *b) {
    return a->ttl_ms == b->ttl_ms && a->owner == b->owner && a->global == b->global;
}

static inline ds_backend *ds_entry_backend(const ds_contender *c) {
    return c->engine->backend;
}

static inline bool ds_entry_has_place(const ds_contender *c) {
    return c->state == DS_CONTENDER_WAITING || c->state == DS_CONTENDER_HELD;
}

/* contender.c */
void ds_contender_move(ds_contender *c, ds_contender_state to, const char *why);
void ds_waiter_show(ds_waiter *waiter, ds_claim_state to, const char *why); /* the traced setter of its claim */
void ds_waiter_settle(ds_waiter *waiter, dsync_code code, const char *message);
void ds_contender_proceed(ds_contender *c); /* IDLE: begin if somebody waits, else put aside */
void ds_contender_fail_all(ds_contender *c, dsync_code code, const char *message);
void ds_contender_disbelieve(ds_contender *c, dsync_reason reason,
                             const char *why);                /* HELD: not held from this moment */
void ds_contender_lose(ds_contender *c, dsync_reason reason); /* the holder, once */

/* contender_session.c */
void ds_contender_listen(ds_contender *c);   /* fills in `user` and `patience` */
void ds_contender_begin(ds_contender *c);    /* IDLE with waiters: ask for a session, then for a place */
void ds_contender_patience(ds_contender *c); /* from now: how long nobody may answer */

/* contender_release.c */
void ds_release_finish(ds_release *release, dsync_code code); /* NULL is fine */
void ds_entry_stop(ds_contender *c);                          /* no call, watch or timer of the entry's remains */
/* Takes the entry, and one being replaced, off the server in the background. The contender is IDLE afterwards. */
void ds_entry_abandon(ds_contender *c, const char *why);

/* contender_entry.c */
void ds_entry_enter(ds_contender *c); /* ENTERING, session usable: send (again) */
void ds_entry_swap(ds_contender *c);  /* send (again) the exchange of `old` for `entry` */
void ds_entry_check(ds_contender *c); /* ask where the entry stands, and do what follows */
void ds_entry_retry(ds_timer *timer);
void ds_entry_again_in(ds_contender *c, int64_t pause_ns);
bool ds_entry_renew_identity(ds_contender *c); /* a fresh nonce and the front waiter's value; false: out of memory */
bool ds_entry_make_value(ds_contender *c, const ds_waiter *waiter, int64_t acquired_ms); /* false: out of memory */

/* contender_watch.c */
void ds_entry_watch_ahead(ds_contender *c, const char *key, int64_t crowd);
void ds_entry_linger(ds_contender *c); /* nobody is ahead now: a watch on the whole queue stays for a while */
void ds_entry_watch_own(ds_contender *c);
void ds_entry_unwatch(ds_contender *c, ds_watch *watch, bool *on);
void ds_entry_gone(ds_contender *c, const char *why, int64_t patience_ns);
void ds_entry_hint(ds_session_user *user);
void ds_entry_renewed(ds_contender *c); /* the server answers: what could not be begun may be tried again */

#endif
