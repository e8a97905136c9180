/* json_scan.c: a recursive-descent reader of RFC 8259 that accepts nothing beyond it and builds nothing but the copy.
 *
 * It refuses what cJSON lets pass (text after the value, control characters in strings, malformed UTF-8, numbers such
 * as "01" or "1.", NUL) and bounds what cJSON would have to allocate. Duplicate keys are json.c's: they need decoded
 * keys.
 */
#include "json_scan.h"

#include <string.h>

#define DEPTH_MAX 128 /* the recursion of this file, of cJSON and of the printer must fit a small thread's stack */

typedef struct scan {
    const char *at;
    const char *end;
    ds_buf *copy;
    unsigned depth; /* still allowed */
    size_t tokens;  /* still allowed */
    const char *why;
} scan;

static bool refuse(scan *s, const char *why) {
    if (s->why == NULL) {
        s->why = why;
    }
    return false;
}

/* The next byte, or NUL at the end: NUL is valid nowhere, so the two need not be told apart. */
static char peek(const scan *s) {
    return s->at < s->end ? *s->at : '\0';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static void skip_space(scan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) {
        s->at++;
    }
}

static bool count_token(scan *s) {
    if (s->tokens == 0) {
        return refuse(s, "too many values");
    }
    s->tokens--;
    return true;
}

/* ---- strings ----------------------------------------------------------------------------------------------------- */

/* Four hex digits at `at`, or -1. */
static int32_t hex4(const scan *s, const char *at) {
    if (s->end - at < 4) {
        return -1;
    }
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int32_t digit = is_digit(c)            ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* s->at is behind "\u". */
static bool unicode_escape(scan *s) {
    int32_t unit = hex4(s, s->at);
    if (unit < 0) {
        return refuse(s, "malformed \\u escape");
    }
    s->at += 4;
    if (unit == 0) {
        return refuse(s, "NUL in a string");
    }
    if (unit < 0xd800 || unit > 0xdfff) {
        return true;
    }
    bool pair = unit < 0xdc00 && s->end - s->at >= 6 && s->at[0] == '\\' && s->at[1] == 'u';
    int32_t low = pair ? hex4(s, s->at + 2) : -1;
    if (low < 0xdc00 || low > 0xdfff) {
        return refuse(s, "unpaired surrogate");
    }
    s->at += 6;
    return true;
}

/* s->at is behind the backslash. */
static bool escape(scan *s) {
    char c = peek(s);
    s->at++;
    if (c == 'u') {
        return unicode_escape(s);
    }
    return (c != '\0' && strchr("\"\\/bfnrt", c) != NULL) || refuse(s, "unknown escape in a string");
}

/* Steps over a string; s->at is behind the opening quote, and afterwards behind the closing one. */
static bool string_body(scan *s) {
    while (s->at < s->end) {
        unsigned char c = (unsigned char)*s->at;
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c == '\\') {
            s->at++;
            if (!escape(s)) {
                return false;
            }
        } else if (c < 0x20) {
            return refuse(s, "control character in a string");
        } else {
            size_t step = ds_utf8_sequence(s->at, (size_t)(s->end - s->at), NULL);
            if (step == 0) {
                return refuse(s, "malformed UTF-8");
            }
            s->at += step;
        }
    }
    return refuse(s, "unterminated string");
}

static bool looks_marked(const char *body, size_t left) {
    return left >= 6 && memcmp(body, "\\u000", 5) == 0 && (body[5] == '1' || body[5] == '2');
}

static bool string(scan *s, bool is_key) {
    if (!count_token(s)) {
        return false;
    }
    s->at++;
    const char *body = s->at;
    if (!string_body(s)) {
        return false;
    }
    ds_buf_add_char(s->copy, '"');
    if (!is_key && looks_marked(body, (size_t)(s->at - body))) {
        ds_buf_add_char(s->copy, DS_JSON_STRING_MARK);
    }
    ds_buf_add(s->copy, body, (size_t)(s->at - body));
    return true;
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static bool digits(scan *s) {
    if (!is_digit(peek(s))) {
        return refuse(s, "malformed number");
    }
    while (is_digit(peek(s))) {
        s->at++;
    }
    return true;
}

static bool number(scan *s) {
    const char *start = s->at;
    if (peek(s) == '-') {
        s->at++;
    }
    if (peek(s) == '0') {
        s->at++;
    } else if (!digits(s)) {
        return false;
    }
    if (peek(s) == '.') {
        s->at++;
        if (!digits(s)) {
            return false;
        }
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-') {
            s->at++;
        }
        if (!digits(s)) {
            return false;
        }
    }
    const char opening[] = {'"', DS_JSON_NUMBER_MARK};
    ds_buf_add(s->copy, opening, sizeof(opening));
    ds_buf_add(s->copy, start, (size_t)(s->at - start));
    ds_buf_add_char(s->copy, '"');
    return true;
}

static bool word(scan *s, const char *expected) {
    size_t length = strlen(expected);
    if ((size_t)(s->end - s->at) < length || memcmp(s->at, expected, length) != 0) {
        return refuse(s, "not a JSON value");
    }
    s->at += length;
    ds_buf_add(s->copy, expected, length);
    return true;
}

static bool value(scan *s);

static bool member(scan *s, bool in_object) {
    if (!in_object) {
        return value(s);
    }
    if (peek(s) != '"') {
        return refuse(s, "a key was expected");
    }
    if (!string(s, true)) {
        return false;
    }
    skip_space(s);
    if (peek(s) != ':') {
        return refuse(s, "\":\" was expected");
    }
    s->at++;
    ds_buf_add_char(s->copy, ':');
    return value(s);
}

static bool container(scan *s, char close) {
    if (s->depth == 0) {
        return refuse(s, "nested too deeply");
    }
    s->depth--;
    ds_buf_add_char(s->copy, *s->at++);
    skip_space(s);
    if (peek(s) != close) {
        for (;;) {
            skip_space(s);
            if (!member(s, close == '}')) {
                return false;
            }
            skip_space(s);
            if (peek(s) != ',') {
                break;
            }
            s->at++;
            ds_buf_add_char(s->copy, ',');
        }
    }
    if (peek(s) != close) {
        return refuse(s, "\",\" or a closing bracket was expected");
    }
    s->at++;
    ds_buf_add_char(s->copy, close);
    s->depth++;
    return true;
}

static bool value(scan *s) {
    skip_space(s);
    char c = peek(s);
    if (c == '"') {
        return string(s, false);
    }
    if (!count_token(s)) {
        return false;
    }
    switch (c) {
    case '{':
        return container(s, '}');
    case '[':
        return container(s, ']');
    case 't':
        return word(s, "true");
    case 'f':
        return word(s, "false");
    case 'n':
        return word(s, "null");
    default:
        return c == '-' || is_digit(c) ? number(s) : refuse(s, "not a JSON value");
    }
}

const char *ds_json_scan(ds_buf *copy, const char *text, size_t size, const ds_json_limits *limits) {
    if (size == 0) {
        return "empty";
    }
    unsigned depth = limits->depth < DEPTH_MAX ? limits->depth : DEPTH_MAX;
    scan s = {text, text + size, copy, depth, limits->tokens, NULL};
    if (!value(&s)) {
        return s.why;
    }
    skip_space(&s);
    return s.at == s.end ? NULL : "text after the value";
}
