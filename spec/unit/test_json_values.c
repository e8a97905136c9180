/* test_json_values.c: what is taken from JSON once it is read, exact numbers above all, and careful writing. */
#include "json_fixture.h"

/* ---- getters ----------------------------------------------------------------------------------------------------- */

TEST(getters_are_case_sensitive_and_never_coerce) {
    ds_json *json = parse("{\"text\":\"x\",\"number\":12,\"digits\":\"34\",\"yes\":true,\"no\":false,\"null\":null,"
                          "\"object\":{\"in\":1},\"array\":[1,\"two\"],\"Key\":\"K\",\"mark\":\"\\u0001\"}");
    REQUIRE(json != NULL);
    CHECK(ds_json_is_object(json));
    CHECK_EQ_TEXT(ds_json_text(json, "text"), "x");
    CHECK_EQ_TEXT(ds_json_text(json, "mark"), "\001");
    CHECK(ds_json_is_text(ds_json_member(json, "mark")));
    CHECK_NULL(ds_json_text(json, "key"));
    CHECK_NULL(ds_json_text(json, "TEXT"));
    CHECK_NULL(ds_json_text(json, "number"));
    CHECK_NULL(ds_json_text(json, "null"));
    CHECK_NULL(ds_json_text(json, "absent"));
    CHECK(!ds_json_is_text(ds_json_member(json, "number")));
    CHECK_EQ_TEXT(ds_json_value_number(ds_json_member(json, "number")), "12");
    CHECK_NULL(ds_json_value_number(ds_json_member(json, "digits")));
    CHECK_NULL(ds_json_value_number(ds_json_member(json, "mark")));
    CHECK(ds_json_bool(json, "yes", false));
    CHECK(!ds_json_bool(json, "no", true));
    CHECK(ds_json_bool(json, "absent", true));
    CHECK(!ds_json_bool(json, "null", false));
    CHECK(ds_json_bool(json, "text", true));
    CHECK(ds_json_object(json, "object") != NULL);
    CHECK_NULL(ds_json_object(json, "array"));
    CHECK(ds_json_array(json, "array") != NULL);
    CHECK_NULL(ds_json_array(json, "object"));
    CHECK_NULL(ds_json_member(ds_json_array(json, "array"), "x"));
    ds_json_free(json);
}

TEST(getters_of_nothing) {
    int64_t number = 5;
    CHECK_NULL(ds_json_member(NULL, "a"));
    CHECK_NULL(ds_json_object(NULL, "a"));
    CHECK_NULL(ds_json_array(NULL, "a"));
    CHECK_NULL(ds_json_text(NULL, "a"));
    CHECK_NULL(ds_json_value_text(NULL));
    CHECK_NULL(ds_json_first(NULL));
    CHECK_NULL(ds_json_next(NULL));
    CHECK_NULL(ds_json_name(NULL));
    CHECK(!ds_json_is_object(NULL));
    CHECK(!ds_json_int64(NULL, "a", &number));
    CHECK_EQ_INT(number, 5);
    ds_json_free(NULL);
}

TEST(walking_children) {
    ds_json *json = parse("{\"a\":1,\"b\":\"x\"}");
    REQUIRE(json != NULL);
    const ds_json *item = ds_json_first(json);
    CHECK_EQ_TEXT(ds_json_name(item), "a");
    item = ds_json_next(item);
    CHECK_EQ_TEXT(ds_json_name(item), "b");
    CHECK_EQ_TEXT(ds_json_value_text(item), "x");
    CHECK_NULL(ds_json_next(item));
    CHECK_NULL(ds_json_first(item));
    ds_json_free(json);
}

