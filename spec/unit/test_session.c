/* The lease keeper: opening, deadlines, renewals, suspicion. Clocks that misbehave are in test_session_clock.c.
 * TTL_MS is 15 s: renewed every 4.5-5 s, suspect after 7.5 s, believed for 12 s. */
#include "test.h"

#include "core_fixture.h"

#define TTL (TTL_MS * DS_MS)

TEST(deadline_counts_from_sending) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    int64_t sent = fw_now(d.u);
    sb_answer(sb_pending(d.backend, SB_OPEN), 1500 * DS_MS, &(ds_reply){.outcome = DS_OK});
    fw_advance(d.u, 1500 * DS_MS);
    CHECK_EQ_INT(desk_session(&d)->deadline_ns, sent + 12 * DS_SECOND);
    CHECK_EQ_INT(lock_left(a), 10500 * DS_MS);
    sb_hold(d.backend, SB_RENEW);
    while (!sb_has_pending(d.backend, SB_RENEW)) {
        fw_advance(d.u, 10 * DS_MS);
    }
    sb_call *renewal = sb_pending(d.backend, SB_RENEW);
    CHECK(renewal->at_ns >= sent + 4500 * DS_MS && renewal->at_ns <= sent + 5 * DS_SECOND);
    CHECK(renewal->urgent);
    sb_answer(renewal, 1800 * DS_MS, &(ds_reply){.outcome = DS_OK, .ttl_ms = TTL_MS});
    fw_advance(d.u, 1799 * DS_MS);
    CHECK_EQ_INT(atomic_load(&a->claim.deadline_ns), sent + 12 * DS_SECOND);
    fw_advance(d.u, DS_MS);
    CHECK_EQ_INT(atomic_load(&a->claim.deadline_ns), renewal->at_ns + 12 * DS_SECOND);
    CHECK_EQ_INT(atomic_load(&a->claim.wall_deadline_ms),
                 FW_START_WALL_MS + (renewal->at_ns - FW_START_NS + 12 * DS_SECOND) / DS_MS + 1);
    CHECK(desk_close(&d));
}

TEST(deadline_of_a_replayed_open_counts_from_the_first_sending) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    int64_t sent = fw_now(d.u);
    fw_advance(d.u, 2 * DS_SECOND); /* no answer to the first try */
    CHECK_EQ_UINT(sb_count(d.backend, SB_OPEN), 2);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | open s1"); /* the same nonce */
    sb_ok(d.backend, SB_OPEN, DS_PLACE_NONE);
    CHECK_EQ_INT(desk_session(&d)->deadline_ns, sent + 12 * DS_SECOND);
    CHECK(lock_held(a));
    CHECK(desk_close(&d));
}

TEST(an_open_without_an_answer_starts_over_under_another_id) {
    desk d;
    desk_open_with(&d, &(ds_engine_config){.unavailable_ns = 60 * DS_SECOND}, 5, 3);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    fw_advance(d.u, 9 * DS_SECOND);
    CHECK_CONTAINS(sb_log(d.backend), "open s1 | close s1 | open s2");
    sb_release(d.backend, SB_OPEN);
    fw_advance(d.u, 2 * DS_SECOND);
    CHECK(lock_held(a));
    CHECK(desk_close(&d));
}

TEST(the_error_of_an_old_open_is_still_told) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    a->waiter.params.ttl_ms = 2000;
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    fw_settle(d.u);
    sb_fail(d.backend, SB_OPEN, DS_NOT_EXECUTED, "refused");
    while (sb_count(d.backend, SB_CLOSE) == 0) {
        fw_advance(d.u, DS_MS);
        if (sb_has_pending(d.backend, SB_OPEN)) {
            sb_fail(d.backend, SB_OPEN, DS_NOT_EXECUTED, "refused");
        }
    }
    fw_advance(d.u, 6 * DS_SECOND);
    CHECK_EQ_INT(a->code, DSYNC_UNAVAILABLE);
    CHECK(desk_close(&d));
}

