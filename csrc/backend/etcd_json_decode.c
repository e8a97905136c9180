/* etcd_json_decode.c: the JSON answers of etcd's gateway as structs.
 *
 * Everything comes from the network: sizes are bounded by the caller's cap and the token limits here, base64 and
 * integers are strict, and a member of another type than expected is an error, never a default.
 */
#include "etcd_json.h"

#include "../base/json.h"

#include <string.h>

#define DEPTH_MAX 32

typedef struct reader {
    ds_etcd_arena *arena;
    ds_buf scratch;
    bool no_memory, malformed;
} reader;

static bool reading(const reader *r) {
    return !r->no_memory && !r->malformed;
}

static ds_etcd_decoded verdict(reader *r) {
    ds_buf_free(&r->scratch);
    if (r->no_memory) {
        return DS_ETCD_NO_MEMORY;
    }
    return r->malformed ? DS_ETCD_MALFORMED : DS_ETCD_DECODED;
}

static void *get(reader *r, size_t count, size_t size) {
    void *memory = ds_etcd_arena_get(r->arena, count, size);
    if (memory == NULL) {
        r->no_memory = true;
    }
    return memory;
}

static const char *copy(reader *r, const char *bytes, size_t size) {
    const char *text = ds_etcd_arena_copy(r->arena, bytes, size);
    if (text == NULL) {
        r->no_memory = true;
        return "";
    }
    return text;
}

/* ---- members that may be absent, but not of another type --------------------------------------------------------- */

static int64_t read_int(reader *r, const ds_json *object, const char *name) {
    int64_t number = 0;
    if (ds_json_member(object, name) != NULL && !ds_json_int64(object, name, &number)) {
        r->malformed = true;
    }
    return number;
}

static uint64_t read_uint(reader *r, const ds_json *object, const char *name) {
    uint64_t number = 0;
    if (ds_json_member(object, name) != NULL && !ds_json_uint64(object, name, &number)) {
        r->malformed = true;
    }
    return number;
}

static const char *read_text(reader *r, const ds_json *object, const char *name) {
    if (ds_json_member(object, name) == NULL) {
        return "";
    }
    const char *text = ds_json_text(object, name);
    if (text == NULL) {
        r->malformed = true;
        return "";
    }
    return copy(r, text, strlen(text));
}

/* A bool of another type reads differently under the two defaults. */
static bool read_bool(reader *r, const ds_json *object, const char *name) {
    bool value = ds_json_bool(object, name, false);
    if (ds_json_member(object, name) != NULL && value != ds_json_bool(object, name, true)) {
        r->malformed = true;
    }
    return value;
}

static ds_bytes read_bytes(reader *r, const ds_json *object, const char *name) {
    ds_bytes bytes = {"", 0};
    if (ds_json_member(object, name) == NULL) {
        return bytes;
    }
    const char *text = ds_json_text(object, name);
    if (text == NULL || !ds_base64_decode(text, strlen(text), &r->scratch)) {
        if (r->scratch.failed) {
            r->no_memory = true;
        } else {
            r->malformed = true;
        }
        return bytes;
    }
    bytes.data = copy(r, r->scratch.data, r->scratch.size);
    bytes.size = r->scratch.size;
    return bytes;
}

static const ds_json *read_object(reader *r, const ds_json *object, const char *name) {
    const ds_json *member = ds_json_object(object, name);
    if (member == NULL && ds_json_member(object, name) != NULL) {
        r->malformed = true;
    }
    return member;
}

