/* test_etcd_auth.c: users, tokens and permissions on a real etcd whose tokens end after a second. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "etcd_rig.h"
#include "test.h"

static etcd_server server;
static const char *const short_tokens[] = {"--auth-token-ttl", "1", NULL};

__attribute__((destructor)) static void stop_server(void) {
    if (server.folder[0] != '\0') {
        etcd_stop_and_forget(&server);
    }
}

static void tell(const char *path, const char *json) {
    free(etcd_post(&server, path, json));
}

/* root may do all, alice what is below "dsync/". */
static bool ready(void) {
    if (server.pid > 0) {
        return true;
    }
    if (!etcd_start(&server, short_tokens)) {
        return false;
    }
    tell("/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"r00t\"}");
    tell("/v3/auth/role/add", "{\"name\":\"root\"}");
    tell("/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
    tell("/v3/auth/user/add", "{\"name\":\"alice\",\"password\":\"wonder land\\\"\"}");
    tell("/v3/auth/role/add", "{\"name\":\"dsync\"}");
    tell("/v3/auth/role/grant", "{\"name\":\"dsync\",\"perm\":{\"permType\":\"READWRITE\","
                                "\"key\":\"ZHN5bmMv\",\"range_end\":\"ZHN5bmMw\"}}");
    tell("/v3/auth/user/grant", "{\"user\":\"alice\",\"role\":\"dsync\"}");
    tell("/v3/auth/enable", "{}");
    return true;
}

static bool open_as(rig *r, const char *user, const char *password, const char *token, const char *file) {
    const char *endpoint = server.url;
    dsync_options options = {.prefix = "dsync", .id = "tester", .auth_user = user, .auth_password = password};
    options.auth_token = token;
    options.auth_token_file = file;
    return rig_open(r, &endpoint, 1, &options);
}

static bool open_alice(rig *r) {
    return ready() && open_as(r, "alice", "wonder land\"", NULL, NULL);
}

static char *new_token(const char *user, const char *password) {
    char json[128];
    snprintf(json, sizeof(json), "{\"name\":\"%s\",\"password\":\"%s\"}", user, password);
    char *answer = etcd_post(&server, "/v3/auth/authenticate", json);
    ds_json_limits limits = {8, 100};
    bool no_memory;
    if (answer == NULL) {
        return NULL;
    }
    ds_json *root = ds_json_parse(answer, strlen(answer), &limits, &no_memory, NULL);
    const char *text = ds_json_text(root, "token");
    char *token = text != NULL ? strdup(text) : NULL;
    ds_json_free(root);
    free(answer);
    return token;
}

TEST(a_user_may_what_the_role_grants) {
    rig r;
    ds_lease lease;
    ds_entry entry;
    REQUIRE(open_alice(&r));
    CHECK_EQ_INT(rig_ping(&r)->outcome, DS_OK);
    rig_lease_init(&lease, "dsync", 5000);
    CHECK_EQ_INT(rig_lease(&r, &lease)->outcome, DS_OK);
    rig_entry_init(&entry, &lease, "dsync/lock/auth", "A");
    const rig_reply *reply = rig_enter(&r, &entry, false);
    CHECK_EQ_INT(reply->place, DS_PLACE_HELD);
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    reply = rig_get(&r, "elsewhere/x");
    CHECK_EQ_INT(reply->outcome, DS_REFUSED);
    CHECK_EQ_INT(reply->code, DSYNC_DENIED);
    CHECK_CONTAINS(reply->message, "permission denied");
    rig_entry_init(&entry, &lease, "elsewhere/lock", "A");
    reply = rig_enter(&r, &entry, false);
    CHECK_EQ_INT(reply->outcome, DS_REFUSED);
    CHECK_EQ_INT(reply->code, DSYNC_DENIED);
    CHECK_EQ_INT(rig_revoke(&r, &lease)->outcome, DS_OK);
    r.backend->ops->forget(r.backend, &lease);
    rig_close(&r);
}

TEST(an_expired_token_is_renewed_unnoticed) {
    rig r;
    REQUIRE(open_alice(&r));
    CHECK_EQ_INT(rig_ping(&r)->outcome, DS_OK);
    rig_idle(&r, 3000);
    const rig_reply *reply = rig_get(&r, "dsync/data/x");
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK(!reply->resent);
    rig_idle(&r, 3000);
    ds_lease lease;
    rig_lease_init(&lease, "dsync", 5000);
    CHECK_EQ_INT(rig_lease(&r, &lease)->outcome, DS_OK);
    rig_idle(&r, 3000);
    CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, DS_OK);
    rig_revoke(&r, &lease);
    r.backend->ops->forget(r.backend, &lease);
    rig_close(&r);
}

