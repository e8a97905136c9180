/* fake_http.c: the fake world's HTTP: requests as records, answers as packets that arrive when the test said. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../csrc/dsync.h"
#include "fake_world_parts.h"

struct ds_http {
    fw_request request; /* first: a fw_request is a ds_http */
    ds_http_sink *sink;
    const char *want[DS_HTTP_HEADERS_MAX + 1];
    ds_timer timeout;
    size_t packets; /* under way to it */
};

typedef struct packet {
    ds_list node; /* in a paused world's `held` */
    ds_http *http;
    bool last;        /* an answer, else a piece of a stream */
    fw_answer answer; /* body and message are copies; a piece has only a body */
    char **header_values;
} packet;

static ds_http *http_of(fw_request *request) {
    return DS_CONTAINER_OF(request, ds_http, request);
}

static char *copy_bytes(const void *bytes, size_t size) {
    char *copy = fw_alloc(NULL, size + 1);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    copy[size] = '\0';
    return copy;
}

static char *copy_text(const char *text) {
    return copy_bytes(text, strlen(text));
}

static bool is_over(const fw_request *request) {
    return request->ended || request->cancelled;
}

static size_t want_count(const ds_http *http) {
    size_t count = 0;
    while (count < DS_HTTP_HEADERS_MAX && http->want[count] != NULL) {
        count++;
    }
    return count;
}

/* ---- ending ------------------------------------------------------------------------------------------------------ */

static void end(ds_http *http, const ds_http_result *result) {
    ds_timer_stop(http->request.world, &http->timeout);
    http->request.ended = true;
    http->sink->on_done(http->sink, result);
}

static void time_out(ds_timer *timer) {
    static const char *const none[DS_HTTP_HEADERS_MAX];
    ds_http *http = DS_CONTAINER_OF(timer, ds_http, timeout);
    ds_http_result result = {.fate = DS_HTTP_UNKNOWN, .header_values = none, .message = "timed out"};
    end(http, &result);
}

static void free_packet(packet *p) {
    p->http->packets--;
    for (size_t i = 0; p->header_values != NULL && i < want_count(p->http); i++) {
        free(p->header_values[i]);
    }
    free(p->header_values);
    union {
        const char *given;
        void *owned;
    } body = {p->answer.body}, message = {p->answer.message};
    free(body.owned);
    free(message.owned);
    free(p);
}

static void drop_packet(void *argument) {
    free_packet(argument);
}

static void deliver_end(packet *p) {
    ds_http *http = p->http;
    const fw_answer *answer = &p->answer;
    ds_http_result result = {.fate = answer->fate,
                             .code = answer->code,
                             .status = answer->status,
                             .resent = answer->resent,
                             .not_http2 = answer->not_http2,
                             .body = answer->body_size > 0 ? answer->body : NULL,
                             .body_size = answer->body_size,
                             .header_values = (const char *const *)p->header_values,
                             .message = answer->message};
    if (http->request.reply_max != 0 && answer->body_size > http->request.reply_max) {
        result.fate = DS_HTTP_REFUSED;
        result.code = DSYNC_PROTOCOL;
        result.body = NULL;
        result.body_size = 0;
        result.message = "the answer is too large";
    }
    end(http, &result);
}

static void arrive(fw *u, void *argument) {
    packet *p = argument;
    ds_http *http = p->http;
    fw_place *world = fw_of(http->request.world);
    (void)u;
    if (!is_over(&http->request) && world->paused) {
        ds_list_append(&world->held, &p->node);
        return;
    }
    if (!is_over(&http->request) && p->last) {
        deliver_end(p);
    } else if (!is_over(&http->request)) {
        http->sink->on_data(http->sink, p->answer.body, p->answer.body_size);
    }
    free_packet(p);
}

void fw_http_resume(fw_place *world) {
    ds_list *node;
    while ((node = ds_list_pop(&world->held)) != NULL) {
        fw_later(world->universe, world->universe->now_ns, arrive, drop_packet, DS_LIST_ENTRY(node, packet, node));
    }
}

