/* h2_late.c: see h2_late.h. Finds the library and its functions; knows nothing of what they do. Built without the
 * library's header, it stands in for the whole client: one that can never be made.
 */
#define DS_H2_LATE_IMPLEMENTATION
#include "h2.h"

#include "../base/error.h"

#if __has_include(<nghttp2/nghttp2.h>)

#include "h2_late.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

ds_nghttp2_table ds_nghttp2;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *missing = "libnghttp2.so.14"; /* what could not be found; NULL once all is there */

/* POSIX has functions come as data pointers; ISO C has no cast for that. */
static bool find(void *library, const char *name, void *pointer) {
    void *found = dlsym(library, name);
    memcpy(pointer, &found, sizeof found);
    return found != NULL;
}

static void load(void) {
    void *library =
        dlopen("libnghttp2.so.14", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE); /* the I/O thread may outlive us */
    if (library == NULL) {
        return;
    }
#define DS_NGHTTP2_FIND(name)                                                                                          \
    if (!find(library, "nghttp2_" #name, &ds_nghttp2.name)) {                                                          \
        missing = "nghttp2_" #name;                                                                                    \
        return;                                                                                                        \
    }
    DS_NGHTTP2_FUNCTIONS(DS_NGHTTP2_FIND)
    missing = NULL;
}

/* What is missing now may be there at the next try: a process can be out of descriptors for a while. */
bool ds_h2_load(dsync_error *error) {
    pthread_mutex_lock(&mutex);
    if (missing != NULL) {
        load();
    }
    const char *still_missing = missing;
    pthread_mutex_unlock(&mutex);
    if (still_missing != NULL) {
        ds_error_set(error, DSYNC_UNSUPPORTED, "libnghttp2 cannot be loaded: no %s", still_missing);
    }
    return still_missing == NULL;
}

#else

bool ds_h2_load(dsync_error *error) {
    ds_error_set(error, DSYNC_UNSUPPORTED, "dsync was built without libnghttp2");
    return false;
}

ds_h2_client *ds_h2_client_new(const ds_http_config *config, ds_world *world, dsync_error *error) {
    (void)config;
    (void)world;
    (void)ds_h2_load(error);
    return NULL;
}

void ds_h2_client_free(ds_h2_client *client) {
    (void)client;
}

void ds_h2_hang_up(ds_h2_client *client) {
    (void)client;
}

bool ds_h2_pending(const ds_h2_client *client) {
    (void)client;
    return false;
}

void ds_h2_run(ds_h2_client *client) {
    (void)client;
}

ds_http *ds_h2_start(ds_h2_client *client, const ds_http_request *request, ds_http_sink *sink) {
    (void)client;
    (void)request;
    (void)sink;
    return NULL;
}

void ds_h2_cancel(ds_h2_client *client, ds_http *http) {
    (void)client;
    (void)http;
}

bool ds_h2_send(ds_h2_client *client, ds_http *http, const void *bytes, size_t count) {
    (void)client;
    (void)http;
    (void)bytes;
    (void)count;
    return false;
}

#endif
