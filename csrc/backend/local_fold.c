/* local_fold.c: folding the write-ahead log back into the database.
 *
 * That waits for the disk, and who has just taken or released a lock, and all who stand behind, should not. So a thread
 * does it, with a connection of its own, while others go on writing. It may never catch up with them; only when the log
 * has grown large they are made to wait, for the little that is left then.
 *
 * A fork waits for that thread: the child must not inherit SQLite in the middle of something. A world of one thread
 * only (a simulation) folds inline.
 */
#include "local.h"

#include <pthread.h>

#include "../net/thread.h"

#define FRAMES 4000      /* from so many on, or up to twice as many, of a kilobyte each */
#define FRAMES_FOUND 500 /* from so many on, when the database is opened */
#define FRAMES_MAX 16000 /* from so many on, nobody writes meanwhile: else it might never be emptied */
#define PASSES 6         /* before that, until few are left and nobody waits long */
#define FEW 1000

/* Held while a thread of this file uses SQLite; a leaf. */
static pthread_mutex_t fold_mutex = PTHREAD_MUTEX_INITIALIZER;

/* How many frames the log had when this began. Those that came since are not folded. 0: somebody else does it. */
static int fold(sqlite3 *db) {
    int frames = 0;
    int result = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, NULL);
    return result == SQLITE_OK ? frames : 0;
}

/* With the store's mutex. */
static void fold_while_others_wait(loc_store *store) {
    if (store->db != NULL && loc_gate_take(store)) {
        (void)fold(store->db);
        loc_gate_give(store);
    }
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

typedef struct folder {
    loc_store *store; /* a reference */
    char *file;
} folder;

static int fold_apart(const char *file) {
    sqlite3 *db = NULL;
    int frames = 0;
    pthread_mutex_lock(&fold_mutex);
    if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, "unix") ==
            SQLITE_OK &&
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) == SQLITE_OK &&
        sqlite3_exec(db, "PRAGMA synchronous=NORMAL; SELECT era FROM meta", NULL, NULL, NULL) == SQLITE_OK) {
        int before = 0;
        frames = fold(db);
        for (int i = 1; i < PASSES && frames >= FRAMES_MAX && frames - before > FEW; i++) {
            before = frames;
            frames = fold(db);
        }
    }
    (void)sqlite3_close(db);
    pthread_mutex_unlock(&fold_mutex);
    return frames;
}

static void *folder_main(void *argument) {
    folder *f = argument;
    loc_store *store = f->store;
    int frames = fold_apart(f->file);
    loc_lock(store, NULL);
    if (frames >= FRAMES_MAX) {
        fold_while_others_wait(store);
    }
    store->folding = false;
    store->fold_at = store->frames + FRAMES; /* unless it begins anew first */
    loc_unlock(store);
    loc_store_unref(store);
    ds_free(f->file);
    ds_free(f);
    return NULL;
}

static bool start_folder(loc_store *store) {
    pthread_t thread;
    folder *f = store->world->ops->take_back != NULL ? ds_calloc(1, sizeof(*f)) : NULL;
    if (f == NULL) {
        return false;
    }
    *f = (folder){store, ds_strdup(store->file)};
    store->folding = true;
    atomic_fetch_add(&store->refs, 1);
    if (f->file != NULL && ds_thread_start(&thread, folder_main, f) == 0) {
        return true;
    }
    store->folding = false;
    atomic_fetch_sub(&store->refs, 1);
    ds_free(f->file);
    ds_free(f);
    return false;
}

/* Each process has a limit of its own, or all would begin at the same moment. */
static int limit_of(const loc_store *store) {
    return FRAMES + (int)(((uint64_t)store->client >> 1) % FRAMES);
}

/* ---- when -------------------------------------------------------------------------------------------------------- */

/* Whoever opens it alone reads the whole log first. Programs that lock once and end would all do that, a little more
 * each time; so one that finds it long does not leave it so. */
void loc_fold(loc_store *store) {
    if (store->fold_at == 0 && store->frames >= FRAMES_FOUND) {
        store->fold_at = FRAMES_FOUND;
    } else if (store->frames < FRAMES) {
        store->fold_at = limit_of(store);
    }
    if (store->frames < store->fold_at || store->folding || loc_path_moved(store) || start_folder(store)) {
        return;
    }
    if (fold(store->db) >= FRAMES_MAX) {
        fold_while_others_wait(store);
    }
    store->fold_at = store->frames + FRAMES;
}

void loc_fold_hold(void) {
    pthread_mutex_lock(&fold_mutex);
}

void loc_fold_go_on(void) {
    pthread_mutex_unlock(&fold_mutex);
}
