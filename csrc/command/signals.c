/* signals.c: signals as something to read instead of something that interrupts. No handler is ever installed. */
#include "process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const struct {
    const char *name;
    int number;
} known[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT},   {"ILL", SIGILL},   {"TRAP", SIGTRAP}, {"ABRT", SIGABRT},
    {"BUS", SIGBUS},   {"FPE", SIGFPE},   {"KILL", SIGKILL},   {"USR1", SIGUSR1}, {"SEGV", SIGSEGV}, {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE}, {"ALRM", SIGALRM}, {"TERM", SIGTERM},   {"CHLD", SIGCHLD}, {"CONT", SIGCONT}, {"STOP", SIGSTOP},
    {"TSTP", SIGTSTP}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},   {"URG", SIGURG},   {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},
    {"PROF", SIGPROF}, {"SYS", SIGSYS},   {"WINCH", SIGWINCH}, {"POLL", SIGPOLL},
};

#define KNOWN (sizeof known / sizeof *known)

static int descriptor = -1;
static sigset_t before;
static bool ignores_pipe; /* since take(); the child gets the default back */

int process_signal_number(const char *name) {
    for (size_t i = 0; i < KNOWN; i++) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].number;
        }
    }
    return 0;
}

const char *process_signal_name(int number) {
    for (size_t i = 0; i < KNOWN; i++) {
        if (known[i].number == number) {
            return known[i].name;
        }
    }
    return NULL;
}

/* What the caller had ignored (nohup, a background job of a shell) stays ignored, here and in the child. */
static bool is_ignored(int number) {
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN;
}

static void ignore_pipe(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    ignores_pipe = sigaction(SIGPIPE, &action, NULL) == 0;
}

/* take({"TERM", ...}) -> a descriptor that is readable while one of these signals waits. A broken pipe becomes an error
 * of the write. CHLD is taken even where it was ignored, as children could not be waited for otherwise. */
int process_take(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    sigset_t wanted;
    sigemptyset(&wanted);
    for (int i = 1;; i++) {
        lua_rawgeti(L, 1, i);
        const char *name = lua_tostring(L, -1);
        lua_pop(L, 1);
        if (name == NULL) {
            break;
        }
        int number = process_signal_number(name);
        if (number == SIGCHLD) {
            (void)signal(SIGCHLD, SIG_DFL);
        }
        if (number > 0 && !is_ignored(number)) {
            sigaddset(&wanted, number);
        }
    }
    if (descriptor < 0 && sigprocmask(SIG_BLOCK, &wanted, &before) != 0) {
        return process_fail(L, "signals", errno);
    }
    int fd = signalfd(descriptor, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        return process_fail(L, "signals", errno);
    }
    descriptor = fd;
    if (!is_ignored(SIGPIPE)) {
        ignore_pipe();
    }
    lua_pushinteger(L, fd);
    return 1;
}

void process_signals_restore(void) {
    if (descriptor >= 0) {
        if (ignores_pipe) {
            (void)signal(SIGPIPE, SIG_DFL);
        }
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
    }
}

/* next_signal() -> name, its number, whether the terminal sent it; nothing when none waits. */
int process_next_signal(lua_State *L) {
    struct signalfd_siginfo info;
    if (descriptor < 0 || read(descriptor, &info, sizeof info) != (ssize_t)sizeof info) {
        return 0;
    }
    lua_pushstring(L, process_signal_name((int)info.ssi_signo));
    lua_pushinteger(L, (lua_Integer)info.ssi_signo);
    lua_pushboolean(L, info.ssi_code == SI_KERNEL);
    return 3;
}
