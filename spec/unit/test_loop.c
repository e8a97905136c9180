/* test_loop.c: the event loop: timers, tasks, notifications, and above all that somebody always drives. A lost wake-up
 * shows as a hang, which the alarm in guard() turns into a failure. */
#include "test.h"

#include "../../csrc/net/loop_internal.h"
#include "http_server.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void guard(unsigned seconds) {
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(seconds);
}

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* ---- timers ------------------------------------------------------------------------------------------------------- */

#define MODEL_TIMERS 300

typedef struct model_timer {
    ds_timer timer;
    bool set;
    int fired;
} model_timer;

static int64_t last_fired_at;
static bool fired_in_order;

static void model_fire(ds_timer *timer) {
    model_timer *model = DS_CONTAINER_OF(timer, model_timer, timer);
    model->set = false;
    model->fired++;
    fired_in_order = fired_in_order && timer->index == 0 && timer->at_ns >= last_fired_at;
    last_fired_at = timer->at_ns;
}

TEST(timers_fire_in_order_whatever_is_set_moved_and_stopped) {
    static model_timer model[MODEL_TIMERS];
    ds_timers timers = {NULL, 0};
    uint32_t random = 12345;
    int64_t now = 0;
    fired_in_order = true;
    for (size_t i = 0; i < MODEL_TIMERS; i++) {
        model[i].timer.fire = model_fire;
    }
    for (int step = 0; step < 200000; step++) {
        model_timer *one = &model[next_random(&random) % MODEL_TIMERS];
        if (next_random(&random) % 4 == 0) {
            ds_timers_stop(&timers, &one->timer);
            one->set = false;
        } else {
            ds_timers_set(&timers, &one->timer, now + (int64_t)(next_random(&random) % 1000));
            one->set = true;
        }
        if (step % 10 == 0) {
            now += 7;
            last_fired_at = 0;
            ds_timers_run(&timers, now);
        }
        if (step % 1000 == 0) {
            size_t set = 0;
            int64_t least = DS_NEVER;
            for (size_t i = 0; i < MODEL_TIMERS; i++) {
                set += model[i].set ? 1u : 0u;
                least = model[i].set && model[i].timer.at_ns < least ? model[i].timer.at_ns : least;
                REQUIRE(model[i].set == (model[i].timer.index != 0));
            }
            REQUIRE(set == timers.count);
            REQUIRE(ds_timers_next(&timers) == least);
            REQUIRE(least > now || least == DS_NEVER);
        }
    }
    CHECK(fired_in_order);
}

static int endless_count;
static ds_timers endless_timers;

static void endless_fire(ds_timer *timer) {
    endless_count++;
    ds_timers_set(&endless_timers, timer, 0);
}

TEST(a_timer_that_sets_itself_to_the_past_does_not_hang_the_loop) {
    ds_timer timer = {.fire = endless_fire};
    ds_timers_set(&endless_timers, &timer, 0);
    ds_timers_run(&endless_timers, 100);
    CHECK_EQ_INT(endless_count, 1);
    ds_timers_stop(&endless_timers, &timer);
}

/* ---- a loop to play with ------------------------------------------------------------------------------------------ */

typedef struct flag {
    ds_timer timer;
    ds_task task;
    ds_loop *loop;
    bool done;
    pthread_t by;
} flag;

static void raise_by_timer(ds_timer *timer) {
    flag *self = DS_CONTAINER_OF(timer, flag, timer);
    self->done = true;
    self->by = pthread_self();
}

static void raise_by_task(ds_task *task) {
    flag *self = DS_CONTAINER_OF(task, flag, task);
    self->done = true;
    self->by = pthread_self();
}

static void flag_init(flag *self, ds_loop *loop) {
    memset(self, 0, sizeof(*self));
    self->loop = loop;
    self->timer.fire = raise_by_timer;
    self->task.run = raise_by_task;
    ds_list_init(&self->task.node);
}

