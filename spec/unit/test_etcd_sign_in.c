/* test_etcd_sign_in.c: the etcd backend alone: tokens: where they come from, when they are renewed, and what is done
 * without one, by requests and by the stream that carries the watches.
 */
#include "test.h"

#include "etcd_fixture.h"
#include "fake_world_parts.h"

#define TOKEN(token) "{@H,\"token\":\"" token "\"}"
#define EXPIRED "!401 {\"code\":16,\"message\":\"etcdserver: invalid auth token\"}"

static const dsync_options with_user = {
    .prefix = "p", .id = "node", .max_value = 65536, .auth_user = "ann", .auth_password = "swordfish"};

/* ---- requests ---------------------------------------------------------------------------------------------------- */

TEST(signs_in_before_the_first_request) {
    static const char *const answers[] = {TOKEN("t1"), "{@H}", NULL};
    etcd_case e;
    ef_open(&e, &with_user);
    ef_ask(&e, ef_do_get, answers);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK_EQ_UINT(e.asked, 2);
    ef_ask_one(&e, ef_do_get, "{@H}");
    CHECK_EQ_UINT(e.asked, 1);
    ef_close(&e);
}

TEST(a_token_that_has_expired_is_renewed_once) {
    static const char *const once[] = {TOKEN("t1"), EXPIRED, TOKEN("t2"), "{@H}", NULL};
    static const char *const ever[] = {EXPIRED, TOKEN("t3"), EXPIRED, TOKEN("t4"), EXPIRED, TOKEN("t5"), EXPIRED, NULL};
    etcd_case e;
    ef_open(&e, &with_user);
    ef_ask(&e, ef_do_get, once);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK(!e.reply.resent); /* the first was not executed */
    CHECK_EQ_UINT(e.asked, 4);
    ef_ask(&e, ef_do_get, ever);
    CHECK_EQ_INT(e.reply.outcome, DS_NOT_EXECUTED);
    CHECK_EQ_UINT(e.asked, 3);
    CHECK_LACKS(e.message, "t3");
    CHECK_LACKS(e.message, "swordfish");
    ef_close(&e);
}

TEST(how_signing_in_fails) {
    static const struct {
        const char *answer;
        ds_class outcome;
        dsync_code code;
    } rows[] = {
        {TOKEN(""), DS_REFUSED, DSYNC_PROTOCOL},
        {TOKEN("with space"), DS_REFUSED, DSYNC_PROTOCOL},
        {"{@H,\"token\":7}", DS_REFUSED, DSYNC_PROTOCOL},
        {"!400 {\"code\":3,\"message\":\"etcdserver: authentication failed, invalid user ID or password\"}", DS_REFUSED,
         DSYNC_DENIED},
        {"!broken", DS_NOT_EXECUTED, 0}, /* whatever became of it: the request itself was not sent */
        {"!unsent", DS_NOT_EXECUTED, 0},
        {"!silent", DS_NOT_EXECUTED, 0},
        {"!500 ", DS_NOT_EXECUTED, 0},
        {"!unfit", DS_REFUSED, DSYNC_CONFIG},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        etcd_case e;
        test_case("%s", rows[i].answer);
        ef_open(&e, &with_user);
        ef_ask_one(&e, ef_do_leave, rows[i].answer);
        CHECK_EQ_INT(e.reply.outcome, rows[i].outcome);
        CHECK_EQ_INT(e.reply.code, rows[i].code);
        CHECK_EQ_UINT(e.asked, 1);
        CHECK_LACKS(e.message, "swordfish");
        ef_close(&e);
    }
}

TEST(a_server_without_authentication_needs_none) {
    static const char *const answers[] = {"!412 {\"code\":9,\"message\":\"etcdserver: authentication is not enabled\"}",
                                          "{@H}", NULL};
    etcd_case e;
    ef_open(&e, &with_user);
    ef_ask(&e, ef_do_get, answers);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    ef_ask_one(&e, ef_do_get, "{@H}");
    CHECK_EQ_UINT(e.asked, 1);
    ef_close(&e);
}

