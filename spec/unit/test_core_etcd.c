/* The whole stack, engine to HTTP, on a model of etcd: without a thread, without a socket, in virtual time. */
#include "test.h"

#include "../../csrc/core/contender.h"
#include "../../csrc/core/observer.h"
#include "fake_world.h"
#include "model_etcd.h"

#define LOCK "p/lock/q"

static fw *universe;
static model_etcd *model;

typedef struct client {
    ds_world *world;
    ds_engine *engine;
    bool closed;
} client;

typedef struct lock {
    client *c;
    ds_waiter waiter;
    ds_claim claim;
    ds_release release;
    unsigned settled, ended, released;
    dsync_code code, release_code;
    dsync_reason reason;
} lock;

static void begin(void) {
    universe = fw_new(11);
    model = model_etcd_new(universe);
}

static void finish(void) {
    model_etcd_free(model);
    CHECK_EQ_UINT(fw_free(universe), 0);
}

static void client_open(client *c) {
    static const char *const endpoints[] = {"http://a:2379"};
    static const dsync_setting json = {"etcd.transport", "json"};
    dsync_options options = {.prefix = "p", .id = "node", .max_value = 65536, .settings = &json, .setting_count = 1};
    ds_backend_config config = {.options = &options, .endpoints = endpoints, .endpoint_count = 1};
    ds_engine_config engine = {.prefix = "p", .id = "node", .info = "{}", .unavailable_ns = 5 * DS_SECOND};
    dsync_error error = {DSYNC_OK, ""};
    memset(c, 0, sizeof(*c));
    c->world = fw_add_world(universe);
    ds_backend *backend = ds_etcd_backend(c->world, &config, &error);
    CHECK_EQ_TEXT(error.message, "");
    c->engine = ds_engine_new(c->world, backend, &engine);
}

static void on_closed(void *context, bool confirmed) {
    client *c = context;
    c->closed = true;
    CHECK(confirmed);
}

static void client_close(client *c) {
    ds_engine_close(c->engine, fw_now(universe) + 60 * DS_SECOND, on_closed, c);
    CHECK(fw_wait(universe, &c->closed, 100 * DS_SECOND));
    ds_engine_free(c->engine);
    fw_settle(universe);
}

static void on_settled(ds_waiter *waiter, dsync_code code, const char *message) {
    lock *l = DS_CONTAINER_OF(waiter, lock, waiter);
    (void)message;
    l->settled++;
    l->code = code;
}

static void on_ended(ds_waiter *waiter, dsync_reason reason) {
    lock *l = DS_CONTAINER_OF(waiter, lock, waiter);
    l->ended++;
    l->reason = reason;
}

static void on_released(ds_release *release, dsync_code code, int64_t free_by_ms) {
    lock *l = DS_CONTAINER_OF(release, lock, release);
    CHECK(free_by_ms > FW_START_WALL_MS);
    l->released++;
    l->release_code = code;
    (void)ds_claim_move(&l->claim, DS_CLAIM_IDLE);
}

static void lock_init(lock *l, client *c) {
    memset(l, 0, sizeof(*l));
    l->c = c;
    ds_claim_init(&l->claim);
    l->release.done = on_released;
    l->waiter = (ds_waiter){.claim = &l->claim,
                            .label = "q",
                            .params = {.ttl_ms = 15000},
                            .node_id = "node",
                            .shared = true,
                            .wait_ns = DS_NEVER,
                            .hold_ns = DS_NEVER,
                            .settled = on_settled,
                            .ended = on_ended};
}

static void acquire(lock *l) {
    ds_acquire(l->c->engine, LOCK, &l->waiter);
}

static bool held(const lock *l) {
    return ds_claim_left(&l->claim, fw_now(universe), l->c->world->ops->wall_ms(l->c->world)) > 0;
}

static void release(lock *l) {
    ds_waiter_release(&l->waiter, &l->release, DS_SECOND);
}

#define RUN(ms) fw_advance(universe, (ms)*DS_MS)

