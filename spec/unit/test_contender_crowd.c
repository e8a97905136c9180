/* Which watch a waiting lock keeps: one on a small queue, which lasts over turns, or one on whoever is ahead; and what
 * it hears while an answer about its place is under way. */
#include "test.h"

#include "core_fixture.h"

#define X QUEUE "/x"
#define Y QUEUE "/y"

static void behind(desk *d, sb_op op, const char *ahead, int64_t crowd) {
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_WAITING, .ahead = ahead, .crowd = crowd};
    sb_answer(sb_pending(d->backend, op), 0, &reply);
    fw_settle(d->u);
}

/* Behind X, in a queue of so many. Checks are answered by the test. */
static lock *waiting(desk *d, const char *name, int64_t crowd) {
    lock *l = lock_new(d, name);
    sb_hold(d->backend, SB_ENTER);
    sb_hold(d->backend, SB_CHECK);
    sb_hold(d->backend, SB_SWAP);
    lock_acquire(l);
    fw_settle(d->u);
    behind(d, SB_ENTER, X, crowd);
    (void)desk_log(d);
    return l;
}

static void gone_at(desk *d, const char *key, int64_t revision) {
    sb_event(sb_watching(d->backend, QUEUE),
             &(ds_watch_event){.kind = DS_WATCH_DELETED, .key = key, .revision = revision});
}

TEST(a_small_queue_is_watched_as_a_whole) {
    desk d;
    desk_open(&d);
    lock *a = waiting(&d, "A", 8);
    sb_watch *w = sb_watching(d.backend, QUEUE);
    REQUIRE(w != NULL);
    CHECK(w->subtree && w->deletes_only && w->keys_only);
    CHECK_EQ_INT(w->since, 0);
    sb_gone(w, Y); /* somebody else gave up */
    CHECK_EQ_TEXT(desk_log(&d), "");
    sb_gone(w, X);
    CHECK_EQ_TEXT(desk_log(&d), "check e1");
    behind(&d, SB_CHECK, Y, 7);
    sb_gone(w, Y);
    sb_ok(d.backend, SB_CHECK, DS_PLACE_HELD);
    CHECK_EQ_TEXT(desk_log(&d), "check e1 | A ok");
    CHECK(lock_held(a));
    CHECK_EQ_UINT(d.backend->watch_count, 1);
    CHECK(desk_close(&d));
}

TEST(it_lasts_over_turns) {
    desk d;
    desk_open(&d);
    lock *a = waiting(&d, "A", 2), *b = lock_new(&d, "B");
    lock_acquire(b);
    gone_at(&d, X, ++d.backend->revision);
    sb_ok(d.backend, SB_CHECK, DS_PLACE_HELD);
    CHECK(lock_held(a));
    CHECK(sb_watching(d.backend, QUEUE) != NULL);
    lock_release(a, DS_SECOND);
    fw_settle(d.u);
    behind(&d, SB_SWAP, Y, 2);
    CHECK_EQ_TEXT(desk_log(&d), "check e1 | A ok | swap e1>e2 | A released ok");
    gone_at(&d, Y, ++d.backend->revision);
    sb_ok(d.backend, SB_CHECK, DS_PLACE_HELD);
    CHECK_EQ_TEXT(desk_log(&d), "check e2 | B ok");
    CHECK_EQ_UINT(d.backend->watch_count, 1);
    CHECK(desk_close(&d));
}

TEST(it_lasts_until_the_next_wait) {
    desk d;
    desk_open(&d);
    lock *a = waiting(&d, "A", 2);
    gone_at(&d, X, ++d.backend->revision);
    sb_ok(d.backend, SB_CHECK, DS_PLACE_HELD);
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "check e1 | A ok | leave e1 | A released ok");
    CHECK(sb_watching(d.backend, QUEUE) != NULL);
    lock_acquire(a);
    fw_settle(d.u);
    gone_at(&d, Y, d.backend->revision + 5); /* on its way before the answer, and newer */
    behind(&d, SB_ENTER, Y, 2);
    sb_ok(d.backend, SB_CHECK, DS_PLACE_HELD);
    CHECK_EQ_TEXT(desk_log(&d), "enter e2 | check e2 | A ok");
    CHECK_EQ_UINT(d.backend->watch_count, 1);
    CHECK(desk_close(&d));
}

TEST(it_does_not_last_for_ever) {
    static const bool releases[] = {false, true};
    for (size_t i = 0; i < DS_COUNT(releases); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", releases[i] ? "nobody wants the lock" : "the lock is held for long");
        lock *a = waiting(&d, "A", 2);
        gone_at(&d, X, ++d.backend->revision);
        sb_ok(d.backend, SB_CHECK, DS_PLACE_HELD);
        fw_advance(d.u, 3 * DS_SECOND);
        if (releases[i]) {
            lock_release(a, DS_SECOND);
        }
        fw_advance(d.u, (releases[i] ? 4900 : 1900) * DS_MS);
        CHECK(sb_watching(d.backend, QUEUE) != NULL);
        fw_advance(d.u, 200 * DS_MS);
        CHECK_NULL(sb_watching(d.backend, QUEUE));
        CHECK(desk_close(&d));
    }
}

