/* etcd_watch.c: the model's watch streams: many watches on one, created and cancelled at any time. */
#include <stdlib.h>
#include <string.h>

#include "etcd_model.h"

typedef struct em_watch {
    int64_t id;
    em_bytes key, end;
    bool deletes_only;
} em_watch;

typedef struct em_stream {
    em *e;
    char *authorization;
    ds_buf in;
    em_watch *watches;
    size_t count, capacity;
} em_stream;

static const ds_json_limits limits = {32, 10000};

static void free_watch(em_watch *watch) {
    em_bytes_free(&watch->key);
    em_bytes_free(&watch->end);
}

/* ---- what is said ------------------------------------------------------------------------------------------------ */

static void say(sim_stream *stream, int64_t id, const char *rest) {
    em_stream *state = stream->state;
    ds_buf line = DS_BUF_EMPTY;
    ds_buf_add_text(&line, "{\"result\":{");
    em_header(state->e, &line, state->e->now.revision);
    ds_buf_add_format(&line, ",\"watch_id\":\"%lld\"%s}}\n", (long long)id, rest);
    sim_stream_write(stream, line.data, line.size);
    ds_buf_free(&line);
}

static bool concerns(const em_watch *watch, const em_change *change) {
    return em_within(change->kv.key, watch->key, watch->end) && (change->deleted || !watch->deletes_only);
}

static void add_event(ds_buf *out, const em_change *change) {
    ds_buf_add_text(out, change->deleted ? "{\"type\":\"DELETE\",\"kv\":" : "{\"kv\":");
    em_add_kv(out, &change->kv, false);
    if (change->had_previous) {
        ds_buf_add_text(out, ",\"prev_kv\":");
        em_add_kv(out, &change->previous, false);
    }
    ds_buf_add_char(out, '}');
}

/* Changes [first, end) as one message, if any concerns the watch. */
static void send_changes(sim_stream *stream, const em_watch *watch, size_t first, size_t end) {
    em_stream *state = stream->state;
    em *e = state->e;
    ds_buf events = DS_BUF_EMPTY;
    ds_buf_add_text(&events, ",\"events\":[");
    size_t count = 0;
    for (size_t i = first; i < end; i++) {
        if (concerns(watch, &e->changes[i])) {
            ds_buf_add_text(&events, count++ > 0 ? "," : "");
            add_event(&events, &e->changes[i]);
        }
    }
    ds_buf_add_char(&events, ']');
    if (count > 0) {
        say(stream, watch->id, events.data);
    }
    ds_buf_free(&events);
}

void em_tell_watchers(em *e, size_t first_change) {
    ds_list *next;
    for (ds_list *link = e->streams.next; link != &e->streams; link = next) {
        next = link->next;
        sim_stream *stream = DS_LIST_ENTRY(link, sim_stream, node);
        em_stream *state = stream->state;
        if (e->isolated_until_ns[stream->member] > e->s->now_ns) {
            continue;
        }
        for (size_t i = 0; stream->open && i < state->count; i++) {
            send_changes(stream, &state->watches[i], first_change, e->change_count);
        }
    }
}

/* ---- what is heard ----------------------------------------------------------------------------------------------- */

static void send_past(sim_stream *stream, const em_watch *watch, int64_t since) {
    em *e = ((em_stream *)stream->state)->e;
    for (size_t i = 0; stream->open && i < e->change_count;) {
        size_t end = i + 1;
        while (end < e->change_count && e->changes[end].kv.mod == e->changes[i].kv.mod) {
            end++;
        }
        if (e->changes[i].kv.mod >= since) {
            send_changes(stream, watch, i, end);
        }
        i = end;
    }
}

static void create(sim_stream *stream, const ds_json *request) {
    em_stream *state = stream->state;
    em *e = state->e;
    ds_buf scratch = DS_BUF_EMPTY;
    em_watch watch = {0};
    int64_t since = 0;
    (void)ds_json_int64(request, "watch_id", &watch.id);
    (void)ds_json_int64(request, "start_revision", &since);
    watch.deletes_only = ds_json_array(request, "filters") != NULL;
    bool fine = em_bytes_of(request, "key", &scratch, &watch.key);
    fine = em_bytes_of(request, "range_end", &scratch, &watch.end) && fine;
    ds_buf_free(&scratch);
    if (!em_token_valid(e, state->authorization)) {
        say(stream, -1,
            ",\"created\":true,\"canceled\":true,\"cancel_reason\":\"rpc error: code = PermissionDenied desc = "
            "etcdserver: permission denied\"");
        free_watch(&watch);
        return;
    }
    say(stream, watch.id, ",\"created\":true");
    if (!fine || !stream->open || (since > 0 && since < e->compacted)) {
        ds_buf gone = DS_BUF_EMPTY;
        ds_buf_add_format(&gone, ",\"canceled\":true,\"compact_revision\":\"%lld\"", (long long)e->compacted);
        if (stream->open) {
            say(stream, watch.id, gone.data);
        }
        ds_buf_free(&gone);
        free_watch(&watch);
        return;
    }
    if (state->count == state->capacity) {
        state->capacity = state->capacity == 0 ? 8 : state->capacity * 2;
        state->watches = sim_alloc(state->watches, state->capacity * sizeof *state->watches);
    }
    state->watches[state->count++] = watch;
    if (since > 0) {
        send_past(stream, &watch, since);
    }
}

