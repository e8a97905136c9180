/* test_json.c: strict reading of JSON. */
#include "json_fixture.h"

static void check_refused(const char *text, size_t size, const char *expected) {
    bool no_memory = true;
    const char *why = NULL;
    ds_json *json = parse_sized(text, size, &no_memory, &why);
    CHECK_NULL(json);
    CHECK(!no_memory);
    CHECK_EQ_TEXT(why, expected);
    ds_json_free(json);
}

static void check_printed(const char *text, const char *expected) {
    const char *why = "";
    ds_json *json = parse_sized(text, strlen(text), NULL, &why);
    CHECK_NULL(why);
    ds_buf out = DS_BUF_EMPTY;
    if (CHECK(json != NULL)) {
        ds_json_print(&out, json);
        CHECK_EQ_TEXT(out.data, expected);
    }
    ds_buf_free(&out);
    ds_json_free(json);
}

TEST(valid_texts_print_compactly_and_exactly) {
    static const char *const rows[][2] = {
        {"{}", "{}"},
        {" [ ] ", "[]"},
        {"\t{\"a\" : 1 ,\r\n\"b\":[true,false,null]}\n", "{\"a\":1,\"b\":[true,false,null]}"},
        {"0", "0"},
        {"-0", "-0"},
        {"3304740253564472344", "3304740253564472344"},
        {"-9223372036854775809", "-9223372036854775809"},
        {"1.50e+007", "1.50e+007"},
        {"1E400", "1E400"},
        {"123456789012345678901234567890.000", "123456789012345678901234567890.000"},
        {"\"\"", "\"\""},
        {"\"\\u0041\\/\\u00e9\"", "\"A/\xc3\xa9\""},
        {"\"\\ud83d\\udd12\"", "\"\xf0\x9f\x94\x92\""},
        {"\"\\b\\f\\n\\r\\t\\\\\\\"\\u001f\"", "\"\\b\\f\\n\\r\\t\\\\\\\"\\u001f\""},
        {"\"\xe6\xa5\xbc\"", "\"\xe6\xa5\xbc\""},
        {"\"\x7f\"", "\"\\u007f\""},
        {"{\"a\":{\"a\":{\"a\":[[]]}}}", "{\"a\":{\"a\":{\"a\":[[]]}}}"},
        {"{\"a\":1,\"A\":2}", "{\"a\":1,\"A\":2}"},
        {"{\"\":0}", "{\"\":0}"},
        {"[[[[[[[[]]]]]]]]", "[[[[[[[[]]]]]]]]"},
        {"\"\\u0001123\"", "\"\\u0001123\""},
        {"[\"\\u0001\",\"\\u0002\",\"\\u0002\\u0001\",1]", "[\"\\u0001\",\"\\u0002\",\"\\u0002\\u0001\",1]"},
        {"{\"\\u00011\":1,\"\\u0002\":2}", "{\"\\u00011\":1,\"\\u0002\":2}"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i][0]);
        check_printed(rows[i][0], rows[i][1]);
    }
}

