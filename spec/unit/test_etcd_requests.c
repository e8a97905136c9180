/* The etcd backend alone: under which guards each operation acts. Unknown fields of a request are silently ignored by
 * etcd, so the contract tests say whether it understands these. */
#include "test.h"

#include "etcd_fixture.h"

#define IF_CREATED(key, revision)                                                                                      \
    "{\"result\":\"EQUAL\",\"key\":\"" key "\",\"target\":\"CREATE\",\"create_revision\":\"" revision "\"}"
#define IF_VALUE(key, value) "{\"result\":\"EQUAL\",\"key\":\"" key "\",\"target\":\"VALUE\",\"value\":\"" value "\"}"
#define COMPARE(guards) "{\"compare\":[" guards "],\"success\":["
#define REMOVE(key) "{\"request_delete_range\":{\"key\":\"" key "\"}}"
#define QUEUE "cC9sb2NrL3Ev"     /* p/lock/q/ */
#define QUEUE_END "cC9sb2NrL3Ew" /* p/lock/q0 */
#define OLD "cC9sb2NrL3EvYWJjLWYwMDAwMDAwMDAwMDAwYWE="

static const struct {
    const char *name;
    unsigned request; /* of this operation, from 0 */
    const char *begins;
    const char *holds; /* or NULL */
} rows[] = {
    {"open", 0, "{\"TTL\":\"15\",\"ID\":\"2748\"}", NULL},
    {"open", 1, COMPARE(IF_CREATED("@session", "0")) "{\"request_put\":{\"key\":\"@session\",\"value\":\"@stamp\"",
     "\"lease\":\"2748\"}}],\"failure\":[{\"request_range\":{\"key\":\"@session\"}}"},
    {"renew", 0, "{\"ID\":\"2748\"}", NULL},
    /* A confirmation that only reads may be answered by a member that lags. */
    {"renew", 1,
     COMPARE(IF_CREATED("@session",
                        "5")) "{\"request_put\":{\"key\":\"@session\",\"ignore_value\":true,\"lease\":\"2748\"}}]",
     NULL},
    {"close", 0, "{\"ID\":\"2748\"}", NULL},
    {"enter", 0,
     COMPARE(IF_CREATED("@own", "0") "," IF_VALUE("@session", "@stamp")) "{\"request_put\":{\"key\":\"@own\"",
     "\"lease\":\"2748\"}}"},
    {"try", 0,
     "{\"compare\":[{\"result\":\"EQUAL\",\"key\":\"" QUEUE "\",\"range_end\":\"" QUEUE_END "\",\"target\":\"CREATE\","
     "\"create_revision\":\"0\"}," IF_VALUE("@session", "@stamp") "],\"success\":[{\"request_put\":{\"key\":\"@own\"",
     NULL},
    {"check", 0,
     COMPARE(IF_CREATED("@own", "40")) "{\"request_range\":{\"key\":\"" QUEUE "\",\"range_end\":\"" QUEUE_END "\"",
     "\"max_create_revision\":\"39\""},
    {"leave", 0, COMPARE(IF_CREATED("@own", "40")) REMOVE("@own") "]", NULL},
    {"swap", 0, COMPARE(IF_CREATED(OLD, "40")) REMOVE(OLD) ",{\"request_put\":{\"key\":\"@own\"", NULL},
    {"withdraw", 0,
     COMPARE(IF_VALUE("@session", "@stamp")) "{\"request_put\":{\"key\":\"@session\",\"value\":\"@next\",\"lease\":"
                                             "\"2748\"}}," REMOVE("@own") "]",
     NULL},
    {"write", 0, COMPARE(IF_CREATED("@own", "40") "," IF_VALUE("@session", "@stamp")) "{\"request_put\":", NULL},
    {"evict", 0, "{\"key\":\"" QUEUE "\",\"range_end\":\"" QUEUE_END "\"",
     "\"min_create_revision\":\"40\",\"max_create_revision\":\"40\""},
    {"evict", 1, COMPARE(IF_CREATED("@own", "40")) "{\"request_put\":{\"key\":\"@own\"", NULL},
    {"evict", 2,
     "{\"compare\":[" IF_CREATED("@own", "40") ",{\"result\":\"EQUAL\",\"key\":\"@own\",\"target\":\"VALUE\"", NULL},
    {"list", 0,
     "{\"key\":\"" QUEUE "\",\"range_end\":\"" QUEUE_END "\",\"sort_order\":\"ASCEND\",\"sort_target\":\"CREATE\"",
     NULL},
    {"list", 1, "{\"key\":\"" QUEUE "\"", "\"revision\":\"50\",\"min_create_revision\":\"41\""},
};

static const ef_operation *named(const char *name) {
    const ef_operation *o = ef_operations;
    while (o->name != NULL && strcmp(o->name, name) != 0) {
        o++;
    }
    return o;
}

TEST(each_operation_acts_under_its_guard) {
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        const ef_operation *o = named(rows[i].name);
        etcd_case e;
        test_case("%s, request %u", rows[i].name, rows[i].request);
        REQUIRE(o->name != NULL);
        ef_open(&e, NULL);
        ef_ask(&e, o->start, o->answers);
        REQUIRE(fw_request_count(e.u) > rows[i].request);
        const char *body = fw_request_at(e.u, rows[i].request)->body;
        char begin[2000];
        (void)snprintf(begin, sizeof begin, "%.*s", (int)strlen(ef_text(rows[i].begins)), body);
        CHECK_EQ_TEXT(begin, ef_text(rows[i].begins));
        if (rows[i].holds != NULL) {
            CHECK_CONTAINS(body, ef_text(rows[i].holds));
        }
        ef_close(&e);
    }
}

/* An entry whose acquire was never answered has no token: its name is used once, so the name is guard enough. */
TEST(an_entry_without_a_token_leaves_by_its_name) {
    etcd_case e;
    ef_open(&e, NULL);
    e.entry.token = 0;
    ef_ask_one(&e, ef_do_leave, EF_DONE(EF_DELETED));
    CHECK_CONTAINS(fw_request_at(e.u, 0)->body, ef_text(COMPARE("") REMOVE("@own")));
    ef_close(&e);
}

TEST(no_two_entries_have_one_name) {
    etcd_case e;
    ds_buf first = DS_BUF_EMPTY, second = DS_BUF_EMPTY;
    ef_open(&e, NULL);
    ds_etcd_key_entry(&first, &e.entry);
    e.entry.nonce[0] = '1';
    ds_etcd_key_entry(&second, &e.entry);
    CHECK(strcmp(first.data, second.data) != 0);
    ds_buf_free(&first);
    ds_buf_free(&second);
    ef_close(&e);
}
