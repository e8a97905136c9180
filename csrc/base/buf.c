/* buf.c: the growable byte buffer, and base64 both ways. Knows nothing of what the bytes mean. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAPACITY 64

void ds_buf_free(ds_buf *buf) {
    ds_free(buf->data);
    *buf = (ds_buf)DS_BUF_EMPTY;
}

void ds_buf_clear(ds_buf *buf) {
    buf->size = 0;
    buf->failed = false;
    if (buf->data != NULL) {
        buf->data[0] = '\0';
    }
}

/* Makes room for `count` more bytes and the NUL behind them. */
static bool reserve(ds_buf *buf, size_t count) {
    if (buf->failed) {
        return false;
    }
    if (buf->capacity > buf->size && buf->capacity - buf->size > count) {
        return true;
    }
    if (count >= SIZE_MAX / 2 - buf->size) {
        buf->failed = true;
        return false;
    }
    size_t capacity = buf->capacity > 0 ? buf->capacity : FIRST_CAPACITY;
    while (capacity - buf->size <= count) {
        capacity *= 2;
    }
    char *data = ds_realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

static void added(ds_buf *buf, size_t count) {
    buf->size += count;
    buf->data[buf->size] = '\0';
}

void ds_buf_add(ds_buf *buf, const void *bytes, size_t count) {
    if (count == 0 || !reserve(buf, count)) {
        return;
    }
    memcpy(buf->data + buf->size, bytes, count);
    added(buf, count);
}

void ds_buf_add_text(ds_buf *buf, const char *text) {
    ds_buf_add(buf, text, strlen(text));
}

void ds_buf_add_char(ds_buf *buf, char c) {
    ds_buf_add(buf, &c, 1);
}

void ds_buf_add_int(ds_buf *buf, int64_t number) {
    char digits[20]; /* 19 and a sign */
    size_t at = sizeof(digits);
    uint64_t rest = number < 0 ? UINT64_C(0) - (uint64_t)number : (uint64_t)number;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0) {
        digits[--at] = '-';
    }
    ds_buf_add(buf, digits + at, sizeof(digits) - at);
}

static void add_format(ds_buf *buf, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        buf->failed = true;
    } else if (length > 0 && reserve(buf, (size_t)length)) {
        (void)vsnprintf(buf->data + buf->size, (size_t)length + 1, format, again);
        added(buf, (size_t)length);
    }
    va_end(again);
}

void ds_buf_add_format(ds_buf *buf, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_format(buf, format, arguments);
    va_end(arguments);
}

void ds_buf_consume(ds_buf *buf, size_t count) {
    if (count >= buf->size) {
        count = buf->size;
    }
    if (count == 0) {
        return;
    }
    memmove(buf->data, buf->data + count, buf->size - count);
    buf->size -= count;
    buf->data[buf->size] = '\0';
}

/* ---- base64 ------------------------------------------------------------------------------------------------------ */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void ds_buf_add_base64(ds_buf *buf, const void *bytes, size_t count) {
    const unsigned char *in = bytes;
    if (count > SIZE_MAX / 4 || !reserve(buf, (count + 2) / 3 * 4)) {
        buf->failed = true;
        return;
    }
    if (count == 0) {
        return;
    }
    char *out = buf->data + buf->size;
    for (size_t i = 0; i < count; i += 3) {
        size_t left = count - i;
        unsigned group = (unsigned)in[i] << 16;
        group |= left > 1 ? (unsigned)in[i + 1] << 8 : 0U;
        group |= left > 2 ? (unsigned)in[i + 2] : 0U;
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63U];
        *out++ = '=';
        *out++ = '=';
        if (left > 1) {
            out[-2] = alphabet[group >> 6 & 63U];
        }
        if (left > 2) {
            out[-1] = alphabet[group & 63U];
        }
    }
    added(buf, (count + 2) / 3 * 4);
}

static int sextet(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One group of four characters that yields `bytes` (1-3) bytes; the bits left over must be zero, so that every byte
 * string has exactly one spelling. */
static bool decode_group(const char *text, size_t bytes, unsigned char *out) {
    unsigned group = 0;
    for (size_t i = 0; i < 4; i++) {
        int bits = i <= bytes ? sextet(text[i]) : 0;
        if (bits < 0) {
            return false;
        }
        group = group << 6 | (unsigned)bits;
    }
    if ((bytes == 1 && (group & 0xffffU) != 0) || (bytes == 2 && (group & 0xffU) != 0)) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        out[i] = (unsigned char)(group >> (16 - 8 * i) & 0xffU);
    }
    return true;
}

bool ds_base64_decode(const char *text, size_t length, ds_buf *out) {
    ds_buf_clear(out);
    if (length % 4 != 0) {
        return false;
    }
    if (length == 0) {
        return true;
    }
    if (!reserve(out, length / 4 * 3)) {
        return false;
    }
    size_t padding = text[length - 1] != '=' ? 0U : text[length - 2] != '=' ? 1U : 2U;
    unsigned char *to = (unsigned char *)out->data;
    for (size_t i = 0; i < length; i += 4) {
        size_t bytes = i + 4 < length ? 3 : 3 - padding;
        if (!decode_group(text + i, bytes, to)) {
            out->data[0] = '\0';
            return false;
        }
        to += bytes;
    }
    added(out, length / 4 * 3 - padding);
    return true;
}
