/* local_tx.c: transactions, and revisions that no power failure gives out twice.
 *
 * A power failure may take back the last commits, because the log is not synchronised at each. So revisions are
 * reserved in blocks with one synchronised commit, and after a boot of the host the rest of the block is skipped;
 * likewise when the log was lost.
 */
#include "local.h"

#define BLOCK (INT64_C(1) << 20)

static void read_meta(loc_store *store) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_META);
    if (loc_sql_row(store, sql)) {
        loc_meta *meta = &store->meta;
        meta->revision = sqlite3_column_int64(sql, 0);
        meta->reserved = sqlite3_column_int64(sql, 1);
        meta->next_expiry_ns = sqlite3_column_int64(sql, 2);
        meta->observers = sqlite3_column_int64(sql, 3);
        meta->logged = sqlite3_column_int64(sql, 4);
        meta->era = sqlite3_column_int64(sql, 5);
        loc_sql_over(sql);
    } else {
        loc_fail(store, SQLITE_CORRUPT);
    }
}

/* With a statement that is there already: to prepare one may need memory that there is none of. */
static void take_back(loc_store *store) {
    if (!sqlite3_get_autocommit(store->db)) {
        (void)sqlite3_step(store->sql[LOC_ROLLBACK]);
        (void)sqlite3_reset(store->sql[LOC_ROLLBACK]);
    }
}

static bool start(loc_store *store, bool write) {
    take_back(store); /* what could not be taken back when it failed */
    store->failure = SQLITE_OK;
    store->changed = false;
    store->wake_count = 0;
    store->reaped = 0;
    store->ended_count = 0;
    store->writing = write;
    store->now_ns = ds_now(store->world);
    if (loc_sql_run(store, loc_sql_use(store, write ? LOC_BEGIN_WRITE : LOC_BEGIN))) {
        read_meta(store);
    }
    return store->failure == SQLITE_OK;
}

/* Nothing else is changed in this transaction: the level of safety cannot be moved inside one. */
static bool reserve(loc_store *store) {
    (void)loc_sql_run(store, loc_sql_use(store, LOC_ROLLBACK));
    if (!loc_sql_text(store, "PRAGMA synchronous=FULL")) {
        return false;
    }
    if (start(store, true)) {
        sqlite3_stmt *sql = loc_sql_use(store, LOC_RESERVE);
        (void)sqlite3_bind_int64(sql, 1, BLOCK);
        if (loc_sql_run(store, sql)) {
            (void)loc_sql_run(store, loc_sql_use(store, LOC_COMMIT));
        }
    }
    bool reserved = store->failure == SQLITE_OK;
    take_back(store);
    if (reserved) { /* into the database itself: logs have been removed by people */
        (void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    return loc_sql_text(store, "PRAGMA synchronous=NORMAL") && reserved && start(store, true);
}

bool loc_tx_begin(loc_store *store, bool write) {
    /* One transaction needs one revision. */
    bool begun = start(store, write) && (!write || store->meta.revision < store->meta.reserved || reserve(store));
    if (!begun) {
        take_back(store);
    }
    return begun;
}

static void write_meta(loc_store *store) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_META_SET);
    (void)sqlite3_bind_int64(sql, 1, store->meta.revision);
    (void)sqlite3_bind_int64(sql, 2, store->meta.next_expiry_ns);
    (void)sqlite3_bind_int64(sql, 3, store->meta.observers);
    (void)sqlite3_bind_int64(sql, 4, store->meta.logged);
    (void)loc_sql_run(store, sql);
}

bool loc_tx_end(loc_store *store) {
    if (store->changed) {
        write_meta(store);
    }
    (void)loc_sql_run(store, loc_sql_use(store, LOC_COMMIT));
    take_back(store);
    if (store->failure != SQLITE_OK) {
        return false;
    }
    if (store->reaped > 0) {
        store->dead_count = 0;
    }
    for (; store->ended_count > 0; store->ended_count--) {
        loc_files_remove(store, store->ended[store->ended_count - 1]);
    }
    return true;
}

void loc_tell(loc_store *store) {
    for (size_t i = 0; i < store->wake_count; i++) {
        loc_wake wake = store->wakes[i];
        if (wake.client == store->client) {
            loc_mark_watches(store, wake.mark);
        } else {
            loc_ring(store, wake.client, wake.mark);
        }
    }
    store->wake_count = 0;
}

bool loc_begin(loc_store *store, bool write) {
    if (!loc_store_ready(store) || (write && !loc_gate_take(store))) {
        return false;
    }
    bool begun = loc_tx_begin(store, write);
    if (begun && store->meta.era != store->era) {
        take_back(store);
        begun = loc_fault(store, DS_NOT_EXECUTED, DSYNC_UNAVAILABLE, "the database was begun anew");
        store->stale = true;
    }
    if (begun && write && store->now_ns >= store->meta.next_expiry_ns) {
        loc_expire(store);
    }
    if (begun && write && store->dead_count > 0) {
        loc_reap(store);
    }
    if (!begun && write) {
        loc_gate_give(store);
    }
    return begun;
}

bool loc_commit(loc_store *store) {
    bool done = loc_tx_end(store);
    if (store->writing) {
        loc_gate_give(store);
    }
    if (done && store->writing) {
        loc_tell(store);
        loc_fold(store);
    }
    return done;
}
