/* zookeeper.h: the parts of the ZooKeeper backend among themselves. Not seen outside zookeeper*.c.
 *
 * The layers: zookeeper_seam.h (a client library) < links (one ZooKeeper session each) < calls (one ds_call each), of
 * which the operations of backend.h are made. zookeeper_watch.c and zookeeper_tree.c stand beside the calls. What nodes
 * are called: zookeeper_name.c.
 *
 * A ds_lease is one ZooKeeper session, so it has a link of its own. Questions that belong to no lease travel on
 * whatever link there is; where there is none, one is made, and the first lease to come takes it over.
 */
#ifndef DS_ZOOKEEPER_H
#define DS_ZOOKEEPER_H

#include "../base/buf.h"
#include "../base/map.h"
#include "backend.h"
#include "zookeeper_hosts.h"
#include "zookeeper_seam.h"

typedef enum ds_zk_dialect { DS_ZK_CURATOR, DS_ZK_KAZOO } ds_zk_dialect;

typedef struct ds_zk_link ds_zk_link;

typedef struct ds_zookeeper {
    ds_backend base;
    const ds_zk_driver *driver;
    ds_zk_hosts hosts;
    char *chroot; /* "" or "/app" */
    char *digest; /* or NULL */
    char *id, *prefix;
    bool creator_only;
    bool plain_parents; /* the server knows no container nodes */
    ds_zk_dialect dialect;
    int64_t ttl_ms, connect_timeout_ms;
    ds_list links;   /* in use */
    ds_list retired; /* to be closed outside of any callback */
    ds_task reap;
    char text[96]; /* what ping tells of the server */
} ds_zookeeper;

static inline ds_zookeeper *ds_zookeeper_of(ds_backend *backend) {
    return DS_CONTAINER_OF(backend, ds_zookeeper, base);
}

/* ---- names (zookeeper_name.c), pure ------------------------------------------------------------------------------ */

typedef enum ds_zk_sort {
    DS_ZK_OTHER_NODE,
    DS_ZK_MEMBER,  /* stands in the queue */
    DS_ZK_BESIDE,  /* a reader or writer of the same dialect, which its mutex does not look at either */
    DS_ZK_FOREIGN, /* the other dialect's */
} ds_zk_sort;

void ds_zk_path(const ds_zookeeper *zookeeper, ds_buf *out, const char *key); /* as the server knows it; clears `out` */
void ds_zk_add_plain(ds_buf *out, const char *name);                          /* a child's name as the core calls it */
void ds_zk_session_key(ds_buf *out, const ds_lease *lease);
/* "/path/_c_<nonce>-lock-", to which the server adds a number. */
void ds_zk_entry_path(const ds_zookeeper *zookeeper, ds_buf *out, const ds_entry *entry);
bool ds_zk_is_of(ds_zk_dialect dialect, const char *name, const char *nonce); /* made for the entry of this nonce? */
ds_zk_sort ds_zk_look(ds_zk_dialect dialect, const char *name, int32_t *number);
/* Numbers wrap: 2147483647 is followed by -2147483648. */
bool ds_zk_before(int32_t a, int32_t b);

/* ---- links (zookeeper_link.c) ------------------------------------------------------------------------------------ */

typedef enum ds_zk_life {
    DS_ZK_NEW,  /* not connected yet */
    DS_ZK_UP,   /* connected */
    DS_ZK_DOWN, /* the connection was lost; the session may go on */
    DS_ZK_DEAD, /* the session is gone, or will never be */
} ds_zk_life;

/* The node of one of our entries, as far as it is known. */
typedef struct ds_zk_node {
    char *full;       /* as the server knows it; NULL: asked for, not confirmed */
    const char *name; /* its last segment */
    int64_t czxid;
    bool first; /* as the last answer had it */
} ds_zk_node;

