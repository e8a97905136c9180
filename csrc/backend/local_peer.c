/* local_peer.c: the other processes: which of them live.
 *
 * Each holds a lock on its own file as long as it lives, and the kernel says so to whoever asks, even across pid
 * namespaces. Whoever waits for one asks once, and then keeps a pidfd of it, which tells of the death by itself; where
 * there is none to be had (another pid namespace, an old or locked-down kernel) it asks again and again. A file that is
 * gone says nothing: then only time ends the sessions.
 */
#include "local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/error.h"

typedef enum life { LIFE_UNKNOWN, LIFE_ALIVE, LIFE_DEAD } life;

/* ---- files ------------------------------------------------------------------------------------------------------- */

typedef struct file_name {
    char text[32];
} file_name;

static const char *name_of(file_name *name, int64_t client, const char *suffix) {
    (void)snprintf(name->text, sizeof(name->text), "%016" PRIx64 "%s", (uint64_t)client, suffix);
    return name->text;
}

/* ---- names of processes ------------------------------------------------------------------------------------------ */

/* Tells this process from every other of the host, in whatever pid namespace: many a container's only one is number
 * 1. */
static void identify(loc_store *store) {
    char text[1024] = "", space[48] = "";
    unsigned long long start = 0;
    ssize_t length = readlink("/proc/self/ns/pid", space, sizeof(space) - 1);
    space[length > 0 ? length : 0] = '\0';
    FILE *file = fopen("/proc/self/stat", "re");
    if (file != NULL) {
        size_t size = fread(text, 1, sizeof(text) - 1, file);
        text[size] = '\0';
        (void)fclose(file);
    }
    const char *field = strrchr(text, ')'); /* the end of the second field, the 22nd is meant */
    for (int i = 2; field != NULL && i < 22; i++) {
        field = strchr(field + 1, ' ');
    }
    if (field != NULL) {
        start = strtoull(field + 1, NULL, 10);
    }
    (void)snprintf(store->identity, sizeof(store->identity), "%ld %llu %s", (long)getpid(), start, space);
}

/* The upper half of an id is the process's own, so that it knows its files by their names. */
static int64_t id_of_process(const loc_store *store) {
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (const char *c = store->identity; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    }
    return (int64_t)(hash >> 33);
}

/* Is it this process, under whatever id? Then its file must not be touched. */
static bool is_self(const loc_store *store, int64_t client) {
    return client >> 32 == id_of_process(store);
}

static bool lock_file(int fd) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    return fcntl(fd, F_SETLK, &lock) == 0;
}

bool loc_alive_make(loc_store *store) {
    file_name name;
    identify(store);
    store->client = id_of_process(store) << 32 | (int64_t)(ds_random64(store->world) >> 32) | 1;
    store->alive = openat(store->folder, name_of(&name, store->client, ".alive"),
                          O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (store->alive >= 0 && lock_file(store->alive)) {
        return true;
    }
    (void)loc_path_error(&store->fault, errno, "make a file beside", store->file);
    store->fault_class = DS_REFUSED;
    return false;
}

void loc_files_remove(const loc_store *store, int64_t client) {
    file_name name;
    (void)unlinkat(store->folder, name_of(&name, client, ".alive"), 0);
    (void)unlinkat(store->folder, name_of(&name, client, ".wake"), 0);
}

void loc_alive_remove(loc_store *store) {
    if (store->alive >= 0) {
        loc_files_remove(store, store->client);
        (void)close(store->alive);
    }
    store->alive = -1;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* `pid` as it is called here; 0: it cannot be seen from here. */
static life ask(const loc_store *store, int64_t client, pid_t *pid) {
    file_name name;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    int fd = openat(store->folder, name_of(&name, client, ".alive"), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return LIFE_UNKNOWN;
    }
    int result = fcntl(fd, F_GETLK, &lock);
    (void)close(fd);
    *pid = result == 0 && lock.l_pid > 0 ? lock.l_pid : 0;
    return result != 0 ? LIFE_UNKNOWN : lock.l_type == F_UNLCK ? LIFE_DEAD : LIFE_ALIVE;
}

bool loc_is_dead(loc_store *store, int64_t client) {
    pid_t pid;
    return !is_self(store, client) && ask(store, client, &pid) == LIFE_DEAD;
}

void loc_mark_dead(loc_store *store, int64_t client) {
    for (size_t i = 0; i < store->dead_count; i++) {
        if (store->dead[i] == client) {
            return;
        }
    }
    if (store->dead_count < LOC_DEAD_MAX) {
        store->dead[store->dead_count++] = client;
    }
}

/* One whose file is gone and that has no session is as good as dead: its row would stay for ever. */
static bool is_leftover(loc_store *store, int64_t client) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_SESSION_OF);
    (void)sqlite3_bind_int64(sql, 1, client);
    bool has_session = loc_sql_row(store, sql);
    loc_sql_over(sql);
    return !has_session;
}

bool loc_any_dead(loc_store *store) {
    sqlite3_stmt *sql = loc_sql_use(store, LOC_CLIENTS);
    while (loc_sql_row(store, sql)) {
        int64_t client = sqlite3_column_int64(sql, 0);
        pid_t pid;
        if (is_self(store, client)) {
            continue;
        }
        life state = ask(store, client, &pid);
        if (state == LIFE_DEAD || (state == LIFE_UNKNOWN && errno == ENOENT && is_leftover(store, client))) {
            loc_mark_dead(store, client);
        }
    }
    return store->dead_count > 0;
}

