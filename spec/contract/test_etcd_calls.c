/* test_etcd_calls.c: the etcd backend's requests that need no place in a queue, against a real server: what it is, what
 * it holds, and what becomes of calls that it does not answer. Watches are test_etcd_watch.c's.
 */
#include "etcd_session.h"

TEST(ping_names_the_server) {
    rig r;
    REQUIRE(open_rig(&r));
    const rig_reply *reply = rig_ping(&r);
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_CONTAINS(reply->server, "etcd 3.");
    CHECK(reply->revision > 0);
    CHECK_EQ_INT(rig_ping(&r)->outcome, DS_OK);
    rig_close(&r);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

TEST(get_is_exact_about_bytes) {
    rig r;
    REQUIRE(open_rig(&r));
    REQUIRE(etcd_put(&server, "dsync/data/empty", "", 0));
    const rig_reply *reply = rig_get(&r, "dsync/data/empty");
    CHECK(reply->has_value);
    CHECK_EQ_UINT(reply->value_size, 0);
    free(etcd_post(&server, "/v3/kv/put", "{\"key\":\"ZHN5bmMvZGF0YS9ieXRlcw==\",\"value\":\"AP8KIg==\"}"));
    reply = rig_get(&r, "dsync/data/bytes");
    CHECK_EQ_BYTES(reply->value, reply->value_size > 0 ? 1 : 0, "", 1);
    CHECK_EQ_UINT(reply->value_size, 4);
    reply = rig_get(&r, "dsync/data/none");
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK(!reply->has_value);
    rig_close(&r);
}

TEST(list_one_queue_in_order) {
    rig r;
    ds_lease lease;
    ds_entry a;
    REQUIRE(open_session(&r, &lease));
    char key[64];
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "dsync/lock/long/%03d", (i * 7) % 300);
        REQUIRE(etcd_put(&server, key, "v", (int64_t)lease.nonce));
    }
    const rig_reply *reply = rig_list(&r, "dsync/lock/long", false, 0, NULL);
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_EQ_UINT(reply->peer_count, 300);
    CHECK(!reply->has_next);
    for (size_t i = 0; i < reply->peer_count; i++) {
        snprintf(key, sizeof(key), "dsync/lock/long/%03d", ((int)i * 7) % 300);
        CHECK_EQ_TEXT(reply->peers[i].key, key);
        CHECK_EQ_TEXT(reply->peers[i].path, "dsync/lock/long");
        CHECK_EQ_INT(reply->peers[i].holds, i == 0);
        CHECK(i == 0 || reply->peers[i].token > reply->peers[i - 1].token);
    }
    CHECK_EQ_UINT(rig_list(&r, "dsync/lock/long", false, 3, NULL)->peer_count, 3);
    CHECK_EQ_UINT(rig_list(&r, "dsync/lock/long", false, 200, NULL)->peer_count, 200);
    reply = rig_list(&r, "dsync/lock/nobody", false, 0, NULL);
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_EQ_UINT(reply->peer_count, 0);
    rig_entry_init(&a, &lease, "dsync/lock/long", "A");
    CHECK_EQ_INT(rig_enter(&r, &a, false)->place, DS_PLACE_WAITING);
    close_session(&r, &lease);
}

TEST(list_a_subtree_keeps_queues_whole) {
    rig r;
    ds_lease lease;
    REQUIRE(open_session(&r, &lease));
    static const struct {
        const char *path;
        int count;
    } queues[] = {{"tree/lock/a", 100}, {"tree/lock/a!", 60}, {"tree/lock/b", 290}, {"tree/lock/c", 1}};
    char key[64];
    for (size_t q = 0; q < DS_COUNT(queues); q++) {
        for (int i = queues[q].count; i > 0; i--) {
            snprintf(key, sizeof(key), "%s/%03d", queues[q].path, i);
            REQUIRE(etcd_put(&server, key, "v", (int64_t)lease.nonce));
        }
    }
    REQUIRE(etcd_put(&server, "tree/lock/stray", "v", (int64_t)lease.nonce));
    REQUIRE(etcd_put(&server, "tree/locker/x/1", "v", (int64_t)lease.nonce));
    int seen[DS_COUNT(queues)] = {0};
    int pages = 0;
    const char *after = NULL;
    for (bool more = true; more && pages < 10; pages++) {
        const rig_reply *reply = rig_list(&r, "tree/lock", true, 0, after);
        REQUIRE(reply->outcome == DS_OK);
        for (size_t i = 0; i < reply->peer_count; i++) {
            size_t q = 0;
            while (q < DS_COUNT(queues) && strcmp(queues[q].path, reply->peers[i].path) != 0) {
                q++;
            }
            REQUIRE(q < DS_COUNT(queues));
            bool first = i == 0 || strcmp(reply->peers[i].path, reply->peers[i - 1].path) != 0;
            CHECK_EQ_INT(reply->peers[i].holds, first);
            CHECK(!first || seen[q] == 0);
            CHECK(first || reply->peers[i].token > reply->peers[i - 1].token);
            seen[q]++;
        }
        more = reply->has_next;
        after = reply->next;
    }
    CHECK(pages > 1);
    for (size_t q = 0; q < DS_COUNT(queues); q++) {
        CHECK_EQ_INT(seen[q], queues[q].count);
    }
    close_session(&r, &lease);
}

