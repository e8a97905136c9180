/* zookeeper.c: libzookeeper behind the ZooKeeper backend's seam. A shared object of its own (libdsync-zookeeper.so), so
 * that nobody needs the library who does not use it; the single-threaded archive is linked in with its symbols hidden.
 *
 * Translates, and keeps the library from what a guest in somebody's process must not do: it gets addresses, never
 * names; it logs nothing; its socket does not survive exec; it is never made to wait for a full socket.
 */
#include "../backend/zookeeper_seam.h"
#include "frames.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <zookeeper/zookeeper.h>

#define NAME_MAX_SIZE 4096
#define PACKETS_AT_ONCE 256

struct ds_zk {
    zhandle_t *handle;
    ds_zk_listener *listener;
    bool creator_only;
    int state;     /* as the last event said: the library tells before it takes note itself */
    int fd;        /* the last one seen */
    unsigned want; /* ... and what for */
    zk_frames frames;
};

/* ---- words of the library ---------------------------------------------------------------------------------------- */

static ds_zk_code code_of(int rc) {
    switch (rc) {
    case ZOK:
        return DS_ZK_OK;
    case ZNONODE:
        return DS_ZK_NO_NODE;
    case ZNODEEXISTS:
        return DS_ZK_NODE_EXISTS;
    case ZBADVERSION:
        return DS_ZK_BAD_VERSION;
    case ZNOTEMPTY:
        return DS_ZK_NOT_EMPTY;
    case ZNOCHILDRENFOREPHEMERALS:
        return DS_ZK_EPHEMERAL_PARENT;
    case ZNOAUTH:
        return DS_ZK_NO_AUTH;
    case ZINVALIDACL:
        return DS_ZK_BAD_ACL;
    case ZBADARGUMENTS:
        return DS_ZK_BAD_ARGUMENTS;
    case ZUNIMPLEMENTED:
        return DS_ZK_UNKNOWN_REQUEST;
    case ZSESSIONEXPIRED:
        return DS_ZK_EXPIRED;
    case ZCONNECTIONLOSS:
    case ZOPERATIONTIMEOUT:
        return DS_ZK_LOSS;
    case ZSESSIONMOVED:
    case ZNOTREADONLY:
    case ZTHROTTLEDOP:
        return DS_ZK_NOT_TAKEN;
    case ZCLOSING:
        return DS_ZK_CLOSING;
    default:
        return DS_ZK_OTHER;
    }
}

static void copy_stat(ds_zk_stat *out, const struct Stat *stat) {
    *out = (ds_zk_stat){.czxid = stat->czxid,
                        .mzxid = stat->mzxid,
                        .pzxid = stat->pzxid,
                        .owner = stat->ephemeralOwner,
                        .version = stat->version,
                        .children = stat->numChildren};
}

