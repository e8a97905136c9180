/* scenarios_store.c: opening, options, guarded writes, listings, breaking. */
#include "failing.h"

#include <stdlib.h>
#include <string.h>

static bool open_and_close(void) {
    dsync_client *client = fl_open(NULL);
    fl_close(client);
    return client != NULL;
}

static bool bad_urls(void) {
    static const char *const urls[] = {"ectd://h", "etcd://u:p@h", "etcd://[::1", "memory:a b?c", "consul://h:99999"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        if (fl_open_url(urls[i], NULL) != NULL) {
            fl_fail("%s was taken", urls[i]);
        }
    }
    return true;
}

static void too_short(dsync_options *options) {
    options->ttl_ms = 1;
}

static void half_a_certificate(dsync_options *options) {
    options->tls_cert = "cert.pem";
}

static bool bad_options(void) {
    dsync_client *one = fl_open(too_short), *two = fl_open(half_a_certificate);
    if (one != NULL || two != NULL) {
        fl_fail("options were taken that cannot work");
    }
    return true;
}

static void everything(dsync_options *options) {
    static const char *const endpoints[] = {"127.0.0.1:1", "127.0.0.2:2"};
    static const dsync_setting setting = {"etcd.transport", "json"};
    options->id = "someone";
    options->region = "eu";
    options->name_space = "n";
    options->value = "v";
    options->value_size = 1;
    if (fl_here == FL_ETCD) {
        options->endpoints = endpoints;
        options->endpoint_count = 2;
        options->settings = &setting;
        options->setting_count = 1;
    }
}

static bool options_shown(void) {
    dsync_client *client = fl_open(everything);
    char *text = client != NULL ? dsync_client_options(client) : NULL;
    bool shown = text != NULL && strstr(text, "someone") != NULL;
    dsync_free(text);
    if (client != NULL) {
        dsync_stats stats = {.size = sizeof stats};
        dsync_client_stats(client, &stats);
    }
    fl_close(client);
    return shown;
}

static bool ping(void) {
    dsync_client *client = fl_open(NULL);
    dsync_error error = {DSYNC_OK, ""};
    dsync_op *op = client != NULL ? dsync_ping_start(client, 2000, &error) : NULL;
    bool answered = fl_end(op, client != NULL ? &error : NULL, 2000);
    fl_close(client);
    return answered;
}

static bool write_one(dsync_lock *lock, const char *value, size_t size) {
    dsync_error error = {DSYNC_OK, ""};
    if (lock == NULL) {
        return false;
    }
    dsync_op *op = dsync_put_start(lock, "k", value, size, &error);
    return fl_end(op, &error, 5000);
}

static bool read_one(dsync_client *client, size_t size) {
    dsync_error error = {DSYNC_OK, ""};
    dsync_op *op = client != NULL ? dsync_get_start(client, "k", &error) : NULL;
    if (op != NULL && dsync_op_wait(op, 8000) && dsync_op_result(op, NULL) == DSYNC_OK) {
        size_t got = 0;
        const char *value = dsync_op_value(op, &got, NULL);
        bool right = value != NULL && got == size;
        return fl_end(op, NULL, 5000) && right;
    }
    (void)fl_end(op, client != NULL ? &error : NULL, 5000);
    return false;
}

static bool delete_one(dsync_lock *lock) {
    dsync_error error = {DSYNC_OK, ""};
    if (lock == NULL) {
        return false;
    }
    return fl_end(dsync_delete_start(lock, "k", &error), &error, 5000);
}

static bool guarded_writes(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    bool done = fl_acquire(lock, 1000);
    done = write_one(lock, "v", 1) && done;
    done = read_one(client, 1) && done;
    done = delete_one(lock) && done;
    fl_release(lock);
    (void)write_one(lock, "v", 1);
    dsync_lock_free(lock);
    fl_close(client);
    return done;
}

