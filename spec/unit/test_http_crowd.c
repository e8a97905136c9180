/* test_http_crowd.c: many HTTP requests at once, from one thread and from many: who waits, who does not, and who hears
 * nothing more.
 */
#include "http_fixture.h"

/* ---- many at once ------------------------------------------------------------------------------------------------ */

#define CROWD 100

TEST(requests_queue_and_urgent_ones_do_not) {
    static outcome crowd[CROWD];
    set_up(1000);
    atomic_store(&http_most_in_flight, 0);
    atomic_store(&http_await_urgent, true);
    ds_http_request request = request_to("POST", "/counted");
    ds_loop_lock(loop);
    for (int i = 0; i < CROWD; i++) {
        begin(&crowd[i], &request);
    }
    outcome urgent;
    ds_http_request at_once = request_to("POST", "/urgent");
    at_once.urgent = true;
    begin(&urgent, &at_once);
    finish(&urgent);
    CHECK(atomic_load(&http_before_urgent) <= 33);
    for (int i = 0; i < CROWD; i++) {
        finish(&crowd[i]);
        CHECK_EQ_TEXT(crowd[i].body, "counted");
        CHECK_EQ_INT(crowd[i].times, 1);
    }
    ds_loop_unlock(loop);
    CHECK(atomic_load(&http_most_in_flight) <= 32);
    CHECK(atomic_load(&http_most_in_flight) > 8);

    test_case("their time runs while they queue");
    request.timeout_ns = 30 * DS_MS;
    ds_loop_lock(loop);
    for (int i = 0; i < CROWD; i++) {
        begin(&crowd[i], &request);
    }
    int waited = 0;
    for (int i = 0; i < CROWD; i++) {
        finish(&crowd[i]);
        waited += strstr(crowd[i].message, "too many other") != NULL ? 1 : 0;
        CHECK(crowd[i].result.fate != DS_HTTP_ANSWERED || i < 32);
    }
    CHECK(waited > 0);
    ds_loop_unlock(loop);
    tear_down();
}

TEST(cancelled_requests_are_silent_in_every_state) {
    static outcome crowd[CROWD];
    set_up(1000);
    ds_http_request request = request_to("POST", "/counted");
    ds_loop_lock(loop);
    for (int i = 0; i < CROWD; i++) {
        begin(&crowd[i], &request);
        if (i % 4 == 0) {
            world->ops->http_cancel(world, crowd[i].http); /* before it was looked at */
        }
    }
    bool never = false;
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 10 * DS_MS); /* on the wire or queued now */
    for (int i = 1; i < CROWD; i++) {
        if (i % 4 != 0 && !crowd[i].done) {
            world->ops->http_cancel(world, crowd[i].http);
            crowd[i].cancel_after = -1;
        }
    }
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 100 * DS_MS);
    for (int i = 0; i < CROWD; i++) {
        CHECK_EQ_INT(crowd[i].times, i % 4 == 0 || crowd[i].cancel_after == -1 ? 0 : 1);
    }
    ds_endpoint unknown = {.origin = "http://nowhere.invalid:2379"};
    request.endpoint = &unknown;
    begin(&crowd[0], &request);
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 1 * DS_MS);
    if (!crowd[0].done) {
        world->ops->http_cancel(world, crowd[0].http);
    }
    begin(&crowd[1], &request); /* left to the loop's end, look-up and all */
    ds_loop_unlock(loop);
    tear_down();
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

#define WORKERS 6
#define WORK 120

static int work_done[WORKERS];

static void *worker_main(void *argument) {
    int number = *(int *)argument;
    for (int i = 0; i < WORK; i++) {
        ds_http_request request = request_to("POST", "/echo");
        char body[32];
        (void)snprintf(body, sizeof(body), "%d-%d", number, i);
        request.body = body;
        request.body_size = strlen(body);
        request.urgent = i % 7 == 0;
        outcome self;
        ds_loop_lock(loop);
        begin(&self, &request);
        if (i % 3 == 0) {
            ds_loop_unlock(loop);
            if (i % 9 == 0) {
                pause_ms(i % 4);
            }
            ds_loop_lock(loop);
        }
        if (i % 10 == 5 && !self.done) {
            world->ops->http_cancel(world, self.http);
            ds_loop_unlock(loop);
            work_done[number]++;
            continue;
        }
        finish(&self);
        ds_loop_unlock(loop);
        char expected[64];
        (void)snprintf(expected, sizeof(expected), "POST:%s", body);
        work_done[number] += self.result.status == 200 && strcmp(self.body, expected) == 0 ? 1 : 0;
    }
    return NULL;
}

static pthread_mutex_t end_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t end_cond = PTHREAD_COND_INITIALIZER;
static bool ended;

static void on_end(void *argument) {
    (void)argument;
    ds_loop_free(loop);
    pthread_mutex_lock(&end_mutex);
    ended = true;
    (void)pthread_cond_signal(&end_cond);
    pthread_mutex_unlock(&end_mutex);
}

TEST(many_threads_share_a_loop_that_polls) {
    set_up(1000);
    dsync_error error;
    REQUIRE(ds_loop_start(loop, &error));
    converse(true);
    pthread_t threads[WORKERS];
    int numbers[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        numbers[i] = i;
        work_done[i] = 0;
        (void)pthread_create(&threads[i], NULL, worker_main, &numbers[i]);
    }
    for (int i = 0; i < WORKERS; i++) {
        (void)pthread_join(threads[i], NULL);
        CHECK_EQ_INT(work_done[i], WORK);
    }
    /* Nobody waits now: the loop's own thread answers. */
    outcome self;
    ds_http_request request = request_to("GET", "/echo");
    ds_loop_lock(loop);
    begin(&self, &request);
    ds_loop_unlock(loop);
    bool done = false;
    for (int i = 0; i < 1000 && !done; i++) {
        pause_ms(2);
        ds_loop_lock(loop);
        done = self.done;
        ds_loop_unlock(loop);
    }
    CHECK(done);
    CHECK_EQ_TEXT(self.body, "GET:");
    /* The end of a loop cancels what is still under way. */
    ds_loop_lock(loop);
    request.target = "/slow";
    begin(&self, &request);
    CHECK(ds_loop_finish(loop, on_end, NULL));
    ds_loop_unlock(loop);
    pthread_mutex_lock(&end_mutex);
    while (!ended) {
        (void)pthread_cond_wait(&end_cond, &end_mutex);
    }
    pthread_mutex_unlock(&end_mutex);
    CHECK_EQ_INT(self.times, 0);
    server_stop(&remote);
}
