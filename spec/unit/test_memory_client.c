/* Sessions and clients of the memory: backend: their lives and ends, forks, and running out of memory. */
#include <sys/wait.h>
#include <unistd.h>

#include "memory_fixture.h"

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

TEST(a_session_opens_again_under_the_same_nonce) {
    fw *u = fw_new(1);
    client c = client_new(u, "c");
    answer a;
    CALL(&c, &a, open, &c.lease);
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    CHECK_EQ_INT(a.reply.ttl_ms, 10000);
    CHECK_EQ_UINT(a.reply.epoch, 1);
    CHECK(c.lease.created > 0 && c.lease.impl != NULL);
    CHECK_EQ_UINT(strlen(c.lease.id), 16);
    int64_t created = c.lease.created;
    fw_advance(u, 9 * DS_SECOND);
    CALL(&c, &a, open, &c.lease); /* counts from now on */
    CHECK_EQ_INT(c.lease.created, created);
    fw_advance(u, 9 * DS_SECOND);
    CALL(&c, &a, renew, &c.lease);
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_session_lives_as_long_as_it_is_renewed) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    answer a;
    for (int i = 0; i < 5; i++) {
        fw_advance(u, 10 * DS_SECOND - 1);
        CALL(&c, &a, renew, &c.lease);
        CHECK_EQ_INT(a.reply.outcome, DS_OK);
        CHECK_EQ_INT(a.reply.ttl_ms, 10000);
    }
    fw_advance(u, 10 * DS_SECOND);
    CALL(&c, &a, renew, &c.lease);
    CHECK_EQ_INT(a.reply.outcome, DS_LOST);
    CHECK_CONTAINS(a.reply.message, "session");
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(everything_under_a_dead_session_is_lost) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    place p, fresh, waiter;
    CHECK_EQ_INT(enter(&c, place_of(&p, &c, PATH, 1)), DS_PLACE_HELD);
    fw_advance(u, 5 * DS_SECOND);
    answer a;
    CALL(&other, &a, renew, &other.lease);
    CHECK_EQ_INT(enter(&other, place_of(&waiter, &other, PATH, 2)), DS_PLACE_WAITING);
    fw_advance(u, 5 * DS_SECOND);
    CHECK_EQ_INT(check(&other, &waiter), DS_PLACE_HELD);
    CHECK(waiter.entry.token > p.entry.token);
    CHECK_EQ_TEXT(listing(&other, PATH, false), PATH " 2 holds\n");

    ds_write write = {.kind = DS_WRITE_PUT, .entry = &p.entry, .key = "dsync/data/k", .value = "x", .value_size = 1};
    place_of(&fresh, &c, PATH, 3);
    const ds_entry *entries[] = {&p.entry};
    CALL(&c, &a, enter, &fresh.entry, false);
    CHECK_EQ_INT(a.reply.outcome, DS_LOST);
    CALL(&c, &a, check, &p.entry);
    CHECK_EQ_INT(a.reply.outcome, DS_LOST);
    CALL(&c, &a, leave, &p.entry);
    CHECK_EQ_INT(a.reply.outcome, DS_LOST);
    CALL(&c, &a, swap, &p.entry, &fresh.entry);
    CHECK_EQ_INT(a.reply.outcome, DS_LOST);
    CALL(&c, &a, withdraw, &c.lease, entries, 1, 2);
    CHECK_EQ_INT(a.reply.outcome, DS_LOST);
    CALL(&c, &a, write, &write);
    CHECK_EQ_INT(a.reply.outcome, DS_LOST);
    CALL(&c, &a, close, &c.lease);
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    client_free(&c);
    client_free(&other);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(closing_a_session_removes_its_entries_at_once) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client other = client_open(u, "other");
    place p[3], waiter;
    for (unsigned i = 0; i < 3; i++) {
        (void)enter(&c, place_of(&p[i], &c, i == 0 ? PATH : "dsync/lock/b", i));
    }
    CHECK_EQ_INT(enter(&other, place_of(&waiter, &other, PATH, 9)), DS_PLACE_WAITING);
    answer a;
    CALL(&c, &a, close, &c.lease);
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    CHECK_EQ_TEXT(listing(&other, "dsync/lock", true), PATH " 9 holds\n");
    CALL(&c, &a, close, &c.lease);
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    client_free(&c);
    client_free(&other);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_failed_clock_ends_nothing_and_grants_nothing) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    client fresh = client_new(u, "fresh");
    fw_fail_clock(c.backend->world, true);
    fw_fail_clock(fresh.backend->world, true);
    answer a;
    CALL(&c, &a, renew, &c.lease);
    CHECK_EQ_INT(a.reply.outcome, DS_NOT_EXECUTED);
    CHECK_EQ_INT(open_session(&fresh), DS_NOT_EXECUTED);
    fw_fail_clock(c.backend->world, false);
    CALL(&c, &a, renew, &c.lease);
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    client_free(&c);
    client_free(&fresh);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