static ds_loop *loop_new(bool network, bool start) {
    dsync_error error = {DSYNC_OK, ""};
    ds_http_config config = {.connect_timeout_ms = 1000};
    ds_loop *loop = ds_loop_new(network ? &config : NULL, &error);
    if (loop == NULL || (start && !ds_loop_start(loop, &error))) {
        printf("%s\n", error.message);
        abort();
    }
    return loop;
}

typedef struct ending {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool over;
    pthread_t thread;
    ds_loop *loop;
} ending;

static void over(void *argument) {
    ending *end = argument;
    ds_loop_free(end->loop);
    pthread_mutex_lock(&end->mutex);
    end->over = true;
    end->thread = pthread_self();
    (void)pthread_cond_signal(&end->cond);
    pthread_mutex_unlock(&end->mutex);
}

/* Ends and frees the loop and waits until that has happened. True: there was no thread to do it. */
static bool loop_end(ds_loop *loop) {
    ending end = {.loop = loop};
    (void)pthread_mutex_init(&end.mutex, NULL);
    (void)pthread_cond_init(&end.cond, NULL);
    ds_loop_lock(loop);
    bool threaded = ds_loop_finish(loop, over, &end);
    ds_loop_unlock(loop);
    if (!threaded) {
        ds_loop_free(loop);
        return true;
    }
    pthread_mutex_lock(&end.mutex);
    while (!end.over) {
        (void)pthread_cond_wait(&end.cond, &end.mutex);
    }
    pthread_mutex_unlock(&end.mutex);
    (void)pthread_mutex_destroy(&end.mutex);
    (void)pthread_cond_destroy(&end.cond);
    return pthread_equal(end.thread, pthread_self()) != 0;
}

