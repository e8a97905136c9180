/* What follows when a session is lost: everybody is told once, waiters begin anew, and the server is cleaned up. */
#include "test.h"

#include "core_fixture.h"

static desk *seen_desk;
static lock *seen[3];
static unsigned believers;

/* No call may leave while somebody still believes in a session that is known to be lost. */
static void count_believers(sb *backend, const sb_call *call) {
    (void)backend;
    if (call->op == SB_OPEN || call->op == SB_CLOSE) {
        for (size_t i = 0; i < DS_COUNT(seen); i++) {
            believers += lock_held(seen[i]);
        }
    }
}

static void count_at_end(lock *l) {
    (void)l;
    for (size_t i = 0; i < DS_COUNT(seen); i++) {
        believers += lock_held(seen[i]);
    }
}

static void lose(desk *d, ds_class outcome, const char *message) {
    sb_hold(d->backend, SB_RENEW);
    while (!sb_has_pending(d->backend, SB_RENEW)) {
        fw_advance(d->u, 10 * DS_MS);
    }
    (void)sb_log(d->backend);
    sb_release(d->backend, SB_RENEW);
    sb_fail(d->backend, SB_RENEW, outcome, message);
}

TEST(all_are_lost_before_anything_is_told_or_sent) {
    desk d;
    desk_open(&d);
    seen_desk = &d;
    believers = 0;
    for (size_t i = 0; i < DS_COUNT(seen); i++) {
        char path[16];
        (void)snprintf(path, sizeof(path), "p/lock/%zu", i);
        seen[i] = lock_new(&d, i == 0 ? "A" : i == 1 ? "B" : "C");
        seen[i]->on_ended = count_at_end;
        lock_acquire_at(seen[i], path);
    }
    lock *w = lock_new(&d, "W");
    lock_acquire_at(w, "p/lock/0"); /* begins anew as soon as A has lost */
    fw_settle(d.u);
    d.backend->on_call = count_believers;
    lose(&d, DS_LOST, "requested lease not found");
    CHECK_EQ_UINT(believers, 0);
    CHECK_EQ_TEXT(sb_log(d.backend), "open s2 | A lost session_lost | B lost session_lost | C lost session_lost | "
                                     "close s1 | enter e4 | W ok");
    CHECK_EQ_UINT(d.engine->stats.losses, 3);
    CHECK(desk_close(&d));
}

TEST(waiters_begin_anew_in_their_order) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B"), *c = lock_new(&d, "C");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    lock_acquire(b);
    lock_acquire(c);
    fw_settle(d.u);
    sb_ok_behind(d.backend, SB_ENTER, "p/lock/q/x");
    sb_release(d.backend, SB_ENTER);
    sb_hold(d.backend, SB_CHECK);
    lose(&d, DS_LOST, NULL);
    CHECK_EQ_TEXT(sb_log(d.backend), "open s2 | close s1 | enter e2 | A ok");
    lock_release(a, DS_SECOND);
    fw_settle(d.u);
    lock_release(b, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "swap e2>e3 | B ok | A released ok | swap e3>e4 | C ok | B released ok");
    CHECK(desk_close(&d));
}

TEST(a_lost_lock_can_be_taken_again) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    int64_t token = atomic_load(&a->claim.token);
    lose(&d, DS_RESET, "another cluster");
    CHECK_EQ_INT(a->reason, DSYNC_REASON_CLUSTER_RESET);
    CHECK_CONTAINS(d.notice_message, "another cluster");
    lock_acquire(a);
    CHECK_EQ_TEXT(desk_log(&d), "A lost cluster_reset | close s1 | open s2 | enter e2 | A ok");
    CHECK_EQ_INT(atomic_load(&a->claim.reason), DSYNC_NOT_LOST);
    CHECK(atomic_load(&a->claim.token) > token);
    CHECK(desk_close(&d));
}

TEST(a_loss_ends_what_was_leaving) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_LEAVE);
    lock_release(a, 60 * DS_SECOND);
    lose(&d, DS_LOST, NULL);
    CHECK_EQ_TEXT(sb_log(d.backend), "A released lost | close s1");
    CHECK_EQ_UINT(d.engine->stats.cleaning, 0);
    CHECK(desk_close(&d));
}

/* ---- the session key --------------------------------------------------------------------------------------------- */

