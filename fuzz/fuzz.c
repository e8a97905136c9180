/* fuzz.c: reading choices from bytes; the entry that libFuzzer calls. */
#include "fuzz.h"

#include "../csrc/base/utf8.h"

uint8_t fz_byte(fz *in) {
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

size_t fz_pick(fz *in, size_t count) {
    return fz_byte(in) % count;
}

bool fz_flag(fz *in) {
    return (fz_byte(in) & 1) != 0;
}

int64_t fz_int64(fz *in) {
    static const int64_t limits[] = {0,
                                     1,
                                     -1,
                                     INT64_MAX,
                                     INT64_MIN,
                                     INT64_MAX - 1,
                                     INT64_MIN + 1,
                                     INT64_C(1) << 53,
                                     (INT64_C(1) << 53) + 1,
                                     INT32_MAX,
                                     (int64_t)INT32_MAX + 1};
    size_t kind = fz_pick(in, DS_COUNT(limits) + 5);
    if (kind < DS_COUNT(limits)) {
        return limits[kind];
    }
    uint64_t number = 0;
    for (size_t i = 0; i < (kind - DS_COUNT(limits)) * 2; i++) {
        number = number << 8 | fz_byte(in);
    }
    return (int64_t)number;
}

static char *piece(fz *in, size_t size) {
    if (in->piece_count == DS_COUNT(in->pieces)) {
        return NULL;
    }
    char *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    in->pieces[in->piece_count++] = copy;
    return copy;
}

const char *fz_bytes(fz *in, size_t most, size_t *size) {
    size_t wanted = fz_byte(in);
    if (wanted >= 250) {
        wanted = (wanted - 249) * 256;
    }
    wanted = wanted < most ? wanted : most;
    *size = wanted < in->left ? wanted : in->left;
    char *copy = piece(in, *size);
    if (copy == NULL) {
        *size = 0;
        return "";
    }
    memcpy(copy, in->at, *size);
    in->at += *size;
    in->left -= *size;
    return copy;
}

const char *fz_rest(fz *in, size_t *size) {
    *size = in->left;
    char *copy = piece(in, *size);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, in->at, *size);
    in->left = 0;
    return copy;
}

const char *fz_text(fz *in, size_t most) {
    size_t size;
    const char *bytes = fz_bytes(in, most, &size);
    char *copy = piece(in, size + 1);
    if (copy == NULL) {
        return "";
    }
    const char *end = size > 0 ? memchr(bytes, '\0', size) : NULL;
    size = end != NULL ? (size_t)(end - bytes) : size;
    memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

void fz_end(fz *in) {
    while (in->piece_count > 0) {
        free(in->pieces[--in->piece_count]);
    }
}

void fz_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
    abort();
}

void fz_check_message(const char *message) {
    size_t size = strlen(message);
    FZ_CHECK(size > 0);
    FZ_CHECK(ds_utf8_valid(message, size));
    for (size_t at = 0; at < size;) {
        uint32_t code_point = 0;
        at += ds_utf8_sequence(message + at, size - at, &code_point);
        FZ_CHECK(!ds_is_control(code_point));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fz in = {.at = data, .left = size};
    fz_target(&in);
    fz_end(&in);
    return 0;
}
