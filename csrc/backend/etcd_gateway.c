/* etcd_gateway.c: what etcd's gateway puts around its JSON messages: paths, headers, lines, and errors. */
#include "etcd_json.h"

#include <string.h>

static const char *const headers[] = {
    "Content-Type: application/json",
    /* Without it a member cut off from the others answers after 7 s, and its watches stay silent. */
    "Grpc-Metadata-hasleader: true", NULL};

static const char *const want_headers[] = {NULL};

static ds_etcd_decoded answer(ds_etcd_kind kind, const ds_http_result *http, ds_etcd_arena *arena,
                              ds_etcd_reply *reply) {
    if (http->status == 200) {
        return ds_etcd_json_decode(kind, http->body != NULL ? http->body : "", http->body_size, arena, reply);
    }
    *reply = (ds_etcd_reply){.failed = true};
    reply->status = ds_etcd_json_decode_error(http->body, http->body_size, arena);
    return DS_ETCD_DECODED;
}

static ds_etcd_status end(const ds_http_result *http, ds_etcd_arena *arena) {
    if (http->status == 200) {
        return (ds_etcd_status){0, ""};
    }
    return ds_etcd_json_decode_error(http->body, http->body_size, arena);
}

/* Messages are lines. */
static size_t cut(ds_bytes bytes, size_t seen, ds_bytes *message) {
    const char *end_of_line = bytes.size > seen ? memchr(bytes.data + seen, '\n', bytes.size - seen) : NULL;
    if (end_of_line == NULL) {
        return 0;
    }
    *message = (ds_bytes){bytes.data, (size_t)(end_of_line - bytes.data)};
    return message->size + 1;
}

const ds_etcd_wire ds_etcd_wire_json = {
    .id = DS_ETCD_JSON,
    .name = "JSON",
    .headers = headers,
    .token = "Authorization: ",
    .targets = {[DS_ETCD_RANGE] = "/v3/kv/range",
                [DS_ETCD_TXN] = "/v3/kv/txn",
                [DS_ETCD_GRANT] = "/v3/lease/grant",
                [DS_ETCD_KEEPALIVE] = "/v3/lease/keepalive",
                [DS_ETCD_REVOKE] = "/v3/lease/revoke",
                [DS_ETCD_AUTHENTICATE] = "/v3/auth/authenticate",
                [DS_ETCD_STATUS] = "/v3/maintenance/status"},
    .watch = "/v3/watch",
    .want_headers = want_headers,
    .encode = ds_etcd_json_encode,
    .watch_create = ds_etcd_json_watch_create,
    .watch_cancel = ds_etcd_json_watch_cancel,
    .watch_progress = ds_etcd_json_watch_progress,
    .answer = answer,
    .end = end,
    .cut = cut,
    .decode_watch = ds_etcd_json_decode_watch,
};
