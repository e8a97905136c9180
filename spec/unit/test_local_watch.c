/* Watches of local: in one process: what they report, when a session's time is over, how they end. */
#include "local_fixture.h"

#include "memory_watcher.h"

TEST(an_entry_is_watched_by_its_owner_and_by_others) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    place p, q;
    watcher all, deletes, neighbour;
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    (void)enter(&c, place_of(&q, &c, PATH, 2));
    watch_entry(&all, &other, &p, false, 0);
    watch_entry(&deletes, &c, &p, true, p.entry.token + 1);
    watch_entry(&neighbour, &other, &q, false, 0);
    CHECK_EQ_TEXT(seen(&all), "ready ");
    CHECK_EQ_INT(all.ready, revision_of(&c));
    CHECK_EQ_TEXT(seen(&deletes), "ready ");
    write_value(&c, &p, "new");
    CHECK_EQ_TEXT(seen(&all), "put:1=new ");
    CHECK_EQ_TEXT(seen(&deletes), "");
    (void)leave(&c, &p);
    CHECK_EQ_TEXT(seen(&all), "del:1= ");
    CHECK_EQ_TEXT(seen(&deletes), "del:1= ");
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

TEST(a_subtree_hears_every_change_in_order) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    watcher queue, locks, data;
    watch(&queue, &other, &(ds_watch_spec){.key = PATH, .subtree = true});
    watch(&locks, &other, &(ds_watch_spec){.key = "dsync/lock", .subtree = true, .deletes_only = true});
    watch(&data, &other, &(ds_watch_spec){.key = "dsync/data/k"});
    CHECK_EQ_TEXT(seen(&queue), "ready ");
    place p, q, fresh;
    answer a;
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    (void)enter(&c, place_of(&q, &c, PATH "b", 2));
    ds_write write = {.kind = DS_WRITE_PUT, .entry = &p.entry, .key = "dsync/data/k", .value = "x", .value_size = 1};
    CALL(&c, &a, write, &write);
    place_of(&fresh, &c, PATH, 3);
    CALL(&c, &a, swap, &p.entry, &fresh.entry);
    CALL(&c, &a, leave, &q.entry);
    CALL(&c, &a, close, &c.lease);
    CHECK_EQ_TEXT(seen(&queue), "put:1=1 del:1=1 put:3=3 del:3=3 ");
    CHECK_EQ_TEXT(seen(&locks), "ready del:1=1 del:2=2 del:3=3 ");
    CHECK_EQ_TEXT(seen(&data), "ready put:dsync/data/k=x ");
    unwatch(&queue);
    unwatch(&locks);
    unwatch(&data);
    client_free(&c);
    client_free(&other);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_large_value_is_told_though_the_log_does_not_keep_it) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    watcher w;
    place p;
    char large[6000];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    watch(&w, &c, &(ds_watch_spec){.key = PATH, .subtree = true});
    (void)seen(&w);
    write_value(&c, &p, large);
    CHECK_CONTAINS(seen(&w), "put:1=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    unwatch(&w);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(an_evicted_entry_says_who_broke_it_also_to_who_looks_later) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client breaker = client_open(u, "b\"r");
    place p, q;
    watcher own, late;
    answer a;
    place_of(&p, &c, PATH, 1);
    p.entry.value = "{\"id\":\"n\"}";
    p.entry.value_size = strlen(p.entry.value);
    (void)enter(&c, &p);
    (void)enter(&breaker, place_of(&q, &breaker, PATH, 2));
    watch_entry(&own, &c, &p, true, 0);
    (void)seen(&own);
    CALL(&breaker, &a, evict, PATH, p.entry.token);
    CHECK_CONTAINS(seen(&own), "{\"id\":\"n\",\"broken_by\":\"b\\\"r\"}");
    watch_entry(&late, &c, &p, true, p.entry.token + 1);
    CHECK_CONTAINS(seen(&late), "ready del:1={\"id\":\"n\",\"broken_by\":\"b\\\"r\"}");
    CHECK_EQ_INT(check(&breaker, &q), DS_PLACE_HELD);
    unwatch(&own);
    unwatch(&late);
    client_free(&c);
    client_free(&breaker);
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
    watcher ahead, session;
    char *key = NULL;
    REQUIRE(holder.backend->ops->session_key(holder.backend, &holder.lease, &key));
    watch_entry(&ahead, &waiter, &p, true, 0);
    watch(&session, &waiter, &(ds_watch_spec){.key = key, .deletes_only = true, .since = holder.lease.created + 1});
    fw_advance(u, 5 * DS_SECOND);
    answer a;
    CALL(&holder, &a, renew, &holder.lease);
    fw_pause(holder.backend->world, true); /* its thread is stuck; nobody calls anything */
    fw_advance(u, 10 * DS_SECOND - 1);
    CHECK_EQ_TEXT(seen(&ahead), "ready ");
    fw_advance(u, 1);
    CHECK_EQ_TEXT(seen(&ahead), "del:1= ");
    CHECK_CONTAINS(seen(&session), "ready del:");
    unwatch(&ahead);
    unwatch(&session);
    ds_free(key);
    fw_pause(holder.backend->world, false);
    client_free(&holder);
    client_free(&waiter);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_client_that_watches_nothing_sets_no_timer) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place p;
    watcher w;
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    CHECK_EQ_INT(fw_next(u), DS_NEVER);
    watch_entry(&w, &c, &p, true, p.entry.token + 1);
    (void)seen(&w);
    CHECK(fw_next(u) != DS_NEVER);
    unwatch(&w);
    fw_advance(u, 9 * DS_SECOND); /* the one that was set is the last */
    CHECK_EQ_INT(fw_next(u), DS_NEVER);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* ---- ending ------------------------------------------------------------------------------------------------------ */

