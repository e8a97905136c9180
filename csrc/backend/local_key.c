/* local_key.c: keys, and what is in the database under them.
 *
 * An entry's key is "<path>/<session id>-<nonce>", a session's "<prefix>/session/<id>", all else is data. Each change
 * is told to watchers by a mark, a number that anybody can derive from the key alone.
 */
#include "local.h"

#include <inttypes.h>
#include <string.h>

#define ID_SIZE 16
#define SESSION_FOLDER "/session/"

/* ---- reading and writing keys ------------------------------------------------------------------------------------ */

static bool read_id(const char *text, int64_t *out) {
    uint64_t number = 0;
    for (int i = 0; i < ID_SIZE; i++) {
        char c = text[i];
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) {
            return false;
        }
        number = number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = (int64_t)number;
    return true;
}

int64_t loc_nonce(const char *hex) {
    int64_t nonce = 0;
    return strlen(hex) == ID_SIZE && read_id(hex, &nonce) ? nonce : 0;
}

void loc_key_read(const char *key, loc_key *out) {
    size_t size = strlen(key);
    const char *slash = strrchr(key, '/');
    const char *last = slash != NULL ? slash + 1 : key;
    size_t last_size = size - (size_t)(last - key);
    size_t before = (size_t)(last - key);
    *out = (loc_key){.kind = LOC_KEY_DATA};
    if (slash != NULL && last_size == 2 * ID_SIZE + 1 && last[ID_SIZE] == '-' && read_id(last, &out->session) &&
        read_id(last + ID_SIZE + 1, &out->nonce)) {
        out->kind = LOC_KEY_ENTRY;
        out->path_size = before - 1;
    } else if (last_size == ID_SIZE && before >= strlen(SESSION_FOLDER) &&
               memcmp(last - strlen(SESSION_FOLDER), SESSION_FOLDER, strlen(SESSION_FOLDER)) == 0 &&
               read_id(last, &out->session)) {
        out->kind = LOC_KEY_SESSION;
    }
}

void loc_key_entry(ds_buf *out, const char *path, int64_t session, int64_t nonce) {
    ds_buf_add_format(out, "%s/%016" PRIx64 "-%016" PRIx64, path, (uint64_t)session, (uint64_t)nonce);
}

void loc_key_session(ds_buf *out, const char *prefix, int64_t id) {
    ds_buf_add_format(out, "%s" SESSION_FOLDER "%016" PRIx64, prefix, (uint64_t)id);
}

/* ---- marks ------------------------------------------------------------------------------------------------------- */

uint64_t loc_mark(int64_t number) {
    uint64_t mark = (uint64_t)number;
    return mark > LOC_MARK_LOG ? mark : mark + LOC_MARK_LOG + 1;
}

uint64_t loc_key_mark(const char *key, const loc_key *parsed) {
    if (parsed->kind != LOC_KEY_DATA) {
        return loc_mark(parsed->kind == LOC_KEY_ENTRY ? parsed->nonce : parsed->session);
    }
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (; *key != '\0'; key++) {
        hash = (hash ^ (unsigned char)*key) * UINT64_C(1099511628211);
    }
    return loc_mark((int64_t)hash);
}

/* ---- what is there ----------------------------------------------------------------------------------------------- */

static void find_data(loc_store *store, const char *key, loc_found *out) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_DATA);
    (void)sqlite3_bind_text(sql, 1, key, -1, SQLITE_STATIC);
    if (loc_sql_row(store, sql)) {
        *out = (loc_found){true, sqlite3_column_int64(sql, 0), sqlite3_column_int64(sql, 1), store->client};
        loc_sql_over(sql);
    }
}

static bool find_entry(loc_store *store, const char *key, const loc_key *parsed, int64_t token, loc_entry *out) {
    sqlite3_stmt *sql = loc_sql_use(store, token != 0 ? LOC_ENTRY_TOKEN : LOC_ENTRY_NONCE);
    (void)sqlite3_bind_text(sql, 1, key, (int)parsed->path_size, SQLITE_STATIC);
    (void)sqlite3_bind_int64(sql, 2, token != 0 ? token : parsed->nonce);
    bool found = loc_sql_row(store, sql);
    if (found) {
        *out = (loc_entry){sqlite3_column_int64(sql, 0), sqlite3_column_int64(sql, 1), sqlite3_column_int64(sql, 2),
                           sqlite3_column_int64(sql, 3), sqlite3_column_int64(sql, 4)};
        loc_sql_over(sql);
    }
    return found && out->nonce == parsed->nonce && out->session == parsed->session;
}

void loc_key_find(loc_store *store, const char *key, const loc_key *parsed, int64_t token, loc_found *out) {
    loc_entry entry;
    loc_session session;
    *out = (loc_found){false, 0, 0, 0};
    if (parsed->kind == LOC_KEY_ENTRY && find_entry(store, key, parsed, token, &entry)) {
        *out = (loc_found){true, entry.token, entry.modified, entry.client};
    } else if (parsed->kind == LOC_KEY_SESSION && loc_session_find(store, parsed->session, &session)) {
        *out = (loc_found){true, session.created, session.created, session.client};
    } else if (parsed->kind == LOC_KEY_DATA) {
        find_data(store, key, out);
    }
}

static void add_column(loc_store *store, sqlite3_stmt *sql, int column, ds_buf *out) {
    if (loc_sql_row(store, sql)) {
        ds_buf_add(out, sqlite3_column_blob(sql, column), (size_t)sqlite3_column_bytes(sql, column));
        loc_sql_over(sql);
    }
}

void loc_key_value(loc_store *store, const char *key, const loc_key *parsed, int64_t token, ds_buf *out) {
    if (parsed->kind == LOC_KEY_DATA) {
        sqlite3_stmt *sql = loc_sql_use(store, LOC_DATA);
        (void)sqlite3_bind_text(sql, 1, key, -1, SQLITE_STATIC);
        add_column(store, sql, 2, out);
    } else if (parsed->kind == LOC_KEY_ENTRY) {
        size_t before = out->size;
        sqlite3_stmt *sql = loc_sql_use(store, LOC_ENTRY_VALUE);
        (void)sqlite3_bind_text(sql, 1, key, (int)parsed->path_size, SQLITE_STATIC);
        (void)sqlite3_bind_int64(sql, 2, token);
        add_column(store, sql, 0, out);
        if (out->size == before) {
            sql = loc_sql_use(store, LOC_BROKEN);
            (void)sqlite3_bind_int64(sql, 1, parsed->nonce);
            (void)sqlite3_bind_int64(sql, 2, token);
            add_column(store, sql, 0, out);
        }
    }
}
