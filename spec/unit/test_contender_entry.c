/* The entry on the server: asking again, waiting behind somebody, and what is uncertain. */
#include "test.h"

#include "core_fixture.h"

#define AHEAD "p/lock/q/ahead"

/* A lock in the queue behind AHEAD. */
static lock *waiting(desk *d, const char *name) {
    lock *l = lock_new(d, name);
    sb_hold(d->backend, SB_ENTER);
    lock_acquire(l);
    fw_settle(d->u);
    sb_ok_behind(d->backend, SB_ENTER, AHEAD);
    sb_release(d->backend, SB_ENTER);
    return l;
}

/* ---- getting in -------------------------------------------------------------------------------------------------- */

TEST(how_entering_goes_on_after_a_failure) {
    static const struct {
        const char *name;
        ds_class first;
        bool resent;
        const char *log; /* until a is cancelled, which shows whether it must be withdrawn */
    } rows[] = {
        {"certainly without effect: a fresh nonce", DS_NOT_EXECUTED, false,
         "enter e2 | A ok | leave e2 | A released ok"},
        {"uncertain: the same again, and withdrawn", DS_AMBIGUOUS, false,
         "enter e1 | A ok | withdraw s1 e1 ->2 | A released ok"},
        {"sent twice by the transport", DS_OK, true, "A ok | withdraw s1 e1 ->2 | A released ok"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", rows[i].name);
        lock *a = lock_new(&d, "A");
        sb_hold(d.backend, SB_ENTER);
        lock_acquire(a);
        fw_settle(d.u);
        (void)desk_log(&d);
        sb_release(d.backend, SB_ENTER);
        ds_reply reply = {.outcome = rows[i].first, .resent = rows[i].resent, .place = DS_PLACE_HELD};
        sb_answer(sb_pending(d.backend, SB_ENTER), 0, &reply);
        fw_advance(d.u, 5 * DS_MS);
        for (int ms = 0; ms < 20 && !lock_held(a); ms++) {
            fw_advance(d.u, DS_MS);
        }
        REQUIRE(lock_held(a));
        lock_release(a, DS_SECOND);
        CHECK_EQ_TEXT(desk_log(&d), rows[i].log);
        CHECK_EQ_UINT(d.engine->stats.resent, rows[i].resent);
        CHECK(desk_close(&d));
    }
}

TEST(a_certain_failure_after_an_uncertain_one_stays_uncertain) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    fw_settle(d.u);
    sb_fail(d.backend, SB_ENTER, DS_AMBIGUOUS, "reset");
    fw_advance(d.u, 20 * DS_MS);
    sb_fail(d.backend, SB_ENTER, DS_NOT_EXECUTED, "refused");
    fw_advance(d.u, 40 * DS_MS);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | enter e1 | enter e1");
    lock_cancel(a);
    CHECK_EQ_TEXT(desk_log(&d), "withdraw s1 e1 ->2 | A cancelled");
    CHECK(desk_close(&d));
}

/* Under its old name a late copy of any of its requests could be about the new one. */
TEST(an_entry_that_was_taken_away_while_entering_gets_another_name) {
    for (int uncertain = 0; uncertain < 2; uncertain++) {
        desk d;
        desk_open(&d);
        lock *a = lock_new(&d, "A");
        sb_hold(d.backend, SB_ENTER);
        lock_acquire(a);
        fw_settle(d.u);
        if (uncertain) {
            sb_fail(d.backend, SB_ENTER, DS_AMBIGUOUS, "reset");
            fw_advance(d.u, 20 * DS_MS);
        }
        (void)desk_log(&d);
        sb_ok(d.backend, SB_ENTER, DS_PLACE_GONE);
        fw_advance(d.u, 20 * DS_MS);
        CHECK_EQ_TEXT(desk_log(&d), uncertain ? "withdraw s1 e1 ->2 | enter e2" : "enter e2");
        lock_cancel(a);
        CHECK(desk_close(&d));
    }
}

TEST(tries_are_spaced_and_bounded) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    fw_settle(d.u);
    CHECK_EQ_INT(sb_pending(d.backend, SB_ENTER)->timeout_ns, TTL_MS * DS_MS / 8);
    for (int i = 0; i < 4000 && a->settled == 0; i++) {
        if (sb_has_pending(d.backend, SB_ENTER)) {
            sb_fail(d.backend, SB_ENTER, DS_NOT_EXECUTED, "refused");
        }
        fw_advance(d.u, DS_MS);
    }
    CHECK(sb_count(d.backend, SB_ENTER) > 5 && sb_count(d.backend, SB_ENTER) < 16);
    CHECK_EQ_UINT(d.engine->stats.retries, sb_count(d.backend, SB_ENTER));
    CHECK(desk_close(&d));
}

