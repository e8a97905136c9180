/* test_etcd_calls.c: every request of the etcd backend but watches, against a real server, its effect read back by
 * other means. What the server does not understand it ignores silently, so nothing here is taken on trust.
 */
#include <stdlib.h>

#include "etcd_rig.h"
#include "test.h"

static etcd_server server;

__attribute__((destructor)) static void stop_server(void) {
    if (server.folder[0] != '\0') {
        etcd_stop_and_forget(&server);
    }
}

static bool open_rig(rig *r) {
    return (server.pid > 0 || etcd_start(&server, NULL)) && rig_open_one(r, &server);
}

/* A rig with an open session. */
static bool open_session(rig *r, ds_lease *lease) {
    if (!open_rig(r)) {
        return false;
    }
    rig_lease_init(lease, "dsync", 5000);
    return rig_lease(r, lease)->outcome == DS_OK;
}

static void close_session(rig *r, ds_lease *lease) {
    rig_revoke(r, lease);
    r->backend->ops->forget(r->backend, lease);
    rig_close(r);
}

static bool key_exists(const char *key) {
    char *value = etcd_value(&server, key, NULL, NULL);
    free(value);
    return value != NULL;
}

static bool entry_exists(rig *r, const ds_entry *entry) {
    char *key = rig_entry_key(r, entry);
    bool exists = key_exists(key);
    ds_free(key);
    return exists;
}

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

TEST(open_makes_the_lease_we_chose_and_the_session_key) {
    rig r;
    ds_lease lease;
    REQUIRE(open_rig(&r));
    rig_lease_init(&lease, "dsync", 4500);
    const rig_reply *reply = rig_lease(&r, &lease);
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_EQ_INT(reply->ttl_ms, 5000); /* whole seconds, rounded up */
    CHECK_EQ_UINT(reply->epoch, 1);
    char *key = rig_session_key(&r, &lease);
    int64_t of = 0, create = 0;
    char *value = etcd_value(&server, key, &of, &create);
    CHECK_EQ_TEXT(value, "{\"epoch\":1,\"id\":\"tester\"}");
    CHECK_EQ_INT(of, (int64_t)lease.nonce);
    CHECK_EQ_INT(create, lease.created);
    char id[32];
    snprintf(id, sizeof(id), "%" PRIx64, lease.nonce);
    CHECK_EQ_TEXT(lease.id, id);
    free(value);
    ds_free(key);
    close_session(&r, &lease);
}

TEST(open_is_replayable) {
    rig r;
    ds_lease lease;
    REQUIRE(open_session(&r, &lease));
    int64_t created = lease.created;
    rig_idle(&r, 3000); /* of the 5 s: the replay must promise no more than it has */
    const rig_reply *reply = rig_lease(&r, &lease);
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_EQ_INT(reply->ttl_ms, 5000);
    CHECK_EQ_INT(lease.created, created);
    CHECK_EQ_UINT(reply->epoch, 1);
    rig_idle(&r, 3800);
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    close_session(&r, &lease);
}

TEST(open_grants_no_less_than_the_server_allows) {
    rig r;
    ds_lease lease;
    REQUIRE(open_rig(&r));
    rig_lease_init(&lease, "dsync", 1000);
    const rig_reply *reply = rig_lease(&r, &lease);
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_EQ_INT(reply->ttl_ms, 2000);
    close_session(&r, &lease);
}

TEST(renew_keeps_the_lease_alive) {
    rig r;
    ds_lease lease;
    REQUIRE(open_rig(&r));
    rig_lease_init(&lease, "dsync", 2000);
    REQUIRE(rig_lease(&r, &lease)->outcome == DS_OK);
    for (int i = 0; i < 5; i++) {
        rig_idle(&r, 1000);
        const rig_reply *reply = rig_renew(&r, &lease);
        CHECK_EQ_INT(reply->outcome, DS_OK);
        CHECK_EQ_INT(reply->ttl_ms, 2000);
    }
    char *key = rig_session_key(&r, &lease);
    char *value = etcd_value(&server, key, NULL, NULL);
    CHECK_EQ_TEXT(value, "{\"epoch\":1,\"id\":\"tester\"}");
    free(value);
    ds_free(key);
    close_session(&r, &lease);
}

