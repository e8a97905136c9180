/* local_log.c: how SQLite writes its write-ahead log here: a transaction in one system call.
 *
 * SQLite writes each page of a transaction by two calls, and a system call is a good part of what a lock costs. So what
 * is appended to the log is put aside until the frame that commits, and then written at once. Nothing that was put
 * aside is part of a commit yet: others look at frames only after that last one is written and told in shared memory.
 * Whatever is no such append (a read, a synchronisation, a change of what was written) finds everything in the file.
 *
 * The connection must not spill its cache (PRAGMA cache_spill=OFF): then only commits write to the log, and nothing
 * stays put aside of a transaction that was rolled back.
 *
 * A layer over SQLite's own files, for logs only. Knows nothing of dsync.
 */
#include "local_sql.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define FRAME_HEADER 24  /* bytes 4 to 7: the size of the database if this frame commits, else 0 */
#define ROOM (16 * 1024) /* of a larger transaction the rest is written page by page */

typedef struct loc_log {
    sqlite3_file base; /* first: what SQLite sees */
    sqlite3_file *file;
    sqlite3_int64 start; /* where what is put aside belongs */
    int size;            /* of that */
    sqlite3_int64 end;   /* behind the last append; -1: unknown */
    bool commits;        /* the header written last says so */
    unsigned char room[ROOM];
} loc_log;

static loc_log *log_of(sqlite3_file *file) {
    return (loc_log *)file;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static int put(loc_log *log, const void *bytes, int size, sqlite3_int64 at) {
    int result = log->file->pMethods->xWrite(log->file, bytes, size, at);
    if (result != SQLITE_OK) {
        log->end = -1;
    }
    return result;
}

static int flush(loc_log *log) {
    int size = log->size;
    log->size = 0;
    return size > 0 ? put(log, log->room, size, log->start) : SQLITE_OK;
}

static void put_aside(loc_log *log, const void *bytes, int size, sqlite3_int64 at) {
    if (log->size == 0) {
        log->start = at;
    }
    memcpy(log->room + log->size, bytes, (size_t)size);
    log->size += size;
}

static int log_write(sqlite3_file *file, const void *bytes, int size, sqlite3_int64 at) {
    static const unsigned char none[4];
    loc_log *log = log_of(file);
    bool is_header = size == FRAME_HEADER;
    bool appends = at == log->end;
    int result = SQLITE_OK;
    if (is_header) {
        log->commits = memcmp((const unsigned char *)bytes + 4, none, sizeof(none)) != 0;
    }
    if (!appends || size > ROOM - log->size) {
        result = flush(log);
    }
    if (result != SQLITE_OK) {
        return result;
    }
    log->end = at + size;
    if (!appends || size > ROOM) {
        return put(log, bytes, size, at);
    }
    put_aside(log, bytes, size, at);
    return log->commits && !is_header ? flush(log) : SQLITE_OK;
}

/* ---- everything else --------------------------------------------------------------------------------------------- */

/* What was not written by now was never committed. */
static int log_close(sqlite3_file *file) {
    loc_log *log = log_of(file);
    return log->file->pMethods->xClose(log->file);
}

static int log_read(sqlite3_file *file, void *out, int size, sqlite3_int64 at) {
    loc_log *log = log_of(file);
    int result = flush(log);
    return result == SQLITE_OK ? log->file->pMethods->xRead(log->file, out, size, at) : result;
}

static int log_truncate(sqlite3_file *file, sqlite3_int64 size) {
    loc_log *log = log_of(file);
    int result = flush(log);
    return result == SQLITE_OK ? log->file->pMethods->xTruncate(log->file, size) : result;
}

static int log_sync(sqlite3_file *file, int flags) {
    loc_log *log = log_of(file);
    int result = flush(log);
    return result == SQLITE_OK ? log->file->pMethods->xSync(log->file, flags) : result;
}

static int log_size(sqlite3_file *file, sqlite3_int64 *out) {
    loc_log *log = log_of(file);
    int result = flush(log);
    return result == SQLITE_OK ? log->file->pMethods->xFileSize(log->file, out) : result;
}

static int log_lock(sqlite3_file *file, int level) {
    loc_log *log = log_of(file);
    return log->file->pMethods->xLock(log->file, level);
}

static int log_unlock(sqlite3_file *file, int level) {
    loc_log *log = log_of(file);
    return log->file->pMethods->xUnlock(log->file, level);
}

static int log_check_lock(sqlite3_file *file, int *out) {
    loc_log *log = log_of(file);
    return log->file->pMethods->xCheckReservedLock(log->file, out);
}

static int log_control(sqlite3_file *file, int operation, void *argument) {
    loc_log *log = log_of(file);
    return log->file->pMethods->xFileControl(log->file, operation, argument);
}

static int log_sector(sqlite3_file *file) {
    loc_log *log = log_of(file);
    return log->file->pMethods->xSectorSize(log->file);
}

static int log_traits(sqlite3_file *file) {
    loc_log *log = log_of(file);
    return log->file->pMethods->xDeviceCharacteristics(log->file);
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = log_close,
    .xRead = log_read,
    .xWrite = log_write,
    .xTruncate = log_truncate,
    .xSync = log_sync,
    .xFileSize = log_size,
    .xLock = log_lock,
    .xUnlock = log_unlock,
    .xCheckReservedLock = log_check_lock,
    .xFileControl = log_control,
    .xSectorSize = log_sector,
    .xDeviceCharacteristics = log_traits,
};

/* ---- telling SQLite ---------------------------------------------------------------------------------------------- */

static sqlite3_vfs layer;
static sqlite3_vfs *below; /* NULL: there is no layer */
static char layer_name[40];
static pthread_once_t layer_once = PTHREAD_ONCE_INIT;

static int layer_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags) {
    (void)vfs;
    if ((flags & SQLITE_OPEN_WAL) == 0) {
        return below->xOpen(below, name, file, flags, out_flags);
    }
    loc_log *log = log_of(file);
    memset(log, 0, sizeof(*log));
    log->file = (sqlite3_file *)(log + 1);
    log->end = -1;
    int result = below->xOpen(below, name, log->file, flags, out_flags);
    log->base.pMethods = log->file->pMethods != NULL ? &methods : NULL;
    return result;
}

/* Under a name of its own: another copy of this library in the process has its own. */
static void make_layer(void) {
    below = sqlite3_vfs_find("unix");
    if (below == NULL) {
        return;
    }
    layer = *below;
    (void)snprintf(layer_name, sizeof(layer_name), "dsync-%p", (void *)&layer);
    layer.zName = layer_name;
    layer.pNext = NULL;
    layer.szOsFile = (int)sizeof(loc_log) + below->szOsFile;
    layer.xOpen = layer_open;
    if (sqlite3_vfs_register(&layer, 0) != SQLITE_OK) {
        below = NULL;
    }
}

const char *loc_log_layer(void) {
    (void)pthread_once(&layer_once, make_layer);
    return below != NULL ? layer_name : "unix";
}
