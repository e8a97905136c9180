/* test_error.c: names of codes, messages and their limits, UTF-8, spelling hints. */
#include "test.h"

#include "../../csrc/base/error.h"
#include "../../csrc/base/nearest.h"
#include "../../csrc/base/utf8.h"

TEST(every_code_and_reason_has_a_name_of_its_own) {
    for (int i = 0; i < DSYNC_CODE_COUNT; i++) {
        REQUIRE(dsync_code_name((dsync_code)i) != NULL);
        CHECK(dsync_code_name((dsync_code)i)[0] != '\0');
        for (int j = 0; j < i; j++) {
            CHECK(strcmp(dsync_code_name((dsync_code)i), dsync_code_name((dsync_code)j)) != 0);
        }
    }
    CHECK_EQ_TEXT(dsync_code_name(DSYNC_NOT_HELD), "not_held");
    CHECK_EQ_TEXT(dsync_code_name(DSYNC_CODE_COUNT), "invalid");
    CHECK_EQ_TEXT(dsync_code_name((dsync_code)999), "invalid");
    for (int i = 1; i < DSYNC_REASON_COUNT; i++) {
        REQUIRE(dsync_reason_name((dsync_reason)i) != NULL);
        CHECK(dsync_reason_name((dsync_reason)i)[0] != '\0');
    }
    CHECK_EQ_TEXT(dsync_reason_name(DSYNC_NOT_LOST), "");
    CHECK_EQ_TEXT(dsync_reason_name(DSYNC_REASON_CLUSTER_RESET), "cluster_reset");
    CHECK_EQ_TEXT(dsync_reason_name(DSYNC_REASON_COUNT), "");
}

TEST(errors_are_filled_in) {
    dsync_error error = {DSYNC_OK, "old"};
    CHECK_EQ_INT(ds_error_set(&error, DSYNC_CONFIG, "ttl is %d", 3), DSYNC_CONFIG);
    CHECK_EQ_INT(error.code, DSYNC_CONFIG);
    CHECK_EQ_TEXT(error.message, "ttl is 3");
    CHECK_EQ_INT(ds_error_set(NULL, DSYNC_LOST, "nobody hears %s", "this"), DSYNC_LOST);
    ds_error_set(&error, DSYNC_LOST, "again: %s", error.message);
    CHECK_EQ_TEXT(error.message, "again: ttl is 3");
    CHECK_EQ_INT(ds_error_no_memory(&error), DSYNC_RESOURCE);
    CHECK_EQ_TEXT(error.message, "out of memory");
}

TEST(messages_hold_nothing_that_hurts_a_terminal) {
    dsync_error error;
    ds_error_set(&error, DSYNC_PROTOCOL, "%s",
                 "a\nb\x1b[31m\x7f\xc2\x85"
                 "c\xff"
                 "d\xc3\xa9");
    CHECK_EQ_TEXT(error.message, "a b [31m  c?d\xc3\xa9");
}

TEST(long_messages_end_between_characters) {
    char text[600];
    dsync_error error;
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        size_t at = shift;
        while (at + 4 < sizeof(text)) {
            memcpy(text + at, "\xf0\x9f\x94\x92", 4);
            at += 4;
        }
        text[at] = '\0';
        ds_error_set(&error, DSYNC_CONFIG, "%s", text);
        size_t length = strlen(error.message);
        CHECK(length < sizeof(error.message) && length > sizeof(error.message) - 8);
        CHECK(ds_utf8_valid(error.message, length));
        CHECK_EQ_TEXT(error.message + length - 3, "...");
        CHECK_LACKS(error.message, "?");
    }
    memset(text, 'y', sizeof(text));
    text[sizeof(error.message) - 1] = '\0';
    ds_error_set(&error, DSYNC_CONFIG, "%s", text);
    CHECK_EQ_TEXT(error.message, text);
}

TEST(shown_texts_are_short_and_clean) {
    ds_shown shown;
    char text[300];
    memset(text, 'z', sizeof(text));
    CHECK_EQ_TEXT(ds_show(&shown, "a\tb", 3), "a b");
    CHECK_EQ_TEXT(ds_show(&shown, "", 0), "");
    CHECK_EQ_INT(strlen(ds_show(&shown, text, 79)), 79);
    CHECK_EQ_INT(strlen(ds_show(&shown, text, sizeof(text))), 79);
    CHECK_EQ_TEXT(shown.text + 76, "...");
    memset(text, '\xff', sizeof(text));
    CHECK_EQ_TEXT(ds_show(&shown, text, 3), "???");
}

