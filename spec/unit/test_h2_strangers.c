/* test_h2_strangers.c: requests over HTTP/2 where nobody listens, where somebody else does, at several addresses, and
 * beside HTTP/1.1: what is sent to whom.
 */
#include "h2_fixture.h"
#include "http_server.h"

#include <arpa/inet.h>
#include <sys/socket.h>

static void serve(h2_stream *stream) {
    if (strcmp(stream->path, "/echo") == 0) {
        h2_reply(stream, "200", "echo");
    }
}

/* ---- nobody, or somebody else ------------------------------------------------------------------------------------ */

TEST(nobody_there_means_not_sent) {
    set_up(300, 0, serve);
    test_case("refused");
    int port = remote.port;
    h2_server_stop(&remote);
    outcome got = post("/echo");
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK(!got.result.not_http2);
    CHECK_CONTAINS(got.message, "connection refused");
    REQUIRE(h2_server_start(&remote, NULL, port, 0, serve));
    got = post("/echo");
    CHECK_EQ_TEXT(got.body, "echo");

    test_case("connected, then silence");
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    REQUIRE(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 0) == 0);
    (void)getsockname(listener, (struct sockaddr *)&address, &size);
    char hole[64];
    (void)snprintf(hole, sizeof(hole), "http://127.0.0.1:%d", ntohs(address.sin_port));
    ds_endpoint nowhere = {.origin = hole};
    ds_http_request request = request_to("/echo");
    request.endpoint = &nowhere;
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK(!got.result.not_http2);
    CHECK_CONTAINS(got.message, "not a word from the server within 0.6 s");
    request.timeout_ns = 50 * DS_MS;
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);

    test_case("not even connected");
    int fds[4]; /* fill the listener's queue */
    for (size_t i = 0; i < DS_COUNT(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fds[i], (struct sockaddr *)&address, sizeof(address));
    }
    (void)usleep(20000);
    ds_endpoint full = {.origin = hole, .unix_path = NULL};
    request.endpoint = &full;
    request.timeout_ns = 5 * DS_SECOND;
    ds_loop_free(loop);
    dsync_error error;
    loop = ds_loop_new(&(ds_http_config){.connect_timeout_ms = 300, .late = true}, &error);
    world = ds_loop_world(loop);
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "no connection within 0.3 s");
    request.timeout_ns = 50 * DS_MS;
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "no connection within 0.05 s");
    for (size_t i = 0; i < DS_COUNT(fds); i++) {
        (void)close(fds[i]);
    }
    (void)close(listener);
    tear_down();
}

/* What a server says that does not speak HTTP/2, or badly, once a client has spoken. */
static pthread_mutex_t say_mutex = PTHREAD_MUTEX_INITIALIZER;
static char say[4096];
static size_t say_size;

static void set_say(const char *bytes, size_t size) {
    pthread_mutex_lock(&say_mutex);
    memcpy(say, bytes, size);
    say_size = size;
    pthread_mutex_unlock(&say_mutex);
}

static bool speak(server_request *request) {
    pthread_mutex_lock(&say_mutex);
    (void)server_write(request->fd, say, say_size);
    pthread_mutex_unlock(&say_mutex);
    return false;
}

static outcome ask_stranger(const server *stranger, const char *target) {
    char there[64];
    (void)snprintf(there, sizeof(there), "http://127.0.0.1:%d", stranger->port);
    ds_endpoint other = {.origin = there};
    ds_http_request request = request_to(target);
    request.endpoint = &other;
    return perform(&request);
}

TEST(who_does_not_speak_http2_is_found_out_before_anything_is_sent) {
    static const struct {
        const char *say;
        size_t size;
        const char *message;
    } rows[] = {
        {"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 47, "older HTTP"},
        {"HTTP/1.0 505 no\r\n\r\n", 19, "older HTTP"},
        {"H", 1, "older HTTP"},
        {"HTTP", 4, "older HTTP"},
        {"220 mail.example.org ESMTP ready\r\n", 34, "does not speak HTTP/2"},
        {"", 0, "instead of speaking"},
        {"\0\0\0\4", 4, "instead of speaking"},
        {"\0\0\0\0\0\0\0\0\1", 9, "does not speak HTTP/2"},
        {"\x15\3\3\0\2\2\x46", 7, "does not speak HTTP/2"},
    };
    server stranger;
    set_up(1000, 0, serve);
    REQUIRE(server_start(&stranger, NULL, speak, NULL));
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i].say);
        set_say(rows[i].say, rows[i].size);
        outcome got = ask_stranger(&stranger, "/echo");
        CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
        CHECK(got.result.not_http2);
        CHECK_CONTAINS(got.message, rows[i].message);
    }
    server_stop(&stranger);
    tear_down();
}

