/* fork() and exec() at any moment of a host with Lua states; the signals of the client's thread. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lua_state.h"

#if defined(__SANITIZE_THREAD__)
#define NEW_THREADS_IN_CHILD false /* ThreadSanitizer cannot follow them */
#else
#define NEW_THREADS_IN_CHILD true
#endif

#define CHILD_SECONDS 60 /* a child that hangs ends then */

/* What every child checks, whatever its parent was doing: inherited handles are dead and harmless. */
static const char *const dead_handles =
    "for name, lock in pairs(locks) do\n"
    "  assert(not lock:held() and lock:valid_for() == 0, name)\n"
    "  local value, message, code = lock:acquire { wait = 1 }\n"
    "  assert(value == nil and code == 'forked', name .. ': ' .. tostring(message))\n"
    "  value, message, code = lock:release()\n"
    "  assert(value == nil and code == 'forked', name .. ': ' .. tostring(message))\n"
    "  assert(not pcall(lock.check, lock))\n"
    "  value, message, code = lock:guard(print)\n"
    "  assert(value == nil, name)\n"
    "end\n"
    "assert(d:dispatch() == 0)\n"
    "local value, message, code = d:close()\n"
    "assert(value == nil and code == 'forked', tostring(message))\n"
    "collectgarbage()\n";

static const char *const fresh_client = "local dsync = require 'dsync'\n"
                                        "local own = assert(dsync.open 'memory:child')\n"
                                        "assert(own:with_lock('a', function(lock)\n"
                                        "  return lock:guard(function() return lock:held() end)\n"
                                        "end))\n"
                                        "assert(own:close())\n";

/* Forks; the child runs the checks, closes the state and ends, by _exit or by exit. True when all went well. What it
 * found goes through a pipe: leak checkers have their own idea of its exit code, as what the parent's other threads had
 * is lost in it. */
static bool child_of(lua_State *L, bool by_exit) {
    int status = 0, verdict[2];
    char said = 0;
    (void)fflush(NULL);
    if (!CHECK(pipe2(verdict, O_CLOEXEC) == 0)) {
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(CHILD_SECONDS);
        bool good = state_run(L, dead_handles, "");
        if (NEW_THREADS_IN_CHILD) {
            good = state_run(L, fresh_client, "") && good;
        }
        lua_close(L);
        if (!good || write(verdict[1], "+", 1) != 1) {
            _exit(1);
        } else if (by_exit) {
            exit(0);
        }
        _exit(0);
    }
    (void)close(verdict[1]);
    bool good = CHECK(pid > 0 && waitpid(pid, &status, 0) == pid) && CHECK(WIFEXITED(status)) &&
                CHECK(read(verdict[0], &said, 1) == 1 && said == '+');
    (void)close(verdict[0]);
    return good;
}

typedef struct moment {
    const char *what, *text;
} moment;

static const moment moments[] = {
    {"before anything was asked", "locks = { a = d:lock 'a' }\n"},
    {"holding", "locks = { a = assert(d:lock('a'):acquire()) }\n"},
    {"with callbacks", "locks = { a = assert(d:lock('a'):acquire()):on_revoked(error) }\n"},
    {"waiting", "locks = { a = assert(d:lock('a'):acquire()), b = d:lock('a') }\n"
                "op = assert(d._core:lock('a'):acquire {})\n"},
    {"leading and watching", "locks = { }\n"
                             "elected = assert(d:leader('r'):elect())\n"
                             "watcher = assert(d:watch {})\n"
                             "assert(watcher:next(20))\n"},
    {"released", "locks = { a = assert(d:lock('a'):acquire()) } assert(locks.a:release())\n"},
    {"lost", "locks = { a = assert(d:lock('a', { hold = 0.01 }):acquire()) } dsync.sleep(0.03)\n"},
    {"with an event descriptor", "locks = { a = assert(d:lock('a'):acquire()) } assert(d:fd())\n"},
};

TEST(a_child_is_harmless_whatever_its_parent_did) {
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        for (int by_exit = 0; by_exit < 2; by_exit++) {
            test_case("%s, %s", moments[i].what, by_exit ? "exit" : "_exit");
            lua_State *L = state_new(luaopen_dsync_core);
            CHECK(state_run(L, "dsync = require 'dsync' d = assert(dsync.open 'memory:moments')", ""));
            CHECK(state_run(L, moments[i].text, ""));
            (void)child_of(L, by_exit);
            /* The parent has noticed nothing. */
            CHECK(state_run(L,
                            "if elected then assert(elected:held() and elected:resign()) end\n"
                            "if op then assert(op:wait(0) == false) end\n"
                            "for _, lock in pairs(locks) do lock:release() end\n"
                            "if op then assert(op:wait(20) and op:result()) op = nil end\n"
                            "assert(d:close())\n",
                            ""));
            lua_close(L);
        }
    }
    test_case("%s", "");
}

