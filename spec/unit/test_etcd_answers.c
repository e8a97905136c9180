/* The etcd backend alone: what it makes of every kind of answer, sensible and other, to each of its operations. */
#include "test.h"

#include "etcd_fixture.h"

#define NOT_LEADER "!503 {\"code\":14,\"message\":\"etcdserver: no leader\"}"

TEST(every_operation_goes_well) {
    for (const ef_operation *o = ef_operations; o->name != NULL; o++) {
        etcd_case e;
        test_case("%s", o->name);
        ef_open(&e, NULL);
        ef_ask(&e, o->start, o->answers);
        CHECK_EQ_TEXT(e.message, "");
        CHECK_EQ_INT(e.reply.outcome, DS_OK);
        CHECK_EQ_INT(e.reply.place, o->place);
        ef_close(&e);
    }
}

/* The last answer of each operation fails in each way. */
TEST(how_any_operation_fails) {
    static const struct {
        const char *answer;
        ds_class outcome;
        dsync_code code;
    } rows[] = {
        {"!unsent", DS_NOT_EXECUTED, 0},
        {"!broken", DS_AMBIGUOUS, 0},
        {"!silent", DS_AMBIGUOUS, 0},
        {"!unfit", DS_REFUSED, DSYNC_CONFIG},
        {NOT_LEADER, DS_NOT_EXECUTED, 0},
        {"!429 ", DS_NOT_EXECUTED, 0},
        {"!500 oops", DS_AMBIGUOUS, 0},
        {"!500 {\"code\":13,\"message\":\"internal\"}", DS_AMBIGUOUS, 0},
        {"!307 ", DS_REFUSED, DSYNC_CONFIG},
        {"!403 ", DS_REFUSED, DSYNC_DENIED},
        {"{\"error\":{\"grpc_code\":7,\"message\":\"permission denied\"}}", DS_REFUSED, DSYNC_DENIED},
        {"!401 {\"code\":16,\"message\":\"invalid auth token\"}", DS_REFUSED, DSYNC_DENIED},
        {"{\"header\":{\"cluster_id\":\"8\",\"revision\":\"50\"}}", DS_RESET, 0},
        {"{\"result\":{\"header\":{\"cluster_id\":\"8\",\"revision\":\"50\"}}}", DS_RESET, 0},
        {"nonsense", DS_AMBIGUOUS, 0},
        {"{@H,\"kvs\":7,\"responses\":7,\"TTL\":[],\"succeeded\":7}", DS_AMBIGUOUS, 0},
    };
    for (const ef_operation *o = ef_operations; o->name != NULL; o++) {
        for (size_t i = 0; i < DS_COUNT(rows); i++) {
            const char *answers[5] = {NULL};
            size_t last = 0;
            while (last + 1 < 4 && o->answers[last + 1] != NULL) {
                answers[last] = o->answers[last];
                last++;
            }
            bool closes = o->start == ef_do_close; /* reads nothing but the header */
            bool pings = o->start == ef_do_ping;   /* its last answer is a matter of taste */
            bool stream = o->start == ef_do_renew;
            bool wrapped = strncmp(rows[i].answer, "{\"result\"", 9) == 0;
            bool nothing = rows[i].answer[0] == '{' && rows[i].outcome == DS_AMBIGUOUS;
            if (pings || (wrapped && (!stream || last > 0)) || (closes && nothing)) {
                continue;
            }
            etcd_case e;
            test_case("%s: %s", o->name, rows[i].answer);
            ef_open(&e, NULL);
            ef_ask_one(&e, ef_do_get, "{@H}"); /* from now on it is an etcd that fails */
            answers[last] = rows[i].answer;
            ef_ask(&e, o->start, answers);
            bool made = o->start == ef_do_enter && last > 0; /* by the first copy; that cannot fail any more */
            bool harmless = rows[i].outcome == DS_NOT_EXECUTED || rows[i].outcome == DS_REFUSED;
            CHECK_EQ_INT(e.reply.outcome, made && harmless ? DS_AMBIGUOUS : rows[i].outcome);
            CHECK_EQ_INT(e.reply.code, made ? DSYNC_OK : rows[i].code);
            CHECK(e.message[0] != '\0');
            ef_close(&e);
        }
    }
}

