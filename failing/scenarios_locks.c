/* scenarios_locks.c: taking, waiting for, passing on and giving back locks. */
#include "failing.h"

#include <string.h>

static bool acquire_release(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    bool held = fl_acquire(lock, 1000);
    fl_release(lock);
    dsync_lock_free(lock);
    fl_close(client);
    return held;
}

static bool again_and_again(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    unsigned held = 0;
    int64_t token = 0;
    for (int i = 0; i < 3; i++) {
        if (fl_acquire(lock, 1000)) {
            held++;
            if (dsync_token(lock) <= token) {
                fl_fail("a token that is not higher than the one before");
            }
            token = dsync_token(lock);
        }
        fl_release(lock);
    }
    dsync_lock_free(lock);
    fl_close(client);
    return held == 3;
}

static bool try_free(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    bool held = fl_acquire(lock, 0);
    fl_release(lock);
    dsync_lock_free(lock);
    fl_close(client);
    return held;
}

static bool try_taken(void) {
    dsync_client *client = fl_open(NULL), *second = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q"), *wanted = fl_lock(second, "q");
    bool held = fl_acquire(lock, 1000);
    bool both = fl_acquire(wanted, 0);
    fl_exclude(lock, wanted);
    fl_release(lock);
    dsync_lock_free(lock);
    dsync_lock_free(wanted);
    fl_close(client);
    fl_close(second);
    return held && !both;
}

static bool already_held(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    bool held = fl_acquire(lock, 1000);
    (void)fl_acquire(lock, 1000);
    fl_release(lock);
    dsync_lock_free(lock);
    fl_close(client);
    return held;
}

static bool waits_for_another_client(void) {
    dsync_client *client = fl_open(NULL), *second = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q"), *wanted = fl_lock(second, "q");
    bool held = fl_acquire(lock, 1000);
    dsync_op *op = fl_acquire_start(wanted, 1500);
    if (op != NULL) {
        (void)dsync_op_wait(op, 20);
    }
    fl_exclude(lock, wanted);
    fl_release(lock);
    bool got = fl_end(op, NULL, 1500);
    fl_exclude(lock, wanted);
    fl_release(wanted);
    dsync_lock_free(lock);
    dsync_lock_free(wanted);
    fl_close(client);
    fl_close(second);
    return held && got;
}

static bool waits_in_vain(void) {
    dsync_client *client = fl_open(NULL), *second = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q"), *wanted = fl_lock(second, "q");
    bool held = fl_acquire(lock, 1000);
    bool both = fl_acquire(wanted, 40);
    fl_exclude(lock, wanted);
    fl_release(lock);
    dsync_lock_free(wanted);
    dsync_lock_free(lock);
    fl_close(second);
    fl_close(client);
    return held && !both;
}

static bool cancelled(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q"), *wanted = fl_lock(client, "q");
    bool held = fl_acquire(lock, 1000);
    dsync_op *op = fl_acquire_start(wanted, 60000);
    if (op != NULL) {
        dsync_op_cancel(op);
    }
    (void)fl_end(op, NULL, 0);
    fl_release(lock);
    dsync_lock_free(lock);
    dsync_lock_free(wanted);
    fl_close(client);
    return held;
}

static bool cancelled_abroad(void) {
    dsync_client *client = fl_open(NULL), *second = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q"), *wanted = fl_lock(second, "q");
    bool held = fl_acquire(lock, 1000);
    dsync_op *op = fl_acquire_start(wanted, 60000);
    if (op != NULL) {
        (void)dsync_op_wait(op, 10);
        dsync_op_free(op);
    }
    fl_release(lock);
    dsync_lock_free(lock);
    dsync_lock_free(wanted);
    fl_close(client);
    fl_close(second);
    return held && op != NULL;
}

static bool local_turn(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q"), *wanted = fl_lock(client, "q");
    bool held = fl_acquire(lock, 1000);
    dsync_op *op = fl_acquire_start(wanted, 1500);
    fl_exclude(lock, wanted);
    fl_release(lock);
    bool got = fl_end(op, NULL, 1500);
    fl_exclude(lock, wanted);
    fl_release(wanted);
    dsync_lock_free(lock);
    dsync_lock_free(wanted);
    fl_close(client);
    return held && got;
}

#define CROWD 6

