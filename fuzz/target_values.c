/* target_values.c: small things that come from elsewhere: stored values, times, UTF-8, base64, secret files,
 * messages. */
#include "fuzz.h"

#include <unistd.h>

#include "../csrc/backend/secret.h"
#include "../csrc/base/error.h"
#include "../csrc/base/json.h"
#include "../csrc/base/nearest.h"
#include "../csrc/base/rfc3339.h"
#include "../csrc/core/value.h"

static void a_value(const char *text, size_t size) {
    ds_value value;
    FZ_CHECK(ds_value_read(text, size, &value));
    if (value.id == NULL) {
        FZ_CHECK(value.value != NULL && value.value_size == size && memcmp(value.value, text, size) == 0);
        FZ_CHECK(!value.value_is_json);
    } else if (value.value != NULL) {
        FZ_CHECK(value.value[value.value_size] == '\0');
        ds_buf out = DS_BUF_EMPTY;
        FZ_CHECK(ds_value_make(&out, value.id, value.value, value.value_size, value.value_is_json, false,
                               value.queued_at_ms, value.acquired_at_ms, NULL));
        ds_value again;
        FZ_CHECK(ds_value_read(out.data, out.size, &again) && again.id != NULL);
        FZ_CHECK(strcmp(again.id, value.id) == 0 && again.value_is_json == value.value_is_json);
        FZ_CHECK(again.value_size == value.value_size && memcmp(again.value, value.value, value.value_size) == 0);
        FZ_CHECK(again.queued_at_ms == value.queued_at_ms && again.acquired_at_ms == value.acquired_at_ms);
        ds_value_free(&again);
        ds_buf_free(&out);
    }
    ds_value_free(&value);
}

static void a_time(const char *text, size_t size) {
    int64_t ms, again;
    if (!ds_rfc3339_read(text, size, &ms)) {
        return;
    }
    ds_buf out = DS_BUF_EMPTY;
    if (ds_rfc3339_add(&out, ms)) {
        FZ_CHECK(ds_rfc3339_read(out.data, out.size, &again) && again == ms);
    } else {
        FZ_CHECK(out.size == 0); /* an offset can lead out of the years there are */
    }
    ds_buf_free(&out);
}

/* Written from the table in RFC 3629, not from ours. */
static size_t reference(const unsigned char *s, size_t left) {
    if (left >= 1 && s[0] <= 0x7f) {
        return 1;
    }
    if (left >= 2 && s[0] >= 0xc2 && s[0] <= 0xdf && (s[1] & 0xc0) == 0x80) {
        return 2;
    }
    unsigned char low = 0x80, high = 0xbf;
    if (left >= 3 && (s[0] & 0xf0) == 0xe0) {
        low = s[0] == 0xe0 ? 0xa0 : low;
        high = s[0] == 0xed ? 0x9f : high;
        return s[1] >= low && s[1] <= high && (s[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (left >= 4 && s[0] >= 0xf0 && s[0] <= 0xf4) {
        low = s[0] == 0xf0 ? 0x90 : low;
        high = s[0] == 0xf4 ? 0x8f : high;
        return s[1] >= low && s[1] <= high && (s[2] & 0xc0) == 0x80 && (s[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

static void some_utf8(const char *text, size_t size) {
    bool valid = true;
    for (size_t at = 0; at < size;) {
        size_t step = ds_utf8_sequence(text + at, size - at, NULL);
        FZ_CHECK(step == reference((const unsigned char *)text + at, size - at));
        valid = valid && step > 0;
        at += step > 0 ? step : 1;
    }
    FZ_CHECK(ds_utf8_valid(text, size) == valid);
    for (size_t most = 0; most <= size && most < 40; most++) {
        size_t kept = ds_utf8_cut(text, size, most);
        FZ_CHECK(kept <= most && (!valid || ds_utf8_valid(text, kept)));
        FZ_CHECK(!valid || most < size || kept == size);
    }
}

static void some_base64(const char *text, size_t size) {
    ds_buf bytes = DS_BUF_EMPTY, again = DS_BUF_EMPTY;
    if (ds_base64_decode(text, size, &bytes)) {
        ds_buf_add_base64(&again, bytes.data, bytes.size);
        FZ_CHECK(again.size == size && (size == 0 || memcmp(again.data, text, size) == 0));
    }
    ds_buf_clear(&again);
    ds_buf_add_base64(&again, text, size);
    FZ_CHECK(ds_base64_decode(again.size > 0 ? again.data : "", again.size, &bytes));
    FZ_CHECK(bytes.size == size && (size == 0 || memcmp(bytes.data, text, size) == 0));
    ds_buf_free(&bytes);
    ds_buf_free(&again);
}

static void a_secret(const char *text, size_t size) {
    static char path[] = "secret-XXXXXX"; /* in the folder that the runner made for this target */
    static int fd = -1;
    dsync_error error = {DSYNC_OK, ""};
    if (fd < 0) {
        fd = mkstemp(path);
        FZ_CHECK(fd >= 0);
    }
    FZ_CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, text, size, 0) == (ssize_t)size);
    char *secret = ds_secret_read(path, &error);
    if (secret != NULL) {
        FZ_CHECK(size <= DS_SECRET_MAX && ds_secret_fits_header(secret));
    } else {
        FZ_CHECK(error.code == DSYNC_CONFIG);
        fz_check_message(error.message);
    }
    ds_free_secret(secret);
}

static void a_message(const char *text, size_t size) {
    dsync_error error;
    ds_shown shown;
    FZ_CHECK(strlen(ds_show(&shown, text, size)) < sizeof(shown.text));
    ds_error_set(&error, DSYNC_PROTOCOL, "said \"%.*s\"", (int)(size < 5000 ? size : 5000), text);
    fz_check_message(error.message);
}

static void a_word(const char *text, size_t size) {
    static const char *const known[] = {"ttl", "wait", "retry_interval", "tls", "endpoints", NULL};
    char *word = ds_strndup(text, size);
    (void)ds_nearest(word, known);
    ds_free(word);
}

void fz_target(fz *in) {
    static void (*const tests[])(const char *, size_t) = {a_value,  a_time,    some_utf8, some_base64,
                                                          a_secret, a_message, a_word};
    size_t kind = fz_pick(in, DS_COUNT(tests)), size;
    const char *text = fz_rest(in, &size);
    tests[kind](text, size);
}
