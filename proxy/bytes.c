/* bytes.c: connections of which nothing is understood (gRPC's): what comes at once, from either side, is held back,
 * cut, or passed on. All requests of a client share such a connection, and each of them learns nothing when it
 * breaks.
 */
#include "proxy.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct wire {
    px_proxy *proxy;
    int client, server; /* -1: closed */
} wire;

typedef struct burst {
    const char *data;
    size_t size;
    px_fault fault;
    uint64_t draw;
} burst;

static void reset_client(wire *w) {
    px_reset(w->client);
    w->client = -1;
}

/* ---- to the server ----------------------------------------------------------------------------------------------- */

static bool deliver_late(wire *w, const burst *b) {
    int64_t due = px_now() + px_lateness(b->draw);
    atomic_fetch_add(&w->proxy->couriers, 1);
    if (b->fault == PX_LATE_RESET) {
        reset_client(w);
    }
    while (px_now() < due && !atomic_load(&w->proxy->hurry)) {
        px_sleep(5 * PX_MS);
    }
    if (px_send(w->server, b->data, b->size)) {
        px_sleep(20 * PX_MS);
    }
    atomic_fetch_sub(&w->proxy->couriers, 1);
    return false;
}

static bool go_up(wire *w, const burst *b) {
    switch (b->fault) {
    case PX_UNSENT:
        reset_client(w);
        return false;
    case PX_HALF_SENT:
        (void)px_send(w->server, b->data, b->draw % b->size);
        px_sleep(2 * PX_MS);
        reset_client(w);
        return false;
    case PX_LATE_RESET:
    case PX_LATE_SILENT:
        return deliver_late(w, b);
    default:
        return px_send(w->server, b->data, b->size);
    }
}

/* ---- from the server --------------------------------------------------------------------------------------------- */

static void send_noise(const wire *w, uint64_t draw) {
    unsigned char noise[200];
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (unsigned char)px_mix(draw + i);
    }
    (void)px_send(w->client, noise, sizeof noise);
    px_sleep(20 * PX_MS);
}

static bool go_down(wire *w, const burst *b) {
    switch (b->fault) {
    case PX_LOST_RESET:
        reset_client(w);
        return false;
    case PX_LOST_CLOSED:
        return false;
    case PX_LOST_SILENT:
        px_stay_silent(w->proxy, w->client);
        return false;
    case PX_CUT_RESET:
    case PX_CUT_CLOSED:
        (void)px_send(w->client, b->data, px_next_cut(w->proxy, PX_READ, b->size, b->draw));
        if (b->fault == PX_CUT_RESET) {
            px_sleep(2 * PX_MS); /* or the reset overtakes the bytes */
            reset_client(w);
        }
        return false;
    case PX_TRICKLE:
        return px_trickle(w->client, b->data, b->size, b->draw);
    case PX_DELAYED:
        px_sleep((int64_t)(b->draw % 700) * PX_MS);
        return px_send(w->client, b->data, b->size);
    case PX_GARBAGE:
        send_noise(w, b->draw);
        return false;
    default:
        return px_send(w->client, b->data, b->size);
    }
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

static bool is_upward(px_fault fault) {
    return fault == PX_UNSENT || fault == PX_HALF_SENT || fault == PX_LATE_RESET || fault == PX_LATE_SILENT;
}

/* Hole and refusal are of no direction. */
static px_fault choose(px_proxy *proxy, bool up, uint64_t draw) {
    px_fault fault = px_choose(proxy, up ? PX_WRITE : PX_READ, draw);
    if (fault == PX_HOLE || fault == PX_REFUSE || is_upward(fault) == up) {
        return fault;
    }
    return PX_NONE;
}

static bool pass(wire *w, bool up) {
    char data[16384];
    ssize_t got = recv(up ? w->client : w->server, data, sizeof data, 0);
    if (got <= 0) {
        return false;
    }
    uint64_t draw = px_draw(w->proxy);
    burst b = {.data = data, .size = (size_t)got, .fault = choose(w->proxy, up, draw), .draw = px_mix(~draw)};
    px_count(w->proxy, b.fault, up ? PX_WRITE : PX_READ);
    px_begin_hole(w->proxy, b.fault, b.draw);
    px_wait_in_hole(w->proxy);
    return up ? go_up(w, &b) : go_down(w, &b);
}

void px_serve_bytes(px_proxy *proxy, int client) {
    wire w = {.proxy = proxy, .client = client, .server = px_connect(proxy->server_port)};
    bool open = w.server >= 0;
    while (open && !atomic_load(&proxy->over)) {
        struct pollfd both[2] = {{w.client, POLLIN, 0}, {w.server, POLLIN, 0}};
        if (poll(both, 2, 50) > 0) {
            open = (both[0].revents == 0 || pass(&w, true)) && (both[1].revents == 0 || pass(&w, false));
        }
    }
    if (w.server >= 0) {
        close(w.server);
    }
    if (w.client >= 0) {
        close(w.client);
    }
}
