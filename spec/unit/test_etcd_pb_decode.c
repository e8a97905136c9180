/* test_etcd_pb_decode.c: etcd's messages from protobuf, without a server: exact integers, and no faith in what comes
 * from the network. The bytes are those that Google's own protobuf makes of the same messages.
 */
#include "backend/etcd_pb.h"

#include "hex.h"
#include "test.h"

/* The header of every answer: cluster 14841639068965178418, revision 2^53 + 1. */
#define WITH_HEADER(rest) "0a2108b298eaf1948386fccd0110cdd2918bd2b881cf8e011881808080808080102002" rest
#define KV "0a03612f6210818080808080801018828080808080801020012a02000130ffffffffffffffff7f"

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

static ds_etcd_decoded decode(ds_etcd_kind kind, const char *hex, ds_etcd_arena *arena, ds_etcd_reply *reply) {
    size_t size;
    char *bytes = unhex(hex, &size);
    ds_etcd_decoded result = ds_etcd_pb_decode(kind, bytes, size, arena, reply);
    ds_free(bytes);
    return result;
}

static ds_etcd_decoded decode_watch(const char *hex, ds_etcd_arena *arena, ds_etcd_watch_reply *reply) {
    size_t size;
    char *bytes = unhex(hex, &size);
    ds_etcd_decoded result = ds_etcd_pb_decode_watch(bytes, size, arena, reply);
    ds_free(bytes);
    return result;
}

#define TXN WITH_HEADER("10011a0612040a0218051a330a310a0218051227" KV "180120031a081a060a0218051002")

TEST(decodes_a_transaction_exactly) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_reply reply;
    REQUIRE(decode(DS_ETCD_TXN, TXN, &arena, &reply) == DS_ETCD_DECODED);
    CHECK_EQ_UINT(reply.header.cluster_id, UINT64_C(14841639068965178418));
    CHECK_EQ_INT(reply.header.revision, INT64_C(9007199254740993));
    CHECK(reply.succeeded && !reply.failed);
    REQUIRE(reply.answer_count == 3);
    CHECK(ds_etcd_answer_at(&reply, 0, DS_ETCD_OP_PUT) != NULL);
    const ds_etcd_answer *range = ds_etcd_answer_at(&reply, 1, DS_ETCD_OP_RANGE);
    REQUIRE(range != NULL && range->count == 1);
    CHECK(range->more);
    CHECK_EQ_INT(range->total, 3);
    CHECK_EQ_TEXT(range->kvs[0].key.data, "a/b");
    CHECK_EQ_BYTES(range->kvs[0].value.data, range->kvs[0].value.size, "\0\1", 2);
    CHECK_EQ_INT(range->kvs[0].create, INT64_C(9007199254740993));
    CHECK_EQ_INT(range->kvs[0].mod, INT64_C(9007199254740994));
    CHECK_EQ_INT(range->kvs[0].lease, INT64_MAX);
    REQUIRE(ds_etcd_answer_at(&reply, 2, DS_ETCD_OP_DELETE) != NULL);
    CHECK_EQ_INT(reply.answers[2].deleted, 2);
    ds_etcd_arena_free(&arena);
}

#define RANGE WITH_HEADER("1227" KV "12070a0163100118012002")

TEST(decodes_ranges_leases_tokens_and_versions) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_reply reply;
    REQUIRE(decode(DS_ETCD_RANGE, RANGE, &arena, &reply) == DS_ETCD_DECODED);
    REQUIRE(reply.answer_count == 1 && reply.answers[0].count == 2);
    CHECK(!reply.answers[0].more);
    CHECK_EQ_INT(reply.answers[0].total, 2);
    CHECK_EQ_TEXT(reply.answers[0].kvs[1].key.data, "c");
    CHECK_EQ_TEXT(reply.answers[0].kvs[1].value.data, "");
    CHECK(decode(DS_ETCD_GRANT, WITH_HEADER("10ffffffffffffffff7f180f"), &arena, &reply) == DS_ETCD_DECODED);
    CHECK_EQ_INT(reply.ttl, 15);
    CHECK(decode(DS_ETCD_KEEPALIVE, WITH_HEADER("10ffffffffffffffff7f"), &arena, &reply) == DS_ETCD_DECODED);
    CHECK_EQ_INT(reply.ttl, 0);
    CHECK(decode(DS_ETCD_KEEPALIVE, WITH_HEADER("18ffffffffffffffffff01"), &arena, &reply) == DS_ETCD_DECODED);
    CHECK_EQ_INT(reply.ttl, -1);
    CHECK(decode(DS_ETCD_AUTHENTICATE, WITH_HEADER("12056162632e39"), &arena, &reply) == DS_ETCD_DECODED);
    CHECK_EQ_TEXT(reply.token, "abc.9");
    CHECK(decode(DS_ETCD_AUTHENTICATE, WITH_HEADER(""), &arena, &reply) == DS_ETCD_DECODED);
    CHECK_EQ_TEXT(reply.token, "");
    /* With fields of every type that are not known here. */
    CHECK(decode(DS_ETCD_STATUS,
                 WITH_HEADER("1206332e352e33301880a00120cdd2918bd2b881cf8e014201789906000000000000f83fa50607000000"),
                 &arena, &reply) == DS_ETCD_DECODED);
    CHECK_EQ_TEXT(reply.version, "3.5.30");
    ds_etcd_arena_free(&arena);
}