static void cancel(sim_stream *stream, const ds_json *request) {
    em_stream *state = stream->state;
    int64_t id = 0;
    (void)ds_json_int64(request, "watch_id", &id);
    for (size_t i = 0; i < state->count; i++) {
        if (state->watches[i].id == id) {
            free_watch(&state->watches[i]);
            state->watches[i] = state->watches[--state->count];
            say(stream, id, ",\"canceled\":true");
            return;
        }
    }
}

static void hear(sim_stream *stream, const char *line, size_t size) {
    bool no_memory;
    ds_json *json = ds_json_parse(line, size, &limits, &no_memory, NULL);
    const ds_json *request;
    if ((request = ds_json_object(json, "create_request")) != NULL) {
        create(stream, request);
    } else if ((request = ds_json_object(json, "cancel_request")) != NULL) {
        cancel(stream, request);
    } else if (ds_json_object(json, "progress_request") != NULL) {
        say(stream, -1, "");
    }
    ds_json_free(json);
}

static void silence_of_isolated(em *e, sim_stream *stream);

void em_stream_data(void *servers, sim_stream *stream, const char *bytes, size_t count) {
    em_stream *state = stream->state;
    em *e = servers;
    if (e->isolated_until_ns[stream->member] > e->s->now_ns) {
        silence_of_isolated(e, stream);
        return;
    }
    ds_buf_add(&state->in, bytes, count);
    const char *end;
    while (stream->open && state->in.size > 0 && (end = memchr(state->in.data, '\n', state->in.size)) != NULL) {
        ds_buf line = DS_BUF_EMPTY;
        ds_buf_add(&line, state->in.data, (size_t)(end - state->in.data));
        ds_buf_consume(&state->in, line.size + 1);
        hear(stream, line.data, line.size);
        ds_buf_free(&line);
        if (!stream->open) {
            return;
        }
    }
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

#define NO_LEADER "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}\n"

static void silence_of_isolated(em *e, sim_stream *stream) {
    (void)e;
    sim_stream_write(stream, NO_LEADER, strlen(NO_LEADER));
    if (stream->open) {
        sim_stream_close(stream, false);
    }
}

bool em_stream_open(void *servers, sim_stream *stream, const sim_question *question, int *status, ds_buf *answer) {
    em *e = servers;
    (void)status;
    (void)answer;
    em_stream *state = sim_alloc(NULL, sizeof *state);
    memset(state, 0, sizeof *state);
    state->e = e;
    if (question->authorization != NULL) {
        state->authorization = em_copy(question->authorization, strlen(question->authorization)).data;
    }
    stream->state = state;
    ds_list_append(&e->streams, &stream->node);
    return true;
}

void em_stream_closed(void *servers, sim_stream *stream) {
    em_stream *state = stream->state;
    (void)servers;
    ds_list_remove(&stream->node);
    for (size_t i = 0; i < state->count; i++) {
        free_watch(&state->watches[i]);
    }
    (void)sim_alloc(state->watches, 0);
    (void)sim_alloc(state->authorization, 0);
    ds_buf_free(&state->in);
    (void)sim_alloc(state, 0);
    stream->state = NULL;
}

/* Of one member, or of all (SIM_MEMBERS). `line`: said first, or NULL. */
void em_end_streams(em *e, size_t member, const char *line) {
    ds_list *next;
    for (ds_list *link = e->streams.next; link != &e->streams; link = next) {
        next = link->next;
        sim_stream *stream = DS_LIST_ENTRY(link, sim_stream, node);
        if (member != SIM_MEMBERS && stream->member != member) {
            continue;
        }
        if (line != NULL) {
            sim_stream_write(stream, line, strlen(line));
        }
        if (stream->open) {
            sim_stream_close(stream, line == NULL);
        }
    }
}
