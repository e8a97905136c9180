/* scenario.c: the helpers of scenarios: each call with what must hold of it. */
#include "failing.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GRACE_MS 3000 /* a busy machine with a sanitizer; a call that hangs takes longer */
#define TTL_MS 3000

const char *fl_urls[FL_PLACES];
fl_place fl_here;
static uint64_t seen, allowed = UINT64_MAX;

static void say(const char *word, const char *format, va_list arguments) {
    fputs(word, stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void fl_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say("WRONG: ", format, arguments);
    va_end(arguments);
    abort();
}

void fl_fail_late(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say("WRONG OR LATE: ", format, arguments);
    va_end(arguments);
    _exit(FL_LATE);
}

static int64_t now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void in_time(const char *what, int64_t began_ms, int64_t limit_ms) {
    int64_t took = now_ms() - began_ms;
    if (took > limit_ms + GRACE_MS) {
        fl_fail_late("%s took %lld ms of %lld", what, (long long)took, (long long)limit_ms);
    }
}

/* ---- codes ------------------------------------------------------------------------------------------------------- */

void fl_seen_reset(void) {
    seen = 0;
}

uint64_t fl_seen(void) {
    return seen;
}

void fl_allow(uint64_t codes) {
    allowed = codes;
}

void fl_code(dsync_code code, const char *message) {
    seen |= UINT64_C(1) << code;
    if ((allowed >> code & 1) == 0) {
        fl_fail_late("a call said \"%s\": %s", dsync_code_name(code), message != NULL ? message : "(nothing)");
    }
    if (code != DSYNC_OK && (message == NULL || message[0] == '\0')) {
        fl_fail("a call said \"%s\" without a word of why", dsync_code_name(code));
    }
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

void fl_fill(dsync_options *options) {
    dsync_options_init(options);
    options->ttl_ms = TTL_MS;
    static char prefix[40];
    (void)snprintf(prefix, sizeof prefix, "failing/%d", fl_worker);
    options->prefix = prefix;
    options->close_timeout_ms = 1000;
    if (fl_here == FL_AUTH) {
        options->auth_user = "dsync";
        options->auth_password = "secret";
    }
    if (fl_here == FL_TLS) {
        options->tls_ca = getenv("FL_CA");
    }
}

dsync_client *fl_open_url(const char *url, const dsync_options *options) {
    dsync_error error = {DSYNC_OK, ""};
    dsync_client *client = dsync_open(url, options, &error);
    fl_code(client != NULL ? DSYNC_OK : error.code, error.message);
    return client;
}

dsync_client *fl_open(void (*tune)(dsync_options *options)) {
    dsync_options options;
    fl_fill(&options);
    if (tune != NULL) {
        tune(&options);
    }
    return fl_open_url(fl_urls[fl_here], &options);
}

void fl_close(dsync_client *client) {
    if (client == NULL) {
        return;
    }
    dsync_error error = {DSYNC_OK, ""};
    int64_t began = now_ms();
    dsync_code code = dsync_close(client, -1, &error);
    in_time("close", began, 1000);
    fl_code(code, error.message);
    dsync_client_unref(client);
}

/* ---- locks ------------------------------------------------------------------------------------------------------- */

dsync_lock *fl_lock(dsync_client *client, const char *name) {
    dsync_error error = {DSYNC_OK, ""};
    dsync_lock *lock = client != NULL ? dsync_lock_new(client, name, NULL, &error) : NULL;
    if (client != NULL) {
        fl_code(lock != NULL ? DSYNC_OK : error.code, error.message);
    }
    return lock;
}

dsync_lock *fl_leader(dsync_client *client, const char *name) {
    dsync_error error = {DSYNC_OK, ""};
    dsync_lock *lock = client != NULL ? dsync_leader_new(client, name, NULL, &error) : NULL;
    if (client != NULL) {
        fl_code(lock != NULL ? DSYNC_OK : error.code, error.message);
    }
    return lock;
}

bool fl_held(const dsync_lock *lock) {
    if (lock == NULL || !dsync_held(lock)) {
        return false;
    }
    if (dsync_token(lock) <= 0) {
        fl_fail("held without a token");
    }
    return true;
}

void fl_exclude(const dsync_lock *one, const dsync_lock *other) {
    if (fl_held(one) && fl_held(other)) {
        fl_fail("two believe to hold \"%s\"", dsync_lock_name(one));
    }
}

static void fill_acquire(dsync_acquire_options *options, int64_t wait_ms) {
    dsync_acquire_options_init(options);
    options->wait_ms = wait_ms;
}

bool fl_acquire(dsync_lock *lock, int64_t wait_ms) {
    if (lock == NULL) {
        return false;
    }
    dsync_error error = {DSYNC_OK, ""};
    dsync_acquire_options options;
    fill_acquire(&options, wait_ms);
    int64_t began = now_ms();
    bool before = fl_held(lock);
    dsync_code code = dsync_acquire(lock, &options, &error);
    in_time("acquire", began, wait_ms == 0 ? 5000 : wait_ms);
    fl_code(code, error.message);
    bool held = fl_held(lock);
    if (held && !before && code != DSYNC_OK) {
        fl_fail("acquire said \"%s\", and yet it is held", dsync_code_name(code));
    }
    return held;
}

dsync_op *fl_acquire_start(dsync_lock *lock, int64_t wait_ms) {
    if (lock == NULL) {
        return NULL;
    }
    dsync_error error = {DSYNC_OK, ""};
    dsync_acquire_options options;
    fill_acquire(&options, wait_ms);
    dsync_op *op = dsync_acquire_start(lock, &options, &error);
    if (op == NULL) {
        fl_code(error.code, error.message);
    }
    return op;
}

void fl_release(dsync_lock *lock) {
    if (lock == NULL) {
        return;
    }
    dsync_error error = {DSYNC_OK, ""};
    int64_t began = now_ms();
    dsync_code code = dsync_release(lock, &error);
    in_time("release", began, 5000);
    fl_code(code, error.message);
    if (fl_held(lock)) {
        fl_fail("held after a release that said \"%s\"", dsync_code_name(code));
    }
}

bool fl_end(dsync_op *op, const dsync_error *error, int64_t limit_ms) {
    if (op == NULL) {
        if (error != NULL && error->code != DSYNC_OK) {
            fl_code(error->code, error->message);
        }
        return false;
    }
    int64_t began = now_ms();
    if (!dsync_op_wait(op, limit_ms + GRACE_MS)) {
        fl_fail_late("an operation did not end in %lld ms", (long long)(now_ms() - began));
    }
    const char *message = "";
    dsync_code code = dsync_op_result(op, &message);
    fl_code(code, message);
    dsync_op_free(op);
    return code == DSYNC_OK;
}

/* ---- afterwards -------------------------------------------------------------------------------------------------- */

/* One client of this process that nothing ever fails for. */
static dsync_client *other;

static void must_get(dsync_lock *lock, const char *what) {
    dsync_error error = {DSYNC_OK, ""};
    dsync_acquire_options options;
    fill_acquire(&options, 3 * TTL_MS);
    if (lock == NULL || dsync_acquire(lock, &options, &error) != DSYNC_OK) {
        fl_fail_late("another client does not get the %s: %s", what, error.message);
    }
    dsync_code code = dsync_release(lock, &error);
    if (code != DSYNC_OK && code != DSYNC_UNKNOWN) { /* a busy server may pause; the next one will see */
        fl_fail_late("another client cannot give the %s back: %s", what, error.message);
    }
    dsync_lock_free(lock);
}

void fl_others_may_have_it(void) {
    fl_allow(UINT64_MAX);
    if (other == NULL) {
        other = fl_open(NULL);
    }
    dsync_error error;
    must_get(dsync_lock_new(other, "q", NULL, &error), "lock");
    must_get(dsync_leader_new(other, "e", NULL, &error), "leadership");
}
