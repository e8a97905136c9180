/* etcd_stream.c: the stream that carries all watches of a client: its opening, its messages, its end.
 *
 * A watch request is a stream both ways: it begins with the first watch, takes creations and cancellations at any time,
 * and is given up when nothing has been watched for a while. Requests go out in batches, from a task, so that a
 * thousand watches begun together are one write. When the stream ends for whatever reason, every watch on it ends with
 * DS_WATCH_ENDED and its owner looks for itself; nothing is resumed here.
 *
 * A silent stream and a dead connection look alike: after SILENCE the server is asked for a sign of life.
 */
#include "etcd.h"

#include "../base/error.h"

#include <string.h>

#define SILENCE (10 * DS_SECOND)
#define ANSWER_TIME (5 * DS_SECOND)
#define IDLENESS (10 * DS_SECOND)
#define TOKEN_TIME (6 * DS_SECOND)
#define MESSAGE_MAX ((size_t)8 * 1024 * 1024) /* one answer; the server cuts large ones in fragments of about 2 MB */

static void begin_stream(ds_etcd_stream *stream);

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void turn_off(ds_etcd_stream *stream) {
    ds_world *world = stream->etcd->base.world;
    if (stream->http != NULL) {
        world->ops->http_cancel(world, stream->http);
        stream->http = NULL;
    }
    ds_list_remove(&stream->waiter.node);
    ds_list_remove(&stream->flush.node);
    ds_timer_stop(world, &stream->timer);
    ds_buf_free(&stream->in);
    ds_buf_free(&stream->out);
    stream->state = DS_ETCD_STREAM_OFF;
    stream->probing = false;
    stream->number++;
}

/* Watches begun by those who hear of the end go on the next stream. */
void ds_etcd_stream_end(ds_etcd_stream *stream, ds_class outcome, const char *message) {
    turn_off(stream);
    ds_etcd_watching_end_all(stream, outcome, message);
}

void ds_etcd_stream_fail(ds_etcd_stream *stream, ds_class outcome, const char *message) {
    ds_etcd *etcd = stream->etcd;
    ds_endpoints_bad(&etcd->endpoints, stream->endpoint, ds_now(etcd->base.world));
    ds_etcd_stream_end(stream, outcome, message);
}

void ds_etcd_stream_nonsense(ds_etcd_stream *stream) {
    dsync_error error;
    ds_error_set(&error, DSYNC_PROTOCOL, "the watch stream is not etcd's %s", stream->wire->name);
    ds_etcd_stream_fail(stream, DS_NOT_EXECUTED, error.message);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* Handlers may end this stream and begin the next; `in` is therefore taken out of it while its messages are read. The
 * first `seen` bytes of it hold no whole message. */
static void read_messages(ds_etcd_stream *stream, size_t seen) {
    uint64_t number = stream->number;
    ds_buf in = stream->in;
    memset(&stream->in, 0, sizeof(stream->in));
    size_t begin = 0, size;
    do {
        ds_bytes message = {NULL, 0};
        size = stream->wire->cut((ds_bytes){in.data + begin, in.size - begin}, seen, &message);
        seen = 0;
        if (size == DS_ETCD_CUT_BAD) {
            ds_etcd_stream_nonsense(stream);
            break;
        }
        begin += size;
        if (message.size > 0) {
            ds_etcd_stream_message(stream, message);
        }
    } while (size > 0 && stream->number == number);
    if (stream->number != number) {
        ds_buf_free(&in);
        return;
    }
    ds_buf_consume(&in, begin);
    stream->in = in;
}

static void on_data(ds_http_sink *sink, const char *bytes, size_t count) {
    ds_etcd_stream *stream = DS_CONTAINER_OF(sink, ds_etcd_stream, sink);
    stream->heard_ns = ds_now(stream->etcd->base.world);
    stream->probing = false;
    size_t seen = stream->in.size;
    uint64_t number = stream->number;
    if (count == 0) {
        return;
    }
    ds_buf_add(&stream->in, bytes, count);
    if (stream->in.failed) {
        ds_etcd_stream_end(stream, DS_NOT_EXECUTED, "out of memory");
        return;
    }
    read_messages(stream, seen);
    if (stream->number == number && stream->in.size > MESSAGE_MAX) {
        ds_etcd_stream_fail(stream, DS_NOT_EXECUTED, "an answer on the watch stream is too large");
    }
}

static void on_end(ds_etcd_stream *stream, const ds_http_result *http) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_status status = stream->wire->end(http, &arena);
    if (status.code != 0) {
        ds_etcd_stream_refused(stream, http->status, &status);
    } else {
        dsync_error error;
        ds_error_set(&error, DSYNC_UNAVAILABLE, "etcd at %s ended the watch stream", stream->endpoint->origin);
        ds_etcd_stream_fail(stream, DS_NOT_EXECUTED, error.message);
    }
    ds_etcd_arena_free(&arena);
}

