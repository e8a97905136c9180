/* child.c: one child: started so that it dies with us, limited in time, reaped. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t target; /* of the present child, as for kill() */

/* ---- arguments --------------------------------------------------------------------------------------------------- */

/* A NULL-terminated vector of the strings in the table at `index`, which keeps them alive; on top of the stack. */
static char **push_vector(lua_State *L, int index, size_t *count) {
    size_t n = 0;
    for (;; n++) {
        lua_rawgeti(L, index, (int)(n + 1));
        bool last = lua_isnil(L, -1);
        lua_pop(L, 1);
        if (last) {
            break;
        }
    }
    char **vector = lua_newuserdata(L, (n + 1) * sizeof *vector);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, index, (int)(i + 1));
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, index, "strings only");
        vector[i] = (char *)(uintptr_t)lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    vector[n] = NULL;
    if (count != NULL) {
        *count = n;
    }
    return vector;
}

static bool is_set_by(const char *variable, char **settings) {
    size_t name = strcspn(variable, "=") + 1;
    for (; *settings != NULL; settings++) {
        if (strncmp(variable, *settings, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Our environment with `settings` in place of what it says under the same names; on top of the stack. */
static char **push_environment(lua_State *L, char **settings, size_t count) {
    size_t n = 0;
    while (environ != NULL && environ[n] != NULL) {
        n++;
    }
    char **merged = lua_newuserdata(L, (n + count + 1) * sizeof *merged);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_set_by(environ[i], settings)) {
            merged[used++] = environ[i];
        }
    }
    for (size_t i = 0; i < count; i++) {
        merged[used++] = settings[i];
    }
    merged[used] = NULL;
    return merged;
}

static int64_t moment_in(lua_Number seconds) {
    return seconds >= 0 ? process_now_ns() + (int64_t)(seconds * 1e9) + 1 : 0;
}

static bool flag(lua_State *L, int index, const char *name) {
    lua_getfield(L, index, name);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

typedef struct plan {
    char **arguments, **environment;
    bool own_group, give_terminal;
    int64_t until_ns; /* the limit that it begins with */
    pid_t parent;
    int report; /* errno goes here when the program cannot be executed */
} plan_t;

/* In the child, which until it executes the program shares the memory of a parent that stands still: system calls only,
 * and nothing is changed but its own stack. */
static void run(const plan_t *plan) {
    if (plan->own_group) {
        (void)setpgid(0, 0);
        if (plan->give_terminal) {
            sigset_t stop;
            sigemptyset(&stop);
            sigaddset(&stop, SIGTTOU); /* who asks from the background is stopped, unless this is blocked */
            (void)sigprocmask(SIG_BLOCK, &stop, NULL);
            (void)tcsetpgrp(STDIN_FILENO, getpid());
        }
    }
    /* Told here, before the program can do anything: the parent may be killed or stopped as soon as that runs. */
    process_warden_tell(plan->own_group ? -getpid() : getpid(), plan->until_ns);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != plan->parent) {
        _exit(128 + SIGKILL); /* it died before it could be watched */
    }
    process_signals_restore();
    (void)execvpe(plan->arguments[0], plan->arguments, plan->environment);
    int number = errno;
    (void)!write(plan->report, &number, sizeof number);
    _exit(127);
}

static int read_report(int fd) {
    int number = 0;
    ssize_t got;
    do {
        got = read(fd, &number, sizeof number);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof number ? number : 0;
}

static pid_t start(plan_t *plan, int *failure) {
    int ends[2];
    *failure = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        *failure = errno;
        return -1;
    }
    plan->parent = getpid();
    plan->report = ends[1];
    /* Not fork(): copying the page tables of a process with so many libraries takes longer than all the rest. */
    pid_t pid = vfork(); // NOLINT(clang-analyzer-security.insecureAPI.vfork)
    if (pid == 0) {
        run(plan); // NOLINT(clang-analyzer-unix.Vfork): it calls nothing that a fork with threads might not call
    }
    *failure = errno;
    (void)close(ends[1]);
    if (pid > 0) {
        if (plan->own_group) {
            (void)setpgid(pid, pid); /* both do it: whoever comes first, the group is there */
        }
        target = plan->own_group ? -pid : pid;
        *failure = read_report(ends[0]);
        if (*failure != 0) {
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
            }
            pid = -1;
        }
    }
    (void)close(ends[0]);
    return pid;
}

/* spawn({program, argument, ...}, {"NAME=value", ...}, {group = , terminal = , limit = }) -> pid, or nil, message,
 * "missing" or "refused". With `group` it gets a process group of its own, with `terminal` that group gets the
 * terminal. It dies when this process does, and when its limit (seconds; see limit()) has passed. */
int process_spawn(lua_State *L) {
    for (int i = 1; i <= 3; i++) {
        luaL_checktype(L, i, LUA_TTABLE);
    }
    lua_settop(L, 3);
    size_t count = 0;
    plan_t plan = {.own_group = flag(L, 3, "group"), .give_terminal = flag(L, 3, "terminal")};
    lua_getfield(L, 3, "limit");
    plan.until_ns = moment_in(luaL_optnumber(L, -1, -1));
    plan.arguments = push_vector(L, 1, &count);
    if (count == 0) {
        return luaL_argerror(L, 1, "no program");
    }
    char **settings = push_vector(L, 2, &count);
    plan.environment = push_environment(L, settings, count);
    if (!process_warden_start()) {
        return process_fail(L, "cannot start a process", errno);
    }
    int failure;
    pid_t pid = start(&plan, &failure);
    if (pid < 0) {
        process_warden_dismiss();
        return process_fail(L, plan.arguments[0], failure);
    }
    lua_pushinteger(L, (lua_Integer)pid);
    return 1;
}

/* prepare(): starts already what spawn() needs beside the child. A process is copied the faster the less it has loaded,
 * so a program that will start a child says so first. What fails here is tried again, and told, by spawn(). */
int process_prepare(lua_State *L) {
    (void)L;
    (void)process_warden_start();
    return 0;
}

/* ---- while it runs ----------------------------------------------------------------------------------------------- */

/* limit(seconds): the child is killed that long from now, even if this process is stopped; nil: not at all. */
int process_limit(lua_State *L) {
    process_warden_tell(target, moment_in(luaL_optnumber(L, 1, -1)));
    return 0;
}

/* reap(pid) -> nothing while it runs; "exited", its code; "killed" or "stopped", the signal's number. */
int process_reap(lua_State *L) {
    int status;
    pid_t pid = waitpid((pid_t)luaL_checkinteger(L, 1), &status, WNOHANG | WUNTRACED);
    if (pid == 0 || (pid < 0 && errno == EINTR)) {
        return 0;
    }
    if (pid < 0) {
        return luaL_error(L, "cannot wait for the child: %s", strerror(errno));
    }
    if (WIFEXITED(status)) {
        lua_pushliteral(L, "exited");
        lua_pushinteger(L, WEXITSTATUS(status));
    } else if (WIFSIGNALED(status)) {
        lua_pushliteral(L, "killed");
        lua_pushinteger(L, WTERMSIG(status));
    } else {
        lua_pushliteral(L, "stopped");
        lua_pushinteger(L, WSTOPSIG(status));
    }
    return 2;
}

/* dismiss(): the child has been reaped, nobody has to be killed any more. */
int process_dismiss(lua_State *L) {
    (void)L;
    process_warden_dismiss();
    return 0;
}
