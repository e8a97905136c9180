/* sysfail.c: every n-th system call fails, with each errno that it may plausibly set.
 *
 * The functions here stand before libc's: for the library, and for libcurl and SQLite, too, because a program's own
 * symbols come first. What libc does inside itself is out of reach. A call that fails was not made, except for close(),
 * which always closes. What may be repeated for ever on EINTR gets it every other time.
 */
#include "calls.h"

#include <errno.h>

typedef struct call {
    const char *name;
    fs_group group;
    int errors[4]; /* 0 ends */
} call;

static const call calls[FS_CALLS] = {
    [FS_socket] = {"socket", FS_NET, {EMFILE, ENOMEM, EACCES}},
    [FS_socketpair] = {"socketpair", FS_NET, {EMFILE, ENOMEM}},
    [FS_connect] = {"connect", FS_NET, {ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL}},
    [FS_setsockopt] = {"setsockopt", FS_NET, {ENOPROTOOPT, ENOMEM}},
    [FS_getsockopt] = {"getsockopt", FS_NET, {ENOBUFS}},
    [FS_getsockname] = {"getsockname", FS_NET, {ENOBUFS}},
    [FS_getpeername] = {"getpeername", FS_NET, {ENOTCONN, ENOBUFS}},
    [FS_bind] = {"bind", FS_NET, {EADDRINUSE, EACCES}},
    [FS_send] = {"send", FS_NET, {ECONNRESET, EPIPE, ENOBUFS, EINTR}},
    [FS_sendto] = {"sendto", FS_NET, {ECONNREFUSED, ENOBUFS, EINTR}},
    [FS_recv] = {"recv", FS_NET, {ECONNRESET, ENOMEM, EINTR}},
    [FS_recvfrom] = {"recvfrom", FS_NET, {ENOMEM, EINTR}},
    [FS_getaddrinfo] = {"getaddrinfo", FS_NET, {1, 2, 3}}, /* see below */
    [FS_poll] = {"poll", FS_WAIT, {EINTR, ENOMEM}},
    [FS_eventfd] = {"eventfd", FS_WAIT, {EMFILE, ENFILE, ENOMEM}},
    [FS_inotify_init1] = {"inotify_init1", FS_WAIT, {EMFILE, ENOMEM}},
    [FS_inotify_add_watch] = {"inotify_add_watch", FS_WAIT, {ENOSPC, ENOMEM, EACCES}},
    [FS_inotify_rm_watch] = {"inotify_rm_watch", FS_WAIT, {EINVAL}},
    [FS_syscall] = {"pidfd_open", FS_WAIT, {ENOSYS, EMFILE, ESRCH}},
    [FS_read] = {"read", FS_WAIT, {EINTR, EIO}},
    [FS_write] = {"write", FS_WAIT, {EINTR, EIO, ENOSPC}},
    [FS_close] = {"close", FS_WAIT, {EIO, EINTR}},
    [FS_fcntl] = {"fcntl", FS_WAIT, {ENOLCK, EINTR, ENOMEM}},
    [FS_open] = {"open", FS_FILE, {EMFILE, EACCES, ENOENT, EINTR}},
    [FS_openat] = {"openat", FS_FILE, {EMFILE, EACCES, ENOENT}},
    [FS_fstat] = {"fstat", FS_FILE, {EIO}},
    [FS_stat] = {"stat", FS_FILE, {EACCES, EIO}}, /* ENOENT would be a lie about a file that is there */
    [FS_lstat] = {"lstat", FS_FILE, {EACCES, EIO}},
    [FS_statfs] = {"statfs", FS_FILE, {EIO, ENOSYS}},
    [FS_statx] = {"statx", FS_FILE, {ENOSYS, EIO}},
    [FS_mkdir] = {"mkdir", FS_FILE, {EACCES, ENOSPC, EROFS}},
    [FS_unlinkat] = {"unlinkat", FS_FILE, {EIO, EACCES}},
    [FS_readlink] = {"readlink", FS_FILE, {EACCES, ENOENT}},
    [FS_fsync] = {"fsync", FS_FILE, {EIO, ENOSPC}},
    [FS_fopen] = {"fopen", FS_FILE, {EMFILE, ENOENT}},
    [FS_opendir] = {"opendir", FS_FILE, {EMFILE, EACCES}},
    [FS_fdopendir] = {"fdopendir", FS_FILE, {ENOMEM}},
    [FS_getcwd] = {"getcwd", FS_FILE, {ENOENT}},
    [FS_open64] = {"open64", FS_FILE, {EMFILE, EACCES, EINTR}},
    [FS_fcntl64] = {"fcntl64", FS_FILE, {ENOLCK, EACCES, EINTR}},
    [FS_pread64] = {"pread64", FS_FILE, {EIO, EINTR}},
    [FS_pwrite64] = {"pwrite64", FS_FILE, {ENOSPC, EIO, EINTR}},
    [FS_ftruncate64] = {"ftruncate64", FS_FILE, {ENOSPC, EIO}},
    [FS_fstat64] = {"fstat64", FS_FILE, {EIO}},
    [FS_mmap64] = {"mmap64", FS_FILE, {ENOMEM}},
    [FS_fdatasync] = {"fdatasync", FS_FILE, {EIO, ENOSPC}},
    [FS_unlink] = {"unlink", FS_FILE, {EIO, EACCES}},
    [FS_pthread_create] = {"pthread_create", FS_PROCESS, {EAGAIN}},
    [FS_getrandom] = {"getrandom", FS_PROCESS, {ENOSYS, EINTR}},
    [FS_mmap] = {"mmap", FS_PROCESS, {ENOMEM}},
    [FS_madvise] = {"madvise", FS_PROCESS, {EINVAL, ENOMEM}},
    [FS_gethostname] = {"gethostname", FS_PROCESS, {ENAMETOOLONG}},
};