TEST(a_child_of_a_client_without_a_server) {
    lua_State *L = state_new(luaopen_dsync_core);
    CHECK(state_run(L,
                    "dsync = require 'dsync'\n"
                    "d = assert(dsync.open('etcd://127.0.0.1:1', { close_timeout = 0.2 }))\n"
                    "locks = { a = d:lock 'a' }\n"
                    "op, ping = assert(d._core:lock('a'):acquire {}), assert(d._core:ping(20))\n",
                    ""));
    for (int i = 0; i < 10; i++) {
        struct timespec time = {.tv_nsec = i * 1000000};
        (void)nanosleep(&time, NULL);
        test_case("fork %d", i);
        (void)child_of(L, i % 2 == 0);
    }
    lua_close(L);
}

/* ---- while other threads are in the library ---------------------------------------------------------------------- */

static atomic_bool hammering;

static void *hammer(void *argument) {
    (void)argument;
    lua_State *L = state_new(luaopen_dsync_core);
    CHECK(state_run(L, "d = assert(require 'dsync'.open 'memory:hammer') lock = d:lock 'x'", ""));
    while (atomic_load(&hammering)) {
        if (!CHECK(
                state_run(L, "for i = 1, 20 do assert(lock:acquire { wait = 60 }) assert(lock:release()) end", ""))) {
            break;
        }
    }
    lua_close(L);
    return NULL;
}

TEST(a_child_made_while_other_threads_are_busy) {
    pthread_t threads[2];
    atomic_store(&hammering, true);
    for (int i = 0; i < 2; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, hammer, NULL) == 0);
    }
    lua_State *L = state_new(luaopen_dsync_core);
    CHECK(state_run(L, "d = assert(require 'dsync'.open 'memory:hammer') locks = { y = assert(d:lock('y'):acquire()) }",
                    ""));
    for (int i = 0; i < 50; i++) {
        test_case("fork %d", i);
        if (!child_of(L, i % 2 == 0)) {
            break;
        }
        CHECK(state_run(L, "assert(locks.y:held()) assert(d:lock('x'):acquire { wait = 60 }):release()", ""));
    }
    atomic_store(&hammering, false);
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    lua_close(L);
}

/* The child of a guarded function goes on without a guard; the parent's works as before. */
static int lua_fork(lua_State *L) {
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(CHILD_SECONDS);
    }
    lua_pushnumber(L, pid);
    return 1;
}

static int lua_leave(lua_State *L) {
    _exit((int)luaL_checkinteger(L, 1));
}

TEST(a_fork_inside_a_guard) {
    int status = 0;
    lua_State *L = state_new(luaopen_dsync_core);
    lua_pushcfunction(L, lua_fork);
    lua_setglobal(L, "fork");
    lua_pushcfunction(L, lua_leave);
    lua_setglobal(L, "leave");
    CHECK(state_run(L,
                    "local dsync = require 'dsync'\n"
                    "local core = require 'dsync.core'\n"
                    "local d = assert(dsync.open 'memory:guarded')\n"
                    "local lock = assert(d:lock('a', { hold = 0.1 }):acquire())\n"
                    "local pid\n"
                    "local value, _, code = lock:guard(function()\n"
                    "  pid = fork()\n"
                    "  local deadline = core.now() + 0.3\n"
                    "  while core.now() < deadline do end\n"
                    "  return 'child'\n"
                    "end)\n"
                    "if pid == 0 then\n"
                    "  leave(value == 'child' and 0 or 1)\n"
                    "end\n"
                    "assert(value == nil and code == 'lost')\n",
                    ""));
    CHECK(wait(&status) > 0);
    CHECK(WIFEXITED(status));
    CHECK_EQ_INT(WEXITSTATUS(status), 0);
    lua_close(L);
}

/* ---- exec -------------------------------------------------------------------------------------------------------- */

TEST(nothing_is_handed_to_other_programs) {
    lua_State *L = state_new(luaopen_dsync_core);
    CHECK(state_run(L,
                    "local dsync = require 'dsync'\n"
                    "local function list()\n"
                    "  local pipe = assert(io.popen 'ls /proc/self/fd | wc -l')\n"
                    "  local count = pipe:read '*n'\n"
                    "  pipe:close()\n"
                    "  return count\n"
                    "end\n"
                    "local before = list()\n"
                    "local d = assert(dsync.open 'memory:exec')\n"
                    "local e = assert(dsync.open('etcd://127.0.0.1:1', { close_timeout = 0.2 }))\n"
                    "local lock = assert(d:lock('a'):acquire())\n"
                    "assert(d:fd() and e:fd())\n"
                    "local op = assert(e._core:ping(0.2))\n"
                    "dsync.spawn(function() d:lock('a'):acquire() end)\n"
                    "for i = 1, 5 do dsync.sleep(0.01) assert(list() == before, 'inherited') end\n"
                    "d:close() e:close()\n"
                    "assert(list() == before)\n",
                    ""));
    lua_close(L);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static unsigned long long blocked_in(const char *thread, char *name, int size) {
    char path[300], line[256];
    unsigned long long blocked = 0;
    (void)snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    FILE *status = fopen(path, "re");
    if (status == NULL) {
        return 0;
    }
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "Name:\t", 6) == 0) {
            (void)snprintf(name, (size_t)size, "%.*s", (int)strcspn(line + 6, "\n"), line + 6);
        }
        if (strncmp(line, "SigBlk:\t", 8) == 0) {
            blocked = strtoull(line + 8, NULL, 16);
        }
    }
    (void)fclose(status);
    return blocked;
}

