/* request.c: see request.h. */
#include "request.h"

#include <stdio.h>
#include <string.h>

#define RETRY_CAP_NS DS_SECOND

static void send_request(ds_request *request);

static bool is_write(const ds_request *request) {
    return request->waiter != NULL;
}

static void finish(ds_request *request, dsync_code code, const char *message, const ds_reply *reply) {
    ds_engine *engine = request->engine;
    if (engine == NULL) {
        return;
    }
    engine->backend->ops->cancel(engine->backend, &request->call);
    ds_timer_stop(engine->world, &request->retry);
    ds_timer_stop(engine->world, &request->limit_timer);
    ds_list_remove(&request->node);
    if (request->fence != NULL) {
        ds_departure_forget(request->fence);
        request->fence = NULL;
    }
    ds_free(request->after);
    request->after = NULL;
    request->engine = NULL;
    request->done(request, code, message, reply);
}

static bool still_held(const ds_request *request) {
    return ds_waiter_entry(request->waiter) != NULL &&
           atomic_load(&request->waiter->claim->acquisition) == request->acquisition;
}

void ds_request_end(ds_request *request, dsync_code code, const char *message) {
    ds_engine *engine = request->engine;
    if (engine == NULL) {
        return;
    }
    if (is_write(request) && still_held(request) && (request->unsure || request->call.impl != NULL)) {
        ds_session *session = ds_waiter_session(request->waiter);
        engine->backend->ops->cancel(engine->backend, &request->call);
        if (session != NULL && ds_session_usable(session)) {
            (void)ds_depart(session, NULL, true, NULL, NULL);
        }
    }
    finish(request, code, message, NULL);
}

static void overdue(ds_timer *timer) {
    ds_request *request = DS_CONTAINER_OF(timer, ds_request, limit_timer);
    ds_backend *backend = request->engine->backend;
    char message[420];
    const char *why = request->last_error[0] != '\0' ? request->last_error : "no reply in time";
    bool unsure = is_write(request) && (request->unsure || request->call.impl != NULL);
    if (unsure) {
        snprintf(message, sizeof message, "not confirmed in time: it may or may not have been applied: %s", why);
        ds_request_end(request, DSYNC_UNKNOWN, message);
        return;
    }
    snprintf(message, sizeof message, "no server answers (%s): %s", backend->ops->endpoint_list(backend), why);
    ds_request_end(request, DSYNC_UNAVAILABLE, message);
}

static void retry_fired(ds_timer *timer) {
    send_request(DS_CONTAINER_OF(timer, ds_request, retry));
}

static void try_later(ds_request *request) {
    ds_world *world = request->engine->world;
    request->attempt++;
    request->engine->stats.retries++;
    ds_timer_set(world, &request->retry,
                 ds_now(world) + ds_backoff(request->attempt, RETRY_CAP_NS, ds_random64(world)));
}

/* ---- writes ------------------------------------------------------------------------------------------------------ */

static void fenced_after(void *context, dsync_code code) {
    ds_request *request = context;
    request->fence = NULL;
    (void)code; /* applied while held either way */
    finish(request, DSYNC_OK, "", NULL);
}

static void fenced_before(void *context, dsync_code code) {
    ds_request *request = context;
    request->fence = NULL;
    if (code != DSYNC_OK) {
        finish(request, DSYNC_LOST, "the lock was lost", NULL);
        return;
    }
    send_request(request);
}

static void wrote(ds_request *request, const ds_reply *reply) {
    ds_session *session = ds_waiter_session(request->waiter);
    request->unsure = request->unsure || reply->resent;
    if (reply->place == DS_PLACE_GONE) {
        if (still_held(request)) {
            ds_waiter_gone(request->waiter);
        }
        finish(request, DSYNC_LOST, "the lock was lost", NULL);
    } else if (reply->place == DS_PLACE_STALE) {
        try_later(request);
    } else if (request->unsure && session != NULL && ds_session_usable(session)) {
        request->fence = ds_depart(session, NULL, true, fenced_after, request);
        if (request->fence == NULL) {
            finish(request, DSYNC_OK, "", NULL);
        }
    } else {
        finish(request, DSYNC_OK, "", reply);
    }
}

/* ---- every answer ------------------------------------------------------------------------------------------------ */

static bool next_page(ds_request *request, const ds_reply *reply) {
    bool lists = request->kind == DS_REQUEST_LIST || request->kind == DS_REQUEST_TREE;
    if (lists && request->page != NULL && !request->page(request, reply)) {
        finish(request, DSYNC_RESOURCE, "out of memory", NULL);
        return true;
    }
    if (request->kind != DS_REQUEST_TREE || reply->next == NULL) {
        return false;
    }
    char *after = ds_strdup(reply->next);
    if (after == NULL) {
        finish(request, DSYNC_RESOURCE, "out of memory", NULL);
        return true;
    }
    ds_free(request->after);
    request->after = after;
    send_request(request);
    return true;
}

