/* module.c: the Lua module dsync.process: its table, clocks, the terminal, streams, kill and the end. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

__attribute__((visibility("default"))) int luaopen_dsync_process(lua_State *L);

int process_fail(lua_State *L, const char *what, int number) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", what, strerror(number));
    lua_pushstring(L, number == ENOENT || number == ENOTDIR ? "missing" : "refused");
    return 3;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

int64_t process_now_ns(void) {
    struct timespec now = {0, 0};
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static lua_Number seconds_of(clockid_t clock) {
    struct timespec now = {0, 0};
    (void)clock_gettime(clock, &now);
    return (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9;
}

/* clock() -> seconds since 1970; since boot, suspended time included; since boot without it. */
static int process_clock(lua_State *L) {
    lua_pushnumber(L, seconds_of(CLOCK_REALTIME));
    lua_pushnumber(L, seconds_of(CLOCK_BOOTTIME));
    lua_pushnumber(L, seconds_of(CLOCK_MONOTONIC));
    return 3;
}

/* ---- signals to others ------------------------------------------------------------------------------------------- */

/* kill(pid or -group, name) -> whether there was anybody. */
static int process_kill(lua_State *L) {
    int number = process_signal_number(luaL_checkstring(L, 2));
    luaL_argcheck(L, number > 0, 2, "no such signal");
    lua_pushboolean(L, kill((pid_t)luaL_checkinteger(L, 1), number) == 0);
    return 1;
}

static int process_name_of(lua_State *L) {
    lua_pushstring(L, process_signal_name((int)luaL_checkinteger(L, 1)));
    return 1;
}

static int process_pid(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)getpid());
    return 1;
}

/* ---- terminal ---------------------------------------------------------------------------------------------------- */

static int process_isatty(lua_State *L) {
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* columns(fd) -> the terminal's width, or nil. */
static int process_columns(lua_State *L) {
    struct winsize size;
    if (ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
        return 0;
    }
    lua_pushinteger(L, size.ws_col);
    return 1;
}

/* has_terminal() -> whether this process reads from a terminal, writes to it, and is the one whom it listens to. */
static int process_has_terminal(lua_State *L) {
    lua_pushboolean(L, isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp());
    return 1;
}

/* give_terminal(group): nil gives it back to ours. */
static int process_give_terminal(lua_State *L) {
    sigset_t stop, before;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTTOU); /* who asks from the background is stopped, unless this is blocked */
    (void)sigprocmask(SIG_BLOCK, &stop, &before);
    (void)tcsetpgrp(STDIN_FILENO, (pid_t)luaL_optinteger(L, 1, getpgrp()));
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return 0;
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

/* discard(fd) -> whether there may be more: reads what is there and forgets it. */
static int process_discard(lua_State *L) {
    char nowhere[4096];
    ssize_t got = read((int)luaL_checkinteger(L, 1), nowhere, sizeof nowhere);
    lua_pushboolean(L, got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)));
    return 1;
}

/* Whoever starts us may have closed a standard stream. Its number must not go to a database or a socket, which would
 * then be read and written as if it were the stream: it stays taken, and using it fails as if it were closed. */
static void occupy_standard_streams(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
        }
    }
}

static int process_is_pipe(lua_State *L) {
    struct stat about;
    lua_pushboolean(L, fstat((int)luaL_checkinteger(L, 1), &about) == 0 && S_ISFIFO(about.st_mode));
    return 1;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* exit(code): at once; what is closing in the background is left to the server. */
static int process_exit(lua_State *L) {
    int code = (int)luaL_checkinteger(L, 1);
    (void)fflush(NULL);
    _exit(code);
}

static const luaL_Reg functions[] = {
    {"take", process_take},
    {"next_signal", process_next_signal},
    {"signal_name", process_name_of},
    {"prepare", process_prepare},
    {"spawn", process_spawn},
    {"limit", process_limit},
    {"reap", process_reap},
    {"dismiss", process_dismiss},
    {"kill", process_kill},
    {"pid", process_pid},
    {"clock", process_clock},
    {"isatty", process_isatty},
    {"columns", process_columns},
    {"has_terminal", process_has_terminal},
    {"give_terminal", process_give_terminal},
    {"discard", process_discard},
    {"is_pipe", process_is_pipe},
    {"exchange", process_exchange},
    {"exit", process_exit},
    {NULL, NULL},
};

int luaopen_dsync_process(lua_State *L) {
    occupy_standard_streams();
    lua_newtable(L);
    for (const luaL_Reg *one = functions; one->name != NULL; one++) {
        lua_pushcfunction(L, one->func);
        lua_setfield(L, -2, one->name);
    }
    return 1;
}
