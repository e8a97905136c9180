/* test_consul_calls.c: every request of the Consul backend but watches, against a real agent, its effect read back by
 * other means.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consul_rig.h"
#include "test.h"

static consul_server server;

__attribute__((destructor)) static void stop_server(void) {
    if (server.folder[0] != '\0') {
        consul_stop(&server);
    }
}

/* A rig with an open session and a lock-delay of nothing. */
static bool open_session(rig *r, ds_lease *lease) {
    static const dsync_setting settings[] = {{"consul.lock_delay", "0"}};
    dsync_options options = {.prefix = "dsync", .id = "tester", .settings = settings, .setting_count = 1};
    if ((server.pid <= 0 && !consul_start(&server)) || !consul_rig_open(r, &server, &options)) {
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

static bool is_held_by(const char *key, const char *session) {
    char owner[72] = "";
    free(consul_value(&server, key, owner));
    return strcmp(owner, session) == 0;
}

static bool entry_exists(rig *r, const ds_entry *entry) {
    char *key = rig_entry_key(r, entry);
    bool exists = consul_has(&server, key);
    ds_free(key);
    return exists;
}

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

TEST(enter_takes_a_free_lock_and_leave_leaves_nothing) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "dsync/lock/free", "{\"id\":\"me\"}");
    const rig_reply *reply = rig_enter(&r, &entry, false);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    entry.token = reply->token;
    CHECK(entry.token > lease.created);
    CHECK(is_held_by("dsync/lock/free/.lock", lease.id));
    char *value = consul_value(&server, "dsync/lock/free/.lock", NULL);
    CHECK_EQ_TEXT(value, "{\"id\":\"me\"}");
    free(value);
    char *raw = consul_ask(&server, "GET", "/v1/kv/dsync/lock/free/.lock", NULL, NULL);
    CHECK_CONTAINS(raw, "\"Flags\":3304740253564472344");
    free(raw);
    CHECK_EQ_INT(rig_check(&r, &entry)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_leave(&r, &entry)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/free"), 0);
    CHECK_EQ_INT(rig_leave(&r, &entry)->place, DS_PLACE_GONE);
    close_session(&r, &lease);
}

TEST(a_repeated_enter_finds_its_own_entry) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "dsync/lock/twice", "v");
    int64_t token = rig_enter(&r, &entry, false)->token;
    const rig_reply *again = rig_enter(&r, &entry, false);
    CHECK_EQ_INT(again->place, DS_PLACE_HELD);
    CHECK_EQ_INT(again->token, token);
    again = rig_enter(&r, &entry, true);
    CHECK_EQ_INT(again->place, DS_PLACE_HELD);
    CHECK_EQ_INT(again->token, token);
    close_session(&r, &lease);
}

TEST(entries_stand_in_line_and_the_next_takes_over) {
    rig r;
    ds_lease lease;
    ds_entry first, second, third;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&first, &lease, "dsync/lock/line", "1");
    rig_entry_init(&second, &lease, "dsync/lock/line", "2");
    rig_entry_init(&third, &lease, "dsync/lock/line", "3");
    first.token = rig_enter(&r, &first, false)->token;
    const rig_reply *reply = rig_enter(&r, &second, false);
    CHECK_EQ_INT(reply->place, DS_PLACE_WAITING);
    second.token = reply->token;
    char *key = rig_entry_key(&r, &first);
    CHECK_EQ_TEXT(reply->ahead, key);
    ds_free(key);
    CHECK(consul_has(&server, "dsync/lock/line/.waiting"));
    reply = rig_enter(&r, &third, false);
    third.token = reply->token;
    CHECK(third.token > second.token && second.token > first.token);
    /* One that waits leaves, and this very session keeps the lock. */
    CHECK_EQ_INT(rig_leave(&r, &second)->place, DS_PLACE_DONE);
    CHECK(is_held_by("dsync/lock/line/.lock", lease.id));
    CHECK_EQ_INT(rig_check(&r, &third)->place, DS_PLACE_WAITING);
    CHECK_EQ_INT(rig_leave(&r, &first)->place, DS_PLACE_DONE);
    CHECK(!consul_has(&server, "dsync/lock/line/.lock"));
    CHECK_EQ_INT(rig_check(&r, &third)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_leave(&r, &third)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/line"), 0);
    close_session(&r, &lease);
}

TEST(a_try_leaves_no_trace_and_names_the_holder) {
    rig r;
    ds_lease lease;
    ds_entry holder, try;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&holder, &lease, "dsync/lock/try", "{\"id\":\"holder\"}");
    rig_entry_init(&try, &lease, "dsync/lock/try", "x");
    rig_enter(&r, &holder, false);
    int before = consul_count(&server, "dsync/lock/try");
    const rig_reply *reply = rig_enter(&r, &try, true);
    CHECK_EQ_INT(reply->place, DS_PLACE_BUSY);
    CHECK_EQ_TEXT(reply->holder_value, "{\"id\":\"holder\"}");
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/try"), before);
    close_session(&r, &lease);
}

TEST(a_stale_mark_and_an_old_key_hinder_no_try) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    CHECK(consul_put(&server, "dsync/lock/stale/.waiting", "", "x"));
    CHECK(consul_put(&server, "dsync/lock/stale/.lock", "", "left by others"));
    rig_entry_init(&entry, &lease, "dsync/lock/stale", "x");
    const rig_reply *reply = rig_enter(&r, &entry, true);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    rig_leave(&r, &entry);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/stale"), 0);
    close_session(&r, &lease);
}

