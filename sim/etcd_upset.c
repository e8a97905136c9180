/* etcd_upset.c: what goes wrong in the model cluster by itself: members cut off, leaders changing, leases revoked
 * early, entries deleted by an operator, compaction, tokens expiring, an older state restored.
 */
#include <string.h>

#include "client.h"
#include "etcd_model.h"

#define NO_LEADER "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}\n"

typedef struct cut {
    em *e;
    size_t member;
} cut;

static void drop_cut(void *argument) {
    (void)sim_alloc(argument, 0);
}

static void end_cut_streams(sim *s, void *argument) {
    cut *c = argument;
    (void)s;
    em_end_streams(c->e, c->member, NO_LEADER);
    drop_cut(c);
}

/* Its watches miss what happens and end after a while. */
static void isolate(em *e) {
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
    sim_at(s, ends < until ? ends : until, NULL, end_cut_streams, c, drop_cut);
}

/* The new leader gives every lease its full time again. */
static void change_leader(em *e) {
    e->term++;
    e->election_until_ns = e->s->now_ns + sim_between(e->s, 0, DS_SECOND);
    for (size_t i = 0; i < e->lease_count; i++) {
        if (e->leases[i].ended_ns == DS_NEVER) {
            em_extend(e, &e->leases[i]);
        }
    }
}

static em_lease *any_lease(em *e) {
    size_t alive = 0;
    for (size_t i = 0; i < e->lease_count; i++) {
        alive += e->leases[i].ended_ns == DS_NEVER;
    }
    size_t chosen = alive > 0 ? (size_t)(sim_random(e->s) % alive) : 0;
    for (size_t i = 0; i < e->lease_count; i++) {
        if (e->leases[i].ended_ns == DS_NEVER && chosen-- == 0) {
            return &e->leases[i];
        }
    }
    return NULL;
}

static void lose_early(em *e) {
    em_lease *lease = any_lease(e);
    if (lease == NULL) {
        return;
    }
    sim_note(e->s, "server: lease %llx revoked before its time", (unsigned long long)lease->id);
    lease->phantom_until_ns = e->s->now_ns + sim_between(e->s, 0, 6 * DS_SECOND);
    em_revoke(e, lease->id, CHK_TAKEN, sim_random(e->s) % 2 == 0);
}

static void delete_one(em *e) {
    if (e->now.count == 0) {
        return;
    }
    const em_kv *kv = &e->now.kvs[sim_random(e->s) % e->now.count];
    if (memmem(kv->key.data, kv->key.size, "/data/", 6) != NULL) {
        return;
    }
    size_t first = e->change_count;
    em_bytes key = em_copy(kv->key.data, kv->key.size);
    sim_note(e->s, "operator: deletes %s", key.data);
    (void)em_delete(e, key, e->now.revision + 1, CHK_TAKEN);
    (void)sim_alloc(key.data, 0);
    em_tell_watchers(e, first);
}

/* Restoring takes a while, in which nobody answers. */
static void restore(em *e) {
    sim *s = e->s;
    em_end_streams(e, SIM_MEMBERS, NULL);
    em_restore(e, s->now_ns - sim_between(s, 0, 8 * DS_SECOND));
    if (sim_random(s) % 2) {
        e->cluster_id = sim_random(s) | 1;
    }
    int64_t until = s->now_ns + sim_between(s, 100 * DS_MS, 3 * DS_SECOND);
    for (size_t i = 0; i < SIM_MEMBERS; i++) {
        e->isolated_until_ns[i] = until;
    }
    sim_note(s, "server: back at revision %lld of cluster %llx", (long long)e->now.revision,
             (unsigned long long)e->cluster_id);
}

void em_upset(void *servers, sim_fault fault) {
    em *e = servers;
    switch (fault) {
    case SIM_ISOLATED:
        isolate(e);
        break;
    case SIM_LEADER_CHANGE:
        change_leader(e);
        break;
    case SIM_EARLY_LOSS:
        lose_early(e);
        break;
    case SIM_DELETED:
        delete_one(e);
        break;
    case SIM_COMPACTION: {
        int64_t back = sim_between(e->s, 0, 5);
        e->compacted = e->now.revision - back > e->compacted ? e->now.revision - back : e->compacted;
        break;
    }
    case SIM_TOKEN_EXPIRY:
        e->auth_generation++;
        break;
    case SIM_RESTORE:
        restore(e);
        break;
    default:
        break;
    }
}

void em_heal(void *servers) {
    em *e = servers;
    memset(e->isolated_until_ns, 0, sizeof e->isolated_until_ns);
    e->election_until_ns = 0;
    for (size_t i = 0; i < e->lease_count; i++) {
        e->leases[i].phantom_until_ns = 0;
    }
}
