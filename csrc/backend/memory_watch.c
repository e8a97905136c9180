/* memory_watch.c: who hears of changes, and how word reaches another client's thread.
 *
 * A change is put into the inbox of every client that watches it, under the store's mutex, and that client's world is
 * notified. The client's own thread empties the inbox and calls the watches without the mutex. Events refer to nodes
 * and values by reference count, so a change costs no copy of a value however many watch.
 *
 * Time: sessions end when somebody looks (mem_lock). So that somebody does, every client with a watch keeps a timer on
 * the earliest end of any session in the store.
 */
#include "memory.h"

#include <string.h>

#define PENDING_MAX 4096 /* undelivered events of one watch; beyond that it ends and its owner looks again */

typedef struct mem_topic {
    ds_list watches;
    ds_map *map;
    char key[];
} mem_topic;

typedef struct mem_watch mem_watch;

typedef struct mem_event {
    ds_list node; /* in the client's inbox or batch */
    mem_watch *watch;
    ds_watch_kind kind;
    int64_t revision;
    mem_node *about;  /* a reference; NULL for READY and ENDED */
    mem_value *value; /* a reference */
    const char *why;
} mem_event;

struct mem_watch {
    ds_memory *client;
    ds_watch *owner; /* the client's thread's; NULL: off */
    bool deletes_only;
    ds_list in_client;
    mem_topic *topic; /* NULL: reports nothing more */
    ds_list in_topic;
    size_t pending;  /* events on their way, the two below included; it is freed when off and 0 */
    mem_event ready; /* these two need no memory when their time comes */
    mem_event ended;
};

/* ---- inbox ------------------------------------------------------------------------------------------------------- */

static void wake(ds_memory *client, ds_memory *by) {
    if (client->notified) {
        return;
    }
    client->notified = true;
    ds_world *world = client->base.world;
    if (client == by) {
        world->ops->post(world, &client->inbox_task);
    } else {
        world->ops->notify(world, &client->inbox_task);
    }
}

static void put_event(mem_watch *watch, mem_event *event, ds_memory *by) {
    ds_memory *client = watch->client;
    event->watch = watch;
    watch->pending++;
    ds_list_append(&client->inbox, &event->node);
    wake(client, by);
}

/* ---- topics ------------------------------------------------------------------------------------------------------ */

static mem_topic *topic_get(ds_map *map, const char *key) {
    mem_topic *topic = ds_map_get(map, key);
    if (topic != NULL) {
        return topic;
    }
    size_t size = strlen(key) + 1;
    topic = ds_malloc(sizeof(*topic) + size);
    if (topic == NULL) {
        return NULL;
    }
    ds_list_init(&topic->watches);
    topic->map = map;
    memcpy(topic->key, key, size);
    if (!ds_map_put(map, key, topic)) {
        ds_free(topic);
        return NULL;
    }
    return topic;
}

static void detach(mem_watch *watch) {
    mem_topic *topic = watch->topic;
    if (topic == NULL) {
        return;
    }
    watch->topic = NULL;
    watch->client->watch_count--;
    ds_list_remove(&watch->in_topic);
    if (ds_list_empty(&topic->watches)) {
        (void)ds_map_remove(topic->map, topic->key);
        ds_free(topic);
    }
}

/* No more changes for this watch, and its owner is told why. */
static void end_watch(mem_watch *watch, const char *why, ds_memory *by) {
    detach(watch);
    watch->ended.kind = DS_WATCH_ENDED;
    watch->ended.why = why;
    watch->ended.revision = by->store->revision;
    put_event(watch, &watch->ended, by);
}

/* False: this was the end of the watch. */
static bool report(mem_watch *watch, const mem_change *change, ds_memory *by) {
    if (watch->deletes_only && change->kind != DS_WATCH_DELETED) {
        return true;
    }
    if (watch->pending >= PENDING_MAX) {
        end_watch(watch, "too many changes at once", by);
        return false;
    }
    mem_event *event = ds_malloc(sizeof(*event));
    if (event == NULL) {
        end_watch(watch, "out of memory", by);
        return false;
    }
    event->kind = change->kind;
    event->revision = change->revision;
    event->about = mem_node_ref(change->node);
    event->value = mem_value_ref(change->value);
    event->why = NULL;
    put_event(watch, event, by);
    return true;
}

static void report_topic(const ds_map *map, const char *key, const mem_change *change, ds_memory *by) {
    mem_topic *topic = ds_map_get(map, key);
    if (topic == NULL) {
        return;
    }
    for (ds_list *node = topic->watches.next, *next; node != &topic->watches; node = next) {
        next = node->next;
        bool last = next == &topic->watches;
        /* The end of the last watch frees the topic. */
        if (!report(DS_LIST_ENTRY(node, mem_watch, in_topic), change, by) && last) {
            return;
        }
    }
}

