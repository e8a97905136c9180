/* zookeeper_leader.c: the leader's part: it checks requests against the newest state, gives each change its number,
 * ends sessions, and is where the checker hears of entries. How servers learn of it: zookeeper_member.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "zookeeper_model.h"

/* ---- what the checker hears -------------------------------------------------------------------------------------- */

void zm_tell_entry(zm *e, chk_kind kind, const zm_node *node, chk_cause cause) {
    static const char *const causes[] = {"left", "expired", "taken"};
    int lock = sim_lock_of_key(node->path + 1, strlen(node->path + 1));
    if (lock < 0) {
        return;
    }
    sim *s = e->s;
    sim_note(s, "servers: entry %lld of lock %d %s%s (client %u, %s)", (long long)node->stat.czxid, lock,
             kind == CHK_ENTER ? "made" : "gone: ", kind == CHK_ENTER ? "" : causes[cause], node->client, node->path);
    (void)sim_see(s, &(chk_event){.kind = kind,
                                  .at_ns = s->now_ns,
                                  .client = node->client,
                                  .lock = (unsigned)lock,
                                  .token = node->stat.czxid,
                                  .until_ns = kind == CHK_GONE ? e->limit_ns : 0,
                                  .cause = cause});
}

static void tell_data(zm *e, const zm_change *change) {
    int64_t token = 0;
    int lock = sim_lock_of_data(change->path + 1, strlen(change->path + 1), change->data, &token);
    if (lock >= 0) {
        sim *s = e->s;
        s->counts->data_writes++;
        sim_note(s, "servers: guarded write of token %lld under lock %d", (long long)token, lock);
        (void)sim_see(s, &(chk_event){.kind = CHK_DATA, .at_ns = s->now_ns, .lock = (unsigned)lock, .token = token});
    }
}

/* ---- one change -------------------------------------------------------------------------------------------------- */

typedef struct work {
    zm *e;
    zm_tree tree; /* becomes the present one if all goes well */
    zm_change *changes;
    size_t count, capacity;
    int64_t session;
    unsigned by;
} work;

static void note_change(work *w, zm_change change) {
    if (w->count == w->capacity) {
        w->capacity = w->capacity == 0 ? 4 : w->capacity * 2;
        w->changes = sim_alloc(w->changes, w->capacity * sizeof *w->changes);
    }
    w->changes[w->count] = change;
    zm_apply(&w->tree, &w->changes[w->count++], w->e->zxid + 1);
}

static ds_zk_code create(work *w, const ds_zk_request *r, char **made) {
    const zm_node *parent = zm_parent(&w->tree, r->path);
    if (parent == NULL) {
        return DS_ZK_NO_NODE;
    }
    if (parent->stat.owner != 0) {
        return DS_ZK_EPHEMERAL_PARENT;
    }
    char path[512];
    if ((r->flags & DS_ZK_SEQUENTIAL) != 0) {
        (void)snprintf(path, sizeof path, "%s%010" PRId32, r->path, parent->made);
    } else {
        (void)snprintf(path, sizeof path, "%s", r->path);
    }
    if (zm_find(&w->tree, path) != NULL) {
        return DS_ZK_NODE_EXISTS;
    }
    note_change(w, (zm_change){.kind = DS_ZK_CREATE,
                               .path = zm_copy(path, strlen(path)),
                               .data = zm_copy(r->data, r->size),
                               .size = r->size,
                               .owner = (r->flags & DS_ZK_EPHEMERAL) != 0 ? w->session : 0,
                               .container = (r->flags & DS_ZK_CONTAINER) != 0,
                               .client = w->by});
    (void)sim_alloc(*made, 0);
    *made = zm_copy(path, strlen(path));
    return DS_ZK_OK;
}

static ds_zk_code change_one(work *w, const ds_zk_request *r, char **made) {
    const zm_node *node = zm_find(&w->tree, r->path);
    if (r->kind == DS_ZK_CREATE) {
        return create(w, r, made);
    }
    if (node == NULL) {
        return DS_ZK_NO_NODE;
    }
    if (r->version != DS_ZK_ANY_VERSION && r->version != node->stat.version) {
        return DS_ZK_BAD_VERSION;
    }
    if (r->kind == DS_ZK_DELETE && node->stat.children > 0) {
        return DS_ZK_NOT_EMPTY;
    }
    if (r->kind != DS_ZK_CHECK) {
        zm_change change = {.kind = r->kind, .path = zm_copy(r->path, strlen(r->path)), .client = w->by};
        if (r->kind == DS_ZK_SET) {
            change.data = zm_copy(r->data, r->size);
            change.size = r->size;
        }
        note_change(w, change);
    }
    return DS_ZK_OK;
}

