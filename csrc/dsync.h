/* dsync.h: distributed locks and leader election. The public C API; the Lua module uses this and nothing else.
 *
 * A client talks to one store (etcd, Consul, ZooKeeper, a file on this host, memory) and keeps its sessions alive from
 * a thread of its own. A lock is a name in that store; a leader is a candidate in an election. Both are a `dsync_lock`
 * here, because they are one thing: a place in a queue, held under a session that is renewed in the background. Whether
 * you hold is decided by this process's clock: dsync_held() is right even when the network is silent or the process was
 * stopped.
 *
 * Threads. A client and everything made from it may be used by several threads at once; no call holds a lock while it
 * calls you, because nothing calls you: results and losses are read with dsync_next_event() or dsync_op_wait(). Fork.
 * In a forked child every call on an inherited handle answers DSYNC_FORKED (dsync_held: false) and touches nothing;
 * freeing one is harmless.
 * Signals. The client's thread blocks all signals but the synchronous ones; the library installs no handler, and sends
 * no signal but those a dsync_alarm was made for.
 *
 * Conventions. Times are milliseconds in int64_t; -1 means for ever where something waits. A call that can fail returns
 * a dsync_code (0 is success) or a pointer (NULL is failure) and describes the failure in the dsync_error it was given
 * (which may be NULL). Strings that come in are copied; strings that go out live as long as the object they were asked
 * of, unless a function says otherwise. Any call that makes or begins something can fail with DSYNC_FORKED,
 * DSYNC_CLOSED (unless it says otherwise), DSYNC_RESOURCE, and DSYNC_INVALID for a bad argument.
 */
#ifndef DSYNC_H
#define DSYNC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DSYNC_API __attribute__((visibility("default")))
#else
#define DSYNC_API
#endif

#define DSYNC_VERSION "0.1.0"

/* What can be said of a call. The names (dsync_code_name) are stable and meant to be branched on. */
typedef enum dsync_code {
    DSYNC_OK = 0,
    DSYNC_TIMEOUT,      /* "timeout": the wait was over; nothing of the call stays behind */
    DSYNC_CONTENDED,    /* "contended": tried once, somebody else holds */
    DSYNC_LOST,         /* "lost": the lock is lost; if the call had its effect, then while it was still held */
    DSYNC_NOT_HELD,     /* "not_held" */
    DSYNC_ALREADY_HELD, /* "already_held": by this very object */
    DSYNC_CANCELLED,    /* "cancelled" */
    DSYNC_CLOSED,       /* "closed": the client or watcher was closed */
    DSYNC_UNKNOWN,     /* "unknown": sent, but whether it happened could not be learnt; the message says what follows */
    DSYNC_UNAVAILABLE, /* "unavailable": no server answers */
    DSYNC_DENIED,      /* "denied": credentials, permissions, certificates */
    DSYNC_CONFIG,      /* "config": options or server settings that cannot work */
    DSYNC_PROTOCOL,    /* "protocol": the server said something impossible */
    DSYNC_FORKED,      /* "forked": this handle belongs to the parent process */
    DSYNC_RESOURCE,    /* "resource": out of memory, descriptors, disk */
    DSYNC_PHASE,       /* "phase": this place in the host program cannot wait */
    DSYNC_EXITING,     /* "exiting": the host program is shutting down */
    DSYNC_VACANT,      /* "vacant": there is no leader */
    DSYNC_RANGE,       /* "range": a number does not fit */
    DSYNC_UNSUPPORTED, /* "unsupported": this store or build cannot do it */
    DSYNC_INVALID,     /* "invalid": a programming error: bad name, bad argument */
    DSYNC_CODE_COUNT
} dsync_code;

typedef struct dsync_error {
    dsync_code code;
    char message[480]; /* for people: what was wrong and what to do; never a secret */
} dsync_error;

/* The stable short name of a code ("timeout"), or "invalid" for a number that is none. Static. */
DSYNC_API const char *dsync_code_name(dsync_code code);

/* Why a lock was lost. */
typedef enum dsync_reason {
    DSYNC_NOT_LOST = 0,
    DSYNC_REASON_EXPIRED,       /* "expired": not renewed in time, or `hold_ms` was over */
    DSYNC_REASON_SESSION_LOST,  /* "session_lost": the server ended the session */
    DSYNC_REASON_DELETED,       /* "deleted": somebody removed the entry */
    DSYNC_REASON_BROKEN,        /* "broken": somebody used break_lock */
    DSYNC_REASON_CLUSTER_RESET, /* "cluster_reset": another or an older cluster answers now */
    DSYNC_REASON_CLOSED,        /* "closed": the client was closed */
    DSYNC_REASON_COUNT
} dsync_reason;

