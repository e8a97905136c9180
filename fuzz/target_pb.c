/* target_pb.c: whatever a server may say, read as etcd's protobuf over gRPC: answers to each kind of request, messages
 * of a watch stream, frames in pieces, statuses and what is made of them. */
#include "fuzz.h"

#include "../csrc/backend/etcd_error.h"
#include "../csrc/backend/etcd_pb.h"

static void check_bytes(ds_bytes bytes) {
    FZ_CHECK(bytes.data != NULL && bytes.data[bytes.size] == '\0');
}

static void check_kv(const ds_etcd_kv *kv) {
    check_bytes(kv->key);
    check_bytes(kv->value);
    FZ_CHECK(kv->key.size > 0 && kv->create >= 0 && kv->mod >= 0);
}

static void check_status(const ds_etcd_status *status, int http) {
    FZ_CHECK(status->code >= DS_ETCD_UNREAD && status->code <= 16 && status->message != NULL);
    FZ_CHECK(status->code != DS_ETCD_UNREAD || ds_test_allocation_failed());
    ds_etcd_verdict verdict = ds_etcd_judge(http, status);
    FZ_CHECK(verdict.outcome > DS_OK && verdict.outcome <= DS_REFUSED);
    FZ_CHECK((verdict.outcome == DS_REFUSED) == (verdict.code != DSYNC_OK));
}

static void check_reply(ds_etcd_kind kind, const ds_etcd_reply *reply) {
    FZ_CHECK(reply->header.cluster_id != 0 && reply->header.revision >= 0);
    FZ_CHECK(kind != DS_ETCD_RANGE || reply->answer_count == 1);
    FZ_CHECK(kind != DS_ETCD_TXN || reply->header.revision > 0);
    for (size_t i = 0; i < reply->answer_count; i++) {
        const ds_etcd_answer *one = &reply->answers[i];
        for (size_t k = 0; one->kind == DS_ETCD_OP_RANGE && k < one->count; k++) {
            check_kv(&one->kvs[k]);
            FZ_CHECK(one->kvs[k].create > 0);
        }
    }
    FZ_CHECK(reply->token != NULL && reply->version != NULL);
}

static void message(ds_etcd_kind kind, const char *bytes, size_t size) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_reply reply;
    ds_etcd_decoded result = ds_etcd_pb_decode(kind, bytes, size, &arena, &reply);
    FZ_CHECK(result != DS_ETCD_NO_MEMORY || ds_test_allocation_failed());
    if (result == DS_ETCD_DECODED) {
        FZ_CHECK(!reply.failed);
        check_reply(kind, &reply);
    }
    ds_etcd_arena_free(&arena);
}

static void watch_message(const char *bytes, size_t size) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_watch_reply reply;
    ds_etcd_decoded result = ds_etcd_pb_decode_watch(bytes, size, &arena, &reply);
    FZ_CHECK(result != DS_ETCD_NO_MEMORY || ds_test_allocation_failed());
    if (result == DS_ETCD_DECODED) {
        (void)ds_etcd_judge_cancel(reply.cancel_reason);
        for (size_t i = 0; i < reply.event_count; i++) {
            check_kv(&reply.events[i].kv);
            if (reply.events[i].has_previous) {
                check_kv(&reply.events[i].previous);
            }
        }
    }
    ds_etcd_arena_free(&arena);
}

/* A whole answer: its status and its body. */
static void answer(ds_etcd_kind kind, fz *in) {
    static const char *const types[] = {"application/grpc", "application/grpc+proto", "text/html", NULL};
    static const char *const codes[] = {"0", "5", "14", "99", "x", "", NULL};
    static const int https[] = {200, 200, 200, 302, 404, 503};
    size_t code = fz_pick(in, DS_COUNT(codes) + 1);
    const char *values[] = {code < DS_COUNT(codes) ? codes[code] : fz_text(in, 8), fz_text(in, 40),
                            types[fz_pick(in, DS_COUNT(types))]};
    ds_http_result http = {.status = https[fz_pick(in, DS_COUNT(https))], .header_values = values, .message = ""};
    http.body = fz_rest(in, &http.body_size);
    ds_etcd_arena arena = {NULL};
    ds_etcd_reply reply;
    ds_etcd_decoded result = ds_etcd_wire_grpc.answer(kind, &http, &arena, &reply);
    FZ_CHECK(result != DS_ETCD_NO_MEMORY || ds_test_allocation_failed());
    if (result == DS_ETCD_DECODED && reply.failed) {
        check_status(&reply.status, http.status);
    } else if (result == DS_ETCD_DECODED) {
        FZ_CHECK(http.status == 200);
        check_reply(kind, &reply);
    }
    ds_etcd_status end = ds_etcd_wire_grpc.end(&http, &arena);
    if (end.code != 0) {
        check_status(&end, http.status);
    }
    ds_etcd_arena_free(&arena);
}

/* What is cut off first does not depend on what comes behind it. */
static void frames(const char *bytes, size_t size) {
    ds_bytes found = {NULL, 0}, again = {NULL, 0};
    size_t whole = ds_etcd_wire_grpc.cut((ds_bytes){bytes, size}, 0, &found);
    FZ_CHECK(whole == DS_ETCD_CUT_BAD || whole <= size);
    for (size_t part = 1; part < size && part < 600; part++) {
        size_t taken = ds_etcd_wire_grpc.cut((ds_bytes){bytes, part}, part - 1, &again);
        FZ_CHECK(taken == (whole != DS_ETCD_CUT_BAD && part < whole ? 0 : whole));
    }
    FZ_CHECK(whole == 0 || whole == DS_ETCD_CUT_BAD ||
             (found.data > bytes && found.data + found.size == bytes + whole));
}

void fz_target(fz *in) {
    size_t kind = fz_pick(in, 2 * DS_ETCD_KIND_COUNT + 2);
    size_t nth = fz_byte(in), size;
    ds_test_fail_allocation(nth >= 128 ? nth - 127 : 0, false);
    if (kind < DS_ETCD_KIND_COUNT) {
        const char *bytes = fz_rest(in, &size);
        message((ds_etcd_kind)kind, bytes, size);
    } else if (kind < (size_t)2 * DS_ETCD_KIND_COUNT) {
        answer((ds_etcd_kind)(kind - DS_ETCD_KIND_COUNT), in);
    } else {
        const char *bytes = fz_rest(in, &size);
        (kind == (size_t)2 * DS_ETCD_KIND_COUNT ? watch_message : frames)(bytes, size);
    }
    ds_test_fail_allocation(0, false);
}
