/* test_zookeeper_name.c: what nodes are called and whose they are. */
#include "backend/zookeeper.h"

#include <string.h>

#include "test.h"

static ds_zookeeper store;

TEST(sorts_names) {
    static const struct {
        const char *name;
        ds_zk_sort curator, kazoo;
        int32_t number;
    } cases[] = {
        {"_c_0123456789abcdef-lock-0000000007", DS_ZK_MEMBER, DS_ZK_FOREIGN, 7},
        {"_c_6d9f6a5e-0c7b-4a57-9f10-2d1f3c9f0a11-lock-0000000008", DS_ZK_MEMBER, DS_ZK_FOREIGN, 8},
        {"lock-0000000009", DS_ZK_MEMBER, DS_ZK_FOREIGN, 9},
        {"_c_0123456789abcdef-latch-2147483647", DS_ZK_MEMBER, DS_ZK_FOREIGN, INT32_MAX},
        {"_c_0123456789abcdef-lock--2147483648", DS_ZK_MEMBER, DS_ZK_FOREIGN, INT32_MIN},
        {"_c_0123456789abcdef-lock--000000005", DS_ZK_MEMBER, DS_ZK_FOREIGN, -5},
        {"0123456789abcdef__lock__0000000010", DS_ZK_FOREIGN, DS_ZK_MEMBER, 10},
        {"0123456789abcdef__lock__-2147483647", DS_ZK_FOREIGN, DS_ZK_MEMBER, INT32_MIN + 1},
        {"0123456789abcdef__rlock__0000000011", DS_ZK_FOREIGN, DS_ZK_BESIDE, 11},
        {"_c_x-__READ__0000000012", DS_ZK_BESIDE, DS_ZK_FOREIGN, 12},
        {"_c_x-__WRIT__0000000013", DS_ZK_BESIDE, DS_ZK_FOREIGN, 13},
        {"some-name", DS_ZK_OTHER_NODE, DS_ZK_OTHER_NODE, 0},
        {"lock-123", DS_ZK_OTHER_NODE, DS_ZK_OTHER_NODE, 0},
        {"0000000001", DS_ZK_OTHER_NODE, DS_ZK_OTHER_NODE, 0},
        {"", DS_ZK_OTHER_NODE, DS_ZK_OTHER_NODE, 0},
    };
    for (size_t i = 0; i < DS_COUNT(cases); i++) {
        int32_t number = 0;
        test_case("%s", cases[i].name);
        CHECK(ds_zk_look(DS_ZK_CURATOR, cases[i].name, &number) == cases[i].curator);
        CHECK(ds_zk_look(DS_ZK_KAZOO, cases[i].name, &number) == cases[i].kazoo);
        CHECK(cases[i].curator == DS_ZK_OTHER_NODE || number == cases[i].number);
    }
}

TEST(numbers_wrap) {
    CHECK(ds_zk_before(1, 2) && !ds_zk_before(2, 1) && !ds_zk_before(3, 3));
    CHECK(ds_zk_before(INT32_MAX, INT32_MIN) && !ds_zk_before(INT32_MIN, INT32_MAX));
    CHECK(ds_zk_before(-1, 0) && ds_zk_before(INT32_MAX - 5, INT32_MIN + 5));
}

static void stand(const char *own, const char *ahead, const char *first, const char *const *names, size_t count) {
    ds_zk_answer children = {.children = names, .count = count};
    ds_zk_standing standing;
    ds_zk_stand(DS_ZK_CURATOR, &children, own, &standing);
    CHECK(standing.there == (own != NULL && ahead != own));
    CHECK(standing.first != NULL && strcmp(standing.first, first) == 0);
    if (ahead == NULL || ahead == own) {
        CHECK(standing.ahead == NULL || ahead == own);
    } else {
        CHECK(standing.ahead != NULL && strcmp(standing.ahead, ahead) == 0);
    }
}

TEST(standing_over_the_wrap) {
    static const char *const names[] = {"_c_a-lock--2147483647", "_c_b-lock-2147483647", "_c_x-__WRIT__0000000001",
                                        "_c_c-lock--2147483648", "_c_d-lock-2147483646"};
    size_t count = DS_COUNT(names);
    stand(names[4], NULL, names[4], names, count);
    stand(names[1], names[4], names[4], names, count);
    stand(names[3], names[1], names[4], names, count);
    stand(names[0], names[3], names[4], names, count);
    static const char gone[] = "_c_e-lock--2147483646";
    stand(gone, gone, names[4], names, count);
}

static void check_path(const char *key, const char *expected) {
    ds_buf path = DS_BUF_EMPTY;
    ds_zk_path(&store, &path, key);
    CHECK(path.data != NULL && strcmp(path.data, expected) == 0);
    ds_buf_free(&path);
}

TEST(paths) {
    static char chroot[] = "/app";
    static char none[] = "";
    store.chroot = none;
    check_path("dsync/lock/a", "/dsync/lock/a");
    check_path("/shop/lock/a%2Fb", "/shop/lock/a%2Fb");
    store.chroot = chroot;
    check_path("dsync/lock/a", "/app/dsync/lock/a");
    check_path("x/\xC3\xA9\xE2\x82\xAC", "/app/x/\xC3\xA9\xE2\x82\xAC");
    check_path("x/\xF0\x9F\x94\x92!", "/app/x/%F0%9F%94%92!");
    check_path("x/\xEE\x80\x80\xEF\xA3\xBF\xEF\xA4\x80\xEF\xBF\xBD", "/app/x/%EE%80%80%EF%A3%BF\xEF\xA4\x80%EF%BF%BD");
}

TEST(plain_names) {
    static const char *const same[] = {"a", "a%2Fb", "100%25", "%", "%4", "%G0", "%7E", "a%"};
    ds_buf plain = DS_BUF_EMPTY;
    for (size_t i = 0; i < DS_COUNT(same); i++) {
        ds_buf_clear(&plain);
        ds_zk_add_plain(&plain, same[i]);
        CHECK(strcmp(plain.data, same[i]) == 0);
    }
    ds_buf_clear(&plain);
    ds_zk_add_plain(&plain, "x%F0%9F%94%92%7Fy");
    CHECK(strcmp(plain.data, "x\xF0\x9F\x94\x92\x7Fy") == 0);
    ds_buf_free(&plain);
}

TEST(nonces) {
    char nonce[17];
    CHECK(ds_zk_is_of(DS_ZK_CURATOR, "_c_0123456789abcdef-lock-0000000001", "0123456789abcdef"));
    CHECK(!ds_zk_is_of(DS_ZK_CURATOR, "_c_0123456789abcdee-lock-0000000001", "0123456789abcdef"));
    CHECK(!ds_zk_is_of(DS_ZK_CURATOR, "0123456789abcdef__lock__0000000001", "0123456789abcdef"));
    CHECK(ds_zk_is_of(DS_ZK_KAZOO, "0123456789abcdef__lock__0000000001", "0123456789abcdef"));
    CHECK(!ds_zk_is_of(DS_ZK_KAZOO, "0123456789abcdef", "0123456789abcdef"));
    ds_zk_nonce_in("_c_0123456789abcdef-latch-0000000001", nonce);
    CHECK(strcmp(nonce, "0123456789abcdef") == 0);
    ds_zk_nonce_in("0123456789abcdef__lock__0000000001", nonce);
    CHECK(strcmp(nonce, "0123456789abcdef") == 0);
    ds_zk_nonce_in("lock-0000000001", nonce);
    CHECK(nonce[0] == '\0');
}
