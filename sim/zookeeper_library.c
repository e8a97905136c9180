/* zookeeper_library.c: libzookeeper, single-threaded, as the backend sees it through its seam: when it connects, sends
 * signs of life, gives a connection up, and in which order it tells of what it hears. Its times are those of the
 * library's 3.8.
 */
#include <stdio.h>
#include <string.h>

#include "zookeeper_model.h"

/* A request without an answer yet. */
typedef struct waiting {
    ds_list node;
    ds_zk_op *op;
    uint64_t number;
    ds_zk_kind kind;
    char *path;
    bool watch;
} waiting;

/* A node that is watched, as the library remembers it. */
typedef struct watched {
    char *path;
    ds_zk_kind kind;
} watched;

struct ds_zk {
    ds_list node;
    zm *e;
    sim_host *host;
    ds_zk_listener *listener;
    size_t members[SIM_MEMBERS], member_count, next, current;
    zm_conn *conn;
    ds_zk_state state;
    bool tired; /* all servers were tried in vain */
    int64_t session, last_zxid;
    int64_t asked_ns, granted_ns;
    int64_t heard_ns, said_ns; /* by its host's clock */
    uint64_t numbers;
    ds_list waiting;
    watched *watches;
    size_t watch_count, watch_capacity;
};

/* ---- watches ----------------------------------------------------------------------------------------------------- */

static void remember(ds_zk *zk, const char *path, ds_zk_kind kind) {
    for (size_t i = 0; i < zk->watch_count; i++) {
        if (zk->watches[i].kind == kind && strcmp(zk->watches[i].path, path) == 0) {
            return;
        }
    }
    if (zk->watch_count == zk->watch_capacity) {
        zk->watch_capacity = zk->watch_capacity == 0 ? 8 : zk->watch_capacity * 2;
        zk->watches = sim_alloc(zk->watches, zk->watch_capacity * sizeof *zk->watches);
    }
    zk->watches[zk->watch_count++] = (watched){zm_copy(path, strlen(path)), kind};
}

static bool concerns(const watched *watch, ds_zk_change change) {
    switch (change) {
    case DS_ZK_DELETED:
        return true;
    case DS_ZK_CHILDREN_CHANGED:
        return watch->kind == DS_ZK_CHILDREN;
    default:
        return watch->kind != DS_ZK_CHILDREN;
    }
}

