/* The public C API on memory: in real time: results, events, threads, fork, descriptors, closing. What needs a server
 * or many hours of virtual time is elsewhere. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory_client.h"

static dsync_code try_it(dsync_lock *lock, dsync_error *error) {
    dsync_acquire_options options;
    dsync_acquire_options_init(&options);
    options.wait_ms = 0;
    return dsync_acquire(lock, &options, error);
}

TEST(acquires_and_releases) {
    dsync_error error = {0};
    dsync_client *client = open_memory("plain");
    dsync_lock *lock = dsync_lock_new(client, "a", NULL, &error);
    CHECK_EQ_TEXT(dsync_lock_state(lock), "idle");
    CHECK_EQ_INT(dsync_release(lock, &error), DSYNC_NOT_HELD);
    CHECK_EQ_INT(dsync_acquire(lock, NULL, &error), DSYNC_OK);
    CHECK_EQ_INT(dsync_held(lock), 1);
    CHECK_EQ_TEXT(dsync_lock_state(lock), "held");
    CHECK_EQ_INT(dsync_acquire(lock, NULL, &error), DSYNC_ALREADY_HELD);
    int64_t token = dsync_token(lock);
    CHECK_EQ_INT(dsync_release(lock, &error), DSYNC_OK);
    CHECK_EQ_INT(dsync_held(lock), 0);
    CHECK_EQ_INT(dsync_acquire(lock, NULL, &error), DSYNC_OK);
    CHECK(dsync_token(lock) > token);
    dsync_lock_free(lock);
    end(client);
}

TEST(two_objects_of_one_name_exclude_each_other) {
    dsync_error error = {0};
    dsync_client *client = open_memory("pair");
    dsync_lock *one = dsync_lock_new(client, "a", NULL, &error);
    dsync_lock *two = dsync_lock_new(client, "a", NULL, &error);
    CHECK_EQ_INT(dsync_acquire(one, NULL, &error), DSYNC_OK);
    CHECK_EQ_INT(try_it(two, &error), DSYNC_CONTENDED);
    CHECK_CONTAINS(error.message, dsync_client_id(client));
    dsync_op *op = dsync_acquire_start(two, NULL, &error);
    CHECK_EQ_INT(dsync_op_wait(op, 20), 0);
    CHECK_EQ_INT(dsync_release(one, &error), DSYNC_OK);
    CHECK_EQ_INT(dsync_op_wait(op, -1), 1);
    CHECK_EQ_INT(dsync_op_result(op, NULL), DSYNC_OK);
    dsync_op_free(op);
    dsync_lock_free(one);
    dsync_lock_free(two);
    end(client);
}

TEST(a_freed_lock_is_released) {
    dsync_error error = {0};
    dsync_client *client = open_memory("freed");
    dsync_lock *one = dsync_lock_new(client, "a", NULL, &error);
    dsync_lock *two = dsync_lock_new(client, "a", NULL, &error);
    CHECK_EQ_INT(dsync_acquire(one, NULL, &error), DSYNC_OK);
    dsync_lock_free(one);
    CHECK_EQ_INT(dsync_acquire(two, NULL, &error), DSYNC_OK);
    dsync_lock_free(two);
    end(client);
}

TEST(a_freed_operation_is_cancelled) {
    dsync_error error = {0};
    dsync_client *client = open_memory("cancelled");
    dsync_lock *one = dsync_lock_new(client, "a", NULL, &error);
    dsync_lock *two = dsync_lock_new(client, "a", NULL, &error);
    CHECK_EQ_INT(dsync_acquire(one, NULL, &error), DSYNC_OK);
    dsync_op_free(dsync_acquire_start(two, NULL, &error));
    dsync_op *op = dsync_acquire_start(two, NULL, &error);
    dsync_op_cancel(op);
    CHECK_EQ_INT(dsync_op_result(op, NULL), DSYNC_CANCELLED);
    dsync_op_free(op);
    CHECK_EQ_INT(dsync_release(one, &error), DSYNC_OK);
    CHECK_EQ_INT(try_it(one, &error), DSYNC_OK);
    dsync_lock_free(one);
    dsync_lock_free(two);
    end(client);
}

TEST(events_make_the_descriptor_readable) {
    dsync_error error = {0};
    dsync_event event;
    dsync_client *client = open_memory("events");
    dsync_lock *one = dsync_lock_new(client, "a", NULL, &error);
    dsync_lock *two = dsync_lock_new(client, "a", NULL, &error);
    struct pollfd waiting = {.fd = dsync_fd(client, &error), .events = POLLIN};
    REQUIRE(waiting.fd >= 0);
    CHECK(fcntl(waiting.fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ_INT(dsync_acquire(one, NULL, &error), DSYNC_OK);
    dsync_op *op = dsync_acquire_start(two, NULL, &error);
    dsync_op_notify(op);
    CHECK_EQ_INT(poll(&waiting, 1, 0), 0);
    CHECK_EQ_INT(dsync_release(one, &error), DSYNC_OK);
    CHECK_EQ_INT(poll(&waiting, 1, 5000), 1);
    CHECK_EQ_INT(dsync_next_event(client, &event), 1);
    CHECK_EQ_INT(event.type, DSYNC_EVENT_DONE);
    CHECK_EQ_INT(event.number, dsync_op_number(op));
    CHECK_EQ_INT(dsync_next_event(client, &event), 0);
    CHECK_EQ_INT(poll(&waiting, 1, 0), 0);
    dsync_op_free(op);
    dsync_lock_free(one);
    dsync_lock_free(two);
    end(client);
}

TEST(a_loss_is_told_once) {
    dsync_error error = {0};
    dsync_event event;
    dsync_acquire_options options;
    dsync_client *client = open_memory("loss");
    dsync_lock *lock = dsync_lock_new(client, "a", NULL, &error);
    dsync_acquire_options_init(&options);
    options.hold_ms = 30;
    CHECK_EQ_INT(dsync_acquire(lock, &options, &error), DSYNC_OK);
    dsync_op *end_of_it = dsync_revoked_start(lock, -1, &error);
    CHECK_EQ_INT(dsync_op_wait(end_of_it, -1), 1);
    CHECK_EQ_INT(dsync_op_result(end_of_it, NULL), DSYNC_LOST);
    CHECK_EQ_INT(dsync_held(lock), 0);
    CHECK_EQ_TEXT(dsync_reason_name(dsync_lost_reason(lock)), "expired");
    CHECK_EQ_INT(dsync_next_event(client, &event), 1);
    CHECK_EQ_INT(event.type, DSYNC_EVENT_REVOKED);
    CHECK_EQ_INT(event.number, dsync_lock_number(lock));
    CHECK_EQ_INT(dsync_next_event(client, &event), 0);
    CHECK_EQ_INT(dsync_release(lock, &error), DSYNC_LOST);
    dsync_op_free(end_of_it);
    dsync_lock_free(lock);
    end(client);
}

TEST(closing_ends_everything) {
    dsync_error error = {0};
    dsync_event event;
    dsync_client *client = open_memory("closing");
    dsync_lock *one = dsync_lock_new(client, "a", NULL, &error);
    dsync_lock *two = dsync_lock_new(client, "a", NULL, &error);
    CHECK_EQ_INT(dsync_acquire(one, NULL, &error), DSYNC_OK);
    dsync_op *op = dsync_acquire_start(two, NULL, &error);
    CHECK_EQ_INT(dsync_close(client, -1, &error), DSYNC_OK);
    CHECK_EQ_INT(dsync_close(client, -1, &error), DSYNC_OK);
    CHECK_EQ_INT(dsync_op_result(op, NULL), DSYNC_CLOSED);
    CHECK_EQ_INT(dsync_held(one), 0);
    CHECK_EQ_TEXT(dsync_reason_name(dsync_lost_reason(one)), "closed");
    CHECK_EQ_INT(dsync_next_event(client, &event), 1);
    CHECK_EQ_INT(event.reason, DSYNC_REASON_CLOSED);
    CHECK(dsync_acquire_start(one, NULL, &error) == NULL);
    CHECK_EQ_INT(error.code, DSYNC_CLOSED);
    dsync_op_free(op);
    dsync_lock_free(one);
    dsync_lock_free(two);
    dsync_client_unref(client);
}

TEST(the_last_reference_closes) {
    dsync_error error = {0};
    dsync_client *client = open_memory("last");
    dsync_client *other = open_memory("last");
    dsync_lock *lock = dsync_lock_new(client, "a", NULL, &error);
    dsync_lock *next = dsync_lock_new(other, "a", NULL, &error);
    CHECK_EQ_INT(dsync_acquire(lock, NULL, &error), DSYNC_OK);
    dsync_lock_free(lock);
    dsync_client_unref(client);
    CHECK_EQ_INT(dsync_acquire(next, NULL, &error), DSYNC_OK);
    dsync_lock_free(next);
    end(other);
}

static int child_says(dsync_client *client, dsync_lock *lock, dsync_op *op, dsync_watcher *watcher) {
    dsync_error error = {0};
    dsync_event event;
    dsync_change change;
    int wrong = 0;
    alarm(10);
    wrong += dsync_held(lock) != 0;
    wrong += dsync_valid_for_ms(lock) != 0;
    wrong += dsync_acquire(lock, NULL, &error) != DSYNC_FORKED;
    wrong += dsync_release(lock, &error) != DSYNC_FORKED;
    wrong += dsync_ping_start(client, 100, &error) != NULL || error.code != DSYNC_FORKED;
    wrong += dsync_op_result(op, NULL) != DSYNC_FORKED;
    wrong += dsync_op_wait(op, 1000) != 1;
    wrong += dsync_watch_next(watcher, &change, &error) != -1;
    wrong += dsync_next_event(client, &event) != 0;
    wrong += dsync_close(client, -1, &error) != DSYNC_FORKED;
    dsync_watcher_free(watcher);
    dsync_op_free(op);
    dsync_lock_free(lock);
    dsync_client_unref(client);
    return wrong;
}

TEST(a_forked_child_holds_and_touches_nothing) {
    dsync_error error = {0};
    int status = 0;
    dsync_client *client = open_memory("fork");
    dsync_lock *lock = dsync_lock_new(client, "a", NULL, &error);
    dsync_lock *two = dsync_lock_new(client, "a", NULL, &error);
    dsync_watcher *watcher = dsync_watch(client, NULL, NULL, NULL, &error);
    CHECK_EQ_INT(dsync_acquire(lock, NULL, &error), DSYNC_OK);
    dsync_op *op = dsync_acquire_start(two, NULL, &error);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        _exit(child_says(client, lock, op, watcher));
    }
    CHECK_EQ_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ_INT(WEXITSTATUS(status), 0);
    CHECK_EQ_INT(dsync_held(lock), 1);
    CHECK_EQ_INT(dsync_release(lock, &error), DSYNC_OK);
    CHECK_EQ_INT(dsync_op_wait(op, -1), 1);
    dsync_op_free(op);
    dsync_watcher_free(watcher);
    dsync_lock_free(lock);
    dsync_lock_free(two);
    end(client);
}

/* Which of the first descriptors are open and would stay so over an exec. */
static void list_inheritable(bool *open_fds, int count) {
    for (int fd = 0; fd < count; fd++) {
        int flags = fcntl(fd, F_GETFD);
        open_fds[fd] = flags >= 0 && !(flags & FD_CLOEXEC);
    }
}

