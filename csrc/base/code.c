/* code.c: the stable names of codes and reasons, and the writing of errors. No messages of its own but "out of
 * memory". */
#include "error.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const code_names[DSYNC_CODE_COUNT] = {
    [DSYNC_OK] = "ok",
    [DSYNC_TIMEOUT] = "timeout",
    [DSYNC_CONTENDED] = "contended",
    [DSYNC_LOST] = "lost",
    [DSYNC_NOT_HELD] = "not_held",
    [DSYNC_ALREADY_HELD] = "already_held",
    [DSYNC_CANCELLED] = "cancelled",
    [DSYNC_CLOSED] = "closed",
    [DSYNC_UNKNOWN] = "unknown",
    [DSYNC_UNAVAILABLE] = "unavailable",
    [DSYNC_DENIED] = "denied",
    [DSYNC_CONFIG] = "config",
    [DSYNC_PROTOCOL] = "protocol",
    [DSYNC_FORKED] = "forked",
    [DSYNC_RESOURCE] = "resource",
    [DSYNC_PHASE] = "phase",
    [DSYNC_EXITING] = "exiting",
    [DSYNC_VACANT] = "vacant",
    [DSYNC_RANGE] = "range",
    [DSYNC_UNSUPPORTED] = "unsupported",
    [DSYNC_INVALID] = "invalid",
};

static const char *const reason_names[DSYNC_REASON_COUNT] = {
    [DSYNC_NOT_LOST] = "",
    [DSYNC_REASON_EXPIRED] = "expired",
    [DSYNC_REASON_SESSION_LOST] = "session_lost",
    [DSYNC_REASON_DELETED] = "deleted",
    [DSYNC_REASON_BROKEN] = "broken",
    [DSYNC_REASON_CLUSTER_RESET] = "cluster_reset",
    [DSYNC_REASON_CLOSED] = "closed",
};

const char *dsync_code_name(dsync_code code) {
    unsigned number = (unsigned)code;
    return number < DSYNC_CODE_COUNT ? code_names[number] : code_names[DSYNC_INVALID];
}

const char *dsync_reason_name(dsync_reason reason) {
    unsigned number = (unsigned)reason;
    return number < DSYNC_REASON_COUNT ? reason_names[number] : "";
}

/* Copies at most `most` bytes of text that a terminal can show, and the NUL. */
static void copy_clean(char *out, const char *text, size_t length, size_t most) {
    size_t at = 0;
    size_t to = 0;
    while (at < length && to < most) {
        uint32_t code_point = 0;
        size_t step = ds_utf8_sequence(text + at, length - at, &code_point);
        if (step > most - to) {
            break;
        }
        if (step == 0 || ds_is_control(code_point)) {
            out[to++] = step == 0 ? '?' : ' ';
        } else {
            memcpy(out + to, text + at, step);
            to += step;
        }
        at += step > 0 ? step : 1;
    }
    out[to] = '\0';
}

/* Copies `text` into an array of `size` bytes; `cut` says that there was more of it. */
static void copy_shown(char *out, size_t size, const char *text, size_t length, bool cut) {
    static const char dots[] = "...";
    if (!cut && length < size) {
        copy_clean(out, text, length, size - 1);
        return;
    }
    size_t room = size - sizeof(dots);
    copy_clean(out, text, ds_utf8_cut(text, length, room), room);
    memcpy(out + strlen(out), dots, sizeof(dots));
}

dsync_code ds_error_set(dsync_error *error, dsync_code code, const char *format, ...) {
    if (error == NULL) {
        return code;
    }
    char text[sizeof(error->message)];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length < 0) {
        text[0] = '\0';
    }
    copy_shown(error->message, sizeof(error->message), text, strlen(text), length >= (int)sizeof(text));
    error->code = code;
    return code;
}

dsync_code ds_error_no_memory(dsync_error *error) {
    return ds_error_set(error, DSYNC_RESOURCE, "out of memory");
}

const char *ds_show(ds_shown *out, const char *text, size_t length) {
    copy_shown(out->text, sizeof(out->text), text, length, false);
    return out->text;
}
