/* guard_signal.c: the signal by which a guarded thread learns that a lock was lost: which one, and its handler.
 *
 * The program's signals are its own: one is taken only when its disposition is the default, and a handler once set
 * stays, as a signal that was sent may arrive late.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "guard.h"
#include "guard_slot.h"

#define AUTOMATIC (-1)
static _Atomic int wanted_signal = AUTOMATIC; /* 0: none */
static pthread_mutex_t signal_mutex = PTHREAD_MUTEX_INITIALIZER;

static void on_signal(int signo) {
    int saved = errno;
    int me = (int)gettid();
    (void)signo;
    for (bind_slot *one = bind_slots(); one != NULL; one = one->next) {
        if (atomic_load(&one->thread) == me) {
            atomic_store(&one->busy, 1);
            lua_State *L = atomic_load(&one->L);
            if (L != NULL && bind_slot_rung(one)) {
                bind_slot_arm(one, L);
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

/* The signal for this thread, 0 when there is none. One that was chosen for us is unblocked; others that are blocked
 * may be read by signalfd() or sigwait() and are left alone. */
int bind_guard_signal_here(void) {
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
