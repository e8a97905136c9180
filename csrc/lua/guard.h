/* guard.h: guards: Lua functions that are stopped when a lock is lost. See guard.c. */
#ifndef DSYNC_LUA_GUARD_H
#define DSYNC_LUA_GUARD_H

#include <stdbool.h>

#include "binding.h"

void bind_guard_class(lua_State *L);
/* lock:guard(make_error, own, shared), for a lock that was checked. */
int bind_guard(lua_State *L, dsync_lock *lock);
int bind_guard_signal(lua_State *L); /* core.guard_signal */
int bind_guard_move(lua_State *L);   /* core.guard_move */

#endif
