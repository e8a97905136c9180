/* test_etcd_grpc.c: the etcd backend alone, over gRPC: frames, statuses, tokens. What the messages mean is the same as
 * in JSON, and tested there.
 */
#include "grpc_fixture.h"

/* ---- requests ---------------------------------------------------------------------------------------------------- */

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

/* ---- answers ----------------------------------------------------------------------------------------------------- */

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
