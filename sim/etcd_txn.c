/* etcd_txn.c: ranges, puts, deletes and transactions of the model, from JSON to JSON. */
#include <stdlib.h>
#include <string.h>

#include "etcd_model.h"

#define HITS_MAX 256

void em_header(const em *e, ds_buf *out, int64_t revision) {
    ds_buf_add_format(
        out, "\"header\":{\"cluster_id\":\"%llu\",\"member_id\":\"7\",\"revision\":\"%lld\",\"raft_term\":\"%lld\"}",
        (unsigned long long)e->cluster_id, (long long)revision, (long long)e->term);
}

void em_add_kv(ds_buf *out, const em_kv *kv, bool keys_only) {
    ds_buf_add_text(out, "{\"key\":\"");
    ds_buf_add_base64(out, kv->key.data, kv->key.size);
    ds_buf_add_char(out, '"');
    if (kv->create > 0) {
        ds_buf_add_format(out, ",\"create_revision\":\"%lld\",\"version\":\"1\"", (long long)kv->create);
    }
    ds_buf_add_format(out, ",\"mod_revision\":\"%lld\"", (long long)kv->mod);
    if (kv->value.size > 0 && !keys_only) {
        ds_buf_add_text(out, ",\"value\":\"");
        ds_buf_add_base64(out, kv->value.data, kv->value.size);
        ds_buf_add_char(out, '"');
    }
    if (kv->lease != 0) {
        ds_buf_add_format(out, ",\"lease\":\"%lld\"", (long long)kv->lease);
    }
    ds_buf_add_char(out, '}');
}

bool em_bytes_of(const ds_json *object, const char *name, ds_buf *scratch, em_bytes *out) {
    const char *text = ds_json_text(object, name);
    *out = (em_bytes){NULL, 0};
    if (ds_json_member(object, name) == NULL) {
        *out = em_copy("", 0);
        return true;
    }
    if (text == NULL || !ds_base64_decode(text, strlen(text), scratch)) {
        *out = em_copy("", 0);
        return false;
    }
    *out = em_copy(scratch->data, scratch->size);
    return true;
}

void em_bytes_free(em_bytes *bytes) {
    (void)sim_alloc(bytes->data, 0);
    *bytes = (em_bytes){NULL, 0};
}

static int64_t number(const ds_json *object, const char *name) {
    int64_t value = 0;
    (void)ds_json_int64(object, name, &value);
    return value;
}

static bool fail(em_error *error, int http, int code, const char *message) {
    *error = (em_error){http, code, message};
    return false;
}

static bool malformed(em_error *error) {
    return fail(error, 400, 3, "model: malformed request");
}

