/* etcd_keys.c: names of dsync's keys in etcd. Pure.
 *
 * Entries lie below their queue's path as those of etcd's own recipes do, so that both stand in one line.
 */
#include "etcd.h"

#include <inttypes.h>

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