DSYNC_API const char *dsync_reason_name(dsync_reason reason); /* static; "" for DSYNC_NOT_LOST */

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* One setting of one backend, such as {"consul.lock_delay", "5s"} or {"etcd.transport", "json"}. */
typedef struct dsync_setting {
    const char *name;
    const char *value;
} dsync_setting;

/* How to open a client. Start from dsync_options_init(); NULL and 0 then mean "the default". All strings are copied by
 * dsync_open. Times are milliseconds; -1 means "for ever" where a wait is meant. */
typedef struct dsync_options {
    size_t size;                  /* sizeof(dsync_options), set by dsync_options_init: lets the struct grow */
    const char *const *endpoints; /* instead of, or besides, the hosts in the URL: "host:port" or "http://host:port" */
    size_t endpoint_count;
    const char *prefix;        /* default "dsync"; may have several segments */
    int64_t ttl_ms;            /* default 15000: how long a lock outlives a holder that vanished */
    int64_t wait_ms;           /* default -1: how long acquire waits */
    int64_t retry_interval_ms; /* default 1000: pause of keep-like loops after a failure */
    int64_t hold_ms;           /* default 0 = no limit: longest time a lock may be kept */
    const char *id;            /* this node's name, default host:pid:random */
    const char *name_space;    /* default "default": of elections */
    const char *value;         /* what others see beside a holder */
    size_t value_size;
    size_t max_value;   /* default 65536 bytes */
    int raw;            /* store the value as it is instead of inside a JSON object */
    int own_session;    /* a session for each lock instead of one for the client */
    const char *region; /* keys go under region/<region> or global */
    const char *scope;  /* "region" (default when a region is set) or "global" */
    int allow_plaintext_credentials;
    const char *tls_ca, *tls_cert, *tls_key; /* files, PEM */
    const char *tls_server_name;
    int tls_insecure_skip_verify;
    const char *auth_user, *auth_password, *auth_token, *auth_token_file;
    int64_t connect_timeout_ms; /* default min(1000, ttl/8) */
    int64_t request_timeout_ms; /* default ttl/8, between 250 and 5000 */
    int64_t close_timeout_ms;   /* default 2000 */
    const dsync_setting *settings;
    size_t setting_count;
} dsync_options;

/* Fills in size and defaults. */
DSYNC_API void dsync_options_init(dsync_options *options);

/* ---- client ------------------------------------------------------------------------------------------------------ */

typedef struct dsync_client dsync_client;
typedef struct dsync_lock dsync_lock;
typedef struct dsync_op dsync_op;
typedef struct dsync_watcher dsync_watcher;

/* Opens a client. `url`: "etcd://h1,h2:2379", "etcds://" (TLS), "consul://h1,h2:8500", "consuls://" (TLS),
 * "consul+unix:///path", "zookeeper://h1,h2:2181/chroot", "local:[path]" (one host, no server) or "memory:[name]" (one
 * process); NULL means $DSYNC_URL, else "local:". No request is made: the server need not be up (see dsync_ping_start).
 * `options` may be NULL. Free with dsync_close + dsync_client_unref. NULL on bad options: DSYNC_INVALID, DSYNC_CONFIG,
 * DSYNC_UNSUPPORTED or DSYNC_RESOURCE. */
DSYNC_API dsync_client *dsync_open(const char *url, const dsync_options *options, dsync_error *error);

/* Begins to load, in the background, the libraries that a client of this URL will need (libcurl, with all it brings
 * along), while the program does something else before its dsync_open. Only ever a hint: any URL will do. */
DSYNC_API void dsync_prepare(const char *url);

/* Releases everything, ends the sessions and stops the thread. Waits at most `timeout_ms` (-1: the client's
 * close_timeout_ms) for the server to confirm; held locks are lost (reason "closed") before anything is sent. Pending
 * operations end with DSYNC_CLOSED. DSYNC_OK, or DSYNC_UNKNOWN with "free by ..." when the server did not confirm.
 * Closing twice is harmless. The handle stays valid (and answers DSYNC_CLOSED) until dsync_client_unref. */