TEST(a_stale_epoch_is_asked_again_with_the_present_one) {
    static const bool uncertain[] = {false, true};
    for (size_t i = 0; i < DS_COUNT(uncertain); i++) {
        desk d;
        desk_open(&d);
        test_case("uncertain %d", uncertain[i]);
        lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
        sb_hold(d.backend, SB_ENTER);
        lock_acquire(a);
        lock_acquire_at(b, "p/lock/other");
        fw_settle(d.u);
        lock_cancel(a); /* moves the epoch */
        fw_settle(d.u);
        (void)desk_log(&d);
        sb_release(d.backend, SB_ENTER);
        ds_reply stale = {.outcome = DS_OK, .place = DS_PLACE_STALE, .resent = uncertain[i]};
        sb_answer(sb_pending(d.backend, SB_ENTER), 0, &stale);
        fw_advance(d.u, 20 * DS_MS);
        CHECK_EQ_TEXT(desk_log(&d), uncertain[i] ? "enter e2 | B ok" : "enter e3 | B ok");
        CHECK_EQ_UINT(sb_last(d.backend, SB_ENTER)->epoch, 2);
        CHECK(desk_close(&d));
    }
}

TEST(a_refusal_is_told_at_once) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    lock_acquire(b);
    fw_settle(d.u);
    sb_refuse(d.backend, SB_ENTER, DSYNC_DENIED, "no permission");
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | leave e1 | A denied | B denied");
    CHECK_EQ_TEXT(b->message, "no permission");
    CHECK(desk_close(&d));
}

/* It got in after we had given up: the withdrawal is for that. */
TEST(an_answer_after_giving_up_is_not_heard) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    fw_settle(d.u);
    sb_call *late = sb_pending(d.backend, SB_ENTER);
    sb_answer(late, 50 * DS_MS, &(ds_reply){.outcome = DS_OK, .place = DS_PLACE_HELD});
    a->waiter.wait_ns = DS_NEVER;
    lock_cancel(a);
    CHECK(late->cancelled);
    fw_advance(d.u, DS_SECOND);
    CHECK(!lock_held(a));
    CHECK_EQ_UINT(a->settled, 1);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | withdraw s1 e1 ->2 | A cancelled");
    CHECK(desk_close(&d));
}

/* ---- waiting behind somebody ------------------------------------------------------------------------------------- */

TEST(waits_for_its_predecessor_to_go) {
    desk d;
    desk_open(&d);
    lock *a = waiting(&d, "A");
    sb_watch *w = sb_watching(d.backend, AHEAD);
    REQUIRE(w != NULL);
    CHECK(w->deletes_only && w->keys_only && !w->subtree);
    CHECK_EQ_INT(w->since, 0);
    CHECK_EQ_UINT(w->asker, desk_session(&d)->lease.nonce);
    CHECK_EQ_UINT(d.engine->stats.waiting, 1);
    sb_hold(d.backend, SB_CHECK);
    sb_deleted(w, NULL);
    sb_ok_behind(d.backend, SB_CHECK, "p/lock/q/nearer"); /* it was not the last one */
    CHECK(sb_watching(d.backend, "p/lock/q/nearer") != NULL);
    CHECK_NULL(sb_watching(d.backend, AHEAD));
    sb_release(d.backend, SB_CHECK);
    sb_deleted(sb_watching(d.backend, "p/lock/q/nearer"), NULL);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | check e1 | check e1 | A ok");
    CHECK_EQ_INT(atomic_load(&a->claim.token), 102); /* of the entry, not of the answer */
    CHECK_NULL(sb_watching(d.backend, "p/lock/q/nearer"));
    CHECK(desk_close(&d));
}

TEST(a_watch_that_began_late_asks_at_once) {
    static const int64_t behind[] = {0, 1};
    for (size_t i = 0; i < DS_COUNT(behind); i++) {
        desk d;
        desk_open(&d);
        test_case("%d revisions later", (int)behind[i]);
        d.backend->watch_silent = true;
        (void)waiting(&d, "A");
        ds_watch_event ready = {.kind = DS_WATCH_READY, .revision = d.backend->revision + behind[i]};
        (void)desk_log(&d);
        sb_event(sb_watching(d.backend, AHEAD), &ready);
        CHECK_EQ_TEXT(desk_log(&d), behind[i] > 0 ? "check e1 | A ok" : "");
        CHECK(desk_close(&d));
    }
}