/* The first of an array of objects, and how many there are. NULL and 0: none. */
static const ds_json *read_array(reader *r, const ds_json *object, const char *name, size_t *count) {
    *count = 0;
    if (ds_json_member(object, name) == NULL) {
        return NULL;
    }
    const ds_json *array = ds_json_array(object, name);
    if (array == NULL) {
        r->malformed = true;
        return NULL;
    }
    for (const ds_json *item = ds_json_first(array); item != NULL; item = ds_json_next(item)) {
        if (!ds_json_is_object(item)) {
            r->malformed = true;
            return NULL;
        }
        ++*count;
    }
    return ds_json_first(array);
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static void read_header(reader *r, const ds_json *object, ds_etcd_header *header) {
    const ds_json *from = read_object(r, object, "header");
    header->cluster_id = read_uint(r, from, "cluster_id");
    header->revision = read_int(r, from, "revision");
    if (header->revision < 0) {
        r->malformed = true;
    }
}

static void read_kv(reader *r, const ds_json *object, ds_etcd_kv *kv) {
    kv->key = read_bytes(r, object, "key");
    kv->value = read_bytes(r, object, "value");
    kv->create = read_int(r, object, "create_revision");
    kv->mod = read_int(r, object, "mod_revision");
    kv->lease = read_int(r, object, "lease");
    if (kv->key.size == 0 || kv->create < 0 || kv->mod < 0) {
        r->malformed = true;
    }
}

static void read_range(reader *r, const ds_json *object, ds_etcd_answer *answer) {
    answer->kind = DS_ETCD_OP_RANGE;
    answer->more = read_bool(r, object, "more");
    answer->total = read_int(r, object, "count");
    const ds_json *item = read_array(r, object, "kvs", &answer->count);
    if (answer->count == 0 || !reading(r)) {
        return;
    }
    ds_etcd_kv *kvs = get(r, answer->count, sizeof(*kvs));
    if (kvs == NULL) {
        return;
    }
    answer->kvs = kvs;
    for (; item != NULL && reading(r); item = ds_json_next(item), kvs++) {
        read_kv(r, item, kvs);
        if (kvs->create == 0) {
            r->malformed = true; /* what exists was created */
        }
    }
}

static void read_answer(reader *r, const ds_json *object, ds_etcd_answer *answer) {
    const ds_json *body = read_object(r, object, "response_range");
    if (body != NULL) {
        read_range(r, body, answer);
        return;
    }
    body = read_object(r, object, "response_delete_range");
    if (body != NULL) {
        answer->kind = DS_ETCD_OP_DELETE;
        answer->deleted = read_int(r, body, "deleted");
        return;
    }
    answer->kind = DS_ETCD_OP_PUT;
    if (read_object(r, object, "response_put") == NULL) {
        r->malformed = true;
    }
}

static void read_txn(reader *r, const ds_json *object, ds_etcd_reply *reply) {
    reply->succeeded = read_bool(r, object, "succeeded");
    const ds_json *item = read_array(r, object, "responses", &reply->answer_count);
    if (reply->answer_count == 0 || !reading(r)) {
        return;
    }
    ds_etcd_answer *answers = get(r, reply->answer_count, sizeof(*answers));
    if (answers == NULL) {
        return;
    }
    reply->answers = answers;
    for (; item != NULL && reading(r); item = ds_json_next(item)) {
        read_answer(r, item, answers++);
    }
}

/* Errors come as {"error":"text","code":5,"message":"text"}, without `error` from newer servers, or on a stream as
 * {"error":{"grpc_code":5,"message":"text"}}. */
static ds_etcd_status read_status(reader *r, const ds_json *object) {
    ds_etcd_status status = {-1, ""};
    const ds_json *inner = ds_json_object(object, "error");
    const ds_json *from = inner != NULL ? inner : object;
    int64_t code;
    if (ds_json_int64(from, inner != NULL ? "grpc_code" : "code", &code) && code >= 0 && code <= 16) {
        status.code = (int)code;
    }
    const char *text = ds_json_text(from, "message");
    if (text == NULL) {
        text = ds_json_text(from, "error");
    }
    if (text != NULL) {
        status.message = copy(r, text, strlen(text));
    }
    return status;
}

/* ---- whole answers ----------------------------------------------------------------------------------------------- */

static void read_reply(reader *r, ds_etcd_kind kind, const ds_json *object, ds_etcd_reply *reply) {
    read_header(r, object, &reply->header);
    if (reply->header.cluster_id == 0) {
        r->malformed = true; /* every answer of an etcd says which cluster it is from */
    }
    switch (kind) {
    case DS_ETCD_RANGE: {
        ds_etcd_answer *answer = get(r, 1, sizeof(*answer));
        if (answer != NULL) {
            read_range(r, object, answer);
            reply->answers = answer;
            reply->answer_count = 1;
        }
        break;
    }
    case DS_ETCD_TXN:
        read_txn(r, object, reply);
        if (reply->header.revision == 0) {
            r->malformed = true; /* an empty store is at 1; tokens are made of this */
        }
        break;
    case DS_ETCD_GRANT:
    case DS_ETCD_KEEPALIVE:
        reply->ttl = read_int(r, object, "TTL");
        break;
    case DS_ETCD_AUTHENTICATE:
        reply->token = read_text(r, object, "token");
        break;
    case DS_ETCD_STATUS:
        reply->version = read_text(r, object, "version");
        break;
    case DS_ETCD_REVOKE:
    case DS_ETCD_KIND_COUNT:
        break;
    }
}

static ds_json *parse(reader *r, const char *text, size_t size, size_t tokens) {
    ds_json_limits limits = {DEPTH_MAX, tokens};
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r')) {
        size--;
    }
    ds_json *json = size == 0 ? NULL : ds_json_parse(text, size, &limits, &r->no_memory, NULL);
    if (json == NULL || !ds_json_is_object(json)) {
        r->malformed = true;
    }
    return json;
}

