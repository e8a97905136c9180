/* test_buf.c: buffers, base64, and the allocator's own rules. */
#include "test.h"

#include "../../csrc/base/buf.h"

#include <limits.h>
#include <stdlib.h>

TEST(an_empty_buffer_has_no_storage_and_can_be_freed) {
    ds_buf buf = DS_BUF_EMPTY;
    ds_buf_add(&buf, "", 0);
    ds_buf_add_text(&buf, "");
    ds_buf_consume(&buf, 5);
    CHECK_NULL(buf.data);
    CHECK_EQ_INT(buf.size, 0);
    ds_buf_free(&buf);
    ds_buf_free(&buf);
}

TEST(appending_keeps_everything_and_the_nul) {
    ds_buf buf = DS_BUF_EMPTY;
    ds_buf_add_text(&buf, "lock");
    ds_buf_add_char(&buf, '/');
    ds_buf_add_int(&buf, -42);
    ds_buf_add_format(&buf, " %s %d%%", "is", 7);
    ds_buf_add(&buf, "\0x", 2);
    CHECK_EQ_BYTES(buf.data, buf.size, "lock/-42 is 7%\0x", 16);
    CHECK_EQ_INT(buf.data[buf.size], 0);
    CHECK(!buf.failed);
    ds_buf_free(&buf);
}

TEST(growing_byte_by_byte) {
    ds_buf buf = DS_BUF_EMPTY;
    for (int i = 0; i < 5000; i++) {
        ds_buf_add_char(&buf, (char)('a' + i % 26));
        CHECK_EQ_INT(buf.data[buf.size], 0);
    }
    REQUIRE(buf.size == 5000);
    CHECK_EQ_INT(buf.data[4999], 'a' + 4999 % 26);
    ds_buf_clear(&buf);
    CHECK_EQ_TEXT(buf.data, "");
    ds_buf_free(&buf);
}

TEST(integers_at_their_limits) {
    static const struct {
        int64_t number;
        const char *text;
    } rows[] = {{0, "0"},
                {9, "9"},
                {-1, "-1"},
                {INT64_C(9007199254740993), "9007199254740993"},
                {INT64_MAX, "9223372036854775807"},
                {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_buf buf = DS_BUF_EMPTY;
        ds_buf_add_int(&buf, rows[i].number);
        CHECK_EQ_TEXT(buf.data, rows[i].text);
        ds_buf_free(&buf);
    }
}

TEST(long_formats_fit) {
    ds_buf buf = DS_BUF_EMPTY;
    ds_buf_add_format(&buf, "%0300d|%s", 1, "end");
    CHECK_EQ_INT(buf.size, 304);
    CHECK_EQ_TEXT(buf.data + 299, "1|end");
    ds_buf_add_format(&buf, "%s", "");
    CHECK_EQ_INT(buf.size, 304);
    ds_buf_free(&buf);
}

TEST(consuming_from_the_front) {
    ds_buf buf = DS_BUF_EMPTY;
    ds_buf_add_text(&buf, "abcdef");
    ds_buf_consume(&buf, 2);
    CHECK_EQ_TEXT(buf.data, "cdef");
    ds_buf_consume(&buf, 0);
    CHECK_EQ_TEXT(buf.data, "cdef");
    ds_buf_consume(&buf, 99);
    CHECK_EQ_TEXT(buf.data, "");
    CHECK_EQ_INT(buf.size, 0);
    ds_buf_free(&buf);
}

TEST(an_impossible_size_marks_failure_and_changes_nothing) {
    ds_buf buf = DS_BUF_EMPTY;
    ds_buf_add_text(&buf, "kept");
    ds_buf_add_base64(&buf, "x", SIZE_MAX);
    CHECK(buf.failed);
    ds_buf_add_text(&buf, "ignored");
    CHECK_EQ_TEXT(buf.data, "kept");
    ds_buf_clear(&buf);
    CHECK(!buf.failed);
    ds_buf_add_text(&buf, "again");
    CHECK_EQ_TEXT(buf.data, "again");
    ds_buf_free(&buf);
}

/* ---- base64 ------------------------------------------------------------------------------------------------------ */

TEST(base64_of_rfc4648) {
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"},
                                          {"\xfb\xff\xfe", "+//+"}};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i][1]);
        ds_buf text = DS_BUF_EMPTY;
        ds_buf back = DS_BUF_EMPTY;
        ds_buf_add_base64(&text, rows[i][0], strlen(rows[i][0]));
        CHECK_EQ_BYTES(text.data, text.size, rows[i][1], strlen(rows[i][1]));
        CHECK(ds_base64_decode(rows[i][1], strlen(rows[i][1]), &back));
        CHECK_EQ_BYTES(back.data, back.size, rows[i][0], strlen(rows[i][0]));
        ds_buf_free(&text);
        ds_buf_free(&back);
    }
}

