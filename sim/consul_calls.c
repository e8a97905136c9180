/* consul_calls.c: what the model cluster answers, and the model as one object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consul_model.h"

#define HOLD_NS (7 * DS_SECOND) /* how long a server without a leader waits for one before it says so */
#define NO_LEADER "No cluster leader"

static const ds_json_limits limits = {32, 10000};

/* ---- small things ------------------------------------------------------------------------------------------------ */

int cm_error(ds_buf *out, int status, const char *text) {
    ds_buf_clear(out);
    ds_buf_add_text(out, text);
    return status;
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static char *decoded(const char *text, size_t size) {
    char *out = sim_alloc(NULL, size + 1);
    size_t length = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '%' && i + 2 < size && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
            out[length++] = (char)(hex(text[i + 1]) * 16 + hex(text[i + 2]));
            i += 2;
        } else {
            out[length++] = text[i];
        }
    }
    out[length] = '\0';
    return out;
}

char *cm_path(const char *target, const char *below) {
    const char *begin = target + strlen(below);
    return decoded(begin, strcspn(begin, "?"));
}

char *cm_param(const char *target, const char *name) {
    const char *at = strchr(target, '?');
    while (at != NULL) {
        const char *item = at + 1;
        size_t length = strcspn(item, "&"), word = strcspn(item, "=&");
        if (word == strlen(name) && strncmp(item, name, word) == 0) {
            return word < length ? decoded(item + word + 1, length - word - 1) : decoded("", 0);
        }
        at = item[length] == '&' ? item + length : NULL;
    }
    return NULL;
}

static bool has(const char *target, const char *name) {
    char *value = cm_param(target, name);
    (void)sim_alloc(value, 0);
    return value != NULL;
}

void cm_headers(const sim_question *question, int64_t index, bool known_leader) {
    ds_buf *out = &question->extra->headers;
    if (index > 0) {
        ds_buf_add_format(out, "X-Consul-Index: %lld\n", (long long)index);
    }
    ds_buf_add_format(out, "X-Consul-Knownleader: %s\nX-Consul-Lastcontact: 0\n", known_leader ? "true" : "false");
}

