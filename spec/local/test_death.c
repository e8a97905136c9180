/* Holders that are killed, and holders that are stopped for longer than their ttl: the next one gets in, at once or
 * when the time is over, and nobody ever believes together with another. DSYNC_LONG=1: 200 of each. */
#include "rig.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

/* Somebody who holds right now, -1: nobody does within two seconds. */
static int find_holder(rig *r, int workers) {
    for (int n = 0; n < 20000; n++) {
        for (int i = 0; i < workers; i++) {
            if (atomic_load(&r->slots[i].holds)) {
                return i;
            }
        }
        rig_sleep(100000);
    }
    return -1;
}

/* When somebody else first held after `since`; 0: nobody within `limit_ns`. */
static int64_t next_begin(rig *r, int workers, int except, int64_t since, int64_t limit_ns) {
    while (rig_now() < since + limit_ns) {
        for (int i = 0; i < workers; i++) {
            const rig_claim *claim = &r->slots[i].claims[atomic_load(&r->slots[i].count)];
            if (i != except && atomic_load(&r->slots[i].holds) && claim->begin > since) {
                return claim->begin;
            }
        }
        rig_sleep(50000);
    }
    return 0;
}

/* What the dead one believed last is a claim too. */
static void bury(rig *r, int victim, int64_t at) {
    rig_slot *slot = &r->slots[victim];
    uint32_t count = atomic_load(&slot->count);
    int status = 0;
    (void)waitpid(slot->pid, &status, 0);
    if (atomic_load(&slot->holds) && slot->claims[count].end > slot->claims[count].begin) {
        slot->claims[count].end = slot->claims[count].end > at ? slot->claims[count].end : at;
        atomic_store(&slot->count, count + 1);
    }
}

static void report(rig *r, const char *what, int64_t *taken, int count, int wanted, int64_t median_ms,
                   int64_t worst_ms) {
    qsort(taken, (size_t)count, sizeof(*taken), rig_compare_ns);
    double median = count > 0 ? (double)taken[count / 2] / 1e6 : 0;
    double worst = count > 0 ? (double)taken[count - 1] / 1e6 : 0;
    double late_ms = rig_late_ms(r, what);
    rig_at_least(count, wanted, "times", "%s: the next one got in", what);
    /* Few of them on a busy machine say little. */
    double bound = count < 20 ? rig_allow_ms((double)median_ms, late_ms) : (double)median_ms;
    rig_at_most(median, bound, "ms", "%s: until the next one holds, median", what);
    rig_at_most(worst, rig_allow_ms((double)worst_ms, late_ms), "ms", "%s: until the next one holds, worst", what);
}

static void kill_holders(int kills, bool is_long) {
    rig *r = rig_new("death");
    int64_t *taken = calloc((size_t)kills, sizeof(*taken));
    int count = 0;
    r->work_ns = 10 * RIG_MS;
    for (int i = 0; i < 4; i++) {
        rig_start(r, i);
    }
    rig_watch_machine(r);
    for (int n = 0; n < kills && taken != NULL; n++) {
        rig_sleep((int64_t)(rig_random() % 20) * RIG_MS);
        int victim = find_holder(r, 4);
        if (victim < 0) {
            break;
        }
        int64_t at = rig_now();
        (void)kill(r->slots[victim].pid, SIGKILL);
        bury(r, victim, at);
        int64_t begin = next_begin(r, 4, victim, at, 5000 * RIG_MS);
        if (begin != 0) {
            taken[count++] = begin - at;
        }
        rig_start(r, victim);
    }
    report(r, "killed", taken, count, kills, is_long ? 10 : 50, is_long ? 100 : 1000);
    rig_stop(r, 4);
    (void)rig_check(r, "killed");
    free(taken);
    rig_free(r);
}

/* Stops somebody who holds and works; -1: nobody does. One that stands in the middle of a change (its work was just
 * over, or it renews) would make everybody wait, as docs/local.md says: it goes on, and another is looked for. */
static int stop_holder(rig *r, int workers, int64_t *at) {
    for (int n = 0; n < 100; n++) {
        int victim = find_holder(r, workers), status = 0;
        if (victim < 0) {
            break;
        }
        pid_t pid = r->slots[victim].pid;
        *at = rig_now();
        if (kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) &&
            atomic_load(&r->slots[victim].holds) && rig_writer(r) != pid) {
            return victim;
        }
        (void)kill(pid, SIGCONT);
    }
    return -1;
}

static void stop_holders(int stops, bool is_long) {
    rig *r = rig_new("stop");
    int64_t *taken = calloc((size_t)stops, sizeof(*taken));
    int count = 0;
    r->work_ns = 20 * RIG_MS;
    r->ttl_ms = 1000;
    for (int i = 0; i < 4; i++) {
        rig_start(r, i);
    }
    rig_watch_machine(r);
    for (int n = 0; n < stops && taken != NULL; n++) {
        rig_sleep((int64_t)(rig_random() % 50) * RIG_MS);
        int64_t at = 0;
        int victim = stop_holder(r, 4, &at);
        if (victim < 0) {
            break;
        }
        int64_t begin = next_begin(r, 4, victim, at, 5000 * RIG_MS);
        if (begin != 0) {
            taken[count++] = begin - at;
        }
        rig_sleep((int64_t)(rig_random() % 200) * RIG_MS);
        (void)kill(r->slots[victim].pid, SIGCONT);
    }
    report(r, "stopped for longer than a ttl of 1 s", taken, count, stops, is_long ? 1050 : 1200,
           is_long ? 1300 : 3000);
    rig_stop(r, 4);
    (void)rig_check(r, "stopped");
    free(taken);
    rig_free(r);
}

int main(void) {
    bool is_long = rig_is_long();
    kill_holders(is_long ? 200 : 15, is_long);
    stop_holders(is_long ? 200 : 3, is_long);
    return rig_result();
}
