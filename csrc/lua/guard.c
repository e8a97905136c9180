/* guard.c: stops a busy Lua function at the moment its lock is lost: what lock:guard() needs from C.
 *
 * A guard is a slot in a list that signal handlers may walk. When the acquisition is lost, the client's thread sends
 * the guarded thread a signal; the handler arms a debug hook in the guarded coroutine (lua_sethook may be called from a
 * handler: the sources of every Lua say so), and the hook raises the error. Until then nothing is hooked, and a guarded
 * function runs at full speed.
 *
 * The hook raises once. Then the function has a grace to clean up; when that is over, the hook raises at every
 * instruction, so that a function which swallows errors ends too. It never raises while dsync's own Lua code runs: that
 * code stays consistent, and so the end of a guard is out of the hook's reach even where it is written in Lua. The
 * user's own hook is put back when the guard ends.
 */
#include "guard.h"

#include "guard_slot.h"

#define BIND_GUARD "dsync.core.guard"
#define GUARDS "dsync.core.guards" /* in the registry: slot -> guard, weak */

typedef struct guard {
    bind_slot *slot; /* NULL: ended */
} guard;

void bind_guard_raise(lua_State *L, bind_slot *one) {
    luaL_checkstack(L, 8, "too many results to raise an error");
    lua_getfield(L, LUA_REGISTRYINDEX, GUARDS);
    lua_pushlightuserdata(L, one);
    lua_rawget(L, -2);
    bind_get_anchor(L, -1);
    lua_getfield(L, -1, "make_error");
    lua_call(L, 0, 1);
    lua_error(L);
}

/* ---- guards ------------------------------------------------------------------------------------------------------ */

/* Whether the lock was lost meanwhile. `collected`: nobody can run in its coroutine any more. */
static bool finish(guard *g, lua_State *L, bool collected) {
    bind_slot *one = g->slot;
    if (one == NULL) {
        return false;
    }
    g->slot = NULL;
    bool lost = bind_slot_rung(one);
    lua_State *guarded = bind_slot_hide(one);
    bool shared = one->hooks != guarded;
    if (!collected || shared) {
        bind_slot_disarm(one, shared ? L : guarded);
    }
    one->armed = 0;
    dsync_alarm_free(atomic_exchange(&one->alarm, NULL));
    bind_slot_give(one);
    return lost;
}

static guard *check_guard(lua_State *L) {
    return luaL_checkudata(L, 1, BIND_GUARD);
}

static int guard_collect(lua_State *L) {
    (void)finish(check_guard(L), L, true);
    return 0;
}

static int guard_finish(lua_State *L) {
    lua_pushboolean(L, finish(check_guard(L), L, false));
    return 1;
}

/* guard:lost() -> whether the lock was lost since. */
static int guard_lost(lua_State *L) {
    const guard *g = check_guard(L);
    lua_pushboolean(L, g->slot != NULL && bind_slot_rung(g->slot));
    return 1;
}

/* guard:arm(): after a loss that no signal told. */
static int guard_arm(lua_State *L) {
    const guard *g = check_guard(L);
    lua_State *guarded = g->slot != NULL ? atomic_load(&g->slot->L) : NULL;
    if (guarded != NULL && bind_slot_rung(g->slot)) {
        bind_slot_arm(g->slot, guarded);
    }
    return 0;
}

/* guard:raised(): the error of the loss is being raised elsewhere. */
static int guard_raised(lua_State *L) {
    const guard *g = check_guard(L);
    if (g->slot != NULL) {
        bind_slot_raised(g->slot);
    }
    return 0;
}

#if LUA_VERSION_NUM >= 502
/* Stack: guard, handler, then the results or the error. */
static int call_over(lua_State *L, bool ok) {
    lua_pushboolean(L, finish(check_guard(L), L, false));
    lua_replace(L, 1);
    lua_pushboolean(L, ok);
    lua_replace(L, 2);
    return lua_gettop(L);
}

#if LUA_VERSION_NUM >= 503
static int call_resumed(lua_State *L, int status, lua_KContext context) {
    (void)context;
    return call_over(L, status == LUA_YIELD);
}
#else
static int call_resumed(lua_State *L) {
    return call_over(L, lua_getctx(L, NULL) == LUA_YIELD);
}
#endif