TEST(renew_after_a_revoke_is_lost) {
    rig r;
    ds_lease lease;
    REQUIRE(open_session(&r, &lease));
    CHECK_EQ_INT(rig_revoke(&r, &lease)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_LOST);
    CHECK_EQ_INT(rig_revoke(&r, &lease)->outcome, DS_OK); /* gone already */
    close_session(&r, &lease);
}

TEST(renew_without_the_session_key_is_lost_though_the_lease_lives) {
    rig r;
    ds_lease lease;
    REQUIRE(open_session(&r, &lease));
    char *key = rig_session_key(&r, &lease);
    REQUIRE(etcd_delete(&server, key));
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_LOST);
    CHECK(!key_exists(key)); /* and was not brought back */
    REQUIRE(etcd_put(&server, key, "imposter", 0));
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_LOST);
    ds_free(key);
    close_session(&r, &lease);
}

TEST(close_removes_all_keys_of_the_session) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "dsync/lock/close", "v");
    CHECK_EQ_INT(rig_enter(&r, &entry, false)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_revoke(&r, &lease)->outcome, DS_OK);
    CHECK(!entry_exists(&r, &entry));
    char *key = rig_session_key(&r, &lease);
    CHECK(!key_exists(key));
    ds_free(key);
    close_session(&r, &lease);
}

TEST(enter_stands_in_line) {
    rig r;
    ds_lease lease;
    ds_entry a, b, c;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&a, &lease, "dsync/lock/line", "A");
    rig_entry_init(&b, &lease, "dsync/lock/line", "B");
    rig_entry_init(&c, &lease, "dsync/lock/line", "");
    const rig_reply *reply = rig_enter(&r, &a, false);
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    a.token = reply->token;
    char *key = rig_entry_key(&r, &a);
    int64_t of = 0, create = 0;
    char *value = etcd_value(&server, key, &of, &create);
    CHECK_EQ_TEXT(value, "A");
    CHECK_EQ_INT(of, (int64_t)lease.nonce);
    CHECK_EQ_INT(create, a.token);
    free(value);

    reply = rig_enter(&r, &b, false);
    CHECK_EQ_INT(reply->place, DS_PLACE_WAITING);
    CHECK_EQ_TEXT(reply->ahead, key);
    CHECK(reply->token > a.token);
    CHECK_EQ_INT(reply->crowd, 2);
    b.token = reply->token;

    reply = rig_enter(&r, &c, false);
    char *key_b = rig_entry_key(&r, &b);
    CHECK_EQ_INT(reply->place, DS_PLACE_WAITING);
    CHECK_EQ_TEXT(reply->ahead, key_b);
    c.token = reply->token;

    /* Replays find each where it is. */
    reply = rig_enter(&r, &a, false);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    CHECK_EQ_INT(reply->token, a.token);
    reply = rig_enter(&r, &b, false);
    CHECK_EQ_INT(reply->place, DS_PLACE_WAITING);
    CHECK_EQ_INT(reply->token, b.token);
    CHECK_EQ_TEXT(reply->ahead, key);
    reply = rig_enter(&r, &c, false);
    CHECK_EQ_INT(reply->place, DS_PLACE_WAITING);
    CHECK_EQ_INT(reply->token, c.token);
    CHECK_EQ_TEXT(reply->ahead, key_b);
    CHECK_EQ_INT(reply->crowd, 3);
    CHECK_EQ_INT(etcd_count(&server, "dsync/lock/line/"), 3);
    ds_free(key);
    ds_free(key_b);
    close_session(&r, &lease);
}

