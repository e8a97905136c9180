/* loop_wake.c: how threads of a loop sleep and are woken. Decides nothing about who drives. */
#include "loop_internal.h"

#include <errno.h>
#include <time.h>

/* The monotonic clock that waits are measured with stands still while the machine is suspended; deadlines do not. */
#define LONGEST_SLEEP_NS DS_SECOND
#define LONGEST_POLL_MS 60000
#define NO_MEMORY_NS (10 * DS_MS)

bool ds_parker_init(ds_parker *parker) {
    pthread_condattr_t attributes;
    parker->token = false;
    if (pthread_condattr_init(&attributes) != 0) {
        return false;
    }
    bool ok = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&parker->cond, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return ok;
}

void ds_parker_destroy(ds_parker *parker) {
    (void)pthread_cond_destroy(&parker->cond);
}

static void unpark_locked(ds_parker *parker) {
    parker->token = true;
    (void)pthread_cond_signal(&parker->cond);
}

void ds_unpark(ds_loop *loop, ds_parker *parker) {
    pthread_mutex_lock(&loop->wake_mutex);
    unpark_locked(parker);
    pthread_mutex_unlock(&loop->wake_mutex);
}

/* How long to sleep; DS_NEVER: until woken. */
static int64_t sleep_length(int64_t until_ns) {
    if (until_ns == DS_NEVER) {
        return DS_NEVER;
    }
    int64_t length = until_ns - ds_clock_ns();
    return length < 0 ? 0 : length > LONGEST_SLEEP_NS ? LONGEST_SLEEP_NS : length;
}

/* With wake_mutex held. */
static void wait_for_token(ds_loop *loop, ds_parker *parker, int64_t length_ns) {
    struct timespec until;
    if (length_ns == DS_NEVER || clock_gettime(CLOCK_MONOTONIC, &until) != 0) {
        while (!parker->token && length_ns == DS_NEVER) {
            (void)pthread_cond_wait(&parker->cond, &loop->wake_mutex);
        }
        return;
    }
    until.tv_sec += (time_t)(length_ns / DS_SECOND);
    until.tv_nsec += (long)(length_ns % DS_SECOND);
    if (until.tv_nsec >= DS_SECOND) {
        until.tv_nsec -= (long)DS_SECOND;
        until.tv_sec++;
    }
    int err = 0;
    while (!parker->token && err == 0) {
        err = pthread_cond_timedwait(&parker->cond, &loop->wake_mutex, &until);
    }
}

/* Takes both mutexes as held and returns with only `mutex` held. */
static void sleep_on(ds_loop *loop, ds_parker *parker, int64_t length_ns) {
    pthread_mutex_unlock(&loop->mutex);
    wait_for_token(loop, parker, length_ns);
    if (loop->target == parker) {
        loop->target = NULL;
    }
    pthread_mutex_unlock(&loop->wake_mutex);
    bool io = parker == &loop->io_parker;
    if (io) {
        atomic_store(&loop->io_waits, true);
    }
    pthread_mutex_lock(&loop->mutex);
    if (io) {
        atomic_store(&loop->io_waits, false);
    }
}

void ds_loop_park(ds_loop *loop, ds_parker *parker, int64_t until_ns) {
    int64_t length = sleep_length(until_ns);
    pthread_mutex_lock(&loop->wake_mutex);
    sleep_on(loop, parker, length);
}

static int poll_ms(int64_t length_ns) {
    return length_ns == DS_NEVER ? LONGEST_POLL_MS : (int)((length_ns + DS_MS - 1) / DS_MS);
}

static void poll_failed(ds_loop *loop, ds_parker *parker) {
    static const unsigned ENOUGH = 100; /* with the pause below, a second without a single good poll */
    if (++loop->poll_failures == ENOUGH && loop->failed != NULL) {
        loop->failed(loop->failed_argument);
    }
    pthread_mutex_lock(&loop->wake_mutex);
    sleep_on(loop, parker, 10 * DS_MS);
}

