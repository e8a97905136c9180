/* stream.c: a connection whose body has no end, both ways at once, and what can befall what comes back on it. */
#include "proxy.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SILENCE (5 * PX_SECOND)

typedef struct stream {
    px_proxy *proxy;
    int client, server;
    px_fault fault;
    size_t left; /* bytes of the server's until it happens */
    bool reset;
} stream;

static bool up(stream *s) {
    char data[16384];
    ssize_t got = recv(s->client, data, sizeof data, 0);
    return got > 0 && px_send(s->server, data, (size_t)got);
}

static void silent(stream *s) {
    int64_t until = px_now() + SILENCE;
    struct pollfd wait = {s->client, POLLIN, 0};
    while (px_now() < until && !atomic_load(&s->proxy->over)) {
        if (poll(&wait, 1, 50) > 0 && !up(s)) {
            return;
        }
    }
}

static bool drip(stream *s, const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (!px_send(s->client, data + i, 1)) {
            return false;
        }
        px_sleep(PX_MS);
    }
    return true;
}

/* False: it is over. */
static bool strike(stream *s, const char *rest, size_t size) {
    static const char noise[] = "\r\n}{\"result\":{\"events\":[\001\002\003";
    px_fault fault = s->fault;
    s->fault = PX_NONE;
    switch (fault) {
    case PX_STREAM_RESET:
        s->reset = true;
        return false;
    case PX_STREAM_SILENT:
        silent(s);
        return false;
    case PX_STREAM_NOISE:
        return px_send(s->client, noise, sizeof noise - 1) && px_send(s->client, rest, size);
    case PX_STREAM_TRICKLE:
        return drip(s, rest, size);
    default:
        return false;
    }
}

static bool down(stream *s) {
    char data[16384];
    ssize_t got = recv(s->server, data, sizeof data, 0);
    if (got <= 0) {
        return false;
    }
    size_t size = (size_t)got;
    if (s->fault == PX_NONE || size <= s->left) {
        s->left -= s->fault == PX_NONE ? 0 : size;
        return px_send(s->client, data, size);
    }
    return px_send(s->client, data, s->left) && strike(s, data + s->left, size - s->left);
}

void px_serve_stream(px_proxy *proxy, int client, px_message *request) {
    uint64_t draw = px_draw(proxy);
    stream s = {.proxy = proxy, .client = client, .server = px_connect(proxy->server_port)};
    s.fault = px_choose(proxy, PX_WATCH, draw);
    s.left = px_mix(~draw) % 900;
    px_count(proxy, s.fault, PX_WATCH);
    struct pollfd both[2] = {{s.client, POLLIN, 0}, {s.server, POLLIN, 0}};
    bool open = s.server >= 0 && px_send(s.server, request->text.data, request->text.size);
    while (open && !atomic_load(&proxy->over)) {
        if (px_now() < atomic_load(&proxy->hole_until)) {
            px_sleep(5 * PX_MS);
            continue;
        }
        if (poll(both, 2, 50) > 0) {
            open = (both[0].revents == 0 || up(&s)) && (both[1].revents == 0 || down(&s));
        }
    }
    if (s.server >= 0) {
        close(s.server);
    }
    if (s.reset) {
        struct linger hard = {1, 0};
        setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
}
