/* loop_drive.c: who drives a loop and how the driver's place is handed over. See loop_internal.h for the rules. */
#include "loop_internal.h"

/* Longer than what a program does between two blocking calls in a burst, shorter than anybody notices. */
#define NAP_NS (2 * DS_MS)
#define PASSES_MAX 8

/* ---- running ----------------------------------------------------------------------------------------------------- */

void ds_loop_run_tasks(ds_loop *loop) {
    ds_list *node;
    while ((node = ds_list_pop(&loop->tasks)) != NULL) {
        ds_task *task = DS_LIST_ENTRY(node, ds_task, node);
        task->run(task);
    }
}

static void run_notified(ds_loop *loop) {
    ds_task *task;
    while ((task = ds_loop_pop_notified(loop)) != NULL) {
        task->run(task);
        ds_loop_run_tasks(loop);
    }
}

/* Does everything that can be done now. Bounded: what keeps making work for itself continues after a look at the
 * sockets. */
static void run(ds_loop *loop) {
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        ds_loop_run_tasks(loop);
        ds_timers_run(&loop->timers, ds_clock_ns());
        run_notified(loop);
        ds_loop_run_tasks(loop);
        if (pass == 0) {
            ds_loop_run_fds(loop);
        }
        if (pass == 0 || ds_loop_http_pending(loop)) {
            ds_loop_http_run(loop);
        } else if (ds_timers_next(&loop->timers) > ds_clock_ns()) {
            break;
        }
    }
}

/* ---- handing over ------------------------------------------------------------------------------------------------ */

void ds_loop_wake_waiters(ds_loop *loop) {
    for (ds_list *node = loop->waiters.next; node != &loop->waiters; node = node->next) {
        ds_waiter *waiter = DS_LIST_ENTRY(node, ds_waiter, node);
        if (*waiter->done) {
            ds_unpark(loop, &waiter->parker);
        }
    }
    if (loop->asleep && !loop->kicked && loop->driver_done != NULL && *loop->driver_done) {
        loop->kicked = true;
        ds_loop_kick(loop);
    }
}

/* Makes a blocked caller the driver. False: there is none that still waits. */
static bool hand_over(ds_loop *loop) {
    for (ds_list *node = loop->waiters.next; node != &loop->waiters; node = node->next) {
        ds_waiter *waiter = DS_LIST_ENTRY(node, ds_waiter, node);
        if (!*waiter->done) {
            waiter->chosen = true;
            loop->driver = DS_DRIVER_CALLER;
            loop->turns++;
            ds_unpark(loop, &waiter->parker);
            return true;
        }
    }
    return false;
}

/* A caller ceases to drive. */
static void step_down(ds_loop *loop) {
    if (ds_loop_http_pending(loop)) {
        ds_loop_http_run(loop); /* what was asked for last goes out now, not when the I/O thread has woken up */
        ds_loop_wake_waiters(loop);
    }
    loop->driver = DS_DRIVER_NONE;
    loop->turns++;
    if (!hand_over(loop)) {
        ds_loop_rearm(loop);
    }
}

static void wake_sleeper(ds_loop *loop) {
    if (loop->kicked) {
        return;
    }
    bool done = loop->driver_done != NULL && *loop->driver_done;
    if (done || ds_loop_pending(loop) || ds_timers_next(&loop->timers) < loop->sleep_until_ns) {
        loop->kicked = true;
        ds_loop_kick(loop);
    }
}

void ds_loop_settle(ds_loop *loop) {
    ds_loop_run_tasks(loop);
    if (loop->driver == DS_DRIVER_NONE && loop->rest != DS_REST_IDLE) {
        /* The I/O thread naps (or there is none): start here what was asked for, it will look after it. */
        for (int pass = 0; pass < PASSES_MAX && ds_loop_http_pending(loop); pass++) {
            ds_loop_http_run(loop);
        }
    }
    if (!ds_list_empty(&loop->waiters)) {
        ds_loop_wake_waiters(loop);
    }
    if (loop->asleep) {
        wake_sleeper(loop);
    } else if (loop->driver == DS_DRIVER_NONE && loop->rest == DS_REST_IDLE && !loop->roused) {
        if (ds_loop_pending(loop) || ds_timers_next(&loop->timers) < loop->rest_until_ns) {
            loop->roused = true;
            ds_unpark(loop, &loop->io_parker);
        }
    }
}

