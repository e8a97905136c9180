/* guard_slot.c: the slots of guards, and the hook that stops a guarded function.
 *
 * Knows neither the signal nor what is raised.
 */
#include "guard_slot.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GRACE_NS INT64_C(50000000)
#define EVERY_INSTRUCTION 1
#define NOW_AND_THEN 1000 /* instructions between two looks at the clock */

static _Atomic(bind_slot *) slots;
static _Atomic int slots_used;
static _Atomic uint64_t last_number;

static void on_hook(lua_State *L, lua_Debug *ar);

/* ---- slots ------------------------------------------------------------------------------------------------------- */

bind_slot *bind_slot_take(void) {
    bind_slot *one;
    for (one = atomic_load(&slots); one != NULL; one = one->next) {
        int unused = 0;
        if (atomic_compare_exchange_strong(&one->used, &unused, 1)) {
            break;
        }
    }
    if (one == NULL) {
        one = calloc(1, sizeof *one); /* for ever: a handler may be looking at it */
        if (one == NULL) {
            return NULL;
        }
        atomic_store(&one->used, 1);
        one->next = atomic_load(&slots);
        while (!atomic_compare_exchange_weak(&slots, &one->next, one)) {
        }
    }
    atomic_fetch_add(&slots_used, 1);
    return one;
}

void bind_slot_give(bind_slot *one) {
    atomic_fetch_sub(&slots_used, 1);
    atomic_store(&one->used, 0);
}

bool bind_slot_rung(const bind_slot *one) {
    const dsync_alarm *alarm = atomic_load(&one->alarm);
    return alarm != NULL && dsync_alarm_rung(alarm);
}

bind_slot *bind_slots(void) {
    return atomic_load(&slots);
}

bool bind_slot_any(void) {
    return atomic_load(&slots_used) > 0;
}

/* The outermost guard of this coroutine whose lock is lost: its error ends those within it, too. */
static bind_slot *lost_guard_of(lua_State *L) {
    bind_slot *found = NULL;
    for (bind_slot *one = atomic_load(&slots); one != NULL; one = one->next) {
        if (atomic_load(&one->L) == L && bind_slot_rung(one) && (found == NULL || one->number < found->number)) {
            found = one;
        }
    }
    return found;
}

static bind_slot *other_armed(const bind_slot *self, const void *hooks) {
    for (bind_slot *one = atomic_load(&slots); one != NULL; one = one->next) {
        if (one != self && atomic_load(&one->L) != NULL && one->armed && one->hooks == hooks) {
            return one;
        }
    }
    return NULL;
}

/* ---- hooks ------------------------------------------------------------------------------------------------------- */

/* Calls too: where LuaJIT runs compiled code, a call that is not compiled is all it notices. */
static void watch(const bind_slot *one, lua_State *L, int count) {
    bool shared = atomic_load(&one->hooks) != L;
    lua_sethook(L, on_hook, shared ? LUA_MASKCOUNT | LUA_MASKCALL : LUA_MASKCOUNT, count);
}

void bind_slot_arm(bind_slot *one, lua_State *L) {
    if (one->armed) {
        return;
    }
    one->armed = 1;
    lua_Hook hook = lua_gethook(L);
    one->keeps_hook = hook != on_hook;
    if (one->keeps_hook) {
        one->hook = hook;
        one->hook_mask = lua_gethookmask(L);
        one->hook_count = lua_gethookcount(L);
    }
    watch(one, L, EVERY_INSTRUCTION);
}

void bind_slot_disarm(bind_slot *one, lua_State *L) {
    if (!one->armed) {
        return;
    }
    one->armed = 0;
    if (!one->keeps_hook) {
        return;
    }
    one->keeps_hook = false;
    bind_slot *other = other_armed(one, one->hooks);
    if (other != NULL) {
        other->keeps_hook = true;
        other->hook = one->hook;
        other->hook_mask = one->hook_mask;
        other->hook_count = one->hook_count;
    } else {
        lua_sethook(L, one->hook, one->hook_mask, one->hook_count);
    }
}

static int64_t now_ns(void) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void bind_slot_raised(bind_slot *one) {
    if (one->grace_until_ns == 0) {
        one->grace_until_ns = now_ns() + GRACE_NS;
    }
}

static bool is_own_source(const bind_slot *one, const char *source) {
    size_t size = one->own_size;
    return size > 0 && strncmp(source, one->own, size) == 0 &&
           (source[size] == '\0' || source[size] == '/' || strcmp(source + size, ".lua") == 0);
}

/* Whether dsync's own Lua code runs, or has just called a C function. */
static bool is_own(lua_State *L, lua_Debug *ar, const bind_slot *one) {
    lua_Debug caller;
    if (!lua_getinfo(L, "S", ar)) {
        return false;
    } else if (ar->what[0] != 'C') {
        return is_own_source(one, ar->source);
    }
    return lua_getstack(L, 1, &caller) && lua_getinfo(L, "S", &caller) && is_own_source(one, caller.source);
}

/* The hook of a coroutine that is not guarded: made by a guarded one after its hook was set, or (LuaJIT) any. */
static void on_foreign_hook(lua_State *L) {
    const bind_slot *any = other_armed(NULL, lua_topointer(L, LUA_REGISTRYINDEX));
    if (any != NULL) {
        watch(any, L, NOW_AND_THEN); /* the guarded one may be next */
    } else {
        lua_sethook(L, NULL, 0, 0);
    }
}

static void on_hook(lua_State *L, lua_Debug *ar) {
    bind_slot *one = lost_guard_of(L);
    if (one == NULL) {
        on_foreign_hook(L);
    } else if (one->grace_until_ns == 0) {
        if (!is_own(L, ar, one)) {
            one->grace_until_ns = now_ns() + GRACE_NS;
            watch(one, L, NOW_AND_THEN);
            bind_guard_raise(L, one);
        }
    } else if (now_ns() >= one->grace_until_ns) {
        watch(one, L, EVERY_INSTRUCTION);
        if (!is_own(L, ar, one)) {
            bind_guard_raise(L, one);
        }
    }
}

/* ---- coming and going -------------------------------------------------------------------------------------------- */

static void show(bind_slot *one, lua_State *L) {
    atomic_store(&one->L, L);
    atomic_store(&one->thread, (int)gettid());
    if (bind_slot_rung(one)) {
        bind_slot_arm(one, L);
    }
}

void bind_slot_publish(bind_slot *one, lua_State *L, bool shared) {
    one->number = atomic_fetch_add(&last_number, 1) + 1;
    one->armed = 0;
    one->keeps_hook = false;
    one->grace_until_ns = 0;
    one->hooks = shared ? lua_topointer(L, LUA_REGISTRYINDEX) : L;
    atomic_store(&one->busy, 0);
    show(one, L);
}

void bind_slot_move(bind_slot *one, lua_State *to) {
    one->hooks = to;
    show(one, to);
}

lua_State *bind_slot_hide(bind_slot *one) {
    lua_State *L = atomic_exchange(&one->L, NULL);
    if (atomic_load(&one->thread) != (int)gettid()) {
        while (atomic_load(&one->busy)) {
        }
    }
    atomic_store(&one->thread, 0);
    return L;
}
