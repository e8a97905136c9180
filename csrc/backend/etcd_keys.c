/* etcd_keys.c: names of dsync's keys in etcd, and what the session key holds. Pure.
 *
 * Entries lie below their queue's path as those of etcd's own recipes do, so that both stand in one line.
 */
#include "etcd.h"

#include "../base/json.h"

#include <inttypes.h>
#include <string.h>

static const ds_json_limits stamp_limits = {32, 4096};

void ds_etcd_key_session(ds_buf *out, const ds_lease *lease) {
    ds_buf_clear(out);
    ds_buf_add_format(out, "%s/session/%" PRIx64, lease->prefix, lease->nonce);
}

void ds_etcd_key_entry(ds_buf *out, const ds_entry *entry) {
    ds_buf_clear(out);
    ds_buf_add_text(out, entry->path);
    ds_buf_add_format(out, "/%" PRIx64 "-%s", entry->lease->nonce, entry->nonce);
}

void ds_etcd_key_range(ds_buf *begin, ds_buf *end, const char *path) {
    ds_buf_clear(begin);
    ds_buf_clear(end);
    ds_buf_add_text(begin, path);
    ds_buf_add_char(begin, '/');
    ds_buf_add_text(end, path);
    ds_buf_add_char(end, '/' + 1);
}

void ds_etcd_stamp(ds_buf *out, const ds_lease *lease, uint64_t epoch) {
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

bool ds_etcd_stamp_epoch(ds_bytes value, uint64_t *epoch) {
    bool no_memory;
    ds_json *json = ds_json_parse(value.data, value.size, &stamp_limits, &no_memory, NULL);
    bool found = json != NULL && ds_json_uint64(json, "epoch", epoch);
    ds_json_free(json);
    if (no_memory) {
        *epoch = 0;
    }
    return found || no_memory;
}

/* Whether `value` is a JSON object; `broken`: and has been marked. */
static bool is_object(ds_bytes value, bool *broken) {
    ds_json_limits limits = {32, value.size / 2 + 16};
    bool no_memory;
    ds_json *json = ds_json_parse(value.data, value.size, &limits, &no_memory, NULL);
    bool object = json != NULL && ds_json_is_object(json);
    *broken = object && ds_json_member(json, "broken_by") != NULL;
    ds_json_free(json);
    return object;
}

void ds_etcd_broken_value(ds_buf *out, ds_bytes value, const char *by) {
    bool broken;
    bool object = is_object(value, &broken);
    ds_buf_clear(out);
    if (broken) {
        ds_buf_add(out, value.data, value.size);
        return;
    }
    ds_buf_add_text(out, "{" DS_BROKEN_MARK ":");
    ds_json_add_text(out, by, strlen(by));
    const char *rest = object ? memchr(value.data, '{', value.size) : NULL;
    if (rest == NULL) {
        ds_buf_add_char(out, '}');
        return;
    }
    rest++;
    size_t left = value.size - (size_t)(rest - value.data);
    while (left > 0 && (*rest == ' ' || *rest == '\t' || *rest == '\n' || *rest == '\r')) {
        rest++;
        left--;
    }
    if (left > 0 && *rest != '}') {
        ds_buf_add_char(out, ',');
    }
    ds_buf_add(out, rest, left);
}