/* guard:call(handler, fn, ...) -> lost, true and fn's results, or lost, false and what the handler made of the error.
 * The guard is over then: no error that its hook raises leaves this call. */
static int guard_call(lua_State *L) {
    (void)check_guard(L);
    luaL_checkany(L, 3);
    int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, 0, call_resumed);
    return call_over(L, status == LUA_OK);
}
#endif

/* ---- making ------------------------------------------------------------------------------------------------------ */

static void push_guards(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, GUARDS);
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "v");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, GUARDS);
    }
}

/* The guard on top of the stack gets what it needs to keep: the lock, the coroutine, the maker of its error. */
static void keep_things(lua_State *L) {
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "lock");
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "make_error");
    lua_pushvalue(L, 3);
    lua_setfield(L, -2, "own");
    (void)lua_pushthread(L);
    lua_setfield(L, -2, "coroutine");
    bind_set_anchor(L, -2);
}

/* lock:guard(make_error, own, shared) -> guard of the running coroutine, whether a signal will tell; or nil, message,
 * code. make_error() returns what is raised; `own` names the sources that are spared, own, own.lua and own/...;
 * `shared`: one hook for all coroutines. */
int bind_guard(lua_State *L, dsync_lock *lock) {
    luaL_checktype(L, 2, LUA_TFUNCTION);
    size_t own_size = 0;
    const char *own = luaL_optlstring(L, 3, "", &own_size);
    bool shared = lua_toboolean(L, 4);
    lua_settop(L, 4);
    push_guards(L);
    guard *g = lua_newuserdata(L, sizeof *g);
    g->slot = NULL;
    luaL_getmetatable(L, BIND_GUARD);
    lua_setmetatable(L, -2);
    keep_things(L);

    bind_slot *one = bind_slot_take();
    if (one == NULL) {
        return bind_fail_with(L, DSYNC_RESOURCE, "out of memory");
    }
    g->slot = one;
    atomic_store(&one->L, NULL);
    one->own = own;
    one->own_size = own_size;
    lua_pushlightuserdata(L, one);
    lua_pushvalue(L, -2);
    lua_rawset(L, 5);

    int signo = bind_guard_signal_here();
    dsync_error error = {0};
    dsync_alarm *alarm = dsync_alarm_new(lock, signo, &error);
    if (alarm == NULL) {
        (void)finish(g, L, false);
        return bind_fail(L, &error);
    }
    atomic_store(&one->alarm, alarm);
    bind_slot_publish(one, L, shared);
    lua_pushboolean(L, signo != 0);
    return 2;
}

static lua_State *thread_or_self(lua_State *L, int index) {
    lua_State *thread = lua_tothread(L, index);
    return thread != NULL ? thread : L;
}

/* What ran in `from` goes on in `to`. */
static void move(lua_State *L, bind_slot *one, lua_State *to) {
    lua_State *from = bind_slot_hide(one);
    bind_slot_disarm(one, from);
    lua_getfield(L, LUA_REGISTRYINDEX, GUARDS);
    lua_pushlightuserdata(L, one);
    lua_rawget(L, -2);
    bind_get_anchor(L, -1);
    (void)lua_pushthread(to);
    if (to != L) {
        lua_xmove(to, L, 1);
    }
    lua_setfield(L, -2, "coroutine");
    lua_pop(L, 3);
    bind_slot_move(one, to);
}

/* guard_move(from, to): the guards of one coroutine now guard another, which it runs inside itself; nil is the running
 * one. Only for Lua 5.1, where a protected call that may yield needs a coroutine of its own. */
int bind_guard_move(lua_State *L) {
    if (!bind_slot_any()) {
        return 0;
    }
    lua_State *from = thread_or_self(L, 1);
    lua_State *to = thread_or_self(L, 2);
    for (bind_slot *one = bind_slots(); one != NULL; one = one->next) {
        if (atomic_load(&one->L) == from) {
            move(L, one, to);
        }
    }
    return 0;
}

static const luaL_Reg guard_methods[] = {
    {"finish", guard_finish},
    {"lost", guard_lost},
    {"arm", guard_arm},
    {"raised", guard_raised},
#if LUA_VERSION_NUM >= 502
    {"call", guard_call},
#endif
    {NULL, NULL},
};

void bind_guard_class(lua_State *L) {
    bind_class(L, BIND_GUARD, guard_methods, guard_collect);
}
