/* zookeeper_link.c: one ZooKeeper session: connecting, being driven by the client's loop, ending. What is asked over
 * it: zookeeper_call.c.
 *
 * The library tries one server after the other, but gives each two thirds of the session's time and notices silence as
 * late. So the link looks at its own watch, and breaks the connection of a server that does not answer.
 */
#include "zookeeper.h"

#include <string.h>

#define LOOKUP_PAUSE_NS (250 * DS_MS)

static ds_world *world_of(const ds_zk_link *link) {
    return link->zookeeper->base.world;
}

/* ---- driving ----------------------------------------------------------------------------------------------------- */

static void open_handle(ds_zk_link *link);

void ds_zk_look_again(ds_zk_link *link) {
    ds_post(world_of(link), &link->look);
}

static void watch_fd(ds_zk_link *link, const ds_zk_interest *interest) {
    ds_world *world = world_of(link);
    if (world->ops->fd_watch == NULL) {
        return;
    }
    if (interest->fd < 0) {
        world->ops->fd_unwatch(world, &link->fd);
        link->fd.fd = -1;
    } else if (ds_list_empty(&link->fd.node) || link->fd.fd != interest->fd || link->fd.want != interest->want) {
        link->fd.fd = interest->fd;
        link->fd.want = interest->want;
        world->ops->fd_watch(world, &link->fd);
    }
}

/* When somebody must look again: what the library says, and our own patience while connecting. */
static void set_timer(ds_zk_link *link, int64_t wait_ms) {
    ds_world *world = world_of(link);
    int64_t now = ds_now(world);
    int64_t at = wait_ms >= 0 ? now + wait_ms * DS_MS : DS_NEVER;
    if (link->life != DS_ZK_UP && link->fd.fd >= 0) {
        int64_t patience = link->trying_ns + link->zookeeper->connect_timeout_ms * DS_MS;
        at = patience < at ? patience : at;
    }
    if (at == DS_NEVER) {
        ds_timer_stop(world, &link->timer);
    } else {
        ds_timer_set(world, &link->timer, at > now ? at : now + DS_MS);
    }
}

/* Before the first connection nothing else tells those who wait for it that there is none to be had. They are told
 * once: who asks again waits here, and goes on as soon as there is one. */
static void note_attempt(ds_zk_link *link, int before, const ds_zk_interest *interest) {
    bool failed = interest->refused || (before >= 0 && interest->fd != before);
    if (link->life == DS_ZK_NEW && failed && ++link->failed == link->zookeeper->hosts.count) {
        ds_zk_fail_waiting(link);
    }
}

static void look(ds_zk_link *link) {
    const ds_zk_driver *driver = link->zookeeper->driver;
    if (link->life == DS_ZK_DEAD || link->zk == NULL) {
        return;
    }
    int before = link->fd.fd;
    ds_zk_interest interest = {.fd = -1, .wait_ms = -1};
    driver->interest(link->zk, &interest);
    if (link->life == DS_ZK_DEAD) {
        return;
    }
    if (interest.fd >= 0 && before < 0) {
        link->trying_ns = ds_now(world_of(link));
    }
    watch_fd(link, &interest);
    set_timer(link, interest.wait_ms);
    note_attempt(link, before, &interest);
}

static void on_look(ds_task *task) {
    look(DS_CONTAINER_OF(task, ds_zk_link, look));
}

static void on_timer(ds_timer *timer) {
    ds_zk_link *link = DS_CONTAINER_OF(timer, ds_zk_link, timer);
    ds_world *world = world_of(link);
    if (link->zk == NULL) {
        open_handle(link);
        return;
    }
    int64_t patience = link->zookeeper->connect_timeout_ms * DS_MS;
    if (link->life != DS_ZK_UP && link->fd.fd >= 0 && ds_now(world) - link->trying_ns >= patience) {
        link->trying_ns = ds_now(world);
        ds_zk_drop(link);
    }
    look(link);
}

static void on_ready(ds_fd *fd, unsigned events) {
    ds_zk_link *link = DS_CONTAINER_OF(fd, ds_zk_link, fd);
    if (link->life == DS_ZK_DEAD) {
        return;
    }
    link->zookeeper->driver->drive(link->zk, events);
    look(link);
}

void ds_zk_drop(ds_zk_link *link) {
    if (link->zk != NULL && link->life != DS_ZK_DEAD) {
        link->zookeeper->driver->drop(link->zk);
    }
}

/* ---- state ------------------------------------------------------------------------------------------------------- */

static void die(ds_zk_link *link, const char *why) {
    ds_world *world = world_of(link);
    link->life = DS_ZK_DEAD;
    ds_timer_stop(world, &link->timer);
    ds_list_remove(&link->look.node);
    if (world->ops->fd_unwatch != NULL) {
        world->ops->fd_unwatch(world, &link->fd);
    }
    ds_zk_link_ended(link, why);
    ds_zk_watches_end(link, link->denied ? DS_REFUSED : DS_LOST, why);
    if (!link->taken) {
        ds_zk_retire(link, false);
    }
}

