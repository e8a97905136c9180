/* model_store.c: the keys of a model etcd: reading, transactions, and who watches them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fake_world_parts.h"
#include "model_parts.h"

#define CLUSTER "4711"

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static void read_bytes(ds_buf *out, const ds_json *object, const char *name) {
    const char *text = ds_json_text(object, name);
    ds_buf_clear(out);
    if (text != NULL && !ds_base64_decode(text, strlen(text), out)) {
        fw_misuse("model etcd: %s is no base64: %s", name, text);
    }
}

int64_t model_int(const ds_json *object, const char *name) {
    int64_t number = 0;
    (void)ds_json_int64(object, name, &number);
    return number;
}

static int compare(const ds_buf *a, const ds_buf *b) {
    size_t size = a->size < b->size ? a->size : b->size;
    int order = size > 0 ? memcmp(a->data, b->data, size) : 0;
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

static bool within(const ds_buf *name, const ds_buf *begin, const ds_buf *end) {
    return end->size == 0 ? compare(name, begin) == 0 : compare(name, begin) >= 0 && compare(name, end) < 0;
}

static void assign(ds_buf *to, const ds_buf *from) {
    ds_buf_clear(to);
    ds_buf_add(to, from->data, from->size);
}

void model_add_header(ds_buf *out, const model_etcd *m) {
    ds_buf_add_format(out,
                      "\"header\":{\"cluster_id\":\"" CLUSTER "\",\"member_id\":\"1\",\"revision\":\"%" PRId64 "\"}",
                      m->revision);
}

static void add_bytes(ds_buf *out, const char *name, const ds_buf *bytes) {
    ds_buf_add_format(out, "\"%s\":\"", name);
    ds_buf_add_base64(out, bytes->data, bytes->size);
    ds_buf_add_char(out, '"');
}

static void add_kv(ds_buf *out, const key *k, bool keys_only) {
    ds_buf_add_char(out, '{');
    add_bytes(out, "key", &k->name);
    ds_buf_add_format(out, ",\"create_revision\":\"%" PRId64 "\",\"mod_revision\":\"%" PRId64 "\",\"version\":\"1\"",
                      k->create, k->mod);
    if (k->lease != 0) {
        ds_buf_add_format(out, ",\"lease\":\"%" PRId64 "\"", k->lease);
    }
    if (!keys_only) {
        ds_buf_add_char(out, ',');
        add_bytes(out, "value", &k->value);
    }
    ds_buf_add_char(out, '}');
}

/* ---- watches ----------------------------------------------------------------------------------------------------- */

static void send_line(fw_request *stream, ds_buf *line) {
    ds_buf_add_char(line, '\n');
    fw_data(stream, DS_MS, line->data, line->size);
    ds_buf_free(line);
}

static void tell(model_etcd *m, const key *k, bool deleted, int64_t revision) {
    for (size_t i = 0; i < m->watch_count; i++) {
        watch *w = &m->watches[i];
        if (w->stream == NULL || w->stream->ended || w->stream->cancelled || !within(&k->name, &w->begin, &w->end) ||
            (w->deletes_only && !deleted)) {
            continue;
        }
        ds_buf line = DS_BUF_EMPTY;
        ds_buf_add_text(&line, "{\"result\":{");
        model_add_header(&line, m);
        ds_buf_add_format(&line, ",\"watch_id\":\"%" PRId64 "\",\"events\":[{", w->id);
        if (deleted) {
            ds_buf_add_text(&line, "\"type\":\"DELETE\",\"kv\":{");
            add_bytes(&line, "key", &k->name);
            ds_buf_add_format(&line, ",\"mod_revision\":\"%" PRId64 "\"},\"prev_kv\":", revision);
        } else {
            ds_buf_add_text(&line, "\"kv\":");
        }
        add_kv(&line, k, false);
        ds_buf_add_text(&line, "}]}}");
        send_line(w->stream, &line);
    }
}

static void create_watch(model_etcd *m, fw_request *stream, const ds_json *create) {
    if (m->watch_count == DS_COUNT(m->watches)) {
        fw_misuse("model etcd: too many watches");
    }
    watch *w = &m->watches[m->watch_count++];
    w->stream = stream;
    w->id = model_int(create, "watch_id");
    w->deletes_only = ds_json_array(create, "filters") != NULL;
    read_bytes(&w->begin, create, "key");
    read_bytes(&w->end, create, "range_end");
    ds_buf line = DS_BUF_EMPTY;
    ds_buf_add_text(&line, "{\"result\":{");
    model_add_header(&line, m);
    ds_buf_add_format(&line, ",\"watch_id\":\"%" PRId64 "\",\"created\":true}}", w->id);
    send_line(stream, &line);
}

