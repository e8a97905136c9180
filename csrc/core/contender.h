/* contender.h: a place in a named queue, and who in this client wants it.
 *
 * Two things, kept apart: the *entry* is what the server sees; a *waiter* is somebody here who asked. Locks: all
 * waiters of one path in one client share one entry and take turns; when the holder releases and another waits, the old
 * entry is removed and a new one put at the tail in one request, so other clients keep their turn. Candidates of an
 * election share nothing: each is a contender of its own.
 */
#ifndef DS_CONTENDER_H
#define DS_CONTENDER_H

#include "claim.h"
#include "departure.h"
#include "session.h"

typedef struct ds_contender ds_contender;
typedef struct ds_waiter ds_waiter;

typedef enum ds_contender_state {
    DS_CONTENDER_IDLE,     /* no entry */
    DS_CONTENDER_ENTERING, /* asking for a session, or for a place: the entry may or may not be there */
    DS_CONTENDER_WAITING,  /* in the queue, behind somebody */
    DS_CONTENDER_HELD,     /* `holder` holds */
    DS_CONTENDER_LOSING, /* no longer believed, not told yet: the session is lost, or the entry is gone and it is asked
                              whether the session went with it */
    DS_CONTENDER_STATES
} ds_contender_state;

typedef enum ds_waiter_state {
    DS_WAITER_DONE = 0, /* not in use; also after settled() with a failure and after ended() */
    DS_WAITER_QUEUED,   /* waits for its turn */
    DS_WAITER_HOLDING,  /* settled with DSYNC_OK */
} ds_waiter_state;

/* One acquisition: asked for, held, ended. Embedded in its owner, who fills in the upper part; zeroed otherwise. */
struct ds_waiter {
    ds_claim *claim;   /* the owner's; written by the core */
    const char *label; /* lock's name, for messages */
    ds_session_params params;
    const char *node_id; /* who, as others see it */
    const char *value;   /* shown beside the holder; owned by the waiter's owner, stable until ended */
    size_t value_size;
    bool value_is_json, raw;
    bool only_try;
    bool shared;     /* a lock: shares its path's entry with other waiters of this client */
    int64_t wait_ns; /* from now, DS_NEVER: for ever */
    int64_t hold_ns; /* DS_NEVER: no limit */
    /* Once: DSYNC_OK (held now) or why not. */
    void (*settled)(ds_waiter *waiter, dsync_code code, const char *message);
    /* Once after DSYNC_OK, unless released: lost for `reason`. */
    void (*ended)(ds_waiter *waiter, dsync_reason reason);
    /* private */
    ds_waiter_state state;
    ds_contender *contender;
    ds_list node;
    ds_timer timer;
    int64_t queued_wall_ms;
};

/* How a release ended: DSYNC_OK, DSYNC_LOST, DSYNC_UNKNOWN (not confirmed in time; `free_by_ms` is the wall-clock time
 * by which the server will have freed it). */
typedef struct ds_release ds_release;
struct ds_release {
    void (*done)(ds_release *release, dsync_code code, int64_t free_by_ms);
    /* private */
    ds_engine *engine;
    ds_departure *departure;
    ds_contender *contender; /* while the removal travels with another waiter's entry */
    ds_timer timer;
    int64_t free_by_ms;
};

