/* target_h2.c: HTTP/2 before a hostile server: frames of some sense, frames of none, bytes that are no frames, silence
 * and the end of the connection, while requests are started, fed and cancelled. Each request must end once, in its
 * time, with a result that holds, and nothing may be left behind.
 */
#include "fuzz.h"

#include "../csrc/net/h2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUESTS 6
#define TIMERS 64
#define REQUEST_TIME (3 * DS_SECOND)

typedef struct one {
    ds_http_sink sink;
    ds_http *http;
    int64_t until_ns;
    bool starting;
} one;

static struct {
    ds_world world;
    fz *in;
    int64_t now;
    ds_timer *timers[TIMERS];
    ds_list fds, tasks;
    ds_h2_client *client;
    int listener, server; /* server: its end of the last connection, or -1 */
    one requests[REQUESTS];
    bool running;
} t = {.listener = -1};

static char origin[64];
static ds_endpoint endpoint = {.origin = origin};

/* ---- a world of one's own ---------------------------------------------------------------------------------------- */

static int64_t op_now(ds_world *world) {
    (void)world;
    return t.now;
}

static void op_timer_stop(ds_world *world, ds_timer *timer) {
    (void)world;
    if (timer->index > 0) {
        t.timers[timer->index - 1] = NULL;
        timer->index = 0;
    }
}

static void op_timer_set(ds_world *world, ds_timer *timer, int64_t at_ns) {
    op_timer_stop(world, timer);
    timer->at_ns = at_ns;
    for (size_t i = 0; i < TIMERS && timer->index == 0; i++) {
        if (t.timers[i] == NULL) {
            t.timers[i] = timer;
            timer->index = i + 1;
        }
    }
    FZ_CHECK(timer->index > 0);
}

static void op_post(ds_world *world, ds_task *task) {
    (void)world;
    if (ds_list_empty(&task->node)) {
        ds_list_append(&t.tasks, &task->node);
    }
}

static void op_fd_watch(ds_world *world, ds_fd *fd) {
    (void)world;
    if (ds_list_empty(&fd->node)) {
        ds_list_append(&t.fds, &fd->node);
    }
}

static void op_fd_unwatch(ds_world *world, ds_fd *fd) {
    (void)world;
    ds_list_remove(&fd->node);
}

static const ds_world_ops operations = {.now = op_now,
                                        .timer_set = op_timer_set,
                                        .timer_stop = op_timer_stop,
                                        .post = op_post,
                                        .notify = op_post,
                                        .fd_watch = op_fd_watch,
                                        .fd_unwatch = op_fd_unwatch};

static void look_at_fds(void) {
    ds_fd *fds[16];
    struct pollfd polled[16];
    nfds_t count = 0;
    for (ds_list *node = t.fds.next; node != &t.fds && count < 16; node = node->next) {
        fds[count] = DS_LIST_ENTRY(node, ds_fd, node);
        short events =
            (short)((fds[count]->want & DS_FD_READ ? POLLIN : 0) | (fds[count]->want & DS_FD_WRITE ? POLLOUT : 0));
        polled[count] = (struct pollfd){.fd = fds[count]->fd, .events = events};
        count++;
    }
    if (count == 0 || poll(polled, count, 0) <= 0) {
        return;
    }
    for (nfds_t i = 0; i < count; i++) { /* one may have unwatched another */
        for (ds_list *node = t.fds.next; polled[i].revents != 0 && node != &t.fds; node = node->next) {
            if (DS_LIST_ENTRY(node, ds_fd, node) == fds[i]) {
                fds[i]->ready(fds[i], fds[i]->want);
                break;
            }
        }
    }
}

static void fire_timers(void) {
    for (size_t i = 0; i < TIMERS; i++) {
        ds_timer *timer = t.timers[i];
        if (timer != NULL && timer->at_ns <= t.now) {
            op_timer_stop(&t.world, timer);
            timer->fire(timer);
        }
    }
}

