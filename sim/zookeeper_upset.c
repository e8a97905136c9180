/* zookeeper_upset.c: what goes wrong in the model ensemble by itself: servers cut off, leaders changing, sessions ended
 * and nodes deleted by an operator, native clients, an older state restored; and what an ensemble does by itself.
 */
#include <stdio.h>
#include <string.h>

#include "../csrc/backend/zookeeper_over.h"
#include "zookeeper_model.h"

#define HOUSE_NS (100 * DS_MS)

static void drop(void *argument) {
    (void)sim_alloc(argument, 0);
}

/* ---- what it does by itself -------------------------------------------------------------------------------------- */

/* Faster than a real one, which looks once a minute: so that it happens in the midst of things. */
static void remove_containers(zm *e) {
    char path[512] = "";
    for (size_t i = 0; i < e->now.count; i++) {
        const zm_node *node = &e->now.nodes[i];
        if (node->container && node->made > 0 && node->stat.children == 0) {
            (void)snprintf(path, sizeof path, "%s", node->path);
        }
    }
    if (path[0] != '\0') {
        sim_note(e->s, "servers: remove the empty container %s", path);
        ds_zk_request gone = {.kind = DS_ZK_DELETE, .path = path, .version = DS_ZK_ANY_VERSION};
        (void)zm_do(e, &gone, 0, ZM_NOBODY);
    }
}

static void keep_house(sim *s, void *argument) {
    zm *e = argument;
    for (size_t i = 0; i < e->session_count && e->election_until_ns <= s->now_ns; i++) {
        zm_session *session = &e->sessions[i];
        if (session->ended_ns == DS_NEVER && session->expires_ns <= s->now_ns) {
            zm_session_end(e, session, CHK_EXPIRED);
        }
    }
    if (sim_random(s) % 50 == 0) {
        remove_containers(e);
    }
    sim_at(s, s->now_ns + HOUSE_NS, NULL, keep_house, e, NULL);
}

/* ---- servers ----------------------------------------------------------------------------------------------------- */

static void elect(zm *e, size_t leader) {
    sim *s = e->s;
    sim_note(s, "servers: %zu leads now", leader);
    /* Of what was on its way to the former leader, so much was agreed upon. */
    for (ds_list *node = e->ways.next; node != &e->ways; node = node->next) {
        zm_ask *ask = DS_LIST_ENTRY(node, zm_ask, way);
        if (!ask->dead && !ask->decided && sim_random(s) % 2) {
            zm_execute(e, ask);
        } else {
            break;
        }
    }
    for (ds_list *node = e->ways.next; node != &e->ways; node = node->next) {
        DS_LIST_ENTRY(node, zm_ask, way)->dead = true;
    }
    e->leader = leader;
    e->zxid = ((e->zxid >> 32) + 1) << 32;
    e->election_until_ns = s->now_ns + sim_between(s, 0, 2 * DS_SECOND);
    for (size_t i = 0; i < e->session_count; i++) {
        if (e->sessions[i].ended_ns == DS_NEVER) {
            zm_touch(e, &e->sessions[i]);
        }
    }
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        if (e->members[i].isolated_until_ns <= s->now_ns) {
            zm_hang_up_all(e, i);
            zm_catch_up(e, i);
        }
    }
}

typedef struct cut {
    zm *e;
    size_t member;
} cut;

static void notice(sim *s, void *argument) {
    cut *c = argument;
    if (c->e->members[c->member].isolated_until_ns > s->now_ns) {
        zm_hang_up_all(c->e, c->member);
    }
    drop(c);
}

static void rejoin(sim *s, void *argument) {
    cut *c = argument;
    if (c->e->members[c->member].isolated_until_ns <= s->now_ns) {
        c->e->members[c->member].was_leader = false;
        zm_hang_up_all(c->e, c->member);
        zm_catch_up(c->e, c->member);
    }
    drop(c);
}

static void appoint(zm *e, size_t member, int64_t at_ns, void (*run)(sim *s, void *argument)) {
    cut *c = sim_alloc(NULL, sizeof *c);
    *c = (cut){e, member};
    sim_at(e->s, at_ns, NULL, run, c, drop);
}

/* One at a time, so that the others agree. */
static void isolate(zm *e) {
    sim *s = e->s;
    size_t member = (size_t)(sim_random(s) % SIM_MEMBERS);
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        if (e->members[i].isolated_until_ns > s->now_ns) {
            return;
        }
    }
    zm_member *m = &e->members[member];
    m->isolated_until_ns = s->now_ns + sim_between(s, 200 * DS_MS, 8 * DS_SECOND);
    m->serves_until_ns = s->now_ns + sim_between(s, 0, 5 * DS_SECOND);
    m->was_leader = e->leader == member;
    sim_note(s, "server %zu is cut off for %.3f s, and serves for %.3f s", member,
             (double)(m->isolated_until_ns - s->now_ns) / 1e9, (double)(m->serves_until_ns - s->now_ns) / 1e9);
    appoint(e, member, m->serves_until_ns, notice);
    appoint(e, member, m->isolated_until_ns, rejoin);
    if (m->was_leader) {
        elect(e, (member + 1) % SIM_MEMBERS);
    }
}

