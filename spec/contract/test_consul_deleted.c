/* test_consul_deleted.c: what an operator deletes by hand from a real agent, key by key: nobody holds with a token that
 * comes too late, and whoever lost something hears of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    static const dsync_setting settings[] = {{"consul.lock_delay", "0"}};
    dsync_options options = {.prefix = "dsync", .id = "tester", .settings = settings, .setting_count = 1};
    if ((server.pid <= 0 && !consul_start(&server)) || !consul_rig_open(r, &server, &options)) {
        return false;
    }
    rig_timeout(10000); /* an agent on a busy machine may pause */
    rig_lease_init(lease, "dsync", 10000);
    return rig_lease(r, lease)->outcome == DS_OK;
}

static void close_session(rig *r, ds_lease *lease) {
    rig_revoke(r, lease);
    r->backend->ops->forget(r->backend, lease);
    rig_close(r);
}

static ds_place enter(rig *r, ds_lease *lease, ds_entry *entry, const char *path) {
    rig_entry_init(entry, lease, path, "x");
    const rig_reply *reply = rig_enter(r, entry, false);
    entry->token = reply->token;
    return reply->place;
}

static bool delete_entry(rig *r, const ds_entry *entry) {
    char *key = rig_entry_key(r, entry);
    bool deleted = consul_delete(&server, key);
    ds_free(key);
    return deleted;
}

/* As a late copy of a request does; `removed`: after somebody deleted it. */
static bool make_anew(const ds_lease *lease, const char *key, bool removed) {
    char body[600], gone[200] = "";
    long status;
    if (removed) {
        snprintf(gone, sizeof(gone), "{\"KV\":{\"Verb\":\"delete\",\"Key\":\"%s\"}},", key);
    }
    snprintf(body, sizeof(body),
             "[%s{\"KV\":{\"Verb\":\"lock\",\"Key\":\"%s\",\"Value\":\"eyJlcG9jaCI6MX0=\",\"Session\":\"%s\"}}]", gone,
             key, lease->id);
    free(consul_ask(&server, "PUT", "/v1/txn", body, &status));
    return status == 200;
}

static bool watch_own(rig *r, rig_watch *watch, ds_lease *lease, const ds_entry *entry) {
    char *key = rig_entry_key(r, entry);
    ds_watch_spec spec = {.key = key, .deletes_only = true, .since = entry->token + 1, .lease = lease};
    bool began = rig_watch_begin(r, watch, &spec) && rig_watch_wait(watch, 1, PATIENCE_MS);
    ds_free(key);
    return began && watch->events[0].kind == DS_WATCH_READY;
}

/* Whoever held hears first that it does not, and then what is left of it goes. */
static bool is_told_and_goes(rig *r, const ds_entry *entry) {
    return rig_check(r, entry)->place == DS_PLACE_WAITING && rig_check(r, entry)->place == DS_PLACE_GONE;
}

/* ---- the mark that somebody waits -------------------------------------------------------------------------------- */

