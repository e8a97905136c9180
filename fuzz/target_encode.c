/* target_encode.c: what the library writes, read back: requests to etcd, keys, names, values, stamps. */
#include "fuzz.h"

#include "../csrc/backend/etcd.h"
#include "../csrc/backend/etcd_json.h"
#include "../csrc/backend/stamp.h"
#include "../csrc/base/json.h"
#include "../csrc/core/name.h"
#include "../csrc/core/value.h"

static ds_bytes some(fz *in) {
    ds_bytes bytes;
    bytes.data = fz_bytes(in, 600, &bytes.size);
    return bytes;
}

/* ---- a request, as a server would read it ------------------------------------------------------------------------ */

static void same_bytes(const ds_json *object, const char *name, ds_bytes expected, bool always) {
    const char *text = ds_json_text(object, name);
    if (text == NULL) {
        FZ_CHECK(!always && expected.size == 0 && ds_json_member(object, name) == NULL);
        return;
    }
    ds_buf decoded = DS_BUF_EMPTY;
    FZ_CHECK(ds_base64_decode(text, strlen(text), &decoded));
    FZ_CHECK(decoded.size == expected.size &&
             (decoded.size == 0 || memcmp(decoded.data, expected.data, decoded.size) == 0));
    ds_buf_free(&decoded);
}

static void same_int(const ds_json *object, const char *name, int64_t expected) {
    int64_t got = 0;
    FZ_CHECK(ds_json_member(object, name) == NULL || ds_json_int64(object, name, &got));
    FZ_CHECK(got == expected);
}

static void same_range(const ds_json *json, const ds_etcd_range *range) {
    same_bytes(json, "key", range->key, true);
    same_bytes(json, "range_end", range->end, false);
    same_int(json, "limit", range->limit);
    same_int(json, "revision", range->revision);
    same_int(json, "min_create_revision", range->min_create);
    same_int(json, "max_create_revision", range->max_create);
    FZ_CHECK(ds_json_bool(json, "keys_only", false) == range->keys_only);
    const char *order = ds_json_text(json, "sort_order");
    FZ_CHECK((order == NULL) == (range->order == DS_ETCD_BY_KEY));
    FZ_CHECK(order == NULL || strcmp(order, range->order == DS_ETCD_OLDEST_FIRST ? "ASCEND" : "DESCEND") == 0);
}

static void same_op(const ds_json *json, const ds_etcd_op *op) {
    switch (op->kind) {
    case DS_ETCD_OP_RANGE:
        same_range(ds_json_object(json, "request_range"), &op->as.range);
        break;
    case DS_ETCD_OP_PUT: {
        const ds_json *put = ds_json_object(json, "request_put");
        same_bytes(put, "key", op->as.put.key, true);
        if (op->as.put.ignore_value) {
            FZ_CHECK(ds_json_bool(put, "ignore_value", false) && ds_json_member(put, "value") == NULL);
        } else {
            same_bytes(put, "value", op->as.put.value, false);
        }
        same_int(put, "lease", op->as.put.lease);
        break;
    }
    case DS_ETCD_OP_DELETE:
        same_bytes(ds_json_object(json, "request_delete_range"), "key", op->as.del.key, true);
        break;
    }
}

static void same_ops(const ds_json *array, const ds_etcd_op *ops, size_t count) {
    const ds_json *item = ds_json_first(array);
    FZ_CHECK(array != NULL);
    for (size_t i = 0; i < count; i++, item = ds_json_next(item)) {
        FZ_CHECK(item != NULL);
        same_op(item, &ops[i]);
    }
    FZ_CHECK(item == NULL);
}

static void same_txn(const ds_json *json, const ds_etcd_txn *txn) {
    const ds_json *item = ds_json_first(ds_json_array(json, "compare"));
    for (size_t i = 0; i < txn->compare_count; i++, item = ds_json_next(item)) {
        const ds_etcd_compare *compare = &txn->compares[i];
        same_bytes(item, "key", compare->key, true);
        same_bytes(item, "range_end", compare->end, false);
        if (compare->target == DS_ETCD_CREATE_IS) {
            same_int(item, "create_revision", compare->create);
        } else {
            same_bytes(item, "value", compare->value, true);
        }
    }
    FZ_CHECK(item == NULL);
    same_ops(ds_json_array(json, "success"), txn->then, txn->then_count);
    same_ops(ds_json_array(json, "failure"), txn->otherwise, txn->otherwise_count);
}

static ds_json *read_back(const ds_buf *out) {
    ds_json_limits limits = {32, out->size / 2 + 16};
    FZ_CHECK(!out->failed);
    ds_json *json = ds_json_parse(out->data, out->size, &limits, NULL, NULL);
    FZ_CHECK(json != NULL);
    return json;
}

/* ---- made from bytes --------------------------------------------------------------------------------------------- */