typedef struct decode_case {
    const char *what;
    ds_etcd_kind kind;
    const char *hex;
    ds_etcd_decoded result;
} decode_case;

static const decode_case decode_cases[] = {
    {"a header and no more", DS_ETCD_RANGE, WITH_HEADER(""), DS_ETCD_DECODED},
    {"nothing", DS_ETCD_RANGE, "", DS_ETCD_MALFORMED},
    {"an empty header", DS_ETCD_RANGE, "0a00", DS_ETCD_MALFORMED},
    {"no cluster", DS_ETCD_REVOKE, "0a021805", DS_ETCD_MALFORMED},
    {"a negative revision", DS_ETCD_RANGE, "0a0d080118fdffffffffffffffff01", DS_ETCD_MALFORMED},
    {"a transaction at no revision", DS_ETCD_TXN, "0a0208011001", DS_ETCD_MALFORMED},
    {"a transaction at revision 1", DS_ETCD_TXN, "0a04080118011001", DS_ETCD_DECODED},
    {"an entry without a key", DS_ETCD_RANGE, "0a0408011801120410011801", DS_ETCD_MALFORMED},
    {"an empty entry", DS_ETCD_RANGE, "0a04080118011200", DS_ETCD_MALFORMED},
    {"an entry that was never created", DS_ETCD_RANGE, "0a040801180112030a0161", DS_ETCD_MALFORMED},
    {"an entry", DS_ETCD_RANGE, "0a040801180112050a01611001", DS_ETCD_DECODED},
    {"a negative creation", DS_ETCD_RANGE, "0a0408011801120e0a016110ffffffffffffffffff01", DS_ETCD_MALFORMED},
    {"an entry that is a number", DS_ETCD_RANGE, "0a04080118011007", DS_ETCD_MALFORMED},
    {"a key that is a number", DS_ETCD_RANGE, "0a04080118011204080110010a", DS_ETCD_MALFORMED},
    {"a creation that is text", DS_ETCD_RANGE, "0a040801180112060a0161120131", DS_ETCD_MALFORMED},
    {"more than true", DS_ETCD_RANGE, "0a04080118011802", DS_ETCD_MALFORMED},
    {"a header that is a number", DS_ETCD_RANGE, "0801", DS_ETCD_MALFORMED},
    {"two kinds in one response", DS_ETCD_TXN, "0a04080118011a0412000a00", DS_ETCD_MALFORMED},
    {"a response of no known kind", DS_ETCD_TXN, "0a04080118011a022200", DS_ETCD_MALFORMED},
    {"an empty response", DS_ETCD_TXN, "0a04080118011a00", DS_ETCD_MALFORMED},
    {"a response that is a number", DS_ETCD_TXN, "0a04080118011807", DS_ETCD_MALFORMED},
    {"an empty answer to a put", DS_ETCD_TXN, "0a04080118011a021200", DS_ETCD_DECODED},
    {"a token that is a number", DS_ETCD_AUTHENTICATE, WITH_HEADER("1005"), DS_ETCD_MALFORMED},
    {"a token with a NUL", DS_ETCD_AUTHENTICATE, WITH_HEADER("1203610062"), DS_ETCD_MALFORMED},
    {"a number of ten bytes", DS_ETCD_GRANT, WITH_HEADER("18ffffffffffffffffff01"), DS_ETCD_DECODED},
    {"a number of 65 bits", DS_ETCD_GRANT, WITH_HEADER("18ffffffffffffffffff02"), DS_ETCD_MALFORMED},
    {"a number of eleven bytes", DS_ETCD_GRANT, WITH_HEADER("18808080808080808080808000"), DS_ETCD_MALFORMED},
    {"a number that does not end", DS_ETCD_GRANT, WITH_HEADER("18ff"), DS_ETCD_MALFORMED},
    {"a length beyond the end", DS_ETCD_AUTHENTICATE, WITH_HEADER("120561"), DS_ETCD_MALFORMED},
    {"a length beyond all ends", DS_ETCD_AUTHENTICATE, WITH_HEADER("12ffffffffffffffffff0161"), DS_ETCD_MALFORMED},
    {"field 0", DS_ETCD_GRANT, WITH_HEADER("0000"), DS_ETCD_MALFORMED},
    {"a field number of 30 bits", DS_ETCD_GRANT, WITH_HEADER("808080801000"), DS_ETCD_MALFORMED},
    {"the highest field number", DS_ETCD_GRANT, WITH_HEADER("f8ffffff0f00"), DS_ETCD_DECODED},
    {"a group", DS_ETCD_GRANT, WITH_HEADER("a3060801a406"), DS_ETCD_MALFORMED},
    {"a type that is none", DS_ETCD_GRANT, WITH_HEADER("a606"), DS_ETCD_MALFORMED},
    {"64 bits cut short", DS_ETCD_GRANT, WITH_HEADER("a10601020304050607"), DS_ETCD_MALFORMED},
    {"32 bits cut short", DS_ETCD_GRANT, WITH_HEADER("a506010203"), DS_ETCD_MALFORMED},
    {"JSON", DS_ETCD_GRANT, "7b22686561646572223a7b7d7d", DS_ETCD_MALFORMED},
};

