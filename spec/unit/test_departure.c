/* Leaving the server: removal is never given up, and what is uncertain moves the session's epoch. */
#include "test.h"

#include "core_fixture.h"

TEST(a_release_is_repeated_until_confirmed) {
    static const struct {
        const char *name;
        ds_reply last;
        dsync_code code;
    } rows[] = {
        {"removed", {.outcome = DS_OK, .place = DS_PLACE_DONE}, DSYNC_OK},
        {"gone after an unanswered try", {.outcome = DS_OK, .place = DS_PLACE_GONE}, DSYNC_OK},
        {"session lost", {.outcome = DS_LOST}, DSYNC_LOST},
        {"cluster reset", {.outcome = DS_RESET}, DSYNC_LOST},
    };
    static const ds_class failures[] = {DS_AMBIGUOUS, DS_NOT_EXECUTED, DS_REFUSED, DS_AMBIGUOUS};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", rows[i].name);
        lock *a = lock_held_new(&d, "A");
        sb_hold(d.backend, SB_LEAVE);
        lock_release(a, 60 * DS_SECOND);
        for (size_t f = 0; f < DS_COUNT(failures); f++) {
            fw_settle(d.u);
            sb_fail(d.backend, SB_LEAVE, failures[f], "x");
            fw_advance(d.u, 200 * DS_MS);
        }
        CHECK_EQ_UINT(sb_count(d.backend, SB_LEAVE), 5);
        CHECK_EQ_INT(a->released, 0);
        sb_answer(sb_pending(d.backend, SB_LEAVE), 0, &rows[i].last);
        fw_settle(d.u);
        CHECK_EQ_UINT(a->released, 1);
        CHECK_EQ_INT(a->release_code, rows[i].code);
        CHECK_EQ_UINT(d.engine->stats.cleaning, 0);
        CHECK(desk_close(&d));
    }
}

TEST(a_first_answer_gone_means_it_was_taken_away) {
    static const bool resent[] = {false, true};
    for (size_t i = 0; i < DS_COUNT(resent); i++) {
        desk d;
        desk_open(&d);
        lock *a = lock_held_new(&d, "A");
        sb_hold(d.backend, SB_LEAVE);
        lock_release(a, DS_SECOND);
        ds_reply gone = {.outcome = DS_OK, .place = DS_PLACE_GONE, .resent = resent[i]};
        sb_answer(sb_pending(d.backend, SB_LEAVE), 0, &gone);
        fw_settle(d.u);
        CHECK_EQ_INT(a->release_code, resent[i] ? DSYNC_OK : DSYNC_LOST);
        CHECK(desk_close(&d));
    }
}

TEST(a_release_ends_on_time_and_the_cleaning_goes_on) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_LEAVE);
    int64_t begun = fw_now(d.u);
    lock_release(a, 800 * DS_MS);
    fw_advance(d.u, 100 * DS_SECOND);
    CHECK_EQ_INT(a->release_code, DSYNC_UNKNOWN);
    CHECK_EQ_INT(a->released_ns - begun, 800 * DS_MS);
    CHECK_EQ_INT(a->free_by_ms, FW_START_WALL_MS + TTL_MS);
    CHECK(sb_count(d.backend, SB_LEAVE) >= 30); /* ever after */
    CHECK_EQ_UINT(d.engine->stats.cleaning, 1);
    sb_release(d.backend, SB_LEAVE);
    fw_advance(d.u, 5 * DS_SECOND);
    CHECK_EQ_UINT(d.engine->stats.cleaning, 0);
    CHECK_EQ_UINT(a->released, 1);
    CHECK(desk_close(&d));
}

TEST(a_forgotten_release_goes_on) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_LEAVE);
    lock_release(a, DS_SECOND);
    ds_release_forget(&a->release);
    sb_ok(d.backend, SB_LEAVE, DS_PLACE_DONE);
    CHECK_EQ_UINT(a->released, 0);
    CHECK_EQ_UINT(d.engine->stats.cleaning, 0);
    CHECK(desk_close(&d));
}

TEST(a_lock_let_go_is_released_in_the_background) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    lock_free(a);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok | leave e1");
    lock *b = lock_new(&d, "B");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(b);
    fw_settle(d.u);
    lock_free(b);
    CHECK_EQ_TEXT(desk_log(&d), "enter e2 | withdraw s1 e2 ->2 | B cancelled");
    CHECK(desk_close(&d));
}

/* ---- withdrawals ------------------------------------------------------------------------------------------------- */

/* Cancels `count` locks whose requests are under way. */
static void cancel_many(desk *d, size_t count) {
    lock *all[200];
    sb_hold(d->backend, SB_ENTER);
    for (size_t i = 0; i < count; i++) {
        char path[32];
        (void)snprintf(path, sizeof(path), "p/lock/%zu", i);
        all[i] = lock_new(d, "x");
        lock_acquire_at(all[i], path);
    }
    fw_settle(d->u);
    for (size_t i = 0; i < count; i++) {
        lock_cancel(all[i]);
    }
    (void)desk_log(d);
}

