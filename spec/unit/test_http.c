/* test_http.c: HTTP requests through the loop, against a server that also does what servers must not do. */
#include "test.h"

#include "../../csrc/net/loop.h"
#include "http_server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void guard(unsigned seconds) {
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(seconds);
}

static void pause_ms(int ms) {
    (void)usleep((useconds_t)ms * 1000);
}

/* ---- the server's manners ----------------------------------------------------------------------------------------- */

static atomic_int in_flight;
static atomic_int most_in_flight;
static atomic_int before_urgent;
static atomic_bool await_urgent; /* the others are answered after the urgent one, or after a second */

static bool path_is(const server_request *request, const char *target) {
    const char *space = strchr(request->text, ' ');
    size_t size = strlen(target);
    return space != NULL && strncmp(space + 1, target, size) == 0 && space[1 + size] == ' ';
}

static bool reply_many_headers(const server_request *request, int lines, int size) {
    bool ok = server_say(request->fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; ok && i < lines; i++) {
        char line[4096];
        (void)snprintf(line, sizeof(line), "X-%d: %0*d\r\n", i, size, 0);
        ok = server_say(request->fd, line);
    }
    return ok && server_say(request->fd, "Content-Length: 0\r\n\r\n");
}

static bool serve_pieces(const server_request *request) {
    bool ok = server_say(request->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; ok && i < 5; i++) {
        ok = server_say(request->fd, "6\r\npiece\n\r\n");
        pause_ms(5);
    }
    return ok && server_say(request->fd, "0\r\n\r\n");
}