TEST(decodes_what_it_knows_and_nothing_else) {
    for (size_t i = 0; i < DS_COUNT(decode_cases); i++) {
        const decode_case *c = &decode_cases[i];
        ds_etcd_arena arena = {NULL};
        ds_etcd_reply reply;
        test_case("%s", c->what);
        CHECK_EQ_INT(decode(c->kind, c->hex, &arena, &reply), c->result);
        ds_etcd_arena_free(&arena);
    }
}

#define CREATED WITH_HEADER("10071801")
#define REFUSED WITH_HEADER("10ffffffffffffffffff011801200132117065726d697373696f6e2064656e696564")
#define COMPACTED WITH_HEADER("10072001280c")
#define EVENTS WITH_HEADER("10075a291227" KV "5a32080112050a017818091a27" KV)

TEST(decodes_watch_answers) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_watch_reply reply;
    REQUIRE(decode_watch(CREATED, &arena, &reply) == DS_ETCD_DECODED);
    CHECK(reply.created && !reply.canceled && !reply.failed && reply.event_count == 0);
    CHECK_EQ_INT(reply.id, 7);
    CHECK_EQ_TEXT(reply.cancel_reason, "");
    REQUIRE(decode_watch(REFUSED, &arena, &reply) == DS_ETCD_DECODED);
    CHECK(reply.created && reply.canceled);
    CHECK_EQ_INT(reply.id, -1);
    CHECK_EQ_TEXT(reply.cancel_reason, "permission denied");
    REQUIRE(decode_watch(COMPACTED, &arena, &reply) == DS_ETCD_DECODED);
    CHECK(!reply.created && reply.canceled);
    CHECK_EQ_INT(reply.compact_revision, 12);
    REQUIRE(decode_watch(EVENTS, &arena, &reply) == DS_ETCD_DECODED);
    REQUIRE(reply.event_count == 2);
    CHECK(!reply.events[0].deleted && !reply.events[0].has_previous);
    CHECK_EQ_TEXT(reply.events[0].kv.key.data, "a/b");
    CHECK(reply.events[1].deleted && reply.events[1].has_previous);
    CHECK_EQ_TEXT(reply.events[1].kv.key.data, "x");
    CHECK_EQ_INT(reply.events[1].kv.mod, 9);
    CHECK_EQ_BYTES(reply.events[1].previous.value.data, reply.events[1].previous.value.size, "\0\1", 2);
    CHECK_EQ_INT(decode_watch(WITH_HEADER("5a00"), &arena, &reply), DS_ETCD_MALFORMED);           /* of nothing */
    CHECK_EQ_INT(decode_watch(WITH_HEADER("5a0708020a0161"), &arena, &reply), DS_ETCD_MALFORMED); /* of no type */
    CHECK_EQ_INT(decode_watch(WITH_HEADER("5a0912050a0178180910020802"), &arena, &reply), DS_ETCD_MALFORMED);
    ds_etcd_arena_free(&arena);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