void model_watch_bytes(model_etcd *m, fw_request *stream, const char *bytes, size_t count) {
    static const ds_json_limits limits = {32, 10000};
    while (count > 0) {
        const char *end = memchr(bytes, '\n', count);
        size_t size = end != NULL ? (size_t)(end - bytes) : count;
        bool no_memory;
        ds_json *line = ds_json_parse(bytes, size, &limits, &no_memory, NULL);
        const ds_json *create = ds_json_object(line, "create_request");
        const ds_json *cancel = ds_json_object(line, "cancel_request");
        if (create != NULL) {
            create_watch(m, stream, create);
        }
        for (size_t i = 0; cancel != NULL && i < m->watch_count; i++) {
            if (m->watches[i].stream == stream && m->watches[i].id == model_int(cancel, "watch_id")) {
                m->watches[i].stream = NULL;
            }
        }
        ds_json_free(line);
        size += end != NULL;
        bytes += size;
        count -= size;
    }
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static key *find(model_etcd *m, const ds_buf *name) {
    for (size_t i = 0; i < m->key_count; i++) {
        if (compare(&m->keys[i].name, name) == 0) {
            return &m->keys[i];
        }
    }
    return NULL;
}

void model_remove(model_etcd *m, size_t index, int64_t revision) {
    key gone = m->keys[index];
    memmove(&m->keys[index], &m->keys[index + 1], (m->key_count - index - 1) * sizeof(key));
    m->key_count--;
    tell(m, &gone, true, revision);
    ds_buf_free(&gone.name);
    ds_buf_free(&gone.value);
}

static void put(model_etcd *m, const ds_json *body, int64_t revision) {
    ds_buf name = DS_BUF_EMPTY;
    read_bytes(&name, body, "key");
    key *k = find(m, &name);
    if (k == NULL) {
        if (m->key_count == KEYS) {
            fw_misuse("model etcd: too many keys");
        }
        k = &m->keys[m->key_count++];
        *k = (key){.create = revision};
        assign(&k->name, &name);
    }
    if (!ds_json_bool(body, "ignore_value", false)) {
        read_bytes(&k->value, body, "value");
    }
    k->mod = revision;
    k->lease = model_int(body, "lease");
    ds_buf_free(&name);
    tell(m, k, false, revision);
}

static int64_t delete_range(model_etcd *m, const ds_buf *begin, const ds_buf *end, int64_t revision) {
    int64_t deleted = 0;
    for (size_t i = m->key_count; i-- > 0;) {
        if (within(&m->keys[i].name, begin, end)) {
            model_remove(m, i, revision);
            deleted++;
        }
    }
    return deleted;
}

static bool descending;

static int by_creation(const void *a, const void *b) {
    int64_t x = (*(key *const *)a)->create;
    int64_t y = (*(key *const *)b)->create;
    int order = (x > y) - (x < y);
    return descending ? -order : order;
}

static int by_name(const void *a, const void *b) {
    return compare(&(*(key *const *)a)->name, &(*(key *const *)b)->name);
}

void model_range(model_etcd *m, const ds_json *body, ds_buf *out) {
    ds_buf begin = DS_BUF_EMPTY, end = DS_BUF_EMPTY;
    key *found[KEYS];
    size_t count = 0;
    int64_t least = model_int(body, "min_create_revision");
    int64_t most = model_int(body, "max_create_revision");
    int64_t limit = model_int(body, "limit");
    const char *order = ds_json_text(body, "sort_order");
    read_bytes(&begin, body, "key");
    read_bytes(&end, body, "range_end");
    for (size_t i = 0; i < m->key_count; i++) {
        key *k = &m->keys[i];
        if (within(&k->name, &begin, &end) && k->create >= least && (most == 0 || k->create <= most)) {
            found[count++] = k;
        }
    }
    descending = order != NULL && strcmp(order, "DESCEND") == 0;
    qsort(found, count, sizeof(found[0]), order != NULL ? by_creation : by_name);
    size_t shown = limit > 0 && (size_t)limit < count ? (size_t)limit : count;
    ds_buf_add_format(out, ",\"count\":\"%zu\",\"more\":%s,\"kvs\":[", count, shown < count ? "true" : "false");
    for (size_t i = 0; i < shown; i++) {
        if (i > 0) {
            ds_buf_add_char(out, ',');
        }
        add_kv(out, found[i], ds_json_bool(body, "keys_only", false));
    }
    ds_buf_add_char(out, ']');
    ds_buf_free(&begin);
    ds_buf_free(&end);
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

static bool holds(model_etcd *m, const ds_json *condition) {
    ds_buf begin = DS_BUF_EMPTY, end = DS_BUF_EMPTY, value = DS_BUF_EMPTY;
    bool by_value = strcmp(ds_json_text(condition, "target"), "VALUE") == 0;
    bool any = false;
    bool all = true;
    read_bytes(&begin, condition, "key");
    read_bytes(&end, condition, "range_end");
    read_bytes(&value, condition, "value");
    for (size_t i = 0; i < m->key_count; i++) {
        const key *k = &m->keys[i];
        if (within(&k->name, &begin, &end)) {
            any = true;
            all = all &&
                  (by_value ? compare(&k->value, &value) == 0 : k->create == model_int(condition, "create_revision"));
        }
    }
    if (!any) { /* a key that is not there was created at revision 0 and has no value */
        all = !by_value && model_int(condition, "create_revision") == 0;
    }
    ds_buf_free(&begin);
    ds_buf_free(&end);
    ds_buf_free(&value);
    return all;
}

static bool lease_lives(const model_etcd *m, int64_t id) {
    for (size_t i = 0; i < m->lease_count; i++) {
        if (m->leases[i].id == id) {
            return true;
        }
    }
    return id == 0;
}

static void run_op(model_etcd *m, const ds_json *op, int64_t revision, ds_buf *out) {
    const ds_json *body;
    if ((body = ds_json_object(op, "request_put")) != NULL) {
        put(m, body, revision);
        ds_buf_add_text(out, "{\"response_put\":{}}");
    } else if ((body = ds_json_object(op, "request_delete_range")) != NULL) {
        ds_buf begin = DS_BUF_EMPTY, end = DS_BUF_EMPTY;
        read_bytes(&begin, body, "key");
        read_bytes(&end, body, "range_end");
        ds_buf_add_format(out, "{\"response_delete_range\":{\"deleted\":\"%" PRId64 "\"}}",
                          delete_range(m, &begin, &end, revision));
        ds_buf_free(&begin);
        ds_buf_free(&end);
    } else {
        ds_buf range_text = DS_BUF_EMPTY;
        model_range(m, ds_json_object(op, "request_range"), &range_text);
        ds_buf_add_format(out, "{\"response_range\":{%s}}", range_text.data + 1);
        ds_buf_free(&range_text);
    }
}

/* Returns the HTTP status. */
int model_txn(model_etcd *m, const ds_json *body, ds_buf *out) {
    bool succeeded = true;
    bool writes = false;
    const ds_json *item;
    for (item = ds_json_first(ds_json_array(body, "compare")); item != NULL; item = ds_json_next(item)) {
        succeeded = holds(m, item) && succeeded;
    }
    const ds_json *ops = ds_json_array(body, succeeded ? "success" : "failure");
    for (item = ds_json_first(ops); item != NULL; item = ds_json_next(item)) {
        const ds_json *one = ds_json_object(item, "request_put");
        writes = writes || one != NULL || ds_json_object(item, "request_delete_range") != NULL;
        if (one != NULL && !lease_lives(m, model_int(one, "lease"))) {
            ds_buf_add_text(out, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5,"
                                 "\"message\":\"etcdserver: requested lease not found\"}");
            return 404;
        }
    }
    int64_t revision = m->revision + writes;
    ds_buf answers = DS_BUF_EMPTY;
    for (item = ds_json_first(ops); item != NULL; item = ds_json_next(item)) {
        if (answers.size > 0) {
            ds_buf_add_char(&answers, ',');
        }
        run_op(m, item, revision, &answers);
    }
    m->revision = revision;
    ds_buf_add_char(out, '{');
    model_add_header(out, m);
    ds_buf_add_format(out, ",\"succeeded\":%s,\"responses\":[%s]}", succeeded ? "true" : "false",
                      answers.data != NULL ? answers.data : "");
    ds_buf_free(&answers);
    return 200;
}