/* Nothing of what was asked for has been seen. */
static void on_not_http2(ds_etcd_stream *stream, const ds_http_result *http) {
    dsync_error error;
    if (!ds_etcd_fall_back(stream->etcd, stream->endpoint, http->message, &error)) {
        ds_etcd_stream_end(stream, DS_REFUSED, error.message);
        return;
    }
    turn_off(stream);
    ds_etcd_watching_ask_again(stream);
    ds_post(stream->etcd->base.world, &stream->flush);
}

static void on_done(ds_http_sink *sink, const ds_http_result *http) {
    ds_etcd_stream *stream = DS_CONTAINER_OF(sink, ds_etcd_stream, sink);
    stream->http = NULL;
    dsync_error error;
    if (http->not_http2 && http->code == DSYNC_UNSUPPORTED) {
        on_not_http2(stream, http);
    } else if (http->fate != DS_HTTP_ANSWERED) {
        ds_error_set(&error, DSYNC_UNAVAILABLE, "etcd at %s: watch stream: %s", stream->endpoint->origin,
                     http->message);
        ds_etcd_stream_fail(stream, http->fate == DS_HTTP_REFUSED && http->status == 0 ? DS_REFUSED : DS_NOT_EXECUTED,
                            error.message);
    } else {
        on_end(stream, http);
    }
}

/* ---- silence and idleness ---------------------------------------------------------------------------------------- */

static void set_timer(ds_etcd_stream *stream, int64_t after_ns) {
    ds_world *world = stream->etcd->base.world;
    ds_timer_set(world, &stream->timer, ds_now(world) + after_ns);
}

static void probe(ds_etcd_stream *stream) {
    stream->probing = true;
    stream->wire->watch_progress(&stream->out);
    ds_post(stream->etcd->base.world, &stream->flush);
    set_timer(stream, ANSWER_TIME);
}

/* A server that another request could not reach: does the stream still live? */
void ds_etcd_stream_doubt(ds_etcd_stream *stream, const ds_endpoint *endpoint) {
    if (stream->state == DS_ETCD_STREAM_ON && stream->endpoint == endpoint && stream->count > 0 && !stream->probing) {
        probe(stream);
    }
}

static void on_timer(ds_timer *timer) {
    ds_etcd_stream *stream = DS_CONTAINER_OF(timer, ds_etcd_stream, timer);
    int64_t silent = ds_now(stream->etcd->base.world) - stream->heard_ns;
    if (stream->state == DS_ETCD_STREAM_ASKING) {
        ds_etcd_stream_end(stream, DS_NOT_EXECUTED, "etcd: signing in takes too long");
    } else if (stream->count == 0) {
        turn_off(stream);
    } else if (stream->probing) {
        ds_etcd_stream_fail(stream, DS_NOT_EXECUTED, "etcd: the watch stream went silent");
    } else if (silent < SILENCE) {
        set_timer(stream, SILENCE - silent);
    } else {
        probe(stream);
    }
}

/* ---- what we say ------------------------------------------------------------------------------------------------- */

static void write_queued(ds_etcd_stream *stream) {
    ds_list *node;
    while ((node = ds_list_pop(&stream->queued)) != NULL) {
        ds_etcd_watching *watching = DS_LIST_ENTRY(node, ds_etcd_watching, node);
        ds_etcd_watch_create create = {.id = watching->id, .key = {watching->key, watching->size}};
        create.end = (ds_bytes){watching->key + watching->size, watching->end_size};
        create.since = watching->since;
        create.deletes_only = watching->deletes_only;
        create.keys_only = watching->keys_only;
        stream->wire->watch_create(&stream->out, &create);
        watching->stream_number = stream->number;
        ds_list_append(&stream->asked, node);
    }
}

