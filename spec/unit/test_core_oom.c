/* Each allocation of a whole life fails once: nobody hangs, nobody believes too much, and nothing is left over. */
#include "test.h"

#include "core_fixture.h"

#include "../../csrc/core/observer.h"
#include "../../csrc/core/request.h"

#ifdef DS_TEST_ALLOC

static unsigned ended_observers, pages;

static void on_change(ds_observer *observer, ds_change_kind kind, const char *path, const ds_member *member,
                      bool missed) {
    (void)observer;
    (void)kind;
    (void)path;
    (void)member;
    (void)missed;
}

static void on_end(ds_observer *observer, dsync_code code, const char *message) {
    (void)observer;
    (void)code;
    (void)message;
    ended_observers++;
}

static bool on_page(ds_request *request, const ds_reply *reply) {
    (void)request;
    (void)reply;
    pages++;
    return true;
}

static unsigned answered;

static void on_done(ds_request *request, dsync_code code, const char *message, const ds_reply *reply) {
    (void)request;
    (void)message;
    (void)reply;
    CHECK(code == DSYNC_OK || code == DSYNC_RESOURCE || code == DSYNC_LOST || code == DSYNC_NOT_HELD ||
          code == DSYNC_UNKNOWN);
    answered++;
}

/* Released, or lost meanwhile: either way it is told, within its time. */
static void give_back(desk *d, lock *l) {
    unsigned before = l->released + l->ended;
    if (l->waiter.state == DS_WAITER_HOLDING) {
        lock_release(l, 2 * DS_SECOND);
        fw_advance(d->u, 3 * DS_SECOND);
        CHECK_EQ_UINT(l->released + l->ended, before + 1);
    }
    CHECK(!lock_held(l));
}

TEST(a_life_of_two_locks) {
    EACH_ALLOCATION_FAILS() {
        desk d;
        uint64_t nth = test_nth;
        ds_test_fail_allocation(0, false);
        desk_open(&d);
        test_case("allocation %" PRIu64, nth);
        lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B"), *c = lock_new(&d, "C");
        c->waiter.params.owner = 7;
        ds_test_fail_allocation(nth, false);
        lock_acquire(a);
        lock_acquire(b);
        lock_acquire_at(c, "p/lock/c");
        fw_advance(d.u, 20 * DS_MS);
        CHECK_EQ_UINT(a->settled, 1);
        ds_request put = {.kind = DS_REQUEST_PUT,
                          .key = "k",
                          .value = "v",
                          .value_size = 1,
                          .waiter = &a->waiter,
                          .timeout_ns = DS_SECOND,
                          .done = on_done};
        answered = 0;
        sb_hold(d.backend, SB_WRITE);
        ds_request_start(d.engine, &put);
        if (sb_has_pending(d.backend, SB_WRITE)) { /* sent twice: fenced afterwards */
            sb_answer(sb_pending(d.backend, SB_WRITE), 0,
                      &(ds_reply){.outcome = DS_OK, .place = DS_PLACE_DONE, .resent = true});
        }
        sb_release(d.backend, SB_WRITE);
        fw_advance(d.u, 2 * DS_SECOND);
        CHECK_EQ_UINT(answered, 1);
        give_back(&d, a);
        fw_advance(d.u, DS_SECOND);
        CHECK_EQ_UINT(b->settled, 1);
        give_back(&d, b);
        give_back(&d, c);
        fw_advance(d.u, 10 * DS_SECOND);
        CHECK_EQ_UINT(d.engine->stats.held + d.engine->stats.cleaning, 0);
        CHECK(desk_close(&d));
    }
}

