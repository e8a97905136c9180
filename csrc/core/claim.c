/* claim.c: see claim.h. */
#include "claim.h"

#include <assert.h>

#define MAY(state) (1u << (state))

/* Row: from. Bits: to. */
static const unsigned legal[DS_CLAIM_STATES] = {
    [DS_CLAIM_IDLE] = MAY(DS_CLAIM_ENTERING),
    [DS_CLAIM_ENTERING] = MAY(DS_CLAIM_WAITING) | MAY(DS_CLAIM_DELAYED) | MAY(DS_CLAIM_HELD) | MAY(DS_CLAIM_IDLE),
    [DS_CLAIM_WAITING] = MAY(DS_CLAIM_ENTERING) | MAY(DS_CLAIM_DELAYED) | MAY(DS_CLAIM_HELD) | MAY(DS_CLAIM_IDLE),
    [DS_CLAIM_DELAYED] = MAY(DS_CLAIM_ENTERING) | MAY(DS_CLAIM_WAITING) | MAY(DS_CLAIM_HELD) | MAY(DS_CLAIM_IDLE),
    [DS_CLAIM_HELD] = MAY(DS_CLAIM_RELEASING) | MAY(DS_CLAIM_LOST),
    [DS_CLAIM_RELEASING] = MAY(DS_CLAIM_IDLE) | MAY(DS_CLAIM_ENTERING),
    [DS_CLAIM_LOST] = MAY(DS_CLAIM_ENTERING) | MAY(DS_CLAIM_IDLE),
};

static const char *const names[DS_CLAIM_STATES] = {
    "idle", "entering", "waiting", "lock-delay", "held", "releasing", "lost",
};

void ds_claim_init(ds_claim *claim) {
    atomic_init(&claim->state, DS_CLAIM_IDLE);
    atomic_init(&claim->reason, DSYNC_NOT_LOST);
    atomic_init(&claim->suspect, 0);
    atomic_init(&claim->deadline_ns, 0);
    atomic_init(&claim->wall_deadline_ms, 0);
    atomic_init(&claim->hold_until_ns, DS_NEVER);
    atomic_init(&claim->token, 0);
    atomic_init(&claim->delayed_until_ms, 0);
    atomic_init(&claim->acquisition, 0);
}

bool ds_claim_may_move(ds_claim_state from, ds_claim_state to) {
    return (legal[from] & MAY(to)) != 0;
}

const char *ds_claim_state_name(ds_claim_state state) {
    return names[state];
}

bool ds_claim_move(ds_claim *claim, ds_claim_state to) {
    ds_claim_state from = ds_claim_get(claim);
    if (from == to) {
        return true;
    }
    bool may = ds_claim_may_move(from, to);
    assert(may);
    if (may) {
        /* Released after the deadlines and the token were written: whoever reads HELD reads them too. */
        atomic_store_explicit(&claim->state, (int)to, memory_order_release);
    }
    return may;
}

int64_t ds_claim_left(const ds_claim *claim, int64_t now_ns, int64_t wall_ms) {
    if (now_ns < 0 || ds_claim_get(claim) != DS_CLAIM_HELD) {
        return 0;
    }
    int64_t until = atomic_load_explicit(&claim->deadline_ns, memory_order_relaxed);
    int64_t hold = atomic_load_explicit(&claim->hold_until_ns, memory_order_relaxed);
    int64_t wall_until = atomic_load_explicit(&claim->wall_deadline_ms, memory_order_relaxed);
    if (hold < until) {
        until = hold;
    }
    int64_t left = until > now_ns ? until - now_ns : 0;
    if (wall_ms >= wall_until) {
        return 0;
    }
    return left;
}
