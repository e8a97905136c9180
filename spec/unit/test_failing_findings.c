/* What hostile bytes, failing allocations and failing system calls have found, one test each. */
#include "test.h"

#include "core_fixture.h"

#include "../../csrc/backend/local.h"
#include "../../csrc/core/request.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- an etcd that says what none says ---------------------------------------------------------------------------- */

#define HEADER "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"9\"}"

typedef struct told {
    ds_call call;
    bool done;
    ds_class outcome;
    dsync_code code;
    size_t peers;
} told;

static fw_answer etcd_says;

static void answer_request(fw_request *request, void *argument) {
    (void)argument;
    fw_finish(request, 0, &etcd_says);
}

static void on_done(ds_call *call, const ds_reply *reply) {
    told *t = DS_CONTAINER_OF(call, told, call);
    t->done = true;
    t->outcome = reply->outcome;
    t->code = reply->code;
    t->peers = reply->peer_count;
}

/* What becomes of a listing (or, with `leaves`, of a write) that is answered so. */
static told ask_etcd(const char *body, bool leaves) {
    static const char *const endpoints[] = {"http://a:2379"};
    static const dsync_setting json = {"etcd.transport", "json"};
    dsync_options options = {.prefix = "p", .id = "n", .max_value = 65536, .settings = &json, .setting_count = 1};
    ds_backend_config config = {.options = &options, .endpoints = endpoints, .endpoint_count = 1};
    fw *u = fw_new(1);
    fw_server server = {.on_request = answer_request};
    fw_serve(u, &server);
    dsync_error error;
    ds_backend *backend = ds_etcd_backend(fw_world(u), &config, &error);
    told t = {.call = {.done = on_done, .timeout_ns = DS_SECOND}};
    etcd_says.body = body;
    etcd_says.body_size = strlen(body);
    ds_lease lease = {.nonce = 5, .prefix = "p", .info = "{}", .epoch = 1};
    ds_entry entry = {.lease = &lease, .path = "p/lock/q", .nonce = "0123456789abcdef", .token = 5};
    ds_list_spec list = {.path = "p/lock/q"};
    if (leaves) {
        backend->ops->leave(backend, &t.call, &entry);
    } else {
        backend->ops->list(backend, &t.call, &list);
    }
    fw_advance(u, 2 * DS_SECOND);
    CHECK(t.done);
    backend->ops->destroy(backend);
    fw_settle(u);
    CHECK_EQ_UINT(fw_free(u), 0);
    return t;
}

TEST(a_listing_shows_nothing_that_was_not_asked_for) {
    etcd_says = (fw_answer){.status = 200};
    told t = ask_etcd(HEADER ",\"kvs\":[{\"key\":\"cC9sb2NrL3EveA==\",\"create_revision\":\"3\"},"
                             "{\"key\":\"cC9sb2NrL290aGVyL3g=\",\"create_revision\":\"4\"},"
                             "{\"key\":\"eA==\",\"create_revision\":\"5\"}]}",
                      false);
    CHECK_EQ_INT(t.outcome, DS_OK);
    CHECK_EQ_UINT(t.peers, 1);
}

TEST(a_page_that_ends_at_the_last_revision_there_is_has_no_next_one) {
    etcd_says = (fw_answer){.status = 200};
    told t = ask_etcd(
        HEADER ",\"kvs\":[{\"key\":\"cC9sb2NrL3EveA==\",\"create_revision\":\"9223372036854775807\"}],\"more\":true}",
        false);
    CHECK_EQ_INT(t.outcome, DS_AMBIGUOUS);
}

/* A write whose answer was too long is ambiguous, and then there is no code. */
TEST(only_a_refusal_has_a_code) {
    etcd_says = (fw_answer){.status = 200, .fate = DS_HTTP_REFUSED, .code = DSYNC_PROTOCOL, .message = "too long"};
    told t = ask_etcd("", true);
    CHECK_EQ_INT(t.outcome, DS_AMBIGUOUS);
    CHECK_EQ_INT(t.code, DSYNC_OK);
}

/* ---- the core ---------------------------------------------------------------------------------------------------- */

static dsync_code request_code;
static const ds_reply *request_reply;

static void on_request(ds_request *request, dsync_code code, const char *message, const ds_reply *reply) {
    (void)request;
    (void)message;
    request_code = code;
    request_reply = reply;
}

TEST(a_request_that_fails_hands_over_no_reply) {
    desk d;
    desk_open(&d);
    ds_request evict = {
        .kind = DS_REQUEST_EVICT, .key = QUEUE, .token = 5, .timeout_ns = DS_SECOND, .done = on_request};
    sb_hold(d.backend, SB_EVICT);
    ds_request_start(d.engine, &evict);
    sb_ok(d.backend, SB_EVICT, DS_PLACE_GONE);
    CHECK_EQ_INT(request_code, DSYNC_NOT_HELD);
    CHECK(request_reply == NULL);
    CHECK(desk_close(&d));
}

/* ---- local: ------------------------------------------------------------------------------------------------------ */

