/* test_loop.c: the event loop: timers, tasks, notifications, and above all that somebody always drives, whether there
 * is one thread or two. Crowds of callers are test_loop_crowd.c's, the loop's own thread is test_loop_thread.c's.
 */
#include "loop_fixture.h"

#include "../../csrc/net/loop_internal.h"

/* ---- timers ------------------------------------------------------------------------------------------------------ */

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

/* ---- one thread -------------------------------------------------------------------------------------------------- */

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
        CHECK(took >= 30 * DS_MS);
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
        CHECK(took >= 50 * DS_MS);
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

/* ---- two threads ------------------------------------------------------------------------------------------------- */

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
        CHECK(ds_clock_ns() - begun < 900 * DS_MS); /* what nobody heard is found a second later */
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
        CHECK(ds_clock_ns() - begun < 900 * DS_MS);
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
        CHECK(second_caller_takes(network == 1, 2 * DS_SECOND, 20 * DS_MS) < 1900 * DS_MS);
    }
}

TEST(a_driver_that_leaves_hands_the_loop_to_the_next_caller) {
    guard(20);
    for (int network = 0; network < 2; network++) {
        CHECK(second_caller_takes(network == 1, 60 * DS_MS, 100 * DS_MS) < 4 * DS_SECOND);
    }
}