static void change_leader(zm *e) {
    size_t next = (e->leader + 1 + (size_t)(sim_random(e->s) % 2)) % SIM_MEMBERS;
    if (e->members[next].isolated_until_ns <= e->s->now_ns) {
        elect(e, next);
    }
}

/* ---- an operator ------------------------------------------------------------------------------------------------- */

static void end_one(zm *e) {
    size_t at = e->session_count > 0 ? (size_t)(sim_random(e->s) % e->session_count) : 0;
    if (e->session_count > 0 && e->sessions[at].ended_ns == DS_NEVER && e->sessions[at].client != ZM_NOBODY) {
        sim_note(e->s, "operator: ends session %llx", (unsigned long long)e->sessions[at].id);
        zm_session_end(e, &e->sessions[at], CHK_TAKEN);
    }
}

static void delete_one(zm *e) {
    const zm_node *node = &e->now.nodes[sim_random(e->s) % e->now.count];
    if (node->stat.children == 0 && strstr(node->path, "/data/") == NULL && strcmp(node->path, "/") != 0) {
        char *path = zm_copy(node->path, strlen(node->path));
        sim_note(e->s, "operator: deletes %s", path);
        ds_zk_request gone = {.kind = DS_ZK_DELETE, .path = path, .version = DS_ZK_ANY_VERSION};
        (void)zm_do(e, &gone, 0, ZM_NOBODY);
        (void)sim_alloc(path, 0);
    }
}

/* ---- another program --------------------------------------------------------------------------------------------- */

typedef struct native {
    zm *e;
    int64_t session;
} native;

static void end_native(sim *s, void *argument) {
    native *n = argument;
    zm_session *session = zm_session_of(n->e, n->session);
    if (session != NULL) {
        zm_session_end(n->e, session, sim_random(s) % 2 ? CHK_EXPIRED : CHK_LEFT);
    }
    drop(n);
}

/* All programs of a run speak one dialect. */
static bool speaks_kazoo(const sim *s) {
    return s->seed % 4 == 0;
}

static const dsync_setting *settings(sim *s, size_t *count) {
    static const dsync_setting kazoo[] = {{"zookeeper.dialect", "kazoo"}, {"zookeeper.digest", "user:secret"}};
    *count = speaks_kazoo(s) ? DS_COUNT(kazoo) : 0;
    return kazoo;
}

/* As Curator's mutex and latch, or kazoo's lock, do it, until it gives the lock back or its session ends. */
static void go_native(zm *e) {
    sim *s = e->s;
    char path[256];
    unsigned lock = (unsigned)(sim_random(s) % SIM_LOCKS);
    zm_session *session = zm_session_make(e, 4 * ZM_TICK_NS, ZM_NOBODY, e->leader);
    session->expires_ns = DS_NEVER;
    unsigned long long name = sim_random(s) >> 16;
    const char *recipe = lock == SIM_ELECTION ? "latch" : "lock";
    if (speaks_kazoo(s)) {
        (void)snprintf(path, sizeof path, "/%s/11114222%012llx__lock__", sim_path_of(lock), name);
    } else {
        (void)snprintf(path, sizeof path, "/%s/_c_11112222-3333-4222-8333-%012llx-%s-", sim_path_of(lock), name,
                       recipe);
    }
    ds_zk_request make = {.kind = DS_ZK_CREATE, .path = path, .data = "10.0.0.9", .size = 8};
    make.flags = DS_ZK_EPHEMERAL | DS_ZK_SEQUENTIAL;
    (void)zm_do(e, &make, session->id, ZM_NOBODY);
    native *n = sim_alloc(NULL, sizeof *n);
    *n = (native){e, session->id};
    sim_at(s, s->now_ns + sim_between(s, 0, 4 * DS_SECOND), NULL, end_native, n, drop);
}

/* ---- an older state ---------------------------------------------------------------------------------------------- */

static void tell_all(zm *e, chk_kind kind, const zm_tree *tree, const zm_tree *other) {
    for (size_t i = 0; i < tree->count; i++) {
        const zm_node *node = &tree->nodes[i], *same = zm_find(other, node->path);
        if (same == NULL || same->stat.czxid != node->stat.czxid) {
            zm_tell_entry(e, kind, node, kind == CHK_GONE ? CHK_TAKEN : CHK_LEFT);
        }
    }
}

