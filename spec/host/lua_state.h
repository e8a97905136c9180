/* lua_state.h: Lua states for tests of C hosts: with the libraries, this tree's modules, and dsync.core linked in. */
#ifndef DS_LUA_STATE_H
#define DS_LUA_STATE_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "test.h"

int luaopen_dsync_core(lua_State *L);

/* A state that finds dsync.core by `open`. The tests are run in the tree's root. */
TEST_UNUSED static lua_State *state_new(lua_CFunction open) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_pushliteral(L, "lua/?.lua");
    lua_setfield(L, -2, "path");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, open);
    lua_setfield(L, -2, "dsync.core");
    lua_settop(L, 0);
    return L;
}

/* Runs a text, with `argument` as its `...`. False, and says why, when it raises an error. */
TEST_UNUSED static bool state_run(lua_State *L, const char *text, const char *argument) {
    lua_settop(L, 0);
    bool good = luaL_loadstring(L, text) == 0;
    if (good) {
        lua_pushstring(L, argument);
        good = lua_pcall(L, 1, 0, 0) == 0;
    }
    if (!good) {
        printf("  %s\n", lua_tostring(L, -1));
        lua_settop(L, 0);
    }
    return good;
}

#endif