TEST(an_open_that_took_too_long_is_not_believed) {
    desk d;
    desk_open_with(&d, &(ds_engine_config){.unavailable_ns = 60 * DS_SECOND}, 5, 3);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    sb_answer(sb_pending(d.backend, SB_OPEN), 12 * DS_SECOND, &(ds_reply){.outcome = DS_OK}); /* a slow host */
    sb_release(d.backend, SB_OPEN);
    fw_advance(d.u, 11900 * DS_MS);
    CHECK_EQ_TEXT(desk_log(&d), "open s1");
    fw_advance(d.u, 105 * DS_MS);
    CHECK_EQ_TEXT(desk_log(&d), "open s2 | close s1 | enter e1 | A ok");
    CHECK(desk_close(&d));
}

TEST(an_id_that_is_used_up_is_replaced) {
    static const ds_class outcomes[] = {DS_LOST, DS_RESET};
    for (size_t i = 0; i < DS_COUNT(outcomes); i++) {
        desk d;
        desk_open(&d);
        lock *a = lock_new(&d, "A");
        sb_hold(d.backend, SB_OPEN);
        lock_acquire(a);
        fw_settle(d.u);
        sb_release(d.backend, SB_OPEN);
        sb_fail(d.backend, SB_OPEN, outcomes[i], NULL);
        fw_advance(d.u, 20 * DS_MS);
        CHECK_EQ_TEXT(desk_log(&d), "open s1 | open s2 | enter e1 | A ok");
        CHECK_EQ_INT(desk_session(&d)->deadline_ns, sb_last(d.backend, SB_OPEN)->at_ns + 12 * DS_SECOND);
        CHECK(desk_close(&d));
    }
}

TEST(a_refused_open_is_told_at_once) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    lock_acquire_at(b, "p/lock/other");
    fw_settle(d.u);
    sb_refuse(d.backend, SB_OPEN, DSYNC_DENIED, "wrong password");
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | A denied | B denied");
    CHECK_EQ_TEXT(a->message, "wrong password");
    CHECK_EQ_UINT(d.engine->stats.sessions, 0);
    CHECK(desk_close(&d));
}

TEST(a_ttl_too_small_for_the_timeouts_is_a_config_error) {
    desk d;
    desk_open_with(&d, &(ds_engine_config){.unavailable_ns = DS_SECOND, .request_timeout_ms = 3000}, 5, 3);
    lock *a = lock_new(&d, "A");
    lock_acquire(a);
    CHECK_EQ_TEXT(desk_log(&d), "A config");
    CHECK_CONTAINS(a->message, "ttl of 15 s is too small");
    CHECK(desk_close(&d));
}

TEST(the_granted_ttl_counts) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    a->waiter.params.ttl_ms = 1000;
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    fw_settle(d.u);
    sb_answer(sb_pending(d.backend, SB_OPEN), 0, &(ds_reply){.outcome = DS_OK, .ttl_ms = 2000});
    (void)desk_log(&d);
    CHECK_EQ_INT(lock_left(a), 1600 * DS_MS);
    CHECK_EQ_INT(desk_session(&d)->timing.try_ns, 250 * DS_MS);
    CHECK(desk_close(&d));
}

TEST(the_users_timeout_outlives_another_grant) {
    desk d;
    desk_open_with(&d, &(ds_engine_config){.unavailable_ns = DS_SECOND, .request_timeout_ms = 300}, 5, 3);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    CHECK_EQ_INT(sb_pending(d.backend, SB_OPEN)->timeout_ns, 300 * DS_MS);
    sb_answer(sb_pending(d.backend, SB_OPEN), 0, &(ds_reply){.outcome = DS_OK, .ttl_ms = 20000});
    fw_advance(d.u, 7 * DS_SECOND);
    CHECK_EQ_INT(sb_last(d.backend, SB_RENEW)->timeout_ns, 300 * DS_MS);
    CHECK(desk_close(&d));
}

/* ---- renewing ---------------------------------------------------------------------------------------------------- */

