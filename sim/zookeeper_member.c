/* zookeeper_member.c: one server: it applies the changes some time after they were made, passes writes on to the
 * leader, answers the requests of a connection in their order, and tells of watched nodes.
 */
#include <string.h>

#include "zookeeper_model.h"

static int64_t latency(sim *s) {
    return sim_between(s, 100000, 3 * DS_MS);
}

static bool cut_off(const zm *e, size_t member) {
    return e->members[member].isolated_until_ns > e->s->now_ns;
}

/* One that is cut off goes on for a while, with what it knows. */
bool zm_serves(const zm *e, size_t member) {
    if (cut_off(e, member)) {
        return e->members[member].serves_until_ns > e->s->now_ns;
    }
    return e->election_until_ns <= e->s->now_ns;
}

static int64_t zxid_of(const zm *e, size_t member) {
    size_t applied = e->members[member].applied;
    return applied > 0 ? e->txns[applied - 1].zxid : 0;
}

/* ---- watches ----------------------------------------------------------------------------------------------------- */

static void mark(zm_conn *conn, const char *path, bool children) {
    for (size_t i = 0; i < conn->mark_count; i++) {
        if (conn->marks[i].children == children && strcmp(conn->marks[i].path, path) == 0) {
            return;
        }
    }
    if (conn->mark_count == conn->mark_capacity) {
        conn->mark_capacity = conn->mark_capacity == 0 ? 8 : conn->mark_capacity * 2;
        conn->marks = sim_alloc(conn->marks, conn->mark_capacity * sizeof *conn->marks);
    }
    conn->marks[conn->mark_count++] = (zm_mark){zm_copy(path, strlen(path)), children};
}

static bool unmark(zm_conn *conn, const char *path, bool children) {
    for (size_t i = 0; i < conn->mark_count; i++) {
        if (conn->marks[i].children == children && strcmp(conn->marks[i].path, path) == 0) {
            (void)sim_alloc(conn->marks[i].path, 0);
            conn->marks[i] = conn->marks[--conn->mark_count];
            return true;
        }
    }
    return false;
}

static void tell(zm_conn *conn, ds_zk_change change, const char *path) {
    zm_packet *packet = zm_packet_new(conn, ZM_EVENT);
    packet->change = change;
    packet->path = zm_copy(path, strlen(path));
    sim_note(conn->e->s, "server %zu: tells client %u of a change (%d) of %s", conn->member, conn->host->number,
             (int)change, path);
    zm_to_client(packet, 0);
}

static void tell_watchers(zm_conn *conn, const zm_change *change, const char *parent) {
    static const ds_zk_change words[] = {
        [DS_ZK_CREATE] = DS_ZK_CREATED, [DS_ZK_DELETE] = DS_ZK_DELETED, [DS_ZK_SET] = DS_ZK_CHANGED};
    bool told = unmark(conn, change->path, false);
    if (change->kind == DS_ZK_DELETE) {
        told = unmark(conn, change->path, true) || told;
    }
    if (told) {
        tell(conn, words[change->kind], change->path);
    }
    if (change->kind != DS_ZK_SET && unmark(conn, parent, true)) {
        tell(conn, DS_ZK_CHILDREN_CHANGED, parent);
    }
}

/* ---- applying ---------------------------------------------------------------------------------------------------- */

static void apply(zm *e, size_t member, const zm_txn *txn) {
    for (size_t i = 0; i < txn->count; i++) {
        zm_change *change = &txn->changes[i];
        char *parent = zm_copy(change->path, strlen(change->path));
        char *slash = strrchr(parent, '/');
        slash[slash == parent ? 1 : 0] = '\0';
        zm_apply(&e->members[member].tree, change, txn->zxid);
        for (ds_list *node = e->conns.next; node != &e->conns; node = node->next) {
            zm_conn *conn = DS_LIST_ENTRY(node, zm_conn, node);
            if (conn->open && conn->member == member) {
                tell_watchers(conn, change, parent);
            }
        }
        (void)sim_alloc(parent, 0);
    }
}

static void advance_all(zm *e, size_t member, int64_t ended) {
    for (ds_list *node = e->conns.next; node != &e->conns; node = node->next) {
        zm_conn *conn = DS_LIST_ENTRY(node, zm_conn, node);
        if (conn->open && conn->member == member) {
            zm_advance(conn);
            if (ended != 0 && conn->session == ended) {
                zm_hang_up(conn);
            }
        }
    }
}

