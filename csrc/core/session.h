/* session.h: the lease keeper: opens one session on the server, keeps it alive, and says by clock when it ends.
 *
 * The one place that knows deadlines. Holds no queue logic: contenders hang on a session and are told when it is
 * ready and when it is lost. Also owns the session's epoch, and therefore the withdrawal of entries whose fate is
 * uncertain.
 */
#ifndef DS_SESSION_H
#define DS_SESSION_H

#include "engine.h"
#include "spare_names.h"

/* Which session a contender wants: contenders with equal parameters share one. */
typedef struct ds_session_params {
    int64_t ttl_ms;
    uint64_t owner; /* 0: shared; else a number of the owner's */
    bool global;    /* for keys of the global scope: some stores keep them elsewhere */
} ds_session_params;

#define DS_HINT_DELAY_NS (10 * DS_MS)

typedef enum ds_session_state {
    DS_SESSION_OPENING, /* asked for; not on the server for certain */
    DS_SESSION_LIVE,    /* renewed in time */
    DS_SESSION_SUSPECT, /* overdue by more than half its ttl, still inside its deadline */
    DS_SESSION_CLOSING, /* lost or given up: being removed from the server */
    DS_SESSION_CLOSED,  /* removed, or known to be gone; freed as soon as nobody looks */
    DS_SESSION_STATES
} ds_session_state;

/* Something that hangs on a session. Embedded in a contender. */
typedef struct ds_session_user ds_session_user;
struct ds_session_user {
    ds_list node;
    ds_list hint_node; /* in the session's line of those that asked for a hint */
    int64_t hint_ns;
    ds_session *session;                  /* NULL while not attached */
    void (*ready)(ds_session_user *user); /* it is live now */
    /* It could not be opened and will not be: `code` and `message` say why. Detached already. */
    void (*failed)(ds_session_user *user, dsync_code code, const char *message);
    /* It is gone, for this and all others: whatever rests on it is not held from now on. Starts nothing and calls
     * nobody. */
    void (*doomed)(ds_session_user *user, dsync_reason reason);
    void (*lost)(ds_session_user *user, dsync_reason reason); /* it is gone; detached already; after `doomed` */
    void (*renewed)(ds_session_user *user);                   /* the deadline has moved */
    void (*suspect)(ds_session_user *user, bool suspect);
    void (*hint)(ds_session_user *user); /* see ds_session_hint */
};

struct ds_session {
    ds_list node;
    ds_engine *engine;
    ds_session_params params;
    ds_session_state state;
    ds_lease lease;
    ds_timing timing;
    ds_list users;
    ds_list departures;  /* entries being removed one by one */
    ds_list dirty;       /* departures waiting for a withdrawal */
    ds_list withdrawing; /* departures in the withdrawal under way */
    uint64_t next_epoch; /* of the withdrawal under way */
    ds_spare_names spare_names;
    int64_t sent_ns;   /* when the last confirmed grant or renewal was sent */
    int64_t trying_ns; /* when the one under way was sent */
    int64_t trying_wall_ms;
    int64_t deadline_ns; /* 0 until live */
    int64_t wall_deadline_ms;
    unsigned attempt; /* failed tries in a row */
    unsigned withdraw_attempt;
    ds_call call; /* open, renew, close */
    ds_call withdraw_call;
    ds_timer renew_timer;    /* next try of whatever the state needs */
    ds_timer deadline_timer; /* suspicion, then the end */
    ds_timer withdraw_timer;
    ds_list hints; /* users to be called back a moment after they asked */
    ds_timer hints_timer;
    ds_watch watch; /* on the session key */
    bool watched;
    char last_error[200]; /* why the last try failed, for people */
    unsigned busy;        /* users are being told: not to be freed now */
};

/* A session with these parameters, made and opened when there is none, and the user attached. When it is live already,
 * `ready` is not called; look at the state. NULL: error filled. */
ds_session *ds_session_attach(ds_engine *engine, const ds_session_params *params, ds_session_user *user,
                              dsync_error *error);
/* Harmless when not attached. An own session without a user is closed. */
void ds_session_detach(ds_session_user *user);

static inline bool ds_session_usable(const ds_session *session) {
    return session->state == DS_SESSION_LIVE || session->state == DS_SESSION_SUSPECT;
}

/* By the clocks alone: whatever is said of it now comes too late. */
bool ds_session_past_deadline(const ds_session *session);
/* Declares it gone, tells everybody once, and removes what may be left of it on the server. */
void ds_session_lose(ds_session *session, dsync_reason reason, const char *why);
/* Ends it deliberately (client closing, own session idle): no user may be attached. */
void ds_session_end(ds_session *session);
/* Calls user->hint once, DS_HINT_DELAY_NS from now, unless it is detached or takes it back before: whatever is only
 * worth its cost for those that stay longer than a moment (watching the own entry, showing acquired_at). */
void ds_session_hint(ds_session_user *user);
void ds_session_unhint(ds_session_user *user);
const char *ds_session_state_name(ds_session_state state);
bool ds_session_may_move(ds_session_state from, ds_session_state to);
/* The entry, of this session, is gone for certain, or was certainly never made: others may have its name, where the
 * store profits from that. */
void ds_session_spare_name(ds_session *session, const ds_entry *entry);
/* Internal to core/: frees a closed session that nobody needs. */
void ds_session_sweep(ds_session *session);
/* Internal to core/: a reply names an outcome that ends the session (LOST, RESET). True if it did. */
bool ds_session_reply_ends(ds_session *session, const ds_reply *reply);
void ds_session_free(ds_session *session);

#endif
