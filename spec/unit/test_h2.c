/* test_h2.c: requests over HTTP/2 through the loop, against a server that speaks it well. Many at once are
 * test_h2_crowd.c's, servers that speak it badly test_h2_faults.c's, and those that do not test_h2_strangers.c's.
 */
#include "h2_fixture.h"

/* ---- the server's manners ---------------------------------------------------------------------------------------- */

static void serve_duplex(h2_stream *stream) {
    static const char *const headers[] = {"x-wanted", "yes", NULL};
    if (stream->reply == NULL) {
        h2_more(stream, "", 0);
        stream->holds = true;
        stream->trailer = "grpc-status";
        stream->trailer_value = "0";
        h2_answer(stream, "200", headers);
    }
    h2_more(stream, stream->body, stream->body_size);
    stream->body_size = 0;
    stream->holds = strstr(stream->reply, "bye") == NULL;
    (void)nghttp2_session_resume_data(stream->connection->session, stream->id);
}

static void serve(h2_stream *stream) {
    static const char *const headers[] = {"x-wanted", "yes", "x-second", "two", "x-wanted", "again", NULL};
    const char *path = stream->path;
    if (strcmp(path, "/echo") == 0) {
        h2_more(stream, stream->method, strlen(stream->method));
        h2_more(stream, ":", 1);
        h2_more(stream, stream->body, stream->body_size);
        h2_answer(stream, "200", headers);
    } else if (strcmp(path, "/head") == 0) {
        h2_reply(stream, "200", stream->head);
    } else if (strcmp(path, "/trailers") == 0) {
        stream->trailer = "grpc-status";
        stream->trailer_value = "7";
        h2_reply(stream, "200", "body");
    } else if (strcmp(path, "/trailersonly") == 0) {
        h2_head_only(stream, "grpc-message", "no such%20thing");
    } else if (strcmp(path, "/empty") == 0) {
        h2_reply(stream, "204", "");
    } else if (strcmp(path, "/interim") == 0) {
        nghttp2_nv early[2] = {{(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t) "103", 7, 3, 0},
                               {(uint8_t *)(uintptr_t) "x-wanted", (uint8_t *)(uintptr_t) "no", 8, 2, 0}};
        (void)nghttp2_submit_headers(stream->connection->session, 0, stream->id, NULL, early, 2, NULL);
        h2_more(stream, "late", 4);
        h2_answer(stream, "200", headers);
    } else if (strcmp(path, "/duplex") == 0) {
        serve_duplex(stream);
    } else if (strncmp(path, "/bytes/", 7) == 0) {
        stream->reply_size = (size_t)strtoul(path + 7, NULL, 10);
        h2_answer(stream, "200", NULL);
    } else {
        h2_reply(stream, "404", "no such thing");
    }
}

/* ---- plain requests ---------------------------------------------------------------------------------------------- */

TEST(methods_bodies_and_headers) {
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "POST", "GET"};
    set_up(1000, 0, serve);
    for (size_t i = 0; i < DS_COUNT(methods); i++) {
        for (int with_body = 0; with_body < 2; with_body++) {
            ds_http_request request = request_to("/echo");
            request.method = methods[i];
            request.body = "hello";
            request.body_size = with_body == 1 ? 5 : 0;
            outcome got = perform(&request);
            char expected[32];
            (void)snprintf(expected, sizeof(expected), "%s:%s", methods[i], with_body == 1 ? "hello" : "");
            CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
            CHECK_EQ_INT(got.result.status, 200);
            CHECK_EQ_TEXT(got.body, expected);
            CHECK_EQ_TEXT(got.values[0], "yes");
            CHECK_EQ_TEXT(got.values[1], "two");
            CHECK_EQ_TEXT(got.values[2], "(none)");
            CHECK_EQ_TEXT(got.message, "");
            CHECK(!got.result.resent && !got.result.not_http2);
            CHECK_EQ_INT(got.times, 1);
        }
    }
    CHECK_EQ_INT(atomic_load(&remote.accepted), 1);
    tear_down();
}

