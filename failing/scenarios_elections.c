/* scenarios_elections.c: candidates, leaders, and those who watch them. */
#include "failing.h"

#include <stddef.h>

static bool elect(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *leader = fl_leader(client, "e");
    bool held = fl_acquire(leader, 1000);
    fl_release(leader);
    dsync_lock_free(leader);
    fl_close(client);
    return held;
}

static bool succession(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *first = fl_leader(client, "e"), *second = fl_leader(client, "e");
    bool held = fl_acquire(first, 1000);
    dsync_op *op = fl_acquire_start(second, 1500);
    fl_exclude(first, second);
    fl_release(first);
    bool got = fl_end(op, NULL, 1500);
    fl_exclude(first, second);
    fl_release(second);
    dsync_lock_free(first);
    dsync_lock_free(second);
    fl_close(client);
    return held && got;
}

static bool proclaim(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *leader = fl_leader(client, "e");
    dsync_error error = {DSYNC_OK, ""};
    bool held = fl_acquire(leader, 1000), said = false;
    if (held) {
        said = fl_end(dsync_proclaim_start(leader, "{\"a\":[1]}", 9, 1, &error), &error, 5000);
    }
    fl_release(leader);
    dsync_lock_free(leader);
    fl_close(client);
    return said;
}

/* Takes changes until one of that type came, or the end. */
static bool hear(dsync_watcher *watcher, const char *type) {
    for (int i = 0; i < 40 && watcher != NULL; i++) {
        dsync_change change;
        dsync_error error = {DSYNC_OK, ""};
        int got = dsync_watch_next(watcher, &change, &error);
        if (got < 0) {
            fl_code(error.code, error.message);
            return false;
        }
        if (got == 0) {
            if (!dsync_watch_wait(watcher, 50)) {
                continue;
            }
        } else if (change.type[0] == type[0]) {
            return true;
        }
    }
    return false;
}

static dsync_watcher *watch(dsync_client *client, const char *name) {
    dsync_error error = {DSYNC_OK, ""};
    dsync_watcher *watcher = client != NULL ? dsync_watch(client, NULL, name, NULL, &error) : NULL;
    if (client != NULL && watcher == NULL) {
        fl_code(error.code, error.message);
    }
    return watcher;
}

static bool observed(const char *name) {
    dsync_client *client = fl_open(NULL);
    dsync_watcher *watcher = watch(client, name);
    dsync_lock *leader = fl_leader(client, "e");
    bool held = fl_acquire(leader, 1000);
    bool heard = held && hear(watcher, "elected");
    fl_release(leader);
    heard = heard && hear(watcher, "vacant");
    if (watcher != NULL) {
        dsync_watcher_close(watcher);
    }
    dsync_watcher_free(watcher);
    dsync_lock_free(leader);
    fl_close(client);
    return heard;
}

static bool observe_one(void) {
    return observed("e");
}

static bool observe_all(void) {
    return observed(NULL);
}

static bool watcher_outlives_client(void) {
    dsync_client *client = fl_open(NULL);
    dsync_watcher *watcher = watch(client, "e");
    bool heard = hear(watcher, "vacant");
    fl_close(client);
    dsync_watcher_free(watcher);
    return heard;
}

static bool members(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *first = fl_leader(client, "e"), *second = fl_leader(client, "f");
    dsync_error error = {DSYNC_OK, ""};
    bool done = fl_acquire(first, 1000);
    done = fl_acquire(second, 1000) && done;
    if (client != NULL) {
        done = fl_end(dsync_members_start(client, NULL, &error), &error, 5000) && done;
    }
    fl_release(first);
    fl_release(second);
    dsync_lock_free(first);
    dsync_lock_free(second);
    fl_close(client);
    return done;
}

const fl_scenario fl_elections[] = {{"elect and resign", elect, FL_EVERYWHERE, false},
                                    {"succession", succession, FL_EVERYWHERE, false},
                                    {"proclaim", proclaim, FL_EVERYWHERE, false},
                                    {"observe an election", observe_one, FL_EVERYWHERE, false},
                                    {"observe a namespace", observe_all, FL_EVERYWHERE, false},
                                    {"a watcher outlives its client", watcher_outlives_client, FL_EVERYWHERE, false},
                                    {"members", members, FL_EVERYWHERE, false},
                                    {NULL, NULL, 0, false}};