static void answered(ds_call *call, const ds_reply *reply) {
    ds_request *request = DS_CONTAINER_OF(call, ds_request, call);
    ds_session *session = is_write(request) ? ds_waiter_session(request->waiter) : NULL;
    if (is_write(request) && !still_held(request)) {
        finish(request, DSYNC_LOST, "the lock was lost", NULL);
        return;
    }
    switch (reply->outcome) {
    case DS_OK:
        break;
    case DS_REFUSED:
        finish(request, reply->code, reply->message != NULL ? reply->message : "refused", NULL);
        return;
    case DS_LOST:
    case DS_RESET:
        if (session != NULL) {
            (void)ds_session_reply_ends(session, reply);
            finish(request, DSYNC_LOST, "the lock was lost", NULL);
            return;
        }
        /* fall through */
    case DS_AMBIGUOUS:
        request->unsure = true;
        /* fall through */
    case DS_NOT_EXECUTED:
        snprintf(request->last_error, sizeof request->last_error, "%s",
                 reply->message != NULL ? reply->message : "no answer");
        try_later(request);
        return;
    }
    if (is_write(request)) {
        wrote(request, reply);
    } else if (request->kind == DS_REQUEST_EVICT) {
        bool gone = reply->place == DS_PLACE_GONE && !request->unsure;
        finish(request, gone ? DSYNC_NOT_HELD : DSYNC_OK, gone ? "nobody holds it with this token" : "",
               gone ? NULL : reply);
    } else if (!next_page(request, reply)) {
        finish(request, DSYNC_OK, "", reply);
    }
}

static void send_write(ds_request *request) {
    ds_backend *backend = request->engine->backend;
    static const ds_write_kind kinds[] = {
        [DS_REQUEST_PUT] = DS_WRITE_PUT, [DS_REQUEST_DELETE] = DS_WRITE_DELETE, [DS_REQUEST_VALUE] = DS_WRITE_VALUE};
    ds_write write = {.kind = kinds[request->kind],
                      .entry = ds_waiter_entry(request->waiter),
                      .key = request->key,
                      .value = request->value,
                      .value_size = request->value_size};
    backend->ops->write(backend, &request->call, &write);
}

static void send_request(ds_request *request) {
    ds_backend *backend = request->engine->backend;
    int64_t ttl_ns = 40 * DS_SECOND;
    if (is_write(request)) {
        if (!still_held(request)) {
            finish(request, DSYNC_LOST, "the lock was lost", NULL);
            return;
        }
        ttl_ns = ds_waiter_session(request->waiter)->timing.ttl_ns;
    }
    request->call.done = answered;
    request->call.timeout_ns = ds_engine_request_timeout(request->engine, ttl_ns);
    if (request->call.timeout_ns > request->timeout_ns) {
        request->call.timeout_ns = request->timeout_ns;
    }
    ds_list_spec list = {.path = request->key, .limit = request->limit, .after = request->after};
    switch (request->kind) {
    case DS_REQUEST_PING:
        backend->ops->ping(backend, &request->call);
        break;
    case DS_REQUEST_GET:
        backend->ops->get(backend, &request->call, request->key);
        break;
    case DS_REQUEST_TREE:
        list.subtree = true;
        /* fall through */
    case DS_REQUEST_LIST:
        backend->ops->list(backend, &request->call, &list);
        break;
    case DS_REQUEST_EVICT:
        backend->ops->evict(backend, &request->call, request->key, request->token);
        break;
    case DS_REQUEST_PUT:
    case DS_REQUEST_DELETE:
    case DS_REQUEST_VALUE:
        send_write(request);
        break;
    }
}

void ds_request_start(ds_engine *engine, ds_request *request) {
    request->engine = engine;
    ds_list_init(&request->node);
    ds_list_append(&engine->requests, &request->node);
    request->retry.fire = retry_fired;
    request->limit_timer.fire = overdue;
    if (engine->closing) {
        finish(request, DSYNC_CLOSED, "the client is closed", NULL);
        return;
    }
    ds_timer_set(engine->world, &request->limit_timer, ds_now(engine->world) + request->timeout_ns);
    if (is_write(request)) {
        request->acquisition = atomic_load(&request->waiter->claim->acquisition);
        if (!still_held(request)) {
            finish(request, DSYNC_NOT_HELD, "not held", NULL);
            return;
        }
        if (request->kind == DS_REQUEST_VALUE && ds_waiter_claim_value(request->waiter)) {
            request->fence = ds_depart(ds_waiter_session(request->waiter), NULL, true, fenced_before, request);
            if (request->fence == NULL) {
                finish(request, DSYNC_LOST, "the lock was lost", NULL);
            }
            return;
        }
    }
    send_request(request);
}
