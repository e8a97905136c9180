/* One client as a whole: closing it, what it says of itself, and what callbacks may do to it. */
#include "test.h"

#include "core_fixture.h"

TEST(closing_tells_everybody_before_anything_is_sent) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    lock *b = lock_new(&d, "B"), *c = lock_new(&d, "C");
    lock_acquire(b);
    sb_hold(d.backend, SB_ENTER);
    lock_acquire_at(c, "p/lock/other");
    fw_settle(d.u);
    (void)desk_log(&d);
    desk_shut(&d, 2 * DS_SECOND);
    CHECK_EQ_INT(a->reason, DSYNC_REASON_CLOSED);
    CHECK_EQ_INT(b->code, DSYNC_CLOSED);
    CHECK_EQ_INT(c->code, DSYNC_CLOSED);
    CHECK(!lock_held(a));
    CHECK_EQ_TEXT(desk_log(&d), "A lost closed | B closed | withdraw s1 e2 ->2 | C closed | close s1 | closed");
    CHECK(d.confirmed);
    CHECK_EQ_UINT(d.engine->stats.sessions + d.engine->stats.held + d.engine->stats.cleaning, 0);
    CHECK(desk_close(&d));
}

TEST(closing_an_unused_client) {
    desk d;
    desk_open(&d);
    desk_shut(&d, DS_SECOND);
    CHECK(!d.closed); /* never from inside */
    CHECK_EQ_TEXT(desk_log(&d), "closed");
    CHECK(desk_close(&d));
}

TEST(closing_is_bounded) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    (void)desk_log(&d);
    sb_hold_all(d.backend);
    int64_t begun = fw_now(d.u);
    desk_shut(&d, 1500 * DS_MS);
    REQUIRE(fw_wait(d.u, &d.closed, 10 * DS_SECOND));
    CHECK_EQ_INT(fw_now(d.u) - begun, 1500 * DS_MS);
    CHECK(!d.confirmed);
    CHECK_EQ_TEXT(desk_log(&d), "A lost closed | close s1 | closed unconfirmed");
    CHECK_EQ_INT(a->ended, 1);
    CHECK(desk_close(&d)); /* frees the session that was not confirmed */
}

TEST(closing_tries_until_its_time_is_over) {
    desk d;
    desk_open(&d);
    (void)lock_held_new(&d, "A");
    sb_hold(d.backend, SB_CLOSE);
    desk_shut(&d, 2 * DS_SECOND);
    sb_fail(d.backend, SB_CLOSE, DS_NOT_EXECUTED, "refused");
    fw_advance(d.u, 20 * DS_MS);
    sb_ok(d.backend, SB_CLOSE, DS_PLACE_NONE);
    CHECK(d.closed && d.confirmed);
    CHECK(desk_close(&d));
}

TEST(closing_while_a_session_opens) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_OPEN);
    lock_acquire(a);
    desk_shut(&d, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | A closed | close s1 | closed"); /* it may have got through */
    CHECK(desk_close(&d));
}

TEST(closing_does_not_wait_for_a_server_that_was_never_there) {
    desk d;
    desk_open(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_OPEN);
    sb_hold(d.backend, SB_CLOSE);
    lock_acquire(a);
    sb_fail(d.backend, SB_OPEN, DS_NOT_EXECUTED, "refused");
    desk_shut(&d, 2 * DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | A closed | close s1");
    sb_fail(d.backend, SB_CLOSE, DS_NOT_EXECUTED, "refused");
    fw_settle(d.u);
    CHECK(d.closed && d.confirmed);
    CHECK_EQ_TEXT(desk_log(&d), "closed");
    CHECK(desk_close(&d));
}

TEST(closing_ends_releases) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    sb_hold(d.backend, SB_LEAVE);
    lock_release(a, 30 * DS_SECOND);
    (void)desk_log(&d);
    desk_shut(&d, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "A released unknown | close s1 | closed"); /* gone with its session */
    CHECK(desk_close(&d));
}

