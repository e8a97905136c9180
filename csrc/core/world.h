/* world.h: the one small interface through which the core and the backends reach the world.
 *
 * Production plugs in libcurl and CLOCK_BOOTTIME (net/loop.h), the simulator model servers and virtual time, the fuzzer
 * bytes. Nothing above this line opens a socket, reads a clock, starts a thread or asks for randomness in another way.
 *
 * Everything here is called by the one thread that owns the client's protocol state at that moment; only `notify` may
 * be called by any thread. Callbacks never run inside the call that caused them: they come later, from the loop.
 */
#ifndef DS_WORLD_H
#define DS_WORLD_H

#include "../base/list.h"

typedef struct ds_world ds_world;

/* A timer, embedded in its owner. Zero it, set `fire`; it is off while `index` is 0. */
typedef struct ds_timer ds_timer;
struct ds_timer {
    void (*fire)(ds_timer *timer); /* the timer is off again when this runs, and may be set anew */
    int64_t at_ns;
    size_t index;                  /* the world's; 0 = not set */
    ds_timer *child, *next, *prev; /* the world's: setting a timer must not need memory */
};

/* Something to run soon. Embedded in its owner; initialise `node` with ds_list_init. Posting a posted task does
 * nothing. ds_list_remove(&task->node) takes it back (owner's thread only); a task that was given to notify is taken
 * back with ds_take_back. */
typedef struct ds_task ds_task;
struct ds_task {
    ds_list node;
    void (*run)(ds_task *task);
};

/* A server address. Owned by whoever built the endpoint set; outlives every request to it. */
typedef struct ds_endpoint {
    char *origin;          /* "http://10.0.0.1:2379", no trailing slash; what errors show */
    char *unix_path;       /* a unix socket to connect to instead, or NULL */
    int64_t down_until_ns; /* backends' use: not preferred before this time */
} ds_endpoint;

/* What can be said of a request that got no complete HTTP answer. */
typedef enum ds_http_fate {
    DS_HTTP_ANSWERED = 0, /* a complete answer: status, headers and body are valid */
    DS_HTTP_NOT_SENT,     /* certainly not executed: DNS, refused, TLS handshake, connect timeout */
    DS_HTTP_UNKNOWN,      /* timeout after sending began, reset, truncated */
    DS_HTTP_REFUSED,      /* fail fast: certificate, caps exceeded, our own settings (see code) */
} ds_http_fate;

typedef struct ds_http_result {
    ds_http_fate fate;
    int code;    /* a dsync_code when fate is DS_HTTP_REFUSED; else 0 or a hint (PROTOCOL, RESOURCE) */
    int status;  /* HTTP status, 0 if none came */
    bool resent; /* libcurl sent the request more than once by itself */
    /* With DS_HTTP_NOT_SENT: who listens there, or this machine, does not speak HTTP/2. That is certain when `code` is
     * DSYNC_UNSUPPORTED; else the connection was closed before a word, as a server does that is about to go. */
    bool not_http2;
    const char *body; /* unary only; NUL-terminated; NULL when empty */
    size_t body_size;
    const char *const *header_values; /* parallel to the request's want_headers; NULL where absent */
    const char *message; /* for people, names no endpoint and no secret; "" when fate is DS_HTTP_ANSWERED */
} ds_http_result;

/* Who hears of a request. Embedded by the backend; must outlive the request or cancel it. */
typedef struct ds_http_sink ds_http_sink;
struct ds_http_sink {
    /* Streams only: the next piece of the body of a 200 answer (other answers are collected into the result's body). */
    void (*on_data)(ds_http_sink *sink, const char *bytes, size_t count);
    /* Exactly once unless cancelled; `result` is valid during the call only. */
    void (*on_done)(ds_http_sink *sink, const ds_http_result *result);
};

#define DS_HTTP_HEADERS_MAX 8