void loc_reap(loc_store *store) {
    for (size_t i = 0; i < store->dead_count; i++) {
        loc_client_end(store, store->dead[i]);
    }
    store->reaped = store->dead_count;
}

/* ---- all files --------------------------------------------------------------------------------------------------- */

/* What to do with a file that is named after a client; false: no more of it. */
typedef bool (*file_visitor)(loc_store *store, const char *name, int64_t client);

static bool is_dead_file(loc_store *store, const char *name, int64_t client) {
    pid_t pid;
    return strstr(name, ".alive") == NULL || (!is_self(store, client) && ask(store, client, &pid) != LIFE_ALIVE);
}

static bool remove_file(loc_store *store, const char *name, int64_t client) {
    (void)client;
    (void)unlinkat(store->folder, name, 0);
    return true;
}

/* True: visited all. */
static bool each_file(loc_store *store, file_visitor visit) {
    int fd = openat(store->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    const struct dirent *item;
    bool on = true;
    while (on && (item = readdir(dir)) != NULL) {
        char *end;
        int64_t client = (int64_t)strtoull(item->d_name, &end, 16);
        if (end == item->d_name + 16 && (strcmp(end, ".alive") == 0 || strcmp(end, ".wake") == 0)) {
            on = visit(store, item->d_name, client);
        }
    }
    (void)closedir(dir);
    return on;
}

/* The gate is held, so nobody is just coming or going. The database may not know of those that live: it may be an older
 * one than theirs. */
bool loc_files_sweep(loc_store *store) {
    identify(store);
    return each_file(store, is_dead_file) && each_file(store, remove_file);
}

/* Of a process that ended before its row was there, or whose row was removed by one that ended before its files
 * were. */
static bool remove_orphan(loc_store *store, const char *name, int64_t client) {
    pid_t pid;
    if (strstr(name, ".alive") == NULL || is_self(store, client) || ask(store, client, &pid) != LIFE_DEAD) {
        return true;
    }
    sqlite3_stmt *sql = loc_sql_use(store, LOC_CLIENT);
    (void)sqlite3_bind_int64(sql, 1, client);
    bool known = loc_sql_row(store, sql);
    loc_sql_over(sql);
    if (!known && store->failure == SQLITE_OK) {
        loc_files_remove(store, client);
    }
    return true;
}

void loc_files_tidy(loc_store *store) {
    (void)each_file(store, remove_orphan);
}

/* ---- those that are waited for ----------------------------------------------------------------------------------- */

static int open_pidfd(const loc_store *store, int64_t client, pid_t pid) {
    int fd = -1;
#ifdef SYS_pidfd_open
    pid_t same;
    fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    /* Asked again, now that the number cannot come to mean another process. */
    if (fd >= 0 && (ask(store, client, &same) != LIFE_ALIVE || same != pid)) {
        (void)close(fd);
        fd = -1;
    }
#else
    (void)store;
    (void)client;
    (void)pid;
#endif
    return fd;
}

static loc_peer *peer_find(loc_store *store, int64_t client) {
    for (size_t i = 0; i < store->peer_count; i++) {
        if (store->peers[i].client == client) {
            return &store->peers[i];
        }
    }
    return NULL;
}

void loc_peer_forget(loc_store *store, loc_peer *peer) {
    loc_bell *bell = store->bell;
    if (bell != NULL && bell->running) {
        bell->retired[bell->retired_count++] = peer->pidfd; /* its thread may be waiting for it */
        loc_bell_kick(store);
    } else {
        (void)close(peer->pidfd);
    }
    *peer = store->peers[--store->peer_count];
}

/* A place for one more, if need be of one that nobody waits for now. */
static bool make_room(loc_store *store) {
    for (size_t i = 0; store->peer_count == LOC_PEERS_MAX && i < store->peer_count; i++) {
        if (store->peers[i].watches == 0 && store->bell->retired_count < LOC_PEERS_MAX) {
            loc_peer_forget(store, &store->peers[i]);
        }
    }
    return store->peer_count < LOC_PEERS_MAX;
}

bool loc_peer_watch(loc_store *store, int64_t client) {
    loc_peer *peer = peer_find(store, client);
    if (peer != NULL) {
        peer->watches++;
        return true;
    }
    pid_t pid = 0;
    life state = is_self(store, client) ? LIFE_UNKNOWN : ask(store, client, &pid);
    if (state == LIFE_DEAD) {
        loc_mark_dead(store, client);
    }
    if (state != LIFE_ALIVE || store->bell == NULL || !store->bell->running || !make_room(store)) {
        return false;
    }
    int fd = open_pidfd(store, client, pid);
    if (fd < 0) {
        return false;
    }
    store->peers[store->peer_count++] = (loc_peer){client, fd, 1};
    loc_bell_kick(store);
    return true;
}

void loc_peer_unwatch(loc_store *store, int64_t client) {
    loc_peer *peer = peer_find(store, client);
    if (peer != NULL && peer->watches > 0) {
        peer->watches--; /* it is kept: whom one waited for one will wait for again */
    }
}
