/* test_etcd_json.c: etcd's messages to and from JSON, without a server: exact texts, exact integers, and no faith in
 * what comes from the network.
 */
#include "backend/etcd_error.h"
#include "backend/etcd_json.h"

#include "test.h"

#define TEXT(literal) ((ds_bytes){literal, sizeof(literal) - 1})
#define CLUSTER "\"header\":{\"cluster_id\":\"14841639068965178418\",\"revision\":\"9007199254740993\"}"

/* ---- encoding ---------------------------------------------------------------------------------------------------- */

static void encodes(const ds_etcd_request *request, const char *expected) {
    ds_buf out = DS_BUF_EMPTY;
    ds_etcd_json_encode(&out, request);
    CHECK_EQ_TEXT(out.data, expected);
    ds_buf_free(&out);
}

TEST(encodes_leases) {
    ds_etcd_request request = {.kind = DS_ETCD_GRANT};
    request.as.lease.id = INT64_MAX;
    request.as.lease.ttl = 15;
    encodes(&request, "{\"TTL\":\"15\",\"ID\":\"9223372036854775807\"}");
    request.kind = DS_ETCD_KEEPALIVE;
    encodes(&request, "{\"ID\":\"9223372036854775807\"}");
    request.kind = DS_ETCD_REVOKE;
    encodes(&request, "{\"ID\":\"9223372036854775807\"}");
}

TEST(encodes_ranges) {
    ds_etcd_request request = {.kind = DS_ETCD_RANGE};
    request.as.range = (ds_etcd_range){.key = TEXT("a/"), .end = TEXT("a0"), .order = DS_ETCD_NEWEST_FIRST};
    request.as.range.limit = 1;
    request.as.range.max_create = INT64_C(9007199254740993);
    request.as.range.keys_only = true;
    encodes(&request, "{\"key\":\"YS8=\",\"range_end\":\"YTA=\",\"sort_order\":\"DESCEND\",\"sort_target\":\"CREATE\","
                      "\"limit\":\"1\",\"max_create_revision\":\"9007199254740993\",\"keys_only\":true}");
    request.as.range = (ds_etcd_range){.key = TEXT("k")};
    encodes(&request, "{\"key\":\"aw==\"}");
}

TEST(encodes_transactions) {
    ds_etcd_compare compares[] = {{.target = DS_ETCD_CREATE_IS, .key = TEXT("k")},
                                  {.target = DS_ETCD_VALUE_IS, .key = TEXT("s"), .value = TEXT("{}")}};
    ds_etcd_op then[] = {{.kind = DS_ETCD_OP_PUT}, {.kind = DS_ETCD_OP_DELETE}};
    then[0].as.put = (ds_etcd_put){.key = TEXT("k"), .value = TEXT("v"), .lease = 5};
    then[1].as.del = (ds_etcd_delete){.key = TEXT("d")};
    ds_etcd_op otherwise = {.kind = DS_ETCD_OP_RANGE};
    otherwise.as.range = (ds_etcd_range){.key = TEXT("k")};
    ds_etcd_request request = {.kind = DS_ETCD_TXN};
    request.as.txn = (ds_etcd_txn){compares, 2, then, 2, &otherwise, 1};
    encodes(&request,
            "{\"compare\":[{\"result\":\"EQUAL\",\"key\":\"aw==\",\"target\":\"CREATE\",\"create_revision\":\"0\"},"
            "{\"result\":\"EQUAL\",\"key\":\"cw==\",\"target\":\"VALUE\",\"value\":\"e30=\"}],"
            "\"success\":[{\"request_put\":{\"key\":\"aw==\",\"value\":\"dg==\",\"lease\":\"5\"}},"
            "{\"request_delete_range\":{\"key\":\"ZA==\"}}],"
            "\"failure\":[{\"request_range\":{\"key\":\"aw==\"}}]}");
    request.as.txn = (ds_etcd_txn){NULL, 0, NULL, 0, NULL, 0};
    encodes(&request, "{\"compare\":[],\"success\":[],\"failure\":[]}");
}

TEST(encodes_names_and_passwords_with_quotes) {
    ds_etcd_request request = {.kind = DS_ETCD_AUTHENTICATE};
    request.as.authenticate.user = "a\"b";
    request.as.authenticate.password = "p\\\n";
    encodes(&request, "{\"name\":\"a\\\"b\",\"password\":\"p\\\\\\n\"}");
}

