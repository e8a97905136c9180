/* etcd_pb_encode.c: etcd's requests as protobuf, written straight into a buffer. */
#include "etcd_pb.h"

#include <string.h>

/* How a field is written, in the lowest bits of its tag. */
enum { VARINT = 0, LENGTH = 2 };

/* rpc.proto. What begins with the same word is one message. */
enum {
    RANGE_KEY = 1,
    RANGE_END = 2,
    RANGE_LIMIT = 3,
    RANGE_REVISION = 4,
    RANGE_SORT_ORDER = 5,
    RANGE_SORT_TARGET = 6,
    RANGE_KEYS_ONLY = 8,
    RANGE_MIN_CREATE = 12,
    RANGE_MAX_CREATE = 13,
    PUT_KEY = 1,
    PUT_VALUE = 2,
    PUT_LEASE = 3,
    PUT_IGNORE_VALUE = 5,
    DELETE_KEY = 1,
    COMPARE_TARGET = 2,
    COMPARE_KEY = 3,
    COMPARE_CREATE = 5,
    COMPARE_VALUE = 7,
    COMPARE_END = 64,
    OP_RANGE = 1,
    OP_PUT = 2,
    OP_DELETE = 3,
    TXN_COMPARE = 1,
    TXN_SUCCESS = 2,
    TXN_FAILURE = 3,
    GRANT_TTL = 1,
    GRANT_ID = 2,
    LEASE_ID = 1, /* of a keepalive and a revocation */
    AUTHENTICATE_NAME = 1,
    AUTHENTICATE_PASSWORD = 2,
    WATCH_CREATE = 1,
    WATCH_CANCEL = 2,
    WATCH_PROGRESS = 3,
    CREATE_KEY = 1,
    CREATE_END = 2,
    CREATE_START = 3,
    CREATE_FILTERS = 5,
    CREATE_PREVIOUS = 6,
    CREATE_ID = 7,
    CREATE_FRAGMENT = 8,
    CANCEL_ID = 1,
};

enum { SORT_ASCEND = 1, SORT_DESCEND = 2, SORT_BY_CREATE = 2, TARGET_CREATE = 1, TARGET_VALUE = 3, NO_PUT = 0 };

/* ---- fields ------------------------------------------------------------------------------------------------------ */

static size_t put_varint(unsigned char *out, uint64_t number) {
    size_t size = 0;
    while (number >= 0x80) {
        out[size++] = (unsigned char)(number | 0x80);
        number >>= 7;
    }
    out[size++] = (unsigned char)number;
    return size;
}

static void add_varint(ds_buf *out, uint64_t number) {
    unsigned char bytes[10];
    ds_buf_add(out, bytes, put_varint(bytes, number));
}

static void add_tag(ds_buf *out, unsigned field, unsigned type) {
    add_varint(out, (uint64_t)field << 3 | type);
}

static void add_int(ds_buf *out, unsigned field, int64_t number) {
    add_tag(out, field, VARINT);
    add_varint(out, (uint64_t)number);
}

static void add_int_unless_0(ds_buf *out, unsigned field, int64_t number) {
    if (number != 0) {
        add_int(out, field, number);
    }
}

static void add_bytes(ds_buf *out, unsigned field, ds_bytes bytes) {
    add_tag(out, field, LENGTH);
    add_varint(out, bytes.size);
    ds_buf_add(out, bytes.data, bytes.size);
}

static void add_bytes_unless_empty(ds_buf *out, unsigned field, ds_bytes bytes) {
    if (bytes.size > 0) {
        add_bytes(out, field, bytes);
    }
}

static void add_text(ds_buf *out, unsigned field, const char *text) {
    add_bytes_unless_empty(out, field, (ds_bytes){text, strlen(text)});
}

/* A message within another one: begin_part, its fields, end_part with what begin_part gave. Its size goes before it and
 * is known only at its end; most parts are shorter than 128 bytes, so one byte is left for that. */
static size_t begin_part(ds_buf *out, unsigned field) {
    add_tag(out, field, LENGTH);
    ds_buf_add_char(out, 0);
    return out->size;
}

