/* test_etcd_transport.c: the etcd backend alone: revisions, clusters, repetitions, and what it is made from. */
#include "test.h"

#include "etcd_fixture.h"

#define AT(revision) "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"" revision "\"}}"

/* ---- revisions and clusters -------------------------------------------------------------------------------------- */

TEST(an_outdated_answer_is_asked_for_again_elsewhere) {
    static const char *const answers[] = {AT("49"), AT("48"), AT("50"), NULL};
    etcd_case e;
    ef_open(&e, NULL);
    ef_ask_one(&e, ef_do_get, "{@H}");
    ef_ask(&e, ef_do_get, answers);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK_EQ_INT(e.reply.revision, 50);
    CHECK(e.reply.resent);
    CHECK_EQ_UINT(e.asked, 3);
    ef_close(&e);
}

static const ds_endpoint *asked_at[3];

static void note_endpoint(fw_request *request, void *argument) {
    size_t *count = argument;
    asked_at[*count % 3] = request->endpoint;
    fw_reply(request, DS_MS, 200, ++*count == 2 ? AT("40") : AT("50"));
}

TEST(the_member_that_was_outdated_is_avoided) {
    etcd_case e;
    size_t count = 0;
    ef_open(&e, NULL);
    fw_serve(e.u, &(fw_server){.on_request = note_endpoint, .argument = &count});
    ef_ask(&e, ef_do_get, NULL);
    ef_ask(&e, ef_do_get, NULL);
    CHECK_EQ_UINT(count, 3);
    CHECK(asked_at[0] == asked_at[1] && asked_at[1] != asked_at[2]);
    ef_close(&e);
}

/* Nobody knows any more what was reached before: a backup was restored. */
TEST(a_revision_that_stays_behind_is_a_reset) {
    const char *behind[101];
    etcd_case e;
    for (size_t i = 0; i < 100; i++) {
        behind[i] = AT("10");
    }
    behind[100] = NULL;
    ef_open(&e, NULL);
    ef_ask(&e, ef_do_open, ef_operations[0].answers);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    ef_ask(&e, ef_do_get, behind);
    CHECK_EQ_INT(e.reply.outcome, DS_RESET);
    CHECK_CONTAINS(e.message, "revision 10, but revision 51 had been reached");
    CHECK(e.asked > 5 && e.asked < 100);
    /* What was opened before does not count any more, and nothing is sent for it. */
    ef_ask(&e, ef_do_enter, NULL);
    CHECK_EQ_INT(e.reply.outcome, DS_RESET);
    CHECK_EQ_UINT(e.asked, 0);
    ef_ask(&e, ef_do_renew, NULL);
    CHECK_EQ_INT(e.reply.outcome, DS_RESET);
    ef_ask(&e, ef_do_withdraw, NULL);
    CHECK_EQ_INT(e.reply.outcome, DS_RESET);
    CHECK_EQ_UINT(e.asked, 0);
    /* A new session is of the present. */
    ef_ask(&e, ef_do_open, ef_operations[0].answers);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    ef_ask_one(&e, ef_do_check, EF_DONE(EF_RANGE("")));
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    ef_close(&e);
}

/* A write has a revision of its own, above all that were seen before it was sent. */
TEST(a_write_in_an_older_state_is_a_reset_at_once) {
    static const struct {
        const char *answer;
        ds_class outcome;
    } rows[] = {
        {"{\"header\":{\"cluster_id\":\"7\",\"revision\":\"50\"},\"succeeded\":true,\"responses\":[" EF_DELETED "]}",
         DS_RESET},
        {"{\"header\":{\"cluster_id\":\"7\",\"revision\":\"49\"},\"succeeded\":true,\"responses\":[" EF_PUT "]}",
         DS_RESET},
        {"{\"header\":{\"cluster_id\":\"7\",\"revision\":\"51\"},\"succeeded\":true,\"responses\":[" EF_DELETED "]}",
         DS_OK},
        {"{\"header\":{\"cluster_id\":\"7\",\"revision\":\"50\"},\"succeeded\":true,\"responses\":["
         "{\"response_delete_range\":{}}]}",
         DS_OK}, /* removed nothing */
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        etcd_case e;
        test_case("row %zu", i);
        ef_open(&e, NULL);
        ef_ask_one(&e, ef_do_get, "{@H}");
        ef_ask_one(&e, ef_do_leave, rows[i].answer);
        CHECK_EQ_INT(e.reply.outcome, rows[i].outcome);
        CHECK_EQ_UINT(e.asked, 1);
        ef_close(&e);
    }
}

