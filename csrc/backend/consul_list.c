/* consul_list.c: who is in a queue, or in every queue below a path; and one value.
 *
 * A listing is one answer at one moment of the server's. Beside the entries it looks at the lock itself: an entry holds
 * only if its session has that, and whoever has it without an entry is listed, too.
 */
#include "consul_queue.h"

#include <stdlib.h>
#include <string.h>

static const char entry_mark[] = "/.queue/";
static const char native_end[] = "/.lock";

/* ---- which key is what ------------------------------------------------------------------------------------------- */

/* Length of the path of the queue that the key belongs to, 0: to none. */
static size_t queue_length(const char *key, bool *native) {
    size_t size = strlen(key), end = sizeof(native_end) - 1;
    *native = size > end && strcmp(key + size - end, native_end) == 0;
    if (*native) {
        return size - end;
    }
    const char *slash = strrchr(key, '/');
    size_t mark = sizeof(entry_mark) - 1;
    size_t upto = slash != NULL ? (size_t)(slash - key) + 1 : 0;
    return upto > mark && strncmp(key + upto - mark, entry_mark, mark) == 0 ? upto - mark : 0;
}

static int compare_peers(const void *left, const void *right) {
    const ds_peer *a = left, *b = right;
    int order = strcmp(a->path, b->path);
    if (order == 0 && a->holds != b->holds) {
        return a->holds ? -1 : 1;
    }
    return order != 0 ? order : (a->token > b->token) - (a->token < b->token);
}

static void fill_peer(ds_peer *peer, const char *path, const ds_consul_pair *pair, bool holds) {
    *peer = (ds_peer){.path = path, .key = pair->key, .value = pair->value, .value_size = pair->value_size};
    peer->token = pair->created;
    peer->holds = holds;
}

static void refuse(ds_consul_call *call) {
    ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_RESOURCE, .message = "out of memory"};
    ds_consul_finish(call, &reply);
}

static void finish(ds_consul_call *call, size_t count, size_t limit) {
    if (count > 1) {
        qsort(call->peers, count, sizeof(*call->peers), compare_peers);
    }
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE, .peers = call->peers};
    reply.peer_count = limit > 0 && count > limit ? limit : count;
    ds_consul_finish(call, &reply);
}

/* ---- one queue --------------------------------------------------------------------------------------------------- */

static void read_queue(ds_consul_call *call, bool native);

static void on_queue(ds_consul_call *call, const ds_consul_answer *answer) {
    if (answer->failed != 0) {
        read_queue(call, false); /* there is no lock */
        return;
    }
    const ds_consul_pair *native = ds_consul_find(answer, call->native.data);
    bool held = native != NULL && native->session[0] != '\0';
    const ds_consul_pair *holder = ds_consul_holder(call, answer, native);
    call->peers = ds_calloc(answer->count + 1, sizeof(*call->peers));
    if (call->peers == NULL) {
        refuse(call);
        return;
    }
    size_t count = 0;
    for (size_t i = 0; i < answer->count; i++) {
        const ds_consul_pair *pair = &answer->pairs[i];
        if (pair != native) {
            fill_peer(&call->peers[count++], call->text.data, pair, holder != NULL && pair == holder);
        }
    }
    if (native != NULL && held && holder == NULL) { /* somebody who knows of no queue */
        fill_peer(&call->peers[count], call->text.data, native, true);
        call->peers[count++].token = native->modified;
    }
    finish(call, count, (size_t)call->other_token);
}

static void read_queue(ds_consul_call *call, bool native) {
    ds_consul_txn *txn = ds_consul_txn_of(call);
    if (native) {
        ds_consul_get(txn, call->native.data);
    }
    ds_consul_tree(txn, call->queue.data);
    ds_consul_step(call, DS_CONSUL_READ, on_queue);
}

/* ---- every queue below a path ------------------------------------------------------------------------------------ */

/* The paths, one after the other, each ended by a NUL. */
static char *copy_paths(const ds_consul_answer *answer) {
    size_t size = 1;
    bool native;
    for (size_t i = 0; i < answer->count; i++) {
        size += queue_length(answer->pairs[i].key, &native) + 2;
    }
    return ds_malloc(size);
}

typedef struct found {
    const char *path;
    const ds_consul_pair *pair;
    bool native;
} found;