static void apply_to(zm *e, size_t member, size_t end) {
    zm_member *m = &e->members[member];
    while (m->applied < end && m->applied < e->txn_count) {
        const zm_txn *txn = &e->txns[m->applied];
        int64_t ended = txn->ends;
        apply(e, member, txn);
        m->applied++;
        advance_all(e, member, ended);
    }
}

void zm_catch_up(zm *e, size_t member) {
    apply_to(e, member, e->txn_count);
}

typedef struct news {
    zm *e;
    size_t member, end;
} news;

static void drop_news(void *argument) {
    (void)sim_alloc(argument, 0);
}

static void hear(sim *s, void *argument) {
    news *n = argument;
    (void)s;
    if (!cut_off(n->e, n->member)) {
        apply_to(n->e, n->member, n->end);
    }
    drop_news(n);
}

void zm_committed(zm *e) {
    sim *s = e->s;
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        zm_member *m = &e->members[i];
        int64_t at = s->now_ns + (i == e->leader ? 0 : latency(s));
        if (i != e->leader && sim_hit(s, SIM_STALE_READ)) {
            at += sim_between(s, 0, 2 * DS_SECOND);
        }
        m->apply_ns = at > m->apply_ns ? at : m->apply_ns;
        news *n = sim_alloc(NULL, sizeof *n);
        *n = (news){e, i, e->txn_count};
        sim_at(s, m->apply_ns, NULL, hear, n, drop_news);
    }
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void add_children(const zm_tree *tree, const char *path, zm_packet *packet) {
    size_t length = strcmp(path, "/") == 0 ? 0 : strlen(path);
    packet->children = sim_alloc(NULL, (tree->count + 1) * sizeof *packet->children);
    for (size_t i = 0; i < tree->count; i++) {
        const char *other = tree->nodes[i].path;
        if (strncmp(other, path, length) == 0 && other[length] == '/' && other[length + 1] != '\0' &&
            strchr(other + length + 1, '/') == NULL) {
            packet->children[packet->count++] = zm_copy(other + length + 1, strlen(other + length + 1));
        }
    }
}

static void read_node(zm_conn *conn, const ds_zk_request *r, zm_packet *packet) {
    const zm_tree *tree = &conn->e->members[conn->member].tree;
    const zm_node *node = zm_find(tree, r->path);
    if (r->watch && (node != NULL || r->kind == DS_ZK_EXISTS)) {
        mark(conn, r->path, r->kind == DS_ZK_CHILDREN);
    }
    if (node == NULL) {
        packet->code = DS_ZK_NO_NODE;
        return;
    }
    packet->has_stat = true;
    packet->stat = node->stat;
    if (r->kind == DS_ZK_GET) {
        packet->data = zm_copy(node->data, node->size);
        packet->size = node->size;
    } else if (r->kind == DS_ZK_CHILDREN) {
        add_children(tree, r->path, packet);
    }
}

/* What has changed since is told; the rest is watched again. */
static void reset_marks(zm_conn *conn, const zm_ask *ask) {
    const zm_tree *tree = &conn->e->members[conn->member].tree;
    for (size_t i = 0; i < ask->request.count; i++) {
        const ds_zk_request *r = &ask->parts[i];
        const zm_node *node = zm_find(tree, r->path);
        if (r->kind == DS_ZK_EXISTS && node != NULL) {
            tell(conn, DS_ZK_CREATED, r->path);
        } else if (r->kind != DS_ZK_EXISTS && node == NULL) {
            tell(conn, DS_ZK_DELETED, r->path);
        } else if (r->kind == DS_ZK_GET && node->stat.mzxid > ask->seen_zxid) {
            tell(conn, DS_ZK_CHANGED, r->path);
        } else if (r->kind == DS_ZK_CHILDREN && node->stat.pzxid > ask->seen_zxid) {
            tell(conn, DS_ZK_CHILDREN_CHANGED, r->path);
        } else {
            mark(conn, r->path, r->kind == DS_ZK_CHILDREN);
        }
    }
}

static bool needs_leader(const zm_ask *ask) {
    ds_zk_kind kind = ask->request.kind;
    return ask->handshake || ask->ends_session ||
           (!ask->ping && !ask->resets && kind != DS_ZK_GET && kind != DS_ZK_EXISTS && kind != DS_ZK_CHILDREN);
}

