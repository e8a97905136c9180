/* consul_transport.c: sending one request to an agent and judging the answer. */
#include "consul.h"

#include "../base/error.h"
#include "consul_error.h"

#include <string.h>

#define SMALL_REPLY ((size_t)256 * 1024)
#define LARGE_REPLY ((size_t)64 * 1024 * 1024) /* a queue of many entries with large values */

static void begin(ds_consul_exchange *exchange);

/* ---- shared with watches ----------------------------------------------------------------------------------------- */

void ds_consul_headers(const ds_consul *consul, ds_http_request *request) {
    size_t count = 0;
    if (consul->auth.header != NULL) {
        request->headers[count++] = consul->auth.header;
    }
    request->headers[count] = NULL;
}

static void add_parameter(ds_buf *target, const char *name, const char *value) {
    if (value != NULL) {
        ds_buf_add_format(target, "&%s=", name);
        ds_consul_add_escaped(target, value, false);
    }
}

void ds_consul_add_query(const ds_consul *consul, ds_buf *target, bool global) {
    ds_buf_add_text(target, consul->settings.consistent ? "?consistent=" : "?default=");
    add_parameter(target, "dc", ds_consul_datacenter(consul, global));
    add_parameter(target, "ns", consul->settings.name_space);
}

void ds_consul_explain(dsync_error *error, const ds_endpoint *endpoint, int http, const char *text, size_t size,
                       const char *advice) {
    const char *join = advice != NULL ? "; " : "";
    advice = advice != NULL ? advice : "";
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' ')) {
        size--;
    }
    if (size > 0) {
        ds_shown shown;
        ds_error_set(error, DSYNC_UNAVAILABLE, "Consul at %s: %s%s%s", endpoint->origin, ds_show(&shown, text, size),
                     join, advice);
    } else {
        ds_error_set(error, DSYNC_UNAVAILABLE, "Consul at %s answered HTTP %d%s%s", endpoint->origin, http, join,
                     advice);
    }
}

/* ---- the end of an exchange -------------------------------------------------------------------------------------- */

static void deliver(ds_consul_exchange *exchange, ds_class outcome, dsync_code code) {
    ds_consul_result result = {.outcome = outcome, .code = code, .resent = exchange->resent};
    exchange->active = false;
    if (outcome == DS_OK) {
        result.answer = &exchange->answer;
    } else {
        result.message = exchange->error.message;
    }
    exchange->done(exchange, &result);
}

static void run_late(ds_task *task) {
    ds_consul_exchange *exchange = DS_CONTAINER_OF(task, ds_consul_exchange, task);
    deliver(exchange, exchange->late, exchange->late == DS_REFUSED ? exchange->error.code : DSYNC_OK);
}

