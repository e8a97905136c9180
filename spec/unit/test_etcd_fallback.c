/* test_etcd_fallback.c: what the etcd backend does where HTTP/2 is not spoken: JSON takes over, where it may. */
#include "grpc_fixture.h"

/* ---- requests ---------------------------------------------------------------------------------------------------- */

TEST(json_takes_over_at_once_and_for_good) {
    etcd_case e;
    begin(&e, &either, nothing);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK(!e.reply.resent); /* nobody has seen the first */
    CHECK_EQ_UINT(grpc_count, 1);
    CHECK_EQ_UINT(json_count, 1);
    ask(&e, ef_do_get);
    CHECK_EQ_UINT(grpc_count, 1);
    CHECK_EQ_UINT(json_count, 2);
    ef_close(&e);
}

TEST(auto_is_what_is_not_said) {
    static const dsync_setting other = {"consul.lock_delay", "1s"};
    dsync_options options = either;
    options.settings = &other;
    etcd_case e;
    begin(&e, &options, nothing);
    CHECK(e.backend != NULL); /* the fixture asks for JSON there */
    ef_close(&e);
    fw *u = fw_new(1);
    static const char *const endpoints[] = {"http://127.0.0.1:2379"};
    ds_backend_config config = {.options = &options, .endpoints = endpoints, .endpoint_count = 1};
    dsync_error error;
    ds_backend *backend = ds_etcd_backend(fw_world(u), &config, &error);
    REQUIRE(backend != NULL);
    CHECK(ds_etcd_of(backend)->wire == &ds_etcd_wire_grpc);
    backend->ops->destroy(backend);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* One member of several. The message was kept in the other encoding only until the first answer. */
TEST(json_takes_over_later_too) {
    static const char *const said[] = {OK(EMPTY), NULL};
    etcd_case e;
    begin(&e, &either, said);
    ask(&e, ef_do_get);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_NOT_EXECUTED);
    CHECK_CONTAINS(e.message, "no HTTP/2 there");
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    CHECK_EQ_UINT(grpc_count, 2);
    CHECK_EQ_UINT(json_count, 1);
    ef_close(&e);
}

/* A server that closes each connection as it comes may be about to go, or know no HTTP/2: its answer in JSON tells. */
TEST(a_closed_door_proves_nothing) {
    static const char *const said[] = {OK(EMPTY), NULL};
    etcd_case e;
    begin(&e, &either, nothing);
    how_certain = DSYNC_OK;
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_OK);
    ask(&e, ef_do_get);
    CHECK_EQ_UINT(grpc_count, 1);
    CHECK_EQ_UINT(json_count, 2);
    ef_close(&e);
    begin(&e, &either, said);
    how_certain = DSYNC_OK;
    ask(&e, ef_do_get);
    ask(&e, ef_do_get); /* this one has spoken gRPC */
    CHECK_EQ_INT(e.reply.outcome, DS_NOT_EXECUTED);
    CHECK_EQ_UINT(json_count, 0);
    CHECK(ds_etcd_of(e.backend)->wire == &ds_etcd_wire_grpc);
    ef_close(&e);
    begin(&e, &only_grpc, nothing);
    how_certain = DSYNC_OK;
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_NOT_EXECUTED);
    REQUIRE(ef_watch(&e, "p/k"));
    fw_advance(e.u, 2 * DS_MS);
    CHECK_CONTAINS(ef_heard(&e), "watch stream: no HTTP/2 there");
    ef_close(&e);
}

TEST(grpc_alone_says_why_it_cannot) {
    etcd_case e;
    begin(&e, &only_grpc, nothing);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_REFUSED);
    CHECK_EQ_INT(e.reply.code, DSYNC_UNSUPPORTED);
    CHECK_CONTAINS(e.message, "cannot be spoken to in gRPC (no HTTP/2 there)");
    CHECK_CONTAINS(e.message, "etcd.transport");
    CHECK_EQ_UINT(json_count, 0);
    ef_close(&e);
}

TEST(the_way_in_falls_back_too) {
    dsync_options options = either;
    options.auth_user = "ann";
    options.auth_password = "swordfish";
    etcd_case e;
    begin(&e, &options, nothing);
    ask(&e, ef_do_get);
    CHECK_EQ_INT(e.reply.outcome, DS_REFUSED); /* this server gives no token */
    CHECK_EQ_INT(e.reply.code, DSYNC_PROTOCOL);
    CHECK_EQ_UINT(json_count, 1);
    REQUIRE(fw_last_request(e.u, "/v3/auth/authenticate") != NULL);
    CHECK_CONTAINS(fw_last_request(e.u, "/v3/auth/authenticate")->body, "\"name\":\"ann\"");
    ef_close(&e);
}

/* ---- watches ----------------------------------------------------------------------------------------------------- */

/* Their owners hear nothing of it. One that was given up meanwhile is not asked for again. */
TEST(watches_fall_back_to_json) {
    etcd_case e;
    begin(&e, &either, nothing);
    ds_watch given_up = {.on_event = NULL};
    REQUIRE(e.backend->ops->watch(e.backend, &given_up, &(ds_watch_spec){.key = "p/gone"}));
    REQUIRE(ef_watch(&e, "p/k"));
    e.backend->ops->unwatch(e.backend, &given_up);
    fw_advance(e.u, 2 * DS_MS);
    REQUIRE(stream != NULL && !stream->http2);
    CHECK_EQ_TEXT(ef_heard(&e), "");
    CHECK_CONTAINS(stream->body, "\"key\":\"cC9r\"");
    CHECK(strstr(stream->body, "create_request") == strstr(stream->body, "{\"create_request\":{\"key\":\"cC9r\"") + 2);
    ef_close(&e);
}

TEST(watches_that_may_not_fall_back_say_why) {
    etcd_case e;
    begin(&e, &only_grpc, nothing);
    REQUIRE(ef_watch(&e, "p/k"));
    fw_advance(e.u, 2 * DS_MS);
    CHECK_CONTAINS(ef_heard(&e), "ended 5: etcd at http://127.0.0.1:2379 cannot be spoken to in gRPC");
    ef_close(&e);
}
