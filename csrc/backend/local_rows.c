/* local_rows.c: what changes inside a writing transaction: entries, data, and who is to be told of it.
 *
 * Whoever stands behind an entry watches it, and whoever it belongs to does: these are told of its end because of their
 * rows. Only those who look at more than that (elections, other people's keys) are rows of `observers`; while there are
 * none, no change is logged.
 */
#include "local.h"

#include <string.h>

#define LOG_KEPT 1024
#define LOG_TRIM 64        /* once in so many changes */
#define LOG_VALUE_MAX 4096 /* of a larger value the log says only that there is one */

/* ---- telling ----------------------------------------------------------------------------------------------------- */

void loc_wake_later(loc_store *store, int64_t client, uint64_t mark) {
    if (client == store->client && store->watch_count == 0) {
        return;
    }
    for (size_t i = 0; i < store->wake_count; i++) {
        if (store->wakes[i].client == client && store->wakes[i].mark == mark) {
            return;
        }
    }
    if (store->wake_count == store->wake_capacity) {
        size_t capacity = store->wake_capacity == 0 ? 16 : store->wake_capacity * 2;
        loc_wake *wakes = ds_realloc(store->wakes, capacity * sizeof(*wakes));
        if (wakes == NULL) {
            loc_fail(store, SQLITE_NOMEM);
            return;
        }
        store->wakes = wakes;
        store->wake_capacity = capacity;
    }
    store->wakes[store->wake_count++] = (loc_wake){client, mark};
}

int64_t loc_touch(loc_store *store) {
    if (!store->changed) {
        store->changed = true;
        store->meta.revision++;
    }
    return store->meta.revision;
}

static bool lies_below(const char *key, const char *path) {
    size_t size = strlen(path);
    return strncmp(key, path, size) == 0 && (key[size] == '/' || key[size] == '\0');
}

/* Wakes those that observe this key. True: there are such. */
static bool wake_observers(loc_store *store, const char *key) {
    bool any = false;
    sqlite3_stmt *sql = loc_sql_use(store, LOC_OBSERVERS);
    while (loc_sql_row(store, sql)) {
        const char *path = (const char *)sqlite3_column_text(sql, 1);
        if (path != NULL && lies_below(key, path)) {
            any = true;
            loc_wake_later(store, sqlite3_column_int64(sql, 0), LOC_MARK_LOG);
        }
    }
    return any;
}

static void add_change(loc_store *store, ds_watch_kind kind, const char *key, int64_t token, const void *value,
                       size_t size) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_CHANGE_ADD);
    (void)sqlite3_bind_int64(sql, 1, ++store->meta.logged);
    (void)sqlite3_bind_int64(sql, 2, store->meta.revision);
    (void)sqlite3_bind_int64(sql, 3, (int64_t)kind);
    (void)sqlite3_bind_int64(sql, 4, token);
    (void)sqlite3_bind_text(sql, 5, key, -1, SQLITE_STATIC);
    if (size <= LOG_VALUE_MAX) {
        (void)sqlite3_bind_blob(sql, 6, size > 0 ? value : "", (int)size, SQLITE_STATIC);
    } else {
        (void)sqlite3_bind_null(sql, 6);
    }
    (void)loc_sql_run(store, sql);
    if (store->meta.logged % LOG_TRIM == 0) {
        sql = loc_sql_use(store, LOC_CHANGE_TRIM);
        (void)sqlite3_bind_int64(sql, 1, store->meta.logged - LOG_KEPT);
        (void)loc_sql_run(store, sql);
    }
}

static void change(loc_store *store, ds_watch_kind kind, const char *key, int64_t token, const void *value,
                   size_t size) {
    if (wake_observers(store, key)) {
        add_change(store, kind, key, token, value, size);
    }
}

/* Of something that only those look at who look by themselves. */
void loc_wake_observers(loc_store *store) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_OBSERVERS);
    while (store->meta.observers > 0 && loc_sql_row(store, sql)) {
        loc_wake_later(store, sqlite3_column_int64(sql, 0), LOC_MARK_LOG);
    }
}

