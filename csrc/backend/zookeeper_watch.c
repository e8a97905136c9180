/* zookeeper_watch.c: watches on single nodes, and what is common to all watches.
 *
 * ZooKeeper's watches are one-shot and belong to a connection; the library sets them anew after a reconnection. For
 * a node of somebody else the watch on its children is used: ephemeral nodes have none, so it speaks only when the
 * node goes, and not when its content changes. A watch that nobody wants any more stays with the server until its
 * node goes.
 */
#include "zookeeper.h"

#include <stdio.h>
#include <string.h>

#define OWN_DELAY_NS (50 * DS_MS)  /* what is held for a shorter time need not pay for it */
#define WAITING_NS (1 * DS_SECOND) /* ... and what waits for a shorter one */

/* ---- telling ----------------------------------------------------------------------------------------------------- */

void ds_zk_watch_say(ds_zk_watch *watch, ds_watch_kind kind, const char *value, size_t size) {
    ds_watch_event event = {.kind = kind, .key = watch->key, .value = value, .value_size = size};
    event.message = kind == DS_WATCH_DOUBT ? "the connection to the server is lost" : NULL;
    watch->owner->on_event(watch->owner, &event);
}

static void leave_link(ds_zk_watch *watch) {
    ds_zk_link *link = watch->link;
    ds_list_remove(&watch->node);
    if (link == NULL || watch->kind == DS_ZK_WATCH_TREE) {
        return;
    }
    ds_zk_watch *first = ds_map_get(&link->watched, watch->full);
    if (first == watch) {
        /* Replacing needs no memory. */
        if (watch->same == NULL || !ds_map_put(&link->watched, watch->full, watch->same)) {
            (void)ds_map_remove(&link->watched, watch->full);
        }
        return;
    }
    for (ds_zk_watch *before = first; before != NULL; before = before->same) {
        if (before->same == watch) {
            before->same = watch->same;
            return;
        }
    }
}

static void disarm(ds_zk_watch *watch) {
    ds_world *world = watch->zookeeper->base.world;
    ds_timer_stop(world, &watch->delay);
    ds_list_remove(&watch->tell.node);
    ds_list *node;
    while ((node = ds_list_pop(&watch->armings)) != NULL) {
        DS_LIST_ENTRY(node, ds_zk_arming, node)->watch = NULL;
    }
    leave_link(watch);
    watch->link = NULL;
}

static void watch_free(ds_zk_watch *watch) {
    disarm(watch);
    ds_map_free(&watch->armed);
    ds_free(watch->key);
    ds_free(watch->full);
    ds_free(watch);
}

static void run_end(ds_task *task) {
    ds_zk_watch *watch = DS_CONTAINER_OF(task, ds_zk_watch, tell);
    ds_watch *owner = watch->owner;
    ds_watch_event event = {.kind = DS_WATCH_ENDED, .key = watch->key, .outcome = watch->outcome};
    event.message = watch->why;
    owner->impl = NULL;
    owner->on_event(owner, &event);
    watch_free(watch);
}

void ds_zk_watch_end(ds_zk_watch *watch, ds_class outcome, const char *why) {
    if (watch->ended) {
        return;
    }
    disarm(watch);
    watch->ended = true;
    watch->outcome = outcome;
    snprintf(watch->why, sizeof(watch->why), "%s", why);
    watch->tell.run = run_end;
    ds_post(watch->zookeeper->base.world, &watch->tell);
}

/* ---- arming ------------------------------------------------------------------------------------------------------ */

void ds_zk_arming_free(ds_zk_arming *arming) {
    ds_list_remove(&arming->node);
    ds_free(arming->path);
    ds_free(arming);
}

typedef struct dispatch {
    ds_zk_arming arming;
    void (*done)(ds_zk_arming *arming, const ds_zk_answer *answer);
} dispatch;

static void on_armed(ds_zk_op *op, const ds_zk_answer *answer) {
    ds_zk_arming *arming = DS_CONTAINER_OF(op, ds_zk_arming, op);
    dispatch *d = DS_CONTAINER_OF(arming, dispatch, arming);
    if (arming->watch != NULL && arming->watch->link != NULL && answer->code != DS_ZK_LOSS) {
        arming->watch->link->heard_ns = ds_now(arming->watch->zookeeper->base.world);
    }
    d->done(arming, answer);
}