/* A server that never ends its answer: an open stream, as a watch is. */
static bool endless_answer(server_request *request) {
    char byte;
    (void)server_say(request->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    return recv(request->fd, &byte, 1, 0) > 0;
}

typedef struct stream {
    ds_http_sink sink;
    ds_http *http;
    bool begun;
} stream;

static void stream_data(ds_http_sink *sink, const char *bytes, size_t count) {
    (void)bytes;
    (void)count;
    DS_CONTAINER_OF(sink, stream, sink)->begun = true;
}

static void stream_done(ds_http_sink *sink, const ds_http_result *result) {
    (void)result;
    DS_CONTAINER_OF(sink, stream, sink)->http = NULL;
}

static void stream_open(stream *self, ds_loop *loop, ds_endpoint *endpoint) {
    ds_http_request request = {.endpoint = endpoint,
                               .method = "GET",
                               .target = "/",
                               .reply_max = 1000,
                               .timeout_ns = DS_NEVER,
                               .stream = true};
    memset(self, 0, sizeof(*self));
    self->sink.on_data = stream_data;
    self->sink.on_done = stream_done;
    self->http = ds_loop_world(loop)->ops->http_start(ds_loop_world(loop), &request, &self->sink);
}

static void origin_of(const server *from, char *out, size_t size) {
    (void)snprintf(out, size, "http://127.0.0.1:%d", from->port);
}

static void pause_ms(int ms) {
    (void)usleep((useconds_t)ms * 1000);
}

/* ---- one thread --------------------------------------------------------------------------------------------------- */

TEST(a_blocked_caller_drives_the_loop_without_any_thread) {
    guard(20);
    for (int network = 0; network < 2; network++) {
        ds_loop *loop = loop_new(network == 1, false);
        flag one;
        flag_init(&one, loop);
        ds_loop_lock(loop);
        int64_t begun = ds_clock_ns();
        ds_timer_set(ds_loop_world(loop), &one.timer, begun + 30 * DS_MS);
        CHECK(ds_loop_wait(loop, &one.done, DS_NEVER));
        int64_t took = ds_clock_ns() - begun;
        ds_loop_unlock(loop);
        CHECK(took >= 30 * DS_MS && took < 200 * DS_MS);
        CHECK(pthread_equal(one.by, pthread_self()));
        CHECK(loop_end(loop));
    }
}

TEST(a_wait_ends_at_its_time) {
    guard(20);
    for (int threaded = 0; threaded < 2; threaded++) {
        ds_loop *loop = loop_new(true, threaded == 1);
        bool never = false;
        ds_loop_lock(loop);
        int64_t begun = ds_clock_ns();
        CHECK(!ds_loop_wait(loop, &never, begun + 50 * DS_MS));
        int64_t took = ds_clock_ns() - begun;
        CHECK(!ds_loop_wait(loop, &never, 0));
        ds_loop_unlock(loop);
        CHECK(took >= 50 * DS_MS && took < 150 * DS_MS);
        CHECK_EQ_INT(loop_end(loop), threaded == 0);
    }
}

TEST(posted_tasks_run_at_unlock_and_inside_wait) {
    guard(20);
    ds_loop *loop = loop_new(false, false);
    ds_world *world = ds_loop_world(loop);
    flag one;
    flag_init(&one, loop);
    ds_loop_lock(loop);
    ds_post(world, &one.task);
    ds_post(world, &one.task);
    CHECK(!one.done);
    ds_loop_unlock(loop);
    CHECK(one.done);
    flag_init(&one, loop);
    ds_loop_lock(loop);
    ds_post(world, &one.task);
    ds_list_remove(&one.task.node);
    ds_post(world, &one.task);
    CHECK(ds_loop_wait(loop, &one.done, 0));
    ds_loop_unlock(loop);
    CHECK(loop_end(loop));
}

TEST(a_notified_task_can_be_taken_back) {
    guard(20);
    ds_loop *loop = loop_new(false, false);
    ds_world *world = ds_loop_world(loop);
    flag one;
    flag_init(&one, loop);
    world->ops->notify(world, &one.task);
    ds_loop_lock(loop);
    ds_take_back(world, &one.task);
    CHECK(!ds_loop_wait(loop, &one.done, ds_clock_ns() + 20 * DS_MS));
    world->ops->notify(world, &one.task);
    CHECK(ds_loop_wait(loop, &one.done, DS_NEVER));
    ds_loop_unlock(loop);
    CHECK(loop_end(loop));
}

TEST(random_differs) {
    ds_loop *loop = loop_new(false, false);
    unsigned char a[32] = {0};
    unsigned char b[32] = {0};
    ds_world *world = ds_loop_world(loop);
    world->ops->random(world, a, sizeof(a));
    world->ops->random(world, b, sizeof(b));
    CHECK(memcmp(a, b, sizeof(a)) != 0);
    CHECK(world->ops->wall_ms(world) > INT64_C(1600000000000));
    CHECK(ds_now(world) > 0);
    CHECK(loop_end(loop));
}

/* ---- two threads -------------------------------------------------------------------------------------------------- */

TEST(the_thread_fires_timers_when_nobody_drives) {
    guard(20);
    for (int network = 0; network < 2; network++) {
        ds_loop *loop = loop_new(network == 1, true);
        flag one;
        flag_init(&one, loop);
        pause_ms(20); /* it sleeps by now, without a timer */
        ds_loop_lock(loop);
        ds_timer_set(ds_loop_world(loop), &one.timer, ds_clock_ns() + 20 * DS_MS);
        ds_loop_unlock(loop);
        bool done = false;
        for (int i = 0; i < 100 && !done; i++) {
            pause_ms(2);
            ds_loop_lock(loop);
            done = one.done;
            ds_loop_unlock(loop);
        }
        CHECK(done);
        CHECK(!pthread_equal(one.by, pthread_self()));
        CHECK(!ds_loop_on_own_thread(loop));
        CHECK(!loop_end(loop));
    }
}

static void *notify_main(void *argument) {
    flag *one = argument;
    pause_ms(20);
    ds_world *world = ds_loop_world(one->loop);
    world->ops->notify(world, &one->task);
    return NULL;
}

TEST(notify_wakes_whoever_sleeps) {
    guard(20);
    for (int mode = 0; mode < 4; mode++) {
        test_case("network %d, thread %d", mode & 1, mode >> 1);
        ds_loop *loop = loop_new((mode & 1) != 0, (mode & 2) != 0);
        flag one;
        flag_init(&one, loop);
        pthread_t thread;
        (void)pthread_create(&thread, NULL, notify_main, &one);
        ds_loop_lock(loop);
        int64_t begun = ds_clock_ns();
        CHECK(ds_loop_wait(loop, &one.done, DS_NEVER));
        CHECK(ds_clock_ns() - begun < 300 * DS_MS);
        ds_loop_unlock(loop);
        (void)pthread_join(thread, NULL);
        (void)loop_end(loop);
    }
}

TEST(a_caller_takes_the_loop_over_from_a_polling_thread_and_gives_it_back) {
    guard(30);
    server remote;
    REQUIRE(server_start(&remote, NULL, endless_answer, NULL));
    char origin[64];
    origin_of(&remote, origin, sizeof(origin));
    ds_endpoint endpoint = {.origin = origin};
    ds_loop *loop = loop_new(true, true);
    stream watch;
    ds_loop_lock(loop);
    stream_open(&watch, loop, &endpoint);
    REQUIRE(watch.http != NULL);
    CHECK(ds_loop_wait(loop, &watch.begun, ds_clock_ns() + 5 * DS_SECOND));
    ds_loop_unlock(loop);
    for (int round = 0; round < 50; round++) {
        flag one;
        flag_init(&one, loop);
        pause_ms(round % 7); /* the thread polls, naps or is on its way */
        ds_loop_lock(loop);
        ds_timer_set(ds_loop_world(loop), &one.timer, ds_clock_ns() + (round % 3) * DS_MS);
        CHECK(ds_loop_wait(loop, &one.done, ds_clock_ns() + 5 * DS_SECOND));
        ds_loop_unlock(loop);
    }
    ds_loop_lock(loop);
    ds_loop_world(loop)->ops->http_cancel(ds_loop_world(loop), watch.http);
    ds_loop_unlock(loop);
    CHECK(!loop_end(loop));
    server_stop(&remote);
}

static void *raise_main(void *argument) {
    flag *one = argument;
    pause_ms(30);
    ds_loop_lock(one->loop);
    one->done = true;
    ds_loop_unlock(one->loop);
    return NULL;
}

TEST(a_caller_hears_what_another_thread_did_under_the_mutex) {
    guard(20);
    for (int network = 0; network < 2; network++) {
        ds_loop *loop = loop_new(network == 1, true);
        flag one;
        flag_init(&one, loop);
        pthread_t thread;
        (void)pthread_create(&thread, NULL, raise_main, &one);
        ds_loop_lock(loop);
        int64_t begun = ds_clock_ns();
        CHECK(ds_loop_wait(loop, &one.done, DS_NEVER));
        CHECK(ds_clock_ns() - begun < 200 * DS_MS);
        ds_loop_unlock(loop);
        (void)pthread_join(thread, NULL);
        (void)loop_end(loop);
    }
}

/* One caller sleeps as the driver, another one comes. */
typedef struct second {
    flag *flag;
    int64_t due_ns, until_ns, took_ns;
    bool done;
} second;

static void *second_main(void *argument) {
    second *self = argument;
    ds_loop *shared = self->flag->loop;
    pause_ms(30);
    ds_loop_lock(shared);
    int64_t begun = ds_clock_ns();
    ds_timer_set(ds_loop_world(shared), &self->flag->timer, begun + self->due_ns);
    self->done = ds_loop_wait(shared, &self->flag->done, begun + self->until_ns);
    self->took_ns = ds_clock_ns() - begun;
    ds_loop_unlock(shared);
    return NULL;
}

/* The first caller waits for `first_ns`; how long does the second take whose timer is due at `due_ns`? */
static int64_t second_caller_takes(bool network, int64_t first_ns, int64_t due_ns) {
    ds_loop *loop = loop_new(network, false);
    flag one;
    flag_init(&one, loop);
    second other = {.flag = &one, .due_ns = due_ns, .until_ns = 5 * DS_SECOND};
    pthread_t thread;
    bool never = false;
    (void)pthread_create(&thread, NULL, second_main, &other);
    ds_loop_lock(loop);
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + first_ns);
    ds_loop_unlock(loop);
    (void)pthread_join(thread, NULL);
    CHECK(other.done);
    (void)loop_end(loop);
    return other.took_ns;
}