static void answer(zm_conn *conn, zm_ask *ask) {
    zm *e = conn->e;
    zm_packet *packet = zm_packet_new(conn, ask->handshake ? ZM_WELCOME : ZM_ANSWER);
    packet->number = ask->number;
    packet->zxid = zxid_of(e, conn->member);
    packet->code = ask->code;
    packet->failed_at = ask->failed_at;
    packet->session = ask->session;
    packet->timeout_ns = ask->timeout_ns;
    packet->path = ask->path;
    ask->path = NULL;
    if (ask->handshake) {
        conn->session = ask->code == DS_ZK_OK ? ask->session : 0;
    } else if (ask->resets) {
        reset_marks(conn, ask);
    } else if (!needs_leader(ask) && !ask->ping) {
        read_node(conn, &ask->request, packet);
    } else {
        packet->has_stat = ask->code == DS_ZK_OK;
        packet->stat = ask->stat;
    }
    bool user = !ask->handshake && !ask->resets && !ask->ping;
    if (ask->fault == SIM_ERROR && user) {
        packet->code = DS_ZK_OTHER;
    } else if (ask->fault == SIM_LOST_REPLY) {
        conn->mute = true;
    } else if (ask->fault == SIM_RESET || ask->fault == SIM_GARBAGE || ask->fault == SIM_TRUNCATED) {
        zm_packet_free(packet);
        zm_hang_up(conn);
        return;
    }
    sim_note(e->s, "server %zu: answers %llu of client %u: %d%s%s", conn->member, (unsigned long long)ask->number,
             conn->host->number, (int)packet->code, packet->path != NULL ? " " : "",
             packet->path != NULL ? packet->path : "");
    zm_to_client(packet, 0);
}

/* In the order of the requests, as far as their answers are known here. */
void zm_advance(zm_conn *conn) {
    const zm_member *m = &conn->e->members[conn->member];
    while (conn->open && !ds_list_empty(&conn->asks)) {
        zm_ask *ask = DS_LIST_ENTRY(conn->asks.next, zm_ask, node);
        if (needs_leader(ask) && (ask->travels || !ask->decided || ask->after > m->applied)) {
            return;
        }
        ds_list_remove(&ask->node);
        if (ask->dead || ask->ends_session) {
            zm_hang_up(conn);
        } else {
            answer(conn, ask);
        }
        zm_ask_free(ask);
    }
}

/* ---- to the leader ----------------------------------------------------------------------------------------------- */

static void drop_travelling(void *argument) {
    zm_ask_free(argument);
}

static void reach_leader(sim *s, void *argument) {
    zm_ask *ask = argument;
    zm *e = ask->e;
    if (!ask->dead && e->stalled_until_ns > s->now_ns) {
        int64_t *last_ns = &e->members[ask->member].to_leader_ns;
        *last_ns = e->stalled_until_ns > *last_ns ? e->stalled_until_ns : *last_ns;
        sim_at(s, e->stalled_until_ns, NULL, reach_leader, ask, drop_travelling);
        return;
    }
    ask->travels = false;
    ds_list_remove(&ask->way);
    if (!ask->dead && !cut_off(e, ask->member) && e->election_until_ns <= s->now_ns) {
        zm_execute(e, ask);
    } else {
        ask->dead = ask->decided = true;
    }
    if (ask->conn->open && !ds_list_empty(&ask->node)) {
        zm_advance(ask->conn);
    } else {
        zm_ask_free(ask);
    }
}

static void pass_on(zm_ask *ask) {
    zm *e = ask->e;
    zm_member *m = &e->members[ask->member];
    if (cut_off(e, ask->member)) {
        bool known = ask->session != 0 && zm_session_of(e, ask->session) != NULL;
        /* A former leader that does not know yet answers these by itself; whatever changes something waits in vain. */
        if (m->was_leader && (ask->handshake ? known : ask->request.kind == DS_ZK_SYNC && !ask->ends_session)) {
            ask->decided = true;
            ask->after = 0;
            if (ask->handshake) {
                ask->timeout_ns = zm_session_of(e, ask->session)->timeout_ns;
            }
        }
        return;
    }
    int64_t at = e->s->now_ns + (ask->member == e->leader ? 0 : latency(e->s));
    m->to_leader_ns = at > m->to_leader_ns ? at : m->to_leader_ns;
    ask->travels = true;
    ds_list_append(&e->ways, &ask->way);
    sim_at(e->s, m->to_leader_ns, NULL, reach_leader, ask, drop_travelling);
}