/* The signals that a thread of the library must block: all but those of faults. */
static unsigned long long to_block(void) {
    static const int open_to[] = {SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGKILL, SIGSTOP};
    unsigned long long signals = 0;
    for (int signo = 1; signo < SIGRTMAX; signo++) { /* valgrind keeps the last for itself */
        signals |= signo < 32 || signo >= SIGRTMIN ? 1ULL << (signo - 1) : 0;
    }
    for (size_t i = 0; i < sizeof open_to / sizeof *open_to; i++) {
        signals &= ~(1ULL << (open_to[i] - 1));
    }
    return signals;
}

/* How many threads of the library there are, and in *open what one of them does not block, but should. */
static int look_at_threads(unsigned long long *open) {
    int count = 0;
    *open = 0;
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *task;
    while (tasks != NULL && (task = readdir(tasks)) != NULL) {
        char name[64] = "";
        unsigned long long blocked = task->d_name[0] == '.' ? 0 : blocked_in(task->d_name, name, sizeof name);
        if (strcmp(name, "dsync") == 0) {
            count++;
            *open |= to_block() & ~blocked;
        }
    }
    if (tasks != NULL) {
        (void)closedir(tasks);
    }
    return count;
}

static atomic_int handled;

static void count_signal(int signo) {
    (void)signo;
    atomic_fetch_add(&handled, 1);
}

TEST(signals_are_the_hosts) {
    sigset_t before, after;
    lua_State *L = state_new(luaopen_dsync_core);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &before);
    CHECK(state_run(L,
                    "local dsync = require 'dsync'\n"
                    "d = assert(dsync.open 'memory:signals')\n"
                    "lock = assert(d:lock('a'):acquire())\n",
                    ""));
    (void)pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (int signo = 1; signo <= SIGRTMAX; signo++) {
        CHECK(sigismember(&before, signo) == sigismember(&after, signo));
    }
    /* A thread gives itself its name, and valgrind shows a mask of its own while a thread is in no system call. */
    int threads = 0;
    unsigned long long open = 0;
    for (int tries = 0; (threads == 0 || open != 0) && tries < 1000; tries++) {
        const struct timespec time = {.tv_nsec = 5000000};
        (void)nanosleep(&time, NULL);
        threads = look_at_threads(&open);
    }
    CHECK(threads > 0);
    CHECK_EQ_INT(open, 0);

    /* One that the host blocks and expects later must wait, not end the process by way of another thread. */
    sigset_t only;
    (void)sigemptyset(&only);
    (void)sigaddset(&only, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &only, NULL);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(state_run(L, "for i = 1, 10 do assert(lock:release()) assert(lock:acquire()) end", ""));
    const struct timespec nothing = {0};
    CHECK_EQ_INT(sigtimedwait(&only, NULL, &nothing), SIGUSR1);
    (void)pthread_sigmask(SIG_UNBLOCK, &only, NULL);

    /* A guard takes no signal that has a handler, is ignored or is blocked. */
    struct sigaction mine = {.sa_handler = count_signal}, present;
    (void)sigaction(SIGURG, &mine, NULL);
    (void)signal(SIGRTMAX, SIG_IGN);
    (void)sigemptyset(&only);
    (void)sigaddset(&only, SIGRTMAX - 1);
    (void)pthread_sigmask(SIG_BLOCK, &only, NULL);
    CHECK(state_run(L,
                    "local step = os.time\n"
                    "local doomed = assert(d:lock('b', { hold = 0.02 }):acquire())\n"
                    "local _, _, code = doomed:guard(function() while true do step() end end)\n"
                    "assert(code == 'lost')\n"
                    "local ok, _, why = require 'dsync'.guard_signal(23)\n"
                    "assert(not ok and why == 'config')\n",
                    ""));
    CHECK_EQ_INT(atomic_load(&handled), 0);
    (void)sigaction(SIGURG, NULL, &present);
    CHECK(present.sa_handler == count_signal);
    (void)sigaction(SIGRTMAX, NULL, &present);
    CHECK(present.sa_handler == SIG_IGN);
    (void)sigaction(SIGRTMAX - 1, NULL, &present);
    CHECK(present.sa_handler == SIG_DFL);
    (void)sigaction(SIGRTMAX - 2, NULL, &present);
    CHECK(present.sa_handler != SIG_DFL && present.sa_handler != SIG_IGN);
    (void)pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    lua_close(L);
}