TEST(the_highest_revision_there_can_be_is_no_end_of_the_world) {
    etcd_case e;
    ef_open(&e, NULL);
    ef_ask_one(&e, ef_do_get, AT("9223372036854775807"));
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    ef_ask_one(&e, ef_do_leave,
               "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"9223372036854775807\"},\"succeeded\":true,"
               "\"responses\":[" EF_DELETED "]}");
    CHECK_EQ_INT(e.reply.outcome, DS_RESET);
    ef_close(&e);
}

TEST(a_keepalive_may_lag_and_its_confirmation_may_not) {
    static const char *const answers[] = {
        "{\"result\":{\"header\":{\"cluster_id\":\"7\",\"revision\":\"30\"},\"TTL\":\"15\"}}",
        "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"31\"},\"succeeded\":true}",
        "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"51\"},\"succeeded\":true}", NULL};
    etcd_case e;
    ef_open(&e, NULL);
    ef_ask_one(&e, ef_do_get, "{@H}");
    ef_ask(&e, ef_do_renew, answers);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK_EQ_UINT(e.asked, 3);
    ef_close(&e);
}

/* The first copy was answered from an old state: it may have been executed, whatever became of the second. */
TEST(a_copy_that_was_not_sent_does_not_speak_for_the_first) {
    static const char *const fates[] = {"!unsent", "!broken", "!silent"};
    for (size_t i = 0; i < DS_COUNT(fates); i++) {
        const char *const answers[] = {AT("49"), fates[i], NULL};
        etcd_case e;
        test_case("%s", fates[i]);
        ef_open(&e, NULL);
        ef_ask_one(&e, ef_do_get, "{@H}");
        ef_ask(&e, ef_do_leave, answers);
        CHECK_EQ_INT(e.reply.outcome, DS_AMBIGUOUS);
        CHECK(e.reply.resent);
        ef_close(&e);
    }
}

TEST(what_libcurl_sent_twice_is_said_to_be) {
    etcd_case e;
    ef_open(&e, NULL);
    ef_ask_one(&e, ef_do_leave, "!resent " EF_DONE(EF_DELETED));
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK(e.reply.resent);
    ef_ask_one(&e, ef_do_leave, EF_DONE(EF_DELETED));
    CHECK(!e.reply.resent); /* each call for itself */
    ef_close(&e);
}

static void no_time(etcd_case *e) {
    e->call.timeout_ns = 0;
    ef_do_leave(e);
}

static void all_the_time(etcd_case *e) {
    e->call.timeout_ns = DS_NEVER;
    ef_do_leave(e);
}

TEST(a_call_without_time_is_not_sent) {
    etcd_case e;
    ef_open(&e, NULL);
    ef_ask(&e, no_time, NULL);
    CHECK_EQ_INT(e.reply.outcome, DS_NOT_EXECUTED);
    CHECK_EQ_UINT(e.asked, 0);
    ef_ask_one(&e, all_the_time, EF_DONE(EF_DELETED));
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    ef_close(&e);
}

/* ---- too long an answer ------------------------------------------------------------------------------------------ */

TEST(an_answer_of_too_many_bytes) {
    static const char *const long_once[] = {"!toolong", "!toolong", "{@H,\"kvs\":[" EF_KV("@own", "40") "]}", NULL};
    const char *ever[20];
    for (size_t i = 0; i < DS_COUNT(ever); i++) {
        ever[i] = i + 1 < DS_COUNT(ever) ? "!toolong" : NULL;
    }
    etcd_case e;
    ef_open(&e, NULL);
    ef_ask(&e, ef_do_list, long_once); /* fewer at a time */
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK_EQ_TEXT(e.peers, "p/lock/q/abc-00000000000000aa");
    ef_ask(&e, ef_do_list, ever);
    CHECK_EQ_INT(e.reply.outcome, DS_REFUSED);
    CHECK_EQ_UINT(e.asked, 8); /* 128 entries, 64, ... 1 */
    ef_ask_one(&e, ef_do_get, "!toolong");
    CHECK_EQ_INT(e.reply.outcome, DS_REFUSED);
    ef_ask_one(&e, ef_do_leave, "!toolong"); /* it was executed, perhaps */
    CHECK_EQ_INT(e.reply.outcome, DS_AMBIGUOUS);
    ef_close(&e);
}

/* ---- what requests carry ----------------------------------------------------------------------------------------- */

TEST(requests_ask_for_a_leader) {
    etcd_case e;
    ef_open(&e, NULL);
    e.call.timeout_ns = DS_SECOND;
    ef_do_enter(&e);
    const fw_request *request = fw_last_request(e.u, "/v3/kv/txn");
    REQUIRE(request != NULL);
    CHECK_EQ_TEXT(fw_header_of(request, "Grpc-Metadata-hasleader"), "true");
    CHECK_EQ_TEXT(fw_header_of(request, "Content-Type"), "application/json");
    CHECK_NULL(fw_header_of(request, "Authorization"));
    ef_close(&e);
}