/* ---- the server's side ------------------------------------------------------------------------------------------- */

void fw_serve(fw *u, const fw_server *server) {
    u->server = *server;
}

static packet *packet_new(fw_request *request, const char *body, size_t size) {
    packet *p = fw_alloc(NULL, sizeof(*p));
    *p = (packet){.http = http_of(request)};
    ds_list_init(&p->node);
    p->http->packets++;
    p->answer.body = copy_bytes(body, size);
    p->answer.body_size = size;
    return p;
}

static void dispatch(packet *p, int64_t delay_ns) {
    fw *u = p->http->request.universe;
    fw_later(u, u->now_ns + delay_ns, arrive, drop_packet, p);
}

static char *wanted_value(const fw_answer *answer, const char *name) {
    for (size_t i = 0; i < answer->header_count; i++) {
        if (strcasecmp(answer->headers[i].name, name) == 0) {
            return copy_text(answer->headers[i].value);
        }
    }
    return NULL;
}

void fw_finish(fw_request *request, int64_t delay_ns, const fw_answer *answer) {
    packet *p = packet_new(request, answer->body, answer->body_size);
    const char *body = p->answer.body;
    p->answer = *answer;
    p->answer.body = body;
    p->answer.headers = NULL;
    p->answer.message = copy_text(answer->message != NULL ? answer->message : "");
    p->last = true;
    p->header_values = fw_alloc(NULL, (DS_HTTP_HEADERS_MAX + 1) * sizeof(char *));
    for (size_t i = 0; i < want_count(p->http); i++) {
        p->header_values[i] = wanted_value(answer, p->http->want[i]);
    }
    dispatch(p, delay_ns);
}

void fw_reply(fw_request *request, int64_t delay_ns, int status, const char *body) {
    fw_answer answer = {.status = status, .body = body, .body_size = body != NULL ? strlen(body) : 0};
    fw_finish(request, delay_ns, &answer);
}

void fw_fail(fw_request *request, int64_t delay_ns, ds_http_fate fate, const char *message) {
    fw_answer answer = {.fate = fate, .message = message};
    fw_finish(request, delay_ns, &answer);
}

void fw_data(fw_request *request, int64_t delay_ns, const char *bytes, size_t count) {
    if (!request->stream) {
        fw_misuse("a piece for request %s, which is no stream", request->target);
    }
    dispatch(packet_new(request, bytes, count), delay_ns);
}

/* ---- the client's side ------------------------------------------------------------------------------------------- */

static void check_shape(const ds_http_request *request, const ds_http_sink *sink) {
    if (request->endpoint == NULL || request->method == NULL || request->target == NULL || request->target[0] != '/') {
        fw_misuse("a request without endpoint, method, or target that begins with '/'");
    }
    if (sink->on_done == NULL || (request->stream && sink->on_data == NULL)) {
        fw_misuse("%s: nobody hears the answer", request->target);
    }
    if (request->timeout_ns <= 0) {
        fw_misuse("%s: no time to answer", request->target);
    }
}

static void remember(fw *u, ds_http *http) {
    if (u->request_count == u->request_capacity) {
        u->request_capacity = u->request_capacity * 2 + 16;
        u->requests = fw_alloc(u->requests, u->request_capacity * sizeof(ds_http *));
    }
    u->requests[u->request_count++] = http;
    http->request.number = ++u->request_numbers;
}

/* False when the test makes allocations fail now. */
static bool memory_is_there(void) {
    void *probe = ds_malloc(1);
    ds_free(probe);
    return probe != NULL;
}

