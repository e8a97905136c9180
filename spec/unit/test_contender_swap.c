/* Handing over: the holder releases, another waiter of this client is next, and both travel in one request. */
#include "test.h"

#include "core_fixture.h"

/* A has just released, B is next: "swap e1>e2" waits for its answer. */
static void begin(desk *d, lock **a, lock **b) {
    desk_open(d);
    *a = lock_held_new(d, "A");
    *b = lock_new(d, "B");
    lock_acquire(*b);
    sb_hold(d->backend, SB_SWAP);
    lock_release(*a, DS_SECOND);
    CHECK(!lock_held(*a));
    CHECK_EQ_TEXT(desk_log(d), "open s1 | enter e1 | A ok | swap e1>e2");
}

TEST(a_swap_that_holds) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    sb_ok(d.backend, SB_SWAP, DS_PLACE_HELD);
    CHECK_EQ_TEXT(desk_log(&d), "B ok | A released ok");
    CHECK(lock_held(b));
    CHECK(desk_close(&d));
}

TEST(a_swap_that_queues_behind_others) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    sb_ok_behind(d.backend, SB_SWAP, "p/lock/q/x"); /* a remote client had waited for longer */
    CHECK_EQ_TEXT(desk_log(&d), "A released ok");
    CHECK_EQ_INT(ds_claim_get(&b->claim), DS_CLAIM_WAITING);
    sb_deleted(sb_watching(d.backend, "p/lock/q/x"), NULL);
    CHECK_EQ_TEXT(desk_log(&d), "check e2 | B ok");
    CHECK(desk_close(&d));
}

TEST(a_swap_into_a_lock_delay) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    ds_reply delayed = {.outcome = DS_OK, .place = DS_PLACE_DELAYED, .delay_ms = 300};
    sb_answer(sb_pending(d.backend, SB_SWAP), 0, &delayed);
    CHECK_EQ_TEXT(desk_log(&d), "A released ok");
    CHECK_EQ_INT(ds_claim_get(&b->claim), DS_CLAIM_DELAYED);
    fw_advance(d.u, 300 * DS_MS);
    CHECK(lock_held(b));
    CHECK(desk_close(&d));
}

TEST(a_swap_whose_old_entry_was_gone) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    sb_ok(d.backend, SB_SWAP, DS_PLACE_GONE);
    CHECK_EQ_TEXT(desk_log(&d), "enter e3 | A released lost | B ok"); /* e2 was not made, and is not used again */
    CHECK(desk_close(&d));
}

TEST(an_uncertain_swap_is_sent_again_as_it_was) {
    static const ds_class outcomes[] = {DS_AMBIGUOUS, DS_NOT_EXECUTED};
    for (size_t i = 0; i < DS_COUNT(outcomes); i++) {
        desk d;
        lock *a, *b;
        begin(&d, &a, &b);
        test_case("row %zu", i);
        sb_fail(d.backend, SB_SWAP, outcomes[i], "x");
        fw_advance(d.u, 20 * DS_MS);
        CHECK_EQ_TEXT(desk_log(&d), "swap e1>e2");
        sb_ok(d.backend, SB_SWAP, DS_PLACE_HELD);
        CHECK_EQ_TEXT(desk_log(&d), "B ok | A released ok");
        lock_release(b, DS_SECOND);
        CHECK_EQ_TEXT(desk_log(&d), "leave e2 | B released ok"); /* without e1 no copy of the swap can do anything */
        CHECK(desk_close(&d));
    }
}

TEST(an_abandoned_swap_withdraws_the_old_entry_before_the_new) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    sb_hold(d.backend, SB_WITHDRAW);
    lock_cancel(b);
    CHECK_EQ_TEXT(desk_log(&d), "withdraw s1 e1 ->2 | B cancelled");
    sb_ok(d.backend, SB_WITHDRAW, DS_PLACE_DONE);
    CHECK_EQ_TEXT(desk_log(&d), "A released ok | withdraw s1 e2 ->3");
    sb_ok(d.backend, SB_WITHDRAW, DS_PLACE_DONE);
    CHECK_EQ_UINT(d.engine->stats.cleaning, 0);
    CHECK(desk_close(&d));
}

TEST(a_swap_taken_over_by_the_next_waiter) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    lock *c = lock_new(&d, "C");
    lock_acquire(c);
    lock_cancel(b);
    sb_ok(d.backend, SB_SWAP, DS_PLACE_HELD);
    CHECK_EQ_TEXT(desk_log(&d), "B cancelled | C ok | A released ok");
    fw_advance(d.u, 10 * DS_MS);
    CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), 1); /* shows C's value */
    CHECK(desk_close(&d));
}