TEST(what_is_not_json_is_refused_with_the_reason) {
    static const char *const rows[][2] = {
        {"", "empty"},
        {" ", "not a JSON value"},
        {"\xef\xbb\xbf{}", "not a JSON value"},
        {"<html>", "not a JSON value"},
        {"nul", "not a JSON value"},
        {"True", "not a JSON value"},
        {"nullx", "text after the value"},
        {"NaN", "not a JSON value"},
        {"Infinity", "not a JSON value"},
        {"'a'", "not a JSON value"},
        {"{} {}", "text after the value"},
        {"{}x", "text after the value"},
        {"1 2", "text after the value"},
        {"// c\n1", "not a JSON value"},
        {"{", "a key was expected"},
        {"{\"a\"", "\":\" was expected"},
        {"{\"a\":", "not a JSON value"},
        {"{\"a\":1", "\",\" or a closing bracket was expected"},
        {"{\"a\":1,", "a key was expected"},
        {"{\"a\":1,}", "a key was expected"},
        {"{a:1}", "a key was expected"},
        {"{1:1}", "a key was expected"},
        {"{,}", "a key was expected"},
        {"{\"a\" 1}", "\":\" was expected"},
        {"{\"a\":1 \"b\":2}", "\",\" or a closing bracket was expected"},
        {"{\"a\":1]", "\",\" or a closing bracket was expected"},
        {"[", "not a JSON value"},
        {"[1", "\",\" or a closing bracket was expected"},
        {"[1,", "not a JSON value"},
        {"[1,]", "not a JSON value"},
        {"[,1]", "not a JSON value"},
        {"[1}", "\",\" or a closing bracket was expected"},
        {"]", "not a JSON value"},
        {"01", "text after the value"},
        {"-", "malformed number"},
        {"+1", "not a JSON value"},
        {"-a", "malformed number"},
        {"1.", "malformed number"},
        {".5", "not a JSON value"},
        {"1.e5", "malformed number"},
        {"1e", "malformed number"},
        {"1e+", "malformed number"},
        {"0x10", "text after the value"},
        {"\"", "unterminated string"},
        {"\"abc", "unterminated string"},
        {"\"abc\\\"", "unterminated string"},
        {"\"\\", "unknown escape in a string"},
        {"\"\\x41\"", "unknown escape in a string"},
        {"\"\\'\"", "unknown escape in a string"},
        {"\"\\u\"", "malformed \\u escape"},
        {"\"\\u12", "malformed \\u escape"},
        {"\"\\u12g4\"", "malformed \\u escape"},
        {"\"\\u0000\"", "NUL in a string"},
        {"{\"\\u0000\":1}", "NUL in a string"},
        {"\"\\ud83d\"", "unpaired surrogate"},
        {"\"\\ud83d\\n\"", "unpaired surrogate"},
        {"\"\\ud83d\\ud83d\"", "unpaired surrogate"},
        {"\"\\udd12\"", "unpaired surrogate"},
        {"\"\\ud83d\\udd1", "unpaired surrogate"},
        {"\"a\nb\"", "control character in a string"},
        {"\"\x01"
         "1\"",
         "control character in a string"},
        {"{\"\x1f\":1}", "control character in a string"},
        {"\"\xff\"", "malformed UTF-8"},
        {"\"\xc0\x80\"", "malformed UTF-8"},
        {"\"\xed\xa0\x80\"", "malformed UTF-8"},
        {"\"\xf5\x80\x80\x80\"", "malformed UTF-8"},
        {"\"\xe6\xa5\"", "malformed UTF-8"},
        {"\"\xe6\xa5", "malformed UTF-8"},
        {"{\"a\":1,\"a\":1}", "duplicate key"},
        {"{\"a\":1,\"\\u0061\":2}", "duplicate key"},
        {"[{\"x\":{\"b\":1,\"c\":2,\"b\":3}}]", "duplicate key"},
        {"[[[[[[[[[]]]]]]]]]", "nested too deeply"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i][0]);
        check_refused(rows[i][0], strlen(rows[i][0]), rows[i][1]);
    }
    check_refused("\"a\0b\"", 5, "control character in a string");
    check_refused("{}\0", 3, "text after the value");
    check_refused("\0", 1, "not a JSON value");
}

TEST(every_cut_of_a_text_is_refused) {
    static const char text[] = "{\"k\":[1.5e-3,\"\\ud83d\\udd12\xc3\xa9\",{\"n\":null}],\"t\":true}";
    for (size_t size = 0; size < sizeof(text) - 1; size++) {
        test_case("%zu", size);
        bool no_memory = true;
        ds_json *json = parse_sized(text, size, &no_memory, NULL);
        CHECK_NULL(json);
        CHECK(!no_memory);
        ds_json_free(json);
    }
    ds_json *json = parse(text);
    CHECK(json != NULL);
    ds_json_free(json);
}

