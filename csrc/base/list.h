/* list.h: an intrusive, circular, doubly linked list. A node that is in no list points to itself. */
#ifndef DS_LIST_H
#define DS_LIST_H

#include "base.h"

typedef struct ds_list ds_list;
struct ds_list {
    ds_list *next;
    ds_list *prev;
};

static inline void ds_list_init(ds_list *head) {
    head->next = head;
    head->prev = head;
}

static inline bool ds_list_empty(const ds_list *head) {
    return head->next == head;
}

static inline void ds_list_append(ds_list *head, ds_list *node) {
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Takes a node out of whatever list it is in; doing it twice is harmless. */
static inline void ds_list_remove(ds_list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    ds_list_init(node);
}

/* The first node taken out, or NULL. */
static inline ds_list *ds_list_pop(ds_list *head) {
    ds_list *first = head->next;
    if (first == head) {
        return NULL;
    }
    ds_list_remove(first);
    return first;
}

/* Moves everything in `from` to the end of `to`. */
static inline void ds_list_splice(ds_list *to, ds_list *from) {
    if (ds_list_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    ds_list_init(from);
}

#define DS_LIST_ENTRY(node, type, member) DS_CONTAINER_OF(node, type, member)

#endif