DSYNC_API dsync_code dsync_close(dsync_client *client, int64_t timeout_ms, dsync_error *error);
/* The same as an operation, for hosts that must not block: it ends with DSYNC_OK or DSYNC_UNKNOWN. NULL with
 * DSYNC_RESOURCE: there is no memory to say how it ends; the client closes all the same. */
DSYNC_API dsync_op *dsync_close_start(dsync_client *client, int64_t timeout_ms, dsync_error *error);
/* The same without waiting: the client's thread finishes within close_timeout_ms. For finalizers. At exit() the library
 * waits for such closings, each within its close_timeout_ms. */
DSYNC_API void dsync_close_later(dsync_client *client);
DSYNC_API void dsync_client_ref(dsync_client *client);
/* NULL is fine. The last one closes as dsync_close_later does; locks, operations and watchers hold references of their
 * own until they are freed. */
DSYNC_API void dsync_client_unref(dsync_client *client);

DSYNC_API const char *dsync_client_id(const dsync_client *client);
DSYNC_API const char *dsync_client_backend(const dsync_client *client); /* "etcd" */
DSYNC_API const char *dsync_client_endpoints(const dsync_client *client);
/* Effective options as a JSON object, durations in seconds, secrets shown as "***". Free with dsync_free. NULL: out of
 * memory. */
DSYNC_API char *dsync_client_options(const dsync_client *client);

typedef struct dsync_stats {
    size_t size; /* sizeof(dsync_stats), set by the caller */
    /* Since dsync_open: requests of HTTP and HTTP/2, the only ones counted; renewals that a server confirmed; tries
     * that failed and were made again; locks acquired, released and lost; answers to requests that may have been sent
     * twice. */
    uint64_t requests, renewals, retries, acquisitions, releases, losses, resent;
    /* At this moment: sessions; entries on the server; locks held; calls that wait for a lock; watchers that have not
     * ended; entries on their way out. */
    uint64_t sessions, entries, held, waiting, watches, cleaning;
} dsync_stats;
/* In a forked child all are 0. */
DSYNC_API void dsync_client_stats(dsync_client *client, dsync_stats *stats);

DSYNC_API void dsync_free(void *memory); /* frees what this library handed over */

/* ---- operations -------------------------------------------------------------------------------------------------- */

/* Calls named *_start begin something and return at once with an operation; NULL means it could not even begin (error
 * filled). An operation ends exactly once, by its own deadline: an acquire's is its wait, that of dsync_revoked_start
 * and dsync_ping_start is given, a close's is its timeout, and all others end within 5 seconds. Free it with
 * dsync_op_free at any time: a pending one is cancelled and cleans up behind itself. */

/* Waits until `op` has ended, at most `timeout_ms` (-1: for ever). 1 = ended, 0 = not yet. While waiting, the calling
 * thread drives the client itself. */
DSYNC_API int dsync_op_wait(dsync_op *op, int64_t timeout_ms);
DSYNC_API int dsync_op_done(const dsync_op *op); /* 1 = ended, 0 = not yet */
/* The result of an ended operation; DSYNC_OK or a code with its message (lives as long as the op). Pending:
 * DSYNC_UNKNOWN. */
DSYNC_API dsync_code dsync_op_result(const dsync_op *op, const char **message);
/* Ends a pending operation with DSYNC_CANCELLED; what it had begun on the server is removed in the background. */
DSYNC_API void dsync_op_cancel(dsync_op *op);
/* Asks for a DSYNC_EVENT_DONE when `op` ends (at once if it has ended). */
DSYNC_API void dsync_op_notify(dsync_op *op);
DSYNC_API void dsync_op_free(dsync_op *op);             /* NULL is fine */
DSYNC_API uint64_t dsync_op_number(const dsync_op *op); /* unique within the process */

/* Results beyond success. Lists: entries in order. Strings live as long as the op. */
typedef struct dsync_entry {
    const char *name;       /* lock or election, decoded */
    const char *name_space; /* election's namespace, else NULL */
    const char *path;       /* full key of the queue */
    const char *id;         /* node's id; NULL for a foreign entry that names none */
    const char *value;      /* may hold any bytes; a JSON text when value_is_json */
    size_t value_size;
    int value_is_json; /* the holder's value was a table: `value` is its JSON */
    int64_t token;
    int64_t queued_at_ms, acquired_at_ms; /* since 1970; 0 = unknown */
    int holds;                            /* owns the queue */
    int first;                            /* begins a new queue in the list */
} dsync_entry;
DSYNC_API size_t dsync_op_entry_count(const dsync_op *op);
DSYNC_API const dsync_entry *dsync_op_entry(const dsync_op *op, size_t index); /* NULL out of range */
/* The value of a dsync_get, or the server's name of a dsync_ping. NULL when there is none. */
DSYNC_API const char *dsync_op_value(const dsync_op *op, size_t *size, int64_t *token);