TEST(a_waiter_and_its_withdrawal) {
    EACH_ALLOCATION_FAILS() {
        desk d;
        uint64_t nth = test_nth;
        ds_test_fail_allocation(0, false);
        desk_open(&d);
        test_case("allocation %" PRIu64, nth);
        lock *a = lock_new(&d, "A"), *b = lock_new(&d, "B");
        sb_hold(d.backend, SB_ENTER);
        ds_test_fail_allocation(nth, false);
        lock_acquire(a);
        lock_acquire_at(b, "p/lock/b");
        fw_settle(d.u);
        if (sb_has_pending(d.backend, SB_ENTER)) {
            sb_ok_behind(d.backend, SB_ENTER, "p/lock/q/x");
        }
        fw_advance(d.u, 100 * DS_MS);
        sb_watch *ahead = sb_watching(d.backend, "p/lock/q/x");
        if (ahead != NULL) {
            sb_hold(d.backend, SB_CHECK);
            sb_deleted(ahead, NULL);
            sb_ok_behind(d.backend, SB_CHECK, "p/lock/q/y");
        }
        lock_cancel(a);
        lock_cancel(b);
        CHECK(a->settled == 1 && b->settled == 1);
        fw_advance(d.u, 10 * DS_SECOND);
        CHECK_EQ_UINT(d.engine->stats.cleaning, 0);
        CHECK(desk_close(&d));
    }
}

TEST(an_open_that_starts_over) {
    EACH_ALLOCATION_FAILS() {
        desk d;
        uint64_t nth = test_nth;
        ds_test_fail_allocation(0, false);
        desk_open_with(&d, &(ds_engine_config){.unavailable_ns = 60 * DS_SECOND}, 5, 3);
        test_case("allocation %" PRIu64, nth);
        lock *a = lock_new(&d, "A");
        a->waiter.params.ttl_ms = 2000;
        a->waiter.wait_ns = 4 * DS_SECOND;
        sb_hold(d.backend, SB_OPEN);
        ds_test_fail_allocation(nth, false);
        lock_acquire(a);
        fw_advance(d.u, 5 * DS_SECOND);
        CHECK_EQ_UINT(a->settled, 1);
        CHECK(desk_close(&d));
    }
}

TEST(a_value_behind_an_uncertain_mark) {
    EACH_ALLOCATION_FAILS() {
        desk d;
        uint64_t nth = test_nth;
        ds_test_fail_allocation(0, false);
        desk_open(&d);
        test_case("allocation %" PRIu64, nth);
        lock *a = lock_held_new(&d, "A");
        sb_hold(d.backend, SB_WRITE);
        fw_advance(d.u, 10 * DS_MS);
        sb_release(d.backend, SB_WRITE);
        ds_request value = {.kind = DS_REQUEST_VALUE,
                            .value = "v",
                            .value_size = 1,
                            .waiter = &a->waiter,
                            .timeout_ns = DS_SECOND,
                            .done = on_done};
        answered = 0;
        ds_test_fail_allocation(nth, false);
        ds_request_start(d.engine, &value);
        fw_advance(d.u, 2 * DS_SECOND);
        CHECK_EQ_UINT(answered, 1);
        CHECK(desk_close(&d));
    }
}

TEST(an_abandoned_handover) {
    EACH_ALLOCATION_FAILS() {
        desk d;
        uint64_t nth = test_nth;
        ds_test_fail_allocation(0, false);
        desk_open(&d);
        test_case("allocation %" PRIu64, nth);
        lock *a = lock_held_new(&d, "A"), *b = lock_new(&d, "B"), *other = lock_new(&d, "O");
        lock_acquire(b);
        lock_acquire_at(other, "p/lock/o");
        fw_settle(d.u);
        sb_hold(d.backend, SB_SWAP);
        ds_test_fail_allocation(nth, false);
        lock_release(a, DS_SECOND);
        fw_settle(d.u);
        lock_cancel(b);
        fw_advance(d.u, 3 * DS_SECOND);
        CHECK_EQ_UINT(a->released, 1);
        CHECK_EQ_UINT(b->settled, 1);
        CHECK(!lock_held(a));
        CHECK_EQ_INT(lock_held(other), other->ended == 0);
        CHECK_EQ_UINT(d.engine->stats.cleaning, 0);
        if (lock_held(b)) {
            give_back(&d, b);
        }
        CHECK(desk_close(&d));
    }
}

