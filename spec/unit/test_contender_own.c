/* What a holder learns of its own entry: that it is gone, and why; and what is written beside it (acquired_at). */
#include "test.h"

#include "core_fixture.h"

/* Held for so long that its entry is watched and marked. */
static lock *settled_in(desk *d) {
    lock *a = lock_held_new(d, "A");
    fw_advance(d->u, 20 * DS_MS);
    (void)desk_log(d);
    return a;
}

TEST(watches_its_own_entry_after_a_moment) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_advance(d.u, 9 * DS_MS);
    CHECK_NULL(sb_watching(d.backend, "e1"));
    fw_advance(d.u, DS_MS);
    sb_watch *w = sb_watching(d.backend, "e1");
    REQUIRE(w != NULL);
    CHECK(w->deletes_only && !w->keys_only && !w->subtree); /* the last value tells who broke it */
    CHECK_EQ_INT(w->since, atomic_load(&a->claim.token) + 1);
    lock_release(a, DS_SECOND);
    CHECK_NULL(sb_watching(d.backend, "e1"));
    CHECK(desk_close(&d));
}

TEST(a_deleted_entry_is_not_held_from_that_moment) {
    static const struct {
        const char *name;
        ds_reply answer; /* to the question why */
        dsync_reason reason;
        const char *log;
    } rows[] = {
        {"gone", {.outcome = DS_OK, .place = DS_PLACE_GONE}, DSYNC_REASON_DELETED, "check e1 | A lost deleted"},
        {"the session too",
         {.outcome = DS_LOST},
         DSYNC_REASON_SESSION_LOST,
         "check e1 | A lost session_lost | close s1"},
        {"the cluster too",
         {.outcome = DS_RESET},
         DSYNC_REASON_CLUSTER_RESET,
         "check e1 | A lost cluster_reset | close s1"},
        {"no answer", {.outcome = DS_AMBIGUOUS}, DSYNC_REASON_DELETED, "check e1 | A lost deleted"},
        {"refused", {.outcome = DS_REFUSED, .code = DSYNC_DENIED}, DSYNC_REASON_DELETED, "check e1 | A lost deleted"},
        /* A late copy has made it again: it must not stay. */
        {"there again",
         {.outcome = DS_OK, .place = DS_PLACE_HELD},
         DSYNC_REASON_DELETED,
         "check e1 | withdraw s1 e1 ->2 | A lost deleted"},
        {"there again, behind",
         {.outcome = DS_OK, .place = DS_PLACE_WAITING, .ahead = "x"},
         DSYNC_REASON_DELETED,
         "check e1 | withdraw s1 e1 ->2 | A lost deleted"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", rows[i].name);
        lock *a = settled_in(&d);
        sb_hold(d.backend, SB_CHECK);
        sb_deleted(sb_watching(d.backend, "e1"), NULL);
        CHECK(!lock_held(a));
        CHECK_EQ_INT(a->ended, 0);
        CHECK_EQ_INT(sb_pending(d.backend, SB_CHECK)->timeout_ns, 200 * DS_MS);
        sb_answer(sb_pending(d.backend, SB_CHECK), 0, &rows[i].answer);
        CHECK_EQ_TEXT(desk_log(&d), rows[i].log);
        CHECK_EQ_INT(a->ended, 1);
        CHECK_EQ_INT(a->reason, rows[i].reason);
        CHECK(desk_close(&d));
    }
}

TEST(a_deleted_entry_whose_fate_was_uncertain_is_withdrawn) {
    static const char *const values[] = {NULL, "{\"broken_by\":\"admin\"}"};
    for (size_t i = 0; i < DS_COUNT(values); i++) {
        desk d;
        desk_open(&d);
        test_case("row %zu", i);
        lock *a = lock_new(&d, "A");
        sb_hold(d.backend, SB_ENTER);
        lock_acquire(a);
        fw_settle(d.u);
        sb_answer(sb_pending(d.backend, SB_ENTER), 0,
                  &(ds_reply){.outcome = DS_OK, .place = DS_PLACE_HELD, .resent = true});
        fw_advance(d.u, 20 * DS_MS);
        (void)desk_log(&d);
        sb_hold(d.backend, SB_CHECK);
        sb_deleted(sb_watching(d.backend, "e1"), values[i]);
        if (values[i] == NULL) {
            sb_ok(d.backend, SB_CHECK, DS_PLACE_GONE);
        }
        CHECK_CONTAINS(desk_log(&d), "withdraw s1 e1 ->2 | A lost");
        CHECK(desk_close(&d));
    }
}

TEST(a_broken_lock_says_so) {
    desk d;
    desk_open(&d);
    lock *a = settled_in(&d);
    sb_deleted(sb_watching(d.backend, "e1"), "{\"id\":\"node\",\"broken_by\":\"admin\"}");
    CHECK_EQ_TEXT(desk_log(&d), "leave e1 | A lost broken");
    CHECK_EQ_INT(a->reason, DSYNC_REASON_BROKEN);
    CHECK(desk_close(&d));
}

TEST(the_next_waiter_gets_in_after_a_deletion) {
    desk d;
    desk_open(&d);
    (void)settled_in(&d);
    lock *b = lock_new(&d, "B");
    lock_acquire(b);
    sb_hold(d.backend, SB_CHECK);
    sb_deleted(sb_watching(d.backend, "e1"), NULL);
    CHECK_EQ_INT(b->settled, 0);
    sb_ok(d.backend, SB_CHECK, DS_PLACE_GONE);
    CHECK_EQ_TEXT(desk_log(&d), "check e1 | enter e2 | A lost deleted | B ok");
    CHECK(desk_close(&d));
}

TEST(letting_go_of_a_deleted_lock_tells_it) {
    desk d;
    desk_open(&d);
    lock *a = settled_in(&d);
    sb_hold(d.backend, SB_CHECK);
    sb_deleted(sb_watching(d.backend, "e1"), NULL);
    CHECK_NULL((void *)(uintptr_t)ds_waiter_entry(&a->waiter));
    lock_free(a);
    CHECK_EQ_TEXT(desk_log(&d), "check e1 | A lost deleted");
    CHECK(desk_close(&d));
}

TEST(one_who_asks_again_need_not_wait_for_the_reason) {
    desk d;
    desk_open(&d);
    lock *a = settled_in(&d);
    ds_waiter_end_loss(&a->waiter); /* nothing is being lost yet */
    CHECK_EQ_INT(a->ended, 0);
    sb_hold(d.backend, SB_CHECK);
    sb_deleted(sb_watching(d.backend, "e1"), NULL);
    ds_waiter_end_loss(&a->waiter);
    lock_acquire(a);
    CHECK_EQ_TEXT(desk_log(&d), "check e1 | A lost deleted | enter e2 | A ok");
    CHECK(desk_close(&d));
}

TEST(an_entry_the_server_no_longer_has_is_explained_by_its_watch) {
    static const char *const values[] = {NULL, "{\"broken_by\":\"admin\"}"};
    for (size_t i = 0; i < DS_COUNT(values); i++) {
        desk d;
        desk_open(&d);
        lock *a = lock_held_new(&d, "A");
        sb_hold(d.backend, SB_CHECK);
        ds_waiter_gone(&a->waiter); /* a write was told so, and came before the watch */
        CHECK(!lock_held(a));
        ds_waiter_gone(&a->waiter);
        fw_advance(d.u, 100 * DS_MS);
        CHECK_EQ_INT(a->ended, 0);
        REQUIRE(sb_watching(d.backend, "e1") != NULL);
        if (values[i] != NULL) {
            sb_deleted(sb_watching(d.backend, "e1"), values[i]);
        } else {
            fw_advance(d.u, 300 * DS_MS);
        }
        CHECK_EQ_INT(a->reason, values[i] != NULL ? DSYNC_REASON_BROKEN : DSYNC_REASON_DELETED);
        fw_advance(d.u, DS_SECOND);
        CHECK_EQ_INT(a->ended, 1);
        CHECK(desk_close(&d));
    }
}

/* ---- the watch ends ---------------------------------------------------------------------------------------------- */

TEST(an_own_watch_that_ended_is_begun_now_and_looks) {
    static const struct {
        const char *name;
        ds_reply answer;
        bool held;
        const char *log;
    } rows[] = {
        {"still there", {.outcome = DS_OK, .place = DS_PLACE_HELD}, true, "check e1"},
        {"gone meanwhile", {.outcome = DS_OK, .place = DS_PLACE_GONE}, false, "check e1 | check e1"},
        {"session lost", {.outcome = DS_LOST}, false, "check e1 | open s2 | A lost session_lost"},
        {"refused", {.outcome = DS_REFUSED, .code = DSYNC_DENIED}, true, "check e1"},
        {"no answer", {.outcome = DS_NOT_EXECUTED}, true, "check e1 | check e1"},
        {"behind somebody", {.outcome = DS_OK, .place = DS_PLACE_WAITING}, false, "check e1 | check e1"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", rows[i].name);
        lock *a = settled_in(&d);
        lock *b = lock_new(&d, "B");
        lock_acquire(b);
        sb_hold(d.backend, SB_CHECK);
        sb_ended(sb_watching(d.backend, "e1"));
        fw_advance(d.u, 10 * DS_MS);
        sb_watch *w = sb_watching(d.backend, "e1");
        REQUIRE(w != NULL);
        CHECK_EQ_INT(w->since, 0); /* the past may have been compacted */
        sb_answer(sb_pending(d.backend, SB_CHECK), 0, &rows[i].answer);
        fw_advance(d.u, 20 * DS_MS);
        CHECK_EQ_INT(lock_held(a), rows[i].held);
        const char *log = desk_log(&d);
        test_case("%s: %s", rows[i].name, log);
        CHECK(strncmp(log, rows[i].log, strlen(rows[i].log)) == 0);
        CHECK(desk_close(&d));
    }
}

TEST(an_own_watch_that_cannot_begin_waits_for_the_next_renewal) {
    desk d;
    desk_open(&d);
    lock *a = settled_in(&d);
    d.backend->watch_silent = true;
    sb_ended(sb_watching(d.backend, "e1"));
    size_t before = d.backend->watch_count;
    for (int ms = 0; ms < 4000; ms++) {
        if (sb_watching(d.backend, "e1") != NULL) {
            sb_ended(sb_watching(d.backend, "e1"));
        }
        fw_advance(d.u, DS_MS);
    }
    test_case("%zu watches", d.backend->watch_count - before);
    CHECK(d.backend->watch_count - before <= 3);
    d.backend->watch_silent = false;
    fw_advance(d.u, 6 * DS_SECOND);
    CHECK(sb_watching(d.backend, "e1") != NULL);
    CHECK(lock_held(a));
    CHECK(desk_close(&d));
}

TEST(an_own_watch_that_ended_while_losing_stays_off) {
    desk d;
    desk_open(&d);
    lock *a = settled_in(&d);
    sb_hold(d.backend, SB_CHECK);
    sb_watch *w = sb_watching(d.backend, "e1");
    sb_deleted(w, NULL);
    sb_ended(w);
    fw_advance(d.u, 50 * DS_MS);
    CHECK_NULL(sb_watching(d.backend, "e1"));
    fw_advance(d.u, 200 * DS_MS); /* and the question has its time */
    CHECK_EQ_INT(a->ended, 1);
    CHECK(desk_close(&d));
}

/* ---- acquired_at ------------------------------------------------------------------------------------------------- */

TEST(acquired_at_is_written_once_and_not_at_once) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_advance(d.u, 9 * DS_MS);
    CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), 0);
    fw_advance(d.u, DS_MS);
    CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), 1);
    CHECK_CONTAINS(sb_last(d.backend, SB_WRITE)->value, "\"acquired_at\":\"2023-11-14T22:13:20.000Z\"");
    CHECK_EQ_INT(ds_waiter_held_wall_ms(&a->waiter), FW_START_WALL_MS);
    fw_advance(d.u, 60 * DS_SECOND);
    CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), 1);
    CHECK(desk_close(&d));
}

