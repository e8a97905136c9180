/* local_sql.h: what the local: backend says to SQLite, and in which transactions. Included by local.h. */
#ifndef DS_LOCAL_SQL_H
#define DS_LOCAL_SQL_H

#include <sqlite3.h>

#include "backend.h"

typedef struct loc_store loc_store;

typedef enum loc_sql {
    LOC_BEGIN,
    LOC_BEGIN_WRITE,
    LOC_COMMIT,
    LOC_ROLLBACK,
    LOC_META,
    LOC_META_SET,
    LOC_RESERVE,
    LOC_SESSION,
    LOC_SESSION_ADD,
    LOC_SESSION_RENEW,
    LOC_SESSION_EPOCH,
    LOC_SESSION_DROP,
    LOC_SESSION_EXPIRED,
    LOC_SESSION_NEXT,
    LOC_SESSION_OF,
    LOC_ENTRY_FIRST,
    LOC_ENTRY_BEFORE,
    LOC_ENTRY_BEHIND,
    LOC_ENTRY_TOKEN,
    LOC_ENTRY_NONCE,
    LOC_ENTRY_VALUE,
    LOC_ENTRY_ADD,
    LOC_ENTRY_WRITE,
    LOC_ENTRY_DROP,
    LOC_ENTRY_OF,
    LOC_DATA,
    LOC_DATA_PUT,
    LOC_DATA_DROP,
    LOC_LIST_QUEUE,
    LOC_LIST_TREE,
    LOC_CLIENT,
    LOC_CLIENTS,
    LOC_CLIENT_ADD,
    LOC_CLIENT_DROP,
    LOC_OBSERVERS,
    LOC_OBSERVER_ADD,
    LOC_OBSERVER_DROP,
    LOC_OBSERVER_DROP_OF,
    LOC_OBSERVER_COUNT,
    LOC_CHANGE_ADD,
    LOC_CHANGES,
    LOC_CHANGE_TRIM,
    LOC_BROKEN,
    LOC_BROKEN_ADD,
    LOC_BROKEN_TRIM,
    LOC_SQL_COUNT
} loc_sql;

/* ---- local_db.c: the connection; the gate is held ---------------------------------------------------------------- */

bool loc_db_open(loc_store *store); /* false: store->fault */
void loc_db_close(loc_store *store);

/* ---- local_log.c: writing the write-ahead log -------------------------------------------------------------------- */

const char *loc_log_layer(void); /* the name by which SQLite knows the layer; lives for ever */

/* ---- local_fold.c ------------------------------------------------------------------------------------------------ */

void loc_fold(loc_store *store); /* after a commit: if it is time to */
void loc_fold_hold(void);        /* nobody folds from here on ... */
void loc_fold_go_on(void);       /* ... to here; in a forked child too */

/* ---- local_sql.c ------------------------------------------------------------------------------------------------- */

bool loc_sql_prepare(loc_store *store);
sqlite3_stmt *loc_sql_use(loc_store *store, loc_sql which); /* ready to be bound */
bool loc_sql_row(loc_store *store, sqlite3_stmt *sql);      /* false: no more rows, or failed; it is over then */
void loc_sql_over(sqlite3_stmt *sql);                       /* of which more rows may have come */
bool loc_sql_run(loc_store *store, sqlite3_stmt *sql);      /* one that has no rows */
bool loc_sql_text(loc_store *store, const char *text);      /* outside of transactions; false: store->fault */
bool loc_sql_ask(loc_store *store, const char *text, int64_t *number, char *word, size_t size);
void loc_fail(loc_store *store, int failure); /* this transaction comes to nothing */
bool loc_sql_fault(loc_store *store, int result);
bool loc_fault(loc_store *store, ds_class outcome, dsync_code code, const char *message); /* false, for return */

/* ---- local_tx.c: with the mutex held ----------------------------------------------------------------------------- */

/* The gate, if `write`, and the transaction are this store's until loc_commit, which is called exactly once if this
 * returns true. False: store->fault says why. */
bool loc_begin(loc_store *store, bool write);
/* Makes it so, or nothing of it: false. Tells whom it concerns. */
bool loc_commit(loc_store *store);
/* The same while the gate is held already, telling nobody. */
bool loc_tx_begin(loc_store *store, bool write);
bool loc_tx_end(loc_store *store);
void loc_tell(loc_store *store); /* after a commit, without the gate */

#endif
