/* local_path.h: where a local: database is, what it consists of, and the gate before it. Included by local.h. */
#ifndef DS_LOCAL_PATH_H
#define DS_LOCAL_PATH_H

#include <sys/stat.h>
#include <sys/types.h>

#include "backend.h"

typedef struct loc_store loc_store;

/* What a database consists of: another file under one of these names is another database, or half of one. */
enum { LOC_FILE_DATABASE, LOC_FILE_LOG, LOC_FILE_INDEX, LOC_FILES };
typedef struct loc_identity {
    dev_t device;
    ino_t inode; /* 0: not there */
} loc_identity;

/* ---- local_path.c: where the database is; no state --------------------------------------------------------------- */

/* The absolute path of what a URL names; "" is the user's default. False: error filled. */
bool loc_path_choose(const char *given, char **path, bool *by_default, dsync_error *error);
/* Makes what is missing, refuses what cannot be trusted, and opens store->folder and store->gate. Fills file; `*fresh`:
 * the database was made just now. */
bool loc_path_prepare(loc_store *store, bool *fresh, dsync_error *error);
/* Which files are there now. False, with errno: the kernel cannot say. */
bool loc_path_look(const loc_store *store, loc_identity files[LOC_FILES]);
bool loc_path_moved(const loc_store *store); /* they are no longer those that we have open */
/* DSYNC_CONFIG or DSYNC_RESOURCE, by errno. */
dsync_code loc_path_error(dsync_error *error, int number, const char *what, const char *path);

/* ---- local_gate.c ------------------------------------------------------------------------------------------------ */

bool loc_gate_take(loc_store *store); /* false: store->fault */
void loc_gate_give(loc_store *store);

#endif