static void settle(void) {
    t.running = true;
    for (int i = 0; i < 4; i++) {
        fire_timers();
        look_at_fds();
        for (int pass = 0; pass < 8 && (pass == 0 || ds_h2_pending(t.client)); pass++) {
            ds_h2_run(t.client);
        }
        int fd = accept4(t.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            if (t.server >= 0) {
                (void)close(t.server);
            }
            t.server = fd;
        }
        char drain[4096];
        while (t.server >= 0 && recv(t.server, drain, sizeof(drain), 0) > 0) {
        }
    }
    t.running = false;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void on_data(ds_http_sink *sink, const char *bytes, size_t count) {
    one *self = DS_CONTAINER_OF(sink, one, sink);
    FZ_CHECK(t.running && self->http != NULL && bytes != NULL && count > 0);
    if (fz_pick(t.in, 8) == 0) {
        ds_h2_cancel(t.client, self->http);
        self->http = NULL;
    }
}

static void on_done(ds_http_sink *sink, const ds_http_result *result) {
    one *self = DS_CONTAINER_OF(sink, one, sink);
    FZ_CHECK(t.running && self->http != NULL && !result->resent);
    FZ_CHECK(result->body == NULL || result->body[result->body_size] == '\0');
    FZ_CHECK((result->message[0] == '\0') == (result->fate == DS_HTTP_ANSWERED));
    FZ_CHECK(!result->not_http2 || result->fate == DS_HTTP_NOT_SENT);
    FZ_CHECK(result->fate != DS_HTTP_ANSWERED || (result->status >= 200 && result->status <= 999));
    if (result->fate != DS_HTTP_ANSWERED) {
        fz_check_message(result->message);
    }
    self->http = NULL;
    one *other = &t.requests[fz_pick(t.in, REQUESTS)];
    if (other->http != NULL && fz_pick(t.in, 4) == 0) {
        ds_h2_cancel(t.client, other->http);
        other->http = NULL;
    }
}

static void start(one *self) {
    unsigned kind = fz_byte(t.in);
    ds_http_request request = {.endpoint = &endpoint,
                               .method = kind & 1 ? "POST" : "GET",
                               .target = "/x",
                               .headers = {"TE: trailers"},
                               .want_headers = {"grpc-status", "x"},
                               .body = "0123456789",
                               .body_size = kind & 2 ? 10 : 0,
                               .reply_max = 100,
                               .timeout_ns = REQUEST_TIME,
                               .urgent = (kind & 4) != 0,
                               .stream = (kind & 8) != 0,
                               .duplex = (kind & 16) != 0,
                               .http2 = true};
    self->sink = (ds_http_sink){on_data, on_done};
    self->until_ns = t.now + REQUEST_TIME;
    self->http = ds_h2_start(t.client, &request, &self->sink);
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static void say(const void *bytes, size_t size) {
    if (t.server >= 0 && size > 0) {
        (void)!send(t.server, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void frame(unsigned type, unsigned flags, uint32_t stream, const void *bytes, size_t size) {
    unsigned char head[9] = {(unsigned char)(size >> 16),   (unsigned char)(size >> 8),   (unsigned char)size,
                             (unsigned char)type,           (unsigned char)flags,         (unsigned char)(stream >> 24),
                             (unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream};
    say(head, sizeof(head));
    say(bytes, size);
}

static void hostile(void) {
    static const char status[] = "\x88"; /* :status 200, from the static table */
    static const char trailer[] = "\x40\x0bgrpc-status\x01"
                                  "0"; /* a literal */
    size_t size;
    uint32_t stream = fz_pick(t.in, 4) == 0 ? fz_byte(t.in) : 1 + 2 * (uint32_t)fz_pick(t.in, REQUESTS);
    unsigned flags = fz_byte(t.in) & 0x0d; /* END_STREAM, END_HEADERS, PADDED */
    switch (fz_pick(t.in, 10)) {
    case 0:
        frame(4, 0, 0, NULL, 0);
        break;
    case 1:
        frame(1, (flags & 1) | 4, stream, status, 1);
        break;
    case 2:
        frame(1, 5, stream, trailer, sizeof(trailer) - 1);
        break;
    case 3: {
        const char *bytes = fz_bytes(t.in, 200, &size);
        frame(0, flags & 1, stream, bytes, size);
        break;
    }
    case 4:
        frame(3, 0, stream, "\0\0\0\7", 4);
        break;
    case 5: {
        unsigned char away[8] = {0, 0, 0, (unsigned char)stream, 0, 0, 0, fz_byte(t.in)};
        frame(7, 0, 0, away, 8);
        break;
    }
    case 6: {
        unsigned char most[6] = {0, (unsigned char)(1 + fz_pick(t.in, 8)), 0, 0, 0, fz_byte(t.in)};
        frame(4, 0, 0, most, 6);
        break;
    }
    case 7: {
        unsigned type = fz_byte(t.in) % 12;
        const char *bytes = fz_bytes(t.in, 60, &size);
        frame(type, fz_byte(t.in), stream, bytes, size);
        break;
    }
    case 8: {
        const char *bytes = fz_bytes(t.in, 60, &size);
        say(bytes, size);
        break;
    }
    default:
        if (t.server >= 0) {
            (void)close(t.server);
            t.server = -1;
        }
        break;
    }
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static void open_listener(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    t.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    FZ_CHECK(bind(t.listener, (struct sockaddr *)&address, size) == 0 && listen(t.listener, 64) == 0);
    (void)getsockname(t.listener, (struct sockaddr *)&address, &size);
    (void)snprintf(origin, sizeof(origin), "http://127.0.0.1:%d", ntohs(address.sin_port));
}

static void act(void) {
    one *self = &t.requests[fz_pick(t.in, REQUESTS)];
    switch (fz_pick(t.in, 8)) {
    case 0:
    case 1:
        if (self->http == NULL) {
            start(self);
        }
        break;
    case 2:
        if (self->http != NULL) {
            (void)ds_h2_send(t.client, self->http, "more", 4);
        }
        break;
    case 3:
        if (self->http != NULL) {
            ds_h2_cancel(t.client, self->http);
            self->http = NULL;
        }
        break;
    case 4:
        t.now += fz_pick(t.in, 4) == 0 ? DS_SECOND : 10 * DS_MS;
        break;
    default:
        hostile();
        break;
    }
}

void fz_target(fz *in) {
    dsync_error error;
    ds_http_config config = {.connect_timeout_ms = 1000};
    if (t.listener < 0) {
        open_listener();
    }
    t.world.ops = &operations;
    t.in = in;
    t.now = DS_SECOND;
    t.server = -1;
    ds_list_init(&t.fds);
    ds_list_init(&t.tasks);
    memset(t.requests, 0, sizeof(t.requests));
    t.client = ds_h2_client_new(&config, &t.world, &error);
    FZ_CHECK(t.client != NULL);
    if (fz_pick(in, 8) != 0) { /* most servers begin well */
        start(&t.requests[0]);
        settle();
        settle();
        frame(4, 0, 0, NULL, 0);
    }
    for (int i = 0; i < 60 && in->left > 0; i++) {
        act();
        settle();
        for (size_t r = 0; r < REQUESTS; r++) {
            FZ_CHECK(t.requests[r].http == NULL || t.now < t.requests[r].until_ns + DS_MS);
        }
    }
    if (fz_flag(in)) {
        t.now += REQUEST_TIME;
        settle();
        for (size_t r = 0; r < REQUESTS; r++) {
            FZ_CHECK(t.requests[r].http == NULL);
        }
    }
    ds_h2_client_free(t.client);
    FZ_CHECK(ds_list_empty(&t.fds));
    for (size_t i = 0; i < TIMERS; i++) {
        FZ_CHECK(t.timers[i] == NULL);
    }
    if (t.server >= 0) {
        (void)close(t.server);
    }
    int fd;
    while ((fd = accept4(t.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        (void)close(fd);
    }
}