TEST(one_who_was_passed_by_without_the_mark_does_not_hold_with_its_old_token) {
    rig r, s;
    ds_lease lease, other;
    ds_entry holder, waiter, quick;
    REQUIRE(open_session(&r, &lease) && open_session(&s, &other));
    CHECK_EQ_INT(enter(&r, &lease, &holder, "dsync/lock/mark"), DS_PLACE_HELD);
    CHECK_EQ_INT(enter(&s, &other, &waiter, "dsync/lock/mark"), DS_PLACE_WAITING);
    CHECK(consul_delete(&server, "dsync/lock/mark/.waiting"));
    CHECK_EQ_INT(rig_leave(&r, &holder)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(enter(&r, &lease, &quick, "dsync/lock/mark"), DS_PLACE_HELD);
    CHECK(quick.token > waiter.token);
    CHECK_EQ_INT(rig_leave(&r, &quick)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(rig_check(&s, &waiter)->place, DS_PLACE_GONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/mark"), 0);
    close_session(&s, &other);
    close_session(&r, &lease);
}

TEST(nor_when_somebody_has_set_the_mark_again) {
    rig r, s;
    ds_lease lease, other;
    ds_entry holder, waiter, quick, last;
    REQUIRE(open_session(&r, &lease) && open_session(&s, &other));
    CHECK_EQ_INT(enter(&r, &lease, &holder, "dsync/lock/again"), DS_PLACE_HELD);
    CHECK_EQ_INT(enter(&s, &other, &waiter, "dsync/lock/again"), DS_PLACE_WAITING);
    CHECK(consul_delete(&server, "dsync/lock/again/.waiting"));
    CHECK_EQ_INT(rig_leave(&r, &holder)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(enter(&r, &lease, &quick, "dsync/lock/again"), DS_PLACE_HELD);
    CHECK_EQ_INT(enter(&r, &lease, &last, "dsync/lock/again"), DS_PLACE_WAITING);
    CHECK_EQ_INT(rig_leave(&r, &quick)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(rig_check(&s, &waiter)->place, DS_PLACE_GONE);
    CHECK_EQ_INT(rig_check(&r, &last)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_leave(&r, &last)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/again"), 0);
    close_session(&s, &other);
    close_session(&r, &lease);
}

TEST(nor_when_it_is_entered_once_more) {
    rig r, s;
    ds_lease lease, other;
    ds_entry holder, waiter, quick;
    REQUIRE(open_session(&r, &lease) && open_session(&s, &other));
    CHECK_EQ_INT(enter(&r, &lease, &holder, "dsync/lock/once"), DS_PLACE_HELD);
    CHECK_EQ_INT(enter(&s, &other, &waiter, "dsync/lock/once"), DS_PLACE_WAITING);
    CHECK(consul_delete(&server, "dsync/lock/once/.waiting"));
    CHECK_EQ_INT(rig_leave(&r, &holder)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(enter(&r, &lease, &quick, "dsync/lock/once"), DS_PLACE_HELD);
    CHECK_EQ_INT(rig_leave(&r, &quick)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(rig_enter(&s, &waiter, false)->place, DS_PLACE_GONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/once"), 0);
    close_session(&s, &other);
    close_session(&r, &lease);
}

TEST(two_entries_of_one_session_do_not_both_hold_without_the_mark) {
    rig r, s;
    ds_lease lease, other;
    ds_entry holder, waiter, quick;
    REQUIRE(open_session(&r, &lease) && open_session(&s, &other));
    CHECK_EQ_INT(enter(&r, &lease, &holder, "dsync/lock/twins"), DS_PLACE_HELD);
    CHECK_EQ_INT(enter(&s, &other, &waiter, "dsync/lock/twins"), DS_PLACE_WAITING);
    CHECK(consul_delete(&server, "dsync/lock/twins/.waiting"));
    CHECK_EQ_INT(rig_leave(&r, &holder)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(enter(&s, &other, &quick, "dsync/lock/twins"), DS_PLACE_HELD);
    CHECK_EQ_INT(rig_check(&s, &waiter)->place, DS_PLACE_GONE);
    close_session(&s, &other);
    close_session(&r, &lease);
}

/* ---- the entry of who holds -------------------------------------------------------------------------------------- */

TEST(a_renewal_notices_that_a_holders_entry_was_deleted) {
    static rig_watch watch;
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    CHECK_EQ_INT(enter(&r, &lease, &entry, "dsync/lock/entry"), DS_PLACE_HELD);
    REQUIRE(watch_own(&r, &watch, &lease, &entry));
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    CHECK(delete_entry(&r, &entry));
    CHECK(!rig_watch_wait(&watch, 2, 300));
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    REQUIRE(rig_watch_wait(&watch, 2, PATIENCE_MS));
    CHECK_EQ_INT(watch.events[1].kind, DS_WATCH_DELETED);
    CHECK(is_told_and_goes(&r, &entry));
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/entry"), 0);
    rig_watch_end(&watch);
    close_session(&r, &lease);
}

TEST(an_entry_made_anew_under_the_same_key_is_another_one) {
    static rig_watch watch;
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    CHECK_EQ_INT(enter(&r, &lease, &entry, "dsync/lock/copy"), DS_PLACE_HELD);
    REQUIRE(watch_own(&r, &watch, &lease, &entry));
    char *key = rig_entry_key(&r, &entry);
    CHECK(make_anew(&lease, key, true));
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_PUT, "dsync/data/copy", "x")->place, DS_PLACE_GONE);
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_VALUE, NULL, "x")->place, DS_PLACE_GONE);
    CHECK(!consul_has(&server, "dsync/data/copy"));
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    REQUIRE(rig_watch_wait(&watch, 2, PATIENCE_MS));
    CHECK_EQ_INT(watch.events[1].kind, DS_WATCH_DELETED);
    CHECK(is_told_and_goes(&r, &entry));
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/copy"), 0);
    ds_free(key);
    rig_watch_end(&watch);
    close_session(&r, &lease);
}

TEST(a_waiting_entry_made_anew_under_the_same_key_is_another_one) {
    rig r, s;
    ds_lease lease, other;
    ds_entry holder, waiter;
    REQUIRE(open_session(&r, &lease) && open_session(&s, &other));
    CHECK_EQ_INT(enter(&r, &lease, &holder, "dsync/lock/anew"), DS_PLACE_HELD);
    CHECK_EQ_INT(enter(&s, &other, &waiter, "dsync/lock/anew"), DS_PLACE_WAITING);
    char *key = rig_entry_key(&s, &waiter);
    CHECK(make_anew(&other, key, true));
    CHECK_EQ_INT(rig_leave(&r, &holder)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(rig_check(&s, &waiter)->place, DS_PLACE_GONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/anew"), 0);
    ds_free(key);
    close_session(&s, &other);
    close_session(&r, &lease);
}

TEST(an_entry_that_was_only_written_to_is_the_same) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    CHECK_EQ_INT(enter(&r, &lease, &entry, "dsync/lock/same"), DS_PLACE_HELD);
    char *key = rig_entry_key(&r, &entry);
    CHECK(make_anew(&lease, key, false));
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_PUT, "dsync/data/same", "x")->place, DS_PLACE_DONE);
    CHECK(make_anew(&lease, key, false));
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_VALUE, NULL, "y")->place, DS_PLACE_DONE);
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_DELETE, "dsync/data/same", NULL)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    CHECK_EQ_INT(rig_check(&r, &entry)->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_leave(&r, &entry)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/same"), 0);
    ds_free(key);
    close_session(&r, &lease);
}

TEST(no_lock_stays_behind_with_the_other_entries_of_its_session) {
    rig r;
    ds_lease lease;
    ds_entry entry, other;
    REQUIRE(open_session(&r, &lease));
    CHECK_EQ_INT(enter(&r, &lease, &entry, "dsync/lock/behind"), DS_PLACE_HELD);
    CHECK_EQ_INT(enter(&r, &lease, &other, "dsync/lock/behind"), DS_PLACE_WAITING);
    CHECK(consul_put(&server, "dsync/lock/behind/.lock", "", "scribble"));
    CHECK(delete_entry(&r, &entry));
    CHECK(is_told_and_goes(&r, &entry));
    CHECK_EQ_INT(rig_leave(&r, &other)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/behind"), 0);
    close_session(&r, &lease);
}

TEST(an_exchange_finds_the_entry_deleted_and_gives_the_lock_back) {
    rig r;
    ds_lease lease;
    ds_entry entry, fresh;
    REQUIRE(open_session(&r, &lease));
    CHECK_EQ_INT(enter(&r, &lease, &entry, "dsync/lock/exchange"), DS_PLACE_HELD);
    CHECK(delete_entry(&r, &entry));
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_PUT, "dsync/data/without", "x")->place, DS_PLACE_GONE);
    rig_entry_init(&fresh, &lease, "dsync/lock/exchange", "x");
    CHECK_EQ_INT(rig_swap(&r, &entry, &fresh)->place, DS_PLACE_GONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/exchange"), 0);
    close_session(&r, &lease);
}

#define MANY 70

TEST(renewals_take_turns_with_many_locks) {
    static rig_watch watches[MANY];
    static ds_entry entries[MANY];
    static char paths[MANY][40];
    rig r;
    ds_lease lease;
    REQUIRE(open_session(&r, &lease));
    for (int i = 0; i < MANY; i++) {
        snprintf(paths[i], sizeof(paths[i]), "dsync/lock/turn%d", i);
        CHECK_EQ_INT(enter(&r, &lease, &entries[i], paths[i]), DS_PLACE_HELD);
        REQUIRE(watch_own(&r, &watches[i], &lease, &entries[i]));
    }
    for (int i = 0; i < MANY; i += 10) {
        CHECK(delete_entry(&r, &entries[i]));
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    }
    for (int i = 0; i < MANY; i++) {
        if (i % 10 == 0) {
            REQUIRE(rig_watch_wait(&watches[i], 2, PATIENCE_MS));
            CHECK_EQ_INT(watches[i].events[watches[i].count - 1].kind, DS_WATCH_DELETED);
        } else {
            CHECK_EQ_INT(watches[i].events[watches[i].count - 1].kind, DS_WATCH_READY);
        }
        rig_watch_end(&watches[i]);
    }
    close_session(&r, &lease);
}

/* ---- the session's key ------------------------------------------------------------------------------------------- */

static void make_session_key_anew(rig *r, const ds_lease *lease) {
    char *key = rig_session_key(r, lease);
    CHECK(make_anew(lease, key, true));
    ds_free(key);
}

TEST(a_session_whose_key_was_made_anew_is_lost_and_not_refused_for_ever) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    make_session_key_anew(&r, &lease);
    rig_entry_init(&entry, &lease, "dsync/lock/anew", "x");
    CHECK_EQ_INT(rig_enter(&r, &entry, false)->outcome, DS_LOST);
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_LOST);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/anew"), 0);
    close_session(&r, &lease);
}

/* ---- the lock, made anew by the same session --------------------------------------------------------------------- */

TEST(a_lock_that_goes_and_comes_back_under_the_same_session_is_lost) {
    static rig_watch watch;
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_session(&r, &lease));
    CHECK_EQ_INT(enter(&r, &lease, &entry, "dsync/lock/back"), DS_PLACE_HELD);
    REQUIRE(watch_own(&r, &watch, &lease, &entry));
    CHECK(make_anew(&lease, "dsync/lock/back/.lock", true));
    REQUIRE(rig_watch_wait(&watch, 2, PATIENCE_MS));
    CHECK_EQ_INT(watch.events[1].kind, DS_WATCH_DELETED);
    CHECK(is_told_and_goes(&r, &entry));
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/back"), 0);
    rig_watch_end(&watch);
    close_session(&r, &lease);
}