/* Echoes what is uploaded, at once, while the upload goes on; "bye" ends it. */
static bool serve_duplex(const server_request *request) {
    char bytes[4096];
    ssize_t got = 0;
    bool ok = strstr(request->text, "Connection: close\r\n") != NULL &&
              strstr(request->text, "Transfer-Encoding: chunked\r\n") != NULL &&
              server_say(request->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    (void)snprintf(bytes, sizeof(bytes), "%s", request->body);
    got = (ssize_t)strlen(bytes);
    while (ok) {
        if (got > 0) {
            bytes[got] = '\0';
            char chunk[4200];
            (void)snprintf(chunk, sizeof(chunk), "%zx\r\n%s\r\n", strlen(bytes), bytes);
            ok = server_say(request->fd, chunk);
            if (strstr(bytes, "bye") != NULL) {
                (void)server_say(request->fd, "0\r\n\r\n");
                break;
            }
        }
        got = recv(request->fd, bytes, sizeof(bytes) - 200, 0);
        ok = ok && got > 0;
    }
    return false;
}

static bool serve_counted(const server_request *request) {
    int now = atomic_fetch_add(&in_flight, 1) + 1;
    int most = atomic_load(&most_in_flight);
    while (now > most && !atomic_compare_exchange_weak(&most_in_flight, &most, now)) {
    }
    pause_ms(20);
    for (int i = 0; i < 100 && atomic_load(&await_urgent); i++) {
        pause_ms(10);
    }
    atomic_fetch_sub(&in_flight, 1);
    return server_reply(request->fd, 200, "", "counted");
}

static bool serve(server_request *request) {
    int fd = request->fd;
    if (path_is(request, "/echo")) {
        char method[16];
        (void)snprintf(method, sizeof(method), "%.*s", (int)strcspn(request->text, " "), request->text);
        char body[2048];
        (void)snprintf(body, sizeof(body), "%s:%s", method, request->body);
        return server_reply(fd, 200, "X-Wanted: yes \r\nx-second:two\r\nX-Wanted: again\r\n", body);
    }
    if (path_is(request, "/head")) {
        *(request->body - 2) = '\0';
        return server_reply(fd, 200, "", request->text);
    }
    if (path_is(request, "/missing")) {
        return server_reply(fd, 404, "", "no such thing");
    }
    if (path_is(request, "/redirect")) {
        return server_reply(fd, 301, "Location: /echo\r\n", "");
    }
    if (path_is(request, "/nothing")) {
        return false;
    }
    if (path_is(request, "/half")) {
        (void)server_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        return false;
    }
    if (path_is(request, "/halfhead")) {
        (void)server_say(fd, "HTTP/1.1 200 OK\r\nContent-Le");
        return false;
    }
    if (path_is(request, "/garbage")) {
        (void)server_say(fd, "220 mail.example.org ESMTP ready\r\n");
        return false;
    }
    if (path_is(request, "/big")) {
        char big[3000];
        memset(big, 'b', sizeof(big));
        big[sizeof(big) - 1] = '\0';
        return server_reply(fd, 200, "", big);
    }
    if (path_is(request, "/gzip")) {
        return server_reply(fd, 200, "Content-Encoding: gzip\r\n", "not decoded");
    }
    if (path_is(request, "/headers")) {
        return reply_many_headers(request, 100, 10);
    }
    if (path_is(request, "/longheaders")) {
        return reply_many_headers(request, 20, 2000);
    }
    if (path_is(request, "/interim")) {
        (void)server_say(fd, "HTTP/1.1 103 Early\r\nX-Wanted: no\r\n\r\n");
        return server_reply(fd, 200, "X-Wanted: yes\r\n", "late");
    }
    if (path_is(request, "/slow")) {
        pause_ms(300);
        return server_reply(fd, 200, "", "slow");
    }
    if (path_is(request, "/pieces")) {
        return serve_pieces(request);
    }
    if (path_is(request, "/duplex")) {
        return serve_duplex(request);
    }
    if (path_is(request, "/breaks")) { /* says that it goes on, and goes */
        (void)server_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhi!\r\n");
        pause_ms(30);
        return false;
    }
    if (path_is(request, "/ends")) {
        (void)server_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhi!\r\n");
        pause_ms(30);
        (void)server_say(fd, "0\r\n\r\n");
        pause_ms(30);
        return false;
    }
    if (path_is(request, "/counted")) {
        return serve_counted(request);
    }
    if (path_is(request, "/urgent")) {
        atomic_store(&before_urgent, atomic_load(&request->server->requests));
        atomic_store(&await_urgent, false);
        return server_reply(fd, 200, "", "urgent");
    }
    if (path_is(request, "/dies")) { /* as a server does that closes an idle connection just now */
        return request->nth == 1 ? server_reply(fd, 200, "", "alive") : false;
    }
    return server_reply(fd, 404, "", "?");
}

/* ---- the client's side -------------------------------------------------------------------------------------------- */

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

static ds_http_request request_to(const char *method, const char *target) {
    return (ds_http_request){.endpoint = &endpoint,
                             .method = method,
                             .target = target,
                             .want_headers = {"x-wanted", "X-Second"},
                             .reply_max = 2000,
                             .timeout_ns = 5 * DS_SECOND};
}

static void begin(outcome *self, const ds_http_request *request) {
    memset(self, 0, sizeof(*self));
    self->sink.on_data = on_data;
    self->sink.on_done = on_done;
    self->http = world->ops->http_start(world, request, &self->sink);
}

static void finish(outcome *self) {
    if (self->http == NULL || !ds_loop_wait(loop, &self->done, ds_clock_ns() + 10 * DS_SECOND)) {
        printf("a request did not end in %s %p\n", test_running, (void *)self->http);
        abort();
    }
}

static outcome perform(const ds_http_request *request) {
    outcome self;
    ds_loop_lock(loop);
    begin(&self, request);
    finish(&self);
    ds_loop_unlock(loop);
    return self;
}

static outcome get(const char *target) {
    ds_http_request request = request_to("GET", target);
    return perform(&request);
}

static void set_up(int64_t connect_timeout_ms) {
    dsync_error error;
    ds_http_config config = {.connect_timeout_ms = connect_timeout_ms};
    guard(60);
    loop = ds_loop_new(&config, &error);
    if (loop == NULL || !server_start(&remote, NULL, serve, NULL)) {
        abort();
    }
    world = ds_loop_world(loop);
    (void)snprintf(origin, sizeof(origin), "http://127.0.0.1:%d", remote.port);
}

static void tear_down(void) {
    ds_loop_free(loop);
    server_stop(&remote);
}

/* ---- plain requests ----------------------------------------------------------------------------------------------- */

TEST(methods_bodies_and_headers) {
    set_up(1000);
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "POST", "GET"};
    for (size_t i = 0; i < DS_COUNT(methods); i++) {
        for (int with_body = 0; with_body < 2; with_body++) {
            ds_http_request request = request_to(methods[i], "/echo");
            request.body = "hello";
            request.body_size = with_body == 1 ? 5 : 0;
            if (with_body == 1 && strcmp(methods[i], "GET") == 0) {
                continue;
            }
            outcome got = perform(&request);
            char expected[32];
            (void)snprintf(expected, sizeof(expected), "%s:%s", methods[i], with_body == 1 ? "hello" : "");
            CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
            CHECK_EQ_INT(got.result.status, 200);
            CHECK_EQ_TEXT(got.body, expected);
            CHECK_EQ_TEXT(got.values[0], "yes");
            CHECK_EQ_TEXT(got.values[1], "two");
            CHECK_EQ_TEXT(got.message, "");
            CHECK(!got.result.resent);
            CHECK_EQ_INT(got.times, 1);
        }
    }
    CHECK_EQ_INT(atomic_load(&remote.connections), 1);
    tear_down();
}

