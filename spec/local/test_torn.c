/* Processes killed at any instant of their transactions: the database is whole each time, what was committed stays, and
 * the next process goes on at once with higher tokens. DSYNC_LONG=1: 1000 kills. */
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

static void kill_anywhere(int kills) {
    rig *r = rig_new("torn");
    int whole = 0, forward = 0;
    for (int i = 0; i < 3; i++) {
        rig_start(r, i);
    }
    rig_sleep(200 * RIG_MS);
    for (int n = 0; n < kills; n++) {
        int victim = (int)(rig_random() % 3);
        rig_sleep((int64_t)(rig_random() % 4000) * 1000);
        int64_t known = highest(r);
        (void)kill(r->slots[victim].pid, SIGKILL);
        (void)waitpid(r->slots[victim].pid, NULL, 0);
        long long revision = 0;
        whole += is_whole(r, &revision) ? 1 : 0;
        forward += revision >= known ? 1 : 0;
        rig_start(r, victim);
    }
    rig_expect(whole == kills, "whole after %d of %d kills", whole, kills);
    rig_expect(forward == kills, "nothing committed was lost in %d of %d", forward, kills);
    rig_stop(r, 3);
    (void)rig_check(r, "torn");
    rig_free(r);
}

int main(void) {
    kill_anywhere(rig_is_long() ? 1000 : 40);
    return rig_result();
}
