/* test_consul_queue.c: places in line and the lock on a real agent, their effect read back by other means: who gets it,
 * who waits, and what others' keys do to that.
 */
#include "consul_session.h"

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

TEST(a_holder_that_came_alone_takes_away_the_mark_of_those_who_came_and_went) {
    rig r;
    ds_lease lease;
    ds_entry holder, waiter;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&holder, &lease, "dsync/lock/alone", "1");
    rig_entry_init(&waiter, &lease, "dsync/lock/alone", "2");
    holder.token = rig_enter(&r, &holder, false)->token;
    waiter.token = rig_enter(&r, &waiter, false)->token;
    CHECK_EQ_INT(rig_leave(&r, &waiter)->place, DS_PLACE_DONE);
    CHECK(consul_has(&server, "dsync/lock/alone/.waiting"));
    CHECK_EQ_INT(rig_leave(&r, &holder)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/alone"), 0);
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
    CHECK_EQ_INT(rig_check(&r, &entry)->place, DS_PLACE_WAITING); /* it hears first that it does not hold any more */
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
