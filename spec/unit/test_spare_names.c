/* Names of entries that are gone, used again where the store profits from it: when they are, and when they must not be.
 */
#include "test.h"

#include "core_fixture.h"

static void desk_open_sparing(desk *d) {
    desk_open(d);
    d->backend->ops.reuses_names = true;
}

TEST(the_next_entry_has_the_name_of_the_last) {
    desk d;
    desk_open_sparing(&d);
    lock *a = lock_held_new(&d, "A");
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok | leave e1 | A released ok");
    lock_acquire(a);
    CHECK_EQ_TEXT(desk_log(&d), "enter e1 | A ok");
    CHECK(desk_close(&d));
}

TEST(two_entries_at_once_have_two_names) {
    desk d;
    desk_open_sparing(&d);
    lock *a = lock_held_new(&d, "A");
    lock *b = lock_new(&d, "B"), *c = lock_new(&d, "C");
    lock_acquire(b);
    lock_acquire(c);
    (void)desk_log(&d);
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "swap e1>e2 | B ok | A released ok");
    lock_release(b, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "swap e2>e1 | C ok | B released ok");
    CHECK(desk_close(&d));
}

TEST(an_entry_on_its_way_out_keeps_its_name) {
    desk d;
    desk_open_sparing(&d);
    lock *a = lock_held_new(&d, "A");
    (void)desk_log(&d);
    sb_hold(d.backend, SB_LEAVE);
    lock_release(a, DS_SECOND);
    lock_acquire(a);
    CHECK_EQ_TEXT(desk_log(&d), "leave e1 | enter e2 | A ok");
    sb_ok(d.backend, SB_LEAVE, DS_PLACE_DONE);
    sb_release(d.backend, SB_LEAVE);
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "A released ok | leave e2 | A released ok");
    lock_acquire(a);
    CHECK_EQ_TEXT(desk_log(&d), "enter e2 | A ok");
    CHECK(desk_close(&d));
}

TEST(a_name_in_doubt_is_not_used_again) {
    desk d;
    desk_open_sparing(&d);
    lock *a = lock_new(&d, "A");
    sb_hold(d.backend, SB_ENTER);
    lock_acquire(a);
    fw_settle(d.u);
    sb_release(d.backend, SB_ENTER);
    ds_reply reply = {.outcome = DS_OK, .resent = true, .place = DS_PLACE_HELD};
    sb_answer(sb_pending(d.backend, SB_ENTER), 0, &reply);
    fw_settle(d.u);
    lock_release(a, DS_SECOND);
    CHECK_EQ_TEXT(desk_log(&d), "open s1 | enter e1 | A ok | withdraw s1 e1 ->2 | A released ok");
    lock_acquire(a);
    CHECK_EQ_TEXT(desk_log(&d), "enter e2 | A ok");
    CHECK(desk_close(&d));
}

TEST(a_try_that_found_somebody_leaves_its_name) {
    desk d;
    desk_open_sparing(&d);
    lock *a = lock_new(&d, "A");
    for (int i = 0; i < 2; i++) {
        sb_hold(d.backend, SB_ENTER);
        lock_try(a);
        fw_settle(d.u);
        sb_release(d.backend, SB_ENTER);
        sb_ok(d.backend, SB_ENTER, DS_PLACE_BUSY);
        CHECK_EQ_TEXT(desk_log(&d), i == 0 ? "open s1 | try e1 | A contended" : "try e1 | A contended");
    }
    CHECK(desk_close(&d));
}

TEST(each_queue_has_its_own_names) {
    desk d;
    desk_open_sparing(&d);
    lock *a = lock_held_new(&d, "A");
    lock_release(a, DS_SECOND);
    (void)desk_log(&d);
    lock_acquire_at(a, "p/lock/other");
    CHECK_EQ_TEXT(desk_log(&d), "enter e2 | A ok");
    CHECK(desk_close(&d));
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

TEST(a_name_comes_with_the_token_it_had) {
    ds_spare_names names = {NULL};
    ds_entry entry = {.path = "p/lock/q", .nonce = "00000000000000aa", .token = 40};
    CHECK(!ds_spare_names_take(&names, &entry));
    ds_spare_names_keep(&names, &entry);
    ds_entry other = {.path = "p/lock/r"};
    CHECK(!ds_spare_names_take(&names, &other));
    ds_entry next = {.path = "p/lock/q"};
    CHECK(ds_spare_names_take(&names, &next));
    CHECK_EQ_TEXT(next.nonce, "00000000000000aa");
    CHECK_EQ_INT(next.former, 40);
    CHECK(!ds_spare_names_take(&names, &entry)); /* there was one only */
    ds_spare_names_keep(&names, &next);          /* was never made: its token is still the one before */
    CHECK(ds_spare_names_take(&names, &entry));
    CHECK_EQ_INT(entry.former, 40);
    ds_spare_names_free(&names);
}