TEST(stores_are_told_apart_by_name_and_tokens_never_repeat) {
    fw *u = fw_new(1);
    int64_t token = 0;
    for (int i = 0; i < 3; i++) { /* the store goes with its last client */
        client c = client_open(u, "c");
        client elsewhere = {.universe = u, .backend = backend_on(fw_add_world(u), "elsewhere", "x")};
        elsewhere.lease = (ds_lease){.nonce = 5, .prefix = "dsync", .ttl_ms = 1000, .epoch = 1};
        CHECK_EQ_INT(open_session(&elsewhere), DS_OK);
        place p, q;
        CHECK_EQ_INT(enter(&c, place_of(&p, &c, PATH, 1)), DS_PLACE_HELD);
        CHECK_EQ_INT(enter(&elsewhere, place_of(&q, &elsewhere, PATH, 2)), DS_PLACE_HELD);
        CHECK(p.entry.token > token);
        token = p.entry.token;
        client_free(&elsewhere);
        client_free(&c);
    }
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(the_address_names_the_store) {
    fw *u = fw_new(1);
    client c = client_new(u, "c");
    answer a;
    CHECK_EQ_TEXT(c.backend->ops->endpoint_list(c.backend), "memory:test");
    CALL(&c, &a, ping);
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    CHECK_CONTAINS(a.server, "memory");
    char *key = NULL;
    REQUIRE(c.backend->ops->session_key(c.backend, &c.lease, &key));
    CHECK(strncmp(key, "dsync/session/", strlen("dsync/session/")) == 0);
    ds_free(key);
    CHECK(c.backend->ops->local);
    CHECK_EQ_INT(c.backend->ops->ttl_min_ms, 100);
    client_free(&c);
    (void)fw_free(u);
}

TEST(unknown_settings_are_refused) {
    fw *u = fw_new(1);
    const dsync_setting settings[] = {{"etcd.transport", "json"}, {"memory.size", "1"}};
    dsync_options options = {.settings = settings, .setting_count = 2};
    ds_backend_config config = {.options = &options};
    dsync_error error;
    CHECK_NULL(ds_memory_backend(fw_world(u), &config, &error));
    CHECK_EQ_INT(error.code, DSYNC_CONFIG);
    CHECK_CONTAINS(error.message, "memory.size");
    (void)fw_free(u);
}

TEST(a_cancelled_call_is_silent) {
    fw *u = fw_new(1);
    client c = client_new(u, "c");
    answer a, b;
    c.backend->ops->open(c.backend, &prepare(&a, u)->call, &c.lease);
    c.backend->ops->cancel(c.backend, &a.call);
    c.backend->ops->cancel(c.backend, &a.call);
    fw_settle(u);
    CHECK_EQ_UINT(a.count, 0);
    CHECK_NULL(c.lease.impl);
    CHECK_EQ_INT(open_session(&c), DS_OK);
    place p;
    place_of(&p, &c, PATH, 1);
    c.backend->ops->enter(c.backend, &prepare(&b, u)->call, &p.entry, false);
    c.backend->ops->cancel(c.backend, &b.call);
    fw_settle(u);
    CHECK_EQ_UINT(b.count, 0);
    CHECK_EQ_INT(check(&c, &p), DS_PLACE_HELD); /* it had its effect */
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

static client *dying;

static void destroy_it(ds_call *call, const ds_reply *reply) {
    answer *a = DS_CONTAINER_OF(call, answer, call);
    client_free(dying);
    a->count = (unsigned)reply->holder->value_size; /* still there until this returns */
}

TEST(a_client_may_be_destroyed_from_an_answer) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place p, q;
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    answer a;
    place_of(&q, &c, PATH, 23);
    prepare(&a, u)->call.done = destroy_it;
    dying = &c;
    c.backend->ops->enter(c.backend, &a.call, &q.entry, true);
    fw_settle(u);
    CHECK_EQ_UINT(a.count, 1);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* In a forked child: an inherited client is let go without touching its store, and a new one finds a store of its
 * own. */
static bool child_starts_afresh(fw *u, client *inherited, const place *held) {
    client c = client_open(u, "child");
    place p;
    bool fresh = enter(&c, place_of(&p, &c, held->entry.path, 7)) == DS_PLACE_HELD && p.entry.token > held->entry.token;
    client_free(&c);
    client_free(inherited);
    return fw_free(u) == 0 && fresh;
}

TEST(a_forked_child_does_not_share_the_store) {
    fw *u = fw_new(1);
    client c = client_open(u, "c");
    place p;
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    pid_t pid = fork();
    if (pid == 0) {
        _exit(child_starts_afresh(u, &c, &p) ? 0 : 1);
    }
    int status = -1;
    CHECK_EQ_INT(waitpid(pid, &status, 0), pid);
    CHECK_EQ_INT(status, 0);
    CHECK_EQ_INT(check(&c, &p), DS_PLACE_HELD);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

#ifdef DS_TEST_ALLOC

/* One run of everything, in which one allocation fails. Whatever is refused must have had no effect. */
static void everything(fw *u) {
    client c = client_new(u, "c");
    if (c.backend == NULL) {
        return;
    }
    answer a, b;
    place p, q, r;
    ds_list_spec spec = {.path = "dsync", .subtree = true};
    CALL(&c, &a, open, &c.lease);
    if (a.reply.outcome == DS_OK) {
        place_of(&p, &c, PATH, 1);
        place_of(&q, &c, PATH, 2);
        place_of(&r, &c, PATH, 3);
        CALL(&c, &a, enter, &p.entry, false);
        CALL(&c, &b, check, &p.entry);
        CHECK(a.reply.outcome == DS_REFUSED ? b.reply.place != DS_PLACE_HELD
                                            : b.reply.outcome != DS_OK || b.reply.place == DS_PLACE_HELD);
        CALL(&c, &a, enter, &q.entry, true);
        CALL(&c, &a, enter, &q.entry, false);
        CALL(&c, &b, check, &q.entry);
        CHECK(a.reply.outcome != DS_REFUSED || b.reply.outcome != DS_OK || b.reply.place == DS_PLACE_GONE);
        CALL(&c, &a, swap, &p.entry, &r.entry);
        ds_write write = {
            .kind = DS_WRITE_PUT, .entry = &q.entry, .key = "dsync/data/k", .value = "v", .value_size = 1};
        CALL(&c, &a, write, &write);
        CALL(&c, &b, get, "dsync/data/k");
        CHECK(b.reply.outcome != DS_OK ||
              (b.reply.value != NULL) == (a.reply.outcome == DS_OK && a.reply.place == DS_PLACE_DONE));
        CALL(&c, &a, list, &spec);
        ds_buf_free(&a.listed);
        CALL(&c, &b, check, &q.entry);
        CALL(&c, &a, evict, PATH, b.reply.token);
    }
    CALL(&c, &a, close, &c.lease);
    client_free(&c);
}

TEST(running_out_of_memory_is_an_answer) {
    unsigned runs = 0;
    EACH_ALLOCATION_FAILS() {
        fw *u = fw_new(1);
        test_case("run %u", ++runs);
        everything(u);
        CHECK_EQ_UINT(fw_free(u), 0);
    }
    CHECK(runs > 20);
}

#endif