/* Of an entry that is deleted by a client: by its own or by another. */
static void tell(zm *e, const work *w, const zm_tree *before, chk_cause cause) {
    for (size_t i = 0; i < w->count; i++) {
        const zm_change *change = &w->changes[i];
        const zm_node *old = zm_find(before, change->path);
        if (change->kind == DS_ZK_DELETE && old != NULL) {
            zm_tell_entry(e, CHK_GONE, old, cause == CHK_LEFT && old->client != w->by ? CHK_TAKEN : cause);
        }
    }
    for (size_t i = 0; i < w->count; i++) {
        const zm_node *fresh = zm_find(&e->now, w->changes[i].path);
        if (w->changes[i].kind == DS_ZK_CREATE && fresh != NULL) {
            zm_tell_entry(e, CHK_ENTER, fresh, CHK_LEFT);
        }
    }
    for (size_t i = 0; i < w->count; i++) {
        if (w->changes[i].kind != DS_ZK_DELETE) {
            tell_data(e, &w->changes[i]);
        }
    }
}

static void commit(zm *e, work *w, chk_cause cause, int64_t ends) {
    if (e->txn_count == e->txn_capacity) {
        e->txn_capacity = e->txn_capacity == 0 ? 128 : e->txn_capacity * 2;
        e->txns = sim_alloc(e->txns, e->txn_capacity * sizeof *e->txns);
    }
    zm_tree before = e->now;
    e->now = w->tree;
    e->zxid++;
    e->txns[e->txn_count++] = (zm_txn){e->zxid, e->s->now_ns, ends, w->changes, w->count};
    tell(e, w, &before, cause);
    zm_tree_free(&before);
    e->zxid += sim_between(e->s, 0, 2); /* others use the ensemble, too */
    zm_committed(e);
}

static void give_up(work *w) {
    for (size_t i = 0; i < w->count; i++) {
        zm_change_free(&w->changes[i]);
    }
    (void)sim_alloc(w->changes, 0);
    zm_tree_free(&w->tree);
}

static ds_zk_code change(zm *e, const ds_zk_request *r, int64_t session, unsigned by, size_t *failed_at, char **made) {
    work w = {.e = e, .session = session, .by = by};
    zm_tree_copy(&e->now, &w.tree);
    const ds_zk_request *parts = r->kind == DS_ZK_MULTI ? r->parts : r;
    size_t count = r->kind == DS_ZK_MULTI ? r->count : 1;
    ds_zk_code code = DS_ZK_OK;
    for (size_t i = 0; i < count && code == DS_ZK_OK; i++) {
        code = change_one(&w, &parts[i], made);
        *failed_at = i;
    }
    if (code == DS_ZK_OK) {
        commit(e, &w, CHK_LEFT, 0);
    } else {
        give_up(&w);
    }
    return code;
}