TEST(it_stays_while_somebody_waits) {
    desk d;
    desk_open(&d);
    lock *a = waiting(&d, "A", 2);
    gone_at(&d, X, ++d.backend->revision);
    sb_ok(d.backend, SB_CHECK, DS_PLACE_HELD);
    lock_release(a, DS_SECOND);
    lock_acquire(a);
    fw_settle(d.u);
    behind(&d, SB_ENTER, Y, 2);
    for (int s = 0; s < 30; s++) {
        fw_advance(d.u, DS_SECOND);
        if (sb_has_pending(d.backend, SB_CHECK)) {
            behind(&d, SB_CHECK, Y, 2);
        }
        CHECK(sb_watching(d.backend, QUEUE) != NULL);
    }
    CHECK(desk_close(&d));
}

/* What it says while an answer is under way: only if it is newer than the answer, that must be asked for again. */
TEST(what_is_heard_during_a_question) {
    static const struct {
        const char *name;
        ds_watch_event event;
        int64_t later; /* its revision, after that of the answer */
        bool again;
    } rows[] = {
        {"gone before the answer", {.kind = DS_WATCH_DELETED, .key = Y}, -1, false},
        {"gone at the answer", {.kind = DS_WATCH_DELETED, .key = Y}, 0, false},
        {"gone after the answer", {.kind = DS_WATCH_DELETED, .key = Y}, 1, true},
        {"gone, who knows when", {.kind = DS_WATCH_DELETED, .key = Y}, INT64_MIN, true},
        {"ready before the answer", {.kind = DS_WATCH_READY}, -1, false},
        {"ready after the answer", {.kind = DS_WATCH_READY}, 1, true},
    };
    for (size_t i = 0; i < DS_COUNT(rows) * 2; i++) {
        bool swap = i % 2 == 1;
        desk d;
        desk_open(&d);
        test_case("%s, during a %s", rows[i / 2].name, swap ? "swap" : "check");
        lock *a = waiting(&d, "A", 2), *b = lock_new(&d, "B");
        lock_acquire(b);
        gone_at(&d, X, ++d.backend->revision);
        if (swap) {
            sb_ok(d.backend, SB_CHECK, DS_PLACE_HELD);
            lock_release(a, DS_SECOND);
            fw_settle(d.u);
        }
        (void)desk_log(&d);
        int64_t answer_at = d.backend->revision + 10;
        ds_watch_event event = rows[i / 2].event;
        event.revision = rows[i / 2].later == INT64_MIN ? 0 : answer_at + rows[i / 2].later;
        sb_event(sb_watching(d.backend, QUEUE), &event);
        CHECK_EQ_TEXT(desk_log(&d), ""); /* the question is not cut short */
        ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_WAITING, .ahead = Y, .crowd = 2, .revision = answer_at};
        sb_answer(sb_pending(d.backend, swap ? SB_SWAP : SB_CHECK), 0, &reply);
        CHECK_EQ_TEXT(desk_log(&d), swap ? rows[i / 2].again ? "check e2 | A released ok" : "A released ok"
                                    : rows[i / 2].again ? "check e1"
                                                        : "");
        CHECK(desk_close(&d));
    }
}

TEST(a_large_queue_is_not) {
    static const struct {
        int64_t first, then;
        const char *after; /* watched then */
    } rows[] = {
        {9, 9, Y}, {0, 0, Y}, {9, 8, QUEUE}, {8, 16, QUEUE}, {8, 17, Y}, {8, 0, QUEUE},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        desk_open(&d);
        test_case("%d, then %d", (int)rows[i].first, (int)rows[i].then);
        (void)waiting(&d, "A", rows[i].first);
        bool whole = rows[i].first == 8;
        sb_gone(sb_watching(d.backend, whole ? QUEUE : X), X);
        behind(&d, SB_CHECK, Y, rows[i].then);
        CHECK(sb_watching(d.backend, rows[i].after) != NULL);
        CHECK_EQ_UINT(sb_watches_on(d.backend), 1);
        sb_gone(sb_watching(d.backend, rows[i].after), Y);
        sb_ok(d.backend, SB_CHECK, DS_PLACE_HELD);
        CHECK_EQ_TEXT(desk_log(&d), "check e1 | check e1 | A ok");
        CHECK(desk_close(&d));
    }
}

TEST(one_that_ends_between_turns_is_begun_when_it_is_needed) {
    static const bool swaps[] = {false, true};
    for (size_t i = 0; i < DS_COUNT(swaps); i++) {
        desk d;
        desk_open(&d);
        test_case("%s", swaps[i] ? "while the next turn is asked for" : "while it is held");
        lock *a = waiting(&d, "A", 2), *b = lock_new(&d, "B");
        lock_acquire(b);
        gone_at(&d, X, ++d.backend->revision);
        sb_ok(d.backend, SB_CHECK, DS_PLACE_HELD);
        (void)desk_log(&d);
        if (swaps[i]) {
            lock_release(a, DS_SECOND);
            fw_settle(d.u);
        }
        sb_ended(sb_watching(d.backend, QUEUE));
        fw_advance(d.u, 100 * DS_MS);
        CHECK_EQ_TEXT(desk_log(&d), swaps[i] ? "swap e1>e2" : "write e1"); /* acquired_at */
        if (!swaps[i]) {
            lock_release(a, DS_SECOND);
            fw_settle(d.u);
        }
        behind(&d, SB_SWAP, Y, 2);
        CHECK(sb_watching(d.backend, QUEUE) != NULL);
        CHECK(desk_close(&d));
    }
}

TEST(it_ends_with_the_wait) {
    desk d;
    desk_open(&d);
    lock *a = waiting(&d, "A", 2);
    lock_cancel(a);
    CHECK_EQ_TEXT(desk_log(&d), "leave e1 | A cancelled");
    CHECK_EQ_UINT(sb_watches_on(d.backend), 0);
    CHECK(desk_close(&d));
}
