/* consul_msg.h: what dsync says to Consul's transactions and hears from them, and how that looks as JSON. Sends
 * nothing.
 *
 * A transaction is written operation by operation, straight into its JSON. Those that fail in it are told by their
 * index; what the others did is told only if none failed. Field meanings are those of Consul's /v1/txn and /v1/kv.
 */
#ifndef DS_CONSUL_MSG_H
#define DS_CONSUL_MSG_H

#include "../base/buf.h"
#include "../base/json.h"

#define DS_CONSUL_OPS_MAX 64u                              /* in one transaction: the server's limit */
#define DS_CONSUL_LOCK_FLAGS UINT64_C(3304740253564472344) /* on the key of a lock, as Consul's own clients want it */

/* ---- questions --------------------------------------------------------------------------------------------------- */

typedef struct ds_consul_txn {
    ds_buf body;
    unsigned count;   /* operations, in their order: an operation's index is the count before it was added */
    unsigned results; /* pairs the operations give that give exactly one */
} ds_consul_txn;

void ds_consul_txn_begin(ds_consul_txn *txn); /* empties it */
void ds_consul_txn_end(ds_consul_txn *txn);   /* complete JSON from now on */

/* Guards. The whole transaction fails unless they hold. */
void ds_consul_if_index(ds_consul_txn *txn, const char *key, int64_t modified);      /* gives a pair */
void ds_consul_if_session(ds_consul_txn *txn, const char *key, const char *session); /* gives a pair */
void ds_consul_if_absent(ds_consul_txn *txn, const char *key);
/* Changes. */
void ds_consul_set(ds_consul_txn *txn, const char *key, const char *value, size_t size); /* gives a pair */
void ds_consul_lock(ds_consul_txn *txn, const char *key, const char *value, size_t size, uint64_t flags,
                    const char *session); /* gives a pair */
void ds_consul_delete(ds_consul_txn *txn, const char *key);
void ds_consul_delete_if(ds_consul_txn *txn, const char *key, int64_t modified);
/* Reads. `tree`: every key that begins so, as many pairs as there are, after all others. */
void ds_consul_get(ds_consul_txn *txn, const char *key); /* gives a pair, or fails */
void ds_consul_tree(ds_consul_txn *txn, const char *begin);

/* The body of a session's creation. `checks`: a JSON array of node checks. */
void ds_consul_session_body(ds_buf *out, const char *name, int64_t ttl_ms, int64_t lock_delay_ms, const char *checks);

/* ---- answers ----------------------------------------------------------------------------------------------------- */

typedef struct ds_consul_pair {
    const char *key, *session; /* session "": none */
    const char *value;         /* NUL-terminated, "" when empty or not asked for */
    size_t value_size;
    int64_t created, modified;
    uint64_t flags;
} ds_consul_pair;

/* Decoded answers, used again and again. Everything points into `json` and `values`. */
typedef struct ds_consul_answer {
    ds_json *json;
    ds_buf values;
    ds_consul_pair *pairs;
    size_t count, capacity;
    /* Of a transaction that failed. */
    uint64_t failed;      /* bit i: operation i did */
    uint64_t delayed;     /* of these: for a lock-delay */
    bool session_invalid; /* the session named in some operation does not exist */
    const char *denied;   /* the server's words when it was for lack of permission, else NULL */
    const char *why;      /* its words about the first one */
} ds_consul_answer;

typedef enum ds_consul_decoded { DS_CONSUL_DECODED, DS_CONSUL_MALFORMED, DS_CONSUL_NO_MEMORY } ds_consul_decoded;

/* The answer to a transaction, whether it succeeded or failed. */
ds_consul_decoded ds_consul_decode_txn(ds_consul_answer *answer, const char *text, size_t size);
/* The answer of /v1/kv: an array of pairs. */
ds_consul_decoded ds_consul_decode_pairs(ds_consul_answer *answer, const char *text, size_t size);
/* Any other answer, as `json`. */
ds_consul_decoded ds_consul_decode(ds_consul_answer *answer, const char *text, size_t size);
void ds_consul_answer_clear(ds_consul_answer *answer);
void ds_consul_answer_free(ds_consul_answer *answer);

static inline bool ds_consul_failed(const ds_consul_answer *answer, unsigned index) {
    return (answer->failed >> index & 1) != 0;
}

/* The last pair with that key, or NULL. */
const ds_consul_pair *ds_consul_find(const ds_consul_answer *answer, const char *key);

#endif
