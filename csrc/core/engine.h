/* engine.h: one client's protocol state: its sessions, contenders, departures and observers, over one backend.
 *
 * No I/O, no thread, no clock of its own: everything reaches the world through `world` and `backend`. All of core/ runs
 * on the thread that owns the client at that moment. Callbacks that leave the core (settled, ended, ...) are called
 * from here and may call back in.
 */
#ifndef DS_ENGINE_H
#define DS_ENGINE_H

#include "../backend/backend.h"
#include "../base/list.h"
#include "../base/map.h"
#include "timing.h"

typedef struct ds_engine ds_engine;
typedef struct ds_session ds_session;

/* Told of every change of state, for tests, the simulator and `on_event`. `object`: "session", "contender", "claim";
 * `name`: which. */
typedef void (*ds_trace_fn)(void *context, const char *object, const char *name, const char *from, const char *to,
                            const char *why);
/* Told what people may want to hear: "suspect", "recovered", "session_lost", "lock-delay", ... */
typedef void (*ds_notice_fn)(void *context, const char *name, const char *message);

typedef struct ds_engine_config {
    const char *prefix;         /* where session keys live; copied */
    const char *id;             /* this node; copied */
    const char *info;           /* JSON object text for the session key; copied */
    int64_t request_timeout_ms; /* 0: from the ttl */
    int64_t unavailable_ns;     /* how long nobody may answer before a caller is told so */
    ds_trace_fn trace;          /* or NULL */
    ds_notice_fn notice;        /* or NULL */
    void *context;
} ds_engine_config;

typedef struct ds_engine_stats {
    uint64_t renewals, retries, acquisitions, releases, losses, resent;
    /* At this moment: entries on the server or on their way, how many of them hold, waiters queued here, observers,
     * departures. */
    uint64_t sessions, entries, held, waiting, watches, cleaning;
} ds_engine_stats;

struct ds_engine {
    ds_world *world;
    ds_backend *backend;
    ds_engine_config config;
    ds_list sessions;
    ds_list contenders; /* all of them */
    ds_map locks;       /* those that waiters share, by path */
    ds_list idle;       /* of these those that nobody wants now, oldest first, kept for the next acquire */
    size_t idle_count;
    ds_list observers;
    ds_list requests;
    ds_engine_stats stats;
    bool closing;
    void (*closed)(void *context, bool confirmed); /* while closing */
    void *closed_context;
    ds_timer close_timer;
    ds_task close_task;
};

/* Takes `world` and `backend` (destroys the backend in ds_engine_free). NULL: out of memory; nothing is taken. */
ds_engine *ds_engine_new(ds_world *world, ds_backend *backend, const ds_engine_config *config);

/* Ends everything: held claims are lost (reason closed) and waiters settled with DSYNC_CLOSED before this returns; then
 * the sessions are ended on the server, until confirmed or `until_ns`. `closed` is called once, later. */
void ds_engine_close(ds_engine *engine, int64_t until_ns, void (*closed)(void *context, bool confirmed), void *context);
void ds_engine_free(ds_engine *engine); /* after closed, or when nothing was ever begun */

void ds_engine_trace(ds_engine *engine, const char *object, const char *name, const char *from, const char *to,
                     const char *why);
void ds_engine_notice(ds_engine *engine, const char *name, const char *format, ...) DS_PRINTF(3, 4);
/* Internal: something that keeps a closing engine alive has ended. */
void ds_engine_settle(ds_engine *engine);

int64_t ds_engine_request_timeout(const ds_engine *engine, int64_t ttl_ns);

#endif
