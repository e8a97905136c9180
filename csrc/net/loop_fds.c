/* loop_fds.c: descriptors that others bring to a loop, and how a driver polls: by itself, or, while libcurl has
 * requests under way, inside libcurl. What is read from the descriptors is their owners' business.
 */
#include "loop_internal.h"

#include "../base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOK_PAUSE_NS DS_MS /* whoever drives without ever sleeping looks so often */

static ds_loop *loop_of(ds_world *world) {
    return DS_CONTAINER_OF(world, ds_loop, world);
}

void ds_loop_fd_watch(ds_world *world, ds_fd *fd) {
    ds_loop *loop = loop_of(world);
    if (ds_list_empty(&fd->node)) {
        ds_list_append(&loop->fds, &fd->node);
    }
    loop->fds_news = true;
}

void ds_loop_fd_unwatch(ds_world *world, ds_fd *fd) {
    if (!ds_list_empty(&fd->node)) {
        ds_list_remove(&fd->node);
        loop_of(world)->fds_known = false;
    }
}

static bool curl_busy(const ds_loop *loop) {
    return loop->http != NULL && ds_http_busy(loop->http);
}

bool ds_loop_network(const ds_loop *loop) {
    return loop->network && (curl_busy(loop) || !ds_list_empty(&loop->fds));
}

bool ds_loop_pending(const ds_loop *loop) {
    return loop->network && (loop->fds_news || ds_loop_http_pending(loop));
}

/* ---- polling ----------------------------------------------------------------------------------------------------- */

bool ds_loop_poll_begin(ds_loop *loop, dsync_error *error) {
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->network = loop->wake_fd >= 0;
    if (!loop->network) {
        ds_error_set(error, DSYNC_RESOURCE, "cannot set up the network: out of memory or file descriptors");
    }
    return loop->network;
}

void ds_loop_poll_end(ds_loop *loop) {
    if (loop->wake_fd >= 0) {
        (void)close(loop->wake_fd);
    }
    ds_free(loop->polled);
}

static short poll_events(unsigned want) {
    return (short)(((want & DS_FD_READ) != 0 ? POLLIN : 0) | ((want & DS_FD_WRITE) != 0 ? POLLOUT : 0));
}

static bool add_polled(ds_loop *loop, int fd, short events) {
    if (loop->polled_count == loop->polled_capacity) {
        size_t capacity = loop->polled_capacity * 2 + 4;
        struct pollfd *polled = ds_realloc(loop->polled, capacity * sizeof(*polled));
        if (polled == NULL) {
            return false;
        }
        loop->polled = polled;
        loop->polled_capacity = capacity;
    }
    loop->polled[loop->polled_count++] = (struct pollfd){.fd = fd, .events = events};
    return true;
}

static bool list_polled(ds_loop *loop) {
    loop->fds_news = loop->fds_known = false;
    loop->polled_count = 0;
    bool listed = add_polled(loop, loop->wake_fd, POLLIN);
    for (const ds_list *node = loop->fds.next; listed && node != &loop->fds; node = node->next) {
        const ds_fd *fd = DS_LIST_ENTRY(node, const ds_fd, node);
        listed = add_polled(loop, fd->fd, poll_events(fd->want));
    }
    return listed;
}

bool ds_loop_poll_prepare(ds_loop *loop, ds_sleep *sleep) {
    if (!ds_loop_network(loop)) {
        loop->fds_news = false;
        return true;
    }
    bool curl = curl_busy(loop);
    bool prepared = curl ? ds_http_look_at(loop->http, &loop->fds) : list_polled(loop);
    if (prepared) {
        *sleep = curl ? DS_SLEEP_CURL : DS_SLEEP_POLL;
        loop->fds_known = !curl;
        loop->fds_looked_ns = 0;
    }
    loop->fds_news = false;
    return prepared;
}

bool ds_loop_poll(ds_loop *loop, ds_sleep sleep, int timeout_ms) {
    if (sleep == DS_SLEEP_CURL) {
        return ds_http_poll(loop->http, timeout_ms);
    }
    int ready = poll(loop->polled, (nfds_t)loop->polled_count, timeout_ms);
    if (ready <= 0) {
        for (size_t i = 0; i < loop->polled_count; i++) {
            loop->polled[i].revents = 0;
        }
        return ready == 0 || errno == EINTR;
    }
    if (loop->polled[0].revents != 0) {
        uint64_t count;
        (void)!read(loop->wake_fd, &count, sizeof(count));
    }
    return true;
}

void ds_loop_poll_wake(const ds_loop *loop, ds_sleep sleep) {
    if (sleep == DS_SLEEP_CURL) {
        ds_http_wake(loop->http);
    } else {
        uint64_t one = 1;
        (void)!write(loop->wake_fd, &one, sizeof(one));
    }
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static unsigned ready_events(const struct pollfd *polled, unsigned want) {
    if ((polled->revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
        return want;
    }
    return ((polled->revents & POLLIN) != 0 ? DS_FD_READ : 0) | ((polled->revents & POLLOUT) != 0 ? DS_FD_WRITE : 0);
}

/* Whoever was told may have unwatched others: each is looked up anew by what it was polled for. */
static void tell(ds_loop *loop, const struct pollfd *polled) {
    for (ds_list *node = loop->fds.next; node != &loop->fds; node = node->next) {
        ds_fd *fd = DS_LIST_ENTRY(node, ds_fd, node);
        if (fd->fd == polled->fd) {
            unsigned events = ready_events(polled, fd->want);
            if (events != 0) {
                fd->ready(fd, events & fd->want);
            }
            return;
        }
    }
}

/* What a sleep has found out is used, unless descriptors came or went meanwhile. */
static bool know_ready(ds_loop *loop) {
    int64_t now = ds_clock_ns();
    bool known = loop->fds_known && !loop->fds_news;
    loop->fds_known = false;
    if (known || now - loop->fds_looked_ns < LOOK_PAUSE_NS) {
        loop->fds_looked_ns = known ? now : loop->fds_looked_ns;
        return known;
    }
    bool news = loop->fds_news;
    bool listed = list_polled(loop);
    loop->fds_news = news;
    loop->fds_looked_ns = now;
    return listed && poll(loop->polled, (nfds_t)loop->polled_count, 0) > 0;
}

void ds_loop_run_fds(ds_loop *loop) {
    if (ds_list_empty(&loop->fds) || !know_ready(loop)) {
        return;
    }
    for (size_t i = 1; i < loop->polled_count; i++) {
        if (loop->polled[i].revents != 0) {
            tell(loop, &loop->polled[i]);
        }
    }
    ds_loop_run_tasks(loop);
}
