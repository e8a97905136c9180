/* What the ZooKeeper backend makes of what its library says: which session it asks and watches by, and what is believed
 * of requests that a server did not take. */
#include "backend/zookeeper.h"

#include <stdlib.h>

#include "test.h"

#include "backend/zookeeper_over.h"
#include "fake_world.h"
#include "scripted_zookeeper.h"

#define QUEUE "p/lock/q"
#define AHEAD QUEUE "/_c_00000000000000e0-lock-0000000003"
#define OWN QUEUE "/_c_00000000000000e1-lock-0000000004"

typedef struct asked {
    ds_call call;
    unsigned answers;
    ds_class outcome;
    dsync_code code;
    ds_place place;
    int64_t token;
    char ahead[100];
} asked;

typedef struct heard {
    ds_watch watch;
    char log[300]; /* "ready deleted ended" */
    ds_class outcome;
} heard;

typedef struct rig {
    fw *u;
    ds_backend *backend;
    ds_lease leases[2]; /* opened in sessions 1 and 2 */
    ds_entry entry;     /* of the second */
} rig;

static void on_done(ds_call *call, const ds_reply *reply) {
    asked *a = DS_CONTAINER_OF(call, asked, call);
    a->answers++;
    a->outcome = reply->outcome;
    a->code = reply->code;
    a->place = reply->place;
    a->token = reply->token;
    (void)snprintf(a->ahead, sizeof(a->ahead), "%s", reply->ahead != NULL ? reply->ahead : "");
}

static asked new_asked(void) {
    return (asked){.call = {.done = on_done, .timeout_ns = DS_SECOND}};
}

static void on_heard(ds_watch *watch, const ds_watch_event *event) {
    static const char *const names[] = {"ready", "put", "deleted", "changed", "doubt", "ended"};
    heard *h = DS_CONTAINER_OF(watch, heard, watch);
    size_t used = strlen(h->log);
    (void)snprintf(h->log + used, sizeof(h->log) - used, "%s%s", used > 0 ? " " : "", names[event->kind]);
    h->outcome = event->outcome;
}

static void open_lease(rig *r, size_t i) {
    asked opening = new_asked();
    r->leases[i] = (ds_lease){.nonce = 0xa1 + i, .prefix = "p", .info = "{}", .ttl_ms = 10000 + (int64_t)i, .epoch = 1};
    r->backend->ops->open(r->backend, &opening.call, &r->leases[i]);
    fw_settle(r->u);
    CHECK_EQ_INT(sz_opened(), i + 1);
    sz_connect(i + 1);
    CHECK_CONTAINS(sz_oldest(i + 1), "create /p/session/");
    sz_answer(i + 1, &(ds_zk_answer){.path = "", .stat = &(ds_zk_stat){.czxid = 1, .owner = (int64_t)i + 1}});
    CHECK_EQ_INT(opening.answers, 1);
    CHECK_EQ_INT(opening.outcome, DS_OK);
}

static void rig_open(rig *r) {
    static const char *const hosts[] = {"127.0.0.1:2181"};
    dsync_options options = {.size = sizeof(options), .prefix = "p", .id = "node", .ttl_ms = 10000, .max_value = 65536};
    options.connect_timeout_ms = 1000;
    ds_backend_config config = {.options = &options, .endpoints = hosts, .endpoint_count = 1};
    dsync_error error;
    sz_begin();
    *r = (rig){.u = fw_new(7)};
    r->backend = ds_zookeeper_backend_over(fw_world(r->u), &config, &sz_driver, &error);
    if (r->backend == NULL) {
        abort();
    }
    for (size_t i = 0; i < DS_COUNT(r->leases); i++) {
        open_lease(r, i);
    }
    r->entry = (ds_entry){.lease = &r->leases[1], .path = QUEUE, .nonce = "00000000000000e1"};
}

