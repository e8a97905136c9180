/* Guarded writes: applied only while the very acquisition holds, and not undone by late copies. */
#include "request_fixture.h"

static ask write_new(desk *d, ds_request_kind kind, lock *l) {
    ask a = ask_new(d, kind);
    a.request.waiter = &l->waiter;
    if (kind == DS_REQUEST_VALUE) {
        a.request.key = NULL;
    }
    return a;
}

TEST(writes_while_it_holds) {
    static const struct {
        ds_request_kind kind;
        const char *log;
    } rows[] = {
        {DS_REQUEST_PUT, "put e1 p/data/k | done ok"},
        {DS_REQUEST_DELETE, "delete e1 p/data/k | done ok"},
        {DS_REQUEST_VALUE, "write e1 | done ok"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", rows[i].log);
        lock *l = lock_held_new(&d, "A");
        fw_advance(d.u, 20 * DS_MS);
        (void)desk_log(&d);
        ask a = write_new(&d, rows[i].kind, l);
        start(&a);
        CHECK_EQ_TEXT(desk_log(&d), rows[i].log);
        CHECK_EQ_TEXT(sb_last(d.backend, SB_WRITE)->value, "v");
        CHECK_EQ_INT(sb_last(d.backend, SB_WRITE)->timeout_ns, TTL_MS * DS_MS / 8);
        CHECK(desk_close(&d));
    }
}

TEST(nothing_is_written_when_not_held) {
    desk d;
    desk_open(&d);
    lock *l = lock_new(&d, "A");
    ask a = write_new(&d, DS_REQUEST_PUT, l);
    start(&a);
    CHECK_EQ_INT(a.code, DSYNC_NOT_HELD);
    CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), 0);
    CHECK(desk_close(&d));
}

TEST(how_a_write_goes_on) {
    static const struct {
        const char *name;
        ds_reply first;
        const char *log;
        dsync_code code;
    } rows[] = {
        {"stale: again", {.outcome = DS_OK, .place = DS_PLACE_STALE}, "put e1 p/data/k | done ok", DSYNC_OK},
        {"not executed: again", {.outcome = DS_NOT_EXECUTED}, "put e1 p/data/k | done ok", DSYNC_OK},
        /* applied for certain, and then no late copy may undo a later write */
        {"uncertain: again, and fenced",
         {.outcome = DS_AMBIGUOUS},
         "put e1 p/data/k | withdraw s1 ->2 | done ok",
         DSYNC_OK},
        {"sent twice: fenced",
         {.outcome = DS_OK, .place = DS_PLACE_DONE, .resent = true},
         "withdraw s1 ->2 | done ok",
         DSYNC_OK},
        {"refused", {.outcome = DS_REFUSED, .code = DSYNC_DENIED}, "done denied", DSYNC_DENIED},
        {"session lost", {.outcome = DS_LOST}, "A lost session_lost | close s1 | done lost", DSYNC_LOST},
        {"cluster reset", {.outcome = DS_RESET}, "A lost cluster_reset | close s1 | done lost", DSYNC_LOST},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", rows[i].name);
        lock *l = lock_held_new(&d, "A");
        fw_advance(d.u, 20 * DS_MS);
        sb_hold(d.backend, SB_WRITE);
        ask a = write_new(&d, DS_REQUEST_PUT, l);
        start(&a);
        sb_release(d.backend, SB_WRITE);
        (void)sb_log(d.backend);
        sb_answer(sb_pending(d.backend, SB_WRITE), 0, &rows[i].first);
        fw_advance(d.u, 20 * DS_MS);
        CHECK_EQ_TEXT(desk_log(&d), rows[i].log);
        CHECK_EQ_INT(a.code, rows[i].code);
        CHECK_EQ_UINT(a.done, 1);
        CHECK(desk_close(&d));
    }
}

TEST(a_write_that_finds_the_entry_gone) {
    desk d;
    desk_open(&d);
    lock *l = lock_held_new(&d, "A");
    fw_advance(d.u, 20 * DS_MS);
    sb_hold(d.backend, SB_WRITE);
    ask a = write_new(&d, DS_REQUEST_PUT, l);
    start(&a);
    sb_ok(d.backend, SB_WRITE, DS_PLACE_GONE);
    CHECK_EQ_INT(a.code, DSYNC_LOST);
    CHECK(!lock_held(l)); /* not believed any more */
    fw_advance(d.u, DS_SECOND);
    CHECK_EQ_INT(l->reason, DSYNC_REASON_DELETED);
    CHECK_EQ_INT(l->ended, 1);
    CHECK(desk_close(&d));
}

TEST(a_write_still_under_way_when_the_lock_goes) {
    desk d;
    desk_open(&d);
    lock *l = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_WRITE);
    ask a = write_new(&d, DS_REQUEST_PUT, l);
    start(&a);
    lock_release(l, DS_SECOND);
    lock_acquire(l); /* another acquisition is not the one that the write belongs to */
    fw_settle(d.u);
    CHECK(lock_held(l));
    sb_ok(d.backend, SB_WRITE, DS_PLACE_DONE);
    CHECK_EQ_INT(a.code, DSYNC_LOST);
    CHECK(desk_close(&d));
}