/* ---- range ------------------------------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b) {
    return em_compare((*(const em_kv *const *)a)->key, (*(const em_kv *const *)b)->key);
}

static int by_create(const void *a, const void *b) {
    int64_t left = (*(const em_kv *const *)a)->create, right = (*(const em_kv *const *)b)->create;
    return left != right ? (left > right) - (left < right) : by_key(a, b);
}

static size_t select_kvs(const em_view *view, em_bytes key, em_bytes end, const ds_json *request, const em_kv **hits) {
    int64_t min = number(request, "min_create_revision"), max = number(request, "max_create_revision");
    size_t count = 0;
    for (size_t i = 0; i < view->count && count < HITS_MAX; i++) {
        const em_kv *kv = &view->kvs[i];
        if (em_within(kv->key, key, end) && (min == 0 || kv->create >= min) && (max == 0 || kv->create <= max)) {
            hits[count++] = kv;
        }
    }
    const char *target = ds_json_text(request, "sort_target");
    const char *order = ds_json_text(request, "sort_order");
    bool create = target != NULL && strcmp(target, "CREATE") == 0;
    qsort(hits, count, sizeof(const em_kv *), create ? by_create : by_key);
    if (order != NULL && strcmp(order, "DESCEND") == 0) {
        for (size_t i = 0; i < count / 2; i++) {
            const em_kv *swap = hits[i];
            hits[i] = hits[count - 1 - i];
            hits[count - 1 - i] = swap;
        }
    }
    return count;
}

static void add_range(const em_view *view, em_bytes key, em_bytes end, const ds_json *request, ds_buf *out) {
    const em_kv *hits[HITS_MAX];
    size_t count = select_kvs(view, key, end, request, hits);
    int64_t limit = number(request, "limit");
    size_t shown = limit > 0 && (size_t)limit < count ? (size_t)limit : count;
    bool keys_only = ds_json_bool(request, "keys_only", false);
    for (size_t i = 0; i < shown; i++) {
        ds_buf_add_text(out, i == 0 ? ",\"kvs\":[" : ",");
        em_add_kv(out, hits[i], keys_only);
    }
    ds_buf_add_text(out, shown > 0 ? "]" : "");
    ds_buf_add_text(out, shown < count ? ",\"more\":true" : "");
    if (count > 0) {
        ds_buf_add_format(out, ",\"count\":\"%zu\"", count);
    }
}

/* Everything after "{". */
bool em_range(const em *e, const em_view *view, const ds_json *request, ds_buf *out, em_error *error) {
    ds_buf scratch = DS_BUF_EMPTY;
    em_bytes key, end;
    int64_t at = number(request, "revision");
    em_view old = {0};
    bool fine = em_bytes_of(request, "key", &scratch, &key) || malformed(error);
    fine = (em_bytes_of(request, "range_end", &scratch, &end) || malformed(error)) && fine;
    if (fine && at > 0 && at < e->compacted) {
        fine = fail(error, 400, 11, "etcdserver: mvcc: required revision has been compacted");
    } else if (fine && at > view->revision) {
        fine = fail(error, 400, 11, "etcdserver: mvcc: required revision is a future revision");
    }
    if (fine) {
        if (at > 0) {
            em_view_at(e, at, INT64_MAX, &old);
        }
        em_header(e, out, view->revision);
        add_range(at > 0 ? &old : view, key, end, request, out);
    }
    em_view_free(&old);
    em_bytes_free(&key);
    em_bytes_free(&end);
    ds_buf_free(&scratch);
    return fine;
}

/* ---- compare ----------------------------------------------------------------------------------------------------- */

static bool matches(const em_kv *kv, const ds_json *compare, em_bytes value) {
    const char *target = ds_json_text(compare, "target");
    if (target != NULL && strcmp(target, "CREATE") == 0) {
        return kv->create == number(compare, "create_revision");
    }
    return em_compare(kv->value, value) == 0;
}

