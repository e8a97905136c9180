/* compat.h: one set of words for the C APIs of Lua 5.1 to 5.4 and LuaJIT.
 *
 * Defines nothing that begins with lua_ or luaL_: some builds of LuaJIT already have such additions.
 */
#ifndef DSYNC_LUA_COMPAT_H
#define DSYNC_LUA_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>

#if LUA_VERSION_NUM < 501
#error "dsync needs Lua 5.1 or later"
#endif

#if LUA_VERSION_NUM >= 503
#define BIND_EXACT_INTEGERS 1
#else
#define BIND_EXACT_INTEGERS 0
#endif

#define BIND_EXACT_MAX (INT64_C(1) << 53) /* up to here every integer is a double */

#if LUA_VERSION_NUM >= 502
#define bind_rawlen(L, index) ((size_t)lua_rawlen(L, index))
/* The table that travels with a userdata: keeps alive what its C part points to. */
#define bind_get_anchor(L, index) ((void)lua_getuservalue(L, index))
#define bind_set_anchor(L, index) ((void)lua_setuservalue(L, index))
#else
#define bind_rawlen(L, index) ((size_t)lua_objlen(L, index))
#define bind_get_anchor(L, index) lua_getfenv(L, index)
#define bind_set_anchor(L, index) ((void)lua_setfenv(L, index))
#endif

/* A count that identifies something within this process: far below 2^53. */
static inline void bind_push_number(lua_State *L, uint64_t number) {
#if BIND_EXACT_INTEGERS
    lua_pushinteger(L, (lua_Integer)number);
#else
    lua_pushnumber(L, (lua_Number)number);
#endif
}

#endif