TEST(encodes_watches) {
    ds_buf out = DS_BUF_EMPTY;
    ds_etcd_watch_create create = {.id = 7, .key = TEXT("a"), .since = 12, .deletes_only = true};
    ds_etcd_json_watch_create(&out, &create);
    create = (ds_etcd_watch_create){.id = 8, .key = TEXT("a/"), .end = TEXT("a0"), .keys_only = true};
    ds_etcd_json_watch_create(&out, &create);
    ds_etcd_json_watch_cancel(&out, 7);
    ds_etcd_json_watch_progress(&out);
    CHECK_EQ_TEXT(out.data, "{\"create_request\":{\"key\":\"YQ==\",\"start_revision\":\"12\",\"filters\":[\"NOPUT\"],"
                            "\"prev_kv\":true,\"fragment\":true,\"watch_id\":\"7\"}}\n"
                            "{\"create_request\":{\"key\":\"YS8=\",\"range_end\":\"YTA=\",\"fragment\":true,"
                            "\"watch_id\":\"8\"}}\n"
                            "{\"cancel_request\":{\"watch_id\":\"7\"}}\n{\"progress_request\":{}}\n");
    ds_buf_free(&out);
}

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

static const char txn_text[] =
    "{" CLUSTER ",\"succeeded\":true,\"responses\":[{\"response_put\":{\"header\":{\"revision\":\"5\"}}},"
    "{\"response_range\":{\"header\":{\"revision\":\"5\"},\"kvs\":[{\"key\":\"YS9i\",\"create_revision\":"
    "\"9007199254740993\","
    "\"mod_revision\":\"9007199254740994\",\"version\":\"1\",\"value\":\"AAE=\",\"lease\":\"9223372036854775807\"}],"
    "\"more\":true,\"count\":\"3\"}},{\"response_delete_range\":{\"deleted\":\"2\"}}]}";

TEST(decodes_a_transaction_exactly) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_reply reply;
    REQUIRE(ds_etcd_json_decode(DS_ETCD_TXN, txn_text, sizeof(txn_text) - 1, &arena, &reply) == DS_ETCD_DECODED);
    CHECK_EQ_UINT(reply.header.cluster_id, UINT64_C(14841639068965178418));
    CHECK_EQ_INT(reply.header.revision, INT64_C(9007199254740993));
    CHECK(reply.succeeded && !reply.failed);
    CHECK_EQ_UINT(reply.answer_count, 3);
    CHECK(ds_etcd_answer_at(&reply, 0, DS_ETCD_OP_PUT) != NULL);
    CHECK_NULL(ds_etcd_answer_at(&reply, 0, DS_ETCD_OP_RANGE));
    CHECK_NULL(ds_etcd_answer_at(&reply, 3, DS_ETCD_OP_RANGE));
    const ds_etcd_answer *range = ds_etcd_answer_at(&reply, 1, DS_ETCD_OP_RANGE);
    REQUIRE(range != NULL && range->count == 1);
    CHECK(range->more);
    CHECK_EQ_INT(range->total, 3);
    CHECK_EQ_TEXT(range->kvs[0].key.data, "a/b");
    CHECK_EQ_BYTES(range->kvs[0].value.data, range->kvs[0].value.size, "\0\1", 2);
    CHECK_EQ_INT(range->kvs[0].create, INT64_C(9007199254740993));
    CHECK_EQ_INT(range->kvs[0].mod, INT64_C(9007199254740994));
    CHECK_EQ_INT(range->kvs[0].lease, INT64_MAX);
    CHECK_EQ_INT(ds_etcd_answer_at(&reply, 2, DS_ETCD_OP_DELETE)->deleted, 2);
    ds_etcd_arena_free(&arena);
}

typedef struct decode_case {
    ds_etcd_kind kind;
    const char *text;
    ds_etcd_decoded result;
} decode_case;