TEST(damaged_texts_never_hurt) {
    static const char text[] = "{\"k\":[1.5e-3,\"\\u0001\\ud83d\\udd12\xc3\xa9\",{\"n\":null}],\"t\":true}";
    char copy[sizeof(text)];
    for (size_t at = 0; at < sizeof(text) - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(copy, text, sizeof(text));
            copy[at] = (char)byte;
            ds_json *json = parse_sized(copy, sizeof(text) - 1, NULL, NULL);
            if (json != NULL) {
                ds_buf out = DS_BUF_EMPTY;
                ds_json_print(&out, json);
                ds_json *again = ds_json_parse(out.data, out.size, &limits, NULL, NULL);
                CHECK(again != NULL);
                ds_json_free(again);
                ds_buf_free(&out);
            }
            ds_json_free(json);
        }
    }
}

TEST(limits_hold) {
    const char *why = NULL;
    const ds_json_limits few = {.depth = 8, .tokens = 5};
    ds_json *json = ds_json_parse("{\"a\":[1,2]}", 11, &few, NULL, &why);
    CHECK(json != NULL);
    ds_json_free(json);
    CHECK_NULL(ds_json_parse("{\"a\":[1,2,3]}", 13, &few, NULL, &why));
    CHECK_EQ_TEXT(why, "too many values");
    CHECK_NULL(ds_json_parse("{\"a\":1,\"b\":2,\"c\":3}", 19, &few, NULL, &why));
    CHECK_EQ_TEXT(why, "too many values");
    const ds_json_limits none = {.depth = 0, .tokens = 0};
    CHECK_NULL(ds_json_parse("1", 1, &none, NULL, &why));
    const ds_json_limits flat = {.depth = 0, .tokens = 10};
    CHECK_NULL(ds_json_parse("[]", 2, &flat, NULL, &why));
    CHECK_EQ_TEXT(why, "nested too deeply");
    char deep[2000];
    memset(deep, '[', sizeof(deep));
    const ds_json_limits wide = {.depth = 1000000, .tokens = 1000000};
    CHECK_NULL(ds_json_parse(deep, sizeof(deep), &wide, NULL, &why));
    CHECK_EQ_TEXT(why, "nested too deeply");
}

TEST(duplicate_keys_among_many) {
    const ds_json_limits wide = {.depth = 4, .tokens = 100000};
    for (int twice = 0; twice < 2; twice++) {
        ds_buf text = DS_BUF_EMPTY;
        ds_buf_add_text(&text, "{\"first\":0");
        for (int i = 0; i < 20000; i++) {
            ds_buf_add_format(&text, ",\"%d\":0", i * 7919 % 20011);
        }
        ds_buf_add_text(&text, twice ? ",\"first\":1}" : "}");
        const char *why = NULL;
        ds_json *json = ds_json_parse(text.data, text.size, &wide, NULL, &why);
        CHECK_EQ_TEXT(why, twice ? "duplicate key" : NULL);
        CHECK_EQ_INT(json != NULL, !twice);
        ds_json_free(json);
        ds_buf_free(&text);
    }
}

#ifdef DS_TEST_ALLOC
TEST(out_of_memory_is_told_apart) {
    static const char text[] = "{\"a\":[1,\"x\",{\"b\":null}],\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,"
                               "\"j\":1,\"k\":1}";
    EACH_ALLOCATION_FAILS() {
        bool no_memory = false;
        const char *why = NULL;
        ds_json *json = ds_json_parse(text, sizeof(text) - 1, &limits, &no_memory, &why);
        CHECK_EQ_INT(no_memory, ds_test_allocation_failed());
        CHECK_EQ_INT(json == NULL, no_memory);
        CHECK_EQ_TEXT(why, no_memory ? "out of memory" : NULL);
        ds_json_free(json);
    }
}
#endif
