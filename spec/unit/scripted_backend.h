/* scripted_backend.h: a store without a store: a ds_backend whose every call is recorded and answered by the test.
 *
 * Each kind of call has a standing answer, which comes at once (from the loop): success, as an empty store would give
 * it. sb_hold() takes that away: then the test answers with sb_answer(), now or later, or never, and after its timeout
 * the call ends as ambiguous, as on a silent network. Watches are ready at once and then say what the test makes them
 * say.
 *
 * Ends the program when the core breaks a rule of backend.h: a call started while it is under way, a nonce used for two
 * entries, a withdrawal too large or without a new epoch, a watch begun twice, a backend destroyed under a call.
 *
 * Sessions are called s1, s2, ... and entries e1, e2, ... in the order in which they are first seen. The log is one
 * line: "open s1 | enter e1 | leave e1".
 */
#ifndef SCRIPTED_BACKEND_H
#define SCRIPTED_BACKEND_H

#include "../../csrc/backend/backend.h"
#include "fake_world.h"

typedef enum sb_op {
    SB_PING,
    SB_OPEN,
    SB_RENEW,
    SB_CLOSE,
    SB_ENTER, /* also tries */
    SB_CHECK,
    SB_LEAVE,
    SB_SWAP,
    SB_WITHDRAW,
    SB_WRITE,
    SB_EVICT,
    SB_GET,
    SB_LIST,
    SB_OPS
} sb_op;

typedef struct sb sb;

typedef struct sb_call {
    sb_op op;
    char text[300]; /* as in the log */
    char path[300]; /* or key */
    char value[600];
    char after[100];         /* list */
    char entry[17], old[17]; /* nonces */
    uint64_t lease, epoch, next_epoch;
    int64_t token;
    size_t count, limit;
    bool only_try, subtree, urgent;
    int64_t at_ns, timeout_ns;
    bool answered, over, cancelled;
    /* private */
    sb *owner;
    ds_call *call;
    ds_lease *opening;
    ds_timer timer;
    ds_task task;
    ds_reply reply;
} sb_call;

typedef struct sb_watch {
    char key[300];
    char name[300]; /* "e1", "s1" or the key */
    bool subtree, deletes_only, keys_only, on;
    int64_t since;
    uint64_t asker; /* the session's nonce; 0: nobody in particular */
    sb *owner;
    ds_watch *watch;
} sb_watch;

struct sb {
    ds_backend base;
    ds_backend_ops ops; /* a test may change limits and divisors before it makes an engine */
    fw *universe;
    int64_t revision;   /* the store's */
    bool held[SB_OPS];  /* no standing answer */
    bool quiet[SB_OPS]; /* not in the log; renewals are, until a test says otherwise */
    bool watch_fails;   /* watch() answers false */
    bool watch_silent;  /* no READY by itself */
    bool key_fails;     /* session_key() and entry_key() answer false */
    bool destroyed;
    bool *destroyed_flag;                              /* set by destroy, or NULL */
    void (*on_call)(sb *backend, const sb_call *call); /* sees each call as it starts; or NULL */
    size_t leases;                                     /* opened and not forgotten */
    sb_call **calls;
    size_t call_count;
    sb_watch **watches;
    size_t watch_count;
    uint64_t sessions[512];
    size_t session_count;
    char entries[512][17];
    char retired[512]; /* left for certain: never to be entered again, unless names are reused */
    size_t entry_count;
    char log[8192], taken[8192];
};

sb *sb_new(fw *u, ds_world *world);
void sb_free(sb *backend); /* after destroy */

void sb_hold(sb *backend, sb_op op);
void sb_hold_all(sb *backend); /* the network is silent */
void sb_release(sb *backend, sb_op op);
void sb_release_all(sb *backend);

/* The oldest call of this kind that waits for its answer; the program ends when there is none. */
sb_call *sb_pending(sb *backend, sb_op op);
bool sb_has_pending(const sb *backend, sb_op op);
size_t sb_count(const sb *backend, sb_op op); /* started so far */
sb_call *sb_last(sb *backend, sb_op op);      /* newest, answered or not */

/* `reply` is copied, what it points to must live until it arrives. What is left 0 is filled in as a store would: a new
 * token, the revision, the granted ttl, the new epoch. A call that is cancelled by then hears nothing. */
void sb_answer(sb_call *call, int64_t delay_ns, const ds_reply *reply);
/* For the oldest call of the kind, now, and the loop runs. */
void sb_ok(sb *backend, sb_op op, ds_place place);
void sb_ok_behind(sb *backend, sb_op op, const char *ahead); /* WAITING */
void sb_fail(sb *backend, sb_op op, ds_class outcome, const char *message);
void sb_refuse(sb *backend, sb_op op, dsync_code code, const char *message);

/* The watch that is on for "e1", "s1" or a key; NULL: none. */
sb_watch *sb_watching(sb *backend, const char *name);
size_t sb_watches_on(const sb *backend);
/* Says it, and the loop runs. Strings in `event` are needed until then only. */
void sb_event(sb_watch *watch, const ds_watch_event *event);
void sb_deleted(sb_watch *watch, const char *value); /* DELETED of the watch's own key, at a new revision */
void sb_ended(sb_watch *watch);
void sb_put(sb_watch *watch, const char *key, int64_t token, const char *value);
void sb_gone(sb_watch *watch, const char *key);

void sb_note(sb *backend, const char *format, ...) DS_PRINTF(2, 3); /* into the log */
const char *sb_log(sb *backend);                                    /* what happened since the last time; taken out */

#endif