/* ---- events ------------------------------------------------------------------------------------------------------ */

typedef enum dsync_event_type {
    DSYNC_EVENT_NONE = 0,
    DSYNC_EVENT_DONE,    /* an operation with dsync_op_notify ended: number */
    DSYNC_EVENT_REVOKED, /* a held lock was lost: number (of the lock), reason; once per acquisition */
    DSYNC_EVENT_WATCH,   /* a watcher has something: number (of the watcher) */
    DSYNC_EVENT_NOTICE,  /* for the on_event stream: `name` and `message` */
} dsync_event_type;

typedef struct dsync_event {
    dsync_event_type type;
    uint64_t number;
    dsync_reason reason;
    uint64_t acquisition; /* REVOKED: which acquisition of that lock (dsync_acquisition) */
    char name[32];        /* NOTICE: "session_lost", "suspect", "recovered", "lock-delay", ... */
    char message[256];
} dsync_event;

/* Takes the next event; 0 when there is none. */
DSYNC_API int dsync_next_event(dsync_client *client, dsync_event *event);
/* Waits until there is an event, at most timeout_ms (-1: for ever). 1: there is one; 0: not in that time. Drives the
 * client as dsync_op_wait does. */
DSYNC_API int dsync_wait_event(dsync_client *client, int64_t timeout_ms);
/* A descriptor that is readable while events are waiting: poll it, then take events until there are none. Owned by the
 * client, valid until dsync_close; -1 with error filled when none can be had. Do not read from it. */
DSYNC_API int dsync_fd(dsync_client *client, dsync_error *error);
/* For hosts that cannot poll a foreign descriptor but can read a socket of their own (nginx): from now on one byte is
 * sent to `socket` whenever events begin to wait (at once if some do), without ever blocking; whoever reads it takes
 * events until there are none. The client sends on a duplicate, so `socket` stays the caller's; several clients may
 * share one. -1 ends it; so does dsync_close. DSYNC_OK, DSYNC_CLOSED, DSYNC_FORKED or DSYNC_RESOURCE. */
DSYNC_API dsync_code dsync_event_socket(dsync_client *client, int socket, dsync_error *error);
/* Whether NOTICE events are wanted (default: no). */
DSYNC_API void dsync_want_notices(dsync_client *client, int wanted);

/* ---- locks and candidates ---------------------------------------------------------------------------------------- */

/* Options of one lock or candidate; 0/NULL inherits the client's. Start from dsync_lock_options_init(). */
typedef struct dsync_lock_options {
    size_t size;
    int64_t ttl_ms, wait_ms, hold_ms; /* wait_ms: -2 = inherit, -1 = for ever, 0 = try once */
    const char *value;
    size_t value_size;
    int has_value;     /* value is meant even if empty */
    int value_is_json; /* value is a JSON object to be stored as such */
    int raw;           /* -1 = inherit */
    int own_session;   /* -1 = inherit */
    const char *scope;
    const char *key; /* replaces the whole path, literally */
    const char *id;  /* candidates: this node's name in the election */
    const char *name_space;
} dsync_lock_options;
DSYNC_API void dsync_lock_options_init(dsync_lock_options *options);

/* A lock by name, or a candidate (which every call below also takes: acquire = campaign, release = resign). No I/O,
 * also after dsync_close. Free with dsync_lock_free; a held one is released in the background. NULL: DSYNC_INVALID
 * names the argument, DSYNC_CONFIG says which times cannot work together. */
DSYNC_API dsync_lock *dsync_lock_new(dsync_client *client, const char *name, const dsync_lock_options *options,
                                     dsync_error *error);
DSYNC_API dsync_lock *dsync_leader_new(dsync_client *client, const char *name, const dsync_lock_options *options,
                                       dsync_error *error);