TEST(renews_at_a_third_with_jitter) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    int64_t last = sb_last(d.backend, SB_OPEN)->at_ns;
    int64_t shortest = DS_NEVER;
    for (int i = 0; i < 30; i++) {
        size_t before = sb_count(d.backend, SB_RENEW);
        while (sb_count(d.backend, SB_RENEW) == before) {
            fw_advance(d.u, 10 * DS_MS);
        }
        sb_call *renewal = sb_last(d.backend, SB_RENEW);
        int64_t pause = renewal->at_ns - last;
        CHECK(pause >= TTL * 3 / 10 && pause <= TTL / 3);
        CHECK_EQ_INT(renewal->timeout_ns, TTL / 8);
        shortest = pause < shortest ? pause : shortest;
        last = renewal->at_ns;
    }
    CHECK(shortest < TTL / 3 - 100 * DS_MS);
    CHECK(lock_held(a));
    CHECK_EQ_UINT(d.engine->stats.renewals, 30);
    CHECK(desk_close(&d));
}

TEST(one_renewal_serves_many_locks) {
    desk d;
    desk_open(&d);
    for (int i = 0; i < 100; i++) {
        char path[32];
        (void)snprintf(path, sizeof(path), "p/lock/%d", i);
        lock_acquire_at(lock_new(&d, "x"), path);
    }
    fw_advance(d.u, 30 * DS_SECOND);
    CHECK_EQ_UINT(sb_count(d.backend, SB_OPEN), 1);
    CHECK(sb_count(d.backend, SB_RENEW) <= 7);
    CHECK_EQ_UINT(d.engine->stats.held, 100);
    CHECK(desk_close(&d));
}

/* A silent network: tries of ttl/8, at least three of them before the end. */
TEST(silence_makes_suspect_and_then_lost_without_asking) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    int64_t sent = sb_last(d.backend, SB_OPEN)->at_ns;
    fw_advance(d.u, DS_SECOND);
    (void)desk_log(&d);
    sb_hold_all(d.backend);
    fw_advance(d.u, 6499 * DS_MS);
    CHECK_EQ_INT(desk_session(&d)->state, DS_SESSION_LIVE);
    fw_advance(d.u, DS_MS);
    CHECK_EQ_INT(desk_session(&d)->state, DS_SESSION_SUSPECT);
    CHECK_EQ_TEXT(d.notice, "suspect");
    CHECK_EQ_INT(atomic_load(&a->claim.suspect), 1);
    CHECK(lock_held(a)); /* suspect is still held */
    fw_advance(d.u, sent + 12 * DS_SECOND - fw_now(d.u) - 1);
    CHECK(lock_held(a));
    CHECK(sb_count(d.backend, SB_RENEW) >= 3);
    CHECK_EQ_INT(a->ended, 0);
    fw_advance(d.u, 1);
    CHECK(!lock_held(a));
    CHECK_EQ_TEXT(desk_log(&d), "A lost expired | close s1"); /* told before anything is sent */
    CHECK_EQ_INT(a->ended_ns, sent + 12 * DS_SECOND);
    CHECK_EQ_INT(a->reason, DSYNC_REASON_EXPIRED);
    CHECK_EQ_TEXT(d.notice, "session_lost");
    CHECK_CONTAINS(d.notice_message, "not renewed in time: timed out");
    fw_advance(d.u, 100 * DS_SECOND);
    CHECK_EQ_INT(a->ended, 1);
    CHECK_EQ_UINT(d.engine->stats.sessions, 0); /* the server cannot hold it any more */
    CHECK(desk_close(&d));
}

TEST(suspicion_passes_when_renewed_in_time) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_RENEW);
    fw_advance(d.u, 8 * DS_SECOND);
    CHECK_EQ_INT(atomic_load(&a->claim.suspect), 1);
    lock *b = lock_new(&d, "B");
    lock_acquire_at(b, "p/lock/other"); /* a suspect session may still be used */
    fw_settle(d.u);
    CHECK(lock_held(b));
    CHECK_EQ_INT(atomic_load(&b->claim.suspect), 1);
    sb_release(d.backend, SB_RENEW);
    fw_advance(d.u, 2 * DS_SECOND);
    CHECK_EQ_INT(desk_session(&d)->state, DS_SESSION_LIVE);
    CHECK_EQ_INT(atomic_load(&a->claim.suspect), 0);
    CHECK_EQ_TEXT(d.notice, "recovered");
    CHECK_CONTAINS(d.trace, "session s1 live>suspect\nclaim B idle>entering");
    CHECK_CONTAINS(d.trace, "session s1 suspect>live\n");
    fw_advance(d.u, 20 * DS_SECOND);
    CHECK(lock_held(a) && lock_held(b));
    CHECK_EQ_INT(a->ended, 0);
    CHECK(desk_close(&d));
}

