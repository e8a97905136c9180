/* client.h: the objects behind dsync.h (internal to csrc/client/).
 *
 * Everything here is guarded by the loop's mutex, except what is atomic or written once before anybody else sees it. A
 * handle counts references: the host's own, and one for each thing under way that needs it.
 */
#ifndef DS_CLIENT_H
#define DS_CLIENT_H

#include <sys/types.h>

#include "../backend/backend.h"
#include "../base/buf.h"
#include "../base/error.h"
#include "../core/contender.h"
#include "../core/engine.h"
#include "../core/name.h"
#include "../core/observer.h"
#include "../core/request.h"
#include "../core/value.h"
#include "../dsync.h"
#include "../net/loop.h"

/* Options of a client: a deep copy with the defaults filled in. */
typedef struct ds_settings {
    dsync_options o; /* strings owned by `strings` */
    ds_list strings;
    char *url;
} ds_settings;

bool ds_settings_copy(ds_settings *settings, const dsync_options *options, dsync_error *error); /* and checks */
bool ds_settings_fit(const ds_settings *settings, const ds_backend_ops *backend, dsync_error *error);
void ds_settings_free(ds_settings *settings);
bool ds_settings_json(const ds_settings *settings, ds_buf *out);
/* Keeps a copy of `text`; NULL: out of memory. */
const char *ds_settings_keep(ds_settings *settings, const char *text);
/* A ttl within the backend's limits, with room for its renewals. */
bool ds_ttl_check(int64_t ttl_ms, int64_t request_timeout_ms, const ds_backend_ops *backend, dsync_error *error);

/* An event on its way to the host. Embedded in what it is about, so that it cannot fail to be told. */
typedef struct ds_event_node {
    ds_list node;
    dsync_event event;
    bool loose; /* allocated for itself: freed when taken */
} ds_event_node;

struct dsync_client {
    _Atomic int refs;
    pid_t pid;
    ds_settings settings;
    ds_loop *loop;
    ds_engine *engine;
    ds_list events;
    _Atomic size_t event_count;
    bool has_events; /* the same, for ds_loop_wait */
    size_t notices;
    int event_fd;     /* -1 until asked for */
    int event_socket; /* -1, or our duplicate of the host's */
    bool signalled;   /* event_fd is readable, a byte was sent to event_socket */
    bool want_notices;
    bool closing;   /* dsync_close was begun */
    bool closed;    /* the engine has ended */
    bool confirmed; /* ... and the server had confirmed it */
    bool warned_global;
    ds_list closers;      /* ops that wait for the end */
    ds_list in_exit_line; /* of clients that exit() waits for */
};

typedef enum ds_op_kind {
    DS_OP_ACQUIRE,
    DS_OP_RELEASE,
    DS_OP_REVOKED,
    DS_OP_REQUEST,
    DS_OP_CLOSE,
    DS_OP_READY
} ds_op_kind;

struct dsync_op {
    _Atomic int refs; /* the host's and, while pending, the core's */
    _Atomic int ended;
    dsync_client *client;
    uint64_t number;
    ds_op_kind kind;
    bool done; /* the same as `ended`, under the mutex */
    bool notify;
    dsync_code code;
    char *message;    /* owned unless empty */
    dsync_lock *lock; /* a reference, or NULL */
    ds_event_node event;
    ds_list node;   /* REVOKED: in its lock's list */
    ds_timer timer; /* REVOKED */
    ds_release release;
    ds_request request;
    char *key, *input; /* what request points to */
    ds_list entries;   /* results: ds_listed */
    size_t entry_count;
    ds_list *last_entry; /* where dsync_op_entry looked last */
    size_t last_index;
    char *value;
    size_t value_size;
    int64_t token;
    bool has_value, leaders; /* leaders: entries are candidates of elections */
    char *name_prefix;       /* locks{}: only names that begin so */
};

/* A result of a list. The entry's strings are its own, or `value`'s. */
typedef struct ds_listed {
    ds_list node;
    dsync_entry entry;
    ds_value value;
} ds_listed;