ds_zk_code zm_do(zm *e, const ds_zk_request *request, int64_t session, unsigned by) {
    size_t failed_at;
    char *made = NULL;
    ds_zk_code code = change(e, request, session, by, &failed_at, &made);
    (void)sim_alloc(made, 0);
    return code;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

zm_session *zm_session_of(const zm *e, int64_t id) {
    for (size_t i = 0; i < e->session_count; i++) {
        if (e->sessions[i].id == id && e->sessions[i].ended_ns == DS_NEVER) {
            return &e->sessions[i];
        }
    }
    return NULL;
}

/* By the leader's clock, and never sooner than promised: at the end of one of its ticks. */
void zm_touch(zm *e, zm_session *session) {
    int64_t timeout = session->timeout_ns - session->timeout_ns * e->ppm / 1000000;
    int64_t at = e->s->now_ns + timeout;
    at += ZM_TICK_NS - at % ZM_TICK_NS;
    session->expires_ns = at > session->expires_ns ? at : session->expires_ns;
}

zm_session *zm_session_make(zm *e, int64_t timeout_ns, unsigned client, size_t member) {
    if (e->session_count == e->session_capacity) {
        e->session_capacity = e->session_capacity == 0 ? 32 : e->session_capacity * 2;
        e->sessions = sim_alloc(e->sessions, e->session_capacity * sizeof *e->sessions);
    }
    timeout_ns = timeout_ns < 2 * ZM_TICK_NS ? 2 * ZM_TICK_NS : timeout_ns;
    timeout_ns = timeout_ns > 20 * ZM_TICK_NS ? 20 * ZM_TICK_NS : timeout_ns;
    zm_session *session = &e->sessions[e->session_count++];
    *session = (zm_session){.id = (int64_t)(member + 1) * INT64_C(0x0100000000000000) + (int64_t)e->session_count,
                            .timeout_ns = timeout_ns,
                            .made_ns = e->s->now_ns,
                            .ended_ns = DS_NEVER,
                            .client = client,
                            .owner = member};
    zm_touch(e, session);
    return session;
}

void zm_session_end(zm *e, zm_session *session, chk_cause cause) {
    work w = {.e = e, .session = session->id, .by = session->client};
    sim_note(e->s, "servers: session %llx ends", (unsigned long long)session->id);
    session->ended_ns = e->s->now_ns;
    e->limit_ns = cause == CHK_TAKEN ? e->s->now_ns + session->timeout_ns : 0;
    zm_tree_copy(&e->now, &w.tree);
    for (size_t i = 0; i < e->now.count; i++) {
        if (e->now.nodes[i].stat.owner == session->id) {
            const char *path = e->now.nodes[i].path;
            note_change(&w, (zm_change){.kind = DS_ZK_DELETE, .path = zm_copy(path, strlen(path)), .client = w.by});
        }
    }
    commit(e, &w, cause, session->id);
    e->limit_ns = 0;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void welcome(zm *e, zm_ask *ask) {
    zm_session *session = zm_session_of(e, ask->session);
    if (ask->session == 0) {
        session = zm_session_make(e, ask->timeout_ns, ask->conn->host->number, ask->member);
        work w = {.e = e};
        zm_tree_copy(&e->now, &w.tree);
        commit(e, &w, CHK_LEFT, 0);
    }
    ask->code = session != NULL ? DS_ZK_OK : DS_ZK_EXPIRED;
    if (session != NULL) {
        session->owner = ask->member;
        zm_touch(e, session);
        ask->session = session->id;
        ask->timeout_ns = session->timeout_ns;
    }
}

/* Who has gone on to another server is not listened to at the former one. */
void zm_execute(zm *e, zm_ask *ask) {
    ask->decided = true;
    if (ask->handshake) {
        welcome(e, ask);
        ask->after = e->txn_count;
        return;
    }
    zm_session *session = zm_session_of(e, ask->session);
    if (session == NULL || session->owner != ask->member) {
        ask->code = DS_ZK_EXPIRED;
        ask->dead = session != NULL;
        ask->after = e->txn_count;
        return;
    }
    zm_touch(e, session);
    if (ask->ends_session) {
        zm_session_end(e, session, CHK_LEFT);
    } else if (ask->request.kind != DS_ZK_SYNC) {
        ask->code = change(e, &ask->request, session->id, session->client, &ask->failed_at, &ask->path);
        const char *path = ask->request.kind == DS_ZK_CREATE ? ask->path : ask->request.path;
        const zm_node *node = ask->code == DS_ZK_OK && path != NULL ? zm_find(&e->now, path) : NULL;
        ask->stat = node != NULL ? node->stat : (ds_zk_stat){0};
    }
    ask->after = e->txn_count;
}

void zm_forget_txns(zm *e, size_t kept) {
    while (e->txn_count > kept) {
        zm_txn *txn = &e->txns[--e->txn_count];
        for (size_t i = 0; i < txn->count; i++) {
            zm_change_free(&txn->changes[i]);
        }
        (void)sim_alloc(txn->changes, 0);
    }
}

void zm_start_nodes(zm *e) {
    zm_change root = {.kind = DS_ZK_CREATE, .path = (char[]){"/"}, .data = (char[]){""}, .client = ZM_NOBODY};
    zm_apply(&e->now, &root, e->zxid);
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        zm_tree_copy(&e->now, &e->members[i].tree);
    }
}
