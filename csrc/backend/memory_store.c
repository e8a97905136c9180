/* memory_store.c: the stores of the process, and what is in one: sessions with their time to live, data, revisions.
 *
 * Every change is one step under the store's mutex, gets one revision, and is handed to mem_emit. Nothing here or in
 * memory_queue.c (the queues) knows of calls, replies or callbacks.
 */
#include "memory.h"

#include <inttypes.h>
#include <string.h>

/* ---- all stores of the process ----------------------------------------------------------------------------------- */

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static ds_list registry = {&registry, &registry};
static ds_list inherited = {&inherited, &inherited}; /* a forked child's: never used, and never freed */
/* Of any store that ever was: the tokens of a name never repeat, even in a new store. */
static int64_t highest_revision;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void note_revision(const mem_store *store) {
    if (store->revision > highest_revision) {
        highest_revision = store->revision;
    }
}

static void before_fork(void) {
    pthread_mutex_lock(&registry_mutex);
}

static void after_fork(void) {
    pthread_mutex_unlock(&registry_mutex);
}

/* The parent's stores stay the parent's; only their tokens are not given out again. */
static void after_fork_in_child(void) {
    for (ds_list *node = registry.next; node != &registry; node = node->next) {
        note_revision(DS_LIST_ENTRY(node, mem_store, in_registry));
    }
    ds_list_splice(&inherited, &registry);
    after_fork();
}