static _Atomic uint64_t asked, at;
static _Atomic int group = -1, variant;
static atomic_bool all_after, failed;
static _Atomic unsigned interrupted[FS_CALLS]; /* or let through instead */

bool fs_fails(fs_call which, int *error) {
    const call *c = &calls[which];
    if (atomic_load(&group) != (int)c->group) {
        return false;
    }
    uint64_t number = atomic_fetch_add(&asked, 1) + 1, nth = atomic_load(&at);
    if (nth == 0 || number < nth || (number > nth && !atomic_load(&all_after))) {
        return false;
    }
    int known = 0;
    while (known < 4 && c->errors[known] != 0) {
        known++;
    }
    *error = c->errors[atomic_load(&variant) % known];
    if (*error == EINTR && number > nth && atomic_fetch_add(&interrupted[which], 1) % 2 == 0) {
        return false;
    }
    atomic_store(&failed, true);
    return true;
}

static void arm(fs_group which, int wanted, uint64_t nth, bool all) {
    atomic_store(&group, -1);
    atomic_store(&asked, 0);
    atomic_store(&failed, false);
    atomic_store(&all_after, all);
    atomic_store(&variant, wanted);
    atomic_store(&at, nth);
    atomic_store(&group, (int)which);
}

static uint64_t disarm(bool *did_fail) {
    atomic_store(&group, -1);
    *did_fail = atomic_load(&failed);
    return atomic_load(&asked);
}

/* ---- kinds ------------------------------------------------------------------------------------------------------- */

#define ARM(name, group_)                                                                                              \
    static void arm_##name(int wanted, uint64_t nth, bool all) {                                                       \
        arm(group_, wanted, nth, all);                                                                                 \
    }
ARM(net, FS_NET)
ARM(wait, FS_WAIT)
ARM(file, FS_FILE)
ARM(process, FS_PROCESS)

static bool remote(const fl_scenario *scenario, fl_place place) {
    return place >= FL_ETCD && strncmp(scenario->name, "bad", 3) != 0 &&
           strcmp(scenario->name, "open and close") != 0 && strcmp(scenario->name, "options shown") != 0;
}

static bool waiting(const fl_scenario *scenario, fl_place place) {
    (void)place;
    return strncmp(scenario->name, "bad", 3) != 0;
}

static bool local(const fl_scenario *scenario, fl_place place) {
    return place == FL_LOCAL && strncmp(scenario->name, "bad", 3) != 0;
}

/* The first use in a process is another thing than the later ones: a few scenarios, each point in a process of its
 * own. */
static bool first(const fl_scenario *scenario, fl_place place) {
    (void)place;
    return strcmp(scenario->name, "acquire and release") == 0 || strcmp(scenario->name, "an alarm") == 0;
}

static const fl_kind kinds[] = {{"sockets", remote, arm_net, disarm, 4, false},
                                {"descriptors", waiting, arm_wait, disarm, 3, false},
                                {"files", local, arm_file, disarm, 4, false},
                                {"processes", first, arm_process, disarm, 2, true}};

void *lh_memory(void *context, void *old, size_t old_size, size_t size) {
    (void)context;
    (void)old_size;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

void lh_pause(bool pause) {
    (void)pause;
}

#define CODE(code) (1U << (code))

int main(int count, char **arguments) {
    static const fl_campaign campaign = {
        .title = "sysfail",
        .kinds = kinds,
        .kind_count = sizeof kinds / sizeof kinds[0],
        .codes = CODE(DSYNC_OK) | CODE(DSYNC_RESOURCE) | CODE(DSYNC_TIMEOUT) | CODE(DSYNC_LOST) | CODE(DSYNC_NOT_HELD) |
                 CODE(DSYNC_UNKNOWN) | CODE(DSYNC_CANCELLED) | CODE(DSYNC_CLOSED) | CODE(DSYNC_CONTENDED) |
                 CODE(DSYNC_VACANT) | CODE(DSYNC_UNAVAILABLE) | CODE(DSYNC_CONFIG) | CODE(DSYNC_DENIED)};
    return fl_main(&campaign, count, arguments);
}
