/* What the session key and an evicted entry hold, on every store. */
#include "test.h"

#include "../../csrc/backend/stamp.h"

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
        ds_stamp_make(&stamp, &lease, UINT64_MAX);
        CHECK_EQ_TEXT(stamp.data, rows[i].stamp);
        CHECK(ds_stamp_epoch(stamp.data, stamp.size, &epoch));
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
        CHECK(!ds_stamp_epoch(texts[i], strlen(texts[i]), &epoch));
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
        ds_stamp_broken(&out, rows[i].value, strlen(rows[i].value), "me");
        CHECK_EQ_TEXT(out.data, rows[i].broken);
        ds_buf_free(&out);
    }
}

#ifdef DS_TEST_ALLOC
/* A stamp that there is no memory to read is nobody else's for that. */
TEST(without_memory_the_epoch_is_unknown) {
    static const char text[] = "{\"epoch\":3,\"id\":\"n\"}";
    EACH_ALLOCATION_FAILS() {
        uint64_t epoch = 7;
        CHECK(ds_stamp_epoch(text, strlen(text), &epoch));
        CHECK_EQ_UINT(epoch, ds_test_allocation_failed() ? 0 : 3);
    }
}
#endif
