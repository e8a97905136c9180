/* Processes killed at any instant of their transactions: the database is whole each time, what was committed stays, and
 * the next process goes on at once with higher tokens. Each fifth time all processes are killed, so that the next one
 * has to read the log anew. DSYNC_LONG=1: 1000 kills. */
#include "rig.h"

#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* "" when it is whole. It is opened by a process of its own, which leaves none of SQLite's state in this one. */
static bool is_whole(const rig *r, long long *revision) {
    int64_t result[2] = {0, 0};
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        sqlite3 *db = NULL;
        sqlite3_stmt *sql = NULL;
        if (sqlite3_open_v2(rig_file(r), &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
            (void)sqlite3_busy_timeout(db, 2000);
            if (sqlite3_prepare_v2(db,
                                   "SELECT integrity_check, (SELECT revision FROM meta) FROM pragma_integrity_check",
                                   -1, &sql, NULL) == SQLITE_OK &&
                sqlite3_step(sql) == SQLITE_ROW) {
                result[0] = strcmp((const char *)sqlite3_column_text(sql, 0), "ok") == 0;
                result[1] = sqlite3_column_int64(sql, 1);
            }
        }
        _exit(write(ends[1], result, sizeof(result)) == (ssize_t)sizeof(result) ? 0 : 1);
    }
    (void)close(ends[1]);
    bool got = read(ends[0], result, sizeof(result)) == (ssize_t)sizeof(result);
    (void)close(ends[0]);
    (void)waitpid(pid, NULL, 0);
    *revision = result[1];
    return got && result[0] == 1;
}

/* The highest token that a worker is known to have been given. */
static int64_t highest(const rig *r) {
    int64_t token = 0;
    for (int i = 0; i < RIG_WORKERS; i++) {
        uint32_t count = atomic_load(&r->slots[i].count);
        int64_t last = count > 0 ? r->slots[i].claims[count - 1].token : 0;
        token = last > token ? last : token;
    }
    return token;
}

#define WORKERS 3

/* Stops processes at random until one of them stands inside a transaction. -1: never. */
static int stop_inside(const rig *r) {
    for (int i = 0; i < 100000; i++) {
        int victim = (int)(rig_random() % WORKERS);
        pid_t pid = r->slots[victim].pid;
        int status = 0;
        rig_sleep((int64_t)(rig_random() % 1000) * 1000);
        (void)kill(pid, SIGSTOP);
        if (waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && rig_writer(r) == pid) {
            return victim;
        }
        (void)kill(pid, SIGCONT);
    }
    return -1;
}

static void end_worker(const rig *r, int worker) {
    (void)kill(r->slots[worker].pid, SIGKILL);
    (void)waitpid(r->slots[worker].pid, NULL, 0);
}

static void kill_inside(int kills) {
    rig *r = rig_new("torn");
    int whole = 0, forward = 0, inside = 0;
    for (int i = 0; i < WORKERS; i++) {
        rig_start(r, i);
    }
    rig_sleep(200 * RIG_MS);
    for (int n = 0; n < kills; n++) {
        int victim = stop_inside(r);
        if (victim < 0) {
            break;
        }
        bool all = n % 5 == 4;
        int64_t known = highest(r);
        inside++;
        for (int i = 0; i < WORKERS; i++) {
            if (all || i == victim) {
                end_worker(r, i);
            }
        }
        long long revision = 0;
        whole += is_whole(r, &revision) ? 1 : 0;
        forward += revision >= known ? 1 : 0;
        for (int i = 0; i < WORKERS; i++) {
            if (all || i == victim) {
                rig_start(r, i);
            }
        }
    }
    rig_at_least(inside, kills, "kills", "killed inside a transaction");
    rig_at_least(whole, kills, "kills", "killed inside a transaction: the database was whole");
    rig_at_least(forward, kills, "kills", "killed inside a transaction: nothing committed was lost");
    rig_stop(r, WORKERS);
    (void)rig_check(r, "killed inside a transaction");
    rig_free(r);
}

int main(void) {
    kill_inside(rig_is_long() ? 1000 : 40);
    return rig_result();
}
