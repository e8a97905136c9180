/* etcd_calls.c: what the model cluster answers, and the model as one object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etcd_model.h"

static const ds_json_limits limits = {32, 100000};

static int answer_error(ds_buf *out, const em_error *error) {
    ds_buf_clear(out);
    ds_buf_add_format(out, "{\"error\":\"%s\",\"code\":%d,\"message\":\"%s\"}", error->message, error->code,
                      error->message);
    return error->http;
}

static int answer(ds_buf *out, int http, int code, const char *message) {
    return answer_error(out, &(em_error){http, code, message});
}

/* ---- users ------------------------------------------------------------------------------------------------------- */

bool em_token_valid(const em *e, const char *authorization) {
    unsigned long long generation, serial;
    if (!e->s->plan.auth) {
        return true;
    }
    return authorization != NULL && sscanf(authorization, "t%llu.%llu", &generation, &serial) == 2 &&
           generation == e->auth_generation;
}

static int authenticate(em *e, ds_buf *out) {
    if (!e->s->plan.auth) {
        return answer(out, 400, 9, "etcdserver: authentication is not enabled");
    }
    ds_buf_add_char(out, '{');
    em_header(e, out, e->now.revision);
    ds_buf_add_format(out, ",\"token\":\"t%llu.%llu\"}", (unsigned long long)e->auth_generation,
                      (unsigned long long)++e->auth_issued);
    return 200;
}

/* ---- leases ------------------------------------------------------------------------------------------------------ */

static int64_t number(const ds_json *request, const char *name) {
    int64_t value = 0;
    (void)ds_json_int64(request, name, &value);
    return value;
}

static int grant(em *e, const sim_question *question, const ds_json *request, ds_buf *out) {
    int64_t id = number(request, "ID"), ttl = number(request, "TTL");
    ttl = ttl < 2 ? 2 : ttl;
    if (!em_grant(e, id, ttl, question->host->number)) {
        return answer(out, 412, 9, "etcdserver: lease already exists");
    }
    sim_note(e->s, "server: lease %llx granted for %lld s", (unsigned long long)id, (long long)ttl);
    ds_buf_add_char(out, '{');
    em_header(e, out, e->now.revision);
    ds_buf_add_format(out, ",\"ID\":\"%lld\",\"TTL\":\"%lld\"}", (long long)id, (long long)ttl);
    return 200;
}

static const em_lease *phantom(const em *e, int64_t id) {
    for (size_t i = 0; i < e->lease_count; i++) {
        if (e->leases[i].id == id && e->leases[i].phantom_until_ns > e->s->now_ns) {
            return &e->leases[i];
        }
    }
    return NULL;
}

static int keep_alive(em *e, const ds_json *request, ds_buf *out) {
    int64_t id = number(request, "ID");
    em_lease *lease = em_lease_find(e, id);
    const em_lease *shown = lease != NULL ? lease : phantom(e, id);
    if (lease != NULL) {
        em_extend(e, lease);
    }
    ds_buf_add_text(out, "{\"result\":{");
    em_header(e, out, e->now.revision);
    ds_buf_add_format(out, ",\"ID\":\"%lld\"", (long long)id);
    if (shown != NULL) {
        ds_buf_add_format(out, ",\"TTL\":\"%lld\"", (long long)shown->ttl_s);
    }
    ds_buf_add_text(out, "}}");
    return 200;
}