typedef struct sign {
    zm *e;
    int64_t session;
    size_t member;
} sign;

static void report(sim *s, void *argument) {
    sign *g = argument;
    (void)s;
    zm_session *session = zm_session_of(g->e, g->session);
    if (session != NULL && !cut_off(g->e, g->member) && g->e->election_until_ns <= s->now_ns) {
        zm_touch(g->e, session);
    }
    drop_news(g);
}

/* A sign of life: the leader hears of it with the server's own next one. */
static void alive(zm *e, size_t member, int64_t session) {
    int64_t half = ZM_TICK_NS / 2, now = e->s->now_ns;
    sign *g = sim_alloc(NULL, sizeof *g);
    *g = (sign){e, session, member};
    sim_at(e->s, member == e->leader ? now : now + half - now % half, NULL, report, g, drop_news);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void note_ask(const zm_ask *ask) {
    static const char *const kinds[] = {"create",   "delete", "set",   "get",  "exists",
                                        "children", "sync",   "check", "multi"};
    const ds_zk_request *r = ask->request.count > 0 ? &ask->parts[0] : &ask->request;
    sim_note(ask->e->s, "server %zu: %llu of client %u (session %llx): %s %s %.*s", ask->member,
             (unsigned long long)ask->number, ask->conn->host->number, (unsigned long long)ask->session,
             ask->handshake      ? "connect"
             : ask->ping         ? "ping"
             : ask->resets       ? "set watches"
             : ask->ends_session ? "close"
                                 : kinds[ask->request.kind],
             r->path != NULL ? r->path : "", (int)r->size, r->data != NULL ? r->data : "");
}

/* A session has one connection at most to one server: what is left on a former one is never read. */
static void end_former(zm_conn *conn, int64_t session) {
    for (ds_list *node = conn->e->conns.next; node != &conn->e->conns; node = node->next) {
        zm_conn *other = DS_LIST_ENTRY(node, zm_conn, node);
        if (other != conn && other->member == conn->member && other->session == session) {
            zm_hang_up(other);
        }
    }
}

void zm_arrive(sim *s, void *argument) {
    zm_ask *ask = argument;
    zm_conn *conn = ask->conn;
    zm *e = conn->e;
    if (!conn->open || conn->deaf || !zm_serves(e, conn->member)) {
        zm_ask_free(ask);
        return;
    }
    note_ask(ask);
    ask->session = ask->handshake ? ask->session : conn->session;
    if (ask->handshake && ask->seen_zxid > zxid_of(e, conn->member)) {
        sim_note(s, "server %zu: lags behind client %u", conn->member, conn->host->number);
        zm_ask_free(ask);
        zm_hang_up(conn);
        return;
    }
    if (ask->handshake && ask->session != 0) {
        end_former(conn, ask->session);
        conn->session = ask->session;
    }
    ds_list_append(&conn->asks, &ask->node);
    if (conn->session != 0 && !ask->handshake) {
        alive(e, conn->member, conn->session);
    }
    bool user = !ask->handshake && !ask->resets && !ask->ping && !ask->ends_session;
    bool refused = user && (ask->fault == SIM_TOO_MANY || (ask->fault == SIM_ERROR && sim_random(s) % 2));
    if (refused) {
        ask->decided = true;
        ask->code = DS_ZK_NOT_TAKEN;
        ask->request.kind = DS_ZK_CREATE; /* whatever it was, it is answered like a write that failed */
    } else if (needs_leader(ask)) {
        pass_on(ask);
    }
    zm_advance(conn);
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

void zm_hang_up(zm_conn *conn) {
    if (!conn->open) {
        return;
    }
    conn->open = false;
    ds_list *node;
    while ((node = ds_list_pop(&conn->asks)) != NULL) {
        zm_ask *ask = DS_LIST_ENTRY(node, zm_ask, node);
        if (!ask->travels) {
            zm_ask_free(ask);
        }
    }
    if (conn->zk != NULL) {
        zm_to_client(zm_packet_new(conn, ZM_END), 0);
    }
}

void zm_hang_up_all(zm *e, size_t member) {
    for (ds_list *node = e->conns.next; node != &e->conns; node = node->next) {
        zm_conn *conn = DS_LIST_ENTRY(node, zm_conn, node);
        if (conn->member == member) {
            zm_hang_up(conn);
        }
    }
}
