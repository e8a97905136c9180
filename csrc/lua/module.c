/* module.c: the Lua module dsync.core: its table, its classes, waiting on descriptors, the clock.
 *
 * Knows nothing of locks; and pins the library in memory, because a client's thread may outlive the lua_State (and so
 * the dlclose) that opened it.
 */
#include "binding.h"
#include "guard.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

DSYNC_API int luaopen_dsync_core(lua_State *L);

/* ---- what the classes share -------------------------------------------------------------------------------------- */

int bind_fail_with(lua_State *L, dsync_code code, const char *message) {
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, dsync_code_name(code));
    return 3;
}

int bind_fail(lua_State *L, const dsync_error *error) {
    return bind_fail_with(L, error->code, error->message);
}

void bind_methods(lua_State *L, const luaL_Reg *methods) {
    for (; methods->name != NULL; methods++) {
        lua_pushcfunction(L, methods->func);
        lua_setfield(L, -2, methods->name);
    }
}

void bind_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction finalise) {
    if (luaL_newmetatable(L, name)) {
        lua_pushstring(L, name);
        lua_setfield(L, -2, "__name");
        lua_pushcfunction(L, finalise);
        lua_setfield(L, -2, "__gc");
        lua_newtable(L);
        bind_methods(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushliteral(L, "protected"); /* nobody outside exchanges __gc or __index */
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
}

void bind_set_text(lua_State *L, const char *field, const char *text) {
    if (text != NULL) {
        lua_pushstring(L, text);
        lua_setfield(L, -2, field);
    }
}

void bind_set_value(lua_State *L, const char *value, size_t size, int is_json) {
    if (value != NULL) {
        lua_pushlstring(L, value, size);
        lua_setfield(L, -2, "value");
        lua_pushboolean(L, is_json);
        lua_setfield(L, -2, "value_is_json");
    }
}

void bind_push_token_text(lua_State *L, int64_t token) {
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, token);
    lua_pushstring(L, text);
}

int bind_push_token(lua_State *L, int64_t token) {
#if BIND_EXACT_INTEGERS
    lua_pushinteger(L, (lua_Integer)token);
    return 1;
#else
    if (token > BIND_EXACT_MAX || token < -BIND_EXACT_MAX) {
        return bind_fail_with(
            L, DSYNC_RANGE,
            "this token is above 2^53 and would not be exact as a number of this Lua: use token_string()");
    }
    lua_pushnumber(L, (lua_Number)token);
    return 1;
#endif
}

void bind_set_token(lua_State *L, int64_t token) {
    if (token == 0) {
        return;
    }
    int results = bind_push_token(L, token);
    if (results == 1) {
        lua_setfield(L, -2, "token");
    } else {
        lua_pop(L, results);
    }
    bind_push_token_text(L, token);
    lua_setfield(L, -2, "token_string");
}

/* ---- functions of the module ------------------------------------------------------------------------------------- */

/* The kernel cannot tell (it has no memory): whoever asks shall look for itself, and so not wait for ever. */
static void look_everywhere(struct pollfd *fds, size_t count, int limit_ms) {
    const struct timespec pause = {.tv_nsec = (limit_ms >= 0 && limit_ms < 10 ? limit_ms : 10) * 1000000L};
    (void)nanosleep(&pause, NULL);
    for (size_t i = 0; i < count; i++) {
        fds[i].revents = POLLERR;
    }
}

/* poll({fd, ...}, seconds) -> a table whose key i is true where the i-th fd is readable (or broken), or false. Returns
 * early, with false, when a signal came: the host's handler may want its turn. */
static int core_poll(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    int64_t timeout_ms = bind_check_ms(L, 2);
    size_t count = bind_rawlen(L, 1);
    struct pollfd *fds = lua_newuserdata(L, (count + 1) * sizeof(*fds));
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 1, (int)(i + 1));
        fds[i].fd = (int)luaL_checkinteger(L, -1);
        fds[i].events = POLLIN;
        fds[i].revents = 0;
        lua_pop(L, 1);
    }
    int limit_ms = timeout_ms > 60000 ? 60000 : (int)timeout_ms;
    int found = poll(fds, (nfds_t)count, limit_ms);
    if (found < 0 && errno != EINTR) {
        look_everywhere(fds, count, limit_ms);
    } else if (found <= 0) {
        lua_pushboolean(L, 0);
        return 1;
    }
    lua_newtable(L);
    for (size_t i = 0; i < count; i++) {
        if (fds[i].revents != 0) {
            lua_pushboolean(L, 1);
            lua_rawseti(L, -2, (int)(i + 1));
        }
    }
    return 1;
}

/* now() -> seconds on a clock that never goes back and counts suspended time. */
static int core_now(lua_State *L) {
    struct timespec now;
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0 && clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return luaL_error(L, "no monotonic clock: %s", strerror(errno));
    }
    lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
    return 1;
}

/* A second handle that is never closed keeps the library mapped, however it was linked. In a host that linked it in
 * statically there is nothing to keep and dlopen says so. */
static void pin_library(void) {
    Dl_info info;
    if (dladdr(dsync_code_name(DSYNC_OK), &info) != 0 && info.dli_fname != NULL) {
        (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
    }
}

static int core_prepare(lua_State *L) {
    dsync_prepare(luaL_checkstring(L, 1));
    return 0;
}

static const luaL_Reg core_functions[] = {
    {"open", bind_open},
    {"prepare", core_prepare},
    {"poll", core_poll},
    {"now", core_now},
    {"poller", bind_poller},
    {"link", bind_link},
    {"guard_signal", bind_guard_signal},
    {"guard_move", bind_guard_move},
    {NULL, NULL},
};

int luaopen_dsync_core(lua_State *L) {
    pin_library();
    bind_client_class(L);
    bind_lock_class(L);
    bind_op_class(L);
    bind_watcher_class(L);
    bind_poller_class(L);
    bind_link_class(L);
    bind_guard_class(L);
    lua_newtable(L);
    bind_methods(L, core_functions);
    lua_pushliteral(L, DSYNC_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
