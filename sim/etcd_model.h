/* etcd_model.h: a model of an etcd cluster, among its own parts. etcd_store.c keeps keys, revisions and leases;
 * etcd_txn.c evaluates ranges and transactions; etcd_calls.c answers requests; etcd_watch.c the streams; etcd_upset.c
 * what goes wrong in a cluster by itself.
 */
#ifndef SIM_ETCD_MODEL_H
#define SIM_ETCD_MODEL_H

#include "../csrc/base/json.h"
#include "model.h"

typedef struct em_bytes {
    char *data;
    size_t size;
} em_bytes;

typedef struct em_kv {
    em_bytes key, value;
    int64_t create, mod, lease;
    unsigned client; /* who made it: the checker's knowledge, not etcd's */
} em_kv;

typedef struct em_change {
    int64_t at_ns;
    bool deleted, had_previous;
    em_kv kv, previous; /* deleted: kv has key and mod only */
} em_change;

typedef struct em_lease {
    int64_t id, ttl_s, expires_ns;
    int64_t granted_ns, ended_ns; /* DS_NEVER: alive */
    int64_t phantom_until_ns;     /* keepalives are answered although it is gone */
    unsigned client;
    bool scheduled;
} em_lease;

typedef struct em_view {
    em_kv *kvs;
    size_t count, capacity;
    int64_t revision;
} em_view;

typedef struct em {
    sim *s;
    em_view now;
    em_change *changes;
    size_t change_count, change_capacity;
    em_lease *leases;
    size_t lease_count, lease_capacity;
    uint64_t cluster_id;
    int64_t compacted, term, ppm;
    int64_t limit_ns; /* while a session is taken away: how long its locks may still be believed; else 0 */
    int64_t isolated_until_ns[SIM_MEMBERS], election_until_ns;
    uint64_t auth_generation, auth_issued;
    ds_list streams;
} em;

/* etcd_store.c */
#define EM_NOBODY 63u
void em_put(em *e, em_bytes key, em_bytes value, bool keep_value, int64_t lease, int64_t revision, unsigned client);
bool em_delete(em *e, em_bytes key, int64_t revision, chk_cause cause);
em_kv *em_find(const em_view *view, em_bytes key);
em_lease *em_lease_find(em *e, int64_t id); /* alive */
bool em_grant(em *e, int64_t id, int64_t ttl_s, unsigned client);
void em_extend(em *e, em_lease *lease);
void em_revoke(em *e, int64_t id, chk_cause cause, bool keep_lease);
void em_view_at(const em *e, int64_t revision, int64_t until_ns, em_view *out);
void em_view_free(em_view *view);
em_bytes em_copy(const char *data, size_t size);
int em_compare(em_bytes a, em_bytes b);
bool em_within(em_bytes key, em_bytes begin, em_bytes end);
void em_restore(em *e, int64_t until_ns);
void em_free(em *e);

/* etcd_txn.c: append the body; false: the error is to be answered instead (`code` and `message`) */
typedef struct em_error {
    int http, code;
    const char *message;
} em_error;
void em_header(const em *e, ds_buf *out, int64_t revision);
void em_add_kv(ds_buf *out, const em_kv *kv, bool keys_only);
bool em_bytes_of(const ds_json *object, const char *name, ds_buf *scratch, em_bytes *out); /* absent: empty */
void em_bytes_free(em_bytes *bytes);
bool em_range(const em *e, const em_view *view, const ds_json *request, ds_buf *out, em_error *error);
bool em_txn(em *e, const em_view *stale, const sim_question *question, const ds_json *request, ds_buf *out,
            em_error *error);

/* etcd_calls.c */
int em_ask(void *servers, const sim_question *question, ds_buf *answer);
int em_unsure(void *servers, ds_buf *answer);
bool em_token_valid(const em *e, const char *authorization);

/* etcd_watch.c */
bool em_stream_open(void *servers, sim_stream *stream, const sim_question *question, int *status, ds_buf *answer);
void em_stream_data(void *servers, sim_stream *stream, const char *bytes, size_t count);
void em_stream_closed(void *servers, sim_stream *stream);
void em_tell_watchers(em *e, size_t first_change); /* of the changes from there on: one revision */
void em_end_streams(em *e, size_t member, const char *line);

/* etcd_upset.c */
void em_upset(void *servers, sim_fault fault);
void em_heal(void *servers);

#endif