/* A write between the acquisition and the watch puts the watch into the past, where etcd may let it wait for 100 ms. */
TEST(acquired_at_waits_for_the_watch_to_begin_but_not_for_ever) {
    for (int begins = 0; begins < 2; begins++) {
        desk d;
        desk_open(&d);
        d.backend->watch_silent = true;
        (void)lock_held_new(&d, "A");
        fw_advance(d.u, 20 * DS_MS);
        sb_watch *w = sb_watching(d.backend, "e1");
        REQUIRE(w != NULL);
        CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), 0);
        if (begins) {
            sb_event(w, &(ds_watch_event){.kind = DS_WATCH_READY});
        } else {
            fw_advance(d.u, 6 * DS_SECOND); /* a renewal brings it up again */
        }
        CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), 1);
        CHECK(desk_close(&d));
    }
}

TEST(a_short_hold_costs_no_write) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_advance(d.u, 9 * DS_MS);
    lock_release(a, DS_SECOND);
    fw_advance(d.u, DS_SECOND);
    CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), 0);
    CHECK_NULL(sb_watching(d.backend, "e1"));
    CHECK_EQ_INT(ds_waiter_held_wall_ms(&a->waiter), 0);
    CHECK(desk_close(&d));
}

TEST(raw_values_and_tries_need_no_mark) {
    for (int raw = 0; raw < 2; raw++) {
        desk d;
        desk_open(&d);
        lock *a = lock_new(&d, "A");
        a->waiter.raw = raw;
        a->waiter.only_try = !raw;
        a->waiter.value = "v";
        a->waiter.value_size = 1;
        lock_acquire(a);
        fw_advance(d.u, DS_SECOND);
        CHECK(lock_held(a));
        CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), 0);
        CHECK(sb_watching(d.backend, "e1") != NULL);
        CHECK(desk_close(&d));
    }
}