static void up(ds_zk_link *link) {
    const ds_zk_driver *driver = link->zookeeper->driver;
    int64_t session = driver->session(link->zk);
    if (link->session != 0 && link->session != session) {
        die(link, "zookeeper: the server gave the connection another session");
        return;
    }
    link->session = session;
    link->life = DS_ZK_UP;
    link->stamp_version = -1;
    ds_zk_watches_up(link);
    ds_zk_begin_waiting(link);
}

static void on_state(ds_zk_listener *listener) {
    ds_zk_link *link = DS_CONTAINER_OF(listener, ds_zk_link, listener);
    if (link->life == DS_ZK_DEAD) {
        return;
    }
    link->heard_ns = ds_now(world_of(link));
    switch (link->zookeeper->driver->state(link->zk)) {
    case DS_ZK_CONNECTED:
        if (link->life != DS_ZK_UP) {
            up(link);
        }
        break;
    case DS_ZK_CONNECTING:
        if (link->life == DS_ZK_UP) {
            link->life = DS_ZK_DOWN;
            link->trying_ns = link->heard_ns;
            ds_zk_watches_doubt(link);
        }
        ds_zk_look_again(link);
        break;
    case DS_ZK_GONE:
        die(link, "zookeeper: the session has expired");
        break;
    case DS_ZK_DENIED:
        link->denied = true;
        die(link, "zookeeper: the server refuses the credentials in zookeeper.digest");
        break;
    }
}

