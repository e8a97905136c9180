/* Queues, data and lists of the memory: backend, call by call, in virtual time. */
#include "memory_fixture.h"

/* ---- queues ------------------------------------------------------------------------------------------------------ */

TEST(a_queue_is_first_in_first_out_between_clients) {
    fw *u = fw_new(1);
    client c[3] = {client_open(u, "0"), client_open(u, "1"), client_open(u, "2")};
    place p[6];
    answer a;
    char *key = NULL;
    for (unsigned i = 0; i < 6; i++) {
        client *mine = &c[i % 3];
        place_of(&p[i], mine, PATH, i + 1);
        CALL(mine, &a, enter, &p[i].entry, false);
        CHECK_EQ_INT(a.reply.place, i == 0 ? DS_PLACE_HELD : DS_PLACE_WAITING);
        CHECK(a.reply.token > (i > 0 ? p[i - 1].entry.token : 0));
        CHECK_EQ_INT(a.reply.revision, a.reply.token);
        p[i].entry.token = a.reply.token;
        if (i > 0) {
            REQUIRE(mine->backend->ops->entry_key(mine->backend, &p[i - 1].entry, &key));
            CHECK_EQ_TEXT(a.ahead, key);
            CHECK_EQ_TEXT(a.holder_value, "1");
            CHECK_EQ_TEXT(a.holder_path, PATH);
            ds_free(key);
        }
    }
    place another = p[2]; /* the same name, but not the same acquisition */
    another.entry.token++;
    CHECK_EQ_INT(leave(&c[2], &another), DS_PLACE_GONE);
    CHECK_EQ_INT(leave(&c[2], &p[2]), DS_PLACE_DONE); /* from the middle */
    CALL(&c[0], &a, check, &p[3].entry);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_WAITING);
    CHECK_CONTAINS(a.ahead, p[1].entry.nonce);
    CHECK_CONTAINS(a.ahead, c[1].lease.id);
    CHECK_EQ_TEXT(listing(&c[0], PATH, false),
                  PATH " 1 holds\n" PATH " 2 waits\n" PATH " 4 waits\n" PATH " 5 waits\n" PATH " 6 waits\n");
    for (unsigned i = 0; i < 6; i++) {
        if (i != 2) {
            CHECK_EQ_INT(check(&c[i % 3], &p[i]), DS_PLACE_HELD);
            CHECK_EQ_INT(leave(&c[i % 3], &p[i]), DS_PLACE_DONE);
            CHECK_EQ_INT(leave(&c[i % 3], &p[i]), DS_PLACE_GONE);
            CHECK_EQ_INT(check(&c[i % 3], &p[i]), DS_PLACE_GONE);
        }
    }
    CHECK_EQ_TEXT(listing(&c[0], PATH, false), "");
    for (int i = 0; i < 3; i++) {
        client_free(&c[i]);
    }
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(entering_twice_is_entering_once) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    place p, waiter;
    CHECK_EQ_INT(enter(&c, place_of(&p, &c, PATH, 1)), DS_PLACE_HELD);
    CHECK_EQ_INT(enter(&other, place_of(&waiter, &other, PATH, 2)), DS_PLACE_WAITING);
    answer a;
    p.entry.token = 0;
    CALL(&c, &a, enter, &p.entry, false);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_HELD);
    CALL(&c, &a, enter, &p.entry, true);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_HELD);
    CHECK_EQ_TEXT(listing(&c, PATH, false), PATH " 1 holds\n" PATH " 2 waits\n");
    client_free(&c);
    client_free(&other);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_try_leaves_no_trace) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    place p, tried;
    answer a;
    place_of(&p, &c, PATH, 1);
    CALL(&c, &a, enter, &p.entry, true);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_HELD);
    place_of(&tried, &other, PATH, 2);
    CALL(&other, &a, enter, &tried.entry, true);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_BUSY);
    CHECK_EQ_TEXT(a.holder_value, "1");
    CHECK_CONTAINS(a.holder_key, c.lease.id);
    CHECK_EQ_TEXT(listing(&c, PATH, false), PATH " 1 holds\n");
    client_free(&c);
    client_free(&other);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(an_old_epoch_enters_and_writes_nothing) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place held, lost, late;
    answer a;
    (void)enter(&c, place_of(&held, &c, "dsync/lock/held", 1));
    (void)enter(&c, place_of(&lost, &c, PATH, 2));
    ds_lease copy = c.lease; /* a copy of an earlier request carries the epoch of its time */
    const ds_entry *entries[] = {&lost.entry};
    CALL(&c, &a, withdraw, &c.lease, entries, 1, 2);
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_DONE);
    CHECK_EQ_UINT(a.reply.epoch, 2);
    c.lease.epoch = 2;

    lost.entry.lease = &copy;
    lost.entry.token = 0;
    CALL(&c, &a, enter, &lost.entry, false);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_STALE);
    place_of(&late, &c, PATH, 3)->entry.lease = &copy;
    CALL(&c, &a, enter, &late.entry, true);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_STALE);
    ds_entry old_view = held.entry;
    old_view.lease = &copy;
    ds_write write = {.kind = DS_WRITE_PUT, .entry = &old_view, .key = "dsync/data/k", .value = "x", .value_size = 1};
    CALL(&c, &a, write, &write);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_STALE);
    CHECK_EQ_TEXT(listing(&c, "dsync/lock", true), "dsync/lock/held 1 holds\n");

    copy.epoch = 0; /* a late copy of an earlier withdrawal */
    CALL(&c, &a, withdraw, &copy, NULL, 0, 1);
    CHECK_EQ_UINT(a.reply.epoch, 2);
    CHECK_EQ_INT(enter(&c, place_of(&late, &c, PATH, 4)), DS_PLACE_HELD);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(swapping_goes_behind_a_waiter_of_another_client) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    place old, fresh, waiter;
    answer a;
    (void)enter(&c, place_of(&old, &c, PATH, 1));
    (void)enter(&other, place_of(&waiter, &other, PATH, 2));
    place_of(&fresh, &c, PATH, 3);
    CALL(&c, &a, swap, &old.entry, &fresh.entry);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_WAITING);
    CHECK_EQ_TEXT(a.holder_value, "2");
    CHECK(a.reply.token > waiter.entry.token);
    CHECK_EQ_INT(check(&other, &waiter), DS_PLACE_HELD);

    CALL(&c, &a, swap, &old.entry, &fresh.entry); /* a copy of it */
    CHECK_EQ_INT(a.reply.place, DS_PLACE_WAITING);
    fresh.entry.token = a.reply.token;
    CHECK_EQ_TEXT(listing(&c, PATH, false), PATH " 2 holds\n" PATH " 3 waits\n");
    CHECK_EQ_INT(leave(&other, &waiter), DS_PLACE_DONE);
    CHECK_EQ_INT(leave(&c, &fresh), DS_PLACE_DONE);
    CALL(&c, &a, swap, &old.entry, &fresh.entry); /* and one that arrives late */
    CHECK_EQ_INT(a.reply.place, DS_PLACE_GONE);
    CHECK_EQ_TEXT(listing(&c, PATH, false), "");
    client_free(&c);
    client_free(&other);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(swapping_alone_holds_with_a_higher_token) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place old, fresh;
    answer a;
    (void)enter(&c, place_of(&old, &c, PATH, 1));
    place_of(&fresh, &c, PATH, 2);
    CALL(&c, &a, swap, &old.entry, &fresh.entry);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_HELD);
    CHECK(a.reply.token > old.entry.token);
    CHECK_EQ_INT(check(&c, &old), DS_PLACE_GONE);
    CHECK_EQ_TEXT(listing(&c, PATH, false), PATH " 2 holds\n");
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(eviction_needs_the_right_token) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client breaker = client_open(u, "the \"breaker\"");
    place p, waiter;
    answer a;
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    (void)enter(&breaker, place_of(&waiter, &breaker, PATH, 2));
    CALL(&breaker, &a, evict, PATH, p.entry.token + 100);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_GONE);
    CALL(&breaker, &a, evict, "dsync/lock/none", p.entry.token);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_GONE);
    CALL(&breaker, &a, evict, PATH, p.entry.token);
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_DONE);
    CHECK_EQ_INT(check(&c, &p), DS_PLACE_GONE);
    CHECK_EQ_INT(check(&breaker, &waiter), DS_PLACE_HELD);
    client_free(&c);
    client_free(&breaker);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

