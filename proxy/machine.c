/* machine.c: how late this machine is: how long threads of this process that could have run were not let run. The
 * kernel counts that for each thread; what it does not know, such as a host that stops the whole machine, a sleeper
 * notices.
 */
#include "campaign.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 4096
#define PERIODS 64 /* remembered; one takes 100 ms at most */

typedef struct thread_wait {
    int id;
    uint64_t waited_ns; /* for a processor, since it began */
} thread_wait;

typedef struct period {
    int64_t until_ns;
    int64_t lag_ns; /* of the thread that fared worst */
} period;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static thread_wait known[THREADS_MAX], fresh[THREADS_MAX];
static size_t known_count;
static period periods[PERIODS];
static unsigned next_period;

static bool waited(const char *id, uint64_t *out) {
    char path[64];
    unsigned long long ran, waiting;
    snprintf(path, sizeof path, "/proc/self/task/%.16s/schedstat", id);
    FILE *file = fopen(path, "re");
    bool read = file != NULL && fscanf(file, "%llu %llu", &ran, &waiting) == 2;
    if (file != NULL) {
        fclose(file);
    }
    *out = read ? waiting : 0;
    return read;
}

static uint64_t waited_before(int id) {
    for (size_t i = 0; i < known_count; i++) {
        if (known[i].id == id) {
            return known[i].waited_ns;
        }
    }
    return 0; /* it has begun since */
}

/* How long the thread that fared worst was kept waiting since the last time. */
static int64_t measure(void) {
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *task;
    size_t count = 0;
    uint64_t worst = 0;
    while (tasks != NULL && count < THREADS_MAX && (task = readdir(tasks)) != NULL) {
        thread_wait now = {.id = (int)strtol(task->d_name, NULL, 10)};
        if (now.id > 0 && waited(task->d_name, &now.waited_ns)) {
            uint64_t since = now.waited_ns - waited_before(now.id);
            worst = since > worst ? since : worst;
            fresh[count++] = now;
        }
    }
    if (tasks != NULL) {
        closedir(tasks);
    }
    memcpy(known, fresh, count * sizeof fresh[0]);
    known_count = count;
    return (int64_t)worst;
}

static void end_period(int64_t slept_over) {
    int64_t lag = measure();
    periods[next_period % PERIODS] = (period){px_now(), lag > slept_over ? lag : slept_over};
    next_period++;
}

void *px_watch_machine(void *unused) {
    (void)unused;
    while (atomic_load(&px.ended) < px.workers) {
        int64_t until = px_now() + 100 * PX_MS, worst = 0;
        while (px_now() < until) {
            int64_t before = px_now();
            px_sleep(5 * PX_MS);
            int64_t lag = px_now() - before - 5 * PX_MS;
            worst = lag > worst ? lag : worst;
        }
        pthread_mutex_lock(&mutex);
        end_period(worst);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

int64_t px_machine_lag(int64_t since_ns) {
    int64_t sum = 0;
    pthread_mutex_lock(&mutex);
    end_period(0);
    for (int i = 0; i < PERIODS; i++) {
        sum += periods[i].until_ns > since_ns ? periods[i].lag_ns : 0;
    }
    pthread_mutex_unlock(&mutex);
    return sum;
}