static void fail_later(ds_consul_exchange *exchange, ds_class outcome) {
    exchange->late = outcome;
    ds_post(exchange->consul->base.world, &exchange->task);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static bool is_txn(const ds_consul_exchange *exchange) {
    return exchange->kind == DS_CONSUL_TXN || exchange->kind == DS_CONSUL_READ;
}

static void judge_error(ds_consul_exchange *exchange, int http, const char *text, size_t size) {
    ds_consul *consul = exchange->consul;
    ds_consul_verdict verdict = ds_consul_judge(http, text, consul->known);
    if (http == 404 && exchange->kind == DS_CONSUL_RENEW) {
        verdict = (ds_consul_verdict){.outcome = DS_LOST};
    }
    if (verdict.token_refused && !exchange->anew && ds_consul_auth_refused(consul, exchange->token_serial)) {
        exchange->anew = true;
        begin(exchange);
        return;
    }
    if (verdict.server_ailing) {
        ds_endpoints_bad(&consul->endpoints, exchange->endpoint, ds_now(consul->base.world));
    }
    ds_consul_explain(&exchange->error, exchange->endpoint, http, text, size, verdict.advice);
    deliver(exchange, verdict.outcome, verdict.code);
}

/* Something answers that is no Consul. Of one that has talked sense before it says nothing about the request. */
static void judge_nonsense(ds_consul_exchange *exchange) {
    ds_consul *consul = exchange->consul;
    ds_error_set(&exchange->error, DSYNC_PROTOCOL,
                 "%s gave an answer that is not Consul's JSON; is this a Consul agent (1.7 or later)?",
                 exchange->endpoint->origin);
    ds_endpoints_bad(&consul->endpoints, exchange->endpoint, ds_now(consul->base.world));
    if (consul->known) {
        deliver(exchange, DS_AMBIGUOUS, DSYNC_OK);
    } else {
        deliver(exchange, DS_REFUSED, DSYNC_PROTOCOL);
    }
}

static void accept_answer(ds_consul_exchange *exchange, ds_consul_decoded decoded) {
    ds_consul *consul = exchange->consul;
    const ds_consul_answer *answer = &exchange->answer;
    switch (decoded) {
    case DS_CONSUL_MALFORMED:
        judge_nonsense(exchange);
        break;
    case DS_CONSUL_NO_MEMORY:
        ds_error_no_memory(&exchange->error);
        deliver(exchange, DS_AMBIGUOUS, DSYNC_OK);
        break;
    case DS_CONSUL_DECODED:
        if (answer->denied != NULL) {
            judge_error(exchange, 403, answer->denied, strlen(answer->denied));
        } else if (answer->session_invalid) {
            ds_error_set(&exchange->error, DSYNC_UNAVAILABLE, "Consul at %s no longer has the session",
                         exchange->endpoint->origin);
            deliver(exchange, DS_LOST, DSYNC_OK);
        } else {
            consul->known = true;
            ds_endpoints_good(&consul->endpoints, exchange->endpoint);
            deliver(exchange, DS_OK, DSYNC_OK);
        }
        break;
    }
}

static void judge_answer(ds_consul_exchange *exchange, const ds_http_result *http) {
    const char *body = http->body != NULL ? http->body : "";
    bool leaderless = http->header_values[0] != NULL && strcmp(http->header_values[0], "false") == 0;
    if (leaderless) {
        ds_endpoints_bad(&exchange->consul->endpoints, exchange->endpoint, ds_now(exchange->consul->base.world));
        ds_error_set(&exchange->error, DSYNC_UNAVAILABLE, "Consul at %s knows no leader of its cluster",
                     exchange->endpoint->origin);
        deliver(exchange, DS_NOT_EXECUTED, DSYNC_OK);
    } else if (is_txn(exchange) && (http->status == 200 || http->status == 409)) {
        accept_answer(exchange, ds_consul_decode_txn(&exchange->answer, body, http->body_size));
    } else if (http->status == 200) {
        accept_answer(exchange, ds_consul_decode(&exchange->answer, body, http->body_size));
    } else {
        judge_error(exchange, http->status, body, http->body_size);
    }
}

static void on_done(ds_http_sink *sink, const ds_http_result *http) {
    ds_consul_exchange *exchange = DS_CONTAINER_OF(sink, ds_consul_exchange, sink);
    ds_consul *consul = exchange->consul;
    exchange->http = NULL;
    exchange->resent = exchange->resent || http->resent;
    if (http->fate == DS_HTTP_ANSWERED) {
        judge_answer(exchange, http);
        return;
    }
    ds_error_set(&exchange->error, (dsync_code)http->code, "Consul at %s: %s", exchange->endpoint->origin,
                 http->message);
    if (http->fate == DS_HTTP_REFUSED) {
        /* An answer that had begun may be that of a request that was executed. */
        bool begun = http->status == 200 && exchange->kind != DS_CONSUL_READ;
        deliver(exchange, begun ? DS_AMBIGUOUS : DS_REFUSED, (dsync_code)http->code);
        return;
    }
    ds_endpoints_bad(&consul->endpoints, exchange->endpoint, ds_now(consul->base.world));
    bool unsent = http->fate == DS_HTTP_NOT_SENT && !exchange->resent;
    deliver(exchange, unsent ? DS_NOT_EXECUTED : DS_AMBIGUOUS, DSYNC_OK);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static const struct {
    const char *method, *path;
} routes[] = {
    [DS_CONSUL_TXN] = {"PUT", "/v1/txn"},
    [DS_CONSUL_READ] = {"PUT", "/v1/txn"},
    [DS_CONSUL_CREATE] = {"PUT", "/v1/session/create"},
    [DS_CONSUL_RENEW] = {"PUT", "/v1/session/renew/"},
    [DS_CONSUL_DESTROY] = {"PUT", "/v1/session/destroy/"},
    [DS_CONSUL_LIST] = {"GET", "/v1/session/list"},
    [DS_CONSUL_SELF] = {"GET", "/v1/agent/self"},
};

static void write_target(ds_consul_exchange *exchange) {
    ds_buf_clear(&exchange->target);
    ds_buf_add_text(&exchange->target, routes[exchange->kind].path);
    if (exchange->kind == DS_CONSUL_RENEW || exchange->kind == DS_CONSUL_DESTROY) {
        ds_buf_add_text(&exchange->target, exchange->subject);
    }
    if (exchange->kind != DS_CONSUL_SELF) {
        ds_consul_add_query(exchange->consul, &exchange->target, exchange->global);
    }
}

static size_t reply_cap(const ds_consul_exchange *exchange) {
    if (exchange->reply_max != 0) {
        return exchange->reply_max;
    }
    return is_txn(exchange) || exchange->kind == DS_CONSUL_LIST ? LARGE_REPLY : SMALL_REPLY;
}

static bool has_body(ds_consul_kind kind) {
    return kind == DS_CONSUL_TXN || kind == DS_CONSUL_READ || kind == DS_CONSUL_CREATE;
}

static void begin(ds_consul_exchange *exchange) {
    ds_consul *consul = exchange->consul;
    ds_world *world = consul->base.world;
    int64_t now = ds_now(world);
    if (now >= exchange->deadline_ns) {
        ds_error_set(&exchange->error, DSYNC_UNAVAILABLE, "Consul: no time was left for the request");
        fail_later(exchange, exchange->resent ? DS_AMBIGUOUS : DS_NOT_EXECUTED);
        return;
    }
    if (!ds_consul_auth_ready(consul, &exchange->error)) {
        fail_later(exchange, DS_REFUSED);
        return;
    }
    exchange->endpoint = ds_endpoints_pick(&consul->endpoints, now);
    exchange->token_serial = consul->auth.serial;
    ds_http_request request = {
        .endpoint = exchange->endpoint,
        .method = routes[exchange->kind].method,
        .target = exchange->target.data,
        .want_headers = {"X-Consul-KnownLeader", NULL},
        .body = has_body(exchange->kind) ? exchange->txn.body.data : NULL,
        .body_size = has_body(exchange->kind) ? exchange->txn.body.size : 0,
        .reply_max = reply_cap(exchange),
        .timeout_ns = exchange->deadline_ns - now,
        .urgent = exchange->urgent,
    };
    ds_consul_headers(consul, &request);
    exchange->http = world->ops->http_start(world, &request, &exchange->sink);
    if (exchange->http == NULL) {
        ds_error_no_memory(&exchange->error);
        fail_later(exchange, exchange->resent ? DS_AMBIGUOUS : DS_REFUSED);
    }
}

void ds_consul_send(ds_consul_exchange *exchange, ds_consul_kind kind) {
    exchange->kind = kind;
    exchange->active = true;
    exchange->anew = exchange->resent = false;
    write_target(exchange);
    if (exchange->txn.body.failed || exchange->target.failed) {
        ds_error_no_memory(&exchange->error);
        fail_later(exchange, DS_REFUSED);
        return;
    }
    begin(exchange);
}

void ds_consul_stop(ds_consul_exchange *exchange) {
    if (!exchange->active) {
        return;
    }
    ds_world *world = exchange->consul->base.world;
    exchange->active = false;
    ds_list_remove(&exchange->task.node);
    if (exchange->http != NULL) {
        world->ops->http_cancel(world, exchange->http);
        exchange->http = NULL;
    }
}

void ds_consul_exchange_init(ds_consul_exchange *exchange, ds_consul *consul) {
    exchange->consul = consul;
    exchange->sink.on_done = on_done;
    exchange->task.run = run_late;
    ds_list_init(&exchange->task.node);
}

void ds_consul_exchange_free(ds_consul_exchange *exchange) {
    ds_buf_free(&exchange->txn.body);
    ds_buf_free(&exchange->target);
    ds_consul_answer_free(&exchange->answer);
}