static void watch_forks(void) {
    (void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

static void store_free(ds_memory *last) {
    mem_store *store = last->store;
    while (!ds_list_empty(&store->session_list)) {
        mem_session_end(last, DS_LIST_ENTRY(store->session_list.next, mem_session, in_store));
    }
    mem_history_clear(store);
    size_t cursor = 0;
    mem_node *node;
    while ((node = ds_map_next(&store->data, &cursor, NULL)) != NULL) {
        mem_node_unref(node);
    }
    ds_map_free(&store->data);
    ds_map_free(&store->sessions);
    ds_map_free(&store->queues);
    ds_map_free(&store->exact);
    ds_map_free(&store->trees);
    ds_buf_free(&store->scratch);
    pthread_mutex_destroy(&store->mutex);
    ds_free(store->buckets);
    ds_free(store->name);
    ds_free(store);
}

static mem_store *store_new(const char *name, ds_world *world) {
    mem_store *store = ds_calloc(1, sizeof(*store));
    if (store == NULL) {
        return NULL;
    }
    store->name = ds_strdup(name);
    store->buckets = ds_calloc(MEM_FIRST_BUCKETS, sizeof(*store->buckets));
    if (store->name == NULL || store->buckets == NULL || pthread_mutex_init(&store->mutex, NULL) != 0) {
        ds_free(store->buckets);
        ds_free(store->name);
        ds_free(store);
        return NULL;
    }
    store->bucket_count = MEM_FIRST_BUCKETS;
    store->revision = highest_revision;
    store->history_floor = store->revision + 1;
    store->next_expiry_ns = DS_NEVER;
    ds_list_init(&store->session_list);
    ds_list_init(&store->clients);
    ds_map *maps[] = {&store->sessions, &store->queues, &store->data, &store->exact, &store->trees};
    for (size_t i = 0; i < DS_COUNT(maps); i++) {
        uint64_t seed;
        world->ops->random(world, &seed, sizeof(seed));
        ds_map_init(maps[i], seed);
    }
    return store;
}

static mem_store *registered(const char *name) {
    for (ds_list *node = registry.next; node != &registry; node = node->next) {
        mem_store *store = DS_LIST_ENTRY(node, mem_store, in_registry);
        if (strcmp(store->name, name) == 0) {
            return store;
        }
    }
    return NULL;
}

mem_store *mem_store_get(const char *name, ds_world *world) {
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&registry_mutex);
    mem_store *store = registered(name);
    if (store == NULL && (store = store_new(name, world)) != NULL) {
        ds_list_append(&registry, &store->in_registry);
    }
    if (store != NULL) {
        store->client_count++;
    }
    pthread_mutex_unlock(&registry_mutex);
    return store;
}

void mem_store_put(ds_memory *client) {
    mem_store *store = client->store;
    pthread_mutex_lock(&registry_mutex);
    bool last = --store->client_count == 0;
    if (last) {
        ds_list_remove(&store->in_registry);
        note_revision(store);
    }
    pthread_mutex_unlock(&registry_mutex);
    if (last) {
        store_free(client);
    }
}

/* ---- values and nodes -------------------------------------------------------------------------------------------- */

mem_value *mem_value_new(const void *bytes, size_t size) {
    if (size == 0) {
        return NULL;
    }
    mem_value *value = ds_malloc(sizeof(*value) + size + 1);
    if (value != NULL) {
        value->refs = 1;
        value->size = size;
        memcpy(value->bytes, bytes, size);
        value->bytes[size] = '\0';
    }
    return value;
}

mem_value *mem_value_ref(mem_value *value) {
    if (value != NULL) {
        value->refs++;
    }
    return value;
}

void mem_value_unref(mem_value *value) {
    if (value != NULL && --value->refs == 0) {
        ds_free(value);
    }
}

void *mem_node_new(size_t size, const char *key, size_t key_size) {
    mem_node *node = ds_malloc(size + key_size + 1);
    if (node != NULL) {
        memset(node, 0, size);
        node->refs = 1;
        node->key = (char *)node + size;
        memcpy(node->key, key, key_size + 1);
    }
    return node;
}

mem_node *mem_node_ref(mem_node *node) {
    node->refs++;
    return node;
}

void mem_node_unref(mem_node *node) {
    if (--node->refs == 0) {
        mem_value_unref(node->value);
        ds_free(node);
    }
}

void mem_node_write(ds_memory *by, mem_node *node, mem_value *value) {
    mem_value_unref(node->value);
    node->value = value;
    node->modified = ++by->store->revision;
    mem_emit(by, DS_WATCH_PUT, node, value, node->modified);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

void mem_session_key(ds_buf *out, const ds_lease *lease) {
    ds_buf_add_text(out, lease->prefix);
    ds_buf_add_format(out, "/session/%016" PRIx64, lease->nonce);
}

mem_session *mem_session_find(const ds_lease *lease) {
    mem_session *session = lease->impl;
    return session != NULL && session->alive ? session : NULL;
}

void mem_session_renew(mem_session *session, int64_t now_ns) {
    int64_t deadline = now_ns + session->ttl_ms * DS_MS;
    if (deadline > session->deadline_ns) {
        session->deadline_ns = deadline;
    }
}

static mem_session *session_make(mem_store *store, const ds_lease *lease, const char *key, size_t key_size) {
    size_t info_size = lease->info != NULL ? strlen(lease->info) : 0;
    mem_value *info = mem_value_new(lease->info, info_size);
    mem_session *session = mem_node_new(sizeof(*session), key, key_size);
    if (session == NULL || (info == NULL && info_size != 0) || !ds_map_put(&store->sessions, key, session)) {
        mem_value_unref(info);
        ds_free(session);
        return NULL;
    }
    session->node.value = info;
    session->ttl_ms = lease->ttl_ms;
    session->epoch = lease->epoch;
    session->alive = true;
    ds_list_init(&session->entries);
    ds_list_append(&store->session_list, &session->in_store);
    return session;
}

mem_session *mem_session_open(ds_memory *by, const ds_lease *lease, int64_t now_ns) {
    mem_store *store = by->store;
    ds_buf_clear(&store->scratch);
    mem_session_key(&store->scratch, lease);
    if (store->scratch.failed) {
        return NULL;
    }
    mem_session *session = ds_map_get(&store->sessions, store->scratch.data);
    bool fresh = session == NULL;
    if (fresh && (session = session_make(store, lease, store->scratch.data, store->scratch.size)) == NULL) {
        return NULL;
    }
    mem_session_renew(session, now_ns);
    if (fresh) {
        session->node.token = session->node.modified = ++store->revision;
        mem_emit(by, DS_WATCH_PUT, &session->node, session->node.value, store->revision);
    }
    if (session->deadline_ns < store->next_expiry_ns) {
        store->next_expiry_ns = session->deadline_ns;
        mem_retime(by);
    }
    return session;
}

/* Everything a session owns goes at one revision. */
void mem_session_end(ds_memory *by, mem_session *session) {
    mem_store *store = by->store;
    int64_t revision = ++store->revision;
    while (!ds_list_empty(&session->entries)) {
        mem_entry_take_out(by, DS_LIST_ENTRY(session->entries.next, mem_entry, in_session), revision);
    }
    session->alive = false;
    ds_list_remove(&session->in_store);
    (void)ds_map_remove(&store->sessions, session->node.key);
    mem_emit(by, DS_WATCH_DELETED, &session->node, session->node.value, revision);
    mem_node_unref(&session->node);
}

static void expire(ds_memory *by, int64_t now_ns) {
    mem_store *store = by->store;
    store->next_expiry_ns = DS_NEVER;
    ds_list *next;
    for (ds_list *node = store->session_list.next; node != &store->session_list; node = next) {
        next = node->next;
        mem_session *session = DS_LIST_ENTRY(node, mem_session, in_store);
        if (session->deadline_ns <= now_ns) {
            mem_session_end(by, session);
        } else if (session->deadline_ns < store->next_expiry_ns) {
            store->next_expiry_ns = session->deadline_ns;
        }
    }
}

void mem_lock(ds_memory *client) {
    /* A negative time means that the clock failed: then nothing ends, and nobody holds either. */
    int64_t now_ns = ds_now(client->base.world);
    pthread_mutex_lock(&client->store->mutex);
    if (now_ns >= client->store->next_expiry_ns) {
        expire(client, now_ns);
    }
}

void mem_unlock(ds_memory *client) {
    pthread_mutex_unlock(&client->store->mutex);
}

/* ---- data -------------------------------------------------------------------------------------------------------- */

bool mem_data_put(ds_memory *by, const char *key, mem_value *value) {
    mem_store *store = by->store;
    mem_node *node = ds_map_get(&store->data, key);
    if (node == NULL) {
        node = mem_node_new(sizeof(*node), key, strlen(key));
        if (node == NULL || !ds_map_put(&store->data, key, node)) {
            ds_free(node);
            return false;
        }
        node->token = store->revision + 1;
    }
    mem_node_write(by, node, value);
    return true;
}

void mem_data_delete(ds_memory *by, const char *key) {
    mem_store *store = by->store;
    mem_node *node = ds_map_remove(&store->data, key);
    if (node != NULL) {
        mem_emit(by, DS_WATCH_DELETED, node, node->value, ++store->revision);
        mem_node_unref(node);
    }
}

mem_node *mem_node_find(mem_store *store, const char *key) {
    mem_node *node = ds_map_get(&store->data, key);
    if (node == NULL) {
        mem_entry *entry = mem_entry_by_key(store, key);
        mem_session *session = entry == NULL ? ds_map_get(&store->sessions, key) : NULL;
        node = entry != NULL ? &entry->node : session != NULL ? &session->node : NULL;
    }
    return node;
}
