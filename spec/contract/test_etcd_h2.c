/* test_etcd_h2.c: HTTP/2 with a real etcd: what gRPC needs of the transport, with messages written by hand. */
#include "test.h"

#include "etcd_rig.h"

#include <stdlib.h>
#include <unistd.h>

static etcd_server remote;
static ds_loop *loop;
static ds_world *world;
static ds_endpoint endpoint;

typedef struct call {
    ds_http_sink sink;
    ds_http *http;
    bool done, enough;
    size_t wanted;
    ds_http_result result;
    char bytes[4096];
    size_t size;
    char grpc_status[16], message[480];
} call;

static void on_data(ds_http_sink *sink, const char *bytes, size_t count) {
    call *self = DS_CONTAINER_OF(sink, call, sink);
    if (self->size + count <= sizeof(self->bytes)) {
        memcpy(self->bytes + self->size, bytes, count);
        self->size += count;
    }
    self->enough = self->size >= self->wanted;
}

static void on_done(ds_http_sink *sink, const ds_http_result *result) {
    call *self = DS_CONTAINER_OF(sink, call, sink);
    self->result = *result;
    if (result->body != NULL) {
        on_data(sink, result->body, result->body_size);
    }
    const char *status = result->header_values[0];
    (void)snprintf(self->grpc_status, sizeof(self->grpc_status), "%s", status != NULL ? status : "(none)");
    (void)snprintf(self->message, sizeof(self->message), "%s", result->message);
    self->done = true;
}

static ds_http_request to(const char *target) {
    return (ds_http_request){.endpoint = &endpoint,
                             .method = "POST",
                             .target = target,
                             .headers = {"Content-Type: application/grpc", "TE: trailers"},
                             .want_headers = {"grpc-status", "grpc-message"},
                             .reply_max = 4000,
                             .timeout_ns = 5 * DS_SECOND,
                             .http2 = true};
}

static void begin(call *self, const ds_http_request *request) {
    memset(self, 0, sizeof(*self));
    self->sink.on_data = on_data;
    self->sink.on_done = on_done;
    self->http = world->ops->http_start(world, request, &self->sink);
}

static void finish(call *self) {
    if (self->http == NULL || !ds_loop_wait(loop, &self->done, ds_clock_ns() + 10 * DS_SECOND)) {
        printf("a request did not end in %s\n", test_running);
        abort();
    }
}

static bool wait_for(call *self, size_t size) {
    self->wanted = size;
    self->enough = self->size >= size;
    return ds_loop_wait(loop, &self->enough, ds_clock_ns() + 10 * DS_SECOND);
}

static call unary(const char *target, const void *bytes, size_t size) {
    ds_http_request request = to(target);
    request.body = bytes;
    request.body_size = size;
    call self;
    ds_loop_lock(loop);
    begin(&self, &request);
    finish(&self);
    ds_loop_unlock(loop);
    return self;
}

static bool set_up(void) {
    dsync_error error;
    ds_http_config config = {.connect_timeout_ms = 1000, .late = true};
    loop = ds_loop_new(&config, &error);
    world = ds_loop_world(loop);
    bool started = etcd_start(&remote, NULL);
    endpoint = (ds_endpoint){.origin = remote.url};
    return started;
}

static void tear_down(void) {
    ds_loop_free(loop);
    etcd_stop_and_forget(&remote);
}

/* A message of gRPC: not compressed, its length, then fields of protobuf: key "k" (1) and value "v" (2). */
static const char put_k[] = "\0\0\0\0\6\x0a\1k\x12\1v";
static const char range_k[] = "\0\0\0\0\3\x0a\1k";
static const char watch_k[] = "\0\0\0\0\5\x0a\3\x0a\1k"; /* create_request (1) */

TEST(unary_calls_are_answered_with_trailers) {
    REQUIRE(set_up());
    call got = unary("/etcdserverpb.KV/Put", put_k, sizeof(put_k) - 1);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_INT(got.result.status, 200);
    CHECK_EQ_TEXT(got.grpc_status, "0");
    CHECK(got.size > 5);
    got = unary("/etcdserverpb.KV/Range", range_k, sizeof(range_k) - 1);
    CHECK_EQ_TEXT(got.grpc_status, "0");
    CHECK(memmem(got.bytes, got.size, "\x2a\1v", 3) != NULL);
    got = unary("/etcdserverpb.KV/Nonsense", range_k, sizeof(range_k) - 1);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_TEXT(got.grpc_status, "12"); /* in headers, without a body */
    char *value = etcd_value(&remote, "k", NULL, NULL);
    CHECK_EQ_TEXT(value, "v");
    free(value);
    tear_down();
}

TEST(a_watch_and_calls_share_a_connection_and_die_with_the_server) {
    REQUIRE(set_up());
    ds_http_request request = to("/etcdserverpb.Watch/Watch");
    request.stream = request.duplex = true;
    request.timeout_ns = DS_NEVER;
    call watch;
    ds_loop_lock(loop);
    begin(&watch, &request);
    CHECK(world->ops->http_send(world, watch.http, watch_k, sizeof(watch_k) - 1));
    CHECK(wait_for(&watch, 6)); /* created */
    for (int i = 0; i < 50; i++) {
        size_t before = watch.size < 2000 ? watch.size : (watch.size = 0);
        ds_loop_unlock(loop);
        call put = unary("/etcdserverpb.KV/Put", put_k, sizeof(put_k) - 1);
        CHECK_EQ_TEXT(put.grpc_status, "0");
        ds_loop_lock(loop);
        CHECK(wait_for(&watch, before + 6));
    }
    CHECK(world->ops->http_send(world, watch.http, watch_k, sizeof(watch_k) - 1)); /* one more on the same stream */
    size_t before = watch.size;
    CHECK(wait_for(&watch, before + 6));
    CHECK(!watch.done);
    etcd_stop(&remote);
    finish(&watch);
    ds_loop_unlock(loop);
    CHECK_EQ_INT(watch.result.fate, DS_HTTP_UNKNOWN);
    call got = unary("/etcdserverpb.KV/Range", range_k, sizeof(range_k) - 1);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "connection refused");
    REQUIRE(etcd_start_again(&remote, NULL));
    got = unary("/etcdserverpb.KV/Range", range_k, sizeof(range_k) - 1);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_TEXT(got.grpc_status, "0");
    tear_down();
}

#define CROWD 1000

TEST(a_thousand_calls_at_once_are_all_answered) {
    static call crowd[CROWD];
    REQUIRE(set_up());
    ds_http_request request = to("/etcdserverpb.KV/Range");
    request.body = range_k;
    request.body_size = sizeof(range_k) - 1;
    ds_loop_lock(loop);
    for (int i = 0; i < CROWD; i++) {
        begin(&crowd[i], &request);
    }
    for (int i = 0; i < CROWD; i++) {
        finish(&crowd[i]);
        CHECK_EQ_TEXT(crowd[i].grpc_status, "0");
    }
    ds_loop_unlock(loop);
    tear_down();
}