/* ---- a caller that blocks ---------------------------------------------------------------------------------------- */

static bool over(const bool *done, int64_t until_ns) {
    return *done || (until_ns != DS_NEVER && ds_clock_ns() >= until_ns);
}

/* Waits for the driver's place; true when it is ours. */
static bool await_turn(ds_loop *loop, ds_waiter *waiter, int64_t until_ns) {
    ds_list_append(&loop->waiters, &waiter->node);
    while (!waiter->chosen && !over(waiter->done, until_ns)) {
        if (loop->driver == DS_DRIVER_NONE) {
            waiter->chosen = true;
            loop->driver = DS_DRIVER_CALLER;
            loop->turns++;
            break;
        }
        if (loop->asleep && loop->driver == DS_DRIVER_IO && !loop->kicked) {
            loop->kicked = true;
            ds_loop_kick(loop);
        } else if (loop->asleep) {
            wake_sleeper(loop); /* for what this caller has just asked for */
        }
        waiter->parker.token = false; /* set by holders of the mutex only, as this parker is nobody's target yet */
        ds_loop_park(loop, &waiter->parker, until_ns);
    }
    ds_list_remove(&waiter->node);
    return waiter->chosen;
}

bool ds_loop_wait(ds_loop *loop, const bool *done, int64_t until_ns) {
    ds_loop_run_tasks(loop);
    if (over(done, until_ns)) {
        return *done;
    }
    ds_waiter waiter = {.done = done};
    if (!ds_parker_init(&waiter.parker)) {
        return *done;
    }
    if (await_turn(loop, &waiter, until_ns)) {
        run(loop);
        while (!over(done, until_ns)) {
            ds_loop_wake_waiters(loop);
            ds_loop_sleep(loop, &waiter.parker, until_ns, done);
            run(loop);
        }
        ds_loop_wake_waiters(loop);
        step_down(loop);
    }
    ds_parker_destroy(&waiter.parker);
    return *done;
}

/* ---- the I/O thread ---------------------------------------------------------------------------------------------- */

static void drive_once(ds_loop *loop) {
    loop->driver = DS_DRIVER_IO;
    run(loop);
    ds_loop_wake_waiters(loop);
    if (hand_over(loop)) {
        return;
    }
    if (loop->finishing) {
        loop->driver = DS_DRIVER_NONE;
    } else if (ds_loop_http_pending(loop) || ds_loop_network(loop)) {
        ds_loop_sleep(loop, &loop->io_parker, DS_NEVER, NULL);
        loop->driver = DS_DRIVER_NONE;
    } else {
        loop->driver = DS_DRIVER_NONE;
        ds_loop_rest(loop, DS_REST_IDLE, ds_timers_next(&loop->timers));
    }
}

void *ds_loop_io_main(void *argument) {
    ds_loop *loop = argument;
    (void)pthread_setname_np(pthread_self(), "dsync");
    pthread_mutex_lock(&loop->mutex);
    unsigned seen = loop->turns;
    while (!loop->finishing || loop->driver == DS_DRIVER_CALLER) {
        if (loop->driver == DS_DRIVER_CALLER || loop->turns != seen) {
            bool lasting = loop->driver == DS_DRIVER_CALLER && loop->turns == seen;
            seen = loop->turns;
            ds_loop_rest(loop, lasting ? DS_REST_LONG : DS_REST_NAP, lasting ? DS_NEVER : ds_clock_ns() + NAP_NS);
        } else {
            drive_once(loop);
        }
    }
    ds_loop_run_tasks(loop);
    ds_loop_http_hang_up(loop); /* its owner may be garbage for long before it is collected */
    void (*last)(void *) = loop->last;
    void *last_argument = loop->last_argument;
    pthread_mutex_unlock(&loop->mutex);
    last(last_argument);
    return NULL;
}