TEST(a_past_that_nobody_recorded_ends_the_watch) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place p;
    watcher w;
    int64_t before = revision_of(&c);
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    watch(&w, &c, &(ds_watch_spec){.key = PATH, .subtree = true, .since = before + 1});
    CHECK_EQ_TEXT(seen(&w), "ready ended ");
    CHECK_EQ_INT(w.outcome, DS_NOT_EXECUTED);
    watch(&w, &c, &(ds_watch_spec){.key = PATH, .subtree = true, .since = revision_of(&c) + 1});
    CHECK_EQ_TEXT(seen(&w), "ready ");
    CHECK_EQ_INT(w.ready, revision_of(&c));
    unwatch(&w);
    watch_entry(&w, &c, &p, false, p.entry.token + 1);
    CHECK_EQ_TEXT(seen(&w), "ready ");
    unwatch(&w);
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
    for (unsigned i = 0; i < 700; i++) {
        (void)enter(&c, place_of(&p, &c, PATH, i + 1));
        (void)leave(&c, &p);
    }
    fw_pause(deaf.backend->world, false);
    CHECK_EQ_TEXT(seen(&w), "ready ended ");
    client_free(&deaf);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

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

TEST(a_database_that_is_taken_away_ends_the_watches) {
    fw *u = fw_new(1);
    client c = local_client(u, "taken.db");
    place p;
    watcher entry, queue;
    answer a;
    CHECK_EQ_INT(open_session(&c), DS_OK);
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    watch_entry(&entry, &c, &p, true, p.entry.token + 1);
    watch(&queue, &c, &(ds_watch_spec){.key = PATH, .subtree = true});
    (void)seen(&queue);
    REQUIRE(unlink("taken.db") == 0 && unlink("taken.db-wal") == 0 && unlink("taken.db-shm") == 0);
    fw_skip_wall(u, 2000);
    fw_advance(u, 10 * DS_MS);
    CALL(&c, &a, ping);
    CHECK_CONTAINS(seen(&entry), "ended ");
    CHECK_EQ_TEXT(seen(&queue), "ended ");
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}
