/* calls.c: the stand-ins for the system calls: each asks whether it is its turn to fail, and else calls the real
 * one. */
#include "calls.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* The next definition after ours: a sanitizer's or libc's. */
static void *next_of(fs_call which) {
#define NAME(name) #name,
    static const char *const names[FS_CALLS] = {FS_LIST(NAME)};
    static _Atomic(void *) found[FS_CALLS];
    void *function = atomic_load(&found[which]);
    if (function == NULL) {
        function = dlsym(RTLD_NEXT, names[which]);
        if (function == NULL) {
            abort();
        }
        atomic_store(&found[which], function);
    }
    return function;
}

/* RESULT NAME(PARAMETERS): `bad` with errno set when it fails, else the real one's answer to ARGUMENTS. */
#define CALL(result, bad, name, parameters, arguments)                                                                 \
    result name parameters {                                                                                           \
        int error;                                                                                                     \
        if (fs_fails(FS_##name, &error)) {                                                                             \
            errno = error;                                                                                             \
            return bad;                                                                                                \
        }                                                                                                              \
        result(*real) parameters;                                                                                      \
        *(void **)&real = next_of(FS_##name);                                                                          \
        return real arguments;                                                                                         \
    }

CALL(int, -1, socket, (int domain, int type, int protocol), (domain, type, protocol))
CALL(int, -1, socketpair, (int domain, int type, int protocol, int pair[2]), (domain, type, protocol, pair))
CALL(int, -1, connect, (int fd, const struct sockaddr *to, socklen_t size), (fd, to, size))
CALL(int, -1, setsockopt, (int fd, int level, int name, const void *value, socklen_t size),
     (fd, level, name, value, size))
CALL(int, -1, getsockopt, (int fd, int level, int name, void *value, socklen_t *size), (fd, level, name, value, size))
CALL(int, -1, getsockname, (int fd, struct sockaddr *name, socklen_t *size), (fd, name, size))
CALL(int, -1, getpeername, (int fd, struct sockaddr *name, socklen_t *size), (fd, name, size))
CALL(int, -1, bind, (int fd, const struct sockaddr *name, socklen_t size), (fd, name, size))
CALL(ssize_t, -1, send, (int fd, const void *bytes, size_t size, int flags), (fd, bytes, size, flags))
CALL(ssize_t, -1, sendto,
     (int fd, const void *bytes, size_t size, int flags, const struct sockaddr *to, socklen_t to_size),
     (fd, bytes, size, flags, to, to_size))
CALL(ssize_t, -1, recv, (int fd, void *bytes, size_t size, int flags), (fd, bytes, size, flags))
CALL(ssize_t, -1, recvfrom, (int fd, void *bytes, size_t size, int flags, struct sockaddr *from, socklen_t *from_size),
     (fd, bytes, size, flags, from, from_size))
CALL(int, -1, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
CALL(int, -1, eventfd, (unsigned first, int flags), (first, flags))
CALL(int, -1, inotify_init1, (int flags), (flags))
CALL(int, -1, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask))
CALL(int, -1, inotify_rm_watch, (int fd, int watch), (fd, watch))
CALL(int, -1, fstat, (int fd, struct stat *out), (fd, out))
CALL(int, -1, stat, (const char *path, struct stat *out), (path, out))
CALL(int, -1, lstat, (const char *path, struct stat *out), (path, out))
CALL(int, -1, statfs, (const char *path, struct statfs *out), (path, out))
CALL(int, -1, statx, (int folder, const char *path, int flags, unsigned mask, struct statx *out),
     (folder, path, flags, mask, out))
CALL(int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
CALL(int, -1, unlinkat, (int folder, const char *path, int flags), (folder, path, flags))
CALL(ssize_t, -1, readlink, (const char *path, char *out, size_t size), (path, out, size))
CALL(int, -1, fsync, (int fd), (fd))
CALL(FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode))
CALL(DIR *, NULL, opendir, (const char *path), (path))
CALL(DIR *, NULL, fdopendir, (int fd), (fd))
CALL(char *, NULL, getcwd, (char *out, size_t size), (out, size))
CALL(ssize_t, -1, pread64, (int fd, void *bytes, size_t size, off64_t at), (fd, bytes, size, at))
CALL(ssize_t, -1, pwrite64, (int fd, const void *bytes, size_t size, off64_t at), (fd, bytes, size, at))
CALL(int, -1, ftruncate64, (int fd, off64_t size), (fd, size))
CALL(int, -1, fstat64, (int fd, struct stat64 *out), (fd, out))
CALL(void *, MAP_FAILED, mmap64, (void *hint, size_t size, int protection, int flags, int fd, off64_t at),
     (hint, size, protection, flags, fd, at))
CALL(int, -1, fdatasync, (int fd), (fd))
CALL(int, -1, unlink, (const char *path), (path))
CALL(ssize_t, -1, getrandom, (void *out, size_t size, unsigned flags), (out, size, flags))
CALL(void *, MAP_FAILED, mmap, (void *hint, size_t size, int protection, int flags, int fd, off_t at),
     (hint, size, protection, flags, fd, at))
CALL(int, -1, madvise, (void *memory, size_t size, int advice), (memory, size, advice))
CALL(int, -1, gethostname, (char *out, size_t size), (out, size))

/* ---- those that are different ------------------------------------------------------------------------------------ */

/* With a third argument, whether it means anything or not: libc takes it likewise. */
#define WITH_MODE(name)                                                                                                \
    int name(const char *path, int flags, ...) {                                                                       \
        int error;                                                                                                     \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;                                          \
        va_end(arguments);                                                                                             \
        if (fs_fails(FS_##name, &error)) {                                                                             \
            errno = error;                                                                                             \
            return -1;                                                                                                 \
        }                                                                                                              \
        int (*real)(const char *, int, ...);                                                                           \
        *(void **)&real = next_of(FS_##name);                                                                          \
        return real(path, flags, mode);                                                                                \
    }
WITH_MODE(open)
WITH_MODE(open64)

int openat(int folder, const char *path, int flags, ...) {
    int error;
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (fs_fails(FS_openat, &error)) {
        errno = error;
        return -1;
    }
    int (*real)(int, const char *, int, ...);
    *(void **)&real = next_of(FS_openat);
    return real(folder, path, flags, mode);
}

/* Taking a lock off and closing on exec cannot fail. */
#define WITH_ARGUMENT(name)                                                                                            \
    int name(int fd, int command, ...) {                                                                               \
        int error;                                                                                                     \
        va_list arguments;                                                                                             \
        va_start(arguments, command);                                                                                  \
        void *argument = va_arg(arguments, void *);                                                                    \
        va_end(arguments);                                                                                             \
        bool locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;   \
        bool unlocks = locks && ((const struct flock *)argument)->l_type == F_UNLCK;                                   \
        bool simple = command == F_GETFD || command == F_SETFD || command == F_GETFL || command == F_SETFL;            \
        if (!unlocks && !simple && fs_fails(FS_##name, &error)) {                                                      \
            errno = error;                                                                                             \
            return -1;                                                                                                 \
        }                                                                                                              \
        int (*real)(int, int, ...);                                                                                    \
        *(void **)&real = next_of(FS_##name);                                                                          \
        return real(fd, command, argument);                                                                            \
    }
WITH_ARGUMENT(fcntl)
WITH_ARGUMENT(fcntl64)

long syscall(long number, ...) {
    int error;
    long given[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++) {
        given[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    if (fs_fails(FS_syscall, &error)) {
        errno = error;
        return -1;
    }
    long (*real)(long, ...);
    *(void **)&real = next_of(FS_syscall);
    return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}

/* What is no file and no socket here is an eventfd or the like that does not block: nothing can go wrong. */
static bool can_fail(int fd) {
    struct stat st;
    int (*real)(int, struct stat *);
    *(void **)&real = next_of(FS_fstat);
    return real(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode));
}

ssize_t read(int fd, void *bytes, size_t size) {
    int error;
    if (can_fail(fd) && fs_fails(FS_read, &error)) {
        errno = error;
        return -1;
    }
    ssize_t (*real)(int, void *, size_t);
    *(void **)&real = next_of(FS_read);
    return real(fd, bytes, size);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    int error;
    if (can_fail(fd) && fs_fails(FS_write, &error)) {
        errno = error;
        return -1;
    }
    ssize_t (*real)(int, const void *, size_t);
    *(void **)&real = next_of(FS_write);
    return real(fd, bytes, size);
}

/* Closed in any case. */
int close(int fd) {
    int error;
    int (*real)(int);
    *(void **)&real = next_of(FS_close);
    int result = real(fd);
    if (result == 0 && fs_fails(FS_close, &error)) {
        errno = error;
        return -1;
    }
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument) {
    int error;
    if (fs_fails(FS_pthread_create, &error)) {
        return error;
    }
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = next_of(FS_pthread_create);
    return real(thread, attributes, run, argument);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    static const int results[] = {EAI_AGAIN, EAI_MEMORY, EAI_NONAME};
    int error;
    if (fs_fails(FS_getaddrinfo, &error)) {
        return results[error - 1];
    }
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = next_of(FS_getaddrinfo);
    return real(node, service, hints, list);
}
