/* test_value.c: the stored holder value, and dates. */
#include "test.h"

#include "../../csrc/base/rfc3339.h"
#include "../../csrc/core/value.h"

#include <stdlib.h>

#define NOON INT64_C(1714996809123) /* 2024-05-06T12:00:09.123Z */

static bool make(ds_buf *out, const char *value, bool is_json, const char **why) {
    return ds_value_make(out, "web-1", value, strlen(value), is_json, false, NOON, 0, why);
}

TEST(a_plain_value) {
    ds_buf out = DS_BUF_EMPTY;
    REQUIRE(make(&out, "10.0.0.1:80", false, NULL));
    CHECK_EQ_TEXT(out.data, "{\"id\":\"web-1\",\"queued_at\":\"2024-05-06T12:00:09.123Z\",\"value\":\"10.0.0.1:80\"}");
    ds_value value;
    REQUIRE(ds_value_read(out.data, out.size, &value));
    CHECK_EQ_TEXT(value.id, "web-1");
    CHECK_EQ_BYTES(value.value, value.value_size, "10.0.0.1:80", 11);
    CHECK(!value.value_is_json);
    CHECK_EQ_INT(value.queued_at_ms, NOON);
    CHECK_EQ_INT(value.acquired_at_ms, 0);
    ds_value_free(&value);
    ds_value_free(&value);
    ds_buf_free(&out);
}

TEST(no_value_and_both_times) {
    ds_buf out = DS_BUF_EMPTY;
    ds_buf_add_text(&out, "before ");
    REQUIRE(ds_value_make(&out, "a\"b", NULL, 0, false, false, NOON, NOON + 1000, NULL));
    CHECK_EQ_TEXT(out.data, "before {\"id\":\"a\\\"b\",\"queued_at\":\"2024-05-06T12:00:09.123Z\","
                            "\"acquired_at\":\"2024-05-06T12:00:10.123Z\"}");
    ds_value value;
    REQUIRE(ds_value_read(out.data + 7, out.size - 7, &value));
    CHECK_EQ_TEXT(value.id, "a\"b");
    CHECK_NULL(value.value);
    CHECK_EQ_INT(value.acquired_at_ms, NOON + 1000);
    ds_value_free(&value);
    ds_buf_free(&out);
}

TEST(values_come_back_as_they_were) {
    static const struct {
        const char *bytes;
        size_t size;
        const char *stored; /* a part */
    } rows[] = {
        {"", 0, "\"value\":\"\""},
        {"{\"looks\":\"like JSON\"}", 21, "\"value\":\"{\\\"looks\\\""},
        {"\x01"
         "1",
         2, "\"value\":\"\\u00011\""},
        {"caf\xc3\xa9\n", 6, "\"value\":\"caf\xc3\xa9\\n\""},
        {"\xff\x00", 2, "\"value_base64\":\"/wA=\""},
        {"a\0b", 3, "\"value_base64\":\"YQBi\""},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%zu", i);
        ds_buf out = DS_BUF_EMPTY;
        REQUIRE(ds_value_make(&out, "n", rows[i].bytes, rows[i].size, false, false, 0, 0, NULL));
        CHECK_CONTAINS(out.data, rows[i].stored);
        CHECK_LACKS(out.data, "queued_at");
        ds_value value;
        REQUIRE(ds_value_read(out.data, out.size, &value));
        CHECK_EQ_BYTES(value.value, value.value_size, rows[i].bytes, rows[i].size);
        CHECK_EQ_INT(value.value[value.value_size], 0);
        CHECK(!value.value_is_json);
        ds_value_free(&value);
        ds_buf_free(&out);
    }
}

