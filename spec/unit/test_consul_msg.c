/* test_consul_msg.c: transactions as JSON and their answers, Consul's errors, and keys. */
#include <string.h>

#include "backend/consul.h"
#include "backend/consul_error.h"
#include "test.h"

static ds_consul_decoded decode(ds_consul_answer *answer, const char *text) {
    return ds_consul_decode_txn(answer, text, strlen(text));
}

TEST(numbers_beyond_a_double_stay_exact) {
    ds_consul_answer answer = {0};
    CHECK_EQ_INT(decode(&answer, "{\"Results\":[{\"KV\":{\"LockIndex\":1,\"Key\":\"k\",\"Flags\":3304740253564472344,"
                                 "\"Value\":\"aGk=\",\"Session\":\"s\",\"CreateIndex\":9007199254740993,"
                                 "\"ModifyIndex\":9223372036854775807}}],\"Errors\":null}"),
                 DS_CONSUL_DECODED);
    const ds_consul_pair *pair = ds_consul_find(&answer, "k");
    REQUIRE(pair != NULL);
    CHECK(pair->flags == DS_CONSUL_LOCK_FLAGS);
    CHECK(pair->created == INT64_C(9007199254740993));
    CHECK(pair->modified == INT64_MAX);
    CHECK_EQ_TEXT(pair->value, "hi");
    ds_consul_answer_free(&answer);
}

TEST(a_failed_transaction_tells_which_operations_and_why) {
    ds_consul_answer answer = {0};
    CHECK_EQ_INT(decode(&answer, "{\"Results\":null,\"Errors\":[{\"OpIndex\":0,\"What\":\"key \\\"a\\\" exists\"},"
                                 "{\"OpIndex\":3,\"What\":\"failed to lock key \\\"b\\\" due to lock delay\"}]}"),
                 DS_CONSUL_DECODED);
    CHECK(ds_consul_failed(&answer, 0) && !ds_consul_failed(&answer, 1) && ds_consul_failed(&answer, 3));
    CHECK(answer.delayed == 8 && !answer.session_invalid && answer.denied == NULL);
    CHECK_EQ_INT(
        decode(&answer, "{\"Results\":null,\"Errors\":[{\"OpIndex\":1,\"What\":\"invalid session \\\"x\\\"\"}]}"),
        DS_CONSUL_DECODED);
    CHECK(answer.session_invalid && answer.delayed == 0);
    CHECK_EQ_INT(decode(&answer, "{\"Results\":null,\"Errors\":[{\"OpIndex\":0,\"What\":\"Permission denied\"}]}"),
                 DS_CONSUL_DECODED);
    CHECK_EQ_TEXT(answer.denied, "Permission denied");
    ds_consul_answer_free(&answer);
}

TEST(what_is_no_answer_to_a_transaction_is_refused) {
    static const char *const bad[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"Results\":null,\"Errors\":null}",
        "{\"Results\":[],\"Errors\":[]}",
        "{\"Results\":[{}],\"Errors\":null}",
        "{\"Results\":[{\"KV\":{\"Key\":\"k\",\"Flags\":0,\"CreateIndex\":1.5,\"ModifyIndex\":1}}],\"Errors\":null}",
        "{\"Results\":[{\"KV\":{\"Key\":\"k\",\"Flags\":-1,\"CreateIndex\":1,\"ModifyIndex\":1}}],\"Errors\":null}",
        "{\"Results\":[{\"KV\":{\"Key\":\"k\",\"Flags\":0,\"Value\":\"?\",\"CreateIndex\":1,\"ModifyIndex\":1}}]}",
        "{\"Results\":null,\"Errors\":[{\"OpIndex\":64,\"What\":\"x\"}]}",
        "{\"Results\":null,\"Errors\":[{\"OpIndex\":0}]}",
    };
    ds_consul_answer answer = {0};
    for (size_t i = 0; i < DS_COUNT(bad); i++) {
        CHECK_EQ_INT(decode(&answer, bad[i]), DS_CONSUL_MALFORMED);
    }
    ds_consul_answer_free(&answer);
}

TEST(a_transaction_is_one_line_of_json) {
    ds_consul_txn txn = {.body = DS_BUF_EMPTY};
    ds_consul_txn_begin(&txn);
    ds_consul_if_index(&txn, "a\"b", INT64_MAX);
    ds_consul_if_absent(&txn, "t");
    ds_consul_lock(&txn, "n", "hi", 2, DS_CONSUL_LOCK_FLAGS, "sid");
    ds_consul_tree(&txn, "q/");
    ds_consul_txn_end(&txn);
    CHECK_EQ_TEXT(txn.body.data,
                  "[{\"KV\":{\"Verb\":\"check-index\",\"Key\":\"a\\\"b\",\"Index\":9223372036854775807}},"
                  "{\"KV\":{\"Verb\":\"check-not-exists\",\"Key\":\"t\"}},"
                  "{\"KV\":{\"Verb\":\"lock\",\"Key\":\"n\",\"Value\":\"aGk=\",\"Flags\":3304740253564472344,"
                  "\"Session\":\"sid\"}},{\"KV\":{\"Verb\":\"get-tree\",\"Key\":\"q/\"}}]");
    CHECK_EQ_INT(txn.count, 4);
    ds_buf_free(&txn.body);
}