static bool is(const sim_question *question, const char *method, const char *path) {
    return strcmp(question->method, method) == 0 && strncmp(question->target, path, strlen(path)) == 0;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static int session_create(cm *e, const sim_question *question, ds_buf *out) {
    bool no_memory;
    ds_json *request = ds_json_parse(question->body, question->body_size, &limits, &no_memory, NULL);
    if (request == NULL) {
        return cm_error(out, 400, "Request decode failed: model: not JSON");
    }
    const cm_session *session = cm_session_make(e, request, question->host->number);
    ds_json_free(request);
    sim_note(e->s, "server: session %s made for %s", session->id, session->ttl);
    ds_buf_add_format(out, "{\"ID\":\"%s\"}", session->id);
    return 200;
}

static int session_renew(cm *e, const sim_question *question, ds_buf *out) {
    char *id = cm_path(question->target, "/v1/session/renew/");
    cm_session *session = cm_session_find(e, id);
    int status = 200;
    if (session == NULL) {
        ds_buf_add_format(out, "Session id '%s' not found", id);
        status = 404;
    } else {
        if (session->ttl_ns > 0) {
            cm_session_extend(e, session);
        }
        ds_buf_add_char(out, '[');
        cm_session_print(out, session);
        ds_buf_add_char(out, ']');
    }
    (void)sim_alloc(id, 0);
    return status;
}

static int session_destroy(cm *e, const sim_question *question, ds_buf *out) {
    char *id = cm_path(question->target, "/v1/session/destroy/");
    cm_session *session = cm_session_find(e, id);
    if (session != NULL) {
        bool own = session->client == question->host->number;
        sim_note(e->s, "server: session %s destroyed", id);
        cm_session_end(e, session, own ? CHK_LEFT : CHK_TAKEN, question->host->number);
    }
    (void)sim_alloc(id, 0);
    ds_buf_add_text(out, "true");
    return 200;
}

static int session_list(cm *e, const sim_question *question, const char *id, ds_buf *out) {
    ds_buf_add_char(out, '[');
    size_t count = 0;
    for (size_t i = 0; i < e->session_count; i++) {
        const cm_session *session = &e->sessions[i];
        if (session->ended_ns == DS_NEVER && (id == NULL || strcmp(session->id, id) == 0)) {
            ds_buf_add_text(out, count++ > 0 ? "," : "");
            cm_session_print(out, session);
        }
    }
    ds_buf_add_char(out, ']');
    cm_headers(question, e->now.index, true);
    return 200;
}

static int session_info(cm *e, const sim_question *question, ds_buf *out) {
    char *id = cm_path(question->target, "/v1/session/info/");
    int status = session_list(e, question, id, out);
    (void)sim_alloc(id, 0);
    return status;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static int parse_query(const sim_question *question, cm_query *query, ds_buf *out) {
    char *index = cm_param(question->target, "index"), *wait = cm_param(question->target, "wait");
    query->key = cm_path(question->target, "/v1/kv/");
    query->keys = has(question->target, "keys");
    query->raw = has(question->target, "raw");
    query->prefix = query->keys || has(question->target, "recurse");
    query->stale = has(question->target, "stale");
    query->consistent = has(question->target, "consistent");
    int status = 200;
    if (index != NULL && (index[0] == '\0' || index[strspn(index, "0123456789")] != '\0')) {
        status = cm_error(out, 400, "Invalid index");
    } else if (wait != NULL && !cm_duration(wait, &query->wait_ns)) {
        status = cm_error(out, 400, "Invalid wait time");
    } else if (query->stale && query->consistent) {
        status = cm_error(out, 400, "Cannot specify ?stale with ?consistent, conflicting semantics.");
    }
    query->index = index != NULL ? strtoll(index, NULL, 10) : 0;
    (void)sim_alloc(index, 0);
    (void)sim_alloc(wait, 0);
    return status;
}

static int kv_get(cm *e, const cm_view *view, const sim_question *question, ds_buf *out) {
    cm_query query = {0};
    int64_t index = 0;
    int status = parse_query(question, &query, out);
    if (status == 200) {
        status = cm_read(e, query.consistent ? &e->now : view, &query, out, &index);
        if (query.index > 0 && index <= query.index) {
            ds_buf_clear(out);
            return cm_block(e, question, &query);
        }
        cm_headers(question, index, true);
    }
    cm_query_free(&query);
    return status;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static int about_sessions(cm *e, const sim_question *question, ds_buf *out) {
    if (is(question, "PUT", "/v1/session/create")) {
        return session_create(e, question, out);
    }
    if (is(question, "PUT", "/v1/session/renew/")) {
        return session_renew(e, question, out);
    }
    if (is(question, "PUT", "/v1/session/destroy/")) {
        return session_destroy(e, question, out);
    }
    return is(question, "GET", "/v1/session/info/") ? session_info(e, question, out)
                                                    : session_list(e, question, NULL, out);
}

static int execute(cm *e, const cm_view *view, const sim_question *question, ds_buf *out) {
    if (strncmp(question->target, "/v1/session/", 12) == 0) {
        return about_sessions(e, question, out);
    }
    if (is(question, "PUT", "/v1/txn")) {
        return cm_txn(e, has(question->target, "consistent") ? &e->now : view, question, out);
    }
    if (is(question, "GET", "/v1/kv/")) {
        return kv_get(e, view, question, out);
    }
    if (is(question, "PUT", "/v1/kv/")) {
        return cm_kv_put(e, question, out);
    }
    if (is(question, "DELETE", "/v1/kv/")) {
        return cm_kv_delete(e, question, out);
    }
    if (is(question, "GET", "/v1/status/leader")) {
        ds_buf_add_text(out, "\"10.0.0.1:8300\"");
        return 200;
    }
    if (is(question, "GET", "/v1/catalog/datacenters")) {
        ds_buf_add_text(out, "[\"dc1\"]");
        return 200;
    }
    if (is(question, "GET", "/v1/agent/self")) {
        ds_buf_add_text(out, "{\"Config\":{\"Datacenter\":\"dc1\",\"NodeName\":\"n1\",\"Server\":true,"
                             "\"Version\":\"1.8.7\",\"PrimaryDatacenter\":\"dc1\"}}");
        return 200;
    }
    return cm_error(out, 404, "");
}

/* Without a leader: some ask a former one, and hear that it is gone; the others wait for one in vain. */
static int no_leader(cm *e, const sim_question *question, ds_buf *out) {
    if (is(question, "GET", "/v1/status/leader")) {
        ds_buf_add_text(out, "\"\"");
        return 200;
    }
    if (is(question, "GET", "/v1/kv/") && sim_random(e->s) % 8 == 0) {
        cm_query query = {0};
        int64_t index = 0;
        int status = parse_query(question, &query, out);
        status = status == 200 ? cm_read(e, &e->now, &query, out, &index) : status;
        cm_headers(question, index, false);
        cm_query_free(&query);
        return status;
    }
    if (sim_random(e->s) % 2) {
        return cm_error(out, 500,
                        "rpc error getting client: failed to get conn: dial tcp 127.0.0.1:0->127.0.0.1:10486: connect: "
                        "connection refused");
    }
    question->extra->delay_ns = HOLD_NS + sim_between(e->s, 0, 200 * DS_MS);
    return cm_error(out, 500, NO_LEADER);
}

static void note_question(const cm *e, const sim_question *question) {
    sim_note(e->s, "server %zu: %s %s from client %u%s %.*s", question->member, question->method, question->target + 4,
             question->host->number, question->stale ? " (stale)" : "", (int)question->body_size, question->body);
}

int cm_ask(void *servers, const sim_question *question, ds_buf *out) {
    static const char *const lost[] = {"rpc error making call: EOF", "leadership lost while committing log",
                                       "node is not the leader"};
    cm *e = servers;
    note_question(e, question);
    if (e->isolated_until_ns[question->member] > e->s->now_ns) {
        return no_leader(e, question, out);
    }
    bool in_election = e->election_until_ns > e->s->now_ns;
    if (in_election && sim_random(e->s) % 2 == 0) {
        return sim_random(e->s) % 2 ? no_leader(e, question, out) : cm_error(out, 500, lost[2]);
    }
    cm_view old = {0};
    bool stale = question->stale && e->change_count > 0;
    if (stale) {
        cm_view_back(e, (size_t)sim_between(e->s, 1, 8), &old);
    }
    int status = execute(e, stale ? &old : &e->now, question, out);
    cm_view_free(&old);
    return in_election && status != SIM_LATER ? cm_error(out, 500, lost[sim_random(e->s) % 2]) : status;
}

int cm_unsure(void *servers, ds_buf *out) {
    (void)servers;
    return cm_error(out, 500, "rpc error making call: EOF");
}

static bool no_streams(void *servers, sim_stream *stream, const sim_question *question, int *status, ds_buf *answer) {
    (void)servers;
    (void)stream;
    (void)question;
    (void)answer;
    *status = 405;
    return false;
}

static const dsync_setting *settings(sim *s, size_t *count) {
    static const dsync_setting choices[] = {
        {"consul.lock_delay", "15s"}, {"consul.lock_delay", "0s"}, {"consul.lock_delay", "2s"}};
    *count = sim_random(s) % 2;
    return &choices[sim_random(s) % DS_COUNT(choices)];
}

static void *start(sim *s) {
    cm *e = sim_alloc(NULL, sizeof *e);
    memset(e, 0, sizeof *e);
    e->s = s;
    e->now.index = e->base_index = sim_between(s, 1, 1000);
    e->ppm = sim_hit(s, SIM_CLOCK_RATE) ? sim_between(s, -50000, 50000) : 0;
    ds_list_init(&e->waits);
    return e;
}

static void stop(void *servers) {
    cm *e = servers;
    cm_break(e, SIM_MEMBERS, true);
    cm_free(e);
}

/* A session outlives its holder by twice its ttl, and keeps others out for its lock-delay after that. */
const sim_model_ops sim_model_consul = {
    .name = "consul",
    .backend = ds_consul_backend,
    .natives = true,
    .owners = true,
    .times = {.ttls_ms = {2000, 3000, 5000, 10000},
              .orphan_ns = 40 * DS_SECOND,
              .drill_ns = 33 * DS_SECOND,
              .copies_ns = 12 * DS_SECOND,
              .blind_ns = 14 * DS_SECOND},
    .settings = settings,
    .start = start,
    .stop = stop,
    .ask = cm_ask,
    .unsure = cm_unsure,
    .open = no_streams,
    .upset = cm_upset,
    .heal = cm_heal,
};