static void rig_close(rig *r) {
    for (size_t i = 0; i < DS_COUNT(r->leases); i++) {
        r->backend->ops->forget(r->backend, &r->leases[i]);
    }
    fw_settle(r->u);
    r->backend->ops->destroy(r->backend);
    CHECK_EQ_INT(fw_free(r->u), 0);
}

static void answer_children(const char *const *names, size_t count) {
    sz_answer(2, &(ds_zk_answer){.stat = &(ds_zk_stat){.czxid = 1}, .children = names, .count = count});
}

static void answer_created(void) {
    CHECK_EQ_TEXT(sz_oldest(2), "create /p/lock/q/_c_00000000000000e1-lock-");
    sz_answer(2, &(ds_zk_answer){.path = "/" OWN, .stat = &(ds_zk_stat){.czxid = 77, .owner = 2}});
}

/* The entry waits behind AHEAD. */
static void enter(rig *r) {
    static const char *const both[] = {"_c_00000000000000e1-lock-0000000004", "_c_00000000000000e0-lock-0000000003"};
    asked entering = new_asked();
    r->backend->ops->enter(r->backend, &entering.call, &r->entry, false);
    answer_created();
    answer_children(both, 2);
    CHECK_EQ_INT(entering.place, DS_PLACE_WAITING);
    CHECK_EQ_INT(entering.token, 77);
    CHECK_EQ_TEXT(entering.ahead, AHEAD);
}

static heard new_heard(void) {
    return (heard){.watch = {.on_event = on_heard}};
}

static void watch(rig *r, heard *h, const ds_watch_spec *spec) {
    CHECK(r->backend->ops->watch(r->backend, &h->watch, spec));
}

/* ---- which session ----------------------------------------------------------------------------------------------- */

TEST(who_is_ahead_is_watched_by_the_session_that_will_look_again) {
    rig r;
    rig_open(&r);
    heard h = new_heard();
    watch(&r, &h, &(ds_watch_spec){.key = AHEAD, .deletes_only = true, .asker = &r.leases[1]});
    CHECK_EQ_TEXT(sz_oldest(1), "");
    CHECK_EQ_TEXT(sz_oldest(2), "children /" AHEAD " (watch)");
    sz_code(2, DS_ZK_OK);
    sz_change(2, DS_ZK_DELETED, "/" AHEAD);
    CHECK_EQ_TEXT(h.log, "ready deleted");
    asked checking = new_asked();
    r.backend->ops->check(r.backend, &checking.call, &r.entry);
    CHECK_EQ_TEXT(sz_oldest(2), "children /" QUEUE);
    sz_code(2, DS_ZK_OK);
    r.backend->ops->unwatch(r.backend, &h.watch);
    rig_close(&r);
}

TEST(what_nobody_in_particular_asks_goes_by_any_session) {
    rig r;
    rig_open(&r);
    heard h = new_heard();
    watch(&r, &h, &(ds_watch_spec){.key = "p/lock/q", .subtree = true});
    CHECK_EQ_TEXT(sz_oldest(1), "exists /p/lock/q (watch)");
    CHECK_EQ_INT(sz_opened(), 2);
    r.backend->ops->unwatch(r.backend, &h.watch);
    rig_close(&r);
}

/* ---- requests that were not taken -------------------------------------------------------------------------------- */

TEST(an_entry_made_is_in_doubt_when_the_question_behind_it_was_not_taken) {
    rig r;
    rig_open(&r);
    asked entering = new_asked();
    r.backend->ops->enter(r.backend, &entering.call, &r.entry, false);
    answer_created();
    sz_code(2, DS_ZK_NOT_TAKEN);
    CHECK_EQ_INT(entering.answers, 1);
    CHECK_EQ_INT(entering.outcome, DS_AMBIGUOUS);
    rig_close(&r);
}

