/* test_h2_faults.c: servers of HTTP/2 that refuse, break off, or fall silent: what is said of requests then. */
#include "h2_fixture.h"

/* ---- the server's manners ---------------------------------------------------------------------------------------- */

static void serve_headers(h2_stream *stream, int lines, int size) {
    static char names[70][16];
    static char value[4096];
    const char *list[142] = {NULL};
    memset(value, 'v', sizeof(value));
    value[size] = '\0';
    for (int i = 0; i < lines; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "x-%d", i);
        list[2 * i] = names[i];
        list[2 * i + 1] = value;
    }
    h2_answer(stream, "200", list);
}

static void begin_answer(h2_stream *stream) {
    h2_more(stream, "half", 4);
    stream->holds = true;
    h2_answer(stream, "200", NULL);
}

static void serve(h2_stream *stream) {
    const char *path = stream->path;
    h2_connection *connection = stream->connection;
    if (strcmp(path, "/echo") == 0) {
        h2_reply(stream, "200", "echo");
    } else if (strcmp(path, "/refuse") == 0) {
        h2_reset(stream, NGHTTP2_REFUSED_STREAM);
    } else if (strcmp(path, "/reset") == 0) {
        h2_reset(stream, NGHTTP2_INTERNAL_ERROR);
    } else if (strcmp(path, "/older") == 0) {
        h2_reset(stream, NGHTTP2_HTTP_1_1_REQUIRED);
    } else if (strcmp(path, "/resetmid") == 0 || strcmp(path, "/duplexreset") == 0) {
        begin_answer(stream);
        (void)h2_flush(connection);
        h2_reset(stream, NGHTTP2_CANCEL);
    } else if (strcmp(path, "/refusemid") == 0) {
        begin_answer(stream);
        (void)h2_flush(connection);
        h2_reset(stream, NGHTTP2_REFUSED_STREAM);
    } else if (strcmp(path, "/cut") == 0) {
        connection->cut = true;
    } else if (strcmp(path, "/cutmid") == 0 || strcmp(path, "/duplexcut") == 0) {
        begin_answer(stream);
        connection->cut_after = true;
    } else if (strcmp(path, "/leave") == 0) { /* answers this one, takes no more */
        (void)nghttp2_submit_goaway(connection->session, 0, stream->id, NGHTTP2_NO_ERROR, NULL, 0);
        h2_reply(stream, "200", "left");
    } else if (strcmp(path, "/leavefirst") == 0) { /* not even this one */
        (void)nghttp2_submit_goaway(connection->session, 0, stream->id - 2, NGHTTP2_NO_ERROR, NULL, 0);
    } else if (strcmp(path, "/big") == 0) {
        stream->reply_size = 5000;
        h2_answer(stream, "200", NULL);
    } else if (strcmp(path, "/headers") == 0) {
        serve_headers(stream, 68, 10);
    } else if (strcmp(path, "/longheaders") == 0) {
        serve_headers(stream, 20, 2000);
    } else if (strcmp(path, "/hold") == 0 || strcmp(path, "/duplex") == 0) {
        if (stream->reply == NULL) {
            begin_answer(stream);
        }
    } else if (strcmp(path, "/deaf") == 0) {
        connection->deaf = true;
    }
}

/* ---- one request goes wrong -------------------------------------------------------------------------------------- */

