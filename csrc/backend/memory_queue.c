/* memory_queue.c: queues and the entries in them.
 *
 * An entry is found by its nonce, which is random, so a name that is locked and released all the time costs no string
 * hash for it.
 */
#include "memory.h"

#include <string.h>

/* ---- queues ------------------------------------------------------------------------------------------------------ */

mem_queue *mem_queue_find(mem_store *store, const char *path) {
    return ds_map_get(&store->queues, path);
}

mem_entry *mem_queue_first(const mem_queue *queue) {
    return DS_LIST_ENTRY(queue->entries.next, mem_entry, in_queue);
}

mem_entry *mem_entry_ahead(const mem_entry *entry) {
    ds_list *before = entry->in_queue.prev;
    return before == &entry->queue->entries ? NULL : DS_LIST_ENTRY(before, mem_entry, in_queue);
}

static mem_queue *queue_make(mem_store *store, const char *path) {
    size_t size = strlen(path) + 1;
    mem_queue *queue = ds_malloc(sizeof(*queue) + size);
    if (queue == NULL) {
        return NULL;
    }
    ds_list_init(&queue->entries);
    queue->count = 0;
    memcpy(queue->path, path, size);
    if (!ds_map_put(&store->queues, path, queue)) {
        ds_free(queue);
        return NULL;
    }
    return queue;
}

static void queue_drop_if_empty(mem_store *store, mem_queue *queue) {
    if (queue->count == 0) {
        (void)ds_map_remove(&store->queues, queue->path);
        ds_free(queue);
    }
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

void mem_entry_key(ds_buf *out, const ds_entry *entry) {
    ds_buf_add_text(out, entry->path);
    ds_buf_add_char(out, '/');
    ds_buf_add_text(out, entry->lease->id);
    ds_buf_add_char(out, '-');
    ds_buf_add_text(out, entry->nonce);
}

/* The nonce is random already; this only makes a number of it. */
static uint64_t nonce_hash(const char *nonce, size_t length) {
    uint64_t hash = 0;
    for (size_t i = 0; i < length; i++) {
        hash = hash * 31 + (unsigned char)nonce[i];
    }
    return hash ^ hash >> 32;
}

static mem_entry **bucket_of(mem_store *store, uint64_t hash) {
    return &store->buckets[hash & (store->bucket_count - 1)];
}

static void grow_buckets(mem_store *store) {
    size_t count = store->bucket_count * 2;
    mem_entry **buckets = ds_calloc(count, sizeof(*buckets));
    if (buckets == NULL) {
        return; /* longer chains do no harm */
    }
    mem_entry **old = store->buckets;
    size_t old_count = store->bucket_count;
    store->buckets = buckets;
    store->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        for (mem_entry *entry = old[i], *next; entry != NULL; entry = next) {
            next = entry->next_in_bucket;
            mem_entry **bucket = bucket_of(store, entry->hash);
            entry->next_in_bucket = *bucket;
            *bucket = entry;
        }
    }
    ds_free(old);
}

static void bucket_add(mem_store *store, mem_entry *entry) {
    if (store->entry_count >= store->bucket_count) {
        grow_buckets(store);
    }
    mem_entry **bucket = bucket_of(store, entry->hash);
    entry->next_in_bucket = *bucket;
    *bucket = entry;
    store->entry_count++;
}

static void bucket_remove(mem_store *store, mem_entry *entry) {
    mem_entry **link = bucket_of(store, entry->hash);
    while (*link != entry) {
        link = &(*link)->next_in_bucket;
    }
    *link = entry->next_in_bucket;
    store->entry_count--;
}

mem_entry *mem_entry_by_key(mem_store *store, const char *key) {
    const char *nonce = strrchr(key, '-');
    if (nonce == NULL) {
        return NULL;
    }
    uint64_t hash = nonce_hash(nonce + 1, strlen(nonce + 1));
    for (mem_entry *entry = *bucket_of(store, hash); entry != NULL; entry = entry->next_in_bucket) {
        if (entry->hash == hash && strcmp(entry->node.key, key) == 0) {
            return entry;
        }
    }
    return NULL;
}

mem_entry *mem_entry_find(mem_store *store, const ds_entry *wanted) {
    uint64_t hash = nonce_hash(wanted->nonce, strlen(wanted->nonce));
    for (mem_entry *entry = *bucket_of(store, hash); entry != NULL; entry = entry->next_in_bucket) {
        if (entry->hash == hash && entry->session == mem_session_find(wanted->lease) &&
            strcmp(entry->queue->path, wanted->path) == 0 &&
            strcmp(strrchr(entry->node.key, '-') + 1, wanted->nonce) == 0) {
            return wanted->token == 0 || wanted->token == entry->node.token ? entry : NULL;
        }
    }
    return NULL;
}

static mem_entry *entry_make(mem_store *store, const ds_entry *wanted) {
    ds_buf_clear(&store->scratch);
    mem_entry_key(&store->scratch, wanted);
    if (store->scratch.failed) {
        return NULL;
    }
    mem_value *value = mem_value_new(wanted->value, wanted->value_size);
    if (value == NULL && wanted->value_size != 0) {
        return NULL;
    }
    mem_entry *entry = mem_node_new(sizeof(*entry), store->scratch.data, store->scratch.size);
    if (entry == NULL) {
        mem_value_unref(value);
        return NULL;
    }
    entry->node.value = value;
    entry->hash = nonce_hash(wanted->nonce, strlen(wanted->nonce));
    return entry;
}

void mem_entry_take_out(ds_memory *by, mem_entry *entry, int64_t revision) {
    mem_store *store = by->store;
    entry->queue->count--;
    ds_list_remove(&entry->in_queue);
    ds_list_remove(&entry->in_session);
    bucket_remove(store, entry);
    queue_drop_if_empty(store, entry->queue);
    mem_emit(by, DS_WATCH_DELETED, &entry->node, entry->node.value, revision);
    mem_node_unref(&entry->node);
}

mem_entry *mem_entry_add(ds_memory *by, mem_session *session, const ds_entry *wanted, mem_entry *replaced) {
    mem_store *store = by->store;
    mem_entry *entry = entry_make(store, wanted);
    if (entry == NULL) {
        return NULL;
    }
    mem_queue *queue = mem_queue_find(store, wanted->path);
    if (queue == NULL && (queue = queue_make(store, wanted->path)) == NULL) {
        mem_node_unref(&entry->node);
        return NULL;
    }
    entry->queue = queue;
    entry->session = session;
    entry->node.token = entry->node.modified = ++store->revision;
    ds_list_append(&queue->entries, &entry->in_queue);
    queue->count++;
    ds_list_append(&session->entries, &entry->in_session);
    bucket_add(store, entry);
    if (replaced != NULL) {
        mem_entry_take_out(by, replaced, store->revision);
    }
    mem_emit(by, DS_WATCH_PUT, &entry->node, entry->node.value, store->revision);
    return entry;
}

void mem_entry_remove(ds_memory *by, mem_entry *entry) {
    mem_entry_take_out(by, entry, ++by->store->revision);
}
