/* test_loop_crowd.c: the event loop with many callers at once, and with another loop that wakes it and is woken: nobody
 * is forgotten.
 */
#include "loop_fixture.h"

/* ---- callers ----------------------------------------------------------------------------------------------------- */

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

/* ---- two loops --------------------------------------------------------------------------------------------------- */

/* Two loops whose threads wake each other in turn, holding a mutex of their own and their loop's meanwhile: the order
 * of locks that a store inside the process has. */
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