/* Over a range it must hold for every key; where there is none, a create revision is 0 and a value compares unequal. */
static bool holds(const em_view *view, const ds_json *compare, em_error *error) {
    ds_buf scratch = DS_BUF_EMPTY;
    em_bytes key, end, value;
    bool fine = em_bytes_of(compare, "key", &scratch, &key);
    fine = em_bytes_of(compare, "range_end", &scratch, &end) && fine;
    fine = em_bytes_of(compare, "value", &scratch, &value) && fine;
    const char *target = ds_json_text(compare, "target");
    bool create = target != NULL && strcmp(target, "CREATE") == 0, any = false, all = true;
    if (!fine || target == NULL || (!create && strcmp(target, "VALUE") != 0)) {
        (void)malformed(error);
    }
    for (size_t i = 0; i < view->count; i++) {
        if (em_within(view->kvs[i].key, key, end)) {
            any = true;
            all = all && matches(&view->kvs[i], compare, value);
        }
    }
    em_bytes_free(&key);
    em_bytes_free(&end);
    em_bytes_free(&value);
    ds_buf_free(&scratch);
    return any ? all : create && number(compare, "create_revision") == 0;
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

typedef struct work {
    em *e;
    const em_view *view;
    unsigned client;
    int64_t revision; /* of what it writes */
    ds_buf *out;
    em_error *error;
} work;

static bool do_put(const work *w, const ds_json *put) {
    ds_buf scratch = DS_BUF_EMPTY;
    em_bytes key, value;
    int64_t lease = number(put, "lease");
    bool keep = ds_json_bool(put, "ignore_value", false);
    bool fine = em_bytes_of(put, "key", &scratch, &key);
    fine = em_bytes_of(put, "value", &scratch, &value) && fine;
    if (!fine) {
        (void)malformed(w->error);
    } else if (lease != 0 && em_lease_find(w->e, lease) == NULL) {
        fine = fail(w->error, 404, 5, "etcdserver: requested lease not found");
    } else if (keep && em_find(&w->e->now, key) == NULL) {
        fine = fail(w->error, 400, 3, "etcdserver: key not found");
    } else {
        em_put(w->e, key, value, keep, lease, w->revision, w->client);
    }
    em_bytes_free(&key);
    em_bytes_free(&value);
    ds_buf_free(&scratch);
    ds_buf_add_text(w->out, "{\"response_put\":{");
    em_header(w->e, w->out, w->revision);
    ds_buf_add_text(w->out, "}}");
    return fine;
}

static bool do_delete(const work *w, const ds_json *request) {
    ds_buf scratch = DS_BUF_EMPTY;
    em_bytes key;
    bool fine = em_bytes_of(request, "key", &scratch, &key) || malformed(w->error);
    bool deleted = false;
    if (fine) {
        const em_kv *kv = em_find(&w->e->now, key);
        chk_cause cause = kv != NULL && kv->client == w->client ? CHK_LEFT : CHK_TAKEN;
        deleted = em_delete(w->e, key, w->revision, cause);
    }
    em_bytes_free(&key);
    ds_buf_free(&scratch);
    ds_buf_add_text(w->out, "{\"response_delete_range\":{");
    em_header(w->e, w->out, w->revision);
    ds_buf_add_text(w->out, deleted ? ",\"deleted\":\"1\"}}" : "}}");
    return fine;
}

static bool do_op(const work *w, const ds_json *op) {
    const ds_json *range = ds_json_object(op, "request_range");
    if (range != NULL) {
        ds_buf_add_text(w->out, "{\"response_range\":{");
        bool fine = em_range(w->e, w->view, range, w->out, w->error);
        ds_buf_add_text(w->out, "}}");
        return fine;
    }
    const ds_json *put = ds_json_object(op, "request_put");
    if (put != NULL) {
        return do_put(w, put);
    }
    const ds_json *request = ds_json_object(op, "request_delete_range");
    return request != NULL ? do_delete(w, request) : malformed(w->error);
}

static bool writes(const ds_json *ops) {
    for (const ds_json *op = ds_json_first(ops); op != NULL; op = ds_json_next(op)) {
        if (ds_json_object(op, "request_range") == NULL) {
            return true;
        }
    }
    return false;
}

/* A transaction that fails does so before it has changed anything: a lease that is not there is the first thing
 * seen. */
static bool leases_there(em *e, const ds_json *ops) {
    for (const ds_json *op = ds_json_first(ops); op != NULL; op = ds_json_next(op)) {
        int64_t lease = number(ds_json_object(op, "request_put"), "lease");
        if (lease != 0 && em_lease_find(e, lease) == NULL) {
            return false;
        }
    }
    return true;
}

/* `stale`: what a read that asks an outdated member sees; ignored by writes. */
bool em_txn(em *e, const em_view *stale, const sim_question *question, const ds_json *request, ds_buf *out,
            em_error *error) {
    const ds_json *yes = ds_json_array(request, "success"), *no = ds_json_array(request, "failure");
    bool writing = writes(yes) || writes(no);
    const em_view *view = stale != NULL && !writing ? stale : &e->now;
    bool succeeded = true;
    *error = (em_error){0, 0, NULL};
    const ds_json *compares = ds_json_array(request, "compare");
    for (const ds_json *c = ds_json_first(compares); c != NULL; c = ds_json_next(c)) {
        succeeded = holds(view, c, error) && succeeded;
    }
    const ds_json *ops = succeeded ? yes : no;
    if (error->message != NULL) {
        return false;
    }
    if (!leases_there(e, ops)) {
        return fail(error, 404, 5, "etcdserver: requested lease not found");
    }
    ds_buf inner = DS_BUF_EMPTY;
    size_t first = e->change_count;
    work w = {e, view, question->host->number, e->now.revision + 1, &inner, error};
    bool fine = true, any = false;
    for (const ds_json *op = ds_json_first(ops); fine && op != NULL; op = ds_json_next(op)) {
        ds_buf_add_text(&inner, any ? "," : "");
        any = true;
        fine = do_op(&w, op);
    }
    if (fine) {
        em_header(e, out, view->revision);
        ds_buf_add_text(out, succeeded ? ",\"succeeded\":true" : "");
        if (any) {
            ds_buf_add_text(out, ",\"responses\":[");
            ds_buf_add(out, inner.data, inner.size);
            ds_buf_add_char(out, ']');
        }
    }
    ds_buf_free(&inner);
    if (e->change_count > first) {
        em_tell_watchers(e, first);
    }
    return fine;
}