TEST(what_never_was_an_etcd_is_refused) {
    static const char *const answers[] = {
        "nonsense", "<html>", "{}", "[]", "{\"header\":{}}", "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"-1\"}}"};
    for (size_t i = 0; i < DS_COUNT(answers); i++) {
        etcd_case e;
        test_case("%s", answers[i]);
        ef_open(&e, NULL);
        ef_ask_one(&e, ef_do_get, answers[i]);
        CHECK_EQ_INT(e.reply.outcome, DS_REFUSED);
        CHECK_EQ_INT(e.reply.code, DSYNC_PROTOCOL);
        CHECK_CONTAINS(e.message, "is this an etcd v3 server");
        ef_close(&e);
    }
}

/* ---- answers of the right shape and the wrong content ------------------------------------------------------------ */

#define OTHER EF_KV("b3RoZXI=", "30")
#define STAMP "{\"key\":\"@session\",\"value\":\"@stamp\",\"create_revision\":\"5\",\"lease\":\"2748\"}"
#define STAMP_MOVED "{\"key\":\"@session\",\"value\":\"@next\",\"create_revision\":\"5\",\"lease\":\"2748\"}"
#define STAMP_STRANGE "{\"key\":\"@session\",\"value\":\"eA==\",\"create_revision\":\"5\",\"lease\":\"2748\"}"
#define STAMP_STRANGERS "{\"key\":\"@session\",\"value\":\"@stamp\",\"create_revision\":\"5\",\"lease\":\"9\"}"
#define GRANTED "{@H,\"ID\":\"2748\",\"TTL\":\"15\"}"
#define EXISTS "!412 {\"code\":9,\"message\":\"etcdserver: lease already exists\"}"
#define NO_LEASE "!404 {\"code\":5,\"message\":\"etcdserver: requested lease not found\"}"
#define NO_LEADER "!503 {\"code\":14,\"message\":\"etcdserver: no leader\"}"
#define MADE_BEFORE EF_NOT_DONE(EF_RANGE(EF_KV("@own", "45")) "," EF_RANGE(STAMP))
#define MADE_BEFORE_TRY EF_NOT_DONE(EF_RANGE(EF_KV("@own", "45")) "," EF_RANGE(STAMP) "," EF_RANGE(OTHER))
#define FOUND "{@H,\"kvs\":[" EF_KV("@own", "40") "]}"