TEST(check_tells_the_place) {
    rig r;
    ds_lease lease;
    ds_entry a, b;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&a, &lease, "dsync/lock/check", "A");
    rig_entry_init(&b, &lease, "dsync/lock/check", "B");
    a.token = rig_enter(&r, &a, false)->token;
    b.token = rig_enter(&r, &b, false)->token;
    char *key = rig_entry_key(&r, &a);
    const rig_reply *reply = rig_check(&r, &b);
    CHECK_EQ_INT(reply->place, DS_PLACE_WAITING);
    CHECK_EQ_TEXT(reply->ahead, key);
    reply = rig_check(&r, &a);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    CHECK_EQ_INT(reply->token, a.token);
    CHECK_EQ_INT(rig_leave(&r, &a)->place, DS_PLACE_DONE);
    CHECK(!key_exists(key));
    CHECK_EQ_INT(rig_check(&r, &b)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_check(&r, &a)->place, DS_PLACE_GONE);
    CHECK_EQ_INT(rig_leave(&r, &a)->place, DS_PLACE_GONE);
    rig_revoke(&r, &lease);
    CHECK_EQ_INT(rig_check(&r, &b)->outcome, DS_LOST);
    ds_free(key);
    close_session(&r, &lease);
}

TEST(native_entries_stand_in_the_same_line) {
    rig r;
    ds_lease lease;
    ds_entry a;
    REQUIRE(open_session(&r, &lease));
    REQUIRE(etcd_put(&server, "native/lock/694d81234567", "go", 0));
    rig_entry_init(&a, &lease, "native/lock", "A");
    const rig_reply *reply = rig_enter(&r, &a, false);
    CHECK_EQ_INT(reply->place, DS_PLACE_WAITING);
    CHECK_EQ_TEXT(reply->ahead, "native/lock/694d81234567");
    a.token = reply->token;
    REQUIRE(etcd_delete(&server, "native/lock/694d81234567"));
    CHECK_EQ_INT(rig_check(&r, &a)->place, DS_PLACE_HELD);
    close_session(&r, &lease);
}

TEST(a_path_is_not_its_longer_neighbour) {
    rig r;
    ds_lease lease;
    ds_entry a, b;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&a, &lease, "dsync/lock/near", "A");
    rig_entry_init(&b, &lease, "dsync/lock/near-by", "B");
    CHECK_EQ_INT(rig_enter(&r, &a, false)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_enter(&r, &b, false)->place, DS_PLACE_HELD);
    close_session(&r, &lease);
}

TEST(a_try_takes_all_or_nothing) {
    rig r;
    ds_lease lease;
    ds_entry a, b;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&a, &lease, "dsync/lock/try", "A");
    rig_entry_init(&b, &lease, "dsync/lock/try", "B");
    const rig_reply *reply = rig_enter(&r, &a, true);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    a.token = reply->token;
    reply = rig_enter(&r, &a, true);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    CHECK_EQ_INT(reply->token, a.token);
    reply = rig_enter(&r, &b, true);
    CHECK_EQ_INT(reply->place, DS_PLACE_BUSY);
    CHECK_EQ_TEXT(reply->holder_value, "A");
    CHECK(!entry_exists(&r, &b));
    CHECK_EQ_INT(rig_leave(&r, &a)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(rig_enter(&r, &b, true)->place, DS_PLACE_HELD);
    close_session(&r, &lease);
}

TEST(leaving_without_a_token_removes_by_nonce) {
    rig r;
    ds_lease lease;
    ds_entry a;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&a, &lease, "dsync/lock/leave0", "A");
    CHECK_EQ_INT(rig_leave(&r, &a)->place, DS_PLACE_GONE);
    CHECK_EQ_INT(rig_enter(&r, &a, false)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_leave(&r, &a)->place, DS_PLACE_DONE);
    CHECK(!entry_exists(&r, &a));
    close_session(&r, &lease);
}

TEST(leaving_spares_what_was_made_anew) {
    rig r;
    ds_lease lease;
    ds_entry a;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&a, &lease, "dsync/lock/anew", "A");
    a.token = rig_enter(&r, &a, false)->token;
    char *key = rig_entry_key(&r, &a);
    REQUIRE(etcd_delete(&server, key));
    REQUIRE(etcd_put(&server, key, "other", 0));
    CHECK_EQ_INT(rig_leave(&r, &a)->place, DS_PLACE_GONE);
    CHECK(key_exists(key));
    CHECK_EQ_INT(rig_check(&r, &a)->place, DS_PLACE_GONE);
    etcd_delete(&server, key);
    ds_free(key);
    close_session(&r, &lease);
}