TEST(the_head_says_what_was_asked_and_no_more) {
    set_up(1000);
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1);
    ds_http_request request = request_to("POST", "/head");
    request.headers[0] = "Content-Type: application/json";
    request.headers[1] = "X-Token: abc def";
    request.body = "{}";
    request.body_size = 2;
    outcome got = perform(&request);
    (void)unsetenv("http_proxy");
    CHECK_EQ_INT(got.result.status, 200);
    CHECK_CONTAINS(got.body, "\r\nContent-Type: application/json\r\n");
    CHECK_CONTAINS(got.body, "\r\nX-Token: abc def\r\n");
    CHECK_CONTAINS(got.body, "\r\nContent-Length: 2\r\n");
    CHECK_CONTAINS(got.body, "\r\nUser-Agent: dsync/");
    CHECK_LACKS(got.body, "Expect");
    CHECK_LACKS(got.body, "Accept-Encoding");
    CHECK_LACKS(got.body, "Cookie");
    request.headers[0] = NULL;
    got = perform(&request);
    CHECK_LACKS(got.body, "Content-Type");
    CHECK_LACKS(got.body, "X-Token");
    tear_down();
}

TEST(answers_that_are_no_success_are_answers) {
    set_up(1000);
    outcome got = get("/missing");
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_INT(got.result.status, 404);
    CHECK_EQ_TEXT(got.body, "no such thing");
    got = get("/redirect");
    CHECK_EQ_INT(got.result.status, 301);
    got = get("/interim");
    CHECK_EQ_INT(got.result.status, 200);
    CHECK_EQ_TEXT(got.values[0], "yes");
    got = get("/gzip");
    CHECK_EQ_TEXT(got.body, "not decoded");
    CHECK_EQ_TEXT(got.values[0], "(none)");
    tear_down();
}

TEST(paths_go_out_as_they_are) {
    set_up(1000);
    (void)get("/a/../b/./c//d%2e%2e");
    outcome got = get("/head");
    CHECK_EQ_INT(got.result.status, 200);
    tear_down();
}

/* ---- what can go wrong -------------------------------------------------------------------------------------------- */

TEST(broken_answers_leave_the_outcome_open) {
    static const struct {
        const char *target;
        int code;
        const char *message;
    } rows[] = {
        {"/nothing", 0, "without an answer"},
        {"/half", 0, "before the answer was complete"},
        {"/halfhead", 0, "the answer"},
        {"/garbage", DSYNC_PROTOCOL, "not HTTP"},
        {"/big", DSYNC_PROTOCOL, "longer than"},
        {"/headers", DSYNC_PROTOCOL, "too many headers"},
        {"/longheaders", DSYNC_PROTOCOL, "too many headers"},
    };
    set_up(1000);
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i].target);
        ds_http_request request = request_to("POST", rows[i].target);
        outcome got = perform(&request);
        CHECK_EQ_INT(got.result.fate, DS_HTTP_UNKNOWN);
        CHECK_EQ_INT(got.result.code, rows[i].code);
        CHECK_CONTAINS(got.message, rows[i].message);
        CHECK_CONTAINS(got.message, origin);
    }
    test_case("a read");
    outcome got = get("/big");
    CHECK_EQ_INT(got.result.fate, DS_HTTP_REFUSED);
    CHECK_EQ_INT(got.result.code, DSYNC_PROTOCOL);
    tear_down();
}

