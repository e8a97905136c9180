/* What an etcd error means: the whole table, by gRPC code, text and HTTP status. */
#include "test.h"

#include "../../csrc/backend/etcd_error.h"

#define OUT DS_NOT_EXECUTED
#define AMB DS_AMBIGUOUS
#define REF DS_REFUSED

typedef struct row {
    int code; /* -1: no gRPC code in the answer */
    const char *message;
    int http;
    ds_class outcome;
    dsync_code refusal;
    bool token_refused, ailing;
} row;

static void check_row(const row *r, const ds_etcd_verdict *v) {
    CHECK_EQ_INT(v->outcome, r->outcome);
    CHECK_EQ_INT(v->code, r->refusal);
    CHECK_EQ_INT(v->token_refused, r->token_refused);
    CHECK_EQ_INT(v->server_ailing, r->ailing);
}

static void check_rows(const row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        ds_etcd_status status = {rows[i].code, rows[i].message};
        test_case("code %d, \"%s\", HTTP %d", rows[i].code, rows[i].message, rows[i].http);
        ds_etcd_verdict verdict = ds_etcd_judge(rows[i].http, &status);
        check_row(&rows[i], &verdict);
    }
}

TEST(every_code_has_its_class) {
    static const row rows[] = {
        {1, "context canceled", 408, AMB, 0, false, true},
        {2, "etcdserver: request timed out", 500, AMB, 0, false, true},
        {3, "etcdserver: key is not provided", 400, REF, DSYNC_PROTOCOL, false, false},
        {3, "etcdserver: request is too large", 400, REF, DSYNC_CONFIG, false, false},
        {3, "etcdserver: authentication failed, invalid user ID or password", 400, REF, DSYNC_DENIED, false, false},
        {4, "context deadline exceeded", 504, AMB, 0, false, true},
        {5, "etcdserver: requested lease not found", 404, DS_LOST, 0, false, false},
        {5, "Not Found", 404, REF, DSYNC_CONFIG, false, false},
        {6, "already exists", 409, AMB, 0, false, true},
        {7, "etcdserver: permission denied", 403, REF, DSYNC_DENIED, false, false},
        {8, "etcdserver: too many requests", 429, OUT, 0, false, true},
        {8, "etcdserver: mvcc: database space exceeded", 429, REF, DSYNC_RESOURCE, false, false},
        {8, "grpc: received message larger than max", 429, AMB, 0, false, true},
        {9, "etcdserver: not leader", 412, OUT, 0, false, true},
        {9, "etcdserver: lease already exists", 412, REF, DSYNC_CONFIG, false, false},
        {10, "aborted", 409, AMB, 0, false, true},
        {11, "etcdserver: mvcc: required revision has been compacted", 400, REF, DSYNC_CONFIG, false, false},
        {12, "unknown service", 501, REF, DSYNC_UNSUPPORTED, false, false},
        {13, "internal", 500, AMB, 0, false, true},
        {14, "etcdserver: no leader", 503, OUT, 0, false, true},
        {14, "etcdserver: not capable", 503, OUT, 0, false, true},
        {14, "etcdserver: rpc not supported for learner", 503, OUT, 0, false, true},
        {14, "etcdserver: request timed out, possibly due to previous leader failure", 503, AMB, 0, false, true},
        {15, "data loss", 500, AMB, 0, false, true},
        {16, "etcdserver: invalid auth token", 401, OUT, 0, true, false},
        {16, "", 401, OUT, 0, true, false},
        /* These mean the token under whichever code they come. */
        {3, "etcdserver: user name is empty", 400, OUT, 0, true, false},
        {2, "etcdserver: invalid auth token", 500, OUT, 0, true, false},
        {3, "etcdserver: revision of auth store is old", 400, OUT, 0, true, false},
    };
    check_rows(rows, DS_COUNT(rows));
}

