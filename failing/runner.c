/* runner.c: runs each scenario with each thing failing: in processes of their own, under a watchdog, within a budget of
 * time, with a table at the end and a report for machines.
 *
 * A point is one run of a scenario in which the n-th thing fails, alone or with all that follow. With too little time
 * for all points, those that are run lie evenly spread.
 */
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANG_MS 40000  /* no scenario takes that long, whatever fails */
#define LEAKS_EVERY 50 /* points between two looks for leaks */
#define WORKERS 4      /* at once, if FL_WORKERS does not say otherwise: most of the time is spent waiting */
#define WORKERS_MAX 32
#define GIVE_UP 3     /* failures of one scenario under one kind */
#define RUNS 3        /* of a point, if the machine may have been too slow: as often in a row, and it is a failure */
#define LEAST_MS 1200 /* of one scenario under one kind; with less time fewer of them are run, evenly spread */

#if defined(__SANITIZE_ADDRESS__)
int __lsan_do_recoverable_leak_check(void);
#define LEAKED() (__lsan_do_recoverable_leak_check() != 0)
#else
#define LEAKED() false
#endif

/* Shared with the process that runs the points. */
typedef struct progress {
    _Atomic uint64_t next;    /* the point to be run next */
    _Atomic bool running;     /* the one before it is being run */
    _Atomic int64_t began_ms; /* the present one */
    _Atomic uint64_t total;   /* of things that can fail, counted without a failure */
    _Atomic uint64_t points, refused, unharmed;
    uint64_t codes[DSYNC_CODE_COUNT]; /* points in which a call said so */
    _Atomic int over;
} progress;

static const char *const place_names[FL_PLACES] = {"memory", "local", "etcd", "etcd with users", "etcd with TLS"};

#define KINDS 8

/* Each combination is for the first worker that comes to it. */
typedef struct queue {
    _Atomic uint64_t begun;
    _Atomic bool taken[]; /* by number, from 1 */
} queue;

int fl_worker;

static struct {
    const fl_campaign *campaign;
    const char *report, *commit, *only;
    int64_t seconds, began_ms;
    int workers;
    queue *queue;          /* in shared memory */
    fl_row (*rows)[KINDS]; /* of each worker, in shared memory; those of the last one more are the sums */
    uint64_t combinations, wanted, met, codes;
    progress *shared;
    char log[200];
} run;

static int64_t now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- one point --------------------------------------------------------------------------------------------------- */

/* A stride that is prime to `total` and about 0.618 of it visits every number once, evenly. */
static uint64_t gcd(uint64_t a, uint64_t b) {
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static uint64_t stride(uint64_t total) {
    uint64_t step = total * 618 / 1000;
    for (step = step > 0 ? step : 1; gcd(step, total) != 1; step++) {
    }
    return step;
}

static void run_point(const fl_kind *kind, const fl_scenario *scenario, uint64_t point) {
    progress *p = run.shared;
    uint64_t variants = (uint64_t)kind->variants;
    uint64_t total = p->total * variants * 2;
    uint64_t chosen = point * stride(total) % total;
    bool failed = false, all_after = chosen % 2 == 1;
    uint64_t nth = chosen / 2 / variants + 1;
    int variant = (int)(chosen / 2 % variants);
    fprintf(stderr, "point %llu: the %lluth%s fails, variant %d\n", (unsigned long long)point, (unsigned long long)nth,
            all_after ? " and every later one" : "", variant);
    /* Where nothing can be had for long, it is as if no server answered. */
    fl_allow(run.codes | (all_after ? UINT64_C(1) << DSYNC_UNAVAILABLE : 0));
    fl_seen_reset();
    kind->arm(variant, nth, all_after);
    bool unharmed = scenario->run();
    (void)kind->disarm(&failed);
    uint64_t codes = fl_seen();
    fl_others_may_have_it();
    p->points++;
    p->refused += failed;
    p->unharmed += failed && unharmed;
    for (int code = 0; code < DSYNC_CODE_COUNT; code++) {
        p->codes[code] += failed && (codes >> code & 1) != 0;
    }
}

/* ---- the process that runs points -------------------------------------------------------------------------------- */

static void count_things(const fl_kind *kind, const fl_scenario *scenario) {
    bool failed;
    fl_others_may_have_it();
    for (int i = 0; i < 2; i++) { /* what is made once in a process is made in the first run */
        fl_seen_reset();
        kind->arm(0, 0, false);
        if (!scenario->run()) {
            fl_fail_late("it does not even work when nothing fails");
        }
        run.shared->total = kind->disarm(&failed);
    }
}

/* Nothing of the library has been used in the process that runs it. */
static void in_a_process(const fl_kind *kind, const fl_scenario *scenario, uint64_t point, bool count) {
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        if (!count) {
            run_point(kind, scenario, point);
        } else {
            bool failed;
            kind->arm(0, 0, false);
            (void)scenario->run();
            run.shared->total = kind->disarm(&failed);
            fl_others_may_have_it();
        }
        _exit(LEAKED() ? 98 : 0);
    }
    if (pid >= 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == FL_LATE) {
        _exit(FL_LATE);
    }
    if (pid < 0 || status != 0) {
        fl_fail("the point's own process ended with status %d", status);
    }
}