static unsigned both_done;

static void one_done(ds_call *call, const ds_reply *reply) {
    (void)call;
    both_done += reply->outcome == DS_OK;
}

static void count_sign_ins(fw_request *request, void *argument) {
    unsigned *count = argument;
    bool signs_in = strstr(request->target, "authenticate") != NULL;
    *count += signs_in;
    fw_reply(request, DS_MS, 200,
             signs_in ? "{\"header\":{\"cluster_id\":\"7\"},\"token\":\"t\"}" : "{\"header\":{\"cluster_id\":\"7\"}}");
}

TEST(all_who_need_a_token_wait_for_one) {
    etcd_case e;
    unsigned sign_ins = 0;
    ef_open(&e, &with_user);
    fw_serve(e.u, &(fw_server){.on_request = count_sign_ins, .argument = &sign_ins});
    ds_call calls[3] = {{.done = one_done, .timeout_ns = DS_SECOND},
                        {.done = one_done, .timeout_ns = DS_SECOND},
                        {.done = one_done, .timeout_ns = DS_SECOND}};
    both_done = 0;
    for (size_t i = 0; i < DS_COUNT(calls); i++) {
        e.backend->ops->get(e.backend, &calls[i], "p/data/k");
    }
    e.backend->ops->cancel(e.backend, &calls[1]);
    fw_advance(e.u, DS_SECOND);
    CHECK_EQ_UINT(both_done, 2);
    CHECK_EQ_UINT(sign_ins, 1);
    ef_close(&e);
}

TEST(a_token_of_the_users_own_is_not_renewed) {
    static const dsync_options options = {.prefix = "p", .id = "node", .max_value = 65536, .auth_token = "sesame"};
    etcd_case e;
    ef_open(&e, &options);
    ef_ask_one(&e, ef_do_get, EXPIRED);
    CHECK_EQ_INT(e.reply.outcome, DS_REFUSED);
    CHECK_EQ_INT(e.reply.code, DSYNC_DENIED);
    CHECK_EQ_UINT(e.asked, 1);
    CHECK_CONTAINS(e.message, "not valid (any more)");
    CHECK_LACKS(e.message, "sesame");
    ef_close(&e);
}

TEST(a_file_without_a_token_is_told_to_each) {
    static const dsync_options options = {
        .prefix = "p", .id = "node", .max_value = 65536, .auth_token_file = "/nowhere/at/all"};
    etcd_case e;
    ef_open(&e, &options);
    ef_ask(&e, ef_do_get, NULL);
    CHECK_EQ_INT(e.reply.outcome, DS_REFUSED);
    CHECK_EQ_INT(e.reply.code, DSYNC_CONFIG);
    CHECK_EQ_UINT(e.asked, 0);
    ef_close(&e);
}

/* ---- the stream -------------------------------------------------------------------------------------------------- */

#define FIRST "16777216" /* id of the first watch: serial 1, slot 0 */
#define CREATED(id) "{\"result\":{@H,\"watch_id\":\"" id "\",\"created\":true}}\n"
#define CANCELED(id, rest) "{\"result\":{@H,\"watch_id\":\"" id "\",\"canceled\":true" rest "}}\n"

static void watch_again(etcd_case *e, const ds_watch_event *event) {
    if (event->kind == DS_WATCH_ENDED && e->ended == 1) {
        e->watch.impl = NULL;
        (void)e->backend->ops->watch(e->backend, &e->watch, &(ds_watch_spec){.key = "p/k"});
    }
}

static const char *const *sign_ins;

static void answer_sign_in(fw_request *request, void *argument) {
    etcd_case *e = argument;
    if (request->stream) {
        e->stream = request;
        e->asked++;
    } else if (*sign_ins != NULL) {
        const char *text = *sign_ins++;
        if (text[0] == '!') {
            fw_reply(request, DS_MS, 400, text + 1);
        } else {
            fw_reply(request, DS_MS, 200, ef_text(text));
        }
    }
}