TEST(json_values_keep_their_numbers) {
    static const char *const rows[][2] = {
        {" { \"n\" : 3304740253564472344 , \"l\":[1.50,\"x\"] } ", "{\"n\":3304740253564472344,\"l\":[1.50,\"x\"]}"},
        {"null", "null"},
        {"true", "true"},
        {"-7", "-7"},
        {"[]", "[]"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_buf out = DS_BUF_EMPTY;
        REQUIRE(make(&out, rows[i][0], true, NULL));
        ds_value value;
        REQUIRE(ds_value_read(out.data, out.size, &value));
        CHECK_EQ_TEXT(value.value, rows[i][1]);
        CHECK_EQ_INT(value.value_size, strlen(rows[i][1]));
        CHECK(value.value_is_json);
        ds_value_free(&value);
        ds_buf_free(&out);
    }
}

TEST(the_deepest_value_that_can_be_made_can_be_read) {
    char text[66];
    memset(text, '[', 32);
    memset(text + 32, ']', 32);
    text[64] = '\0';
    ds_buf out = DS_BUF_EMPTY;
    REQUIRE(make(&out, text, true, NULL));
    ds_value value;
    REQUIRE(ds_value_read(out.data, out.size, &value));
    CHECK_EQ_TEXT(value.id, "web-1");
    ds_value_free(&value);
    ds_buf_free(&out);
}

TEST(what_is_not_json_cannot_be_stored_as_json) {
    ds_buf out = DS_BUF_EMPTY;
    const char *why = NULL;
    ds_buf_add_text(&out, "kept");
    CHECK(!make(&out, "{\"a\":1", true, &why));
    CHECK_EQ_TEXT(why, "\",\" or a closing bracket was expected");
    CHECK_EQ_TEXT(out.data, "kept");
    CHECK(!out.failed);
    CHECK(!make(&out, "", true, &why));
    CHECK_EQ_TEXT(why, "empty");
    ds_buf_free(&out);
}

TEST(raw_values_are_stored_as_they_are) {
    ds_buf out = DS_BUF_EMPTY;
    REQUIRE(ds_value_make(&out, "n", "a\0b", 3, false, true, NOON, NOON, NULL));
    CHECK_EQ_BYTES(out.data, out.size, "a\0b", 3);
    REQUIRE(ds_value_make(&out, "n", NULL, 0, false, true, NOON, NOON, NULL));
    CHECK_EQ_INT(out.size, 3);
    ds_buf_free(&out);
}

TEST(foreign_texts_are_plain_values) {
    static const char *const rows[] = {"",
                                       "node-7",
                                       "{",
                                       "{}",
                                       "[]",
                                       "{\"id\":7}",
                                       "{\"ID\":\"x\"}",
                                       "{\"id\":\"x\"} trailing",
                                       "{\"id\":\"x\",\"id\":\"y\"}",
                                       "{\"id\":\"x\",\"value_base64\":\"Zg\"}",
                                       "\"id\"",
                                       "{\"id\":\"\\u0000\"}",
                                       "\xff\xfe"};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i]);
        ds_value value;
        REQUIRE(ds_value_read(rows[i], strlen(rows[i]), &value));
        CHECK_NULL(value.id);
        CHECK_EQ_TEXT(value.value, rows[i]);
        CHECK(!value.value_is_json);
        CHECK_EQ_INT(value.queued_at_ms, 0);
        ds_value_free(&value);
    }
    ds_value value;
    REQUIRE(ds_value_read("\0{", 2, &value));
    CHECK_EQ_BYTES(value.value, value.value_size, "\0{", 2);
    ds_value_free(&value);
}

TEST(unknown_members_and_odd_times_are_let_be) {
    ds_value value;
    static const char text[] =
        "{\"id\":\"\",\"more\":[1],\"queued_at\":\"yesterday\",\"acquired_at\":12,\"value\":\"v\"}";
    REQUIRE(ds_value_read(text, sizeof(text) - 1, &value));
    CHECK_EQ_TEXT(value.id, "");
    CHECK_EQ_TEXT(value.value, "v");
    CHECK_EQ_INT(value.queued_at_ms, 0);
    CHECK_EQ_INT(value.acquired_at_ms, 0);
    ds_value_free(&value);
}

/* ---- dates ------------------------------------------------------------------------------------------------------- */

TEST(dates_there_and_back) {
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {NOON, "2024-05-06T12:00:09.123Z"},
        {INT64_C(951782400000), "2000-02-29T00:00:00.000Z"},
        {INT64_C(4107542400000), "2100-03-01T00:00:00.000Z"},
        {INT64_C(1709251199999), "2024-02-29T23:59:59.999Z"},
        {INT64_C(1735689599999), "2024-12-31T23:59:59.999Z"},
        {INT64_C(2147483648000), "2038-01-19T03:14:08.000Z"},
        {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
        {INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z"},
        {INT64_C(-62162035200001), "0000-02-29T23:59:59.999Z"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i].text);
        ds_buf out = DS_BUF_EMPTY;
        int64_t ms = 77;
        REQUIRE(ds_rfc3339_add(&out, rows[i].ms));
        CHECK_EQ_TEXT(out.data, rows[i].text);
        CHECK(ds_rfc3339_read(rows[i].text, strlen(rows[i].text), &ms));
        CHECK_EQ_INT(ms, rows[i].ms);
        ds_buf_free(&out);
    }
}

