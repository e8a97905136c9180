/* Following an election: the present state first, then the differences, however the news come. */
#include "test.h"

#include "core_fixture.h"

#include "../../csrc/core/observer.h"

#define PATH "p/leader/default/x"
#define K(name) PATH "/" name

typedef struct eye {
    ds_observer observer;
    desk *d;
    unsigned ended;
    dsync_code code;
    bool ends_itself;       /* in its next callback */
    ds_change_kind ends_at; /* if so */
} eye;

static void on_change(ds_observer *observer, ds_change_kind kind, const char *path, const ds_member *member,
                      bool missed) {
    static const char *const kinds[] = {"joined", "changed", "left", "elected", "vacant"};
    eye *e = DS_CONTAINER_OF(observer, eye, observer);
    CHECK((member == NULL) == (kind == DS_CHANGE_VACANT));
    CHECK(strncmp(path, "p/leader/", 9) == 0);
    CHECK_EQ_UINT(e->ended, 0);
    sb_note(e->d->backend, "%s%s%s%s%s", kinds[kind], strcmp(path, PATH) != 0 ? " in " : "",
            strcmp(path, PATH) != 0 ? path + 9 : "", member != NULL ? " " : "",
            member != NULL ? strrchr(member->key, '/') + 1 : "");
    if (missed) {
        sb_note(e->d->backend, "missed");
    }
    if (e->ends_itself && kind == e->ends_at) {
        ds_observer_end(observer, DSYNC_CANCELLED, "enough");
    }
}

static void on_end(ds_observer *observer, dsync_code code, const char *message) {
    eye *e = DS_CONTAINER_OF(observer, eye, observer);
    CHECK(message != NULL);
    e->ended++;
    e->code = code;
    sb_note(e->d->backend, "end %s", dsync_code_name(code));
}

static void eye_open(eye *e, desk *d, bool subtree) {
    memset(e, 0, sizeof(*e));
    e->d = d;
    e->observer.on_change = on_change;
    e->observer.on_end = on_end;
    sb_hold(d->backend, SB_LIST);
    CHECK(ds_observer_start(d->engine, &e->observer, subtree ? "p/leader" : PATH, subtree));
}

static ds_peer peer(const char *name, int64_t token, const char *value) {
    static char keys[32][64];
    static unsigned next;
    char *key = keys[next++ % 32];
    const char *slash = strchr(name, '/');
    (void)snprintf(key, sizeof(keys[0]), "%s%s", slash != NULL ? "p/leader/default/" : PATH "/", name);
    static char paths[32][64];
    char *path = paths[(next - 1) % 32];
    (void)snprintf(path, sizeof(paths[0]), "%.*s", (int)(strrchr(key, '/') - key), key);
    return (ds_peer){.path = path, .key = key, .value = value, .value_size = strlen(value), .token = token};
}

/* Answers the listing under way. */
static void list(desk *d, size_t count, const ds_peer *peers) {
    ds_reply reply = {.outcome = DS_OK, .peers = peers, .peer_count = count};
    sb_answer(sb_pending(d->backend, SB_LIST), 0, &reply);
    fw_settle(d->u);
}

static const char *news(desk *d) {
    return desk_log(d);
}

#define WATCH(d) sb_watching((d)->backend, PATH)

/* An observer that has seen a (leader, token 10) and b (20). */
static void begin(desk *d, eye *e) {
    desk_open(d);
    d->backend->quiet[SB_LIST] = true;
    eye_open(e, d, false);
    fw_settle(d->u);
    ds_peer peers[] = {peer("a", 10, "1"), peer("b", 20, "2")};
    list(d, 2, peers);
    CHECK_EQ_TEXT(news(d), "joined a | joined b | elected a");
}

