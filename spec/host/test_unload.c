/* Lua states that are closed, and modules that are unloaded, while clients live in them. */
#include <dlfcn.h>
#include <libgen.h>
#include <time.h>
#include <unistd.h>

#include "lua_state.h"

/* Everything that can be under way in a state. `...` is the URL; whatever it holds is given back by lua_close. */
static const char *const busy_state =
    "local dsync = require 'dsync'\n"
    "local d = assert(dsync.open(..., { close_timeout = 1, on_event = function() end }))\n"
    "keep = { d }\n"
    "for i = 1, 5 do\n"
    "  local lock = assert(d:lock('held' .. i):acquire { wait = 20 })\n"
    "  lock:on_revoked(function() error 'nobody took it' end)\n"
    "  keep[#keep + 1] = lock\n"
    "end\n"
    "local elected = assert(d:leader('role'):elect { wait = 20 })\n"
    "elected:on_revoked(function() error 'nobody took it' end)\n"
    "keep[#keep + 1] = elected\n"
    "local watcher = assert(d:watch {})\n"
    "keep[#keep + 1] = watcher\n"
    "assert(watcher:next(20))\n"
    /* Operations that wait, begun and left behind. */
    "keep[#keep + 1] = assert(d._core:lock('held1'):acquire {})\n"
    "keep[#keep + 1] = assert(d._core:lock('held1'):revoked())\n"
    "keep[#keep + 1] = assert(d._core:ping(20))\n"
    "assert(d:fd())\n"
    /* Coroutines that wait, in a run that was left by an error, and a guard that is not over. */
    "local parked = coroutine.create(function() keep[2]:guard(coroutine.yield) end)\n"
    "assert(coroutine.resume(parked))\n"
    "keep[#keep + 1] = parked\n"
    "local doomed = assert(d:lock('doomed', { hold = 0.01 }):acquire { wait = 20 })\n"
    "local lost = coroutine.create(function() doomed:guard(coroutine.yield) end)\n"
    "assert(coroutine.resume(lost))\n"
    "keep[#keep + 1] = lost\n"
    "dsync.spawn(function() d:lock('held2'):acquire() end)\n"
    "dsync.sleep(0.02)\n";

static const char *const next_state =
    "local dsync = require 'dsync'\n"
    "local d = assert(dsync.open(...))\n"
    "for i = 1, 5 do assert(assert(d:lock('held' .. i):acquire { wait = 20 }):release()) end\n"
    "assert(d:leader('role'):elect { wait = 20 })\n"
    "assert(d:close())\n";

static void pause_ms(long ms) {
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

TEST(a_state_is_closed_with_everything_under_way) {
    for (int i = 0; i < 10; i++) {
        test_case("round %d", i);
        lua_State *L = state_new(luaopen_dsync_core);
        CHECK(state_run(L, busy_state, "memory:closed"));
        lua_close(L);
    }
    lua_State *L = state_new(luaopen_dsync_core);
    CHECK(state_run(L, next_state, "memory:closed"));
    lua_close(L);
}

TEST(a_state_is_closed_while_no_server_answers) {
    lua_State *L = state_new(luaopen_dsync_core);
    CHECK(state_run(L,
                    "local dsync = require 'dsync'\n"
                    "local d = assert(dsync.open(..., { close_timeout = 0.5 }))\n"
                    "local lock = d:lock 'x'\n"
                    "lock:on_revoked(print)\n"
                    "keep = { assert(lock._core:acquire {}), assert(d._core:ping(20)), lock }\n"
                    "assert(d:watch {})\n",
                    "etcd://127.0.0.1:1"));
    pause_ms(50);
    lua_close(L);
    pause_ms(700); /* the client's thread ends meanwhile */
}

/* <build>/<lua>/host/test_unload -> <build>/<lua>/dsync/core.so */
static bool find_module(char *path, size_t size) {
    char own[4000];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    if (length <= 0) {
        return false;
    }
    own[length] = '\0';
    (void)snprintf(path, size, "%s/dsync/core.so", dirname(dirname(own)));
    return true;
}

TEST(the_module_stays_when_it_is_unloaded) {
    char path[4096];
    REQUIRE(find_module(path, sizeof path));
    for (int i = 0; i < 3; i++) {
        test_case("round %d", i);
        void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (module == NULL) {
            test_fail(__FILE__, __LINE__, "%s", dlerror());
            return;
        }
        lua_CFunction open;
        *(void **)&open = dlsym(module, "luaopen_dsync_core");
        REQUIRE(open != NULL && open != luaopen_dsync_core);
        lua_State *L = state_new(open);
        CHECK(state_run(L, busy_state, "memory:unloaded"));
        lua_close(L);
        (void)dlclose(module);
        pause_ms(20); /* its threads finish */
        void *still = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
        CHECK(still != NULL);
        (void)dlclose(still);
    }
    pause_ms(100);
}