TEST(requests_that_cannot_be_sent_are_refused) {
    static const char *const headers[] = {"X: a\r\nY: b", "X: caf\xc3\xa9", "no colon", ": empty", "X Y: z", "X: \t"};
    static const char *const targets[] = {"", "echo", "/a b", "/a\n", "/a#b", "/\xc3\xa9"};
    set_up(1000);
    for (size_t i = 0; i < DS_COUNT(headers) + DS_COUNT(targets); i++) {
        bool is_header = i < DS_COUNT(headers);
        ds_http_request request = request_to("POST", is_header ? "/echo" : targets[i - DS_COUNT(headers)]);
        request.headers[0] = is_header ? headers[i] : NULL;
        test_case("%s", is_header ? headers[i] : request.target);
        outcome got = perform(&request);
        CHECK_EQ_INT(got.result.fate, DS_HTTP_REFUSED);
        CHECK_EQ_INT(got.result.code, DSYNC_CONFIG);
        CHECK(got.message[0] != '\0');
    }
    CHECK_EQ_INT(atomic_load(&remote.requests), 0);
    tear_down();
}

TEST(nobody_there_means_not_sent) {
    set_up(300);
    server gone;
    REQUIRE(server_start(&gone, NULL, serve, NULL));
    char there[64];
    (void)snprintf(there, sizeof(there), "http://127.0.0.1:%d", gone.port);
    server_stop(&gone);
    ds_endpoint nobody = {.origin = there};
    ds_http_request request = request_to("POST", "/echo");
    request.endpoint = &nobody;
    outcome got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "connection refused; is a server listening there?");
    CHECK_CONTAINS(got.message, there);

    (void)snprintf(there, sizeof(there), "http://localhost:%d", gone.port);
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "connection refused");

    ds_endpoint unknown = {.origin = "http://nowhere.invalid:2379"};
    request.endpoint = &unknown;
    int64_t begun = ds_clock_ns();
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "address");
    CHECK(ds_clock_ns() - begun < 600 * DS_MS);

    ds_endpoint no_socket = {.origin = "unix:/nowhere/at/all", .unix_path = "/nowhere/at/all"};
    request.endpoint = &no_socket;
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "no such socket");
    tear_down();
}

/* A port whose queue of connections is full answers nothing at all. */
TEST(a_black_hole_costs_the_connect_timeout_and_no_more) {
    set_up(300);
    int fds[4];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    for (size_t i = 0; i < DS_COUNT(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | (i > 0 ? SOCK_NONBLOCK : 0), 0);
    }
    REQUIRE(bind(fds[0], (struct sockaddr *)&address, size) == 0 && listen(fds[0], 0) == 0);
    REQUIRE(getsockname(fds[0], (struct sockaddr *)&address, &size) == 0);
    for (size_t i = 1; i < DS_COUNT(fds); i++) {
        (void)connect(fds[i], (struct sockaddr *)&address, size);
    }
    char hole[64];
    (void)snprintf(hole, sizeof(hole), "http://127.0.0.1:%d", ntohs(address.sin_port));
    ds_endpoint nowhere = {.origin = hole};
    ds_http_request request = request_to("POST", "/echo");
    request.endpoint = &nowhere;
    int64_t begun = ds_clock_ns();
    outcome got = perform(&request);
    int64_t took = ds_clock_ns() - begun;
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "no connection within 0.3 s");
    CHECK(took >= 290 * DS_MS && took < 600 * DS_MS);
    request.timeout_ns = 100 * DS_MS;
    begun = ds_clock_ns();
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK(ds_clock_ns() - begun < 250 * DS_MS);
    for (size_t i = 0; i < DS_COUNT(fds); i++) {
        (void)close(fds[i]);
    }
    tear_down();
}

TEST(a_late_answer_is_unknown_at_the_deadline) {
    set_up(1000);
    ds_http_request request = request_to("POST", "/slow");
    request.timeout_ns = 60 * DS_MS;
    int64_t begun = ds_clock_ns();
    outcome got = perform(&request);
    int64_t took = ds_clock_ns() - begun;
    CHECK_EQ_INT(got.result.fate, DS_HTTP_UNKNOWN);
    CHECK_CONTAINS(got.message, "no answer within 0.06 s");
    CHECK(took >= 60 * DS_MS && took < 160 * DS_MS);
    got = get("/echo"); /* and the next request does not get the late answer */
    CHECK_EQ_TEXT(got.body, "GET:");
    tear_down();
}

