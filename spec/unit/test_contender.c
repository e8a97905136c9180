/* The local queue: who in this client gets the entry, in which order, and what each is told. */
#include "test.h"

#include "core_fixture.h"

TEST(takes_a_free_lock) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    lock_acquire(a);
    CHECK_EQ_INT(ds_claim_get(&a->claim), DS_CLAIM_ENTERING);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok");
    CHECK(lock_held(a));
    CHECK_EQ_INT(lock_left(a), 12 * DS_SECOND);
    CHECK_EQ_INT(atomic_load(&a->claim.token), sb_last(d.backend, SB_ENTER)->over ? d.backend->revision : 0);
    CHECK_EQ_INT(atomic_load(&a->claim.acquisition), 1);
    CHECK_EQ_UINT(d.engine->stats.held, 1);
    CHECK_EQ_TEXT(sb_last(d.backend, SB_ENTER)->path, QUEUE);
    CHECK_CONTAINS(sb_last(d.backend, SB_ENTER)->value, "\"id\":\"node\"");
    CHECK_LACKS(sb_last(d.backend, SB_ENTER)->value, "acquired_at");
    lock_release(a, DS_SECOND);
    CHECK(!lock_held(a));
    CHECK_EQ_INT(a->released, 0);
    CHECK_EQ_TEXT(desk_log(&d), "leave e1 | A released ok");
    CHECK_EQ_INT(a->release_code, DSYNC_OK);
    lock_acquire(a);
    CHECK_EQ_TEXT(desk_log(&d), "enter e2 | A ok"); /* the session is still there, the nonce is new */
    CHECK_EQ_INT(atomic_load(&a->claim.acquisition), 2);
    CHECK(desk_close(&d));
}

TEST(serves_its_own_waiters_in_their_order) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B"), *c = lock_new(&d, "C");
    lock_acquire(a);
    lock_acquire(b);
    lock_acquire(c);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok");
    CHECK_EQ_INT(ds_claim_get(&b->claim), DS_CLAIM_ENTERING);
    CHECK_EQ_UINT(d.engine->stats.entries, 1);
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "swap e1>e2 | B ok | A released ok");
    CHECK(atomic_load(&b->claim.token) > atomic_load(&a->claim.token));
    lock_release(b, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "swap e2>e3 | C ok | B released ok");
    lock_release(c, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "leave e3 | C released ok");
    CHECK(desk_close(&d));
}

TEST(waiters_with_another_ttl_get_another_session) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    lock *b = lock_new(&d, "B"), *c = lock_new(&d, "C");
    b->waiter.params.ttl_ms = 30000;
    lock_acquire(b);
    lock_acquire(c);
    (void)desk_log(&d);
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "leave e1 | open s2 | A released ok | enter e2 | B ok");
    CHECK_EQ_INT(lock_left(b), 24 * DS_SECOND);
    lock_release(b, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "leave e2 | enter e3 | B released ok | C ok");
    CHECK(sb_last(d.backend, SB_ENTER)->lease == d.backend->sessions[0]);
    CHECK(desk_close(&d));
}

TEST(a_session_of_its_own_ends_with_its_lock) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    a->waiter.params.owner = 5;
    lock_acquire(a);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok");
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "leave e1 | A released ok | close s1");
    CHECK_EQ_UINT(d.engine->stats.sessions, 0);
    lock_acquire(a);
    CHECK_EQ_TEXT(desk_log(&d), "open s2 | enter e2 | A ok");
    CHECK(desk_close(&d));
}

TEST(candidates_share_nothing) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
    a->waiter.shared = b->waiter.shared = false;
    lock_acquire(a);
    fw_settle(d.u);
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(b);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok | enter e2");
    sb_ok_behind(d.backend, SB_ENTER, "p/lock/q/x");
    CHECK_EQ_INT(ds_claim_get(&b->claim), DS_CLAIM_WAITING);
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "leave e1 | A released ok");
    CHECK(desk_close(&d));
}

/* ---- tries ------------------------------------------------------------------------------------------------------- */

