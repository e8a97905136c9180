/* lua_host.c: runs the scenarios that are written in Lua, each in a Lua of its own, through the module linked in.
 *
 * The state is made, and the program loaded, with memory to spare: what fails is what the scenario itself asks for.
 */
#include "failing.h"
#include "lua_host.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

const char *fl_lua_program;
int luaopen_dsync_core(lua_State *L);

/* ok(code, message): what a call said. */
static int said(lua_State *L) {
    const char *name = lua_tostring(L, 1), *message = lua_tostring(L, 2);
    for (int code = 0; code < DSYNC_CODE_COUNT; code++) {
        if (name != NULL && strcmp(name, dsync_code_name((dsync_code)code)) == 0) {
            fl_code((dsync_code)code, message);
            return 0;
        }
    }
    fl_fail("a call said \"%s\", which is no code", name != NULL ? name : "(nothing)");
}

static int wrong(lua_State *L) {
    fl_fail("%s", lua_tostring(L, 1));
}

static int load(lua_State *L) {
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_dsync_core);
    lua_setfield(L, -2, "dsync.core");
    lua_pop(L, 1);
    lua_register(L, "said", said);
    lua_register(L, "wrong", wrong);
    if (luaL_dofile(L, fl_lua_program) != LUA_OK) {
        return lua_error(L);
    }
    return 1;
}

/* Whether `name` did what it does when nothing fails. An error for want of memory is an answer, too. */
static bool run_lua(const char *name) {
    lh_pause(true);
    lua_State *L = lua_newstate(lh_memory, NULL);
    if (L == NULL) {
        fl_fail("no Lua");
    }
    lua_pushcfunction(L, load);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
        fl_fail("%s", lua_tostring(L, -1));
    }
    lua_getfield(L, -1, name);
    lua_pushstring(L, fl_urls[fl_here]);
    lua_pushfstring(L, "failing/%d", fl_worker);
    lh_pause(false);
    int status = lua_pcall(L, 2, 1, 0);
    bool good = status == LUA_OK && lua_toboolean(L, -1);
    if (status == LUA_ERRRUN && lua_isstring(L, -1) && strstr(lua_tostring(L, -1), "memory") == NULL) {
        fl_fail("%s: %s", name, lua_tostring(L, -1));
    }
    lh_pause(true);
    lua_close(L);
    lh_pause(false);
    return good;
}

#define SCENARIO(name)                                                                                                 \
    static bool run_##name(void) {                                                                                     \
        return run_lua(#name);                                                                                         \
    }
SCENARIO(acquire)
SCENARIO(with_lock)
SCENARIO(guard)
SCENARIO(keep)
SCENARIO(elections)
SCENARIO(watch)
SCENARIO(listings)
SCENARIO(writes)
SCENARIO(coroutines)
SCENARIO(callbacks)
SCENARIO(refusals)
SCENARIO(cancel)

const fl_scenario fl_lua[] = {{"Lua: acquire and release", run_acquire, FL_EVERYWHERE, true},
                              {"Lua: with_lock", run_with_lock, FL_EVERYWHERE, true},
                              {"Lua: guard", run_guard, FL_EVERYWHERE, true},
                              {"Lua: keep", run_keep, FL_EVERYWHERE, true},
                              {"Lua: elections", run_elections, FL_EVERYWHERE, true},
                              {"Lua: watch", run_watch, FL_EVERYWHERE, true},
                              {"Lua: listings", run_listings, FL_EVERYWHERE, true},
                              {"Lua: writes", run_writes, FL_EVERYWHERE, true},
                              {"Lua: coroutines", run_coroutines, FL_EVERYWHERE, true},
                              {"Lua: callbacks", run_callbacks, FL_EVERYWHERE, true},
                              {"Lua: refusals", run_refusals, FL_EVERYWHERE, true},
                              {"Lua: cancel", run_cancel, FL_EVERYWHERE, true},
                              {NULL, NULL, 0, false}};
