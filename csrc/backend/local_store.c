/* local_store.c: the stores of this process: who shares one, when it is opened and closed, and what a fork leaves
 * behind.
 *
 * A forked child inherits SQLite's own memory of the files that its parent has open, with locks that the child does not
 * hold. So a fork waits until no transaction is under way, and a child that opens a store of its own first closes what
 * it inherited, which touches no file; until then it touches nothing at all.
 *
 * A boot of the host ends all sessions. It is told by the boot id; but containers may be shown a boot id, or a clock,
 * of their own, so while any process that uses the database lives, another id is refused instead of believed.
 *
 * A database whose write-ahead log is gone is an older state of itself. That is treated as a boot, for the same
 * reasons: what it knows of sessions is past, and some of the tokens behind its last one were given out.
 */
#include "local.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../base/error.h"

#define LOOK_NS (5 * DS_MS) /* between two looks at whether the file is still under its name */

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static ds_list registry = {&registry, &registry};
static ds_list inherited = {&inherited, &inherited}; /* a parent's stores, whose connections are still to be closed */
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* ---- forks ------------------------------------------------------------------------------------------------------- */

static loc_store *store_of(ds_list *node) {
    return DS_LIST_ENTRY(node, loc_store, in_registry);
}

static void before_fork(void) {
    pthread_mutex_lock(&registry_mutex);
    for (ds_list *node = registry.next; node != &registry; node = node->next) {
        pthread_mutex_lock(&store_of(node)->mutex);
    }
    loc_fold_hold();
}

static void after_fork(void) {
    loc_fold_go_on();
    for (ds_list *node = registry.next; node != &registry; node = node->next) {
        pthread_mutex_unlock(&store_of(node)->mutex);
    }
    pthread_mutex_unlock(&registry_mutex);
}

static void after_fork_in_child(void) {
    loc_fold_go_on();
    for (ds_list *node = registry.next; node != &registry; node = node->next) {
        pthread_mutex_unlock(&store_of(node)->mutex);
    }
    ds_list_splice(&inherited, &registry);
    pthread_mutex_unlock(&registry_mutex);
}