ds_http *fw_http_start(ds_world *base, const ds_http_request *request, ds_http_sink *sink) {
    fw *u = fw_of(base)->universe;
    check_shape(request, sink);
    if (!memory_is_there()) {
        return NULL;
    }
    ds_http *http = fw_alloc(NULL, sizeof(*http));
    *http = (ds_http){.request = {.universe = u,
                                  .world = base,
                                  .endpoint = request->endpoint,
                                  .method = copy_text(request->method),
                                  .target = copy_text(request->target),
                                  .body = copy_bytes(request->body, request->body_size),
                                  .body_size = request->body_size,
                                  .first_size = request->body_size,
                                  .reply_max = request->reply_max,
                                  .timeout_ns = request->timeout_ns,
                                  .started_ns = u->now_ns,
                                  .urgent = request->urgent,
                                  .stream = request->stream,
                                  .duplex = request->duplex,
                                  .http2 = request->http2},
                      .sink = sink,
                      .timeout = {.fire = time_out}};
    for (size_t i = 0; i < DS_HTTP_HEADERS_MAX && request->headers[i] != NULL; i++) {
        http->request.headers[i] = copy_text(request->headers[i]);
    }
    memcpy(http->want, request->want_headers, sizeof(http->want));
    remember(u, http);
    if (request->timeout_ns < DS_NEVER - u->now_ns) {
        ds_timer_set(base, &http->timeout, u->now_ns + request->timeout_ns);
    }
    if (u->server.on_request != NULL) {
        u->server.on_request(&http->request, u->server.argument);
    }
    return http;
}

void fw_http_cancel(ds_world *base, ds_http *http) {
    fw *u = fw_of(base)->universe;
    if (is_over(&http->request)) {
        fw_misuse("%s was cancelled after its end", http->request.target);
    }
    ds_timer_stop(base, &http->timeout);
    http->request.cancelled = true;
    if (u->server.on_cancel != NULL) {
        u->server.on_cancel(&http->request, u->server.argument);
    }
}

bool fw_http_send(ds_world *base, ds_http *http, const void *bytes, size_t count) {
    fw *u = fw_of(base)->universe;
    fw_request *request = &http->request;
    if (!request->duplex) {
        fw_misuse("%s: http_send to a request that is not duplex", request->target);
    }
    if (is_over(request) || !memory_is_there()) {
        return false;
    }
    request->body = fw_alloc(request->body, request->body_size + count + 1);
    memcpy(request->body + request->body_size, bytes, count);
    request->body_size += count;
    request->body[request->body_size] = '\0';
    if (u->server.on_send != NULL) {
        u->server.on_send(request, request->body + request->body_size - count, count, u->server.argument);
    }
    return true;
}

/* ---- what was asked ---------------------------------------------------------------------------------------------- */

const char *fw_header_of(const fw_request *request, const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; request->headers[i] != NULL; i++) {
        const char *line = request->headers[i];
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            return line + length + 1 + strspn(line + length + 1, " ");
        }
    }
    return NULL;
}

size_t fw_request_count(const fw *u) {
    return u->request_count;
}

fw_request *fw_request_at(const fw *u, size_t index) {
    return index < u->request_count ? &u->requests[index]->request : NULL;
}

fw_request *fw_last_request(const fw *u, const char *target_part) {
    for (size_t i = u->request_count; i-- > 0;) {
        if (strstr(u->requests[i]->request.target, target_part) != NULL) {
            return &u->requests[i]->request;
        }
    }
    return NULL;
}

void fw_http_alive(const fw *u, size_t *requests, size_t *timeouts) {
    for (size_t i = 0; i < u->request_count; i++) {
        *requests += !is_over(&u->requests[i]->request);
        *timeouts += u->requests[i]->timeout.index != 0;
    }
}

static void free_request(ds_http *http) {
    for (size_t i = 0; http->request.headers[i] != NULL; i++) {
        free(http->request.headers[i]);
    }
    free(http->request.method);
    free(http->request.target);
    free(http->request.body);
    free(http);
}

void fw_forget(fw *u) {
    size_t kept = 0;
    for (size_t i = 0; i < u->request_count; i++) {
        ds_http *http = u->requests[i];
        if (is_over(&http->request) && http->packets == 0) {
            free_request(http);
        } else {
            u->requests[kept++] = http;
        }
    }
    u->request_count = kept;
}

void fw_http_free(fw *u) {
    for (size_t i = 0; i < u->request_count; i++) {
        free_request(u->requests[i]);
    }
    free(u->requests);
}
