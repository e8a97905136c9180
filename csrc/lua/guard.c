/* guard.c: stops a busy Lua function at the moment its lock is lost: what lock:guard() needs from C.
 *
 * A guard is a slot in a list that signal handlers may walk. When the acquisition is lost, the client's thread sends the
 * guarded thread a signal; the handler arms a debug hook in the guarded coroutine (lua_sethook may be called from a
 * handler: the sources of every Lua say so), and the hook raises the error. Until then nothing is hooked, and a guarded
 * function runs at full speed.
 *
 * The hook raises once. Then the function has a grace to clean up; when that is over, the hook raises at every
 * instruction, so that a function which swallows errors ends too. It never raises while dsync's own Lua code runs: that
 * code stays consistent, and so the end of a guard is out of the hook's reach even where it is written in Lua. The user's
 * own hook is put back when the guard ends.
 *
 * What the handler reads is atomic or written before it is published. The handler runs on the guarded thread; a guard
 * that is ended elsewhere waits until a handler that is at work has left its slot.
 */
#include "guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BIND_GUARD "dsync.core.guard"
#define GUARDS "dsync.core.guards" /* in the registry: slot -> guard, weak */

#define GRACE_NS INT64_C(50000000)
#define EVERY_INSTRUCTION 1
#define NOW_AND_THEN 1000 /* instructions between two looks at the clock */

typedef struct slot {
    struct slot *next;       /* never changes once it is in the list */
    _Atomic int used;
    _Atomic int thread;      /* whom the handler serves; 0: not ready */
    _Atomic int busy;        /* a handler looks at it */
    _Atomic(lua_State *) L;  /* the guarded coroutine */
    _Atomic(dsync_alarm *) alarm;
    _Atomic int armed;
    _Atomic(const void *) hooks; /* what has one hook: the coroutine, or (LuaJIT) the whole state */
    uint64_t number;         /* guards within guards have higher ones */
    const char *own;         /* dsync's sources: own/... and own.lua */
    size_t own_size;
    int64_t grace_until_ns;  /* 0: not raised yet */
    bool keeps_hook;         /* holds the user's hook: */
    lua_Hook hook;
    int hook_mask, hook_count;
} slot;

typedef struct guard {
    slot *slot; /* NULL: ended */
} guard;

static _Atomic(slot *) slots;
static _Atomic int slots_used;
static _Atomic uint64_t last_number;

static void on_hook(lua_State *L, lua_Debug *ar);

/* ---- slots ------------------------------------------------------------------------------------------------------------ */

