/* loop_internal.h: what the files of the loop know of each other. Nobody else includes this.
 *
 * Two mutexes. `mutex` is the big one of loop.h. `wake_mutex` is a leaf: it guards only who sleeps and what was
 * notified, is held for a few instructions, and nothing is called and no other mutex is taken under it, so notify() may
 * be called by a thread that holds anything at all.
 *
 * Who drives. At most one thread is the driver: the I/O thread or a caller inside ds_loop_wait. A driver alternates
 * between running the loop (with the mutex) and sleeping until something happens (without it; `asleep`). Only while no
 * driver is asleep may whoever holds the mutex touch the connections.
 *
 * When the I/O thread does not drive it rests (ds_rest): a short nap while callers come and go, so that one blocking
 * call after the other costs no wake-up and no hop; untimed while one caller drives for long; and, when nothing is on
 * the wire, until the next timer, with the driver's place left free.
 */
#ifndef DS_LOOP_INTERNAL_H
#define DS_LOOP_INTERNAL_H

#include "h2.h"
#include "http.h"
#include "loop.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

/* A pairing heap through the timers themselves: it needs no memory, so setting a timer cannot fail. */
typedef struct ds_timers {
    ds_timer *root;
    size_t count;
} ds_timers;

void ds_timers_set(ds_timers *timers, ds_timer *timer, int64_t at_ns);
void ds_timers_stop(ds_timers *timers, ds_timer *timer);
int64_t ds_timers_next(const ds_timers *timers); /* DS_NEVER when none is set */
/* Fires what is due; timers set meanwhile, even to the past, wait for the next call if they would make it endless. */
void ds_timers_run(ds_timers *timers, int64_t now_ns);

/* Where one thread sleeps. `token` is set by who wakes it and outlives the race between deciding and sleeping. */
typedef struct ds_parker {
    pthread_cond_t cond;
    bool token;
} ds_parker;

typedef enum ds_driver {
    DS_DRIVER_NONE,
    DS_DRIVER_IO,
    DS_DRIVER_CALLER,
} ds_driver;

typedef enum ds_rest {
    DS_REST_NONE, /* the I/O thread runs, drives, or was never started */
    DS_REST_NAP,  /* looks again by itself within NAP_NS */
    DS_REST_LONG, /* a caller drives and will wake it when it leaves */
    DS_REST_IDLE, /* nothing on the wire: until `rest_until_ns`, and whoever makes work for it wakes it */
} ds_rest;

/* In what a thread sleeps that the others may have to wake. */
typedef enum ds_sleep {
    DS_SLEEP_PARKED, /* on its parker */
    DS_SLEEP_POLL,   /* in poll */
    DS_SLEEP_CURL,   /* in curl_multi_poll */
} ds_sleep;

/* A caller in ds_loop_wait that does not drive. */
typedef struct ds_waiter {
    ds_list node;
    const bool *done;
    ds_parker parker;
    bool chosen; /* it is the driver from now on */
} ds_waiter;

struct ds_loop {
    ds_world world; /* first: the world is the loop */

    pthread_mutex_t mutex; /* guards everything down to wake_mutex, and all protocol state above the loop */
    ds_list tasks;
    ds_timers timers;
    bool network;
    ds_http_config http_config; /* copied */
    ds_http_client *http;       /* NULL: not needed so far */
    ds_h2_client *h2;           /* NULL: not needed so far */
    ds_list refused;            /* requests that end without having been sent, see loop_http.c */
    ds_driver driver;
    ds_rest rest;
    bool asleep;             /* the driver sleeps without the mutex */
    bool kicked;             /* ... and was woken already */
    int64_t sleep_until_ns;  /* ... and would have slept so long */
    const bool *driver_done; /* what a sleeping caller waits for */
    int64_t rest_until_ns;   /* with DS_REST_IDLE */
    bool roused;             /* ... and was woken already */
    unsigned turns;          /* how often a caller began or ceased to drive */
    ds_list waiters;         /* ds_waiter.node */
    bool started, finishing;
    uint64_t requests; /* HTTP requests begun */
    ds_list fds;       /* ds_fd.node: descriptors that others brought */
    bool fds_news;     /* they are not what a sleeping driver polls, or what the last poll was about */
    bool fds_known;    /* `polled` says which are ready */
    int64_t fds_looked_ns;
    struct pollfd *polled; /* what the driver polls: `wake_fd`, then `fds` in their order */
    size_t polled_count, polled_capacity;
    unsigned char random_pool[256];
    size_t random_left;
    unsigned poll_failures; /* in a row */
    pthread_t thread;
    _Atomic bool io_waits; /* the I/O thread wants the mutex; anybody may look */
    void (*last)(void *);
    void *last_argument;
    void (*failed)(void *);
    void *failed_argument;