struct ds_contender {
    ds_engine *engine;
    ds_list node; /* in the engine */
    bool shared;
    char *path;
    ds_contender_state state;
    ds_list waiters; /* queued here, in order; the first is the one the entry is for */
    ds_waiter *holder;
    ds_session_user user;
    /* The entry. */
    ds_entry entry;
    char *value;    /* owned; entry.value */
    bool sent;      /* a copy of it may be on its way or on the server */
    bool dirty;     /* its outcome was uncertain once: must be withdrawn */
    bool was_dirty; /* LOSING: before; in some stores an entry may outlive what it owned, until an answer says no */
    bool trying;    /* the entry under way is all or nothing */
    uint64_t epoch_sent; /* the session's when the entry was asked for last */
    char *ahead_key;     /* who was ahead of us last */
    int64_t seen;        /* revision of the last answer about our place */
    int64_t heard;       /* revision of what `ahead` told while our place was being asked for, 0 = nothing */
    /* The holder's entry that is being replaced by `entry`. */
    ds_entry old;
    bool swapping;
    ds_release *releasing;
    /* Tries. */
    unsigned attempt;
    int64_t since_ns; /* when this attempt to get in began */
    bool answered;    /* a server has answered since then */
    char last_error[200];
    ds_call call;
    ds_timer timer;    /* retry, poll */
    ds_timer patience; /* nobody answers */
    ds_timer linger;   /* `ahead` is kept for the next wait until then */
    ds_watch ahead, own;
    bool ahead_on, own_on;
    bool ahead_whole;     /* `ahead` is for the whole queue, whoever is ahead: it lasts over turns */
    unsigned ahead_ended; /* watches on whoever is ahead that ended without having begun, in a row */
    bool own_ready;       /* the watch on the own entry has begun */
    bool own_ended;       /* one has ended: changes may have been missed */
    bool marked;          /* acquired_at was written, or need not be */
    bool mark_uncertain;  /* a copy of that write may still be on its way */
    ds_call mark_call;
    int64_t held_wall_ms;
    ds_list idle_node; /* in the engine's line of those kept for reuse */
};

/* Begins. The waiter's callbacks answer, perhaps before this returns. */
void ds_acquire(ds_engine *engine, const char *path, ds_waiter *waiter);
/* Takes back a waiter that is still queued; settled() is called (with `code`) before this returns. */
void ds_waiter_cancel(ds_waiter *waiter, dsync_code code, const char *message);
/* Gives up what a HOLDING waiter holds. The waiter is DONE and not held when this returns; `release` hears within
 * `timeout_ns`, perhaps before this returns. `release` may be NULL. */
void ds_waiter_release(ds_waiter *waiter, ds_release *release, int64_t timeout_ns);
/* The owner of `release` no longer wants to hear. */
void ds_release_forget(ds_release *release);
/* If the time of a HOLDING waiter is over and no timer has said so yet, says so now: ended() is called. For callers
 * that come before the loop does (after the process was stopped). */
void ds_waiter_look(ds_waiter *waiter);
/* An answer to a guarded write proved that the entry of a HOLDING waiter is no longer there: not held from now on, and
 * ended() follows as soon as it is known why. */
void ds_waiter_gone(ds_waiter *waiter);
/* If what a HOLDING waiter held is gone and only the reason is still being asked for, ends it now: ended() is called.
 * For an owner who wants to acquire again. */
void ds_waiter_end_loss(ds_waiter *waiter);
/* The owner of the waiter goes away: whatever its state, it is DONE when this returns. What it held is released in the
 * background; what it waited for is settled with DSYNC_CANCELLED. */
void ds_waiter_drop(ds_waiter *waiter);
/* The entry a HOLDING waiter owns, for guarded writes; NULL otherwise. */
const ds_entry *ds_waiter_entry(const ds_waiter *waiter);
ds_session *ds_waiter_session(const ds_waiter *waiter);

const char *ds_contender_state_name(ds_contender_state state);
bool ds_contender_may_move(ds_contender_state from, ds_contender_state to);
/* Before the entry's value is written by somebody else: takes back the write of acquired_at. True: a copy of it may
 * still be on its way, and the session's epoch must be moved first. */
bool ds_waiter_claim_value(ds_waiter *waiter);
/* When the acquisition began, CLOCK_REALTIME in ms. */
int64_t ds_waiter_held_wall_ms(const ds_waiter *waiter);
/* Internal to core/: the client closes: everything of it is lost or settled with DSYNC_CLOSED. */
void ds_contender_close(ds_contender *contender);
void ds_contender_free(ds_contender *contender);

#endif