static slot *take_slot(void) {
    slot *one;
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

static void give_slot(slot *one) {
    atomic_fetch_sub(&slots_used, 1);
    atomic_store(&one->used, 0);
}

static bool rung(slot *one) {
    const dsync_alarm *alarm = atomic_load(&one->alarm);
    return alarm != NULL && dsync_alarm_rung(alarm);
}

/* The outermost guard of this coroutine whose lock is lost: its error ends those within it, too. */
static slot *lost_guard_of(lua_State *L) {
    slot *found = NULL;
    for (slot *one = atomic_load(&slots); one != NULL; one = one->next) {
        if (atomic_load(&one->L) == L && rung(one) && (found == NULL || one->number < found->number)) {
            found = one;
        }
    }
    return found;
}

static slot *other_armed(const slot *self, const void *hooks) {
    for (slot *one = atomic_load(&slots); one != NULL; one = one->next) {
        if (one != self && atomic_load(&one->L) != NULL && one->armed && one->hooks == hooks) {
            return one;
        }
    }
    return NULL;
}

/* ---- hooks ------------------------------------------------------------------------------------------------------------- */

/* Calls too: where LuaJIT runs compiled code, a call that is not compiled is all it notices. */
static void watch(const slot *one, lua_State *L, int count) {
    bool shared = atomic_load(&one->hooks) != L;
    lua_sethook(L, on_hook, shared ? LUA_MASKCOUNT | LUA_MASKCALL : LUA_MASKCOUNT, count);
}

/* On the guarded thread, perhaps in a signal handler. */
static void arm(slot *one, lua_State *L) {
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

/* `L`: a coroutine whose hook is meant. */
static void disarm(slot *one, lua_State *L) {
    if (!one->armed) {
        return;
    }
    one->armed = 0;
    if (!one->keeps_hook) {
        return;
    }
    one->keeps_hook = false;
    slot *other = other_armed(one, one->hooks);
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

static bool is_own_source(const slot *one, const char *source) {
    size_t size = one->own_size;
    return size > 0 && strncmp(source, one->own, size) == 0 &&
           (source[size] == '/' || strcmp(source + size, ".lua") == 0);
}

/* Whether dsync's own Lua code runs, or has just called a C function. */
static bool is_own(lua_State *L, lua_Debug *ar, const slot *one) {
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
    const slot *any = other_armed(NULL, lua_topointer(L, LUA_REGISTRYINDEX));
    if (any != NULL) {
        watch(any, L, NOW_AND_THEN); /* the guarded one may be next */
    } else {
        lua_sethook(L, NULL, 0, 0);
    }
}

static void raise_lost(lua_State *L, slot *one) {
    luaL_checkstack(L, 8, "too many results to raise an error");
    lua_getfield(L, LUA_REGISTRYINDEX, GUARDS);
    lua_pushlightuserdata(L, one);
    lua_rawget(L, -2);
    bind_get_anchor(L, -1);
    lua_getfield(L, -1, "make_error");
    lua_call(L, 0, 1);
    lua_error(L);
}

static void on_hook(lua_State *L, lua_Debug *ar) {
    slot *one = lost_guard_of(L);
    if (one == NULL) {
        on_foreign_hook(L);
    } else if (one->grace_until_ns == 0) {
        if (!is_own(L, ar, one)) {
            one->grace_until_ns = now_ns() + GRACE_NS;
            watch(one, L, NOW_AND_THEN);
            raise_lost(L, one);
        }
    } else if (now_ns() >= one->grace_until_ns) {
        watch(one, L, EVERY_INSTRUCTION);
        if (!is_own(L, ar, one)) {
            raise_lost(L, one);
        }
    }
}

/* ---- the signal -------------------------------------------------------------------------------------------------------- */

#define AUTOMATIC (-1)
static _Atomic int wanted_signal = AUTOMATIC; /* 0: none */
static pthread_mutex_t signal_mutex = PTHREAD_MUTEX_INITIALIZER;

static void on_signal(int signo) {
    int saved = errno;
    int me = (int)gettid();
    (void)signo;
    for (slot *one = atomic_load(&slots); one != NULL; one = one->next) {
        if (atomic_load(&one->thread) == me) {
            atomic_store(&one->busy, 1);
            lua_State *L = atomic_load(&one->L);
            if (L != NULL && rung(one)) {
                arm(one, L);
            }
            atomic_store(&one->busy, 0);
        }
    }
    errno = saved;
}

/* Ours already, or nobody's and now ours. */
static bool take_signal(int signo) {
    struct sigaction present;
    if (sigaction(signo, NULL, &present) != 0) {
        return false;
    }
    if (!(present.sa_flags & SA_SIGINFO) && present.sa_handler == on_signal) {
        return true;
    }
    if ((present.sa_flags & SA_SIGINFO) || present.sa_handler != SIG_DFL) {
        return false;
    }
    struct sigaction ours;
    memset(&ours, 0, sizeof ours);
    sigemptyset(&ours.sa_mask);
    ours.sa_handler = on_signal;
    ours.sa_flags = SA_RESTART | SA_ONSTACK;
    return sigaction(signo, &ours, NULL) == 0;
}

static bool is_blocked(int signo) {
    sigset_t blocked;
    return pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, signo) == 1;
}

/* The signal for this thread, 0 when there is none. One that was chosen for us is unblocked; others that are blocked may
 * be read by signalfd() or sigwait() and are left alone. */
static int signal_for_thread(void) {
    int wanted = atomic_load(&wanted_signal);
    int found = 0;
    pthread_mutex_lock(&signal_mutex);
    if (wanted == AUTOMATIC) {
        if (!is_blocked(SIGURG) && take_signal(SIGURG)) {
            found = SIGURG;
        }
        for (int signo = SIGRTMAX; signo >= SIGRTMIN && found == 0; signo--) {
            if (!is_blocked(signo) && take_signal(signo)) {
                found = signo;
            }
        }
    } else if (wanted != 0 && take_signal(wanted)) {
        found = wanted;
        sigset_t only;
        sigemptyset(&only);
        sigaddset(&only, wanted);
        (void)pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    }
    pthread_mutex_unlock(&signal_mutex);
    return found;
}

static bool may_be_wanted(int signo) {
    static const int never[] = {SIGKILL, SIGSTOP, SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        if (signo == never[i]) {
            return false;
        }
    }
    return signo > 0 && signo <= SIGRTMAX;
}

/* guard_signal(number, false for none, or nil for automatic) -> true, or nil, message, "config". */
int bind_guard_signal(lua_State *L) {
    int wanted = AUTOMATIC;
    if (lua_isboolean(L, 1) && !lua_toboolean(L, 1)) {
        wanted = 0;
    } else if (!lua_isnoneornil(L, 1)) {
        lua_Number number = luaL_checknumber(L, 1);
        wanted = number >= 1 && number <= (lua_Number)SIGRTMAX ? (int)number : -2;
        if (!may_be_wanted(wanted)) {
            return bind_fail_with(L, DSYNC_CONFIG, "this is no signal that a guard could use");
        }
        pthread_mutex_lock(&signal_mutex);
        bool taken = take_signal(wanted);
        pthread_mutex_unlock(&signal_mutex);
        if (!taken) {
            return bind_fail_with(L, DSYNC_CONFIG, "the program has a handler for this signal, or ignores it");
        }
    }
    atomic_store(&wanted_signal, wanted);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- guards ------------------------------------------------------------------------------------------------------------ */

/* Takes the slot out of the handler's sight. */
static lua_State *hide(slot *one) {
    lua_State *L = atomic_exchange(&one->L, NULL);
    if (atomic_load(&one->thread) != (int)gettid()) {
        while (atomic_load(&one->busy)) {
        }
    }
    atomic_store(&one->thread, 0);
    return L;
}

/* Whether the lock was lost meanwhile. `collected`: nobody can run in its coroutine any more. */
static bool finish(guard *g, lua_State *L, bool collected) {
    slot *one = g->slot;
    if (one == NULL) {
        return false;
    }
    g->slot = NULL;
    bool lost = rung(one);
    lua_State *guarded = hide(one);
    bool shared = one->hooks != guarded;
    if (!collected || shared) {
        disarm(one, shared ? L : guarded);
    }
    one->armed = 0;
    dsync_alarm_free(atomic_exchange(&one->alarm, NULL));
    give_slot(one);
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
    lua_pushboolean(L, g->slot != NULL && rung(g->slot));
    return 1;
}

/* guard:arm(): after a loss that no signal told. */
static int guard_arm(lua_State *L) {
    const guard *g = check_guard(L);
    lua_State *guarded = g->slot != NULL ? atomic_load(&g->slot->L) : NULL;
    if (guarded != NULL && rung(g->slot)) {
        arm(g->slot, guarded);
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

/* guard:call(handler, fn, ...) -> lost, true and fn's results, or lost, false and what the handler made of the error. The
 * guard is over then: no error that its hook raises leaves this call. */
static int guard_call(lua_State *L) {
    (void)check_guard(L);
    luaL_checkany(L, 3);
    int status = lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 2, 0, call_resumed);
    return call_over(L, status == LUA_OK);
}
#endif

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

static void publish(slot *one, lua_State *L, bool shared) {
    one->number = atomic_fetch_add(&last_number, 1) + 1;
    one->armed = 0;
    one->keeps_hook = false;
    one->grace_until_ns = 0;
    one->hooks = shared ? lua_topointer(L, LUA_REGISTRYINDEX) : L;
    atomic_store(&one->busy, 0);
    atomic_store(&one->L, L);
    atomic_store(&one->thread, (int)gettid());
    if (rung(one)) {
        arm(one, L);
    }
}

/* lock:guard(make_error, own, shared) -> guard of the running coroutine, whether a signal will tell; or nil, message, code.
 * make_error() returns what is raised; `own` names dsync's own sources, own/... and
 * own.lua, which are spared; `shared`: one hook for all coroutines. */
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

    slot *one = take_slot();
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

    int signo = signal_for_thread();
    dsync_error error = {0};
    dsync_alarm *alarm = dsync_alarm_new(lock, signo, &error);
    if (alarm == NULL) {
        (void)finish(g, L, false);
        return bind_fail(L, &error);
    }
    atomic_store(&one->alarm, alarm);
    publish(one, L, shared);
    lua_pushboolean(L, signo != 0);
    return 2;
}

static lua_State *thread_or_self(lua_State *L, int index) {
    lua_State *thread = lua_tothread(L, index);
    return thread != NULL ? thread : L;
}

/* What ran in `from` goes on in `to`. */
static void move(lua_State *L, slot *one, lua_State *to) {
    lua_State *from = hide(one);
    disarm(one, from);
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
    one->hooks = to;
    atomic_store(&one->L, to);
    atomic_store(&one->thread, (int)gettid());
    if (rung(one)) {
        arm(one, to);
    }
}

/* guard_move(from, to): the guards of one coroutine now guard another, which it runs inside itself; nil is the running
 * one. Only for Lua 5.1, where a protected call that may yield needs a coroutine of its own. */
int bind_guard_move(lua_State *L) {
    if (atomic_load(&slots_used) == 0) {
        return 0;
    }
    lua_State *from = thread_or_self(L, 1);
    lua_State *to = thread_or_self(L, 2);
    for (slot *one = atomic_load(&slots); one != NULL; one = one->next) {
        if (atomic_load(&one->L) == from) {
            move(L, one, to);
        }
    }
    return 0;
}

static const luaL_Reg guard_methods[] = {
    {"finish", guard_finish}, {"lost", guard_lost}, {"arm", guard_arm},
#if LUA_VERSION_NUM >= 502
    {"call", guard_call},
#endif
    {NULL, NULL},
};

void bind_guard_class(lua_State *L) {
    bind_class(L, BIND_GUARD, guard_methods, guard_collect);
}