/* Its entries were given up while their holder believed in them. */
TEST(a_database_is_not_taken_for_moved_because_it_cannot_be_looked_at) {
    static char name[8192];
    memset(name, 'x', sizeof(name) - 1);
    loc_store store = {.file = name, .files = {[LOC_FILE_DATABASE] = {1, 1}}};
    CHECK(!loc_path_moved(&store));
    name[0] = '/';
    name[20] = '\0';
    CHECK(loc_path_moved(&store));
}

/* From the nth on, SQLite gets no memory; 0: it does. Any thread may ask. */
static _Atomic uint64_t sqlite_asked, sqlite_fails_at;
static sqlite3_mem_methods sqlite_own;

static bool sqlite_may(void) {
    uint64_t nth = ++sqlite_asked, fails_at = sqlite_fails_at;
    return fails_at == 0 || nth < fails_at;
}

static void *sqlite_get(int size) {
    return sqlite_may() ? sqlite_own.xMalloc(size) : NULL;
}

static void *sqlite_grow(void *old, int size) {
    return sqlite_may() ? sqlite_own.xRealloc(old, size) : NULL;
}

__attribute__((constructor)) static void stand_before_sqlite(void) {
    (void)sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_own);
    sqlite3_mem_methods methods = sqlite_own;
    methods.xMalloc = sqlite_get;
    methods.xRealloc = sqlite_grow;
    (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

static dsync_code take_and_give(dsync_client *client, const char *name) {
    dsync_lock *mine = dsync_lock_new(client, name, NULL, NULL);
    dsync_code code = dsync_acquire(mine, NULL, NULL);
    dsync_op *ops[] = {dsync_put_start(mine, "k", name, strlen(name), NULL), dsync_queue_start(mine, 0, NULL)};
    for (size_t i = 0; i < DS_COUNT(ops); i++) {
        (void)dsync_op_wait(ops[i], -1);
        dsync_op_free(ops[i]);
    }
    (void)dsync_release(mine, NULL);
    CHECK(!dsync_held(mine));
    dsync_lock_free(mine);
    return code;
}

/* To take the transaction back needed memory, too, and it stayed open. */
TEST(a_transaction_is_taken_back_without_memory) {
    char folder[] = "/tmp/dsync-unit-XXXXXX", url[64];
    dsync_options options;
    dsync_options_init(&options);
    options.wait_ms = 0;
    REQUIRE(mkdtemp(folder) != NULL);
    (void)snprintf(url, sizeof(url), "local:%s/locks.db", folder);
    dsync_client *client = dsync_open(url, &options, NULL);
    REQUIRE(client != NULL);
    CHECK_EQ_INT(take_and_give(client, "q"), DSYNC_OK);
    for (uint64_t nth = 1; nth < 40; nth++) {
        test_case("%d", (int)nth);
        sqlite_asked = 0;
        sqlite_fails_at = nth;
        dsync_client *other = dsync_open(url, &options, NULL);
        (void)take_and_give(other, "q");
        (void)dsync_close(other, 0, NULL);
        dsync_client_unref(other);
        sqlite_fails_at = 0;
        CHECK_EQ_INT(take_and_give(client, "r"), DSYNC_OK);
    }
    CHECK_EQ_INT(dsync_close(client, -1, NULL), DSYNC_OK);
    dsync_client_unref(client);
    char command[64];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    CHECK_EQ_INT(system(command), 0);
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

#ifdef DS_TEST_ALLOC

TEST(a_release_needs_no_memory_to_give_up_the_lock) {
    for (uint64_t nth = 1; nth < 8; nth++) {
        test_case("%d", (int)nth);
        dsync_client *client = dsync_open("memory:release", NULL, NULL);
        dsync_lock *mine = dsync_lock_new(client, "q", NULL, NULL), *other = dsync_lock_new(client, "q", NULL, NULL);
        CHECK_EQ_INT(dsync_acquire(mine, NULL, NULL), DSYNC_OK);
        ds_test_fail_allocation(nth, true);
        (void)dsync_release(mine, NULL);
        CHECK(!dsync_held(mine));
        ds_test_fail_allocation(0, false);
        CHECK_EQ_INT(dsync_acquire(other, NULL, NULL), DSYNC_OK);
        CHECK_EQ_INT(dsync_release(other, NULL), DSYNC_OK);
        CHECK_EQ_INT(dsync_acquire(mine, NULL, NULL), DSYNC_OK);
        dsync_lock_free(mine);
        dsync_lock_free(other);
        CHECK_EQ_INT(dsync_close(client, -1, NULL), DSYNC_OK);
        dsync_client_unref(client);
    }
}

/* Names that were only half read were freed twice. */
TEST(a_change_that_cannot_be_told_is_freed_once) {
    EACH_ALLOCATION_FAILS() {
        dsync_client *client = dsync_open("memory:watch", NULL, NULL);
        dsync_watcher *watcher = client != NULL ? dsync_watch(client, NULL, "e", NULL, NULL) : NULL;
        dsync_watcher_free(watcher);
        if (client != NULL) {
            (void)dsync_close(client, -1, NULL);
            dsync_client_unref(client);
        }
    }
}

#endif