TEST(what_a_broken_answer_says_of_its_request) {
    static const struct {
        const char *target;
        ds_http_fate fate;
        int code;
        const char *message;
    } rows[] = {
        {"/refuse", DS_HTTP_NOT_SENT, 0, "takes no requests"},
        {"/reset", DS_HTTP_UNKNOWN, 0, "INTERNAL_ERROR"},
        {"/older", DS_HTTP_NOT_SENT, DSYNC_UNSUPPORTED, "older HTTP"},
        {"/resetmid", DS_HTTP_UNKNOWN, 0, "CANCEL"},
        {"/refusemid", DS_HTTP_UNKNOWN, 0, "broke off"},
        {"/cut", DS_HTTP_UNKNOWN, 0, "before the answer was complete"},
        {"/cutmid", DS_HTTP_UNKNOWN, 0, "before the answer was complete"},
        {"/leavefirst", DS_HTTP_NOT_SENT, 0, "takes no requests"},
        {"/big", DS_HTTP_UNKNOWN, DSYNC_PROTOCOL, "longer than 3000 bytes"},
        {"/headers", DS_HTTP_UNKNOWN, DSYNC_PROTOCOL, "too many headers"},
        {"/longheaders", DS_HTTP_UNKNOWN, DSYNC_PROTOCOL, "too many headers"},
    };
    set_up(1000, 0, serve);
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i].target);
        outcome got = post(rows[i].target);
        CHECK_EQ_INT(got.result.fate, rows[i].fate);
        CHECK_EQ_INT(got.result.code, rows[i].code);
        CHECK_EQ_INT(got.result.not_http2, strcmp(rows[i].target, "/older") == 0);
        CHECK(!got.result.resent);
        CHECK_CONTAINS(got.message, rows[i].message);
        got = post("/echo"); /* and the next is well again */
        CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
        CHECK_EQ_TEXT(got.body, "echo");
    }
    CHECK_EQ_INT(atomic_load(&remote.accepted), 4); /* the first, and one after /cut, /cutmid and /leavefirst each */
    test_case("a read");
    ds_http_request request = request_to("/big");
    request.method = "GET";
    outcome got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_REFUSED);
    CHECK_EQ_INT(got.result.code, DSYNC_PROTOCOL);
    tear_down();
}

TEST(a_server_that_leaves_finishes_what_it_has_begun) {
    outcome streams[3];
    set_up(1000, 0, serve);
    ds_http_request request = duplex_to("/duplex");
    ds_loop_lock(loop);
    begin(&streams[0], &request);
    CHECK(await_size(&streams[0], 4));
    ds_loop_unlock(loop);
    outcome got = post("/leave");
    CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_TEXT(got.body, "left");
    for (int i = 0; i < 3; i++) {
        got = post("/echo"); /* over another connection */
        CHECK_EQ_TEXT(got.body, "echo");
    }
    CHECK_EQ_INT(atomic_load(&remote.accepted), 2);
    CHECK(!streams[0].done);
    ds_loop_lock(loop);
    world->ops->http_cancel(world, streams[0].http);
    drive_ms(5);
    ds_loop_unlock(loop);
    got = post("/echo");
    CHECK_EQ_TEXT(got.body, "echo");
    CHECK_EQ_INT(atomic_load(&remote.accepted), 2);
    tear_down();
}

TEST(a_stream_that_dies_is_reported) {
    static const char *const targets[] = {"/duplexreset", "/duplexcut"};
    set_up(1000, 0, serve);
    for (size_t i = 0; i < DS_COUNT(targets); i++) {
        test_case("%s", targets[i]);
        ds_http_request request = duplex_to(targets[i]);
        outcome got = perform(&request);
        CHECK_EQ_INT(got.result.fate, DS_HTTP_UNKNOWN);
        CHECK_EQ_TEXT(got.body, "half");
        CHECK(got.message[0] != '\0');
    }
    test_case("with everybody");
    outcome streams[5];
    ds_http_request request = duplex_to("/duplex");
    ds_loop_lock(loop);
    for (size_t i = 0; i < DS_COUNT(streams); i++) {
        begin(&streams[i], &request);
        CHECK(await_size(&streams[i], 4));
    }
    h2_server_drop_all(&remote);
    for (size_t i = 0; i < DS_COUNT(streams); i++) {
        finish(&streams[i]);
        CHECK_EQ_INT(streams[i].result.fate, DS_HTTP_UNKNOWN);
        CHECK(!world->ops->http_send(world, streams[i].http, "x", 1));
    }
    ds_loop_unlock(loop);
    tear_down();
}

TEST(a_connection_that_ended_while_idle_is_made_anew) {
    set_up(1000, 0, serve);
    for (int i = 0; i < 3; i++) {
        outcome got = post("/echo");
        CHECK_EQ_INT(got.result.fate, DS_HTTP_ANSWERED);
        h2_server_drop_all(&remote);
    }
    CHECK_EQ_INT(atomic_load(&remote.accepted), 3);
    tear_down();
}

