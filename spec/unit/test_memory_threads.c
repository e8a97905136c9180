/* The memory: backend between threads, each with a client and a world of its own, in real time. Meant for
 * ThreadSanitizer as much as for its checks. The worlds here are as small as a world can be. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "../../csrc/backend/backend.h"
#include "test.h"

/* ---- a world on one thread that others can notify ---------------------------------------------------------------- */

typedef struct small_world {
    ds_world base;
    ds_list tasks;
    ds_timer *timer; /* one is all the backend needs */
    uint64_t seed;
    pthread_mutex_t mutex;
    pthread_cond_t more;
    ds_list notified;
} small_world;

static small_world *small(ds_world *world) {
    return DS_CONTAINER_OF(world, small_world, base);
}

static int64_t small_now(ds_world *world) {
    struct timespec t;
    (void)world;
    return clock_gettime(CLOCK_MONOTONIC, &t) == 0 ? t.tv_sec * DS_SECOND + t.tv_nsec : -1;
}

static void small_random(ds_world *world, void *out, size_t size) {
    unsigned char *bytes = out;
    for (size_t i = 0; i < size; i++) {
        small(world)->seed = small(world)->seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        bytes[i] = (unsigned char)(small(world)->seed >> 56);
    }
}

static void small_timer_set(ds_world *world, ds_timer *timer, int64_t at_ns) {
    timer->at_ns = at_ns;
    timer->index = 1;
    small(world)->timer = timer;
}

static void small_timer_stop(ds_world *world, ds_timer *timer) {
    timer->index = 0;
    small(world)->timer = NULL;
}

static void small_post(ds_world *world, ds_task *task) {
    if (ds_list_empty(&task->node)) {
        ds_list_append(&small(world)->tasks, &task->node);
    }
}

static void small_notify(ds_world *world, ds_task *task) {
    pthread_mutex_lock(&small(world)->mutex);
    if (ds_list_empty(&task->node)) {
        ds_list_append(&small(world)->notified, &task->node);
        pthread_cond_signal(&small(world)->more);
    }
    pthread_mutex_unlock(&small(world)->mutex);
}

static void small_take_back(ds_world *world, ds_task *task) {
    pthread_mutex_lock(&small(world)->mutex);
    ds_list_remove(&task->node);
    pthread_mutex_unlock(&small(world)->mutex);
}

static const ds_world_ops small_ops = {
    .now = small_now,
    .random = small_random,
    .timer_set = small_timer_set,
    .timer_stop = small_timer_stop,
    .post = small_post,
    .notify = small_notify,
    .take_back = small_take_back,
};

