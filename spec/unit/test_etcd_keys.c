/* Names of dsync's keys in etcd, and what the session key and an evicted entry hold. */
#include "test.h"

#include "../../csrc/backend/etcd.h"

static ds_bytes bytes(const char *text) {
    return (ds_bytes){text, strlen(text)};
}

TEST(keys_lie_below_their_paths) {
    ds_lease lease = {.prefix = "shop", .nonce = 0x7fffffffffffffff};
    ds_entry entry = {.lease = &lease, .path = "shop/lock/a", .nonce = "0123456789abcdef"};
    ds_buf key = DS_BUF_EMPTY, end = DS_BUF_EMPTY;
    ds_etcd_key_session(&key, &lease);
    CHECK_EQ_TEXT(key.data, "shop/session/7fffffffffffffff");
    ds_etcd_key_entry(&key, &entry);
    CHECK_EQ_TEXT(key.data, "shop/lock/a/7fffffffffffffff-0123456789abcdef");
    ds_etcd_key_range(&key, &end, "shop/lock/a");
    CHECK_EQ_TEXT(key.data, "shop/lock/a/");
    CHECK_EQ_TEXT(end.data, "shop/lock/a0");
    /* Neither a queue beside this one nor the path itself is in the range. */
    static const char *const others[] = {"shop/lock/a", "shop/lock/a-b/x", "shop/lock/ab/x", "shop/lock/a0",
                                         "shop/lock/a."};
    for (size_t i = 0; i < DS_COUNT(others); i++) {
        test_case("%s", others[i]);
        CHECK(strcmp(others[i], key.data) < 0 || strcmp(others[i], end.data) >= 0);
    }
    ds_buf_free(&key);
    ds_buf_free(&end);
}

TEST(a_stamp_holds_its_epoch) {
    static const struct {
        const char *info, *stamp;
    } rows[] = {
        {NULL, "{\"epoch\":18446744073709551615}"},
        {"", "{\"epoch\":18446744073709551615}"},
        {"{", "{\"epoch\":18446744073709551615}"},
        {"{}", "{\"epoch\":18446744073709551615}"},
        {"[1]", "{\"epoch\":18446744073709551615}"},
        {"{\"id\":\"n\"}", "{\"epoch\":18446744073709551615,\"id\":\"n\"}"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_lease lease = {.prefix = "p", .nonce = 1, .info = rows[i].info};
        ds_buf stamp = DS_BUF_EMPTY;
        uint64_t epoch = 0;
        test_case("row %zu", i);
        ds_etcd_stamp(&stamp, &lease, UINT64_MAX);
        CHECK_EQ_TEXT(stamp.data, rows[i].stamp);
        CHECK(ds_etcd_stamp_epoch((ds_bytes){stamp.data, stamp.size}, &epoch));
        CHECK_EQ_UINT(epoch, UINT64_MAX);
        ds_buf_free(&stamp);
    }
}

TEST(what_is_no_stamp) {
    static const char *const texts[] = {"",
                                        "x",
                                        "[]",
                                        "7",
                                        "{}",
                                        "{\"epoch\":-1}",
                                        "{\"epoch\":1.5}",
                                        "{\"epoch\":null}",
                                        "{\"epoch\":18446744073709551616}",
                                        "{\"epoch\":1"};
    for (size_t i = 0; i < DS_COUNT(texts); i++) {
        uint64_t epoch;
        test_case("%s", texts[i]);
        CHECK(!ds_etcd_stamp_epoch(bytes(texts[i]), &epoch));
    }
}

TEST(an_evicted_entry_says_by_whom) {
    static const struct {
        const char *value, *broken;
    } rows[] = {
        {"", "{\"broken_by\":\"me\"}"},
        {"plain text", "{\"broken_by\":\"me\"}"},
        {"[1,2]", "{\"broken_by\":\"me\"}"},
        {"{}", "{\"broken_by\":\"me\"}"},
        {"{ \t\r\n}", "{\"broken_by\":\"me\"}"},
        {"{\"id\":\"n\"}", "{\"broken_by\":\"me\",\"id\":\"n\"}"},
        {" {\n \"id\":\"n\" }", "{\"broken_by\":\"me\",\"id\":\"n\" }"},
        {"{\"broken_by\":\"you\",\"id\":\"n\"}", "{\"broken_by\":\"you\",\"id\":\"n\"}"},
        {"{\"id\":", "{\"broken_by\":\"me\"}"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_buf out = DS_BUF_EMPTY;
        test_case("%s", rows[i].value);
        ds_etcd_broken_value(&out, bytes(rows[i].value), "me");
        CHECK_EQ_TEXT(out.data, rows[i].broken);
        ds_buf_free(&out);
    }
}
