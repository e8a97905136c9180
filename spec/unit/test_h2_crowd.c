/* test_h2_crowd.c: many requests over HTTP/2 at once, from one thread and from many: they share a connection, wait for
 * each other, and are silent when they are cancelled.
 */
#include "h2_fixture.h"

/* ---- the server's manners ---------------------------------------------------------------------------------------- */

static h2_stream *held[2000]; /* unanswered until "/release" */
static int held_count;

static void serve_release(h2_stream *stream) {
    for (int i = 0; i < held_count; i++) {
        h2_reply(held[i], "200", "released");
    }
    held_count = 0;
    h2_reply(stream, "200", "done");
}

static void serve(h2_stream *stream) {
    const char *path = stream->path;
    if (strcmp(path, "/echo") == 0) {
        h2_more(stream, stream->method, strlen(stream->method));
        h2_more(stream, ":", 1);
        h2_more(stream, stream->body, stream->body_size);
        h2_answer(stream, "200", NULL);
    } else if (strncmp(path, "/bytes/", 7) == 0) {
        stream->reply_size = (size_t)strtoul(path + 7, NULL, 10);
        h2_answer(stream, "200", NULL);
    } else if (strcmp(path, "/hold") == 0) {
        held[held_count++] = stream;
    } else if (strcmp(path, "/release") == 0) {
        serve_release(stream);
    } else if (strcmp(path, "/never") != 0) {
        h2_reply(stream, "404", "no such thing");
    }
}

/* ---- many at once ------------------------------------------------------------------------------------------------ */

#define CROWD 1000

TEST(a_thousand_requests_share_a_connection) {
    static outcome crowd[CROWD];
    set_up(1000, 0, serve);
    ds_http_request request = request_to("/echo");
    request.body = "x";
    request.body_size = 1;
    for (int round = 0; round < 2; round++) {
        ds_loop_lock(loop);
        for (int i = 0; i < CROWD; i++) {
            begin(&crowd[i], &request);
        }
        for (int i = 0; i < CROWD; i++) {
            finish(&crowd[i]);
            CHECK_EQ_TEXT(crowd[i].body, "POST:x");
            CHECK_EQ_INT(crowd[i].times, 1);
        }
        ds_loop_unlock(loop);
    }
    CHECK_EQ_INT(atomic_load(&remote.accepted), 1);
    CHECK_EQ_INT(atomic_load(&remote.requests), 2 * CROWD);
    tear_down();
}

TEST(more_than_the_server_takes_at_once_wait_and_the_urgent_first) {
    static outcome crowd[40];
    set_up(1000, 10, serve);
    ds_http_request request = request_to("/hold");
    ds_loop_lock(loop);
    for (size_t i = 0; i < 8; i++) {
        begin(&crowd[i], &request);
    }
    while (atomic_load(&remote.requests) < 8) {
        drive_ms(1);
    }
    request.target = "/echo";
    for (size_t i = 8; i < 38; i++) {
        begin(&crowd[i], &request);
    }
    request.urgent = true;
    request.target = "/release";
    begin(&crowd[38], &request);
    begin(&crowd[39], &request);
    for (size_t i = 0; i < 40; i++) {
        finish(&crowd[i]);
        CHECK_EQ_INT(crowd[i].result.fate, DS_HTTP_ANSWERED);
    }
    for (size_t i = 8; i < 38; i++) {
        CHECK(crowd[i].order > crowd[38].order);
    }
    CHECK(atomic_load(&remote.most_open) <= 10);
    CHECK_EQ_INT(atomic_load(&remote.accepted), 1);

    test_case("their time runs while they queue");
    request.urgent = false;
    request.target = "/never";
    request.timeout_ns = 50 * DS_MS;
    for (size_t i = 0; i < 20; i++) {
        begin(&crowd[i], &request);
    }
    int queued = 0;
    for (size_t i = 0; i < 20; i++) {
        finish(&crowd[i]);
        bool waited = strstr(crowd[i].message, "too many other") != NULL;
        queued += waited ? 1 : 0;
        CHECK_EQ_INT(crowd[i].result.fate, waited ? DS_HTTP_NOT_SENT : DS_HTTP_UNKNOWN);
    }
    CHECK_EQ_INT(queued, 10);
    ds_loop_unlock(loop);
    tear_down();
}

TEST(cancelled_requests_are_silent_in_every_state) {
    static outcome crowd[60];
    set_up(1000, 20, serve);
    ds_http_request request = request_to("/never");
    ds_loop_lock(loop);
    for (size_t i = 0; i < 60; i++) {
        begin(&crowd[i], &request);
        if (i % 4 == 0) {
            world->ops->http_cancel(world, crowd[i].http); /* before it was looked at */
        }
    }
    while (atomic_load(&remote.requests) < 20) {
        drive_ms(1); /* on a stream or queued now */
    }
    for (size_t i = 1; i < 60; i++) {
        if (i % 4 != 0) {
            world->ops->http_cancel(world, crowd[i].http);
        }
    }
    while (atomic_load(&remote.resets) < 20) {
        drive_ms(1);
    }
    for (size_t i = 0; i < 60; i++) {
        CHECK_EQ_INT(crowd[i].times, 0);
    }
    CHECK_EQ_INT(atomic_load(&remote.requests), 20);
    ds_loop_unlock(loop);
    outcome got = post("/echo");
    CHECK_EQ_TEXT(got.body, "POST:");

    test_case("from its own piece");
    request = request_to("/bytes/1000000");
    request.stream = true;
    ds_loop_lock(loop);
    begin(&crowd[0], &request);
    crowd[0].cancel_after = 2;
    finish(&crowd[0]);
    drive_ms(20);
    CHECK_EQ_INT(crowd[0].pieces, 2);
    CHECK_EQ_INT(crowd[0].times, 0);
    begin(&crowd[1], &request); /* left to the loop's end */
    drive_ms(1);
    begin(&crowd[2], &request);
    ds_loop_unlock(loop);
    tear_down();
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

#define WORKERS 6
#define WORK 200

static int work_done[WORKERS];

static void *worker_main(void *argument) {
    int number = *(int *)argument;
    for (int i = 0; i < WORK; i++) {
        ds_http_request request = request_to("/echo");
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
                (void)usleep((useconds_t)(i % 4) * 1000);
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
    set_up(1000, 0, serve);
    dsync_error error;
    REQUIRE(ds_loop_start(loop, &error));
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
    CHECK_EQ_INT(atomic_load(&remote.accepted), 1);
    /* Nobody waits now: the loop's own thread answers. */
    outcome self;
    ds_http_request request = request_to("/echo");
    ds_loop_lock(loop);
    begin(&self, &request);
    ds_loop_unlock(loop);
    bool done = false;
    for (int i = 0; i < 1000 && !done; i++) {
        (void)usleep(2000);
        ds_loop_lock(loop);
        done = self.done;
        ds_loop_unlock(loop);
    }
    CHECK(done);
    CHECK_EQ_TEXT(self.body, "POST:");
    /* The end of a loop cancels what is still under way. */
    request.target = "/never";
    ds_loop_lock(loop);
    begin(&self, &request);
    CHECK(ds_loop_finish(loop, on_end, NULL));
    ds_loop_unlock(loop);
    pthread_mutex_lock(&end_mutex);
    while (!ended) {
        (void)pthread_cond_wait(&end_cond, &end_mutex);
    }
    pthread_mutex_unlock(&end_mutex);
    CHECK_EQ_INT(self.times, 0);
    h2_server_stop(&remote);
}