TEST(closing_during_a_handover) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A"), *b = lock_new(&d, "B");
    lock_acquire(b);
    sb_hold(d.backend, SB_SWAP);
    lock_release(a, 30 * DS_SECOND);
    (void)desk_log(&d);
    desk_shut(&d, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "withdraw s1 e1 ->2 | B closed | A released unknown | close s1 | closed");
    CHECK(desk_close(&d));
}

TEST(closing_while_asking_why_an_entry_went) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    fw_advance(d.u, 20 * DS_MS);
    sb_hold(d.backend, SB_CHECK);
    sb_deleted(sb_watching(d.backend, "e1"), NULL);
    desk_shut(&d, DS_SECOND);
    CHECK_EQ_INT(a->ended, 1);
    CHECK_EQ_INT(a->reason, DSYNC_REASON_DELETED); /* that came first */
    CHECK(desk_close(&d));
}

TEST(a_closed_client_takes_nothing_on) {
    desk d;
    desk_open(&d);
    desk_shut(&d, DS_SECOND);
    lock *a = lock_new(&d, "A");
    lock_acquire(a);
    CHECK_EQ_INT(a->code, DSYNC_CLOSED);
    CHECK_EQ_TEXT(a->message, "the client is closed");
    CHECK(desk_close(&d));
}

static void acquire_again(lock *l) {
    lock_acquire(l);
}

TEST(whoever_hears_of_the_end_gets_nothing_more) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    a->on_ended = acquire_again;
    (void)desk_log(&d);
    desk_shut(&d, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "A lost closed | A closed | close s1 | closed");
    CHECK(desk_close(&d));
}

/* ---- small things ------------------------------------------------------------------------------------------------ */

TEST(how_long_one_try_may_take) {
    static const struct {
        int64_t request_ms, ttl_ms, timeout_ms;
    } rows[] = {{0, 15000, 1875}, {0, 1000, 250}, {0, 86400000, 5000}, {700, 15000, 700}, {9000, 1000, 9000}};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open_with(&d, &(ds_engine_config){.request_timeout_ms = rows[i].request_ms}, 5, 3);
        CHECK_EQ_INT(ds_engine_request_timeout(d.engine, rows[i].ttl_ms * DS_MS), rows[i].timeout_ms * DS_MS);
        CHECK(desk_close(&d));
    }
}

TEST(traces_every_state) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A");
    lock_release(a, DS_SECOND);
    fw_settle(d.u);
    CHECK_EQ_TEXT(d.trace, "claim A idle>entering\n"
                           "contender " QUEUE " idle>entering\n"
                           "session s1 opening>live\n"
                           "contender " QUEUE " entering>held\n"
                           "claim A entering>held\n"
                           "claim A held>releasing\n"
                           "contender " QUEUE " held>idle\n");
    CHECK(desk_close(&d));
    CHECK_CONTAINS(d.trace, "session s1 live>closing\nsession s1 closing>closed\n");
}

TEST(works_without_listeners) {
    desk d;
    desk_open(&d);
    d.engine->config.trace = NULL;
    d.engine->config.notice = NULL;
    (void)lock_held_new(&d, "A");
    sb_hold(d.backend, SB_RENEW);
    fw_advance(d.u, 13 * DS_SECOND);
    CHECK_EQ_TEXT(d.notice, "");
    CHECK(desk_close(&d));
}

TEST(counts_what_it_does) {
    desk d;
    desk_open(&d);
    lock *a = lock_held_new(&d, "A"), *b = lock_new(&d, "B");
    lock_acquire(b);
    const ds_engine_stats *s = &d.engine->stats;
    CHECK_EQ_UINT(s->acquisitions, 1);
    CHECK_EQ_UINT(s->sessions, 1);
    CHECK_EQ_UINT(s->entries, 1);
    CHECK_EQ_UINT(s->held, 1);
    CHECK_EQ_UINT(s->waiting, 1); /* B */
    lock_release(a, DS_SECOND);
    fw_settle(d.u);
    CHECK(s->acquisitions == 2 && s->releases == 1 && s->held == 1);
    fw_advance(d.u, 6 * DS_SECOND);
    CHECK_EQ_UINT(s->renewals, 1);
    CHECK(desk_close(&d));
}
