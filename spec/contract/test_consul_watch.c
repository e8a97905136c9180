/* test_consul_watch.c: watches on a real agent: what is heard, and how many questions carry it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/consul_watch.h"
#include "consul_rig.h"
#include "test.h"

#define PATIENCE_MS 20000

static consul_server server;

__attribute__((destructor)) static void stop_server(void) {
    if (server.folder[0] != '\0') {
        consul_stop(&server);
    }
}

static bool open_session(rig *r, ds_lease *lease) {
    if ((server.pid <= 0 && !consul_start(&server)) || !consul_rig_open(r, &server, NULL)) {
        return false;
    }
    rig_lease_init(lease, "dsync", 10000);
    return rig_lease(r, lease)->outcome == DS_OK;
}

static void close_session(rig *r, ds_lease *lease) {
    rig_revoke(r, lease);
    r->backend->ops->forget(r->backend, lease);
    rig_close(r);
}

static bool begin(rig *r, rig_watch *watch, const char *key, const ds_lease *lease, int64_t since) {
    ds_watch_spec spec = {.key = key, .deletes_only = true, .since = since, .lease = lease};
    return rig_watch_begin(r, watch, &spec);
}

static size_t count_queries(rig *r) {
    ds_loop_lock(r->loop);
    const ds_consul *consul = ds_consul_of(r->backend);
    size_t count = 0;
    for (const ds_list *node = consul->queries.next; node != &consul->queries; node = node->next) {
        count++;
    }
    ds_loop_unlock(r->loop);
    return count;
}

TEST(the_end_of_a_session_is_heard) {
    static rig_watch watch;
    rig r;
    ds_lease lease;
    REQUIRE(open_session(&r, &lease));
    char *key = rig_session_key(&r, &lease);
    REQUIRE(begin(&r, &watch, key, &lease, lease.created + 1));
    REQUIRE(rig_watch_wait(&watch, 1, PATIENCE_MS));
    CHECK_EQ_INT(watch.events[0].kind, DS_WATCH_READY);
    consul_destroy(&server, lease.id);
    REQUIRE(rig_watch_wait(&watch, 2, PATIENCE_MS));
    CHECK_EQ_INT(watch.events[1].kind, DS_WATCH_DELETED);
    rig_watch_end(&watch);
    ds_free(key);
    close_session(&r, &lease);
}

TEST(the_deletion_of_a_held_lock_is_heard_and_a_write_to_it_is_not) {
    static rig_watch watch;
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "dsync/lock/heard", "x");
    entry.token = rig_enter(&r, &entry, false)->token;
    char *key = rig_entry_key(&r, &entry);
    REQUIRE(begin(&r, &watch, key, &lease, entry.token + 1));
    REQUIRE(rig_watch_wait(&watch, 1, PATIENCE_MS));
    CHECK(consul_put(&server, "dsync/lock/heard/.lock", "", "scribble"));
    CHECK(!rig_watch_wait(&watch, 2, 300));
    CHECK(consul_delete(&server, "dsync/lock/heard/.lock"));
    REQUIRE(rig_watch_wait(&watch, 2, PATIENCE_MS));
    CHECK_EQ_INT(watch.events[1].kind, DS_WATCH_DELETED);
    CHECK(!watch.events[1].has_value);
    rig_watch_end(&watch);
    ds_free(key);
    close_session(&r, &lease);
}

TEST(who_broke_a_lock_is_told_and_the_note_removed) {
    static rig_watch watch;
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "dsync/lock/broken", "x");
    entry.token = rig_enter(&r, &entry, false)->token;
    char *key = rig_entry_key(&r, &entry);
    REQUIRE(begin(&r, &watch, key, &lease, entry.token + 1));
    REQUIRE(rig_watch_wait(&watch, 1, PATIENCE_MS));
    CHECK_EQ_INT(rig_evict(&r, "dsync/lock/broken", entry.token)->place, DS_PLACE_DONE);
    REQUIRE(rig_watch_wait(&watch, 2, PATIENCE_MS));
    CHECK_CONTAINS(watch.events[1].value, DS_BROKEN_MARK);
    CHECK_CONTAINS(watch.events[1].value, "tester");
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/broken"), 0);
    rig_watch_end(&watch);
    ds_free(key);
    close_session(&r, &lease);
}

TEST(somebody_elses_lock_is_heard_when_it_is_released_though_its_key_stays) {
    static rig_watch watch;
    rig r;
    ds_lease lease;
    char other[72], query[100];
    REQUIRE(open_session(&r, &lease));
    REQUIRE(consul_session(&server, "{\"TTL\":\"10s\"}", other, sizeof(other)));
    snprintf(query, sizeof(query), "?acquire=%s", other);
    CHECK(consul_put(&server, "service/native", query, "x"));
    REQUIRE(begin(&r, &watch, "service/native", NULL, 0));
    REQUIRE(rig_watch_wait(&watch, 1, PATIENCE_MS));
    snprintf(query, sizeof(query), "?release=%s", other);
    CHECK(consul_put(&server, "service/native", query, "x"));
    REQUIRE(rig_watch_wait(&watch, 2, PATIENCE_MS));
    CHECK_EQ_INT(watch.events[1].kind, DS_WATCH_DELETED);
    rig_watch_end(&watch);
    consul_destroy(&server, other);
    close_session(&r, &lease);
}

TEST(a_subtree_tells_that_something_changed) {
    static rig_watch watch;
    rig r;
    ds_lease lease;
    REQUIRE(open_session(&r, &lease));
    ds_watch_spec spec = {.key = "dsync/leader/default", .subtree = true};
    REQUIRE(rig_watch_begin(&r, &watch, &spec));
    REQUIRE(rig_watch_wait(&watch, 1, PATIENCE_MS));
    CHECK_EQ_INT(watch.events[0].kind, DS_WATCH_READY);
    CHECK(consul_put(&server, "dsync/leader/default/x/.lock", "", "1"));
    REQUIRE(rig_watch_wait(&watch, 2, PATIENCE_MS));
    CHECK_EQ_INT(watch.events[1].kind, DS_WATCH_CHANGED);
    CHECK(consul_delete(&server, "dsync/leader/default/x/.lock"));
    REQUIRE(rig_watch_wait(&watch, 3, PATIENCE_MS));
    rig_watch_end(&watch);
    close_session(&r, &lease);
}

#define MANY 200

/* 200 locks that somebody else holds, waited for: each must be heard of, by a handful of questions. */
TEST(many_watches_need_few_questions) {
    static rig_watch watches[MANY];
    static ds_entry holders[MANY];
    static char paths[MANY][40];
    rig r, s;
    ds_lease lease, other;
    REQUIRE(open_session(&r, &lease) && open_session(&s, &other));
    for (int i = 0; i < MANY; i++) {
        snprintf(paths[i], sizeof(paths[i]), "dsync/lock/many%d", i);
        rig_entry_init(&holders[i], &other, paths[i], "h");
        holders[i].token = rig_enter(&s, &holders[i], false)->token;
        char *key = rig_entry_key(&s, &holders[i]);
        ds_watch_spec spec = {.key = key, .deletes_only = true, .seen = holders[i].token};
        CHECK(rig_watch_begin(&r, &watches[i], &spec));
        ds_free(key);
    }
    rig_idle(&r, 300);
    CHECK(count_queries(&r) <= 6);
    for (int i = MANY - 1; i >= 0; i -= 7) {
        CHECK_EQ_INT(rig_leave(&s, &holders[i])->place, DS_PLACE_DONE);
        size_t last = watches[i].count;
        for (int k = 0; k < 20 && (last == 0 || watches[i].events[last - 1].kind != DS_WATCH_DELETED); k++) {
            REQUIRE(rig_watch_wait(&watches[i], last + 1, PATIENCE_MS));
            last = watches[i].count;
        }
    }
    for (int i = 0; i < MANY; i++) {
        bool left = (MANY - 1 - i) % 7 == 0;
        for (size_t k = 0; k < watches[i].count && !left; k++) {
            CHECK_EQ_INT(watches[i].events[k].kind, DS_WATCH_READY);
        }
        rig_watch_end(&watches[i]);
    }
    close_session(&s, &other);
    close_session(&r, &lease);
}