TEST(a_try_does_not_wait_for_a_neighbour) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A"), *b = lock_new(&d, "B");
    (void)desk_log(&d);
    lock_try(b);
    CHECK_EQ_INT(b->code, DSYNC_CONTENDED);
    CHECK_CONTAINS(b->message, "held by node, in this client (token ");
    CHECK_EQ_TEXT(desk_log(&d), "B contended");
    CHECK(lock_held(a));
    CHECK(desk_close(&d));
}

TEST(a_try_behind_a_waiting_neighbour_says_so) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
    lock_acquire(a);
    lock_try(b);
    CHECK_EQ_INT(b->code, DSYNC_CONTENDED);
    CHECK_CONTAINS(b->message, "asked for by node");
    CHECK(desk_close(&d));
}

TEST(a_try_that_finds_somebody_leaves_nothing) {
    static const struct {
        const char *stored, *said;
    } rows[] = {
        {"{\"id\":\"web-1\",\"value\":\"x\"}", "held by web-1 (token 77)"},
        {"plain", "held by p/lock/q/k (token 77)"},
        {NULL, "held by somebody else"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", rows[i].said);
        lock *b = lock_new(&d, "B");
        sb_hold(d.backend, SB_ENTER);
        lock_try(b);
        fw_settle(d.u);
        CHECK(sb_last(d.backend, SB_ENTER)->only_try);
        CHECK_CONTAINS(sb_last(d.backend, SB_ENTER)->value, "acquired_at"); /* if it gets in at all, it holds */
        ds_peer holder = {.path = QUEUE, .key = "p/lock/q/k", .value = rows[i].stored, .token = 77, .holds = true};
        holder.value_size = rows[i].stored != NULL ? strlen(rows[i].stored) : 0;
        ds_reply busy = {.outcome = DS_OK, .place = DS_PLACE_BUSY, .holder = rows[i].stored != NULL ? &holder : NULL};
        sb_answer(sb_pending(d.backend, SB_ENTER), 0, &busy);
        CHECK_EQ_TEXT(desk_log(&d), "open s1 | try e1 | B contended");
        CHECK_EQ_TEXT(b->message, rows[i].said);
        CHECK(desk_close(&d));
    }
}

TEST(a_try_asked_twice_is_withdrawn) {
    desk d;
    desk_open(&d);
    lock *b = lock_new(&d, "B");
    sb_hold(d.backend, SB_ENTER);
    lock_try(b);
    fw_settle(d.u);
    sb_fail(d.backend, SB_ENTER, DS_AMBIGUOUS, "reset");
    fw_advance(d.u, 20 * DS_MS);
    sb_ok(d.backend, SB_ENTER, DS_PLACE_BUSY);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | try e1 | try e1 | withdraw s1 e1 ->2 | B contended");
    CHECK(desk_close(&d));
}

TEST(those_behind_a_try_go_on) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
    sb_hold(d.backend, SB_ENTER);
    lock_try(a);
    lock_acquire(b);
    fw_settle(d.u);
    sb_release(d.backend, SB_ENTER);
    sb_ok(d.backend, SB_ENTER, DS_PLACE_BUSY);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | try e1 | enter e2 | A contended | B ok");
    CHECK(desk_close(&d));
}

TEST(a_cancelled_try_leaves_its_place_to_one_that_waits) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
    sb_hold(d.backend, SB_ENTER);
    lock_try(a);
    lock_acquire(b);
    fw_settle(d.u);
    lock_cancel(a);
    sb_release(d.backend, SB_ENTER);
    sb_ok(d.backend, SB_ENTER, DS_PLACE_BUSY); /* it asked as a try, but B waits */
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | try e1 | A cancelled | enter e2 | B ok");
    CHECK(desk_close(&d));
}

/* ---- cancelling -------------------------------------------------------------------------------------------------- */

