/* test_etcd_pb_encode.c: etcd's messages to protobuf, without a server: exact bytes, those that Google's own protobuf
 * makes of the same messages.
 */
#include "backend/etcd_pb.h"

#include "hex.h"
#include "test.h"

#define TEXT(literal) ((ds_bytes){literal, sizeof(literal) - 1})

static void is_hex(ds_buf *out, const char *expected) {
    size_t size;
    char *bytes = unhex(expected, &size);
    CHECK_EQ_BYTES(out->data, out->size, bytes, size);
    ds_free(bytes);
    ds_buf_free(out);
}

static void encodes(const ds_etcd_request *request, const char *expected) {
    ds_buf out = DS_BUF_EMPTY;
    ds_etcd_pb_encode(&out, request);
    is_hex(&out, expected);
}

TEST(encodes_leases) {
    ds_etcd_request request = {.kind = DS_ETCD_GRANT};
    request.as.lease.id = INT64_MAX;
    request.as.lease.ttl = 15;
    encodes(&request, "080f10ffffffffffffffff7f");
    request.kind = DS_ETCD_KEEPALIVE;
    encodes(&request, "08ffffffffffffffff7f");
    request.kind = DS_ETCD_REVOKE;
    encodes(&request, "08ffffffffffffffff7f");
}

TEST(encodes_ranges) {
    ds_etcd_request request = {.kind = DS_ETCD_RANGE};
    request.as.range = (ds_etcd_range){.key = TEXT("a/"), .end = TEXT("a0"), .order = DS_ETCD_NEWEST_FIRST};
    request.as.range.limit = 1;
    request.as.range.max_create = INT64_C(9007199254740993);
    request.as.range.keys_only = true;
    encodes(&request, "0a02612f120261301801280230024001688180808080808010");
    request.as.range = (ds_etcd_range){.key = TEXT("a"), .end = TEXT("b"), .order = DS_ETCD_OLDEST_FIRST};
    request.as.range.limit = 300;
    request.as.range.revision = 7;
    request.as.range.min_create = 8;
    encodes(&request, "0a016112016218ac022007280130026008");
}

TEST(encodes_transactions) {
    ds_etcd_compare compares[] = {{.target = DS_ETCD_CREATE_IS, .key = TEXT("k")}, /* nothing and 0 differ here */
                                  {.target = DS_ETCD_VALUE_IS, .key = TEXT("s"), .value = TEXT("")},
                                  {.target = DS_ETCD_CREATE_IS, .key = TEXT("a/"), .end = TEXT("a0")}};
    ds_etcd_op then[] = {{.kind = DS_ETCD_OP_PUT}, {.kind = DS_ETCD_OP_DELETE}, {.kind = DS_ETCD_OP_PUT}};
    then[0].as.put = (ds_etcd_put){.key = TEXT("k"), .value = TEXT("v"), .lease = 5};
    then[1].as.del = (ds_etcd_delete){.key = TEXT("d")};
    then[2].as.put = (ds_etcd_put){.key = TEXT("s"), .value = TEXT("not sent"), .lease = 5, .ignore_value = true};
    ds_etcd_op otherwise = {.kind = DS_ETCD_OP_RANGE};
    otherwise.as.range = (ds_etcd_range){.key = TEXT("k")};
    ds_etcd_request request = {.kind = DS_ETCD_TXN};
    request.as.txn = (ds_etcd_txn){compares, 3, then, 3, &otherwise, 1};
    encodes(&request, "0a0710011a016b28000a0710031a01733a000a0d10011a02612f28008204026130"
                      "120a12080a016b120176180512051a030a0164120912070a0173180528011a050a030a016b");
    request.as.txn = (ds_etcd_txn){NULL, 0, NULL, 0, NULL, 0};
    encodes(&request, "");
}

/* Its size does not fit the one byte that was left for it. */
TEST(encodes_a_long_part) {
    char value[200], expected[2 * 212 + 1];
    memset(value, 'v', sizeof(value));
    ds_etcd_op then = {.kind = DS_ETCD_OP_PUT};
    then.as.put = (ds_etcd_put){.key = TEXT("k"), .value = {value, sizeof(value)}};
    ds_etcd_request request = {.kind = DS_ETCD_TXN};
    request.as.txn = (ds_etcd_txn){NULL, 0, &then, 1, NULL, 0};
    int at = snprintf(expected, sizeof(expected), "12d10112ce010a016b12c801");
    for (size_t i = 0; i < sizeof(value); i++) {
        at += snprintf(expected + at, sizeof(expected) - (size_t)at, "76");
    }
    encodes(&request, expected);
}

TEST(encodes_names_and_passwords) {
    ds_etcd_request request = {.kind = DS_ETCD_AUTHENTICATE};
    request.as.authenticate.user = "a\"b";
    request.as.authenticate.password = "p\\\n";
    encodes(&request, "0a036122621203705c0a");
    request.kind = DS_ETCD_STATUS;
    encodes(&request, "");
}

TEST(encodes_watches) {
    ds_buf out = DS_BUF_EMPTY;
    ds_etcd_watch_create create = {.id = 7, .key = TEXT("a"), .since = 12, .deletes_only = true};
    ds_etcd_pb_watch_create(&out, &create);
    is_hex(&out, "0a0e0a0161180c2a0100300138074001");
    create = (ds_etcd_watch_create){.id = (1 << 24) + 8, .key = TEXT("a/"), .end = TEXT("a0"), .keys_only = true};
    ds_etcd_pb_watch_create(&out, &create);
    is_hex(&out, "0a0f0a02612f1202613038888080084001");
    ds_etcd_pb_watch_cancel(&out, 300);
    is_hex(&out, "120308ac02");
    ds_etcd_pb_watch_progress(&out);
    is_hex(&out, "1a00");
}