TEST(guarded_writes_need_the_lock) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    place p, waiter;
    answer a;
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    (void)enter(&other, place_of(&waiter, &other, PATH, 2));
    ds_write write = {.kind = DS_WRITE_PUT, .entry = &p.entry, .key = "dsync/data/k", .value = "one", .value_size = 3};
    CALL(&c, &a, write, &write);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_DONE);
    int64_t first = a.reply.revision;
    CALL(&other, &a, get, "dsync/data/k");
    CHECK_EQ_TEXT(a.value, "one");
    CHECK_EQ_UINT(a.reply.value_size, 3);
    CHECK_EQ_INT(a.reply.token, first);

    write.value_size = 0;
    CALL(&c, &a, write, &write);
    CALL(&other, &a, get, "dsync/data/k");
    CHECK(a.reply.value != NULL && a.reply.value_size == 0 && a.reply.token > first);

    write.entry = &waiter.entry; /* waits, so it owns nothing */
    CALL(&other, &a, write, &write);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_WAITING);
    write.kind = DS_WRITE_DELETE;
    write.entry = &p.entry;
    CALL(&c, &a, write, &write);
    CALL(&c, &a, write, &write);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_DONE);
    CALL(&other, &a, get, "dsync/data/k");
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    CHECK_NULL(a.reply.value);

    write = (ds_write){.kind = DS_WRITE_VALUE, .entry = &p.entry, .value = "shown", .value_size = 5};
    CALL(&c, &a, write, &write);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_DONE);
    CHECK_EQ_TEXT(listing(&c, PATH, false), PATH " shown holds\n" PATH " 2 waits\n");
    CHECK_EQ_INT(check(&c, &p), DS_PLACE_HELD); /* and its token is what it was */
    CHECK_EQ_INT(leave(&c, &p), DS_PLACE_DONE);
    CALL(&c, &a, write, &write);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_GONE);
    client_free(&c);
    client_free(&other);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