TEST(what_a_second_caller_asks_for_reaches_the_sleeping_driver) {
    guard(20);
    for (int network = 0; network < 2; network++) {
        CHECK(second_caller_takes(network == 1, 900 * DS_MS, 20 * DS_MS) < 200 * DS_MS);
    }
}

TEST(a_driver_that_leaves_hands_the_loop_to_the_next_caller) {
    guard(20);
    for (int network = 0; network < 2; network++) {
        CHECK(second_caller_takes(network == 1, 60 * DS_MS, 100 * DS_MS) < 300 * DS_MS);
    }
}

/* ---- many --------------------------------------------------------------------------------------------------------- */

#define CROWD 8
#define ROUNDS 150

typedef struct crowd_member {
    ds_loop *loop;
    pthread_t thread;
    uint32_t random;
    int late;
} crowd_member;

static void *crowd_main(void *argument) {
    crowd_member *self = argument;
    ds_world *world = ds_loop_world(self->loop);
    for (int round = 0; round < ROUNDS; round++) {
        flag one;
        flag_init(&one, self->loop);
        uint32_t dice = next_random(&self->random);
        ds_loop_lock(self->loop);
        int64_t due = ds_clock_ns() + (int64_t)(dice % 3000) * 1000;
        ds_timer_set(world, &one.timer, due);
        if (dice % 5 == 0) {
            ds_loop_unlock(self->loop); /* as an asynchronous start followed by a wait does */
            ds_loop_lock(self->loop);
        }
        if (!ds_loop_wait(self->loop, &one.done, ds_clock_ns() + 5 * DS_SECOND)) {
            self->late++;
            ds_timer_stop(world, &one.timer);
        }
        ds_loop_unlock(self->loop);
        if (dice % 11 == 0) {
            pause_ms((int)(dice % 6));
        }
    }
    return NULL;
}