static int revoke(em *e, const ds_json *request, ds_buf *out) {
    int64_t id = number(request, "ID");
    if (em_lease_find(e, id) == NULL) {
        return answer(out, 404, 5, "etcdserver: requested lease not found");
    }
    sim_note(e->s, "server: lease %llx revoked", (unsigned long long)id);
    em_revoke(e, id, CHK_LEFT, false);
    ds_buf_add_char(out, '{');
    em_header(e, out, e->now.revision);
    ds_buf_add_char(out, '}');
    return 200;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static bool is(const sim_question *question, const char *target) {
    return strcmp(question->target, target) == 0;
}

static int ask_range(em *e, const em_view *stale, const ds_json *request, ds_buf *out) {
    em_error error = {400, 3, "model: malformed request"};
    ds_buf_add_char(out, '{');
    if (!em_range(e, stale != NULL ? stale : &e->now, request, out, &error)) {
        return answer_error(out, &error);
    }
    ds_buf_add_char(out, '}');
    return 200;
}

static int ask_txn(em *e, const em_view *stale, const sim_question *question, const ds_json *request, ds_buf *out) {
    em_error error;
    ds_buf_add_char(out, '{');
    if (!em_txn(e, stale, question, request, out, &error)) {
        return answer_error(out, &error);
    }
    ds_buf_add_char(out, '}');
    return 200;
}

static int execute(em *e, const sim_question *question, const ds_json *request, ds_buf *out) {
    em_view old = {0};
    bool stale = question->stale && e->now.revision > 2;
    int status = 404;
    if (stale) {
        int64_t back = sim_between(e->s, 1, 12);
        em_view_at(e, e->now.revision > back ? e->now.revision - back : 1, INT64_MAX, &old);
    }
    if (is(question, "/v3/kv/range")) {
        status = ask_range(e, stale ? &old : NULL, request, out);
    } else if (is(question, "/v3/kv/txn")) {
        status = ask_txn(e, stale ? &old : NULL, question, request, out);
    } else if (is(question, "/v3/lease/grant")) {
        status = grant(e, question, request, out);
    } else if (is(question, "/v3/lease/keepalive")) {
        status = keep_alive(e, request, out);
    } else if (is(question, "/v3/lease/revoke")) {
        status = revoke(e, request, out);
    } else if (is(question, "/v3/maintenance/status")) {
        ds_buf_add_char(out, '{');
        em_header(e, out, e->now.revision);
        ds_buf_add_text(out, ",\"version\":\"3.4.23\"}");
        status = 200;
    }
    em_view_free(&old);
    return status;
}

static void note_question(const em *e, const sim_question *question) {
    const char *target = question->target + (strncmp(question->target, "/v3/", 4) == 0 ? 4 : 0);
    sim_note(e->s, "server %zu: %s from client %u%s", question->member, target, question->host->number,
             question->stale ? " (stale)" : "");
}

int em_ask(void *servers, const sim_question *question, ds_buf *out) {
    em *e = servers;
    note_question(e, question);
    if (e->isolated_until_ns[question->member] > e->s->now_ns) {
        return answer(out, 503, 14, "etcdserver: no leader");
    }
    if (is(question, "/v3/auth/authenticate")) {
        return authenticate(e, out);
    }
    if (!em_token_valid(e, question->authorization)) {
        return question->authorization == NULL ? answer(out, 400, 3, "etcdserver: user name is empty")
                                               : answer(out, 401, 16, "etcdserver: invalid auth token");
    }
    bool in_election = e->election_until_ns > e->s->now_ns;
    if (in_election && sim_random(e->s) % 2 == 0) {
        return answer(out, 503, 14, "etcdserver: leader changed");
    }
    bool no_memory;
    ds_json *request = ds_json_parse(question->body, question->body_size, &limits, &no_memory, NULL);
    int status = request != NULL ? execute(e, question, request, out) : answer(out, 400, 3, "model: not JSON");
    ds_json_free(request);
    return in_election ? answer(out, 503, 14, "etcdserver: leader changed") : status;
}

int em_unsure(void *servers, ds_buf *out) {
    (void)servers;
    return answer(out, 503, 14, "etcdserver: request timed out");
}

static void *start(sim *s) {
    em *e = sim_alloc(NULL, sizeof *e);
    memset(e, 0, sizeof *e);
    e->s = s;
    e->now.revision = 1;
    e->term = 2;
    e->auth_generation = 1;
    e->cluster_id = sim_random(s) | 1;
    e->ppm = sim_hit(s, SIM_CLOCK_RATE) ? sim_between(s, -50000, 50000) : 0;
    ds_list_init(&e->streams);
    return e;
}

static void stop(void *servers) {
    em *e = servers;
    em_end_streams(e, SIM_MEMBERS, NULL);
    em_free(e);
}

/* What the model reads and writes, in a world without HTTP/2. */
static const dsync_setting *settings(sim *s, size_t *count) {
    static const dsync_setting json = {"etcd.transport", "json"};
    (void)s;
    *count = 1;
    return &json;
}

const sim_model_ops sim_model_etcd = {
    .name = "etcd",
    .backend = ds_etcd_backend,
    .settings = settings,
    .auth = true,
    .times = {.ttls_ms = {2000, 3000, 5000},
              .orphan_ns = CHK_ORPHAN_NS,
              .drill_ns = 15 * DS_SECOND,
              .copies_ns = 12 * DS_SECOND},
    .start = start,
    .stop = stop,
    .ask = em_ask,
    .unsure = em_unsure,
    .open = em_stream_open,
    .data = em_stream_data,
    .closed = em_stream_closed,
    .upset = em_upset,
    .heal = em_heal,
};

const sim_model_ops *const sim_models[] = {&sim_model_etcd, &sim_model_consul, &sim_model_zookeeper, NULL};
