/* calls.h: the system calls that can be made to fail. */
#ifndef CALLS_H
#define CALLS_H

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "failing.h"
#include "lua_host.h"

typedef enum fs_group { FS_NET, FS_WAIT, FS_FILE, FS_PROCESS } fs_group;

/* clang-format off */
#define FS_LIST(X)                                                                                                     \
    X(socket)                                                                                                          \
    X(socketpair)                                                                                                      \
    X(connect) X(setsockopt) X(getsockopt) X(getsockname) X(getpeername) X(bind) X(send) X(sendto) X(recv) X(recvfrom) \
        X(getaddrinfo) X(poll) X(eventfd) X(inotify_init1) X(inotify_add_watch) X(inotify_rm_watch) X(syscall) X(read) \
            X(write) X(close) X(fcntl) X(open) X(openat) X(fstat) X(stat) X(lstat) X(statfs) X(statx) X(mkdir)         \
                X(unlinkat) X(readlink) X(fsync) X(fopen) X(opendir) X(fdopendir) X(getcwd) X(open64) X(fcntl64)       \
                    X(pread64) X(pwrite64) X(ftruncate64) X(fstat64) X(mmap64) X(fdatasync) X(unlink)                  \
                        X(pthread_create) X(getrandom) X(mmap) X(madvise) X(gethostname)
/* clang-format on */

#define FS_NAME(name) FS_##name,
typedef enum fs_call { FS_LIST(FS_NAME) FS_CALLS } fs_call;
#undef FS_NAME

/* Is it this call's turn to fail? `error`: with what. */
bool fs_fails(fs_call which, int *error);

#endif