TEST(errors_are_sorted_by_what_may_have_happened) {
    static const struct {
        int http;
        const char *text;
        bool known;
        ds_class outcome;
        dsync_code code;
    } cases[] = {
        {500, "No cluster leader", true, DS_NOT_EXECUTED, DSYNC_OK},
        {500, "rpc error making call: No cluster leader", true, DS_NOT_EXECUTED, DSYNC_OK},
        {500, "rpc error getting client: failed to get conn: dial tcp", true, DS_NOT_EXECUTED, DSYNC_OK},
        {500, "node is not the leader", true, DS_NOT_EXECUTED, DSYNC_OK},
        {500, "leadership lost while committing log", true, DS_AMBIGUOUS, DSYNC_OK},
        {500, "rpc error making call: EOF", true, DS_AMBIGUOUS, DSYNC_OK},
        {500, "", true, DS_AMBIGUOUS, DSYNC_OK},
        {502, "bad gateway", true, DS_AMBIGUOUS, DSYNC_OK},
        {500, "invalid session \"x\"", true, DS_LOST, DSYNC_OK},
        {429, "Your IP is issuing too many concurrent connections", true, DS_NOT_EXECUTED, DSYNC_OK},
        {403, "ACL not found", true, DS_REFUSED, DSYNC_DENIED},
        {500, "Permission denied", true, DS_REFUSED, DSYNC_DENIED},
        {500, "No path to datacenter", false, DS_REFUSED, DSYNC_CONFIG},
        {500, "No path to datacenter", true, DS_NOT_EXECUTED, DSYNC_OK},
        {413, "Request body too large", true, DS_REFUSED, DSYNC_CONFIG},
        {301, "", true, DS_REFUSED, DSYNC_CONFIG},
        {400, "Client sent an HTTP request to an HTTPS server.", false, DS_REFUSED, DSYNC_CONFIG},
        {404, "", false, DS_REFUSED, DSYNC_CONFIG},
        {500, "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]", true, DS_REFUSED, DSYNC_CONFIG},
    };
    for (size_t i = 0; i < DS_COUNT(cases); i++) {
        ds_consul_verdict verdict = ds_consul_judge(cases[i].http, cases[i].text, cases[i].known);
        CHECK_EQ_INT(verdict.outcome, cases[i].outcome);
        CHECK_EQ_INT(verdict.code, cases[i].code);
    }
}

TEST(keys_follow_the_convention_they_are_named_in) {
    static char prefix[] = "/shop", region[] = "eu";
    static const struct {
        const char *path, *native, *queue;
        bool global;
    } cases[] = {
        {"/shop/lock/a", "shop/lock/a/.lock", "shop/lock/a/.queue/", false},
        {"shop/region/eu/lock/a", "shop/region/eu/lock/a/.lock", "shop/region/eu/lock/a/.queue/", false},
        {"shop/global/leader/n/a", "shop/global/leader/n/a/.lock", "shop/global/leader/n/a/.queue/", true},
        {"shop/lock/.lock", "shop/lock/.lock/.lock", "shop/lock/.lock/.queue/", false},
        {"jobs/x/.lock", "jobs/x/.lock", "jobs/x/.queue/", false},
        {"service/x/leader", "service/x/leader", "service/x/leader/.queue/", false},
        {"/service/x", "service/x", "service/x/.queue/", false},
    };
    ds_consul consul = {.prefix = prefix + 1, .region = region};
    ds_buf key = DS_BUF_EMPTY;
    for (size_t i = 0; i < DS_COUNT(cases); i++) {
        ds_consul_key_native(&consul, &key, cases[i].path);
        CHECK_EQ_TEXT(key.data, cases[i].native);
        ds_consul_key_queue(&consul, &key, cases[i].path);
        CHECK_EQ_TEXT(key.data, cases[i].queue);
        CHECK(ds_consul_is_global(&consul, cases[i].path) == cases[i].global);
    }
    ds_buf_clear(&key);
    ds_consul_add_escaped(&key, "a%2Fb/c ?#\xc3\xa9", true);
    CHECK_EQ_TEXT(key.data, "a%252Fb/c%20%3F%23%C3%A9");
    ds_buf_free(&key);
}
