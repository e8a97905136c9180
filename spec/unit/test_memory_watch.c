/* Watches of the memory: backend: what they report, from when on, across clients, and how they end. */
#include "memory_watcher.h"

/* ---- what is reported -------------------------------------------------------------------------------------------- */

TEST(an_entry_is_watched_from_another_client) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    place p, q;
    watcher all, deletes, neighbour;
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    (void)enter(&c, place_of(&q, &c, PATH, 2));
    watch_entry(&all, &other, &p, false, 0);
    watch_entry(&deletes, &other, &p, true, 0);
    watch_entry(&neighbour, &other, &q, false, 0);
    CHECK_EQ_TEXT(seen(&all), "ready ");
    CHECK_EQ_INT(all.ready, revision_of(&c));
    CHECK_EQ_TEXT(seen(&deletes), "ready ");
    write_value(&c, &p, "new");
    CHECK_EQ_TEXT(seen(&all), "put:1=new ");
    CHECK_EQ_TEXT(seen(&deletes), "");
    (void)leave(&c, &p);
    CHECK_EQ_TEXT(seen(&all), "del:1=new ");
    CHECK_EQ_TEXT(seen(&deletes), "del:1=new ");
    CHECK_EQ_TEXT(seen(&neighbour), "ready ");
    unwatch(&all);
    unwatch(&deletes);
    unwatch(&neighbour);
    unwatch(&neighbour);
    (void)leave(&c, &q);
    CHECK_EQ_TEXT(seen(&neighbour), "");
    client_free(&c);
    client_free(&other);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_subtree_is_what_lies_below_not_beside) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    watcher queue, locks, data;
    watch(&queue, &other, &(ds_watch_spec){.key = PATH, .subtree = true});
    watch(&locks, &other, &(ds_watch_spec){.key = "dsync/lock", .subtree = true, .deletes_only = true});
    watch(&data, &other, &(ds_watch_spec){.key = "dsync/data/k"});
    CHECK_EQ_TEXT(seen(&queue), "ready ");
    place p, q;
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    (void)enter(&c, place_of(&q, &c, PATH "b", 2));
    ds_write write = {.kind = DS_WRITE_PUT, .entry = &p.entry, .key = "dsync/data/k", .value = "x", .value_size = 1};
    answer a;
    CALL(&c, &a, write, &write);
    write.kind = DS_WRITE_DELETE;
    CALL(&c, &a, write, &write);
    place fresh;
    place_of(&fresh, &c, PATH, 3);
    CALL(&c, &a, swap, &p.entry, &fresh.entry);
    CALL(&c, &a, close, &c.lease);
    CHECK_EQ_TEXT(seen(&queue), "put:1=1 del:1=1 put:3=3 del:3=3 ");
    CHECK_EQ_TEXT(seen(&locks), "ready del:1=1 del:2=2 del:3=3 ");
    CHECK_EQ_TEXT(seen(&data), "ready put:dsync/data/k=x del:dsync/data/k=x ");
    unwatch(&queue);
    unwatch(&locks);
    unwatch(&data);
    client_free(&c);
    client_free(&other);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(an_evicted_entry_says_who_broke_it) {
    const struct {
        const char *value, *last;
    } rows[] = {{"{\"id\":\"n\"}", "{\"id\":\"n\",\"broken_by\":\"b\\\"r\"}"},
                {"{}", "{\"broken_by\":\"b\\\"r\"}"},
                {"plain", "{\"broken_by\":\"b\\\"r\"}"},
                {"", "{\"broken_by\":\"b\\\"r\"}"}};
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client breaker = client_open(u, "b\"r");
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i].value);
        place p;
        place_of(&p, &c, PATH, 1 + (unsigned)i);
        p.entry.value = rows[i].value;
        p.entry.value_size = strlen(rows[i].value);
        (void)enter(&c, &p);
        watcher own;
        watch_entry(&own, &c, &p, true, 0);
        (void)seen(&own);
        answer a;
        CALL(&breaker, &a, evict, PATH, p.entry.token);
        const char *told = seen(&own);
        CHECK_CONTAINS(told, DS_BROKEN_MARK);
        CHECK_CONTAINS(told, rows[i].last);
        unwatch(&own);
    }
    client_free(&c);
    client_free(&breaker);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_session_key_tells_of_its_end) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    char *key = NULL;
    REQUIRE(c.backend->ops->session_key(c.backend, &c.lease, &key));
    watcher own, foreign;
    ds_watch_spec spec = {.key = key, .deletes_only = true, .since = c.lease.created + 1, .lease = &c.lease};
    watch(&own, &c, &spec);
    watch(&foreign, &other, &spec);
    CHECK_EQ_TEXT(seen(&own), "ready ");
    CHECK_EQ_TEXT(seen(&foreign), "ready ");
    answer a;
    CALL(&c, &a, renew, &c.lease);
    CHECK_EQ_TEXT(seen(&own), "");
    CALL(&c, &a, close, &c.lease);
    CHECK_CONTAINS(seen(&own), "del:");
    CHECK_CONTAINS(seen(&foreign), "del:");
    unwatch(&own);
    unwatch(&foreign);
    ds_free(key);
    client_free(&c);
    client_free(&other);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