TEST(a_request_that_was_sent_twice_says_so) {
    set_up(1000);
    ds_http_request request = request_to("POST", "/dies");
    request.body = "x";
    request.body_size = 1;
    outcome got = perform(&request);
    CHECK_EQ_INT(got.result.status, 200);
    CHECK(!got.result.resent);
    got = perform(&request); /* the server reads it, closes the connection, and gets it once more */
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_TEXT(got.body, "alive");
    CHECK(got.result.resent);
    CHECK_EQ_INT(atomic_load(&remote.requests), 3);

    test_case("the second try finds nobody");
    server victim;
    REQUIRE(server_start(&victim, NULL, serve, NULL));
    char there[64];
    (void)snprintf(there, sizeof(there), "http://127.0.0.1:%d", victim.port);
    ds_endpoint mortal = {.origin = there};
    request.endpoint = &mortal;
    got = perform(&request);
    CHECK_EQ_INT(got.result.status, 200);
    (void)shutdown(victim.listener, SHUT_RDWR);
    (void)pthread_join(victim.thread, NULL);
    (void)close(victim.listener);
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_UNKNOWN); /* the first copy may have been executed */
    for (int i = 0; i < victim.count; i++) {
        (void)pthread_join(victim.threads[i], NULL);
    }
    tear_down();
}

/* ---- streams ------------------------------------------------------------------------------------------------------ */

TEST(a_stream_comes_in_pieces_and_ends) {
    set_up(1000);
    ds_http_request request = request_to("GET", "/pieces");
    request.stream = true;
    request.reply_max = 4;
    request.timeout_ns = DS_NEVER;
    outcome got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_TEXT(got.body, "piece\npiece\npiece\npiece\npiece\n");
    CHECK(got.pieces >= 2);
    CHECK_NULL(got.result.body);
    request.target = "/missing";
    request.reply_max = 100;
    got = perform(&request);
    CHECK_EQ_INT(got.result.status, 404);
    CHECK_EQ_INT(got.pieces, 0);
    CHECK_EQ_TEXT(got.body, "no such thing");
    tear_down();
}

TEST(a_stream_can_be_cancelled_from_its_own_piece) {
    set_up(1000);
    ds_http_request request = request_to("GET", "/pieces");
    request.stream = true;
    ds_loop_lock(loop);
    outcome self;
    begin(&self, &request);
    self.cancel_after = 2;
    finish(&self);
    bool never = false;
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 100 * DS_MS);
    ds_loop_unlock(loop);
    CHECK_EQ_INT(self.pieces, 2);
    CHECK_EQ_INT(self.times, 0);
    tear_down();
}

static void converse(bool threaded) {
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

TEST(a_duplex_request_is_answered_while_it_is_sent) {
    set_up(1000);
    converse(false);
    outcome got = get("/echo");
    CHECK_EQ_TEXT(got.body, "GET:");
    tear_down();
}

TEST(a_duplex_request_ends_when_the_server_ends_it) {
    set_up(1000);
    static const struct {
        const char *target;
        ds_http_fate fate;
    } rows[] = {{"/breaks", DS_HTTP_UNKNOWN},
                {"/ends", DS_HTTP_ANSWERED},
                {"/nothing", DS_HTTP_UNKNOWN},
                {"/missing", DS_HTTP_ANSWERED},
                {"/halfhead", DS_HTTP_UNKNOWN}};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i].target);
        ds_http_request request = request_to("POST", rows[i].target);
        request.stream = true;
        request.duplex = true;
        request.timeout_ns = DS_NEVER;
        request.body = "{}";
        request.body_size = 2;
        int64_t begun = ds_clock_ns();
        outcome got = perform(&request);
        if (strcmp(rows[i].target, "/ends") != 0) { /* the end of the upload may come too late for the server */
            CHECK_EQ_INT(got.result.fate, rows[i].fate);
        }
        CHECK(ds_clock_ns() - begun < 500 * DS_MS);
    }
    tear_down();
}

/* ---- many at once ------------------------------------------------------------------------------------------------- */

#define CROWD 100