static const struct {
    ds_etcd_kind kind; /* DS_ETCD_KIND_COUNT: a watch's */
    const char *hex;
} wholes[] = {{DS_ETCD_TXN, TXN},
              {DS_ETCD_RANGE, RANGE},
              {DS_ETCD_GRANT, WITH_HEADER("10ffffffffffffffff7f180f")},
              {DS_ETCD_AUTHENTICATE, WITH_HEADER("12056162632e39")},
              {DS_ETCD_KIND_COUNT, REFUSED},
              {DS_ETCD_KIND_COUNT, EVENTS}};

static ds_etcd_decoded decode_whole(ds_etcd_kind kind, const char *bytes, size_t size) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_reply reply;
    ds_etcd_watch_reply watch;
    ds_etcd_decoded result = kind == DS_ETCD_KIND_COUNT ? ds_etcd_pb_decode_watch(bytes, size, &arena, &watch)
                                                        : ds_etcd_pb_decode(kind, bytes, size, &arena, &reply);
    ds_etcd_arena_free(&arena);
    return result;
}

/* Where a field of the message ends: there, and only there, a shorter message is one, too. */
static bool is_boundary(const char *bytes, size_t size, size_t wanted) {
    size_t at = 0;
    while (at < wanted && at < size) {
        unsigned type = (unsigned char)bytes[at++] & 7;
        size_t length = type == 2 ? (unsigned char)bytes[at++] : 0;
        if (type == 0) {
            while (((unsigned char)bytes[at++] & 0x80) != 0) {
            }
        }
        at += length;
    }
    return at == wanted;
}

TEST(a_truncated_answer_is_malformed_wherever_it_ends) {
    for (size_t i = 0; i < DS_COUNT(wholes); i++) {
        size_t size;
        char *bytes = unhex(wholes[i].hex, &size);
        CHECK_EQ_INT(decode_whole(wholes[i].kind, bytes, size), DS_ETCD_DECODED);
        for (size_t cut = 1; cut < size; cut++) {
            char *copy = ds_malloc(cut);
            memcpy(copy, bytes, cut);
            test_case("message %zu, %zu of %zu bytes", i, cut, size);
            CHECK_EQ_INT(decode_whole(wholes[i].kind, copy, cut),
                         is_boundary(bytes, size, cut) ? DS_ETCD_DECODED : DS_ETCD_MALFORMED);
            ds_free(copy);
        }
        ds_free(bytes);
    }
}

TEST(any_changed_byte_does_no_harm) {
    for (size_t i = 0; i < DS_COUNT(wholes); i++) {
        size_t size;
        char *bytes = unhex(wholes[i].hex, &size);
        for (size_t at = 0; at < size; at++) {
            char before = bytes[at];
            for (unsigned value = 0; value < 256; value++) {
                bytes[at] = (char)value;
                (void)decode_whole(wholes[i].kind, bytes, size);
            }
            bytes[at] = before;
        }
        ds_free(bytes);
    }
}

#ifdef DS_TEST_ALLOC
TEST(decoding_survives_any_lack_of_memory) {
    size_t size, events_size;
    char *txn = unhex(TXN, &size), *events = unhex(EVENTS, &events_size);
    EACH_ALLOCATION_FAILS() {
        ds_etcd_decoded result = decode_whole(DS_ETCD_TXN, txn, size);
        CHECK_EQ_INT(result, ds_test_allocation_failed() ? DS_ETCD_NO_MEMORY : DS_ETCD_DECODED);
    }
    EACH_ALLOCATION_FAILS() {
        ds_etcd_decoded result = decode_whole(DS_ETCD_KIND_COUNT, events, events_size);
        CHECK_EQ_INT(result, ds_test_allocation_failed() ? DS_ETCD_NO_MEMORY : DS_ETCD_DECODED);
    }
    ds_free(txn);
    ds_free(events);
}
#endif