static void answer(const void *data, ds_zk_answer *out, const struct Stat *stat) {
    ds_zk_op *op = (ds_zk_op *)(uintptr_t)data;
    ds_zk_stat copy;
    if (stat != NULL && out->code == DS_ZK_OK) {
        copy_stat(&copy, stat);
        out->stat = &copy;
    }
    zk_frames_answered();
    op->done(op, out);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void on_void(int rc, const void *data) {
    ds_zk_answer out = {.code = code_of(rc)};
    answer(data, &out, NULL);
}

static void on_stat(int rc, const struct Stat *stat, const void *data) {
    ds_zk_answer out = {.code = code_of(rc)};
    answer(data, &out, stat);
}

static void on_data(int rc, const char *value, int size, const struct Stat *stat, const void *data) {
    ds_zk_answer out = {.code = code_of(rc), .data = "", .size = 0};
    if (rc == ZOK && value != NULL && size > 0) {
        out.data = value;
        out.size = (size_t)size;
    }
    answer(data, &out, stat);
}

static void on_name(int rc, const char *name, const void *data) {
    ds_zk_answer out = {.code = code_of(rc), .path = rc == ZOK ? name : NULL};
    answer(data, &out, NULL);
}

static void on_name_stat(int rc, const char *name, const struct Stat *stat, const void *data) {
    ds_zk_answer out = {.code = code_of(rc), .path = rc == ZOK ? name : NULL};
    answer(data, &out, stat);
}

static void on_children(int rc, const struct String_vector *names, const struct Stat *stat, const void *data) {
    ds_zk_answer out = {.code = code_of(rc)};
    if (rc == ZOK && names != NULL && names->count > 0) {
        out.children = (const char *const *)names->data;
        out.count = (size_t)names->count;
    }
    answer(data, &out, stat);
}

/* ---- a multi ----------------------------------------------------------------------------------------------------- */

typedef struct multi {
    ds_zk_op *op;
    size_t count, created; /* created: which part makes a node, `count` for none */
    zoo_op_t *ops;
    zoo_op_result_t *results;
    struct Stat *stats;
    char name[NAME_MAX_SIZE];
} multi;

static void multi_free(multi *m) {
    free(m->ops);
    free(m->results);
    free(m->stats);
    free(m);
}

static multi *multi_new(size_t count, ds_zk_op *op) {
    multi *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    m->op = op;
    m->count = m->created = count;
    m->ops = calloc(count, sizeof(*m->ops));
    m->results = calloc(count, sizeof(*m->results));
    m->stats = calloc(count, sizeof(*m->stats));
    if (m->ops == NULL || m->results == NULL || m->stats == NULL) {
        multi_free(m);
        return NULL;
    }
    return m;
}

static void on_multi(int rc, const void *data) {
    multi *m = (multi *)(uintptr_t)data;
    ds_zk_answer out = {.code = code_of(rc)};
    for (size_t i = 0; rc != ZOK && i < m->count; i++) {
        int err = m->results[i].err;
        if (err != ZOK && err != ZRUNTIMEINCONSISTENCY) { /* the latter is what the parts around the culprit get */
            out.code = code_of(err);
            out.failed_at = i;
            break;
        }
    }
    if (rc == ZOK && m->created < m->count) {
        out.path = m->name;
    }
    ds_zk_op *op = m->op;
    zk_frames_answered();
    op->done(op, &out);
    multi_free(m);
}

static const struct ACL_vector *acl_of(const ds_zk *zk) {
    return zk->creator_only ? &ZOO_CREATOR_ALL_ACL : &ZOO_OPEN_ACL_UNSAFE;
}

static int mode_of(unsigned flags) {
    if ((flags & DS_ZK_CONTAINER) != 0) {
        return ZOO_CONTAINER;
    }
    if ((flags & DS_ZK_EPHEMERAL) != 0) {
        return (flags & DS_ZK_SEQUENTIAL) != 0 ? ZOO_EPHEMERAL_SEQUENTIAL : ZOO_EPHEMERAL;
    }
    return (flags & DS_ZK_SEQUENTIAL) != 0 ? ZOO_PERSISTENT_SEQUENTIAL : ZOO_PERSISTENT;
}

static void fill_part(const ds_zk *zk, multi *m, size_t i, const ds_zk_request *part) {
    zoo_op_t *op = &m->ops[i];
    switch (part->kind) {
    case DS_ZK_CREATE:
        zoo_create_op_init(op, part->path, part->data, (int)part->size, acl_of(zk), mode_of(part->flags), m->name,
                           (int)sizeof(m->name));
        m->created = i;
        break;
    case DS_ZK_SET:
        zoo_set_op_init(op, part->path, part->data, (int)part->size, part->version, &m->stats[i]);
        break;
    case DS_ZK_DELETE:
        zoo_delete_op_init(op, part->path, part->version);
        break;
    default:
        zoo_check_op_init(op, part->path, part->version);
        break;
    }
}

static int submit_multi(ds_zk *zk, const ds_zk_request *request, ds_zk_op *op) {
    multi *m = multi_new(request->count, op);
    if (m == NULL) {
        return ZSYSTEMERROR;
    }
    for (size_t i = 0; i < request->count; i++) {
        fill_part(zk, m, i, &request->parts[i]);
    }
    int rc = zoo_amulti(zk->handle, (int)request->count, m->ops, m->results, on_multi, m);
    if (rc != ZOK) {
        multi_free(m);
    }
    return rc;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void on_event(zhandle_t *handle, int type, int state, const char *path, void *context) {
    ds_zk *zk = (ds_zk *)(uintptr_t)zoo_get_context(handle);
    (void)context;
    if (zk == NULL || zk->listener == NULL) {
        return;
    }
    if (type == ZOO_SESSION_EVENT) {
        zk->state = state;
        zk->listener->on_state(zk->listener);
    } else if (type == ZOO_CREATED_EVENT) {
        zk->listener->on_watch(zk->listener, DS_ZK_CREATED, path);
    } else if (type == ZOO_DELETED_EVENT) {
        zk->listener->on_watch(zk->listener, DS_ZK_DELETED, path);
    } else if (type == ZOO_CHANGED_EVENT) {
        zk->listener->on_watch(zk->listener, DS_ZK_CHANGED, path);
    } else if (type == ZOO_CHILD_EVENT) {
        zk->listener->on_watch(zk->listener, DS_ZK_CHILDREN_CHANGED, path);
    }
}

/* The handle's own watcher hears of its state only; that of a node is a function of its own, so that a session event
 * comes once and not once per watch. */
static void on_node(zhandle_t *handle, int type, int state, const char *path, void *context) {
    if (type != ZOO_SESSION_EVENT) {
        on_event(handle, type, state, path, context);
    }
}

static void say_nothing(const char *message) {
    (void)message;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static ds_zk_code zk_submit(ds_zk *zk, const ds_zk_request *r, ds_zk_op *op) {
    zhandle_t *handle = zk->handle;
    watcher_fn watcher = r->watch ? on_node : NULL;
    int rc = ZBADARGUMENTS;
    switch (r->kind) {
    case DS_ZK_CREATE:
        rc = zoo_acreate2(handle, r->path, r->data, (int)r->size, acl_of(zk), mode_of(r->flags), on_name_stat, op);
        break;
    case DS_ZK_DELETE:
        rc = zoo_adelete(handle, r->path, r->version, on_void, op);
        break;
    case DS_ZK_SET:
        rc = zoo_aset(handle, r->path, r->data, (int)r->size, r->version, on_stat, op);
        break;
    case DS_ZK_GET:
        rc = zoo_awget(handle, r->path, watcher, NULL, on_data, op);
        break;
    case DS_ZK_EXISTS:
        rc = zoo_awexists(handle, r->path, watcher, NULL, on_stat, op);
        break;
    case DS_ZK_CHILDREN:
        rc = zoo_awget_children2(handle, r->path, watcher, NULL, on_children, op);
        break;
    case DS_ZK_SYNC:
        rc = zoo_async(handle, r->path, on_name, op);
        break;
    case DS_ZK_MULTI:
        rc = submit_multi(zk, r, op);
        break;
    case DS_ZK_CHECK:
        break;
    }
    if (rc == ZOK) {
        zk->frames.asked++;
        return DS_ZK_OK;
    }
    return rc == ZINVALIDSTATE ? DS_ZK_NOT_TAKEN : rc == ZSYSTEMERROR ? DS_ZK_NO_MEMORY : code_of(rc);
}

/* ---- the connection ---------------------------------------------------------------------------------------------- */

static void zk_interest(ds_zk *zk, ds_zk_interest *out) {
    struct timeval wait = {0, 0};
    int fd = -1, interest = 0;
    zk_frames *before = zk_frames_begin(&zk->frames);
    int rc = zookeeper_interest(zk->handle, &fd, &interest, &wait);
    (void)zk_frames_begin(before);
    *out = (ds_zk_interest){.fd = fd, .wait_ms = (int64_t)wait.tv_sec * 1000 + wait.tv_usec / 1000 + 1};
    out->refused = rc != ZOK && fd < 0;
    if (out->refused) {
        static const int64_t AGAIN_MS = 20; /* a server refused at once: the next one */
        out->wait_ms = out->wait_ms > 1 && out->wait_ms < AGAIN_MS ? out->wait_ms : AGAIN_MS;
    }
    if (fd >= 0) {
        out->want =
            ((interest & ZOOKEEPER_READ) != 0 ? DS_FD_READ : 0) | ((interest & ZOOKEEPER_WRITE) != 0 ? DS_FD_WRITE : 0);
        if (fd != zk->fd) {
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
    }
    zk->fd = fd;
    zk->want = out->want;
}

static bool is_ready(const ds_zk *zk, short events) {
    struct pollfd look = {.fd = zk->fd, .events = events};
    return zk->fd >= 0 && poll(&look, 1, 0) == 1 && (look.revents & events) != 0 &&
           (look.revents & (POLLERR | POLLHUP | POLLNVAL)) == 0;
}

static void zk_drive(ds_zk *zk, unsigned ready) {
    int events = ((ready & DS_FD_READ) != 0 ? ZOOKEEPER_READ : 0) | ((ready & DS_FD_WRITE) != 0 ? ZOOKEEPER_WRITE : 0);
    zk_frames *before = zk_frames_begin(&zk->frames);
    /* The library takes one packet at a time. */
    for (int i = 0; i < PACKETS_AT_ONCE && events != 0; i++) {
        (void)zookeeper_process(zk->handle, events);
        events = zoo_state(zk->handle) == ZOO_CONNECTED_STATE && is_ready(zk, POLLIN) ? ZOOKEEPER_READ : 0;
    }
    (void)zk_frames_begin(before);
}

static void zk_drop(ds_zk *zk) {
    if (zk->fd >= 0) {
        (void)shutdown(zk->fd, SHUT_RDWR); /* upon which the library finds the connection broken and goes on */
    }
}

static bool writable(const ds_zk *zk) {
    return (zk->want & DS_FD_WRITE) == 0 && is_ready(zk, POLLOUT);
}

static ds_zk_state zk_state(const ds_zk *zk) {
    if (zk->state == ZOO_CONNECTED_STATE) {
        return DS_ZK_CONNECTED;
    }
    if (zk->state == ZOO_EXPIRED_SESSION_STATE) {
        return DS_ZK_GONE;
    }
    return zk->state == ZOO_AUTH_FAILED_STATE ? DS_ZK_DENIED : DS_ZK_CONNECTING;
}

/* The library writes what is left to be sent and waits for the socket up to three seconds: not if it is dead. Then it
 * waits another second and a half until the server hangs up: it sees that at once where nothing more can be read. */
static void zk_close(ds_zk *zk, bool orderly) {
    if (!orderly || !writable(zk)) {
        zk_drop(zk);
    } else {
        (void)shutdown(zk->fd, SHUT_RD);
    }
    zk->listener = NULL;
    zk->frames.ending = true;
    zk_frames *before = zk_frames_begin(&zk->frames);
    (void)zookeeper_close(zk->handle);
    (void)zk_frames_begin(before);
    free(zk);
}

static void on_auth(int rc, const void *data) {
    (void)rc; /* a refusal shows in the state */
    (void)data;
}

static ds_zk *zk_open(const ds_zk_config *config, ds_zk_listener *listener) {
    ds_zk *zk = calloc(1, sizeof(*zk));
    if (zk == NULL) {
        return NULL;
    }
    zk->listener = listener;
    zk->creator_only = config->creator_only;
    zk->fd = -1;
    zoo_set_debug_level((ZooLogLevel)0);
    zoo_deterministic_conn_order(1); /* else the library seeds the process's random numbers */
    zk->handle = zookeeper_init2(config->servers, on_event, (int)config->timeout_ms, NULL, zk, ZOO_NO_LOG_CLIENTENV,
                                 say_nothing);
    if (zk->handle == NULL) {
        free(zk);
        return NULL;
    }
    if (config->digest != NULL) {
        (void)zoo_add_auth(zk->handle, "digest", config->digest, (int)strlen(config->digest), on_auth, NULL);
    }
    return zk;
}

static int64_t zk_session(const ds_zk *zk) {
    const clientid_t *id = zoo_client_id(zk->handle);
    return id != NULL ? id->client_id : 0;
}

static int64_t zk_timeout_ms(const ds_zk *zk) {
    return zoo_recv_timeout(zk->handle);
}

static const char *zk_server(ds_zk *zk) {
    const char *text = zoo_get_current_server(zk->handle);
    return text != NULL ? text : "";
}

extern const ds_zk_driver dsync_zookeeper_driver;
__attribute__((visibility("default"))) const ds_zk_driver dsync_zookeeper_driver = {
    .seam = DS_ZK_SEAM,
    .name = "libzookeeper",
    .open = zk_open,
    .close = zk_close,
    .submit = zk_submit,
    .drive = zk_drive,
    .interest = zk_interest,
    .drop = zk_drop,
    .state = zk_state,
    .session = zk_session,
    .timeout_ms = zk_timeout_ms,
    .server = zk_server,
};
