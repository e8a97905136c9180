/* zookeeper_load.c: see zookeeper_load.h. The module lies beside the file that this code is in (the Lua module, the
 * shared library, a program that has dsync linked in), in the folder dsync below that, or where the system's loader
 * looks for libraries. No variable of dsync's own says where.
 */
#include "zookeeper_load.h"

#include "../base/buf.h"
#include "../base/error.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE "libdsync-zookeeper.so"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const ds_zk_driver *loaded;

static void *try_path(const char *folder, size_t length, const char *below) {
    ds_buf path = DS_BUF_EMPTY;
    ds_buf_add(&path, folder, length);
    ds_buf_add_text(&path, below);
    ds_buf_add_text(&path, MODULE);
    void *module = NULL;
    if (!path.failed && access(path.data, R_OK) == 0) {
        module = dlopen(path.data, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    }
    ds_buf_free(&path);
    return module;
}

static void *find_module(void) {
    static const char here;
    Dl_info self;
    void *module = NULL;
    if (dladdr(&here, &self) != 0 && self.dli_fname != NULL) {
        char *whole = realpath(self.dli_fname, NULL);
        const char *file = whole != NULL ? whole : self.dli_fname;
        const char *slash = strrchr(file, '/');
        size_t length = slash != NULL ? (size_t)(slash - file) + 1 : 0;
        static const char *const below[] = {"", "dsync/"};
        for (size_t i = 0; i < DS_COUNT(below) && module == NULL && length > 0; i++) {
            module = try_path(file, length, below[i]);
        }
        free(whole);
    }
    return module != NULL ? module : dlopen(MODULE, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

static const ds_zk_driver *find_driver(dsync_error *error) {
    void *module = find_module();
    if (module == NULL) {
        const char *why = dlerror();
        ds_error_set(error, DSYNC_UNSUPPORTED,
                     "zookeeper:// needs the module " MODULE
                     " (%s): install libzookeeper-st-dev and build dsync again, or "
                     "install the package that holds the module",
                     why != NULL ? why : "not found");
        return NULL;
    }
    const ds_zk_driver *driver = dlsym(module, DS_ZK_MODULE_SYMBOL);
    if (driver == NULL || driver->seam != DS_ZK_SEAM) {
        ds_error_set(error, DSYNC_UNSUPPORTED, "the module " MODULE " belongs to another version of dsync");
        return NULL;
    }
    return driver;
}

const ds_zk_driver *ds_zk_driver_load(dsync_error *error) {
    pthread_mutex_lock(&mutex);
    if (loaded == NULL) {
        loaded = find_driver(error);
    }
    const ds_zk_driver *driver = loaded;
    pthread_mutex_unlock(&mutex);
    return driver;
}
