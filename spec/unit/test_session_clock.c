/* Sessions and clocks: processes that were stopped, clocks that fail or leap. */
#include "test.h"

#include "core_fixture.h"

/* A process that was stopped: whatever runs first afterwards, nothing is held, and it is told once. */
TEST(a_reply_after_the_deadline_extends_nothing) {
    static const ds_class outcomes[] = {DS_OK, DS_AMBIGUOUS};
    for (size_t i = 0; i < DS_COUNT(outcomes); i++) {
        desk d;
        desk_open(&d);
        lock *a = lock_held_new(&d, "A");
        sb_hold(d.backend, SB_RENEW);
        while (!sb_has_pending(d.backend, SB_RENEW)) {
            fw_advance(d.u, 10 * DS_MS);
        }
        sb_answer(sb_pending(d.backend, SB_RENEW), 0, &(ds_reply){.outcome = outcomes[i], .ttl_ms = TTL_MS});
        fw_pause(d.world, true);
        fw_advance(d.u, 20 * DS_SECOND);
        CHECK(!lock_held(a)); /* by the clock alone */
        (void)sb_log(d.backend);
        fw_pause(d.world, false);
        fw_settle(d.u);
        CHECK_EQ_TEXT(sb_log(d.backend), "A lost expired | close s1");
        CHECK_EQ_INT(a->reason, DSYNC_REASON_EXPIRED);
        CHECK(desk_close(&d));
    }
}

/* Its renewal would be good for some time yet, but nobody may believe again what was over. */
TEST(a_good_reply_after_the_deadline_extends_nothing_either) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_RENEW);
    while (!sb_has_pending(d.backend, SB_RENEW)) {
        fw_advance(d.u, 10 * DS_MS);
    }
    sb_answer(sb_pending(d.backend, SB_RENEW), 0, &(ds_reply){.outcome = DS_OK, .ttl_ms = TTL_MS});
    fw_pause(d.world, true);
    fw_advance(d.u, 8 * DS_SECOND);
    CHECK(!lock_held(a));
    fw_pause(d.world, false);
    fw_settle(d.u);
    CHECK(!lock_held(a));
    CHECK_EQ_INT(a->ended, 1);
    CHECK_EQ_INT(a->reason, DSYNC_REASON_EXPIRED);
    CHECK(desk_close(&d));
}

TEST(a_stop_beyond_the_deadline_between_renewals) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_advance(d.u, DS_SECOND);
    fw_pause(d.world, true);
    fw_advance(d.u, 20 * DS_SECOND);
    CHECK(!lock_held(a));
    (void)sb_log(d.backend);
    fw_pause(d.world, false);
    fw_settle(d.u);
    CHECK_EQ_TEXT(sb_log(d.backend), "A lost expired | close s1");
    CHECK_EQ_UINT(sb_count(d.backend, SB_RENEW), 0);
    CHECK(desk_close(&d));
}

TEST(a_look_finds_the_end_before_the_loop_does) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    ds_waiter_look(&a->waiter);
    CHECK_EQ_INT(a->ended, 0);
    fw_pause(d.world, true);
    fw_advance(d.u, 12 * DS_SECOND);
    ds_waiter_look(&a->waiter);
    CHECK_EQ_INT(a->ended, 1);
    CHECK_EQ_INT(a->reason, DSYNC_REASON_EXPIRED);
    ds_waiter_look(&a->waiter);
    fw_pause(d.world, false);
    fw_advance(d.u, DS_SECOND);
    CHECK_EQ_INT(a->ended, 1);
    CHECK(desk_close(&d));
}

TEST(a_clock_that_fails_holds_nothing) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_fail_clock(d.world, true);
    CHECK(!lock_held(a));
    ds_waiter_look(&a->waiter);
    CHECK_EQ_INT(a->ended, 1);
    CHECK_EQ_INT(a->reason, DSYNC_REASON_EXPIRED);
    fw_fail_clock(d.world, false);
    CHECK(desk_close(&d));
}

TEST(a_clock_that_fails_is_noticed_by_the_next_timer) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_fail_clock(d.world, true);
    fw_advance(d.u, 6 * DS_SECOND);
    CHECK_EQ_INT(a->ended, 1);
    fw_fail_clock(d.world, false);
    CHECK(desk_close(&d));
}

TEST(nothing_is_acquired_while_the_clock_fails) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    fw_settle(d.u);
    sb_hold(d.backend, SB_OPEN);
    fw_fail_clock(d.world, true);
    sb_ok(d.backend, SB_ENTER, DS_PLACE_HELD);
    CHECK(!lock_held(a));
    CHECK(a->waiter.state != DS_WAITER_HOLDING);
    fw_fail_clock(d.world, false);
    CHECK(desk_close(&d));
}

TEST(the_calendar_can_only_shorten) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_skip_wall(d.u, -3600000);
    CHECK_EQ_INT(lock_left(a), 12 * DS_SECOND);
    fw_skip_wall(d.u, 3600000 + 12000);
    CHECK(lock_held(a));
    fw_skip_wall(d.u, 1);
    CHECK(!lock_held(a));
    fw_advance(d.u, 5 * DS_SECOND);
    CHECK_EQ_INT(a->ended, 1);
    CHECK_EQ_INT(a->reason, DSYNC_REASON_EXPIRED);
    CHECK(desk_close(&d));
}

/* Cut off to whole milliseconds, it would end a claim before its time, and setting it back would begin it anew. */
TEST(the_calendar_of_an_undisturbed_host_ends_no_claim_early) {
    static const int divisors[] = {5, 7}; /* a seventh is not a whole number of milliseconds either */
    for (size_t i = 0; i < DS_COUNT(divisors); i++) {
        desk d;
        desk_open_with(&d, NULL, divisors[i], 3);
        test_case("margin of ttl/%d", divisors[i]);
        fw_advance(d.u, DS_MS - 1);
        lock *a = lock_held_new(&d, "A");
        sb_hold(d.backend, SB_RENEW);
        fw_advance(d.u, TTL_MS * DS_MS - TTL_MS * DS_MS / divisors[i] - 1);
        CHECK_EQ_INT(lock_left(a), 1);
        fw_advance(d.u, 1);
        CHECK(!lock_held(a));
        sb_release_all(d.backend);
        CHECK(desk_close(&d));
    }
}

TEST(nothing_is_acquired_after_a_leap_of_the_calendar) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    fw_settle(d.u);
    sb_release(d.backend, SB_ENTER);
    fw_skip_wall(d.u, 3600000);
    sb_ok(d.backend, SB_ENTER, DS_PLACE_HELD);
    CHECK_EQ_TEXT(sb_log(d.backend), "open s1 | enter e1 | open s2 | close s1 | enter e2 | A ok");
    CHECK(lock_held(a));
    CHECK(desk_close(&d));
}