static void report_trees(mem_store *store, const mem_change *change, ds_memory *by) {
    ds_buf *key = &store->scratch;
    ds_buf_clear(key);
    ds_buf_add_text(key, change->node->key);
    if (key->failed) {
        /* It cannot be told whom this concerns, so everybody looks again. */
        size_t cursor = 0;
        mem_topic *topic;
        while ((topic = ds_map_next(&store->trees, &cursor, NULL)) != NULL) {
            for (bool more = true; more;) {
                more = topic->watches.next->next != &topic->watches;
                end_watch(DS_LIST_ENTRY(topic->watches.next, mem_watch, in_topic), "out of memory", by);
            }
        }
        return;
    }
    char *slash;
    while ((slash = strrchr(key->data, '/')) != NULL) {
        *slash = '\0';
        report_topic(&store->trees, key->data, change, by);
    }
}

/* ---- history ----------------------------------------------------------------------------------------------------- */

static size_t size_of(const mem_value *value) {
    return value != NULL ? value->size : 0;
}

static void history_drop(mem_store *store) {
    mem_change *oldest = &store->history[store->history_first];
    store->history_first = (store->history_first + 1) % MEM_HISTORY;
    store->history_count--;
    store->history_bytes -= size_of(oldest->value);
    store->history_floor = oldest->revision + 1;
    mem_value_unref(oldest->value);
    mem_node_unref(oldest->node);
}

void mem_history_clear(mem_store *store) {
    while (store->history_count > 0) {
        history_drop(store);
    }
}

static void history_add(mem_store *store, const mem_change *change) {
    while (store->history_count == MEM_HISTORY ||
           (store->history_count > 0 && store->history_bytes + size_of(change->value) > MEM_HISTORY_BYTES)) {
        history_drop(store);
    }
    mem_change *place = &store->history[(store->history_first + store->history_count) % MEM_HISTORY];
    *place = *change;
    mem_node_ref(place->node);
    mem_value_ref(place->value);
    store->history_count++;
    store->history_bytes += size_of(place->value);
}

void mem_emit(ds_memory *by, ds_watch_kind kind, mem_node *node, mem_value *value, int64_t revision) {
    mem_store *store = by->store;
    mem_change change = {revision, kind, node, value};
    history_add(store, &change);
    if (store->exact.count > 0) {
        report_topic(&store->exact, node->key, &change, by);
    }
    if (store->trees.count > 0) {
        report_trees(store, &change, by);
    }
}

/* ---- starting and stopping --------------------------------------------------------------------------------------- */

static bool concerns(const ds_watch_spec *spec, const char *key) {
    size_t length = strlen(spec->key);
    return spec->subtree ? strncmp(key, spec->key, length) == 0 && key[length] == '/' : strcmp(key, spec->key) == 0;
}

/* The key is there and has not changed since, so there is nothing to report even if history does not reach back. */
static bool unchanged(mem_store *store, const ds_watch_spec *spec) {
    if (spec->subtree) {
        return false;
    }
    mem_node *node = mem_node_find(store, spec->key);
    return node != NULL && node->modified < spec->since;
}

static void replay(ds_memory *client, mem_watch *watch, const ds_watch_spec *spec) {
    mem_store *store = client->store;
    if (spec->since == 0 || spec->since > store->revision || unchanged(store, spec)) {
        return;
    }
    if (spec->since < store->history_floor) {
        end_watch(watch, "the changes since then are no longer known", client);
        return;
    }
    for (size_t i = 0; i < store->history_count; i++) {
        const mem_change *change = &store->history[(store->history_first + i) % MEM_HISTORY];
        if (change->revision >= spec->since && concerns(spec, change->node->key) && !report(watch, change, client)) {
            return;
        }
    }
}

static void arm(ds_memory *client, int64_t next_expiry_ns) {
    if (next_expiry_ns != DS_NEVER && (client->expiry.index == 0 || client->expiry.at_ns > next_expiry_ns)) {
        ds_timer_set(client->base.world, &client->expiry, next_expiry_ns);
    }
}

static bool attach(ds_memory *client, mem_watch *watch, const ds_watch_spec *spec) {
    mem_store *store = client->store;
    mem_topic *topic = topic_get(spec->subtree ? &store->trees : &store->exact, spec->key);
    if (topic == NULL) {
        return false;
    }
    watch->topic = topic;
    ds_list_append(&topic->watches, &watch->in_topic);
    ds_list_append(&client->watches, &watch->in_client);
    client->watch_count++;
    watch->ready.kind = DS_WATCH_READY;
    watch->ready.revision = spec->since != 0 && spec->since <= store->revision ? spec->since - 1 : store->revision;
    put_event(watch, &watch->ready, client);
    replay(client, watch, spec);
    return true;
}

bool mem_watch_start(ds_backend *backend, ds_watch *owner, const ds_watch_spec *spec) {
    ds_memory *client = mem_client_of(backend);
    mem_watch *watch = ds_calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return false;
    }
    watch->owner = owner;
    watch->client = client;
    watch->deletes_only = spec->deletes_only;
    mem_lock(client);
    bool attached = attach(client, watch, spec);
    int64_t next_expiry_ns = client->store->next_expiry_ns;
    mem_unlock(client);
    if (!attached) {
        ds_free(watch);
        return false;
    }
    owner->impl = watch;
    arm(client, next_expiry_ns);
    return true;
}

