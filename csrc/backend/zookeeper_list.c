/* zookeeper_list.c: who is in a queue, or in every queue below a path: names first, then each node's content, many
 * questions in flight at once.
 */
#include "zookeeper.h"

#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT 64
#define BYTES_MAX ((size_t)64 * 1024 * 1024)

/* A queue (or a level above queues) to be opened, or a member of one to be read. */
typedef struct item {
    ds_list node;
    ds_zk_slot slot;
    char *path;  /* as the core calls it */
    char *queue; /* of a member; NULL: a level */
    char *value;
    size_t size;
    int64_t token;
    int32_t number;
} item;

struct ds_zk_listing {
    ds_list todo, asked, done;
    size_t in_flight, found, bytes, limit;
    bool subtree;
};

typedef struct ds_zk_listing listing;

static item *item_of(ds_list *node) {
    return DS_LIST_ENTRY(node, item, node);
}

static void item_free(item *one) {
    ds_list_remove(&one->node);
    ds_free(one->path);
    ds_free(one->queue);
    ds_free(one->value);
    ds_free(one);
}

static void free_all(ds_list *list) {
    while (!ds_list_empty(list)) {
        item_free(item_of(list->next));
    }
}

void ds_zk_listing_free(ds_zk_call *call) {
    listing *list = call->listing;
    if (list != NULL) {
        free_all(&list->todo);
        free_all(&list->asked);
        free_all(&list->done);
        ds_free(list);
    }
}

static void refuse(ds_zk_call *call, const char *why) {
    if (!ds_zk_over(call)) {
        ds_zk_finish_later(call, DS_REFUSED, DSYNC_RESOURCE, why);
    }
}

