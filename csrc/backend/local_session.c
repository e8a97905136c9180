/* local_session.c: sessions in the database and their ends: closed, out of time, or with their process. Inside a
 * writing transaction. */
#include "local.h"

#include <string.h>

bool loc_session_find(loc_store *store, int64_t id, loc_session *out) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_SESSION);
    (void)sqlite3_bind_int64(sql, 1, id);
    bool found = loc_sql_row(store, sql);
    if (found) {
        *out = (loc_session){id, sqlite3_column_int64(sql, 0), sqlite3_column_int64(sql, 1),
                             sqlite3_column_int64(sql, 2), sqlite3_column_int64(sql, 3)};
        loc_sql_over(sql);
    }
    return found;
}

static int64_t deadline_of(const loc_store *store, int64_t ttl_ms) {
    return ttl_ms > (DS_NEVER - store->now_ns) / DS_MS ? DS_NEVER : store->now_ns + ttl_ms * DS_MS;
}

static void expire_by(loc_store *store, int64_t deadline_ns) {
    if (deadline_ns < store->meta.next_expiry_ns) {
        store->meta.next_expiry_ns = deadline_ns;
        loc_touch(store);
    }
}

static void session_add(loc_store *store, const ds_lease *lease, const loc_session *session) {
    ds_buf_clear(&store->scratch);
    loc_key_session(&store->scratch, lease->prefix, session->id);
    if (store->scratch.failed) {
        loc_fail(store, SQLITE_NOMEM);
        return;
    }
    sqlite3_stmt *sql = loc_sql_use(store, LOC_SESSION_ADD);
    (void)sqlite3_bind_int64(sql, 1, session->id);
    (void)sqlite3_bind_int64(sql, 2, session->client);
    (void)sqlite3_bind_int64(sql, 3, session->ttl_ms);
    (void)sqlite3_bind_int64(sql, 4, deadline_of(store, session->ttl_ms));
    (void)sqlite3_bind_int64(sql, 5, session->epoch);
    (void)sqlite3_bind_int64(sql, 6, session->created);
    (void)sqlite3_bind_text(sql, 7, store->scratch.data, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(sql, 8, lease->info, -1, SQLITE_STATIC);
    (void)loc_sql_run(store, sql);
    expire_by(store, deadline_of(store, session->ttl_ms));
}

void loc_session_open(loc_store *store, const ds_lease *lease, loc_session *out) {
    if (loc_session_find(store, (int64_t)lease->nonce, out)) {
        loc_session_renew(store, out);
        return;
    }
    *out = (loc_session){(int64_t)lease->nonce, store->client, lease->ttl_ms, (int64_t)lease->epoch, loc_touch(store)};
    session_add(store, lease, out);
}

void loc_session_renew(loc_store *store, const loc_session *session) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_SESSION_RENEW);
    (void)sqlite3_bind_int64(sql, 1, session->id);
    (void)sqlite3_bind_int64(sql, 2, deadline_of(store, session->ttl_ms));
    (void)loc_sql_run(store, sql);
}

/* A late copy of an earlier withdrawal must not bring an old epoch back. */
void loc_session_advance(loc_store *store, loc_session *session, uint64_t next_epoch) {
    if (next_epoch <= (uint64_t)session->epoch) {
        return;
    }
    session->epoch = (int64_t)next_epoch;
    sqlite3_stmt *sql = loc_sql_use(store, LOC_SESSION_EPOCH);
    (void)sqlite3_bind_int64(sql, 1, session->id);
    (void)sqlite3_bind_int64(sql, 2, session->epoch);
    (void)loc_sql_run(store, sql);
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

/* An entry on its way out; rows cannot be removed while they are being listed. */
typedef struct leaver {
    ds_list node;
    loc_entry entry;
    char path[];
} leaver;

static bool add_leaver(ds_list *out, sqlite3_stmt *sql) {
    size_t size = (size_t)sqlite3_column_bytes(sql, 0);
    leaver *l = ds_malloc(sizeof(*l) + size + 1);
    if (l == NULL) {
        return false;
    }
    memcpy(l->path, sqlite3_column_text(sql, 0), size + 1);
    l->entry = (loc_entry){sqlite3_column_int64(sql, 1), sqlite3_column_int64(sql, 2), sqlite3_column_int64(sql, 3),
                           sqlite3_column_int64(sql, 4), 0};
    ds_list_append(out, &l->node);
    return true;
}

static void drop_entries(loc_store *store, int64_t session) {
    ds_list leavers, *node;
    ds_list_init(&leavers);
    sqlite3_stmt *sql = loc_sql_use(store, LOC_ENTRY_OF);
    (void)sqlite3_bind_int64(sql, 1, session);
    while (loc_sql_row(store, sql)) {
        if (!add_leaver(&leavers, sql)) {
            loc_fail(store, SQLITE_NOMEM);
        }
    }
    while ((node = ds_list_pop(&leavers)) != NULL) {
        leaver *l = DS_LIST_ENTRY(node, leaver, node);
        loc_entry_drop(store, l->path, &l->entry);
        ds_free(l);
    }
}

void loc_session_end(loc_store *store, int64_t id) {
    loc_session session;
    if (!loc_session_find(store, id, &session)) {
        return;
    }
    (void)loc_touch(store);
    drop_entries(store, id);
    sqlite3_stmt *sql = loc_sql_use(store, LOC_SESSION_DROP);
    (void)sqlite3_bind_int64(sql, 1, id);
    (void)loc_sql_run(store, sql);
    loc_wake_later(store, session.client, loc_mark(id));
    loc_wake_observers(store);
}

/* The first id that a statement finds, 0: none. */
static int64_t first_id(loc_store *store, loc_sql which, int64_t key) {
    sqlite3_stmt *sql = loc_sql_use(store, which);
    (void)sqlite3_bind_int64(sql, 1, key);
    int64_t id = 0;
    if (loc_sql_row(store, sql)) {
        id = sqlite3_column_int64(sql, 0);
        loc_sql_over(sql);
    }
    return id;
}

void loc_client_end(loc_store *store, int64_t client) {
    int64_t id;
    (void)loc_touch(store);
    while ((id = first_id(store, LOC_SESSION_OF, client)) != 0) {
        loc_session_end(store, id);
    }
    static const loc_sql rows[] = {LOC_CLIENT_DROP, LOC_OBSERVER_DROP_OF};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        sqlite3_stmt *sql = loc_sql_use(store, rows[i]);
        (void)sqlite3_bind_int64(sql, 1, client);
        (void)loc_sql_run(store, sql);
    }
    if (store->meta.observers > 0) {
        loc_count_observers(store);
    }
    /* A row without a file would say nothing of whether its process lives. More than that keep their files for a
     * while. */
    if (store->ended_count < LOC_DEAD_MAX) {
        store->ended[store->ended_count++] = client;
    }
}

void loc_expire(loc_store *store) {
    int64_t id;
    while ((id = first_id(store, LOC_SESSION_EXPIRED, store->now_ns)) != 0) {
        loc_session_end(store, id);
    }
    sqlite3_stmt *sql = loc_sql_use(store, LOC_SESSION_NEXT);
    int64_t next = DS_NEVER;
    if (loc_sql_row(store, sql)) {
        next = sqlite3_column_type(sql, 0) == SQLITE_NULL ? DS_NEVER : sqlite3_column_int64(sql, 0);
        loc_sql_over(sql);
    }
    store->meta.next_expiry_ns = next;
    (void)loc_touch(store);
}
