/* etcd_list.c: who is in a queue, or in every queue below a path.
 *
 * One queue is read in the order of creation. A subtree is read in the order of keys, page by page at one revision; a
 * page ends where a queue ends, and a queue longer than a page is read to its end first.
 */
#include "etcd.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 128                           /* entries asked for at once, while they are small */
#define PAGE_BYTES_MAX ((size_t)16 << 20)  /* the most to take in one answer */
#define LIST_BYTES_MAX ((size_t)128 << 20) /* the most to keep, decoded */
#define FIRST_CAPACITY 64

static void ask(ds_etcd_call *call);

/* The queue's part of an entry's key. */
static ds_bytes queue_of(const ds_etcd_kv *kv) {
    size_t size = kv->key.size;
    while (size > 0 && kv->key.data[size - 1] != '/') {
        size--;
    }
    return (ds_bytes){kv->key.data, size > 0 ? size - 1 : 0};
}

static bool same_queue(const ds_etcd_kv *left, const ds_etcd_kv *right) {
    return ds_bytes_equal(queue_of(left), queue_of(right));
}

static int compare_bytes(ds_bytes left, ds_bytes right) {
    size_t common = left.size < right.size ? left.size : right.size;
    int order = common > 0 ? memcmp(left.data, right.data, common) : 0;
    return order != 0 ? order : (left.size > right.size) - (left.size < right.size);
}

static int compare_entries(const void *left_item, const void *right_item) {
    const ds_etcd_kv *left = left_item, *right = right_item;
    int order = compare_bytes(queue_of(left), queue_of(right));
    return order != 0 ? order : (left->create > right->create) - (left->create < right->create);
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

static void refuse(ds_etcd_call *call, const char *message) {
    ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_RESOURCE, .message = message};
    ds_etcd_finish(call, &reply);
}

static const char *path_of(ds_etcd_call *call, const ds_etcd_kv *kv) {
    if (!call->list.subtree) {
        return call->text.data;
    }
    ds_bytes path = queue_of(kv);
    return ds_etcd_arena_copy(&call->exchange.arena, path.data, path.size);
}

static ds_peer *make_peers(ds_etcd_call *call, size_t count) {
    ds_peer *peers = ds_etcd_arena_get(&call->exchange.arena, count, sizeof(*peers));
    for (size_t i = 0; peers != NULL && i < count; i++) {
        const ds_etcd_kv *kv = &call->list.found[i];
        ds_peer *peer = &peers[i];
        bool first = i == 0 || (call->list.subtree && !same_queue(kv, kv - 1));
        peer->path = first ? path_of(call, kv) : peer[-1].path;
        if (peer->path == NULL) {
            return NULL;
        }
        peer->key = kv->key.data;
        peer->value = kv->value.data;
        peer->value_size = kv->value.size;
        peer->token = kv->create;
        peer->holds = first;
    }
    return peers;
}

/* `next` belongs to the arena, as the keys do. */
static void finish(ds_etcd_call *call, size_t count, const char *next) {
    if (call->list.subtree && count > 1) {
        qsort(call->list.found, count, sizeof(*call->list.found), compare_entries);
    }
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE, .revision = call->list.revision};
    reply.peers = count > 0 ? make_peers(call, count) : NULL;
    reply.peer_count = count;
    reply.next = next;
    if (count > 0 && reply.peers == NULL) {
        refuse(call, "out of memory");
    } else {
        ds_etcd_finish(call, &reply);
    }
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/* Only what was asked for. What lies directly below the path of a subtree is in no queue, and a key with a NUL cannot
 * be shown. */
static bool wanted(const ds_etcd_call *call, const ds_etcd_kv *kv) {
    size_t size = call->text.size;
    bool below = kv->key.size > size && memcmp(kv->key.data, call->text.data, size) == 0 && kv->key.data[size] == '/';
    return below && (!call->list.subtree || queue_of(kv).size > size) &&
           memchr(kv->key.data, '\0', kv->key.size) == NULL;
}

static bool add_found(ds_etcd_listing *list, const ds_etcd_kv *kv) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? FIRST_CAPACITY : list->capacity * 2;
        ds_etcd_kv *grown = ds_realloc(list->found, capacity * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        list->found = grown;
        list->capacity = capacity;
    }
    list->found[list->count++] = *kv;
    list->bytes += sizeof(*kv) + kv->key.size + kv->value.size;
    return true;
}