TEST(the_head_says_what_was_asked_and_no_more) {
    set_up(1000, 0, serve);
    ds_http_request request = request_to("/head");
    request.headers[0] = "Content-Type: application/grpc";
    request.headers[1] = "Authorization:  abc def ";
    request.headers[2] = "TE: trailers";
    request.body = "{}";
    request.body_size = 2;
    outcome got = perform(&request);
    char expected[400];
    (void)snprintf(expected, sizeof(expected),
                   ":method: POST\n:scheme: http\n:path: /head\n:authority: %s\ncontent-type: application/grpc\n"
                   "authorization: abc def\nte: trailers\nuser-agent: dsync/%s\n",
                   origin + 7, DSYNC_VERSION);
    CHECK_EQ_TEXT(got.body, expected);
    request.headers[0] = "User-Agent: other";
    request.headers[1] = NULL;
    got = perform(&request);
    CHECK_CONTAINS(got.body, "\nuser-agent: other\n");
    CHECK_LACKS(got.body, "dsync");
    CHECK_LACKS(got.body, "abc");
    tear_down();
}

TEST(trailers_are_found_like_headers) {
    set_up(1000, 0, serve);
    outcome got = post("/trailers");
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_TEXT(got.body, "body");
    CHECK_EQ_TEXT(got.values[2], "7");
    got = post("/trailersonly");
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_NULL(got.result.body);
    CHECK_EQ_TEXT(got.values[3], "no such%20thing");
    got = post("/interim");
    CHECK_EQ_INT(got.result.status, 200);
    CHECK_EQ_TEXT(got.values[0], "yes");
    CHECK_EQ_TEXT(got.body, "late");
    got = post("/empty");
    CHECK_EQ_INT(got.result.status, 204);
    got = post("/missing");
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_INT(got.result.status, 404);
    CHECK_EQ_TEXT(got.body, "no such thing");
    tear_down();
}

TEST(requests_that_cannot_be_sent_are_refused) {
    static const char *const headers[] = {"X: a\r\nY: b", "X: caf\xc3\xa9", "no colon", ": empty", "X Y: z", "X: \t"};
    static const char *const targets[] = {"", "echo", "/a b", "/a\n", "/a#b", "/\xc3\xa9"};
    set_up(1000, 0, serve);
    for (size_t i = 0; i < DS_COUNT(headers) + DS_COUNT(targets); i++) {
        bool is_header = i < DS_COUNT(headers);
        ds_http_request request = request_to(is_header ? "/echo" : targets[i - DS_COUNT(headers)]);
        request.headers[0] = is_header ? headers[i] : NULL;
        test_case("%s", is_header ? headers[i] : request.target);
        outcome got = perform(&request);
        CHECK_EQ_INT(got.result.fate, DS_HTTP_REFUSED);
        CHECK_EQ_INT(got.result.code, DSYNC_CONFIG);
        CHECK(got.message[0] != '\0');
    }
    CHECK_EQ_INT(atomic_load(&remote.accepted), 0);
    test_case("TLS");
    ds_endpoint tls = {.origin = "https://127.0.0.1:1"};
    ds_http_request request = request_to("/echo");
    request.endpoint = &tls;
    outcome got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK(got.result.not_http2);
    tear_down();
}

/* ---- long ones --------------------------------------------------------------------------------------------------- */

TEST(a_long_body_goes_through_the_windows) {
    static char body[3000000];
    set_up(1000, 0, serve);
    memset(body, 'u', sizeof(body));
    ds_http_request request = request_to("/echo");
    request.body = body;
    request.body_size = sizeof(body);
    request.reply_max = 10000;
    outcome got = perform(&request); /* the server keeps the beginning only */
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_UINT(got.result.body_size, 5 + H2_BODY_MAX);
    tear_down();
}