TEST(begins_with_the_present_state) {
    static const struct {
        size_t count;
        const char *news;
    } rows[] = {{0, "vacant"}, {1, "joined a | elected a"}, {2, "joined a | joined b | elected a"}};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        desk d;
        eye e;
        desk_open(&d);
        test_case("%zu members", rows[i].count);
        d.backend->watch_silent = true;
        eye_open(&e, &d, false);
        fw_settle(d.u);
        CHECK_EQ_UINT(sb_count(d.backend, SB_LIST), 0); /* listens before it looks */
        sb_watch *w = WATCH(&d);
        REQUIRE(w != NULL);
        CHECK(w->subtree && !w->deletes_only && w->since == 0);
        sb_event(w, &(ds_watch_event){.kind = DS_WATCH_READY, .revision = 100});
        CHECK_EQ_TEXT(news(&d), "list " PATH);
        ds_peer peers[] = {peer("a", 10, "1"), peer("b", 20, "2")};
        list(&d, rows[i].count, peers);
        CHECK_EQ_TEXT(news(&d), rows[i].news);
        CHECK(desk_close(&d));
    }
}

TEST(tells_what_changes) {
    desk d;
    eye e;
    begin(&d, &e);
    sb_put(WATCH(&d), K("c"), 30, "3");
    CHECK_EQ_TEXT(news(&d), "joined c");
    sb_put(WATCH(&d), K("b"), 20, "{\"id\":\"n\",\"value\":\"x\"}");
    CHECK_EQ_TEXT(news(&d), "changed b");
    sb_put(WATCH(&d), K("b"), 20, "{\"id\":\"n\",\"value\":\"x\",\"acquired_at\":\"2024-05-06T07:08:09.123Z\"}");
    CHECK_EQ_TEXT(news(&d), ""); /* not worth telling */
    sb_gone(WATCH(&d), K("a"));
    CHECK_EQ_TEXT(news(&d), "left a | elected b");
    sb_gone(WATCH(&d), K("c"));
    CHECK_EQ_TEXT(news(&d), "left c");
    sb_gone(WATCH(&d), K("nobody"));
    CHECK_EQ_TEXT(news(&d), "");
    sb_gone(WATCH(&d), K("b"));
    CHECK_EQ_TEXT(news(&d), "left b | vacant");
    sb_put(WATCH(&d), K("d"), 40, "4");
    CHECK_EQ_TEXT(news(&d), "joined d | elected d");
    sb_put(WATCH(&d), K("d"), 50, "4"); /* another entry of the same name */
    CHECK_EQ_TEXT(news(&d), "left d | joined d | elected d");
    CHECK(desk_close(&d));
}

TEST(orders_by_token_not_by_arrival) {
    desk d;
    eye e;
    begin(&d, &e);
    sb_put(WATCH(&d), K("z"), 5, "5");
    CHECK_EQ_TEXT(news(&d), "joined z | elected z");
    CHECK(desk_close(&d));
}

TEST(an_entry_without_a_value) {
    desk d;
    eye e;
    begin(&d, &e);
    sb_put(WATCH(&d), K("c"), 30, NULL);
    CHECK_EQ_TEXT(news(&d), "joined c");
    sb_put(WATCH(&d), "nowhere", 30, "x");
    CHECK_EQ_TEXT(news(&d), "");
    CHECK(desk_close(&d));
}

TEST(old_events_change_nothing) {
    desk d;
    eye e;
    begin(&d, &e);
    ds_watch_event old = {.kind = DS_WATCH_DELETED, .key = K("a"), .revision = 100};
    sb_event(WATCH(&d), &old);
    CHECK_EQ_TEXT(news(&d), ""); /* the listing was newer */
    CHECK(desk_close(&d));
}

TEST(events_while_listing_lead_to_another_listing) {
    desk d;
    eye e;
    desk_open(&d);
    eye_open(&e, &d, false);
    fw_settle(d.u);
    sb_put(WATCH(&d), K("a"), 10, "1");
    ds_peer a = peer("a", 10, "1");
    list(&d, 0, NULL);
    CHECK_EQ_TEXT(news(&d), "list " PATH " | vacant | list " PATH);
    list(&d, 1, &a);
    CHECK_EQ_TEXT(news(&d), "joined a | elected a");
    CHECK(desk_close(&d));
}

