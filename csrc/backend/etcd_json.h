/* etcd_json.h: etcd's messages as the JSON of its gRPC gateway. Encoding and decoding only; nothing is sent here.
 *
 * 64-bit integers travel as strings, keys and values as base64, fields that are false, 0 or empty are left out of
 * answers. Unknown request fields are silently ignored by the server, so each request is checked against real servers
 * (spec/contract/).
 */
#ifndef DS_ETCD_JSON_H
#define DS_ETCD_JSON_H

#include "etcd_wire.h"

/* Append one message. Failure shows in out->failed. */
void ds_etcd_json_encode(ds_buf *out, const ds_etcd_request *request);
void ds_etcd_json_watch_create(ds_buf *out, const ds_etcd_watch_create *create);
void ds_etcd_json_watch_cancel(ds_buf *out, int64_t id);
void ds_etcd_json_watch_progress(ds_buf *out);

/* Decode the body of an answer with HTTP status 200, or one line of a watch stream. */
ds_etcd_decoded ds_etcd_json_decode(ds_etcd_kind kind, const char *text, size_t size, ds_etcd_arena *arena,
                                    ds_etcd_reply *reply);
ds_etcd_decoded ds_etcd_json_decode_watch(const char *text, size_t size, ds_etcd_arena *arena,
                                          ds_etcd_watch_reply *reply);
/* The body of any other answer. Never fails: what is not etcd's error JSON gives code -1 and message "", and without
 * memory it is DS_ETCD_UNREAD. */
ds_etcd_status ds_etcd_json_decode_error(const char *text, size_t size, ds_etcd_arena *arena);

#endif
