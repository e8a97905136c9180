/* proxy.h: a proxy before one server that mistreats the requests that pass, and keeps count.
 *
 * It knows just enough HTTP to tell where a message ends and, through kinds_*.c, what a request is for. It knows
 * nothing of locks: what must still be true behind it is the campaign's business (campaign.h).
 */
#ifndef PX_PROXY_H
#define PX_PROXY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../csrc/dsync.h"

#define PX_MS INT64_C(1000000)
#define PX_SECOND (1000 * PX_MS)

/* What a request is for. */
typedef enum px_kind {
    PX_GRANT,
    PX_SESSION,
    PX_KEEPALIVE,
    PX_CONFIRM,
    PX_REVOKE,
    PX_ENTER,
    PX_TRY,
    PX_CHECK,
    PX_SWAP,
    PX_LEAVE,
    PX_WITHDRAW,
    PX_WRITE,
    PX_READ,
    PX_WATCH,
    PX_BLOCK, /* a read that the server answers when something has changed */
    PX_ELSE,
    PX_KINDS
} px_kind;

typedef enum px_fault {
    PX_NONE,
    PX_LOST_RESET,    /* executed; the connection is reset instead of an answer */
    PX_LOST_CLOSED,   /* the same, closed in order */
    PX_LOST_SILENT,   /* executed; nothing is ever answered */
    PX_CUT_RESET,     /* executed; reset after so many bytes of the answer, each number in turn */
    PX_CUT_CLOSED,    /* the same, closed in order */
    PX_TRICKLE,       /* executed; the answer comes a few bytes at a time */
    PX_DELAYED,       /* executed; the answer comes later, perhaps too late */
    PX_UNSENT,        /* not forwarded; reset */
    PX_HALF_SENT,     /* the server gets half of it; both connections are reset */
    PX_LATE_RESET,    /* reset at once; the request is delivered later */
    PX_LATE_SILENT,   /* no answer; the request is delivered later */
    PX_TWICE,         /* delivered twice; the first answer goes back */
    PX_TWICE_SECOND,  /* delivered twice; the second answer goes back */
    PX_LOST_AGAIN,    /* executed, the answer lost, and a copy delivered later */
    PX_ECHO,          /* answered, and a copy delivered later (kinds that nothing else guards: not) */
    PX_STATUS_BEFORE, /* not forwarded; some 3xx, 4xx or 5xx */
    PX_STATUS_AFTER,  /* executed; some 5xx */
    PX_HTML,          /* executed; a web page with status 200 */
    PX_HALF_JSON,     /* executed; half of the JSON, properly framed */
    PX_GARBAGE,       /* executed; noise instead of HTTP */
    PX_EMPTY,         /* executed; an empty body with status 200 */
    PX_HOLE,          /* nothing passes anywhere for a while */
    PX_REFUSE,        /* for a while every new connection is reset */
    PX_ELSEWHERE,     /* another cluster executes and answers it */
    PX_STREAM_CLOSED, /* streams: closed after so many bytes */
    PX_STREAM_RESET,
    PX_STREAM_SILENT,
    PX_STREAM_NOISE,
    PX_STREAM_TRICKLE,
    PX_FAULTS
} px_fault;

/* What is peculiar to one kind of server. */
typedef struct px_message px_message;
typedef struct px_store {
    const char *name, *scheme;
    const dsync_setting *setting; /* of the clients, or NULL */
    int64_t ttl_ms;
    int per_mille;      /* requests of a thousand that meet a fault */
    bool tells_cluster; /* its answers say which cluster they come from: those of another one can be told */
    bool frames;        /* it speaks in frames, not in HTTP */
    bool bytes;         /* what it speaks is not understood here */
    px_kind (*kind)(const char *head, const char *body); /* of HTTP */
    /* How many keys locks have left on the server (`sessions`: and sessions); -1: no answer. `shown`: for people. */
    int (*keys)(int port, bool sessions, px_message *shown);
    int (*sessions)(int port);
} px_store;

extern const px_store *const px_stores[]; /* NULL ends */
extern const px_store px_etcd, px_etcd_grpc, px_consul, px_zookeeper;

const char *px_kind_name(px_kind kind);
const char *px_fault_name(px_fault fault);

#define PX_OFFSETS 2048

typedef struct px_proxy {
    const px_store *store;
    int listener, port;
    int server_port, other_port;
    uint64_t seed;
    _Atomic uint64_t drawn;     /* decisions so far: the n-th one is a function of seed and n */
    _Atomic int per_mille;      /* how many requests of a thousand meet a fault */
    _Atomic int64_t hole_until; /* CLOCK_BOOTTIME, ns */
    _Atomic int64_t refuse_until;
    _Atomic int couriers; /* requests still to be delivered */
    _Atomic bool hurry;   /* deliver them now */
    _Atomic bool over;
    _Atomic int connections;
    _Atomic uint64_t counts[PX_FAULTS][PX_KINDS];
    _Atomic uint64_t faults;
    _Atomic uint64_t longest[PX_KINDS];              /* answer that was to be cut, at most PX_OFFSETS */
    _Atomic unsigned char cut[PX_KINDS][PX_OFFSETS]; /* answers of this kind were cut after so many bytes */
} px_proxy;

/* Listens on a free loopback port. False: could not. */
bool px_start(px_proxy *proxy, const px_store *store, int server_port, int other_port, uint64_t seed);
void px_stop(px_proxy *proxy);

/* ---- shared between the proxy's files ---------------------------------------------------------------------------- */

int64_t px_now(void);
void px_sleep(int64_t ns);
uint64_t px_mix(uint64_t number);
uint64_t px_draw(px_proxy *proxy);
px_fault px_choose(px_proxy *proxy, px_kind kind, uint64_t draw);
void px_count(px_proxy *proxy, px_fault fault, px_kind kind);
const char *px_status_line(px_fault fault, uint64_t draw);

typedef struct px_text {
    char *data;
    size_t size, room;
} px_text;

bool px_add(px_text *text, const void *data, size_t size);
void px_free(px_text *text);

/* One HTTP message: `size` bytes of text from its start, of which `head` are the header. */
struct px_message {
    px_text text;
    size_t head, size;
    bool stream; /* a body without an end in sight: only the header was read */
};

/* Reads one message; what was read beyond it stays for the next. False: the connection ended. */
bool px_read(int fd, px_message *message, bool request, int64_t until_ns);
void px_next(px_message *message);
bool px_send(int fd, const void *data, size_t size);
int px_connect(int port);
void px_reset(int fd);
void px_serve_stream(px_proxy *proxy, int client, px_message *request);
void px_serve_frames(px_proxy *proxy, int client); /* closes it */
void px_serve_bytes(px_proxy *proxy, int client);  /* the same */

/* After how many of `size` bytes to cut: the first number that this kind of answer has not been cut after yet. */
size_t px_next_cut(px_proxy *proxy, px_kind kind, size_t size, uint64_t draw);
int64_t px_lateness(uint64_t draw);
void px_begin_hole(px_proxy *proxy, px_fault fault, uint64_t draw); /* if that is the fault */
void px_wait_in_hole(px_proxy *proxy);
void px_stay_silent(const px_proxy *proxy, int client);
bool px_trickle(int client, const char *data, size_t count, uint64_t draw);

/* One request to a server itself. True: it was answered with status 200. */
bool px_ask(int port, const char *method, const char *target, const char *body, px_message *reply);
int px_occurrences(const char *text, const char *mark);

#endif
