/* test_etcd_queue.c: the etcd backend's places in line, against a real server: entering, leaving, swapping, and what
 * only their holder may write, read back by other means. What the server does not understand it ignores silently, so
 * nothing here is taken on trust.
 */
#include "etcd_session.h"

/* ---- the line ---------------------------------------------------------------------------------------------------- */

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

/* ---- writes and evictions ---------------------------------------------------------------------------------------- */

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
