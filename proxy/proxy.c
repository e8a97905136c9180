/* proxy.c: one thread for each connection, and one for each request that is to arrive later. */
#include "proxy.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVER_TIME (10 * PX_SECOND)
#define SILENCE (6 * PX_SECOND) /* longer than any client waits */
#define COURIERS_MAX 400

typedef struct visit {
    px_proxy *proxy;
    int client, server; /* -1: not connected */
    px_message request, reply;
} visit;

static bool in_thread(void *(*run)(void *), void *argument) {
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    bool started = pthread_create(&thread, &attr, run, argument) == 0;
    pthread_attr_destroy(&attr);
    return started;
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

static bool ask(int fd, const char *data, size_t size, px_message *reply) {
    reply->text.size = 0;
    if (reply->text.data != NULL) {
        reply->text.data[0] = '\0';
    }
    return fd >= 0 && px_send(fd, data, size) && px_read(fd, reply, false, px_now() + SERVER_TIME);
}

static void hang_up(visit *l) {
    if (l->server >= 0) {
        close(l->server);
        l->server = -1;
    }
}

/* Until the server has something to say. False: the client has hung up, or everything is over. */
static bool await_answer(const visit *l) {
    struct pollfd both[2] = {{l->server, POLLIN, 0}, {l->client, POLLIN, 0}};
    while (!atomic_load(&l->proxy->over)) {
        int ready = poll(both, 2, 100);
        if (ready > 0 && both[0].revents != 0) {
            return true;
        }
        if (ready != 0) {
            return false;
        }
    }
    return false;
}

/* Sends the request to the server and reads its answer into l->reply. */
static bool execute(visit *l, px_kind kind) {
    bool used = l->server >= 0;
    l->server = used ? l->server : px_connect(l->proxy->server_port);
    bool done = l->server >= 0 && px_send(l->server, l->request.text.data, l->request.size) &&
                (kind != PX_BLOCK || await_answer(l)) && ask(l->server, "", 0, &l->reply);
    if (!done) {
        hang_up(l);
    }
    return done;
}

static bool execute_elsewhere(visit *l) {
    int fd = px_connect(l->proxy->other_port);
    bool done = ask(fd, l->request.text.data, l->request.size, &l->reply);
    if (fd >= 0) {
        close(fd);
    }
    return done;
}

/* ---- late deliveries --------------------------------------------------------------------------------------------- */

typedef struct courier {
    px_proxy *proxy;
    int64_t due_ns;
    size_t size;
    char data[];
} courier;

static void *deliver(void *argument) {
    courier *c = argument;
    px_message reply = {0};
    while (px_now() < c->due_ns && !atomic_load(&c->proxy->hurry)) {
        px_sleep(5 * PX_MS);
    }
    int fd = px_connect(c->proxy->server_port);
    (void)ask(fd, c->data, c->size, &reply);
    if (fd >= 0) {
        close(fd);
    }
    px_free(&reply.text);
    atomic_fetch_sub(&c->proxy->couriers, 1);
    free(c);
    return NULL;
}

/* Most are soon after, when the client has just asked again; some when a release, or the lease itself, may be over. */
int64_t px_lateness(uint64_t draw) {
    static const int64_t most_ms[] = {5, 40, 40, 400, 400, 1500, 8000};
    int64_t most = most_ms[draw % 7];
    return (int64_t)(px_mix(draw) % (uint64_t)most) * PX_MS;
}

static void later(visit *l, uint64_t draw) {
    courier *c = malloc(sizeof *c + l->request.size);
    if (c == NULL || atomic_load(&l->proxy->couriers) >= COURIERS_MAX) {
        free(c);
        return;
    }
    c->proxy = l->proxy;
    c->due_ns = px_now() + px_lateness(draw);
    c->size = l->request.size;
    memcpy(c->data, l->request.text.data, c->size);
    atomic_fetch_add(&l->proxy->couriers, 1);
    if (!in_thread(deliver, c)) {
        atomic_fetch_sub(&l->proxy->couriers, 1);
        free(c);
    }
}

/* ---- what goes back ---------------------------------------------------------------------------------------------- */

static bool pass_on(visit *l) {
    return px_send(l->client, l->reply.text.data, l->reply.size);
}

static void reset(visit *l) {
    px_reset(l->client);
    l->client = -1;
}

/* Until the client hangs up; what it says meanwhile stays unread. */
void px_stay_silent(const px_proxy *proxy, int client) {
    struct pollfd wait = {client, POLLRDHUP, 0};
    int64_t until = px_now() + SILENCE;
    while (px_now() < until && !atomic_load(&proxy->over)) {
        if (poll(&wait, 1, 50) > 0) {
            return;
        }
    }
}

/* After how many bytes: the first number that this kind of answer has not been cut after yet. */
size_t px_next_cut(px_proxy *proxy, px_kind kind, size_t size, uint64_t draw) {
    size_t most = size < PX_OFFSETS ? size : PX_OFFSETS;
    if (atomic_load(&proxy->longest[kind]) < most) {
        atomic_store(&proxy->longest[kind], most);
    }
    for (size_t at = 0; at < most; at++) {
        if (atomic_exchange(&proxy->cut[kind][at], 1) == 0) {
            return at;
        }
    }
    return draw % size;
}

bool px_trickle(int client, const char *data, size_t count, uint64_t draw) {
    size_t step = 1 + draw % 60;
    int64_t pause = (int64_t)(px_mix(draw) % 12) * PX_MS;
    for (size_t at = 0; at < count; at += step) {
        if (!px_send(client, data + at, count - at < step ? count - at : step)) {
            return false;
        }
        px_sleep(pause);
    }
    return true;
}

static bool answer(visit *l, const char *status, const char *type, const char *body, size_t size) {
    char head[320];
    bool moved = status[0] == '3';
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: %s\r\n%sContent-Length: %zu\r\n\r\n", status, type,
             moved ? "Location: http://127.0.0.1:1/elsewhere\r\n" : "", size);
    return px_send(l->client, head, strlen(head)) && px_send(l->client, body, size);
}