static int compare_found(const void *left, const void *right) {
    const found *a = left, *b = right;
    int order = strcmp(a->path, b->path);
    if (order == 0 && a->native != b->native) {
        return a->native ? -1 : 1;
    }
    return order != 0 ? order : (a->pair->created > b->pair->created) - (a->pair->created < b->pair->created);
}

/* All of one queue, the lock first if there is one. */
static size_t add_queue(ds_peer *peers, const found *all, size_t count) {
    const ds_consul_pair *native = all[0].native && all[0].pair->session[0] != '\0' ? all[0].pair : NULL;
    bool held = native != NULL;
    size_t added = 0;
    for (size_t i = all[0].native ? 1 : 0; i < count; i++) {
        /* They come by age: the first one of the session that has the lock is who holds it. */
        bool owner = held && strcmp(all[i].pair->session, native->session) == 0;
        fill_peer(&peers[added++], all[i].path, all[i].pair, owner);
        held = held && !owner;
    }
    if (native != NULL && held) {
        fill_peer(&peers[added], all[0].path, native, true);
        peers[added++].token = native->modified;
    }
    return added;
}

static size_t find_all(ds_consul_call *call, const ds_consul_answer *answer, found *all) {
    char *at = call->strings;
    bool slash = call->text.data[0] == '/'; /* as the caller spells its paths */
    size_t count = 0;
    for (size_t i = 0; i < answer->count; i++) {
        bool native;
        size_t length = queue_length(answer->pairs[i].key, &native);
        if (length > 0) {
            all[count++] = (found){at, &answer->pairs[i], native};
            if (slash) {
                *at++ = '/';
            }
            memcpy(at, answer->pairs[i].key, length);
            at[length] = '\0';
            at += length + 1;
        }
    }
    return count;
}

static void on_tree(ds_consul_call *call, const ds_consul_answer *answer) {
    call->peers = ds_calloc(answer->count + 1, sizeof(*call->peers));
    call->strings = copy_paths(answer);
    found *all = ds_calloc(answer->count + 1, sizeof(*all));
    if (call->peers == NULL || call->strings == NULL || all == NULL) {
        ds_free(all);
        refuse(call);
        return;
    }
    size_t total = find_all(call, answer, all), count = 0;
    if (total > 1) {
        qsort(all, total, sizeof(*all), compare_found);
    }
    for (size_t i = 0, next; i < total; i = next) {
        for (next = i + 1; next < total && strcmp(all[next].path, all[i].path) == 0;) {
            next++;
        }
        count += add_queue(call->peers + count, all + i, next - i);
    }
    ds_free(all);
    finish(call, count, 0);
}

void ds_consul_list(ds_backend *backend, ds_call *owner, const ds_list_spec *spec) {
    ds_consul_call *call = ds_consul_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    ds_buf_add_text(&call->text, spec->path);
    call->other_token = (int64_t)spec->limit;
    call->exchange.global = ds_consul_is_global(call->consul, spec->path);
    ds_consul_key_native(call->consul, &call->native, spec->path);
    ds_consul_key_queue(call->consul, &call->queue, spec->path);
    ds_buf_add_format(&call->own, "%s/", ds_consul_bare(spec->path));
    if (ds_consul_no_memory(call)) {
        return;
    }
    if (!spec->subtree) {
        read_queue(call, true);
        return;
    }
    ds_consul_tree(ds_consul_txn_of(call), call->own.data);
    ds_consul_step(call, DS_CONSUL_READ, on_tree);
}

/* ---- one value --------------------------------------------------------------------------------------------------- */

static void on_got(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *pair = answer->count == 1 ? &answer->pairs[0] : NULL;
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE};
    if (pair != NULL) {
        reply.value = pair->value;
        reply.value_size = pair->value_size;
        reply.token = pair->modified;
    }
    ds_consul_finish(call, &reply);
}

void ds_consul_get_value(ds_backend *backend, ds_call *owner, const char *key) {
    ds_consul_call *call = ds_consul_begin(backend, owner, NULL);
    if (call == NULL) {
        return;
    }
    call->exchange.global = ds_consul_is_global(call->consul, key);
    ds_consul_get(ds_consul_txn_of(call), ds_consul_bare(key));
    ds_consul_step(call, DS_CONSUL_READ, on_got);
}