bool ds_zk_arm(ds_zk_watch *watch, ds_zk_kind kind, const char *path,
               void (*done)(ds_zk_arming *arming, const ds_zk_answer *answer)) {
    ds_zk_link *link = watch->link;
    if (link->life != DS_ZK_UP) {
        watch->lost = true;
        return true;
    }
    dispatch *d = ds_calloc(1, sizeof(*d));
    char *copy = d != NULL ? ds_strdup(path) : NULL;
    if (copy == NULL) {
        ds_free(d);
        ds_zk_watch_end(watch, DS_NOT_EXECUTED, "out of memory");
        return false;
    }
    ds_zk_arming *arming = &d->arming;
    ds_list_init(&arming->node);
    d->done = done;
    arming->op.done = on_armed;
    arming->watch = watch;
    arming->path = copy;
    arming->kind = kind;
    ds_zk_request request = {.kind = kind, .path = path, .watch = true};
    ds_zk_code code = link->zookeeper->driver->submit(link->zk, &request, &arming->op);
    if (code != DS_ZK_OK) {
        ds_zk_arming_free(arming);
        ds_zk_watch_end(watch, DS_NOT_EXECUTED, ds_zk_code_text(code));
        return false;
    }
    ds_list_append(&watch->armings, &arming->node);
    ds_zk_look_again(link);
    return true;
}

bool ds_zk_armed(ds_zk_arming *arming, const ds_zk_answer *answer) {
    ds_zk_watch *watch = arming->watch;
    ds_list_remove(&arming->node);
    if (watch == NULL || answer->code == DS_ZK_CLOSING) {
        return false;
    }
    if (answer->code == DS_ZK_LOSS) {
        watch->lost = true; /* armed again with the next connection */
        return false;
    }
    if (answer->code == DS_ZK_NOT_TAKEN) {
        ds_zk_watch_end(watch, DS_NOT_EXECUTED, ds_zk_code_text(answer->code));
        return false;
    }
    if (answer->code != DS_ZK_OK && answer->code != DS_ZK_NO_NODE) {
        ds_zk_watch_end(watch, DS_REFUSED, ds_zk_code_text(answer->code));
        return false;
    }
    return true;
}

/* ---- single nodes ------------------------------------------------------------------------------------------------ */

static bool is_broken(const ds_zk_answer *answer) {
    return answer->size > 0 && memmem(answer->data, answer->size, DS_BROKEN_MARK, strlen(DS_BROKEN_MARK)) != NULL;
}

static void on_marked_removed(ds_zk_op *op, const ds_zk_answer *answer) {
    (void)answer; /* whoever marked it removes it too */
    ds_zk_arming_free(DS_CONTAINER_OF(op, ds_zk_arming, op));
}

/* Whoever marked the entry is about to remove it; should he die before, it must not stay. */
static void remove_marked(ds_zk_link *link, const char *path) {
    ds_zk_arming *arming = ds_calloc(1, sizeof(*arming));
    if (arming == NULL) {
        return;
    }
    ds_list_init(&arming->node);
    arming->op.done = on_marked_removed;
    ds_zk_request request = {.kind = DS_ZK_DELETE, .path = path, .version = DS_ZK_ANY_VERSION};
    if (link->zookeeper->driver->submit(link->zk, &request, &arming->op) != DS_ZK_OK) {
        ds_zk_arming_free(arming);
    }
    ds_zk_look_again(link);
}

static void on_single(ds_zk_arming *arming, const ds_zk_answer *answer) {
    ds_zk_watch *watch = arming->watch;
    bool wanted = ds_zk_armed(arming, answer);
    ds_zk_arming_free(arming);
    if (!wanted) {
        return;
    }
    if (answer->code == DS_ZK_NO_NODE) {
        ds_zk_watch_say(watch, DS_WATCH_DELETED, NULL, 0);
    } else if (watch->kind == DS_ZK_WATCH_OWN && is_broken(answer)) {
        remove_marked(watch->link, watch->full);
        ds_zk_watch_say(watch, DS_WATCH_DELETED, answer->data, answer->size);
    } else if (!watch->ready) {
        watch->ready = true;
        ds_zk_watch_say(watch, DS_WATCH_READY, NULL, 0);
    }
}

