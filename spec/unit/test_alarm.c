/* Alarms: who is told of a loss, when, and who is not. On memory:, in real time. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "dsync.h"
#include "test.h"

static atomic_int signals, signalled_thread;

static void count_signal(int signo) {
    (void)signo;
    atomic_store(&signalled_thread, (int)gettid());
    atomic_fetch_add(&signals, 1);
}

static void pause_ms(long ms) {
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0) {
    }
}

static void listen_to_signals(void) {
    struct sigaction action = {.sa_handler = count_signal};
    (void)sigaction(SIGUSR1, &action, NULL);
    atomic_store(&signals, 0);
}

/* A held lock of its own client; `hold_ms` 0: for as long as it likes. */
static dsync_lock *held_lock(dsync_client *client, int64_t hold_ms) {
    dsync_lock_options options;
    dsync_lock_options_init(&options);
    options.hold_ms = hold_ms;
    dsync_lock *lock = dsync_lock_new(client, "alarmed", &options, NULL);
    CHECK_EQ_INT(dsync_acquire(lock, NULL, NULL), DSYNC_OK);
    return lock;
}

TEST(rings_once_in_the_thread_that_made_it) {
    listen_to_signals();
    dsync_client *client = dsync_open("memory:", NULL, NULL);
    dsync_lock *lock = held_lock(client, 30);
    dsync_alarm *alarm = dsync_alarm_new(lock, SIGUSR1, NULL);
    REQUIRE(alarm != NULL);
    CHECK_EQ_INT(dsync_alarm_rung(alarm), 0);
    /* This thread asks the library for nothing meanwhile. */
    for (int i = 0; i < 1000 && !dsync_alarm_rung(alarm); i++) {
        pause_ms(5);
    }
    CHECK_EQ_INT(dsync_alarm_rung(alarm), 1);
    for (int i = 0; i < 1000 && atomic_load(&signals) == 0; i++) {
        pause_ms(1);
    }
    CHECK_EQ_INT(dsync_held(lock), 0);
    CHECK_EQ_INT(atomic_load(&signalled_thread), (int)gettid());
    (void)dsync_release(lock, NULL);
    (void)dsync_close(client, -1, NULL);
    CHECK_EQ_INT(atomic_load(&signals), 1);
    dsync_alarm_free(alarm);
    dsync_lock_free(lock);
    dsync_client_unref(client);
}

TEST(rings_when_the_client_is_closed) {
    listen_to_signals();
    dsync_client *client = dsync_open("memory:", NULL, NULL);
    dsync_lock *lock = held_lock(client, 0);
    dsync_alarm *one = dsync_alarm_new(lock, SIGUSR1, NULL);
    dsync_alarm *silent = dsync_alarm_new(lock, 0, NULL);
    dsync_alarm *freed = dsync_alarm_new(lock, SIGUSR1, NULL);
    dsync_alarm_free(freed);
    dsync_alarm_free(NULL);
    (void)dsync_close(client, -1, NULL);
    CHECK_EQ_INT(dsync_alarm_rung(one), 1);
    CHECK_EQ_INT(dsync_alarm_rung(silent), 1);
    CHECK_EQ_INT(atomic_load(&signals), 1);
    CHECK_EQ_INT(dsync_lost_reason(lock), DSYNC_REASON_CLOSED);
    dsync_lock_free(lock);
    dsync_client_unref(client);
    /* An alarm keeps what it needs alive. */
    dsync_alarm_free(one);
    dsync_alarm_free(silent);
}

TEST(does_not_ring_after_a_release) {
    listen_to_signals();
    dsync_client *client = dsync_open("memory:", NULL, NULL);
    dsync_lock *lock = held_lock(client, 50);
    dsync_alarm *alarm = dsync_alarm_new(lock, SIGUSR1, NULL);
    CHECK_EQ_INT(dsync_release(lock, NULL), DSYNC_OK);
    CHECK_EQ_INT(dsync_acquire(lock, NULL, NULL), DSYNC_OK);
    dsync_lock *freed = dsync_lock_new(client, "other", NULL, NULL);
    CHECK_EQ_INT(dsync_acquire(freed, NULL, NULL), DSYNC_OK);
    dsync_alarm *of_freed = dsync_alarm_new(freed, SIGUSR1, NULL);
    dsync_lock_free(freed);
    pause_ms(100);
    CHECK_EQ_INT(dsync_held(lock), 0);
    CHECK_EQ_INT(dsync_alarm_rung(alarm), 0);
    CHECK_EQ_INT(dsync_alarm_rung(of_freed), 0);
    CHECK_EQ_INT(atomic_load(&signals), 0);
    dsync_alarm_free(alarm);
    dsync_alarm_free(of_freed);
    dsync_lock_free(lock);
    (void)dsync_close(client, -1, NULL);
    dsync_client_unref(client);
}

TEST(needs_a_held_lock) {
    dsync_error error = {0};
    dsync_client *client = dsync_open("memory:", NULL, NULL);
    dsync_lock *lock = dsync_lock_new(client, "alarmed", NULL, NULL);
    CHECK_NULL(dsync_alarm_new(lock, 0, &error));
    CHECK_EQ_INT(error.code, DSYNC_NOT_HELD);
    dsync_lock_free(lock);
    lock = held_lock(client, 10);
    pause_ms(30);
    CHECK_NULL(dsync_alarm_new(lock, 0, &error));
    CHECK_EQ_INT(error.code, DSYNC_LOST);
    CHECK_CONTAINS(error.message, "expired");
    (void)dsync_close(client, -1, NULL);
    CHECK_NULL(dsync_alarm_new(lock, 0, &error));
    CHECK_EQ_INT(error.code, DSYNC_CLOSED);
    dsync_lock_free(lock);
    dsync_client_unref(client);
}

/* A thread may end before its alarm rings: then nobody is signalled. */
static void *make_and_end(void *argument) {
    return dsync_alarm_new(argument, SIGUSR1, NULL);
}

TEST(of_a_thread_that_has_ended_is_harmless) {
    pthread_t thread;
    void *alarm = NULL;
    listen_to_signals();
    dsync_client *client = dsync_open("memory:", NULL, NULL);
    dsync_lock *lock = held_lock(client, 1000);
    REQUIRE(pthread_create(&thread, NULL, make_and_end, lock) == 0);
    (void)pthread_join(thread, &alarm);
    REQUIRE(alarm != NULL);
    pause_ms(1100);
    CHECK_EQ_INT(dsync_alarm_rung(alarm), 1);
    CHECK_EQ_INT(atomic_load(&signals), 0);
    dsync_alarm_free(alarm);
    dsync_lock_free(lock);
    (void)dsync_close(client, -1, NULL);
    dsync_client_unref(client);
}