TEST(a_waiter_is_told_when_the_holders_session_runs_out) {
    fw *u = fw_new(1);
    client waiter = client_new(u, "waiter");
    waiter.lease.ttl_ms = 1000000;
    CHECK_EQ_INT(open_session(&waiter), DS_OK);
    client holder = client_open(u, "holder");
    place p;
    (void)enter(&holder, place_of(&p, &holder, PATH, 1));
    watcher ahead;
    watch_entry(&ahead, &waiter, &p, true, 0);
    fw_advance(u, 5 * DS_SECOND);
    answer a;
    CALL(&holder, &a, renew, &holder.lease);
    fw_pause(holder.backend->world, true); /* its thread is stuck; nobody calls anything */
    fw_advance(u, 10 * DS_SECOND - 1);
    CHECK_EQ_TEXT(seen(&ahead), "ready ");
    fw_advance(u, 1);
    CHECK_EQ_TEXT(seen(&ahead), "del:1=1 ");
    unwatch(&ahead);
    fw_pause(holder.backend->world, false);
    client_free(&holder);
    client_free(&waiter);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_session_that_ends_earlier_moves_the_other_clients_timers) {
    fw *u = fw_new(1);
    client waiter = client_open(u, "waiter");
    watcher all;
    watch(&all, &waiter, &(ds_watch_spec){.key = PATH, .subtree = true, .deletes_only = true});
    fw_settle(u);
    client brief = client_new(u, "brief"); /* opened after the waiter set its timer to a later time */
    brief.lease.ttl_ms = 100;
    CHECK_EQ_INT(open_session(&brief), DS_OK);
    place p;
    (void)enter(&brief, place_of(&p, &brief, PATH, 1));
    fw_pause(brief.backend->world, true);
    CHECK_EQ_TEXT(seen(&all), "ready ");
    fw_advance(u, 100 * DS_MS);
    CHECK_EQ_TEXT(seen(&all), "del:1=1 ");
    unwatch(&all);
    fw_pause(brief.backend->world, false);
    client_free(&brief);
    client_free(&waiter);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* ---- the past ---------------------------------------------------------------------------------------------------- */

TEST(a_watch_may_begin_in_the_past) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place p, q;
    int64_t before = revision_of(&c);
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    (void)enter(&c, place_of(&q, &c, PATH, 2));
    write_value(&c, &p, "v");
    (void)leave(&c, &p);
    watcher w;
    watch(&w, &c, &(ds_watch_spec){.key = PATH, .subtree = true, .since = before + 1});
    CHECK_EQ_TEXT(seen(&w), "ready put:1=1 put:2=2 put:1=v del:1=v ");
    CHECK_EQ_INT(w.ready, before);
    unwatch(&w);
    watch_entry(&w, &c, &p, true, q.entry.token + 1);
    CHECK_EQ_TEXT(seen(&w), "ready del:1=v ");
    unwatch(&w);
    watch_entry(&w, &c, &q, false, q.entry.token + 1);
    CHECK_EQ_TEXT(seen(&w), "ready ");
    unwatch(&w);
    watch(&w, &c, &(ds_watch_spec){.key = PATH, .subtree = true, .since = revision_of(&c) + 1});
    CHECK_EQ_TEXT(seen(&w), "ready ");
    CHECK_EQ_INT(w.ready, revision_of(&c));
    unwatch(&w);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_past_that_is_forgotten_ends_the_watch) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place stays, gone, p;
    (void)enter(&c, place_of(&stays, &c, "dsync/lock/stays", 1));
    (void)enter(&c, place_of(&gone, &c, "dsync/lock/gone", 2));
    int64_t then = revision_of(&c) + 1;
    (void)leave(&c, &gone);
    for (unsigned i = 0; i < 1000; i++) {
        (void)enter(&c, place_of(&p, &c, PATH, 10 + i));
        (void)leave(&c, &p);
    }
    watcher w;
    watch_entry(&w, &c, &stays, true, then); /* it is there unchanged: nothing to miss */
    CHECK_EQ_TEXT(seen(&w), "ready ");
    unwatch(&w);
    watch_entry(&w, &c, &gone, true, then);
    CHECK_EQ_TEXT(seen(&w), "ready ended ");
    CHECK_EQ_INT(w.outcome, DS_NOT_EXECUTED);
    watch(&w, &c, &(ds_watch_spec){.key = "dsync", .subtree = true, .since = then});
    CHECK_EQ_TEXT(seen(&w), "ready ended ");
    unwatch(&w); /* off already */
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(large_values_do_not_pile_up_in_the_past) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place p;
    static char large[65536];
    memset(large, 'x', sizeof(large) - 1);
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    int64_t then = revision_of(&c) + 1;
    for (int i = 0; i < 5; i++) {
        write_value(&c, &p, large);
    }
    watcher w;
    watch(&w, &c, &(ds_watch_spec){.key = PATH, .subtree = true, .since = then});
    CHECK_EQ_TEXT(seen(&w), "ready ended ");
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* ---- ending ------------------------------------------------------------------------------------------------------ */