TEST(how_the_mark_fails) {
    static const struct {
        const char *name;
        ds_reply reply;
        size_t writes; /* 100 ms later */
        size_t later;  /* after the next renewal */
        bool held;
    } rows[] = {
        {"refused", {.outcome = DS_REFUSED, .code = DSYNC_DENIED}, 1, 1, true},
        {"uncertain", {.outcome = DS_AMBIGUOUS}, 1, 1, true},
        {"not executed", {.outcome = DS_NOT_EXECUTED}, 1, 2, true},
        {"stale", {.outcome = DS_OK, .place = DS_PLACE_STALE}, 2, 2, true},
        {"gone", {.outcome = DS_OK, .place = DS_PLACE_GONE}, 1, 1, false},
        {"lost", {.outcome = DS_LOST}, 1, 1, false},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", rows[i].name);
        lock *a = lock_held_new(&d, "A");
        sb_hold(d.backend, SB_WRITE);
        fw_advance(d.u, 10 * DS_MS);
        sb_release(d.backend, SB_WRITE);
        sb_answer(sb_pending(d.backend, SB_WRITE), 0, &rows[i].reply);
        fw_advance(d.u, 100 * DS_MS);
        CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), rows[i].writes);
        CHECK_EQ_INT(lock_held(a), rows[i].held);
        fw_advance(d.u, 6 * DS_SECOND);
        CHECK_EQ_UINT(sb_count(d.backend, SB_WRITE), rows[i].later);
        CHECK_EQ_INT(a->ended, !rows[i].held);
        CHECK(desk_close(&d));
    }
}

