/* Questions: asked until they are answered or their time is over. Guarded writes are in test_request_write.c. */
#include "request_fixture.h"

TEST(asks_what_it_is_told_to) {
    static const struct {
        ds_request_kind kind;
        sb_op op;
        const char *log;
    } rows[] = {
        {DS_REQUEST_PING, SB_PING, "ping"},
        {DS_REQUEST_GET, SB_GET, "get p/data/k"},
        {DS_REQUEST_LIST, SB_LIST, "list p/data/k"},
        {DS_REQUEST_TREE, SB_LIST, "list p/data/k/..."},
        {DS_REQUEST_EVICT, SB_EVICT, "evict p/data/k 42"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        char log[80];
        desk_open(&d);
        test_case("%s", rows[i].log);
        ask a = ask_new(&d, rows[i].kind);
        sb_hold(d.backend, rows[i].op);
        start(&a);
        ds_reply reply = {.outcome = DS_OK, .value = "val"};
        CHECK_EQ_INT(sb_pending(d.backend, rows[i].op)->timeout_ns,
                     3 * DS_SECOND); /* not longer than it all may take */
        CHECK(rows[i].op != SB_LIST || sb_pending(d.backend, SB_LIST)->limit == 7);
        sb_answer(sb_pending(d.backend, rows[i].op), 0, &reply);
        (void)snprintf(log, sizeof(log), "%s | done ok", rows[i].log);
        CHECK_EQ_TEXT(desk_log(&d), log);
        CHECK_EQ_TEXT(a.value, "val");
        CHECK_EQ_UINT(a.pages, rows[i].op == SB_LIST);
        ds_request_end(&a.request, DSYNC_CANCELLED, "x"); /* harmless */
        CHECK_EQ_UINT(a.done, 1);
        CHECK(desk_close(&d));
    }
}

TEST(asks_again_until_answered) {
    static const ds_class failures[] = {DS_NOT_EXECUTED, DS_AMBIGUOUS, DS_LOST, DS_RESET};
    desk d;
    desk_open(&d);
    ask a = ask_new(&d, DS_REQUEST_GET);
    sb_hold(d.backend, SB_GET);
    start(&a);
    for (size_t i = 0; i < DS_COUNT(failures); i++) {
        sb_fail(d.backend, SB_GET, failures[i], NULL);
        fw_advance(d.u, 200 * DS_MS);
    }
    sb_ok(d.backend, SB_GET, DS_PLACE_NONE);
    CHECK_EQ_INT(a.code, DSYNC_OK);
    CHECK_EQ_UINT(sb_count(d.backend, SB_GET), 5);
    CHECK(desk_close(&d));
}

TEST(says_in_time_that_nobody_answers) {
    static const bool told[] = {false, true};
    for (size_t i = 0; i < DS_COUNT(told); i++) {
        desk d;
        desk_open(&d);
        ask a = ask_new(&d, DS_REQUEST_PING);
        sb_hold(d.backend, SB_PING);
        int64_t begun = fw_now(d.u);
        start(&a);
        if (told[i]) {
            sb_fail(d.backend, SB_PING, DS_NOT_EXECUTED, "http://x: refused");
        }
        fw_advance(d.u, 10 * DS_SECOND);
        CHECK_EQ_INT(a.code, DSYNC_UNAVAILABLE);
        CHECK_EQ_INT(a.done_ns - begun, 3 * DS_SECOND);
        CHECK_CONTAINS(a.message, "no server answers (scripted://): ");
        CHECK(desk_close(&d));
    }
}

TEST(a_refusal_ends_it) {
    desk d;
    desk_open(&d);
    ask a = ask_new(&d, DS_REQUEST_GET);
    sb_hold(d.backend, SB_GET);
    start(&a);
    sb_refuse(d.backend, SB_GET, DSYNC_DENIED, "no permission");
    CHECK_EQ_INT(a.code, DSYNC_DENIED);
    CHECK_EQ_TEXT(a.message, "no permission");
    CHECK(desk_close(&d));
}

TEST(turns_pages) {
    desk d;
    desk_open(&d);
    ask a = ask_new(&d, DS_REQUEST_TREE);
    sb_hold(d.backend, SB_LIST);
    start(&a);
    ds_peer peers[2] = {{.path = "p/a", .key = "p/a/1", .value = "", .token = 1},
                        {.path = "p/b", .key = "p/b/1", .value = "", .token = 2}};
    sb_answer(sb_pending(d.backend, SB_LIST), 0,
              &(ds_reply){.outcome = DS_OK, .peers = peers, .peer_count = 2, .next = "p/b"});
    fw_settle(d.u);
    sb_fail(d.backend, SB_LIST, DS_AMBIGUOUS, "x");
    fw_advance(d.u, 20 * DS_MS);
    sb_answer(sb_pending(d.backend, SB_LIST), 0,
              &(ds_reply){.outcome = DS_OK, .peers = peers, .peer_count = 1, .next = "p/c"});
    fw_settle(d.u);
    sb_ok(d.backend, SB_LIST, DS_PLACE_NONE);
    CHECK_EQ_TEXT(desk_log(&d), "list p/data/k/... | list p/data/k/... after p/b | list p/data/k/... after p/b | "
                                "list p/data/k/... after p/c | done ok");
    CHECK_EQ_UINT(a.pages, 3);
    CHECK_EQ_UINT(a.peers, 3);
    CHECK(desk_close(&d));
}

TEST(a_page_nobody_can_take_ends_it) {
    desk d;
    desk_open(&d);
    ask a = ask_new(&d, DS_REQUEST_LIST);
    a.page_fails = true;
    start(&a);
    fw_settle(d.u);
    CHECK_EQ_INT(a.code, DSYNC_RESOURCE);
    CHECK(desk_close(&d));
}

TEST(evicting_nobody) {
    static const bool uncertain[] = {false, true};
    for (size_t i = 0; i < DS_COUNT(uncertain); i++) {
        desk d;
        desk_open(&d);
        ask a = ask_new(&d, DS_REQUEST_EVICT);
        sb_hold(d.backend, SB_EVICT);
        start(&a);
        if (uncertain[i]) { /* the first one may have done it */
            sb_fail(d.backend, SB_EVICT, DS_AMBIGUOUS, "x");
            fw_advance(d.u, 20 * DS_MS);
        }
        sb_ok(d.backend, SB_EVICT, DS_PLACE_GONE);
        CHECK_EQ_INT(a.code, uncertain[i] ? DSYNC_OK : DSYNC_NOT_HELD);
        CHECK(desk_close(&d));
    }
}

TEST(cancelled_it_leaves_nothing) {
    desk d;
    desk_open(&d);
    ask a = ask_new(&d, DS_REQUEST_GET);
    sb_hold(d.backend, SB_GET);
    start(&a);
    ds_request_end(&a.request, DSYNC_CANCELLED, "cancelled");
    CHECK_EQ_INT(a.code, DSYNC_CANCELLED);
    CHECK(sb_last(d.backend, SB_GET)->cancelled);
    fw_advance(d.u, 10 * DS_SECOND);
    CHECK_EQ_UINT(a.done, 1);
    CHECK(desk_close(&d));
}

TEST(a_closed_client_asks_nothing) {
    desk d;
    desk_open(&d);
    desk_shut(&d, DS_SECOND);
    ask a = ask_new(&d, DS_REQUEST_GET);
    start(&a);
    CHECK_EQ_INT(a.code, DSYNC_CLOSED);
    CHECK_EQ_UINT(sb_count(d.backend, SB_GET), 0);
    CHECK(desk_close(&d));
}

TEST(closing_ends_it) {
    desk d;
    desk_open(&d);
    ask a = ask_new(&d, DS_REQUEST_GET);
    sb_hold(d.backend, SB_GET);
    start(&a);
    desk_shut(&d, DS_SECOND);
    CHECK_EQ_INT(a.code, DSYNC_CLOSED);
    CHECK(desk_close(&d));
}
