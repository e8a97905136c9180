/* warden.c: a process beside the child that outlives us when we are killed, and runs when we are stopped.
 *
 * The parent-death signal reaches only the child itself, and a stopped process enforces nothing. The warden has one end
 * of a pipe: as long as the other end is open this process lives. It knows until when the child's group may live; when
 * that moment comes without a later one having been told, or the pipe breaks, it sends SIGKILL.
 *
 * It is a fork of a process with threads and so does nothing but system calls.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct order {
    int64_t target; /* 0: the end */
    int64_t until_ns;
} order_t;

enum { PIPE = 0, TIMER = 1, FIRST_OTHER = 2 };

static int orders = -1; /* the end that is written to */
static pid_t warden;    /* the present one, or the last if that has not been reaped */

/* ---- the warden itself ------------------------------------------------------------------------------------------- */

static void close_from(unsigned first) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) {
        return;
    }
#endif
    long last = sysconf(_SC_OPEN_MAX);
    for (long fd = (long)first; fd < (last > 0 && last < 65536 ? last : 65536); fd++) {
        (void)close((int)fd);
    }
}

static void set_timer(int64_t until_ns) {
    struct itimerspec spec;
    memset(&spec, 0, sizeof spec);
    spec.it_value.tv_sec = (time_t)(until_ns / 1000000000);
    spec.it_value.tv_nsec = (long)(until_ns % 1000000000);
    (void)timerfd_settime(TIMER, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void guard(void) {
    struct pollfd fds[] = {{.fd = PIPE, .events = POLLIN}, {.fd = TIMER, .events = POLLIN}};
    order_t order = {0, 0};
    for (;;) {
        (void)poll(fds, 2, -1);
        if (fds[0].revents != 0) {
            /* Orders are shorter than PIPE_BUF and come whole. */
            ssize_t got = read(PIPE, &order, sizeof order);
            if (got != (ssize_t)sizeof order) {
                break;
            }
            if (order.target == 0) {
                return;
            }
            set_timer(order.until_ns);
        } else if (fds[1].revents != 0) {
            (void)kill((pid_t)order.target, SIGKILL);
            set_timer(0);
        }
    }
    if (order.target != 0) {
        (void)kill((pid_t)order.target, SIGKILL);
    }
}

/* Nothing of ours stays open in it: neither the standard streams, which others read to their end, nor a socket. */
static void become_warden(int pipe_end, int timer) {
    sigset_t all;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)setpgid(0, 0); /* whoever kills our whole group shall not take the warden along */
    (void)prctl(PR_SET_NAME, "dsync-warden", 0, 0, 0);
    /* Out of the way of the numbers that they are to get. */
    int from = fcntl(pipe_end, F_DUPFD, 16);
    int clock = fcntl(timer, F_DUPFD, 16);
    if (from >= 0 && clock >= 0 && dup2(from, PIPE) == PIPE && dup2(clock, TIMER) == TIMER) {
        close_from(FIRST_OTHER);
        guard();
    }
    _exit(0);
}

/* ---- this side --------------------------------------------------------------------------------------------------- */

static void reap(void) {
    while (warden != 0 && waitpid(warden, NULL, 0) < 0 && errno == EINTR) {
    }
    warden = 0;
}

bool process_warden_start(void) {
    int ends[2];
    if (orders >= 0) {
        return true;
    }
    reap();
    int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
    if (timer < 0) {
        return false;
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        int number = errno;
        (void)close(timer);
        errno = number;
        return false;
    }
    warden = fork();
    if (warden == 0) {
        (void)close(ends[1]);
        become_warden(ends[0], timer);
    }
    int number = errno;
    (void)close(timer);
    (void)close(ends[0]);
    if (warden < 0) {
        warden = 0;
        (void)close(ends[1]);
        errno = number;
        return false;
    }
    orders = ends[1];
    return true;
}

void process_warden_tell(pid_t target, int64_t until_ns) {
    order_t order = {.target = target, .until_ns = until_ns};
    if (orders >= 0) {
        (void)!write(orders, &order, sizeof order);
    }
}

void process_warden_dismiss(void) {
    if (orders < 0) {
        return;
    }
    process_warden_tell(0, 0);
    (void)close(orders);
    orders = -1; /* reaped before the next one begins: nobody has to wait for its end */
}
