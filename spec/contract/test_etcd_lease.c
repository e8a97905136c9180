/* test_etcd_lease.c: the etcd backend's sessions, against a real server: their lease, their key and its epoch, read
 * back by other means. What the server does not understand it ignores silently, so nothing here is taken on trust.
 */
#include "etcd_session.h"

/* ---- the lease --------------------------------------------------------------------------------------------------- */

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

/* ---- the epoch --------------------------------------------------------------------------------------------------- */

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
