/* faults.h: what can go wrong, how often in this run, and how often it did. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include "../csrc/base/base.h"

typedef struct sim sim;

typedef enum sim_fault {
    /* of one request */
    SIM_REFUSED,    /* could not connect */
    SIM_DROP,       /* lost on its way to the server */
    SIM_LOST_REPLY, /* executed, and the answer lost */
    SIM_RESET,      /* executed, and the connection reset at once */
    SIM_DELAY,      /* slow, within the client's patience or a little more */
    SIM_LATE,       /* executed long after the client gave up */
    SIM_DUPLICATE,  /* sent twice; the copy arrives any time later */
    SIM_TWICE,      /* executed twice at once, and answered by the second copy; nobody knows */
    SIM_TOO_MANY,   /* 429 */
    SIM_ERROR,      /* 5xx from something in between, executed or not */
    SIM_GARBAGE,    /* 200 with nonsense */
    SIM_TRUNCATED,  /* 200 with half of the answer */
    SIM_STALE_READ, /* a read answered from an older state */
    SIM_NO_QUORUM,  /* "request timed out": executed, perhaps, later */
    /* of a stream */
    SIM_STREAM_BREAK,
    SIM_STREAM_SILENT,
    SIM_STREAM_GARBAGE,
    SIM_STREAM_BURST, /* held up, then all at once */
    /* of the servers */
    SIM_ISOLATED,
    SIM_LEADER_CHANGE,
    SIM_EARLY_LOSS, /* a stuck former leader revokes what is alive; keepalives go on being answered */
    SIM_DELETED,    /* an operator deletes an entry */
    SIM_COMPACTION,
    SIM_TOKEN_EXPIRY,
    SIM_RESTORE, /* from an older state, perhaps as another cluster */
    /* of the clients */
    SIM_CLOCK_RATE,
    SIM_CLOCK_JUMP,
    SIM_CALENDAR, /* set back: must make nothing valid for longer */
    SIM_CUT_OFF,  /* from all servers */
    SIM_PAUSE,
    SIM_KILL,
    SIM_NO_MEMORY,
    SIM_NATIVE, /* another program takes a lock, and gives it back or dies */
    SIM_FAULTS
} sim_fault;

extern const char *const sim_fault_names[SIM_FAULTS];

/* How often each happens in this run, per 100 000 chances; 0 for most, so that runs differ in kind. */
typedef struct sim_plan {
    unsigned rate[SIM_FAULTS];
    bool auth;
} sim_plan;

typedef struct sim_counts {
    uint64_t faults[SIM_FAULTS];
    uint64_t requests, acquisitions, losses, calls, data_writes;
    uint64_t hit_steps;
} sim_counts;

void sim_plan_make(sim *s);
/* Whether it happens now; counted. */
bool sim_hit(sim *s, sim_fault fault);
/* The servers' and clients' faults are looked at every so often. */
void sim_upset_sometimes(sim *s);

#endif