TEST(what_the_content_of_an_answer_means) {
    static const struct {
        ef_start *start;
        const char *answers[5];
        ds_class outcome;
        ds_place place;
    } rows[] = {
        /* entering */
        {ef_do_enter, {EF_DONE(EF_PUT "," EF_RANGE(EF_KV("@own", "51") "," OTHER))}, DS_OK, DS_PLACE_WAITING},
        {ef_do_enter, {EF_DONE(EF_PUT)}, DS_AMBIGUOUS, 0},
        {ef_do_enter, {EF_DONE(EF_PUT "," EF_PUT)}, DS_AMBIGUOUS, 0},
        {ef_do_enter, {EF_DONE(EF_PUT "," EF_RANGE(""))}, DS_AMBIGUOUS, 0},
        {ef_do_enter, {EF_DONE(EF_PUT "," EF_RANGE(OTHER))}, DS_AMBIGUOUS, 0},
        {ef_do_enter, {EF_NOT_DONE(EF_RANGE(""))}, DS_AMBIGUOUS, 0},
        {ef_do_enter, {EF_NOT_DONE(EF_PUT "," EF_RANGE(""))}, DS_AMBIGUOUS, 0},
        {ef_do_enter, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(STAMP))}, DS_AMBIGUOUS, 0},
        {ef_do_enter, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(STAMP_MOVED))}, DS_OK, DS_PLACE_STALE},
        {ef_do_enter, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(STAMP_STRANGE))}, DS_OK, DS_PLACE_STALE},
        {ef_do_enter, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(""))}, DS_LOST, 0},
        {ef_do_enter, {MADE_BEFORE, "!unsent"}, DS_AMBIGUOUS, 0}, /* the server got the first request twice */
        {ef_do_enter, {MADE_BEFORE, NO_LEADER}, DS_AMBIGUOUS, 0},
        {ef_do_enter, {MADE_BEFORE, "!unfit"}, DS_AMBIGUOUS, 0},
        {ef_do_enter, {MADE_BEFORE, NO_LEASE}, DS_LOST, 0},
        {ef_do_try, {MADE_BEFORE_TRY, NO_LEADER}, DS_AMBIGUOUS, 0},
        {ef_do_try, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(STAMP))}, DS_AMBIGUOUS, 0},
        {ef_do_try, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(STAMP) "," EF_RANGE(OTHER))}, DS_OK, DS_PLACE_BUSY},
        {ef_do_try, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(STAMP_MOVED) "," EF_RANGE(""))}, DS_OK, DS_PLACE_STALE},
        {ef_do_try, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE("") "," EF_RANGE(OTHER))}, DS_LOST, 0},
        {ef_do_try, {NO_LEASE}, DS_LOST, 0},
        /* asking */
        {ef_do_check, {EF_DONE(EF_RANGE(OTHER))}, DS_OK, DS_PLACE_WAITING},
        {ef_do_check, {EF_DONE(EF_RANGE(EF_KV("@own", "40")))}, DS_AMBIGUOUS, 0},
        {ef_do_check, {EF_DONE("")}, DS_AMBIGUOUS, 0},
        {ef_do_check, {EF_NOT_DONE(EF_RANGE(STAMP))}, DS_OK, DS_PLACE_GONE},
        {ef_do_check, {EF_NOT_DONE(EF_RANGE(""))}, DS_LOST, 0},
        {ef_do_check, {EF_NOT_DONE("")}, DS_AMBIGUOUS, 0},
        /* leaving */
        {ef_do_leave, {EF_NOT_DONE("")}, DS_OK, DS_PLACE_GONE},
        {ef_do_leave, {EF_DONE("{\"response_delete_range\":{}}")}, DS_OK, DS_PLACE_GONE},
        {ef_do_leave, {EF_DONE("")}, DS_OK, DS_PLACE_DONE},
        {ef_do_swap, {EF_NOT_DONE(EF_RANGE(EF_KV("@own", "45"))), EF_DONE(EF_RANGE(""))}, DS_OK, DS_PLACE_HELD},
        {ef_do_swap, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(STAMP))}, DS_OK, DS_PLACE_GONE},
        {ef_do_swap, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(""))}, DS_LOST, 0},
        {ef_do_swap, {EF_NOT_DONE("")}, DS_AMBIGUOUS, 0},
        {ef_do_withdraw, {EF_NOT_DONE(EF_RANGE(STAMP_MOVED))}, DS_OK, DS_PLACE_DONE},
        {ef_do_withdraw, {EF_NOT_DONE(EF_RANGE(STAMP_STRANGE))}, DS_OK, DS_PLACE_STALE},
        {ef_do_withdraw, {EF_NOT_DONE(EF_RANGE(""))}, DS_LOST, 0},
        {ef_do_withdraw, {EF_NOT_DONE("")}, DS_AMBIGUOUS, 0},
        /* writing */
        {ef_do_write, {EF_NOT_DONE(EF_RANGE(EF_KV("@own", "40")) "," EF_RANGE(STAMP_MOVED))}, DS_OK, DS_PLACE_STALE},
        {ef_do_write, {EF_NOT_DONE(EF_RANGE(EF_KV("@own", "41")) "," EF_RANGE(STAMP))}, DS_OK, DS_PLACE_GONE},
        {ef_do_write, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(STAMP))}, DS_OK, DS_PLACE_GONE},
        {ef_do_write, {EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(""))}, DS_LOST, 0},
        {ef_do_write, {EF_NOT_DONE("")}, DS_AMBIGUOUS, 0},
        {ef_do_evict, {"{@H}"}, DS_OK, DS_PLACE_GONE},
        {ef_do_evict, {FOUND, EF_NOT_DONE("")}, DS_OK, DS_PLACE_GONE},
        {ef_do_evict, {FOUND, EF_DONE(EF_PUT), EF_NOT_DONE(EF_RANGE(""))}, DS_OK, DS_PLACE_GONE},
        {ef_do_evict, {FOUND, EF_DONE(EF_PUT), EF_NOT_DONE(EF_RANGE(EF_KV("@own", "41")))}, DS_OK, DS_PLACE_GONE},
        {ef_do_evict, {FOUND, EF_DONE(EF_PUT), EF_NOT_DONE("")}, DS_AMBIGUOUS, 0},
        {ef_do_evict, {FOUND, EF_DONE(EF_PUT), EF_NOT_DONE(EF_PUT)}, DS_AMBIGUOUS, 0},
        {ef_do_evict,
         {FOUND, EF_DONE(EF_PUT), EF_NOT_DONE(EF_RANGE(EF_KV("@own", "40"))), EF_DONE(EF_PUT), EF_DONE(EF_DELETED)},
         DS_OK,
         DS_PLACE_DONE},
        {ef_do_get, {"{@H}"}, DS_OK, DS_PLACE_DONE},
        {ef_do_ping, {"{@H}", "!404 "}, DS_OK, DS_PLACE_DONE},
        {ef_do_ping, {"{@H}", "{@H}"}, DS_OK, DS_PLACE_DONE},
        /* sessions */
        {ef_do_open, {"{@H}"}, DS_LOST, 0},
        {ef_do_open, {"{@H,\"TTL\":\"9223372036854775807\"}"}, DS_LOST, 0},
        {ef_do_open, {GRANTED, EF_NOT_DONE("")}, DS_AMBIGUOUS, 0},
        {ef_do_open, {GRANTED, EF_NOT_DONE(EF_RANGE(""))}, DS_AMBIGUOUS, 0},
        {ef_do_open, {GRANTED, EF_NOT_DONE(EF_RANGE(STAMP_STRANGE))}, DS_LOST, 0},
        {ef_do_open, {GRANTED, EF_NOT_DONE(EF_RANGE(STAMP_STRANGERS))}, DS_LOST, 0},
        {ef_do_open, {GRANTED, EF_NOT_DONE(EF_RANGE(STAMP_MOVED))}, DS_OK, DS_PLACE_DONE},
        {ef_do_open, {EXISTS, "{\"result\":{@H}}"}, DS_LOST, 0},
        {ef_do_renew, {"{\"result\":{@H}}"}, DS_LOST, 0},
        {ef_do_renew, {"{\"result\":{@H,\"TTL\":\"0\"}}"}, DS_LOST, 0},
        {ef_do_renew, {"{\"result\":{@H,\"TTL\":\"-1\"}}"}, DS_LOST, 0},
        {ef_do_renew, {"{\"result\":{@H,\"TTL\":\"9223372036854775807\"}}"}, DS_LOST, 0},
        {ef_do_renew, {"{\"result\":" GRANTED "}", EF_NOT_DONE("")}, DS_LOST, 0},
        {ef_do_renew, {"{\"result\":" GRANTED "}", NO_LEASE}, DS_LOST, 0},
        {ef_do_renew, {GRANTED}, DS_AMBIGUOUS, 0}, /* no stream's answer */
        {ef_do_close, {NO_LEASE}, DS_OK, DS_PLACE_DONE},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        const char *answers[6] = {NULL};
        etcd_case e;
        test_case("row %zu: %s", i, rows[i].answers[0]);
        ef_open(&e, NULL);
        ef_ask_one(&e, ef_do_get, "{@H}");
        for (size_t k = 0; k < 5 && rows[i].answers[k] != NULL; k++) {
            answers[k] = rows[i].answers[k];
        }
        ef_ask(&e, rows[i].start, answers);
        CHECK_EQ_INT(e.reply.outcome, rows[i].outcome);
        if (rows[i].outcome == DS_OK) {
            CHECK_EQ_INT(e.reply.place, rows[i].place);
        }
        ef_close(&e);
    }
}

