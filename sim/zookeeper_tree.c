/* zookeeper_tree.c: the model's nodes. Knows nothing of sessions, servers or what nodes mean. */
#include <string.h>

#include "zookeeper_model.h"

char *zm_copy(const void *bytes, size_t size) {
    char *copy = sim_alloc(NULL, size + 1);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    copy[size] = '\0';
    return copy;
}

zm_node *zm_find(const zm_tree *tree, const char *path) {
    for (size_t i = 0; i < tree->count; i++) {
        if (strcmp(tree->nodes[i].path, path) == 0) {
            return &tree->nodes[i];
        }
    }
    return NULL;
}

zm_node *zm_parent(const zm_tree *tree, const char *path) {
    size_t length = (size_t)(strrchr(path, '/') - path);
    for (size_t i = 0; i < tree->count; i++) {
        const char *other = tree->nodes[i].path;
        if (length == 0 ? strcmp(other, "/") == 0 : strlen(other) == length && memcmp(other, path, length) == 0) {
            return &tree->nodes[i];
        }
    }
    return NULL;
}

static void add(zm_tree *tree, const zm_change *change, int64_t zxid) {
    zm_node *parent = zm_parent(tree, change->path);
    if (parent != NULL) {
        parent->made++;
        parent->stat.children++;
        parent->stat.pzxid = zxid;
    }
    if (tree->count == tree->capacity) {
        tree->capacity = tree->capacity == 0 ? 32 : tree->capacity * 2;
        tree->nodes = sim_alloc(tree->nodes, tree->capacity * sizeof *tree->nodes);
    }
    zm_node *node = &tree->nodes[tree->count++];
    *node = (zm_node){.path = zm_copy(change->path, strlen(change->path)),
                      .data = zm_copy(change->data, change->size),
                      .size = change->size,
                      .stat = {.czxid = zxid, .mzxid = zxid, .pzxid = zxid, .owner = change->owner},
                      .container = change->container,
                      .client = change->client};
}

static void take_away(zm_tree *tree, zm_node *node, int64_t zxid) {
    zm_node *parent = zm_parent(tree, node->path);
    if (parent != NULL) {
        parent->stat.children--;
        parent->stat.pzxid = zxid;
    }
    (void)sim_alloc(node->path, 0);
    (void)sim_alloc(node->data, 0);
    *node = tree->nodes[--tree->count];
}

void zm_apply(zm_tree *tree, const zm_change *change, int64_t zxid) {
    zm_node *node = zm_find(tree, change->path);
    if (change->kind == DS_ZK_CREATE) {
        add(tree, change, zxid);
    } else if (change->kind == DS_ZK_DELETE) {
        take_away(tree, node, zxid);
    } else {
        (void)sim_alloc(node->data, 0);
        node->data = zm_copy(change->data, change->size);
        node->size = change->size;
        node->stat.version++;
        node->stat.mzxid = zxid;
    }
}

void zm_tree_copy(const zm_tree *tree, zm_tree *out) {
    *out = (zm_tree){.count = tree->count, .capacity = tree->count + 8};
    out->nodes = sim_alloc(NULL, out->capacity * sizeof *out->nodes);
    for (size_t i = 0; i < tree->count; i++) {
        out->nodes[i] = tree->nodes[i];
        out->nodes[i].path = zm_copy(tree->nodes[i].path, strlen(tree->nodes[i].path));
        out->nodes[i].data = zm_copy(tree->nodes[i].data, tree->nodes[i].size);
    }
}

void zm_tree_free(zm_tree *tree) {
    for (size_t i = 0; i < tree->count; i++) {
        (void)sim_alloc(tree->nodes[i].path, 0);
        (void)sim_alloc(tree->nodes[i].data, 0);
    }
    (void)sim_alloc(tree->nodes, 0);
    *tree = (zm_tree){0};
}

void zm_change_free(zm_change *change) {
    (void)sim_alloc(change->path, 0);
    (void)sim_alloc(change->data, 0);
}