struct ds_zk_link {
    ds_list node;
    ds_zookeeper *zookeeper;
    ds_zk *zk; /* NULL while addresses are looked up */
    ds_zk_listener listener;
    ds_zk_life life;
    bool taken;   /* by a lease */
    bool orderly; /* when it is closed, the server is told */
    bool denied;  /* DEAD because of its credentials */
    int64_t ttl_ms;
    int64_t session;
    int64_t heard_ns;  /* when anything last came */
    int64_t trying_ns; /* when the present attempt to connect began */
    size_t failed;     /* attempts, before the first connection */
    ds_fd fd;
    ds_timer timer;
    ds_task look;
    ds_zk_hosts_waiter hosts_waiter;
    ds_list waiting;       /* calls to be begun when it is up */
    ds_list calls;         /* calls begun */
    ds_map nodes;          /* nonce → ds_zk_node */
    int32_t stamp_version; /* of the session's node; -1: unknown */
    ds_map watched;        /* path → the first ds_zk_watch of that path */
    ds_list watches;       /* ds_zk_watch */
};

/* A link for things that belong to no lease. NULL: out of memory. */
ds_zk_link *ds_zk_any_link(ds_zookeeper *zookeeper);
/* The lease's own; made, or taken over, when it has none that lives. NULL: out of memory. */
ds_zk_link *ds_zk_lease_link(ds_zookeeper *zookeeper, ds_lease *lease);
static inline ds_zk_link *ds_zk_link_of(const ds_lease *lease) {
    return lease->impl;
}
/* Takes it out of use; closed from the loop, soon. Calls on it must be over. */
void ds_zk_retire(ds_zk_link *link, bool orderly);
void ds_zk_drop(ds_zk_link *link);                                    /* nobody answers there: the next server */
void ds_zk_links_free(ds_zookeeper *zookeeper);                       /* at once */
void ds_zk_look_again(ds_zk_link *link);                              /* soon: something was handed over */
ds_zk_node *ds_zk_node_of(const ds_zk_link *link, const char *nonce); /* or NULL */
bool ds_zk_node_asked(ds_zk_link *link, const char *nonce);           /* false: out of memory */
bool ds_zk_node_is(ds_zk_link *link, const char *nonce, const char *full, int64_t czxid); /* the same */
void ds_zk_node_gone(ds_zk_link *link, const char *nonce);

/* ---- calls (zookeeper_call.c) ------------------------------------------------------------------------------------ */

typedef struct ds_zk_call ds_zk_call;
typedef void (*ds_zk_then)(ds_zk_call *call, const ds_zk_answer *answer);

/* A request in flight for a call. */
typedef struct ds_zk_slot {
    ds_zk_op op;
    ds_zk_call *call;
    ds_zk_then then;
} ds_zk_slot;

#define DS_ZK_SLOTS 3

struct ds_zk_call {
    ds_list node;
    ds_zookeeper *zookeeper;
    ds_zk_link *link;
    ds_call *owner; /* NULL: nobody waits any more; freed with its last answer */
    void (*begin)(ds_zk_call *call);
    ds_zk_slot slots[DS_ZK_SLOTS];
    ds_zk_slot *answering; /* whose `then` runs */
    unsigned pending;      /* answers to come */
    bool begun, wrote, closing;
    int64_t begun_ns;
    ds_timer deadline;
    ds_task task; /* for ends found before anything was sent */
    ds_class late;
    dsync_error error;

    /* What the operation is about; copies, because the caller's may change meanwhile. */
    ds_lease *lease; /* open */
    char nonce[17];
    char other_nonce[17]; /* swap: the former entry's */
    ds_buf path;          /* queue or key, as the core calls it */
    ds_buf full;          /* ... as the server does */
    ds_buf own, other, data, stamp, text;
    ds_buf names; /* withdraw, close: nodes to delete, NUL-terminated one after the other */
    size_t at, count;
    int64_t token;
    uint64_t epoch;
    int32_t version;
    bool only_try, retried;
    bool created; /* our node was made by this call */
    ds_write_kind write;
    void (*then)(ds_zk_call *call); /* after parents were made, names removed */
    unsigned tries;
    ds_timer pause;
    struct ds_zk_listing *listing; /* list */
};

