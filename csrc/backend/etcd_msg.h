/* etcd_msg.h: what dsync says to etcd and hears from it, as plain structs. Knows no encoding and sends nothing.
 *
 * Requests borrow everything they point to. What an answer points to belongs to the arena it was decoded into. Field
 * meanings are those of etcd's rpc.proto and kv.proto; only the fields dsync uses are here.
 */
#ifndef DS_ETCD_MSG_H
#define DS_ETCD_MSG_H

#include "../base/buf.h"

typedef struct ds_bytes {
    const char *data; /* NUL-terminated in answers, but may hold NULs */
    size_t size;
} ds_bytes;

static inline ds_bytes ds_bytes_of(const ds_buf *buf) {
    return (ds_bytes){buf->data, buf->size};
}

bool ds_bytes_equal(ds_bytes left, ds_bytes right);

/* ---- requests ---------------------------------------------------------------------------------------------------- */

typedef enum ds_etcd_kind {
    DS_ETCD_RANGE,
    DS_ETCD_TXN,
    DS_ETCD_GRANT,
    DS_ETCD_KEEPALIVE, /* one keepalive on a stream that ends after it */
    DS_ETCD_REVOKE,
    DS_ETCD_AUTHENTICATE,
    DS_ETCD_STATUS,
    DS_ETCD_KIND_COUNT
} ds_etcd_kind;

typedef enum ds_etcd_order {
    DS_ETCD_BY_KEY,
    DS_ETCD_OLDEST_FIRST, /* by create revision */
    DS_ETCD_NEWEST_FIRST,
} ds_etcd_order;

/* `end` empty: just `key`. 0 in a number: not asked for. */
typedef struct ds_etcd_range {
    ds_bytes key, end;
    ds_etcd_order order;
    int64_t limit, revision, min_create, max_create;
    bool keys_only;
} ds_etcd_range;

typedef struct ds_etcd_put {
    ds_bytes key, value;
    int64_t lease;
    bool ignore_value; /* keep the value that is there */
} ds_etcd_put;

typedef struct ds_etcd_delete {
    ds_bytes key;
} ds_etcd_delete;

typedef enum ds_etcd_op_kind { DS_ETCD_OP_RANGE, DS_ETCD_OP_PUT, DS_ETCD_OP_DELETE } ds_etcd_op_kind;

typedef struct ds_etcd_op {
    ds_etcd_op_kind kind;
    union {
        ds_etcd_range range;
        ds_etcd_put put;
        ds_etcd_delete del;
    } as;
} ds_etcd_op;

typedef enum ds_etcd_target { DS_ETCD_CREATE_IS, DS_ETCD_VALUE_IS } ds_etcd_target;

/* Always "equal". With `end`: for every key in the range; CREATE_IS 0 then means that there is none. */
typedef struct ds_etcd_compare {
    ds_etcd_target target;
    ds_bytes key, end;
    int64_t create;
    ds_bytes value;
} ds_etcd_compare;

typedef struct ds_etcd_txn {
    const ds_etcd_compare *compares;
    size_t compare_count;
    const ds_etcd_op *then;
    size_t then_count;
    const ds_etcd_op *otherwise;
    size_t otherwise_count;
} ds_etcd_txn;

typedef struct ds_etcd_request {
    ds_etcd_kind kind;
    union {
        ds_etcd_range range;
        ds_etcd_txn txn;
        struct {
            int64_t id, ttl; /* seconds */
        } lease;             /* grant; keepalive and revoke use `id` */
        struct {
            const char *user, *password;
        } authenticate;
    } as;
} ds_etcd_request;

typedef struct ds_etcd_watch_create {
    int64_t id; /* ours, positive, never used twice on one stream */
    ds_bytes key, end;
    int64_t since;
    bool deletes_only, keys_only;
} ds_etcd_watch_create;

/* ---- answers ----------------------------------------------------------------------------------------------------- */

typedef struct ds_etcd_header {
    uint64_t cluster_id; /* 0: no header */
    int64_t revision;
} ds_etcd_header;

typedef struct ds_etcd_kv {
    ds_bytes key, value;
    int64_t create, mod, lease;
} ds_etcd_kv;

typedef struct ds_etcd_answer {
    ds_etcd_op_kind kind;
    const ds_etcd_kv *kvs;
    size_t count;
    bool more;
    int64_t total; /* keys in the range, however many of them are here */
    int64_t deleted;
} ds_etcd_answer;

#define DS_ETCD_UNREAD (-2) /* the answer holds a code, perhaps: there was no memory to read it */

/* gRPC's status of a failed request. */
typedef struct ds_etcd_status {
    int code;            /* -1: none was given */
    const char *message; /* the server's own words, "" when there are none */
} ds_etcd_status;

typedef struct ds_etcd_reply {
    ds_etcd_header header;
    bool succeeded;                /* txn */
    const ds_etcd_answer *answers; /* txn: of the branch taken, in order; range: one */
    size_t answer_count;
    int64_t ttl;         /* grant, keepalive; 0 = no such lease */
    const char *token;   /* authenticate */
    const char *version; /* status */
    bool failed;         /* the answer is an error after all: `status` */
    ds_etcd_status status;
} ds_etcd_reply;

typedef struct ds_etcd_event {
    bool deleted;
    ds_etcd_kv kv;
    bool has_previous;
    ds_etcd_kv previous;
} ds_etcd_event;

typedef struct ds_etcd_watch_reply {
    ds_etcd_header header;
    int64_t id;
    bool created, canceled;
    int64_t compact_revision;
    const char *cancel_reason; /* "" when there is none */
    const ds_etcd_event *events;
    size_t event_count;
    bool failed; /* the stream is over: `status` */
    ds_etcd_status status;
} ds_etcd_watch_reply;

/* The answer to operation `index` if it is of that kind, else NULL. */
const ds_etcd_answer *ds_etcd_answer_at(const ds_etcd_reply *reply, size_t index, ds_etcd_op_kind kind);

/* ---- arena: memory of decoded answers, released all at once ------------------------------------------------------ */

typedef struct ds_etcd_block ds_etcd_block;
typedef struct ds_etcd_arena {
    ds_etcd_block *blocks;
} ds_etcd_arena;

void *ds_etcd_arena_get(ds_etcd_arena *arena, size_t count, size_t size) DS_MUST_USE; /* zeroed; NULL: no memory */
const char *ds_etcd_arena_copy(ds_etcd_arena *arena, const char *bytes, size_t size) DS_MUST_USE; /* adds a NUL */
void ds_etcd_arena_clear(ds_etcd_arena *arena); /* forgets everything, keeps one small block; wipes what it keeps */
void ds_etcd_arena_free(ds_etcd_arena *arena);

#endif
