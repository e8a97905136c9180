/* stream.c: duplex requests: what both sides say in turn, and what is lost of it. */
#include <string.h>

#include "transport_parts.h"

void sim_stream_unref(sim_stream *stream) {
    if (--stream->refs == 0) {
        (void)sim_alloc(stream, 0);
    }
}

typedef struct piece {
    sim_stream *stream;
    sim_packet *opening; /* the first one */
    char *bytes;         /* NULL: the end */
    size_t size;
    bool reset;
} piece;

static void drop_piece(void *argument) {
    piece *p = argument;
    if (p->opening != NULL) {
        sim_packet_drop(p->opening);
    }
    sim_stream_unref(p->stream);
    (void)sim_alloc(p->bytes, 0);
    (void)sim_alloc(p, 0);
}

static piece *new_piece(sim_stream *stream, const char *bytes, size_t size) {
    piece *p = sim_alloc(NULL, sizeof *p);
    stream->refs++;
    *p = (piece){stream, NULL, bytes != NULL ? sim_copied(bytes, size) : NULL, size, false};
    return p;
}

static void end_server_side(sim_stream *stream) {
    if (stream->open) {
        sim_note(stream->s, "server %zu: the stream to client %u is over", stream->member, stream->host->number);
        stream->open = false;
        stream->s->model->closed(stream->s->servers, stream);
        sim_stream_unref(stream);
    }
}

static void reach_server(sim *s, void *argument) {
    piece *p = argument;
    sim_stream *stream = p->stream;
    if (sim_is_cut(s, stream->host) && p->bytes != NULL) {
        stream->silent = true;
        drop_piece(p);
        return;
    }
    if (p->opening != NULL) {
        ds_buf body = DS_BUF_EMPTY;
        int status = 503;
        sim_extra extra = {DS_BUF_EMPTY, 0};
        sim_question question = sim_question_of(p->opening, &extra);
        stream->open = s->model->open(s->servers, stream, &question, &status, &body);
        stream->refs += stream->open ? 1 : 0;
        if (!stream->open) {
            sim_send_answer(p->opening, sim_latency(s),
                            &(sim_hearing){DS_HTTP_ANSWERED, status, extra.headers.data, body.data, body.size});
        }
        ds_buf_free(&extra.headers);
        ds_buf_free(&body);
    }
    if (p->bytes == NULL) {
        end_server_side(stream);
    } else if (stream->open) {
        sim_note(s, "server %zu: from client %u: %.*s", stream->member, stream->host->number,
                 (int)(p->size < 200 ? p->size : 200) - 1, p->bytes);
        s->model->data(s->servers, stream, p->bytes, p->size);
    }
    drop_piece(p);
}

static void reach_client(sim *s, void *argument) {
    piece *p = argument;
    ds_http *http = p->stream->http != 0 ? sim_http_find(p->stream->host, p->stream->http) : NULL;
    p->stream->silent = p->stream->silent || sim_is_cut(s, p->stream->host);
    if (sim_is_cut(s, p->stream->host)) {
        drop_piece(p);
        return;
    }
    if (http != NULL && p->bytes == NULL) {
        sim_http_finish(http, &(sim_hearing){p->reset ? DS_HTTP_UNKNOWN : DS_HTTP_ANSWERED, 200, NULL, "", 0});
    } else if (http != NULL) {
        (void)sim_memory_client(true);
        http->sink->on_data(http->sink, p->bytes, p->size);
        (void)sim_memory_client(false);
    }
    drop_piece(p);
}

static int64_t in_turn(sim *s, int64_t *last_ns, int64_t delay_ns) {
    int64_t at = s->now_ns + delay_ns;
    *last_ns = at > *last_ns ? at : *last_ns;
    return *last_ns;
}

static void to_client(sim_stream *stream, piece *p, int64_t delay_ns) {
    sim_at(stream->s, in_turn(stream->s, &stream->to_client_ns, delay_ns), stream->host, reach_client, p, drop_piece);
}

void sim_stream_write(sim_stream *stream, const char *bytes, size_t count) {
    sim *s = stream->s;
    if (!stream->open || stream->silent) {
        return;
    }
    sim_note(s, "server %zu: to client %u: %.*s", stream->member, stream->host->number,
             (int)(count < 200 ? count : 200) - 1, bytes);
    if (sim_hit(s, SIM_STREAM_SILENT)) {
        sim_note(s, "server %zu: the stream to client %u goes silent", stream->member, stream->host->number);
        stream->silent = true;
        return;
    }
    if (sim_hit(s, SIM_STREAM_GARBAGE)) {
        to_client(stream, new_piece(stream, "nonsense\n", 9), sim_latency(s));
    }
    int64_t delay = sim_hit(s, SIM_STREAM_BURST) ? sim_between(s, 0, 3 * DS_SECOND) : sim_latency(s);
    size_t first = count > 1 && sim_random(s) % 4 == 0 ? (size_t)sim_between(s, 1, (int64_t)count - 1) : count;
    to_client(stream, new_piece(stream, bytes, first), delay);
    if (first < count) {
        to_client(stream, new_piece(stream, bytes + first, count - first), delay);
    }
    if (sim_hit(s, SIM_STREAM_BREAK)) {
        sim_stream_close(stream, true);
    }
}

void sim_stream_close(sim_stream *stream, bool reset) {
    if (!stream->silent) {
        piece *last = new_piece(stream, NULL, 0);
        last->reset = reset;
        to_client(stream, last, sim_latency(stream->s));
    }
    stream->silent = true;
    end_server_side(stream);
}

static void to_server(sim_stream *stream, piece *p) {
    sim *s = stream->s;
    sim_at(s, in_turn(s, &stream->to_server_ns, sim_latency(s)), NULL, reach_server, p, drop_piece);
}

void sim_stream_start(ds_http *http, sim_packet *p) {
    sim *s = p->s;
    if (sim_hit(s, SIM_REFUSED)) {
        sim_packet_refuse(p, DS_HTTP_NOT_SENT, 0);
        return;
    }
    sim_stream *stream = sim_alloc(NULL, sizeof *stream);
    memset(stream, 0, sizeof *stream);
    stream->s = s;
    stream->http = http->number;
    stream->host = http->host;
    stream->member = p->member;
    stream->refs = 1;
    ds_list_init(&stream->node);
    http->stream = stream;
    piece *first = new_piece(stream, p->body, p->body_size);
    first->opening = p;
    to_server(stream, first);
}

void sim_stream_send(sim_stream *stream, const char *bytes, size_t count) {
    to_server(stream, new_piece(stream, bytes, count));
}

void sim_stream_hang_up(sim_stream *stream) {
    to_server(stream, new_piece(stream, NULL, 0));
}
