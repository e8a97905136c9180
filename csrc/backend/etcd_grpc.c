/* etcd_grpc.c: what gRPC puts around etcd's protobuf messages: paths, metadata, frames, and the status of an answer.
 *
 * A frame is a byte that says whether it is compressed, the message's size in four bytes, and the message. We never say
 * that we could read a compressed one, so none may come. The status comes behind the body, or with the head when there
 * is no body; without it an answer is none, whatever came before.
 */
#include "etcd_pb.h"

#include "../dsync.h"

#include <string.h>
#include <strings.h>

#define PREFIX ((size_t)5)
#define CODE_MAX 16
#define CODE_UNKNOWN 2

static const char user_agent[] = "user-agent: dsync/" DSYNC_VERSION;

static const char *const headers[] = {
    "content-type: application/grpc", "te: trailers", user_agent,
    /* Without it a member cut off from the others answers after 7 s, and its watches stay silent. */
    "hasleader: true", NULL};

enum { WANT_STATUS, WANT_MESSAGE, WANT_TYPE };

static const char *const want_headers[] = {
    [WANT_STATUS] = "grpc-status", [WANT_MESSAGE] = "grpc-message", [WANT_TYPE] = "content-type", NULL};

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static size_t begin_frame(ds_buf *out) {
    static const char prefix[PREFIX];
    ds_buf_add(out, prefix, PREFIX);
    return out->size;
}

static void end_frame(ds_buf *out, size_t begin) {
    if (!out->failed) {
        size_t size = out->size - begin;
        for (size_t i = 1; i < PREFIX; i++) {
            out->data[begin - i] = (char)(size & 0xff);
            size >>= 8;
        }
    }
}

static void encode(ds_buf *out, const ds_etcd_request *request) {
    size_t begin = begin_frame(out);
    ds_etcd_pb_encode(out, request);
    end_frame(out, begin);
}

static void watch_create(ds_buf *out, const ds_etcd_watch_create *create) {
    size_t begin = begin_frame(out);
    ds_etcd_pb_watch_create(out, create);
    end_frame(out, begin);
}

static void watch_cancel(ds_buf *out, int64_t id) {
    size_t begin = begin_frame(out);
    ds_etcd_pb_watch_cancel(out, id);
    end_frame(out, begin);
}

static void watch_progress(ds_buf *out) {
    size_t begin = begin_frame(out);
    ds_etcd_pb_watch_progress(out);
    end_frame(out, begin);
}

static size_t cut(ds_bytes bytes, size_t seen, ds_bytes *message) {
    (void)seen;
    const unsigned char *prefix = (const unsigned char *)bytes.data;
    if (bytes.size > 0 && prefix[0] != 0) {
        return DS_ETCD_CUT_BAD;
    }
    if (bytes.size < PREFIX) {
        return 0;
    }
    size_t size = 0;
    for (size_t i = 1; i < PREFIX; i++) {
        size = size << 8 | prefix[i];
    }
    if (bytes.size - PREFIX < size) {
        return 0;
    }
    *message = (ds_bytes){bytes.data + PREFIX, size};
    return PREFIX + size;
}

/* ---- status ------------------------------------------------------------------------------------------------------ */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "%41" is "A"; what is no such escape stands for itself, and so does "%00", which would end the text. */
static const char *decode_percent(const char *text, ds_etcd_arena *arena) {
    char *out = ds_etcd_arena_get(arena, strlen(text) + 1, 1);
    if (out == NULL) {
        return NULL;
    }
    char *at = out;
    while (*text != '\0') {
        int high = text[0] == '%' ? hex_digit(text[1]) : -1;
        int low = high >= 0 ? hex_digit(text[2]) : -1;
        if (low >= 0 && high + low > 0) {
            *at++ = (char)(high << 4 | low);
            text += 3;
        } else {
            *at++ = *text++;
        }
    }
    return out;
}