TEST(a_key_of_somebody_elses_is_respected_and_waited_for) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    char other[72], query[100];
    REQUIRE(open_session(&r, &lease));
    REQUIRE(consul_session(&server, "{\"TTL\":\"10s\",\"LockDelay\":\"1ms\"}", other, sizeof(other)));
    snprintf(query, sizeof(query), "?acquire=%s", other);
    CHECK(consul_put(&server, "service/x", query, "native"));
    rig_entry_init(&entry, &lease, "service/x", "x");
    const rig_reply *reply = rig_enter(&r, &entry, false);
    CHECK_EQ_INT(reply->place, DS_PLACE_WAITING);
    CHECK_EQ_TEXT(reply->ahead, "service/x");
    entry.token = reply->token;
    snprintf(query, sizeof(query), "?release=%s", other);
    CHECK(consul_put(&server, "service/x", query, ""));
    CHECK_EQ_INT(rig_check(&r, &entry)->place, DS_PLACE_HELD);
    CHECK(is_held_by("service/x", lease.id));
    rig_leave(&r, &entry);
    consul_destroy(&server, other);
    close_session(&r, &lease);
}

TEST(the_key_of_consul_lock_has_its_queue_beside_it) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "jobs/x/.lock", "x");
    CHECK_EQ_INT(rig_enter(&r, &entry, false)->place, DS_PLACE_HELD);
    CHECK(is_held_by("jobs/x/.lock", lease.id));
    char *key = rig_entry_key(&r, &entry);
    CHECK(strncmp(key, "jobs/x/.queue/", 14) == 0);
    ds_free(key);
    close_session(&r, &lease);
}

TEST(lock_delay_is_a_state_of_its_own) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    char other[72], query[100];
    REQUIRE(open_session(&r, &lease));
    REQUIRE(consul_session(&server, "{\"TTL\":\"10s\",\"LockDelay\":\"2s\",\"Behavior\":\"delete\"}", other,
                           sizeof(other)));
    snprintf(query, sizeof(query), "?acquire=%s", other);
    CHECK(consul_put(&server, "dsync/lock/delayed/.lock", query, "native"));
    consul_destroy(&server, other);
    rig_entry_init(&entry, &lease, "dsync/lock/delayed", "x");
    CHECK_EQ_INT(rig_enter(&r, &entry, true)->place, DS_PLACE_BUSY);
    const rig_reply *reply = rig_enter(&r, &entry, false);
    CHECK_EQ_INT(reply->place, DS_PLACE_DELAYED);
    entry.token = reply->token;
    for (int i = 0; i < 200 && rig_check(&r, &entry)->place == DS_PLACE_DELAYED; i++) {
        rig_idle(&r, 50);
    }
    CHECK_EQ_INT(rig_check(&r, &entry)->place, DS_PLACE_HELD);
    close_session(&r, &lease);
}

TEST(a_plain_put_over_the_lock_changes_nothing_and_its_deletion_is_a_loss) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "dsync/lock/put", "x");
    entry.token = rig_enter(&r, &entry, false)->token;
    CHECK(consul_put(&server, "dsync/lock/put/.lock", "", "scribble"));
    const rig_reply *reply = rig_check(&r, &entry);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    CHECK_EQ_INT(reply->token, entry.token);
    CHECK(consul_delete(&server, "dsync/lock/put/.lock"));
    CHECK_EQ_INT(rig_check(&r, &entry)->place, DS_PLACE_GONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/put"), 0);
    close_session(&r, &lease);
}

TEST(a_lock_is_given_back_even_if_its_entry_was_deleted) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&entry, &lease, "dsync/lock/stray", "x");
    entry.token = rig_enter(&r, &entry, false)->token;
    char *key = rig_entry_key(&r, &entry);
    CHECK(consul_delete(&server, key));
    ds_free(key);
    CHECK_EQ_INT(rig_leave(&r, &entry)->place, DS_PLACE_GONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/stray"), 0);
    close_session(&r, &lease);
}

TEST(swap_keeps_the_lock_when_nobody_waits_and_goes_to_the_tail_otherwise) {
    rig r, s;
    ds_lease lease, other;
    ds_entry first, second, third, rival;
    REQUIRE(open_session(&r, &lease) && open_session(&s, &other));
    rig_entry_init(&first, &lease, "dsync/lock/swap", "1");
    rig_entry_init(&second, &lease, "dsync/lock/swap", "2");
    rig_entry_init(&third, &lease, "dsync/lock/swap", "3");
    rig_entry_init(&rival, &other, "dsync/lock/swap", "r");
    first.token = rig_enter(&r, &first, false)->token;
    const rig_reply *reply = rig_swap(&r, &first, &second);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    second.token = reply->token;
    CHECK(second.token > first.token);
    CHECK(!entry_exists(&r, &first));
    CHECK_EQ_INT(rig_swap(&r, &first, &second)->token, second.token); /* a repetition */
    rival.token = rig_enter(&s, &rival, false)->token;
    reply = rig_swap(&r, &second, &third);
    CHECK_EQ_INT(reply->place, DS_PLACE_WAITING);
    third.token = reply->token;
    CHECK_EQ_INT(rig_check(&s, &rival)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_leave(&s, &rival)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(rig_check(&r, &third)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_swap(&r, &second, &first)->place, DS_PLACE_GONE);
    close_session(&s, &other);
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