TEST(integers_are_exact_or_refused) {
    static const struct {
        const char *text;
        bool is_signed, is_unsigned;
        int64_t number;
    } rows[] = {
        {"0", true, true, 0},
        {"\"0\"", true, true, 0},
        {"7587849938243741001", true, true, INT64_C(7587849938243741001)},
        {"\"9007199254740993\"", true, true, INT64_C(9007199254740993)},
        {"9223372036854775807", true, true, INT64_MAX},
        {"9223372036854775808", false, true, 0},
        {"18446744073709551615", false, true, 0},
        {"18446744073709551616", false, false, 0},
        {"-1", true, false, -1},
        {"-9223372036854775808", true, false, INT64_MIN},
        {"-9223372036854775809", false, false, 0},
        {"99999999999999999999999", false, false, 0},
        {"-0", false, false, 0},
        {"1.0", false, false, 0},
        {"1e3", false, false, 0},
        {"\"\"", false, false, 0},
        {"\"-\"", false, false, 0},
        {"\"+1\"", false, false, 0},
        {"\" 1\"", false, false, 0},
        {"\"1 \"", false, false, 0},
        {"\"01\"", false, false, 0},
        {"\"0x1\"", false, false, 0},
        {"\"--1\"", false, false, 0},
        {"\"\\u00011\"", false, false, 0},
        {"true", false, false, 0},
        {"null", false, false, 0},
        {"[1]", false, false, 0},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i].text);
        char text[80];
        (void)snprintf(text, sizeof(text), "{\"n\":%s}", rows[i].text);
        ds_json *json = parse(text);
        int64_t number = 77;
        uint64_t natural = 77;
        CHECK_EQ_INT(ds_json_int64(json, "n", &number), rows[i].is_signed);
        CHECK_EQ_INT(number, rows[i].is_signed ? rows[i].number : 77);
        CHECK_EQ_INT(ds_json_uint64(json, "n", &natural), rows[i].is_unsigned);
        if (rows[i].is_signed && rows[i].is_unsigned) {
            CHECK_EQ_UINT(natural, rows[i].number);
        }
        CHECK(!ds_json_int64(json, "N", &number));
        ds_json_free(json);
    }
    uint64_t natural = 0;
    CHECK(ds_parse_uint64("18446744073709551615", 20, &natural));
    CHECK_EQ_UINT(natural, UINT64_MAX);
    CHECK(!ds_parse_uint64("1\0", 2, &natural));
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

TEST(strings_are_escaped_where_they_must_be) {
    static const struct {
        const char *text;
        size_t size;
        const char *json;
    } rows[] = {
        {"", 0, "\"\""},
        {"plain /text", 11, "\"plain /text\""},
        {"\"\\", 2, "\"\\\"\\\\\""},
        {"\b\t\n\v\f\r", 6, "\"\\b\\t\\n\\u000b\\f\\r\""},
        {"a\0b", 3, "\"a\\u0000b\""},
        {"\x01\x1f\x7f", 3, "\"\\u0001\\u001f\\u007f\""},
        {"\xc3\xa9\xf0\x9f\x94\x92", 6, "\"\xc3\xa9\xf0\x9f\x94\x92\""},
        {"a\xff"
         "b",
         3,
         "\"a\xef\xbf\xbd"
         "b\""},
        {"\xe6\xa5", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_buf out = DS_BUF_EMPTY;
        ds_json_add_text(&out, rows[i].text, rows[i].size);
        CHECK_EQ_TEXT(out.data, rows[i].json);
        ds_buf_free(&out);
    }
}

TEST(written_strings_can_be_read_back) {
    char all[255];
    for (size_t i = 0; i < 127; i++) {
        all[i] = (char)(i + 1);
    }
    ds_buf out = DS_BUF_EMPTY;
    ds_json_add_text(&out, all, 127);
    ds_json *json = ds_json_parse(out.data, out.size, &limits, NULL, NULL);
    REQUIRE(ds_json_is_text(json));
    CHECK_EQ_BYTES(ds_json_value_text(json), strlen(ds_json_value_text(json)), all, 127);
    ds_json_free(json);
    ds_buf_free(&out);
}
