/* The etcd backend alone, over gRPC: frames, statuses, tokens, and what it does where HTTP/2 is not spoken. What the
 * messages mean is the same as in JSON, and tested there.
 */
#include "test.h"

#include <stdlib.h>

#include "etcd_fixture.h"

/* Cluster 7, revision 50. */
#define HEADER "0a0408071832"
#define FRAME(size, hex) "00000000" size hex
#define EMPTY FRAME("06", HEADER)
/* What is said of an answer: HTTP status, content type, grpc-status, grpc-message, body; "-" is nothing. */
#define OK(body) "200 application/grpc 0 - " body
#define FAILED(status, message) "200 application/grpc " status " " message " -"
#define JSON_OK "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"50\"}}"

static const dsync_setting grpc_setting = {"etcd.transport", "grpc"};
static const dsync_setting auto_setting = {"etcd.transport", "auto"};
static const dsync_options only_grpc = {
    .prefix = "p", .id = "node", .max_value = 65536, .settings = &grpc_setting, .setting_count = 1};
static const dsync_options either = {
    .prefix = "p", .id = "node", .max_value = 65536, .settings = &auto_setting, .setting_count = 1};

/* ---- a server ----------------------------------------------------------------------------------------------------- */

static unsigned char digit(char c) {
    return (unsigned char)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static size_t unhex(char *out, const char *hex) {
    size_t size = 0;
    for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
        out[size++] = (char)(digit(hex[0]) << 4 | digit(hex[1]));
    }
    return size;
}

static void say(fw_request *request, const char *line) {
    char words[5][400], body[400];
    const char *at = line;
    for (size_t i = 0; i < DS_COUNT(words); i++) {
        size_t size = strcspn(at, " ");
        memcpy(words[i], at, size);
        words[i][size] = '\0';
        at += size + (at[size] != '\0');
    }
    fw_header headers[3];
    size_t count = 0;
    static const char *const names[] = {"content-type", "grpc-status", "grpc-message"};
    for (size_t i = 0; i < DS_COUNT(names); i++) {
        if (strcmp(words[i + 1], "-") != 0) {
            headers[count++] = (fw_header){names[i], words[i + 1]};
        }
    }
    fw_answer answer = {.status = (int)strtol(words[0], NULL, 10), .headers = headers, .header_count = count};
    answer.body = body;
    answer.body_size = strcmp(words[4], "-") != 0 ? unhex(body, words[4]) : 0;
    fw_finish(request, DS_MS, &answer);
}

static const char *const *lines; /* one for each request over HTTP/2; NULL: HTTP/2 is not spoken */
static unsigned json_count, grpc_count;
static fw_request *stream;
static dsync_code how_certain = DSYNC_UNSUPPORTED;

static void on_request(fw_request *request, void *argument) {
    (void)argument;
    if (!request->http2) {
        json_count++;
        if (request->stream) {
            stream = request;
        } else {
            fw_reply(request, DS_MS, 200, JSON_OK);
        }
        return;
    }
    grpc_count++;
    if (*lines == NULL) {
        fw_finish(
            request, DS_MS,
            &(fw_answer){
                .fate = DS_HTTP_NOT_SENT, .code = (int)how_certain, .not_http2 = true, .message = "no HTTP/2 there"});
    } else if (request->stream) {
        stream = request;
    } else {
        say(request, *lines++);
    }
}

static void begin(etcd_case *e, const dsync_options *options, const char *const *said) {
    lines = said;
    json_count = grpc_count = 0;
    stream = NULL;
    how_certain = DSYNC_UNSUPPORTED;
    ef_open(e, options);
    fw_serve(e->u, &(fw_server){.on_request = on_request});
}

static void ask(etcd_case *e, ef_start *start) {
    ef_ask(e, start, NULL);
}

static const char *const nothing[] = {NULL};

/* ---- requests ----------------------------------------------------------------------------------------------------- */