static bool crowd(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *locks[CROWD];
    dsync_op *ops[CROWD];
    unsigned got = 0;
    for (int i = 0; i < CROWD; i++) {
        locks[i] = fl_lock(client, "q");
        ops[i] = fl_acquire_start(locks[i], 1500);
    }
    for (int i = 0; i < CROWD; i++) {
        got += fl_end(ops[i], NULL, 1500);
        for (int k = 0; k < i; k++) {
            fl_exclude(locks[i], locks[k]);
        }
        fl_release(locks[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        dsync_lock_free(locks[i]);
    }
    fl_close(client);
    return got == CROWD;
}

static bool many_names(void) {
    static const char *const names[] = {"q", "a/b", "c", "d e", "%"};
    dsync_client *client = fl_open(NULL);
    dsync_lock *locks[5];
    unsigned got = 0;
    for (int i = 0; i < 5; i++) {
        locks[i] = fl_lock(client, names[i]);
        got += fl_acquire(locks[i], 1000);
    }
    for (int i = 0; i < 5; i++) {
        fl_release(locks[i]);
        dsync_lock_free(locks[i]);
    }
    fl_close(client);
    return got == 5;
}

static void own(dsync_options *options) {
    options->own_session = 1;
}

static bool own_session(void) {
    dsync_client *client = fl_open(own);
    dsync_lock *lock = fl_lock(client, "q"), *another = fl_lock(client, "r");
    bool held = fl_acquire(lock, 1000);
    held = fl_acquire(another, 1000) && held;
    fl_release(lock);
    fl_release(another);
    dsync_lock_free(lock);
    dsync_lock_free(another);
    fl_close(client);
    return held;
}

static bool freed_while_held(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q"), *wanted = fl_lock(client, "q");
    bool held = fl_acquire(lock, 1000);
    dsync_lock_free(lock);
    bool got = fl_acquire(wanted, 1500);
    fl_release(wanted);
    dsync_lock_free(wanted);
    fl_close(client);
    return held && got;
}

static bool hold_limit(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    dsync_error error = {DSYNC_OK, ""};
    dsync_acquire_options options;
    dsync_acquire_options_init(&options);
    options.wait_ms = 1000;
    options.hold_ms = 20;
    dsync_op *op = lock != NULL ? dsync_acquire_start(lock, &options, &error) : NULL;
    bool held = fl_end(op, &error, 1000);
    dsync_op *loss = held ? dsync_revoked_start(lock, 2000, &error) : NULL;
    bool waited = loss != NULL;
    (void)fl_end(loss, held ? &error : NULL, 2000);
    if (waited && fl_held(lock)) {
        fl_fail("held beyond its own limit");
    }
    dsync_lock_free(lock);
    fl_close(client);
    return held;
}

static bool rich_value(void) {
    dsync_client *client = fl_open(NULL);
    dsync_error error = {DSYNC_OK, ""};
    dsync_lock_options options;
    dsync_lock_options_init(&options);
    options.value = "{\"pid\":1,\"list\":[1,2,{\"x\":null}]}";
    options.value_size = strlen(options.value);
    options.has_value = options.value_is_json = 1;
    dsync_lock *lock = client != NULL ? dsync_lock_new(client, "q", &options, &error) : NULL;
    if (client != NULL && lock == NULL) {
        fl_code(error.code, error.message);
    }
    bool held = fl_acquire(lock, 1000);
    dsync_op *op = held ? dsync_queue_start(lock, 0, &error) : NULL;
    bool seen = fl_end(op, held ? &error : NULL, 5000);
    fl_release(lock);
    dsync_lock_free(lock);
    fl_close(client);
    return held && seen;
}

const fl_scenario fl_locks[] = {
    {"acquire and release", acquire_release, FL_EVERYWHERE | FL_ON(FL_AUTH) | FL_ON(FL_TLS), false},
    {"again and again", again_and_again, FL_EVERYWHERE, false},
    {"try a free lock", try_free, FL_EVERYWHERE, false},
    {"try a taken lock", try_taken, FL_EVERYWHERE, false},
    {"already held", already_held, FL_EVERYWHERE, false},
    {"wait for another client", waits_for_another_client, FL_EVERYWHERE, false},
    {"wait in vain", waits_in_vain, FL_EVERYWHERE, false},
    {"cancel a local wait", cancelled, FL_EVERYWHERE, false},
    {"cancel a wait", cancelled_abroad, FL_EVERYWHERE, false},
    {"hand over in one client", local_turn, FL_EVERYWHERE, false},
    {"a crowd in one client", crowd, FL_EVERYWHERE, false},
    {"many names", many_names, FL_EVERYWHERE, false},
    {"own sessions", own_session, FL_EVERYWHERE, false},
    {"free a held lock", freed_while_held, FL_EVERYWHERE, false},
    {"hold limit", hold_limit, FL_EVERYWHERE, false},
    {"a rich value", rich_value, FL_EVERYWHERE, false},
    {NULL, NULL, 0, false}};
