/* test.h: a unit test is one program: this header, TEST(name) { ... } blocks, nothing to register.
 *
 *     TEST(adds) {
 *         CHECK_EQ_INT(1 + 1, 2);
 *     }
 *
 * A failed CHECK prints where and what, and the test goes on; REQUIRE also ends the test. In tables, test_case("%s",
 * row->input) names the row in whatever fails next. Arguments of the program select tests whose names contain one of
 * them. Exit code: 0 if all passed. Checks belong to the test's own thread.
 */
#ifndef DS_TEST_H
#define DS_TEST_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#if defined(__GNUC__)
#define TEST_UNUSED __attribute__((unused))
#define TEST_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#endif

typedef struct test_entry {
    const char *name;
    void (*run)(void);
    struct test_entry *next;
} test_entry;

static test_entry *test_first;
static test_entry **test_last = &test_first;
static const char *test_running = "";
static unsigned test_failures; /* checks, in the running test */
static char test_row[200];

/* Constructors run in the order of the source. */
#define TEST(name)                                                                                                     \
    static void test_body_##name(void);                                                                                \
    static test_entry test_entry_##name = {#name, test_body_##name, NULL};                                             \
    __attribute__((constructor)) static void test_register_##name(void) {                                              \
        *test_last = &test_entry_##name;                                                                               \
        test_last = &test_entry_##name.next;                                                                           \
    }                                                                                                                  \
    static void test_body_##name(void)

/* Names the case under test until the next call or the end of the test. */
TEST_UNUSED TEST_PRINTF(1, 2) static void test_case(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(test_row, sizeof(test_row), format, arguments);
    va_end(arguments);
}

TEST_UNUSED TEST_PRINTF(3, 4) static void test_fail(const char *file, int line, const char *format, ...) {
    test_failures++;
    printf("  %s:%d: %s%s%s", file, line, test_row[0] != '\0' ? "[" : "", test_row, test_row[0] != '\0' ? "] " : "");
    va_list arguments;
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

TEST_UNUSED static bool test_true(const char *file, int line, const char *source, bool truth) {
    if (!truth) {
        test_fail(file, line, "not true: %s", source);
    }
    return truth;
}

TEST_UNUSED static bool test_int(const char *file, int line, const char *source, intmax_t got, intmax_t expected) {
    if (got != expected) {
        test_fail(file, line, "%s is %" PRIdMAX ", expected %" PRIdMAX, source, got, expected);
    }
    return got == expected;
}

TEST_UNUSED static bool test_uint(const char *file, int line, const char *source, uintmax_t got, uintmax_t expected) {
    if (got != expected) {
        test_fail(file, line, "%s is %" PRIuMAX ", expected %" PRIuMAX, source, got, expected);
    }
    return got == expected;
}

TEST_UNUSED static bool test_text(const char *file, int line, const char *source, const char *got,
                                  const char *expected) {
    bool same = got == NULL || expected == NULL ? got == expected : strcmp(got, expected) == 0;
    if (!same) {
        const char *quote = got != NULL ? "\"" : "";
        const char *other = expected != NULL ? "\"" : "";
        test_fail(file, line, "%s is %s%s%s, expected %s%s%s", source, quote, got != NULL ? got : "NULL", quote, other,
                  expected != NULL ? expected : "NULL", other);
    }
    return same;
}

TEST_UNUSED static bool test_bytes(const char *file, int line, const char *source, const void *got, size_t got_size,
                                   const void *expected, size_t size) {
    const unsigned char *a = got;
    const unsigned char *b = expected;
    if (got_size != size) {
        test_fail(file, line, "%s has %zu bytes, expected %zu", source, got_size, size);
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) {
            test_fail(file, line, "%s: byte %zu is 0x%02x, expected 0x%02x", source, i, a[i], b[i]);
            return false;
        }
    }
    return true;
}

TEST_UNUSED static bool test_contains(const char *file, int line, const char *source, const char *got, const char *part,
                                      bool expected) {
    bool found = got != NULL && strstr(got, part) != NULL;
    if (found != expected) {
        test_fail(file, line, "%s is \"%s\", which %s \"%s\"", source, got != NULL ? got : "(NULL)",
                  expected ? "lacks" : "must not contain", part);
    }
    return found == expected;
}

#define CHECK(condition) test_true(__FILE__, __LINE__, #condition, (condition))
#define CHECK_EQ_INT(got, expected) test_int(__FILE__, __LINE__, #got, (intmax_t)(got), (intmax_t)(expected))
#define CHECK_EQ_UINT(got, expected) test_uint(__FILE__, __LINE__, #got, (uintmax_t)(got), (uintmax_t)(expected))
#define CHECK_EQ_TEXT(got, expected) test_text(__FILE__, __LINE__, #got, (got), (expected))
#define CHECK_EQ_BYTES(got, got_size, expected, size)                                                                  \
    test_bytes(__FILE__, __LINE__, #got, (got), (got_size), (expected), (size))
#define CHECK_CONTAINS(got, part) test_contains(__FILE__, __LINE__, #got, (got), (part), true)
#define CHECK_LACKS(got, part) test_contains(__FILE__, __LINE__, #got, (got), (part), false)
#define CHECK_NULL(pointer) test_true(__FILE__, __LINE__, #pointer " == NULL", (pointer) == NULL)
/* What the rest of the test stands on: ends the test when it is not so. */
#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!test_true(__FILE__, __LINE__, #condition, (condition))) {                                                 \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

#ifdef DS_TEST_ALLOC
#include "../../csrc/base/base.h"

/* Runs the statement behind it again and again, the n-th time with its n-th allocation refused, until one run needs no
 * more. Within it ds_test_allocation_failed() tells whether that has happened yet; leave it only by its end. */
#define EACH_ALLOCATION_FAILS() for (uint64_t test_nth = 1; test_next_allocation(test_nth); test_nth++)

TEST_UNUSED static bool test_next_allocation(uint64_t nth) {
    bool over = (nth > 1 && !ds_test_allocation_failed()) || nth > 100000;
    ds_test_fail_allocation(over ? 0 : nth, false);
    return !over;
}
#endif

static bool test_wanted(const test_entry *entry, int count, char **filters) {
    for (int i = 1; i < count; i++) {
        if (strstr(entry->name, filters[i]) != NULL) {
            return true;
        }
    }
    return count < 2;
}

int main(int count, char **filters) {
    unsigned passed = 0;
    unsigned failed = 0;
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* what a crash interrupts is still to be seen */
    for (const test_entry *entry = test_first; entry != NULL; entry = entry->next) {
        if (!test_wanted(entry, count, filters)) {
            continue;
        }
        test_failures = 0;
        test_row[0] = '\0';
        test_running = entry->name;
        entry->run();
        if (test_failures > 0) {
            printf("FAILED %s (%u checks)\n", test_running, test_failures);
            failed++;
        } else {
            passed++;
        }
    }
    if (passed + failed == 0) {
        printf("no test matches\n");
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0 || passed == 0 ? 1 : 0;
}

#endif
