/* exit.c: clients that close while the process ends: exit() gives each its close_timeout, so that a program which
 * simply ends does not leave its locks behind until their ttl is over. Closes nothing itself.
 */
#include "client.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "../base/process.h"

/* Closing clients whose thread still runs, guarded by this mutex. */
static pthread_mutex_t exit_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t exit_cond = PTHREAD_COND_INITIALIZER;
static ds_list exit_line = {&exit_line, &exit_line};
static ds_list inherited = {&inherited, &inherited}; /* a forked child's: its parent's clients, never touched */
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;
static pid_t exit_pid;
static int64_t exit_wait_ms;

static void wait_at_exit(void) {
    if (ds_process() != exit_pid) {
        return;
    }
    struct timespec until;
    pthread_mutex_lock(&exit_mutex);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)(exit_wait_ms / 1000) + 1;
    while (!ds_list_empty(&exit_line)) {
        if (pthread_cond_timedwait(&exit_cond, &exit_mutex, &until) == ETIMEDOUT) {
            break;
        }
    }
    pthread_mutex_unlock(&exit_mutex);
}

static void before_fork(void) {
    pthread_mutex_lock(&exit_mutex);
}

static void after_fork(void) {
    pthread_mutex_unlock(&exit_mutex);
}

/* The child has inherited wait_at_exit, and none of the threads. Its clients are its own. */
static void after_fork_in_child(void) {
    exit_pid = ds_process();
    exit_wait_ms = 0;
    exit_cond = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    ds_list_splice(&inherited, &exit_line);
    after_fork();
}

static void exit_setup(void) {
    exit_pid = ds_process();
    (void)atexit(wait_at_exit);
    (void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

void ds_exit_join(dsync_client *client) {
    pthread_once(&exit_once, exit_setup);
    pthread_mutex_lock(&exit_mutex);
    ds_list_append(&exit_line, &client->in_exit_line);
    if (client->settings.o.close_timeout_ms > exit_wait_ms) {
        exit_wait_ms = client->settings.o.close_timeout_ms;
    }
    pthread_mutex_unlock(&exit_mutex);
}

void ds_exit_leave(dsync_client *client) {
    pthread_mutex_lock(&exit_mutex);
    ds_list_remove(&client->in_exit_line);
    pthread_cond_broadcast(&exit_cond);
    pthread_mutex_unlock(&exit_mutex);
}

void ds_exit_await(dsync_client *client) {
    struct timespec until;
    pthread_mutex_lock(&exit_mutex);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    while (!ds_list_empty(&client->in_exit_line)) {
        if (pthread_cond_timedwait(&exit_cond, &exit_mutex, &until) == ETIMEDOUT) {
            break;
        }
    }
    pthread_mutex_unlock(&exit_mutex);
}