static bool answer_page(visit *l, const char *status) {
    static const char page[] = "<!DOCTYPE html><html><body><h1>Sorry</h1></body></html>";
    return answer(l, status, "text/html", page, sizeof page - 1);
}

static bool answer_half(visit *l) {
    const char *body = l->reply.text.data + l->reply.head;
    const char *json = strchr(body, '{'); /* behind a chunk's size, if there is one */
    size_t size = json != NULL ? (l->reply.size - (size_t)(json - l->reply.text.data)) / 2 : 0;
    return answer(l, "200 OK", "application/json", json != NULL ? json : "", size);
}

static bool answer_noise(visit *l, uint64_t draw) {
    unsigned char noise[200];
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (unsigned char)px_mix(draw + i);
    }
    if (draw % 2 == 0) {
        (void)px_send(l->client, noise, sizeof noise);
        return false;
    }
    return answer(l, "200 OK", "application/json", (const char *)noise, sizeof noise);
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static void send_half(visit *l) {
    int fd = px_connect(l->proxy->server_port);
    if (fd >= 0) {
        (void)px_send(fd, l->request.text.data, l->request.size / 2);
        px_reset(fd);
    }
}

/* Faults that keep the request from the server for now. True: this was one; `open` says whether the connection lives
 * on. */
static bool withhold(visit *l, px_fault fault, uint64_t draw, bool *open) {
    *open = false;
    switch (fault) {
    case PX_UNSENT:
        reset(l);
        return true;
    case PX_HALF_SENT:
        send_half(l);
        reset(l);
        return true;
    case PX_LATE_RESET:
        later(l, draw);
        reset(l);
        return true;
    case PX_LATE_SILENT:
        later(l, draw);
        px_stay_silent(l->proxy, l->client);
        return true;
    case PX_STATUS_BEFORE:
        *open = answer_page(l, px_status_line(fault, draw));
        return true;
    default:
        return false;
    }
}

/* The server's answer is in l->reply. */
static bool mistreat(visit *l, px_kind kind, px_fault fault, uint64_t draw) {
    switch (fault) {
    case PX_LOST_AGAIN:
        later(l, draw);
        reset(l);
        return false;
    case PX_LOST_RESET:
        reset(l);
        return false;
    case PX_LOST_SILENT:
        px_stay_silent(l->proxy, l->client);
        return false;
    case PX_CUT_RESET:
    case PX_CUT_CLOSED:
        (void)px_send(l->client, l->reply.text.data, px_next_cut(l->proxy, kind, l->reply.size, draw));
        if (fault == PX_CUT_RESET) {
            px_sleep(2 * PX_MS); /* or the reset overtakes the bytes */
            reset(l);
        }
        return false;
    case PX_TRICKLE:
        return px_trickle(l->client, l->reply.text.data, l->reply.size, draw);
    case PX_DELAYED:
        px_sleep((int64_t)(draw % 700) * PX_MS);
        return pass_on(l);
    case PX_TWICE_SECOND:
        return execute(l, kind) && pass_on(l);
    case PX_ECHO:
        later(l, draw);
        return pass_on(l);
    case PX_STATUS_AFTER:
        return answer_page(l, px_status_line(fault, draw));
    case PX_HTML:
        return answer_page(l, "200 OK");
    case PX_HALF_JSON:
        return answer_half(l);
    case PX_GARBAGE:
        return answer_noise(l, draw);
    case PX_EMPTY:
        return answer(l, "200 OK", "application/json", "", 0);
    case PX_LOST_CLOSED:
        return false;
    default:
        return pass_on(l);
    }
}