TEST(every_day_of_eight_centuries) {
    ds_buf out = DS_BUF_EMPTY;
    char before[32] = "";
    for (int64_t day = -135000; day < 160000; day++) {
        int64_t ms = 0;
        ds_buf_clear(&out);
        REQUIRE(ds_rfc3339_add(&out, day * 86400000 + 1));
        REQUIRE(strcmp(before, out.data) < 0);
        REQUIRE(ds_rfc3339_read(out.data, out.size, &ms));
        REQUIRE(ms == day * 86400000 + 1);
        (void)snprintf(before, sizeof(before), "%s", out.data);
    }
    ds_buf_free(&out);
}

TEST(other_spellings_of_dates) {
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"2024-05-06T12:00:09Z", NOON - 123},    {"2024-05-06T12:00:09.1234567Z", NOON},
        {"2024-05-06t12:00:09.123z", NOON},      {"2024-05-06 12:00:09.123Z", NOON},
        {"2024-05-06T14:00:09.123+02:00", NOON}, {"2024-05-06T06:30:09.123-05:30", NOON},
        {"2024-05-06T12:00:09.1Z", NOON - 23},   {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i].text);
        int64_t ms = 0;
        CHECK(ds_rfc3339_read(rows[i].text, strlen(rows[i].text), &ms));
        CHECK_EQ_INT(ms, rows[i].ms);
    }
}

TEST(what_is_no_date) {
    static const char *const rows[] = {"",
                                       "2024",
                                       "2024-05-06",
                                       "2024-05-06T12:00:09",
                                       "2024-05-06T12:00Z",
                                       "2024-02-30T12:00:09Z",
                                       "2023-02-29T12:00:09Z",
                                       "1900-02-29T12:00:09Z",
                                       "2024-13-01T12:00:09Z",
                                       "2024-00-01T12:00:09Z",
                                       "2024-01-00T12:00:09Z",
                                       "2024-04-31T12:00:09Z",
                                       "2024-05-06T24:00:00Z",
                                       "2024-05-06T12:60:00Z",
                                       "2024-05-06T12:00:61Z",
                                       "2024-05-06T12:00:09.Z",
                                       "2024-05-06T12:00:09Zx",
                                       "2024-05-06T12:00:09+2:00",
                                       "2024-05-06T12:00:09+24:00",
                                       "2024-05-06T12:00:09+0200",
                                       " 2024-05-06T12:00:09Z",
                                       "+2024-05-06T12:00:09Z",
                                       "2024/05/06T12:00:09Z"};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i]);
        int64_t ms = 5;
        CHECK(!ds_rfc3339_read(rows[i], strlen(rows[i]), &ms));
        CHECK_EQ_INT(ms, 5);
    }
    ds_buf out = DS_BUF_EMPTY;
    CHECK(!ds_rfc3339_add(&out, INT64_C(253402300800000)));
    CHECK(!ds_rfc3339_add(&out, INT64_C(-62167219200001)));
    CHECK(!ds_rfc3339_add(&out, INT64_MAX));
    CHECK(!ds_rfc3339_add(&out, INT64_MIN));
    CHECK_EQ_INT(out.size, 0);
    ds_buf_free(&out);
}

#ifdef DS_TEST_ALLOC
TEST(out_of_memory_leaves_the_buffer_as_it_was) {
    EACH_ALLOCATION_FAILS() {
        ds_buf out = DS_BUF_EMPTY;
        ds_buf_add_text(&out, "kept");
        size_t size = out.size;
        const char *why = NULL;
        bool made =
            make(&out, "{\"a\":[1,2,\"a longer text that makes the buffer grow, and grow again\"]}", true, &why);
        CHECK_EQ_INT(made, !ds_test_allocation_failed());
        if (!made) {
            CHECK_EQ_TEXT(why, "out of memory");
            CHECK(out.failed);
            CHECK_EQ_INT(out.size, size);
        }
        ds_buf_free(&out);
    }
}

TEST(out_of_memory_while_reading) {
    static const char *const rows[] = {"foreign", "{\"id\":\"x\",\"value\":{\"a\":1}}",
                                       "{\"id\":\"x\",\"value_base64\":\"/wA=\"}", "{\"id\":\"x\"}"};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        EACH_ALLOCATION_FAILS() {
            ds_value value;
            bool read = ds_value_read(rows[i], strlen(rows[i]), &value);
            CHECK_EQ_INT(read, !ds_test_allocation_failed());
            ds_value_free(&value);
        }
    }
}
#endif