/* ---- the user's own limit ---------------------------------------------------------------------------------------- */

TEST(a_hold_limit_ends_it_and_frees_it) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    a->waiter.hold_ns = 3 * DS_SECOND;
    lock_acquire(a);
    fw_advance(d.u, DS_SECOND);
    (void)desk_log(&d);
    CHECK_EQ_INT(lock_left(a), 2 * DS_SECOND);
    lock *b = lock_new(&d, "B");
    lock_acquire(b);
    fw_advance(d.u, 2 * DS_SECOND - 1);
    CHECK(lock_held(a));
    fw_advance(d.u, 1);
    CHECK_EQ_TEXT(desk_log(&d), "leave e1 | enter e2 | A lost expired | B ok");
    CHECK_EQ_INT(a->reason, DSYNC_REASON_EXPIRED);
    CHECK(desk_close(&d));
}

TEST(a_look_finds_the_end_of_a_hold) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    a->waiter.hold_ns = 3 * DS_SECOND;
    lock_acquire(a);
    fw_settle(d.u);
    fw_pause(d.world, true);
    fw_advance(d.u, 3 * DS_SECOND);
    (void)sb_log(d.backend);
    ds_waiter_look(&a->waiter);
    CHECK_EQ_TEXT(sb_log(d.backend), "leave e1 | A lost expired");
    fw_pause(d.world, false);
    CHECK(desk_close(&d));
}

TEST(a_release_before_the_limit_forgets_it) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    a->waiter.hold_ns = 3 * DS_SECOND;
    lock_acquire(a);
    fw_settle(d.u);
    lock_release(a, DS_SECOND);
    fw_advance(d.u, 10 * DS_SECOND);
    CHECK_EQ_INT(a->ended, 0);
    CHECK(desk_close(&d));
}
