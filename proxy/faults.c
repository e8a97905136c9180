/* faults.c: which fault a request meets, by seed; names and counts. */
#include "proxy.h"

static const char *const kinds[PX_KINDS] = {"grant", "session", "keepalive", "confirm", "revoke",   "acquire",
                                            "try",   "check",   "swap",      "release", "withdraw", "write",
                                            "read",  "watch",   "block",     "else"};

/* How often each fault is chosen, relative to the others, for one request; 0 for those of streams. */
static const struct {
    const char *name;
    int weight;
} faults[PX_FAULTS] = {
    [PX_NONE] = {"none", 0},
    [PX_LOST_RESET] = {"lost, reset", 90},
    [PX_LOST_CLOSED] = {"lost, closed", 60},
    [PX_LOST_SILENT] = {"lost, silent", 20},
    [PX_CUT_RESET] = {"cut, reset", 110},
    [PX_CUT_CLOSED] = {"cut, closed", 110},
    [PX_TRICKLE] = {"trickle", 10},
    [PX_DELAYED] = {"delayed", 15},
    [PX_UNSENT] = {"never sent", 30},
    [PX_HALF_SENT] = {"half sent", 20},
    [PX_LATE_RESET] = {"late, reset", 50},
    [PX_LATE_SILENT] = {"late, silent", 15},
    [PX_TWICE] = {"twice, first", 30},
    [PX_TWICE_SECOND] = {"twice, second", 60},
    [PX_LOST_AGAIN] = {"lost and again", 50},
    [PX_ECHO] = {"echo", 30},
    [PX_STATUS_BEFORE] = {"status, unsent", 60},
    [PX_STATUS_AFTER] = {"status, done", 30},
    [PX_HTML] = {"web page", 12},
    [PX_HALF_JSON] = {"half JSON", 15},
    [PX_GARBAGE] = {"garbage", 15},
    [PX_EMPTY] = {"empty", 12},
    [PX_HOLE] = {"black hole", 2},
    [PX_REFUSE] = {"refused", 2},
    [PX_ELSEWHERE] = {"other cluster", 4},
    [PX_STREAM_CLOSED] = {"stream, closed", 0},
    [PX_STREAM_RESET] = {"stream, reset", 0},
    [PX_STREAM_SILENT] = {"stream, silent", 0},
    [PX_STREAM_NOISE] = {"stream, noise", 0},
    [PX_STREAM_TRICKLE] = {"stream, trickle", 0},
};

const char *px_kind_name(px_kind kind) {
    return kinds[kind];
}

const char *px_fault_name(px_fault fault) {
    return faults[fault].name;
}

/* splitmix64's finalizer. */
uint64_t px_mix(uint64_t z) {
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t px_draw(px_proxy *proxy) {
    return px_mix(proxy->seed * 1000003 + atomic_fetch_add(&proxy->drawn, 1));
}

/* A copy that comes after the answer was used is beyond what the protocol defends against: nothing on the way repeats a
 * request whose answer it has delivered, and the guard that would stop it costs every release a write. */
static bool fits(const px_store *store, px_fault fault, px_kind kind) {
    static const px_fault without_http[] = {PX_LOST_RESET,  PX_LOST_CLOSED, PX_LOST_SILENT, PX_CUT_RESET, PX_CUT_CLOSED,
                                            PX_TRICKLE,     PX_DELAYED,     PX_UNSENT,      PX_HALF_SENT, PX_LATE_RESET,
                                            PX_LATE_SILENT, PX_GARBAGE,     PX_HOLE,        PX_REFUSE};
    if (store->frames || store->bytes) {
        for (size_t i = 0; i < sizeof without_http / sizeof without_http[0]; i++) {
            if (without_http[i] == fault) {
                return true;
            }
        }
        return false;
    }
    if (fault == PX_ELSEWHERE) {
        return store->tells_cluster;
    }
    return fault != PX_ECHO || (kind != PX_ENTER && kind != PX_TRY && kind != PX_WRITE);
}

px_fault px_choose(px_proxy *proxy, px_kind kind, uint64_t draw) {
    bool of_session = kind == PX_GRANT || kind == PX_SESSION || kind == PX_KEEPALIVE || kind == PX_CONFIRM;
    /* Without a session nothing else is ever asked. */
    int per_mille = atomic_load(&proxy->per_mille) / (of_session ? 3 : 1);
    if ((int)(draw % 1000) >= per_mille) {
        return PX_NONE;
    }
    draw = px_mix(draw);
    if (kind == PX_WATCH) {
        return (px_fault)(PX_STREAM_CLOSED + draw % (PX_FAULTS - PX_STREAM_CLOSED));
    }
    int sum = 0;
    for (int f = 0; f < PX_FAULTS; f++) {
        sum += fits(proxy->store, (px_fault)f, kind) ? faults[f].weight : 0;
    }
    int pick = (int)(draw % (uint64_t)sum);
    for (int f = 0; f < PX_FAULTS; f++) {
        int weight = fits(proxy->store, (px_fault)f, kind) ? faults[f].weight : 0;
        if (pick < weight) {
            return (px_fault)f;
        }
        pick -= weight;
    }
    return PX_NONE;
}

void px_count(px_proxy *proxy, px_fault fault, px_kind kind) {
    atomic_fetch_add(&proxy->counts[fault][kind], 1);
    if (fault != PX_NONE) {
        atomic_fetch_add(&proxy->faults, 1);
    }
}

const char *px_status_line(px_fault fault, uint64_t draw) {
    static const char *const before[] = {"429 Too Many Requests",     "503 Service Unavailable", "502 Bad Gateway",
                                         "500 Internal Server Error", "301 Moved Permanently",   "408 Request Timeout",
                                         "401 Unauthorized",          "403 Forbidden",           "404 Not Found",
                                         "400 Bad Request",           "307 Temporary Redirect",  "599 Something Else"};
    static const char *const after[] = {"500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable",
                                        "504 Gateway Timeout", "520 Unknown"};
    if (fault == PX_STATUS_BEFORE) {
        return before[draw % (sizeof before / sizeof before[0])];
    }
    return after[draw % (sizeof after / sizeof after[0])];
}