TEST(answers_carry_what_they_promise) {
    etcd_case e;
    ef_open(&e, NULL);
    ef_ask_one(&e, ef_do_enter, EF_DONE(EF_PUT "," EF_RANGE(EF_KV("@own", "50") "," OTHER)));
    CHECK_EQ_INT(e.reply.token, 50);
    CHECK_EQ_INT(e.reply.revision, 50);
    CHECK_EQ_TEXT(e.ahead, "other");
    ef_ask_one(&e, ef_do_try, EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(STAMP) "," EF_RANGE(OTHER)));
    CHECK_EQ_TEXT(e.holder, "other");
    const char *const again[] = {EF_NOT_DONE(EF_RANGE(EF_KV("@own", "45")) "," EF_RANGE(STAMP)),
                                 EF_DONE(EF_RANGE(OTHER)), NULL};
    ef_ask(&e, ef_do_enter, again);
    CHECK_EQ_INT(e.reply.token, 45); /* of the entry, not of this answer */
    ef_ask_one(&e, ef_do_withdraw, EF_DONE(EF_PUT "," EF_DELETED));
    CHECK_EQ_UINT(e.reply.epoch, 4);
    ef_ask_one(&e, ef_do_enter, EF_NOT_DONE(EF_RANGE("") "," EF_RANGE(STAMP_MOVED)));
    CHECK_EQ_UINT(e.reply.epoch, 4);
    const char *const opened[] = {GRANTED, EF_NOT_DONE(EF_RANGE(STAMP_MOVED)), NULL};
    ef_ask(&e, ef_do_open, opened);
    CHECK_EQ_UINT(e.reply.epoch, 4);
    CHECK_EQ_INT(e.reply.ttl_ms, 15000);
    CHECK_EQ_INT(e.lease.created, 5);
    CHECK_EQ_TEXT(e.lease.id, "abc");
    ef_close(&e);
}