TEST(looks_again_now_and_then) {
    desk d;
    eye e;
    begin(&d, &e);
    fw_advance(d.u, 61 * DS_SECOND);
    ds_peer b = peer("b", 20, "2");
    list(&d, 1, &b);
    CHECK_EQ_TEXT(news(&d), "left a | elected b");
    CHECK(desk_close(&d));
}

/* ---- broken watches ---------------------------------------------------------------------------------------------- */

TEST(a_broken_watch_means_changes_may_be_missed) {
    desk d;
    eye e;
    begin(&d, &e);
    sb_ended(WATCH(&d));
    CHECK_EQ_TEXT(news(&d), "");
    fw_advance(d.u, 20 * DS_MS);
    ds_peer peers[] = {peer("b", 20, "2"), peer("c", 30, "3")};
    list(&d, 2, peers);
    CHECK_EQ_TEXT(news(&d), "joined c | missed | left a | missed | elected b | missed");
    sb_gone(WATCH(&d), K("c"));
    CHECK_EQ_TEXT(news(&d), "left c"); /* no longer */
    CHECK(desk_close(&d));
}

TEST(a_watch_broken_twice_still_means_missed) {
    desk d;
    eye e;
    begin(&d, &e);
    d.backend->watch_silent = true;
    sb_ended(WATCH(&d));
    fw_advance(d.u, 20 * DS_MS);
    sb_ended(WATCH(&d));
    d.backend->watch_silent = false;
    fw_advance(d.u, 40 * DS_MS);
    ds_peer b = peer("b", 20, "2");
    list(&d, 1, &b);
    CHECK_EQ_TEXT(news(&d), "left a | missed | elected b | missed");
    CHECK(desk_close(&d));
}

TEST(nothing_is_missed_before_the_first_state) {
    desk d;
    eye e;
    desk_open(&d);
    d.backend->quiet[SB_LIST] = true;
    eye_open(&e, &d, false);
    fw_settle(d.u);
    sb_ended(WATCH(&d));
    sb_fail(d.backend, SB_LIST, DS_AMBIGUOUS, "x");
    fw_advance(d.u, 40 * DS_MS);
    ds_peer a = peer("a", 10, "1");
    list(&d, 1, &a);
    CHECK_EQ_TEXT(news(&d), "joined a | elected a");
    CHECK(desk_close(&d));
}

/* What happened between an old listing and a new watch is seen by neither. */
TEST(a_listing_older_than_its_watch_is_repeated) {
    desk d;
    eye e;
    begin(&d, &e);
    fw_advance(d.u, 61 * DS_SECOND); /* a listing is under way */
    sb_ended(WATCH(&d));
    fw_advance(d.u, 20 * DS_MS); /* and so is a new watch */
    CHECK(WATCH(&d) != NULL);
    ds_peer peers[] = {peer("a", 10, "1"), peer("b", 20, "2")};
    list(&d, 2, peers);
    list(&d, 1, peers + 1);
    CHECK_CONTAINS(news(&d), "left a");
    CHECK(desk_close(&d));
}