TEST(no_descriptor_passes_an_exec) {
    enum { MANY = 300 };
    bool before[MANY], after[MANY];
    dsync_error error = {0};
    list_inheritable(before, MANY);
    dsync_client *client = dsync_open("etcd://127.0.0.1:1", NULL, &error);
    REQUIRE(client != NULL);
    dsync_op *op = dsync_ping_start(client, 200, &error);
    (void)dsync_fd(client, &error);
    dsync_op_wait(op, 50);
    list_inheritable(after, MANY);
    for (int fd = 0; fd < MANY; fd++) {
        test_case("descriptor %d", fd);
        CHECK(before[fd] || !after[fd]);
    }
    test_case("%s", "");
    dsync_op_wait(op, -1);
    CHECK_EQ_INT(dsync_op_result(op, NULL), DSYNC_UNAVAILABLE);
    dsync_op_free(op);
    end(client);
}

#define THREADS 4
#define ROUNDS 200

static dsync_client *shared_client;
static int inside, overlaps;

static void *contend(void *argument) {
    dsync_error error = {0};
    (void)argument;
    dsync_lock *lock = dsync_lock_new(shared_client, "busy", NULL, &error);
    for (int i = 0; i < ROUNDS; i++) {
        if (dsync_acquire(lock, NULL, &error) != DSYNC_OK) {
            overlaps += 1000;
            break;
        }
        /* Not atomic on purpose: the lock is what orders these, also in the eyes of ThreadSanitizer. */
        overlaps += inside != 0;
        inside = 1;
        inside = 0;
        if (dsync_release(lock, &error) != DSYNC_OK) {
            overlaps += 1000;
        }
    }
    dsync_lock_free(lock);
    return NULL;
}

