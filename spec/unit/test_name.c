/* test_name.c: names, paths and the keys made of them. */
#include "test.h"

#include "../../csrc/core/name.h"

#include <stdlib.h>

typedef struct row {
    const char *text;
    const char *message; /* a part of it; NULL: accepted */
} row;

static void check_rows(const row *rows, size_t count, bool path) {
    for (size_t i = 0; i < count; i++) {
        test_case("%s", rows[i].text);
        dsync_error error = {DSYNC_OK, ""};
        size_t length = strlen(rows[i].text);
        bool good = path ? ds_path_check(rows[i].text, length, "prefix", &error)
                         : ds_name_check(rows[i].text, length, "name", &error);
        CHECK_EQ_INT(good, rows[i].message == NULL);
        CHECK_EQ_INT(error.code, good ? DSYNC_OK : DSYNC_INVALID);
        if (rows[i].message != NULL) {
            CHECK_CONTAINS(error.message, rows[i].message);
            CHECK_CONTAINS(error.message, path ? "prefix" : "name");
        }
    }
}

TEST(names) {
    static const row rows[] = {
        {"a", NULL},
        {"nightly-report", NULL},
        {"with space", NULL},
        {"a/b/c", NULL},
        {"100%", NULL},
        {"...", NULL},
        {"..a", NULL},
        {"a/../b", NULL}, /* one segment: the slashes are encoded */
        {"\xe6\xa5\xbc/\xf0\x9f\x94\x92", NULL},
        {"?#[]@", NULL},
        {"", "name is empty: give it 1 to 512 bytes"},
        {".", "name must not be \".\""},
        {"..", "name must not be \"..\""},
        {"/a", "name must not begin with \"/\": write \"a\""},
        {"//a/b//", "name must not begin with \"/\": write \"a/b\""},
        {"a/", "name must not end with \"/\": write \"a\""},
        {"/", "name must not begin with \"/\""},
        {"///", "name must not begin with \"/\""},
        {"a\nb", "name holds a control character (U+000A at byte 2)"},
        {"\x7f", "U+007F at byte 1"},
        {"a\xc2\x85", "U+0085 at byte 2"},
        {"a\xff", "not valid UTF-8 (byte 2 is 0xff)"},
        {"\xc0\xaf", "not valid UTF-8 (byte 1 is 0xc0)"},
        {"\xed\xa0\x80", "not valid UTF-8"},
        {"ab\xe2\x82", "not valid UTF-8 (byte 3 is 0xe2)"},
    };
    check_rows(rows, DS_COUNT(rows), false);
}

TEST(the_length_of_names) {
    char name[600];
    memset(name, 'n', sizeof(name));
    dsync_error error = {DSYNC_OK, ""};
    CHECK(ds_name_check(name, 1, "name", &error));
    CHECK(ds_name_check(name, 512, "name", &error));
    CHECK(!ds_name_check(name, 513, "namespace", &error));
    CHECK_CONTAINS(error.message, "namespace is 513 bytes long: at most 512");
    CHECK(!ds_name_check(NULL, 0, "key", &error));
    CHECK_CONTAINS(error.message, "key is empty");
    CHECK(!ds_name_check("a\0b", 3, "name", &error));
    CHECK_CONTAINS(error.message, "U+0000 at byte 2");
    CHECK(!ds_name_check("", 0, "name", NULL));
}

TEST(paths) {
    static const row rows[] = {
        {"dsync", NULL},
        {"/shop", NULL},
        {"a/b/c", NULL},
        {"/a/b", NULL},
        {"a/...", NULL},
        {"", "prefix is empty"},
        {"/", "prefix must not end with \"/\""},
        {"a/", "prefix must not end with \"/\""},
        {"//a", "empty segment"},
        {"a//b", "empty segment"},
        {".", "the segment \".\""},
        {"..", "the segment \"..\""},
        {"/..", "the segment \"..\""},
        {"a/./b", "the segment \".\""},
        {"a/..", "the segment \"..\""},
        {"../a", "the segment \"..\""},
        {"a/\tb", "control character (U+0009 at byte 3)"},
        {"a/\xff", "not valid UTF-8"},
    };
    check_rows(rows, DS_COUNT(rows), true);
    char path[2049];
    memset(path, 'p', sizeof(path));
    dsync_error error;
    CHECK(ds_path_check(path, 2048, "region", &error));
    CHECK(!ds_path_check(path, 2049, "region", &error));
    CHECK_CONTAINS(error.message, "region is 2049 bytes long: at most 2048");
}

TEST(names_become_one_segment_and_come_back) {
    static const char *const rows[][2] = {{"plain", "plain"}, {"a/b", "a%2Fb"},           {"100%", "100%25"},
                                          {"%2F", "%252F"},   {"a//%%", "a%2F%2F%25%25"}, {"\xc3\xa9 ?", "\xc3\xa9 ?"}};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i][0]);
        ds_buf out = DS_BUF_EMPTY;
        ds_name_encode(&out, rows[i][0]);
        CHECK_EQ_TEXT(out.data, rows[i][1]);
        ds_buf back = DS_BUF_EMPTY;
        ds_name_decode(&back, out.data, out.size);
        CHECK_EQ_TEXT(back.data, rows[i][0]);
        ds_buf_free(&out);
        ds_buf_free(&back);
    }
}

TEST(foreign_escapes_stay_as_they_are) {
    static const char *const rows[] = {"%", "%2", "%2f", "%20", "a%", "%%2", "%2e%2e", "%GG"};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_buf out = DS_BUF_EMPTY;
        ds_name_decode(&out, rows[i], strlen(rows[i]));
        CHECK_EQ_TEXT(out.data, rows[i]);
        ds_buf_free(&out);
    }
}

TEST(keys) {
    const ds_keyspace plain = {"dsync", NULL, false};
    const ds_keyspace region = {"/shop", "eu/west", false};
    const ds_keyspace global = {"dsync", "eu", true};
    ds_buf out = DS_BUF_EMPTY;
    ds_key_lock(&out, &plain, "a/b");
    CHECK_EQ_TEXT(out.data, "dsync/lock/a%2Fb");
    ds_buf_clear(&out);
    ds_key_lock(&out, &plain, "");
    CHECK_EQ_TEXT(out.data, "dsync/lock");
    ds_buf_clear(&out);
    ds_key_leader(&out, &region, "default", "100%");
    CHECK_EQ_TEXT(out.data, "/shop/region/eu/west/leader/default/100%25");
    ds_buf_clear(&out);
    ds_key_leader(&out, &global, "n/s", "");
    CHECK_EQ_TEXT(out.data, "dsync/global/leader/n%2Fs");
    ds_buf_clear(&out);
    ds_key_leader(&out, &plain, NULL, NULL);
    CHECK_EQ_TEXT(out.data, "dsync/leader");
    ds_buf_clear(&out);
    ds_key_data(&out, &global, "report");
    CHECK_EQ_TEXT(out.data, "dsync/global/data/report");
    ds_buf_free(&out);
}