TEST(a_listing_from_before_its_watch_is_repeated) {
    desk d;
    eye e;
    begin(&d, &e);
    ds_watch_event ready = {.kind = DS_WATCH_READY, .revision = 300};
    sb_event(WATCH(&d), &ready);
    fw_settle(d.u);
    ds_peer peers[] = {peer("a", 10, "1"), peer("b", 20, "2")};
    ds_reply stale = {.outcome = DS_OK, .peers = peers, .peer_count = 1, .revision = 299};
    ds_reply fresh = {.outcome = DS_OK, .peers = peers + 1, .peer_count = 1, .revision = 300};
    sb_answer(sb_pending(d.backend, SB_LIST), 0, &stale);
    fw_settle(d.u);
    CHECK_EQ_TEXT(news(&d), "");
    fw_advance(d.u, 2 * DS_SECOND);
    sb_answer(sb_pending(d.backend, SB_LIST), 0, &fresh);
    fw_settle(d.u);
    CHECK_CONTAINS(news(&d), "left a");
    /* In a store whose revisions have fallen for good it is believed after all. */
    sb_event(WATCH(&d), &ready);
    for (int i = 0; i < 6; i++) {
        fw_settle(d.u);
        sb_answer(sb_pending(d.backend, SB_LIST), 0, &stale);
        fw_advance(d.u, 2 * DS_SECOND);
    }
    CHECK_EQ_TEXT(news(&d), "");
    sb_answer(sb_pending(d.backend, SB_LIST), 0, &stale);
    fw_settle(d.u);
    CHECK_CONTAINS(news(&d), "joined a");
    CHECK(desk_close(&d));
}

TEST(a_watch_that_never_begins_is_not_waited_for) {
    desk d;
    eye e;
    desk_open(&d);
    d.backend->quiet[SB_LIST] = true;
    d.backend->watch_silent = true;
    eye_open(&e, &d, false);
    fw_advance(d.u, 61 * DS_SECOND);
    ds_peer a = peer("a", 10, "1");
    list(&d, 1, &a);
    CHECK_EQ_TEXT(news(&d), "joined a | elected a");
    CHECK(desk_close(&d));
}

TEST(no_memory_for_a_watch_is_tried_again) {
    desk d;
    eye e;
    desk_open(&d);
    d.backend->watch_fails = true;
    eye_open(&e, &d, false);
    fw_settle(d.u);
    d.backend->watch_fails = false;
    fw_advance(d.u, 20 * DS_MS);
    CHECK(WATCH(&d) != NULL);
    CHECK(desk_close(&d));
}

/* ---- listing ----------------------------------------------------------------------------------------------------- */

TEST(a_listing_that_fails_is_repeated) {
    static const ds_class failures[] = {DS_NOT_EXECUTED, DS_AMBIGUOUS, DS_RESET};
    desk d;
    eye e;
    desk_open(&d);
    d.backend->quiet[SB_LIST] = true;
    eye_open(&e, &d, false);
    fw_settle(d.u);
    for (size_t i = 0; i < DS_COUNT(failures); i++) {
        sb_fail(d.backend, SB_LIST, failures[i], "x");
        fw_advance(d.u, 200 * DS_MS);
    }
    list(&d, 0, NULL);
    CHECK_EQ_TEXT(news(&d), "vacant");
    CHECK(desk_close(&d));
}

TEST(a_refused_listing_ends_it) {
    desk d;
    eye e;
    begin(&d, &e);
    fw_advance(d.u, 61 * DS_SECOND);
    sb_refuse(d.backend, SB_LIST, DSYNC_DENIED, "no permission");
    CHECK_EQ_TEXT(news(&d), "end denied");
    CHECK_EQ_UINT(sb_watches_on(d.backend), 0);
    ds_observer_end(&e.observer, DSYNC_CLOSED, "x");
    CHECK_EQ_UINT(e.ended, 1);
    CHECK(desk_close(&d));
}