TEST(a_repetition_finds_the_lock_lost) {
    desk d;
    desk_open(&d);
    lock *l = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_WRITE);
    ask a = write_new(&d, DS_REQUEST_PUT, l);
    start(&a);
    sb_fail(d.backend, SB_WRITE, DS_NOT_EXECUTED, "x");
    lock_release(l, DS_SECOND);
    fw_advance(d.u, 20 * DS_MS);
    CHECK_EQ_INT(a.code, DSYNC_LOST);
    CHECK(desk_close(&d));
}

TEST(a_write_not_confirmed_in_time_is_unknown_and_fenced) {
    static const bool by_us[] = {false, true}; /* cancelled before its time */
    for (size_t i = 0; i < DS_COUNT(by_us); i++) {
        desk d;
        desk_open(&d);
        test_case("cancelled %d", by_us[i]);
        lock *l = lock_held_new(&d, "A");
        fw_advance(d.u, 20 * DS_MS);
        sb_hold(d.backend, SB_WRITE);
        ask a = write_new(&d, DS_REQUEST_PUT, l);
        start(&a);
        (void)sb_log(d.backend);
        if (by_us[i]) {
            ds_request_end(&a.request, DSYNC_CANCELLED, "cancelled");
        } else {
            fw_advance(d.u, 4 * DS_SECOND);
            CHECK_EQ_INT(a.code, DSYNC_UNKNOWN);
            CHECK_CONTAINS(a.message, "may or may not have been applied: timed out");
        }
        CHECK_CONTAINS(desk_log(&d), "withdraw s1 ->2");
        CHECK_EQ_UINT(a.done, 1);
        CHECK_EQ_UINT(desk_session(&d)->lease.epoch, 2);
        CHECK(desk_close(&d));
    }
}

TEST(a_write_that_never_left_needs_no_fence) {
    desk d;
    desk_open(&d);
    lock *l = lock_held_new(&d, "A");
    fw_advance(d.u, 20 * DS_MS);
    sb_hold(d.backend, SB_WRITE);
    ask a = write_new(&d, DS_REQUEST_PUT, l);
    a.request.timeout_ns = 15 * DS_MS;
    start(&a);
    sb_fail(d.backend, SB_WRITE, DS_NOT_EXECUTED, "http://x: refused");
    fw_advance(d.u, 5 * DS_MS);
    if (sb_has_pending(d.backend, SB_WRITE)) {
        sb_fail(d.backend, SB_WRITE, DS_NOT_EXECUTED, "http://x: refused");
    }
    ds_timer_stop(d.world, &a.request.retry);
    fw_advance(d.u, 10 * DS_MS);
    CHECK_EQ_INT(a.code, DSYNC_UNAVAILABLE);
    CHECK_EQ_UINT(sb_count(d.backend, SB_WITHDRAW), 0);
    CHECK(desk_close(&d));
}

/* ---- the entry's own value --------------------------------------------------------------------------------------- */

TEST(a_new_value_replaces_the_mark) {
    desk d;
    desk_open(&d);
    lock *l = lock_held_new(&d, "A");
    ask a = write_new(&d, DS_REQUEST_VALUE, l);
    start(&a);
    fw_advance(d.u, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok | write e1 | done ok"); /* it carries acquired_at itself */
    CHECK(desk_close(&d));
}

TEST(a_new_value_waits_until_no_copy_of_the_mark_can_come) {
    static const bool under_way[] = {false, true};
    for (size_t i = 0; i < DS_COUNT(under_way); i++) {
        desk d;
        desk_open(&d);
        test_case("under way %d", under_way[i]);
        lock *l = lock_held_new(&d, "A");
        sb_hold(d.backend, SB_WRITE);
        fw_advance(d.u, 10 * DS_MS);
        if (!under_way[i]) {
            sb_fail(d.backend, SB_WRITE, DS_AMBIGUOUS, "x");
        }
        sb_release(d.backend, SB_WRITE);
        (void)desk_log(&d);
        ask a = write_new(&d, DS_REQUEST_VALUE, l);
        start(&a);
        CHECK_EQ_TEXT(desk_log(&d), "withdraw s1 ->2 | write e1 | done ok");
        CHECK_EQ_UINT(sb_last(d.backend, SB_WRITE)->epoch, 2);
        CHECK(desk_close(&d));
    }
}

TEST(a_session_lost_while_a_value_waits) {
    desk d;
    desk_open(&d);
    lock *l = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_WRITE);
    sb_hold(d.backend, SB_WITHDRAW);
    fw_advance(d.u, 10 * DS_MS);
    ask a = write_new(&d, DS_REQUEST_VALUE, l);
    start(&a);
    sb_fail(d.backend, SB_WITHDRAW, DS_LOST, NULL);
    CHECK_EQ_INT(a.code, DSYNC_LOST);
    CHECK_EQ_INT(l->ended, 1);
    CHECK(desk_close(&d));
}

TEST(a_value_that_waits_too_long) {
    desk d;
    desk_open(&d);
    lock *l = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_WRITE);
    sb_hold(d.backend, SB_WITHDRAW);
    fw_advance(d.u, 10 * DS_MS);
    ask a = write_new(&d, DS_REQUEST_VALUE, l);
    start(&a);
    fw_advance(d.u, 3 * DS_SECOND);
    CHECK_EQ_INT(a.code, DSYNC_UNAVAILABLE); /* certainly not written */
    sb_release_all(d.backend);
    fw_advance(d.u, 5 * DS_SECOND);
    CHECK_EQ_UINT(a.done, 1);
    CHECK_EQ_UINT(desk_session(&d)->lease.epoch, 2);
    CHECK(desk_close(&d));
}
