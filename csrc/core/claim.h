/* claim.h: what a lock object knows of its own acquisition, readable by any thread without a lock.
 *
 * The core writes it (on the thread that owns the protocol state); anybody may ask. Whether it is held is computed at
 * the moment of the question from the state, the deadlines and the clock: it stays right when the I/O thread is
 * starved, the process was stopped or the network is gone.
 */
#ifndef DS_CLAIM_H
#define DS_CLAIM_H

#include <stdatomic.h>

#include "../dsync.h"
#include "world.h"

typedef enum ds_claim_state {
    DS_CLAIM_IDLE,      /* nothing asked for */
    DS_CLAIM_ENTERING,  /* asked for a place in the queue, or waiting for a local turn to ask */
    DS_CLAIM_WAITING,   /* in the queue */
    DS_CLAIM_DELAYED,   /* first in the queue, kept out by the server's lock-delay */
    DS_CLAIM_HELD,      /* believed until the deadline */
    DS_CLAIM_RELEASING, /* given back by us, not confirmed yet */
    DS_CLAIM_LOST,      /* taken away; final for this acquisition */
    DS_CLAIM_STATES
} ds_claim_state;

typedef struct ds_claim {
    _Atomic int state;
    _Atomic int reason;               /* dsync_reason of the last loss */
    _Atomic int suspect;              /* shown only: the session is overdue but inside its deadline */
    _Atomic int64_t deadline_ns;      /* CLOCK_BOOTTIME */
    _Atomic int64_t wall_deadline_ms; /* CLOCK_REALTIME; can only shorten (a restored virtual machine) */
    _Atomic int64_t hold_until_ns;    /* the user's own limit, DS_NEVER without */
    _Atomic int64_t margin_ns;        /* for how long the lease outlives deadline_ns */
    _Atomic int64_t token;
    _Atomic int64_t delayed_until_ms; /* CLOCK_REALTIME; when DELAYED ends at the latest; shown only */
    _Atomic uint64_t acquisition;     /* how often this object has held */
} ds_claim;

void ds_claim_init(ds_claim *claim);

/* The one way the state changes. Asserts (in debug builds) and refuses (in all) what the table forbids. */
bool ds_claim_move(ds_claim *claim, ds_claim_state to);
bool ds_claim_may_move(ds_claim_state from, ds_claim_state to);
const char *ds_claim_state_name(ds_claim_state state);

static inline ds_claim_state ds_claim_get(const ds_claim *claim) {
    return (ds_claim_state)atomic_load_explicit(&claim->state, memory_order_acquire);
}

/* Nanoseconds left at `now_ns`/`wall_ms`, 0 when not held. A negative `now_ns` (the clock failed) means not held. */
int64_t ds_claim_left(const ds_claim *claim, int64_t now_ns, int64_t wall_ms);

#endif
