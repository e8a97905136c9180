/* frames.c: connections whose messages are frames: four bytes of length, then that much (ZooKeeper's). Requests are not
 * waited for one by one: what is to become of an answer is remembered until it comes. Knows of the protocol where a
 * message ends, which request an answer belongs to, and what a request is for.
 */
#include "proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_MAX (4u * 1024 * 1024)
#define OPEN_MAX 1024 /* requests without an answer */
#define EVENT (-1)    /* the number of what nobody asked for */

enum {
    CREATE = 1,
    DELETE = 2,
    EXISTS = 3,
    GET = 4,
    SET = 5,
    SYNC = 9,
    PING = 11,
    CHILDREN = 12,
    MULTI = 14,
    CREATE2 = 15,
    CLOSE = -11
};

typedef struct asked {
    int32_t number;
    px_kind kind;
    px_fault fault;
    uint64_t draw;
} asked;

typedef struct line {
    px_proxy *proxy;
    int client, server; /* -1: closed */
    px_text in, out;
    bool greeted; /* the first frame of each direction has no number */
    asked open[OPEN_MAX];
    size_t first, count;
} line;

static int32_t int_at(const char *data, size_t at) {
    uint32_t value;
    memcpy(&value, data + at, sizeof value);
    return (int32_t)ntohl(value);
}

/* ---- what a request is for --------------------------------------------------------------------------------------- */

static bool has(const char *frame, size_t size, const char *text) {
    return memmem(frame, size, text, strlen(text)) != NULL;
}