TEST(swap_gives_the_place_up_and_queues_anew) {
    rig r;
    ds_lease lease;
    ds_entry a, b, c;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&a, &lease, "dsync/lock/swap", "A");
    rig_entry_init(&b, &lease, "dsync/lock/swap", "B");
    rig_entry_init(&c, &lease, "dsync/lock/swap", "C");
    a.token = rig_enter(&r, &a, false)->token;
    const rig_reply *reply = rig_swap(&r, &a, &b);
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    CHECK(reply->token > a.token);
    b.token = reply->token;
    CHECK(!entry_exists(&r, &a));

    reply = rig_swap(&r, &a, &b); /* a late copy */
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    CHECK_EQ_INT(reply->token, b.token);

    REQUIRE(etcd_put(&server, "dsync/lock/swap/remote", "R", 0));
    reply = rig_swap(&r, &b, &c);
    CHECK_EQ_INT(reply->place, DS_PLACE_WAITING);
    CHECK_EQ_TEXT(reply->ahead, "dsync/lock/swap/remote");
    CHECK_EQ_INT(reply->crowd, 2);
    c.token = reply->token;

    reply = rig_swap(&r, &a, &b); /* a very late copy changes nothing */
    CHECK_EQ_INT(reply->place, DS_PLACE_GONE);
    CHECK(!entry_exists(&r, &b));
    REQUIRE(etcd_delete(&server, "dsync/lock/swap/remote"));
    rig_revoke(&r, &lease);
    CHECK_EQ_INT(rig_swap(&r, &c, &a)->outcome, DS_LOST);
    close_session(&r, &lease);
}

TEST(an_old_epoch_enters_nothing) {
    rig r;
    ds_lease lease;
    ds_entry a, b;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&a, &lease, "dsync/lock/epoch", "A");
    rig_entry_init(&b, &lease, "dsync/lock/epoch", "B");
    a.token = rig_enter(&r, &a, false)->token;
    const ds_entry *both[] = {&a, &b};
    const rig_reply *reply = rig_withdraw(&r, &lease, both, 2, 2);
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_EQ_INT(reply->place, DS_PLACE_DONE);
    CHECK_EQ_UINT(reply->epoch, 2);
    CHECK(!entry_exists(&r, &a));
    reply = rig_withdraw(&r, &lease, both, 2, 2); /* again */
    CHECK_EQ_INT(reply->place, DS_PLACE_DONE);

    reply = rig_enter(&r, &a, false); /* a copy that arrives late */
    CHECK_EQ_INT(reply->place, DS_PLACE_STALE);
    CHECK_EQ_UINT(reply->epoch, 2);
    CHECK_EQ_INT(rig_enter(&r, &b, true)->place, DS_PLACE_STALE);
    CHECK_EQ_INT(etcd_count(&server, "dsync/lock/epoch/"), 0);
    reply = rig_withdraw(&r, &lease, NULL, 0, 5);
    CHECK_EQ_INT(reply->place, DS_PLACE_STALE);
    CHECK_EQ_UINT(reply->epoch, 2);

    lease.epoch = 2;
    CHECK_EQ_INT(rig_enter(&r, &b, false)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    CHECK_EQ_INT(rig_withdraw(&r, &lease, NULL, 0, 3)->place, DS_PLACE_DONE);
    char *key = rig_session_key(&r, &lease);
    int64_t of = 0;
    char *value = etcd_value(&server, key, &of, NULL);
    CHECK_EQ_TEXT(value, "{\"epoch\":3,\"id\":\"tester\"}");
    CHECK_EQ_INT(of, (int64_t)lease.nonce); /* still dies with the session */
    free(value);
    ds_free(key);
    lease.epoch = 3;
    rig_revoke(&r, &lease);
    CHECK_EQ_INT(rig_withdraw(&r, &lease, NULL, 0, 4)->outcome, DS_LOST);
    CHECK_EQ_INT(rig_enter(&r, &a, false)->outcome, DS_LOST);
    CHECK_EQ_INT(rig_enter(&r, &a, true)->outcome, DS_LOST);
    close_session(&r, &lease);
}

