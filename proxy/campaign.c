/* campaign.c: campaign BACKEND SERVER_PORT OTHER_PORT FAULTS SEED REPORT: rounds of faults, and a look at everything
 * after each.
 *
 * A round ends with every client at rest but alive, no fault on the way, and every late request delivered: an entry
 * that is on the server then, under a session that lives, would stay for ever.
 */
#include "campaign.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUND 1000 /* faults */
px_campaign px;
static int64_t worst_vacant;

static const char *const wrongs[PX_WRONGS] = {"overlapping claims", "tokens not higher", "calls overdue",
                                              "losses untold",      "keys left over",    "watchers blind",
                                              "clients stuck"};

void px_report(px_wrong wrong, const char *format, ...) {
    char text[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (atomic_fetch_add(&px.wrongs[wrong], 1) < 20) {
        printf("WRONG (%s) in round %d: %s\n", wrongs[wrong], atomic_load(&px.round), text);
        fflush(stdout);
    }
}

/* ---- the server's own record ------------------------------------------------------------------------------------- */

/* Returns how long it took until nothing was there; reports what stays. */
static int64_t await_empty(bool sessions, int64_t bound_ms) {
    int64_t begun = px_now();
    px_message shown = {0};
    while (px.proxy.store->keys(px.server_port, sessions, &shown) != 0) {
        if (px_now() > begun + bound_ms * PX_MS) {
            px_report(PX_LEFTOVER, "keys: %.500s",
                      shown.text.data != NULL ? shown.text.data + shown.head : "no answer");
            break;
        }
        px_sleep(50 * PX_MS);
    }
    px_free(&shown.text);
    return px_now() - begun;
}

static void await_no_session(int port) {
    int64_t until = px_now() + (2 * px.ttl_ms + 3000) * PX_MS;
    int left;
    while ((left = px.proxy.store->sessions(port)) != 0 && px_now() < until) {
        px_sleep(100 * PX_MS);
    }
    if (left != 0) {
        px_report(PX_LEFTOVER, "%d sessions on port %d", left, port);
    }
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

static void calm(void) {
    atomic_store(&px.proxy.per_mille, 0);
    atomic_store(&px.proxy.hole_until, 0);
    atomic_store(&px.proxy.refuse_until, 0);
}

static void deliver_all(void) {
    atomic_store(&px.proxy.hurry, true);
    for (int i = 0; i < 1500 && atomic_load(&px.proxy.couriers) > 0; i++) {
        px_sleep(10 * PX_MS);
    }
    atomic_store(&px.proxy.hurry, false);
}

static bool await(_Atomic int *count, int wanted, int64_t ms) {
    int64_t until = px_now() + ms * PX_MS;
    while (atomic_load(count) < wanted && px_now() < until) {
        px_sleep(5 * PX_MS);
    }
    return atomic_load(count) >= wanted;
}

/* What clients that died leave goes with their session: at most twice its ttl, for a last renewal that came late, or
 * because the server takes that long. */
static int64_t bound_ms(void) {
    return 2 * px.ttl_ms + 2000;
}

/* Nobody leads any more: does every watcher say so? */
static void await_vacancy(void) {
    int64_t until = px_now() + 15 * PX_SECOND;
    for (int i = 0; i < px.workers; i++) {
        while (atomic_load(&px.leader_seen[i]) != 0 && px_now() < until) {
            px_sleep(10 * PX_MS);
        }
        if (atomic_load(&px.leader_seen[i]) != 0) {
            px_report(PX_BLIND, "worker %d still sees a leader with token %" PRId64, i,
                      (int64_t)atomic_load(&px.leader_seen[i]));
        }
    }
    int64_t took = px_now() - until + 15 * PX_SECOND;
    worst_vacant = took > worst_vacant ? took : worst_vacant;
}

static bool round_of(uint64_t faults, int64_t *worst_empty) {
    uint64_t until = atomic_load(&px.proxy.faults) + faults;
    int64_t give_up = px_now() + 120 * PX_SECOND;
    atomic_store(&px.resting, 0);
    atomic_fetch_add(&px.round, 1);
    atomic_store(&px.phase, PX_RUN);
    atomic_store(&px.proxy.per_mille, px.proxy.store->per_mille);
    while (atomic_load(&px.proxy.faults) < until && px_now() < give_up) {
        px_sleep(10 * PX_MS);
    }
    atomic_store(&px.phase, PX_REST);
    px_sleep(300 * PX_MS); /* they leave under fire */
    calm();
    if (!await(&px.resting, px.workers, 60000)) {
        px_report(PX_STUCK, "only %d of %d clients came to rest", atomic_load(&px.resting), px.workers);
        return false;
    }
    deliver_all();
    int64_t took = await_empty(false, bound_ms());
    *worst_empty = took > *worst_empty ? took : *worst_empty;
    await_vacancy();
    px_judge_claims();
    return true;
}

static void finish(int64_t *worst_empty) {
    atomic_store(&px.proxy.per_mille, px.proxy.store->per_mille); /* they close under fire */
    atomic_store(&px.phase, PX_END);
    if (!await(&px.ended, px.workers, 30000)) {
        px_report(PX_STUCK, "only %d of %d clients came to an end", atomic_load(&px.ended), px.workers);
    }
    calm();
    deliver_all();
    int64_t took = await_empty(true, bound_ms());
    *worst_empty = took > *worst_empty ? took : *worst_empty;
    await_no_session(px.server_port);
    await_no_session(px.other_port);
    px_stop(&px.proxy);
    px_judge_claims();
}

/* ---- the outcome ------------------------------------------------------------------------------------------------- */

static uint64_t lost_answers(px_kind kind) {
    static const px_fault lost[] = {PX_LOST_RESET, PX_LOST_CLOSED, PX_LOST_SILENT,  PX_CUT_RESET,
                                    PX_CUT_CLOSED, PX_LOST_AGAIN,  PX_STATUS_AFTER, PX_HTML,
                                    PX_HALF_JSON,  PX_GARBAGE,     PX_EMPTY};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
        sum += atomic_load(&px.proxy.counts[lost[i]][kind]);
    }
    return sum;
}

static unsigned cuts(int kind) {
    unsigned done = 0;
    for (int i = 0; i < PX_OFFSETS; i++) {
        done += atomic_load(&px.proxy.cut[kind][i]);
    }
    return done;
}

static void print_table(void) {
    printf("%-16s", "");
    for (int k = 0; k < PX_KINDS; k++) {
        printf("%10.9s", px_kind_name((px_kind)k));
    }
    printf("\n");
    for (int f = 0; f < PX_FAULTS; f++) {
        printf("%-16s", px_fault_name((px_fault)f));
        for (int k = 0; k < PX_KINDS; k++) {
            printf("%10" PRIu64, atomic_load(&px.proxy.counts[f][k]));
        }
        printf("\n");
    }
    printf("%-16s", "bytes cut at");
    for (int k = 0; k < PX_KINDS; k++) {
        printf("%5u/%-4" PRIu64, cuts(k), atomic_load(&px.proxy.longest[k]));
    }
    printf("\n");
}

typedef struct figure {
    const char *name;
    uint64_t value;
} figure;

#define FIGURES 24
#define ONLY_LATE 3 /* exit status: nothing was wrong but that calls ended late */

static void figures(figure *out, double seconds, int64_t worst_empty) {
    const figure all[FIGURES] = {
        {"faults", atomic_load(&px.proxy.faults)},
        {"lost_acquire_replies", lost_answers(PX_ENTER) + lost_answers(PX_TRY) + lost_answers(PX_SWAP)},
        {"lost_release_replies", lost_answers(PX_LEAVE) + lost_answers(PX_WITHDRAW) + lost_answers(PX_SWAP)},
        {"rounds", (uint64_t)atomic_load(&px.round)},
        {"clients", atomic_load(&px.clients)},
        {"claims", px_claim_count()},
        {"calls", atomic_load(&px.calls)},
        {"acquired", atomic_load(&px.acquired)},
        {"not_acquired", atomic_load(&px.failed)},
        {"cancelled", atomic_load(&px.cancelled)},
        {"released", atomic_load(&px.released)},
        {"released_unknown", atomic_load(&px.unknown)},
        {"lost", atomic_load(&px.lost)},
        {"closed", atomic_load(&px.closes)},
        {"late_calls_on_a_late_machine", atomic_load(&px.excused)},
        {"latest_end_ms", (uint64_t)(atomic_load(&px.worst_end_ns) / PX_MS)},
        {"longest_to_rest_ms", (uint64_t)(atomic_load(&px.worst_rest_ns) / PX_MS)},
        {"longest_to_empty_ms", (uint64_t)(worst_empty / PX_MS)},
        {"longest_to_vacant_ms", (uint64_t)(worst_vacant / PX_MS)},
        {"watchers", atomic_load(&px.watchers)},
        {"longest_bound_ms", (uint64_t)bound_ms()},
        {"seed", px.seed},
        {"seconds", (uint64_t)seconds},
        {"ms_per_1000_faults", (uint64_t)(seconds * 1e6 / (double)(atomic_load(&px.proxy.faults) + 1))},
    };
    memcpy(out, all, sizeof all);
}

static uint64_t write_report(const char *path, const figure *f) {
    FILE *file = fopen(path, "w");
    uint64_t wrong = 0;
    for (int i = 0; i < FIGURES; i++) {
        printf("%-30s %" PRIu64 "\n", f[i].name, f[i].value);
    }
    for (int w = 0; w < PX_WRONGS; w++) {
        printf("%-30s %" PRIu64 "\n", wrongs[w], atomic_load(&px.wrongs[w]));
        wrong += atomic_load(&px.wrongs[w]);
    }
    if (file == NULL) {
        perror(path);
        return wrong + 1;
    }
    fprintf(file, "{\n  \"backend\": \"%s\",\n", px.proxy.store->name);
    for (int i = 0; i < FIGURES; i++) {
        fprintf(file, "  \"%s\": %" PRIu64 ",\n", f[i].name, f[i].value);
    }
    for (int w = 0; w < PX_WRONGS; w++) {
        fprintf(file, "  \"%s\": %" PRIu64 ",\n", wrongs[w], atomic_load(&px.wrongs[w]));
    }
    fprintf(file, "  \"by_fault_and_request\": {");
    for (int k = 0; k < PX_KINDS; k++) {
        fprintf(file, "%s\n    \"%s\": {\"cut_offsets\": %u, \"longest_answer\": %" PRIu64, k > 0 ? "," : "",
                px_kind_name((px_kind)k), cuts(k), atomic_load(&px.proxy.longest[k]));
        for (int i = 0; i < PX_FAULTS; i++) {
            fprintf(file, ", \"%s\": %" PRIu64, px_fault_name((px_fault)i), atomic_load(&px.proxy.counts[i][k]));
        }
        fprintf(file, "}");
    }
    fprintf(file, "\n  }\n}\n");
    fclose(file);
    return wrong;
}

static const px_store *store_named(const char *name) {
    for (size_t i = 0; px_stores[i] != NULL; i++) {
        if (strcmp(px_stores[i]->name, name) == 0) {
            return px_stores[i];
        }
    }
    fprintf(stderr, "campaign: no backend %s\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    static px_worker workers[PX_WORKERS];
    pthread_t threads[PX_WORKERS], machine;
    if (argc != 7) {
        fprintf(stderr, "usage: campaign BACKEND SERVER_PORT OTHER_PORT FAULTS SEED REPORT\n");
        return 2;
    }
    const px_store *store = store_named(argv[1]);
    px.server_port = (int)strtol(argv[2], NULL, 10);
    px.other_port = (int)strtol(argv[3], NULL, 10);
    uint64_t wanted = strtoull(argv[4], NULL, 10);
    px.seed = strtoull(argv[5], NULL, 10);
    px.ttl_ms = store->ttl_ms;
    px.workers = PX_WORKERS;
    if (!px_start(&px.proxy, store, px.server_port, px.other_port, px.seed)) {
        perror("proxy");
        return 2;
    }
    int64_t begun = px_now(), worst_empty = 0;
    pthread_create(&machine, NULL, px_watch_machine, NULL);
    for (int i = 0; i < PX_WORKERS; i++) {
        workers[i] = (px_worker){i, i == PX_WORKERS - 1, px_mix(px.seed * 1000 + (uint64_t)i)};
        pthread_create(&threads[i], NULL, px_work, &workers[i]);
    }
    while (atomic_load(&px.proxy.faults) < wanted) {
        uint64_t left = wanted - atomic_load(&px.proxy.faults);
        if (!round_of(left < ROUND ? left : ROUND, &worst_empty)) {
            break;
        }
    }
    finish(&worst_empty);
    double seconds = (double)(px_now() - begun) / (double)PX_SECOND;
    figure f[FIGURES];
    figures(f, seconds, worst_empty);
    print_table();
    uint64_t wrong = write_report(argv[6], f);
    bool late = wrong > 0 && wrong == atomic_load(&px.wrongs[PX_OVERDUE]);
    printf("proxy: seed %" PRIu64 ": %s\n", px.seed, wrong == 0 ? "nothing wrong" : late ? "LATE" : "WRONG");
    return wrong == 0 ? 0 : late ? ONLY_LATE : 1;
}