static void revive_sessions(zm *e, int64_t then_ns) {
    for (size_t i = 0; i < e->session_count; i++) {
        zm_session *session = &e->sessions[i];
        bool alive = session->made_ns <= then_ns && session->ended_ns > then_ns;
        session->ended_ns = alive ? DS_NEVER : session->ended_ns < e->s->now_ns ? session->ended_ns : e->s->now_ns;
        if (alive) {
            session->expires_ns = 0;
            zm_touch(e, session);
        }
    }
}

/* Every server begins again with what was true then; its numbers go on above all others, or from there. */
static void restore(zm *e) {
    sim *s = e->s;
    int64_t then_ns = s->now_ns - sim_between(s, 0, 8 * DS_SECOND), zxid = e->zxid;
    then_ns = then_ns > e->restored_ns ? then_ns : e->restored_ns;
    e->restored_ns = s->now_ns;
    size_t kept = e->txn_count;
    while (kept > 0 && e->txns[kept - 1].at_ns > then_ns) {
        kept--;
    }
    elect(e, e->leader);
    zm_tree gone = e->now;
    e->now = (zm_tree){0};
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        zm_hang_up_all(e, i);
        zm_tree_free(&e->members[i].tree);
    }
    zm_start_nodes(e);
    for (size_t i = 0; i < kept; i++) {
        for (size_t k = 0; k < e->txns[i].count; k++) {
            zm_apply(&e->now, &e->txns[i].changes[k], e->txns[i].zxid);
        }
    }
    zm_forget_txns(e, kept);
    bool other = sim_random(s) % 2;
    e->zxid = other && kept > 0 ? e->txns[kept - 1].zxid : ((zxid >> 32) + 2) << 32;
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        e->members[i].applied = 0;
        e->members[i].isolated_until_ns = 0;
        zm_catch_up(e, i);
    }
    revive_sessions(e, then_ns);
    tell_all(e, CHK_GONE, &gone, &e->now);
    (void)sim_see(s, &(chk_event){.kind = CHK_RESTORE, .at_ns = s->now_ns});
    tell_all(e, CHK_ENTER, &e->now, &gone);
    zm_tree_free(&gone);
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static void upset(void *servers, sim_fault fault) {
    zm *e = servers;
    switch (fault) {
    case SIM_ISOLATED:
        isolate(e);
        break;
    case SIM_LEADER_CHANGE:
        change_leader(e);
        break;
    case SIM_EARLY_LOSS:
        end_one(e);
        break;
    case SIM_DELETED:
        delete_one(e);
        break;
    case SIM_COMPACTION:
        remove_containers(e);
        break;
    case SIM_NATIVE:
        go_native(e);
        break;
    case SIM_RESTORE:
        restore(e);
        break;
    default:
        break;
    }
}

static void heal(void *servers) {
    zm *e = servers;
    e->election_until_ns = 0;
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        if (e->members[i].isolated_until_ns > e->s->now_ns) {
            e->members[i].isolated_until_ns = 0;
            e->members[i].was_leader = false;
            zm_hang_up_all(e, i);
            zm_catch_up(e, i);
        }
    }
}

static ds_backend *backend(ds_world *world, const ds_backend_config *config, dsync_error *error) {
    return ds_zookeeper_backend_over(world, config, &zm_driver, error);
}

static void *start(sim *s) {
    zm *e = sim_alloc(NULL, sizeof *e);
    memset(e, 0, sizeof *e);
    e->s = s;
    e->zxid = (int64_t)sim_between(s, 1, 5) << 32;
    e->leader = (size_t)(sim_random(s) % SIM_MEMBERS);
    e->ppm = sim_hit(s, SIM_CLOCK_RATE) ? sim_between(s, -50000, 50000) : 0;
    ds_list_init(&e->conns);
    ds_list_init(&e->libraries);
    ds_list_init(&e->ways);
    zm_start_nodes(e);
    sim_at(s, s->now_ns, NULL, keep_house, e, NULL);
    return e;
}

static void stop(void *servers) {
    zm *e = servers;
    zm_libraries_free(e);
    zm_conns_free(e);
    zm_forget_txns(e, 0);
    zm_tree_free(&e->now);
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        zm_tree_free(&e->members[i].tree);
    }
    (void)sim_alloc(e->txns, 0);
    (void)sim_alloc(e->sessions, 0);
    (void)sim_alloc(e, 0);
}

static const char *const origins[SIM_MEMBERS] = {"10.0.0.1:2181", "10.0.0.2:2181", "10.0.0.3:2181"};

const sim_model_ops sim_model_zookeeper = {
    .name = "zookeeper",
    .backend = backend,
    .natives = true,
    .times = {.ttls_ms = {2000, 4000, 6000, 10000}, .orphan_ns = 25 * DS_SECOND, .drill_ns = 20 * DS_SECOND},
    .settings = settings,
    .start = start,
    .stop = stop,
    .upset = upset,
    .heal = heal,
    .origins = origins,
    .watched = zm_watched,
    .died = zm_died,
};
