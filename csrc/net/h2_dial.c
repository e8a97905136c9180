/* h2_dial.c: see h2_dial.h. One address after the other, the next a moment later even if the last is still silent; the
 * first connection wins. Knows nothing of what is said over it.
 */
#include "h2_dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STAGGER_NS (200 * DS_MS)

static void close_try(ds_h2_dial *dial, ds_fd *one) {
    if (one->fd >= 0) {
        dial->world->ops->fd_unwatch(dial->world, one);
        (void)close(one->fd);
        one->fd = -1;
        dial->count--;
    }
}

void ds_h2_dial_end(ds_h2_dial *dial) {
    if (dial->rest == NULL) {
        return;
    }
    dial->rest = NULL;
    ds_free(dial->addresses);
    dial->addresses = NULL;
    ds_timer_stop(dial->world, &dial->next);
    for (size_t i = 0; i < DS_DIAL_AT_ONCE; i++) {
        close_try(dial, &dial->tries[i]);
    }
}

static void won(ds_h2_dial *dial, int fd) {
    ds_h2_dial_end(dial);
    dial->done(dial, fd, 0);
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

/* The next of "10.0.0.1,[fe80::1]". False: there is none. */
static bool next_address(ds_h2_dial *dial, struct sockaddr_storage *address, socklen_t *size) {
    while (dial->rest[0] != '\0') {
        char text[INET6_ADDRSTRLEN + 2] = "";
        size_t length = strcspn(dial->rest, ",");
        const char *from = dial->rest;
        dial->rest += length + (from[length] == ',' ? 1 : 0);
        bool v6 = from[0] == '[' && length > 2;
        from += v6 ? 1 : 0;
        length -= v6 ? 2 : 0;
        if (length >= sizeof(text)) {
            continue;
        }
        memcpy(text, from, length);
        memset(address, 0, sizeof(*address));
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)address;
        struct sockaddr_in *in4 = (struct sockaddr_in *)(void *)address;
        if (v6 && inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
            in6->sin6_family = AF_INET6;
            in6->sin6_port = htons(dial->port);
            *size = sizeof(*in6);
            return true;
        }
        if (!v6 && inet_pton(AF_INET, text, &in4->sin_addr) == 1) {
            in4->sin_family = AF_INET;
            in4->sin_port = htons(dial->port);
            *size = sizeof(*in4);
            return true;
        }
    }
    return false;
}

static void set_options(const ds_h2_dial *dial, int fd) {
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
#ifdef TCP_USER_TIMEOUT
    /* A connection into nothing must die while there is still time to renew elsewhere. */
    unsigned patience = (unsigned)(2 * dial->timeout_ns / DS_MS);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof(patience));
#endif
}

/* ---- trying ------------------------------------------------------------------------------------------------------ */

static ds_fd *free_try(ds_h2_dial *dial) {
    for (size_t i = 0; i < DS_DIAL_AT_ONCE; i++) {
        if (dial->tries[i].fd < 0) {
            return &dial->tries[i];
        }
    }
    return NULL;
}

static void on_try(ds_fd *one, unsigned events, ds_h2_dial *dial);

#define ON_TRY(number)                                                                                                 \
    static void on_try_##number(ds_fd *one, unsigned events) {                                                         \
        on_try(one, events, DS_CONTAINER_OF(one, ds_h2_dial, tries[number]));                                          \
    }
ON_TRY(0)
ON_TRY(1)
ON_TRY(2)
ON_TRY(3)

/* Begins one connection. True: it is under way or there already (then the dial is over). */
static bool try_one(ds_h2_dial *dial, const struct sockaddr *address, socklen_t size) {
    ds_fd *one = free_try(dial);
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        dial->err = errno;
        return false;
    }
    if (address->sa_family != AF_UNIX) {
        set_options(dial, fd);
    }
    if (connect(fd, address, size) == 0) {
        won(dial, fd);
        return true;
    }
    if (errno != EINPROGRESS) {
        dial->err = errno;
        (void)close(fd);
        return false;
    }
    one->fd = fd;
    one->want = DS_FD_WRITE;
    dial->count++;
    dial->world->ops->fd_watch(dial->world, one);
    return true;
}

/* Goes on with the next address, if there is one and room for it. */
static void go_on(ds_h2_dial *dial) {
    struct sockaddr_storage address;
    socklen_t size = 0;
    while (dial->count < DS_DIAL_AT_ONCE && next_address(dial, &address, &size)) {
        if (try_one(dial, (const struct sockaddr *)&address, size)) {
            if (dial->rest != NULL && dial->rest[0] != '\0') {
                ds_timer_set(dial->world, &dial->next, ds_now(dial->world) + STAGGER_NS);
            }
            return;
        }
    }
    if (dial->count == 0) {
        int err = dial->err;
        ds_h2_dial_end(dial);
        dial->done(dial, -1, err);
    }
}

static void on_next(ds_timer *timer) {
    go_on(DS_CONTAINER_OF(timer, ds_h2_dial, next));
}

static void on_try(ds_fd *one, unsigned events, ds_h2_dial *dial) {
    int err = 0;
    socklen_t size = sizeof(err);
    (void)events;
    if (getsockopt(one->fd, SOL_SOCKET, SO_ERROR, &err, &size) != 0) {
        err = errno;
    }
    struct sockaddr_storage peer;
    size = sizeof(peer);
    if (err == 0 && getpeername(one->fd, (struct sockaddr *)&peer, &size) != 0) {
        if (errno == ENOTCONN) {
            return; /* not yet */
        }
        err = errno;
    }
    if (err == 0) {
        int fd = one->fd;
        dial->world->ops->fd_unwatch(dial->world, one);
        one->fd = -1;
        dial->count--;
        won(dial, fd);
        return;
    }
    dial->err = err;
    close_try(dial, one);
    go_on(dial);
}

static void reset(ds_h2_dial *dial) {
    static void (*const ready[DS_DIAL_AT_ONCE])(ds_fd *, unsigned) = {on_try_0, on_try_1, on_try_2, on_try_3};
    for (size_t i = 0; i < DS_DIAL_AT_ONCE; i++) {
        dial->tries[i].fd = -1;
        dial->tries[i].ready = ready[i];
        ds_list_init(&dial->tries[i].node);
    }
    dial->next.fire = on_next;
    dial->count = 0;
    dial->err = EADDRNOTAVAIL;
    dial->rest = "";
}

void ds_h2_dial_begin(ds_h2_dial *dial, const char *addresses, uint16_t port) {
    dial->port = port;
    reset(dial);
    dial->addresses = ds_strdup(addresses);
    if (dial->addresses != NULL) {
        dial->rest = dial->addresses;
    } else {
        dial->err = ENOMEM;
    }
    go_on(dial);
}

void ds_h2_dial_unix(ds_h2_dial *dial, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    reset(dial);
    if (length >= sizeof(address.sun_path)) {
        dial->err = ENAMETOOLONG;
    } else {
        memcpy(address.sun_path, path, length + 1);
        if (try_one(dial, (const struct sockaddr *)&address, sizeof(address))) {
            return;
        }
    }
    go_on(dial);
}