TEST(requests_queue_and_urgent_ones_do_not) {
    static outcome crowd[CROWD];
    set_up(1000);
    atomic_store(&most_in_flight, 0);
    atomic_store(&await_urgent, true);
    ds_http_request request = request_to("POST", "/counted");
    ds_loop_lock(loop);
    for (int i = 0; i < CROWD; i++) {
        begin(&crowd[i], &request);
    }
    outcome urgent;
    ds_http_request at_once = request_to("POST", "/urgent");
    at_once.urgent = true;
    begin(&urgent, &at_once);
    finish(&urgent);
    CHECK(atomic_load(&before_urgent) <= 33);
    for (int i = 0; i < CROWD; i++) {
        finish(&crowd[i]);
        CHECK_EQ_TEXT(crowd[i].body, "counted");
        CHECK_EQ_INT(crowd[i].times, 1);
    }
    ds_loop_unlock(loop);
    CHECK(atomic_load(&most_in_flight) <= 32);
    CHECK(atomic_load(&most_in_flight) > 8);

    test_case("their time runs while they queue");
    request.timeout_ns = 30 * DS_MS;
    ds_loop_lock(loop);
    for (int i = 0; i < CROWD; i++) {
        begin(&crowd[i], &request);
    }
    int64_t begun = ds_clock_ns();
    int waited = 0;
    for (int i = 0; i < CROWD; i++) {
        finish(&crowd[i]);
        waited += strstr(crowd[i].message, "too many other") != NULL ? 1 : 0;
        CHECK(crowd[i].result.fate != DS_HTTP_ANSWERED || i < 32);
    }
    CHECK(waited > 0);
    CHECK(ds_clock_ns() - begun < 200 * DS_MS);
    ds_loop_unlock(loop);
    tear_down();
}

TEST(cancelled_requests_are_silent_in_every_state) {
    static outcome crowd[CROWD];
    set_up(1000);
    ds_http_request request = request_to("POST", "/counted");
    ds_loop_lock(loop);
    for (int i = 0; i < CROWD; i++) {
        begin(&crowd[i], &request);
        if (i % 4 == 0) {
            world->ops->http_cancel(world, crowd[i].http); /* before it was looked at */
        }
    }
    bool never = false;
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 10 * DS_MS); /* on the wire or queued now */
    for (int i = 1; i < CROWD; i++) {
        if (i % 4 != 0 && !crowd[i].done) {
            world->ops->http_cancel(world, crowd[i].http);
            crowd[i].cancel_after = -1;
        }
    }
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 100 * DS_MS);
    for (int i = 0; i < CROWD; i++) {
        CHECK_EQ_INT(crowd[i].times, i % 4 == 0 || crowd[i].cancel_after == -1 ? 0 : 1);
    }
    ds_endpoint unknown = {.origin = "http://nowhere.invalid:2379"};
    request.endpoint = &unknown;
    begin(&crowd[0], &request);
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 1 * DS_MS);
    if (!crowd[0].done) {
        world->ops->http_cancel(world, crowd[0].http);
    }
    begin(&crowd[1], &request); /* left to the loop's end, look-up and all */
    ds_loop_unlock(loop);
    tear_down();
}

TEST(names_are_looked_up_and_unix_sockets_reached) {
    set_up(1000);
    char there[64];
    (void)snprintf(there, sizeof(there), "http://localhost:%d", remote.port);
    ds_endpoint named = {.origin = there};
    ds_http_request request = request_to("GET", "/echo");
    request.endpoint = &named;
    outcome got = perform(&request);
    CHECK_EQ_TEXT(got.body, "GET:");
    char shouted[64];
    (void)snprintf(shouted, sizeof(shouted), "http://LOCALHOST:%d", remote.port); /* found in /etc/hosts, by a thread */
    named.origin = shouted;
    got = perform(&request);
    CHECK_EQ_TEXT(got.body, "GET:");

    char path[] = "/tmp/dsync-test-XXXXXX";
    REQUIRE(mkdtemp(path) != NULL);
    char socket_path[64];
    (void)snprintf(socket_path, sizeof(socket_path), "%s/socket", path);
    server local;
    REQUIRE(server_start(&local, socket_path, serve, NULL));
    ds_endpoint by_path = {.origin = "unix:/some/socket", .unix_path = socket_path};
    request.endpoint = &by_path;
    got = perform(&request);
    CHECK_EQ_TEXT(got.body, "GET:");
    request.endpoint = &endpoint;
    got = perform(&request);
    CHECK_EQ_TEXT(got.body, "GET:");
    CHECK_EQ_INT(atomic_load(&local.requests), 1);
    server_stop(&local);
    (void)unlink(socket_path);
    (void)rmdir(path);
    tear_down();
}

