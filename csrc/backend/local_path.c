/* local_path.c: where a local: database is, and whether the place can be trusted: whose it is, on what kind of file
 * system, under how many names.
 *
 * Holds nothing of what is inside the file. Never opens an existing database by itself: closing it again would drop the
 * locks that SQLite holds for this process.
 */
#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "../base/error.h"

#define FILE_NAME "locks.db"
#define FOLDER_SUFFIX "-clients"

/* ---- saying what is wrong ---------------------------------------------------------------------------------------- */

dsync_code loc_path_error(dsync_error *error, int number, const char *what, const char *path) {
    bool resource = number == ENOSPC || number == EDQUOT || number == ENOMEM || number == EMFILE || number == ENFILE ||
                    number == EIO || number == ENOLCK;
    char why[96];
    (void)snprintf(why, sizeof(why), "%s", strerror(number));
    return ds_error_set(error, resource ? DSYNC_RESOURCE : DSYNC_CONFIG, "local: cannot %s %s: %s", what, path, why);
}

static bool failed(dsync_error *error, const char *what, const char *path) {
    (void)loc_path_error(error, errno, what, path);
    return false;
}

static bool refuse(dsync_error *error, const char *path, const char *why) {
    (void)ds_error_set(error, DSYNC_CONFIG, "local: %s %s", path, why);
    return false;
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

static bool is_my_folder(const char *path) {
    struct stat st;
    return path != NULL && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* The same for every process of a user, whatever its environment, as far as there is a runtime directory at all. */
static void add_default(ds_buf *out) {
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char by_user[64];
    (void)snprintf(by_user, sizeof(by_user), "/run/user/%lu", (unsigned long)geteuid());
    if (is_my_folder(runtime)) {
        ds_buf_add_format(out, "%s/dsync", runtime);
    } else if (is_my_folder(by_user)) {
        ds_buf_add_format(out, "%s/dsync", by_user);
    } else {
        ds_buf_add_format(out, "/tmp/dsync-%lu", (unsigned long)geteuid());
    }
    ds_buf_add_text(out, "/" FILE_NAME);
}

bool loc_path_choose(const char *given, char **path, bool *by_default, dsync_error *error) {
    ds_buf text = DS_BUF_EMPTY;
    char here[PATH_MAX];
    *by_default = given[0] == '\0';
    if (*by_default) {
        add_default(&text);
    } else if (given[0] != '/') {
        if (getcwd(here, sizeof(here)) == NULL) {
            return failed(error, "find the current folder for", given);
        }
        ds_buf_add_format(&text, "%s/%s", here, given);
    } else {
        ds_buf_add_text(&text, given);
    }
    if (text.failed) {
        ds_buf_free(&text);
        (void)ds_error_no_memory(error);
        return false;
    }
    *path = text.data;
    return true;
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

/* Where POSIX locks or shared memory do not reach everybody who can open a file. */
static bool is_remote(const char *path, const char **name) {
    static const struct {
        unsigned long magic;
        const char *name;
    } kinds[] = {{0x6969, "NFS"},        {0x517B, "SMB"},        {0xFE534D42, "SMB"},    {0xFF534D42, "CIFS"},
                 {0x65735546, "FUSE"},   {0x01021997, "9P"},     {0x5346414F, "AFS"},    {0x6B414653, "AFS"},
                 {0x73757245, "Coda"},   {0x564C, "NCP"},        {0x00C36400, "Ceph"},   {0x7461636F, "OCFS2"},
                 {0x01161970, "GFS2"},   {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"},   {0xAAD7AAEA, "PanFS"},
                 {0x786F4256, "vboxsf"}, {0xBACBACBC, "vmhgfs"}, {0x7C7C6673, "prl_fs"}, {0x19830326, "BeeGFS"}};
    struct statfs fs;
    if (statfs(path, &fs) != 0) {
        return false;
    }
    for (size_t i = 0; i < DS_COUNT(kinds); i++) {
        if (((unsigned long)fs.f_type & 0xFFFFFFFFUL) == kinds[i].magic) {
            *name = kinds[i].name;
            return true;
        }
    }
    return false;
}

static bool check_folder(const char *folder, bool private, dsync_error *error) {
    struct stat st;
    const char *kind = "";
    if ((private ? lstat(folder, &st) : stat(folder, &st)) != 0) {
        return failed(error, "look at the folder", folder);
    }
    if (!S_ISDIR(st.st_mode)) {
        return refuse(error, folder,
                      S_ISLNK(st.st_mode) ? "is a symbolic link: it must be a folder" : "is not a folder");
    }
    if (private && st.st_uid != geteuid()) {
        return refuse(error, folder, "belongs to another user: name a path of your own (local:/path/locks.db)");
    }
    if (private && (st.st_mode & 077) != 0) {
        return refuse(error, folder, "is open to other users: chmod 700 it, or remove it if you did not make it");
    }
    if (!private && (st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0) {
        return refuse(error, folder, "can be written to by everybody: choose another folder, or chmod o-w it");
    }
    if (is_remote(folder, &kind)) {
        (void)ds_error_set(error, DSYNC_CONFIG,
                           "local: %s is on a network file system (%s): local: is for the processes of one host; use a "
                           "folder on a local disk, or etcd:// or consul:// between hosts",
                           folder, kind);
        return false;
    }
    return true;
}

static bool make_private(const char *folder, dsync_error *error) {
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        return failed(error, "make the folder", folder);
    }
    return check_folder(folder, true, error);
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

/* A container that is given the file alone keeps its write-ahead log somewhere else than everybody else does. */
static bool is_mount(const char *file) {
#ifdef STATX_ATTR_MOUNT_ROOT
    struct statx st;
    return statx(AT_FDCWD, file, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) == 0 &&
           (st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 && (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
#else
    (void)file;
    return false;
#endif
}

static bool check_file(loc_store *store, dsync_error *error) {
    struct stat st;
    if (lstat(store->file, &st) != 0) {
        return failed(error, "look at", store->file);
    }
    if (!S_ISREG(st.st_mode)) {
        return refuse(error, store->file,
                      S_ISLNK(st.st_mode) ? "is a symbolic link: name the file itself" : "is not a file");
    }
    if (st.st_uid != geteuid()) {
        return refuse(error, store->file, "belongs to another user: the users of a database must be one and the same");
    }
    if (st.st_nlink != 1) {
        return refuse(error, store->file, "has a second name (a hard link), under which it would be another database");
    }
    if (is_mount(store->file)) {
        return refuse(error, store->file, "is mounted as a single file: mount the folder it is in instead");
    }
    return true;
}

/* Makes it unless it is there; only a file that is certainly new may be opened and closed here. */
static bool make_file(const char *file, const char *folder, bool *fresh, dsync_error *error) {
    int fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    *fresh = fd >= 0;
    if (fd < 0) {
        return errno == EEXIST || failed(error, "make", file);
    }
    (void)close(fd);
    int parent = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent >= 0) {
        (void)fsync(parent); /* a name that a power failure takes back would take the tokens with it */
        (void)close(parent);
    }
    return true;
}

/* Nothing there is an answer; one that the kernel owes us is none. */
static bool identify(const char *path, loc_identity *identity) {
    struct stat st;
    *identity = (loc_identity){0, 0};
    if (stat(path, &st) != 0) {
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
    }
    *identity = (loc_identity){st.st_dev, st.st_ino};
    return true;
}

bool loc_path_look(const loc_store *store, loc_identity files[LOC_FILES]) {
    static const char *const suffixes[LOC_FILES] = {"", "-wal", "-shm"};
    char path[PATH_MAX + 8];
    for (size_t i = 0; i < LOC_FILES; i++) {
        (void)snprintf(path, sizeof(path), "%s%s", store->file, suffixes[i]);
        if (!identify(path, &files[i])) {
            return false;
        }
    }
    return true;
}

/* Only when that is certain: our locks are given up with the files, and those who hold them do not know yet. */
bool loc_path_moved(const loc_store *store) {
    loc_identity now[LOC_FILES];
    if (!loc_path_look(store, now)) {
        return false;
    }
    for (size_t i = 0; i < LOC_FILES; i++) {
        if (now[i].device != store->files[i].device || now[i].inode != store->files[i].inode) {
            return true;
        }
    }
    return false;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static bool open_beside(loc_store *store, dsync_error *error) {
    ds_buf name = DS_BUF_EMPTY;
    ds_buf_add_format(&name, "%s" FOLDER_SUFFIX, store->file);
    bool ok = false;
    if (name.failed) {
        (void)ds_error_no_memory(error);
    } else if (make_private(name.data, error)) {
        store->folder = open(name.data, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        store->gate =
            store->folder < 0 ? -1 : openat(store->folder, "gate", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        ok = store->gate >= 0 || failed(error, "use the folder", name.data);
    }
    ds_buf_free(&name);
    return ok;
}

/* `folder` (owned, resolved) and the last part of store->path make the canonical path, which no later change of a
 * symbolic link moves. */
static bool set_file(loc_store *store, const char *folder, dsync_error *error) {
    const char *name = strrchr(store->path, '/') + 1;
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return refuse(error, store->path, "is a folder: name a file in it, such as locks.db");
    }
    ds_buf file = DS_BUF_EMPTY;
    ds_buf_add_format(&file, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name);
    if (file.failed) {
        ds_buf_free(&file);
        (void)ds_error_no_memory(error);
        return false;
    }
    ds_free(store->file);
    store->file = file.data;
    return true;
}

static bool prepare_in(loc_store *store, const char *parent, bool *fresh, dsync_error *error) {
    char folder[PATH_MAX];
    if (store->by_default && !make_private(parent, error)) {
        return false;
    }
    if (realpath(parent, folder) == NULL) {
        return failed(error, "find the folder", parent);
    }
    return check_folder(folder, false, error) && set_file(store, folder, error) &&
           make_file(store->file, folder, fresh, error) && check_file(store, error) && open_beside(store, error);
}

bool loc_path_prepare(loc_store *store, bool *fresh, dsync_error *error) {
    size_t size = (size_t)(strrchr(store->path, '/') - store->path);
    char *parent = ds_strndup(store->path, size > 0 ? size : 1);
    if (parent == NULL) {
        (void)ds_error_no_memory(error);
        return false;
    }
    bool ok = prepare_in(store, parent, fresh, error);
    ds_free(parent);
    return ok;
}
