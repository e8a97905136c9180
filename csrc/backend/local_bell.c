/* local_bell.c: what the kernel tells a store: another process's datagram, a write to the database, a process's death.
 *
 * A thread of the store waits for these while somebody in this process watches anything; it only marks watches and
 * notifies the worlds of their clients, and looks at no row itself. It is started with the first watch and ends some
 * time after the last. A world of one thread only (a simulation) gets none: its clients look by their timers.
 */
#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../net/loop.h"
#include "../net/thread.h"

#define IDLE_MS 5000
#define DEAF_NS (500 * DS_MS) /* between two looks that a write of anybody causes */
#define MANY 8                /* so many datagrams at once: others may have found no room */
#define FIXED 3               /* descriptors before those of peers */

/* ---- datagrams --------------------------------------------------------------------------------------------------- */

/* Through the folder's descriptor: the path itself may be longer than an address. */
static socklen_t address_of(const loc_store *store, int64_t client, struct sockaddr_un *out) {
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    (void)snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d/%016" PRIx64 ".wake", store->folder,
                   (uint64_t)client);
    return (socklen_t)sizeof(*out);
}

static int open_socket(void) {
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

void loc_ring(loc_store *store, int64_t client, uint64_t mark) {
    struct sockaddr_un address;
    socklen_t size = address_of(store, client, &address);
    if (store->sender < 0) {
        store->sender = open_socket();
    }
    /* Nobody there, no room: it looks by itself in a while. */
    (void)sendto(store->sender, &mark, sizeof(mark), MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&address,
                 size);
}

static void hear_datagrams(loc_bell *bell) {
    uint64_t mark;
    int count = 0;
    while (recv(bell->socket, &mark, sizeof(mark), MSG_DONTWAIT) == (ssize_t)sizeof(mark)) {
        loc_mark_watches(bell->store, mark);
        count++;
    }
    if (count >= MANY) {
        loc_mark_watches(bell->store, LOC_MARK_ALL);
    }
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static void bell_free(loc_bell *bell) {
    int fds[] = {bell->control, bell->socket, bell->folder};
    for (size_t i = 0; i < DS_COUNT(fds); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    for (size_t i = 0; i < bell->retired_count; i++) {
        (void)close(bell->retired[i]);
    }
    ds_free(bell);
}

typedef struct hearing {
    struct pollfd fds[FIXED + LOC_PEERS_MAX];
    int64_t peers[LOC_PEERS_MAX];
    size_t count;
    int timeout_ms;
    bool idle;
} hearing;

static char *log_path(const loc_bell *bell) {
    ds_buf path = DS_BUF_EMPTY;
    ds_buf_add_format(&path, "%s-wal", bell->store->file);
    if (path.failed) {
        ds_buf_free(&path);
    }
    return path.data;
}

static int64_t changed_ns(const char *path) {
    struct stat st;
    return path != NULL && stat(path, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * DS_SECOND + st.st_mtim.tv_nsec : 0;
}

/* Every writer pays for being listened to, so that is done now and then only. */
static void hear_log(loc_bell *bell, const char *path) {
    char ignored[4096];
    (void)inotify_rm_watch(bell->folder, bell->log);
    while (read(bell->folder, ignored, sizeof(ignored)) > 0) {
    }
    bell->log = -1;
    bell->heard_ns = changed_ns(path);
    bell->deaf_until_ns = ds_clock_ns() + DEAF_NS;
    loc_mark_waiting(bell->store);
}

/* The log itself is listened to: it stays as long as we have the database open, and its folder may be a busy place. */
static void listen_to_log(loc_bell *bell) {
    char *path = log_path(bell);
    if (bell->log < 0 && path != NULL) {
        bell->log = inotify_add_watch(bell->folder, path, IN_MODIFY | IN_DONT_FOLLOW);
        if (bell->log >= 0 && bell->heard_ns != 0 && changed_ns(path) != bell->heard_ns) {
            hear_log(bell, path); /* while we did not listen */
        }
    }
    ds_free(path);
}

/* What to wait for now. */
static void prepare(loc_bell *bell, hearing *h) {
    loc_store *store = bell->store;
    while (bell->retired_count > 0) {
        (void)close(bell->retired[--bell->retired_count]);
    }
    bell->cares = store->foreign_count > 0;
    if (bell->cares && ds_clock_ns() >= bell->deaf_until_ns) {
        listen_to_log(bell);
    }
    int64_t deaf_ns = bell->deaf_until_ns - ds_clock_ns();
    h->idle = store->watch_count == 0;
    h->timeout_ms = h->idle ? IDLE_MS : bell->cares && deaf_ns > 0 ? (int)(deaf_ns / DS_MS) + 1 : -1;
    h->fds[0] = (struct pollfd){bell->control, POLLIN, 0};
    h->fds[1] = (struct pollfd){bell->socket, POLLIN, 0};
    h->fds[2] = (struct pollfd){bell->log >= 0 ? bell->folder : -1, POLLIN, 0};
    h->count = FIXED;
    for (size_t i = 0; i < store->peer_count; i++) {
        h->peers[i] = store->peers[i].client;
        h->fds[h->count++] = (struct pollfd){store->peers[i].pidfd, POLLIN, 0};
    }
}

static void hear_death(loc_store *store, int64_t client) {
    for (size_t i = 0; i < store->peer_count; i++) {
        if (store->peers[i].client == client) {
            loc_peer_forget(store, &store->peers[i]);
            loc_mark_dead(store, client);
            loc_mark_waiting(store);
            return;
        }
    }
}

static void hear(loc_bell *bell, const hearing *h) {
    uint64_t ignored;
    while (h->fds[0].revents != 0 && read(bell->control, &ignored, sizeof(ignored)) > 0) {
    }
    if (h->fds[1].revents != 0) {
        hear_datagrams(bell);
    }
    if (h->fds[2].revents != 0) {
        char *path = log_path(bell);
        hear_log(bell, path);
        ds_free(path);
    }
    for (size_t i = FIXED; i < h->count; i++) {
        if (h->fds[i].revents != 0) {
            hear_death(bell->store, h->peers[i - FIXED]);
        }
    }
}

/* False: this was the end of the thread. */
static bool attend(loc_bell *bell, hearing *h, int result) {
    if (bell->closed) {
        return false;
    }
    if (result > 0) {
        hear(bell, h);
    } else if (result == 0 && h->idle && bell->store->watch_count == 0) {
        bell->running = false;
        if (bell->log >= 0) {
            (void)inotify_rm_watch(bell->folder, bell->log);
            bell->log = -1;
        }
        return false;
    }
    prepare(bell, h);
    return true;
}

static void *bell_main(void *argument) {
    loc_bell *bell = argument;
    loc_store *store = bell->store;
    hearing h = {.idle = false};
    int result = -1;
    loc_lock(store, NULL);
    while (attend(bell, &h, result)) {
        loc_unlock(store);
        result = poll(h.fds, (nfds_t)h.count, h.timeout_ms);
        if (result < 0 && errno != EINTR) { /* no memory for it; those who wait also look for themselves now and then */
            (void)nanosleep(&(struct timespec){.tv_nsec = 10 * DS_MS}, NULL);
        }
        loc_lock(store, NULL);
    }
    bool closed = bell->closed; /* else it is the store's again */
    loc_unlock(store);
    if (closed) {
        bell_free(bell);
    }
    loc_store_unref(store);
    return NULL;
}

/* ---- starting and stopping --------------------------------------------------------------------------------------- */

static int open_bound(const loc_store *store) {
    struct sockaddr_un address;
    socklen_t size = address_of(store, store->client, &address);
    int fd = open_socket();
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, size) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static loc_bell *bell_new(loc_store *store) {
    loc_bell *bell = ds_calloc(1, sizeof(*bell));
    if (bell == NULL) {
        return NULL;
    }
    bell->store = store;
    bell->control = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bell->socket = open_bound(store);
    bell->folder = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    bell->log = -1;
    if (bell->control < 0) {
        bell_free(bell);
        return NULL;
    }
    return bell;
}

bool loc_bell_start(loc_store *store) {
    if (store->world->ops->take_back == NULL) {
        return false;
    }
    if (store->bell == NULL) {
        store->bell = bell_new(store);
    }
    if (store->bell == NULL || store->bell->running) {
        return store->bell != NULL;
    }
    pthread_t thread;
    store->bell->running = true;
    atomic_fetch_add(&store->refs, 1);
    if (ds_thread_start(&thread, bell_main, store->bell) != 0) {
        store->bell->running = false;
        atomic_fetch_sub(&store->refs, 1);
    }
    return store->bell->running;
}

void loc_bell_kick(loc_store *store) {
    static const uint64_t one = 1;
    if (store->bell != NULL && store->bell->running && write(store->bell->control, &one, sizeof(one)) < 0) {
        return; /* full: it will wake up anyway */
    }
}

void loc_bell_stop(loc_store *store) {
    loc_bell *bell = store->bell;
    if (bell == NULL) {
        return;
    }
    bell->closed = true;
    if (bell->running) {
        loc_bell_kick(store);
    } else {
        bell_free(bell);
    }
    store->bell = NULL;
}