static void small_init(small_world *world, uint64_t seed) {
    *world = (small_world){.base = {&small_ops}, .seed = seed};
    ds_list_init(&world->tasks);
    ds_list_init(&world->notified);
    pthread_mutex_init(&world->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&world->more, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void small_end(small_world *world) {
    pthread_mutex_destroy(&world->mutex);
    pthread_cond_destroy(&world->more);
}

/* Runs one thing, waiting for it at most until `until_ns`. */
static void small_run_one(small_world *world, int64_t until_ns) {
    int64_t wake_ns = world->timer != NULL && world->timer->at_ns < until_ns ? world->timer->at_ns : until_ns;
    ds_list *node = ds_list_pop(&world->tasks);
    pthread_mutex_lock(&world->mutex);
    while (node == NULL && (node = ds_list_pop(&world->notified)) == NULL && small_now(&world->base) < wake_ns) {
        struct timespec t = {.tv_sec = wake_ns / DS_SECOND, .tv_nsec = wake_ns % DS_SECOND};
        pthread_cond_timedwait(&world->more, &world->mutex, &t);
    }
    pthread_mutex_unlock(&world->mutex);
    if (node != NULL) {
        ds_task *task = DS_LIST_ENTRY(node, ds_task, node);
        task->run(task);
    } else if (world->timer != NULL && small_now(&world->base) >= world->timer->at_ns) {
        ds_timer *timer = world->timer;
        small_timer_stop(&world->base, timer);
        timer->fire(timer);
    }
}

/* ---- workers that take turns ------------------------------------------------------------------------------------- */

enum { WORKERS = 4, ROUNDS = 300 };

static atomic_int inside;
static int64_t last_token; /* guarded by the lock under test */
static unsigned long turns;

typedef struct worker {
    small_world world;
    ds_backend *backend;
    ds_lease lease;
    ds_call call;
    ds_watch ahead, all;
    unsigned number;
    bool answered, hint, bad;
    ds_reply reply;
    char key[160];
    unsigned events;
} worker;

static void on_answer(ds_call *call, const ds_reply *reply) {
    worker *w = DS_CONTAINER_OF(call, worker, call);
    w->answered = true;
    w->reply = *reply;
    (void)snprintf(w->key, sizeof(w->key), "%s", reply->ahead != NULL ? reply->ahead : "");
}

static void on_hint(ds_watch *watch, const ds_watch_event *event) {
    worker *w = DS_CONTAINER_OF(watch, worker, ahead);
    w->hint = w->hint || event->kind != DS_WATCH_READY;
}

static void on_any(ds_watch *watch, const ds_watch_event *event) {
    worker *w = DS_CONTAINER_OF(watch, worker, all);
    w->events++;
    w->bad = w->bad || (event->key != NULL && strncmp(event->key, "p/lock/", 7) != 0);
}

static bool wait_for(worker *w, const bool *flag) {
    int64_t until_ns = small_now(&w->world.base) + 20 * DS_SECOND;
    while (!*flag && small_now(&w->world.base) < until_ns) {
        small_run_one(&w->world, until_ns);
    }
    return *flag;
}

#define ASK(w, op, ...)                                                                                                \
    ((w)->answered = false, (w)->call.done = on_answer, (w)->backend->ops->op((w)->backend, &(w)->call, __VA_ARGS__),  \
     wait_for((w), &(w)->answered))

/* Waits behind whoever is ahead until the entry holds. */
static bool get_in(worker *w, const ds_entry *entry) {
    bool ok = ASK(w, enter, entry, false);
    while (ok && w->reply.place == DS_PLACE_WAITING) {
        w->hint = false;
        w->ahead.on_event = on_hint;
        ds_watch_spec spec = {.key = w->key, .deletes_only = true, .since = w->reply.revision + 1};
        ok = w->backend->ops->watch(w->backend, &w->ahead, &spec);
        ok = ok && wait_for(w, &w->hint);
        w->backend->ops->unwatch(w->backend, &w->ahead);
        ok = ok && ASK(w, check, entry);
    }
    return ok && w->reply.place == DS_PLACE_HELD;
}

static bool take_a_turn(worker *w, unsigned round) {
    ds_entry entry = {.lease = &w->lease, .path = "p/lock/a", .value = "v", .value_size = 1};
    (void)snprintf(entry.nonce, sizeof(entry.nonce), "%08x%08x", w->number, round);
    if (!get_in(w, &entry)) {
        return false;
    }
    entry.token = w->reply.token;
    bool alone = atomic_fetch_add(&inside, 1) == 0 && entry.token > last_token;
    last_token = entry.token;
    turns++;
    atomic_fetch_sub(&inside, 1);
    return ASK(w, leave, &entry) && w->reply.place == DS_PLACE_DONE && alone;
}

static void *work(void *argument) {
    worker *w = argument;
    const char *name = "threads";
    ds_backend_config config = {.endpoints = &name, .endpoint_count = 1};
    dsync_error error;
    small_init(&w->world, w->number + 1);
    w->bad = true;
    w->backend = ds_memory_backend(&w->world.base, &config, &error);
    if (w->backend == NULL) {
        return NULL;
    }
    w->lease = (ds_lease){.nonce = w->number + 1, .prefix = "p", .ttl_ms = 30000, .epoch = 1};
    w->all.on_event = on_any;
    w->bad = !ASK(w, open, &w->lease);
    ds_watch_spec spec = {.key = "p/lock", .subtree = true};
    w->bad = w->bad || !w->backend->ops->watch(w->backend, &w->all, &spec);
    for (unsigned round = 0; round < ROUNDS && !w->bad; round++) {
        w->bad = !take_a_turn(w, round);
    }
    w->bad = !ASK(w, close, &w->lease) || w->bad;
    w->backend->ops->unwatch(w->backend, &w->all);
    w->backend->ops->forget(w->backend, &w->lease);
    w->backend->ops->destroy(w->backend);
    small_end(&w->world);
    return NULL;
}

TEST(threads_take_turns_and_are_woken) {
    static worker workers[WORKERS];
    pthread_t threads[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].number = i;
        REQUIRE(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        test_case("worker %u", i);
        CHECK(!workers[i].bad);
        CHECK(workers[i].events > 0);
    }
    CHECK_EQ_UINT(turns, (unsigned)WORKERS * ROUNDS);
}