static const decode_case decode_cases[] = {
    {DS_ETCD_RANGE, "{" CLUSTER "}", DS_ETCD_DECODED},
    {DS_ETCD_RANGE, "{" CLUSTER "}\n", DS_ETCD_DECODED},
    {DS_ETCD_RANGE, "{" CLUSTER ",\"new_field\":[1.5e3,null,{\"x\":true}]}", DS_ETCD_DECODED},
    {DS_ETCD_RANGE, "", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{}", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "null", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{" CLUSTER "} {}", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{" CLUSTER ",\"kvs\":[null]}", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{" CLUSTER ",\"kvs\":[{}]}", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{" CLUSTER ",\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":\"1\"}]}", DS_ETCD_DECODED},
    {DS_ETCD_RANGE, "{" CLUSTER ",\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":1}]}", DS_ETCD_DECODED},
    {DS_ETCD_RANGE, "{" CLUSTER ",\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":\"1.5\"}]}", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{" CLUSTER ",\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":\"-1\"}]}", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{" CLUSTER ",\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":\"9223372036854775808\"}]}",
     DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{" CLUSTER ",\"kvs\":[{\"key\":\"YQ\",\"create_revision\":\"1\"}]}", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{" CLUSTER ",\"more\":1}", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{\"header\":{\"cluster_id\":\"1\",\"revision\":\"-3\"}}", DS_ETCD_MALFORMED},
    {DS_ETCD_RANGE, "{\"result\":{" CLUSTER "}}", DS_ETCD_MALFORMED},
    {DS_ETCD_TXN, "{" CLUSTER ",\"responses\":[{\"response_cake\":{}}]}", DS_ETCD_MALFORMED},
    {DS_ETCD_TXN, "{" CLUSTER ",\"responses\":[7]}", DS_ETCD_MALFORMED},
    {DS_ETCD_TXN, "{\"header\":{\"cluster_id\":\"1\",\"revision\":\"1\"},\"succeeded\":true}", DS_ETCD_DECODED},
    {DS_ETCD_TXN, "{\"header\":{\"cluster_id\":\"1\"},\"succeeded\":true}", DS_ETCD_MALFORMED},
    {DS_ETCD_TXN, "{" CLUSTER ",\"succeeded\":null}", DS_ETCD_MALFORMED},
    {DS_ETCD_KEEPALIVE, "{\"result\":{" CLUSTER ",\"ID\":\"5\",\"TTL\":\"15\"}}\n", DS_ETCD_DECODED},
    {DS_ETCD_KEEPALIVE, "{" CLUSTER ",\"ID\":\"5\",\"TTL\":\"15\"}", DS_ETCD_MALFORMED},
    {DS_ETCD_KEEPALIVE, "{\"result\":7}", DS_ETCD_MALFORMED},
    {DS_ETCD_AUTHENTICATE, "{" CLUSTER ",\"token\":5}", DS_ETCD_MALFORMED},
};

TEST(decodes_what_it_knows_and_nothing_else) {
    for (size_t i = 0; i < DS_COUNT(decode_cases); i++) {
        const decode_case *c = &decode_cases[i];
        ds_etcd_arena arena = {NULL};
        ds_etcd_reply reply;
        test_case("%s", c->text);
        CHECK_EQ_INT(ds_etcd_json_decode(c->kind, c->text, strlen(c->text), &arena, &reply), c->result);
        ds_etcd_arena_free(&arena);
    }
}

TEST(a_truncated_answer_is_malformed_wherever_it_ends) {
    for (size_t size = 0; size < sizeof(txn_text) - 1; size++) {
        ds_etcd_arena arena = {NULL};
        ds_etcd_reply reply;
        char *copy = ds_strndup(txn_text, size);
        test_case("%zu", size);
        CHECK_EQ_INT(ds_etcd_json_decode(DS_ETCD_TXN, copy, size, &arena, &reply), DS_ETCD_MALFORMED);
        ds_free(copy);
        ds_etcd_arena_free(&arena);
    }
}

TEST(any_changed_byte_does_no_harm) {
    for (size_t at = 0; at < sizeof(txn_text) - 1; at++) {
        static const char bytes[] = {'\0', '"', '{', ']', '0', '\\', '\xff', ','};
        for (size_t b = 0; b < sizeof(bytes); b++) {
            ds_etcd_arena arena = {NULL};
            ds_etcd_reply reply;
            char *copy = ds_strndup(txn_text, sizeof(txn_text) - 1);
            copy[at] = bytes[b];
            (void)ds_etcd_json_decode(DS_ETCD_TXN, copy, sizeof(txn_text) - 1, &arena, &reply);
            ds_free(copy);
            ds_etcd_arena_free(&arena);
        }
    }
}

TEST(decodes_watch_answers) {
    static const char text[] =
        "{\"result\":{" CLUSTER ",\"watch_id\":\"3\",\"events\":[{\"kv\":{\"key\":\"YQ==\","
        "\"create_revision\":\"4\",\"mod_revision\":\"4\",\"value\":\"dg==\"}},{\"type\":\"DELETE\","
        "\"kv\":{\"key\":\"YQ==\",\"mod_revision\":\"5\"},\"prev_kv\":{\"key\":\"YQ==\","
        "\"create_revision\":\"4\",\"mod_revision\":\"4\",\"value\":\"dg==\"}}]}}";
    ds_etcd_arena arena = {NULL};
    ds_etcd_watch_reply reply;
    REQUIRE(ds_etcd_json_decode_watch(text, sizeof(text) - 1, &arena, &reply) == DS_ETCD_DECODED);
    CHECK_EQ_INT(reply.id, 3);
    REQUIRE(reply.event_count == 2);
    CHECK(!reply.events[0].deleted && !reply.events[0].has_previous);
    CHECK(reply.events[1].deleted && reply.events[1].has_previous);
    CHECK_EQ_TEXT(reply.events[1].previous.value.data, "v");
    ds_etcd_arena_free(&arena);

    static const char compacted[] = "{\"result\":{" CLUSTER ",\"watch_id\":\"3\",\"canceled\":true,"
                                    "\"compact_revision\":\"17\"}}";
    REQUIRE(ds_etcd_json_decode_watch(compacted, sizeof(compacted) - 1, &arena, &reply) == DS_ETCD_DECODED);
    CHECK(reply.canceled && !reply.created);
    CHECK_EQ_INT(reply.compact_revision, 17);
    ds_etcd_arena_free(&arena);
}

#define MISSING "etcdserver: requested lease not found"

TEST(decodes_the_three_shapes_of_errors) {
    static const char *const texts[] = {"{\"error\":\"" MISSING "\",\"message\":\"" MISSING "\",\"code\":5}",
                                        "{\"error\":\"" MISSING "\",\"code\":5}",
                                        "{\"code\":5,\"message\":\"" MISSING "\",\"details\":[]}",
                                        "{\"error\":{\"grpc_code\":5,\"http_code\":404,\"message\":\"" MISSING "\"}}"};
    for (size_t i = 0; i < DS_COUNT(texts); i++) {
        ds_etcd_arena arena = {NULL};
        test_case("%zu", i);
        ds_etcd_status status = ds_etcd_json_decode_error(texts[i], strlen(texts[i]), &arena);
        CHECK_EQ_INT(status.code, 5);
        CHECK_EQ_TEXT(status.message, MISSING);
        CHECK_EQ_INT(ds_etcd_judge(404, &status).outcome, DS_LOST);
        ds_etcd_arena_free(&arena);
    }
    ds_etcd_arena arena = {NULL};
    CHECK_EQ_INT(ds_etcd_json_decode_error("<html>", 6, &arena).code, -1);
    CHECK_EQ_TEXT(ds_etcd_json_decode_error(NULL, 0, &arena).message, "");
    ds_etcd_arena_free(&arena);
}

#ifdef DS_TEST_ALLOC
TEST(decoding_survives_any_lack_of_memory) {
    EACH_ALLOCATION_FAILS() {
        ds_etcd_arena arena = {NULL};
        ds_etcd_reply reply;
        ds_etcd_decoded result = ds_etcd_json_decode(DS_ETCD_TXN, txn_text, sizeof(txn_text) - 1, &arena, &reply);
        CHECK_EQ_INT(result, ds_test_allocation_failed() ? DS_ETCD_NO_MEMORY : DS_ETCD_DECODED);
        ds_etcd_arena_free(&arena);
    }
}

/* Judged by its HTTP status alone, a lost lease was a matter of configuration. */
TEST(an_error_that_cannot_be_read_is_ambiguous) {
    static const char text[] = "{\"error\":\"" MISSING "\",\"message\":\"" MISSING "\",\"code\":5}";
    EACH_ALLOCATION_FAILS() {
        ds_etcd_arena arena = {NULL};
        ds_etcd_status status = ds_etcd_json_decode_error(text, sizeof(text) - 1, &arena);
        CHECK_EQ_INT(ds_etcd_judge(404, &status).outcome, ds_test_allocation_failed() ? DS_AMBIGUOUS : DS_LOST);
        ds_etcd_arena_free(&arena);
    }
}
#endif

TEST(the_arena_keeps_apart_what_it_gives) {
    ds_etcd_arena arena = {NULL};
    char *parts[200];
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < DS_COUNT(parts); i++) {
            size_t size = i * 37 + 1;
            parts[i] = ds_etcd_arena_get(&arena, 1, size);
            REQUIRE(parts[i] != NULL);
            CHECK_EQ_INT(parts[i][size - 1], 0);
            memset(parts[i], (int)i, size);
        }
        for (size_t i = 0; i < DS_COUNT(parts); i++) {
            CHECK(parts[i][0] == (char)i && parts[i][i * 37] == (char)i);
        }
        ds_etcd_arena_clear(&arena);
    }
    CHECK_NULL(ds_etcd_arena_get(&arena, SIZE_MAX / 2, 4));
    ds_etcd_arena_free(&arena);
}
