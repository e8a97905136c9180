/* etcd_pb_decode.c: etcd's protobuf answers as structs.
 *
 * Everything comes from the network: every length is checked against what is there, a field of another type than
 * expected is an error and never a default, fields that are not known are stepped over without looking into them. How
 * deep messages lie in each other is the shape of the functions here, never the sender's choice.
 */
#include "etcd_pb.h"

#include <string.h>

/* rpc.proto and kv.proto. What begins with the same word is one message. */
enum {
    HEADER = 1, /* of every answer */
    HEADER_CLUSTER = 1,
    HEADER_REVISION = 3,
    KV_KEY = 1,
    KV_CREATE = 2,
    KV_MOD = 3,
    KV_VALUE = 5,
    KV_LEASE = 6,
    RANGE_KVS = 2,
    RANGE_MORE = 3,
    RANGE_COUNT = 4,
    DELETE_DELETED = 2,
    OP_RANGE = 1,
    OP_PUT = 2,
    OP_DELETE = 3,
    TXN_SUCCEEDED = 2,
    TXN_RESPONSES = 3,
    LEASE_TTL = 3, /* of a grant and a keepalive */
    AUTHENTICATE_TOKEN = 2,
    STATUS_VERSION = 2,
    WATCH_ID = 2,
    WATCH_CREATED = 3,
    WATCH_CANCELED = 4,
    WATCH_COMPACT = 5,
    WATCH_REASON = 6,
    WATCH_EVENTS = 11,
    EVENT_TYPE = 1,
    EVENT_KV = 2,
    EVENT_PREVIOUS = 3,
};

enum { EVENT_IS_PUT = 0, EVENT_IS_DELETE = 1 };

/* No shorter element of a list means anything, and each takes up memory here: a key, and an operation's kind. */
enum { KV_LEAST = 3, EVENT_LEAST = 2 + KV_LEAST, OP_LEAST = 2 };

#define FIELD_MAX UINT64_C(0x1fffffff)

typedef struct reader {
    ds_etcd_arena *arena;
    bool no_memory, malformed;
} reader;

typedef struct span {
    const unsigned char *at, *end;
} span;

typedef enum field_type { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 } field_type;

typedef struct field {
    uint64_t number;
    field_type type;
    uint64_t value; /* VARINT */
    span content;   /* LENGTH */
} field;

static bool reading(const reader *r) {
    return !r->no_memory && !r->malformed;
}

static ds_etcd_decoded verdict(const reader *r) {
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

/* ---- fields ------------------------------------------------------------------------------------------------------ */

static uint64_t read_varint(reader *r, span *in) {
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 70 && in->at < in->end; shift += 7) {
        unsigned byte = *in->at++;
        if (shift == 63 && byte > 1) {
            break; /* more than 64 bits */
        }
        number |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return number;
        }
    }
    r->malformed = true;
    return 0;
}

static span take(reader *r, span *in, uint64_t size) {
    span taken = {in->at, in->at};
    if (size > (uint64_t)(in->end - in->at)) {
        r->malformed = true;
        return taken;
    }
    in->at += size;
    taken.end = in->at;
    return taken;
}

/* The next field. False: there is none, or it is malformed. */
static bool next(reader *r, span *in, field *f) {
    if (in->at == in->end || !reading(r)) {
        return false;
    }
    uint64_t tag = read_varint(r, in);
    f->number = tag >> 3;
    f->type = (field_type)(tag & 7);
    f->value = 0;
    f->content = (span){in->at, in->at};
    if (f->number == 0 || f->number > FIELD_MAX) {
        r->malformed = true;
        return false;
    }
    switch (f->type) {
    case VARINT:
        f->value = read_varint(r, in);
        break;
    case FIXED64:
        (void)take(r, in, 8);
        break;
    case LENGTH:
        f->content = take(r, in, read_varint(r, in));
        break;
    case FIXED32:
        (void)take(r, in, 4);
        break;
    default:
        r->malformed = true; /* a group, which nothing of version 3 has, or none of protobuf's types */
        break;
    }
    return reading(r);
}

static bool is(reader *r, const field *f, field_type type) {
    if (f->type != type) {
        r->malformed = true;
    }
    return f->type == type;
}

static uint64_t uint_of(reader *r, const field *f) {
    return is(r, f, VARINT) ? f->value : 0;
}

static int64_t int_of(reader *r, const field *f) {
    return (int64_t)uint_of(r, f);
}

static bool bool_of(reader *r, const field *f) {
    uint64_t value = uint_of(r, f);
    if (value > 1) {
        r->malformed = true;
    }
    return value == 1;
}

static span part_of(reader *r, const field *f) {
    (void)is(r, f, LENGTH);
    return f->content; /* empty, when it is of another type */
}

static ds_bytes bytes_of(reader *r, const field *f) {
    span content = part_of(r, f);
    size_t size = (size_t)(content.end - content.at);
    const char *copy = ds_etcd_arena_copy(r->arena, (const char *)content.at, size);
    if (copy == NULL) {
        r->no_memory = true;
        return (ds_bytes){"", 0};
    }
    return (ds_bytes){copy, size};
}

