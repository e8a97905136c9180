/* json_print.c: JSON text out: escaped strings, and values that ds_json_parse read. */
#include "json.h"

#include <cjson/cJSON.h>
#include <string.h>

static void add_escaped(ds_buf *out, unsigned char c) {
    static const char letters[] = "btn?fr"; /* for 0x08 to 0x0d */
    if (c == '"' || c == '\\') {
        ds_buf_add_char(out, '\\');
        ds_buf_add_char(out, (char)c);
    } else if (c >= 0x08 && c <= 0x0d && c != 0x0b) {
        ds_buf_add_char(out, '\\');
        ds_buf_add_char(out, letters[c - 0x08]);
    } else {
        ds_buf_add_format(out, "\\u%04x", c);
    }
}

void ds_json_add_text(ds_buf *out, const char *text, size_t length) {
    size_t plain = 0; /* where the bytes begin that need nothing */
    size_t at = 0;
    ds_buf_add_char(out, '"');
    while (at < length) {
        unsigned char c = (unsigned char)text[at];
        size_t step = ds_utf8_sequence(text + at, length - at, NULL);
        if (step > 0 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            at += step;
            continue;
        }
        ds_buf_add(out, text + plain, at - plain);
        if (step == 0) {
            ds_buf_add_text(out, "\xef\xbf\xbd"); /* U+FFFD */
        } else {
            add_escaped(out, c);
        }
        plain = ++at;
    }
    ds_buf_add(out, text + plain, at - plain);
    ds_buf_add_char(out, '"');
}

static void print_members(ds_buf *out, const ds_json *json, bool keys) {
    for (const ds_json *item = ds_json_first(json); item != NULL; item = ds_json_next(item)) {
        if (keys) {
            ds_json_add_text(out, ds_json_name(item), strlen(ds_json_name(item)));
            ds_buf_add_char(out, ':');
        }
        ds_json_print(out, item);
        if (ds_json_next(item) != NULL) {
            ds_buf_add_char(out, ',');
        }
    }
}

void ds_json_print(ds_buf *out, const ds_json *json) {
    const char *text = ds_json_value_text(json);
    const char *number = ds_json_value_number(json);
    if (text != NULL) {
        ds_json_add_text(out, text, strlen(text));
    } else if (number != NULL) {
        ds_buf_add_text(out, number);
    } else if (cJSON_IsObject(json) || cJSON_IsArray(json)) {
        bool keys = cJSON_IsObject(json);
        ds_buf_add_char(out, keys ? '{' : '[');
        print_members(out, json, keys);
        ds_buf_add_char(out, keys ? '}' : ']');
    } else {
        ds_buf_add_text(out, cJSON_IsTrue(json) ? "true" : cJSON_IsFalse(json) ? "false" : "null");
    }
}