TEST(how_renewals_fail) {
    static const struct {
        ds_class outcome;
        const char *message;
        dsync_reason reason; /* 0: goes on trying */
    } rows[] = {
        {DS_NOT_EXECUTED, "refused", DSYNC_NOT_LOST}, {DS_AMBIGUOUS, NULL, DSYNC_NOT_LOST},
        {DS_REFUSED, "denied", DSYNC_NOT_LOST},       {DS_LOST, NULL, DSYNC_REASON_SESSION_LOST},
        {DS_RESET, NULL, DSYNC_REASON_CLUSTER_RESET},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("row %zu", i);
        lock *a = lock_held_new(&d, "A");
        sb_hold(d.backend, SB_RENEW);
        while (!sb_has_pending(d.backend, SB_RENEW)) {
            fw_advance(d.u, 10 * DS_MS);
        }
        sb_fail(d.backend, SB_RENEW, rows[i].outcome, rows[i].message);
        CHECK_EQ_INT(a->ended, rows[i].reason != DSYNC_NOT_LOST);
        CHECK_EQ_INT(a->reason, rows[i].reason);
        CHECK_EQ_INT(lock_held(a), rows[i].reason == DSYNC_NOT_LOST);
        fw_advance(d.u, 20 * DS_MS);
        CHECK_EQ_INT(sb_count(d.backend, SB_RENEW), rows[i].reason == DSYNC_NOT_LOST ? 2 : 1);
        CHECK(desk_close(&d));
    }
}

TEST(a_renewal_that_grants_less_than_it_took) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_RENEW);
    while (!sb_has_pending(d.backend, SB_RENEW)) {
        fw_advance(d.u, 10 * DS_MS);
    }
    sb_answer(sb_pending(d.backend, SB_RENEW), 1500 * DS_MS, &(ds_reply){.outcome = DS_OK, .ttl_ms = 1000});
    fw_advance(d.u, 1500 * DS_MS);
    CHECK_EQ_INT(a->reason, DSYNC_REASON_EXPIRED);
    CHECK_CONTAINS(d.notice_message, "took longer than the ttl");
    CHECK(desk_close(&d));
}

TEST(a_renewal_extends_from_its_own_sending_only) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_RENEW);
    while (!sb_has_pending(d.backend, SB_RENEW)) {
        fw_advance(d.u, 10 * DS_MS);
    }
    int64_t first = sb_pending(d.backend, SB_RENEW)->at_ns;
    fw_advance(d.u, 1900 * DS_MS); /* timed out; the next one is sent */
    sb_call *second = sb_pending(d.backend, SB_RENEW);
    CHECK(second->at_ns > first);
    sb_ok(d.backend, SB_RENEW, DS_PLACE_NONE);
    CHECK_EQ_INT(atomic_load(&a->claim.deadline_ns), second->at_ns + 12 * DS_SECOND);
    CHECK(desk_close(&d));
}

/* On the host itself a new one costs less than keeping one that nobody uses. */
TEST(a_session_that_nobody_uses_ends_at_its_renewal_where_it_is_cheap) {
    static const bool rows[] = {true, false};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        test_case("local %d", rows[i]);
        desk_open(&d);
        d.backend->ops.local = rows[i];
        lock *a = lock_held_new(&d, "A");
        fw_advance(d.u, 8 * DS_SECOND);
        CHECK_EQ_INT(sb_count(d.backend, SB_RENEW), 1);
        lock_release(a, DS_SECOND);
        fw_advance(d.u, 60 * DS_SECOND);
        CHECK_EQ_INT(sb_count(d.backend, SB_RENEW) == 1, rows[i]);
        CHECK_EQ_INT(sb_count(d.backend, SB_CLOSE), rows[i] ? 1 : 0);
        CHECK_EQ_INT(desk_session(&d) == NULL, rows[i]);
        lock_acquire(a);
        fw_settle(d.u);
        CHECK(lock_held(a));
        CHECK(desk_close(&d));
    }
}