static int descriptors_in_a_child(void) {
    FILE *listing = popen("ls /proc/self/fd | wc -l", "re"); /* NOLINT(cert-env33-c): a fixed command */
    int count = -1;
    char line[16];
    if (listing != NULL) {
        count = fgets(line, sizeof(line), listing) != NULL ? (int)strtol(line, NULL, 10) : -1;
        (void)pclose(listing);
    }
    return count;
}

TEST(children_inherit_no_descriptor) {
    int before = descriptors_in_a_child();
    set_up(1000);
    (void)fcntl(remote.listener, F_SETFD, FD_CLOEXEC);
    ds_http_request request = request_to("GET", "/echo");
    ds_loop_lock(loop);
    outcome first;
    begin(&first, &request);
    finish(&first);
    outcome second;
    request.target = "/slow";
    begin(&second, &request);
    bool never = false;
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 20 * DS_MS);
    CHECK(!second.done);
    /* The server's own ends of two connections are inherited, too: it is a test's server. */
    int inside = descriptors_in_a_child() - 1;
    ds_loop_unlock(loop);
    CHECK_EQ_INT(inside, before);
    tear_down();
}

/* ---- threads ------------------------------------------------------------------------------------------------------ */

#define WORKERS 6
#define WORK 120

static int work_done[WORKERS];

static void *worker_main(void *argument) {
    int number = *(int *)argument;
    for (int i = 0; i < WORK; i++) {
        ds_http_request request = request_to("POST", "/echo");
        char body[32];
        (void)snprintf(body, sizeof(body), "%d-%d", number, i);
        request.body = body;
        request.body_size = strlen(body);
        request.urgent = i % 7 == 0;
        outcome self;
        ds_loop_lock(loop);
        begin(&self, &request);
        if (i % 3 == 0) {
            ds_loop_unlock(loop);
            if (i % 9 == 0) {
                pause_ms(i % 4);
            }
            ds_loop_lock(loop);
        }
        if (i % 10 == 5 && !self.done) {
            world->ops->http_cancel(world, self.http);
            ds_loop_unlock(loop);
            work_done[number]++;
            continue;
        }
        finish(&self);
        ds_loop_unlock(loop);
        char expected[64];
        (void)snprintf(expected, sizeof(expected), "POST:%s", body);
        work_done[number] += self.result.status == 200 && strcmp(self.body, expected) == 0 ? 1 : 0;
    }
    return NULL;
}

static pthread_mutex_t end_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t end_cond = PTHREAD_COND_INITIALIZER;
static bool ended;

static void on_end(void *argument) {
    (void)argument;
    ds_loop_free(loop);
    pthread_mutex_lock(&end_mutex);
    ended = true;
    (void)pthread_cond_signal(&end_cond);
    pthread_mutex_unlock(&end_mutex);
}

TEST(many_threads_share_a_loop_that_polls) {
    set_up(1000);
    dsync_error error;
    REQUIRE(ds_loop_start(loop, &error));
    converse(true);
    pthread_t threads[WORKERS];
    int numbers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        numbers[i] = i;
        work_done[i] = 0;
        (void)pthread_create(&threads[i], NULL, worker_main, &numbers[i]);
    }
    for (int i = 0; i < WORKERS; i++) {
        (void)pthread_join(threads[i], NULL);
        CHECK_EQ_INT(work_done[i], WORK);
    }
    /* Nobody waits now: the loop's own thread answers. */
    outcome self;
    ds_http_request request = request_to("GET", "/echo");
    ds_loop_lock(loop);
    begin(&self, &request);
    ds_loop_unlock(loop);
    bool done = false;
    for (int i = 0; i < 1000 && !done; i++) {
        pause_ms(2);
        ds_loop_lock(loop);
        done = self.done;
        ds_loop_unlock(loop);
    }
    CHECK(done);
    CHECK_EQ_TEXT(self.body, "GET:");
    /* The end of a loop cancels what is still under way. */
    ds_loop_lock(loop);
    request.target = "/slow";
    begin(&self, &request);
    CHECK(ds_loop_finish(loop, on_end, NULL));
    ds_loop_unlock(loop);
    pthread_mutex_lock(&end_mutex);
    while (!ended) {
        (void)pthread_cond_wait(&end_cond, &end_mutex);
    }
    pthread_mutex_unlock(&end_mutex);
    CHECK_EQ_INT(self.times, 0);
    server_stop(&remote);
}