static void crowd_run(ds_loop *loop) {
    static crowd_member crowd[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i] = (crowd_member){.loop = loop, .random = 77u + i};
        (void)pthread_create(&crowd[i].thread, NULL, crowd_main, &crowd[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        (void)pthread_join(crowd[i].thread, NULL);
        CHECK_EQ_INT(crowd[i].late, 0);
    }
}

TEST(many_blocked_callers_all_get_their_turn) {
    guard(60);
    for (int mode = 0; mode < 4; mode++) {
        test_case("network %d, thread %d", mode & 1, mode >> 1);
        ds_loop *loop = loop_new((mode & 1) != 0, (mode & 2) != 0);
        crowd_run(loop);
        (void)loop_end(loop);
    }
}

TEST(many_blocked_callers_beside_an_open_stream) {
    guard(60);
    server remote;
    REQUIRE(server_start(&remote, NULL, endless_answer, NULL));
    char origin[64];
    origin_of(&remote, origin, sizeof(origin));
    ds_endpoint endpoint = {.origin = origin};
    ds_loop *loop = loop_new(true, true);
    stream watch;
    ds_loop_lock(loop);
    stream_open(&watch, loop, &endpoint);
    CHECK(ds_loop_wait(loop, &watch.begun, ds_clock_ns() + 5 * DS_SECOND));
    ds_loop_unlock(loop);
    crowd_run(loop);
    (void)loop_end(loop);
    server_stop(&remote);
}

/* Two loops whose threads wake each other in turn, holding a mutex of their own and their loop's meanwhile: the order of
 * locks that a store inside the process has. */
typedef struct player {
    ds_loop *loop;
    struct player *other;
    ds_task ball;
    ds_task serve;
    pthread_mutex_t *store;
    int hits;
    int64_t last_ns, longest_ns;
    bool over;
} player;

#define RALLY 10000

static void return_ball(ds_task *task) {
    player *self = DS_CONTAINER_OF(task, player, ball);
    pthread_mutex_lock(self->store);
    self->over = ++self->hits >= RALLY;
    int64_t now = ds_clock_ns();
    if (self->last_ns != 0 && now - self->last_ns > self->longest_ns) {
        self->longest_ns = now - self->last_ns;
    }
    self->last_ns = now;
    ds_world *world = ds_loop_world(self->other->loop);
    world->ops->notify(world, &self->other->ball);
    pthread_mutex_unlock(self->store);
}

static void *player_main(void *argument) {
    player *self = argument;
    ds_loop_lock(self->loop);
    bool over_in_time = ds_loop_wait(self->loop, &self->over, ds_clock_ns() + 40 * DS_SECOND);
    ds_loop_unlock(self->loop);
    return over_in_time ? self : NULL;
}

TEST(two_loops_notify_each_other_under_their_own_mutexes) {
    guard(60);
    for (int blocked = 0; blocked < 2; blocked++) {
        pthread_mutex_t store;
        (void)pthread_mutex_init(&store, NULL);
        player a = {.loop = loop_new(false, true), .ball = {.run = return_ball}, .store = &store};
        player b = {.loop = loop_new(true, true), .ball = {.run = return_ball}, .store = &store, .other = &a};
        a.other = &b;
        ds_list_init(&a.ball.node);
        ds_list_init(&b.ball.node);
        pthread_t threads[2];
        void *ok[2] = {NULL, NULL};
        ds_loop_world(a.loop)->ops->notify(ds_loop_world(a.loop), &a.ball);
        if (blocked == 1) {
            (void)pthread_create(&threads[0], NULL, player_main, &a);
            (void)pthread_create(&threads[1], NULL, player_main, &b);
            (void)pthread_join(threads[0], &ok[0]);
            (void)pthread_join(threads[1], &ok[1]);
        } else {
            for (int i = 0; i < 2000 && (ok[0] == NULL || ok[1] == NULL); i++) {
                pause_ms(5);
                ds_loop_lock(a.loop);
                ok[0] = a.over ? &a : NULL;
                ds_loop_unlock(a.loop);
                ds_loop_lock(b.loop);
                ok[1] = b.over ? &b : NULL;
                ds_loop_unlock(b.loop);
            }
        }
        CHECK(ok[0] != NULL && ok[1] != NULL);
        /* The ball still flies: catch it before a loop goes away. */
        player *both[2] = {&a, &b};
        for (int i = 0; i < 2; i++) {
            ds_loop_lock(both[i]->loop);
        }
        for (int i = 0; i < 2; i++) {
            ds_take_back(ds_loop_world(both[i]->loop), &both[i]->ball);
        }
        for (int i = 0; i < 2; i++) {
            ds_loop_unlock(both[i]->loop);
        }
        (void)loop_end(a.loop);
        (void)loop_end(b.loop);
        /* A notification that nobody heard is found a second later. */
        CHECK(a.longest_ns < 900 * DS_MS && b.longest_ns < 900 * DS_MS);
        (void)pthread_mutex_destroy(&store);
    }
}

/* ---- costs and manners -------------------------------------------------------------------------------------------- */

/* Reads a line of the status of the thread called "dsync". ULLONG_MAX: there is no such thread. */
static unsigned long long thread_status(const char *field, int base) {
    DIR *folder = opendir("/proc/self/task");
    struct dirent *entry;
    unsigned long long value = ULLONG_MAX;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char path[300];
        char line[200];
        bool ours = false;
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "re");
        while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
            ours = ours || strcmp(line, "Name:\tdsync\n") == 0;
            if (ours && strncmp(line, field, strlen(field)) == 0) {
                value = strtoull(line + strlen(field) + 1, NULL, base);
            }
        }
        if (status != NULL) {
            (void)fclose(status);
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return value;
}