void loc_count_observers(loc_store *store) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_OBSERVER_COUNT);
    int64_t count = loc_sql_row(store, sql) ? sqlite3_column_int64(sql, 0) : 0;
    loc_sql_over(sql);
    if (count == 0) {
        sql = loc_sql_use(store, LOC_CHANGE_TRIM);
        (void)sqlite3_bind_int64(sql, 1, store->meta.logged);
        (void)loc_sql_run(store, sql);
    }
    (void)loc_touch(store);
    store->meta.observers = count;
}

void loc_observe(loc_store *store, const char *path, bool on) {
    sqlite3_stmt *sql = loc_sql_use(store, on ? LOC_OBSERVER_ADD : LOC_OBSERVER_DROP);
    (void)sqlite3_bind_int64(sql, 1, store->client);
    (void)sqlite3_bind_text(sql, 2, path, -1, SQLITE_STATIC);
    (void)loc_sql_run(store, sql);
    loc_count_observers(store);
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static void read_entry(sqlite3_stmt *sql, loc_entry *out) {
    *out = (loc_entry){sqlite3_column_int64(sql, 0), sqlite3_column_int64(sql, 1), sqlite3_column_int64(sql, 2),
                       sqlite3_column_int64(sql, 3), sqlite3_column_int64(sql, 4)};
}

bool loc_entry_at(loc_store *store, loc_sql which, const char *path, int64_t key, loc_entry *out) {
    sqlite3_stmt *sql = loc_sql_use(store, which);
    (void)sqlite3_bind_text(sql, 1, path, -1, SQLITE_STATIC);
    if (which != LOC_ENTRY_FIRST) {
        (void)sqlite3_bind_int64(sql, 2, key);
    }
    bool found = loc_sql_row(store, sql);
    if (found) {
        read_entry(sql, out);
        loc_sql_over(sql);
    }
    return found;
}

bool loc_entry_find(loc_store *store, const ds_entry *wanted, loc_entry *out) {
    int64_t nonce = loc_nonce(wanted->nonce);
    bool found = wanted->token != 0 ? loc_entry_at(store, LOC_ENTRY_TOKEN, wanted->path, wanted->token, out)
                                    : loc_entry_at(store, LOC_ENTRY_NONCE, wanted->path, nonce, out);
    return found && out->nonce == nonce && out->session == (int64_t)wanted->lease->nonce;
}

/* What the log keeps of an entry. */
static void log_entry(loc_store *store, ds_watch_kind kind, const char *path, const loc_entry *entry) {
    if (store->meta.observers == 0) {
        return;
    }
    ds_buf value = DS_BUF_EMPTY;
    loc_key parsed;
    ds_buf_clear(&store->scratch);
    loc_key_entry(&store->scratch, path, entry->session, entry->nonce);
    if (!store->scratch.failed) {
        loc_key_read(store->scratch.data, &parsed);
        loc_key_value(store, store->scratch.data, &parsed, entry->token, &value);
    }
    if (store->scratch.failed || value.failed) {
        loc_fail(store, SQLITE_NOMEM);
    } else {
        change(store, kind, store->scratch.data, entry->token, value.data, value.size);
    }
    ds_buf_free(&value);
}

void loc_entry_add(loc_store *store, const ds_entry *wanted, const loc_session *session, loc_entry *out) {
    int64_t token = loc_touch(store);
    *out = (loc_entry){token, session->id, session->client, loc_nonce(wanted->nonce), token};
    sqlite3_stmt *sql = loc_sql_use(store, LOC_ENTRY_ADD);
    (void)sqlite3_bind_text(sql, 1, wanted->path, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(sql, 2, out->token);
    (void)sqlite3_bind_int64(sql, 3, out->session);
    (void)sqlite3_bind_int64(sql, 4, out->client);
    (void)sqlite3_bind_int64(sql, 5, out->nonce);
    (void)sqlite3_bind_blob(sql, 6, wanted->value_size > 0 ? wanted->value : "", (int)wanted->value_size,
                            SQLITE_STATIC);
    (void)loc_sql_run(store, sql);
    log_entry(store, DS_WATCH_PUT, wanted->path, out);
}

void loc_entry_drop(loc_store *store, const char *path, const loc_entry *entry) {
    loc_entry behind;
    (void)loc_touch(store);
    log_entry(store, DS_WATCH_DELETED, path, entry);
    sqlite3_stmt *sql = loc_sql_use(store, LOC_ENTRY_DROP);
    (void)sqlite3_bind_text(sql, 1, path, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(sql, 2, entry->token);
    (void)loc_sql_run(store, sql);
    loc_wake_later(store, entry->client, loc_mark(entry->nonce));
    if (loc_entry_at(store, LOC_ENTRY_BEHIND, path, entry->token, &behind)) {
        loc_wake_later(store, behind.client, loc_mark(entry->nonce));
    }
}

void loc_entry_write(loc_store *store, const char *path, const loc_entry *entry, const void *value, size_t size) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_ENTRY_WRITE);
    (void)sqlite3_bind_text(sql, 1, path, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(sql, 2, entry->token);
    (void)sqlite3_bind_blob(sql, 3, size > 0 ? value : "", (int)size, SQLITE_STATIC);
    (void)sqlite3_bind_int64(sql, 4, loc_touch(store));
    (void)loc_sql_run(store, sql);
    loc_wake_later(store, store->client, loc_mark(entry->nonce));
    log_entry(store, DS_WATCH_PUT, path, entry);
}

void loc_broken_note(loc_store *store, const char *path, const loc_entry *entry, const void *value, size_t size) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_BROKEN_ADD);
    (void)sqlite3_bind_int64(sql, 1, entry->nonce);
    (void)sqlite3_bind_int64(sql, 2, entry->token);
    (void)sqlite3_bind_blob(sql, 3, value, (int)size, SQLITE_STATIC);
    (void)loc_sql_run(store, sql);
    (void)loc_sql_run(store, loc_sql_use(store, LOC_BROKEN_TRIM));
    sql = loc_sql_use(store, LOC_ENTRY_WRITE); /* what the log will have as its last value */
    (void)sqlite3_bind_text(sql, 1, path, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(sql, 2, entry->token);
    (void)sqlite3_bind_blob(sql, 3, value, (int)size, SQLITE_STATIC);
    (void)sqlite3_bind_int64(sql, 4, loc_touch(store));
    (void)loc_sql_run(store, sql);
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

static void tell_of_data(loc_store *store, ds_watch_kind kind, const char *key, int64_t token, const void *value,
                         size_t size) {
    loc_key parsed;
    loc_key_read(key, &parsed);
    loc_wake_later(store, store->client, loc_key_mark(key, &parsed));
    if (store->meta.observers > 0) {
        change(store, kind, key, token, value, size);
    }
}

void loc_data_put(loc_store *store, const char *key, const void *value, size_t size) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_DATA_PUT);
    (void)sqlite3_bind_text(sql, 1, key, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(sql, 2, loc_touch(store));
    (void)sqlite3_bind_blob(sql, 3, size > 0 ? value : "", (int)size, SQLITE_STATIC);
    (void)loc_sql_run(store, sql);
    tell_of_data(store, DS_WATCH_PUT, key, store->meta.revision, value, size);
}

void loc_data_drop(loc_store *store, const char *key) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_DATA_DROP);
    (void)sqlite3_bind_text(sql, 1, key, -1, SQLITE_STATIC);
    if (loc_sql_run(store, sql) && sqlite3_changes(store->db) > 0) {
        tell_of_data(store, DS_WATCH_DELETED, key, loc_touch(store), "", 0);
    }
}