TEST(polls_behind_its_watch) {
    desk d;
    desk_open(&d);
    (void)waiting(&d, "A");
    sb_hold(d.backend, SB_CHECK);
    fw_advance(d.u, 900 * DS_MS);
    CHECK_EQ_UINT(sb_count(d.backend, SB_CHECK), 0);
    CHECK_NULL(sb_watching(d.backend, "e1"));
    fw_advance(d.u, 1200 * DS_MS);
    CHECK_EQ_UINT(sb_count(d.backend, SB_CHECK), 1);
    CHECK(sb_watching(d.backend, "e1") != NULL);
    sb_ok_behind(d.backend, SB_CHECK, AHEAD);
    fw_advance(d.u, 9900 * DS_MS);
    CHECK_EQ_UINT(sb_count(d.backend, SB_CHECK), 1);
    fw_advance(d.u, 1200 * DS_MS);
    CHECK_EQ_UINT(sb_count(d.backend, SB_CHECK), 2);
    sb_ok_behind(d.backend, SB_CHECK, AHEAD);
    CHECK_EQ_UINT(d.backend->watch_count, 3); /* session, own, ahead: none was begun anew */
    CHECK(desk_close(&d));
}

TEST(polls_faster_without_a_watch) {
    desk d;
    desk_open(&d);
    d.backend->watch_fails = true;
    (void)waiting(&d, "A");
    sb_hold(d.backend, SB_CHECK);
    fw_advance(d.u, 1100 * DS_MS);
    CHECK_EQ_UINT(sb_count(d.backend, SB_CHECK), 1);
    CHECK(desk_close(&d));
}

TEST(a_watch_on_the_predecessor_that_ended_is_begun_anew) {
    desk d;
    desk_open(&d);
    (void)waiting(&d, "A");
    (void)desk_log(&d);
    sb_hold(d.backend, SB_CHECK);
    sb_ended(sb_watching(d.backend, AHEAD));
    fw_advance(d.u, 20 * DS_MS);
    sb_ok_behind(d.backend, SB_CHECK, AHEAD);
    CHECK_EQ_TEXT(desk_log(&d), "check e1");
    CHECK(sb_watching(d.backend, AHEAD) != NULL);
    CHECK(desk_close(&d));
}

/* A server that refuses every watch must not be asked a hundred times a second. */
TEST(watches_that_never_begin_are_spaced) {
    desk d;
    desk_open(&d);
    d.backend->watch_silent = true;
    (void)waiting(&d, "A");
    size_t watches = 0;
    size_t checks = 0;
    sb_hold(d.backend, SB_CHECK);
    for (int ms = 0; ms < 10000; ms++) {
        for (size_t i = 0; i < d.backend->watch_count; i++) {
            if (d.backend->watches[i]->on) {
                sb_ended(d.backend->watches[i]);
            }
        }
        if (sb_has_pending(d.backend, SB_CHECK)) {
            sb_ok_behind(d.backend, SB_CHECK, AHEAD);
        }
        fw_advance(d.u, DS_MS);
    }
    watches = d.backend->watch_count;
    checks = sb_count(d.backend, SB_CHECK);
    test_case("%zu watches, %zu checks", watches, checks);
    CHECK(watches < 60);
    CHECK(checks < 30);
    CHECK(desk_close(&d));
}

TEST(a_lock_delay_is_waited_out) {
    static const struct { int64_t delay_ms, poll_ms; } rows[] = {{5, 100}, {400, 400}, {15000, 1000}};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%d ms", (int)rows[i].delay_ms);
        lock *a = lock_new(&d, "A");
        sb_hold(d.backend, SB_ENTER);
        lock_acquire(a);
        fw_settle(d.u);
        ds_reply delayed = {.outcome = DS_OK, .place = DS_PLACE_DELAYED, .delay_ms = rows[i].delay_ms};
        sb_answer(sb_pending(d.backend, SB_ENTER), 0, &delayed);
        fw_settle(d.u);
        CHECK_EQ_INT(ds_claim_get(&a->claim), DS_CLAIM_DELAYED);
        CHECK_EQ_TEXT(d.notice, "lock-delay");
        sb_hold(d.backend, SB_CHECK);
        fw_advance(d.u, rows[i].poll_ms * DS_MS - 1);
        CHECK_EQ_UINT(sb_count(d.backend, SB_CHECK), 0);
        fw_advance(d.u, 1);
        CHECK_EQ_UINT(sb_count(d.backend, SB_CHECK), 1);
        unsigned notices = d.notices;
        sb_answer(sb_pending(d.backend, SB_CHECK), 0, &delayed);
        fw_settle(d.u);
        CHECK_EQ_UINT(d.notices, notices); /* said once */
        CHECK(desk_close(&d));
    }
}

