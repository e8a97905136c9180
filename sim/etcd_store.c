/* etcd_store.c: the model's keys, their history, and leases. Tells the checker what becomes of the entries of locks. */
#include "etcd_model.h"

#include <string.h>

#include "client.h"

em_bytes em_copy(const char *data, size_t size) {
    em_bytes copy = {sim_alloc(NULL, size + 1), size};
    if (size > 0) {
        memcpy(copy.data, data, size);
    }
    copy.data[size] = '\0';
    return copy;
}

int em_compare(em_bytes a, em_bytes b) {
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

bool em_within(em_bytes key, em_bytes begin, em_bytes end) {
    if (end.size == 0) {
        return em_compare(key, begin) == 0;
    }
    return em_compare(key, begin) >= 0 && em_compare(key, end) < 0;
}

static em_kv copy_kv(const em_kv *kv) {
    em_kv copy = *kv;
    copy.key = em_copy(kv->key.data, kv->key.size);
    copy.value = em_copy(kv->value.data, kv->value.size);
    return copy;
}

static void free_kv(em_kv *kv) {
    (void)sim_alloc(kv->key.data, 0);
    (void)sim_alloc(kv->value.data, 0);
}

/* ---- what the checker hears -------------------------------------------------------------------------------------- */

static void tell(em *e, chk_kind kind, const em_kv *kv, chk_cause cause) {
    int lock = sim_lock_of_key(kv->key.data, kv->key.size);
    if (lock < 0) {
        return;
    }
    sim *s = e->s;
    static const char *const causes[] = {"left", "expired", "taken"};
    sim_note(s, "server: entry %lld of lock %d %s%s (client %u)", (long long)kv->create, lock,
             kind == CHK_ENTER ? "made" : "gone: ", kind == CHK_ENTER ? "" : causes[cause], kv->client);
    (void)sim_see(s, &(chk_event){.kind = kind,
                                  .at_ns = s->now_ns,
                                  .client = kv->client,
                                  .lock = (unsigned)lock,
                                  .token = kv->create,
                                  .until_ns = kind == CHK_GONE ? e->limit_ns : 0,
                                  .cause = cause});
}

static void tell_data(em *e, const em_kv *kv) {
    int64_t token = 0;
    int lock = sim_lock_of_data(kv->key.data, kv->key.size, kv->value.data, &token);
    if (lock >= 0) {
        sim *s = e->s;
        s->counts->data_writes++;
        sim_note(s, "server: guarded write of token %lld under lock %d", (long long)token, lock);
        (void)sim_see(s, &(chk_event){.kind = CHK_DATA, .at_ns = s->now_ns, .lock = (unsigned)lock, .token = token});
    }
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

em_kv *em_find(const em_view *view, em_bytes key) {
    for (size_t i = 0; i < view->count; i++) {
        if (em_compare(view->kvs[i].key, key) == 0) {
            return &view->kvs[i];
        }
    }
    return NULL;
}

static em_kv *append(em_view *view, em_kv kv) {
    if (view->count == view->capacity) {
        view->capacity = view->capacity == 0 ? 32 : view->capacity * 2;
        view->kvs = sim_alloc(view->kvs, view->capacity * sizeof *view->kvs);
    }
    view->kvs[view->count] = kv;
    return &view->kvs[view->count++];
}

static void take_out(em_view *view, em_kv *kv) {
    free_kv(kv);
    *kv = view->kvs[--view->count];
}

static em_change *note_change(em *e) {
    if (e->change_count == e->change_capacity) {
        e->change_capacity = e->change_capacity == 0 ? 128 : e->change_capacity * 2;
        e->changes = sim_alloc(e->changes, e->change_capacity * sizeof *e->changes);
    }
    em_change *change = &e->changes[e->change_count++];
    memset(change, 0, sizeof *change);
    change->at_ns = e->s->now_ns;
    return change;
}

void em_put(em *e, em_bytes key, em_bytes value, bool keep_value, int64_t lease, int64_t revision, unsigned client) {
    em_kv *kv = em_find(&e->now, key);
    em_change *change = note_change(e);
    if (kv != NULL) {
        change->had_previous = true;
        change->previous = copy_kv(kv);
        if (!keep_value) {
            (void)sim_alloc(kv->value.data, 0);
            kv->value = em_copy(value.data, value.size);
        }
        kv->mod = revision;
        kv->lease = lease;
    } else {
        em_kv fresh = {em_copy(key.data, key.size), em_copy(value.data, value.size), revision, revision, lease, client};
        kv = append(&e->now, fresh);
        tell(e, CHK_ENTER, kv, CHK_LEFT);
    }
    change->kv = copy_kv(kv);
    e->now.revision = revision;
    tell_data(e, kv);
}

bool em_delete(em *e, em_bytes key, int64_t revision, chk_cause cause) {
    em_kv *kv = em_find(&e->now, key);
    if (kv == NULL) {
        return false;
    }
    em_change *change = note_change(e);
    change->deleted = change->had_previous = true;
    change->previous = copy_kv(kv);
    change->kv.key = em_copy(key.data, key.size);
    change->kv.value = em_copy("", 0);
    change->kv.mod = revision;
    e->now.revision = revision;
    tell(e, CHK_GONE, kv, cause);
    take_out(&e->now, kv);
    return true;
}

/* ---- history ----------------------------------------------------------------------------------------------------- */

void em_view_at(const em *e, int64_t revision, int64_t until_ns, em_view *out) {
    memset(out, 0, sizeof *out);
    out->revision = 1;
    for (size_t i = 0; i < e->change_count; i++) {
        const em_change *change = &e->changes[i];
        if (change->kv.mod > revision || change->at_ns > until_ns) {
            break;
        }
        em_kv *kv = em_find(out, change->kv.key);
        if (kv != NULL) {
            take_out(out, kv);
        }
        if (!change->deleted) {
            (void)append(out, copy_kv(&change->kv));
        }
        out->revision = change->kv.mod;
    }
}

void em_view_free(em_view *view) {
    for (size_t i = 0; i < view->count; i++) {
        free_kv(&view->kvs[i]);
    }
    (void)sim_alloc(view->kvs, 0);
    memset(view, 0, sizeof *view);
}

static void free_changes(em *e, size_t from) {
    for (size_t i = from; i < e->change_count; i++) {
        free_kv(&e->changes[i].kv);
        if (e->changes[i].had_previous) {
            free_kv(&e->changes[i].previous);
        }
    }
    e->change_count = from;
}

static void revive_leases(em *e, int64_t until_ns) {
    for (size_t i = 0; i < e->lease_count; i++) {
        em_lease *lease = &e->leases[i];
        bool alive = lease->granted_ns <= until_ns && lease->ended_ns > until_ns;
        lease->phantom_until_ns = 0;
        lease->ended_ns = alive ? DS_NEVER : lease->ended_ns < e->s->now_ns ? lease->ended_ns : e->s->now_ns;
        if (alive) {
            em_extend(e, lease);
        }
    }
}

/* The state of `until_ns` is the present one again. */
void em_restore(em *e, int64_t until_ns) {
    em_view old, gone = e->now;
    em_view_at(e, INT64_MAX, until_ns, &old);
    e->now = old;
    size_t kept = 0;
    while (kept < e->change_count && e->changes[kept].at_ns <= until_ns) {
        kept++;
    }
    for (size_t i = 0; i < gone.count; i++) {
        const em_kv *kv = em_find(&old, gone.kvs[i].key);
        if (kv == NULL || kv->create != gone.kvs[i].create) {
            tell(e, CHK_GONE, &gone.kvs[i], CHK_TAKEN);
        }
    }
    (void)sim_see(e->s, &(chk_event){.kind = CHK_RESTORE, .at_ns = e->s->now_ns});
    for (size_t i = 0; i < old.count; i++) {
        const em_kv *kv = em_find(&gone, old.kvs[i].key);
        if (kv == NULL || kv->create != old.kvs[i].create) {
            tell(e, CHK_ENTER, &old.kvs[i], CHK_LEFT);
        }
    }
    em_view_free(&gone);
    free_changes(e, kept);
    revive_leases(e, until_ns);
}

/* ---- leases ------------------------------------------------------------------------------------------------------ */

em_lease *em_lease_find(em *e, int64_t id) {
    for (size_t i = 0; i < e->lease_count; i++) {
        if (e->leases[i].id == id && e->leases[i].ended_ns == DS_NEVER) {
            return &e->leases[i];
        }
    }
    return NULL;
}

typedef struct expiry {
    em *e;
    size_t index;
} expiry;

static void drop_expiry(void *argument) {
    (void)sim_alloc(argument, 0);
}

static void schedule(em *e, em_lease *lease);

static void maybe_expire(sim *s, void *argument) {
    expiry *x = argument;
    em *e = x->e;
    em_lease *lease = &e->leases[x->index];
    drop_expiry(x);
    lease->scheduled = false;
    if (lease->ended_ns != DS_NEVER) {
        return;
    }
    if (lease->expires_ns > s->now_ns) {
        schedule(e, lease);
        return;
    }
    sim_note(s, "server: lease %llx expired", (unsigned long long)lease->id);
    em_revoke(e, lease->id, CHK_EXPIRED, false);
}

static void schedule(em *e, em_lease *lease) {
    if (lease->scheduled) {
        return;
    }
    expiry *x = sim_alloc(NULL, sizeof *x);
    *x = (expiry){e, (size_t)(lease - e->leases)};
    lease->scheduled = true;
    /* A server looks every half second, or may happen to look at once. */
    int64_t late = sim_random(e->s) % 2 ? sim_between(e->s, 0, 500 * DS_MS) : 0;
    sim_at(e->s, lease->expires_ns + late, NULL, maybe_expire, x, drop_expiry);
}

void em_extend(em *e, em_lease *lease) {
    double seconds = (double)lease->ttl_s / (1.0 + (double)e->ppm / 1e6);
    lease->expires_ns = e->s->now_ns + (int64_t)(seconds * 1e9);
    schedule(e, lease);
}

bool em_grant(em *e, int64_t id, int64_t ttl_s, unsigned client) {
    if (em_lease_find(e, id) != NULL) {
        return false;
    }
    if (e->lease_count == e->lease_capacity) {
        e->lease_capacity = e->lease_capacity == 0 ? 16 : e->lease_capacity * 2;
        e->leases = sim_alloc(e->leases, e->lease_capacity * sizeof *e->leases);
    }
    em_lease *lease = &e->leases[e->lease_count++];
    *lease = (em_lease){.id = id, .ttl_s = ttl_s, .granted_ns = e->s->now_ns, .ended_ns = DS_NEVER, .client = client};
    em_extend(e, lease);
    return true;
}

/* Its keys go at one revision. `keep_lease`: only they do. */
void em_revoke(em *e, int64_t id, chk_cause cause, bool keep_lease) {
    em_lease *lease = em_lease_find(e, id);
    if (lease == NULL) {
        return;
    }
    size_t first = e->change_count;
    int64_t revision = e->now.revision + 1;
    e->limit_ns = cause == CHK_TAKEN ? e->s->now_ns + lease->ttl_s * DS_SECOND : 0;
    if (!keep_lease) {
        lease->ended_ns = e->s->now_ns;
    }
    for (size_t i = 0; i < e->now.count;) {
        if (e->now.kvs[i].lease == id) {
            em_bytes key = em_copy(e->now.kvs[i].key.data, e->now.kvs[i].key.size);
            (void)em_delete(e, key, revision, cause);
            (void)sim_alloc(key.data, 0);
        } else {
            i++;
        }
    }
    e->limit_ns = 0;
    if (e->change_count > first) {
        em_tell_watchers(e, first);
    }
}

void em_free(em *e) {
    em_view_free(&e->now);
    free_changes(e, 0);
    (void)sim_alloc(e->changes, 0);
    (void)sim_alloc(e->leases, 0);
    (void)sim_alloc(e, 0);
}
