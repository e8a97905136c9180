/* host.c: a C program with an event loop of its own, in which Lua scripts use dsync.
 *
 *   make examples
 *   DSYNC_URL=etcd://127.0.0.1:2379 build/lua5.4/examples/host/host [THREADS] examples/host/script.lua
 *
 * The module is linked in (luaopen_dsync_core), not loaded. Each thread has a Lua state, a poll loop and a client of
 * its own; without THREADS the main thread is the only one the program makes. Scripts wait without blocking the loop:
 * the adapter in adapter.lua tells dsync how, with the few functions that this program gives to Lua:
 *
 *   host.watch(fd, fn)       calls fn() whenever fd is readable, until host.forget() -> handle
 *   host.after(seconds, fn)  calls fn() once -> handle
 *   host.forget(handle)
 *   host.now()               seconds on a monotonic clock
 *   host.thread              which thread this is
 *
 * The loop ends when there is nothing left to wait for.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dsync.h"

#define THREADS_MAX 16
#define THINGS_MAX 256

int luaopen_dsync_core(lua_State *L);

/* Something the loop waits for: a descriptor, or (fd < 0) a moment. */
typedef struct thing {
    int used, fd, callback; /* callback: in Lua's registry */
    double at;
} thing;

typedef struct loop {
    lua_State *L;
    thing things[THINGS_MAX];
} loop;

typedef struct job {
    const char *script;
    int number, failed;
} job;

static double now(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- what Lua gets ----------------------------------------------------------------------------------------------- */

static loop *loop_of(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int add_thing(lua_State *L, int fd, double at) {
    loop *one = loop_of(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    for (int i = 0; i < THINGS_MAX; i++) {
        if (!one->things[i].used) {
            lua_settop(L, 2);
            one->things[i] = (thing){.used = 1, .fd = fd, .callback = luaL_ref(L, LUA_REGISTRYINDEX), .at = at};
            lua_pushinteger(L, i);
            return 1;
        }
    }
    return luaL_error(L, "this loop can wait for %d things at once", THINGS_MAX);
}

static int host_watch(lua_State *L) {
    return add_thing(L, (int)luaL_checkinteger(L, 1), 0);
}

static int host_after(lua_State *L) {
    return add_thing(L, -1, now() + luaL_checknumber(L, 1));
}

static int host_forget(lua_State *L) {
    loop *one = loop_of(L);
    lua_Integer index = luaL_checkinteger(L, 1);
    if (index >= 0 && index < THINGS_MAX && one->things[index].used) {
        one->things[index].used = 0;
        luaL_unref(L, LUA_REGISTRYINDEX, one->things[index].callback);
    }
    return 0;
}

static int host_now(lua_State *L) {
    lua_pushnumber(L, now());
    return 1;
}

static void set_function(lua_State *L, loop *one, const char *name, lua_CFunction function) {
    lua_pushlightuserdata(L, one);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

static void open_libraries(loop *one, int number) {
    lua_State *L = one->L;
    luaL_openlibs(L);
    lua_newtable(L);
    set_function(L, one, "watch", host_watch);
    set_function(L, one, "after", host_after);
    set_function(L, one, "forget", host_forget);
    set_function(L, one, "now", host_now);
    lua_pushinteger(L, number);
    lua_setfield(L, -2, "thread");
    lua_setglobal(L, "host");

    /* The module is part of this program: require finds it here. */
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, luaopen_dsync_core);
    lua_setfield(L, -2, "dsync.core");
    lua_pop(L, 2);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

/* Calls what waits behind a thing; 0 when that failed. */
static int call(loop *one, int index) {
    lua_State *L = one->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, one->things[index].callback);
    if (one->things[index].fd < 0) {
        one->things[index].used = 0; /* a moment comes once */
        luaL_unref(L, LUA_REGISTRYINDEX, one->things[index].callback);
    }
    if (lua_pcall(L, 0, 0, 0) != 0) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        lua_pop(L, 1);
        return 0;
    }
    return 1;
}

static int run_loop(loop *one) {
    for (;;) {
        struct pollfd fds[THINGS_MAX];
        int owners[THINGS_MAX], used = 0;
        nfds_t count = 0;
        double first = -1;
        for (int i = 0; i < THINGS_MAX; i++) {
            const thing *it = &one->things[i];
            used += it->used;
            if (it->used && it->fd >= 0) {
                owners[count] = i;
                fds[count++] = (struct pollfd){.fd = it->fd, .events = POLLIN};
            } else if (it->used && (first < 0 || it->at < first)) {
                first = it->at;
            }
        }
        if (used == 0) {
            return 1;
        }
        double left = first - now();
        int timeout = first < 0 ? -1 : left <= 0 ? 0 : (int)(left * 1000) + 1;
        (void)poll(fds, count, timeout);
        for (nfds_t i = 0; i < count; i++) {
            if (fds[i].revents != 0 && one->things[owners[i]].used && !call(one, owners[i])) {
                return 0;
            }
        }
        for (int i = 0; i < THINGS_MAX; i++) {
            if (one->things[i].used && one->things[i].fd < 0 && one->things[i].at <= now() && !call(one, i)) {
                return 0;
            }
        }
    }
}

/* ---- states and threads ------------------------------------------------------------------------------------------ */

static void *run_state(void *argument) {
    job *one = argument;
    loop *events = calloc(1, sizeof *events);
    one->failed = 1;
    if (events != NULL && (events->L = luaL_newstate()) != NULL) {
        open_libraries(events, one->number);
        if (luaL_loadfile(events->L, one->script) == 0 && lua_pcall(events->L, 0, 0, 0) == 0) {
            one->failed = !run_loop(events);
        } else {
            fprintf(stderr, "%s\n", lua_tostring(events->L, -1));
        }
        lua_close(events->L);
    }
    free(events);
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS_MAX];
    job jobs[THREADS_MAX];
    int count = argc > 2 ? (int)strtol(argv[1], NULL, 10) : 0;
    if (argc < 2 || argc > 3 || count < 0 || count > THREADS_MAX) {
        fprintf(stderr, "usage: %s [THREADS] script.lua\n", argv[0]);
        return 64;
    }
    if (count == 0) {
        jobs[0] = (job){.script = argv[argc - 1]};
        run_state(&jobs[0]);
        return jobs[0].failed;
    }
    int failed = 0, started = 0;
    for (int i = 0; i < count; i++) {
        jobs[i] = (job){.script = argv[argc - 1], .number = i + 1};
        if (pthread_create(&threads[i], NULL, run_state, &jobs[i]) != 0) {
            failed = 1;
            break;
        }
        started++;
    }
    for (int i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
        failed |= jobs[i].failed;
    }
    return failed;
}