TEST(a_question_that_was_not_taken_has_done_nothing) {
    rig r;
    rig_open(&r);
    enter(&r);
    asked checking = new_asked();
    r.backend->ops->check(r.backend, &checking.call, &r.entry);
    sz_code(2, DS_ZK_NOT_TAKEN);
    CHECK_EQ_INT(checking.outcome, DS_NOT_EXECUTED);
    rig_close(&r);
}

TEST(a_watch_that_was_not_taken_ends) {
    rig r;
    rig_open(&r);
    heard h = new_heard();
    watch(&r, &h, &(ds_watch_spec){.key = AHEAD, .asker = &r.leases[1]});
    sz_code(2, DS_ZK_NOT_TAKEN);
    fw_settle(r.u);
    CHECK_EQ_TEXT(h.log, "ended");
    CHECK_EQ_INT(h.outcome, DS_NOT_EXECUTED);
    CHECK(h.watch.impl == NULL);
    rig_close(&r);
}

TEST(a_watch_whose_request_was_lost_begins_with_the_next_connection) {
    rig r;
    rig_open(&r);
    heard h = new_heard();
    watch(&r, &h, &(ds_watch_spec){.key = AHEAD, .asker = &r.leases[1]});
    sz_lose(2);
    fw_settle(r.u);
    CHECK_EQ_TEXT(h.log, "");
    sz_connect(2);
    CHECK_EQ_TEXT(sz_oldest(2), "children /" AHEAD " (watch)");
    sz_code(2, DS_ZK_NO_NODE);
    CHECK_EQ_TEXT(h.log, "deleted");
    r.backend->ops->unwatch(r.backend, &h.watch);
    rig_close(&r);
}

/* ---- somebody else's hand on our entry --------------------------------------------------------------------------- */

TEST(an_entry_marked_as_broken_is_removed_by_its_owner) {
    static const char mark[] = "{\"id\":\"node\",\"broken_by\":\"admin\"}";
    rig r;
    rig_open(&r);
    enter(&r);
    heard h = new_heard();
    watch(&r, &h, &(ds_watch_spec){.key = OWN, .deletes_only = true, .lease = &r.leases[1]});
    fw_advance(r.u, 2 * DS_SECOND); /* one that waits is in no hurry */
    CHECK_EQ_TEXT(sz_oldest(2), "get /" OWN " (watch)");
    sz_answer(2, &(ds_zk_answer){.stat = &(ds_zk_stat){.czxid = 77}, .data = "{}", .size = 2});
    sz_change(2, DS_ZK_CHANGED, "/" OWN);
    CHECK_EQ_TEXT(sz_oldest(2), "get /" OWN " (watch)");
    sz_answer(2, &(ds_zk_answer){.stat = &(ds_zk_stat){.czxid = 77}, .data = mark, .size = sizeof(mark) - 1});
    CHECK_EQ_TEXT(h.log, "ready deleted");
    CHECK_EQ_TEXT(sz_oldest(2), "delete /" OWN);
    r.backend->ops->unwatch(r.backend, &h.watch);
    rig_close(&r);
}

/* ---- no memory --------------------------------------------------------------------------------------------------- */

#ifdef DS_TEST_ALLOC
TEST(a_session_without_memory_for_its_connection_was_never_there_to_be_lost) {
    rig r;
    rig_open(&r);
    asked opening = new_asked();
    ds_lease lease = {.nonce = 0xb1, .prefix = "p", .info = "{}", .ttl_ms = 10002, .epoch = 1};
    ds_test_fail_allocation(1, false);
    r.backend->ops->open(r.backend, &opening.call, &lease);
    ds_test_fail_allocation(0, false);
    fw_settle(r.u);
    CHECK_EQ_INT(sz_opened(), DS_COUNT(r.leases));
    CHECK_EQ_INT(opening.answers, 1);
    CHECK_EQ_INT(opening.outcome, DS_REFUSED);
    CHECK_EQ_INT(opening.code, DSYNC_RESOURCE);
    r.backend->ops->forget(r.backend, &lease);
    rig_close(&r);
}
#endif
