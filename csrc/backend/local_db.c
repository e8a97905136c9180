/* local_db.c: the connection to the database and the tables in it. Refuses a database that is not ours.
 *
 * A new database begins at the calendar, so that the tokens of one made in place of a deleted one go on upwards.
 */
#include "local.h"

#include <stdio.h>
#include <string.h>

#define APPLICATION_ID 1685289326 /* "dsyn" */
#define VERSION 1
#define CALENDAR_START_S INT64_C(1577836800) /* 2020 */
#define CALENDAR_SHIFT 16                    /* 65 536 changes a second, and fourteen digits for some decades */
#define BUSY_MS 100                          /* only programs other than dsync are met there */

static const char schema[] =
    "CREATE TABLE meta(revision INTEGER NOT NULL, reserved INTEGER NOT NULL, next_expiry INTEGER NOT NULL,"
    " observers INTEGER NOT NULL, logged INTEGER NOT NULL, era INTEGER NOT NULL,"
    " boot TEXT NOT NULL);"
    "CREATE TABLE clients(id INTEGER PRIMARY KEY, identity TEXT NOT NULL);"
    "CREATE TABLE sessions(id INTEGER PRIMARY KEY, client INTEGER NOT NULL, ttl_ms INTEGER NOT NULL,"
    " deadline INTEGER NOT NULL, epoch INTEGER NOT NULL, created INTEGER NOT NULL, key TEXT NOT NULL, info TEXT);"
    "CREATE TABLE entries(path TEXT NOT NULL, token INTEGER NOT NULL, session INTEGER NOT NULL,"
    " client INTEGER NOT NULL, nonce INTEGER NOT NULL, modified INTEGER NOT NULL, value BLOB,"
    " PRIMARY KEY(path, token)) WITHOUT ROWID;"
    "CREATE TABLE data(key TEXT PRIMARY KEY, created INTEGER NOT NULL, modified INTEGER NOT NULL, value BLOB)"
    " WITHOUT ROWID;"
    "CREATE TABLE observers(client INTEGER NOT NULL, path TEXT NOT NULL, PRIMARY KEY(client, path)) WITHOUT ROWID;"
    "CREATE TABLE changes(id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " token INTEGER NOT NULL, key TEXT NOT NULL, value BLOB);"
    "CREATE TABLE broken(nonce INTEGER PRIMARY KEY, token INTEGER NOT NULL, value BLOB);";

static int count_frames(void *context, sqlite3 *db, const char *name, int frames) {
    (void)db;
    (void)name;
    loc_store *store = context;
    store->frames = frames;
    return SQLITE_OK;
}

/* Tables in an empty database; the gate is held. Processes that live use one that had this name before. */
static bool make_tables(loc_store *store) {
    char text[256];
    if (!loc_files_sweep(store)) {
        return loc_fault(store, DS_REFUSED, DSYNC_CONFIG,
                         "was taken away while processes use it: end them, then it is made anew");
    }
    int64_t seconds = store->world->ops->wall_ms(store->world) / 1000 - CALENDAR_START_S;
    long long revision = seconds > 0 ? (long long)seconds << CALENDAR_SHIFT : 0;
    (void)snprintf(text, sizeof(text),
                   "INSERT INTO meta VALUES(%lld, %lld, %lld, 0, 0, 0, '');"
                   " PRAGMA application_id=%d; PRAGMA user_version=%d",
                   revision, revision, (long long)DS_NEVER, APPLICATION_ID, VERSION);
    if (!loc_sql_text(store, "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; BEGIN IMMEDIATE")) {
        return false;
    }
    bool made = loc_sql_text(store, schema) && loc_sql_text(store, text) && loc_sql_text(store, "COMMIT");
    if (!made) {
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return made;
}

static bool check_tables(loc_store *store) {
    int64_t application = 0, count = 0, version = 0;
    char word[32];
    if (!loc_sql_ask(store, "SELECT count(*) FROM sqlite_master", &count, word, sizeof(word)) ||
        (count == 0 && !make_tables(store)) ||
        !loc_sql_ask(store, "PRAGMA application_id", &application, word, sizeof(word))) {
        return false;
    }
    if (application != APPLICATION_ID) {
        return loc_fault(store, DS_REFUSED, DSYNC_CONFIG, "is a database of another program: name another file");
    }
    if (!loc_sql_ask(store, "PRAGMA user_version", &version, word, sizeof(word))) {
        return false;
    }
    if (version != VERSION) {
        return loc_fault(store, DS_REFUSED, DSYNC_CONFIG, "was made by another version of dsync: name another file");
    }
    if (!loc_sql_ask(store, "PRAGMA journal_mode=WAL", &version, word, sizeof(word))) {
        return false;
    }
    return strcmp(word, "wal") == 0 || loc_fault(store, DS_REFUSED, DSYNC_CONFIG,
                                                 "cannot have a write-ahead log: its file system has no shared memory");
}

static bool connect_to(loc_store *store) {
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
#ifdef SQLITE_OPEN_NOFOLLOW
    flags |= SQLITE_OPEN_NOFOLLOW;
#endif
    int result = sqlite3_open_v2(store->file, &store->db, flags, loc_log_layer());
    if (result != SQLITE_OK) {
        return loc_sql_fault(store, store->db != NULL ? sqlite3_extended_errcode(store->db) : SQLITE_NOMEM);
    }
    (void)sqlite3_extended_result_codes(store->db, 1);
    (void)sqlite3_busy_timeout(store->db, BUSY_MS);
    /* Folding the log back costs two synchronisations, too much for a command line that locks once and ends. */
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_wal_hook(store->db, count_frames, store);
    if (sqlite3_db_readonly(store->db, "main") == 1) {
        return loc_sql_fault(store, SQLITE_READONLY);
    }
    return true;
}

bool loc_db_open(loc_store *store) {
    if (connect_to(store) && check_tables(store) &&
        loc_sql_text(store, "PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=8388608; PRAGMA temp_store=MEMORY;"
                            " PRAGMA cache_spill=OFF") &&
        loc_sql_prepare(store)) {
        return true;
    }
    loc_db_close(store);
    return false;
}

void loc_db_close(loc_store *store) {
    for (int i = 0; i < LOC_SQL_COUNT; i++) {
        (void)sqlite3_finalize(store->sql[i]);
        store->sql[i] = NULL;
    }
    (void)sqlite3_close(store->db);
    store->db = NULL;
}
