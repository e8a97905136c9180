/* test_http_faults.c: HTTP requests that cannot be sent, are not answered, or are answered by nonsense: what is said of
 * them then.
 */
#include "http_fixture.h"

#include <arpa/inet.h>
#include <sys/socket.h>

/* ---- answers ----------------------------------------------------------------------------------------------------- */

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
    }
    test_case("a read");
    outcome got = get("/big");
    CHECK_EQ_INT(got.result.fate, DS_HTTP_REFUSED);
    CHECK_EQ_INT(got.result.code, DSYNC_PROTOCOL);
    tear_down();
}

/* ---- requests that do not arrive --------------------------------------------------------------------------------- */

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
    REQUIRE(server_start(&gone, NULL, http_serve, NULL));
    char there[64];
    (void)snprintf(there, sizeof(there), "http://127.0.0.1:%d", gone.port);
    server_stop(&gone);
    ds_endpoint nobody = {.origin = there};
    ds_http_request request = request_to("POST", "/echo");
    request.endpoint = &nobody;
    outcome got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "connection refused; is a server listening there?");

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
    CHECK(ds_clock_ns() - begun < 5 * DS_SECOND);

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
    CHECK(took >= 290 * DS_MS);
    request.timeout_ns = 100 * DS_MS;
    got = perform(&request);
    CHECK_EQ_INT(got.result.fate, DS_HTTP_NOT_SENT);
    CHECK_CONTAINS(got.message, "within 0.1 s");
    for (size_t i = 0; i < DS_COUNT(fds); i++) {
        (void)close(fds[i]);
    }
    tear_down();
}

/* ---- answers that do not come ------------------------------------------------------------------------------------ */

TEST(a_late_answer_is_unknown_at_the_deadline) {
    set_up(1000);
    ds_http_request request = request_to("POST", "/slow");
    request.timeout_ns = 60 * DS_MS;
    int64_t begun = ds_clock_ns();
    outcome got = perform(&request);
    int64_t took = ds_clock_ns() - begun;
    CHECK_EQ_INT(got.result.fate, DS_HTTP_UNKNOWN);
    CHECK_CONTAINS(got.message, "no answer within 0.06 s");
    CHECK(took >= 60 * DS_MS);
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
    REQUIRE(server_start(&victim, NULL, http_serve, NULL));
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
