/* test_etcd_watch.c: the etcd backend's watches, all on one stream, against a real server. */
#include <signal.h>
#include <stdlib.h>

#include "etcd_session.h"

static void compact(int64_t revision) {
    char json[80];
    snprintf(json, sizeof(json), "{\"revision\":\"%" PRId64 "\",\"physical\":true}", revision);
    free(etcd_post(&server, "/v3/kv/compaction", json));
}

TEST(a_watch_tells_of_puts_and_deletes) {
    rig r;
    rig_watch w;
    REQUIRE(open_rig(&r));
    ds_watch_spec spec = {.key = "w/key"};
    REQUIRE(rig_watch_begin(&r, &w, &spec));
    CHECK_EQ_UINT(w.count, 0); /* never from inside watch() */
    REQUIRE(rig_watch_wait(&w, 1, 2000));
    CHECK_EQ_INT(w.events[0].kind, DS_WATCH_READY);
    CHECK(w.events[0].revision > 0);
    REQUIRE(etcd_put(&server, "w/key", "one", 0));
    REQUIRE(etcd_put(&server, "w/key/below", "not this", 0));
    REQUIRE(etcd_put(&server, "w/key", "two", 0));
    REQUIRE(etcd_delete(&server, "w/key"));
    REQUIRE(rig_watch_wait(&w, 4, 2000));
    CHECK_EQ_INT(w.events[1].kind, DS_WATCH_PUT);
    CHECK_EQ_TEXT(w.events[1].key, "w/key");
    CHECK_EQ_TEXT(w.events[1].value, "one");
    CHECK(w.events[1].revision > w.events[0].revision);
    CHECK_EQ_INT(w.events[1].token, w.events[1].revision);
    CHECK_EQ_TEXT(w.events[2].value, "two");
    CHECK_EQ_INT(w.events[2].token, w.events[1].token);
    CHECK_EQ_INT(w.events[3].kind, DS_WATCH_DELETED);
    CHECK_EQ_TEXT(w.events[3].value, "two"); /* the last one */
    CHECK_EQ_INT(w.events[3].token, w.events[1].token);
    rig_watch_end(&w);
    CHECK_NULL(w.watch.impl);
    REQUIRE(etcd_put(&server, "w/key", "three", 0));
    rig_idle(&r, 100);
    CHECK_EQ_UINT(w.count, 4);
    rig_close(&r);
}

TEST(a_watch_can_be_for_deletes_only_and_for_a_subtree) {
    rig r;
    rig_watch w;
    REQUIRE(open_rig(&r));
    ds_watch_spec spec = {.key = "w/tree", .subtree = true, .deletes_only = true};
    REQUIRE(rig_watch_begin(&r, &w, &spec));
    REQUIRE(rig_watch_wait(&w, 1, 2000));
    REQUIRE(etcd_put(&server, "w/tree/a", "A", 0));
    REQUIRE(etcd_put(&server, "w/tree-house", "H", 0));
    REQUIRE(etcd_delete(&server, "w/tree-house"));
    REQUIRE(etcd_delete(&server, "w/tree/a"));
    REQUIRE(rig_watch_wait(&w, 2, 2000));
    CHECK_EQ_INT(w.events[1].kind, DS_WATCH_DELETED);
    CHECK_EQ_TEXT(w.events[1].key, "w/tree/a");
    CHECK_EQ_TEXT(w.events[1].value, "A");
    rig_watch_end(&w);
    rig_close(&r);
}

TEST(a_watch_can_do_without_values) {
    rig r;
    rig_watch w;
    REQUIRE(open_rig(&r));
    ds_watch_spec spec = {.key = "w/bare", .deletes_only = true, .keys_only = true};
    REQUIRE(rig_watch_begin(&r, &w, &spec));
    REQUIRE(rig_watch_wait(&w, 1, 2000));
    REQUIRE(etcd_put(&server, "w/bare", "A", 0));
    REQUIRE(etcd_delete(&server, "w/bare"));
    REQUIRE(rig_watch_wait(&w, 2, 2000));
    CHECK_EQ_INT(w.events[1].kind, DS_WATCH_DELETED);
    CHECK_EQ_TEXT(w.events[1].key, "w/bare");
    CHECK_EQ_TEXT(w.events[1].value, "");
    rig_watch_end(&w);
    rig_close(&r);
}