TEST(utf8_is_read_strictly) {
    static const struct {
        const char *text;
        size_t length; /* 0: malformed */
        uint32_t code_point;
    } rows[] = {
        {"a", 1, 'a'},
        {"\x7f", 1, 0x7f},
        {"\xc2\x80", 2, 0x80},
        {"\xdf\xbf", 2, 0x7ff},
        {"\xe0\xa0\x80", 3, 0x800},
        {"\xed\x9f\xbf", 3, 0xd7ff},
        {"\xee\x80\x80", 3, 0xe000},
        {"\xef\xbf\xbf", 3, 0xffff},
        {"\xf0\x90\x80\x80", 4, 0x10000},
        {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
        {"\x80", 0, 0},
        {"\xbf", 0, 0},
        {"\xc0\x80", 0, 0},
        {"\xc1\xbf", 0, 0},
        {"\xe0\x9f\xbf", 0, 0},
        {"\xed\xa0\x80", 0, 0},
        {"\xed\xbf\xbf", 0, 0},
        {"\xf0\x8f\xbf\xbf", 0, 0},
        {"\xf4\x90\x80\x80", 0, 0},
        {"\xf5\x80\x80\x80", 0, 0},
        {"\xfe", 0, 0},
        {"\xc2", 0, 0},
        {"\xc2"
         "a",
         0, 0},
        {"\xe2\x82", 0, 0},
        {"\xe2\x82"
         "a",
         0, 0},
        {"\xf0\x90\x80", 0, 0},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        uint32_t code_point = 0;
        CHECK_EQ_INT(ds_utf8_sequence(rows[i].text, strlen(rows[i].text), &code_point), rows[i].length);
        CHECK_EQ_INT(code_point, rows[i].code_point);
        CHECK_EQ_INT(ds_utf8_valid(rows[i].text, strlen(rows[i].text)), rows[i].length > 0);
    }
    CHECK(ds_utf8_valid("", 0));
    CHECK_EQ_INT(ds_utf8_sequence("x", 0, NULL), 0);
}

TEST(cutting_between_characters) {
    CHECK_EQ_INT(ds_utf8_cut("abc", 3, 5), 3);
    CHECK_EQ_INT(ds_utf8_cut("abc", 3, 2), 2);
    CHECK_EQ_INT(ds_utf8_cut("a\xc3\xa9", 3, 2), 1);
    CHECK_EQ_INT(ds_utf8_cut("\xf0\x9f\x94\x92", 4, 3), 0);
    CHECK_EQ_INT(ds_utf8_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 5);
}

/* ---- spelling hints ---------------------------------------------------------------------------------------------- */

static const char *const options[] = {"ttl",
                                      "wait",
                                      "retry_interval",
                                      "hold",
                                      "id",
                                      "namespace",
                                      "value",
                                      "region",
                                      "key",
                                      "connect_timeout",
                                      "request_timeout",
                                      "auth",
                                      "tls",
                                      "prefix",
                                      "session",
                                      NULL};

TEST(the_nearest_word) {
    static const char *const rows[][2] = {
        {"tll", "ttl"},
        {"TTL", "ttl"},
        {"wiat", "wait"},
        {"waits", "wait"},
        {"retryInterval", "retry_interval"},
        {"retry-intervall", "retry_interval"},
        {"conect_timeuot", "connect_timeout"},
        {"name_space", "namespace"},
        {"vaule", "value"},
        {"kye", "key"},
        {"prefxi", "prefix"},
        {"timeout", NULL},
        {"x", NULL},
        {"xy", NULL},
        {"", NULL},
        {"___", NULL},
        {"completely_different", NULL},
        {"wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww", NULL},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i][0]);
        CHECK_EQ_TEXT(ds_nearest(rows[i][0], options), rows[i][1]);
    }
    static const char *const none[] = {NULL};
    CHECK_NULL(ds_nearest("ttl", none));
}

TEST(the_nearer_of_two_wins) {
    static const char *const words[] = {"etcds", "etcd", "consul", "consuls", NULL};
    CHECK_EQ_TEXT(ds_nearest("ectd", words), "etcd");
    CHECK_EQ_TEXT(ds_nearest("ectds", words), "etcds");
    CHECK_EQ_TEXT(ds_nearest("consule", words), "consul");
}
