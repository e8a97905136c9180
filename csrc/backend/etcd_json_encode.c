/* etcd_json_encode.c: etcd's requests as JSON text, written straight into a buffer. */
#include "etcd_json.h"

#include "../base/json.h"

#include <string.h>

/* `name` is written with whatever precedes it, such as ",\"limit\":". */
static void add_int(ds_buf *out, const char *name, int64_t number) {
    ds_buf_add_text(out, name);
    ds_buf_add_char(out, '"');
    ds_buf_add_int(out, number);
    ds_buf_add_char(out, '"');
}

static void add_int_unless_0(ds_buf *out, const char *name, int64_t number) {
    if (number != 0) {
        add_int(out, name, number);
    }
}

static void add_bytes(ds_buf *out, const char *name, ds_bytes bytes) {
    ds_buf_add_text(out, name);
    ds_buf_add_char(out, '"');
    ds_buf_add_base64(out, bytes.data, bytes.size);
    ds_buf_add_char(out, '"');
}

static void add_bytes_unless_empty(ds_buf *out, const char *name, ds_bytes bytes) {
    if (bytes.size > 0) {
        add_bytes(out, name, bytes);
    }
}

static void add_range(ds_buf *out, const ds_etcd_range *range) {
    add_bytes(out, "{\"key\":", range->key);
    add_bytes_unless_empty(out, ",\"range_end\":", range->end);
    if (range->order == DS_ETCD_OLDEST_FIRST) {
        ds_buf_add_text(out, ",\"sort_order\":\"ASCEND\",\"sort_target\":\"CREATE\"");
    } else if (range->order == DS_ETCD_NEWEST_FIRST) {
        ds_buf_add_text(out, ",\"sort_order\":\"DESCEND\",\"sort_target\":\"CREATE\"");
    }
    add_int_unless_0(out, ",\"limit\":", range->limit);
    add_int_unless_0(out, ",\"revision\":", range->revision);
    add_int_unless_0(out, ",\"min_create_revision\":", range->min_create);
    add_int_unless_0(out, ",\"max_create_revision\":", range->max_create);
    ds_buf_add_text(out, range->keys_only ? ",\"keys_only\":true}" : "}");
}

static void add_put(ds_buf *out, const ds_etcd_put *put) {
    add_bytes(out, "{\"key\":", put->key);
    if (put->ignore_value) {
        ds_buf_add_text(out, ",\"ignore_value\":true");
    } else {
        add_bytes_unless_empty(out, ",\"value\":", put->value);
    }
    add_int_unless_0(out, ",\"lease\":", put->lease);
    ds_buf_add_char(out, '}');
}

static void add_compare(ds_buf *out, const ds_etcd_compare *compare) {
    add_bytes(out, "{\"result\":\"EQUAL\",\"key\":", compare->key);
    add_bytes_unless_empty(out, ",\"range_end\":", compare->end);
    if (compare->target == DS_ETCD_CREATE_IS) {
        add_int(out, ",\"target\":\"CREATE\",\"create_revision\":", compare->create);
    } else {
        add_bytes(out, ",\"target\":\"VALUE\",\"value\":", compare->value);
    }
    ds_buf_add_char(out, '}');
}

static void add_op(ds_buf *out, const ds_etcd_op *op) {
    switch (op->kind) {
    case DS_ETCD_OP_RANGE:
        ds_buf_add_text(out, "{\"request_range\":");
        add_range(out, &op->as.range);
        break;
    case DS_ETCD_OP_PUT:
        ds_buf_add_text(out, "{\"request_put\":");
        add_put(out, &op->as.put);
        break;
    case DS_ETCD_OP_DELETE:
        add_bytes(out, "{\"request_delete_range\":{\"key\":", op->as.del.key);
        ds_buf_add_char(out, '}');
        break;
    }
    ds_buf_add_char(out, '}');
}

static void add_ops(ds_buf *out, const char *name, const ds_etcd_op *ops, size_t count) {
    ds_buf_add_text(out, name);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            ds_buf_add_char(out, ',');
        }
        add_op(out, &ops[i]);
    }
    ds_buf_add_char(out, ']');
}

static void add_txn(ds_buf *out, const ds_etcd_txn *txn) {
    ds_buf_add_text(out, "{\"compare\":[");
    for (size_t i = 0; i < txn->compare_count; i++) {
        if (i > 0) {
            ds_buf_add_char(out, ',');
        }
        add_compare(out, &txn->compares[i]);
    }
    add_ops(out, "],\"success\":[", txn->then, txn->then_count);
    add_ops(out, ",\"failure\":[", txn->otherwise, txn->otherwise_count);
    ds_buf_add_char(out, '}');
}

void ds_etcd_json_encode(ds_buf *out, const ds_etcd_request *request) {
    switch (request->kind) {
    case DS_ETCD_RANGE:
        add_range(out, &request->as.range);
        break;
    case DS_ETCD_TXN:
        add_txn(out, &request->as.txn);
        break;
    case DS_ETCD_GRANT:
        add_int(out, "{\"TTL\":", request->as.lease.ttl);
        add_int(out, ",\"ID\":", request->as.lease.id);
        ds_buf_add_char(out, '}');
        break;
    case DS_ETCD_KEEPALIVE:
    case DS_ETCD_REVOKE:
        add_int(out, "{\"ID\":", request->as.lease.id);
        ds_buf_add_char(out, '}');
        break;
    case DS_ETCD_AUTHENTICATE:
        ds_buf_add_text(out, "{\"name\":");
        ds_json_add_text(out, request->as.authenticate.user, strlen(request->as.authenticate.user));
        ds_buf_add_text(out, ",\"password\":");
        ds_json_add_text(out, request->as.authenticate.password, strlen(request->as.authenticate.password));
        ds_buf_add_char(out, '}');
        break;
    case DS_ETCD_STATUS:
    case DS_ETCD_KIND_COUNT:
        ds_buf_add_text(out, "{}");
        break;
    }
}

void ds_etcd_json_watch_create(ds_buf *out, const ds_etcd_watch_create *create) {
    add_bytes(out, "{\"create_request\":{\"key\":", create->key);
    add_bytes_unless_empty(out, ",\"range_end\":", create->end);
    add_int_unless_0(out, ",\"start_revision\":", create->since);
    if (create->deletes_only) {
        ds_buf_add_text(out, ",\"filters\":[\"NOPUT\"]");
    }
    if (!create->keys_only) {
        /* What a deleted key held: the reason of an eviction, who left. It costs the server a read. */
        ds_buf_add_text(out, ",\"prev_kv\":true");
    }
    /* Fragments keep one answer within the stream's cap. */
    add_int(out, ",\"fragment\":true,\"watch_id\":", create->id);
    ds_buf_add_text(out, "}}\n");
}

void ds_etcd_json_watch_cancel(ds_buf *out, int64_t id) {
    add_int(out, "{\"cancel_request\":{\"watch_id\":", id);
    ds_buf_add_text(out, "}}\n");
}

void ds_etcd_json_watch_progress(ds_buf *out) {
    ds_buf_add_text(out, "{\"progress_request\":{}}\n");
}