TEST(watches_its_key_after_a_moment) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    CHECK_NULL(sb_watching(d.backend, "s1"));
    fw_advance(d.u, 10 * DS_MS);
    sb_watch *w = sb_watching(d.backend, "s1");
    REQUIRE(w != NULL);
    CHECK(w->deletes_only && !w->subtree);
    CHECK_EQ_INT(w->since, 0); /* in the present, which is instant on every server */
    (void)desk_log(&d);
    sb_deleted(w, NULL);
    CHECK_EQ_TEXT(desk_log(&d), "A lost session_lost | close s1"); /* entries and lease may still be there */
    CHECK_EQ_INT(a->ended, 1);
    CHECK(desk_close(&d));
}

TEST(doubt_makes_it_suspect_and_is_cleared_by_a_renewal_at_once) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_advance(d.u, 20 * DS_MS);
    sb_watch *w = sb_watching(d.backend, "s1");
    REQUIRE(w != NULL);
    int64_t left = lock_left(a);
    (void)desk_log(&d);
    sb_hold(d.backend, SB_RENEW);
    sb_event(w, &(ds_watch_event){.kind = DS_WATCH_DOUBT, .message = "cut off"});
    CHECK_EQ_INT(desk_session(&d)->state, DS_SESSION_SUSPECT);
    CHECK(lock_held(a));
    CHECK(atomic_load(&a->claim.suspect));
    CHECK_EQ_INT(lock_left(a), left); /* no deadline moves */
    CHECK_CONTAINS(d.notice_message, "cut off");
    fw_settle(d.u);
    CHECK(sb_has_pending(d.backend, SB_RENEW));
    sb_event(w, &(ds_watch_event){.kind = DS_WATCH_DOUBT}); /* while it is under way: nothing new */
    sb_release(d.backend, SB_RENEW);
    sb_ok(d.backend, SB_RENEW, DS_PLACE_DONE);
    fw_settle(d.u);
    CHECK_EQ_INT(desk_session(&d)->state, DS_SESSION_LIVE);
    CHECK(!atomic_load(&a->claim.suspect));
    CHECK(desk_close(&d));
}

TEST(doubt_that_nothing_clears_ends_at_the_deadline) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_advance(d.u, 20 * DS_MS);
    sb_hold(d.backend, SB_RENEW);
    sb_event(sb_watching(d.backend, "s1"), &(ds_watch_event){.kind = DS_WATCH_DOUBT});
    int64_t left = lock_left(a);
    fw_advance(d.u, left - DS_MS);
    CHECK(lock_held(a));
    fw_advance(d.u, 2 * DS_MS);
    CHECK(!lock_held(a));
    CHECK_EQ_INT(a->reason, DSYNC_REASON_EXPIRED);
    CHECK(desk_close(&d));
}

TEST(a_watch_that_ended_comes_back_and_begins_now) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_advance(d.u, 20 * DS_MS);
    d.backend->watch_fails = true;
    sb_ended(sb_watching(d.backend, "s1"));
    fw_advance(d.u, 600 * DS_MS);
    CHECK_NULL(sb_watching(d.backend, "s1"));
    d.backend->watch_fails = false;
    fw_advance(d.u, 6 * DS_SECOND); /* with the next renewal at the latest */
    sb_watch *w = sb_watching(d.backend, "s1");
    REQUIRE(w != NULL);
    CHECK_EQ_INT(w->since, 0); /* the past may have been compacted */
    CHECK(lock_held(a));
    CHECK(desk_close(&d));
}

TEST(without_memory_for_the_key_it_goes_on_unwatched) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    d.backend->key_fails = true;
    fw_advance(d.u, DS_SECOND);
    CHECK_EQ_UINT(sb_watches_on(d.backend), 0);
    CHECK(lock_held(a));
    d.backend->key_fails = false;
    fw_advance(d.u, 6 * DS_SECOND);
    CHECK(sb_watching(d.backend, "s1") != NULL);
    CHECK(sb_watching(d.backend, "e1") != NULL);
    CHECK(desk_close(&d));
}

TEST(a_hint_is_not_late_because_a_watch_waits) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_advance(d.u, 20 * DS_MS);
    sb_ended(sb_watching(d.backend, "s1")); /* to come back half a second from now */
    lock *b = lock_new(&d, "B");
    lock_acquire_at(b, "p/lock/other");
    fw_advance(d.u, 10 * DS_MS);
    CHECK(sb_watching(d.backend, "e2") != NULL);
    CHECK(lock_held(a));
    CHECK(desk_close(&d));
}

/* ---- leaving the server ------------------------------------------------------------------------------------------ */