static bool large_values(void) {
    size_t size = 65536;
    char *value = malloc(size + 1);
    if (value == NULL) {
        abort();
    }
    memset(value, 'x', size + 1);
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    bool done = fl_acquire(lock, 1000);
    done = write_one(lock, value, size) && done;
    done = read_one(client, size) && done;
    if (write_one(lock, value, size + 1)) {
        fl_fail("a value that is too large was taken");
    }
    (void)delete_one(lock);
    fl_release(lock);
    dsync_lock_free(lock);
    fl_close(client);
    free(value);
    return done;
}

static bool listings(void) {
    dsync_client *client = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q"), *waiting = fl_lock(client, "q"), *more = fl_lock(client, "r");
    dsync_error error = {DSYNC_OK, ""};
    bool done = fl_acquire(lock, 1000);
    done = fl_acquire(more, 1000) && done;
    dsync_op *wait = fl_acquire_start(waiting, 60000);
    if (client != NULL) {
        done = fl_end(dsync_locks_start(client, "", &error), &error, 5000) && done;
    }
    if (lock != NULL) {
        done = fl_end(dsync_queue_start(lock, 0, &error), &error, 5000) && done;
    }
    dsync_op_free(wait);
    fl_release(lock);
    fl_release(more);
    dsync_lock_free(lock);
    dsync_lock_free(waiting);
    dsync_lock_free(more);
    fl_close(client);
    return done;
}

static bool broken(void) {
    dsync_client *client = fl_open(NULL), *breaker = fl_open(NULL);
    dsync_lock *lock = fl_lock(client, "q");
    dsync_error error = {DSYNC_OK, ""};
    bool held = fl_acquire(lock, 1000), told = false;
    if (held && breaker != NULL) {
        bool done = fl_end(dsync_break_start(breaker, "q", NULL, dsync_token(lock), &error), &error, 5000);
        dsync_op *loss = done ? dsync_revoked_start(lock, 4000, &error) : NULL;
        told = loss != NULL && dsync_op_wait(loss, 7000) && dsync_op_result(loss, NULL) == DSYNC_LOST;
        (void)fl_end(loss, &error, 4000);
        if (told && fl_held(lock)) {
            fl_fail("held after the loss was told");
        }
    }
    dsync_lock_free(lock);
    fl_close(breaker);
    fl_close(client);
    return told;
}

static void global(dsync_options *options) {
    options->region = "eu";
    options->scope = "global";
}

static bool regions(void) {
    dsync_client *client = fl_open(global);
    dsync_lock *lock = fl_lock(client, "q");
    bool held = fl_acquire(lock, 1000) && strstr(dsync_lock_key(lock), "/global/") != NULL;
    fl_release(lock);
    dsync_lock_free(lock);
    fl_close(client);
    return held;
}

/* A port where nobody listens. */
static bool nobody_there(void) {
    dsync_options options;
    fl_fill(&options);
    dsync_client *client = fl_open_url("etcd://127.0.0.1:1,localhost:1", &options);
    dsync_lock *lock = fl_lock(client, "q");
    if (fl_acquire(lock, 60)) {
        fl_fail("held, and nobody gave it");
    }
    dsync_lock_free(lock);
    fl_close(client);
    return client != NULL;
}

const fl_scenario fl_store[] = {
    {"open and close", open_and_close, FL_EVERYWHERE | FL_ON(FL_AUTH) | FL_ON(FL_TLS), false},
    {"bad urls", bad_urls, FL_ON(FL_MEMORY), false},
    {"bad options", bad_options, FL_EVERYWHERE, false},
    {"options shown", options_shown, FL_EVERYWHERE, false},
    {"ping", ping, FL_EVERYWHERE | FL_ON(FL_AUTH) | FL_ON(FL_TLS), false},
    {"put, get, delete", guarded_writes, FL_EVERYWHERE | FL_ON(FL_AUTH), false},
    {"large values", large_values, FL_EVERYWHERE, false},
    {"locks and queue", listings, FL_EVERYWHERE, false},
    {"break a lock", broken, FL_EVERYWHERE, false},
    {"regions", regions, FL_EVERYWHERE, false},
    {"nobody there", nobody_there, FL_ON(FL_ETCD), false},
    {NULL, NULL, 0, false}};
