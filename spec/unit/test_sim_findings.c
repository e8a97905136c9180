/* What the simulator has found in the core, one test each. */
#include "test.h"

#include "core_fixture.h"

#include "../../csrc/core/observer.h"

#define ELECTION "p/leader/default/x"

static void ignore_change(ds_observer *observer, ds_change_kind kind, const char *path, const ds_member *member,
                          bool missed) {
    (void)observer;
    (void)kind;
    (void)path;
    (void)member;
    (void)missed;
}

static void ignore_end(ds_observer *observer, dsync_code code, const char *message) {
    (void)observer;
    (void)code;
    (void)message;
}

/* The listing's answer put the timer off to the next refresh, a minute later: until then nobody watched. */
TEST(an_observer_whose_watch_ends_while_it_lists_watches_again_at_once) {
    desk d;
    desk_open(&d);
    ds_observer observer = {.on_change = ignore_change, .on_end = ignore_end};
    sb_hold(d.backend, SB_LIST);
    CHECK(ds_observer_start(d.engine, &observer, ELECTION, false));
    fw_settle(d.u);
    sb_ended(sb_watching(d.backend, ELECTION));
    CHECK(sb_watching(d.backend, ELECTION) == NULL);
    ds_reply nobody = {.outcome = DS_OK};
    sb_answer(sb_pending(d.backend, SB_LIST), 0, &nobody);
    fw_advance(d.u, 2 * DS_SECOND);
    CHECK(sb_watching(d.backend, ELECTION) != NULL);
    sb_release_all(d.backend);
    ds_observer_end(&observer, DSYNC_CLOSED, "");
    CHECK(desk_close(&d));
}

/* Each new session gave it the whole patience again. */
TEST(a_try_ends_in_time_although_its_session_is_lost_again_and_again) {
    desk d;
    desk_open(&d);
    lock *l = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    int64_t begun = fw_now(d.u), patience = d.engine->config.unavailable_ns;
    lock_try(l);
    while (l->settled == 0 && fw_now(d.u) < begun + 4 * patience) {
        fw_advance(d.u, patience / 4);
        if (l->settled == 0) {
            sb_fail(d.backend, SB_ENTER, DS_LOST, "gone");
        }
    }
    CHECK_EQ_UINT(l->settled, 1);
    CHECK_EQ_INT(l->code, DSYNC_UNAVAILABLE);
    CHECK(l->settled_ns <= begun + patience);
    sb_release_all(d.backend);
    CHECK(desk_close(&d));
}

/* Nothing could ever be entered with the epoch we knew, and it was tried for ever. */
TEST(an_epoch_that_has_gone_back_ends_the_session) {
    desk d;
    desk_open(&d);
    lock *l = lock_held_new(&d, "A");
    ds_session *session = desk_session(&d);
    session->lease.epoch = 5;
    lock *other = lock_new(&d, "B");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire_at(other, "p/lock/r");
    fw_settle(d.u);
    ds_reply stale = {.outcome = DS_OK, .place = DS_PLACE_STALE, .epoch = 3};
    sb_answer(sb_pending(d.backend, SB_ENTER), 0, &stale);
    fw_settle(d.u);
    CHECK_EQ_UINT(l->ended, 1);
    CHECK_EQ_INT(l->reason, DSYNC_REASON_CLUSTER_RESET);
    CHECK_EQ_UINT(other->settled, 0);
    sb_release_all(d.backend);
    CHECK(desk_close(&d));
}