/* NULL: no memory, and the refusal is under way. `begin` runs when the link is up, at once if it is. */
ds_zk_call *ds_zk_start(ds_backend *backend, ds_call *owner, const ds_lease *lease, void (*begin)(ds_zk_call *call));
void ds_zk_go(ds_zk_call *call); /* after its operands are filled in */
/* Hands a request over; `then` NULL: whatever it says. False: refused at once; the call's end is under way. */
bool ds_zk_send(ds_zk_call *call, const ds_zk_request *request, ds_zk_then then);
/* The same in a slot of the operation's own. */
bool ds_zk_send_in(ds_zk_call *call, ds_zk_slot *slot, const ds_zk_request *request, ds_zk_then then);
/* Has it ended, or is its end under way? Then an answer is of no use to it any more. */
static inline bool ds_zk_over(const ds_zk_call *call) {
    return call->owner == NULL || !ds_list_empty(&call->task.node);
}
void ds_zk_finish(ds_zk_call *call, ds_reply *reply);
void ds_zk_finish_place(ds_zk_call *call, ds_place place);
void ds_zk_finish_lost(ds_zk_call *call, const char *why);
void ds_zk_finish_later(ds_zk_call *call, ds_class outcome, dsync_code code, const char *message);
/* Ends a call whose request failed in a way that the operation has no word for. */
void ds_zk_fail(ds_zk_call *call, const ds_zk_answer *answer);
bool ds_zk_no_memory(ds_zk_call *call);                   /* one of its buffers failed; the refusal is under way */
void ds_zk_link_ended(ds_zk_link *link, const char *why); /* ends every call on a dead link */
void ds_zk_begin_waiting(ds_zk_link *link);
void ds_zk_fail_waiting(ds_zk_link *link); /* those of a link that was never up: nobody is there */
void ds_zk_answered(ds_zk_call *call);     /* one answer less to come; may free it */
void ds_zk_cancel(ds_backend *backend, ds_call *owner);
const char *ds_zk_code_text(ds_zk_code code);

/* ---- nodes above (zookeeper_parents.c) --------------------------------------------------------------------------- */

/* Makes everything above `full` (which begins with the chroot), then goes on with `then`; a missing chroot ends the
 * call. */
void ds_zk_make_parents(ds_zk_call *call, const char *full, void (*then)(ds_zk_call *call));
/* Ends a call that failed: a missing node means a missing chroot. */
void ds_zk_check_chroot(ds_zk_call *call, const ds_zk_answer *answer);

/* ---- operations (backend.h) -------------------------------------------------------------------------------------- */

void ds_zk_ping(ds_backend *backend, ds_call *call);
void ds_zk_get(ds_backend *backend, ds_call *call, const char *key);
void ds_zk_open(ds_backend *backend, ds_call *call, ds_lease *lease);
void ds_zk_renew(ds_backend *backend, ds_call *call, const ds_lease *lease);
void ds_zk_close(ds_backend *backend, ds_call *call, const ds_lease *lease);
void ds_zk_forget(ds_backend *backend, ds_lease *lease);
void ds_zk_enter(ds_backend *backend, ds_call *call, const ds_entry *entry, bool only_try);
void ds_zk_check(ds_backend *backend, ds_call *call, const ds_entry *entry);
void ds_zk_leave(ds_backend *backend, ds_call *call, const ds_entry *entry);
void ds_zk_swap(ds_backend *backend, ds_call *call, const ds_entry *old, const ds_entry *fresh);
void ds_zk_withdraw(ds_backend *backend, ds_call *call, const ds_lease *lease, const ds_entry *const *entries,
                    size_t count, uint64_t next_epoch);
void ds_zk_write(ds_backend *backend, ds_call *call, const ds_write *write);
void ds_zk_evict(ds_backend *backend, ds_call *call, const char *path, int64_t token);
void ds_zk_list(ds_backend *backend, ds_call *call, const ds_list_spec *spec);
bool ds_zk_watch_on(ds_backend *backend, ds_watch *watch, const ds_watch_spec *spec);
void ds_zk_watch_off(ds_backend *backend, ds_watch *watch);

/* Deletes the nodes in call->names, whether they are still there or not, then goes on. */
void ds_zk_remove_names(ds_zk_call *call, void (*then)(ds_zk_call *call)); /* zookeeper_guard.c */
void ds_zk_add_name(ds_zk_call *call, const char *full);