static bool forget(ds_zk *zk, const char *path, ds_zk_change change) {
    bool any = false;
    for (size_t i = zk->watch_count; i-- > 0;) {
        if (concerns(&zk->watches[i], change) && strcmp(zk->watches[i].path, path) == 0) {
            (void)sim_alloc(zk->watches[i].path, 0);
            zk->watches[i] = zk->watches[--zk->watch_count];
            any = true;
        }
    }
    return any;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static zm_ask *new_ask(void) {
    zm_ask *ask = sim_alloc(NULL, sizeof *ask);
    memset(ask, 0, sizeof *ask);
    return ask;
}

static ds_zk_request copied(const ds_zk_request *r) {
    ds_zk_request copy = *r;
    copy.path = r->path != NULL ? zm_copy(r->path, strlen(r->path)) : NULL;
    copy.data = r->data != NULL ? zm_copy(r->data, r->size) : NULL;
    return copy;
}

static void copy_parts(zm_ask *ask, const ds_zk_request *parts, size_t count) {
    ask->parts = sim_alloc(NULL, (count + 1) * sizeof *ask->parts);
    for (size_t i = 0; i < count; i++) {
        ask->parts[i] = copied(&parts[i]);
    }
    ask->request.parts = ask->parts;
    ask->request.count = count;
}

static void say(ds_zk *zk, zm_ask *ask) {
    zk->said_ns = sim_local(zk->host);
    zm_to_server(zk->conn, ask);
}

static void send_handshake(ds_zk *zk) {
    zm_ask *ask = new_ask();
    ask->handshake = true;
    ask->session = zk->session;
    ask->timeout_ns = zk->asked_ns;
    ask->seen_zxid = zk->last_zxid;
    say(zk, ask);
}

static void send_watches(ds_zk *zk) {
    if (zk->watch_count == 0) {
        return;
    }
    zm_ask *ask = new_ask();
    ask->resets = true;
    ask->seen_zxid = zk->last_zxid;
    ask->parts = sim_alloc(NULL, zk->watch_count * sizeof *ask->parts);
    memset(ask->parts, 0, zk->watch_count * sizeof *ask->parts);
    for (size_t i = 0; i < zk->watch_count; i++) {
        ask->parts[i].kind = zk->watches[i].kind;
        ask->parts[i].path = zm_copy(zk->watches[i].path, strlen(zk->watches[i].path));
    }
    ask->request.parts = ask->parts;
    ask->request.count = zk->watch_count;
    say(zk, ask);
}

static void send_ping(ds_zk *zk) {
    zm_ask *ask = new_ask();
    ask->ping = true;
    say(zk, ask);
}

static ds_zk_code submit(ds_zk *zk, const ds_zk_request *r, ds_zk_op *op) {
    if (zk->state != DS_ZK_CONNECTED || zk->conn == NULL) {
        return DS_ZK_NOT_TAKEN;
    }
    if (sim_hit(zk->e->s, SIM_NO_MEMORY)) {
        return DS_ZK_NO_MEMORY;
    }
    waiting *w = sim_alloc(NULL, sizeof *w);
    *w = (waiting){.op = op, .number = ++zk->numbers, .kind = r->kind, .watch = r->watch};
    w->path = zm_copy(r->path != NULL ? r->path : "", r->path != NULL ? strlen(r->path) : 0);
    ds_list_append(&zk->waiting, &w->node);
    zm_ask *ask = new_ask();
    ask->number = w->number;
    ask->request = copied(r);
    if (r->kind == DS_ZK_MULTI) {
        copy_parts(ask, r->parts, r->count);
    }
    say(zk, ask);
    return DS_ZK_OK;
}

/* ---- hearing ----------------------------------------------------------------------------------------------------- */

static void finish(waiting *w, const ds_zk_answer *out) {
    ds_zk_op *op = w->op;
    (void)sim_alloc(w->path, 0);
    (void)sim_alloc(w, 0);
    op->done(op, out);
}

static void finish_all(ds_zk *zk, ds_zk_code code) {
    ds_list round, *node;
    ds_list_init(&round);
    ds_list_splice(&round, &zk->waiting);
    while ((node = ds_list_pop(&round)) != NULL) {
        finish(DS_LIST_ENTRY(node, waiting, node), &(ds_zk_answer){.code = code});
    }
}

/* The state is told first, then what had no answer. */
static void lose(ds_zk *zk, ds_zk_state after, ds_zk_code code) {
    bool told = zk->state != after;
    sim_note(zk->e->s, "client %u: its connection to server %zu is lost", zk->host->number, zk->current);
    zm_closed_by_client(zk->conn);
    zk->conn = NULL;
    zk->state = after;
    if (told) {
        zk->listener->on_state(zk->listener);
    }
    finish_all(zk, code);
}

static void hear_welcome(ds_zk *zk, const zm_packet *packet) {
    if (packet->code != DS_ZK_OK) {
        lose(zk, DS_ZK_GONE, DS_ZK_EXPIRED);
        return;
    }
    zk->session = packet->session;
    zk->granted_ns = packet->timeout_ns;
    zk->state = DS_ZK_CONNECTED;
    zk->tired = false;
    sim_note(zk->e->s, "client %u: connected to server %zu, session %llx", zk->host->number, zk->current,
             (unsigned long long)zk->session);
    send_watches(zk);
    zk->listener->on_state(zk->listener);
}

static void hear_answer(ds_zk *zk, const zm_packet *packet) {
    zk->last_zxid = packet->zxid > zk->last_zxid ? packet->zxid : zk->last_zxid;
    if (packet->number == 0 || ds_list_empty(&zk->waiting)) {
        return;
    }
    waiting *w = DS_LIST_ENTRY(ds_list_pop(&zk->waiting), waiting, node);
    bool fine = packet->code == DS_ZK_OK;
    if (w->watch && (fine || (w->kind == DS_ZK_EXISTS && packet->code == DS_ZK_NO_NODE))) {
        remember(zk, w->path, w->kind == DS_ZK_EXISTS && fine ? DS_ZK_GET : w->kind);
    }
    ds_zk_answer out = {.code = packet->code, .failed_at = packet->failed_at};
    out.stat = fine && packet->has_stat && w->kind != DS_ZK_MULTI ? &packet->stat : NULL;
    out.path = fine ? packet->path : NULL;
    out.data = w->kind != DS_ZK_GET ? NULL : packet->data != NULL ? packet->data : "";
    out.size = packet->size;
    out.children = fine ? (const char *const *)packet->children : NULL;
    out.count = fine ? packet->count : 0;
    finish(w, &out);
}

static void hear(ds_zk *zk, const zm_packet *packet) {
    zk->heard_ns = sim_local(zk->host);
    switch (packet->word) {
    case ZM_WELCOME:
        hear_welcome(zk, packet);
        break;
    case ZM_ANSWER:
        hear_answer(zk, packet);
        break;
    case ZM_EVENT:
        if (forget(zk, packet->path, packet->change)) {
            zk->listener->on_watch(zk->listener, packet->change, packet->path);
        }
        break;
    case ZM_END:
        lose(zk, DS_ZK_CONNECTING, DS_ZK_LOSS);
        break;
    }
}

static void drive(ds_zk *zk, unsigned ready) {
    bool inside = sim_memory_client(true);
    while ((ready & DS_FD_READ) != 0 && zk->conn != NULL && !ds_list_empty(&zk->conn->mail)) {
        zm_packet *packet = DS_LIST_ENTRY(ds_list_pop(&zk->conn->mail), zm_packet, node);
        hear(zk, packet);
        zm_packet_free(packet);
    }
    (void)sim_memory_client(inside);
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

static void connect_next(ds_zk *zk) {
    zk->current = zk->members[zk->next];
    zk->next = (zk->next + 1) % zk->member_count;
    zk->tired = zk->next == 0;
    zk->conn = zm_connect(zk->e, zk, zk->host, zk->current);
    sim_note(zk->e->s, "client %u: connects to server %zu", zk->host->number, zk->current);
    zk->heard_ns = sim_local(zk->host);
    send_handshake(zk);
}

static void interest(ds_zk *zk, ds_zk_interest *out) {
    *out = (ds_zk_interest){.fd = -1, .wait_ms = -1};
    if (zk->state == DS_ZK_GONE) {
        return;
    }
    int64_t timeout = zk->granted_ns;
    if (zk->conn == NULL && zk->tired) {
        zk->tired = false;
        out->wait_ms = timeout / 60 / DS_MS + 1;
        return;
    }
    if (zk->conn == NULL) {
        connect_next(zk);
    }
    int64_t now = sim_local(zk->host);
    int64_t hear_in = timeout * 2 / 3 - (now - zk->heard_ns), say_in = timeout / 3;
    if (hear_in <= 0) {
        lose(zk, DS_ZK_CONNECTING, DS_ZK_LOSS);
        out->wait_ms = 20;
        return;
    }
    if (zk->state == DS_ZK_CONNECTED) {
        say_in -= now - zk->said_ns;
        if (say_in <= 0) {
            if (ds_list_empty(&zk->waiting)) {
                send_ping(zk);
            }
            say_in = timeout / 3;
        }
    }
    out->fd = (int)zk->conn->number;
    out->want = DS_FD_READ;
    out->wait_ms = (hear_in < say_in ? hear_in : say_in) / DS_MS + 1;
}

/* What has arrived can still be read; then comes the end. */
static void drop(ds_zk *zk) {
    if (zk->conn != NULL) {
        zm_packet *end = zm_packet_new(zk->conn, ZM_END);
        zk->conn->mute = true;
        ds_list_append(&zk->conn->mail, &end->node);
        zm_wake(zk->conn);
    }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static ds_zk *open_session(const ds_zk_config *config, ds_zk_listener *listener) {
    sim_host *host = DS_CONTAINER_OF(config->world, sim_host, base);
    zm *e = host->s->servers;
    if (sim_hit(host->s, SIM_NO_MEMORY)) {
        return NULL;
    }
    ds_zk *zk = sim_alloc(NULL, sizeof *zk);
    memset(zk, 0, sizeof *zk);
    zk->e = e;
    zk->host = host;
    zk->listener = listener;
    zk->state = DS_ZK_CONNECTING;
    zk->asked_ns = zk->granted_ns = config->timeout_ms * DS_MS;
    ds_list_init(&zk->waiting);
    for (const char *at = config->servers; at != NULL && zk->member_count < SIM_MEMBERS;) {
        zk->members[zk->member_count++] = (size_t)(at[7] - '1') % SIM_MEMBERS; /* "10.0.0.<member + 1>:2181" */
        at = strchr(at, ',');
        at = at != NULL ? at + 1 : NULL;
    }
    ds_list_append(&e->libraries, &zk->node);
    return zk;
}

static void zk_free(ds_zk *zk) {
    ds_list *node;
    ds_list_remove(&zk->node);
    while ((node = ds_list_pop(&zk->waiting)) != NULL) {
        waiting *w = DS_LIST_ENTRY(node, waiting, node);
        (void)sim_alloc(w->path, 0);
        (void)sim_alloc(w, 0);
    }
    for (size_t i = 0; i < zk->watch_count; i++) {
        (void)sim_alloc(zk->watches[i].path, 0);
    }
    (void)sim_alloc(zk->watches, 0);
    (void)sim_alloc(zk, 0);
}

static void close_session(ds_zk *zk, bool orderly) {
    if (orderly && zk->state == DS_ZK_CONNECTED) {
        zm_ask *ask = new_ask();
        ask->ends_session = true;
        say(zk, ask);
    }
    finish_all(zk, DS_ZK_CLOSING);
    if (zk->conn != NULL) {
        zm_closed_by_client(zk->conn);
    }
    zk_free(zk);
}

/* Of a process that is no more, the kernel closes what it had open. */
void zm_died(void *servers, sim_host *host) {
    zm *e = servers;
    for (ds_list *node = e->libraries.next; node != &e->libraries; node = node->next) {
        ds_zk *zk = DS_LIST_ENTRY(node, ds_zk, node);
        if (zk->host == host && zk->conn != NULL) {
            zm_closed_by_client(zk->conn);
            zk->conn = NULL;
        }
    }
}

void zm_libraries_free(zm *e) {
    while (!ds_list_empty(&e->libraries)) {
        zk_free(DS_LIST_ENTRY(e->libraries.next, ds_zk, node));
    }
}

static ds_zk_state state(const ds_zk *zk) {
    return zk->state;
}

static int64_t session(const ds_zk *zk) {
    return zk->session;
}

static int64_t timeout_ms(const ds_zk *zk) {
    return zk->granted_ns / DS_MS;
}

static const char *server(ds_zk *zk) {
    return zk->conn != NULL ? zk->e->s->model->origins[zk->current] : "";
}

const ds_zk_driver zm_driver = {
    .seam = DS_ZK_SEAM,
    .name = "model",
    .open = open_session,
    .close = close_session,
    .submit = submit,
    .drive = drive,
    .interest = interest,
    .drop = drop,
    .state = state,
    .session = session,
    .timeout_ms = timeout_ms,
    .server = server,
};
