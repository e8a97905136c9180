/* faults.c: which faults a run has, and when they strike. */
#include "faults.h"

#include "client.h"
#include "model.h"
#include "sim.h"

#define LOOK_NS (100 * DS_MS)

const char *const sim_fault_names[SIM_FAULTS] = {
    [SIM_REFUSED] = "connection refused",
    [SIM_DROP] = "request lost",
    [SIM_LOST_REPLY] = "reply lost after commit",
    [SIM_RESET] = "reset after commit",
    [SIM_DELAY] = "delayed, reordered",
    [SIM_LATE] = "delivered late",
    [SIM_DUPLICATE] = "duplicated",
    [SIM_TWICE] = "executed twice",
    [SIM_TOO_MANY] = "429",
    [SIM_ERROR] = "5xx",
    [SIM_GARBAGE] = "garbage",
    [SIM_TRUNCATED] = "truncated",
    [SIM_STALE_READ] = "stale read",
    [SIM_NO_QUORUM] = "server timed out",
    [SIM_STREAM_BREAK] = "stream broken",
    [SIM_STREAM_SILENT] = "stream silent",
    [SIM_STREAM_GARBAGE] = "stream garbage",
    [SIM_STREAM_BURST] = "stream held up",
    [SIM_ISOLATED] = "member isolated",
    [SIM_LEADER_CHANGE] = "leader change",
    [SIM_EARLY_LOSS] = "lease revoked early",
    [SIM_DELETED] = "entry deleted",
    [SIM_COMPACTION] = "compaction",
    [SIM_TOKEN_EXPIRY] = "auth token expired",
    [SIM_RESTORE] = "older state restored",
    [SIM_CLOCK_RATE] = "clock rate",
    [SIM_CLOCK_JUMP] = "clock jump",
    [SIM_CALENDAR] = "calendar set back",
    [SIM_CUT_OFF] = "client cut off",
    [SIM_PAUSE] = "client stopped",
    [SIM_KILL] = "client killed",
    [SIM_NO_MEMORY] = "allocation failed",
    [SIM_NATIVE] = "native client",
};

/* Chances in 100 000, when the kind is in the run at all: of a request, a stream's message, a look, an allocation. */
static const unsigned usual[SIM_FAULTS] = {
    [SIM_REFUSED] = 4000,        [SIM_DROP] = 3000,          [SIM_LOST_REPLY] = 4000,   [SIM_RESET] = 3000,
    [SIM_DELAY] = 10000,         [SIM_LATE] = 2500,          [SIM_DUPLICATE] = 4000,    [SIM_TWICE] = 3000,
    [SIM_TOO_MANY] = 3000,       [SIM_ERROR] = 3000,         [SIM_GARBAGE] = 2000,      [SIM_TRUNCATED] = 2000,
    [SIM_STALE_READ] = 10000,    [SIM_NO_QUORUM] = 2500,     [SIM_STREAM_BREAK] = 5000, [SIM_STREAM_SILENT] = 3000,
    [SIM_STREAM_GARBAGE] = 2000, [SIM_STREAM_BURST] = 10000, [SIM_ISOLATED] = 1000,     [SIM_LEADER_CHANGE] = 1000,
    [SIM_EARLY_LOSS] = 1500,     [SIM_DELETED] = 1500,       [SIM_COMPACTION] = 3000,   [SIM_TOKEN_EXPIRY] = 1500,
    [SIM_RESTORE] = 600,         [SIM_CLOCK_RATE] = 100000,  [SIM_CLOCK_JUMP] = 1000,   [SIM_CALENDAR] = 5000,
    [SIM_CUT_OFF] = 1500,        [SIM_PAUSE] = 1500,         [SIM_KILL] = 700,          [SIM_NO_MEMORY] = 60,
    [SIM_NATIVE] = 3000,
};

/* Kinds that few runs have: they end much at once, and would hide the others. */
static bool rare(int fault) {
    return fault == SIM_RESTORE || fault == SIM_NO_MEMORY || fault == SIM_EARLY_LOSS || fault == SIM_DELETED;
}

void sim_plan_make(sim *s) {
    unsigned mood = (unsigned)(sim_random(s) % 8); /* 0: a good day; 7: nearly everything at once */
    int kinds = s->model->natives ? SIM_FAULTS : SIM_NATIVE;
    for (int i = 0; i < kinds; i++) {
        bool in = i == SIM_CLOCK_RATE || sim_random(s) % (rare(i) ? 24 : 8) < mood;
        unsigned scale = (unsigned)sim_between(s, 20, 200);
        s->plan.rate[i] = in ? usual[i] * scale / 100 : 0;
    }
    s->plan.auth = s->model->auth && sim_random(s) % 4 == 0;
    if (!s->plan.auth) {
        s->plan.rate[SIM_TOKEN_EXPIRY] = 0;
    }
}

bool sim_hit(sim *s, sim_fault fault) {
    if (s->calm || !sim_chance(s, s->plan.rate[fault])) {
        return false;
    }
    s->counts->faults[fault]++;
    return true;
}

static void look(sim *s, void *argument) {
    (void)argument;
    static const sim_fault servers[] = {SIM_ISOLATED,   SIM_LEADER_CHANGE, SIM_EARLY_LOSS, SIM_DELETED,
                                        SIM_COMPACTION, SIM_TOKEN_EXPIRY,  SIM_RESTORE,    SIM_NATIVE};
    if (s->calm) {
        return;
    }
    for (size_t i = 0; i < DS_COUNT(servers); i++) {
        if (sim_hit(s, servers[i])) {
            sim_note(s, "-- %s", sim_fault_names[servers[i]]);
            s->model->upset(s->servers, servers[i]);
        }
    }
    sim_clients_upset(s);
    sim_at(s, s->now_ns + LOOK_NS, NULL, look, NULL, NULL);
}

void sim_upset_sometimes(sim *s) {
    sim_at(s, s->now_ns + LOOK_NS, NULL, look, NULL, NULL);
}