static void begin(px_proxy *proxy, uint64_t draw, _Atomic int64_t *until) {
    static const int64_t most_ms[] = {100, 300, 300, 1000, 1000, 4500};
    int64_t length = (int64_t)(px_mix(draw) % (uint64_t)most_ms[draw % 6]) * PX_MS;
    if (atomic_load(&proxy->per_mille) > 0) {
        atomic_store(until, px_now() + length);
    }
}

void px_begin_hole(px_proxy *proxy, px_fault fault, uint64_t draw) {
    if (fault == PX_HOLE) {
        begin(proxy, draw, &proxy->hole_until);
    } else if (fault == PX_REFUSE) {
        begin(proxy, draw, &proxy->refuse_until);
    }
}

void px_wait_in_hole(px_proxy *proxy) {
    while (px_now() < atomic_load(&proxy->hole_until) && !atomic_load(&proxy->over)) {
        px_sleep(5 * PX_MS);
    }
}

/* One request. False: the connection is over. */
static bool serve_one(visit *l, px_kind kind) {
    px_proxy *proxy = l->proxy;
    uint64_t draw = px_draw(proxy);
    px_fault fault = px_choose(proxy, kind, draw);
    bool open;
    draw = px_mix(~draw);
    px_count(proxy, fault, kind);
    px_begin_hole(proxy, fault, draw);
    px_wait_in_hole(proxy);
    if (withhold(l, fault, draw, &open)) {
        return open;
    }
    if (fault == PX_ELSEWHERE) {
        return execute_elsewhere(l) && pass_on(l);
    }
    if (!execute(l, kind)) {
        return false;
    }
    if (fault == PX_TWICE) {
        visit copy = *l;
        copy.reply = (px_message){0};
        (void)execute(&copy, kind);
        px_free(&copy.reply.text);
        l->server = copy.server;
    }
    px_wait_in_hole(proxy);
    return mistreat(l, kind, fault, draw);
}

static void *serve(void *argument) {
    visit *l = argument;
    px_proxy *proxy = l->proxy;
    if (proxy->store->frames || proxy->store->bytes) {
        (proxy->store->frames ? px_serve_frames : px_serve_bytes)(proxy, l->client);
        l->client = -1;
    }
    while (l->client >= 0 && !atomic_load(&proxy->over) &&
           px_read(l->client, &l->request, true, px_now() + 60 * PX_SECOND)) {
        px_kind kind = proxy->store->kind(l->request.text.data, l->request.text.data + l->request.head);
        if (kind == PX_WATCH) {
            px_serve_stream(proxy, l->client, &l->request);
            break;
        }
        if (!serve_one(l, kind)) {
            break;
        }
        px_next(&l->request);
    }
    hang_up(l);
    if (l->client >= 0) {
        close(l->client);
    }
    px_free(&l->request.text);
    px_free(&l->reply.text);
    free(l);
    atomic_fetch_sub(&proxy->connections, 1);
    return NULL;
}

/* ---- listening --------------------------------------------------------------------------------------------------- */

static void welcome(px_proxy *proxy, int fd) {
    int one = 1;
    visit *l = calloc(1, sizeof *l);
    if (l == NULL || px_now() < atomic_load(&proxy->refuse_until)) {
        px_reset(fd);
        free(l);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    l->proxy = proxy;
    l->client = fd;
    l->server = -1;
    atomic_fetch_add(&proxy->connections, 1);
    if (!in_thread(serve, l)) {
        atomic_fetch_sub(&proxy->connections, 1);
        px_reset(fd);
        free(l);
    }
}

static void *listen_on(void *argument) {
    px_proxy *proxy = argument;
    struct pollfd wait = {proxy->listener, POLLIN, 0};
    while (!atomic_load(&proxy->over)) {
        if (poll(&wait, 1, 100) > 0) {
            int fd = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0) {
                welcome(proxy, fd);
            }
        }
    }
    close(proxy->listener);
    atomic_fetch_sub(&proxy->connections, 1);
    return NULL;
}

bool px_start(px_proxy *proxy, const px_store *store, int server_port, int other_port, uint64_t seed) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    proxy->store = store;
    proxy->server_port = server_port;
    proxy->other_port = other_port;
    proxy->seed = seed;
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (proxy->listener < 0 || bind(proxy->listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(proxy->listener, 512) != 0 || getsockname(proxy->listener, (struct sockaddr *)&at, &size) != 0) {
        return false;
    }
    proxy->port = ntohs(at.sin_port);
    atomic_store(&proxy->connections, 1);
    return in_thread(listen_on, proxy);
}

void px_stop(px_proxy *proxy) {
    atomic_store(&proxy->hurry, true);
    atomic_store(&proxy->over, true);
    for (int i = 0; i < 2000 && (atomic_load(&proxy->connections) > 0 || atomic_load(&proxy->couriers) > 0); i++) {
        px_sleep(10 * PX_MS);
    }
}
