/* test_http.c: HTTP requests through the loop, and streams: what goes out, what comes back, and which way it takes.
 * What goes wrong is test_http_faults.c's, many at once test_http_crowd.c's.
 */
#include "http_fixture.h"

#include <fcntl.h>
#include <sys/socket.h>

/* ---- plain requests ---------------------------------------------------------------------------------------------- */

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

/* ---- connections ------------------------------------------------------------------------------------------------- */

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
    REQUIRE(server_start(&local, socket_path, http_serve, NULL));
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

/* ---- streams ----------------------------------------------------------------------------------------------------- */

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
        CHECK(ds_clock_ns() - begun < 5 * DS_SECOND);
    }
    tear_down();
}