static void end_part(ds_buf *out, size_t begin) {
    unsigned char length[10];
    size_t size = out->size - begin, digits = put_varint(length, size);
    ds_buf_add(out, length, digits - 1); /* room */
    if (!out->failed) {
        memmove(out->data + begin + digits - 1, out->data + begin, size);
        memcpy(out->data + begin - 1, length, digits);
    }
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void add_range(ds_buf *out, const ds_etcd_range *range) {
    add_bytes_unless_empty(out, RANGE_KEY, range->key);
    add_bytes_unless_empty(out, RANGE_END, range->end);
    add_int_unless_0(out, RANGE_LIMIT, range->limit);
    add_int_unless_0(out, RANGE_REVISION, range->revision);
    if (range->order != DS_ETCD_BY_KEY) {
        add_int(out, RANGE_SORT_ORDER, range->order == DS_ETCD_OLDEST_FIRST ? SORT_ASCEND : SORT_DESCEND);
        add_int(out, RANGE_SORT_TARGET, SORT_BY_CREATE);
    }
    add_int_unless_0(out, RANGE_KEYS_ONLY, range->keys_only);
    add_int_unless_0(out, RANGE_MIN_CREATE, range->min_create);
    add_int_unless_0(out, RANGE_MAX_CREATE, range->max_create);
}

static void add_put(ds_buf *out, const ds_etcd_put *put) {
    add_bytes_unless_empty(out, PUT_KEY, put->key);
    if (!put->ignore_value) {
        add_bytes_unless_empty(out, PUT_VALUE, put->value);
    }
    add_int_unless_0(out, PUT_LEASE, put->lease);
    add_int_unless_0(out, PUT_IGNORE_VALUE, put->ignore_value);
}

/* The result asked for is EQUAL, which is 0. */
static void add_compare(ds_buf *out, const ds_etcd_compare *compare) {
    size_t part = begin_part(out, TXN_COMPARE);
    add_int(out, COMPARE_TARGET, compare->target == DS_ETCD_CREATE_IS ? TARGET_CREATE : TARGET_VALUE);
    add_bytes_unless_empty(out, COMPARE_KEY, compare->key);
    if (compare->target == DS_ETCD_CREATE_IS) {
        add_int(out, COMPARE_CREATE, compare->create);
    } else {
        add_bytes(out, COMPARE_VALUE, compare->value);
    }
    add_bytes_unless_empty(out, COMPARE_END, compare->end);
    end_part(out, part);
}

static void add_op(ds_buf *out, unsigned branch, const ds_etcd_op *op) {
    static const unsigned char fields[] = {
        [DS_ETCD_OP_RANGE] = OP_RANGE, [DS_ETCD_OP_PUT] = OP_PUT, [DS_ETCD_OP_DELETE] = OP_DELETE};
    size_t whole = begin_part(out, branch);
    size_t part = begin_part(out, fields[op->kind]);
    switch (op->kind) {
    case DS_ETCD_OP_RANGE:
        add_range(out, &op->as.range);
        break;
    case DS_ETCD_OP_PUT:
        add_put(out, &op->as.put);
        break;
    case DS_ETCD_OP_DELETE:
        add_bytes_unless_empty(out, DELETE_KEY, op->as.del.key);
        break;
    }
    end_part(out, part);
    end_part(out, whole);
}

static void add_txn(ds_buf *out, const ds_etcd_txn *txn) {
    for (size_t i = 0; i < txn->compare_count; i++) {
        add_compare(out, &txn->compares[i]);
    }
    for (size_t i = 0; i < txn->then_count; i++) {
        add_op(out, TXN_SUCCESS, &txn->then[i]);
    }
    for (size_t i = 0; i < txn->otherwise_count; i++) {
        add_op(out, TXN_FAILURE, &txn->otherwise[i]);
    }
}

void ds_etcd_pb_encode(ds_buf *out, const ds_etcd_request *request) {
    switch (request->kind) {
    case DS_ETCD_RANGE:
        add_range(out, &request->as.range);
        break;
    case DS_ETCD_TXN:
        add_txn(out, &request->as.txn);
        break;
    case DS_ETCD_GRANT:
        add_int_unless_0(out, GRANT_TTL, request->as.lease.ttl);
        add_int_unless_0(out, GRANT_ID, request->as.lease.id);
        break;
    case DS_ETCD_KEEPALIVE:
    case DS_ETCD_REVOKE:
        add_int_unless_0(out, LEASE_ID, request->as.lease.id);
        break;
    case DS_ETCD_AUTHENTICATE:
        add_text(out, AUTHENTICATE_NAME, request->as.authenticate.user);
        add_text(out, AUTHENTICATE_PASSWORD, request->as.authenticate.password);
        break;
    case DS_ETCD_STATUS:
    case DS_ETCD_KIND_COUNT:
        break;
    }
}

void ds_etcd_pb_watch_create(ds_buf *out, const ds_etcd_watch_create *create) {
    static const char no_put = NO_PUT;
    size_t part = begin_part(out, WATCH_CREATE);
    add_bytes_unless_empty(out, CREATE_KEY, create->key);
    add_bytes_unless_empty(out, CREATE_END, create->end);
    add_int_unless_0(out, CREATE_START, create->since);
    if (create->deletes_only) {
        add_bytes(out, CREATE_FILTERS, (ds_bytes){&no_put, 1}); /* a list of one varint */
    }
    /* What a deleted key held: the reason of an eviction, who left. It costs the server a read. */
    add_int_unless_0(out, CREATE_PREVIOUS, !create->keys_only);
    add_int_unless_0(out, CREATE_ID, create->id);
    add_int(out, CREATE_FRAGMENT, true); /* fragments keep one answer within the stream's cap */
    end_part(out, part);
}

void ds_etcd_pb_watch_cancel(ds_buf *out, int64_t id) {
    size_t part = begin_part(out, WATCH_CANCEL);
    add_int_unless_0(out, CANCEL_ID, id);
    end_part(out, part);
}

void ds_etcd_pb_watch_progress(ds_buf *out) {
    end_part(out, begin_part(out, WATCH_PROGRESS));
}
