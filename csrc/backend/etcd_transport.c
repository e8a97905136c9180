/* etcd_transport.c: sending one message and judging the answer. Knows neither encoding. */
#include "etcd.h"

#include "../base/error.h"
#include "etcd_error.h"

#include <inttypes.h>
#include <string.h>

#define SMALL_REPLY ((size_t)256 * 1024)
#define FIRST_PAUSE (5 * DS_MS)
#define LONGEST_PAUSE (100 * DS_MS)

static void begin(ds_etcd_exchange *exchange);

/* ---- the end of an exchange -------------------------------------------------------------------------------------- */

static void deliver(ds_etcd_exchange *exchange, ds_etcd_result *result) {
    exchange->active = false;
    result->resent = exchange->resent;
    if (result->outcome != DS_OK && result->message == NULL) {
        result->message = exchange->error.message;
    }
    if (exchange->kind == DS_ETCD_AUTHENTICATE) {
        ds_wipe(exchange->body.data, exchange->body.capacity);
        ds_wipe(exchange->spare.data, exchange->spare.capacity);
    }
    exchange->done(exchange, result);
}

static void deliver_failure(ds_etcd_exchange *exchange, ds_class outcome, dsync_code code) {
    ds_etcd_result result = {.outcome = outcome, .code = code, .status = {-1, ""}};
    deliver(exchange, &result);
}

static void run_late(ds_task *task) {
    ds_etcd_exchange *exchange = DS_CONTAINER_OF(task, ds_etcd_exchange, task);
    deliver_failure(exchange, exchange->late, exchange->late == DS_REFUSED ? exchange->error.code : DSYNC_OK);
}