/* Whatever comes after the greeting, the request ends and nothing breaks. */
TEST(a_server_that_speaks_badly_is_left) {
    static const char settings[] = "\0\0\0\4\0\0\0\0\0";
    uint32_t state = 1;
    server stranger;
    set_up(1000, 0, serve);
    REQUIRE(server_start(&stranger, NULL, speak, NULL));
    for (int row = 0; row < 60; row++) {
        test_case("row %d", row);
        char bytes[9 + 60 * 7];
        memcpy(bytes, settings, 9);
        for (int i = 0; i < row * 7; i++) { /* the even rows: short frames of some sense */
            state = state * 1664525u + 1013904223u;
            int byte = (int)(state >> 24) % (row % 2 == 0 ? 12 : 256);
            bytes[9 + i] = (char)(i % 9 == 2 ? 6 : i % 9 < 2 ? 0 : byte);
        }
        set_say(bytes, 9 + (size_t)row * 7);
        outcome got = ask_stranger(&stranger, "/echo");
        CHECK(got.result.fate == DS_HTTP_UNKNOWN || got.result.fate == DS_HTTP_NOT_SENT);
        CHECK(!got.result.not_http2);
        CHECK(got.message[0] != '\0');
        CHECK(row < 4 || got.result.code == DSYNC_PROTOCOL);
    }
    CHECK_EQ_INT(atomic_load(&stranger.connections), 60); /* nobody insists */
    server_stop(&stranger);
    tear_down();
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

TEST(of_several_addresses_the_living_one_is_found) {
    set_up(2000, 0, NULL);
    if (!h2_server_start(&remote, "::1", 0, 0, serve)) {
        printf("skipped: no IPv6 here\n");
        ds_loop_free(loop);
        return;
    }
    struct sockaddr_in6 bound;
    socklen_t size = sizeof(bound);
    REQUIRE(getsockname(remote.listener, (struct sockaddr *)&bound, &size) == 0);
    int port = ntohs(bound.sin6_port);
    char there[64];
    (void)snprintf(there, sizeof(there), "http://localhost:%d", port);
    ds_endpoint both = {.origin = there};
    ds_http_request request = request_to("/echo");
    request.endpoint = &both;
    test_case("the first refuses");
    outcome got = perform(&request);
    CHECK_EQ_TEXT(got.body, "echo");

    test_case("the first is silent");
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in first = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    REQUIRE(bind(listener, (struct sockaddr *)&first, sizeof(first)) == 0 && listen(listener, 0) == 0);
    int fds[4];
    for (size_t i = 0; i < DS_COUNT(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fds[i], (struct sockaddr *)&first, sizeof(first));
    }
    (void)usleep(20000);
    h2_server_drop_all(&remote);
    got = perform(&request);
    CHECK_EQ_TEXT(got.body, "echo");
    for (size_t i = 0; i < DS_COUNT(fds); i++) {
        (void)close(fds[i]);
    }
    (void)close(listener);
    tear_down();
}

/* ---- beside HTTP/1.1 --------------------------------------------------------------------------------------------- */

static bool speak_older(server_request *request) {
    (void)usleep(20000);
    return server_reply(request->fd, 200, "", "older");
}

TEST(both_versions_share_a_loop) {
    server older;
    set_up(1000, 0, serve);
    REQUIRE(server_start(&older, NULL, speak_older, NULL));
    char there[64];
    (void)snprintf(there, sizeof(there), "http://127.0.0.1:%d", older.port);
    ds_endpoint other = {.origin = there};
    ds_http_request one = request_to("/");
    one.http2 = false;
    one.endpoint = &other;
    ds_http_request two = request_to("/echo");
    outcome slow;
    outcome fast;
    ds_loop_lock(loop);
    for (int i = 0; i < 5; i++) {
        begin(&slow, &one);
        for (int n = 0; n < 5; n++) {
            begin(&fast, &two);
            finish(&fast);
            CHECK_EQ_TEXT(fast.body, "echo");
        }
        finish(&slow);
        CHECK_EQ_TEXT(slow.body, "older");
    }
    ds_loop_unlock(loop);
    CHECK_EQ_INT(atomic_load(&remote.accepted), 1);
    server_stop(&older);
    tear_down();
}