struct dsync_lock {
    _Atomic int refs; /* the host's and one for each op about it */
    dsync_client *client;
    uint64_t number;
    char *name, *path, *node_id;
    bool leader;
    bool gone; /* the host has let go */
    ds_session_params params;
    int64_t wait_ms, hold_ms;
    bool raw;
    char *value; /* default */
    size_t value_size;
    bool value_is_json;
    char *given; /* of the present acquisition, if it came with one */
    ds_claim claim;
    ds_waiter waiter;
    dsync_op *acquiring;
    ds_list revoked;              /* ops that wait for the end */
    ds_list alarms;               /* of the present acquisition */
    ds_event_node *revoked_event; /* made before it is needed */
};

typedef struct ds_queued_change {
    ds_list node;
    dsync_change change;
    ds_value value;
    char *name, *name_space;
} ds_queued_change;

struct dsync_watcher {
    dsync_client *client;
    uint64_t number;
    ds_observer observer;
    ds_list changes; /* ds_queued_change */
    size_t change_count;
    ds_queued_change *current; /* what dsync_watch_next handed out last */
    bool ended, missed;
    bool something; /* there is a change or the end to be read, for ds_loop_wait */
    bool leaders;   /* paths are elections' */
    dsync_error end;
    ds_event_node event;
    _Atomic int refs;
};

/* ---- client.c ---------------------------------------------------------------------------------------------------- */
bool ds_forked(const dsync_client *client, dsync_error *error); /* true: this is not the process it was made in */
/* Locks the client for an operation and starts its thread. False: closed, forked, or no thread could be started. */
bool ds_client_enter(dsync_client *client, dsync_error *error);
void ds_client_leave(dsync_client *client);
uint64_t ds_next_number(void);
/* In nanoseconds, to be added to the present. DS_NEVER for -1 ("for ever"), and for what is longer than a century. */
int64_t ds_span(int64_t span_ms);
int64_t ds_deadline_in(int64_t timeout_ms); /* from now; DS_NEVER as above */

/* ---- exit.c ------------------------------------------------------------------------------------------------------ */
void ds_exit_join(dsync_client *client);  /* it closes: exit() waits for its thread from now on */
void ds_exit_leave(dsync_client *client); /* its thread is over */
void ds_exit_await(dsync_client *client); /* returns when that is so, after a second at the latest */

/* ---- events.c ---------------------------------------------------------------------------------------------------- */
void ds_event_push(dsync_client *client, ds_event_node *event);
void ds_event_withdraw(dsync_client *client, ds_event_node *event);
void ds_notice(void *client, const char *name, const char *message);
void ds_events_free(dsync_client *client);
void ds_events_hide(dsync_client *client); /* closes the descriptors */

/* ---- ops.c ------------------------------------------------------------------------------------------------------- */
/* A pending op with the host's and the core's reference. NULL: error filled. The client is entered. */
dsync_op *ds_op_new(dsync_client *client, ds_op_kind kind, dsync_lock *lock, dsync_error *error);
void ds_op_finish(dsync_op *op, dsync_code code, const char *message); /* drops the core's reference */
/* Waits for it, moves its result to error and frees it. NULL: returns error->code. */
dsync_code ds_op_await(dsync_op *op, dsync_error *error);

/* ---- results.c --------------------------------------------------------------------------------------------------- */
/* The name (and for elections the namespace) in a path made by ds_lock_path, as new strings; the path itself where it
 * is none of ours. False: out of memory. */
bool ds_path_names(const dsync_client *client, const char *path, bool leader, char **name, char **name_space);
bool ds_op_add_page(dsync_op *op, const ds_reply *reply);
void ds_op_free_results(dsync_op *op);

/* ---- alarm.c ----------------------------------------------------------------------------------------------------- */
void ds_alarms_ring(dsync_lock *lock); /* the acquisition was lost */
void ds_alarms_end(dsync_lock *lock);  /* it ended in order */

/* ---- locks.c ----------------------------------------------------------------------------------------------------- */
void ds_lock_unref(dsync_lock *lock);
/* The path of a lock or election by the client's options and these, under the mutex: it may warn. False: error
 * filled. */
bool ds_lock_path(dsync_client *client, const char *name, const dsync_lock_options *options, bool leader, ds_buf *out,
                  dsync_error *error);
bool ds_lock_check_value(const dsync_client *client, const char *value, size_t size, bool is_json, dsync_error *error);

/* ---- holds.c ----------------------------------------------------------------------------------------------------- */
/* Tells everybody who waits for the end of what `lock` holds: DSYNC_OK released, DSYNC_LOST with the reason. */
void ds_lock_end_waits(dsync_lock *lock, dsync_code code, const char *message);

#endif
