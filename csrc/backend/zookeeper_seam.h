/* zookeeper_seam.h: what the ZooKeeper backend asks of a ZooKeeper client library: one session over one connection at a
 * time, requests answered in the order they were sent, and one-shot watches.
 *
 * Production puts libzookeeper behind it (module/zookeeper.c, loaded only when somebody opens a zookeeper:// URL), the
 * simulator and unit tests a model. Holds no locks, no paths of dsync's, no deadlines.
 *
 * Everything is called by the thread that owns the client's protocol state. Answers and events come from inside `drive`
 * (or, for a model, from the world's tasks and timers) and from inside `close`, never from inside `submit`.
 */
#ifndef DS_ZOOKEEPER_SEAM_H
#define DS_ZOOKEEPER_SEAM_H

#include "../core/world.h"

#define DS_ZK_SEAM 2 /* moves with every change of this file: a module of another age is refused */

typedef struct ds_zk ds_zk; /* one session */

/* How a request ended. */
typedef enum ds_zk_code {
    DS_ZK_OK = 0,
    DS_ZK_NO_NODE,
    DS_ZK_NODE_EXISTS,
    DS_ZK_BAD_VERSION,
    DS_ZK_NOT_EMPTY,
    DS_ZK_EPHEMERAL_PARENT, /* ephemeral nodes have no children */
    DS_ZK_NO_AUTH,
    DS_ZK_BAD_ACL,
    DS_ZK_BAD_ARGUMENTS, /* a path that ZooKeeper does not allow; nothing was sent */
    DS_ZK_UNKNOWN_REQUEST,
    DS_ZK_EXPIRED,
    DS_ZK_LOSS,      /* the connection broke after the request was handed over: it may have been executed */
    DS_ZK_NOT_TAKEN, /* session moved, throttled, read-only server: certainly not executed */
    DS_ZK_CLOSING,   /* close() was called meanwhile */
    DS_ZK_NO_MEMORY,
    DS_ZK_OTHER,
} ds_zk_code;

typedef enum ds_zk_kind {
    DS_ZK_CREATE,
    DS_ZK_DELETE,
    DS_ZK_SET,
    DS_ZK_GET,
    DS_ZK_EXISTS,
    DS_ZK_CHILDREN,
    DS_ZK_SYNC,
    DS_ZK_CHECK, /* inside a multi only */
    DS_ZK_MULTI, /* of CREATE, DELETE, SET, CHECK */
} ds_zk_kind;

#define DS_ZK_EPHEMERAL 1u
#define DS_ZK_SEQUENTIAL 2u
#define DS_ZK_CONTAINER 4u
#define DS_ZK_ANY_VERSION (-1)

#define DS_ZK_PARTS_MAX 128 /* of a multi */

typedef struct ds_zk_request ds_zk_request;
struct ds_zk_request {
    ds_zk_kind kind;
    const char *path; /* absolute, as the server knows it */
    const char *data; /* CREATE, SET */
    size_t size;
    int32_t version;            /* DELETE, SET, CHECK: guard */
    unsigned flags;             /* CREATE: DS_ZK_EPHEMERAL, ... */
    bool watch;                 /* GET, EXISTS, CHILDREN: on_watch hears of the next change, once */
    const ds_zk_request *parts; /* MULTI */
    size_t count;
};

typedef struct ds_zk_stat {
    int64_t czxid, mzxid, pzxid;
    int64_t owner; /* session that an ephemeral node belongs to, else 0 */
    int32_t version;
    int32_t children;
} ds_zk_stat;

/* Valid during `done` only. */
typedef struct ds_zk_answer {
    ds_zk_code code;
    size_t failed_at;       /* MULTI that was refused: which part */
    const char *path;       /* CREATE, MULTI with one: the full name that was made */
    const ds_zk_stat *stat; /* CREATE, SET, GET, EXISTS, CHILDREN (the parent's) */
    const char *data;       /* GET; never NULL then */
    size_t size;
    const char *const *children; /* CHILDREN: names, in no order */
    size_t count;
} ds_zk_answer;

/* A request in flight. Embedded by the backend; must live until `done`, which comes exactly once. */
typedef struct ds_zk_op ds_zk_op;
struct ds_zk_op {
    void (*done)(ds_zk_op *op, const ds_zk_answer *answer);
};

typedef enum ds_zk_state {
    DS_ZK_CONNECTING,
    DS_ZK_CONNECTED,
    DS_ZK_GONE,   /* the session has expired, as a server said */
    DS_ZK_DENIED, /* the credentials were refused */
} ds_zk_state;

typedef enum ds_zk_change { DS_ZK_CREATED, DS_ZK_DELETED, DS_ZK_CHANGED, DS_ZK_CHILDREN_CHANGED } ds_zk_change;

/* Who hears of a session. Embedded by the backend. */
typedef struct ds_zk_listener ds_zk_listener;
struct ds_zk_listener {
    void (*on_state)(ds_zk_listener *listener); /* it may have changed: ask `state` */
    void (*on_watch)(ds_zk_listener *listener, ds_zk_change change, const char *path);
};

typedef struct ds_zk_config {
    ds_world *world;     /* for models; the library's driver needs none of it */
    const char *servers; /* "10.0.0.1:2181,[::1]:2181": literals only, tried in this order */
    int64_t timeout_ms;  /* of the session, asked for */
    const char *digest;  /* "user:secret" or NULL */
    bool creator_only;   /* nodes are open to whoever has these credentials, else to everybody */
} ds_zk_config;

/* What the session wants of its driver. */
typedef struct ds_zk_interest {
    int fd; /* -1: none now */
    unsigned want;
    int64_t wait_ms; /* drive() at the latest then; -1: no need */
    bool refused;    /* by the server that was next, at once */
} ds_zk_interest;

typedef struct ds_zk_driver {
    uint32_t seam; /* DS_ZK_SEAM */
    const char *name;
    /* Begins to connect. NULL: out of memory or descriptors. */
    ds_zk *(*open)(const ds_zk_config *config, ds_zk_listener *listener);
    /* Ends every op with DS_ZK_CLOSING and frees it. `orderly`: the server is told to end the session, if that can be
     * written at once. Not from inside a callback of this session. */
    void (*close)(ds_zk *zk, bool orderly);
    /* DS_ZK_OK: op->done will come. Else nothing was sent and it will not. Strings are copied. Only when connected. */
    ds_zk_code (*submit)(ds_zk *zk, const ds_zk_request *request, ds_zk_op *op);
    void (*drive)(ds_zk *zk, unsigned ready);         /* takes what has come; harmless when nothing has */
    void (*interest)(ds_zk *zk, ds_zk_interest *out); /* may call back, as drive */
    void (*drop)(ds_zk *zk);                          /* breaks the connection: another server is tried */
    ds_zk_state (*state)(const ds_zk *zk);
    int64_t (*session)(const ds_zk *zk);    /* its id, 0 before the first connection */
    int64_t (*timeout_ms)(const ds_zk *zk); /* granted */
    const char *(*server)(ds_zk *zk);       /* "10.0.0.1:2181": connected to or being tried; "" when none */
} ds_zk_driver;

/* What the loaded module exports. */
#define DS_ZK_MODULE_SYMBOL "dsync_zookeeper_driver"

#endif