DSYNC_API void dsync_lock_free(dsync_lock *lock);             /* NULL is fine */
DSYNC_API uint64_t dsync_lock_number(const dsync_lock *lock); /* unique within the process */
DSYNC_API const char *dsync_lock_name(const dsync_lock *lock);
DSYNC_API const char *dsync_lock_key(const dsync_lock *lock); /* path of the queue on the server */
DSYNC_API dsync_client *dsync_lock_client(const dsync_lock *lock);

typedef struct dsync_acquire_options {
    size_t size;
    int64_t wait_ms; /* -2 = inherit, -1 = for ever, 0 = try once and leave no trace */
    int64_t hold_ms; /* 0 = inherit */
    const char *value;
    size_t value_size;
    int has_value;
    int value_is_json;
} dsync_acquire_options;
DSYNC_API void dsync_acquire_options_init(dsync_acquire_options *options);

/* Acquire: DSYNC_OK held; DSYNC_TIMEOUT, DSYNC_CONTENDED (wait 0; the message names the holder), DSYNC_ALREADY_HELD,
 * DSYNC_CANCELLED, DSYNC_CLOSED, DSYNC_UNAVAILABLE, DSYNC_DENIED, DSYNC_CONFIG, DSYNC_RESOURCE. `options` may be
 * NULL. */
DSYNC_API dsync_op *dsync_acquire_start(dsync_lock *lock, const dsync_acquire_options *options, dsync_error *error);
DSYNC_API dsync_code dsync_acquire(dsync_lock *lock, const dsync_acquire_options *options, dsync_error *error);
/* Release: DSYNC_OK; DSYNC_LOST (it had been lost before), DSYNC_NOT_HELD, DSYNC_UNKNOWN (not confirmed in time: "free
 * by ..."; retried in the background), DSYNC_RESOURCE (no memory to say how it ends; it goes on in the background too).
 * From the moment of the call dsync_held() is false. Never removes anything but this acquisition. */
DSYNC_API dsync_op *dsync_release_start(dsync_lock *lock, dsync_error *error);
DSYNC_API dsync_code dsync_release(dsync_lock *lock, dsync_error *error);

/* No I/O, any thread, computed now from this process's clock. */
DSYNC_API int dsync_held(const dsync_lock *lock);
DSYNC_API int64_t dsync_valid_for_ms(const dsync_lock *lock); /* 0 when not held */
/* For how long the server keeps the lease of the present or last acquisition after dsync_held() has turned false
 * because nothing was heard from it: time in which work under the lock can still be stopped. 0 before the first
 * acquisition. */
DSYNC_API int64_t dsync_margin_ms(const dsync_lock *lock);
/* "idle" "entering" "waiting" "lock-delay" "held" "suspect" "releasing" "lost", in a forked child "forked". Static. */
DSYNC_API const char *dsync_lock_state(const dsync_lock *lock);
/* In "lock-delay", when nobody holds but the server lets nobody in: until when at most, CLOCK_REALTIME in ms since
 * 1970. 0 in any other state. */
DSYNC_API int64_t dsync_lock_delayed_until_ms(const dsync_lock *lock);
DSYNC_API int64_t dsync_token(const dsync_lock *lock);            /* of the present or last acquisition; 0 = none */
DSYNC_API uint64_t dsync_acquisition(const dsync_lock *lock);     /* counts this object's acquisitions, 0 = none yet */
DSYNC_API dsync_reason dsync_lost_reason(const dsync_lock *lock); /* of the last acquisition; DSYNC_NOT_LOST */
/* Ends when the present acquisition ends: DSYNC_LOST with lost_reason set, or DSYNC_OK after a release; DSYNC_NOT_HELD
 * at once when there is none; DSYNC_TIMEOUT after timeout_ms (-1: never). */
DSYNC_API dsync_op *dsync_revoked_start(dsync_lock *lock, int64_t timeout_ms, dsync_error *error);

/* An alarm: `signo` (0: none) is sent to the calling thread at the moment the present acquisition is lost, so that work
 * which never asks can be interrupted. The host has installed a handler for it. NULL: DSYNC_LOST, DSYNC_NOT_HELD,
 * DSYNC_CLOSED, DSYNC_RESOURCE. It rings at most once, and never after a release; a signal that was sent before
 * dsync_alarm_free may still arrive after it. */
typedef struct dsync_alarm dsync_alarm;
DSYNC_API dsync_alarm *dsync_alarm_new(dsync_lock *lock, int signo, dsync_error *error);
DSYNC_API int dsync_alarm_rung(const dsync_alarm *alarm); /* async-signal-safe */
DSYNC_API void dsync_alarm_free(dsync_alarm *alarm);      /* NULL is fine; not from a signal handler */