static _Noreturn void child(const fl_kind *kind, const fl_scenario *scenario, int64_t until_ms) {
    progress *p = run.shared;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int log = open(run.log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    (void)dup2(log, STDERR_FILENO);
    (void)dup2(log, STDOUT_FILENO);
    if (run.campaign->prepare != NULL) {
        run.campaign->prepare();
    }
    if (kind->fresh) {
        in_a_process(kind, scenario, 0, true);
    } else {
        count_things(kind, scenario);
    }
    run.codes = fl_seen() | run.campaign->codes;
    uint64_t all = p->total * (uint64_t)kind->variants * 2;
    while (p->next < all && now_ms() < until_ms) {
        uint64_t point = p->next++;
        p->began_ms = now_ms();
        p->running = true;
        if (kind->fresh) {
            in_a_process(kind, scenario, point, false);
            p->running = false;
            continue;
        }
        run_point(kind, scenario, point);
        p->running = false;
        if ((point + 1) % LEAKS_EVERY == 0 && LEAKED()) {
            fl_fail("a leak within the last %d points", LEAKS_EVERY);
        }
    }
    p->began_ms = now_ms();
    if (LEAKED()) {
        fl_fail("a leak within the last points");
    }
    p->over = 1;
    _exit(0);
}

/* ---- the watchdog ------------------------------------------------------------------------------------------------ */

static int watch(pid_t pid, bool *hung) {
    int status = 0;
    *hung = false;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now_ms() - run.shared->began_ms > HANG_MS) {
            *hung = true;
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            break;
        }
        (void)usleep(10000);
    }
    return status;
}

static void complain(const fl_kind *kind, const fl_scenario *scenario, fl_place place, const char *what) {
    static unsigned number;
    char kept[260];
    (void)snprintf(kept, sizeof kept, "%s.%u", run.log, ++number);
    (void)rename(run.log, kept);
    printf("FAILED %s: %s on %s, %s; see %s\n", kind->name, scenario->name, place_names[place], what, kept);
}

/* What a slow machine may have spoilt is run again, unless that has been done often enough. */
typedef struct repetition {
    uint64_t next; /* the point after the one that was late */
    unsigned runs;
} repetition;

static bool is_repeated(repetition *last) {
    progress *p = run.shared;
    last->runs = p->next == last->next ? last->runs + 1 : 1;
    last->next = p->next;
    if (last->runs == RUNS) {
        last->runs = 0;
        return false;
    }
    p->next -= p->running; /* nothing but the counting may have been late */
    return true;
}

/* In its own process until all is run, time is over, or it failed too often. */
static void combination(const fl_kind *kind, const fl_scenario *scenario, fl_place place, fl_row *r) {
    int64_t left = run.seconds * 1000 - (now_ms() - run.began_ms);
    uint64_t waiting = run.wanted - atomic_load(&run.queue->begun);
    int64_t share = left / (int64_t)(waiting / (uint64_t)run.workers + 1);
    int64_t until = run.seconds > 0 ? now_ms() + (share > 0 ? share : 0) : INT64_MAX;
    progress *p = run.shared;
    memset(p, 0, sizeof *p);
    fl_here = place;
    fflush(stdout);
    repetition last = {0, 0};
    for (int failures = 0; failures < GIVE_UP && !p->over;) {
        bool hung;
        p->began_ms = now_ms();
        p->running = false;
        pid_t pid = fork();
        if (pid < 0) {
            perror("fork");
            exit(1);
        }
        if (pid == 0) {
            child(kind, scenario, until);
        }
        int status = watch(pid, &hung);
        bool late = !hung && WIFEXITED(status) && WEXITSTATUS(status) == FL_LATE;
        if (late && is_repeated(&last)) {
            r->late++;
        } else if (status != 0 || hung) {
            failures++;
            r->failures++;
            complain(kind, scenario, place,
                     hung                  ? "hung"
                     : late                ? "wrong or late each time"
                     : WIFSIGNALED(status) ? "ended by a signal"
                                           : "ended itself");
        }
    }
    r->combinations++;
    r->points += p->points;
    r->refused += p->refused;
    r->unharmed += p->unharmed;
    r->all += p->total * (uint64_t)kind->variants * 2;
    for (int code = 0; code < DSYNC_CODE_COUNT; code++) {
        r->codes[code] += p->codes[code];
    }
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static const fl_scenario *const lists[] = {fl_locks, fl_store, fl_elections, fl_endings, fl_lua};

static void each(void (*visit)(const fl_kind *, const fl_scenario *, fl_place, fl_row *)) {
    for (size_t k = 0; k < run.campaign->kind_count; k++) {
        const fl_kind *kind = &run.campaign->kinds[k];
        for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
            for (const fl_scenario *s = lists[l]; s->name != NULL; s++) {
                for (int place = 0; place < FL_PLACES; place++) {
                    bool wanted = run.only == NULL || strstr(s->name, run.only) != NULL;
                    bool here = (s->places & FL_ON(place)) != 0 && fl_urls[place] != NULL;
                    if (wanted && here && kind->used(s, (fl_place)place)) {
                        visit(kind, s, (fl_place)place, &run.rows[fl_worker][k]);
                    }
                }
            }
        }
    }
}