/* A request to take it, answered long ago, that reaches the server once more. */
TEST(a_lock_that_a_late_copy_took_for_an_entry_goes_with_it) {
    rig r, s;
    ds_lease lease, other;
    ds_entry holder, waiter;
    REQUIRE(open_session(&r, &lease) && open_session(&s, &other));
    for (int i = 0; i < 2; i++) {
        CHECK_EQ_INT(enter(&r, &lease, &holder, "dsync/lock/late"), DS_PLACE_HELD);
        CHECK_EQ_INT(enter(&s, &other, &waiter, "dsync/lock/late"), DS_PLACE_WAITING);
        CHECK_EQ_INT(rig_leave(&r, &holder)->place, DS_PLACE_DONE);
        CHECK(make_anew(&other, "dsync/lock/late/.lock", false));
        if (i == 0) {
            CHECK_EQ_INT(rig_leave(&s, &waiter)->outcome, DS_OK);
        } else {
            const ds_entry *entries[] = {&waiter};
            CHECK_EQ_INT(rig_withdraw(&s, &other, entries, 1, 2)->outcome, DS_OK);
        }
        CHECK(!consul_has(&server, "dsync/lock/late/.lock"));
    }
    CHECK_EQ_INT(enter(&r, &lease, &holder, "dsync/lock/late"), DS_PLACE_HELD);
    CHECK_EQ_INT(rig_leave(&r, &holder)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/late"), 0);
    close_session(&s, &other);
    close_session(&r, &lease);
}

/* ---- the lock, made anew by another entry of the session --------------------------------------------------------- */

/* Whatever the one does that held before: the lock stays with the other. */
TEST(an_entry_does_not_touch_the_lock_that_another_one_of_its_session_took) {
    rig r;
    ds_lease lease;
    ds_entry old, other, fresh;
    REQUIRE(open_session(&r, &lease));
    for (int i = 0; i < 3; i++) {
        CHECK_EQ_INT(enter(&r, &lease, &old, "dsync/lock/sibling"), DS_PLACE_HELD);
        CHECK(consul_delete(&server, "dsync/lock/sibling/.lock"));
        CHECK_EQ_INT(enter(&r, &lease, &other, "dsync/lock/sibling"), DS_PLACE_HELD);
        CHECK_EQ_INT(rig_write(&r, &old, DS_WRITE_PUT, "dsync/data/stale", "x")->place, DS_PLACE_GONE);
        if (i == 0) {
            CHECK(is_told_and_goes(&r, &old));
        } else if (i == 1) {
            rig_leave(&r, &old);
        } else {
            rig_entry_init(&fresh, &lease, "dsync/lock/sibling", "x");
            CHECK_EQ_INT(rig_swap(&r, &old, &fresh)->place, DS_PLACE_GONE);
        }
        CHECK_EQ_INT(rig_check(&r, &other)->place, DS_PLACE_HELD);
        CHECK_EQ_INT(rig_leave(&r, &other)->place, DS_PLACE_DONE);
        CHECK_EQ_INT(consul_count(&server, "dsync/lock/sibling"), 0);
    }
    CHECK(!consul_has(&server, "dsync/data/stale"));
    close_session(&r, &lease);
}

TEST(a_plain_put_over_the_lock_hinders_no_write_no_exchange_and_no_release) {
    rig r;
    ds_lease lease;
    ds_entry entry, fresh;
    REQUIRE(open_session(&r, &lease));
    CHECK_EQ_INT(enter(&r, &lease, &entry, "dsync/lock/scribbled"), DS_PLACE_HELD);
    CHECK(consul_put(&server, "dsync/lock/scribbled/.lock", "", "1"));
    CHECK_EQ_INT(rig_write(&r, &entry, DS_WRITE_PUT, "dsync/data/kept", "x")->place, DS_PLACE_DONE);
    CHECK(consul_put(&server, "dsync/lock/scribbled/.lock", "", "2"));
    rig_entry_init(&fresh, &lease, "dsync/lock/scribbled", "x");
    CHECK_EQ_INT(rig_swap(&r, &entry, &fresh)->place, DS_PLACE_HELD);
    CHECK(consul_put(&server, "dsync/lock/scribbled/.lock", "", "3"));
    CHECK_EQ_INT(rig_leave(&r, &fresh)->place, DS_PLACE_DONE);
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/scribbled"), 0);
    close_session(&r, &lease);
}
