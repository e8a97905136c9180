/* test_consul_withdraw.c: taking entries off a real agent in one go, so that none comes back. */
#include "consul_session.h"

TEST(withdraw_removes_entries_and_keeps_late_copies_out) {
    rig r;
    ds_lease lease;
    ds_entry held, waiting, late;
    REQUIRE(open_session(&r, &lease));
    rig_entry_init(&held, &lease, "dsync/lock/withdraw", "1");
    rig_entry_init(&waiting, &lease, "dsync/lock/withdraw", "2");
    rig_entry_init(&late, &lease, "dsync/lock/late", "3");
    held.token = rig_enter(&r, &held, false)->token;
    waiting.token = rig_enter(&r, &waiting, false)->token;
    const ds_entry *entries[] = {&held, &waiting, &late};
    const rig_reply *reply = rig_withdraw(&r, &lease, entries, 3, 2);
    CHECK_EQ_INT(reply->place, DS_PLACE_DONE);
    CHECK_EQ_INT((int64_t)reply->epoch, 2);
    CHECK_EQ_INT(rig_withdraw(&r, &lease, entries, 3, 2)->place, DS_PLACE_DONE); /* a repetition */
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/withdraw"), 0);
    lease.epoch = 2;
    CHECK_EQ_INT(rig_enter(&r, &late, false)->place, DS_PLACE_HELD);
    close_session(&r, &lease);
}

/* Withdraws with ever more time until a try ends somewhere among the entries; how many of them are gone. */
static int withdraw_in_part(rig *r, const ds_lease *lease, const ds_entry *const *entries, int count, uint64_t epoch) {
    int gone = 0;
    for (int64_t timeout = 4; gone < 2 && timeout < 2000; timeout += 1) {
        rig_timeout(timeout);
        (void)rig_withdraw(r, lease, entries, (size_t)count, epoch);
        gone = count - consul_count(&server, "dsync/lock/part/.queue/");
    }
    rig_timeout(10000);
    return gone;
}

/* What stands for the first entry here is no late copy, which the epoch keeps out: it only shows who looks again. */
TEST(a_withdrawal_goes_on_where_the_last_try_ended) {
    enum { COUNT = 60 };
    rig r;
    ds_lease lease;
    ds_entry entry[COUNT];
    const ds_entry *entries[COUNT];
    uint64_t epoch = 1;
    int gone = 0;
    REQUIRE(open_session(&r, &lease));
    for (int i = 0; i < 5 && (gone < 2 || gone >= COUNT); i++) { /* again if it was too quick */
        rig_timeout(10000);
        for (int k = 0; k < COUNT; k++) {
            rig_entry_init(&entry[k], &lease, "dsync/lock/part", "x");
            entry[k].token = rig_enter(&r, &entry[k], false)->token;
            entries[k] = &entry[k];
        }
        gone = withdraw_in_part(&r, &lease, entries, COUNT, ++epoch);
        if (gone >= COUNT) {
            CHECK_EQ_INT(rig_withdraw(&r, &lease, entries, COUNT, epoch)->place, DS_PLACE_DONE);
            lease.epoch = epoch;
        }
    }
    REQUIRE(gone >= 2 && gone < COUNT);
    char *first = rig_entry_key(&r, &entry[0]);
    CHECK(consul_put(&server, first, "", "again"));
    const rig_reply *reply = rig_withdraw(&r, &lease, entries, COUNT, epoch);
    CHECK_EQ_INT(reply->place, DS_PLACE_DONE);
    CHECK_EQ_INT((int64_t)reply->epoch, (int64_t)epoch);
    CHECK(consul_has(&server, first));
    CHECK_EQ_INT(consul_count(&server, "dsync/lock/part/.queue/"), 1);
    CHECK(consul_delete(&server, first));
    ds_free(first);
    rig_timeout(0);
    close_session(&r, &lease);
}
