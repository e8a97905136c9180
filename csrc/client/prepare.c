/* prepare.c: loading what a client will need before it is asked for. Opens nothing and reports nothing: dsync_open says
 * what is missing.
 */
#include "../net/h2.h"
#include "../net/http.h"
#include "../base/base.h"
#include "../dsync.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

static void *load_curl(void *argument) {
    (void)argument;
    (void)ds_http_load(NULL);
    return NULL;
}

static void *load_nghttp2(void *argument) {
    if (!ds_h2_load(NULL)) {
        (void)load_curl(argument);
    }
    return NULL;
}

typedef void *loader(void *argument);

static loader *needed(const char *url) {
    static const struct {
        const char *scheme;
        loader *load;
    } rows[] = {{"etcd:", load_nghttp2},
                {"etcds:", load_curl},
                {"consul:", load_curl},
                {"consuls:", load_curl},
                {"consul+unix:", load_curl}};
    for (size_t i = 0; url != NULL && i < DS_COUNT(rows); i++) {
        if (strncmp(url, rows[i].scheme, strlen(rows[i].scheme)) == 0) {
            return rows[i].load;
        }
    }
    return NULL;
}

/* A thread with a stack of the usual size: the constructors of other people's libraries run on it. */
void dsync_prepare(const char *url) {
    pthread_attr_t detached;
    loader *load = needed(url);
    if (load == NULL || pthread_attr_init(&detached) != 0) {
        return;
    }
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED) == 0 &&
        pthread_sigmask(SIG_SETMASK, &all, &before) == 0) {
        pthread_t thread;
        (void)pthread_create(&thread, &detached, load, NULL);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    (void)pthread_attr_destroy(&detached);
}