/* Who stands where among the children of a queue. */
typedef struct ds_zk_standing {
    bool there;          /* `own` is among them */
    const char *ahead;   /* nearest before own, or NULL */
    const char *first;   /* whoever holds, or NULL */
    const char *foreign; /* somebody of the other dialect, or NULL */
} ds_zk_standing;

void ds_zk_stand(ds_zk_dialect dialect, const ds_zk_answer *children, const char *own, ds_zk_standing *out);
void ds_zk_nonce_in(const char *name, char nonce[17]); /* of an entry of ours; "" for others */
const char *ds_zk_find_child(ds_zk_dialect dialect, const ds_zk_answer *children, const char *nonce); /* or NULL */

/* ---- listing (zookeeper_list.c) ---------------------------------------------------------------------------------- */

void ds_zk_listing_free(ds_zk_call *call);

/* ---- watches (zookeeper_watch.c, zookeeper_tree.c) --------------------------------------------------------------- */

typedef enum ds_zk_watch_kind {
    DS_ZK_WATCH_AHEAD,   /* somebody else's node: when it goes */
    DS_ZK_WATCH_OWN,     /* an entry of ours: when it goes, and why */
    DS_ZK_WATCH_SESSION, /* the session's node: when it goes, and when the connection does */
    DS_ZK_WATCH_TREE,    /* everything below: when anything changes */
} ds_zk_watch_kind;

typedef struct ds_zk_watch ds_zk_watch;
typedef struct ds_zk_arming ds_zk_arming;

struct ds_zk_watch {
    ds_list node; /* link->watches */
    ds_zookeeper *zookeeper;
    ds_zk_link *link; /* NULL: ended before it began */
    ds_watch *owner;
    ds_zk_watch_kind kind;
    char *key, *full;  /* as the core and as the server call it */
    ds_zk_watch *same; /* the next one of this path, in link->watched */
    ds_list armings;   /* requests in flight for it */
    ds_timer delay;
    int64_t began_ns;
    ds_task tell;
    bool due;         /* an event is to be worked on */
    bool news;        /* TREE: READY is to be told once all is armed */
    bool ready, lost; /* told READY; what was armed may be no more */
    bool ended;
    ds_zk_change change;
    ds_class outcome; /* why it ended */
    char why[160];
    ds_map armed; /* TREE: paths that are watched */
};

/* A request that sets a watch. Lives until its answer, even when nobody wants it any more. */
struct ds_zk_arming {
    ds_zk_op op;
    ds_list node;       /* watch->armings */
    ds_zk_watch *watch; /* NULL: nobody cares */
    char *path;
    ds_zk_kind kind;
};

void ds_zk_watch_say(ds_zk_watch *watch, ds_watch_kind kind, const char *value, size_t size);
void ds_zk_watch_end(ds_zk_watch *watch, ds_class outcome,
                     const char *why); /* told from the loop; harmless when ended */
/* Sends a request that watches `path`. False: the watch has ended for it. */
bool ds_zk_arm(ds_zk_watch *watch, ds_zk_kind kind, const char *path,
               void (*done)(ds_zk_arming *arming, const ds_zk_answer *answer));
/* The common end of an arming's answer: true when the watch still wants it and it is no failure but NO_NODE. */
bool ds_zk_armed(ds_zk_arming *arming, const ds_zk_answer *answer);
void ds_zk_arming_free(ds_zk_arming *arming);
void ds_zk_tree_arm(ds_zk_watch *watch); /* from its root on */
void ds_zk_tree_heard(ds_zk_watch *watch, ds_zk_change change, const char *path);

void ds_zk_watches_heard(ds_zk_link *link, ds_zk_change change, const char *path);
void ds_zk_watches_up(ds_zk_link *link);    /* connected (again) */
void ds_zk_watches_doubt(ds_zk_link *link); /* the connection is lost: sessions are in doubt */
void ds_zk_watches_end(ds_zk_link *link, ds_class outcome, const char *why);

#endif
