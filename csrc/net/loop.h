/* loop.h: the real world: an event loop on poll or curl_multi_poll, CLOCK_BOOTTIME, timers, and who drives it.
 *
 * One mutex protects the loop and everything that lives above it (the client's protocol state). Whoever holds it may
 * call the core. The loop must also be driven: somebody has to poll the sockets and fire the timers. Normally that is
 * the loop's own I/O thread. A thread that blocks for a result drives the loop itself meanwhile (a hop to another
 * thread and back costs more than a tenth of an etcd request), and the I/O thread takes over again when nobody drives.
 *
 * While somebody polls, the mutex is free but the connections are the poller's: requests started meanwhile are put
 * aside and the poller is woken to start them.
 */
#ifndef DS_LOOP_H
#define DS_LOOP_H

#include "../core/world.h"
#include "../dsync.h"

typedef struct ds_loop ds_loop;

/* How the loop's HTTP requests connect. Copied. */
typedef struct ds_http_config {
    int64_t connect_timeout_ms;
    const char *tls_ca, *tls_cert, *tls_key, *tls_server_name;
    bool tls_insecure_skip_verify;
    bool late; /* libcurl is loaded for the first request over HTTP/1.1, which fails when it cannot be; else at once */
} ds_http_config;

/* `http` NULL: a loop without a network (memory:, local:), which never opens a socket. NULL with `error` filled
 * on failure. No thread is started yet. */
ds_loop *ds_loop_new(const ds_http_config *http, dsync_error *error);
/* Starts the I/O thread (idempotent, called with the mutex held or not at all concurrently). False: error filled. All
 * signals but ILL, FPE, SEGV, BUS are blocked in it. */
bool ds_loop_start(ds_loop *loop, dsync_error *error);
ds_world *ds_loop_world(ds_loop *loop);

void ds_loop_lock(ds_loop *loop);   /* then the core may be called */
void ds_loop_unlock(ds_loop *loop); /* runs posted tasks first, so that inline backends have finished */

/* With the mutex held: drives the loop (or waits while another thread drives) until *done is true or `until_ns` has
 * come. `*done` changes only under the mutex. Returns *done. The mutex is held again at return. */
bool ds_loop_wait(ds_loop *loop, const bool *done, int64_t until_ns);
/* Under the mutex: something a ds_loop_wait of another thread waits for may have changed. */
void ds_loop_wake_waiters(ds_loop *loop);

bool ds_loop_started(const ds_loop *loop); /* with the mutex held: was the I/O thread ever started? */
/* With the mutex held, by any thread: the I/O thread ends as soon as nobody drives, and then calls `last` without
 * the mutex, as the last thing it does; `last` may free the loop. False: no thread was ever started; `last` is not
 * called. */
bool ds_loop_finish(ds_loop *loop, void (*last)(void *), void *argument);
/* With the mutex held: how many HTTP requests have been started so far. */
uint64_t ds_loop_requests(const ds_loop *loop);
/* Frees a finished loop: every HTTP request must be over or is cancelled silently. */
void ds_loop_free(ds_loop *loop);

bool ds_loop_on_own_thread(const ds_loop *loop);
/* If the I/O thread could not go on (its poll failed for good), this is called once with the mutex held. */
void ds_loop_on_failure(ds_loop *loop, void (*failed)(void *), void *argument);

/* CLOCK_BOOTTIME, else CLOCK_MONOTONIC, in nanoseconds; negative when both fail. Any thread, async-signal-safe. */
int64_t ds_clock_ns(void);

#endif