TEST(two_clients_take_turns) {
    client c1, c2;
    lock a, b;
    begin();
    client_open(&c1);
    client_open(&c2);
    lock_init(&a, &c1);
    lock_init(&b, &c2);
    acquire(&a);
    RUN(20);
    CHECK(held(&a));
    acquire(&b);
    RUN(50);
    CHECK(!held(&b));
    CHECK_EQ_INT(ds_claim_get(&b.claim), DS_CLAIM_WAITING);
    CHECK_EQ_UINT(model_etcd_count(model, LOCK "/"), 2);
    RUN(60000); /* both sessions are kept alive */
    CHECK(held(&a) && !held(&b));
    release(&a);
    RUN(20);
    CHECK_EQ_INT(a.release_code, DSYNC_OK);
    CHECK(held(&b));
    CHECK(atomic_load(&b.claim.token) > atomic_load(&a.claim.token));
    client_close(&c1);
    client_close(&c2);
    CHECK_EQ_INT(b.reason, DSYNC_REASON_CLOSED);
    CHECK_EQ_UINT(model_etcd_count(model, "") + model_etcd_leases(model), 0);
    finish();
}

TEST(local_turns_are_one_entry_and_one_request) {
    client c;
    lock all[20];
    begin();
    client_open(&c);
    for (size_t i = 0; i < DS_COUNT(all); i++) {
        lock_init(&all[i], &c);
        acquire(&all[i]);
    }
    RUN(5);
    CHECK_EQ_UINT(model_etcd_count(model, LOCK "/"), 1);
    size_t before = model_etcd_requests(model, "/v3/kv/txn");
    for (size_t i = 0; i < DS_COUNT(all); i++) {
        REQUIRE(held(&all[i]));
        release(&all[i]);
        RUN(3);
        CHECK_EQ_INT(all[i].release_code, DSYNC_OK);
    }
    CHECK_EQ_UINT(model_etcd_requests(model, "/v3/kv/txn") - before, DS_COUNT(all));
    CHECK_EQ_UINT(model_etcd_count(model, LOCK "/"), 0);
    client_close(&c);
    finish();
}

TEST(what_is_taken_away_is_told) {
    static const struct {
        const char *name;
        dsync_reason reason;
    } rows[] = {{"key deleted", DSYNC_REASON_DELETED}, {"lease revoked", DSYNC_REASON_SESSION_LOST}};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        client c;
        lock a;
        begin();
        test_case("%s", rows[i].name);
        client_open(&c);
        lock_init(&a, &c);
        acquire(&a);
        RUN(100);
        REQUIRE(held(&a));
        if (i == 0) {
            CHECK(model_etcd_delete(model, LOCK "/"));
        } else {
            model_etcd_revoke_all(model);
        }
        RUN(10);
        CHECK(!held(&a));
        CHECK_EQ_UINT(a.ended, 1);
        CHECK_EQ_INT(a.reason, rows[i].reason);
        acquire(&a);
        RUN(50);
        CHECK(held(&a));
        client_close(&c);
        finish();
    }
}

TEST(a_deletion_during_a_broken_watch_is_found) {
    client c;
    lock a;
    begin();
    client_open(&c);
    lock_init(&a, &c);
    acquire(&a);
    RUN(100);
    model_etcd_fault(model, MODEL_REFUSED, "/v3/watch", 2);
    model_etcd_break_streams(model);
    RUN(1);
    CHECK(model_etcd_delete(model, LOCK "/"));
    RUN(8000); /* the next renewal at the latest */
    CHECK(!held(&a));
    CHECK_EQ_INT(a.reason, DSYNC_REASON_DELETED);
    client_close(&c);
    finish();
}

TEST(silence_ends_it_in_time) {
    client c;
    lock a;
    begin();
    client_open(&c);
    lock_init(&a, &c);
    acquire(&a);
    RUN(100);
    model_etcd_fault(model, MODEL_SILENT, "", 1000000);
    RUN(11800);
    CHECK(held(&a));
    RUN(250);
    CHECK(!held(&a));
    CHECK_EQ_UINT(a.ended, 1);
    CHECK_EQ_INT(a.reason, DSYNC_REASON_EXPIRED);
    CHECK_EQ_UINT(model_etcd_count(model, LOCK "/"), 1); /* the server still has it */
    model_etcd_fault(model, MODEL_FINE, "", 0);
    acquire(&a);
    RUN(12000);
    CHECK(held(&a));
    CHECK_EQ_UINT(model_etcd_count(model, LOCK "/"), 1);
    client_close(&c);
    finish();
}

