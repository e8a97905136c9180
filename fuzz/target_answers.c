/* target_answers.c: whatever a server may say, read as etcd's JSON: answers to each kind of request, lines of a watch
 * stream, errors and what is made of them, and JSON as such. */
#include "fuzz.h"

#include "../csrc/backend/etcd_error.h"
#include "../csrc/backend/etcd_json.h"
#include "../csrc/base/json.h"

static void check_bytes(ds_bytes bytes) {
    FZ_CHECK(bytes.data != NULL && bytes.data[bytes.size] == '\0');
}

static void check_kv(const ds_etcd_kv *kv) {
    check_bytes(kv->key);
    check_bytes(kv->value);
    FZ_CHECK(kv->key.size > 0 && kv->create >= 0 && kv->mod >= 0);
}

static void check_status(const ds_etcd_status *status) {
    static const int https[] = {200, 302, 400, 401, 403, 404, 408, 429, 500, 503};
    FZ_CHECK(status->code >= DS_ETCD_UNREAD && status->code <= 16 && status->message != NULL);
    for (size_t i = 0; i < DS_COUNT(https); i++) {
        ds_etcd_verdict verdict = ds_etcd_judge(https[i], status);
        FZ_CHECK(verdict.outcome > DS_OK && verdict.outcome <= DS_REFUSED);
        FZ_CHECK((verdict.outcome == DS_REFUSED) == (verdict.code != DSYNC_OK));
        FZ_CHECK(!verdict.token_refused || verdict.outcome == DS_NOT_EXECUTED);
    }
    /* A server that fails without a word may have done it. */
    FZ_CHECK(status->code != -1 || status->message[0] != '\0' || ds_etcd_judge(503, status).outcome == DS_AMBIGUOUS);
}

static void answer(ds_etcd_kind kind, const char *text, size_t size) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_reply reply;
    ds_etcd_decoded result = ds_etcd_json_decode(kind, text, size, &arena, &reply);
    FZ_CHECK(result != DS_ETCD_NO_MEMORY || ds_test_allocation_failed());
    if (result == DS_ETCD_DECODED && reply.failed) {
        check_status(&reply.status);
    } else if (result == DS_ETCD_DECODED) {
        FZ_CHECK(reply.header.cluster_id != 0 && reply.header.revision >= 0);
        FZ_CHECK(kind != DS_ETCD_RANGE || reply.answer_count == 1);
        for (size_t i = 0; i < reply.answer_count; i++) {
            const ds_etcd_answer *one = &reply.answers[i];
            for (size_t k = 0; one->kind == DS_ETCD_OP_RANGE && k < one->count; k++) {
                check_kv(&one->kvs[k]);
                FZ_CHECK(one->kvs[k].create > 0);
            }
        }
        FZ_CHECK(kind != DS_ETCD_AUTHENTICATE || reply.token != NULL);
        FZ_CHECK(kind != DS_ETCD_STATUS || reply.version != NULL);
    }
    ds_etcd_arena_free(&arena);
}

static void line(const char *text, size_t size) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_watch_reply reply;
    if (ds_etcd_json_decode_watch(text, size, &arena, &reply) == DS_ETCD_DECODED) {
        if (reply.failed) {
            check_status(&reply.status);
        } else {
            (void)ds_etcd_judge_cancel(reply.cancel_reason);
        }
        for (size_t i = 0; i < reply.event_count; i++) {
            check_kv(&reply.events[i].kv);
            if (reply.events[i].has_previous) {
                check_kv(&reply.events[i].previous);
            }
        }
    }
    ds_etcd_arena_free(&arena);
}

static void error(const char *text, size_t size) {
    ds_etcd_arena arena = {NULL};
    ds_etcd_status status = ds_etcd_json_decode_error(text, size, &arena);
    check_status(&status);
    ds_etcd_arena_free(&arena);
}

/* What is accepted, printed, is accepted again and prints the same; and with more behind it, it is not. */
static void json(const char *text, size_t size, const ds_json_limits *limits) {
    ds_json *first = ds_json_parse(text, size, limits, NULL, NULL);
    if (first == NULL) {
        return;
    }
    ds_buf printed = DS_BUF_EMPTY, again = DS_BUF_EMPTY;
    ds_json_print(&printed, first);
    ds_json *second = ds_json_parse(printed.data, printed.size, limits, NULL, NULL);
    FZ_CHECK(second != NULL);
    ds_json_print(&again, second);
    FZ_CHECK(printed.size == again.size && memcmp(printed.data, again.data, again.size) == 0);
    ds_buf_add_char(&printed, ']');
    FZ_CHECK(ds_json_parse(printed.data, printed.size, limits, NULL, NULL) == NULL);
    ds_json_free(first);
    ds_json_free(second);
    ds_buf_free(&printed);
    ds_buf_free(&again);
}

/* One spelling for each number. */
static void number(const char *text, size_t size) {
    int64_t value;
    if (ds_parse_int64(text, size, &value)) {
        ds_buf out = DS_BUF_EMPTY;
        ds_buf_add_int(&out, value);
        FZ_CHECK(out.size == size && memcmp(out.data, text, size) == 0);
        ds_buf_free(&out);
    }
}

void fz_target(fz *in) {
    size_t kind = fz_pick(in, DS_ETCD_KIND_COUNT + 4);
    size_t nth = fz_byte(in), size;
    ds_test_fail_allocation(nth >= 128 ? nth - 127 : 0, false);
    const char *text = fz_rest(in, &size);
    switch (kind) {
    case DS_ETCD_KIND_COUNT:
        line(text, size);
        break;
    case DS_ETCD_KIND_COUNT + 1:
        error(text, size);
        break;
    case DS_ETCD_KIND_COUNT + 2: {
        ds_json_limits limits = {1 + (unsigned)nth / 4, 2 + nth * 4};
        ds_test_fail_allocation(0, false);
        json(text, size, &limits);
        break;
    }
    case DS_ETCD_KIND_COUNT + 3:
        ds_test_fail_allocation(0, false);
        number(text, size);
        break;
    default:
        answer((ds_etcd_kind)kind, text, size);
    }
    ds_test_fail_allocation(0, false);
}
