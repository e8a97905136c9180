/* The etcd backend alone, in a build where allocations fail: each one of each operation, once. No call goes unanswered,
 * none says what is not so, and nothing is left behind.
 */
#include "test.h"

#include "etcd_fixture.h"

#ifdef DS_TEST_ALLOC
static const dsync_options with_user = {
    .prefix = "p", .id = "node", .max_value = 65536, .auth_user = "ann", .auth_password = "swordfish"};
static const dsync_options with_token = {.max_value = 65536, .auth_token = "sesame"};

TEST(a_backend_is_made_or_not) {
    static const dsync_options *const options[] = {NULL, &with_user, &with_token};
    for (size_t i = 0; i < DS_COUNT(options); i++) {
        EACH_ALLOCATION_FAILS() {
            etcd_case e;
            ef_open(&e, options[i]);
            CHECK_EQ_INT(e.backend == NULL, ds_test_allocation_failed());
            if (e.backend == NULL) {
                CHECK_EQ_INT(e.error.code, DSYNC_RESOURCE);
            }
            ef_close(&e);
        }
    }
}

static void ask(const ef_operation *o, const dsync_options *options, const char *const *answers) {
    EACH_ALLOCATION_FAILS() {
        etcd_case e;
        ef_open(&e, options);
        if (e.backend != NULL) {
            ef_ask(&e, o->start, answers);
            bool fine = e.reply.outcome == DS_OK;
            CHECK(fine || ds_test_allocation_failed());
            CHECK_EQ_INT(fine, e.message[0] == '\0');
            if (!fine) {
                /* Not sent: refused. Sent, and the answer could not be read: who knows. */
                bool refused = e.reply.outcome == DS_REFUSED && e.reply.code == DSYNC_RESOURCE;
                bool signs_in = options != NULL && e.asked == 1;
                CHECK(refused || (e.asked > 0 && e.reply.outcome == (signs_in ? DS_NOT_EXECUTED : DS_AMBIGUOUS)));
            }
        }
        ef_close(&e);
    }
}

TEST(every_operation_ends_without_memory) {
    for (const ef_operation *o = ef_operations; o->name != NULL; o++) {
        test_case("%s", o->name);
        ask(o, NULL, o->answers);
    }
}

TEST(signing_in_ends_without_memory) {
    static const char *const answers[] = {"{@H,\"token\":\"t\"}", "{@H}", NULL};
    const ef_operation get = {.name = "get", .start = ef_do_get};
    ask(&get, &with_user, answers);
}

/* A call that found no memory at all, not even for itself, can still be taken back. */
TEST(a_call_without_memory_can_be_cancelled) {
    for (uint64_t nth = 1; nth < 12; nth++) {
        etcd_case e;
        ef_open(&e, NULL);
        ds_test_fail_allocation(nth, true);
        e.call.timeout_ns = DS_SECOND;
        ef_do_enter(&e);
        e.backend->ops->cancel(e.backend, &e.call);
        ds_test_fail_allocation(0, false);
        fw_advance(e.u, DS_SECOND);
        CHECK_EQ_UINT(e.done, 0);
        ef_close(&e);
    }
}

static void withdraw_three(etcd_case *e) {
    char path[3][200];
    ds_entry entries[3];
    const ds_entry *list[3];
    for (int i = 0; i < 3; i++) {
        (void)snprintf(path[i], sizeof(path[i]), "p/lock/%0*d", 40 * (3 - i), i); /* the first needs most */
        entries[i] = e->entry;
        entries[i].path = path[i];
        list[i] = &entries[i];
    }
    e->backend->ops->withdraw(e->backend, &e->call, &e->lease, list, 3, e->lease.epoch + 1);
}

/* One key that could not be made was forgotten with the next: its entry stayed for as long as the session. */
TEST(all_entries_are_withdrawn_or_none) {
    static const char *const answers[] = {EF_DONE(EF_PUT "," EF_DELETED "," EF_DELETED "," EF_DELETED), NULL};
    EACH_ALLOCATION_FAILS() {
        etcd_case e;
        ef_open(&e, NULL);
        if (e.backend != NULL) {
            ef_ask(&e, withdraw_three, answers);
            for (size_t i = 0; i < fw_request_count(e.u); i++) {
                CHECK(strstr(fw_request_at(e.u, i)->body, "{\"key\":\"\"}") == NULL);
            }
        }
        ef_close(&e);
    }
}

TEST(watches_end_without_memory) {
    static const char *const lines[] = {
        "{\"result\":{@H,\"watch_id\":\"16777216\",\"created\":true}}\n",
        "{\"result\":{@H,\"watch_id\":\"16777216\",\"events\":[{\"type\":\"DELETE\",\"kv\":{\"key\":\"@own\"},"
        "\"prev_kv\":{\"key\":\"@own\",\"value\":\"dg==\"}}]}}\n"};
    EACH_ALLOCATION_FAILS() {
        etcd_case e;
        ef_open(&e, NULL);
        if (e.backend != NULL && ef_watch(&e, "p/k")) {
            for (size_t i = 0; i < DS_COUNT(lines) && e.stream != NULL && e.ended == 0; i++) {
                ef_say(&e, lines[i]);
            }
            CHECK_EQ_UINT(e.ended, ds_test_allocation_failed());
            CHECK_EQ_UINT(e.ended, e.watch.impl == NULL);
        }
        ef_close(&e);
    }
}

TEST(keys_are_made_or_not) {
    EACH_ALLOCATION_FAILS() {
        etcd_case e;
        char *key = NULL;
        ef_open(&e, NULL);
        if (e.backend != NULL) {
            bool made = e.backend->ops->session_key(e.backend, &e.lease, &key);
            CHECK_EQ_TEXT(key, made ? "p/session/abc" : NULL);
            ds_free(key);
            key = NULL;
            made = e.backend->ops->entry_key(e.backend, &e.entry, &key);
            CHECK_EQ_TEXT(key, made ? "p/lock/q/abc-00000000000000aa" : NULL);
            ds_free(key);
        }
        ef_close(&e);
    }
}
#else
TEST(needs_a_build_that_can_refuse_memory) {
    CHECK(true);
}
#endif