/* Replies that get lost, copies that come late: whatever the fault, in the end nothing is left. */
TEST(faults_leave_nothing_behind) {
    static const model_fault faults[] = {MODEL_REFUSED, MODEL_REPLY_LOST, MODEL_TWICE, MODEL_SILENT};
    static const char *const targets[] = {"/v3/kv/txn", "/v3/lease/grant", "/v3/lease/keepalive", ""};
    for (size_t f = 0; f < DS_COUNT(faults); f++) {
        for (size_t t = 0; t < DS_COUNT(targets); t++) {
            for (unsigned skip = 0; skip < 4; skip++) {
                client c;
                lock a, b;
                begin();
                test_case("fault %zu on \"%s\", %u requests later", f, targets[t], skip);
                client_open(&c);
                lock_init(&a, &c);
                lock_init(&b, &c);
                acquire(&a);
                acquire(&b);
                RUN(skip);
                model_etcd_fault(model, faults[f], targets[t], 2);
                for (int ms = 0; ms < 20000 && !held(&a); ms++) {
                    RUN(1);
                }
                REQUIRE(held(&a));
                release(&a);
                for (int ms = 0; ms < 20000 && !held(&b); ms++) {
                    RUN(1);
                }
                REQUIRE(held(&b));
                CHECK(atomic_load(&b.claim.token) > atomic_load(&a.claim.token));
                release(&b);
                RUN(20000);
                CHECK(a.released == 1 && b.released == 1);
                CHECK_EQ_UINT(model_etcd_count(model, LOCK "/"), 0);
                client_close(&c);
                CHECK_EQ_UINT(model_etcd_count(model, ""), 0);
                finish();
            }
        }
    }
}

TEST(a_cancelled_acquire_leaves_nothing_even_if_it_arrives_late) {
    client c;
    lock a, b;
    begin();
    client_open(&c);
    lock_init(&a, &c);
    lock_init(&b, &c);
    acquire(&a);
    RUN(50);
    release(&a);
    RUN(50);
    model_etcd_fault(model, MODEL_TWICE, "/v3/kv/txn", 1);
    acquire(&a);
    ds_waiter_cancel(&a.waiter, DSYNC_CANCELLED, "cancelled");
    CHECK_EQ_INT(a.code, DSYNC_CANCELLED);
    RUN(1000);
    CHECK_EQ_UINT(model_etcd_count(model, LOCK "/"), 0);
    acquire(&b);
    RUN(50);
    CHECK(held(&b));
    client_close(&c);
    finish();
}

static unsigned told[5];

static void on_change(ds_observer *observer, ds_change_kind kind, const char *path, const ds_member *member,
                      bool missed) {
    (void)observer;
    (void)member;
    (void)missed;
    CHECK_EQ_TEXT(path, LOCK);
    told[kind]++;
}

static void on_end(ds_observer *observer, dsync_code code, const char *message) {
    (void)observer;
    (void)message;
    CHECK_EQ_INT(code, DSYNC_CLOSED);
}

TEST(an_observer_follows) {
    client c1, c2;
    lock a, b;
    begin();
    memset(told, 0, sizeof(told));
    client_open(&c1);
    client_open(&c2);
    ds_observer observer = {.on_change = on_change, .on_end = on_end};
    CHECK(ds_observer_start(c2.engine, &observer, LOCK, false));
    RUN(50);
    CHECK_EQ_UINT(told[DS_CHANGE_VACANT], 1);
    lock_init(&a, &c1);
    lock_init(&b, &c2);
    acquire(&a);
    RUN(50);
    acquire(&b);
    RUN(50);
    CHECK_EQ_UINT(told[DS_CHANGE_ELECTED], 1);
    CHECK_EQ_UINT(told[DS_CHANGE_JOINED], 2);
    model_etcd_break_streams(model);
    release(&a);
    RUN(2000);
    CHECK(held(&b));
    CHECK_EQ_UINT(told[DS_CHANGE_ELECTED], 2);
    CHECK_EQ_UINT(told[DS_CHANGE_LEFT], 1);
    CHECK_EQ_UINT(told[DS_CHANGE_CHANGED], 0); /* acquired_at is none */
    client_close(&c1);
    client_close(&c2);
    finish();
}