TEST(an_observer_of_an_empty_election) {
    EACH_ALLOCATION_FAILS() {
        desk d;
        uint64_t nth = test_nth;
        ds_test_fail_allocation(0, false);
        desk_open(&d);
        ds_observer observer = {.on_change = on_change, .on_end = on_end};
        ds_test_fail_allocation(nth, false);
        bool started = ds_observer_start(d.engine, &observer, "p/l/x", false);
        fw_advance(d.u, DS_SECOND);
        CHECK(!started || observer.synced);
        CHECK(desk_close(&d));
    }
}

TEST(an_observer_and_a_listing) {
    EACH_ALLOCATION_FAILS() {
        desk d;
        uint64_t nth = test_nth;
        ds_test_fail_allocation(0, false);
        desk_open(&d);
        test_case("allocation %" PRIu64, nth);
        ds_observer observer = {.on_change = on_change, .on_end = on_end};
        ds_peer peers[] = {{.path = "p/l/x",
                            .key = "p/l/x/a",
                            .value = "{\"id\":\"n\",\"value\":\"v\"}",
                            .value_size = 22,
                            .token = 1},
                           {.path = "p/l/y", .key = "p/l/y/b", .value = "w", .value_size = 1, .token = 2}};
        ds_reply page = {.outcome = DS_OK, .peers = peers, .peer_count = 2, .next = "p/l/y"};
        ds_reply last = {.outcome = DS_OK};
        sb_hold(d.backend, SB_LIST);
        ended_observers = 0;
        ds_test_fail_allocation(nth, false);
        bool started = ds_observer_start(d.engine, &observer, "p/l", true);
        for (int i = 0; i < 12 && started; i++) {
            fw_advance(d.u, 50 * DS_MS);
            if (sb_has_pending(d.backend, SB_LIST)) {
                sb_call *call = sb_pending(d.backend, SB_LIST);
                sb_answer(call, 0, call->after[0] == '\0' ? &page : &last);
                fw_settle(d.u);
            }
            if (sb_watching(d.backend, "p/l") != NULL && i == 8) {
                sb_put(sb_watching(d.backend, "p/l"), "p/l/z/c", 30, "{\"id\":\"n\"}");
            }
        }
        CHECK(!started || observer.synced);
        ds_request tree = {
            .kind = DS_REQUEST_TREE, .key = "p/l", .timeout_ns = DS_SECOND, .page = on_page, .done = on_done};
        answered = 0;
        fw_settle(d.u);
        while (sb_has_pending(d.backend, SB_LIST)) {
            sb_answer(sb_pending(d.backend, SB_LIST), 0, &last);
            fw_settle(d.u);
        }
        ds_request_start(d.engine, &tree);
        sb_answer(sb_pending(d.backend, SB_LIST), 0, &page);
        fw_settle(d.u);
        if (sb_has_pending(d.backend, SB_LIST)) {
            sb_answer(sb_pending(d.backend, SB_LIST), 0, &last);
            fw_settle(d.u);
        }
        CHECK_EQ_UINT(answered, 1);
        CHECK(desk_close(&d));
        CHECK_EQ_UINT(ended_observers, started);
    }
}

TEST(no_engine_without_memory) {
    EACH_ALLOCATION_FAILS() {
        uint64_t nth = test_nth;
        ds_test_fail_allocation(0, false);
        fw *u = fw_new(1);
        sb *backend = sb_new(u, fw_world(u));
        ds_engine_config config = {.prefix = "p", .id = "i", .info = "{}"};
        ds_test_fail_allocation(nth, false);
        ds_engine *engine = ds_engine_new(fw_world(u), &backend->base, &config);
        bool failed = ds_test_allocation_failed();
        CHECK_EQ_INT(engine != NULL, !failed);
        if (engine != NULL) {
            ds_engine_free(engine);
        } else {
            backend->base.ops->destroy(&backend->base);
        }
        sb_free(backend);
        CHECK_EQ_UINT(fw_free(u), 0);
    }
}

#else

TEST(needs_a_build_that_can_refuse_memory) {
    CHECK(true);
}

#endif
