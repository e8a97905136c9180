/* Eight processes that want one lock all the time: one holds at a time, in the order of asking, with rising tokens, and
 * nobody waits long, and the log does not grow for ever. DSYNC_LONG=1: for a minute. */
#include "rig.h"

#include <sys/stat.h>

/* Writers that never pause leave no moment at which the write-ahead log could be begun anew by itself. */
static double log_megabytes(const rig *r) {
    char log[600];
    struct stat st;
    (void)snprintf(log, sizeof(log), "%s-wal", rig_file(r));
    return stat(log, &st) == 0 ? (double)st.st_size / 1e6 : 1e6;
}

static void contend(const char *what, int64_t work_ns, int64_t length_ms, int64_t worst_ms) {
    rig *r = rig_new("contention");
    r->work_ns = work_ns;
    for (int i = 0; i < RIG_WORKERS; i++) {
        rig_start(r, i);
    }
    rig_watch_machine(r);
    rig_sleep(length_ms * RIG_MS);
    double late_ms = rig_late_ms(r, what), log = log_megabytes(r);
    rig_stop(r, RIG_WORKERS);
    size_t count = rig_check(r, what);
    int64_t worst = 0;
    uint32_t least = UINT32_MAX, most = 0;
    for (int i = 0; i < RIG_WORKERS; i++) {
        uint32_t mine = atomic_load(&r->slots[i].count);
        int64_t own = atomic_load(&r->slots[i].worst_ns);
        worst = own > worst ? own : worst;
        least = mine < least ? mine : least;
        most = mine > most ? mine : most;
    }
    rig_figure((double)count * 1000 / (double)length_ms, "turns/s", "%s", what);
    rig_figure(least, "turns", "%s, worker with the fewest", what);
    rig_figure(most, "turns", "%s, worker with the most", what);
    rig_at_most((double)worst / 1e6, rig_allow_ms((double)worst_ms, late_ms), "ms", "%s, worst cycle without the work",
                what);
    /* The thread that folds it may have to wait for a processor, seconds long on a machine busy with other tests. */
    rig_at_most(log, rig_is_long() ? 32 : 256, "MB", "%s, the log is as long as", what);
    rig_free(r);
}

int main(void) {
    bool is_long = rig_is_long();
    /* A machine busy with other tests may keep a process waiting; on an idle one the bound is 100 ms. */
    contend("8 processes", 0, is_long ? 60000 : 2000, is_long ? 100 : 1000);
    contend("8 processes with 2 ms of work", 2 * RIG_MS, is_long ? 10000 : 1000, is_long ? 200 : 1000);
    return rig_result();
}
