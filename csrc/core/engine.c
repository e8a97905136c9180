/* engine.c: see engine.h: making, tracing and closing a client's protocol state. */
#include "engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "contender.h"
#include "observer.h"
#include "request.h"
#include "session.h"
#include "timing.h"

static void free_strings(ds_engine *engine) {
    ds_free((char *)(uintptr_t)engine->config.prefix);
    ds_free((char *)(uintptr_t)engine->config.id);
    ds_free((char *)(uintptr_t)engine->config.info);
}

static void tell_closed(ds_task *task) {
    ds_engine *engine = DS_CONTAINER_OF(task, ds_engine, close_task);
    void (*closed)(void *, bool) = engine->closed;
    engine->closed = NULL;
    ds_timer_stop(engine->world, &engine->close_timer);
    if (closed != NULL) {
        closed(engine->closed_context, ds_list_empty(&engine->sessions));
    }
}

static void close_overdue(ds_timer *timer) {
    ds_engine *engine = DS_CONTAINER_OF(timer, ds_engine, close_timer);
    ds_post(engine->world, &engine->close_task);
}

ds_engine *ds_engine_new(ds_world *world, ds_backend *backend, const ds_engine_config *config) {
    ds_engine *engine = ds_calloc(1, sizeof *engine);
    if (engine == NULL) {
        return NULL;
    }
    engine->world = world;
    engine->backend = backend;
    engine->config = *config;
    engine->config.prefix = ds_strdup(config->prefix);
    engine->config.id = ds_strdup(config->id);
    engine->config.info = ds_strdup(config->info);
    if (engine->config.prefix == NULL || engine->config.id == NULL || engine->config.info == NULL) {
        free_strings(engine);
        ds_free(engine);
        return NULL;
    }
    ds_list_init(&engine->sessions);
    ds_list_init(&engine->contenders);
    ds_list_init(&engine->idle);
    ds_list_init(&engine->observers);
    ds_list_init(&engine->requests);
    ds_list_init(&engine->close_task.node);
    ds_map_init(&engine->locks, ds_random64(world));
    engine->close_task.run = tell_closed;
    engine->close_timer.fire = close_overdue;
    return engine;
}

void ds_engine_free(ds_engine *engine) {
    while (!ds_list_empty(&engine->contenders)) {
        ds_contender_free(DS_LIST_ENTRY(engine->contenders.next, ds_contender, node));
    }
    while (!ds_list_empty(&engine->sessions)) {
        ds_session *session = DS_LIST_ENTRY(engine->sessions.next, ds_session, node);
        ds_departures_end(session, DSYNC_UNKNOWN);
        ds_session_free(session);
    }
    ds_timer_stop(engine->world, &engine->close_timer);
    ds_list_remove(&engine->close_task.node);
    ds_map_free(&engine->locks);
    engine->backend->ops->destroy(engine->backend);
    free_strings(engine);
    ds_free(engine);
}

void ds_engine_trace(ds_engine *engine, const char *object, const char *name, const char *from, const char *to,
                     const char *why) {
    if (engine->config.trace != NULL) {
        engine->config.trace(engine->config.context, object, name, from, to, why);
    }
}

void ds_engine_notice(ds_engine *engine, const char *name, const char *format, ...) {
    if (engine->config.notice == NULL) {
        return;
    }
    char message[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    engine->config.notice(engine->config.context, name, message);
}

int64_t ds_engine_request_timeout(const ds_engine *engine, int64_t ttl_ns) {
    return ds_timing_request(engine->config.request_timeout_ms, ttl_ns);
}

void ds_engine_settle(ds_engine *engine) {
    if (engine->closing && ds_list_empty(&engine->sessions)) {
        ds_post(engine->world, &engine->close_task);
    }
}

static void end_sessions(ds_engine *engine) {
    /* Ending one may free it and no other. */
    ds_list round;
    ds_list_init(&round);
    ds_list_splice(&round, &engine->sessions);
    while (!ds_list_empty(&round)) {
        ds_session *session = DS_LIST_ENTRY(round.next, ds_session, node);
        ds_list_remove(&session->node);
        ds_list_append(&engine->sessions, &session->node);
        ds_session_end(session);
    }
}

void ds_engine_close(ds_engine *engine, int64_t until_ns, void (*closed)(void *context, bool confirmed),
                     void *context) {
    engine->closing = true;
    engine->closed = closed;
    engine->closed_context = context;
    ds_timer_set(engine->world, &engine->close_timer, until_ns);
    while (!ds_list_empty(&engine->requests)) {
        ds_request_end(DS_LIST_ENTRY(engine->requests.next, ds_request, node), DSYNC_CLOSED, "the client was closed");
    }
    while (!ds_list_empty(&engine->observers)) {
        ds_observer_end(DS_LIST_ENTRY(engine->observers.next, ds_observer, node), DSYNC_CLOSED,
                        "the client was closed");
    }
    /* Contenders stay listed until ds_engine_free; closing one may wake others, which then find `closing` set. */
    for (ds_list *link = engine->contenders.next; link != &engine->contenders; link = link->next) {
        ds_contender_close(DS_LIST_ENTRY(link, ds_contender, node));
    }
    end_sessions(engine);
    ds_engine_settle(engine);
}
