/* http_fixture.h: a loop, a server that speaks HTTP/1.1 (http_manners.h), and requests between them. */
#ifndef DS_TEST_HTTP_FIXTURE_H
#define DS_TEST_HTTP_FIXTURE_H

#include "test.h"

#include "../../csrc/net/loop.h"
#include "http_manners.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static server remote;
static char origin[64];
static ds_endpoint endpoint = {.origin = origin};
static ds_loop *loop;
static ds_world *world;

/* What a request came to, copied out of on_done. */
typedef struct outcome {
    ds_http_sink sink;
    ds_http *http;
    bool done;
    int times;
    ds_http_result result;
    char body[4096];
    char message[480];
    char values[2][64];
    int cancel_after; /* pieces; 0 = never */
    int pieces;
    bool enough; /* set when `wanted` bytes have come */
    size_t wanted;
} outcome;

static void on_data(ds_http_sink *sink, const char *bytes, size_t count) {
    outcome *self = DS_CONTAINER_OF(sink, outcome, sink);
    size_t used = strlen(self->body);
    (void)snprintf(self->body + used, sizeof(self->body) - used, "%.*s", (int)count, bytes);
    self->enough = strlen(self->body) >= self->wanted;
    if (++self->pieces == self->cancel_after) {
        world->ops->http_cancel(world, self->http);
        self->done = true;
    }
}

static void on_done(ds_http_sink *sink, const ds_http_result *result) {
    outcome *self = DS_CONTAINER_OF(sink, outcome, sink);
    self->result = *result;
    self->times++;
    (void)snprintf(self->message, sizeof(self->message), "%s", result->message);
    if (result->body != NULL) {
        (void)snprintf(self->body, sizeof(self->body), "%s", result->body);
        if (strlen(result->body) != result->body_size) {
            (void)snprintf(self->body, sizeof(self->body), "body_size is wrong");
        }
    }
    for (int i = 0; i < 2; i++) {
        const char *value = result->header_values[i];
        (void)snprintf(self->values[i], sizeof(self->values[i]), "%s", value != NULL ? value : "(none)");
    }
    self->done = true;
}

TEST_UNUSED static ds_http_request request_to(const char *method, const char *target) {
    return (ds_http_request){.endpoint = &endpoint,
                             .method = method,
                             .target = target,
                             .want_headers = {"x-wanted", "X-Second"},
                             .reply_max = 2000,
                             .timeout_ns = 5 * DS_SECOND};
}

TEST_UNUSED static void begin(outcome *self, const ds_http_request *request) {
    memset(self, 0, sizeof(*self));
    self->sink.on_data = on_data;
    self->sink.on_done = on_done;
    self->http = world->ops->http_start(world, request, &self->sink);
}

TEST_UNUSED static void finish(outcome *self) {
    if (self->http == NULL || !ds_loop_wait(loop, &self->done, ds_clock_ns() + 10 * DS_SECOND)) {
        printf("a request did not end in %s %p\n", test_running, (void *)self->http);
        abort();
    }
}

TEST_UNUSED static outcome perform(const ds_http_request *request) {
    outcome self;
    ds_loop_lock(loop);
    begin(&self, request);
    finish(&self);
    ds_loop_unlock(loop);
    return self;
}

TEST_UNUSED static outcome get(const char *target) {
    ds_http_request request = request_to("GET", target);
    return perform(&request);
}

TEST_UNUSED static void set_up(int64_t connect_timeout_ms) {
    dsync_error error;
    ds_http_config config = {.connect_timeout_ms = connect_timeout_ms};
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(60);
    loop = ds_loop_new(&config, &error);
    if (loop == NULL || !server_start(&remote, NULL, http_serve, NULL)) {
        abort();
    }
    world = ds_loop_world(loop);
    (void)snprintf(origin, sizeof(origin), "http://127.0.0.1:%d", remote.port);
}

TEST_UNUSED static void tear_down(void) {
    ds_loop_free(loop);
    server_stop(&remote);
}

TEST_UNUSED static void pause_ms(int ms) {
    (void)usleep((useconds_t)ms * 1000);
}

/* A request whose upload goes on while its answer comes; `threaded`: other threads get the loop between its pieces. */
TEST_UNUSED static void converse(bool threaded) {
    ds_http_request request = request_to("POST", "/duplex");
    request.stream = true;
    request.duplex = true;
    request.timeout_ns = DS_NEVER;
    request.body = "hello,";
    request.body_size = 6;
    ds_loop_lock(loop);
    outcome self;
    begin(&self, &request);
    char expected[4096] = "";
    size_t sent = 0;
    for (int i = 0; i < 30; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "line %d,", i);
        CHECK(world->ops->http_send(world, self.http, text, strlen(text)));
        sent += strlen(text);
        (void)snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%s", text);
        if (i % 3 == 0) { /* an answer to what was sent last, while the request is still open */
            self.enough = false;
            self.wanted = sent;
            CHECK(ds_loop_wait(loop, &self.enough, ds_clock_ns() + 5 * DS_SECOND));
        }
        if (threaded) {
            ds_loop_unlock(loop);
            pause_ms(i % 5);
            ds_loop_lock(loop);
        }
    }
    CHECK(world->ops->http_send(world, self.http, "bye", 3));
    finish(&self);
    ds_loop_unlock(loop);
    CHECK_EQ_INT(self.result.fate, DS_HTTP_ANSWERED);
    CHECK_CONTAINS(self.body, "line 0,");
    CHECK_CONTAINS(self.body, "line 29,");
}

#endif