static const char *text_of(reader *r, const field *f) {
    ds_bytes bytes = bytes_of(r, f);
    if (memchr(bytes.data, '\0', bytes.size) != NULL) {
        r->malformed = true;
    }
    return bytes.data;
}

/* How many fields `number` there are; each is a message of at least `least` bytes. */
static size_t count_parts(reader *r, span in, uint64_t number, size_t least) {
    size_t count = 0;
    field f;
    while (next(r, &in, &f)) {
        if (f.number == number && is(r, &f, LENGTH)) {
            count++;
            if ((size_t)(f.content.end - f.content.at) < least) {
                r->malformed = true;
            }
        }
    }
    return count;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static void read_header(reader *r, span in, ds_etcd_header *header) {
    field f;
    while (next(r, &in, &f)) {
        if (f.number == HEADER_CLUSTER) {
            header->cluster_id = uint_of(r, &f);
        } else if (f.number == HEADER_REVISION) {
            header->revision = int_of(r, &f);
        }
    }
    if (header->revision < 0) {
        r->malformed = true;
    }
}

static void read_kv(reader *r, span in, ds_etcd_kv *kv) {
    field f;
    *kv = (ds_etcd_kv){.key = {"", 0}, .value = {"", 0}};
    while (next(r, &in, &f)) {
        switch (f.number) {
        case KV_KEY:
            kv->key = bytes_of(r, &f);
            break;
        case KV_CREATE:
            kv->create = int_of(r, &f);
            break;
        case KV_MOD:
            kv->mod = int_of(r, &f);
            break;
        case KV_VALUE:
            kv->value = bytes_of(r, &f);
            break;
        case KV_LEASE:
            kv->lease = int_of(r, &f);
            break;
        default:
            break;
        }
    }
    if (kv->key.size == 0 || kv->create < 0 || kv->mod < 0) {
        r->malformed = true;
    }
}

static void read_kvs(reader *r, span in, ds_etcd_kv *kvs) {
    field f;
    while (next(r, &in, &f)) {
        if (f.number == RANGE_KVS) {
            read_kv(r, part_of(r, &f), kvs);
            if (kvs->create == 0) {
                r->malformed = true; /* what exists was created */
            }
            kvs++;
        }
    }
}

static void read_range(reader *r, span in, ds_etcd_answer *answer) {
    *answer = (ds_etcd_answer){.kind = DS_ETCD_OP_RANGE};
    field f;
    span rest = in;
    while (next(r, &rest, &f)) {
        if (f.number == RANGE_MORE) {
            answer->more = bool_of(r, &f);
        } else if (f.number == RANGE_COUNT) {
            answer->total = int_of(r, &f);
        }
    }
    answer->count = count_parts(r, in, RANGE_KVS, KV_LEAST);
    if (answer->count == 0 || !reading(r)) {
        return;
    }
    ds_etcd_kv *kvs = get(r, answer->count, sizeof(*kvs));
    if (kvs != NULL) {
        answer->kvs = kvs;
        read_kvs(r, in, kvs);
    }
}

static void read_deleted(reader *r, span in, ds_etcd_answer *answer) {
    *answer = (ds_etcd_answer){.kind = DS_ETCD_OP_DELETE};
    field f;
    while (next(r, &in, &f)) {
        if (f.number == DELETE_DELETED) {
            answer->deleted = int_of(r, &f);
        }
    }
}

/* Exactly one of the kinds. */
static void read_answer(reader *r, span in, ds_etcd_answer *answer) {
    field f;
    size_t kinds = 0;
    while (next(r, &in, &f)) {
        if (f.number == OP_RANGE) {
            read_range(r, part_of(r, &f), answer);
        } else if (f.number == OP_DELETE) {
            read_deleted(r, part_of(r, &f), answer);
        } else if (f.number == OP_PUT) {
            (void)part_of(r, &f);
            *answer = (ds_etcd_answer){.kind = DS_ETCD_OP_PUT};
        } else {
            continue;
        }
        kinds++;
    }
    if (kinds != 1) {
        r->malformed = true;
    }
}

static void read_responses(reader *r, span in, ds_etcd_reply *reply) {
    reply->answer_count = count_parts(r, in, TXN_RESPONSES, OP_LEAST);
    if (reply->answer_count == 0 || !reading(r)) {
        return;
    }
    ds_etcd_answer *answers = get(r, reply->answer_count, sizeof(*answers));
    if (answers == NULL) {
        return;
    }
    reply->answers = answers;
    field f;
    while (next(r, &in, &f)) {
        if (f.number == TXN_RESPONSES) {
            read_answer(r, part_of(r, &f), answers++);
        }
    }
}

static void read_only_range(reader *r, span in, ds_etcd_reply *reply) {
    ds_etcd_answer *answer = get(r, 1, sizeof(*answer));
    if (answer != NULL) {
        read_range(r, in, answer);
        reply->answers = answer;
        reply->answer_count = 1;
    }
}

/* ---- whole answers ----------------------------------------------------------------------------------------------- */

/* A field with another number than the header's. */
static void read_field(reader *r, ds_etcd_kind kind, const field *f, ds_etcd_reply *reply) {
    switch (kind) {
    case DS_ETCD_TXN:
        if (f->number == TXN_SUCCEEDED) {
            reply->succeeded = bool_of(r, f);
        }
        break;
    case DS_ETCD_GRANT:
    case DS_ETCD_KEEPALIVE:
        if (f->number == LEASE_TTL) {
            reply->ttl = int_of(r, f);
        }
        break;
    case DS_ETCD_AUTHENTICATE:
        if (f->number == AUTHENTICATE_TOKEN) {
            reply->token = text_of(r, f);
        }
        break;
    case DS_ETCD_STATUS:
        if (f->number == STATUS_VERSION) {
            reply->version = text_of(r, f);
        }
        break;
    case DS_ETCD_RANGE:
    case DS_ETCD_REVOKE:
    case DS_ETCD_KIND_COUNT:
        break;
    }
}

ds_etcd_decoded ds_etcd_pb_decode(ds_etcd_kind kind, const char *bytes, size_t size, ds_etcd_arena *arena,
                                  ds_etcd_reply *reply) {
    const unsigned char *begin = (const unsigned char *)bytes;
    span whole = {begin, begin + size}, rest = whole;
    reader r = {.arena = arena};
    field f;
    *reply = (ds_etcd_reply){.token = "", .version = "", .status = {-1, ""}};
    while (next(&r, &rest, &f)) {
        if (f.number == HEADER) {
            read_header(&r, part_of(&r, &f), &reply->header);
        } else {
            read_field(&r, kind, &f, reply);
        }
    }
    if (reply->header.cluster_id == 0) {
        r.malformed = true; /* every answer of an etcd says which cluster it is from */
    }
    if (kind == DS_ETCD_TXN && reply->header.revision == 0) {
        r.malformed = true; /* an empty store is at 1; tokens are made of this */
    }
    if (kind == DS_ETCD_TXN && reading(&r)) {
        read_responses(&r, whole, reply);
    } else if (kind == DS_ETCD_RANGE && reading(&r)) {
        read_only_range(&r, whole, reply);
    }
    return verdict(&r);
}

static void read_event(reader *r, span in, ds_etcd_event *event) {
    field f;
    while (next(r, &in, &f)) {
        if (f.number == EVENT_TYPE) {
            uint64_t type = uint_of(r, &f);
            event->deleted = type == EVENT_IS_DELETE;
            if (type != EVENT_IS_PUT && type != EVENT_IS_DELETE) {
                r->malformed = true;
            }
        } else if (f.number == EVENT_KV) {
            read_kv(r, part_of(r, &f), &event->kv);
        } else if (f.number == EVENT_PREVIOUS) {
            event->has_previous = true;
            read_kv(r, part_of(r, &f), &event->previous);
        }
    }
    if (event->kv.key.size == 0) {
        r->malformed = true;
    }
}

static void read_events(reader *r, span in, ds_etcd_watch_reply *reply) {
    reply->event_count = count_parts(r, in, WATCH_EVENTS, EVENT_LEAST);
    if (reply->event_count == 0 || !reading(r)) {
        return;
    }
    ds_etcd_event *events = get(r, reply->event_count, sizeof(*events));
    if (events == NULL) {
        return;
    }
    reply->events = events;
    field f;
    while (next(r, &in, &f)) {
        if (f.number == WATCH_EVENTS) {
            read_event(r, part_of(r, &f), events++);
        }
    }
}

static void read_watch_field(reader *r, const field *f, ds_etcd_watch_reply *reply) {
    switch (f->number) {
    case HEADER:
        read_header(r, part_of(r, f), &reply->header);
        break;
    case WATCH_ID:
        reply->id = int_of(r, f);
        break;
    case WATCH_CREATED:
        reply->created = bool_of(r, f);
        break;
    case WATCH_CANCELED:
        reply->canceled = bool_of(r, f);
        break;
    case WATCH_COMPACT:
        reply->compact_revision = int_of(r, f);
        break;
    case WATCH_REASON:
        reply->cancel_reason = text_of(r, f);
        break;
    default:
        break;
    }
}

ds_etcd_decoded ds_etcd_pb_decode_watch(const char *bytes, size_t size, ds_etcd_arena *arena,
                                        ds_etcd_watch_reply *reply) {
    const unsigned char *begin = (const unsigned char *)bytes;
    span whole = {begin, begin + size}, rest = whole;
    reader r = {.arena = arena};
    field f;
    *reply = (ds_etcd_watch_reply){.cancel_reason = "", .status = {-1, ""}};
    while (next(&r, &rest, &f)) {
        read_watch_field(&r, &f, reply);
    }
    if (reading(&r)) {
        read_events(&r, whole, reply);
    }
    return verdict(&r);
}
