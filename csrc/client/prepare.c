/* prepare.c: loading what a client will need before it is asked for. Opens nothing and reports nothing: dsync_open says
 * what is missing.
 */
#include "../net/http.h"
#include "../base/base.h"
#include "../dsync.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

static void *load(void *argument) {
    (void)argument;
    (void)ds_http_load(NULL);
    return NULL;
}

static bool needs_curl(const char *url) {
    static const char *const schemes[] = {"etcd:", "etcds:", "consul:", "consuls:", "consul+unix:"};
    for (size_t i = 0; url != NULL && i < DS_COUNT(schemes); i++) {
        if (strncmp(url, schemes[i], strlen(schemes[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* A thread with a stack of the usual size: the constructors of other people's libraries run on it. */
void dsync_prepare(const char *url) {
    pthread_attr_t detached;
    if (!needs_curl(url) || pthread_attr_init(&detached) != 0) {
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