/* Guarded writes: the server applies them only while this very acquisition owns the lock. Key: a name below
 * <prefix>/data. DSYNC_OK, DSYNC_LOST, DSYNC_NOT_HELD, DSYNC_UNKNOWN (it may or may not have been applied),
 * DSYNC_UNAVAILABLE (it was not applied), DSYNC_DENIED, DSYNC_CLOSED. */
DSYNC_API dsync_op *dsync_put_start(dsync_lock *lock, const char *key, const void *value, size_t size,
                                    dsync_error *error);
DSYNC_API dsync_op *dsync_delete_start(dsync_lock *lock, const char *key, dsync_error *error);
/* Replaces the value others see beside this holder (elections: proclaim). Ends as guarded writes do. */
DSYNC_API dsync_op *dsync_proclaim_start(dsync_lock *lock, const void *value, size_t size, int is_json,
                                         dsync_error *error);
/* Who holds and who waits: entries in order, at most `limit` (0: all). Ends as the calls below do. */
DSYNC_API dsync_op *dsync_queue_start(dsync_lock *lock, size_t limit, dsync_error *error);

/* ---- the store at large ------------------------------------------------------------------------------------------ */

/* These end with DSYNC_OK, DSYNC_UNAVAILABLE, DSYNC_DENIED, DSYNC_CONFIG, DSYNC_CLOSED or DSYNC_RESOURCE, and what is
 * said beside each. */

/* Is a server there, may we talk to it, has it a leader? dsync_op_value says who answered. timeout_ms: up to an hour;
 * -1, or anything longer, means 5 seconds. */
DSYNC_API dsync_op *dsync_ping_start(dsync_client *client, int64_t timeout_ms, dsync_error *error);
/* What a guarded put wrote. DSYNC_OK with dsync_op_value NULL when there is nothing. */
DSYNC_API dsync_op *dsync_get_start(dsync_client *client, const char *key, dsync_error *error);
/* Every lock whose name begins with `name_prefix` ("" = all), with holder and waiters. */
DSYNC_API dsync_op *dsync_locks_start(dsync_client *client, const char *name_prefix, dsync_error *error);
/* Every candidate of every election in a namespace (NULL: the client's). */
DSYNC_API dsync_op *dsync_members_start(dsync_client *client, const char *name_space, dsync_error *error);
/* Force-releases somebody's lock if its token is still `token`. DSYNC_OK; DSYNC_NOT_HELD when it is not. After
 * DSYNC_UNAVAILABLE it may have happened all the same. */
DSYNC_API dsync_op *dsync_break_start(dsync_client *client, const char *name, const dsync_lock_options *options,
                                      int64_t token, dsync_error *error);

/* ---- watching elections ------------------------------------------------------------------------------------------ */

typedef struct dsync_change {
    const char *type; /* "elected" "vacant" "joined" "left" "changed"; static */
    const char *name, *name_space, *id;
    const char *value;
    size_t value_size;
    int value_is_json;
    int64_t token;
    int missed; /* changes in between may have been skipped */
} dsync_change;

/* Follows one election (`name`), or all of a namespace (NULL). Begins with the present state, survives reconnects and
 * always converges to the present leader. `key` as in dsync_lock_options. Free with dsync_watcher_free. */
DSYNC_API dsync_watcher *dsync_watch(dsync_client *client, const char *name_space, const char *name, const char *key,
                                     dsync_error *error);
/* The next change, 0 when there is none now, -1 when the watcher has ended (error says why). The strings live until the
 * next call. */
DSYNC_API int dsync_watch_next(dsync_watcher *watcher, dsync_change *change, dsync_error *error);
/* Waits until there is a change or the end, at most timeout_ms (-1: for ever). 1: there is; 0: not in that time. Drives
 * the client as dsync_op_wait does. */
DSYNC_API int dsync_watch_wait(dsync_watcher *watcher, int64_t timeout_ms);
DSYNC_API uint64_t dsync_watcher_number(const dsync_watcher *watcher);
DSYNC_API void dsync_watcher_close(dsync_watcher *watcher); /* wakes whoever waits; it ends with DSYNC_CLOSED */
DSYNC_API void dsync_watcher_free(dsync_watcher *watcher);  /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
