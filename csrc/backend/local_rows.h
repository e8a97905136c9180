/* local_rows.h: what is in a local: database: sessions, entries, data, and their keys. Included by local.h.
 *
 * Everything here is done inside a transaction of the store (local_sql.h), and what changes something inside a writing
 * one. A failure is kept by the transaction: nothing here has to be looked at for it.
 */
#ifndef DS_LOCAL_ROWS_H
#define DS_LOCAL_ROWS_H

#include "../base/buf.h"
#include "backend.h"
#include "local_sql.h"

typedef struct loc_op loc_op;

/* The one row that every transaction reads. */
typedef struct loc_meta {
    int64_t revision;
    int64_t reserved;       /* revisions up to here are safe to use: no crash of the host can give them out again */
    int64_t next_expiry_ns; /* no session ends before this time */
    int64_t observers;      /* rows of that table: with none, changes are not logged */
    int64_t logged;         /* number of the last change that was */
    int64_t era;            /* counts boots of the host */
} loc_meta;

/* An entry as found. Its path is the caller's. */
typedef struct loc_entry {
    int64_t token;
    int64_t session; /* id: the lease's nonce */
    int64_t client;  /* id of the process */
    int64_t nonce;
    int64_t modified;
} loc_entry;

typedef struct loc_session {
    int64_t id, client, ttl_ms, epoch, created;
} loc_session;

/* ---- local_session.c: inside a writing transaction --------------------------------------------------------------- */

bool loc_session_find(loc_store *store, int64_t id, loc_session *out); /* in any transaction */
void loc_session_open(loc_store *store, const ds_lease *lease, loc_session *out);
void loc_session_renew(loc_store *store, const loc_session *session);
void loc_session_advance(loc_store *store, loc_session *session, uint64_t next_epoch);
void loc_session_end(loc_store *store, int64_t id);
void loc_client_end(loc_store *store, int64_t client); /* the process is gone: its sessions, its row, its files */
void loc_expire(loc_store *store);

/* ---- local_rows.c: inside a writing transaction ------------------------------------------------------------------ */

int64_t loc_touch(loc_store *store); /* something changes: the revision at which it does */
bool loc_entry_find(loc_store *store, const ds_entry *wanted, loc_entry *out);
bool loc_entry_at(loc_store *store, loc_sql which, const char *path, int64_t key, loc_entry *out); /* LOC_ENTRY_... */
void loc_entry_add(loc_store *store, const ds_entry *wanted, const loc_session *session, loc_entry *out);
void loc_entry_drop(loc_store *store, const char *path, const loc_entry *entry);
void loc_entry_write(loc_store *store, const char *path, const loc_entry *entry, const void *value, size_t size);
void loc_data_put(loc_store *store, const char *key, const void *value, size_t size);
void loc_data_drop(loc_store *store, const char *key);
void loc_broken_note(loc_store *store, const char *path, const loc_entry *entry, const void *value, size_t size);
void loc_observe(loc_store *store, const char *path, bool on);
void loc_count_observers(loc_store *store);
void loc_wake_observers(loc_store *store);

/* Who is told, and what, once this transaction is committed. */
void loc_wake_later(loc_store *store, int64_t client, uint64_t mark);

/* ---- local_key.c: keys and what is behind them ------------------------------------------------------------------- */

typedef enum loc_kind { LOC_KEY_ENTRY, LOC_KEY_SESSION, LOC_KEY_DATA } loc_kind;

typedef struct loc_key {
    loc_kind kind;
    size_t path_size;       /* LOC_KEY_ENTRY: of the queue's path, at the key's beginning */
    int64_t session, nonce; /* LOC_KEY_ENTRY; LOC_KEY_SESSION: session */
} loc_key;

/* What is there under a key. */
typedef struct loc_found {
    bool exists;
    int64_t token, modified, client;
} loc_found;

void loc_key_read(const char *key, loc_key *out);
uint64_t loc_key_mark(const char *key, const loc_key *parsed);
uint64_t loc_mark(int64_t number); /* of an entry's nonce, a session's id */
int64_t loc_nonce(const char *hex);
void loc_key_entry(ds_buf *out, const char *path, int64_t session, int64_t nonce);
void loc_key_session(ds_buf *out, const char *prefix, int64_t id);
/* `token` of an entry that was seen before, or 0. */
void loc_key_find(loc_store *store, const char *key, const loc_key *parsed, int64_t token, loc_found *out);
/* Its value now (or, of an entry that was evicted, its last one) is appended. */
void loc_key_value(loc_store *store, const char *key, const loc_key *parsed, int64_t token, ds_buf *out);

/* ---- local_list.c ------------------------------------------------------------------------------------------------ */

void loc_list(loc_store *store, loc_op *op, const ds_list_spec *spec);
/* reply.ahead (unless NULL) and reply.holder. */
void loc_describe(loc_store *store, loc_op *op, const char *path, const loc_entry *ahead, const loc_entry *holder);

#endif
