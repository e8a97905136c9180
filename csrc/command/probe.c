/* probe.c: a look at what listens on a port: connect, say something, read what comes back. For the doctor, who wants to
 * know how it fails, and speaks no protocol beyond that. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPLY_MAX 16384

static int64_t left_ms(int64_t deadline_ns) {
    int64_t left = (deadline_ns - process_now_ns()) / 1000000;
    return left > 0 ? left : 0;
}

static bool wait_for(int fd, short events, int64_t deadline_ns) {
    struct pollfd one = {.fd = fd, .events = events};
    int ready;
    do {
        ready = poll(&one, 1, (int)left_ms(deadline_ns));
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) {
        errno = ETIMEDOUT;
    }
    return ready > 0;
}

/* A connected socket, or -1 with errno. */
static int connect_to(const struct addrinfo *address, int64_t deadline_ns) {
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    int number = 0;
    socklen_t size = sizeof number;
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        number = errno;
        if (number == EINPROGRESS) {
            bool ready = wait_for(fd, POLLOUT, deadline_ns);
            number = errno;
            if (ready && getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0) {
                number = errno;
            }
        }
    }
    if (number != 0) {
        (void)close(fd);
        errno = number;
        return -1;
    }
    return fd;
}

static int connect_any(const struct addrinfo *addresses, int64_t deadline_ns) {
    for (const struct addrinfo *one = addresses; one != NULL; one = one->ai_next) {
        int fd = connect_to(one, deadline_ns);
        if (fd >= 0) {
            return fd;
        }
    }
    return -1;
}

/* Reads until the end, the deadline or a full buffer. */
static size_t read_reply(int fd, char *reply, int64_t deadline_ns) {
    size_t used = 0;
    while (used < REPLY_MAX && wait_for(fd, POLLIN, deadline_ns)) {
        ssize_t got = recv(fd, reply + used, REPLY_MAX - used, 0);
        if (got <= 0) {
            break;
        }
        used += (size_t)got;
    }
    return used;
}

static int fail(lua_State *L, const char *stage, const char *message) {
    lua_pushnil(L);
    lua_pushstring(L, stage);
    lua_pushstring(L, message);
    return 3;
}

/* exchange(host, port, text, seconds) -> what was answered (perhaps nothing), or nil, "resolve" or "connect", why. */
int process_exchange(lua_State *L) {
    const char *host = luaL_checkstring(L, 1);
    const char *port = luaL_checkstring(L, 2);
    size_t size;
    const char *text = luaL_checklstring(L, 3, &size);
    int64_t deadline_ns = process_now_ns() + (int64_t)(luaL_checknumber(L, 4) * 1e9);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char *reply = lua_newuserdata(L, REPLY_MAX);

    struct addrinfo *addresses = NULL;
    int problem = getaddrinfo(host, port, &hints, &addresses);
    if (problem != 0) {
        return fail(L, "resolve", gai_strerror(problem));
    }
    errno = 0;
    int fd = connect_any(addresses, deadline_ns);
    int number = errno;
    freeaddrinfo(addresses);
    if (fd < 0) {
        return fail(L, "connect", strerror(number));
    }
    size_t used = 0;
    if (send(fd, text, size, MSG_NOSIGNAL) == (ssize_t)size) {
        used = read_reply(fd, reply, deadline_ns);
    }
    (void)close(fd);
    lua_pushlstring(L, reply, used);
    return 1;
}
