/* rig.c: see rig.h. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static unsigned passed, failed;

/* ---- small things ------------------------------------------------------------------------------------------------ */

bool rig_is_long(void) {
    const char *wish = getenv("DSYNC_LONG");
    return wish != NULL && wish[0] != '\0' && wish[0] != '0';
}

int64_t rig_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 * RIG_MS + now.tv_nsec;
}

void rig_sleep(int64_t ns) {
    struct timespec left = {(time_t)(ns / (1000 * RIG_MS)), (long)(ns % (1000 * RIG_MS))};
    while (ns > 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

uint64_t rig_random(void) {
    uint64_t number = 0;
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number)) {
        number = (uint64_t)rig_now();
    }
    return number;
}

int rig_compare_ns(const void *a, const void *b) {
    const int64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

void rig_expect(bool condition, const char *format, ...) {
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    printf("%s %s\n", condition ? "ok    " : "FAILED", text);
    passed += condition ? 1 : 0;
    failed += condition ? 0 : 1;
}

/* "what: value unit" for people and for the report. */
static void show(char *out, size_t size, double value, const char *unit, const char *format, va_list arguments) {
    int used = vsnprintf(out, size, format, arguments);
    size_t at = used > 0 && (size_t)used < size ? (size_t)used : 0;
    (void)snprintf(out + at, size - at, ": %.*f %s", value >= 100 || value == 0 ? 0 : value >= 1 ? 2 : 4, value, unit);
}

void rig_figure(double value, const char *unit, const char *format, ...) {
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    show(text, sizeof(text), value, unit, format, arguments);
    va_end(arguments);
    printf("       %s\n", text);
}

void rig_at_most(double value, double limit, const char *unit, const char *format, ...) {
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    show(text, sizeof(text), value, unit, format, arguments);
    va_end(arguments);
    rig_expect(value <= limit, "%s (at most %g)", text, limit);
}

void rig_at_least(double value, double limit, const char *unit, const char *format, ...) {
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    show(text, sizeof(text), value, unit, format, arguments);
    va_end(arguments);
    rig_expect(value >= limit, "%s (at least %g)", text, limit);
}

int rig_result(void) {
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0 || passed == 0 ? 1 : 0;
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

/* Believes until the work is done or the lock is lost; what it last believed is the claim. */
static void work(rig *r, rig_slot *slot, rig_claim *claim, dsync_lock *lock) {
    int64_t until = rig_now() + r->work_ns;
    atomic_store(&slot->holds, true);
    for (;;) {
        int64_t now = rig_now();
        if (!dsync_held(lock)) {
            break;
        }
        claim->end = now;
        if (now >= until) {
            break;
        }
        rig_sleep(until - now < RIG_MS ? until - now : RIG_MS);
    }
    atomic_store(&slot->holds, false);
}

static bool one_turn(rig *r, rig_slot *slot, dsync_lock *lock, int worker) {
    dsync_error error;
    uint32_t count = atomic_load(&slot->count);
    rig_claim *claim = &slot->claims[count];
    int64_t asked = rig_now();
    if (dsync_acquire(lock, NULL, &error) != DSYNC_OK) {
        (void)fprintf(stderr, "worker %d: acquire: %s\n", worker, error.message);
        return true; /* a lock that was lost to its ttl on the way, say */
    }
    *claim = (rig_claim){asked, rig_now(), 0, dsync_token(lock), worker};
    int64_t took = claim->begin - asked;
    work(r, slot, claim, lock);
    int64_t before = rig_now();
    dsync_code code = dsync_release(lock, &error);
    took += rig_now() - before;
    if (code != DSYNC_OK && code != DSYNC_LOST && code != DSYNC_NOT_HELD) {
        (void)fprintf(stderr, "worker %d: release: %s\n", worker, error.message);
    }
    if (took > atomic_load(&slot->worst_ns)) {
        atomic_store(&slot->worst_ns, took);
    }
    atomic_store(&slot->count, claim->end != 0 ? count + 1 : count);
    return count + 2 < RIG_CLAIMS;
}

static int worker_main(rig *r, int worker) {
    dsync_error error;
    dsync_options options;
    dsync_options_init(&options);
    options.ttl_ms = r->ttl_ms;
    dsync_client *client = dsync_open(r->url, &options, &error);
    dsync_lock *lock = client != NULL ? dsync_lock_new(client, "contended", NULL, &error) : NULL;
    if (lock == NULL) {
        (void)fprintf(stderr, "worker %d: %s\n", worker, error.message);
        return 1;
    }
    while (!atomic_load(&r->stop) && one_turn(r, &r->slots[worker], lock, worker)) {
        rig_sleep(r->pause_ns);
    }
    dsync_code code = dsync_close(client, -1, &error);
    if (code != DSYNC_OK) {
        (void)fprintf(stderr, "worker %d: close: %s\n", worker, error.message);
    }
    dsync_lock_free(lock);
    dsync_client_unref(client);
    return code == DSYNC_OK ? 0 : 1;
}

void rig_start(rig *r, int worker) {
    rig_slot *slot = &r->slots[worker];
    atomic_store(&slot->holds, false);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(worker_main(r, worker));
    }
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    slot->pid = pid; /* the parent's to write: the memory is shared */
}

void rig_stop(rig *r, int workers) {
    int ended = 0;
    atomic_store(&r->stop, true);
    for (int i = 0; i < workers; i++) {
        int status = -1;
        for (int n = 0; n < 1000 && waitpid(r->slots[i].pid, &status, WNOHANG) == 0; n++) {
            rig_sleep(10 * RIG_MS);
        }
        ended += status == 0 ? 1 : 0;
        if (status != 0) {
            printf("       worker %d ended with status 0x%x\n", i, (unsigned)status);
        }
        if (status == -1) {
            (void)kill(r->slots[i].pid, SIGKILL);
            (void)waitpid(r->slots[i].pid, &status, 0);
        }
    }
    rig_expect(ended == workers, "%d of %d workers ended by themselves, and well", ended, workers);
}

/* ---- the machine ------------------------------------------------------------------------------------------------- */

static void note_lateness(rig *r) {
    int64_t before = rig_now();
    rig_sleep(RIG_MS);
    int64_t late = rig_now() - before - RIG_MS;
    if (late > atomic_load(&r->late_ns)) {
        atomic_store(&r->late_ns, late);
    }
}

void rig_watch_machine(rig *r) {
    atomic_store(&r->late_ns, 0);
    (void)fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        while (getppid() == parent) {
            note_lateness(r);
        }
        _exit(0);
    }
    r->watcher = pid; /* the parent's to write: the memory is shared */
}

