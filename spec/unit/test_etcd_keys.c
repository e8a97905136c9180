/* Names of dsync's keys in etcd. */
#include "test.h"

#include "../../csrc/backend/etcd.h"

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