/* ---- servers ----------------------------------------------------------------------------------------------------- */

TEST(a_server_that_is_not_there) {
    rig r;
    const char *endpoint = "http://127.0.0.1:1";
    REQUIRE(rig_open(&r, &endpoint, 1, NULL));
    const rig_reply *reply = rig_ping(&r);
    CHECK_EQ_INT(reply->outcome, DS_NOT_EXECUTED);
    CHECK_CONTAINS(reply->message, "http://127.0.0.1:1");
    rig_close(&r);
}

TEST(another_endpoint_is_asked_next) {
    rig r;
    REQUIRE(server.pid > 0 || etcd_start(&server, NULL));
    const char *const endpoints[] = {"http://127.0.0.1:1", server.url};
    REQUIRE(rig_open(&r, endpoints, 2, NULL));
    CHECK_EQ_INT(rig_ping(&r)->outcome, DS_NOT_EXECUTED);
    CHECK_EQ_INT(rig_ping(&r)->outcome, DS_OK);
    CHECK_EQ_INT(rig_ping(&r)->outcome, DS_OK);
    rig_close(&r);
}

/* An emptied server is another cluster, or the same one with a past of its own. */
TEST(an_emptied_server_is_a_reset) {
    rig r;
    ds_lease lease;
    ds_entry a;
    etcd_server other;
    REQUIRE(etcd_start(&other, NULL));
    REQUIRE(rig_open_one(&r, &other));
    rig_lease_init(&lease, "dsync", 5000);
    CHECK_EQ_INT(rig_lease(&r, &lease)->outcome, DS_OK);
    rig_entry_init(&a, &lease, "dsync/lock/reset", "A");
    CHECK_EQ_INT(rig_enter(&r, &a, false)->place, DS_PLACE_HELD);
    etcd_stop_and_forget(&other);
    REQUIRE(etcd_start_again(&other, NULL));
    rig_timeout(600);
    ds_class outcome = DS_OK;
    for (int i = 0; i < 10 && (i == 0 || outcome == DS_NOT_EXECUTED || outcome == DS_AMBIGUOUS); i++) {
        outcome = rig_enter(&r, &a, false)->outcome;
    }
    CHECK_EQ_INT(outcome, DS_RESET);
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_RESET); /* whatever was opened before */
    rig_timeout(0);
    ds_lease fresh;
    rig_lease_init(&fresh, "dsync", 5000);
    CHECK_EQ_INT(rig_lease(&r, &fresh)->outcome, DS_OK);
    CHECK_EQ_INT(rig_renew(&r, &fresh)->outcome, DS_OK);
    r.backend->ops->forget(r.backend, &lease);
    close_session(&r, &fresh);
    etcd_stop_and_forget(&other);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static int done_calls;

static void count_done(ds_call *call, const ds_reply *reply) {
    (void)call;
    (void)reply;
    done_calls++;
}

TEST(a_cancelled_call_is_never_done) {
    rig r;
    REQUIRE(open_rig(&r));
    done_calls = 0;
    for (int i = 0; i < 20; i++) {
        ds_call call = {.done = count_done, .timeout_ns = DS_SECOND};
        ds_loop_lock(r.loop);
        r.backend->ops->ping(r.backend, &call);
        ds_loop_unlock(r.loop);
        if (i % 2 == 1) {
            rig_idle(&r, 0);
        }
        ds_loop_lock(r.loop);
        int before = done_calls;
        if (call.impl != NULL) {
            r.backend->ops->cancel(r.backend, &call);
            CHECK_NULL(call.impl);
            ds_loop_unlock(r.loop);
            rig_idle(&r, 10);
            CHECK_EQ_INT(done_calls, before);
        } else {
            ds_loop_unlock(r.loop);
        }
    }
    rig_close(&r);
}

#ifdef DS_TEST_ALLOC
/* Whatever runs out of memory where: each call ends once, and nothing is held that was said not to be. */
TEST(every_call_survives_any_lack_of_memory) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    for (uint64_t nth = 1; nth < 120; nth++) {
        test_case("%d", (int)nth);
        rig_entry_init(&entry, &lease, "dsync/lock/memory", "v");
        ds_test_fail_allocation(nth, false);
        const rig_reply *reply = rig_enter(&r, &entry, false);
        CHECK(reply->over);
        CHECK(reply->outcome == DS_OK || reply->message[0] != '\0');
        entry.token = reply->outcome == DS_OK ? reply->token : 0;
        CHECK(rig_check(&r, &entry)->over);
        CHECK(rig_list(&r, "dsync/lock/memory", true, 0, NULL)->over);
        CHECK(rig_evict(&r, "dsync/lock/memory", entry.token)->over);
        CHECK(rig_renew(&r, &lease)->over);
        rig_watch w;
        ds_watch_spec spec = {.key = "dsync/lock/memory"};
        if (rig_watch_begin(&r, &w, &spec)) {
            CHECK(rig_watch_wait(&w, 1, 2000));
            rig_watch_end(&w);
        }
        ds_test_fail_allocation(0, false);
        entry.token = 0;
        CHECK_EQ_INT(rig_leave(&r, &entry)->outcome, DS_OK);
        CHECK(!entry_exists(&r, &entry));
    }
    close_session(&r, &lease);
}
#endif