static void arm_single(ds_zk_watch *watch) {
    (void)ds_zk_arm(watch, watch->kind == DS_ZK_WATCH_OWN ? DS_ZK_GET : DS_ZK_CHILDREN, watch->full, on_single);
}

static bool only_waits(const ds_zk_watch *watch) {
    char nonce[17];
    ds_zk_nonce_in(strrchr(watch->full, '/') + 1, nonce);
    const ds_zk_node *node = ds_zk_node_of(watch->link, nonce);
    return node != NULL && !node->first;
}

static void on_delay(ds_timer *timer) {
    ds_zk_watch *watch = DS_CONTAINER_OF(timer, ds_zk_watch, delay);
    ds_world *world = watch->zookeeper->base.world;
    int64_t now = ds_now(world);
    if (only_waits(watch) && now - watch->began_ns < WAITING_NS) {
        ds_timer_set(world, timer, now + OWN_DELAY_NS);
    } else {
        arm_single(watch);
    }
}

static void heard_single(ds_zk_watch *watch) {
    if (watch->change == DS_ZK_DELETED) {
        ds_zk_watch_say(watch, DS_WATCH_DELETED, NULL, 0);
    } else {
        arm_single(watch);
    }
}

/* ---- what the link hears ----------------------------------------------------------------------------------------- */

/* Whoever is told may take off any watch: each is found anew. */
static ds_zk_watch *next_due(ds_zk_link *link) {
    for (ds_list *node = link->watches.next; node != &link->watches; node = node->next) {
        ds_zk_watch *watch = DS_LIST_ENTRY(node, ds_zk_watch, node);
        if (watch->due) {
            watch->due = false;
            return watch;
        }
    }
    return NULL;
}

static ds_zk_watch *next_due_at(const ds_zk_link *link, const char *path) {
    for (ds_zk_watch *watch = ds_map_get(&link->watched, path); watch != NULL; watch = watch->same) {
        if (watch->due) {
            watch->due = false;
            return watch;
        }
    }
    return NULL;
}

void ds_zk_watches_heard(ds_zk_link *link, ds_zk_change change, const char *path) {
    ds_zk_watch *watch = ds_map_get(&link->watched, path);
    for (; watch != NULL; watch = watch->same) {
        watch->due = true;
        watch->change = change;
    }
    while ((watch = next_due_at(link, path)) != NULL) {
        heard_single(watch);
    }
    for (ds_list *node = link->watches.next; node != &link->watches;) {
        watch = DS_LIST_ENTRY(node, ds_zk_watch, node);
        node = node->next; /* a tree only posts what it tells */
        if (watch->kind == DS_ZK_WATCH_TREE) {
            ds_zk_tree_heard(watch, change, path);
        }
    }
}

void ds_zk_watches_up(ds_zk_link *link) {
    for (ds_list *node = link->watches.next; node != &link->watches;) {
        ds_zk_watch *watch = DS_LIST_ENTRY(node, ds_zk_watch, node);
        node = node->next;
        if (!watch->lost) {
            continue;
        }
        watch->lost = false;
        if (watch->kind == DS_ZK_WATCH_TREE) {
            ds_zk_tree_arm(watch);
        } else {
            arm_single(watch);
        }
    }
}

void ds_zk_watches_doubt(ds_zk_link *link) {
    for (ds_list *node = link->watches.next; node != &link->watches; node = node->next) {
        ds_zk_watch *watch = DS_LIST_ENTRY(node, ds_zk_watch, node);
        watch->due = watch->kind == DS_ZK_WATCH_SESSION;
    }
    ds_zk_watch *watch;
    while ((watch = next_due(link)) != NULL) {
        ds_zk_watch_say(watch, DS_WATCH_DOUBT, NULL, 0);
    }
}

/* A session that has ended ends what was watched for it: its own node is gone with it. */
void ds_zk_watches_end(ds_zk_link *link, ds_class outcome, const char *why) {
    for (ds_list *node = link->watches.next; node != &link->watches; node = node->next) {
        ds_zk_watch *watch = DS_LIST_ENTRY(node, ds_zk_watch, node);
        watch->due = watch->kind == DS_ZK_WATCH_SESSION && outcome == DS_LOST;
    }
    ds_zk_watch *watch;
    while ((watch = next_due(link)) != NULL) {
        ds_zk_watch_say(watch, DS_WATCH_DELETED, NULL, 0);
    }
    while (!ds_list_empty(&link->watches)) {
        ds_zk_watch_end(DS_LIST_ENTRY(link->watches.next, ds_zk_watch, node), outcome, why);
    }
}

