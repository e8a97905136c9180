/* memory_list.c: what a reply says about others in a queue, copied out of the store before its mutex is let go.
 *
 * Each description is measured first and then written into one block of memory, which the reply's pointers point into.
 */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_PEERS 512
#define PAGE_BYTES ((size_t)1 << 20)

/* ---- one block --------------------------------------------------------------------------------------------------- */

static const char *copy(char **end, const char *bytes, size_t size) {
    char *start = *end;
    memcpy(start, bytes, size);
    start[size] = '\0';
    *end += size + 1;
    return start;
}

static const char *copy_text(char **end, const char *text) {
    return copy(end, text, strlen(text));
}

/* Without the path. */
static size_t peer_size(const mem_entry *entry) {
    size_t value_size = entry->node.value != NULL ? entry->node.value->size : 0;
    return strlen(entry->node.key) + 1 + value_size + 1;
}

static void write_peer(ds_peer *peer, char **end, const char *path, const mem_entry *entry) {
    const mem_value *value = entry->node.value;
    peer->path = path;
    peer->key = copy_text(end, entry->node.key);
    peer->value_size = value != NULL ? value->size : 0;
    peer->value = copy(end, value != NULL ? value->bytes : "", peer->value_size);
    peer->token = entry->node.token;
    peer->holds = mem_entry_ahead(entry) == NULL;
}

bool mem_describe(mem_op *op, const mem_entry *ahead, const mem_entry *holder) {
    size_t size = strlen(holder->queue->path) + 1 + peer_size(holder);
    size += ahead != NULL ? strlen(ahead->node.key) + 1 : 0;
    char *end = ds_malloc(size);
    if (end == NULL) {
        return false;
    }
    op->text = end;
    if (ahead != NULL) {
        op->reply.ahead = copy_text(&end, ahead->node.key);
    }
    write_peer(&op->holder, &end, copy_text(&end, holder->queue->path), holder);
    op->reply.holder = &op->holder;
    return true;
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

static int by_path(const void *a, const void *b) {
    const mem_queue *const *left = a;
    const mem_queue *const *right = b;
    return strcmp((*left)->path, (*right)->path);
}

static bool wanted(const mem_queue *queue, const ds_list_spec *spec) {
    size_t length = strlen(spec->path);
    if (!spec->subtree) {
        return strcmp(queue->path, spec->path) == 0;
    }
    return strncmp(queue->path, spec->path, length) == 0 && queue->path[length] == '/' &&
           (spec->after == NULL || strcmp(queue->path, spec->after) > 0);
}

/* The queues that are meant, sorted, as a new array; `*count` of them. NULL: out of memory. */
static mem_queue **collect(mem_store *store, const ds_list_spec *spec, size_t *count) {
    mem_queue **queues = ds_malloc((store->queues.count + 1) * sizeof(mem_queue *));
    *count = 0;
    if (queues == NULL) {
        return NULL;
    }
    if (!spec->subtree) {
        queues[0] = mem_queue_find(store, spec->path);
        *count = queues[0] != NULL;
        return queues;
    }
    size_t cursor = 0;
    mem_queue *queue;
    while ((queue = ds_map_next(&store->queues, &cursor, NULL)) != NULL) {
        if (wanted(queue, spec)) {
            queues[(*count)++] = queue;
        }
    }
    qsort(queues, *count, sizeof(mem_queue *), by_path);
    return queues;
}

typedef struct mem_page {
    mem_queue **queues;
    size_t queue_count; /* on this page */
    size_t limit;       /* entries of each queue */
    size_t peer_count;
    size_t text_size;
} mem_page;

static void measure_queue(mem_page *page, const mem_queue *queue) {
    page->text_size += strlen(queue->path) + 1;
    size_t taken = 0;
    for (const ds_list *node = queue->entries.next; node != &queue->entries && taken < page->limit; node = node->next) {
        page->text_size += peer_size(DS_LIST_ENTRY(node, mem_entry, in_queue));
        taken++;
    }
    page->peer_count += taken;
}

static void measure(mem_page *page, size_t available) {
    while (page->queue_count < available && page->peer_count < PAGE_PEERS && page->text_size < PAGE_BYTES) {
        measure_queue(page, page->queues[page->queue_count++]);
    }
}

static void write_page(const mem_page *page, ds_peer *peers, char **end) {
    size_t written = 0;
    for (size_t i = 0; i < page->queue_count; i++) {
        const mem_queue *queue = page->queues[i];
        const char *path = copy_text(end, queue->path);
        size_t taken = 0;
        for (const ds_list *node = queue->entries.next; node != &queue->entries && taken < page->limit;
             node = node->next) {
            write_peer(&peers[written++], end, path, DS_LIST_ENTRY(node, mem_entry, in_queue));
            taken++;
        }
    }
}

static bool fill(mem_op *op, mem_page *page, size_t available) {
    measure(page, available);
    const char *last = page->queue_count < available ? page->queues[page->queue_count - 1]->path : NULL;
    size_t next_size = last != NULL ? strlen(last) + 1 : 0;
    op->text = ds_malloc(page->peer_count * sizeof(ds_peer) + page->text_size + next_size + 1);
    if (op->text == NULL) {
        return false;
    }
    ds_peer *peers = op->text;
    char *end = (char *)op->text + page->peer_count * sizeof(ds_peer);
    write_page(page, peers, &end);
    op->reply.peers = peers;
    op->reply.peer_count = page->peer_count;
    op->reply.next = last != NULL ? copy_text(&end, last) : NULL;
    return true;
}

bool mem_list(mem_store *store, mem_op *op, const ds_list_spec *spec) {
    size_t available;
    mem_page page = {.limit = spec->subtree || spec->limit == 0 ? SIZE_MAX : spec->limit};
    page.queues = collect(store, spec, &available);
    bool filled = page.queues != NULL && fill(op, &page, available);
    ds_free(page.queues);
    return filled;
}
