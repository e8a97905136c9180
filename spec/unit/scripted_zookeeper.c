/* scripted_zookeeper.c: see scripted_zookeeper.h. */
#include "scripted_zookeeper.h"

#include <stdio.h>
#include <string.h>

#include "fake_world_parts.h"

#define SESSIONS_MAX 8
#define REQUESTS_MAX 64

typedef struct request {
    ds_zk_op *op;
    char text[300];
} request;

struct ds_zk {
    ds_zk_listener *listener;
    ds_zk_state state;
    int64_t timeout_ms;
    request requests[REQUESTS_MAX];
    size_t count;
    bool closed;
};

static ds_zk sessions[SESSIONS_MAX];
static size_t opened;

static ds_zk *session_at(size_t session) {
    if (session < 1 || session > opened || sessions[session - 1].closed) {
        fw_misuse("session %zu is not open", session);
    }
    return &sessions[session - 1];
}

static ds_zk_op *take_oldest(ds_zk *zk) {
    ds_zk_op *op = zk->requests[0].op;
    memmove(&zk->requests[0], &zk->requests[1], --zk->count * sizeof(zk->requests[0]));
    return op;
}

static void end_all(ds_zk *zk, ds_zk_code code) {
    size_t count = zk->count; /* what is handed over meanwhile stays */
    while (count-- > 0) {
        ds_zk_op *op = take_oldest(zk);
        op->done(op, &(ds_zk_answer){.code = code});
    }
}

/* ---- the test's side --------------------------------------------------------------------------------------------- */

void sz_begin(void) {
    memset(sessions, 0, sizeof(sessions));
    opened = 0;
}

void sz_connect(size_t session) {
    ds_zk *zk = session_at(session);
    zk->state = DS_ZK_CONNECTED;
    zk->listener->on_state(zk->listener);
}

void sz_lose(size_t session) {
    ds_zk *zk = session_at(session);
    zk->state = DS_ZK_CONNECTING;
    zk->listener->on_state(zk->listener);
    end_all(zk, DS_ZK_LOSS);
}

const char *sz_oldest(size_t session) {
    const ds_zk *zk = session_at(session);
    return zk->count > 0 ? zk->requests[0].text : "";
}

void sz_answer(size_t session, const ds_zk_answer *answer) {
    ds_zk *zk = session_at(session);
    if (zk->count == 0) {
        fw_misuse("nothing was asked in session %zu", session);
    }
    ds_zk_op *op = take_oldest(zk);
    op->done(op, answer);
}

void sz_code(size_t session, ds_zk_code code) {
    sz_answer(session, &(ds_zk_answer){.code = code});
}

void sz_change(size_t session, ds_zk_change change, const char *path) {
    ds_zk *zk = session_at(session);
    zk->listener->on_watch(zk->listener, change, path);
}

size_t sz_opened(void) {
    return opened;
}

/* ---- the backend's side ------------------------------------------------------------------------------------------ */

static ds_zk *open_session(const ds_zk_config *config, ds_zk_listener *listener) {
    if (opened == SESSIONS_MAX) {
        fw_misuse("more than %d sessions", SESSIONS_MAX);
    }
    ds_zk *zk = &sessions[opened++];
    *zk = (ds_zk){.listener = listener, .state = DS_ZK_CONNECTING, .timeout_ms = config->timeout_ms};
    return zk;
}

static void close_session(ds_zk *zk, bool orderly) {
    (void)orderly;
    if (zk->closed) {
        fw_misuse("a session was closed twice");
    }
    end_all(zk, DS_ZK_CLOSING);
    zk->closed = true;
}

static ds_zk_code submit(ds_zk *zk, const ds_zk_request *r, ds_zk_op *op) {
    static const char *const kinds[] = {"create",   "delete", "set",   "get",  "exists",
                                        "children", "sync",   "check", "multi"};
    if (zk->state != DS_ZK_CONNECTED || zk->closed || zk->count == REQUESTS_MAX) {
        fw_misuse("a request that cannot be sent: %s %s", kinds[r->kind], r->path);
    }
    request *to = &zk->requests[zk->count++];
    to->op = op;
    (void)snprintf(to->text, sizeof(to->text), "%s %s%s", kinds[r->kind], r->path != NULL ? r->path : "",
                   r->watch ? " (watch)" : "");
    return DS_ZK_OK;
}

static void drive(ds_zk *zk, unsigned ready) {
    (void)zk;
    (void)ready;
}

static void interest(ds_zk *zk, ds_zk_interest *out) {
    (void)zk;
    *out = (ds_zk_interest){.fd = -1, .wait_ms = -1};
}

static void drop(ds_zk *zk) {
    (void)zk;
}

static ds_zk_state state(const ds_zk *zk) {
    return zk->state;
}

static int64_t session_id(const ds_zk *zk) {
    return zk - sessions + 1;
}

static int64_t timeout_ms(const ds_zk *zk) {
    return zk->timeout_ms;
}

static const char *server(ds_zk *zk) {
    (void)zk;
    return "127.0.0.1:2181";
}

const ds_zk_driver sz_driver = {
    .seam = DS_ZK_SEAM,
    .name = "scripted",
    .open = open_session,
    .close = close_session,
    .submit = submit,
    .drive = drive,
    .interest = interest,
    .drop = drop,
    .state = state,
    .session = session_id,
    .timeout_ms = timeout_ms,
    .server = server,
};