typedef struct ds_http_request {
    ds_endpoint *endpoint;
    const char *method;                           /* "GET", "PUT", "POST", "DELETE" */
    const char *target;                           /* path and query, already encoded, begins with '/' */
    const char *headers[DS_HTTP_HEADERS_MAX + 1]; /* "Name: value" lines, copied; NULL ends */
    /* Names of response headers to report; must outlive the request. NULL ends. */
    const char *want_headers[DS_HTTP_HEADERS_MAX + 1];
    const void *body; /* copied */
    size_t body_size;
    size_t reply_max;   /* cap on a unary body or on one burst of a stream, bytes */
    int64_t timeout_ns; /* from now, connecting included; DS_NEVER for a stream */
    bool urgent;        /* never queued behind other requests (renewals) */
    bool stream;        /* deliver the body through on_data */
    bool duplex;        /* the request body stays open for http_send (HTTP/1.1: sent with "Connection: close") */
    /* Over the one HTTP/2 connection that all such requests to this endpoint share; "http://" and unix sockets only.
     * want_headers then finds trailers, too. Nothing is ever sent twice: `resent` stays false. */
    bool http2;
} ds_http_request;

typedef struct ds_http ds_http; /* one request in flight */

#define DS_FD_READ 1u
#define DS_FD_WRITE 2u

/* A descriptor of somebody else's making to look at beside the loop's own (ZooKeeper's library brings its socket).
 * Embedded in its owner; initialise `node` with ds_list_init, set the rest. */
typedef struct ds_fd ds_fd;
struct ds_fd {
    ds_list node;
    int fd;
    unsigned want;                             /* DS_FD_* */
    void (*ready)(ds_fd *fd, unsigned events); /* what it wants, or has failed (all of it); may unwatch or change it */
};

typedef struct ds_world_ops {
    /* CLOCK_BOOTTIME in nanoseconds; negative: the clock failed, and nothing is held. */
    int64_t (*now)(ds_world *world);
    /* CLOCK_REALTIME in milliseconds since 1970: for values people read, never for deadlines. */
    int64_t (*wall_ms)(ds_world *world);
    void (*random)(ds_world *world, void *out, size_t size);
    void (*timer_set)(ds_world *world, ds_timer *timer, int64_t at_ns); /* also moves a timer that is set */
    void (*timer_stop)(ds_world *world, ds_timer *timer);               /* harmless when not set */
    void (*post)(ds_world *world, ds_task *task);
    /* As post, from any thread, and wakes the loop. The task must not be posted by two threads at once. */
    void (*notify)(ds_world *world, ds_task *task);
    /* NULL: out of memory (nothing was started). */
    ds_http *(*http_start)(ds_world *world, const ds_http_request *request, ds_http_sink *sink);
    /* The sink hears nothing more. Whether the server executed the request stays unknown. */
    void (*http_cancel)(ds_world *world, ds_http *http);
    /* Appends to the body of a duplex request; copied. False: out of memory or the request has ended. */
    bool (*http_send)(ds_world *world, ds_http *http, const void *bytes, size_t count);
    /* Takes back a task that was given to notify, while other threads may be notifying other tasks. NULL in a world
     * that has one thread only. */
    void (*take_back)(ds_world *world, ds_task *task);
    /* Begins to look at a descriptor, or takes note of another `fd` or `want`. Owner's thread only. NULL, both, in a
     * world without descriptors. */
    void (*fd_watch)(ds_world *world, ds_fd *fd);
    void (*fd_unwatch)(ds_world *world, ds_fd *fd); /* harmless when it is not watched; before it is closed */
} ds_world_ops;

struct ds_world {
    const ds_world_ops *ops;
};

static inline int64_t ds_now(ds_world *world) {
    return world->ops->now(world);
}

static inline void ds_timer_set(ds_world *world, ds_timer *timer, int64_t at_ns) {
    world->ops->timer_set(world, timer, at_ns);
}

static inline void ds_timer_stop(ds_world *world, ds_timer *timer) {
    world->ops->timer_stop(world, timer);
}

static inline void ds_post(ds_world *world, ds_task *task) {
    world->ops->post(world, task);
}

static inline void ds_take_back(ds_world *world, ds_task *task) {
    if (world->ops->take_back != NULL) {
        world->ops->take_back(world, task);
    } else {
        ds_list_remove(&task->node);
    }
}

uint64_t ds_random64(ds_world *world); /* core/timing.c */

#endif
