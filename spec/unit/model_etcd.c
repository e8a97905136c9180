/* model_etcd.c: see model_etcd.h: requests, faults and leases. One array of keys, one of leases, one of watches; no
 * history. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fake_world_parts.h"
#include "model_parts.h"

/* ---- leases ------------------------------------------------------------------------------------------------------ */

static void end_lease(model_etcd *m, size_t index) {
    int64_t id = m->leases[index].id;
    m->leases[index] = m->leases[--m->lease_count];
    int64_t revision = ++m->revision;
    for (size_t i = m->key_count; i-- > 0;) {
        if (m->keys[i].lease == id) {
            model_remove(m, i, revision);
        }
    }
}

typedef struct alarm {
    model_etcd *m;
    int64_t id;
    uint64_t renewed;
} alarm;

static void expire(fw *u, void *argument) {
    (void)u;
    alarm *a = argument;
    for (size_t i = 0; i < a->m->lease_count; i++) {
        if (a->m->leases[i].id == a->id && a->m->leases[i].renewed == a->renewed) {
            end_lease(a->m, i);
            break;
        }
    }
    free(a);
}

static void renew(model_etcd *m, lease *l) {
    alarm *a = fw_alloc(NULL, sizeof(*a));
    *a = (alarm){m, l->id, ++l->renewed};
    fw_later(m->u, fw_now(m->u) + l->ttl_s * DS_SECOND, expire, free, a);
}

