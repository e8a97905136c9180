/* stamp.c: see stamp.h. */
#include "stamp.h"

#include "../base/json.h"

#include <inttypes.h>
#include <string.h>

static const ds_json_limits stamp_limits = {32, 4096};

void ds_stamp_make(ds_buf *out, const ds_lease *lease, uint64_t epoch) {
    const char *info = lease->info != NULL ? lease->info : "{}";
    ds_buf_clear(out);
    ds_buf_add_format(out, "{\"epoch\":%" PRIu64, epoch);
    if (info[0] == '{' && info[1] != '\0' && info[1] != '}') {
        ds_buf_add_char(out, ',');
        ds_buf_add_text(out, info + 1);
    } else {
        ds_buf_add_char(out, '}');
    }
}

bool ds_stamp_epoch(const char *value, size_t size, uint64_t *epoch) {
    bool no_memory;
    ds_json *json = ds_json_parse(value, size, &stamp_limits, &no_memory, NULL);
    bool found = json != NULL && ds_json_uint64(json, "epoch", epoch);
    ds_json_free(json);
    if (no_memory) {
        *epoch = 0;
    }
    return found || no_memory;
}

/* Whether `value` is a JSON object; `broken`: and has been marked. */
static bool is_object(const char *value, size_t size, bool *broken) {
    ds_json_limits limits = {32, size / 2 + 16};
    bool no_memory;
    ds_json *json = ds_json_parse(value, size, &limits, &no_memory, NULL);
    bool object = json != NULL && ds_json_is_object(json);
    *broken = object && ds_json_member(json, "broken_by") != NULL;
    ds_json_free(json);
    return object;
}

void ds_stamp_broken(ds_buf *out, const char *value, size_t size, const char *by) {
    bool broken;
    bool object = is_object(value, size, &broken);
    ds_buf_clear(out);
    if (broken) {
        ds_buf_add(out, value, size);
        return;
    }
    ds_buf_add_text(out, "{" DS_BROKEN_MARK ":");
    ds_json_add_text(out, by, strlen(by));
    const char *rest = object ? memchr(value, '{', size) : NULL;
    if (rest == NULL) {
        ds_buf_add_char(out, '}');
        return;
    }
    rest++;
    size_t left = size - (size_t)(rest - value);
    while (left > 0 && (*rest == ' ' || *rest == '\t' || *rest == '\n' || *rest == '\r')) {
        rest++;
        left--;
    }
    if (left > 0 && *rest != '}') {
        ds_buf_add_char(out, ',');
    }
    ds_buf_add(out, rest, left);
}
