/* etcd_pb.h: etcd's messages as protobuf, without gRPC's frames around them. Encoding and decoding only.
 *
 * Field numbers and types are those of etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto, the same in every
 * version 3. A field with its default value is not sent, and one that is absent has its default value; only in a
 * oneof does 0 differ from nothing.
 */
#ifndef DS_ETCD_PB_H
#define DS_ETCD_PB_H

#include "etcd_wire.h"

/* Append one message. Failure shows in out->failed. */
void ds_etcd_pb_encode(ds_buf *out, const ds_etcd_request *request);
void ds_etcd_pb_watch_create(ds_buf *out, const ds_etcd_watch_create *create);
void ds_etcd_pb_watch_cancel(ds_buf *out, int64_t id);
void ds_etcd_pb_watch_progress(ds_buf *out);

ds_etcd_decoded ds_etcd_pb_decode(ds_etcd_kind kind, const char *bytes, size_t size, ds_etcd_arena *arena,
                                  ds_etcd_reply *reply);
ds_etcd_decoded ds_etcd_pb_decode_watch(const char *bytes, size_t size, ds_etcd_arena *arena,
                                        ds_etcd_watch_reply *reply);

#endif