static void begin_signed(etcd_case *e, const char *const *answers) {
    ef_open(e, &with_user);
    sign_ins = answers;
    fw_serve(e->u, &(fw_server){.on_request = answer_sign_in, .argument = e});
    if (!ef_watch(e, "p/k")) {
        fw_misuse("no watch");
    }
    ds_watch second = {.on_event = e->watch.on_event};
    (void)e->backend->ops->watch(e->backend, &second, &(ds_watch_spec){.key = "p/k2"}); /* while it asks */
    fw_settle(e->u);
    e->backend->ops->unwatch(e->backend, &second);
    fw_advance(e->u, 10 * DS_MS);
}

TEST(the_stream_signs_in_first) {
    static const char *const answers[] = {"{@H,\"token\":\"t1\"}", "{@H,\"token\":\"t2\"}", NULL};
    etcd_case e;
    begin_signed(&e, answers);
    REQUIRE(e.stream != NULL);
    CHECK_EQ_TEXT(fw_header_of(e.stream, "Authorization"), "t1");
    ef_say(&e, CREATED(FIRST));
    CHECK_EQ_TEXT(ef_heard(&e), "ready 50");
    /* Refused while the token is fresh: it is the key that is forbidden. */
    fw_advance(e.u, 2 * DS_SECOND);
    e.on_event = watch_again;
    ef_say(&e, CANCELED(FIRST, ",\"cancel_reason\":\"rpc error: permission denied\""));
    CHECK_EQ_UINT(e.ended, 1);
    CHECK_CONTAINS(ef_heard(&e), "permission denied");
    fw_advance(e.u, 10 * DS_MS);
    CHECK_EQ_TEXT(fw_header_of(e.stream, "Authorization"), "t2"); /* it was old */
    ef_close(&e);
}

TEST(a_fresh_token_that_is_refused_is_not_asked_for_again) {
    static const char *const answers[] = {"{@H,\"token\":\"t1\"}", NULL};
    etcd_case e;
    begin_signed(&e, answers);
    REQUIRE(e.stream != NULL);
    ef_say(&e, CANCELED(FIRST, ",\"cancel_reason\":\"rpc error: permission denied\""));
    CHECK_CONTAINS(ef_heard(&e), "ended 5: ");
    ef_close(&e);
}

TEST(a_stream_whose_token_is_refused_gets_another) {
    static const char *const answers[] = {"{@H,\"token\":\"t1\"}", "{@H,\"token\":\"t2\"}", NULL};
    etcd_case e;
    begin_signed(&e, answers);
    REQUIRE(e.stream != NULL);
    e.on_event = watch_again;
    fw_reply(e.stream, 0, 401, "{\"code\":16,\"message\":\"etcdserver: invalid auth token\"}");
    fw_advance(e.u, 10 * DS_MS);
    CHECK_CONTAINS(ef_heard(&e), "ended 1: ");
    CHECK_EQ_TEXT(fw_header_of(e.stream, "Authorization"), "t2");
    ef_close(&e);
}

TEST(when_signing_in_fails_the_watch_ends) {
    static const char *const refused[] = {"!{\"code\":3,\"message\":\"authentication failed\"}", NULL};
    static const char *const silent[] = {NULL};
    etcd_case e;
    begin_signed(&e, refused);
    CHECK_CONTAINS(ef_heard(&e), "ended 5: ");
    CHECK_NULL(e.stream);
    ef_close(&e);
    begin_signed(&e, silent);
    fw_advance(e.u, 7 * DS_SECOND);
    CHECK_CONTAINS(ef_heard(&e), "ended 1: ");
    CHECK_NULL(e.stream);
    ef_close(&e);
}

TEST(without_a_token_file_the_watch_ends) {
    static const dsync_options options = {.max_value = 65536, .auth_token_file = "/nowhere/at/all"};
    etcd_case e;
    ef_open(&e, &options);
    REQUIRE(ef_watch(&e, "p/k"));
    CHECK_CONTAINS(ef_heard(&e), "ended 5: cannot open secret file");
    ef_close(&e);
}
