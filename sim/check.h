/* check.h: the judge. It is told what happened, in order, and says what must never have happened.
 *
 * Knows no client, no server and no clock: only the events below, with true times. So that it can itself be tested,
 * with histories that are right and histories that are not.
 */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "../csrc/base/base.h"

#define CHK_SLACK_NS (100 * DS_MS)     /* how much later than promised a call may end */
#define CHK_TELL_NS (DS_SECOND)        /* how much later than its end a loss may be announced */
#define CHK_EXEMPT_NS (20 * DS_SECOND) /* how long a holder may go on after its server took the lock away */
#define CHK_ORPHAN_NS (20 * DS_SECOND) /* how long an unwanted entry may stay once the faults are over, unless said */
#define CHK_NO_TIME INT64_MIN

typedef enum chk_kind {
    CHK_ENTER,   /* server: an entry was made: lock, token, client */
    CHK_GONE,    /* server: it was removed: lock, token, cause; CHK_TAKEN with its session: until, the longest it may be
                    believed */
    CHK_BELIEVE, /* a client's claim on lock begins: claim, lock, token, until */
    CHK_UNTIL,   /* the end of what it believes has moved: claim, until */
    CHK_RELEASE, /* it was given back: not believed from now on, and no loss to announce */
    CHK_LOSE,    /* not believed from now on, by state */
    CHK_TOLD,    /* the loss was announced: claim */
    CHK_CALL,    /* a call began: call, until = by when it must have ended (DS_NEVER: no limit), client */
    CHK_MOVE,    /* by when has moved (the client's clock was moved): call, until */
    CHK_DONE,    /* it ended: call */
    CHK_PAUSE,   /* the client does not run */
    CHK_RESUME,
    CHK_KILL,    /* the client is no more */
    CHK_FENCE,   /* a write with a token reached the fenced store: lock, token */
    CHK_DATA,    /* server: a guarded write was applied for the holder of token: lock, token */
    CHK_RESTORE, /* server: an older state is back; entries made since are gone (told by CHK_GONE), tokens restart */
    CHK_OWNER,   /* server: whose the lock is now: lock, token (0: nobody's, or that of somebody without an entry) */
    CHK_ROBBED,  /* server: the lock was taken from its owner, whose entry stays in the queue: lock, token */
    CHK_CALM,    /* no faults from now on, nobody asks for anything any more */
    CHK_TICK,    /* time passes */
    CHK_END      /* everything has ended */
} chk_kind;

typedef enum chk_cause {
    CHK_LEFT,    /* by its own client */
    CHK_EXPIRED, /* its lease ran out in full */
    CHK_TAKEN,   /* by the server or an operator, before its time */
} chk_cause;

typedef struct chk_event {
    chk_kind kind;
    int64_t at_ns;
    unsigned client, lock;
    uint64_t claim, call; /* numbers, never used twice */
    int64_t token, until_ns;
    chk_cause cause;
} chk_event;

typedef enum chk_rule {
    CHK_TWO_BELIEVERS = 1, /* two claims on one lock at one time */
    CHK_OUTSIDE_RECORD,    /* a claim outside of what the server knows */
    CHK_REVIVED,           /* a claim that had ended is believed again */
    CHK_SILENT_LOSS,       /* not announced, or only after the server let others in */
    CHK_TOLD_TWICE,        /* announced twice, or after a release */
    CHK_TOKEN_ORDER,
    CHK_STALE_WRITE, /* applied for somebody who is not the holder */
    CHK_ORPHAN,
    CHK_HANG,
    CHK_EXEMPT_TOO_LONG,
    CHK_UNSERVED, /* a free lock was not had in time (found by the scene, not here) */
    CHK_BLIND,    /* an observer is wrong about who leads (the same) */
    CHK_NONSENSE, /* a history that cannot be */
    CHK_RULES
} chk_rule;

extern const char *const chk_rule_names[CHK_RULES];

typedef struct chk_entry {
    unsigned lock, client;
    int64_t token;
    bool gone;
    bool revived; /* by a restore */
    bool robbed;  /* since gone_ns */
    chk_cause cause;
    int64_t gone_ns, limit_ns;
} chk_entry;

typedef struct chk_claim {
    uint64_t number, index;
    unsigned lock, client;
    int64_t token, until_ns;
    int64_t begun_ns;
    int64_t exempt_ns; /* when its entry was taken, CHK_NO_TIME: it was not */
    int64_t exempt_until_ns;
    bool ended, told, released, dead;
} chk_claim;

typedef struct chk_call {
    uint64_t number;
    unsigned client;
    int64_t until_ns;
} chk_call;

#define CHK_CLIENTS 64
#define CHK_LOCKS 8

typedef struct chk {
    int64_t orphan_ns; /* how long an unwanted entry may stay once the faults are over */
    int64_t copies_ns; /* how long after a restore copies of requests from before can make entries nobody knows of */
    bool owners;       /* who holds is who CHK_OWNER says, not who is first */
    int64_t owner[CHK_LOCKS];
    chk_entry *entries;
    size_t entry_count, entry_capacity;
    chk_claim *claims;
    size_t claim_count, claim_capacity;
    uint64_t claims_begun;
    chk_call *calls;
    size_t call_count, call_capacity;
    bool paused[CHK_CLIENTS];
    int64_t resumed_ns[CHK_CLIENTS];
    int64_t last_token[CHK_LOCKS], fence[CHK_LOCKS];
    uint64_t fence_index[CHK_LOCKS];
    int64_t calm_ns, restored_ns; /* CHK_NO_TIME: not yet */
    int64_t now_ns;
    bool looked; /* for orphans, after the calm */
    /* What was seen. */
    uint64_t believed, exceptions, told, fence_accepted, fence_rejected, restores;
    uint64_t revived; /* entries that a restore brought back and nobody noticed */
    int64_t longest_exempt_ns;
    chk_rule broken; /* the first rule that was, or 0 */
    char why[240];
} chk;

void chk_init(chk *c);
void chk_free(chk *c);
/* False: a rule is broken (and stays so). */
bool chk_see(chk *c, const chk_event *event);
/* The token of the entry that holds a lock (the first one, unless `owners`), 0: there is none. */
int64_t chk_head(const chk *c, unsigned lock);
unsigned chk_head_client(const chk *c, unsigned lock); /* who made it */
bool chk_head_revived(const chk *c, unsigned lock);    /* or the first one in the queue */

#endif