static void on_watch(ds_zk_listener *listener, ds_zk_change change, const char *path) {
    ds_zk_link *link = DS_CONTAINER_OF(listener, ds_zk_link, listener);
    if (link->life != DS_ZK_DEAD) {
        link->heard_ns = ds_now(world_of(link));
        ds_zk_watches_heard(link, change, path);
    }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void open_handle(ds_zk_link *link) {
    ds_zookeeper *zookeeper = link->zookeeper;
    ds_buf servers = DS_BUF_EMPTY;
    if (ds_zk_hosts_get(&zookeeper->hosts, &servers, &link->hosts_waiter) && !servers.failed) {
        ds_zk_config config = {.world = world_of(link),
                               .servers = servers.data,
                               .timeout_ms = link->ttl_ms,
                               .digest = zookeeper->digest,
                               .creator_only = zookeeper->creator_only};
        link->zk = zookeeper->driver->open(&config, &link->listener);
    }
    ds_buf_free(&servers);
    if (link->zk != NULL) {
        ds_zk_hosts_cancel(&link->hosts_waiter);
        ds_zk_look_again(link);
    } else {
        ds_timer_set(world_of(link), &link->timer, ds_now(world_of(link)) + LOOKUP_PAUSE_NS);
        if (zookeeper->hosts.problem[0] != '\0' && !ds_list_empty(&link->waiting) && link->failed++ == 0) {
            ds_zk_fail_waiting(link);
        }
    }
}

static void on_known(ds_zk_hosts_waiter *waiter) {
    ds_zk_link *link = DS_CONTAINER_OF(waiter, ds_zk_link, hosts_waiter);
    if (link->zk == NULL && link->life == DS_ZK_NEW) {
        open_handle(link);
    }
}

static ds_zk_link *make(ds_zookeeper *zookeeper, int64_t ttl_ms) {
    ds_zk_link *link = ds_calloc(1, sizeof(*link));
    if (link == NULL) {
        return NULL;
    }
    link->zookeeper = zookeeper;
    link->ttl_ms = ttl_ms;
    link->stamp_version = -1;
    link->listener = (ds_zk_listener){.on_state = on_state, .on_watch = on_watch};
    link->fd.fd = -1;
    link->fd.ready = on_ready;
    link->timer.fire = on_timer;
    link->look.run = on_look;
    link->hosts_waiter.known = on_known;
    ds_list *const lists[] = {&link->node,    &link->fd.node, &link->look.node, &link->hosts_waiter.node,
                              &link->waiting, &link->calls,   &link->watches};
    for (size_t i = 0; i < DS_COUNT(lists); i++) {
        ds_list_init(lists[i]);
    }
    ds_map_init(&link->nodes, ds_random64(zookeeper->base.world));
    ds_map_init(&link->watched, ds_random64(zookeeper->base.world));
    ds_list_append(&zookeeper->links, &link->node);
    open_handle(link);
    return link;
}

static void free_nodes(ds_zk_link *link) {
    size_t cursor = 0;
    const char *nonce;
    ds_zk_node *node;
    while ((node = ds_map_next(&link->nodes, &cursor, &nonce)) != NULL) {
        ds_free(node->full);
        ds_free(node);
    }
    ds_map_free(&link->nodes);
}

static void destroy(ds_zk_link *link) {
    ds_world *world = world_of(link);
    ds_zk_hosts_cancel(&link->hosts_waiter);
    ds_timer_stop(world, &link->timer);
    ds_list_remove(&link->look.node);
    ds_list_remove(&link->node);
    if (world->ops->fd_unwatch != NULL) {
        world->ops->fd_unwatch(world, &link->fd);
    }
    link->life = DS_ZK_DEAD; /* whatever close() calls back is not listened to */
    if (link->zk != NULL) {
        link->zookeeper->driver->close(link->zk, link->orderly);
    }
    free_nodes(link);
    ds_map_free(&link->watched);
    ds_free(link);
}

static void on_reap(ds_task *task) {
    ds_zookeeper *zookeeper = DS_CONTAINER_OF(task, ds_zookeeper, reap);
    while (!ds_list_empty(&zookeeper->retired)) {
        destroy(DS_LIST_ENTRY(zookeeper->retired.next, ds_zk_link, node));
    }
}

void ds_zk_retire(ds_zk_link *link, bool orderly) {
    ds_zookeeper *zookeeper = link->zookeeper;
    if (link->life != DS_ZK_DEAD) {
        link->taken = true; /* it is retired here, not by its death */
        die(link, "zookeeper: the session was closed");
    }
    link->orderly = orderly;
    ds_list_remove(&link->node);
    ds_list_append(&zookeeper->retired, &link->node);
    zookeeper->reap.run = on_reap;
    ds_post(zookeeper->base.world, &zookeeper->reap);
}

void ds_zk_links_free(ds_zookeeper *zookeeper) {
    ds_list_remove(&zookeeper->reap.node);
    while (!ds_list_empty(&zookeeper->links)) {
        ds_zk_retire(DS_LIST_ENTRY(zookeeper->links.next, ds_zk_link, node), true);
    }
    ds_list_remove(&zookeeper->reap.node);
    on_reap(&zookeeper->reap);
}

/* ---- which link -------------------------------------------------------------------------------------------------- */

static ds_zk_link *find(const ds_zookeeper *zookeeper, bool only_free, int64_t ttl_ms) {
    ds_zk_link *best = NULL;
    for (ds_list *node = zookeeper->links.next; node != &zookeeper->links; node = node->next) {
        ds_zk_link *link = DS_LIST_ENTRY(node, ds_zk_link, node);
        bool fits = link->life != DS_ZK_DEAD && (!only_free || (!link->taken && link->ttl_ms == ttl_ms));
        if (fits && (best == NULL || (link->life == DS_ZK_UP && best->life != DS_ZK_UP))) {
            best = link;
        }
    }
    return best;
}

ds_zk_link *ds_zk_any_link(ds_zookeeper *zookeeper) {
    ds_zk_link *link = find(zookeeper, false, 0);
    return link != NULL ? link : make(zookeeper, zookeeper->ttl_ms);
}

ds_zk_link *ds_zk_lease_link(ds_zookeeper *zookeeper, ds_lease *lease) {
    ds_zk_link *link = lease->impl;
    if (link != NULL && link->life == DS_ZK_DEAD) {
        ds_zk_retire(link, false);
        lease->impl = link = NULL;
    }
    if (link == NULL) {
        link = find(zookeeper, true, lease->ttl_ms);
        link = link != NULL ? link : make(zookeeper, lease->ttl_ms);
        lease->impl = link;
    }
    if (link != NULL) {
        link->taken = true;
    }
    return link;
}

/* ---- our nodes --------------------------------------------------------------------------------------------------- */

ds_zk_node *ds_zk_node_of(const ds_zk_link *link, const char *nonce) {
    return ds_map_get(&link->nodes, nonce);
}

bool ds_zk_node_asked(ds_zk_link *link, const char *nonce) {
    if (ds_zk_node_of(link, nonce) != NULL) {
        return true;
    }
    ds_zk_node *node = ds_calloc(1, sizeof(*node));
    if (node == NULL || !ds_map_put(&link->nodes, nonce, node)) {
        ds_free(node);
        return false;
    }
    return true;
}

bool ds_zk_node_is(ds_zk_link *link, const char *nonce, const char *full, int64_t czxid) {
    if (!ds_zk_node_asked(link, nonce)) {
        return false;
    }
    ds_zk_node *node = ds_zk_node_of(link, nonce);
    if (node->full == NULL || strcmp(node->full, full) != 0) {
        char *copy = ds_strdup(full);
        if (copy == NULL) {
            return false;
        }
        ds_free(node->full);
        node->full = copy;
        node->name = strrchr(copy, '/') + 1;
    }
    node->czxid = czxid;
    return true;
}

void ds_zk_node_gone(ds_zk_link *link, const char *nonce) {
    ds_zk_node *node = ds_map_remove(&link->nodes, nonce);
    if (node != NULL) {
        ds_free(node->full);
        ds_free(node);
    }
}