void ds_loop_sleep(ds_loop *loop, ds_parker *parker, int64_t until_ns, const bool *done) {
    int64_t next = ds_timers_next(&loop->timers);
    loop->sleep_until_ns = next < until_ns ? next : until_ns;
    int64_t length = sleep_length(loop->sleep_until_ns);
    if (ds_loop_http_pending(loop)) {
        length = 0; /* only a look at the sockets in between */
    }
    ds_sleep sleep = DS_SLEEP_PARKED;
    if (!ds_loop_poll_prepare(loop, &sleep)) { /* no memory: looks again soon */
        length = length < NO_MEMORY_NS ? length : NO_MEMORY_NS;
    }

    pthread_mutex_lock(&loop->wake_mutex);
    if (!ds_list_empty(&loop->notified)) {
        pthread_mutex_unlock(&loop->wake_mutex);
        return;
    }
    parker->token = false;
    loop->target = parker;
    loop->target_sleep = sleep;
    loop->asleep = true;
    loop->kicked = false;
    loop->driver_done = done;
    bool good = true;
    if (sleep != DS_SLEEP_PARKED) {
        pthread_mutex_unlock(&loop->wake_mutex);
        pthread_mutex_unlock(&loop->mutex);
        good = ds_loop_poll(loop, sleep, poll_ms(length));
        pthread_mutex_lock(&loop->mutex);
        pthread_mutex_lock(&loop->wake_mutex);
        loop->target = NULL;
        pthread_mutex_unlock(&loop->wake_mutex);
    } else {
        sleep_on(loop, parker, length);
    }
    loop->asleep = false;
    loop->driver_done = NULL;
    if (good) {
        loop->poll_failures = 0;
    } else {
        poll_failed(loop, parker);
    }
}

void ds_loop_rest(ds_loop *loop, ds_rest rest, int64_t until_ns) {
    int64_t length = sleep_length(until_ns);
    pthread_mutex_lock(&loop->wake_mutex);
    if (rest == DS_REST_IDLE) {
        if (!ds_list_empty(&loop->notified)) {
            pthread_mutex_unlock(&loop->wake_mutex);
            return;
        }
        loop->target = &loop->io_parker;
        loop->target_sleep = DS_SLEEP_PARKED;
    }
    loop->rest = rest;
    loop->rest_until_ns = until_ns;
    loop->roused = false;
    loop->io_parker.token = false;
    sleep_on(loop, &loop->io_parker, length);
    loop->rest = DS_REST_NONE;
}

void ds_loop_rearm(ds_loop *loop) {
    bool wake = loop->rest == DS_REST_LONG;
    if (loop->rest == DS_REST_IDLE) {
        wake = loop->finishing || ds_loop_network(loop) || ds_timers_next(&loop->timers) < loop->rest_until_ns;
    } else if (!wake) {
        return;
    }
    pthread_mutex_lock(&loop->wake_mutex);
    if (loop->rest == DS_REST_IDLE) {
        loop->target = &loop->io_parker;
        loop->target_sleep = DS_SLEEP_PARKED;
        wake = wake || !ds_list_empty(&loop->notified);
    }
    if (wake) {
        unpark_locked(&loop->io_parker);
    }
    pthread_mutex_unlock(&loop->wake_mutex);
}

/* With wake_mutex held. */
static void wake_target(ds_loop *loop) {
    if (loop->target == NULL) {
        return;
    }
    if (loop->target_sleep == DS_SLEEP_PARKED) {
        unpark_locked(loop->target);
    } else {
        ds_loop_poll_wake(loop, loop->target_sleep);
    }
}

void ds_loop_kick(ds_loop *loop) {
    pthread_mutex_lock(&loop->wake_mutex);
    wake_target(loop);
    pthread_mutex_unlock(&loop->wake_mutex);
}

/* ---- notify ------------------------------------------------------------------------------------------------------ */

void ds_loop_notify(ds_loop *loop, ds_task *task) {
    pthread_mutex_lock(&loop->wake_mutex);
    if (ds_list_empty(&task->node)) {
        bool first = ds_list_empty(&loop->notified);
        ds_list_append(&loop->notified, &task->node);
        if (first) {
            wake_target(loop);
        }
    }
    pthread_mutex_unlock(&loop->wake_mutex);
}

void ds_loop_take_back(ds_loop *loop, ds_task *task) {
    pthread_mutex_lock(&loop->wake_mutex);
    ds_list_remove(&task->node);
    pthread_mutex_unlock(&loop->wake_mutex);
}

ds_task *ds_loop_pop_notified(ds_loop *loop) {
    pthread_mutex_lock(&loop->wake_mutex);
    ds_list *node = ds_list_pop(&loop->notified);
    pthread_mutex_unlock(&loop->wake_mutex);
    return node != NULL ? DS_LIST_ENTRY(node, ds_task, node) : NULL;
}

bool ds_loop_notified(ds_loop *loop) {
    pthread_mutex_lock(&loop->wake_mutex);
    bool any = !ds_list_empty(&loop->notified);
    pthread_mutex_unlock(&loop->wake_mutex);
    return any;
}
