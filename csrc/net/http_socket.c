/* http_socket.c: the descriptors of HTTP: what they are set to, and that none of them survives exec. */
#include "http_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- connections ------------------------------------------------------------------------------------------------- */

curl_socket_t ds_http_open_socket(void *argument, curlsocktype purpose, struct curl_sockaddr *address) {
    ds_http *http = argument;
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0) {
        return CURL_SOCKET_BAD;
    }
#ifdef TCP_USER_TIMEOUT
    if (address->family == AF_INET || address->family == AF_INET6) {
        /* A connection into nothing must die while there is still time to renew elsewhere. */
        unsigned patience = (unsigned)(2 * http->client->connect_timeout_ms);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof(patience));
    }
#endif
    http->opened[http->opened_count++ % DS_COUNT(http->opened)] = fd;
    return fd;
}

/* ---- the multi handle's own descriptors -------------------------------------------------------------------------- */

/* Before 8.9 or so libcurl leaves its wake-up pair open for children. It tells nobody which descriptors these are, so
 * we look what curl_multi_init opened; other threads of the host open descriptors too, so only unnamed local sockets
 * (or an eventfd) count, and when there are more than libcurl can have made, the whole is done again. */

#define FDS_MAX 4096
#define CANDIDATES_MAX 8

typedef struct fd_set_seen {
    unsigned char bits[FDS_MAX / 8];
} fd_set_seen;

typedef bool visit_fd(int fd, void *context);

static void each_fd(visit_fd *visit, void *context) {
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) {
        return;
    }
    struct dirent *entry;
    bool more = true;
    while (more && (entry = readdir(folder)) != NULL) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);
        if (*end == '\0' && end != entry->d_name && fd >= 0 && fd < FDS_MAX && fd != dirfd(folder)) {
            more = visit((int)fd, context);
        }
    }
    (void)closedir(folder);
}

static bool remember(int fd, void *context) {
    fd_set_seen *seen = context;
    seen->bits[fd / 8] |= (unsigned char)(1u << (fd % 8));
    return true;
}

static bool is_unnamed_local_socket(int fd) {
    struct sockaddr_un address = {0};
    socklen_t size = sizeof(address);
    return getsockname(fd, (struct sockaddr *)&address, &size) == 0 && address.sun_family == AF_UNIX &&
           size == sizeof(address.sun_family);
}

static bool is_eventfd(int fd) {
    char path[32];
    char target[32] = "";
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return readlink(path, target, sizeof(target) - 1) > 0 && strcmp(target, "anon_inode:[eventfd]") == 0;
}

typedef struct candidates {
    const fd_set_seen *before;
    int fds[CANDIDATES_MAX];
    size_t count;
} candidates;

static bool consider(int fd, void *context) {
    candidates *found = context;
    bool is_new = (found->before->bits[fd / 8] & (1u << (fd % 8))) == 0;
    int flags = fcntl(fd, F_GETFD);
    if (is_new && flags >= 0 && (flags & FD_CLOEXEC) == 0 && (is_unnamed_local_socket(fd) || is_eventfd(fd))) {
        if (found->count < CANDIDATES_MAX) {
            found->fds[found->count++] = fd;
        }
    }
    return true;
}

CURLM *ds_http_multi_new(void) {
    for (int attempt = 0; attempt < 5; attempt++) {
        fd_set_seen before;
        memset(&before, 0, sizeof(before));
        each_fd(remember, &before);
        CURLM *multi = curl_multi_init();
        if (multi == NULL) {
            return NULL;
        }
        candidates found = {.before = &before};
        each_fd(consider, &found);
        if (found.count <= 2 || attempt == 4) {
            for (size_t i = 0; i < found.count && found.count <= 2; i++) {
                (void)fcntl(found.fds[i], F_SETFD, FD_CLOEXEC);
            }
            return multi;
        }
        (void)curl_multi_cleanup(multi);
    }
    return NULL;
}

/* ---- SIGPIPE ----------------------------------------------------------------------------------------------------- */

void ds_sigpipe_begin(const ds_http_client *client, ds_sigpipe *guard) {
    guard->on = client->guard_sigpipe;
    if (!guard->on) {
        return;
    }
    sigset_t pipe_only;
    sigset_t pending;
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    (void)sigpending(&pending);
    guard->was_pending = sigismember(&pending, SIGPIPE) == 1;
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, &guard->before);
}

void ds_sigpipe_end(const ds_sigpipe *guard) {
    if (!guard->on) {
        return;
    }
    sigset_t pipe_only;
    static const struct timespec at_once = {0, 0};
    (void)sigemptyset(&pipe_only);
    (void)sigaddset(&pipe_only, SIGPIPE);
    if (!guard->was_pending) {
        (void)sigtimedwait(&pipe_only, NULL, &at_once);
    }
    (void)pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}