static ds_etcd_range a_range(fz *in) {
    return (ds_etcd_range){.key = some(in),
                           .end = some(in),
                           .order = (ds_etcd_order)fz_pick(in, 3),
                           .limit = fz_int64(in),
                           .revision = fz_int64(in),
                           .min_create = fz_int64(in),
                           .max_create = fz_int64(in),
                           .keys_only = fz_flag(in)};
}

static void some_ops(fz *in, ds_etcd_op *ops, size_t *count) {
    *count = fz_pick(in, 4);
    for (size_t i = 0; i < *count; i++) {
        ops[i].kind = (ds_etcd_op_kind)fz_pick(in, 3);
        if (ops[i].kind == DS_ETCD_OP_RANGE) {
            ops[i].as.range = a_range(in);
        } else if (ops[i].kind == DS_ETCD_OP_PUT) {
            ops[i].as.put = (ds_etcd_put){some(in), some(in), fz_int64(in), fz_flag(in), fz_flag(in)};
        } else {
            ops[i].as.del = (ds_etcd_delete){some(in)};
        }
    }
}

static void a_txn(fz *in) {
    ds_etcd_compare compares[3];
    ds_etcd_op then[3], otherwise[3];
    size_t compare_count = fz_pick(in, 4), then_count, otherwise_count;
    for (size_t i = 0; i < compare_count; i++) {
        compares[i] = (ds_etcd_compare){(ds_etcd_target)fz_pick(in, 2), some(in), some(in), fz_int64(in), some(in)};
    }
    some_ops(in, then, &then_count);
    some_ops(in, otherwise, &otherwise_count);
    ds_etcd_request request = {.kind = DS_ETCD_TXN};
    request.as.txn = (ds_etcd_txn){compares, compare_count, then, then_count, otherwise, otherwise_count};
    ds_buf out = DS_BUF_EMPTY;
    ds_etcd_json_encode(&out, &request);
    ds_json *json = read_back(&out);
    same_txn(json, &request.as.txn);
    ds_json_free(json);
    ds_buf_free(&out);
}

static void simple(fz *in, ds_etcd_kind kind) {
    ds_etcd_request request = {.kind = kind};
    if (kind == DS_ETCD_RANGE) {
        request.as.range = a_range(in);
    } else if (kind == DS_ETCD_AUTHENTICATE) {
        request.as.authenticate.user = fz_text(in, 300);
        request.as.authenticate.password = fz_text(in, 300);
    } else {
        request.as.lease.id = fz_int64(in);
        request.as.lease.ttl = fz_int64(in);
    }
    ds_buf out = DS_BUF_EMPTY;
    ds_etcd_json_encode(&out, &request);
    ds_json *json = read_back(&out);
    if (kind == DS_ETCD_RANGE) {
        same_range(json, &request.as.range);
    } else if (kind == DS_ETCD_AUTHENTICATE) {
        const char *user = request.as.authenticate.user;
        FZ_CHECK(!ds_utf8_valid(user, strlen(user)) || strcmp(ds_json_text(json, "name"), user) == 0);
        FZ_CHECK(ds_json_text(json, "password") != NULL);
    } else if (kind != DS_ETCD_STATUS) {
        same_int(json, "ID", request.as.lease.id);
        same_int(json, "TTL", kind == DS_ETCD_GRANT ? request.as.lease.ttl : 0);
    }
    ds_json_free(json);
    ds_buf_free(&out);
}

static void a_watch(fz *in) {
    ds_etcd_watch_create create = {fz_int64(in), some(in), some(in), fz_int64(in), fz_flag(in), fz_flag(in)};
    ds_buf out = DS_BUF_EMPTY;
    ds_etcd_json_watch_create(&out, &create);
    FZ_CHECK(out.size > 0 && out.data[out.size - 1] == '\n' && memchr(out.data, '\n', out.size - 1) == NULL);
    out.size--;
    ds_json *json = read_back(&out);
    const ds_json *inner = ds_json_object(json, "create_request");
    same_bytes(inner, "key", create.key, true);
    same_bytes(inner, "range_end", create.end, false);
    same_int(inner, "start_revision", create.since);
    same_int(inner, "watch_id", create.id);
    FZ_CHECK((ds_json_array(inner, "filters") != NULL) == create.deletes_only);
    ds_json_free(json);
    ds_buf_free(&out);
}

/* ---- names, keys, values ----------------------------------------------------------------------------------------- */

static void a_name(fz *in) {
    const char *name = fz_text(in, 700);
    ds_buf encoded = DS_BUF_EMPTY, decoded = DS_BUF_EMPTY;
    ds_name_encode(&encoded, name);
    FZ_CHECK(memchr(encoded.data != NULL ? encoded.data : "", '/', encoded.size) == NULL);
    ds_name_decode(&decoded, encoded.data, encoded.size);
    FZ_CHECK(decoded.size == strlen(name) && memcmp(decoded.size > 0 ? decoded.data : "", name, decoded.size) == 0);
    ds_buf_free(&encoded);
    ds_buf_free(&decoded);
}

