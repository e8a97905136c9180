/* What an uncontended acquire and release costs, beside what a program pays that locks a file with bare system calls: open,
 * flock, unlock, close; in turns, so that both see the same machine. DSYNC_LONG=1: longer. Figures only; no bound. */
#include "rig.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static double cycles_of(dsync_lock *lock, int count) {
    dsync_error error;
    int64_t since = rig_now();
    for (int i = 0; i < count; i++) {
        if (dsync_acquire(lock, NULL, &error) != DSYNC_OK || dsync_release(lock, &error) != DSYNC_OK) {
            (void)fprintf(stderr, "%s\n", error.message);
            return 0;
        }
    }
    return (double)count * 1e9 / (double)(rig_now() - since);
}

static double flocks_of(const char *path, int count) {
    int64_t since = rig_now();
    for (int i = 0; i < count; i++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || flock(fd, LOCK_EX) != 0 || flock(fd, LOCK_UN) != 0 || close(fd) != 0) {
            return 0;
        }
    }
    return (double)count * 1e9 / (double)(rig_now() - since);
}

static int by_size(const void *a, const void *b) {
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

int main(void) {
    enum { ROUNDS = 7 };
    double ours[ROUNDS], theirs[ROUNDS];
    char path[600];
    int count = rig_is_long() ? 40000 : 2000;
    dsync_error error;
    rig *r = rig_new("rate");
    (void)snprintf(path, sizeof(path), "%s.flock", rig_file(r));
    dsync_client *client = dsync_open(r->url, NULL, &error);
    dsync_lock *lock = client != NULL ? dsync_lock_new(client, "a", NULL, &error) : NULL;
    if (lock == NULL || cycles_of(lock, 100) == 0) {
        (void)fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    for (int i = 0; i < ROUNDS; i++) {
        ours[i] = cycles_of(lock, count);
        theirs[i] = flocks_of(path, count);
    }
    qsort(ours, ROUNDS, sizeof(double), by_size);
    qsort(theirs, ROUNDS, sizeof(double), by_size);
    printf("local: %.0f cycles/s (%.1f us), flock: %.0f cycles/s (%.1f us), medians of %d\n", ours[ROUNDS / 2],
           1e6 / ours[ROUNDS / 2], theirs[ROUNDS / 2], 1e6 / theirs[ROUNDS / 2], ROUNDS);
    rig_expect(ours[0] > 0 && theirs[0] > 0, "both ran");
    (void)dsync_close(client, -1, &error);
    dsync_lock_free(lock);
    dsync_client_unref(client);
    rig_free(r);
    return rig_result();
}