/* ---- what it is made from ---------------------------------------------------------------------------------------- */

static const dsync_options with_user = {
    .prefix = "p", .id = "node", .max_value = 65536, .auth_user = "ann", .auth_password = "swordfish"};

TEST(options_it_refuses) {
    static const dsync_setting odd[] = {{"etcd.transport", "carrier pigeon"}};
    static const dsync_setting misspelt[] = {{"etcd.transport", "gprc"}};
    static const dsync_setting unknown[] = {{"etcd.colour", "red"}};
    static const struct {
        dsync_options options;
        dsync_code code;
        const char *message;
    } rows[] = {
        {{.settings = odd, .setting_count = 1}, DSYNC_CONFIG, "must be \"auto\", \"grpc\" or \"json\""},
        {{.settings = misspelt, .setting_count = 1}, DSYNC_CONFIG, "did you mean \"grpc\"?"},
        {{.settings = unknown, .setting_count = 1}, DSYNC_CONFIG, "unknown setting \"etcd.colour\""},
        {{.auth_user = "ann"}, DSYNC_CONFIG, "auth.password is missing"},
        {{.auth_password = "x"}, DSYNC_CONFIG, "auth.user is missing"},
        {{.auth_user = "ann", .auth_password = ""}, DSYNC_CONFIG, "auth.password is missing"},
        {{.auth_token = "t", .auth_token_file = "f"}, DSYNC_CONFIG, "give one of"},
        {{.auth_token = "two words"}, DSYNC_CONFIG, "visible ASCII"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        etcd_case e;
        test_case("row %zu", i);
        ef_open(&e, &rows[i].options);
        CHECK_NULL(e.backend);
        CHECK_EQ_INT(e.error.code, rows[i].code);
        CHECK_CONTAINS(e.error.message, rows[i].message);
        ef_close(&e);
    }
}

TEST(options_it_takes) {
    static const dsync_setting settings[] = {
        {"consul.consistency", "none of our business"}, {"etcd.transport", "auto"}, {"etcd.transport", "json"}};
    static const dsync_options options = {.settings = settings, .setting_count = 3, .max_value = 16 << 20};
    etcd_case e;
    ef_open(&e, &options);
    REQUIRE(e.backend != NULL);
    CHECK_EQ_TEXT(e.backend->ops->endpoint_list(e.backend), "http://127.0.0.1:2379, http://127.0.0.1:22379");
    ef_ask(&e, ef_do_ping, ef_operations[16].answers);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    ef_close(&e);
}

/* HTTP/2 goes over plain TCP alone; JSON goes everywhere. */
TEST(tls_means_json) {
    static const char *const mixed[] = {"http://h:2379", "https://h:2379"};
    dsync_setting setting = {"etcd.transport", "auto"};
    dsync_options options = {.settings = &setting, .setting_count = 1};
    ds_backend_config config = {.options = &options, .endpoints = mixed, .endpoint_count = 2};
    dsync_error error = {DSYNC_OK, ""};
    fw *u = fw_new(1);
    ds_backend *backend = ds_etcd_backend(fw_world(u), &config, &error);
    REQUIRE(backend != NULL);
    CHECK(ds_etcd_of(backend)->wire == &ds_etcd_wire_json);
    backend->ops->destroy(backend);
    setting.value = "grpc";
    CHECK_NULL(ds_etcd_backend(fw_world(u), &config, &error));
    CHECK_EQ_INT(error.code, DSYNC_UNSUPPORTED);
    CHECK_CONTAINS(error.message, "with TLS use \"auto\" or \"json\"");
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(credentials_do_not_travel_in_clear_text) {
    static const char *const far[] = {"http://127.0.0.1:2379", "http://10.0.0.1:2379"};
    static const char *const safe[] = {"http://[::1]:2379", "https://10.0.0.1:2379", "unix:/run/etcd"};
    dsync_options options = with_user;
    ds_backend_config config = {.options = &options, .endpoints = far, .endpoint_count = 2};
    dsync_error error = {DSYNC_OK, ""};
    fw *u = fw_new(1);
    CHECK_NULL(ds_etcd_backend(fw_world(u), &config, &error));
    CHECK_CONTAINS(error.message, "10.0.0.1:2379 in clear text");
    CHECK_LACKS(error.message, "swordfish");
    config.endpoints = safe;
    config.endpoint_count = 3;
    ds_backend *backend = ds_etcd_backend(fw_world(u), &config, &error);
    CHECK(backend != NULL);
    backend->ops->destroy(backend);
    options.allow_plaintext_credentials = 1;
    config.endpoints = far;
    config.endpoint_count = 2;
    backend = ds_etcd_backend(fw_world(u), &config, &error);
    CHECK(backend != NULL);
    backend->ops->destroy(backend);
    CHECK_EQ_UINT(fw_free(u), 0);
}