/* `queue` NULL: a level. False: out of memory. */
static bool add(ds_zk_call *call, const char *above, const char *name, bool member, int32_t number) {
    item *one = ds_calloc(1, sizeof(*one));
    ds_buf path = DS_BUF_EMPTY;
    ds_buf_add_format(&path, "%s%s", above, name[0] != '\0' ? "/" : "");
    ds_zk_add_plain(&path, name);
    char *queue = member ? ds_strdup(above) : NULL;
    if (one == NULL || path.failed || (member && queue == NULL)) {
        ds_free(one);
        ds_free(queue);
        ds_buf_free(&path);
        return false;
    }
    ds_list_init(&one->node);
    one->path = path.data;
    one->queue = queue;
    one->number = number;
    one->slot.call = call;
    ds_list_append(&call->listing->todo, &one->node);
    return true;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static int by_queue_and_number(const void *a, const void *b) {
    const item *x = *(item *const *)a;
    const item *y = *(item *const *)b;
    int order = strcmp(x->queue, y->queue);
    if (order != 0 || x->number == y->number) {
        return order;
    }
    return ds_zk_before(x->number, y->number) ? -1 : 1;
}

static void fill_peers(const listing *list, item **items, ds_peer *peers) {
    size_t count = 0;
    for (ds_list *node = list->done.next; node != &list->done; node = node->next) {
        items[count++] = item_of(node);
    }
    qsort(items, count, sizeof(*items), by_queue_and_number);
    for (size_t i = 0; i < count; i++) {
        const item *one = items[i];
        bool first = i == 0 || strcmp(one->queue, items[i - 1]->queue) != 0;
        peers[i] = (ds_peer){.path = one->queue, .key = one->path, .value = one->value, .holds = first};
        peers[i].value_size = one->size;
        peers[i].token = one->token;
    }
}

static void finish(ds_zk_call *call) {
    const listing *list = call->listing;
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE, .peer_count = list->found};
    item **items = list->found > 0 ? ds_calloc(list->found, sizeof(item *)) : NULL;
    ds_peer *peers = list->found > 0 ? ds_calloc(list->found, sizeof(*peers)) : NULL;
    if (list->found > 0 && (items == NULL || peers == NULL)) {
        refuse(call, "out of memory");
    } else {
        if (list->found > 0) {
            fill_peers(list, items, peers);
        }
        reply.peers = peers;
        ds_zk_finish(call, &reply);
    }
    ds_free(items);
    ds_free(peers);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void ask_more(ds_zk_call *call);

/* The item whose answer came; off the list of those asked for. */
static item *answered(ds_zk_call *call) {
    item *one = DS_CONTAINER_OF(call->answering, item, slot);
    ds_list_remove(&one->node);
    call->listing->in_flight--;
    return one;
}

static bool failed(ds_zk_call *call, const ds_zk_answer *answer) {
    if (!ds_zk_over(call) && answer->code != DS_ZK_OK && answer->code != DS_ZK_NO_NODE) {
        ds_zk_fail(call, answer);
    }
    return ds_zk_over(call) || answer->code != DS_ZK_OK;
}

static void on_member(ds_zk_call *call, const ds_zk_answer *answer) {
    listing *list = call->listing;
    item *one = answered(call);
    if (failed(call, answer)) {
        item_free(one); /* left meanwhile */
        if (!ds_zk_over(call)) {
            ask_more(call);
        }
        return;
    }
    one->value = ds_memdup(answer->data, answer->size);
    one->size = answer->size;
    one->token = answer->stat->czxid;
    list->bytes += one->size + strlen(one->path) + sizeof(*one);
    list->found++;
    ds_list_append(&list->done, &one->node);
    if (one->value == NULL) {
        refuse(call, "out of memory");
    } else if (list->bytes > BYTES_MAX) {
        refuse(call, "zookeeper: the list is too large to hold in memory");
    } else {
        ask_more(call);
    }
}

typedef struct name_number {
    const char *name;
    int32_t number;
} name_number;

static int by_number(const void *a, const void *b) {
    const name_number *x = a, *y = b;
    return x->number == y->number ? 0 : ds_zk_before(x->number, y->number) ? -1 : 1;
}

static bool take_children(ds_zk_call *call, const char *path, const ds_zk_answer *answer) {
    listing *list = call->listing;
    name_number *members = ds_calloc(answer->count, sizeof(*members));
    size_t count = 0;
    bool good = members != NULL;
    for (size_t i = 0; good && i < answer->count; i++) {
        int32_t number = 0;
        ds_zk_sort sort = ds_zk_look(call->zookeeper->dialect, answer->children[i], &number);
        if (sort == DS_ZK_MEMBER && (!list->subtree || strcmp(path, call->path.data) != 0)) {
            members[count++] = (name_number){answer->children[i], number};
        } else if (sort == DS_ZK_OTHER_NODE && list->subtree) {
            good = add(call, path, answer->children[i], false, 0);
        }
    }
    if (good) {
        qsort(members, count, sizeof(*members), by_number);
        count = list->limit > 0 && count > list->limit ? list->limit : count;
    }
    for (size_t i = 0; good && i < count; i++) {
        good = add(call, path, members[i].name, true, members[i].number);
    }
    ds_free(members);
    return good;
}

static void on_level(ds_zk_call *call, const ds_zk_answer *answer) {
    item *one = answered(call);
    if (!failed(call, answer) && answer->count > 0 && !take_children(call, one->path, answer)) {
        refuse(call, "out of memory");
    }
    item_free(one);
    if (!ds_zk_over(call)) {
        ask_more(call);
    }
}

static void ask_more(ds_zk_call *call) {
    listing *list = call->listing;
    while (list->in_flight < IN_FLIGHT && !ds_list_empty(&list->todo)) {
        item *one = item_of(list->todo.next);
        ds_zk_path(call->zookeeper, &call->own, one->path);
        if (ds_zk_no_memory(call)) {
            return;
        }
        ds_zk_request request = {.kind = one->queue != NULL ? DS_ZK_GET : DS_ZK_CHILDREN, .path = call->own.data};
        if (!ds_zk_send_in(call, &one->slot, &request, one->queue != NULL ? on_member : on_level)) {
            return;
        }
        list->in_flight++;
        ds_list_remove(&one->node);
        ds_list_append(&list->asked, &one->node);
    }
    if (list->in_flight == 0) {
        finish(call);
    }
}

/* As the leader has it. */
static void begin_list(ds_zk_call *call) {
    ds_zk_request sync = {.kind = DS_ZK_SYNC, .path = call->full.data};
    if (ds_zk_send(call, &sync, NULL)) {
        ask_more(call);
    }
}

void ds_zk_list(ds_backend *backend, ds_call *owner, const ds_list_spec *spec) {
    ds_zk_call *call = ds_zk_start(backend, owner, NULL, begin_list);
    if (call == NULL) {
        return;
    }
    listing *list = ds_calloc(1, sizeof(*list));
    call->listing = list;
    ds_buf_add_text(&call->path, spec->path);
    ds_zk_path(call->zookeeper, &call->full, spec->path);
    if (list != NULL) {
        ds_list_init(&list->todo);
        ds_list_init(&list->asked);
        ds_list_init(&list->done);
        list->subtree = spec->subtree;
        list->limit = spec->subtree ? 0 : spec->limit;
    }
    if (list == NULL || !add(call, spec->path, "", false, 0)) {
        refuse(call, "out of memory");
    } else {
        ds_zk_go(call);
    }
}