TEST(the_thread_hears_no_signals_but_the_synchronous_ones) {
    guard(20);
    ds_loop *loop = loop_new(false, true);
    pause_ms(50);
    unsigned long long blocked = thread_status("SigBlk:", 16);
    const int open[] = {SIGILL, SIGFPE, SIGSEGV, SIGBUS};
    const int closed[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGALRM, SIGCHLD, SIGPIPE, SIGPROF};
    for (size_t i = 0; i < DS_COUNT(open); i++) {
        CHECK((blocked >> (open[i] - 1) & 1u) == 0);
    }
    for (size_t i = 0; i < DS_COUNT(closed); i++) {
        CHECK((blocked >> (closed[i] - 1) & 1u) == 1);
    }
    sigset_t mine;
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mine);
    CHECK(sigismember(&mine, SIGUSR1) == 0);
    (void)loop_end(loop);
}

static long switches_of_this_thread(void) {
    FILE *status = fopen("/proc/thread-self/status", "re");
    char line[200];
    long value = -1;
    while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0) {
            value = strtol(line + 24, NULL, 10);
        }
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return value;
}

TEST(an_idle_loop_with_an_open_stream_hardly_wakes_up) {
    guard(30);
    server remote;
    REQUIRE(server_start(&remote, NULL, endless_answer, NULL));
    char origin[64];
    origin_of(&remote, origin, sizeof(origin));
    ds_endpoint endpoint = {.origin = origin};
    ds_loop *loop = loop_new(true, true);
    stream watch;
    flag far_away;
    flag_init(&far_away, loop);
    ds_loop_lock(loop);
    stream_open(&watch, loop, &endpoint);
    ds_timer_set(ds_loop_world(loop), &far_away.timer, ds_clock_ns() + 3600 * DS_SECOND);
    CHECK(ds_loop_wait(loop, &watch.begun, ds_clock_ns() + 5 * DS_SECOND));
    ds_loop_unlock(loop);

    pause_ms(300);
    unsigned long long idle = thread_status("voluntary_ctxt_switches:", 10);
    pause_ms(2000);
    idle = thread_status("voluntary_ctxt_switches:", 10) - idle;
    CHECK(idle < 10);

    bool never = false;
    long mine = switches_of_this_thread();
    ds_loop_lock(loop);
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 300 * DS_MS);
    unsigned long long other = thread_status("voluntary_ctxt_switches:", 10);
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 2 * DS_SECOND);
    other = thread_status("voluntary_ctxt_switches:", 10) - other;
    ds_loop_unlock(loop);
    mine = switches_of_this_thread() - mine;
    CHECK(mine < 12);
    CHECK(other < 10);
    (void)loop_end(loop);
    server_stop(&remote);
}

TEST(finish_waits_for_nobody_and_runs_what_was_posted) {
    guard(20);
    for (int network = 0; network < 2; network++) {
        for (int ms = 0; ms < 12; ms += 3) {
            ds_loop *loop = loop_new(network == 1, true);
            flag one;
            flag_init(&one, loop);
            pause_ms(ms);
            ds_loop_lock(loop);
            ds_post(ds_loop_world(loop), &one.task);
            ds_loop_unlock(loop);
            int64_t begun = ds_clock_ns();
            CHECK(!loop_end(loop));
            CHECK(ds_clock_ns() - begun < 500 * DS_MS);
            CHECK(one.done);
        }
    }
}
