/* test_consul_calls.c: the Consul backend's sessions, writes and lists, against a real agent, their effect read back by
 * other means. Places in line are test_consul_queue.c's, watches test_consul_watch.c's.
 */
#include "consul_session.h"

TEST(ping_names_the_server) {
    rig r;
    ds_lease lease;
    REQUIRE(open_session(&r, &lease));
    const rig_reply *reply = rig_ping(&r);
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_CONTAINS(reply->server, "Consul 1.");
    close_session(&r, &lease);
}

TEST(open_makes_a_session_without_checks_and_its_key) {
    rig r;
    ds_lease lease;
    REQUIRE(open_session(&r, &lease));
    char path[120];
    snprintf(path, sizeof(path), "/v1/session/info/%s", lease.id);
    char *info = consul_ask(&server, "GET", path, NULL, NULL);
    CHECK_CONTAINS(info, "\"TTL\":\"10000ms\"");
    CHECK_CONTAINS(info, "\"Behavior\":\"delete\"");
    CHECK_CONTAINS(info, "\"NodeChecks\":[]");
    CHECK_CONTAINS(info, "\"LockDelay\":0");
    CHECK_CONTAINS(info, "\"Name\":\"dsync ");
    free(info);
    char *key = rig_session_key(&r, &lease);
    CHECK(is_held_by(key, lease.id));
    ds_free(key);
    close_session(&r, &lease);
}

TEST(open_again_finds_what_the_first_try_made) {
    rig r;
    ds_lease lease;
    char id[72];
    REQUIRE(open_session(&r, &lease));
    snprintf(id, sizeof(id), "%s", lease.id);
    CHECK_EQ_INT(rig_lease(&r, &lease)->outcome, DS_OK);
    CHECK_EQ_TEXT(lease.id, id);
    lease.id[0] = '\0'; /* as if the answer had been lost */
    CHECK_EQ_INT(rig_lease(&r, &lease)->outcome, DS_OK);
    CHECK_EQ_TEXT(lease.id, id);
    close_session(&r, &lease);
}

TEST(renewal_tells_a_live_session_from_a_destroyed_one_and_from_one_without_its_key) {
    rig r;
    ds_lease lease;
    REQUIRE(open_session(&r, &lease));
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    char *key = rig_session_key(&r, &lease);
    CHECK(consul_delete(&server, key));
    ds_free(key);
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_LOST);
    consul_destroy(&server, lease.id);
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_LOST);
    close_session(&r, &lease);
}

TEST(close_gives_back_what_is_held_without_a_lock_delay) {
    rig r;
    ds_lease lease, next;
    ds_entry entry, waiter, taker;
    REQUIRE((server.pid > 0 || consul_start(&server)) && consul_rig_open(&r, &server, NULL)); /* 15 s of lock-delay */
    rig_lease_init(&lease, "dsync", 10000);
    REQUIRE(rig_lease(&r, &lease)->outcome == DS_OK);
    rig_entry_init(&entry, &lease, "dsync/lock/close", "x");
    rig_entry_init(&waiter, &lease, "dsync/lock/close", "y");
    rig_enter(&r, &entry, false);
    rig_enter(&r, &waiter, false);
    CHECK_EQ_INT(rig_revoke(&r, &lease)->outcome, DS_OK);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/close"), 0);
    r.backend->ops->forget(r.backend, &lease);
    rig_lease_init(&next, "dsync", 10000);
    REQUIRE(rig_lease(&r, &next)->outcome == DS_OK);
    rig_entry_init(&taker, &next, "dsync/lock/close", "z");
    CHECK_EQ_INT(rig_enter(&r, &taker, true)->place, DS_PLACE_HELD);
    close_session(&r, &next);
}

TEST(a_session_that_is_gone_is_lost_whatever_is_asked) {
    rig r;
    ds_lease lease;
    ds_entry entry, fresh;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "dsync/lock/gone", "x");
    rig_entry_init(&fresh, &lease, "dsync/lock/gone2", "x");
    entry.token = rig_enter(&r, &entry, false)->token;
    consul_destroy(&server, lease.id);
    CHECK_EQ_INT(rig_check(&r, &entry)->outcome, DS_LOST);
    CHECK_EQ_INT(rig_enter(&r, &fresh, false)->outcome, DS_LOST);
    CHECK_EQ_INT(rig_enter(&r, &fresh, true)->outcome, DS_LOST);
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_PUT, "dsync/data/g", "v")->outcome, DS_LOST);
    const ds_entry *entries[] = {&entry};
    CHECK_EQ_INT(rig_withdraw(&r, &lease, entries, 1, 2)->outcome, DS_LOST);
    close_session(&r, &lease);
}

TEST(writes_need_the_entry_and_the_lock) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "dsync/lock/write", "x");
    entry.token = rig_enter(&r, &entry, false)->token;
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_PUT, "dsync/data/k", "one")->place, DS_PLACE_DONE);
    const rig_reply *got = rig_get(&r, "dsync/data/k");
    CHECK_EQ_TEXT(got->value, "one");
    CHECK(got->token > entry.token);
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_VALUE, NULL, "shown")->place, DS_PLACE_DONE);
    char *value = consul_value(&server, "dsync/lock/write/.lock", NULL);
    CHECK_EQ_TEXT(value, "shown");
    free(value);
    CHECK_EQ_INT(rig_check(&r, &entry)->token, entry.token);
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_DELETE, "dsync/data/k", NULL)->place, DS_PLACE_DONE);
    CHECK(!rig_get(&r, "dsync/data/k")->has_value);
    rig_leave(&r, &entry);
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_PUT, "dsync/data/k", "two")->place, DS_PLACE_GONE);
    CHECK(!consul_has(&server, "dsync/data/k"));
    close_session(&r, &lease);
}

TEST(evict_takes_the_lock_by_token_only) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "dsync/lock/evict", "x");
    entry.token = rig_enter(&r, &entry, false)->token;
    CHECK_EQ_INT(rig_evict(&r, "dsync/lock/evict", entry.token - 1)->place, DS_PLACE_GONE);
    CHECK(entry_exists(&r, &entry));
    CHECK_EQ_INT(rig_evict(&r, "dsync/lock/evict", entry.token)->place, DS_PLACE_DONE);
    CHECK(!entry_exists(&r, &entry));
    CHECK(!consul_has(&server, "dsync/lock/evict/.lock"));
    close_session(&r, &lease);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/evict"), 0); /* the note why has gone with the session */
}

TEST(lists_show_who_holds_and_who_waits) {
    rig r;
    ds_lease lease;
    ds_entry holder, waiter, other;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&holder, &lease, "dsync/lock/list", "h");
    rig_entry_init(&waiter, &lease, "dsync/lock/list", "w");
    rig_entry_init(&other, &lease, "dsync/lock/other", "o");
    rig_enter(&r, &holder, false);
    rig_enter(&r, &waiter, false);
    rig_enter(&r, &other, false);
    const rig_reply *reply = rig_list(&r, "dsync/lock/list", false, 0, NULL);
    REQUIRE(reply->peer_count == 2);
    CHECK(reply->peers[0].holds && !reply->peers[1].holds);
    CHECK_EQ_TEXT(reply->peers[0].value, "h");
    reply = rig_list(&r, "dsync/lock", true, 0, NULL);
    REQUIRE(reply->peer_count == 3);
    CHECK_EQ_TEXT(reply->peers[0].path, "dsync/lock/list");
    CHECK_EQ_TEXT(reply->peers[2].path, "dsync/lock/other");
    CHECK(reply->peers[2].holds);
    close_session(&r, &lease);
}
