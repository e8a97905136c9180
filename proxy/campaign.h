/* campaign.h: what the clients behind the proxy do, what they claimed, and what of it was wrong. */
#ifndef PX_CAMPAIGN_H
#define PX_CAMPAIGN_H

#include "../csrc/dsync.h"
#include "proxy.h"

#define PX_NAMES 32
#define PX_SLOTS 3
#define PX_WORKERS 20          /* the last one talks to the server itself */
#define PX_GRACE (100 * PX_MS) /* a call may end so much later than its own deadline */

/* What can be wrong. */
typedef enum px_wrong {
    PX_OVERLAP,  /* two claims to one lock at one time */
    PX_TOKEN,    /* a token that is not higher than the one before */
    PX_OVERDUE,  /* a call that ended more than PX_GRACE after its deadline, on an idle machine */
    PX_UNTOLD,   /* a loss that was never announced, or twice */
    PX_LEFTOVER, /* a key that no client will ever remove */
    PX_BLIND,    /* a watcher that still sees a leader when there has long been none */
    PX_STUCK,    /* a client that does not come to rest */
    PX_WRONGS
} px_wrong;

void px_report(px_wrong wrong, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- claims ------------------------------------------------------------------------------------------------------ */

/* For the whole of [from, until] this owner's held() was true. */
typedef struct px_claim {
    int name;
    int64_t from_ns, until_ns, token;
    char owner[24];
} px_claim;

const char *px_name(int name);
void px_claimed(const px_claim *claim);
/* Compares the claims since the last call with each other and with those before. Only while nobody claims. */
void px_judge_claims(void);
uint64_t px_claim_count(void);

/* ---- workers ----------------------------------------------------------------------------------------------------- */

typedef enum px_phase { PX_RUN, PX_REST, PX_END } px_phase;

typedef struct px_campaign {
    px_proxy proxy;
    uint64_t seed;
    int server_port, other_port, workers;
    int64_t ttl_ms;
    _Atomic int phase, round;
    _Atomic int resting, ended; /* workers that have nothing under way; that have closed */
    _Atomic uint64_t wrongs[PX_WRONGS], excused;
    _Atomic uint64_t acquired, released, unknown, lost, failed, cancelled, calls, closes, clients;
    _Atomic int64_t worst_end_ns, worst_rest_ns;
    _Atomic int64_t leader_seen[PX_WORKERS]; /* token of the leader that each worker's watcher told last, 0: vacant */
    _Atomic uint64_t watchers;
} px_campaign;

extern px_campaign px;

typedef struct px_worker {
    int number;
    bool direct; /* talks to the server itself: what others see */
    uint64_t state;
} px_worker;

void *px_work(void *worker);

/* ---- the machine (machine.c) ------------------------------------------------------------------------------------- */

/* For how long threads of this process waited for a processor since then, or a processor for the host: of each tenth of
 * a second, the one that fared worst. */
int64_t px_machine_lag(int64_t since_ns);
void *px_watch_machine(void *unused);

#endif