static void count_combination(const fl_kind *kind, const fl_scenario *scenario, fl_place place, fl_row *r) {
    (void)kind;
    (void)scenario;
    (void)place;
    (void)r;
    run.combinations++;
}

static void if_chosen(const fl_kind *kind, const fl_scenario *scenario, fl_place place, fl_row *r) {
    uint64_t before = run.met * run.wanted / run.combinations;
    run.met++;
    uint64_t number = run.met * run.wanted / run.combinations;
    if (number != before && !atomic_exchange(&run.queue->taken[number], true)) {
        atomic_fetch_add(&run.queue->begun, 1);
        combination(kind, scenario, place, r);
    }
}

static size_t scenario_count(void) {
    size_t count = 0;
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        for (const fl_scenario *s = lists[l]; s->name != NULL; s++) {
            count++;
        }
    }
    return count;
}

/* How many failures there were. */
static uint64_t finish(void) {
    fl_row *sums = run.rows[run.workers];
    for (size_t k = 0; k < run.campaign->kind_count; k++) {
        for (int worker = 0; worker < run.workers; worker++) {
            fl_row_add(&sums[k], &run.rows[worker][k]);
        }
    }
    fl_summary summary = {.title = run.campaign->title,
                          .commit = run.commit,
                          .report = run.report,
                          .rows = sums,
                          .count = run.campaign->kind_count,
                          .scenarios = scenario_count(),
                          .seconds = (now_ms() - run.began_ms) / 1000};
    return fl_tell(&summary);
}

static void *shared_memory(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return memory;
}

/* Each with its own prefix in the stores and its own log. */
static void work(int worker) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    fl_worker = worker;
    run.shared = shared_memory(sizeof *run.shared);
    (void)snprintf(run.log, sizeof run.log, "%s.log.%d", run.report, worker);
    each(if_chosen);
    fflush(stdout);
    _exit(0);
}

static bool run_workers(void) {
    bool good = true;
    for (int worker = 0; worker < run.workers; worker++) {
        pid_t pid = fork();
        if (pid == 0) {
            work(worker);
        }
        good = good && pid > 0;
    }
    int status;
    while (waitpid(-1, &status, 0) > 0) {
        good = good && status == 0;
    }
    return good;
}

/* URLs by place, "" for none, then: REPORT COMMIT SECONDS LUA-PROGRAM [part of a scenario's name]. */
int fl_main(const fl_campaign *campaign, int count, char **arguments) {
    if (count < FL_PLACES + 5) {
        fprintf(stderr, "usage: %s URL... REPORT COMMIT SECONDS PROGRAM [NAME]\n", arguments[0]);
        return 64;
    }
    for (int i = 0; i < FL_PLACES; i++) {
        fl_urls[i] = arguments[i + 1][0] != '\0' ? arguments[i + 1] : NULL;
    }
    char **rest = arguments + FL_PLACES + 1;
    run.campaign = campaign;
    run.report = rest[0];
    run.commit = rest[1];
    run.seconds = strtoll(rest[2], NULL, 10);
    fl_lua_program = rest[3];
    run.only = count > FL_PLACES + 5 ? rest[4] : NULL;
    const char *wish = getenv("FL_WORKERS");
    long workers = wish != NULL ? strtol(wish, NULL, 10) : 0;
    run.workers = workers > 0 && workers <= WORKERS_MAX ? (int)workers : WORKERS;
    run.rows = shared_memory((size_t)(run.workers + 1) * sizeof *run.rows);
    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t k = 0; k < campaign->kind_count; k++) {
        run.rows[run.workers][k].kind = campaign->kinds[k].name;
    }
    run.began_ms = now_ms();
    each(count_combination);
    uint64_t most = (uint64_t)run.seconds * 1000 / LEAST_MS;
    run.wanted = run.seconds > 0 && most < run.combinations ? most : run.combinations;
    run.queue = shared_memory(sizeof *run.queue + (run.combinations + 1) * sizeof run.queue->taken[0]);
    bool good = run_workers();
    return finish() == 0 && good ? 0 : 1;
}