TEST(threads_take_turns) {
    pthread_t threads[THREADS];
    dsync_stats stats = {.size = sizeof stats};
    shared_client = open_memory("threads");
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ_INT(pthread_create(&threads[i], NULL, contend, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQ_INT(overlaps, 0);
    dsync_client_stats(shared_client, &stats);
    CHECK_EQ_INT(stats.acquisitions, THREADS * ROUNDS);
    CHECK_EQ_INT(stats.held, 0);
    end(shared_client);
}

TEST(bad_options_are_named) {
    static const struct {
        const char *url;
        int64_t ttl_ms, request_timeout_ms;
        const char *prefix, *cert;
        dsync_code code;
        const char *says;
    } rows[] = {
        {"memory:", 10, 0, NULL, NULL, DSYNC_CONFIG, "ttl"},
        {"memory:", 1000, 900, NULL, NULL, DSYNC_CONFIG, "request_timeout"},
        {"memory:", -5, 0, NULL, NULL, DSYNC_CONFIG, "ttl"},
        {"memory:", 0, 0, "a//b", NULL, DSYNC_INVALID, "prefix"},
        {"memory:", 0, 0, NULL, "cert.pem", DSYNC_CONFIG, "tls.key"},
        {"ectd://h", 0, 0, NULL, NULL, DSYNC_CONFIG, "etcd"},
        {"etcd://h:99999", 0, 0, NULL, NULL, DSYNC_CONFIG, "port"},
        {"etcd://u:p@h", 0, 0, NULL, NULL, DSYNC_CONFIG, "credentials"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dsync_options options;
        dsync_error error = {0};
        dsync_options_init(&options);
        options.ttl_ms = rows[i].ttl_ms;
        options.request_timeout_ms = rows[i].request_timeout_ms;
        options.prefix = rows[i].prefix;
        options.tls_cert = rows[i].cert;
        test_case("%s, row %zu", rows[i].url, i);
        CHECK(dsync_open(rows[i].url, &options, &error) == NULL);
        CHECK_EQ_INT(error.code, rows[i].code);
        CHECK_CONTAINS(error.message, rows[i].says);
    }
}

TEST(options_are_shown_without_secrets) {
    dsync_options options;
    dsync_error error = {0};
    dsync_options_init(&options);
    options.auth_user = "root";
    options.auth_password = "swordfish";
    dsync_client *client = dsync_open("etcd://127.0.0.1:1", &options, &error);
    REQUIRE(client != NULL);
    char *shown = dsync_client_options(client);
    CHECK_CONTAINS(shown, "\"user\":\"root\"");
    CHECK_CONTAINS(shown, "***");
    CHECK_LACKS(shown, "swordfish");
    dsync_free(shown);
    end(client);
}
