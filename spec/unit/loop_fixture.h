/* loop_fixture.h: loops to play with: flags that they raise, streams that stay open, and an end that is waited for. A
 * lost wake-up shows as a hang, which the alarm in guard() turns into a failure.
 */
#ifndef DS_TEST_LOOP_FIXTURE_H
#define DS_TEST_LOOP_FIXTURE_H

#include "test.h"

#include "../../csrc/net/loop.h"
#include "http_server.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

TEST_UNUSED static void guard(unsigned seconds) {
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(seconds);
}

TEST_UNUSED static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

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

TEST_UNUSED static void flag_init(flag *self, ds_loop *loop) {
    memset(self, 0, sizeof(*self));
    self->loop = loop;
    self->timer.fire = raise_by_timer;
    self->task.run = raise_by_task;
    ds_list_init(&self->task.node);
}

TEST_UNUSED static ds_loop *loop_new(bool network, bool start) {
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
TEST_UNUSED static bool loop_end(ds_loop *loop) {
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
TEST_UNUSED static bool endless_answer(server_request *request) {
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

TEST_UNUSED static void stream_open(stream *self, ds_loop *loop, ds_endpoint *endpoint) {
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

TEST_UNUSED static void origin_of(const server *from, char *out, size_t size) {
    (void)snprintf(out, size, "http://127.0.0.1:%d", from->port);
}

TEST_UNUSED static void pause_ms(int ms) {
    (void)usleep((useconds_t)ms * 1000);
}

#endif