TEST(withdraw_takes_as_many_as_it_says) {
    rig r;
    ds_lease lease;
    static ds_entry entries[DS_WITHDRAW_MAX + 1];
    const ds_entry *all[DS_WITHDRAW_MAX + 1];
    REQUIRE(open_session(&r, &lease));
    for (size_t i = 0; i <= DS_WITHDRAW_MAX; i++) {
        rig_entry_init(&entries[i], &lease, "dsync/lock/many", "x");
        all[i] = &entries[i];
        CHECK_EQ_INT(rig_enter(&r, &entries[i], false)->outcome, DS_OK);
    }
    CHECK_EQ_INT(rig_withdraw(&r, &lease, all, DS_WITHDRAW_MAX + 1, 2)->outcome, DS_REFUSED);
    CHECK_EQ_INT(rig_withdraw(&r, &lease, all, DS_WITHDRAW_MAX, 2)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(etcd_count(&server, "dsync/lock/many/"), 1);
    close_session(&r, &lease);
}

TEST(writes_need_the_entry_and_the_epoch) {
    rig r;
    ds_lease lease;
    ds_entry a;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&a, &lease, "dsync/lock/write", "A");
    a.token = rig_enter(&r, &a, false)->token;
    CHECK_EQ_INT(rig_write(&r, &a, DS_WRITE_PUT, "dsync/data/x", "1")->place, DS_PLACE_DONE);
    const rig_reply *reply = rig_get(&r, "dsync/data/x");
    CHECK_EQ_TEXT(reply->value, "1");
    CHECK(reply->token > a.token);
    int64_t of = -1;
    char *value = etcd_value(&server, "dsync/data/x", &of, NULL);
    CHECK_EQ_TEXT(value, "1");
    CHECK_EQ_INT(of, 0); /* data outlives the session */
    free(value);

    CHECK_EQ_INT(rig_write(&r, &a, DS_WRITE_VALUE, NULL, "A2")->place, DS_PLACE_DONE);
    char *key = rig_entry_key(&r, &a);
    int64_t create = 0;
    value = etcd_value(&server, key, &of, &create);
    CHECK_EQ_TEXT(value, "A2");
    CHECK_EQ_INT(of, (int64_t)lease.nonce); /* an entry does not */
    CHECK_EQ_INT(create, a.token);
    free(value);

    lease.epoch = 7;
    CHECK_EQ_INT(rig_write(&r, &a, DS_WRITE_PUT, "dsync/data/x", "2")->place, DS_PLACE_STALE);
    lease.epoch = 1;
    CHECK_EQ_INT(rig_write(&r, &a, DS_WRITE_DELETE, "dsync/data/x", NULL)->place, DS_PLACE_DONE);
    CHECK(!rig_get(&r, "dsync/data/x")->has_value);
    REQUIRE(etcd_delete(&server, key));
    CHECK_EQ_INT(rig_write(&r, &a, DS_WRITE_PUT, "dsync/data/x", "3")->place, DS_PLACE_GONE);
    CHECK(!key_exists("dsync/data/x"));
    rig_revoke(&r, &lease);
    CHECK_EQ_INT(rig_write(&r, &a, DS_WRITE_PUT, "dsync/data/x", "4")->outcome, DS_LOST);
    CHECK(!key_exists("dsync/data/x"));
    ds_free(key);
    close_session(&r, &lease);
}

TEST(evict_goes_by_token) {
    rig r;
    ds_lease lease;
    ds_entry a;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&a, &lease, "dsync/lock/evict", "{\"id\":\"n1\"}");
    a.token = rig_enter(&r, &a, false)->token;
    CHECK_EQ_INT(rig_evict(&r, "dsync/lock/evict", a.token + 1)->place, DS_PLACE_GONE);
    CHECK_EQ_INT(rig_evict(&r, "dsync/lock/other", a.token)->place, DS_PLACE_GONE);
    CHECK(entry_exists(&r, &a));
    CHECK_EQ_INT(rig_evict(&r, "dsync/lock/evict", a.token)->place, DS_PLACE_DONE);
    CHECK(!entry_exists(&r, &a));
    CHECK_EQ_INT(rig_evict(&r, "dsync/lock/evict", a.token)->place, DS_PLACE_GONE);
    close_session(&r, &lease);
}

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
