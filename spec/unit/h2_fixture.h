/* h2_fixture.h: a loop, a server that speaks HTTP/2, and requests between them. */
#ifndef DS_TEST_H2_FIXTURE_H
#define DS_TEST_H2_FIXTURE_H

#include "test.h"

#include "../../csrc/net/loop.h"
#include "h2_server.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECES_MAX (64 * 1024)

static h2_server remote;
static char origin[64];
static ds_endpoint endpoint = {.origin = origin};
static ds_loop *loop;
static ds_world *world;

/* What a request came to, copied out of on_done. */
typedef struct outcome {
    ds_http_sink sink;
    ds_http *http;
    bool done, enough;
    int times;
    int order; /* the how-manieth end it was */
    ds_http_result result;
    char body[4096];
    size_t size; /* of what came through on_data */
    size_t wanted;
    int pieces, cancel_after;
    char message[480];
    char values[4][64];
} outcome;

static int ends_so_far;

static void on_data(ds_http_sink *sink, const char *bytes, size_t count) {
    outcome *self = DS_CONTAINER_OF(sink, outcome, sink);
    size_t used = strlen(self->body);
    (void)snprintf(self->body + used, sizeof(self->body) - used, "%.*s", (int)count, bytes);
    self->size += count;
    self->enough = self->wanted > 0 && self->size >= self->wanted;
    if (++self->pieces == self->cancel_after) {
        world->ops->http_cancel(world, self->http);
        self->done = true;
    }
}

static void on_done(ds_http_sink *sink, const ds_http_result *result) {
    outcome *self = DS_CONTAINER_OF(sink, outcome, sink);
    self->result = *result;
    self->times++;
    self->order = ++ends_so_far;
    (void)snprintf(self->message, sizeof(self->message), "%s", result->message);
    if (result->body != NULL) {
        (void)snprintf(self->body, sizeof(self->body), "%s", result->body);
    }
    for (int i = 0; i < 4; i++) {
        const char *value = result->header_values[i];
        (void)snprintf(self->values[i], sizeof(self->values[i]), "%s", value != NULL ? value : "(none)");
    }
    self->done = true;
}

TEST_UNUSED static ds_http_request request_to(const char *target) {
    return (ds_http_request){.endpoint = &endpoint,
                             .method = "POST",
                             .target = target,
                             .want_headers = {"x-wanted", "X-Second", "grpc-status", "grpc-message"},
                             .reply_max = 3000,
                             .timeout_ns = 5 * DS_SECOND,
                             .http2 = true};
}

TEST_UNUSED static ds_http_request duplex_to(const char *target) {
    ds_http_request request = request_to(target);
    request.stream = request.duplex = true;
    request.timeout_ns = DS_NEVER;
    return request;
}

TEST_UNUSED static void begin(outcome *self, const ds_http_request *request) {
    memset(self, 0, sizeof(*self));
    self->sink.on_data = on_data;
    self->sink.on_done = on_done;
    self->http = world->ops->http_start(world, request, &self->sink);
}

TEST_UNUSED static void finish(outcome *self) {
    if (self->http == NULL || !ds_loop_wait(loop, &self->done, ds_clock_ns() + 20 * DS_SECOND)) {
        printf("a request did not end in %s\n", test_running);
        abort();
    }
}

/* Waits until so much of a stream has come. */
TEST_UNUSED static bool await_size(outcome *self, size_t size) {
    self->wanted = size;
    self->enough = self->size >= size;
    return ds_loop_wait(loop, &self->enough, ds_clock_ns() + 20 * DS_SECOND);
}

TEST_UNUSED static void drive_ms(int ms) {
    bool never = false;
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + ms * DS_MS);
}

TEST_UNUSED static outcome perform(const ds_http_request *request) {
    outcome self;
    ds_loop_lock(loop);
    begin(&self, request);
    finish(&self);
    ds_loop_unlock(loop);
    return self;
}

TEST_UNUSED static outcome post(const char *target) {
    ds_http_request request = request_to(target);
    return perform(&request);
}

/* `handle` NULL: no server. */
TEST_UNUSED static void set_up(int64_t connect_timeout_ms, uint32_t most_streams, void (*handle)(h2_stream *)) {
    dsync_error error;
    ds_http_config config = {.connect_timeout_ms = connect_timeout_ms, .late = true};
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(100);
    loop = ds_loop_new(&config, &error);
    if (loop == NULL || (handle != NULL && !h2_server_start(&remote, NULL, 0, most_streams, handle))) {
        abort();
    }
    world = ds_loop_world(loop);
    (void)snprintf(origin, sizeof(origin), "http://127.0.0.1:%d", remote.port);
}

TEST_UNUSED static void tear_down(void) {
    ds_loop_free(loop);
    h2_server_stop(&remote);
}

#endif