/* ---- on and off -------------------------------------------------------------------------------------------------- */

static ds_zk_watch_kind kind_of(const ds_watch_spec *spec) {
    ds_buf session = DS_BUF_EMPTY;
    if (spec->subtree) {
        return DS_ZK_WATCH_TREE;
    }
    if (spec->lease == NULL) {
        return DS_ZK_WATCH_AHEAD;
    }
    ds_zk_session_key(&session, spec->lease);
    bool is = !session.failed && strcmp(session.data, spec->key) == 0;
    ds_buf_free(&session);
    return is ? DS_ZK_WATCH_SESSION : DS_ZK_WATCH_OWN;
}

static ds_zk_watch *make(ds_zookeeper *zookeeper, ds_watch *owner, const ds_watch_spec *spec) {
    ds_zk_watch *watch = ds_calloc(1, sizeof(*watch));
    ds_buf full = DS_BUF_EMPTY;
    ds_zk_path(zookeeper, &full, spec->key);
    char *key = ds_strdup(spec->key);
    if (watch == NULL || key == NULL || full.failed) {
        ds_free(watch);
        ds_free(key);
        ds_buf_free(&full);
        return NULL;
    }
    watch->zookeeper = zookeeper;
    watch->owner = owner;
    watch->kind = kind_of(spec);
    watch->key = key;
    watch->full = full.data;
    watch->delay.fire = on_delay;
    ds_list_init(&watch->node);
    ds_list_init(&watch->armings);
    ds_list_init(&watch->tell.node);
    ds_map_init(&watch->armed, ds_random64(zookeeper->base.world));
    return watch;
}

static bool join_link(ds_zk_watch *watch, ds_zk_link *link) {
    if (watch->kind != DS_ZK_WATCH_TREE) {
        ds_zk_watch *first = ds_map_get(&link->watched, watch->full);
        if (first == NULL && !ds_map_put(&link->watched, watch->full, watch)) {
            return false;
        }
        if (first != NULL) {
            watch->same = first->same;
            first->same = watch;
        }
    }
    watch->link = link;
    ds_list_append(&link->watches, &watch->node);
    return true;
}

/* Servers lag behind each other: who hears something from one and asks another may be told what was before. */
static ds_zk_link *link_for(ds_zookeeper *zookeeper, const ds_watch_spec *spec) {
    const ds_lease *lease = spec->lease != NULL ? spec->lease : spec->asker;
    return lease != NULL ? ds_zk_link_of(lease) : ds_zk_any_link(zookeeper);
}

bool ds_zk_watch_on(ds_backend *backend, ds_watch *owner, const ds_watch_spec *spec) {
    ds_zookeeper *zookeeper = ds_zookeeper_of(backend);
    ds_zk_watch *watch = make(zookeeper, owner, spec);
    if (watch == NULL) {
        return false;
    }
    ds_zk_link *link = link_for(zookeeper, spec);
    bool dead = link == NULL || link->life == DS_ZK_DEAD;
    if (!dead && !join_link(watch, link)) {
        watch_free(watch);
        return false;
    }
    owner->impl = watch;
    if (dead) {
        ds_zk_watch_end(watch, DS_LOST, "zookeeper: the session is gone");
    } else if (watch->kind == DS_ZK_WATCH_TREE) {
        ds_zk_tree_arm(watch);
    } else if (watch->kind == DS_ZK_WATCH_OWN) {
        watch->began_ns = ds_now(backend->world);
        ds_timer_set(backend->world, &watch->delay, watch->began_ns + OWN_DELAY_NS);
    } else {
        arm_single(watch);
    }
    return true;
}

void ds_zk_watch_off(ds_backend *backend, ds_watch *owner) {
    (void)backend;
    ds_zk_watch *watch = owner->impl;
    if (watch != NULL) {
        owner->impl = NULL;
        watch_free(watch);
    }
}