TEST(requests_are_frames_with_metadata) {
    static const char *const said[] = {OK(EMPTY), NULL};
    static const char expected[] = "\0\0\0\0\x0a\x0a\x08p/data/k";
    etcd_case e;
    begin(&e, &only_grpc, said);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK_EQ_INT(e.reply.revision, 50);
    const fw_request *request = fw_last_request(e.u, "/etcdserverpb.KV/Range");
    REQUIRE(request != NULL);
    CHECK(request->http2 && !request->stream);
    CHECK_EQ_BYTES(request->body, request->body_size, expected, sizeof(expected) - 1);
    CHECK_EQ_TEXT(fw_header_of(request, "content-type"), "application/grpc");
    CHECK_EQ_TEXT(fw_header_of(request, "te"), "trailers");
    CHECK_EQ_TEXT(fw_header_of(request, "hasleader"), "true");
    CHECK_NULL(fw_header_of(request, "token"));
    ef_close(&e);
}

TEST(a_token_has_its_name_in_each_encoding) {
    static const char *const said[] = {OK(EMPTY), NULL};
    dsync_options options = either;
    options.auth_token = "sesame";
    etcd_case e;
    begin(&e, &options, said);
    ask(&e, ef_do_get);
    REQUIRE(fw_last_request(e.u, "/KV/Range") == NULL && fw_last_request(e.u, "KV/Range") != NULL);
    CHECK_EQ_TEXT(fw_header_of(fw_last_request(e.u, "KV/Range"), "token"), "sesame");
    ef_close(&e);
    begin(&e, &options, nothing);
    ask(&e, ef_do_get);
    REQUIRE(fw_last_request(e.u, "/v3/kv/range") != NULL);
    CHECK_EQ_TEXT(fw_header_of(fw_last_request(e.u, "/v3/kv/range"), "Authorization"), "sesame");
    ef_close(&e);
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

TEST(what_is_made_of_answers) {
    static const struct {
        const char *line;
        ds_class outcome;
        dsync_code code;
        const char *message;
    } rows[] = {
        {OK(EMPTY), DS_OK, 0, ""},
        {"200 application/grpc+proto 0 - " EMPTY, DS_OK, 0, ""},
        {FAILED("14", "etcdserver:%20no%20leader"), DS_NOT_EXECUTED, 0, "etcdserver: no leader"},
        {FAILED("14", "etcdserver:%20request%20timed%20out"), DS_AMBIGUOUS, 0, "request timed out"},
        {FAILED("14", "etcdserver:%20leader%20changed"), DS_AMBIGUOUS, 0, "leader changed"},
        {FAILED("5", "etcdserver:%20requested%20lease%20not%20found"), DS_LOST, 0, "lease not found"},
        {FAILED("7", "etcdserver:%20permission%20denied"), DS_REFUSED, DSYNC_DENIED, "readwrite on the prefix"},
        {FAILED("8", "etcdserver:%20too%20many%20requests"), DS_NOT_EXECUTED, 0, "too many"},
        {FAILED("12", "unknown%20service%20etcdserverpb.KV"), DS_REFUSED, DSYNC_UNSUPPORTED, "unknown service"},
        {FAILED("1", "-"), DS_AMBIGUOUS, 0, "gRPC status 1"},
        {FAILED("2", "%zz%4"), DS_AMBIGUOUS, 0, "%zz%4"},
        {FAILED("4", "-"), DS_AMBIGUOUS, 0, "gRPC status 4"},
        {FAILED("13", "stream%20terminated"), DS_AMBIGUOUS, 0, "stream terminated"},
        {FAILED("14", "a%00b%41"), DS_AMBIGUOUS, 0, "a%00bA"},
        {FAILED("99", "what"), DS_AMBIGUOUS, 0, "what"},
        {"404 text/html - - 3c68746d6c3e", DS_REFUSED, DSYNC_CONFIG, "HTTP 404"},
        {"301 text/html - - -", DS_REFUSED, DSYNC_CONFIG, "redirects"},
        {"503 text/html - - -", DS_AMBIGUOUS, 0, "HTTP 503"},
        {"429 - - - -", DS_NOT_EXECUTED, 0, "HTTP 429"},
        {"503 application/grpc 0 - " EMPTY, DS_AMBIGUOUS, 0, "HTTP 503"},
        /* These are no answers of an etcd. The first answer ever was one, so the request may have been executed. */
        {"200 text/html 0 - " EMPTY, DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {"200 - 0 - " EMPTY, DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {"200 application/grpcx 0 - " EMPTY, DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {"200 application/grpc - - " EMPTY, DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {"200 application/grpc zero - " EMPTY, DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {"200 application/grpc -1 - " EMPTY, DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {"200 application/grpc 14 - " EMPTY, DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {OK("-"), DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {OK(EMPTY EMPTY), DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {OK(EMPTY "00"), DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {OK("01"
            "00000006" HEADER),
         DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {OK(FRAME("07", HEADER)), DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {OK(FRAME("05", HEADER)), DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {OK("00000000"), DS_AMBIGUOUS, 0, "not etcd's gRPC"},
        {OK(FRAME("00", "")), DS_AMBIGUOUS, 0, "not etcd's gRPC"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        const char *const said[] = {OK(EMPTY), rows[i].line, NULL};
        etcd_case e;
        test_case("%s", rows[i].line);
        begin(&e, &only_grpc, said);
        ask(&e, ef_do_get);
        ask(&e, ef_do_get);
        CHECK_EQ_INT(e.reply.outcome, rows[i].outcome);
        CHECK_EQ_INT(e.reply.code, rows[i].code);
        CHECK_CONTAINS(e.message, rows[i].message);
        CHECK_EQ_UINT(grpc_count, 2);
        ef_close(&e);
    }
}

/* From one that never talked sense it says nothing of the request: no etcd listens there. */
TEST(another_server_than_an_etcd_is_refused) {
    static const char *const said[] = {"200 application/grpc - - " EMPTY, NULL};
    etcd_case e;
    begin(&e, &only_grpc, said);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_REFUSED);
    CHECK_EQ_INT(e.reply.code, DSYNC_PROTOCOL);
    ef_close(&e);
}

TEST(signs_in_and_again_when_the_token_is_old) {
    static const char *const said[] = {OK(FRAME("0a", HEADER "12027431")),
                                       FAILED("16", "etcdserver:%20invalid%20auth%20token"),
                                       OK(FRAME("0a", HEADER "12027432")), OK(EMPTY), NULL};
    dsync_options options = only_grpc;
    options.auth_user = "ann";
    options.auth_password = "swordfish";
    etcd_case e;
    begin(&e, &options, said);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK(!e.reply.resent);
    CHECK_EQ_UINT(grpc_count, 4);
    CHECK_EQ_TEXT(fw_header_of(fw_last_request(e.u, "KV/Range"), "token"), "t2");
    CHECK_NULL(fw_header_of(fw_last_request(e.u, "Auth/Authenticate"), "token"));
    ef_close(&e);
}

/* ---- where HTTP/2 is not spoken ------------------------------------------------------------------------------------- */

TEST(json_takes_over_at_once_and_for_good) {
    etcd_case e;
    begin(&e, &either, nothing);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK(!e.reply.resent); /* nobody has seen the first */
    CHECK_EQ_UINT(grpc_count, 1);
    CHECK_EQ_UINT(json_count, 1);
    ask(&e, ef_do_get);
    CHECK_EQ_UINT(grpc_count, 1);
    CHECK_EQ_UINT(json_count, 2);
    ef_close(&e);
}

TEST(auto_is_what_is_not_said) {
    static const dsync_setting other = {"consul.lock_delay", "1s"};
    dsync_options options = either;
    options.settings = &other;
    etcd_case e;
    begin(&e, &options, nothing);
    CHECK(e.backend != NULL); /* the fixture asks for JSON there */
    ef_close(&e);
    fw *u = fw_new(1);
    static const char *const endpoints[] = {"http://127.0.0.1:2379"};
    ds_backend_config config = {.options = &options, .endpoints = endpoints, .endpoint_count = 1};
    dsync_error error;
    ds_backend *backend = ds_etcd_backend(fw_world(u), &config, &error);
    REQUIRE(backend != NULL);
    CHECK(ds_etcd_of(backend)->wire == &ds_etcd_wire_grpc);
    backend->ops->destroy(backend);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* One member of several. The message was kept in the other encoding only until the first answer. */
TEST(json_takes_over_later_too) {
    static const char *const said[] = {OK(EMPTY), NULL};
    etcd_case e;
    begin(&e, &either, said);
    ask(&e, ef_do_get);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_NOT_EXECUTED);
    CHECK_CONTAINS(e.message, "no HTTP/2 there");
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK_EQ_UINT(grpc_count, 2);
    CHECK_EQ_UINT(json_count, 1);
    ef_close(&e);
}

/* A server that closes each connection as it comes may be about to go, or know no HTTP/2: its answer in JSON tells. */
TEST(a_closed_door_proves_nothing) {
    static const char *const said[] = {OK(EMPTY), NULL};
    etcd_case e;
    begin(&e, &either, nothing);
    how_certain = DSYNC_OK;
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    ask(&e, ef_do_get);
    CHECK_EQ_UINT(grpc_count, 1);
    CHECK_EQ_UINT(json_count, 2);
    ef_close(&e);
    begin(&e, &either, said);
    how_certain = DSYNC_OK;
    ask(&e, ef_do_get);
    ask(&e, ef_do_get); /* this one has spoken gRPC */
    CHECK_EQ_INT(e.reply.outcome, DS_NOT_EXECUTED);
    CHECK_EQ_UINT(json_count, 0);
    CHECK(ds_etcd_of(e.backend)->wire == &ds_etcd_wire_grpc);
    ef_close(&e);
    begin(&e, &only_grpc, nothing);
    how_certain = DSYNC_OK;
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_NOT_EXECUTED);
    REQUIRE(ef_watch(&e, "p/k"));
    fw_advance(e.u, 2 * DS_MS);
    CHECK_CONTAINS(ef_heard(&e), "watch stream: no HTTP/2 there");
    ef_close(&e);
}

TEST(grpc_alone_says_why_it_cannot) {
    etcd_case e;
    begin(&e, &only_grpc, nothing);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_REFUSED);
    CHECK_EQ_INT(e.reply.code, DSYNC_UNSUPPORTED);
    CHECK_CONTAINS(e.message, "cannot be spoken to in gRPC (no HTTP/2 there)");
    CHECK_CONTAINS(e.message, "etcd.transport");
    CHECK_EQ_UINT(json_count, 0);
    ef_close(&e);
}

TEST(the_way_in_falls_back_too) {
    dsync_options options = either;
    options.auth_user = "ann";
    options.auth_password = "swordfish";
    etcd_case e;
    begin(&e, &options, nothing);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_REFUSED); /* this server gives no token */
    CHECK_EQ_INT(e.reply.code, DSYNC_PROTOCOL);
    CHECK_EQ_UINT(json_count, 1);
    REQUIRE(fw_last_request(e.u, "/v3/auth/authenticate") != NULL);
    CHECK_CONTAINS(fw_last_request(e.u, "/v3/auth/authenticate")->body, "\"name\":\"ann\"");
    ef_close(&e);
}

/* ---- watches ------------------------------------------------------------------------------------------------------ */

/* Of watch 16777216: created; then p/k=v put at 40, deleted at 52. */
#define CREATED                                                                                                        \
    FRAME("0d", HEADER "1080808008"                                                                                    \
                       "1801")
#define EVENTS                                                                                                         \
    FRAME("28", HEADER "1080808008"                                                                                    \
                       "5a0e"                                                                                          \
                       "120c"                                                                                          \
                       "0a03702f6b"                                                                                    \
                       "1028"                                                                                          \
                       "1833"                                                                                          \
                       "2a0176"                                                                                        \
                       "5a0b"                                                                                          \
                       "0801"                                                                                          \
                       "1207"                                                                                          \
                       "0a03702f6b"                                                                                    \
                       "1834")

static void hear(const char *hex, size_t cut) {
    char bytes[400];
    size_t size = unhex(bytes, hex);
    fw_data(stream, 0, bytes, cut);
    fw_data(stream, 0, bytes + cut, size - cut);
}

TEST(events_come_in_frames_cut_anywhere) {
    static const char *const said[] = {OK(EMPTY), NULL};
    char bytes[400];
    size_t size = unhex(bytes, CREATED EVENTS);
    for (size_t cut = 0; cut <= size; cut++) {
        etcd_case e;
        test_case("cut at %zu", cut);
        begin(&e, &either, said);
        REQUIRE(ef_watch(&e, "p/k") && stream != NULL && stream->http2 && stream->duplex);
        CHECK_EQ_TEXT(stream->target, "/etcdserverpb.Watch/Watch");
        hear(CREATED EVENTS, cut);
        fw_settle(e.u);
        CHECK_EQ_TEXT(ef_heard(&e), "ready 50, put p/k=v 40, deleted p/k");
        ef_close(&e);
    }
}

TEST(how_a_stream_ends) {
    static const struct {
        const char *line, *heard;
    } rows[] = {
        {FAILED("14", "etcdserver:%20no%20leader"), "ended 1: etcd at http://127.0.0.1:2379: etcdserver: no leader"},
        {"200 application/grpc 0 - -", "ended 1: etcd at http://127.0.0.1:2379 ended the watch stream"},
        {"200 application/grpc - - -",
         "ended 1: etcd at http://127.0.0.1:2379: the watch stream ended without gRPC's status"},
        {FAILED("7", "etcdserver:%20permission%20denied"), "ended 5: etcd at http://127.0.0.1:2379: etcdserver: "
                                                           "permission denied; grant the user's role readwrite on the "
                                                           "prefix"},
        {"301 text/html - - -", "ended 5: etcd at http://127.0.0.1:2379 answered HTTP 301; redirects are not followed: "
                                "give the server's own URL"},
    };
    static const char *const said[] = {OK(EMPTY), NULL};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        etcd_case e;
        test_case("%s", rows[i].line);
        begin(&e, &only_grpc, said);
        REQUIRE(ef_watch(&e, "p/k"));
        say(stream, rows[i].line);
        fw_advance(e.u, 2 * DS_MS);
        CHECK_EQ_TEXT(ef_heard(&e), rows[i].heard);
        ef_close(&e);
    }
}

TEST(what_is_no_frame_ends_the_stream) {
    static const char *const rows[] = {"3c68746d6c3e",
                                       "01"
                                       "00000000",
                                       FRAME("02", "0000"), FRAME("02", "0a05")};
    static const char *const said[] = {OK(EMPTY), NULL};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        etcd_case e;
        test_case("%s", rows[i]);
        begin(&e, &only_grpc, said);
        REQUIRE(ef_watch(&e, "p/k"));
        hear(rows[i], 1);
        fw_settle(e.u);
        CHECK_EQ_TEXT(ef_heard(&e), "ended 1: the watch stream is not etcd's gRPC");
        ef_close(&e);
    }
}

/* Their owners hear nothing of it. One that was given up meanwhile is not asked for again. */
TEST(watches_fall_back_to_json) {
    etcd_case e;
    begin(&e, &either, nothing);
    ds_watch given_up = {.on_event = NULL};
    REQUIRE(e.backend->ops->watch(e.backend, &given_up, &(ds_watch_spec){.key = "p/gone"}));
    REQUIRE(ef_watch(&e, "p/k"));
    e.backend->ops->unwatch(e.backend, &given_up);
    fw_advance(e.u, 2 * DS_MS);
    REQUIRE(stream != NULL && !stream->http2);
    CHECK_EQ_TEXT(ef_heard(&e), "");
    CHECK_CONTAINS(stream->body, "\"key\":\"cC9r\"");
    CHECK(strstr(stream->body, "create_request") == strstr(stream->body, "{\"create_request\":{\"key\":\"cC9r\"") + 2);
    ef_close(&e);
}

TEST(watches_that_may_not_fall_back_say_why) {
    etcd_case e;
    begin(&e, &only_grpc, nothing);
    REQUIRE(ef_watch(&e, "p/k"));
    fw_advance(e.u, 2 * DS_MS);
    CHECK_CONTAINS(ef_heard(&e), "ended 5: etcd at http://127.0.0.1:2379 cannot be spoken to in gRPC");
    ef_close(&e);
}

/* ---- memory ------------------------------------------------------------------------------------------------------- */

#ifdef DS_TEST_ALLOC
TEST(survives_any_lack_of_memory) {
    static const char *const said[] = {OK(EMPTY), OK(EMPTY), OK(EMPTY), NULL};
    EACH_ALLOCATION_FAILS() {
        etcd_case e;
        begin(&e, &either, said);
        if (e.backend != NULL) {
            ask(&e, ef_do_get);
            CHECK(ds_test_allocation_failed() || e.reply.outcome == DS_OK);
            if (ef_watch(&e, "p/k") && stream != NULL) {
                hear(CREATED EVENTS, 9);
                fw_settle(e.u);
            }
        }
        ef_close(&e);
    }
    EACH_ALLOCATION_FAILS() {
        etcd_case e;
        begin(&e, &either, nothing);
        if (e.backend != NULL) {
            ask(&e, ef_do_get);
            CHECK(ds_test_allocation_failed() || e.reply.outcome == DS_OK);
            (void)ef_watch(&e, "p/k");
            fw_advance(e.u, 2 * DS_MS);
        }
        ef_close(&e);
    }
}
#endif
