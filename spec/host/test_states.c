/* Several Lua states in several threads of one program, each with clients of its own. */
#include <pthread.h>

#include "lua_state.h"

#define THREADS 4

static int inside, overlaps, entered;

/* Not atomic on purpose: the lock is what orders these, also in the eyes of ThreadSanitizer. */
static int enter(lua_State *L) {
    overlaps += inside != 0;
    inside = 1;
    entered++;
    lua_pushnumber(L, entered);
    inside = 0;
    return 1;
}

typedef struct job {
    const char *text;
    char name[32];
    bool good;
} job;

static void *run_job(void *argument) {
    job *one = argument;
    lua_State *L = state_new(luaopen_dsync_core);
    lua_pushcfunction(L, enter);
    lua_setglobal(L, "enter");
    one->good = state_run(L, one->text, one->name);
    lua_close(L);
    return NULL;
}

/* Runs the text in a state of each thread; its `...` is the thread's name. */
static void in_threads(const char *text) {
    pthread_t threads[THREADS];
    job jobs[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){.text = text};
        (void)snprintf(jobs[i].name, sizeof jobs[i].name, "%d", i);
        REQUIRE(pthread_create(&threads[i], NULL, run_job, &jobs[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        CHECK(jobs[i].good);
    }
}

TEST(exclude_one_another) {
    in_threads("local dsync = require 'dsync'\n"
               "local d = assert(dsync.open('memory:states'))\n"
               "local lock = d:lock 'busy'\n"
               "for i = 1, 100 do\n"
               "  assert(lock:acquire { wait = 60 })\n"
               "  enter()\n"
               "  assert(lock:release())\n"
               "end\n"
               "assert(d:close())\n");
    CHECK_EQ_INT(overlaps, 0);
    CHECK_EQ_INT(entered, THREADS * 100);
}

TEST(wait_in_coroutines_of_their_own) {
    in_threads("local dsync = require 'dsync'\n"
               "local d = assert(dsync.open('memory:coroutines'))\n"
               "local count = 0\n"
               "dsync.run(function()\n"
               "  for i = 1, 20 do\n"
               "    dsync.spawn(function()\n"
               "      assert(d:with_lock('busy', { wait = 60 }, function(lock)\n"
               "        dsync.sleep(0.001)\n"
               "        count = count + 1\n"
               "        return lock:held()\n"
               "      end))\n"
               "    end)\n"
               "  end\n"
               "end)\n"
               "assert(count == 20)\n");
}

TEST(are_interrupted_each_for_itself) {
    in_threads("local dsync = require 'dsync'\n"
               "local now = require 'dsync.core'.now\n"
               "local step = os.time\n"
               "local d = assert(dsync.open('memory:guards'))\n"
               "local kept = assert(d:lock('kept' .. ...):acquire())\n"
               "for i = 1, 10 do\n"
               "  local lock = assert(d:lock('doomed' .. ..., { hold = 0.02 }):acquire())\n"
               "  local value, _, code = lock:guard(function()\n"
               "    while true do pcall(function() while true do step() end end) end\n"
               "  end)\n"
               "  assert(value == nil and code == 'lost')\n"
               "  assert(kept:guard(function()\n"
               "    local deadline = now() + 0.02\n"
               "    while now() < deadline do step() end\n"
               "    return true\n"
               "  end))\n"
               "end\n");
}