TEST(a_watch_can_begin_in_the_past) {
    rig r;
    rig_watch w;
    REQUIRE(open_rig(&r));
    REQUIRE(etcd_put(&server, "w/past", "one", 0));
    int64_t revision = rig_get(&r, "w/past")->token;
    REQUIRE(etcd_put(&server, "w/past", "two", 0));
    ds_watch_spec spec = {.key = "w/past", .since = revision + 1};
    REQUIRE(rig_watch_begin(&r, &w, &spec));
    REQUIRE(rig_watch_wait(&w, 2, 2000));
    CHECK_EQ_INT(w.events[0].kind, DS_WATCH_READY);
    CHECK_EQ_INT(w.events[0].revision, revision); /* who saw this state has missed nothing */
    CHECK_EQ_TEXT(w.events[1].value, "two");
    rig_watch_end(&w);
    rig_close(&r);
}

TEST(a_watch_from_a_compacted_past_ends) {
    rig r;
    rig_watch w;
    REQUIRE(open_rig(&r));
    REQUIRE(etcd_put(&server, "w/old", "one", 0));
    int64_t first = rig_get(&r, "w/old")->token;
    REQUIRE(etcd_put(&server, "w/old", "two", 0));
    REQUIRE(etcd_put(&server, "w/old", "three", 0));
    compact(rig_get(&r, "w/old")->token);
    ds_watch_spec spec = {.key = "w/old", .since = first};
    REQUIRE(rig_watch_begin(&r, &w, &spec));
    rig_watch_wait(&w, 2, 2000);
    REQUIRE(w.count >= 1);
    const rig_event *end = &w.events[w.count - 1];
    CHECK_EQ_INT(end->kind, DS_WATCH_ENDED);
    CHECK_EQ_INT(end->outcome, DS_OK);
    CHECK_CONTAINS(end->message, "compacted");
    CHECK_NULL(w.watch.impl);
    rig_watch_end(&w); /* harmless */
    rig_close(&r);
}

/* How many watches the server itself counts. */
static int watchers(void) {
    char *metrics = etcd_post(&server, "/metrics", "");
    const char *line = metrics != NULL ? strstr(metrics, "\netcd_debugging_mvcc_watcher_total ") : NULL;
    int count = line != NULL ? (int)strtol(line + sizeof("\netcd_debugging_mvcc_watcher_total ") - 1, NULL, 10) : -1;
    free(metrics);
    return count;
}

TEST(watches_come_and_go_on_an_open_stream) {
    rig r;
    enum { COUNT = 40 };
    static rig_watch w[COUNT];
    char key[32];
    REQUIRE(open_rig(&r));
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "w/many/%d", i);
        ds_watch_spec spec = {.key = key};
        REQUIRE(rig_watch_begin(&r, &w[i], &spec));
        if (i % 10 == 3) {
            rig_watch_end(&w[i]); /* perhaps before it was sent */
        }
        if (i % 10 == 7) {
            rig_idle(&r, 2);
            rig_watch_end(&w[i - 1]); /* perhaps before it was answered */
        }
    }
    for (int i = 0; i < COUNT; i++) {
        bool ended = i % 10 == 3 || i % 10 == 6;
        CHECK_EQ_INT(rig_watch_wait(&w[i], 1, ended ? 0 : 2000) && !ended, !ended);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "w/many/%d", i);
        REQUIRE(etcd_put(&server, key, key, 0));
    }
    for (int i = 0; i < COUNT; i++) {
        test_case("%d", i);
        if (i % 10 == 3 || i % 10 == 6) {
            continue;
        }
        REQUIRE(rig_watch_wait(&w[i], 2, 2000));
        snprintf(key, sizeof(key), "w/many/%d", i);
        CHECK_EQ_TEXT(w[i].events[1].value, key);
        rig_watch_end(&w[i]);
    }
    /* The slots are free again, and a new watch is not mistaken for an old one. */
    ds_watch_spec spec = {.key = "w/many/0"};
    REQUIRE(rig_watch_begin(&r, &w[0], &spec));
    REQUIRE(rig_watch_wait(&w[0], 1, 2000));
    CHECK_EQ_INT(w[0].events[0].kind, DS_WATCH_READY);
    CHECK_EQ_INT(watchers(), 1); /* the others are off at the server, too */
    rig_watch_end(&w[0]);
    rig_idle(&r, 100);
    CHECK_EQ_INT(watchers(), 0);
    rig_close(&r);
}