static bool add_page(ds_etcd_call *call, const ds_etcd_answer *answer) {
    for (size_t i = 0; i < answer->count; i++) {
        if (wanted(call, &answer->kvs[i]) && !add_found(&call->list, &answer->kvs[i])) {
            return false;
        }
    }
    return true;
}

/* How many of the entries found belong to queues that end before the last one found. */
static size_t complete(const ds_etcd_listing *list) {
    size_t count = list->count;
    while (count > 0 && same_queue(&list->found[count - 1], &list->found[list->count - 1])) {
        count--;
    }
    return count;
}

static void go_on_after(ds_etcd_call *call, const ds_etcd_kv *last) {
    if (call->list.subtree) {
        ds_buf_clear(&call->own);
        ds_buf_add(&call->own, last->key.data, last->key.size + 1); /* with its NUL: the next possible key */
    } else if (last->create == INT64_MAX) {
        ds_etcd_finish_impossible(call);
        return;
    } else {
        call->token = last->create + 1;
    }
    if (call->own.failed) {
        refuse(call, "out of memory");
    } else if (call->list.bytes > LIST_BYTES_MAX) {
        refuse(call, "etcd: the list is too large to hold in memory");
    } else {
        ask(call);
    }
}

static void on_page(ds_etcd_call *call, const ds_etcd_reply *reply) {
    const ds_etcd_answer *answer = &reply->answers[0];
    ds_etcd_listing *list = &call->list;
    if (!add_page(call, answer)) {
        refuse(call, "out of memory");
        return;
    }
    if (list->revision == 0) {
        list->revision = reply->header.revision;
    }
    bool enough = list->limit > 0 && list->count >= list->limit;
    if (!answer->more || answer->count == 0 || enough) {
        finish(call, list->count, NULL);
        return;
    }
    size_t whole = list->subtree ? complete(list) : 0;
    if (whole > 0) {
        finish(call, whole, list->found[whole - 1].key.data);
    } else {
        go_on_after(call, &answer->kvs[answer->count - 1]);
    }
}

/* A queue: from call->token on. A subtree: from the key in call->own on. */
static void ask(ds_etcd_call *call) {
    const ds_etcd_listing *list = &call->list;
    size_t left = list->limit > list->count ? list->limit - list->count : list->page;
    ds_etcd_request request = {.kind = DS_ETCD_RANGE};
    ds_etcd_range *range = &request.as.range;
    range->key = ds_bytes_of(list->subtree ? &call->own : &call->queue);
    range->end = ds_bytes_of(&call->queue_end);
    range->order = list->subtree ? DS_ETCD_BY_KEY : DS_ETCD_OLDEST_FIRST;
    range->limit = (int64_t)(left < list->page ? left : list->page);
    range->revision = list->revision;
    range->min_create = list->subtree ? 0 : call->token;
    ds_etcd_step(call, &request, on_page);
}

/* Values are large: ask for fewer at once. */
static bool on_no_page(ds_etcd_call *call, const ds_etcd_result *result) {
    if (!result->too_large || call->list.page == 1) {
        return false;
    }
    call->list.page /= 2;
    ask(call);
    return true;
}

void ds_etcd_list(ds_backend *backend, ds_call *owner, const ds_list_spec *spec) {
    ds_etcd_call *call = ds_etcd_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    call->list.subtree = spec->subtree;
    call->list.limit = spec->subtree ? 0 : spec->limit;
    call->exchange.keep = true;
    call->exchange.reply_max = PAGE_BYTES_MAX;
    call->list.page = PAGE;
    call->failed = on_no_page;
    ds_buf_add_text(&call->text, spec->path);
    ds_etcd_key_range(&call->queue, &call->queue_end, spec->path);
    if (spec->after != NULL) {
        ds_buf_add(&call->own, spec->after, strlen(spec->after) + 1);
    } else {
        ds_buf_add(&call->own, call->queue.data, call->queue.size);
    }
    if (!ds_etcd_no_memory(call)) {
        ask(call);
    }
}
