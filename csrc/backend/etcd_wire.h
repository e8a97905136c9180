/* etcd_wire.h: the two encodings of etcd's messages, as one table of functions each: protobuf over gRPC, and the JSON
 * of the gateway. Both say the same things with the same errors; whoever sends and hears does so through a table and
 * knows neither. Nothing is sent here.
 */
#ifndef DS_ETCD_WIRE_H
#define DS_ETCD_WIRE_H

#include "../core/world.h"
#include "etcd_msg.h"

typedef enum ds_etcd_decoded {
    DS_ETCD_DECODED,
    DS_ETCD_MALFORMED, /* not this encoding, not within the limits, or not what this request is answered with */
    DS_ETCD_NO_MEMORY
} ds_etcd_decoded;

typedef enum ds_etcd_wire_id { DS_ETCD_JSON, DS_ETCD_GRPC, DS_ETCD_WIRES } ds_etcd_wire_id;

#define DS_ETCD_CUT_BAD SIZE_MAX

typedef struct ds_etcd_wire {
    ds_etcd_wire_id id;
    const char *name; /* "JSON" */
    bool http2;
    const char *const *headers; /* of every request; NULL ends */
    const char *token;          /* what goes before a token in its header: "Authorization: " */
    const char *targets[DS_ETCD_KIND_COUNT];
    const char *watch;               /* the target of the watch stream */
    const char *const *want_headers; /* of every answer, for `answer` and `end` */

    /* Append one message. Failure shows in out->failed. */
    void (*encode)(ds_buf *out, const ds_etcd_request *request);
    void (*watch_create)(ds_buf *out, const ds_etcd_watch_create *create);
    void (*watch_cancel)(ds_buf *out, int64_t id);
    void (*watch_progress)(ds_buf *out);

    /* A complete answer. An error is a `failed` reply with its status; the code is -1 where none was given. */
    ds_etcd_decoded (*answer)(ds_etcd_kind kind, const ds_http_result *http, ds_etcd_arena *arena,
                              ds_etcd_reply *reply);
    /* Of the end of a watch stream: code 0 when it simply ended. */
    ds_etcd_status (*end)(const ds_http_result *http, ds_etcd_arena *arena);
    /* Where the first message of a stream's bytes ends: how many bytes it takes up, 0 when more must come, or
     * DS_ETCD_CUT_BAD. The first `seen` of them were looked at before. `message` may be empty. */
    size_t (*cut)(ds_bytes bytes, size_t seen, ds_bytes *message);
    ds_etcd_decoded (*decode_watch)(const char *bytes, size_t size, ds_etcd_arena *arena, ds_etcd_watch_reply *reply);
} ds_etcd_wire;

extern const ds_etcd_wire ds_etcd_wire_json, ds_etcd_wire_grpc;

#endif