/* What is below a path, and nothing else, lies between the ends of its range. */
static void a_range_of_keys(fz *in) {
    const char *path = fz_text(in, 300), *below = fz_text(in, 100), *other = fz_text(in, 300);
    ds_buf begin = DS_BUF_EMPTY, end = DS_BUF_EMPTY, key = DS_BUF_EMPTY;
    ds_etcd_key_range(&begin, &end, path);
    ds_buf_add_format(&key, "%s/%s", path, below);
    FZ_CHECK(strcmp(key.data, begin.data) >= 0 && strcmp(key.data, end.data) < 0);
    bool inside = strcmp(other, begin.data) >= 0 && strcmp(other, end.data) < 0;
    bool is_below = strncmp(other, path, strlen(path)) == 0 && other[strlen(path)] == '/';
    FZ_CHECK(inside == is_below);
    ds_buf_free(&begin);
    ds_buf_free(&end);
    ds_buf_free(&key);
}

static void a_value(fz *in) {
    size_t size;
    bool is_json = fz_flag(in), none = fz_pick(in, 8) == 0;
    const char *id = fz_text(in, 100);
    int64_t limit = INT64_C(253402300799999);
    int64_t queued = fz_int64(in) % limit, acquired = fz_int64(in) % limit;
    queued = queued < 0 ? -queued : queued;
    acquired = acquired < 0 ? -acquired : acquired;
    const char *value = fz_bytes(in, 2000, &size);
    ds_buf out = DS_BUF_EMPTY;
    const char *why = NULL;
    if (!ds_value_make(&out, id, none ? NULL : value, size, is_json && !none, false, queued, acquired, &why)) {
        FZ_CHECK(is_json && why != NULL && out.size == 0);
        ds_buf_free(&out);
        return;
    }
    ds_value read;
    FZ_CHECK(ds_value_read(out.data, out.size, &read));
    FZ_CHECK(read.id != NULL);
    FZ_CHECK(!ds_utf8_valid(id, strlen(id)) || strcmp(read.id, id) == 0);
    FZ_CHECK(read.queued_at_ms == queued && read.acquired_at_ms == acquired);
    FZ_CHECK((read.value == NULL) == none);
    if (!none && !is_json) {
        FZ_CHECK(!read.value_is_json && read.value_size == size && memcmp(read.value, value, size) == 0);
    }
    ds_value_free(&read);
    ds_buf_free(&out);
}

static void a_stamp(fz *in) {
    ds_lease lease = {.nonce = 5, .prefix = "p", .info = fz_flag(in) ? "{}" : "{\"id\":\"n\"}"};
    uint64_t epoch = (uint64_t)fz_int64(in) & INT64_MAX, got = 0;
    ds_buf out = DS_BUF_EMPTY;
    ds_stamp_make(&out, &lease, epoch);
    FZ_CHECK(ds_stamp_epoch(out.data, out.size, &got) && got == epoch);
    ds_buf_free(&out);
    ds_bytes value = some(in);
    (void)ds_stamp_epoch(value.data, value.size, &got);
    const char *by = fz_text(in, 100);
    ds_stamp_broken(&out, value.data, value.size, by);
    ds_json *json = read_back(&out);
    FZ_CHECK(ds_json_is_object(json) && ds_json_member(json, "broken_by") != NULL);
    ds_json_free(json);
    ds_buf_free(&out);
}

static void a_text(fz *in) {
    size_t size;
    const char *text = fz_bytes(in, 2000, &size);
    ds_buf out = DS_BUF_EMPTY;
    ds_json_add_text(&out, text, size);
    if (memchr(text, '\0', size) == NULL) {
        ds_json *json = read_back(&out);
        const char *read = ds_json_value_text(json);
        FZ_CHECK(read != NULL && ds_utf8_valid(read, strlen(read)));
        FZ_CHECK(!ds_utf8_valid(text, size) || (strlen(read) == size && memcmp(read, text, size) == 0));
        ds_json_free(json);
    }
    ds_buf_free(&out);
}

void fz_target(fz *in) {
    size_t kind = fz_pick(in, DS_ETCD_KIND_COUNT + 6);
    switch (kind) {
    case DS_ETCD_TXN:
        a_txn(in);
        break;
    case DS_ETCD_KIND_COUNT:
        a_watch(in);
        break;
    case DS_ETCD_KIND_COUNT + 1:
        a_name(in);
        break;
    case DS_ETCD_KIND_COUNT + 2:
        a_range_of_keys(in);
        break;
    case DS_ETCD_KIND_COUNT + 3:
        a_value(in);
        break;
    case DS_ETCD_KIND_COUNT + 4:
        a_stamp(in);
        break;
    case DS_ETCD_KIND_COUNT + 5:
        a_text(in);
        break;
    default:
        simple(in, (ds_etcd_kind)kind);
    }
}
