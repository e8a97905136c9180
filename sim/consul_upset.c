/* consul_upset.c: what goes wrong in the model cluster by itself: members cut off, leaders changing, sessions destroyed
 * and keys deleted by an operator, native clients, an older state restored.
 */
#include <stdio.h>
#include <string.h>

#include "consul_model.h"

typedef struct cut {
    cm *e;
    size_t member;
} cut;

static void drop(void *argument) {
    (void)sim_alloc(argument, 0);
}

static void end_queries(sim *s, void *argument) {
    cut *c = argument;
    cm_break(c->e, c->member, sim_random(s) % 2);
    drop(c);
}

/* Its queries miss what happens, and end after a while: with what it knows, or with an error. */
static void isolate(cm *e) {
    sim *s = e->s;
    size_t member = (size_t)(sim_random(s) % SIM_MEMBERS);
    if (e->isolated_until_ns[member] > s->now_ns) {
        return;
    }
    int64_t until = s->now_ns + sim_between(s, 200 * DS_MS, 8 * DS_SECOND);
    int64_t ends = s->now_ns + sim_between(s, 0, 5 * DS_SECOND);
    e->isolated_until_ns[member] = until;
    sim_note(s, "server %zu is cut off for %.3f s", member, (double)(until - s->now_ns) / 1e9);
    cut *c = sim_alloc(NULL, sizeof *c);
    *c = (cut){e, member};
    sim_at(s, ends < until ? ends : until, NULL, end_queries, c, drop);
}

/* The new leader gives every session its full time again. */
static void change_leader(cm *e) {
    e->election_until_ns = e->s->now_ns + sim_between(e->s, 0, DS_SECOND);
    for (size_t i = 0; i < e->session_count; i++) {
        if (e->sessions[i].ended_ns == DS_NEVER && e->sessions[i].ttl_ns > 0) {
            cm_session_extend(e, &e->sessions[i]);
        }
    }
    if (sim_random(e->s) % 2) {
        cm_break(e, SIM_MEMBERS, true);
    }
}

static cm_session *any_session(cm *e) {
    size_t alive = 0;
    for (size_t i = 0; i < e->session_count; i++) {
        alive += e->sessions[i].ended_ns == DS_NEVER;
    }
    size_t chosen = alive > 0 ? (size_t)(sim_random(e->s) % alive) : 0;
    for (size_t i = 0; i < e->session_count; i++) {
        if (e->sessions[i].ended_ns == DS_NEVER && chosen-- == 0) {
            return &e->sessions[i];
        }
    }
    return NULL;
}

static void destroy_one(cm *e) {
    cm_session *session = any_session(e);
    if (session != NULL) {
        sim_note(e->s, "operator: destroys session %s", session->id);
        cm_session_end(e, session, CHK_TAKEN, CM_NOBODY);
    }
}

/* Everything of one lock, as `consul kv delete -recurse` does it. */
static void delete_lock(cm *e, unsigned lock) {
    cm_view fresh;
    const char *path = sim_path_of(lock);
    sim_note(e->s, "operator: deletes everything below %s", path);
    cm_view_copy(&e->now, &fresh);
    for (size_t i = 0; i < e->now.count; i++) {
        const cm_row *row = e->now.rows[i];
        if (strncmp(row->key, path, strlen(path)) == 0 && row->key[strlen(path)] == '/') {
            cm_view_set(&fresh, row, NULL);
        }
    }
    cm_commit(e, &fresh, CM_NOBODY, CHK_TAKEN);
}

/* One key, or all of its lock. */
static void delete_one(cm *e) {
    if (e->now.count == 0) {
        return;
    }
    const cm_row *row = e->now.rows[sim_random(e->s) % e->now.count];
    for (unsigned i = 0; i < SIM_LOCKS; i++) {
        if (strstr(row->key, sim_path_of(i)) == row->key && sim_random(e->s) % 3 == 0) {
            delete_lock(e, i);
            return;
        }
    }
    if (strstr(row->key, "/data/") == NULL) {
        sim_note(e->s, "operator: deletes %s", row->key);
        cm_change_one(e, row, NULL, CM_NOBODY, CHK_TAKEN);
    }
}

/* ---- another program --------------------------------------------------------------------------------------------- */

typedef struct native {
    cm *e;
    char session[CM_ID_SIZE], key[64];
} native;

static void end_native(sim *s, void *argument) {
    native *n = argument;
    cm *e = n->e;
    const cm_row *row = cm_find(&e->now, n->key);
    cm_session *session = cm_session_find(e, n->session);
    if (row != NULL && strcmp(row->session, n->session) == 0 && sim_random(s) % 2) {
        cm_row *left = cm_make(e, n->key, row);
        left->session[0] = '\0';
        left->modify = cm_next_index(e);
        sim_note(s, "native: unlocks %s", n->key);
        cm_change_one(e, row, left, CM_NOBODY, CHK_LEFT);
    }
    if (session != NULL) {
        cm_session_end(e, session, CHK_EXPIRED, CM_NOBODY);
    }
    drop(n);
}

/* As `consul lock` does it: with a session that it renews, until it gives the lock back or is killed. */
static void go_native(cm *e) {
    sim *s = e->s;
    native *n = sim_alloc(NULL, sizeof *n);
    *n = (native){.e = e};
    (void)snprintf(n->key, sizeof n->key, "%s/.lock", sim_path_of((unsigned)(sim_random(s) % SIM_LOCKS)));
    const cm_row *row = cm_find(&e->now, n->key);
    if ((row != NULL && row->session[0] != '\0') || cm_delayed(e, n->key)) {
        drop(n);
        return;
    }
    cm_session *session = cm_session_make(e, NULL, CM_NOBODY);
    session->lock_delay_ns = sim_between(s, 0, 4) * DS_SECOND;
    session->ttl_ns = 5 * DS_SECOND;
    cm_session_extend(e, session);
    (void)snprintf(n->session, sizeof n->session, "%s", session->id);
    cm_row *taken = cm_make(e, n->key, row);
    taken->modify = cm_next_index(e);
    taken->create = row != NULL ? row->create : taken->modify;
    taken->lock_index++;
    taken->flags = UINT64_C(3304740253564472344);
    (void)snprintf(taken->session, sizeof taken->session, "%s", n->session);
    sim_note(s, "native: locks %s", n->key);
    cm_change_one(e, row, taken, CM_NOBODY, CHK_LEFT);
    sim_at(s, s->now_ns + sim_between(s, 0, 4 * DS_SECOND), NULL, end_native, n, drop);
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

/* Restoring takes a while, in which nobody answers. */
static void restore(cm *e) {
    sim *s = e->s;
    cm_break(e, SIM_MEMBERS, true);
    cm_restore(e, s->now_ns - sim_between(s, 0, 8 * DS_SECOND), sim_random(s) % 2);
    int64_t until = s->now_ns + sim_between(s, 100 * DS_MS, 3 * DS_SECOND);
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        e->isolated_until_ns[i] = until;
    }
    sim_note(s, "server: back at index %lld", (long long)e->now.index);
}

void cm_upset(void *servers, sim_fault fault) {
    cm *e = servers;
    switch (fault) {
    case SIM_ISOLATED:
        isolate(e);
        break;
    case SIM_LEADER_CHANGE:
        change_leader(e);
        break;
    case SIM_EARLY_LOSS:
        destroy_one(e);
        break;
    case SIM_DELETED:
        delete_one(e);
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

void cm_heal(void *servers) {
    cm *e = servers;
    memset(e->isolated_until_ns, 0, sizeof e->isolated_until_ns);
    e->election_until_ns = 0;
}
