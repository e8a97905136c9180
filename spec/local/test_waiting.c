/* What waiting costs and how it ends: processor time of a waiter and of a client that does nothing, the time from a
 * release to the next holder, also when the message about it is lost, and calls that end in time while somebody is
 * stuck inside a transaction. DSYNC_LONG=1: longer measurements and tight bounds. */
#include "rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct party {
    dsync_client *client;
    dsync_lock *lock;
} party;

static party join(const rig *r, const char *name) {
    dsync_error error;
    party p = {dsync_open(r->url, NULL, &error), NULL};
    p.lock = p.client != NULL ? dsync_lock_new(p.client, name, NULL, &error) : NULL;
    if (p.lock == NULL) {
        (void)fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    return p;
}

static void leave(party *p) {
    dsync_error error;
    (void)dsync_close(p->client, -1, &error);
    dsync_lock_free(p->lock);
    dsync_client_unref(p->client);
}

static dsync_code acquire(const party *p, int64_t wait_ms) {
    dsync_acquire_options options;
    dsync_error error;
    dsync_acquire_options_init(&options);
    options.wait_ms = wait_ms;
    return dsync_acquire(p->lock, &options, &error);
}

static dsync_code release(const party *p) {
    dsync_error error;
    return dsync_release(p->lock, &error);
}

static int64_t cpu_ns(void) {
    struct rusage use;
    (void)getrusage(RUSAGE_SELF, &use);
    return ((int64_t)use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000 * RIG_MS +
           ((int64_t)use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1000;
}

/* A process whose first slot's `worst_ns` is what `body` returned. */
static pid_t in_child(rig *r, int64_t (*body)(rig *r, int64_t argument), int64_t argument) {
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        atomic_store(&r->slots[0].worst_ns, body(r, argument));
        _exit(0);
    }
    return pid;
}

static int64_t result_of(rig *r, pid_t pid) {
    (void)waitpid(pid, NULL, 0);
    return atomic_load(&r->slots[0].worst_ns);
}

/* ---- costs ------------------------------------------------------------------------------------------------------- */

static int64_t wait_and_count(rig *r, int64_t length_ms) {
    party p = join(r, "a");
    (void)acquire(&p, 200); /* everything is open and warm */
    int64_t before = cpu_ns();
    (void)acquire(&p, length_ms);
    int64_t used = cpu_ns() - before;
    leave(&p);
    return used;
}

static int64_t idle_and_count(rig *r, int64_t length_ms) {
    party p = join(r, "b");
    (void)acquire(&p, -1);
    (void)release(&p);
    rig_sleep(6000 * RIG_MS);
    int64_t before = cpu_ns();
    rig_sleep(length_ms * RIG_MS);
    int64_t used = cpu_ns() - before;
    leave(&p);
    return used;
}

static int64_t hammer(rig *r, int64_t length_ms) {
    party p = join(r, "c");
    int64_t until = rig_now() + length_ms * RIG_MS, count = 0;
    while (rig_now() < until && acquire(&p, -1) == DSYNC_OK && release(&p) == DSYNC_OK) {
        count++;
    }
    leave(&p);
    return count;
}

static void costs(bool is_long) {
    rig *r = rig_new("costs");
    int64_t length_ms = is_long ? 20000 : 2000;
    party holder = join(r, "a");
    rig_expect(acquire(&holder, -1) == DSYNC_OK, "somebody holds");
    double quiet = (double)result_of(r, in_child(r, wait_and_count, length_ms)) / (double)length_ms / 1e4;
    rig_at_most(quiet, is_long ? 0.1 : 1, "%", "processor time of a waiter");
    pid_t noise = in_child(r, hammer, length_ms + 1000);
    double noisy = (double)result_of(r, in_child(r, wait_and_count, length_ms)) / (double)length_ms / 1e4;
    (void)waitpid(noise, NULL, 0);
    rig_at_most(noisy, is_long ? 0.1 : 1, "%", "processor time of a waiter while others write all the time");
    if (is_long) {
        double idle = (double)result_of(r, in_child(r, idle_and_count, length_ms)) / (double)length_ms / 1e4;
        rig_at_most(idle, 0.001, "%", "processor time of a client that does nothing");
    }
    leave(&holder);
    rig_free(r);
}

/* ---- handing over ------------------------------------------------------------------------------------------------ */

static void remove_messages(const rig *r) {
    char folder[600], path[900];
    (void)snprintf(folder, sizeof(folder), "%s-clients", rig_file(r));
    DIR *dir = opendir(folder);
    const struct dirent *item;
    while (dir != NULL && (item = readdir(dir)) != NULL) {
        if (strstr(item->d_name, ".wake") != NULL) {
            (void)snprintf(path, sizeof(path), "%s/%s", folder, item->d_name);
            (void)unlink(path);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

static int64_t wait_for_it(rig *r, int64_t ignored) {
    (void)ignored;
    party p = join(r, "a");
    int64_t got = acquire(&p, 5000) == DSYNC_OK ? rig_now() : 0;
    (void)release(&p);
    leave(&p);
    return got;
}

static void hand_over(int rounds, bool lost, double median_ms) {
    rig *r = rig_new("handover");
    party holder = join(r, "a");
    int64_t *taken = calloc((size_t)rounds, sizeof(*taken));
    for (int i = 0; i < rounds && taken != NULL; i++) {
        (void)acquire(&holder, -1);
        pid_t waiter = in_child(r, wait_for_it, 0);
        rig_sleep(300 * RIG_MS);
        if (lost) {
            remove_messages(r);
        }
        int64_t at = rig_now();
        (void)release(&holder);
        int64_t got = result_of(r, waiter);
        taken[i] = got != 0 ? got - at : 5000 * RIG_MS;
    }
    qsort(taken, (size_t)rounds, sizeof(*taken), rig_compare_ns);
    double median = (double)taken[rounds / 2] / 1e6;
    const char *what = lost ? "released, message lost" : "released";
    rig_at_most(median, median_ms, "ms", "%s: until the next one holds, median", what);
    rig_figure((double)taken[rounds - 1] / 1e6, "ms", "%s: until the next one holds, worst", what);
    free(taken);
    leave(&holder);
    rig_free(r);
}

/* ---- somebody is stuck ------------------------------------------------------------------------------------------- */

static int64_t block_the_gate(rig *r, int64_t length_ms) {
    char path[600];
    (void)snprintf(path, sizeof(path), "%s-clients/gate", rig_file(r));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int64_t got = fd >= 0 && fcntl(fd, F_SETLKW, &lock) == 0;
    atomic_store(&r->slots[1].holds, true);
    rig_sleep(length_ms * RIG_MS);
    return got;
}

static void stuck(void) {
    rig *r = rig_new("stuck");
    party p = join(r, "a");
    rig_expect(acquire(&p, -1) == DSYNC_OK && release(&p) == DSYNC_OK, "works");
    pid_t blocker = in_child(r, block_the_gate, 1500);
    while (!atomic_load(&r->slots[1].holds)) {
        rig_sleep(RIG_MS);
    }
    int64_t since = rig_now();
    dsync_code code = acquire(&p, 300);
    double took = (double)(rig_now() - since) / 1e6;
    rig_expect(code == DSYNC_UNAVAILABLE || code == DSYNC_TIMEOUT, "while another is stuck: %s", dsync_code_name(code));
    rig_at_most(took, 1000, "ms", "while another is stuck: a call that has 300 ms ends after");
    rig_expect(acquire(&p, 5000) == DSYNC_OK, "and it works again when the other has gone on");
    (void)waitpid(blocker, NULL, 0);
    leave(&p);
    rig_free(r);
}

int main(void) {
    bool is_long = rig_is_long();
    costs(is_long);
    hand_over(is_long ? 50 : 5, false, is_long ? 2 : 1000);
    hand_over(is_long ? 20 : 3, true, is_long ? 600 : 4000);
    stuck();
    return rig_result();
}