/* The name was another entry's before, which is gone: it can only be there again in an older state. */
TEST(an_entry_that_is_back_shows_an_older_state) {
    static const struct {
        int64_t former;
        ds_class outcome;
    } rows[] = {{44, DS_OK}, {45, DS_RESET}, {46, DS_RESET}};
    const char *const answers[] = {MADE_BEFORE, EF_DONE(EF_RANGE("")), NULL};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        etcd_case e;
        ef_open(&e, NULL);
        e.entry.former = rows[i].former;
        ef_ask(&e, ef_do_enter, answers);
        CHECK_EQ_INT(e.reply.outcome, rows[i].outcome);
        ef_close(&e);
    }
}

/* A late copy had made an entry of that name before the exchange: its token is its own create revision all the same. */
TEST(an_exchange_into_an_entry_that_is_there_takes_its_token) {
    etcd_case e;
    ef_open(&e, NULL);
    const char *const answers[] = {EF_DONE(EF_DELETED "," EF_PUT "," EF_RANGE(EF_KV("@own", "45"))),
                                   EF_DONE(EF_RANGE("")), NULL};
    ef_ask(&e, ef_do_swap, answers);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK_EQ_INT(e.reply.place, DS_PLACE_HELD);
    CHECK_EQ_INT(e.reply.token, 45);
    ef_close(&e);
}

/* ---- what must not even be sent ---------------------------------------------------------------------------------- */

static void evict_nobody(etcd_case *e) {
    e->backend->ops->evict(e->backend, &e->call, "p/lock/q", 0);
}

static void check_nothing(etcd_case *e) {
    e->entry.token = 1;
    ef_do_check(e);
}

static void withdraw_too_many(etcd_case *e) {
    const ds_entry *entries[DS_WITHDRAW_MAX + 1];
    for (size_t i = 0; i < DS_COUNT(entries); i++) {
        entries[i] = &e->entry;
    }
    e->backend->ops->withdraw(e->backend, &e->call, &e->lease, entries, DS_COUNT(entries), 4);
}

TEST(what_cannot_be_asked_is_not_sent) {
    static ef_start *const starts[] = {evict_nobody, check_nothing, withdraw_too_many};
    for (size_t i = 0; i < DS_COUNT(starts); i++) {
        etcd_case e;
        ef_open(&e, NULL);
        ef_ask(&e, starts[i], NULL);
        CHECK_EQ_INT(e.reply.outcome, DS_REFUSED);
        CHECK_EQ_INT(e.reply.code, DSYNC_INVALID);
        CHECK_EQ_UINT(e.asked, 0);
        ef_close(&e);
    }
}

TEST(a_cancelled_call_is_never_answered) {
    for (const ef_operation *o = ef_operations; o->name != NULL; o++) {
        etcd_case e;
        test_case("%s", o->name);
        ef_open(&e, NULL);
        e.answers = o->answers;
        e.call.timeout_ns = DS_NEVER;
        o->start(&e);
        e.backend->ops->cancel(e.backend, &e.call);
        e.backend->ops->cancel(e.backend, &e.call); /* harmless */
        fw_advance(e.u, DS_SECOND);
        CHECK_EQ_UINT(e.done, 0);
        ef_close(&e);
    }
}