TEST(a_wrong_password_is_denied_and_not_shown) {
    rig r;
    REQUIRE(ready() && open_as(&r, "alice", "guess", NULL, NULL));
    const rig_reply *reply = rig_ping(&r);
    CHECK_EQ_INT(reply->outcome, DS_REFUSED);
    CHECK_EQ_INT(reply->code, DSYNC_DENIED);
    CHECK_CONTAINS(reply->message, "authentication failed");
    CHECK_LACKS(reply->message, "guess");
    rig_close(&r);
}

TEST(nobody_is_denied) {
    rig r;
    rig_watch w;
    REQUIRE(ready() && open_as(&r, NULL, NULL, NULL, NULL));
    const rig_reply *reply = rig_ping(&r);
    CHECK_EQ_INT(reply->outcome, DS_REFUSED);
    CHECK_EQ_INT(reply->code, DSYNC_DENIED);
    CHECK_CONTAINS(reply->message, "user and password");
    ds_watch_spec spec = {.key = "dsync/lock/x"};
    REQUIRE(rig_watch_begin(&r, &w, &spec));
    REQUIRE(rig_watch_wait(&w, 1, 2000));
    CHECK_EQ_INT(w.events[0].kind, DS_WATCH_ENDED);
    rig_close(&r);
}

TEST(watches_outlive_the_token_and_new_ones_get_a_new_one) {
    rig r;
    rig_watch first, denied, second;
    char *token;
    REQUIRE(open_alice(&r));
    ds_watch_spec spec = {.key = "dsync/lock/w"};
    REQUIRE(rig_watch_begin(&r, &first, &spec));
    REQUIRE(rig_watch_wait(&first, 1, 3000));
    CHECK_EQ_INT(first.events[0].kind, DS_WATCH_READY);
    ds_watch_spec elsewhere = {.key = "elsewhere/x"};
    REQUIRE(rig_watch_begin(&r, &denied, &elsewhere));
    REQUIRE(rig_watch_wait(&denied, 1, 3000));
    CHECK_EQ_INT(denied.events[0].kind, DS_WATCH_ENDED);
    CHECK_EQ_INT(denied.events[0].outcome, DS_REFUSED);
    CHECK_CONTAINS(denied.events[0].message, "permission denied");
    CHECK_EQ_UINT(first.count, 1); /* the others go on */
    rig_idle(&r, 3000);

    ds_lease lease;
    rig_lease_init(&lease, "dsync", 5000);
    REQUIRE(rig_lease(&r, &lease)->outcome == DS_OK);
    ds_entry entry;
    rig_entry_init(&entry, &lease, "dsync/lock", "v");
    REQUIRE(rig_enter(&r, &entry, false)->outcome == DS_OK);
    bool ready_again = false;
    for (int i = 0; i < 3 && !ready_again; i++) {
        REQUIRE(rig_watch_begin(&r, &second, &spec));
        REQUIRE(rig_watch_wait(&second, 1, 3000));
        ready_again = second.events[0].kind == DS_WATCH_READY;
        CHECK(ready_again || second.events[0].outcome == DS_NOT_EXECUTED);
    }
    CHECK(ready_again);
    rig_watch_end(&first);
    rig_watch_end(&second);
    token = new_token("root", "r00t");
    CHECK(token != NULL);
    free(token);
    rig_revoke(&r, &lease);
    r.backend->ops->forget(r.backend, &lease);
    rig_close(&r);
}

TEST(a_given_token_works_until_it_ends) {
    rig r;
    REQUIRE(ready());
    char *token = new_token("alice", "wonder land\\\"");
    REQUIRE(token != NULL && open_as(&r, NULL, NULL, token, NULL));
    CHECK_EQ_INT(rig_get(&r, "dsync/data/x")->outcome, DS_OK);
    rig_idle(&r, 3000);
    const rig_reply *reply = rig_get(&r, "dsync/data/x");
    CHECK_EQ_INT(reply->outcome, DS_REFUSED);
    CHECK_EQ_INT(reply->code, DSYNC_DENIED);
    CHECK_LACKS(reply->message, token);
    free(token);
    rig_close(&r);
}

static bool write_file(const char *path, const char *text, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0;
    close(fd);
    return done;
}

