/* curl_late.c: see curl_late.h. Finds the library and its functions; knows nothing of what they do. */
#define DS_CURL_LATE_IMPLEMENTATION
#include <curl/curl.h>

#include "curl_late.h"

#include "../base/base.h"
#include "../base/error.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

ds_curl_table ds_curl;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *missing = "libcurl.so.4"; /* what could not be found; NULL once all is there */

static void *open_library(void) {
    /* The name depends on the TLS library that it was built with. */
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.so"};
    void *library = NULL;
    for (size_t i = 0; i < DS_COUNT(names) && library == NULL; i++) {
        library = dlopen(names[i], RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE); /* its threads may outlive us */
    }
    return library;
}

/* POSIX has functions come as data pointers; ISO C has no cast for that. */
static bool find(void *library, const char *name, void *pointer) {
    void *found = dlsym(library, name);
    memcpy(pointer, &found, sizeof found);
    return found != NULL;
}

static void load(void) {
    void *library = open_library();
    if (library == NULL) {
        return;
    }
#define DS_CURL_FIND(name)                                                                                             \
    if (!find(library, "curl_" #name, &ds_curl.name)) {                                                                \
        missing = "curl_" #name;                                                                                       \
        return;                                                                                                        \
    }
    DS_CURL_FUNCTIONS(DS_CURL_FIND)
    missing = NULL;
}

/* What is missing now may be there at the next try: a process can be out of descriptors for a while. */
bool ds_curl_load(dsync_error *error) {
    pthread_mutex_lock(&mutex);
    if (missing != NULL) {
        load();
    }
    const char *still_missing = missing;
    pthread_mutex_unlock(&mutex);
    if (still_missing != NULL) {
        ds_error_set(error, DSYNC_UNSUPPORTED, "libcurl 7.68 or later is needed and cannot be loaded: no %s",
                     still_missing);
    }
    return still_missing == NULL;
}