    pthread_mutex_t wake_mutex; /* guards the rest, and every ds_parker.token */
    ds_list notified;
    ds_parker *target; /* who must hear of a notification; NULL: somebody runs and will look before it sleeps */
    ds_sleep target_sleep;
    int wake_fd; /* ends a poll; -1: no network */
    ds_parker io_parker;
};

/* loop_wake.c: sleeping and waking. */
bool ds_parker_init(ds_parker *parker);
void ds_parker_destroy(ds_parker *parker);
void ds_unpark(ds_loop *loop, ds_parker *parker);
/* With the mutex held: sleeps without it until woken or `until_ns` has come (at most a second, so that a machine that
 * was suspended notices soon). As the driver: also until the network has something. */
void ds_loop_park(ds_loop *loop, ds_parker *parker, int64_t until_ns);
void ds_loop_sleep(ds_loop *loop, ds_parker *parker, int64_t until_ns, const bool *done);
void ds_loop_rest(ds_loop *loop, ds_rest rest, int64_t until_ns);
/* Wakes the sleeping driver, or the resting I/O thread if there is no driver. Any thread. */
void ds_loop_kick(ds_loop *loop);
void ds_loop_rearm(ds_loop *loop);            /* a caller ceased to drive and nobody follows */
bool ds_loop_notified(ds_loop *loop);         /* is a notified task waiting? */
ds_task *ds_loop_pop_notified(ds_loop *loop); /* or NULL */
void ds_loop_notify(ds_loop *loop, ds_task *task);
void ds_loop_take_back(ds_loop *loop, ds_task *task);

/* loop_http.c: the HTTP clients and the requests that no client can send. */
bool ds_loop_http_begin(ds_loop *loop, const ds_http_config *config, dsync_error *error);
void ds_loop_http_end(ds_loop *loop);
void ds_loop_http_hang_up(ds_loop *loop);
bool ds_loop_http_pending(const ds_loop *loop); /* is there something that ds_loop_http_run would do at once? */
void ds_loop_http_run(ds_loop *loop);
ds_http *ds_loop_http_start(ds_world *world, const ds_http_request *request, ds_http_sink *sink);
void ds_loop_http_cancel(ds_world *world, ds_http *http);
bool ds_loop_http_send(ds_world *world, ds_http *http, const void *bytes, size_t count);

/* loop_fds.c: descriptors that others brought. */
bool ds_loop_poll_begin(ds_loop *loop, dsync_error *error);
void ds_loop_poll_end(ds_loop *loop);
/* How the driver will sleep, after taking note of everything that it polls for. False: out of memory. */
bool ds_loop_poll_prepare(ds_loop *loop, ds_sleep *sleep);
bool ds_loop_poll(ds_loop *loop, ds_sleep sleep, int timeout_ms); /* without the mutex; false: cannot poll */
void ds_loop_poll_wake(const ds_loop *loop, ds_sleep sleep);      /* any thread */
void ds_loop_fd_watch(ds_world *world, ds_fd *fd);
void ds_loop_fd_unwatch(ds_world *world, ds_fd *fd);
void ds_loop_run_fds(ds_loop *loop);       /* tells the owners of those that are ready now */
bool ds_loop_network(const ds_loop *loop); /* is anything on the wire, so that somebody must poll? */
bool ds_loop_pending(const ds_loop *loop); /* must a sleeping driver look anew? */

/* loop.c: starts a detached thread that hears no signals but the synchronous ones. 0 or an errno. */
int ds_thread_start(pthread_t *thread, void *(*main)(void *), void *argument);

/* loop_drive.c */
void ds_loop_run_tasks(ds_loop *loop);
void ds_loop_settle(ds_loop *loop); /* before the mutex is given up: nothing may be left that nobody looks at */
void *ds_loop_io_main(void *argument);

#endif