static bool is_grpc(const char *type) {
    static const char name[] = "application/grpc";
    return type != NULL && strncasecmp(type, name, sizeof(name) - 1) == 0 &&
           (type[sizeof(name) - 1] == '\0' || strchr("+; ", type[sizeof(name) - 1]) != NULL);
}

/* A number that gRPC does not know stands for "unknown". */
static bool read_code(const char *text, int *code) {
    if (text == NULL || text[0] == '\0' || text[strspn(text, "0123456789")] != '\0') {
        return false;
    }
    *code = 0;
    for (; *text != '\0' && *code <= CODE_MAX; text++) {
        *code = *code * 10 + (*text - '0');
    }
    *code = *code <= CODE_MAX ? *code : CODE_UNKNOWN;
    return true;
}

/* False: an answer with HTTP status 200 that is not gRPC's. */
static bool read_status(const ds_http_result *http, ds_etcd_arena *arena, ds_etcd_status *status) {
    const char *const *values = http->header_values;
    *status = (ds_etcd_status){-1, ""};
    if (http->status != 200) {
        return true;
    }
    if (!is_grpc(values[WANT_TYPE]) || !read_code(values[WANT_STATUS], &status->code)) {
        return false;
    }
    if (status->code != 0 && values[WANT_MESSAGE] != NULL) {
        status->message = decode_percent(values[WANT_MESSAGE], arena);
        if (status->message == NULL) {
            *status = (ds_etcd_status){DS_ETCD_UNREAD, "out of memory"};
        }
    }
    return true;
}

static ds_etcd_decoded answer(ds_etcd_kind kind, const ds_http_result *http, ds_etcd_arena *arena,
                              ds_etcd_reply *reply) {
    ds_etcd_status status;
    *reply = (ds_etcd_reply){.failed = true};
    if (!read_status(http, arena, &status)) {
        return DS_ETCD_MALFORMED;
    }
    reply->status = status;
    if (http->status == 200 && status.code != 0 && http->body_size > 0) {
        return DS_ETCD_MALFORMED; /* an error has no message beside it */
    }
    if (status.code != 0) {
        return DS_ETCD_DECODED;
    }
    ds_bytes body = {http->body, http->body_size}, message = {NULL, 0};
    if (body.size == 0 || cut(body, 0, &message) != body.size) {
        return DS_ETCD_MALFORMED;
    }
    return ds_etcd_pb_decode(kind, message.data, message.size, arena, reply);
}

static ds_etcd_status end(const ds_http_result *http, ds_etcd_arena *arena) {
    ds_etcd_status status;
    if (!read_status(http, arena, &status)) {
        status.message = "the watch stream ended without gRPC's status";
    }
    return status;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

const ds_etcd_wire ds_etcd_wire_grpc = {
    .id = DS_ETCD_GRPC,
    .name = "gRPC",
    .http2 = true,
    .headers = headers,
    .token = "token: ", /* the gateway's name for it is another one */
    .targets = {[DS_ETCD_RANGE] = "/etcdserverpb.KV/Range",
                [DS_ETCD_TXN] = "/etcdserverpb.KV/Txn",
                [DS_ETCD_GRANT] = "/etcdserverpb.Lease/LeaseGrant",
                [DS_ETCD_KEEPALIVE] = "/etcdserverpb.Lease/LeaseKeepAlive",
                [DS_ETCD_REVOKE] = "/etcdserverpb.Lease/LeaseRevoke",
                [DS_ETCD_AUTHENTICATE] = "/etcdserverpb.Auth/Authenticate",
                [DS_ETCD_STATUS] = "/etcdserverpb.Maintenance/Status"},
    .watch = "/etcdserverpb.Watch/Watch",
    .want_headers = want_headers,
    .encode = encode,
    .watch_create = watch_create,
    .watch_cancel = watch_cancel,
    .watch_progress = watch_progress,
    .answer = answer,
    .end = end,
    .cut = cut,
    .decode_watch = ds_etcd_pb_decode_watch,
};