static px_kind kind_of(const char *frame, size_t size) {
    bool entry = has(frame, size, "-lock-") || has(frame, size, "-latch-");
    switch (size >= 12 ? int_at(frame, 8) : 0) {
    case PING:
        return PX_KEEPALIVE;
    case CREATE2:
        return has(frame, size, "/session/") ? PX_SESSION : entry ? PX_ENTER : PX_ELSE;
    case DELETE:
        return entry ? PX_LEAVE : PX_ELSE;
    case SET:
        return has(frame, size, "/session/") ? PX_CONFIRM : PX_WRITE;
    case MULTI:
        return has(frame, size, "/data/") ? PX_WRITE : PX_SWAP;
    case GET:
    case EXISTS:
        return PX_READ;
    case CHILDREN:
        return frame[size - 1] != 0 ? PX_BLOCK : PX_CHECK;
    case CLOSE:
        return PX_REVOKE;
    default:
        return PX_ELSE;
    }
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

/* The size of the first whole frame in it, 0: there is none yet. */
static size_t whole(const px_text *text) {
    if (text->size < 4) {
        return 0;
    }
    uint32_t size = (uint32_t)int_at(text->data, 0);
    return size <= FRAME_MAX && text->size >= size + 4 ? size + 4 : 0;
}

static void shift(px_text *text, size_t size) {
    memmove(text->data, text->data + size, text->size - size);
    text->size -= size;
}

/* False: that end is closed. */
static bool take(int fd, px_text *text) {
    char chunk[16384];
    ssize_t got = recv(fd, chunk, sizeof chunk, 0);
    return got > 0 && px_add(text, chunk, (size_t)got);
}

static void reset_client(line *l) {
    px_reset(l->client);
    l->client = -1;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* The client is gone, or hears nothing; the server gets the request on the same connection, if it still listens to
 * it. */
static bool deliver_late(line *l, px_fault fault, size_t size, uint64_t draw) {
    int64_t due = px_now() + px_lateness(draw), silent_until = px_now();
    atomic_fetch_add(&l->proxy->couriers, 1);
    if (fault == PX_LATE_RESET) {
        reset_client(l);
    } else {
        silent_until += PX_SECOND;
    }
    while (px_now() < due && !atomic_load(&l->proxy->hurry)) {
        px_sleep(5 * PX_MS);
    }
    if (px_send(l->server, l->in.data, size)) {
        px_sleep(20 * PX_MS);
    }
    atomic_fetch_sub(&l->proxy->couriers, 1);
    if (silent_until > px_now()) {
        px_stay_silent(l->proxy, l->client);
    }
    return false;
}

static bool withhold(line *l, px_fault fault, size_t size, uint64_t draw) {
    if (fault == PX_LATE_RESET || fault == PX_LATE_SILENT) {
        return deliver_late(l, fault, size, draw);
    }
    if (fault == PX_HALF_SENT) {
        (void)px_send(l->server, l->in.data, size / 2);
        px_sleep(2 * PX_MS);
        px_reset(l->server);
        l->server = -1;
    }
    reset_client(l);
    return false;
}

static bool pass_request(line *l, size_t size) {
    px_proxy *proxy = l->proxy;
    uint64_t draw = px_draw(proxy);
    asked *slot = &l->open[(l->first + l->count) % OPEN_MAX];
    *slot = (asked){.number = l->greeted && size >= 8 ? int_at(l->in.data, 4) : 0};
    slot->kind = l->greeted ? kind_of(l->in.data, size) : PX_GRANT;
    slot->fault = px_choose(proxy, slot->kind, draw);
    slot->draw = px_mix(~draw);
    px_count(proxy, slot->fault, slot->kind);
    px_begin_hole(proxy, slot->fault, slot->draw);
    px_wait_in_hole(proxy);
    l->greeted = true;
    if (slot->fault == PX_UNSENT || slot->fault == PX_HALF_SENT || slot->fault == PX_LATE_RESET ||
        slot->fault == PX_LATE_SILENT) {
        return withhold(l, slot->fault, size, slot->draw);
    }
    l->count++;
    bool sent = l->count < OPEN_MAX && px_send(l->server, l->in.data, size);
    shift(&l->in, size);
    return sent;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static bool send_noise(const line *l, uint64_t draw) {
    unsigned char noise[200];
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (unsigned char)px_mix(draw + i);
    }
    if (draw % 3 == 0) { /* a whole frame, which nobody asked for */
        const uint32_t size = htonl(sizeof noise - sizeof size);
        memcpy(noise, &size, sizeof size);
    }
    (void)px_send(l->client, noise, sizeof noise);
    px_sleep(20 * PX_MS);
    return false;
}

static bool mistreat(line *l, const asked *a, size_t size) {
    const char *frame = l->out.data;
    switch (a->fault) {
    case PX_LOST_RESET:
        reset_client(l);
        return false;
    case PX_LOST_CLOSED:
        return false;
    case PX_LOST_SILENT:
        px_stay_silent(l->proxy, l->client);
        return false;
    case PX_CUT_RESET:
    case PX_CUT_CLOSED:
        (void)px_send(l->client, frame, px_next_cut(l->proxy, a->kind, size, a->draw));
        if (a->fault == PX_CUT_RESET) {
            px_sleep(2 * PX_MS); /* or the reset overtakes the bytes */
            reset_client(l);
        }
        return false;
    case PX_TRICKLE:
        return px_trickle(l->client, frame, size, a->draw);
    case PX_DELAYED:
        px_sleep((int64_t)(a->draw % 700) * PX_MS);
        return px_send(l->client, frame, size);
    case PX_GARBAGE:
        return send_noise(l, a->draw);
    default:
        return px_send(l->client, frame, size);
    }
}

static bool pass_answer(line *l, size_t size) {
    asked none = {.fault = PX_NONE}, *a = l->count > 0 ? &l->open[l->first] : &none;
    bool event = size >= 8 && a->kind != PX_GRANT && int_at(l->out.data, 4) == EVENT;
    asked current = event ? none : *a;
    if (!event && l->count > 0) {
        l->first = (l->first + 1) % OPEN_MAX;
        l->count--;
    }
    px_wait_in_hole(l->proxy);
    bool goes_on = mistreat(l, &current, size);
    shift(&l->out, size);
    return goes_on;
}

/* ---- a connection ------------------------------------------------------------------------------------------------ */

static bool pass_all(line *l) {
    size_t size;
    while ((size = whole(&l->in)) > 0) {
        if (!pass_request(l, size)) {
            return false;
        }
    }
    while ((size = whole(&l->out)) > 0) {
        if (!pass_answer(l, size)) {
            return false;
        }
    }
    return true;
}

static void pump(line *l) {
    while (!atomic_load(&l->proxy->over)) {
        struct pollfd both[2] = {{l->client, POLLIN, 0}, {l->server, POLLIN, 0}};
        if (poll(both, 2, 100) <= 0) {
            continue;
        }
        bool client_open = both[0].revents == 0 || take(l->client, &l->in);
        bool server_open = both[1].revents == 0 || take(l->server, &l->out);
        if (!pass_all(l) || !client_open || !server_open) {
            return;
        }
    }
}

void px_serve_frames(px_proxy *proxy, int client) {
    line *l = calloc(1, sizeof *l);
    if (l == NULL) {
        px_reset(client);
        return;
    }
    *l = (line){.proxy = proxy, .client = client, .server = px_connect(proxy->server_port)};
    if (l->server >= 0) {
        pump(l);
    }
    if (l->server >= 0) {
        close(l->server);
    }
    if (l->client >= 0) {
        close(l->client);
    }
    px_free(&l->in);
    px_free(&l->out);
    free(l);
}