static bool start_http(ds_etcd_stream *stream) {
    ds_etcd *etcd = stream->etcd;
    ds_world *world = etcd->base.world;
    stream->opened_ns = stream->heard_ns = ds_now(world);
    stream->endpoint = ds_endpoints_pick(&etcd->endpoints, stream->opened_ns);
    ds_http_request request = {
        .endpoint = stream->endpoint,
        .method = "POST",
        .target = stream->wire->watch,
        .body = stream->out.data,
        .body_size = stream->out.size,
        .reply_max = MESSAGE_MAX,
        .timeout_ns = DS_NEVER,
        .stream = true,
        .duplex = true,
    };
    ds_etcd_dress(etcd, stream->wire, &request, true);
    stream->http = world->ops->http_start(world, &request, &stream->sink);
    return stream->http != NULL;
}

static void flush(ds_task *task) {
    ds_etcd_stream *stream = DS_CONTAINER_OF(task, ds_etcd_stream, flush);
    ds_world *world = stream->etcd->base.world;
    if (stream->state == DS_ETCD_STREAM_OFF) {
        begin_stream(stream);
        return;
    }
    if (stream->state == DS_ETCD_STREAM_ASKING) {
        return;
    }
    write_queued(stream);
    bool sent = !stream->out.failed && (stream->out.size == 0 ||
                                        world->ops->http_send(world, stream->http, stream->out.data, stream->out.size));
    ds_buf_clear(&stream->out);
    if (!sent) {
        ds_etcd_stream_end(stream, DS_NOT_EXECUTED, "etcd: the watch stream takes no more requests");
    }
}

static void turn_on(ds_etcd_stream *stream) {
    stream->state = DS_ETCD_STREAM_ON;
    stream->wire = stream->etcd->wire;
    write_queued(stream);
    if (stream->out.failed || !start_http(stream)) {
        ds_etcd_stream_end(stream, DS_NOT_EXECUTED, "out of memory");
        return;
    }
    ds_buf_clear(&stream->out);
    set_timer(stream, SILENCE);
}

static void on_token(ds_etcd_auth_waiter *waiter, const ds_etcd_result *failure) {
    ds_etcd_stream *stream = DS_CONTAINER_OF(waiter, ds_etcd_stream, waiter);
    if (failure != NULL) {
        ds_etcd_stream_end(stream, failure->outcome, failure->message);
    } else {
        turn_on(stream);
    }
}

/* From a task, never from inside watch(). */
static void begin_stream(ds_etcd_stream *stream) {
    ds_etcd *etcd = stream->etcd;
    if (stream->count == 0) {
        return;
    }
    dsync_error error;
    ds_etcd_auth_freshen(&etcd->auth, DS_ETCD_TOKEN_FRESH);
    switch (ds_etcd_auth_ask(&etcd->auth, &error)) {
    case DS_ETCD_AUTH_READY:
        turn_on(stream);
        break;
    case DS_ETCD_AUTH_WAIT:
        stream->state = DS_ETCD_STREAM_ASKING;
        set_timer(stream, TOKEN_TIME);
        ds_etcd_auth_wait(&etcd->auth, &stream->waiter);
        break;
    case DS_ETCD_AUTH_FAILED:
        ds_etcd_stream_end(stream, DS_REFUSED, error.message);
        break;
    }
}

/* ---- use --------------------------------------------------------------------------------------------------------- */

void ds_etcd_stream_used(ds_etcd_stream *stream) {
    if (stream->count == 1 && stream->state == DS_ETCD_STREAM_ON) {
        set_timer(stream, SILENCE); /* it was counting its idleness */
    }
    ds_post(stream->etcd->base.world, &stream->flush);
}

void ds_etcd_stream_unused(ds_etcd_stream *stream) {
    if (stream->state == DS_ETCD_STREAM_ON) {
        stream->probing = false;
        set_timer(stream, IDLENESS);
    }
}

void ds_etcd_stream_init(ds_etcd_stream *stream, ds_etcd *etcd) {
    stream->etcd = etcd;
    stream->number = 1; /* 0: a watch not begun yet */
    stream->sink.on_data = on_data;
    stream->sink.on_done = on_done;
    stream->waiter.done = on_token;
    stream->flush.run = flush;
    stream->timer.fire = on_timer;
    ds_list_init(&stream->waiter.node);
    ds_list_init(&stream->flush.node);
    ds_list_init(&stream->queued);
    ds_list_init(&stream->asked);
    ds_list_init(&stream->on);
}

void ds_etcd_stream_free(ds_etcd_stream *stream) {
    turn_off(stream);
    ds_etcd_watching_drop_all(stream);
}
