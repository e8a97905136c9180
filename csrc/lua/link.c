/* link.c: a private unix socket from the clients of this process to a host that can only read sockets it has connected
 * itself (nginx). The host connects to path(), accept() takes that connection, and from then on the clients attached to
 * it send a byte whenever they have events. It never waits and never reads.
 *
 * The socket lives in a folder of its own that only this user may enter, until accept(), which also makes sure that it
 * is this very process that connected.
 */
#include "binding.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct bind_link {
    int listener; /* -1 once accepted or closed */
    int peer;     /* -1 until accepted */
    char folder[64];
    char path[80];
} bind_link_t;

static bind_link_t *check_link(lua_State *L) {
    return luaL_checkudata(L, 1, BIND_LINK);
}

static void stop_listening(bind_link_t *link) {
    if (link->listener >= 0) {
        close(link->listener);
        link->listener = -1;
    }
    if (link->path[0] != '\0') {
        (void)unlink(link->path);
        link->path[0] = '\0';
    }
    if (link->folder[0] != '\0') {
        (void)rmdir(link->folder);
        link->folder[0] = '\0';
    }
}

static void let_go(bind_link_t *link) {
    stop_listening(link);
    if (link->peer >= 0) {
        close(link->peer);
        link->peer = -1;
    }
}

static int make_folder(bind_link_t *link) {
    static const char *const places[] = {"/run", "/tmp"}; /* short: a socket's path has room for 107 bytes */
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        (void)snprintf(link->folder, sizeof(link->folder), "%s/dsync.XXXXXX", places[i]);
        if (mkdtemp(link->folder) != NULL) {
            return 0;
        }
    }
    link->folder[0] = '\0';
    return -1;
}

static int listen_there(bind_link_t *link) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (make_folder(link) != 0) {
        return -1;
    }
    (void)snprintf(link->path, sizeof(link->path), "%s/events", link->folder);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", link->path);
    link->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (link->listener < 0) {
        return -1;
    }
    if (bind(link->listener, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        return -1;
    }
    return listen(link->listener, 1);
}

/* link() -> link, or nil, message, code. */
int bind_link(lua_State *L) {
    bind_link_t *link = lua_newuserdata(L, sizeof(*link));
    memset(link, 0, sizeof(*link));
    link->listener = -1;
    link->peer = -1;
    luaL_getmetatable(L, BIND_LINK);
    lua_setmetatable(L, -2);
    if (listen_there(link) != 0) {
        int number = errno;
        let_go(link);
        lua_pushnil(L);
        lua_pushfstring(L, "no private socket in /run or /tmp: %s", strerror(number));
        lua_pushstring(L, dsync_code_name(DSYNC_RESOURCE));
        return 3;
    }
    return 1;
}

static int link_close(lua_State *L) {
    let_go(check_link(L));
    return 0;
}

static int link_path(lua_State *L) {
    lua_pushstring(L, check_link(L)->path);
    return 1;
}

static int is_own(int fd) {
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == getpid();
}

/* link:accept() -> whether this process has connected. Strangers are turned away. */
static int link_accept(lua_State *L) {
    bind_link_t *link = check_link(L);
    while (link->peer < 0 && link->listener >= 0) {
        int fd = accept4(link->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            break;
        }
        if (is_own(fd)) {
            link->peer = fd;
        } else {
            close(fd);
        }
    }
    if (link->peer >= 0) {
        stop_listening(link);
    }
    lua_pushboolean(L, link->peer >= 0);
    return 1;
}

/* link:beat(): a byte without an event behind it. */
static int link_beat(lua_State *L) {
    bind_link_t *link = check_link(L);
    if (link->peer >= 0) {
        (void)!send(link->peer, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    return 0;
}

/* link:attach(client) -> true, or nil, message, code; link:detach(client). */
static int link_attach(lua_State *L) {
    bind_link_t *link = check_link(L);
    dsync_error error = {0};
    if (dsync_event_socket(bind_check_client(L, 2)->handle, link->peer, &error) != DSYNC_OK) {
        return bind_fail(L, &error);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int link_detach(lua_State *L) {
    (void)check_link(L);
    (void)dsync_event_socket(bind_check_client(L, 2)->handle, -1, NULL);
    return 0;
}

static const luaL_Reg link_methods[] = {
    {"path", link_path},     {"accept", link_accept}, {"beat", link_beat}, {"attach", link_attach},
    {"detach", link_detach}, {"close", link_close},   {NULL, NULL},
};

void bind_link_class(lua_State *L) {
    bind_class(L, BIND_LINK, link_methods, link_close);
}