/* ---- the place vanishes while waiting ---------------------------------------------------------------------------- */

TEST(an_entry_deleted_while_waiting_is_made_anew) {
    static const bool uncertain[] = {false, true};
    for (size_t i = 0; i < DS_COUNT(uncertain); i++) {
        desk d;
        desk_open(&d);
        test_case("uncertain %d", uncertain[i]);
        lock *a = lock_new(&d, "A");
        sb_hold(d.backend, SB_ENTER);
        lock_acquire(a);
        fw_settle(d.u);
        ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_WAITING, .ahead = AHEAD, .resent = uncertain[i]};
        sb_answer(sb_pending(d.backend, SB_ENTER), 0, &reply);
        fw_settle(d.u);
        sb_release(d.backend, SB_ENTER);
        sb_hold(d.backend, SB_CHECK);
        fw_advance(d.u, 2 * DS_SECOND);
        sb_ok_behind(d.backend, SB_CHECK, AHEAD);
        (void)desk_log(&d);
        REQUIRE(sb_watching(d.backend, "e1") != NULL);
        sb_deleted(sb_watching(d.backend, "e1"), NULL);
        sb_ok(d.backend, SB_CHECK, DS_PLACE_GONE);
        /* A copy of the first request may still arrive, and find nothing in its way. */
        CHECK_EQ_TEXT(desk_log(&d),
                      uncertain[i] ? "check e1 | withdraw s1 e1 ->2 | enter e2 | A ok" : "check e1 | enter e2 | A ok");
        CHECK(desk_close(&d));
    }
}

TEST(a_session_found_lost_by_a_check) {
    desk d;
    desk_open(&d);
    (void)waiting(&d, "A");
    (void)desk_log(&d);
    sb_hold(d.backend, SB_CHECK);
    sb_deleted(sb_watching(d.backend, AHEAD), NULL);
    sb_fail(d.backend, SB_CHECK, DS_LOST, "no such lease");
    CHECK_EQ_TEXT(desk_log(&d), "check e1 | open s2 | close s1 | enter e2 | A ok");
    CHECK(desk_close(&d));
}

TEST(a_check_that_fails_is_repeated) {
    desk d;
    desk_open(&d);
    lock *a = waiting(&d, "A");
    sb_hold(d.backend, SB_CHECK);
    sb_deleted(sb_watching(d.backend, AHEAD), NULL);
    sb_fail(d.backend, SB_CHECK, DS_AMBIGUOUS, "reset");
    sb_release(d.backend, SB_CHECK);
    fw_advance(d.u, 20 * DS_MS);
    CHECK(lock_held(a));
    CHECK(desk_close(&d));
}

/* ---- states ------------------------------------------------------------------------------------------------------ */

TEST(only_these_moves_are_legal) {
    static const char *const legal[] = {"idle>entering", "entering>waiting", "entering>held", "entering>idle",
                                        "waiting>held",  "waiting>entering", "waiting>idle",  "held>idle",
                                        "held>entering", "held>losing",      "losing>idle"};
    for (int from = 0; from < DS_CONTENDER_STATES; from++) {
        for (int to = 0; to < DS_CONTENDER_STATES; to++) {
            char move[40];
            bool expected = false;
            (void)snprintf(move, sizeof(move), "%s>%s", ds_contender_state_name((ds_contender_state)from),
                           ds_contender_state_name((ds_contender_state)to));
            for (size_t i = 0; i < DS_COUNT(legal); i++) {
                expected = expected || strcmp(move, legal[i]) == 0;
            }
            test_case("%s", move);
            CHECK_EQ_INT(ds_contender_may_move((ds_contender_state)from, (ds_contender_state)to), expected);
        }
    }
}