double rig_late_ms(rig *r, const char *what) {
    if (r->watcher > 0) {
        (void)kill(r->watcher, SIGKILL);
        (void)waitpid(r->watcher, NULL, 0);
    }
    r->watcher = 0;
    double late = (double)atomic_load(&r->late_ns) / 1e6;
    rig_figure(late, "ms", "%s, a process that only sleeps was late by up to", what);
    return late;
}

double rig_allow_ms(double limit_ms, double late_ms) {
    return late_ms > 2 ? limit_ms + 20 * late_ms : limit_ms;
}

/* ---- the rig itself ---------------------------------------------------------------------------------------------- */

const char *rig_file(const rig *r) {
    return r->url + strlen("local:");
}

pid_t rig_writer(const rig *r) {
    char path[600];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    (void)snprintf(path, sizeof(path), "%s-clients/gate", rig_file(r));
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool known = fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    (void)close(fd);
    return known ? lock.l_pid : 0;
}

rig *rig_new(const char *name) {
    rig *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const char *base = getenv("TMPDIR");
    char folder[256];
    (void)snprintf(folder, sizeof(folder), "%s/dsync-%s-XXXXXX", base != NULL ? base : "/tmp", name);
    if (r == MAP_FAILED || mkdtemp(folder) == NULL) {
        perror("cannot begin");
        exit(1);
    }
    (void)snprintf(r->url, sizeof(r->url), "local:%s/locks.db", folder);
    r->ttl_ms = 15000;
    return r;
}

void rig_free(rig *r) {
    char command[700];
    char *slash = strrchr(r->url, '/');
    *slash = '\0';
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", rig_file(r));
    if (system(command) != 0) {
        perror(command);
    }
    (void)munmap(r, sizeof(*r));
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

static int by_begin(const void *a, const void *b) {
    const rig_claim *left = a, *right = b;
    return (left->begin > right->begin) - (left->begin < right->begin);
}

size_t rig_check(const rig *r, const char *what) {
    size_t count = 0, overlaps = 0, disorder = 0;
    for (int i = 0; i < RIG_WORKERS; i++) {
        count += atomic_load(&r->slots[i].count);
    }
    rig_claim *claims = malloc((count + 1) * sizeof(*claims));
    if (claims == NULL) {
        exit(1);
    }
    count = 0;
    for (int i = 0; i < RIG_WORKERS; i++) {
        size_t mine = atomic_load(&r->slots[i].count);
        memcpy(claims + count, r->slots[i].claims, mine * sizeof(*claims));
        count += mine;
    }
    qsort(claims, count, sizeof(*claims), by_begin);
    for (size_t i = 1; i < count; i++) {
        overlaps += claims[i - 1].end > claims[i].begin ? 1 : 0;
        disorder += claims[i - 1].token >= claims[i].token ? 1 : 0;
    }
    free(claims);
    rig_at_least((double)count, 1, "claims", "%s", what);
    rig_at_most((double)overlaps, 0, "claims", "%s, two holders", what);
    rig_at_most((double)disorder, 0, "claims", "%s, token not above the one before", what);
    return count;
}