/* ---- silence ----------------------------------------------------------------------------------------------------- */

TEST(a_connection_that_falls_silent_is_replaced) {
    set_up(200, 0, serve);
    ds_http_request request = duplex_to("/duplex");
    outcome stream;
    ds_loop_lock(loop);
    begin(&stream, &request);
    CHECK(await_size(&stream, 4));
    ds_loop_unlock(loop);
    request = request_to("/deaf");
    request.timeout_ns = 50 * DS_MS;
    outcome got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_UNKNOWN);
    CHECK_CONTAINS(got.message, "no answer within 0.05 s");
    got = post("/echo"); /* over another connection */
    CHECK_EQ_TEXT(got.body, "echo");
    CHECK_EQ_INT(atomic_load(&remote.accepted), 2);
    ds_loop_lock(loop);
    finish(&stream); /* its connection does not answer a PING */
    ds_loop_unlock(loop);
    CHECK_EQ_INT(stream.result.fate, DS_HTTP_UNKNOWN);
    CHECK_CONTAINS(stream.message, "silent");
    tear_down();
}

TEST(a_slow_server_keeps_its_connection) {
    set_up(500, 0, serve);
    ds_http_request request = request_to("/never");
    request.timeout_ns = 30 * DS_MS;
    for (int i = 0; i < 5; i++) {
        outcome got = perform(&request);
        CHECK_EQ_INT(got.result.fate, DS_HTTP_UNKNOWN);
        ds_loop_lock(loop);
        for (int n = 0; n < 300 && atomic_load(&remote.pings) <= i; n++) {
            drive_ms(1);
        }
        drive_ms(50); /* its answer comes */
        ds_loop_unlock(loop);
    }
    outcome got = post("/echo");
    CHECK_EQ_TEXT(got.body, "echo");
    CHECK(atomic_load(&remote.accepted) <= 3); /* one, unless this machine is slow, too */
    CHECK_EQ_INT(atomic_load(&remote.resets), 5);
    tear_down();
}

/* ---- no memory --------------------------------------------------------------------------------------------------- */

#ifdef DS_TEST_ALLOC
static void exchange_without_memory(void) {
    dsync_error error;
    ds_http_config config = {.connect_timeout_ms = 1000, .late = true};
    loop = ds_loop_new(&config, &error);
    if (loop == NULL) {
        return;
    }
    world = ds_loop_world(loop);
    outcome streams[2];
    ds_http_request requests[2] = {request_to("/echo"), duplex_to("/duplex")};
    requests[0].headers[0] = "Content-Type: application/grpc";
    requests[0].body = requests[1].body = "body";
    requests[0].body_size = requests[1].body_size = 4;
    requests[1].timeout_ns = 10 * DS_SECOND;
    ds_loop_lock(loop);
    for (size_t i = 0; i < 2; i++) {
        begin(&streams[i], &requests[i]);
    }
    if (streams[0].http != NULL) {
        finish(&streams[0]);
        bool spared = !ds_test_allocation_failed();
        CHECK(streams[0].result.fate == DS_HTTP_ANSWERED || !spared);
        CHECK(streams[0].result.fate != DS_HTTP_REFUSED);
        CHECK(!streams[0].result.not_http2);
    }
    if (streams[1].http != NULL && !streams[1].done) {
        (void)world->ops->http_send(world, streams[1].http, "more", 4);
        drive_ms(1);
        if (!streams[1].done) {
            world->ops->http_cancel(world, streams[1].http);
        }
        drive_ms(1);
    }
    ds_loop_unlock(loop);
    ds_loop_free(loop);
}

TEST(every_allocation_may_fail) {
    set_up(1000, 0, serve);
    ds_loop_free(loop);
    EACH_ALLOCATION_FAILS() {
        test_case("allocation %d", (int)test_nth);
        exchange_without_memory();
    }
    h2_server_stop(&remote);
}
#endif
