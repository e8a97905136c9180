/* loop_fds.c: descriptors that others bring to a loop, polled beside libcurl's. What is read from them is their owners'
 * business.
 */
#include "loop_internal.h"

#include <poll.h>

#define AT_ONCE 16

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
    (void)world;
    ds_list_remove(&fd->node);
}

bool ds_loop_network(const ds_loop *loop) {
    return loop->http != NULL && (ds_http_busy(loop->http) || !ds_list_empty(&loop->fds));
}

bool ds_loop_pending(const ds_loop *loop) {
    return loop->http != NULL && (loop->fds_news || ds_http_pending(loop->http));
}

static short poll_events(unsigned want) {
    return (short)(((want & DS_FD_READ) != 0 ? POLLIN : 0) | ((want & DS_FD_WRITE) != 0 ? POLLOUT : 0));
}

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
                fd->ready(fd, events);
            }
            return;
        }
    }
}

void ds_loop_run_fds(ds_loop *loop) {
    struct pollfd polled[AT_ONCE];
    nfds_t count = 0;
    for (ds_list *node = loop->fds.next; node != &loop->fds && count < AT_ONCE; node = node->next) {
        const ds_fd *fd = DS_LIST_ENTRY(node, ds_fd, node);
        polled[count++] = (struct pollfd){.fd = fd->fd, .events = poll_events(fd->want)};
    }
    if (count == 0 || poll(polled, count, 0) <= 0) {
        return;
    }
    for (nfds_t i = 0; i < count; i++) {
        tell(loop, &polled[i]);
    }
    /* Each gets its turn where there are more than fit. */
    for (nfds_t i = 0; i < count && !ds_list_empty(&loop->fds); i++) {
        ds_list *first = ds_list_pop(&loop->fds);
        ds_list_append(&loop->fds, first);
    }
    ds_loop_run_tasks(loop);
}