TEST(a_list_has_a_limit_and_keeps_to_its_subtree) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place p[5];
    const char *paths[] = {PATH, PATH, PATH, "dsync/lock/ab", "dsync/leader/a"};
    for (unsigned i = 0; i < 5; i++) {
        (void)enter(&c, place_of(&p[i], &c, paths[i], i));
    }
    ds_list_spec spec = {.path = PATH, .limit = 2};
    answer a;
    CALL(&c, &a, list, &spec);
    CHECK_EQ_TEXT(a.listed.data, PATH " 0 holds\n" PATH " 1 waits\n");
    CHECK_EQ_TEXT(a.next, "");
    ds_buf_free(&a.listed);
    CHECK_EQ_TEXT(listing(&c, PATH, true), "");
    CHECK_EQ_TEXT(listing(&c, "dsync/lock", false), "");
    CHECK_EQ_TEXT(listing(&c, "dsync/lock", true),
                  PATH " 0 holds\n" PATH " 1 waits\n" PATH " 2 waits\ndsync/lock/ab 3 holds\n");
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(pages_hold_whole_queues_and_all_of_them) {
    enum { QUEUES = 700, EACH = 3 };
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    char path[32];
    place p;
    for (unsigned i = 0; i < QUEUES * EACH; i++) {
        (void)snprintf(path, sizeof(path), "dsync/lock/%u", i % QUEUES);
        (void)enter(&c, place_of(&p, &c, path, i));
    }
    size_t peers = 0, pages = 0;
    char after[128] = "", last[64] = "";
    do {
        ds_list_spec spec = {.path = "dsync/lock", .subtree = true, .after = pages > 0 ? after : NULL};
        answer a;
        CALL(&c, &a, list, &spec);
        CHECK_EQ_INT(a.reply.outcome, DS_OK);
        CHECK_EQ_UINT(a.reply.peer_count % EACH, 0);
        peers += a.reply.peer_count;
        char first[64];
        (void)sscanf(a.listed.data, "%63s", first);
        CHECK(strcmp(first, last) > 0);
        keep_text(last, sizeof(last), first);
        keep_text(after, sizeof(after), a.next);
        ds_buf_free(&a.listed);
        pages++;
    } while (after[0] != '\0' && pages < 100);
    CHECK_EQ_UINT(peers, QUEUES * EACH);
    CHECK(pages > 1);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}