TEST(a_stream_of_eight_megabytes_does_not_stall) {
    set_up(1000, 0, serve);
    ds_http_request request = request_to("/bytes/8388608");
    request.stream = true;
    request.timeout_ns = DS_NEVER;
    outcome streams[3];
    ds_loop_lock(loop);
    for (size_t i = 0; i < DS_COUNT(streams); i++) {
        begin(&streams[i], &request);
    }
    for (size_t i = 0; i < DS_COUNT(streams); i++) {
        finish(&streams[i]);
        CHECK_EQ_INT(streams[i].result.fate, DS_HTTP_ANSWERED);
        CHECK_EQ_UINT(streams[i].size, 8388608);
    }
    ds_loop_unlock(loop);
    CHECK_EQ_INT(atomic_load(&remote.accepted), 1);
    tear_down();
}

TEST(a_duplex_request_is_answered_while_it_is_sent) {
    set_up(1000, 0, serve);
    ds_http_request request = duplex_to("/duplex");
    request.body = "hello,";
    request.body_size = 6;
    outcome self;
    ds_loop_lock(loop);
    begin(&self, &request);
    CHECK(await_size(&self, 6));
    for (int i = 0; i < 30; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "line %d,", i);
        size_t before = self.size;
        CHECK(world->ops->http_send(world, self.http, text, strlen(text)));
        if (i % 3 == 0) {
            CHECK(await_size(&self, before + strlen(text)));
        }
    }
    CHECK(!self.done);
    CHECK(world->ops->http_send(world, self.http, "bye", 3));
    finish(&self);
    CHECK_EQ_INT(self.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_TEXT(self.values[0], "yes");
    CHECK_EQ_TEXT(self.values[2], "0");
    CHECK_CONTAINS(self.body, "hello,line 0,line 1,");
    CHECK_CONTAINS(self.body, "line 29,bye");

    test_case("begun without a word");
    request.body_size = 0;
    begin(&self, &request);
    drive_ms(5);
    CHECK(world->ops->http_send(world, self.http, "later,bye", 9));
    finish(&self);
    CHECK_EQ_TEXT(self.body, "later,bye");
    ds_loop_unlock(loop);
    tear_down();
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

TEST(names_are_looked_up_and_unix_sockets_reached) {
    set_up(1000, 0, serve);
    char there[64];
    (void)snprintf(there, sizeof(there), "http://localhost:%d", remote.port);
    ds_endpoint named = {.origin = there};
    ds_http_request request = request_to("/echo");
    request.endpoint = &named;
    outcome got = perform(&request);
    CHECK_EQ_TEXT(got.body, "POST:");
    char shouted[64];
    (void)snprintf(shouted, sizeof(shouted), "http://LOCALHOST:%d", remote.port); /* found in /etc/hosts, by a thread */
    named.origin = shouted;
    got = perform(&request);
    CHECK_EQ_TEXT(got.body, "POST:");
    ds_endpoint unknown = {.origin = "http://nowhere.invalid:2379"};
    request.endpoint = &unknown;
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "cannot find the host's address");

    char folder[] = "/tmp/dsync-test-XXXXXX";
    REQUIRE(mkdtemp(folder) != NULL);
    char socket_path[64];
    (void)snprintf(socket_path, sizeof(socket_path), "%s/socket", folder);
    static h2_server local;
    REQUIRE(h2_server_start(&local, socket_path, 0, 0, serve));
    ds_endpoint by_path = {.origin = "unix:/some/socket", .unix_path = socket_path};
    request.endpoint = &by_path;
    got = perform(&request);
    CHECK_EQ_TEXT(got.body, "POST:");
    CHECK_EQ_INT(atomic_load(&local.requests), 1);
    h2_server_stop(&local);
    (void)unlink(socket_path);
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "no such socket");
    (void)rmdir(folder);
    tear_down();
}
