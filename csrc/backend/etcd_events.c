/* etcd_events.c: what a watch stream says, one message at a time.
 *
 * Whoever is told of an event may end its watch, or any other, or begin new ones.
 */
#include "etcd.h"

#include "../base/error.h"
#include "etcd_error.h"

#include <inttypes.h>

static void tell_ready(ds_etcd_stream *stream, ds_etcd_watching *watching, const ds_etcd_watch_reply *reply) {
    watching->answered = true;
    ds_free(watching->key); /* ten thousand of them add up */
    watching->key = NULL;
    if (watching->owner == NULL) {
        ds_etcd_watching_end(stream, watching, DS_OK, ""); /* given up meanwhile */
        return;
    }
    ds_list_remove(&watching->node);
    ds_list_append(&stream->on, &watching->node);
    ds_watch_event event = {.kind = DS_WATCH_READY};
    event.revision = watching->since > 0 ? watching->since - 1 : reply->header.revision;
    watching->owner->on_event(watching->owner, &event);
}

static void tell_change(ds_etcd_watching *watching, const ds_etcd_event *from) {
    ds_watch_event event = {.kind = from->deleted ? DS_WATCH_DELETED : DS_WATCH_PUT};
    event.key = from->kv.key.data;
    event.revision = from->kv.mod;
    const ds_etcd_kv *state = !from->deleted ? &from->kv : from->has_previous ? &from->previous : NULL;
    if (state != NULL) {
        event.value = state->value.data;
        event.value_size = state->value.size;
        event.token = state->create;
    }
    watching->owner->on_event(watching->owner, &event);
}

/* The server refuses a watch with an id of -1 in some versions; answers to creations come in their order. */
static ds_etcd_watching *created_one(const ds_etcd_stream *stream, int64_t id) {
    ds_etcd_watching *watching = ds_etcd_watching_find(stream, id);
    if (watching == NULL && id < 0 && !ds_list_empty(&stream->asked)) {
        watching = DS_LIST_ENTRY(stream->asked.next, ds_etcd_watching, node);
    }
    return watching;
}

static void on_refused_token(ds_etcd_stream *stream, const char *message) {
    ds_etcd *etcd = stream->etcd;
    ds_etcd_auth_freshen(&etcd->auth, -1);
    ds_etcd_stream_end(stream, DS_NOT_EXECUTED, message);
}

/* Permissions are checked with the token the stream began with: only while that is fresh does a refusal mean the
 * key. */
static bool token_is_old(const ds_etcd_stream *stream) {
    const ds_etcd *etcd = stream->etcd;
    return (etcd->auth.user != NULL || etcd->auth.token_file != NULL) &&
           ds_now(etcd->base.world) - stream->opened_ns > DS_ETCD_TOKEN_FRESH;
}

static void on_canceled(ds_etcd_stream *stream, const ds_etcd_watch_reply *reply) {
    ds_etcd_watching *watching =
        reply->created ? created_one(stream, reply->id) : ds_etcd_watching_find(stream, reply->id);
    dsync_error error = {DSYNC_OK, ""};
    if (reply->compact_revision > 0) {
        ds_error_set(&error, DSYNC_OK, "etcd has compacted everything up to revision %" PRId64,
                     reply->compact_revision);
        if (watching != NULL) {
            ds_etcd_watching_end(stream, watching, DS_OK, error.message);
        }
        return;
    }
    ds_etcd_verdict verdict = ds_etcd_auth_judge(&stream->etcd->auth, ds_etcd_judge_cancel(reply->cancel_reason));
    ds_etcd_status status = {-1, reply->cancel_reason[0] != '\0' ? reply->cancel_reason : "the watch was cancelled"};
    ds_etcd_explain(&error, stream->endpoint, 200, &status, verdict.advice);
    if (watching != NULL && verdict.token_refused && token_is_old(stream)) {
        on_refused_token(stream, error.message);
    } else if (watching != NULL) {
        ds_etcd_watching_end(stream, watching, verdict.outcome, error.message);
    }
}

void ds_etcd_stream_refused(ds_etcd_stream *stream, int http, const ds_etcd_status *status) {
    ds_etcd *etcd = stream->etcd;
    ds_etcd_verdict verdict = ds_etcd_auth_judge(&etcd->auth, ds_etcd_judge(http, status));
    dsync_error error;
    ds_etcd_explain(&error, stream->endpoint, http, status, verdict.advice);
    if (verdict.token_refused) {
        ds_etcd_auth_freshen(&etcd->auth, -1);
        ds_etcd_stream_end(stream, verdict.outcome, error.message);
    } else if (verdict.outcome == DS_REFUSED) {
        ds_etcd_stream_fail(stream, DS_REFUSED, error.message);
    } else {
        ds_etcd_stream_fail(stream, DS_NOT_EXECUTED, error.message);
    }
}

static void on_events(ds_etcd_stream *stream, const ds_etcd_watch_reply *reply) {
    uint64_t number = stream->number;
    for (size_t i = 0; i < reply->event_count; i++) {
        /* Its owner may have ended it at the last event. */
        ds_etcd_watching *watching = ds_etcd_watching_find(stream, reply->id);
        if (watching == NULL || watching->owner == NULL || stream->number != number) {
            return;
        }
        tell_change(watching, &reply->events[i]);
    }
}

static void on_reply(ds_etcd_stream *stream, const ds_etcd_watch_reply *reply) {
    if (reply->failed) {
        ds_etcd_stream_refused(stream, 200, &reply->status);
        return;
    }
    dsync_error error;
    if (!ds_etcd_note(stream->etcd, &reply->header, stream->endpoint, &error)) {
        ds_etcd_stream_end(stream, DS_RESET, error.message);
        return;
    }
    ds_endpoints_good(&stream->etcd->endpoints, stream->endpoint);
    if (reply->canceled) {
        on_canceled(stream, reply);
        return;
    }
    ds_etcd_watching *watching = ds_etcd_watching_find(stream, reply->id);
    uint64_t number = stream->number;
    if (reply->created && watching != NULL && !watching->answered) {
        tell_ready(stream, watching, reply);
    }
    if (stream->number == number) {
        on_events(stream, reply);
    }
}

void ds_etcd_stream_message(ds_etcd_stream *stream, ds_bytes message) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_watch_reply reply;
    switch (stream->wire->decode_watch(message.data, message.size, &arena, &reply)) {
    case DS_ETCD_DECODED:
        on_reply(stream, &reply);
        break;
    case DS_ETCD_MALFORMED:
        ds_etcd_stream_nonsense(stream);
        break;
    case DS_ETCD_NO_MEMORY:
        ds_etcd_stream_end(stream, DS_NOT_EXECUTED, "out of memory");
        break;
    }
    ds_etcd_arena_free(&arena);
}