/* No answer can have more tokens than half its bytes; the cap on bytes is the transport's. */
static size_t token_limit(size_t size) {
    return size / 2 + 16;
}

ds_etcd_decoded ds_etcd_json_decode(ds_etcd_kind kind, const char *text, size_t size, ds_etcd_arena *arena,
                                    ds_etcd_reply *reply) {
    reader r = {.arena = arena};
    memset(reply, 0, sizeof(*reply));
    reply->status = (ds_etcd_status){-1, ""};
    ds_json *json = parse(&r, text, size, token_limit(size));
    if (reading(&r)) {
        const ds_json *result = read_object(&r, json, "result"); /* streams wrap each answer */
        if (ds_json_member(json, "error") != NULL) {
            reply->failed = true;
            reply->status = read_status(&r, json);
        } else if ((kind == DS_ETCD_KEEPALIVE) != (result != NULL)) {
            r.malformed = true;
        } else {
            read_reply(&r, kind, result != NULL ? result : json, reply);
        }
    }
    ds_json_free(json);
    return verdict(&r);
}

static void read_event(reader *r, const ds_json *object, ds_etcd_event *event) {
    const char *type = read_text(r, object, "type");
    event->deleted = strcmp(type, "DELETE") == 0;
    if (!event->deleted && type[0] != '\0' && strcmp(type, "PUT") != 0) {
        r->malformed = true;
    }
    const ds_json *kv = read_object(r, object, "kv");
    if (kv == NULL) {
        r->malformed = true;
        return;
    }
    read_kv(r, kv, &event->kv);
    const ds_json *previous = read_object(r, object, "prev_kv");
    if (previous != NULL) {
        event->has_previous = true;
        read_kv(r, previous, &event->previous);
    }
}

static void read_watch(reader *r, const ds_json *object, ds_etcd_watch_reply *reply) {
    read_header(r, object, &reply->header);
    reply->id = read_int(r, object, "watch_id");
    reply->created = read_bool(r, object, "created");
    reply->canceled = read_bool(r, object, "canceled");
    reply->compact_revision = read_int(r, object, "compact_revision");
    reply->cancel_reason = read_text(r, object, "cancel_reason");
    const ds_json *item = read_array(r, object, "events", &reply->event_count);
    if (reply->event_count == 0 || !reading(r)) {
        return;
    }
    ds_etcd_event *events = get(r, reply->event_count, sizeof(*events));
    if (events == NULL) {
        return;
    }
    reply->events = events;
    for (; item != NULL && reading(r); item = ds_json_next(item)) {
        read_event(r, item, events++);
    }
}

ds_etcd_decoded ds_etcd_json_decode_watch(const char *text, size_t size, ds_etcd_arena *arena,
                                          ds_etcd_watch_reply *reply) {
    reader r = {.arena = arena};
    memset(reply, 0, sizeof(*reply));
    reply->status = (ds_etcd_status){-1, ""};
    ds_json *json = parse(&r, text, size, token_limit(size));
    if (reading(&r)) {
        const ds_json *result = read_object(&r, json, "result");
        if (result != NULL) {
            read_watch(&r, result, reply);
        } else if (ds_json_member(json, "error") != NULL) {
            reply->failed = true;
            reply->status = read_status(&r, json);
        } else {
            r.malformed = true;
        }
    }
    ds_json_free(json);
    return verdict(&r);
}

ds_etcd_status ds_etcd_json_decode_error(const char *text, size_t size, ds_etcd_arena *arena) {
    ds_etcd_status status = {-1, ""};
    reader r = {.arena = arena};
    if (text != NULL) {
        ds_json *json = parse(&r, text, size, 256);
        if (reading(&r)) {
            status = read_status(&r, json);
        }
        ds_json_free(json);
    }
    ds_buf_free(&r.scratch);
    return r.no_memory ? (ds_etcd_status){DS_ETCD_UNREAD, "out of memory"} : status;
}