static int lease_call(model_etcd *m, const char *target, const ds_json *body, ds_buf *out) {
    int64_t id = model_int(body, "ID");
    lease *l = NULL;
    for (size_t i = 0; i < m->lease_count; i++) {
        l = m->leases[i].id == id ? &m->leases[i] : l;
    }
    if (strstr(target, "grant") != NULL) {
        if (l != NULL || m->lease_count == DS_COUNT(m->leases)) {
            ds_buf_add_text(out, "{\"error\":\"etcdserver: lease already exists\",\"code\":9,"
                                 "\"message\":\"etcdserver: lease already exists\"}");
            return 412;
        }
        l = &m->leases[m->lease_count++];
        *l = (lease){.id = id, .ttl_s = model_int(body, "TTL")};
        renew(m, l);
    } else if (strstr(target, "keepalive") != NULL) {
        ds_buf_add_text(out, "{\"result\":");
        if (l != NULL) {
            renew(m, l);
        }
    } else if (l != NULL) { /* revoke */
        end_lease(m, (size_t)(l - m->leases));
    } else {
        ds_buf_add_text(out, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5,"
                             "\"message\":\"etcdserver: requested lease not found\"}");
        return 404;
    }
    ds_buf_add_char(out, '{');
    model_add_header(out, m);
    if (l != NULL && strstr(target, "revoke") == NULL) {
        ds_buf_add_format(out, ",\"ID\":\"%" PRId64 "\",\"TTL\":\"%" PRId64 "\"", id, l->ttl_s);
    }
    ds_buf_add_text(out, strstr(target, "keepalive") != NULL ? "}}" : "}");
    return 200;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static int execute(model_etcd *m, const char *target, const char *text, size_t size, ds_buf *out) {
    static const ds_json_limits limits = {32, 10000};
    bool no_memory;
    ds_json *body = ds_json_parse(text, size, &limits, &no_memory, NULL);
    int status = 200;
    if (body == NULL) {
        fw_misuse("model etcd: no JSON: %s", text);
    }
    if (strcmp(target, "/v3/kv/txn") == 0) {
        status = model_txn(m, body, out);
    } else if (strcmp(target, "/v3/kv/range") == 0) {
        ds_buf_add_char(out, '{');
        model_add_header(out, m);
        model_range(m, body, out);
        ds_buf_add_char(out, '}');
    } else if (strstr(target, "/v3/lease/") == target) {
        status = lease_call(m, target, body, out);
    } else {
        ds_buf_add_char(out, '{');
        model_add_header(out, m);
        ds_buf_add_text(out, ",\"version\":\"3.4.99\"}");
    }
    ds_json_free(body);
    return status;
}

typedef struct copy {
    model_etcd *m;
    char *target, *body;
} copy;

static void drop_copy(void *argument) {
    copy *c = argument;
    free(c->target);
    free(c->body);
    free(c);
}

static void late_copy(fw *u, void *argument) {
    (void)u;
    copy *c = argument;
    ds_buf ignored = DS_BUF_EMPTY;
    (void)execute(c->m, c->target, c->body, strlen(c->body), &ignored);
    ds_buf_free(&ignored);
    drop_copy(c);
}

static model_fault next_fault(model_etcd *m, const char *target) {
    if (m->fault_count == 0 || strstr(target, m->fault_target) == NULL) {
        return MODEL_FINE;
    }
    m->fault_count--;
    return m->fault;
}

static void on_request(fw_request *request, void *argument) {
    model_etcd *m = argument;
    model_fault fault = next_fault(m, request->target);
    if (fault == MODEL_SILENT) {
        return;
    }
    if (fault == MODEL_REFUSED) {
        fw_fail(request, 0, DS_HTTP_NOT_SENT, "connection refused");
        return;
    }
    if (request->stream) {
        m->streams[m->stream_count++ % DS_COUNT(m->streams)] = request;
        model_watch_bytes(m, request, request->body, request->body_size);
        return;
    }
    ds_buf out = DS_BUF_EMPTY;
    int status = execute(m, request->target, request->body, request->body_size, &out);
    if (fault == MODEL_REPLY_LOST) {
        fw_fail(request, DS_MS, DS_HTTP_UNKNOWN, "connection reset");
    } else {
        fw_finish(
            request, DS_MS,
            &(fw_answer){.status = status, .body = out.data, .body_size = out.size, .resent = fault == MODEL_TWICE});
    }
    if (fault == MODEL_TWICE) {
        copy *c = fw_alloc(NULL, sizeof(*c));
        *c = (copy){m, strdup(request->target), strdup(request->body)};
        fw_later(m->u, fw_now(m->u) + 300 * DS_MS, late_copy, drop_copy, c);
    }
    ds_buf_free(&out);
}

static void on_send(fw_request *request, const char *bytes, size_t count, void *argument) {
    model_watch_bytes(argument, request, bytes, count);
}

/* ---- the test's side --------------------------------------------------------------------------------------------- */

model_etcd *model_etcd_new(fw *u) {
    model_etcd *m = fw_alloc(NULL, sizeof(*m));
    memset(m, 0, sizeof(*m));
    m->u = u;
    m->revision = 1;
    m->fault_target = "";
    fw_serve(u, &(fw_server){.on_request = on_request, .on_send = on_send, .argument = m});
    return m;
}

void model_etcd_free(model_etcd *m) {
    for (size_t i = 0; i < m->key_count; i++) {
        ds_buf_free(&m->keys[i].name);
        ds_buf_free(&m->keys[i].value);
    }
    for (size_t i = 0; i < m->watch_count; i++) {
        ds_buf_free(&m->watches[i].begin);
        ds_buf_free(&m->watches[i].end);
    }
    free(m);
}

void model_etcd_fault(model_etcd *m, model_fault fault, const char *target, unsigned count) {
    m->fault = fault;
    m->fault_target = target;
    m->fault_count = count;
}

static bool begins(const ds_buf *name, const char *prefix) {
    return name->size >= strlen(prefix) && memcmp(name->data, prefix, strlen(prefix)) == 0;
}

size_t model_etcd_count(const model_etcd *m, const char *prefix) {
    size_t count = 0;
    for (size_t i = 0; i < m->key_count; i++) {
        count += begins(&m->keys[i].name, prefix);
    }
    return count;
}

size_t model_etcd_leases(const model_etcd *m) {
    return m->lease_count;
}

size_t model_etcd_requests(const model_etcd *m, const char *target) {
    size_t count = 0;
    for (size_t i = 0; i < fw_request_count(m->u); i++) {
        count += strcmp(fw_request_at(m->u, i)->target, target) == 0;
    }
    return count;
}

bool model_etcd_delete(model_etcd *m, const char *prefix) {
    int64_t revision = m->revision + 1;
    bool found = false;
    for (size_t i = m->key_count; i-- > 0;) {
        if (begins(&m->keys[i].name, prefix)) {
            m->revision = revision;
            model_remove(m, i, revision);
            found = true;
        }
    }
    return found;
}

void model_etcd_revoke_all(model_etcd *m) {
    while (m->lease_count > 0) {
        end_lease(m, 0);
    }
}

void model_etcd_break_streams(model_etcd *m) {
    for (size_t i = 0; i < m->stream_count && i < DS_COUNT(m->streams); i++) {
        if (!m->streams[i]->ended && !m->streams[i]->cancelled) {
            fw_fail(m->streams[i], 0, DS_HTTP_UNKNOWN, "connection reset");
        }
    }
}
