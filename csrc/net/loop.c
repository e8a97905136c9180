/* loop.c: a loop's life, its mutex, and the world's operations on it. Who drives it: loop_drive.c. */
#include "loop_internal.h"

#include "../base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* libcurl, OpenSSL's handshake and the core together stay below 100 KiB; instrumented builds need several times
 * that. */
#define STACK_SIZE ((size_t)512 * 1024)
#define PATIENCE 8 /* turns of others, of some microseconds each */

/* ---- the world's operations -------------------------------------------------------------------------------------- */

static ds_loop *loop_of(ds_world *world) {
    return DS_CONTAINER_OF(world, ds_loop, world);
}

static int64_t op_now(ds_world *world) {
    (void)world;
    return ds_clock_ns();
}

static int64_t op_wall_ms(ds_world *world) {
    (void)world;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return 0;
    }
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Kernels and sandboxes without getrandom have the device. */
static bool random_from_device(unsigned char *out, size_t size) {
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && size > 0) {
        ssize_t got = read(fd, out, size);
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            break;
        }
        if (got > 0) {
            out += got;
            size -= (size_t)got;
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return size == 0;
}

/* With neither, names must still differ between hosts, processes and moments: nonces are unique, not secret. */
static void random_from_clocks(unsigned char *out, size_t size) {
    static _Atomic uint64_t calls;
    uint64_t state = (uint64_t)ds_clock_ns() ^ ((uint64_t)getpid() << 40) ^ (uint64_t)op_wall_ms(NULL) ^
                     (uint64_t)(uintptr_t)out ^ (++calls << 56);
    for (size_t i = 0; i < size; i++) {
        state += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */
        uint64_t mixed = (state ^ (state >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
        out[i] = (unsigned char)((mixed ^ (mixed >> 31)) & 0xff);
    }
}

static void random_bytes(unsigned char *out, size_t size) {
    while (size > 0) {
        ssize_t got = getrandom(out, size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            if (!random_from_device(out, size)) {
                random_from_clocks(out, size);
            }
            return;
        }
        out += got;
        size -= (size_t)got;
    }
}

/* From a pool, because every acquire needs a few bytes and a system call costs more than all else it does inline. A
 * forked child never gets here. */
static void op_random(ds_world *world, void *out, size_t size) {
    ds_loop *loop = loop_of(world);
    if (size > sizeof(loop->random_pool)) {
        random_bytes(out, size);
        return;
    }
    if (loop->random_left < size) {
        random_bytes(loop->random_pool, sizeof(loop->random_pool));
        loop->random_left = sizeof(loop->random_pool);
    }
    loop->random_left -= size;
    memcpy(out, loop->random_pool + loop->random_left, size);
}

static void op_timer_set(ds_world *world, ds_timer *timer, int64_t at_ns) {
    ds_timers_set(&loop_of(world)->timers, timer, at_ns);
}

static void op_timer_stop(ds_world *world, ds_timer *timer) {
    ds_timers_stop(&loop_of(world)->timers, timer);
}

static void op_post(ds_world *world, ds_task *task) {
    if (ds_list_empty(&task->node)) {
        ds_list_append(&loop_of(world)->tasks, &task->node);
    }
}

static void op_notify(ds_world *world, ds_task *task) {
    ds_loop_notify(loop_of(world), task);
}

static void op_take_back(ds_world *world, ds_task *task) {
    ds_loop_take_back(loop_of(world), task);
}

static const ds_world_ops operations = {
    .now = op_now,
    .wall_ms = op_wall_ms,
    .random = op_random,
    .timer_set = op_timer_set,
    .timer_stop = op_timer_stop,
    .post = op_post,
    .notify = op_notify,
    .http_start = ds_loop_http_start,
    .http_cancel = ds_loop_http_cancel,
    .http_send = ds_loop_http_send,
    .take_back = op_take_back,
    .fd_watch = ds_loop_fd_watch,
    .fd_unwatch = ds_loop_fd_unwatch,
};

ds_world *ds_loop_world(ds_loop *loop) {
    return &loop->world;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

ds_loop *ds_loop_new(const ds_http_config *http, dsync_error *error) {
    ds_loop *loop = ds_calloc(1, sizeof(*loop));
    if (loop == NULL) {
        ds_error_no_memory(error);
        return NULL;
    }
    loop->world.ops = &operations;
    ds_list_init(&loop->tasks);
    ds_list_init(&loop->waiters);
    ds_list_init(&loop->notified);
    ds_list_init(&loop->fds);
    ds_list_init(&loop->refused);
    if (pthread_mutex_init(&loop->mutex, NULL) != 0) {
        goto no_mutex;
    }
    if (pthread_mutex_init(&loop->wake_mutex, NULL) != 0) {
        goto no_wake_mutex;
    }
    if (!ds_parker_init(&loop->io_parker)) {
        goto no_parker;
    }
    loop->wake_fd = -1;
    if (http != NULL && !(ds_loop_poll_begin(loop, error) && ds_loop_http_begin(loop, http, error))) {
        ds_loop_free(loop);
        return NULL;
    }
    return loop;

no_parker:
    (void)pthread_mutex_destroy(&loop->wake_mutex);
no_wake_mutex:
    (void)pthread_mutex_destroy(&loop->mutex);
no_mutex:
    ds_free(loop);
    ds_error_no_memory(error);
    return NULL;
}

void ds_loop_free(ds_loop *loop) {
    ds_loop_http_end(loop);
    ds_loop_poll_end(loop);
    ds_parker_destroy(&loop->io_parker);
    (void)pthread_mutex_destroy(&loop->wake_mutex);
    (void)pthread_mutex_destroy(&loop->mutex);
    ds_free(loop);
}

/* A host that handles signals in certain threads, or waits for them with sigwait, must not find them delivered here. */
static void mask_signals(sigset_t *before) {
    sigset_t mask;
    (void)sigfillset(&mask);
    (void)sigdelset(&mask, SIGILL);
    (void)sigdelset(&mask, SIGFPE);
    (void)sigdelset(&mask, SIGSEGV);
    (void)sigdelset(&mask, SIGBUS);
    (void)pthread_sigmask(SIG_SETMASK, &mask, before);
}

int ds_thread_start(pthread_t *thread, void *(*main)(void *), void *argument) {
    pthread_attr_t attributes;
    sigset_t before;
    int err = pthread_attr_init(&attributes);
    if (err != 0) {
        return err;
    }
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    mask_signals(&before);
    err = pthread_create(thread, &attributes, main, argument);
    if (err == EINVAL) { /* a host with so much thread-local storage that the stack would be too small */
        (void)pthread_attr_destroy(&attributes);
        (void)pthread_attr_init(&attributes);
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        err = pthread_create(thread, &attributes, main, argument);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return err;
}

bool ds_loop_start(ds_loop *loop, dsync_error *error) {
    if (loop->started) {
        return true;
    }
    loop->started = true; /* before the thread can look */
    int err = ds_thread_start(&loop->thread, ds_loop_io_main, loop);
    if (err != 0) {
        loop->started = false;
        ds_error_set(error, DSYNC_RESOURCE, "cannot start a thread (error %d); is a limit on threads reached?", err);
    }
    return err == 0;
}

/* A mutex goes to whoever comes first, which is a caller that has just given it up; the I/O thread, woken for each
 * time, would stand before it for long, and every caller pay for waking it. So callers let it pass. */
void ds_loop_lock(ds_loop *loop) {
    for (int i = 0; i < PATIENCE && atomic_load_explicit(&loop->io_waits, memory_order_relaxed); i++) {
        (void)sched_yield();
    }
    pthread_mutex_lock(&loop->mutex);
}

void ds_loop_unlock(ds_loop *loop) {
    ds_loop_settle(loop);
    pthread_mutex_unlock(&loop->mutex);
}

bool ds_loop_started(const ds_loop *loop) {
    return loop->started;
}

uint64_t ds_loop_requests(const ds_loop *loop) {
    return loop->requests;
}

bool ds_loop_finish(ds_loop *loop, void (*last)(void *), void *argument) {
    if (!loop->started) {
        return false;
    }
    loop->last = last;
    loop->last_argument = argument;
    loop->finishing = true;
    if (loop->asleep || loop->rest == DS_REST_IDLE) {
        ds_loop_kick(loop);
    }
    return true;
}

bool ds_loop_on_own_thread(const ds_loop *loop) {
    return loop->started && pthread_equal(loop->thread, pthread_self());
}

void ds_loop_on_failure(ds_loop *loop, void (*failed)(void *), void *argument) {
    loop->failed = failed;
    loop->failed_argument = argument;
}
