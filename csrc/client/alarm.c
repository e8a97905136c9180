/* alarm.c: a signal for a thread at the moment an acquisition is lost.
 *
 * For hosts whose thread is busy with other things than this library and must be interrupted. Installs no handler and
 * calls nobody: it sets a flag and sends the signal that it was told.
 */
#include <signal.h>
#include <unistd.h>

#include "client.h"

struct dsync_alarm {
    dsync_lock *lock; /* a reference */
    ds_list node;     /* in the lock's list for as long as the acquisition lasts */
    pid_t process, thread;
    int signo;
    _Atomic int rung;
};

void ds_alarms_ring(dsync_lock *lock) {
    ds_list *link;
    while ((link = ds_list_pop(&lock->alarms)) != NULL) {
        dsync_alarm *alarm = DS_LIST_ENTRY(link, dsync_alarm, node);
        /* Released before the signal is sent: a handler that sees it also sees why the lock was lost. */
        atomic_store_explicit(&alarm->rung, 1, memory_order_release);
        if (alarm->signo != 0) {
            /* By thread id within this process: a thread that has ended is not there, and nobody else is meant. */
            (void)tgkill(alarm->process, alarm->thread, alarm->signo);
        }
    }
}

void ds_alarms_end(dsync_lock *lock) {
    while (ds_list_pop(&lock->alarms) != NULL) {
    }
}

dsync_alarm *dsync_alarm_new(dsync_lock *lock, int signo, dsync_error *error) {
    dsync_client *client = lock->client;
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    dsync_alarm *alarm = NULL;
    ds_waiter_look(&lock->waiter);
    if (lock->waiter.state == DS_WAITER_HOLDING) {
        alarm = ds_calloc(1, sizeof *alarm);
        if (alarm != NULL) {
            alarm->lock = lock;
            alarm->process = getpid();
            alarm->thread = gettid();
            alarm->signo = signo;
            atomic_fetch_add_explicit(&lock->refs, 1, memory_order_relaxed);
            ds_list_append(&lock->alarms, &alarm->node);
        } else {
            ds_error_no_memory(error);
        }
    } else if (ds_claim_get(&lock->claim) == DS_CLAIM_LOST) {
        ds_error_set(error, DSYNC_LOST, "it was lost before: %s", dsync_reason_name(dsync_lost_reason(lock)));
    } else {
        ds_error_set(error, DSYNC_NOT_HELD, "this object does not hold it");
    }
    ds_client_leave(client);
    return alarm;
}

int dsync_alarm_rung(const dsync_alarm *alarm) {
    return atomic_load_explicit(&alarm->rung, memory_order_acquire);
}

void dsync_alarm_free(dsync_alarm *alarm) {
    if (alarm == NULL || ds_forked(alarm->lock->client, NULL)) {
        return;
    }
    dsync_lock *lock = alarm->lock;
    ds_loop_lock(lock->client->loop);
    ds_list_remove(&alarm->node);
    ds_loop_unlock(lock->client->loop);
    ds_free(alarm);
    ds_lock_unref(lock);
}
