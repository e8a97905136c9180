/* consul_model.h: a model of a Consul cluster, among its own parts. consul_store.c keeps keys and their history;
 * consul_session.c sessions and lock-delays; consul_record.c tells the checker whose the locks are; consul_txn.c
 * evaluates transactions; consul_kv.c single keys and listings; consul_calls.c answers requests; consul_block.c lets
 * queries wait; consul_upset.c is what goes wrong in a cluster by itself. Every text is what Consul 1.8.7 says.
 */
#ifndef SIM_CONSUL_MODEL_H
#define SIM_CONSUL_MODEL_H

#include "../csrc/base/json.h"
#include "client.h"
#include "model.h"

#define CM_ID_SIZE 37

/* A key as it was from one change to the next. Never changed, and kept to the end of the run. */
typedef struct cm_row cm_row;
struct cm_row {
    cm_row *next_made; /* all rows */
    char *key, *value;
    size_t key_size, value_size;
    uint64_t flags;
    int64_t create, modify, lock_index;
    char session[CM_ID_SIZE]; /* "": not locked */
    unsigned client;          /* who made it: the checker's knowledge, not Consul's */
};

typedef struct cm_view {
    const cm_row **rows;
    size_t count, capacity;
    int64_t index; /* of the last change */
    int64_t grave; /* of the last deletion */
} cm_view;

/* One key of one change. */
typedef struct cm_change {
    int64_t at_ns, index, grave_before;
    const cm_row *before, *after; /* NULL: was not, is not there */
} cm_change;

typedef struct cm_session {
    char id[CM_ID_SIZE], *name, *ttl;
    int64_t ttl_ns, lock_delay_ns, expires_ns, create;
    int64_t made_ns, ended_ns; /* DS_NEVER: alive */
    bool release, scheduled;   /* release: its keys stay when it ends */
    unsigned client;
} cm_session;

typedef struct cm_delay {
    char *key;
    int64_t until_ns;
} cm_delay;

typedef struct cm {
    sim *s;
    cm_view now;
    cm_row *made;
    cm_change *changes;
    size_t change_count, change_capacity;
    cm_session *sessions;
    size_t session_count, session_capacity;
    cm_delay *delays;
    size_t delay_count, delay_capacity;
    int64_t owner[SIM_LOCKS]; /* the token of who holds each lock, 0: nobody with an entry */
    int64_t ppm;
    int64_t limit_ns; /* while a session is taken away: how long its locks may still be believed; else 0 */
    int64_t isolated_until_ns[SIM_MEMBERS], election_until_ns;
    int64_t restored_ns, base_index; /* what was before is forgotten */
    ds_list waits;                   /* blocking queries */
} cm;

/* consul_store.c */
#define CM_NOBODY 63u
const cm_row *cm_find(const cm_view *view, const char *key);
/* A new row like `like` (NULL: a fresh one); to be filled before anybody sees it. */
cm_row *cm_make(cm *e, const char *key, const cm_row *like);
void cm_set_value(cm_row *row, const char *value, size_t size);
void cm_view_copy(const cm_view *view, cm_view *out);
void cm_view_free(cm_view *view);
void cm_view_set(cm_view *view, const cm_row *before, const cm_row *after);
/* The present view becomes `fresh` (taken over), by one change of one index. `by`: the client whose doing it is. */
void cm_commit(cm *e, cm_view *fresh, unsigned by, chk_cause cause);
/* As cm_commit, of one key. */
void cm_change_one(cm *e, const cm_row *before, cm_row *after, unsigned by, chk_cause cause);
int64_t cm_next_index(const cm *e);
void cm_view_back(const cm *e, size_t changes, cm_view *out); /* as it was before the last so many changes */
void cm_restore(cm *e, int64_t until_ns, bool keep_index);
void cm_free(cm *e);

/* consul_session.c */
cm_session *cm_session_find(const cm *e, const char *id); /* alive */
cm_session *cm_session_make(cm *e, const ds_json *request, unsigned client);
void cm_session_extend(cm *e, cm_session *session);
void cm_session_end(cm *e, cm_session *session, chk_cause cause, unsigned by);
void cm_session_print(ds_buf *out, const cm_session *session);
bool cm_delayed(cm *e, const char *key);
bool cm_duration(const char *text, int64_t *ns); /* as Go reads it */

/* consul_record.c: what the checker hears of changes [first, end). */
void cm_tell(cm *e, size_t first, unsigned by, chk_cause cause);
void cm_tell_restored(cm *e, const cm_view *gone);

/* consul_txn.c */
int cm_txn(cm *e, const cm_view *view, const sim_question *question, ds_buf *out);
void cm_print_row(ds_buf *out, const cm_row *row, bool with_value);

/* consul_kv.c: a read of /v1/kv, perhaps from an older view; `index`: X-Consul-Index of the answer. */
typedef struct cm_query {
    char *key;
    bool prefix, keys, raw;
    int64_t index, wait_ns; /* index 0: does not wait */
    bool stale, consistent;
} cm_query;
int cm_read(const cm *e, const cm_view *view, const cm_query *query, ds_buf *out, int64_t *index);
int cm_kv_put(cm *e, const sim_question *question, ds_buf *out);
int cm_kv_delete(cm *e, const sim_question *question, ds_buf *out);

/* consul_calls.c */
int cm_ask(void *servers, const sim_question *question, ds_buf *answer);
int cm_unsure(void *servers, ds_buf *answer);
int cm_error(ds_buf *out, int status, const char *text);
char *cm_path(const char *target, const char *below); /* decoded, without the query; free with sim_alloc(x, 0) */
char *cm_param(const char *target, const char *name); /* decoded; "" without value; NULL: not there */
void cm_headers(const sim_question *question, int64_t index, bool known_leader);

/* consul_block.c */
int cm_block(cm *e, const sim_question *question, cm_query *query); /* takes the query */
void cm_query_free(cm_query *query);
void cm_wake(cm *e);
/* Ends those of a member, or of all (SIM_MEMBERS): their leader is gone (`lost`), or they hear what that member
 * knows. */
void cm_break(cm *e, size_t member, bool lost);

/* consul_upset.c */
void cm_upset(void *servers, sim_fault fault);
void cm_heal(void *servers);

#endif