static void fail_later(ds_etcd_exchange *exchange, ds_class outcome) {
    exchange->late = outcome;
    ds_post(exchange->etcd->base.world, &exchange->task);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/* These come from the answering member's own, possibly lagging, state; all others are linearizable. */
static bool may_lag(ds_etcd_kind kind) {
    return kind == DS_ETCD_KEEPALIVE || kind == DS_ETCD_STATUS || kind == DS_ETCD_AUTHENTICATE;
}

static void pause_over(ds_timer *timer) {
    begin(DS_CONTAINER_OF(timer, ds_etcd_exchange, timer));
}

/* Then the answer's revision is its own, above all that came before. */
static bool has_written(const ds_etcd_reply *reply) {
    for (size_t i = 0; i < reply->answer_count; i++) {
        const ds_etcd_answer *answer = &reply->answers[i];
        if (answer->kind == DS_ETCD_OP_PUT || (answer->kind == DS_ETCD_OP_DELETE && answer->deleted > 0)) {
            return true;
        }
    }
    return false;
}

/* The state behind this answer is older than one seen before the question: a restored backup, or a stale read, which is
 * worth another try. */
static void drop_outdated(ds_etcd_exchange *exchange, const ds_etcd_reply *reply) {
    const ds_etcd_header *header = &reply->header;
    ds_etcd *etcd = exchange->etcd;
    int64_t again = ds_now(etcd->base.world) + exchange->pause_ns;
    if (again < exchange->deadline_ns - FIRST_PAUSE && !has_written(reply)) {
        exchange->resent = true;
        exchange->avoid = exchange->endpoint;
        exchange->pause_ns = exchange->pause_ns * 2 < LONGEST_PAUSE ? exchange->pause_ns * 2 : LONGEST_PAUSE;
        exchange->timer.fire = pause_over;
        ds_timer_set(etcd->base.world, &exchange->timer, again);
        return;
    }
    ds_error_set(&exchange->error, DSYNC_PROTOCOL,
                 "etcd at %s answers from revision %" PRId64 ", but revision %" PRId64 " had been reached before",
                 exchange->endpoint->origin, header->revision, exchange->floor);
    ds_etcd_another_cluster(etcd, header->cluster_id, header->revision);
    deliver_failure(exchange, DS_RESET, DSYNC_OK);
}

static void accept_reply(ds_etcd_exchange *exchange, const ds_etcd_reply *reply) {
    ds_etcd *etcd = exchange->etcd;
    if (!ds_etcd_note(etcd, &reply->header, exchange->endpoint, &exchange->error)) {
        deliver_failure(exchange, DS_RESET, DSYNC_OK);
        return;
    }
    int64_t revision = reply->header.revision;
    bool outdated = revision < exchange->floor || (revision == exchange->floor && has_written(reply));
    if (outdated && !may_lag(exchange->kind)) {
        drop_outdated(exchange, reply);
        return;
    }
    ds_endpoints_good(&etcd->endpoints, exchange->endpoint);
    if (exchange->wire == &ds_etcd_wire_json) {
        etcd->wire = exchange->wire;
    }
    etcd->wire_proven = etcd->wire_proven || exchange->wire == etcd->wire;
    ds_etcd_result result = {.outcome = DS_OK, .status = {-1, ""}, .reply = reply};
    deliver(exchange, &result);
}

static void judge_error(ds_etcd_exchange *exchange, int http, const ds_etcd_status *status) {
    ds_etcd *etcd = exchange->etcd;
    ds_etcd_verdict verdict = ds_etcd_auth_judge(&etcd->auth, ds_etcd_judge(http, status));
    if (verdict.token_refused && !exchange->anew && ds_etcd_auth_refused(&etcd->auth, exchange->token_serial)) {
        exchange->anew = true;
        begin(exchange);
        return;
    }
    if (verdict.server_ailing) {
        ds_endpoints_bad(&etcd->endpoints, exchange->endpoint, ds_now(etcd->base.world));
    }
    ds_etcd_explain(&exchange->error, exchange->endpoint, http, status, verdict.advice);
    ds_etcd_result result = {.outcome = verdict.outcome, .code = verdict.code, .status = *status};
    deliver(exchange, &result);
}

/* An answer with status 200 that no etcd gives. From one that has talked sense before it says nothing of the
 * request. */
static void judge_nonsense(ds_etcd_exchange *exchange) {
    ds_etcd *etcd = exchange->etcd;
    ds_error_set(&exchange->error, DSYNC_PROTOCOL,
                 "%s gave an answer that is not etcd's %s; is this an etcd v3 server (3.4 or later)?",
                 exchange->endpoint->origin, exchange->wire->name);
    ds_endpoints_bad(&etcd->endpoints, exchange->endpoint, ds_now(etcd->base.world));
    if (etcd->cluster_id == 0) {
        deliver_failure(exchange, DS_REFUSED, DSYNC_PROTOCOL);
    } else {
        deliver_failure(exchange, DS_AMBIGUOUS, DSYNC_OK);
    }
}

static void judge_answer(ds_etcd_exchange *exchange, const ds_http_result *http) {
    ds_etcd_reply reply;
    switch (exchange->wire->answer(exchange->kind, http, &exchange->arena, &reply)) {
    case DS_ETCD_MALFORMED:
        judge_nonsense(exchange);
        break;
    case DS_ETCD_NO_MEMORY:
        ds_error_no_memory(&exchange->error);
        deliver_failure(exchange, DS_AMBIGUOUS, DSYNC_RESOURCE);
        break;
    case DS_ETCD_DECODED:
        if (reply.failed) {
            judge_error(exchange, http->status, &reply.status);
        } else {
            accept_reply(exchange, &reply);
        }
        break;
    }
}

/* An answer that had begun may be that of a request that was executed. */
static void judge_unfit(ds_etcd_exchange *exchange, const ds_http_result *http) {
    ds_etcd_result result = {.outcome = DS_REFUSED, .code = (dsync_code)http->code, .status = {-1, ""}};
    if (http->status == 200) {
        result.too_large = true;
        result.outcome = exchange->kind == DS_ETCD_RANGE ? DS_REFUSED : DS_AMBIGUOUS;
    }
    deliver(exchange, &result);
}

/* The server has seen nothing of the message. Where the connection was merely closed, an answer in JSON is the proof.
 * False: nothing has come of it. */
static bool try_json(ds_etcd_exchange *exchange, const ds_http_result *http) {
    bool certain = http->code == DSYNC_UNSUPPORTED;
    if (certain && !ds_etcd_fall_back(exchange->etcd, exchange->endpoint, http->message, &exchange->error)) {
        deliver_failure(exchange, exchange->resent ? DS_AMBIGUOUS : DS_REFUSED, DSYNC_UNSUPPORTED);
        return true;
    }
    if (exchange->spare.size == 0 || (exchange->etcd->wire_proven && !certain)) {
        return false;
    }
    ds_buf gone = exchange->body;
    exchange->body = exchange->spare;
    exchange->spare = gone;
    ds_buf_clear(&exchange->spare);
    exchange->wire = &ds_etcd_wire_json;
    begin(exchange);
    return true;
}

static void on_done(ds_http_sink *sink, const ds_http_result *http) {
    ds_etcd_exchange *exchange = DS_CONTAINER_OF(sink, ds_etcd_exchange, sink);
    ds_etcd *etcd = exchange->etcd;
    exchange->http = NULL;
    if (http->not_http2 && try_json(exchange, http)) {
        return;
    }
    exchange->resent = exchange->resent || http->resent;
    if (http->fate == DS_HTTP_ANSWERED) {
        judge_answer(exchange, http);
        return;
    }
    ds_error_set(&exchange->error, (dsync_code)http->code, "etcd at %s: %s", exchange->endpoint->origin, http->message);
    if (http->fate == DS_HTTP_REFUSED) {
        judge_unfit(exchange, http);
        return;
    }
    ds_endpoints_bad(&etcd->endpoints, exchange->endpoint, ds_now(etcd->base.world));
    ds_etcd_stream_doubt(&etcd->stream, exchange->endpoint);
    /* A copy sent earlier may have been executed even if the last one never left. */
    bool unsent = http->fate == DS_HTTP_NOT_SENT && !exchange->resent;
    deliver_failure(exchange, unsent ? DS_NOT_EXECUTED : DS_AMBIGUOUS, DSYNC_OK);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static size_t reply_cap(const ds_etcd_exchange *exchange) {
    if (exchange->reply_max != 0) {
        return exchange->reply_max;
    }
    if (exchange->kind == DS_ETCD_TXN || exchange->kind == DS_ETCD_RANGE) {
        return SMALL_REPLY + 2 * exchange->etcd->value_max; /* base64 of one value, escaped at worst */
    }
    return SMALL_REPLY;
}

static ds_endpoint *choose_endpoint(ds_etcd_exchange *exchange, int64_t now) {
    ds_endpoints *set = &exchange->etcd->endpoints;
    return exchange->avoid != NULL ? ds_endpoints_other(set, exchange->avoid, now) : ds_endpoints_pick(set, now);
}

static void transmit(ds_etcd_exchange *exchange) {
    ds_etcd *etcd = exchange->etcd;
    ds_world *world = etcd->base.world;
    int64_t now = ds_now(world);
    exchange->endpoint = choose_endpoint(exchange, now);
    if (exchange->floor == 0) {
        exchange->floor = etcd->revision;
    }
    exchange->token_serial = etcd->auth.serial;
    ds_http_request request = {
        .endpoint = exchange->endpoint,
        .method = "POST",
        .target = exchange->wire->targets[exchange->kind],
        .body = exchange->body.data,
        .body_size = exchange->body.size,
        .reply_max = reply_cap(exchange),
        .timeout_ns = exchange->deadline_ns - now,
        .urgent = exchange->urgent,
    };
    ds_etcd_dress(etcd, exchange->wire, &request, exchange->kind != DS_ETCD_AUTHENTICATE);
    exchange->http = world->ops->http_start(world, &request, &exchange->sink);
    if (exchange->http == NULL) {
        ds_error_no_memory(&exchange->error);
        fail_later(exchange, exchange->resent ? DS_AMBIGUOUS : DS_REFUSED);
    }
}

static void token_late(ds_timer *timer) {
    ds_etcd_exchange *exchange = DS_CONTAINER_OF(timer, ds_etcd_exchange, timer);
    ds_list_remove(&exchange->waiter.node);
    ds_error_set(&exchange->error, DSYNC_UNAVAILABLE, "etcd: signing in takes longer than this request may");
    deliver_failure(exchange, DS_NOT_EXECUTED, DSYNC_OK);
}

static void token_came(ds_etcd_auth_waiter *waiter, const ds_etcd_result *failure) {
    ds_etcd_exchange *exchange = DS_CONTAINER_OF(waiter, ds_etcd_exchange, waiter);
    ds_timer_stop(exchange->etcd->base.world, &exchange->timer);
    if (failure == NULL) {
        begin(exchange);
        return;
    }
    ds_error_set(&exchange->error, failure->code, "%s", failure->message);
    deliver_failure(exchange, failure->outcome, failure->code);
}

static void wait_for_token(ds_etcd_exchange *exchange) {
    exchange->waiter.done = token_came;
    exchange->timer.fire = token_late;
    ds_timer_set(exchange->etcd->base.world, &exchange->timer, exchange->deadline_ns);
    ds_etcd_auth_wait(&exchange->etcd->auth, &exchange->waiter);
}

static void begin(ds_etcd_exchange *exchange) {
    ds_etcd *etcd = exchange->etcd;
    if (ds_now(etcd->base.world) >= exchange->deadline_ns) {
        ds_error_set(&exchange->error, DSYNC_UNAVAILABLE, "etcd: no time was left for the request");
        fail_later(exchange, exchange->resent ? DS_AMBIGUOUS : DS_NOT_EXECUTED);
        return;
    }
    ds_etcd_auth_state state = DS_ETCD_AUTH_READY;
    if (exchange->kind != DS_ETCD_AUTHENTICATE) {
        state = ds_etcd_auth_ask(&etcd->auth, &exchange->error);
    }
    switch (state) {
    case DS_ETCD_AUTH_READY:
        transmit(exchange);
        break;
    case DS_ETCD_AUTH_WAIT:
        wait_for_token(exchange);
        break;
    case DS_ETCD_AUTH_FAILED:
        fail_later(exchange, DS_REFUSED);
        break;
    }
}

static bool encode(ds_etcd_exchange *exchange, const ds_etcd_request *request) {
    const ds_etcd *etcd = exchange->etcd;
    exchange->wire = etcd->wire;
    ds_buf_clear(&exchange->body);
    ds_buf_clear(&exchange->spare);
    etcd->wire->encode(&exchange->body, request);
    if (etcd->wire->http2 && etcd->falls_back && !etcd->wire_proven) {
        ds_etcd_wire_json.encode(&exchange->spare, request);
    }
    return !exchange->body.failed && !exchange->spare.failed;
}

void ds_etcd_send(ds_etcd_exchange *exchange, const ds_etcd_request *request) {
    exchange->kind = request->kind;
    exchange->active = true;
    exchange->anew = exchange->resent = false;
    exchange->avoid = NULL;
    exchange->floor = 0;
    exchange->pause_ns = FIRST_PAUSE;
    if (!exchange->keep) {
        ds_etcd_arena_clear(&exchange->arena);
    }
    if (!encode(exchange, request)) {
        ds_error_no_memory(&exchange->error);
        fail_later(exchange, DS_REFUSED);
        return;
    }
    begin(exchange);
}

void ds_etcd_stop(ds_etcd_exchange *exchange) {
    if (!exchange->active) {
        return;
    }
    ds_world *world = exchange->etcd->base.world;
    exchange->active = false;
    ds_list_remove(&exchange->waiter.node);
    ds_list_remove(&exchange->task.node);
    ds_timer_stop(world, &exchange->timer);
    if (exchange->http != NULL) {
        world->ops->http_cancel(world, exchange->http);
        exchange->http = NULL;
    }
}

void ds_etcd_exchange_init(ds_etcd_exchange *exchange, ds_etcd *etcd) {
    exchange->etcd = etcd;
    exchange->sink.on_done = on_done;
    exchange->task.run = run_late;
    ds_list_init(&exchange->task.node);
    ds_list_init(&exchange->waiter.node);
}

void ds_etcd_exchange_free(ds_etcd_exchange *exchange) {
    ds_buf_free(&exchange->body);
    ds_buf_free(&exchange->spare);
    ds_etcd_arena_free(&exchange->arena);
}