TEST(cancelling_the_only_waiter_withdraws_its_entry) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    fw_settle(d.u);
    lock_cancel(a); /* the request is under way: it may still arrive */
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | withdraw s1 e1 ->2 | A cancelled");
    CHECK_EQ_UINT(desk_session(&d)->lease.epoch, 2);
    lock_cancel(a); /* harmless */
    CHECK(desk_close(&d));
}

TEST(cancelling_one_in_the_queue_leaves_it) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    fw_settle(d.u);
    sb_ok_behind(d.backend, SB_ENTER, "p/lock/q/x");
    CHECK_EQ_INT(ds_claim_get(&a->claim), DS_CLAIM_WAITING);
    CHECK(sb_watching(d.backend, "p/lock/q/x") != NULL);
    lock_cancel(a);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | leave e1 | A cancelled"); /* its outcome was certain */
    CHECK_NULL(sb_watching(d.backend, "p/lock/q/x"));
    CHECK(desk_close(&d));
}

TEST(cancelling_before_the_session_is_there_sends_nothing) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    lock_cancel(a);
    sb_ok(d.backend, SB_OPEN, DS_PLACE_NONE);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | A cancelled");
    CHECK(desk_close(&d));
}

TEST(the_next_one_takes_over_the_entry) {
    static const bool raw[] = {false, true};
    for (size_t i = 0; i < DS_COUNT(raw); i++) {
        desk d;
        desk_open(&d);
        test_case("raw %d", raw[i]);
        lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
        b->waiter.value = "bee";
        b->waiter.value_size = 3;
        b->waiter.raw = raw[i];
        sb_hold(d.backend, SB_ENTER);
        lock_acquire(a);
        lock_acquire(b);
        fw_settle(d.u);
        sb_ok_behind(d.backend, SB_ENTER, "p/lock/q/x");
        lock_cancel(a);
        CHECK_EQ_INT(ds_claim_get(&b->claim), DS_CLAIM_WAITING);
        sb_deleted(sb_watching(d.backend, "p/lock/q/x"), NULL);
        CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A cancelled | check e1 | B ok");
        fw_advance(d.u, 20 * DS_MS); /* and shows its own value, not the other's */
        CHECK_EQ_TEXT(desk_log(&d), "write e1");
        CHECK_CONTAINS(sb_last(d.backend, SB_WRITE)->value, "bee");
        CHECK(desk_close(&d));
    }
}

TEST(the_next_one_with_another_ttl_begins_anew) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
    b->waiter.params.ttl_ms = 30000;
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    lock_acquire(b);
    fw_settle(d.u);
    sb_release(d.backend, SB_ENTER);
    lock_cancel(a);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | withdraw s1 e1 ->2 | open s2 | A cancelled | enter e2 | B ok");
    CHECK(desk_close(&d));
}

TEST(cancelling_one_further_back_disturbs_nobody) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    lock *b = lock_new(&d, "B"), *c = lock_new(&d, "C");
    lock_acquire(b);
    lock_acquire(c);
    lock_cancel(b);
    (void)desk_log(&d);
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "swap e1>e2 | C ok | A released ok");
    CHECK(desk_close(&d));
}

/* ---- waiting no longer than asked -------------------------------------------------------------------------------- */

TEST(a_wait_ends_on_time) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A"), *b = lock_new(&d, "B");
    b->waiter.wait_ns = 3 * DS_SECOND;
    lock_acquire(b);
    (void)desk_log(&d);
    int64_t begun = fw_now(d.u);
    fw_advance(d.u, 10 * DS_SECOND);
    CHECK_EQ_INT(b->code, DSYNC_TIMEOUT);
    CHECK_EQ_INT(b->settled_ns - begun, 3 * DS_SECOND);
    CHECK_EQ_TEXT(b->message, "\"B\" was not free in time");
    CHECK(lock_held(a));
    CHECK(desk_close(&d));
}