static void watch_forks(void) {
    (void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

static void close_inherited(void) {
    ds_list *node;
    while ((node = ds_list_pop(&inherited)) != NULL) {
        loc_db_close(store_of(node));
    }
}

/* ---- which boot of which host ------------------------------------------------------------------------------------ */

/* Also told apart: processes whose clock is set off against ours. */
static bool read_boot(loc_store *store, char *out, size_t size) {
    char id[64] = "", clock[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file != NULL) {
        if (fgets(id, sizeof(id), file) == NULL) {
            id[0] = '\0';
        }
        (void)fclose(file);
    }
    ssize_t length = readlink("/proc/self/ns/time", clock, sizeof(clock) - 1);
    clock[length > 0 ? length : 0] = '\0';
    id[strcspn(id, "\n")] = '\0';
    (void)snprintf(out, size, "%s %s", id, clock);
    return id[0] != '\0' ||
           loc_fault(store, DS_REFUSED, DSYNC_CONFIG,
                     "cannot read /proc/sys/kernel/random/boot_id: it tells whether the host was booted "
                     "meanwhile; is /proc mounted?");
}

/* All that was, was before. */
static bool begin_era(loc_store *store, const char *boot) {
    char text[512];
    char *quoted = sqlite3_mprintf("%Q", boot);
    if (quoted == NULL) {
        return loc_sql_fault(store, SQLITE_NOMEM);
    }
    (void)snprintf(
        text, sizeof(text),
        "BEGIN IMMEDIATE; DELETE FROM clients; DELETE FROM sessions; DELETE FROM entries; DELETE FROM observers;"
        " DELETE FROM changes; DELETE FROM broken; UPDATE meta SET revision=reserved, next_expiry=%lld,"
        " observers=0, era=era+1, boot=%s; COMMIT",
        (long long)DS_NEVER, quoted);
    sqlite3_free(quoted);
    bool done = loc_sql_text(store, text);
    if (!done && !sqlite3_get_autocommit(store->db)) {
        (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return done;
}

static bool check_era(loc_store *store, bool has_log) {
    char boot[160], known[160];
    int64_t number = 0;
    if (!read_boot(store, boot, sizeof(boot)) ||
        !loc_sql_ask(store, "SELECT boot FROM meta", &number, known, sizeof(known))) {
        return false;
    }
    bool same = strcmp(boot, known) == 0;
    if (!same && !loc_files_sweep(store)) {
        return loc_fault(
            store, DS_REFUSED, DSYNC_CONFIG,
            "is in use by processes that see another boot id or clock (containers with namespaces of their "
            "own): such processes cannot share a database");
    }
    return ((same && has_log) || begin_era(store, boot)) &&
           loc_sql_ask(store, "SELECT era FROM meta", &store->era, known, sizeof(known));
}

/* Before anything is opened, as that would make a log. Processes that live have another one. */
static bool check_log(loc_store *store, bool has_log) {
    return has_log || loc_files_sweep(store) ||
           loc_fault(store, DS_REFUSED, DSYNC_CONFIG,
                     "has lost its write-ahead log (-wal) while processes use it: end them, then it can be opened");
}

/* ---- the mutex --------------------------------------------------------------------------------------------------- */

void loc_lock(loc_store *store, ds_world *world) {
    pthread_mutex_lock(&store->mutex);
    store->world = world;
}

void loc_unlock(loc_store *store) {
    pthread_mutex_unlock(&store->mutex);
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static bool register_self(loc_store *store) {
    if (!loc_alive_make(store) || !loc_tx_begin(store, true)) {
        return false;
    }
    sqlite3_stmt *sql = loc_sql_use(store, LOC_CLIENT_ADD);
    (void)sqlite3_bind_int64(sql, 1, store->client);
    (void)sqlite3_bind_text(sql, 2, store->identity, -1, SQLITE_STATIC);
    (void)loc_sql_run(store, sql);
    if (loc_any_dead(store)) {
        loc_reap(store);
    }
    if (!loc_tx_end(store)) {
        return false;
    }
    loc_files_tidy(store);
    return true;
}

/* A log that one failed to see would be taken for lost, and everybody's sessions with it. */
static bool look_at_files(loc_store *store) {
    if (loc_path_look(store, store->files)) {
        return true;
    }
    (void)loc_path_error(&store->fault, errno, "look at", store->file);
    store->fault_class = DS_REFUSED;
    return false;
}

static bool store_open(loc_store *store) {
    bool fresh = false;
    store->stale = false;
    if (!loc_path_prepare(store, &fresh, &store->fault)) {
        store->fault_class = DS_REFUSED;
        return false;
    }
    if (!loc_gate_take(store)) {
        return false;
    }
    bool open = look_at_files(store);
    bool has_log = fresh || store->files[LOC_FILE_LOG].inode != 0;
    open = open && check_log(store, has_log) && loc_db_open(store) && check_era(store, has_log) &&
           register_self(store) && look_at_files(store);
    loc_gate_give(store);
    if (open) {
        loc_tell(store);
    }
    return open;
}

/* Asked now and then only: it costs as much as a good part of a transaction. */
static bool was_taken_away(loc_store *store) {
    int64_t now = ds_now(store->world);
    if (now >= 0 && now < store->look_ns && now >= store->look_ns - LOOK_NS) {
        return false;
    }
    store->look_ns = now + LOOK_NS;
    return loc_path_moved(store);
}

bool loc_store_ready(loc_store *store) {
    if (store->db != NULL && (store->stale || was_taken_away(store))) {
        loc_store_close(store);
    }
    if (store->db != NULL) {
        return true;
    }
    if (store_open(store)) {
        loc_watches_again(store);
        return true;
    }
    loc_store_close(store);
    return false;
}

static void close_fd(int *fd) {
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
}

/* Our row goes while our file is still locked: nobody may find a row without one. */
static void unregister_self(loc_store *store) {
    if (!loc_path_moved(store) && loc_gate_take(store)) {
        bool done = false;
        if (loc_tx_begin(store, true)) {
            loc_client_end(store, store->client);
            done = loc_tx_end(store);
        }
        loc_gate_give(store);
        if (done) {
            loc_tell(store);
        }
    }
}

void loc_store_close(loc_store *store) {
    while (store->peer_count > 0) {
        loc_peer_forget(store, &store->peers[0]);
    }
    loc_bell_stop(store);
    if (store->db != NULL && store->alive >= 0 && store->sql[0] != NULL) {
        unregister_self(store);
    }
    loc_db_close(store);
    loc_alive_remove(store);
    close_fd(&store->gate);
    close_fd(&store->folder);
    close_fd(&store->sender);
    store->client = 0;
    store->dead_count = store->reaped = 0;
}

/* ---- sharing ----------------------------------------------------------------------------------------------------- */

static loc_store *store_new(const char *path, bool by_default) {
    loc_store *store = ds_calloc(1, sizeof(*store));
    if (store == NULL) {
        return NULL;
    }
    store->path = ds_strdup(path);
    if (store->path == NULL || pthread_mutex_init(&store->mutex, NULL) != 0) {
        ds_free(store->path);
        ds_free(store);
        return NULL;
    }
    store->by_default = by_default;
    store->process = getpid();
    store->folder = store->gate = store->alive = store->sender = -1;
    atomic_init(&store->refs, 1);
    ds_list_init(&store->clients);
    ds_list_init(&store->observing);
    for (size_t i = 0; i < LOC_BUCKETS; i++) {
        ds_list_init(&store->buckets[i]);
    }
    return store;
}

void loc_store_unref(loc_store *store) {
    if (atomic_fetch_sub(&store->refs, 1) != 1) {
        return;
    }
    pthread_mutex_destroy(&store->mutex);
    ds_buf_free(&store->scratch);
    ds_free(store->wakes);
    ds_free(store->file);
    ds_free(store->path);
    ds_free(store);
}

static loc_store *registered(const char *path) {
    for (ds_list *node = registry.next; node != &registry; node = node->next) {
        if (strcmp(store_of(node)->path, path) == 0) {
            return store_of(node);
        }
    }
    return NULL;
}

loc_store *loc_store_get(const char *path, bool by_default) {
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&registry_mutex);
    close_inherited();
    loc_store *store = registered(path);
    if (store == NULL && (store = store_new(path, by_default)) != NULL) {
        ds_list_append(&registry, &store->in_registry);
    }
    if (store != NULL) {
        store->users++;
    }
    pthread_mutex_unlock(&registry_mutex);
    return store;
}

/* It leaves the registry only when its connection is closed, so that no fork can fall in between. */
void loc_store_put(loc_store *store, ds_world *world) {
    pthread_mutex_lock(&registry_mutex);
    bool last = --store->users == 0;
    if (last) {
        loc_lock(store, world);
        loc_store_close(store);
        ds_list_remove(&store->in_registry);
        loc_unlock(store);
    }
    pthread_mutex_unlock(&registry_mutex);
    if (last) {
        loc_store_unref(store);
    }
}
