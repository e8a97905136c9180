/* core_fixture.h: an engine over a scripted backend in virtual time, and locks that note what they are told.
 *
 * What locks hear goes into the backend's log between the calls: "A ok", "A timeout", "A lost expired", "A released
 * ok". Ends the program when the core tells a lock twice, or something it should not.
 */
#ifndef CORE_FIXTURE_H
#define CORE_FIXTURE_H

#include "../../csrc/core/contender.h"
#include "scripted_backend.h"

#define QUEUE "p/lock/q"
#define TTL_MS INT64_C(15000) /* deadline 12 s after sending, renewal 4.5-5 s after, suspect after 7.5 s */

typedef struct desk {
    fw *u;
    ds_world *world;
    sb *backend;
    ds_engine *engine;
    bool closed, confirmed;
    unsigned notices;
    char notice[100], notice_message[500]; /* the last one */
    char trace[4096];                      /* "claim A idle>entering\n", ... */
} desk;

typedef struct lock {
    desk *d;
    char name[8];
    ds_waiter waiter;
    ds_claim claim;
    unsigned settled, ended, released; /* how often told, since lock_new */
    dsync_code code;
    char message[500];
    dsync_reason reason;
    ds_release release;
    dsync_code release_code;
    int64_t free_by_ms;
    int64_t settled_ns, ended_ns, released_ns;
    void (*on_settled)(struct lock *lock); /* or NULL */
    void (*on_ended)(struct lock *lock);
    void (*on_released)(struct lock *lock);
} lock;

void desk_open(desk *d);
void desk_open_with(desk *d, const ds_engine_config *config, int margin_divisor, int renew_divisor);
/* Closes what is not closed, frees everything; returns whether nothing was left over. */
bool desk_close(desk *d);
/* Closes the engine only; the loop has not run yet. */
void desk_shut(desk *d, int64_t timeout_ns);

lock *lock_new(desk *d, const char *name); /* a lock with TTL_MS that waits for ever; freed by desk_close */
void lock_free(lock *l);                   /* as a host that lets it go: dropped first */
void lock_acquire(lock *l);                /* of QUEUE */
void lock_acquire_at(lock *l, const char *path);
void lock_try(lock *l);
lock *lock_held_new(desk *d, const char *name); /* acquired, and the loop has run */
void lock_release(lock *l, int64_t timeout_ns);
void lock_cancel(lock *l);
int64_t lock_left(const lock *l); /* nanoseconds */
bool lock_held(const lock *l);

/* What happened since the last time, as one line; the loop runs first. */
const char *desk_log(desk *d);
ds_session *desk_session(desk *d); /* the first one; NULL: none */

#endif