TEST(turns_pages_and_begins_anew_after_a_failure) {
    desk d;
    eye e;
    desk_open(&d);
    eye_open(&e, &d, true);
    fw_settle(d.u);
    ds_peer peers[] = {peer("y/a", 10, "1"), peer("z/b", 20, "2")};
    ds_reply page = {.outcome = DS_OK, .peers = peers, .peer_count = 1, .next = "p/leader/default/y"};
    sb_answer(sb_pending(d.backend, SB_LIST), 0, &page);
    fw_settle(d.u);
    sb_fail(d.backend, SB_LIST, DS_AMBIGUOUS, "x");
    fw_advance(d.u, 20 * DS_MS);
    sb_answer(sb_pending(d.backend, SB_LIST), 0, &page);
    fw_settle(d.u);
    list(&d, 1, peers + 1);
    CHECK_EQ_TEXT(news(&d), "list p/leader/... | joined in default/y a | list p/leader/... after p/leader/default/y | "
                            "list p/leader/... | list p/leader/... after p/leader/default/y | joined in default/z b | "
                            "elected in default/y a | elected in default/z b");
    CHECK(desk_close(&d));
}

TEST(follows_many_elections) {
    desk d;
    eye e;
    desk_open(&d);
    d.backend->quiet[SB_LIST] = true;
    eye_open(&e, &d, true);
    fw_settle(d.u);
    list(&d, 0, NULL);
    CHECK_EQ_TEXT(news(&d), "");
    sb_watch *w = sb_watching(d.backend, "p/leader");
    REQUIRE(w != NULL);
    sb_put(w, "p/leader/ns/one/k", 10, "1");
    sb_put(w, "p/leader/ns/two/k", 20, "2");
    sb_gone(w, "p/leader/ns/one/k");
    CHECK_EQ_TEXT(news(&d), "joined in ns/one k | elected in ns/one k | joined in ns/two k | elected in ns/two k | "
                            "left in ns/one k | vacant in ns/one");
    fw_advance(d.u, 61 * DS_SECOND);
    list(&d, 0, NULL);
    CHECK_EQ_TEXT(news(&d), "left in ns/two k | vacant in ns/two");
    CHECK(ds_list_empty(&e.observer.elections)); /* empty ones are not kept for ever */
    CHECK(desk_close(&d));
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

TEST(closing_ends_it) {
    desk d;
    eye e;
    begin(&d, &e);
    desk_shut(&d, DS_SECOND);
    CHECK_EQ_INT(e.code, DSYNC_CLOSED);
    CHECK_EQ_UINT(e.ended, 1);
    CHECK(desk_close(&d));
}

/* Whoever hears of a change may end the observer there and then. */
TEST(may_be_ended_from_its_own_callback) {
    static const ds_change_kind at[] = {DS_CHANGE_JOINED, DS_CHANGE_ELECTED, DS_CHANGE_LEFT, DS_CHANGE_CHANGED,
                                        DS_CHANGE_VACANT};
    for (size_t i = 0; i < DS_COUNT(at); i++) {
        for (int by_listing = 0; by_listing < 2; by_listing++) {
            desk d;
            eye e;
            begin(&d, &e);
            test_case("at %d, by listing %d", (int)at[i], by_listing);
            e.ends_itself = true;
            e.ends_at = at[i];
            ds_peer peers[] = {peer("b", 20, "changed"), peer("c", 30, "3")};
            if (by_listing) {
                fw_advance(d.u, 61 * DS_SECOND);
                list(&d, at[i] == DS_CHANGE_VACANT ? 0 : 2, peers);
            } else {
                static const char *const keys[] = {K("c"), K("b"), K("a"), K("b")};
                for (size_t step = 0; step < DS_COUNT(keys) && WATCH(&d) != NULL; step++) {
                    if (step < 2) {
                        sb_put(WATCH(&d), keys[step], step == 0 ? 30 : 20, "changed");
                    } else {
                        sb_gone(WATCH(&d), keys[step]);
                    }
                }
                if (WATCH(&d) != NULL) {
                    sb_gone(WATCH(&d), K("c"));
                }
            }
            CHECK_EQ_UINT(e.ended, 1);
            CHECK_EQ_INT(e.code, DSYNC_CANCELLED);
            CHECK_EQ_UINT(sb_watches_on(d.backend), 0);
            CHECK(desk_close(&d));
        }
    }
}
