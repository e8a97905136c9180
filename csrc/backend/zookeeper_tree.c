/* zookeeper_tree.c: watching everything below a path: each level for new nodes, each member for its content. What has
 * changed is not told, only that something has: whoever watches lists again.
 */
#include "zookeeper.h"

#include <string.h>

static char ARMED; /* what the map holds */

static void arm_node(ds_zk_watch *watch, const char *path);

static void run_ready(ds_task *task) {
    ds_zk_watch *watch = DS_CONTAINER_OF(task, ds_zk_watch, tell);
    ds_zk_watch_say(watch, DS_WATCH_READY, NULL, 0);
}

/* Once all that was asked for is armed: then nothing can change unheard. */
static void settle(ds_zk_watch *watch) {
    if (watch->ended || !watch->news || !ds_list_empty(&watch->armings)) {
        return;
    }
    watch->news = false;
    watch->tell.run = run_ready;
    ds_post(watch->zookeeper->base.world, &watch->tell);
}

static void arm_children(ds_zk_watch *watch, const char *path, const ds_zk_answer *answer) {
    ds_buf child = DS_BUF_EMPTY;
    for (size_t i = 0; i < answer->count && !watch->ended; i++) {
        ds_buf_clear(&child);
        ds_buf_add_format(&child, "%s/%s", path, answer->children[i]);
        if (child.failed) {
            ds_zk_watch_end(watch, DS_NOT_EXECUTED, "out of memory");
        } else {
            arm_node(watch, child.data);
        }
    }
    ds_buf_free(&child);
}

static void on_children(ds_zk_arming *arming, const ds_zk_answer *answer) {
    ds_zk_watch *watch = arming->watch;
    if (ds_zk_armed(arming, answer)) {
        if (answer->code == DS_ZK_OK) {
            arm_children(watch, arming->path, answer);
        }
        settle(watch);
    }
    ds_zk_arming_free(arming);
}

static void on_node(ds_zk_arming *arming, const ds_zk_answer *answer) {
    ds_zk_watch *watch = arming->watch;
    if (ds_zk_armed(arming, answer)) {
        bool root = strcmp(arming->path, watch->full) == 0;
        if (answer->code == DS_ZK_NO_NODE && !root) {
            (void)ds_map_remove(&watch->armed, arming->path);
        } else if (answer->code == DS_ZK_OK && answer->stat->owner == 0) {
            (void)ds_zk_arm(watch, DS_ZK_CHILDREN, arming->path, on_children);
        }
        settle(watch);
    }
    ds_zk_arming_free(arming);
}

static void arm_node(ds_zk_watch *watch, const char *path) {
    if (ds_map_get(&watch->armed, path) != NULL) {
        return;
    }
    if (!ds_map_put(&watch->armed, path, &ARMED)) {
        ds_zk_watch_end(watch, DS_NOT_EXECUTED, "out of memory");
        return;
    }
    (void)ds_zk_arm(watch, DS_ZK_EXISTS, path, on_node);
}

void ds_zk_tree_arm(ds_zk_watch *watch) {
    size_t cursor = 0;
    const char *path;
    while (ds_map_next(&watch->armed, &cursor, &path) != NULL) {
        (void)ds_map_remove(&watch->armed, path);
    }
    watch->news = true;
    arm_node(watch, watch->full);
}

void ds_zk_tree_heard(ds_zk_watch *watch, ds_zk_change change, const char *path) {
    size_t length = strlen(watch->full);
    if (strncmp(path, watch->full, length) != 0 || (path[length] != '\0' && path[length] != '/')) {
        return;
    }
    watch->news = true;
    if (change == DS_ZK_CHILDREN_CHANGED) {
        (void)ds_zk_arm(watch, DS_ZK_CHILDREN, path, on_children);
    } else {
        (void)ds_map_remove(&watch->armed, path);
        if (change != DS_ZK_DELETED || path[length] == '\0') {
            arm_node(watch, path);
        }
    }
    settle(watch);
}
