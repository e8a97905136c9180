/* guard_slot.h: what a guard's signal handler and its debug hook work with. See guard.c.
 *
 * What the handler reads is atomic, or written before the slot is published. The handler runs on the guarded thread; a
 * guard that is ended elsewhere waits until a handler that is at work has left its slot.
 */
#ifndef DSYNC_LUA_GUARD_SLOT_H
#define DSYNC_LUA_GUARD_SLOT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "binding.h"

typedef struct bind_slot {
    struct bind_slot *next; /* never changes once it is in the list */
    _Atomic int used;
    _Atomic int thread;     /* whom the handler serves; 0: not ready */
    _Atomic int busy;       /* a handler looks at it */
    _Atomic(lua_State *) L; /* the guarded coroutine */
    _Atomic(dsync_alarm *) alarm;
    _Atomic int armed;
    _Atomic(const void *) hooks; /* what has one hook: the coroutine, or (LuaJIT) the whole state */
    uint64_t number;             /* guards within guards have higher ones */
    const char *own;             /* dsync's sources: own/..., own.lua and own */
    size_t own_size;
    int64_t grace_until_ns; /* 0: not raised yet */
    bool keeps_hook;        /* holds the user's hook: */
    lua_Hook hook;
    int hook_mask, hook_count;
} bind_slot;

/* All slots, the used and the unused: a list that only grows. */
bind_slot *bind_slots(void);
/* One for a new guard, invisible to the handler; NULL: out of memory. */
bind_slot *bind_slot_take(void);
void bind_slot_give(bind_slot *one);
bool bind_slot_any(void); /* whether any is in use */

/* Shows it to the handler: it guards what runs in `L`, on this thread. `shared`: one hook for all coroutines. */
void bind_slot_publish(bind_slot *one, lua_State *L, bool shared);
/* Takes it out of the handler's sight; the coroutine it guarded. */
lua_State *bind_slot_hide(bind_slot *one);
/* The same guard, hidden, for another coroutine. */
void bind_slot_move(bind_slot *one, lua_State *to);

/* Whether the lock was lost. */
bool bind_slot_rung(const bind_slot *one);
/* Sets the hook, once. On the guarded thread; async-signal-safe. */
void bind_slot_arm(bind_slot *one, lua_State *L);
/* The error of the loss is being raised by dsync's own code: the grace begins, as if the hook had raised it. On the
 * guarded thread. */
void bind_slot_raised(bind_slot *one);
/* Puts the user's hook back. `L`: a coroutine whose hook is meant. */
void bind_slot_disarm(bind_slot *one, lua_State *L);

/* guard.c: raises the error that says that this guard's lock was lost. */
void bind_guard_raise(lua_State *L, bind_slot *one);
/* guard_signal.c: the signal that can tell this thread, 0 when there is none. */
int bind_guard_signal_here(void);

#endif
