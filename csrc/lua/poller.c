/* poller.c: many descriptors and one alarm behind a single descriptor, for event loops that can only wait for a few
 * objects, or have no timers (copas). It knows nothing of clients.
 *
 * The descriptor is readable while one of those added to it is, or the alarm has gone off.
 */
#include "binding.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

typedef struct bind_poller {
    int epoll; /* -1 once closed */
    int alarm;
} bind_poller_t;

static bind_poller_t *check_poller(lua_State *L) {
    bind_poller_t *poller = luaL_checkudata(L, 1, BIND_POLLER);
    if (poller->epoll < 0) {
        luaL_error(L, "this poller was closed");
    }
    return poller;
}

static void let_go(bind_poller_t *poller) {
    if (poller->epoll >= 0) {
        close(poller->epoll);
    }
    if (poller->alarm >= 0) {
        close(poller->alarm);
    }
    poller->epoll = -1;
    poller->alarm = -1;
}

static int watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int fail_with_errno(lua_State *L, const char *what, int number) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", what, strerror(number));
    lua_pushstring(L, dsync_code_name(DSYNC_RESOURCE));
    return 3;
}

/* poller() -> poller, or nil, message, code. */
int bind_poller(lua_State *L) {
    bind_poller_t *poller = lua_newuserdata(L, sizeof(*poller));
    poller->epoll = -1;
    poller->alarm = -1;
    luaL_getmetatable(L, BIND_POLLER);
    lua_setmetatable(L, -2);
    poller->epoll = epoll_create1(EPOLL_CLOEXEC);
    poller->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (poller->epoll < 0 || poller->alarm < 0 || watch(poller->epoll, poller->alarm) != 0) {
        int number = errno;
        let_go(poller);
        return fail_with_errno(L, "no descriptor to wait on", number);
    }
    return 1;
}

static int poller_close(lua_State *L) {
    let_go(luaL_checkudata(L, 1, BIND_POLLER));
    return 0;
}

static int poller_fd(lua_State *L) {
    lua_pushinteger(L, check_poller(L)->epoll);
    return 1;
}

/* poller:add(fd) -> true, or nil, message, code. */
static int poller_add(lua_State *L) {
    bind_poller_t *poller = check_poller(L);
    if (watch(poller->epoll, (int)luaL_checkinteger(L, 2)) != 0 && errno != EEXIST) {
        return fail_with_errno(L, "cannot wait on this descriptor", errno);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* poller:remove(fd): harmless when it is not there. */
static int poller_remove(lua_State *L) {
    (void)epoll_ctl(check_poller(L)->epoll, EPOLL_CTL_DEL, (int)luaL_checkinteger(L, 2), NULL);
    return 0;
}

/* poller:alarm(seconds): goes off once, that much later; nil: not at all. What had gone off is quiet again. */
static int poller_alarm(lua_State *L) {
    bind_poller_t *poller = check_poller(L);
    int64_t ms = bind_check_ms(L, 2);
    struct itimerspec spec = {0};
    if (ms >= 0) {
        spec.it_value.tv_sec = (time_t)(ms / 1000);
        spec.it_value.tv_nsec = ms == 0 ? 1 : (long)(ms % 1000) * 1000000;
    }
    (void)timerfd_settime(poller->alarm, 0, &spec, NULL);
    return 0;
}

static const luaL_Reg poller_methods[] = {
    {"fd", poller_fd},       {"add", poller_add},     {"remove", poller_remove},
    {"alarm", poller_alarm}, {"close", poller_close}, {NULL, NULL},
};

void bind_poller_class(lua_State *L) {
    bind_class(L, BIND_POLLER, poller_methods, poller_close);
}