TEST(a_watch_that_is_off_hears_nothing_of_what_was_under_way) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place p;
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    watcher w, early;
    watch_entry(&w, &c, &p, false, 0);
    watch_entry(&early, &c, &p, false, 0);
    unwatch(&early);
    answer a;
    c.backend->ops->leave(c.backend, &prepare(&a, u)->call, &p.entry);
    w.stop = true; /* at READY, with the deletion behind it */
    CHECK_EQ_TEXT(seen(&w), "ready ");
    CHECK_NULL(w.watch.impl);
    CHECK_EQ_UINT(early.count, 0);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_client_that_does_not_listen_is_cut_off) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client deaf = client_open(u, "deaf");
    watcher w;
    place p;
    watch(&w, &deaf, &(ds_watch_spec){.key = PATH, .subtree = true});
    fw_pause(deaf.backend->world, true);
    for (unsigned i = 0; i < 3000; i++) {
        (void)enter(&c, place_of(&p, &c, PATH, i + 1));
        (void)leave(&c, &p);
    }
    fw_pause(deaf.backend->world, false);
    fw_settle(u);
    CHECK_EQ_UINT(w.count, 4096 + 1);
    CHECK_NULL(w.watch.impl);
    client_free(&deaf);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_client_goes_with_watches_on_and_events_under_way) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client leaving = client_open(u, "leaving");
    watcher w;
    place p;
    watch(&w, &leaving, &(ds_watch_spec){.key = PATH, .subtree = true});
    (void)seen(&w);
    fw_pause(leaving.backend->world, true);
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    client_free(&leaving);
    (void)leave(&c, &p);
    client_free(&c);
    CHECK_EQ_UINT(w.count, 1);
    CHECK_EQ_UINT(fw_free(u), 0);
}

static client *dying;

static void destroy_from_event(ds_watch *watch, const ds_watch_event *event) {
    watcher *w = DS_CONTAINER_OF(watch, watcher, watch);
    w->count++;
    if (event->kind == DS_WATCH_PUT) {
        client_free(dying);
        CHECK_CONTAINS(event->key, PATH);
    }
}

TEST(a_client_may_be_destroyed_from_an_event) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place p;
    watcher w = {.watch = {.on_event = destroy_from_event}, .universe = u, .client = &c};
    CHECK(c.backend->ops->watch(c.backend, &w.watch, &(ds_watch_spec){.key = PATH, .subtree = true}));
    answer a, b;
    place_of(&p, &c, PATH, 1);
    c.backend->ops->enter(c.backend, &prepare(&a, u)->call, &p.entry, false);
    c.backend->ops->leave(c.backend, &prepare(&b, u)->call, &p.entry);
    c.backend->ops->cancel(c.backend, &a.call);
    c.backend->ops->cancel(c.backend, &b.call);
    dying = &c;
    fw_settle(u);
    CHECK_EQ_UINT(w.count, 2); /* READY and PUT; the deletion finds nobody */
    CHECK_EQ_UINT(fw_free(u), 0);
}

#ifdef DS_TEST_ALLOC

TEST(a_watch_without_memory_ends_or_does_not_begin) {
    bool ended = false, refused = false;
    EACH_ALLOCATION_FAILS() {
        ds_test_fail_allocation(0, false);
        fw *u = fw_new(1);
        client c = client_open(u, "c");
        client other = client_open(u, "other");
        place p, q;
        (void)enter(&c, place_of(&p, &c, PATH, 1));
        ds_test_fail_allocation(test_nth, false);
        watcher w = {.watch = {.on_event = on_event}, .universe = u, .client = &other};
        bool on = other.backend->ops->watch(other.backend, &w.watch, &(ds_watch_spec){.key = PATH, .subtree = true});
        answer left, entered;
        CALL(&c, &left, leave, &p.entry);
        place_of(&q, &c, PATH, 2);
        CALL(&c, &entered, enter, &q.entry, false);
        const char *told = seen(&w);
        ended = ended || strstr(told, "ended") != NULL;
        refused = refused || !on;
        /* Whoever was let in hears of everything that happened, or of an end. */
        CHECK(!on || strstr(told, "ended") != NULL ||
              ((strstr(told, "del:1") != NULL) == (left.reply.outcome == DS_OK) &&
               (strstr(told, "put:2") != NULL) == (entered.reply.outcome != DS_REFUSED)));
        unwatch(&w);
        client_free(&c);
        client_free(&other);
        CHECK_EQ_UINT(fw_free(u), 0);
    }
    CHECK(ended && refused);
}

#endif