TEST(base64_there_and_back_for_every_length_and_byte) {
    unsigned char bytes[256 + 3];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)(i * 7);
    }
    ds_buf text = DS_BUF_EMPTY;
    ds_buf back = DS_BUF_EMPTY;
    for (size_t length = 0; length <= sizeof(bytes); length++) {
        ds_buf_clear(&text);
        ds_buf_add_base64(&text, bytes, length);
        CHECK_EQ_INT(text.size, (length + 2) / 3 * 4);
        CHECK(ds_base64_decode(text.data, text.size, &back));
        CHECK_EQ_BYTES(back.data, back.size, bytes, length);
    }
    ds_buf_free(&text);
    ds_buf_free(&back);
}

TEST(malformed_base64_is_refused) {
    static const char *const rows[] = {
        "Z",    "Zg",       "Zg=",  "Zg===", "====", "=Zg=",     "Z===",     "Zm9v\n",  "Zm9 ",     " Zm9", "Zm9-",
        "Zm9_", "Zg==Zg==", "Zm=v", "Zh==",  "Zm9=", "Zm9v====", "Zm9vZ===", "Zm\xc3v", "Zm9v,,,,", "Z==="};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i]);
        ds_buf out = DS_BUF_EMPTY;
        ds_buf_add_text(&out, "old content");
        CHECK(!ds_base64_decode(rows[i], strlen(rows[i]), &out));
        CHECK_EQ_INT(out.size, 0);
        CHECK(!out.failed);
        ds_buf_free(&out);
    }
    ds_buf out = DS_BUF_EMPTY;
    CHECK(!ds_base64_decode("Zm\0v", 4, &out));
    ds_buf_free(&out);
}

/* ---- allocator --------------------------------------------------------------------------------------------------- */

TEST(empty_blocks_are_not_null) {
    void *a = ds_malloc(0);
    void *b = ds_calloc(0, 8);
    CHECK(a != NULL);
    CHECK(b != NULL);
    a = ds_realloc(a, 0);
    CHECK(a != NULL);
    ds_free(a);
    ds_free(b);
    ds_free(NULL);
    ds_free_secret(NULL);
    ds_wipe(NULL, 9);
}

TEST(copies_of_texts) {
    char *cut = ds_strndup("abcdef", 3);
    char *whole = ds_strndup("ab", 100);
    char *empty = ds_strndup(NULL, 0);
    CHECK_EQ_TEXT(cut, "abc");
    CHECK_EQ_TEXT(whole, "ab");
    CHECK_EQ_TEXT(empty, "");
    ds_wipe(cut, 3);
    CHECK_EQ_BYTES(cut, 3, "\0\0\0", 3);
    ds_free(cut);
    ds_free_secret(whole);
    ds_free(empty);
}

#ifdef DS_TEST_ALLOC
TEST(the_nth_allocation_fails) {
    ds_test_fail_allocation(2, false);
    void *blocks[3] = {ds_malloc(1), ds_malloc(1), ds_malloc(1)};
    CHECK(blocks[0] != NULL && blocks[1] == NULL && blocks[2] != NULL);
    CHECK(ds_test_allocation_failed());
    CHECK_EQ_INT(ds_test_allocations(), 3);
    ds_test_fail_allocation(2, true);
    void *more[3] = {ds_calloc(1, 1), ds_strdup("x"), ds_realloc(NULL, 1)};
    CHECK(more[0] != NULL && more[1] == NULL && more[2] == NULL);
    ds_test_fail_allocation(0, true);
    CHECK(!ds_test_allocation_failed());
    for (int i = 0; i < 3; i++) {
        ds_free(blocks[i]);
        ds_free(more[i]);
    }
}

TEST(out_of_memory_is_sticky_and_harmless) {
    EACH_ALLOCATION_FAILS() {
        ds_buf buf = DS_BUF_EMPTY;
        ds_buf back = DS_BUF_EMPTY;
        for (int i = 0; i < 50; i++) {
            ds_buf_add_format(&buf, "%d,", i);
            ds_buf_add_base64(&buf, "0123456789", 9);
        }
        CHECK_EQ_INT(buf.failed, ds_test_allocation_failed());
        if (!ds_base64_decode("Zm9v", 4, &back)) {
            CHECK(back.failed);
        }
        ds_buf_free(&buf);
        ds_buf_free(&back);
    }
}
#endif
