/* machine.c: how late this machine is: how long threads of this process that could have run were not let run. The
 * kernel counts that for each thread; what it does not know, such as a host that stops one processor of the machine,
 * sleepers notice, one on each processor.
 */
#include "campaign.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 4096
#define PERIODS 64 /* remembered; one takes 100 ms at most */
#define SLEEPERS_MAX 64
#define NAP (5 * PX_MS)

typedef struct thread_wait {
    int id;
    uint64_t waited_ns; /* for a processor, since it began */
} thread_wait;

typedef struct period {
    int64_t until_ns;
    int64_t lag_ns; /* of the thread that fared worst */
} period;

/* Sleeps on one processor, a nap at a time. Not known before it sleeps: `until_ns` is 0. */
typedef struct sleeper {
    int processor;
    pthread_t thread;
    _Atomic int64_t until_ns;     /* when the present nap is to end */
    _Atomic int64_t overslept_ns; /* in the naps before, together */
    int64_t counted_ns;
} sleeper;

static sleeper sleepers[SLEEPERS_MAX];
static int sleeper_count;
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

/* How long the sleeper that fared worst overslept since the last time: naps that should have ended count, too. */
static int64_t oversleep(void) {
    int64_t worst = 0;
    for (int i = 0; i < sleeper_count; i++) {
        sleeper *s = &sleepers[i];
        int64_t until = atomic_load(&s->until_ns), now = px_now();
        int64_t overslept = atomic_load(&s->overslept_ns) + (until != 0 && now > until ? now - until : 0);
        int64_t since = overslept - s->counted_ns;
        s->counted_ns = overslept;
        worst = since > worst ? since : worst;
    }
    return worst;
}

static void end_period(void) {
    int64_t waited_ns = measure(), overslept = oversleep();
    periods[next_period % PERIODS] = (period){px_now(), waited_ns > overslept ? waited_ns : overslept};
    next_period++;
}

static void *sleep_on(void *argument) {
    sleeper *s = argument;
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET((size_t)s->processor, &only);
    if (pthread_setaffinity_np(pthread_self(), sizeof only, &only) != 0) {
        return NULL; /* taken from us since */
    }
    while (atomic_load(&px.ended) < px.workers) {
        int64_t until = px_now() + NAP;
        atomic_store(&s->until_ns, until);
        px_sleep(NAP);
        int64_t late = px_now() - until;
        atomic_store(&s->until_ns, 0);
        atomic_fetch_add(&s->overslept_ns, late > 0 ? late : 0);
    }
    return NULL;
}

static void begin_sleepers(void) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE && sleeper_count < SLEEPERS_MAX; cpu++) {
        sleeper *s = &sleepers[sleeper_count];
        s->processor = cpu;
        if (CPU_ISSET((size_t)cpu, &allowed) && pthread_create(&s->thread, NULL, sleep_on, s) == 0) {
            sleeper_count++;
        }
    }
}

void *px_watch_machine(void *unused) {
    (void)unused;
    pthread_mutex_lock(&mutex);
    begin_sleepers();
    pthread_mutex_unlock(&mutex);
    while (atomic_load(&px.ended) < px.workers) {
        px_sleep(100 * PX_MS);
        pthread_mutex_lock(&mutex);
        end_period();
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 0; i < sleeper_count; i++) {
        pthread_join(sleepers[i].thread, NULL);
    }
    return NULL;
}

int64_t px_machine_lag(int64_t since_ns) {
    int64_t sum = 0;
    pthread_mutex_lock(&mutex);
    end_period();
    for (int i = 0; i < PERIODS; i++) {
        sum += periods[i].until_ns > since_ns ? periods[i].lag_ns : 0;
    }
    pthread_mutex_unlock(&mutex);
    return sum;
}