TEST(a_close_is_repeated_until_confirmed) {
    static const ds_class confirmed[] = {DS_OK, DS_LOST, DS_RESET};
    for (size_t i = 0; i < DS_COUNT(confirmed); i++) {
        desk d;
        desk_open(&d);
        (void)lock_held_new(&d, "A");
        sb_hold(d.backend, SB_CLOSE);
        lose(&d, DS_LOST, NULL);
        sb_fail(d.backend, SB_CLOSE, DS_NOT_EXECUTED, "refused");
        fw_advance(d.u, 5 * DS_SECOND);
        CHECK(sb_count(d.backend, SB_CLOSE) >= 3);
        CHECK_EQ_UINT(d.engine->stats.sessions, 1);
        sb_fail(d.backend, SB_CLOSE, confirmed[i], NULL);
        CHECK_EQ_UINT(d.engine->stats.sessions, 0);
        CHECK(desk_close(&d));
    }
}

TEST(a_close_that_is_refused_is_left_to_expire) {
    desk d;
    desk_open(&d);
    (void)lock_held_new(&d, "A");
    sb_hold(d.backend, SB_CLOSE);
    lose(&d, DS_LOST, NULL);
    sb_refuse(d.backend, SB_CLOSE, DSYNC_DENIED, "no");
    CHECK_EQ_UINT(d.engine->stats.sessions, 0);
    CHECK(desk_close(&d));
}

TEST(an_own_session_is_nobody_elses) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    lock *b = lock_new(&d, "B");
    lock *c = lock_new(&d, "C");
    b->waiter.params.owner = 9;
    c->waiter.params.owner = 10;
    lock_acquire_at(a, "p/lock/a");
    lock_acquire_at(b, "p/lock/b");
    lock_acquire_at(c, "p/lock/c");
    CHECK_CONTAINS(desk_log(&d), "open s1 | open s2 | open s3");
    CHECK_EQ_UINT(d.engine->stats.sessions, 3);
    fw_advance(d.u, DS_SECOND); /* the session keys are watched now */
    sb_deleted(sb_watching(d.backend, "s2"), NULL);
    CHECK_EQ_INT(b->reason, DSYNC_REASON_SESSION_LOST);
    CHECK(lock_held(a) && !lock_held(b) && lock_held(c));
    CHECK(desk_close(&d));
}

TEST(an_own_session_nobody_wants_any_more_is_ended) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    a->waiter.params.owner = 9;
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    lock_cancel(a);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | close s1 | A cancelled");
    CHECK(desk_close(&d));
}

TEST(a_session_that_was_never_sent_needs_no_close) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    a->waiter.params.owner = 9;
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    fw_settle(d.u);
    sb_fail(d.backend, SB_OPEN, DS_LOST, NULL);
    lock_cancel(a);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | A cancelled");
    CHECK_EQ_UINT(d.engine->stats.sessions, 0);
    CHECK(desk_close(&d));
}

/* ---- what a callback may do -------------------------------------------------------------------------------------- */

static lock *other;

static void drop_other(lock *l) {
    (void)l;
    lock_free(other);
}

static void acquire_again(lock *l) {
    lock_acquire(l);
}

TEST(one_loss_may_let_go_of_another_lock) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    other = lock_new(&d, "B");
    lock_acquire_at(a, "p/lock/a");
    lock_acquire_at(other, "p/lock/b");
    a->on_ended = drop_other;
    fw_settle(d.u);
    lose(&d, DS_LOST, NULL);
    CHECK_EQ_TEXT(sb_log(d.backend), "A lost session_lost | B lost session_lost | close s1");
    CHECK_EQ_UINT(d.engine->stats.held, 0);
    CHECK(desk_close(&d));
}

TEST(one_who_lost_may_ask_again_at_once) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    a->on_ended = acquire_again;
    lose(&d, DS_LOST, NULL);
    CHECK_EQ_TEXT(sb_log(d.backend), "A lost session_lost | open s2 | close s1 | enter e2 | A ok");
    CHECK(desk_close(&d));
}

/* ---- states ------------------------------------------------------------------------------------------------------ */

TEST(only_these_moves_are_legal) {
    static const char *const legal[] = {"opening>live",   "opening>closing", "opening>closed", "live>suspect",
                                        "live>closing",   "live>closed",     "suspect>live",   "suspect>closing",
                                        "suspect>closed", "closing>closed"};
    for (int from = 0; from < DS_SESSION_STATES; from++) {
        for (int to = 0; to < DS_SESSION_STATES; to++) {
            char move[40];
            bool expected = false;
            (void)snprintf(move, sizeof(move), "%s>%s", ds_session_state_name((ds_session_state)from),
                           ds_session_state_name((ds_session_state)to));
            for (size_t i = 0; i < DS_COUNT(legal); i++) {
                expected = expected || strcmp(move, legal[i]) == 0;
            }
            test_case("%s", move);
            CHECK_EQ_INT(ds_session_may_move((ds_session_state)from, (ds_session_state)to), expected);
        }
    }
}