TEST(an_eviction_shows_in_the_last_value) {
    rig r;
    rig_watch w;
    ds_lease lease;
    ds_entry json, plain;
    REQUIRE(open_rig(&r));
    rig_lease_init(&lease, "dsync", 5000);
    REQUIRE(rig_lease(&r, &lease)->outcome == DS_OK);
    rig_entry_init(&json, &lease, "dsync/lock/broken", "{\"id\":\"n1\"}");
    rig_entry_init(&plain, &lease, "dsync/lock/broken", "plain");
    const ds_entry *entries[] = {&json, &plain};
    static const char *const values[] = {"{\"broken_by\":\"tester\",\"id\":\"n1\"}", "{\"broken_by\":\"tester\"}"};
    for (size_t i = 0; i < 2; i++) {
        int64_t token = rig_enter(&r, entries[i], false)->token;
        char *key = rig_entry_key(&r, entries[i]);
        ds_watch_spec spec = {.key = key, .deletes_only = true};
        REQUIRE(rig_watch_begin(&r, &w, &spec));
        REQUIRE(rig_watch_wait(&w, 1, 2000));
        CHECK_EQ_INT(rig_evict(&r, "dsync/lock/broken", token)->place, DS_PLACE_DONE);
        REQUIRE(rig_watch_wait(&w, 2, 2000));
        CHECK_EQ_INT(w.events[1].kind, DS_WATCH_DELETED);
        CHECK_EQ_TEXT(w.events[1].value, values[i]);
        CHECK_CONTAINS(w.events[1].value, DS_BROKEN_MARK);
        CHECK_EQ_INT(w.events[1].token, token);
        rig_watch_end(&w);
        ds_free(key);
    }
    rig_revoke(&r, &lease);
    r.backend->ops->forget(r.backend, &lease);
    rig_close(&r);
}

TEST(a_session_that_ends_takes_entry_and_key_with_it) {
    rig r;
    rig_watch on_entry, on_session;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_rig(&r));
    rig_lease_init(&lease, "dsync", 5000);
    REQUIRE(rig_lease(&r, &lease)->outcome == DS_OK);
    rig_entry_init(&entry, &lease, "dsync/lock/ends", "v");
    REQUIRE(rig_enter(&r, &entry, false)->outcome == DS_OK);
    char *entry_key = rig_entry_key(&r, &entry);
    char *session_key = rig_session_key(&r, &lease);
    ds_watch_spec spec = {.key = entry_key, .deletes_only = true};
    REQUIRE(rig_watch_begin(&r, &on_entry, &spec));
    spec.key = session_key;
    REQUIRE(rig_watch_begin(&r, &on_session, &spec));
    REQUIRE(rig_watch_wait(&on_entry, 1, 2000) && rig_watch_wait(&on_session, 1, 2000));
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    char json[64];
    snprintf(json, sizeof(json), "{\"ID\":\"%" PRIu64 "\"}", lease.nonce);
    free(etcd_post(&server, "/v3/lease/revoke", json));
    REQUIRE(rig_watch_wait(&on_entry, 2, 2000) && rig_watch_wait(&on_session, 2, 2000));
    CHECK_EQ_INT(on_entry.events[1].kind, DS_WATCH_DELETED);
    CHECK_EQ_INT(on_session.events[1].kind, DS_WATCH_DELETED); /* and not for the renewal before it */
    CHECK_EQ_INT(on_entry.events[1].revision, on_session.events[1].revision);
    rig_watch_end(&on_entry);
    rig_watch_end(&on_session);
    ds_free(entry_key);
    ds_free(session_key);
    r.backend->ops->forget(r.backend, &lease);
    rig_close(&r);
}

