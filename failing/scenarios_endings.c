/* scenarios_endings.c: closing at the wrong moment, events, alarms, descriptors. */
#include "failing.h"

#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

static bool close_while_waiting(void) {
    dsync_client *client = fl_open(NULL), *second = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q"), *wanted = fl_lock(second, "q");
    bool held = fl_acquire(lock, 1000);
    dsync_op *op = fl_acquire_start(wanted, 60000);
    fl_close(second);
    bool got = fl_end(op, NULL, 0);
    if (got && fl_held(wanted)) {
        fl_fail("held by a closed client");
    }
    fl_release(lock);
    dsync_lock_free(wanted);
    dsync_lock_free(lock);
    fl_close(client);
    return held;
}

static bool close_while_held(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q"), *leader = fl_leader(client, "e");
    bool held = fl_acquire(lock, 1000);
    held = fl_acquire(leader, 1000) && held;
    fl_close(client);
    if (fl_held(lock) || fl_held(leader)) {
        fl_fail("held by a closed client");
    }
    dsync_lock_free(lock);
    dsync_lock_free(leader);
    return held;
}

static bool let_go(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    bool held = fl_acquire(lock, 1000);
    dsync_lock_free(lock);
    if (client != NULL) {
        dsync_client_unref(client);
    }
    return held;
}

static bool close_twice(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    dsync_error error = {DSYNC_OK, ""};
    bool held = fl_acquire(lock, 1000), ended = false;
    if (client != NULL) {
        ended = fl_end(dsync_close_start(client, 1000, &error), &error, 1000);
        if (fl_held(lock)) {
            fl_fail("held by a closing client");
        }
    }
    (void)fl_acquire(lock, 1000);
    dsync_lock_free(lock);
    fl_close(client);
    return held && ended;
}

static bool take_events(dsync_client *client, dsync_event_type wanted, int64_t limit_ms) {
    for (int64_t waited = 0; waited < limit_ms; waited += 100) {
        dsync_event event;
        (void)dsync_wait_event(client, 100);
        while (dsync_next_event(client, &event)) {
            if (event.type == wanted) {
                return true;
            }
        }
    }
    return false;
}

static bool events(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    dsync_error error = {DSYNC_OK, ""};
    bool told = false, fd = false;
    if (client != NULL) {
        dsync_want_notices(client, 1);
        fd = dsync_fd(client, &error) >= 0;
        fl_code(fd ? DSYNC_OK : error.code, error.message);
    }
    dsync_op *op = fl_acquire_start(lock, 1000);
    if (op != NULL) {
        dsync_op_notify(op);
        told = take_events(client, DSYNC_EVENT_DONE, 2000);
        if (!told) {
            fl_fail("nobody was told that an operation ended");
        }
    }
    (void)fl_end(op, NULL, 1000);
    dsync_lock_free(lock);
    fl_close(client);
    return told && fd;
}

static bool event_socket(void) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        return true; /* the failing call was ours */
    }
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    dsync_error error = {DSYNC_OK, ""};
    bool set = false, held = false;
    if (client != NULL) {
        dsync_code code = dsync_event_socket(client, pair[1], &error);
        set = code == DSYNC_OK;
        fl_code(code, error.message);
        dsync_op *op = fl_acquire_start(lock, 1000);
        if (op != NULL) {
            dsync_op_notify(op);
        }
        held = fl_end(op, NULL, 1000);
    }
    fl_release(lock);
    dsync_lock_free(lock);
    fl_close(client);
    close(pair[0]);
    close(pair[1]);
    return set && held;
}

static bool revocation_is_told(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    dsync_error error = {DSYNC_OK, ""};
    dsync_acquire_options options;
    dsync_acquire_options_init(&options);
    options.wait_ms = 1000;
    options.hold_ms = 15;
    dsync_op *op = lock != NULL ? dsync_acquire_start(lock, &options, &error) : NULL;
    bool held = fl_end(op, &error, 1000), told = false;
    if (held) {
        told = take_events(client, DSYNC_EVENT_REVOKED, 3000);
        if (!told) {
            fl_fail("a loss that nobody was told of");
        }
    }
    dsync_lock_free(lock);
    fl_close(client);
    return told;
}

static bool alarm_clock(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    dsync_error error = {DSYNC_OK, ""};
    bool held = fl_acquire(lock, 1000);
    dsync_alarm *alarm = held ? dsync_alarm_new(lock, 0, &error) : NULL;
    if (held) {
        fl_code(alarm != NULL ? DSYNC_OK : error.code, error.message);
    }
    bool set = alarm != NULL && !dsync_alarm_rung(alarm);
    fl_release(lock);
    dsync_alarm_free(alarm);
    dsync_lock_free(lock);
    fl_close(client);
    return set;
}

const fl_scenario fl_endings[] = {{"close while one waits", close_while_waiting, FL_EVERYWHERE, false},
                                  {"close while held", close_while_held, FL_EVERYWHERE, false},
                                  {"let go of everything", let_go, FL_EVERYWHERE, false},
                                  {"close twice", close_twice, FL_EVERYWHERE, false},
                                  {"events", events, FL_EVERYWHERE, false},
                                  {"an event socket", event_socket, FL_EVERYWHERE, false},
                                  {"a loss is told", revocation_is_told, FL_EVERYWHERE, false},
                                  {"an alarm", alarm_clock, FL_EVERYWHERE, false},
                                  {NULL, NULL, 0, false}};