TEST(a_wait_that_no_server_answered_says_why) {
    static const struct {
        sb_op silent;
        const char *log;
    } rows[] = {{SB_OPEN, "open s1 | open s1"}, {SB_ENTER, "open s1 | enter e1 | enter e2"}};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("row %zu", i);
        lock *a = lock_new(&d, "A");
        a->waiter.wait_ns = 30 * DS_MS;
        sb_hold(d.backend, rows[i].silent);
        lock_acquire(a);
        fw_settle(d.u);
        sb_fail(d.backend, rows[i].silent, DS_NOT_EXECUTED, "http://x:1: refused");
        fw_advance(d.u, 29 * DS_MS);
        CHECK_EQ_INT(a->settled, 0);
        CHECK_EQ_TEXT(desk_log(&d), rows[i].log);
        fw_advance(d.u, DS_MS);
        CHECK_EQ_INT(a->code, DSYNC_UNAVAILABLE);
        CHECK_EQ_TEXT(a->message, "no server answers (scripted://): http://x:1: refused");
        CHECK(desk_close(&d));
    }
}

TEST(a_wait_that_was_too_short_for_an_answer_says_so) {
    static const sb_op silent[] = {SB_OPEN, SB_ENTER};
    for (size_t i = 0; i < DS_COUNT(silent); i++) {
        desk d;
        desk_open(&d);
        test_case("row %zu", i);
        lock *a = lock_new(&d, "A");
        a->waiter.wait_ns = 30 * DS_MS;
        sb_hold(d.backend, silent[i]);
        lock_acquire(a);
        fw_advance(d.u, 30 * DS_MS);
        CHECK_EQ_INT(a->code, DSYNC_TIMEOUT);
        CHECK_EQ_TEXT(a->message, "\"A\": no server has answered in time");
        CHECK(desk_close(&d));
    }
}

TEST(patience_is_bounded_when_nobody_answers) {
    static const sb_op silent[] = {SB_OPEN, SB_ENTER};
    for (size_t i = 0; i < DS_COUNT(silent); i++) {
        desk d;
        desk_open(&d);
        test_case("row %zu", i);
        lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
        sb_hold(d.backend, silent[i]);
        lock_acquire(a);
        lock_acquire(b);
        int64_t begun = fw_now(d.u);
        fw_advance(d.u, 20 * DS_SECOND);
        CHECK_EQ_INT(a->code, DSYNC_UNAVAILABLE);
        CHECK_EQ_INT(b->code, DSYNC_UNAVAILABLE);
        CHECK_EQ_INT(a->settled_ns - begun, 5 * DS_SECOND);
        CHECK_EQ_TEXT(a->message, "no server answers (scripted://): timed out");
        CHECK(desk_close(&d));
    }
}

TEST(patience_without_a_single_reply) {
    desk d;
    desk_open_with(&d, &(ds_engine_config){.unavailable_ns = 100 * DS_MS}, 5, 3);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    fw_advance(d.u, DS_SECOND);
    CHECK_EQ_TEXT(a->message, "no server answers (scripted://): no reply in time");
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | withdraw s1 e1 ->2 | A unavailable");
    CHECK(desk_close(&d));
}

TEST(one_who_is_in_the_queue_waits_through_an_outage) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    fw_settle(d.u);
    sb_ok_behind(d.backend, SB_ENTER, "p/lock/q/x");
    sb_hold(d.backend, SB_CHECK);
    fw_advance(d.u, 60 * DS_SECOND);
    CHECK_EQ_INT(a->settled, 0);
    sb_release(d.backend, SB_CHECK);
    fw_advance(d.u, 3 * DS_SECOND);
    CHECK(lock_held(a));
    CHECK(desk_close(&d));
}

TEST(idle_contenders_are_kept_but_not_for_ever) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    for (int i = 0; i < 200; i++) {
        char path[32];
        (void)snprintf(path, sizeof(path), "p/lock/%d", i % 150);
        lock_acquire_at(a, path);
        fw_settle(d.u);
        REQUIRE(lock_held(a));
        lock_release(a, DS_SECOND);
        fw_settle(d.u);
        (void)desk_log(&d);
    }
    CHECK(d.engine->idle_count <= 65);
    CHECK_EQ_UINT(d.engine->locks.count, d.engine->idle_count);
    CHECK(desk_close(&d));
}