TEST(a_token_file_is_read_again_when_the_token_ends) {
    rig r;
    char path[120];
    REQUIRE(ready());
    snprintf(path, sizeof(path), "%s/token", server.folder);
    char *token = new_token("alice", "wonder land\\\"");
    REQUIRE(token != NULL && write_file(path, token, 0600));
    free(token);
    REQUIRE(open_as(&r, NULL, NULL, NULL, path));
    CHECK_EQ_INT(rig_get(&r, "dsync/data/x")->outcome, DS_OK);
    rig_idle(&r, 3000);
    CHECK_EQ_INT(rig_get(&r, "dsync/data/x")->code, DSYNC_DENIED);
    token = new_token("alice", "wonder land\\\"");
    REQUIRE(token != NULL && write_file(path, token, 0600));
    free(token);
    CHECK_EQ_INT(rig_get(&r, "dsync/data/x")->outcome, DS_OK);
    rig_close(&r);
}

TEST(a_token_file_open_to_others_is_refused) {
    rig r;
    char path[120], link[120];
    REQUIRE(ready());
    snprintf(path, sizeof(path), "%s/open-token", server.folder);
    snprintf(link, sizeof(link), "%s/link", server.folder);
    REQUIRE(write_file(path, "abc", 0644));
    REQUIRE(open_as(&r, NULL, NULL, NULL, path));
    const rig_reply *reply = rig_ping(&r);
    CHECK_EQ_INT(reply->code, DSYNC_CONFIG);
    CHECK_CONTAINS(reply->message, "chmod 600");
    rig_close(&r);
    REQUIRE(chmod(path, 0600) == 0 && symlink(path, link) == 0);
    REQUIRE(open_as(&r, NULL, NULL, NULL, link));
    reply = rig_ping(&r);
    CHECK_EQ_INT(reply->code, DSYNC_CONFIG);
    CHECK_CONTAINS(reply->message, "symbolic link");
    rig_close(&r);
}

TEST(auth_switched_off_and_on_again) {
    rig r;
    char header[200];
    REQUIRE(open_alice(&r));
    CHECK_EQ_INT(rig_ping(&r)->outcome, DS_OK);
    char *token = new_token("root", "r00t");
    REQUIRE(token != NULL);
    snprintf(header, sizeof(header), "%s", token);
    free(token);
    etcd_authorize(header);
    tell("/v3/auth/disable", "{}");
    etcd_authorize(NULL);
    CHECK_EQ_INT(rig_get(&r, "elsewhere/x")->outcome, DS_OK);
    rig other;
    REQUIRE(open_as(&other, "alice", "wonder land\"", NULL, NULL));
    CHECK_EQ_INT(rig_ping(&other)->outcome, DS_OK); /* it needs no token now */
    tell("/v3/auth/enable", "{}");
    CHECK_EQ_INT(rig_get(&r, "dsync/data/x")->outcome, DS_OK);
    CHECK_EQ_INT(rig_get(&other, "dsync/data/x")->outcome, DS_OK);
    CHECK_EQ_INT(rig_get(&other, "elsewhere/x")->code, DSYNC_DENIED);
    rig_close(&other);
    rig_close(&r);
}

TEST(credentials_stay_off_the_open_network) {
    const char *endpoint = "http://192.0.2.1:2379";
    const char *safe = "https://192.0.2.1:2379";
    dsync_options options = {.prefix = "dsync", .auth_user = "alice", .auth_password = "secret"};
    ds_backend_config config = {.options = &options, .endpoints = &endpoint, .endpoint_count = 1};
    dsync_error error;
    ds_loop *loop = ds_loop_new(&(ds_http_config){.connect_timeout_ms = 100}, &error);
    REQUIRE(loop != NULL);
    CHECK_NULL(ds_etcd_backend(ds_loop_world(loop), &config, &error));
    CHECK_EQ_INT(error.code, DSYNC_CONFIG);
    CHECK_CONTAINS(error.message, "192.0.2.1");
    CHECK_LACKS(error.message, "secret");
    options.allow_plaintext_credentials = 1;
    ds_backend *backend = ds_etcd_backend(ds_loop_world(loop), &config, &error);
    REQUIRE(backend != NULL);
    backend->ops->destroy(backend);
    options.allow_plaintext_credentials = 0;
    config.endpoints = &safe;
    backend = ds_etcd_backend(ds_loop_world(loop), &config, &error);
    REQUIRE(backend != NULL);
    backend->ops->destroy(backend);
    options.auth_token = "both";
    CHECK_NULL(ds_etcd_backend(ds_loop_world(loop), &config, &error));
    options = (dsync_options){.prefix = "dsync", .auth_user = "alice"};
    CHECK_NULL(ds_etcd_backend(ds_loop_world(loop), &config, &error));
    CHECK_CONTAINS(error.message, "auth.password is missing");
    ds_loop_free(loop);
}