TEST(a_release_that_travels_with_a_swap_ends_on_time) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    sb_hold_all(d.backend);
    int64_t begun = fw_now(d.u);
    fw_advance(d.u, DS_SECOND);
    CHECK_EQ_INT(a->release_code, DSYNC_UNKNOWN);
    CHECK_EQ_INT(a->released_ns - begun, DS_SECOND);
    CHECK_EQ_INT(a->free_by_ms, FW_START_WALL_MS + TTL_MS);
    sb_release_all(d.backend);
    sb_ok(d.backend, SB_SWAP, DS_PLACE_HELD); /* the swap goes on */
    CHECK(lock_held(b));
    CHECK_EQ_UINT(a->released, 1);
    CHECK(desk_close(&d));
}

TEST(a_release_that_is_forgotten_is_not_told) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    ds_release_forget(&a->release);
    sb_ok(d.backend, SB_SWAP, DS_PLACE_HELD);
    CHECK_EQ_TEXT(desk_log(&d), "B ok");
    fw_advance(d.u, 5 * DS_SECOND);
    CHECK_EQ_UINT(a->released, 0);
    CHECK(desk_close(&d));
}

TEST(a_session_lost_during_a_swap) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    sb_fail(d.backend, SB_SWAP, DS_LOST, "no lease");
    CHECK_EQ_TEXT(desk_log(&d), "A released lost | open s2 | close s1 | enter e3 | B ok");
    CHECK(desk_close(&d));
}

/* The server may have heard of it or not; that the time of the session is over changes nothing in that. */
TEST(a_release_that_outlives_its_session) {
    static const bool swaps[] = {false, true};
    for (size_t i = 0; i < DS_COUNT(swaps); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", swaps[i] ? "with a swap" : "by itself");
        lock *a = lock_held_new(&d, "A"), *b = lock_new(&d, "B");
        sb_hold_all(d.backend);
        fw_advance(d.u, 9 * DS_SECOND);
        if (swaps[i]) {
            lock_acquire(b);
        }
        lock_release(a, 60 * DS_SECOND);
        fw_advance(d.u, 2 * DS_SECOND);
        CHECK_EQ_UINT(a->released, 0);
        fw_advance(d.u, 2 * DS_SECOND);
        CHECK_EQ_UINT(a->released, 1);
        CHECK_EQ_INT(a->release_code, DSYNC_UNKNOWN);
        sb_release_all(d.backend);
        CHECK(desk_close(&d));
    }
}

TEST(a_refused_swap_fails_the_waiters_and_cleans_up) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    sb_refuse(d.backend, SB_SWAP, DSYNC_DENIED, "no");
    CHECK_EQ_TEXT(desk_log(&d), "withdraw s1 e1 ->2 | B denied | A released ok | withdraw s1 e2 ->3");
    CHECK(desk_close(&d));
}

TEST(nobody_answers_a_swap) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    fw_advance(d.u, 4999 * DS_MS);
    CHECK_EQ_INT(b->settled, 0);
    fw_advance(d.u, 3 * DS_MS);
    CHECK_EQ_INT(b->code, DSYNC_UNAVAILABLE);
    CHECK_EQ_INT(a->release_code, DSYNC_UNKNOWN);
    fw_settle(d.u);
    CHECK_EQ_UINT(d.engine->stats.cleaning, 0);
    CHECK(desk_close(&d));
}

TEST(an_entry_of_uncertain_fate_is_not_swapped) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    lock_acquire(b);
    fw_settle(d.u);
    sb_release(d.backend, SB_ENTER);
    sb_answer(sb_pending(d.backend, SB_ENTER), 0,
              &(ds_reply){.outcome = DS_OK, .place = DS_PLACE_HELD, .resent = true});
    fw_settle(d.u);
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok | withdraw s1 e1 ->2 | enter e2 | A released ok | B ok");
    CHECK(desk_close(&d));
}

TEST(a_swap_without_a_listener) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A"), *b = lock_new(&d, "B");
    lock_acquire(b);
    lock_free(a); /* let go: released in the background */
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok | swap e1>e2 | B ok");
    CHECK(desk_close(&d));
}

TEST(a_holder_that_lost_by_the_clock_during_the_swap) {
    desk d;
    lock *a, *b;
    begin(&d, &a, &b);
    sb_hold_all(d.backend);
    sb_answer(sb_pending(d.backend, SB_SWAP), 0, &(ds_reply){.outcome = DS_OK, .place = DS_PLACE_HELD});
    fw_pause(d.world, true);
    fw_advance(d.u, 13 * DS_SECOND);
    (void)sb_log(d.backend);
    fw_pause(d.world, false);
    fw_settle(d.u);
    CHECK(!lock_held(b));
    CHECK_EQ_UINT(b->settled, 0); /* begins anew */
    sb_release_all(d.backend);
    fw_advance(d.u, 4 * DS_SECOND);
    CHECK(lock_held(b));
    CHECK(desk_close(&d));
}
