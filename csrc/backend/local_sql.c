/* local_sql.c: what is said to SQLite, what it answers, and what its failures mean to people.
 *
 * The first failure inside a transaction is kept and makes everything after it, and the commit, do nothing: so the code
 * that changes rows need not look at each step.
 */
#include "local.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../base/error.h"

#define ENTRY "SELECT token, session, client, nonce, modified FROM entries WHERE path=?1 "

/* NOLINTBEGIN(bugprone-suspicious-missing-comma): long statements stand on two lines. */
static const char *const texts[LOC_SQL_COUNT] = {
    [LOC_BEGIN] = "BEGIN",
    [LOC_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [LOC_COMMIT] = "COMMIT",
    [LOC_ROLLBACK] = "ROLLBACK",
    [LOC_META] = "SELECT revision, reserved, next_expiry, observers, logged, era FROM meta",
    [LOC_META_SET] = "UPDATE meta SET revision=?1, next_expiry=?2, observers=?3, logged=?4",
    [LOC_RESERVE] = "UPDATE meta SET reserved=revision+?1",
    [LOC_SESSION] = "SELECT client, ttl_ms, epoch, created FROM sessions WHERE id=?1",
    [LOC_SESSION_ADD] = "INSERT INTO sessions VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [LOC_SESSION_RENEW] = "UPDATE sessions SET deadline=max(deadline, ?2) WHERE id=?1",
    [LOC_SESSION_EPOCH] = "UPDATE sessions SET epoch=?2 WHERE id=?1",
    [LOC_SESSION_DROP] = "DELETE FROM sessions WHERE id=?1",
    [LOC_SESSION_EXPIRED] = "SELECT id FROM sessions WHERE deadline<=?1 LIMIT 1",
    [LOC_SESSION_NEXT] = "SELECT min(deadline) FROM sessions",
    [LOC_SESSION_OF] = "SELECT id FROM sessions WHERE client=?1 LIMIT 1",
    [LOC_ENTRY_FIRST] = ENTRY "ORDER BY token LIMIT 1",
    [LOC_ENTRY_BEFORE] = ENTRY "AND token<?2 ORDER BY token DESC LIMIT 1",
    [LOC_ENTRY_BEHIND] = ENTRY "AND token>?2 ORDER BY token LIMIT 1",
    [LOC_ENTRY_TOKEN] = ENTRY "AND token=?2",
    [LOC_ENTRY_NONCE] = ENTRY "AND nonce=?2",
    [LOC_ENTRY_VALUE] = "SELECT value FROM entries WHERE path=?1 AND token=?2",
    [LOC_ENTRY_ADD] = "INSERT INTO entries(path, token, session, client, nonce, modified, value)"
                      " VALUES(?1, ?2, ?3, ?4, ?5, ?2, ?6)",
    [LOC_ENTRY_WRITE] = "UPDATE entries SET value=?3, modified=?4 WHERE path=?1 AND token=?2",
    [LOC_ENTRY_DROP] = "DELETE FROM entries WHERE path=?1 AND token=?2",
    [LOC_ENTRY_OF] = "SELECT path, token, session, client, nonce FROM entries WHERE session=?1",
    [LOC_DATA] = "SELECT created, modified, value FROM data WHERE key=?1",
    [LOC_DATA_PUT] = "INSERT INTO data(key, created, modified, value) VALUES(?1, ?2, ?2, ?3)"
                     " ON CONFLICT(key) DO UPDATE SET modified=?2, value=?3",
    [LOC_DATA_DROP] = "DELETE FROM data WHERE key=?1",
    [LOC_LIST_QUEUE] = "SELECT path, token, session, nonce, value FROM entries WHERE path=?1 ORDER BY token LIMIT ?2",
    [LOC_LIST_TREE] = "SELECT path, token, session, nonce, value FROM entries WHERE path>?1 AND path<?2"
                      " ORDER BY path, token",
    [LOC_CLIENT] = "SELECT id FROM clients WHERE id=?1",
    [LOC_CLIENTS] = "SELECT id FROM clients",
    [LOC_CLIENT_ADD] = "INSERT OR REPLACE INTO clients(id, identity) VALUES(?1, ?2)",
    [LOC_CLIENT_DROP] = "DELETE FROM clients WHERE id=?1",
    [LOC_OBSERVERS] = "SELECT client, path FROM observers",
    [LOC_OBSERVER_ADD] = "INSERT OR IGNORE INTO observers(client, path) VALUES(?1, ?2)",
    [LOC_OBSERVER_DROP] = "DELETE FROM observers WHERE client=?1 AND path=?2",
    [LOC_OBSERVER_DROP_OF] = "DELETE FROM observers WHERE client=?1",
    [LOC_OBSERVER_COUNT] = "SELECT count(*) FROM observers",
    [LOC_CHANGE_ADD] = "INSERT INTO changes(id, revision, kind, token, key, value) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [LOC_CHANGES] = "SELECT id, revision, kind, token, key, value FROM changes WHERE id>?1 ORDER BY id",
    [LOC_CHANGE_TRIM] = "DELETE FROM changes WHERE id<=?1",
    [LOC_BROKEN] = "SELECT value FROM broken WHERE nonce=?1 AND (?2=0 OR token=?2)",
    [LOC_BROKEN_ADD] = "INSERT OR REPLACE INTO broken(nonce, token, value) VALUES(?1, ?2, ?3)",
    [LOC_BROKEN_TRIM] =
        "DELETE FROM broken WHERE token<=(SELECT token FROM broken ORDER BY token DESC LIMIT 1 OFFSET 256)",
};
/* NOLINTEND(bugprone-suspicious-missing-comma) */

/* ---- what went wrong --------------------------------------------------------------------------------------------- */

bool loc_fault(loc_store *store, ds_class outcome, dsync_code code, const char *message) {
    store->fault_class = outcome;
    (void)ds_error_set(&store->fault, code, "local: %s: %s", store->file != NULL ? store->file : store->path, message);
    return false;
}

static bool out_of_something(loc_store *store) {
    int number = store->db != NULL ? sqlite3_system_errno(store->db) : 0;
    return number == ENOSPC || number == EDQUOT || number == EMFILE || number == ENFILE || number == ENOMEM;
}

bool loc_sql_fault(loc_store *store, int result) {
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
        return loc_fault(store, DS_NOT_EXECUTED, DSYNC_UNAVAILABLE, "another program keeps the database locked");
    case SQLITE_NOMEM:
        return loc_fault(store, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
    case SQLITE_FULL:
        return loc_fault(store, DS_REFUSED, DSYNC_RESOURCE, "the disk is full");
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return loc_fault(store, DS_REFUSED, DSYNC_CONFIG,
                         "cannot be written to: check the rights of the file and its folder");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return loc_fault(store, DS_REFUSED, DSYNC_CONFIG,
                         "is damaged or no database: move it away when no process uses it, and a new one is made");
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        if (out_of_something(store)) {
            return loc_fault(store, DS_REFUSED, DSYNC_RESOURCE, strerror(sqlite3_system_errno(store->db)));
        }
        return loc_fault(store, DS_REFUSED, (result & 0xff) == SQLITE_IOERR ? DSYNC_RESOURCE : DSYNC_CONFIG,
                         sqlite3_errstr(result));
    default:
        return loc_fault(store, DS_REFUSED, DSYNC_CONFIG,
                         store->db != NULL ? sqlite3_errmsg(store->db) : sqlite3_errstr(result));
    }
}

void loc_fail(loc_store *store, int failure) {
    if (store->failure == SQLITE_OK) {
        store->failure = failure;
        (void)loc_sql_fault(store, failure);
    }
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

sqlite3_stmt *loc_sql_use(loc_store *store, loc_sql which) {
    return store->sql[which];
}

bool loc_sql_row(loc_store *store, sqlite3_stmt *sql) {
    int result = store->failure == SQLITE_OK ? sqlite3_step(sql) : SQLITE_DONE;
    if (result == SQLITE_ROW) {
        return true;
    }
    if (result != SQLITE_DONE) {
        loc_fail(store, result);
    }
    (void)sqlite3_reset(sql);
    return false;
}

void loc_sql_over(sqlite3_stmt *sql) {
    (void)sqlite3_reset(sql);
}

bool loc_sql_run(loc_store *store, sqlite3_stmt *sql) {
    while (loc_sql_row(store, sql)) {
    }
    return store->failure == SQLITE_OK;
}

bool loc_sql_text(loc_store *store, const char *text) {
    int result = sqlite3_exec(store->db, text, NULL, NULL, NULL);
    return result == SQLITE_OK || loc_sql_fault(store, result);
}

bool loc_sql_ask(loc_store *store, const char *text, int64_t *number, char *word, size_t size) {
    sqlite3_stmt *sql = NULL;
    int result = sqlite3_prepare_v2(store->db, text, -1, &sql, NULL);
    if (result == SQLITE_OK && (result = sqlite3_step(sql)) == SQLITE_ROW) {
        *number = sqlite3_column_int64(sql, 0);
        const unsigned char *column = sqlite3_column_text(sql, 0);
        (void)snprintf(word, size, "%s", column != NULL ? (const char *)column : "");
    }
    (void)sqlite3_finalize(sql);
    return result == SQLITE_ROW || loc_sql_fault(store, result);
}

bool loc_sql_prepare(loc_store *store) {
    for (int i = 0; i < LOC_SQL_COUNT; i++) {
        int result = sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &store->sql[i], NULL);
        if (result != SQLITE_OK) {
            return loc_sql_fault(store, result);
        }
    }
    return true;
}