static rig_watch chained;

static void begin_chained(ds_watch *from, const ds_watch_event *event) {
    rig_watch *watch = DS_CONTAINER_OF(from, rig_watch, watch);
    if (event->kind == DS_WATCH_ENDED) {
        ds_watch_spec spec = {.key = "w/chain"};
        (void)watch->r->backend->ops->watch(watch->r->backend, &chained.watch, &spec);
    }
    watch->count++;
    watch->enough = watch->count >= watch->wanted;
}

TEST(a_server_that_dies_ends_every_watch_and_new_ones_follow) {
    rig r;
    rig_watch w[3], next;
    REQUIRE(open_rig(&r));
    ds_watch_spec spec = {.key = "w/dies"};
    for (int i = 0; i < 3; i++) {
        REQUIRE(rig_watch_begin(&r, &w[i], &spec));
        REQUIRE(rig_watch_wait(&w[i], 1, 2000));
    }
    /* One of those who hear of the end begins anew at once. */
    REQUIRE(rig_watch_begin(&r, &chained, &spec));
    rig_watch_end(&chained);
    w[0].watch.on_event = begin_chained;
    etcd_stop(&server);
    for (int i = 0; i < 3; i++) {
        REQUIRE(rig_watch_wait(&w[i], 2, 3000));
        CHECK_NULL(w[i].watch.impl);
    }
    CHECK_EQ_INT(w[1].events[1].kind, DS_WATCH_ENDED);
    CHECK_EQ_INT(w[1].events[1].outcome, DS_NOT_EXECUTED);
    CHECK_CONTAINS(w[1].events[1].message, server.url);
    REQUIRE(rig_watch_wait(&chained, 1, 3000));
    CHECK_EQ_INT(chained.events[0].kind, DS_WATCH_ENDED);
    REQUIRE(etcd_start_again(&server, NULL));
    bool ready = false;
    for (int i = 0; i < 20 && !ready; i++) {
        REQUIRE(rig_watch_begin(&r, &next, &spec));
        ready = rig_watch_wait(&next, 1, 3000) && next.events[0].kind == DS_WATCH_READY;
        if (!ready) {
            rig_idle(&r, 100);
        }
    }
    CHECK(ready);
    rig_watch_end(&next);
    rig_close(&r);
}

/* A stopped process keeps its connections open and says nothing, as a lost network does. */
TEST(a_silent_stream_is_noticed) {
    rig r;
    rig_watch w;
    REQUIRE(open_rig(&r));
    ds_watch_spec spec = {.key = "w/silent"};
    REQUIRE(rig_watch_begin(&r, &w, &spec));
    REQUIRE(rig_watch_wait(&w, 1, 2000));
    CHECK(!rig_watch_wait(&w, 2, 16000)); /* silence alone is no fault: the server answers when asked */
    REQUIRE(etcd_put(&server, "w/silent", "x", 0));
    REQUIRE(rig_watch_wait(&w, 2, 2000));
    REQUIRE(kill(server.pid, SIGSTOP) == 0);
    bool ended = rig_watch_wait(&w, 3, 17000);
    kill(server.pid, SIGCONT);
    CHECK(ended);
    CHECK_EQ_INT(w.events[2].kind, DS_WATCH_ENDED);
    CHECK_CONTAINS(w.events[2].message, "silent");
    rig_close(&r);
}

TEST(closing_with_watches_on_is_quiet) {
    rig r;
    rig_watch w[2];
    REQUIRE(open_rig(&r));
    ds_watch_spec spec = {.key = "w/close"};
    REQUIRE(rig_watch_begin(&r, &w[0], &spec));
    REQUIRE(rig_watch_wait(&w[0], 1, 2000));
    REQUIRE(rig_watch_begin(&r, &w[1], &spec));
    rig_close(&r);
    CHECK_EQ_UINT(w[0].count, 1);
    CHECK_EQ_UINT(w[1].count, 0);
}
