/* hex.h: for tests: bytes written in hexadecimal digits, two for each. */
#ifndef DS_TEST_HEX_H
#define DS_TEST_HEX_H

#include "../../csrc/base/base.h"
#include "test.h"

static unsigned hex_digit(char c) {
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Returns how many they are; `out` has room for them. */
TEST_UNUSED static size_t unhex_into(char *out, const char *hex) {
    size_t size = 0;
    for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
        out[size++] = (char)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
    }
    return size;
}

/* In a block of exactly its size, so that a look beyond it is seen; to be freed with ds_free. */
TEST_UNUSED static char *unhex(const char *hex, size_t *size) {
    *size = strlen(hex) / 2;
    char *bytes = ds_malloc(*size + (*size == 0));
    (void)unhex_into(bytes, hex);
    return bytes;
}

#endif