/* An answer that some proxy gave, or a server whose words are unknown. */
TEST(without_a_code_the_status_decides) {
    static const row rows[] = {
        {-1, "", 200, AMB, 0, false, true},
        {0, "ok?", 200, AMB, 0, false, true},
        {-1, "", 204, AMB, 0, false, true},
        {-1, "", 299, AMB, 0, false, true},
        {-1, "", 300, REF, DSYNC_CONFIG, false, false},
        {-1, "", 307, REF, DSYNC_CONFIG, false, false},
        {-1, "", 399, REF, DSYNC_CONFIG, false, false},
        {-1, "", 400, REF, DSYNC_CONFIG, false, false},
        {-1, "", 401, OUT, 0, false, true},
        {-1, "", 403, REF, DSYNC_DENIED, false, false},
        {-1, "", 404, REF, DSYNC_CONFIG, false, false},
        {-1, "", 408, AMB, 0, false, true},
        {-1, "", 429, OUT, 0, false, true},
        {-1, "", 499, REF, DSYNC_CONFIG, false, false},
        {-1, "", 500, AMB, 0, false, true},
        {-1, "", 502, AMB, 0, false, true},
        {-1, "no leader", 503, AMB, 0, false, true}, /* a proxy's word is no server's */
        {-1, "", 599, AMB, 0, false, true},
        {-1, "", 100, AMB, 0, false, true},
        {-1, "etcdserver: invalid auth token", 500, OUT, 0, true, false},
        /* unless there was a code, and no memory to read it */
        {DS_ETCD_UNREAD, "out of memory", 412, AMB, 0, false, false},
        {DS_ETCD_UNREAD, "out of memory", 503, AMB, 0, false, false},
    };
    check_rows(rows, DS_COUNT(rows));
}

/* Nothing that may have been executed is ever called "not executed" or "refused" by a status of 500 or more. */
TEST(no_server_error_is_taken_for_an_answer) {
    static const ds_etcd_status none = {-1, ""};
    for (int http = 500; http < 600; http++) {
        test_case("HTTP %d", http);
        CHECK_EQ_INT(ds_etcd_judge(http, &none).outcome, AMB);
    }
}

TEST(refusals_say_what_to_do) {
    static const row rows[] = {
        {3, "authentication failed", 400, REF, DSYNC_DENIED, false, false},
        {5, "Not Found", 404, REF, DSYNC_CONFIG, false, false},
        {7, "permission denied", 403, REF, DSYNC_DENIED, false, false},
        {8, "space exceeded", 429, REF, DSYNC_RESOURCE, false, false},
        {12, "", 501, REF, DSYNC_UNSUPPORTED, false, false},
        {-1, "", 301, REF, DSYNC_CONFIG, false, false},
        {-1, "", 400, REF, DSYNC_CONFIG, false, false},
        {-1, "", 403, REF, DSYNC_DENIED, false, false},
        {-1, "", 404, REF, DSYNC_CONFIG, false, false},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_etcd_status status = {rows[i].code, rows[i].message};
        test_case("code %d, HTTP %d", rows[i].code, rows[i].http);
        CHECK(ds_etcd_judge(rows[i].http, &status).advice != NULL);
    }
    check_rows(rows, DS_COUNT(rows));
}

TEST(why_a_watch_was_cancelled) {
    static const struct {
        const char *reason;
        ds_class outcome;
        dsync_code code;
        bool token_refused;
    } rows[] = {
        {"etcdserver: no leader", OUT, 0, false},
        {"", OUT, 0, false},
        {"etcdserver: mvcc: required revision has been compacted", OUT, 0, false},
        {"rpc error: code = PermissionDenied desc = etcdserver: permission denied", REF, DSYNC_DENIED, true},
        {"rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", OUT, 0, true},
        {"etcdserver: revision of auth store is old", OUT, 0, true},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("\"%s\"", rows[i].reason);
        ds_etcd_verdict verdict = ds_etcd_judge_cancel(rows[i].reason);
        CHECK_EQ_INT(verdict.outcome, rows[i].outcome);
        CHECK_EQ_INT(verdict.code, rows[i].code);
        CHECK_EQ_INT(verdict.token_refused, rows[i].token_refused);
    }
}

/* Both the code and the words must be right. */
TEST(answers_that_callers_tell_apart) {
    static const struct {
        int code;
        const char *message;
        bool missing, exists, off;
    } rows[] = {
        {5, "etcdserver: requested lease not found", true, false, false},
        {5, "etcdserver: not found", false, false, false},
        {2, "etcdserver: requested lease not found", false, false, false},
        {9, "etcdserver: lease already exists", false, true, false},
        {9, "etcdserver: authentication is not enabled", false, false, true},
        {9, "etcdserver: something else", false, false, false},
        {3, "etcdserver: lease already exists", false, false, false},
        {3, "etcdserver: authentication is not enabled", false, false, false},
        {-1, "", false, false, false},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_etcd_status status = {rows[i].code, rows[i].message};
        test_case("code %d, \"%s\"", rows[i].code, rows[i].message);
        CHECK_EQ_INT(ds_etcd_lease_missing(&status), rows[i].missing);
        CHECK_EQ_INT(ds_etcd_lease_exists(&status), rows[i].exists);
        CHECK_EQ_INT(ds_etcd_auth_is_off(&status), rows[i].off);
    }
}
