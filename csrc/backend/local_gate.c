/* local_gate.c: one process at a time writes.
 *
 * The gate keeps writers from meeting in SQLite's own locks, whose waiters sleep for up to 100 ms at a time. It is a
 * POSIX lock, because flock() would survive a killed process in its forked children. It protects nothing: SQLite does
 * that. The wait for it is bounded, so that a process that was stopped inside a transaction cannot stop whole event
 * loops.
 */
#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "../base/error.h"

#define PATIENCE_NS (100 * DS_MS)
#define FIRST_PAUSE_NS 20000
#define LAST_PAUSE_NS 1000000

static int64_t monotonic_ns(void) {
    struct timespec now;
    return clock_gettime(CLOCK_MONOTONIC, &now) == 0 ? (int64_t)now.tv_sec * DS_SECOND + now.tv_nsec : 0;
}

static int gate_try(const loc_store *store, short type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};
    return fcntl(store->gate, F_SETLK, &lock) == 0 ? 0 : errno;
}

/* Short naps while the usual transaction lasts; longer ones when somebody is evidently stuck. */
static void nap(const loc_store *store, int64_t waited_ns) {
    int64_t pause = waited_ns / 8;
    pause = pause < FIRST_PAUSE_NS ? FIRST_PAUSE_NS : pause > LAST_PAUSE_NS ? LAST_PAUSE_NS : pause;
    uint32_t random = (uint32_t)waited_ns;
    if (store->world != NULL) {
        store->world->ops->random(store->world, &random, sizeof(random));
    }
    struct timespec length = {0, (long)(pause / 2 + (int64_t)(random % (uint32_t)pause))};
    (void)nanosleep(&length, NULL);
}

bool loc_gate_take(loc_store *store) {
    int64_t since = 0;
    for (;;) {
        int err = gate_try(store, F_WRLCK);
        if (err == 0) {
            return true;
        }
        if (err != EAGAIN && err != EACCES && err != EINTR) {
            dsync_code code = loc_path_error(&store->fault, err, "lock the folder beside", store->file);
            store->fault_class = code == DSYNC_RESOURCE ? DS_NOT_EXECUTED : DS_REFUSED;
            return false;
        }
        int64_t now = monotonic_ns();
        since = since == 0 ? now : since;
        if (now - since > PATIENCE_NS) {
            return loc_fault(store, DS_NOT_EXECUTED, DSYNC_UNAVAILABLE,
                             "another process keeps the database busy; was it stopped in the middle of a change?");
        }
        nap(store, now - since);
    }
}

void loc_gate_give(loc_store *store) {
    (void)gate_try(store, F_UNLCK);
}