static void free_if_over(mem_watch *watch) {
    if (watch->owner == NULL && watch->pending == 0) {
        ds_list_remove(&watch->in_client);
        ds_free(watch);
    }
}

static void turn_off(mem_watch *watch) {
    detach(watch);
    watch->owner->impl = NULL;
    watch->owner = NULL;
    free_if_over(watch);
}

void mem_watch_stop(ds_backend *backend, ds_watch *owner) {
    ds_memory *client = mem_client_of(backend);
    if (owner->impl != NULL) {
        mem_lock(client);
        turn_off(owner->impl);
        mem_unlock(client);
    }
}

/* ---- delivery, on the client's own thread ------------------------------------------------------------------------ */

static void deliver(const mem_event *event) {
    mem_watch *watch = event->watch;
    ds_watch *owner = watch->owner;
    if (owner == NULL) {
        return;
    }
    ds_watch_event out = {.kind = event->kind, .revision = event->revision, .message = ""};
    if (event->about != NULL) {
        out.key = event->about->key;
        out.token = event->about->token;
        out.value = event->value != NULL ? event->value->bytes : "";
        out.value_size = size_of(event->value);
    }
    if (event->kind == DS_WATCH_ENDED) {
        out.outcome = DS_NOT_EXECUTED;
        out.message = event->why;
        owner->impl = NULL;
        watch->owner = NULL;
    }
    owner->on_event(owner, &out);
}

static void discard(mem_event *event) {
    mem_watch *watch = event->watch;
    if (event->about != NULL) {
        mem_node_unref(event->about);
        mem_value_unref(event->value);
        ds_free(event);
    }
    watch->pending--;
    free_if_over(watch);
}

static void discard_all(ds_list *events) {
    ds_list *node;
    while ((node = ds_list_pop(events)) != NULL) {
        discard(DS_LIST_ENTRY(node, mem_event, node));
    }
}

static void run_inbox(ds_task *task) {
    ds_memory *client = DS_CONTAINER_OF(task, ds_memory, inbox_task);
    mem_lock(client);
    client->notified = false;
    ds_list_splice(&client->batch, &client->inbox);
    mem_unlock(client);

    ds_list spent, *node;
    ds_list_init(&spent);
    client->busy++;
    while (!client->destroyed && (node = ds_list_pop(&client->batch)) != NULL) {
        ds_list_append(&spent, node);
        deliver(DS_LIST_ENTRY(node, mem_event, node));
    }
    client->busy--;

    mem_lock(client);
    discard_all(&spent);
    int64_t next_expiry_ns = client->watch_count > 0 ? client->store->next_expiry_ns : DS_NEVER;
    mem_unlock(client);
    arm(client, next_expiry_ns);
    mem_client_idle(client);
}

static void on_expiry(ds_timer *timer) {
    ds_memory *client = DS_CONTAINER_OF(timer, ds_memory, expiry);
    mem_lock(client);
    int64_t next_expiry_ns = client->watch_count > 0 ? client->store->next_expiry_ns : DS_NEVER;
    mem_unlock(client);
    arm(client, next_expiry_ns);
}

void mem_retime(ds_memory *by) {
    for (ds_list *node = by->store->clients.next; node != &by->store->clients; node = node->next) {
        ds_memory *client = DS_LIST_ENTRY(node, ds_memory, in_store);
        if (client->watch_count > 0) {
            wake(client, by);
        }
    }
}

/* ---- a client comes and goes ------------------------------------------------------------------------------------- */

void mem_client_join(ds_memory *client) {
    client->expiry.fire = on_expiry;
    client->inbox_task.run = run_inbox;
    ds_list_init(&client->inbox_task.node);
    ds_list_init(&client->inbox);
    ds_list_init(&client->batch);
    ds_list_init(&client->watches);
    pthread_mutex_lock(&client->store->mutex);
    ds_list_append(&client->store->clients, &client->in_store);
    pthread_mutex_unlock(&client->store->mutex);
}

void mem_client_hush(ds_memory *client) {
    pthread_mutex_lock(&client->store->mutex);
    for (ds_list *node = client->watches.next, *next; node != &client->watches; node = next) {
        next = node->next;
        mem_watch *watch = DS_LIST_ENTRY(node, mem_watch, in_client);
        detach(watch);
        watch->owner = NULL;
        free_if_over(watch);
    }
    pthread_mutex_unlock(&client->store->mutex);
}

void mem_client_part(ds_memory *client) {
    ds_timer_stop(client->base.world, &client->expiry);
    pthread_mutex_lock(&client->store->mutex);
    ds_list_remove(&client->in_store); /* from here on nobody notifies */
    discard_all(&client->batch);
    discard_all(&client->inbox);
    pthread_mutex_unlock(&client->store->mutex);
    ds_take_back(client->base.world, &client->inbox_task);
}