TEST(withdrawals_go_in_batches) {
    desk d;
    desk_open(&d);
    sb_hold(d.backend, SB_WITHDRAW);
    cancel_many(&d, 150);
    CHECK_EQ_UINT(sb_count(d.backend, SB_WITHDRAW), 1);
    CHECK_EQ_UINT(sb_last(d.backend, SB_WITHDRAW)->count, 1); /* the first went alone */
    static const size_t counts[] = {64, 64, 21};
    for (size_t i = 0; i < DS_COUNT(counts); i++) {
        sb_ok(d.backend, SB_WITHDRAW, DS_PLACE_DONE);
        CHECK_EQ_UINT(sb_last(d.backend, SB_WITHDRAW)->count, counts[i]);
        CHECK_EQ_UINT(sb_last(d.backend, SB_WITHDRAW)->epoch, i + 2);
        CHECK_EQ_UINT(sb_last(d.backend, SB_WITHDRAW)->next_epoch, i + 3);
        CHECK(sb_last(d.backend, SB_WITHDRAW)->urgent);
    }
    sb_ok(d.backend, SB_WITHDRAW, DS_PLACE_DONE);
    CHECK_EQ_UINT(sb_count(d.backend, SB_WITHDRAW), 4);
    CHECK_EQ_UINT(d.engine->stats.cleaning, 0);
    CHECK_EQ_UINT(desk_session(&d)->lease.epoch, 5);
    CHECK(desk_close(&d));
}

TEST(the_same_batch_is_sent_until_confirmed) {
    desk d;
    desk_open(&d);
    sb_hold(d.backend, SB_WITHDRAW);
    cancel_many(&d, 1);
    sb_fail(d.backend, SB_WITHDRAW, DS_AMBIGUOUS, "reset");
    lock *late = lock_new(&d, "L");
    lock_acquire(late);
    fw_settle(d.u);
    lock_cancel(late); /* has to wait for the next batch */
    fw_advance(d.u, 20 * DS_MS);
    sb_fail(d.backend, SB_WITHDRAW, DS_NOT_EXECUTED, "refused");
    fw_advance(d.u, 40 * DS_MS);
    sb_ok(d.backend, SB_WITHDRAW, DS_PLACE_DONE);
    CHECK_EQ_TEXT(desk_log(&d),
                  "enter e2 | L cancelled | withdraw s1 e1 ->2 | withdraw s1 e1 ->2 | withdraw s1 e2 ->3");
    sb_ok(d.backend, SB_WITHDRAW, DS_PLACE_DONE);
    CHECK_EQ_UINT(desk_session(&d)->lease.epoch, 3);
    CHECK(desk_close(&d));
}

TEST(how_a_withdrawal_ends_a_session) {
    static const struct {
        const char *name;
        ds_reply reply;
        dsync_reason reason;
        const char *why;
    } rows[] = {
        {"stale", {.outcome = DS_OK, .place = DS_PLACE_STALE}, DSYNC_REASON_SESSION_LOST, "changed by somebody else"},
        {"refused", {.outcome = DS_REFUSED, .code = DSYNC_DENIED, .message = "no"}, DSYNC_REASON_SESSION_LOST, ": no"},
        {"lost", {.outcome = DS_LOST}, DSYNC_REASON_SESSION_LOST, "the server ended it"},
        {"reset", {.outcome = DS_RESET}, DSYNC_REASON_CLUSTER_RESET, "cluster reset"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", rows[i].name);
        lock *a = lock_held_new(&d, "A");
        sb_hold(d.backend, SB_WITHDRAW);
        cancel_many(&d, 3);
        sb_answer(sb_pending(d.backend, SB_WITHDRAW), 0, &rows[i].reply);
        fw_settle(d.u);
        CHECK_EQ_INT(a->reason, rows[i].reason);
        CHECK_CONTAINS(d.notice_message, rows[i].why);
        CHECK_EQ_UINT(d.engine->stats.cleaning, 0);
        CHECK(desk_close(&d));
    }
}

TEST(an_own_session_stays_until_all_is_withdrawn) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    a->waiter.params.owner = 3;
    sb_hold(d.backend, SB_ENTER);
    sb_hold(d.backend, SB_WITHDRAW);
    lock_acquire(a);
    fw_settle(d.u);
    lock_cancel(a);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | withdraw s1 e1 ->2 | A cancelled");
    sb_ok(d.backend, SB_WITHDRAW, DS_PLACE_DONE);
    CHECK_EQ_TEXT(desk_log(&d), "close s1");
    CHECK(desk_close(&d));
}

/* ---- what a callback may do -------------------------------------------------------------------------------------- */

static void acquire_again(lock *l) {
    lock_acquire(l);
}

TEST(a_release_may_be_followed_by_an_acquire_at_once) {
    for (int own = 0; own < 2; own++) {
        desk d;
        desk_open(&d);
        lock *a = lock_new(&d, "A");
        a->waiter.params.owner = own ? 4 : 0;
        a->on_released = acquire_again;
        lock_acquire(a);
        fw_settle(d.u);
        lock_release(a, DS_SECOND);
        CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok | leave e1 | A released ok | enter e2 | A ok");
        CHECK(desk_close(&d));
    }
}
