/* fake_world.h: a ds_world in virtual time, on one thread, without sockets.
 *
 * One `fw` is a universe with one clock; it may hold several worlds (several clients of one store, say). Nothing
 * happens until fw_settle, fw_advance, fw_run_until or fw_wait is called; then posted tasks run in order, timers fire
 * when their time comes, and HTTP answers arrive when the test said they should. The same seed gives the same run.
 *
 * HTTP: every http_start is recorded and shown to the test's server at once. The server answers whenever it likes (or
 * never: then the timeout does), and may look at, or keep, the fw_request until fw_forget or fw_free.
 *
 * Misuse by the code under test ends the program with a message: callbacks must come from the loop, so running the loop
 * from inside a callback is misuse, and so is a request with a bad shape. Memory of the fake itself does not come from
 * ds_malloc; an injected failure hits http_start and http_send once each, as one allocation of theirs.
 */
#ifndef FAKE_WORLD_H
#define FAKE_WORLD_H

#include "../../csrc/core/world.h"

typedef struct fw fw;
typedef struct fw_request fw_request;

/* ---- time -------------------------------------------------------------------------------------------------------- */

#define FW_START_NS (1000 * DS_SECOND)          /* what the clock shows first */
#define FW_START_WALL_MS INT64_C(1700000000000) /* and the calendar */

fw *fw_new(uint64_t seed);
/* Says on stderr what is still alive (tasks posted, timers set, requests neither answered nor cancelled) and returns
 * how many such things there were. */
size_t fw_free(fw *u);
ds_world *fw_world(fw *u);     /* the first world */
ds_world *fw_add_world(fw *u); /* another one, same time */

int64_t fw_now(const fw *u);
void fw_settle(fw *u);              /* runs what is due now */
void fw_advance(fw *u, int64_t ns); /* and all that comes due meanwhile */
/* Runs until `condition` holds, at most to `limit_ns` from now. Returns whether it does. */
bool fw_run_until(fw *u, bool (*condition)(void *argument), void *argument, int64_t limit_ns);
bool fw_wait(fw *u, const bool *flag, int64_t limit_ns);
/* Runs `fn` at that time, on nobody's behalf. */
void fw_at(fw *u, int64_t at_ns, void (*fn)(fw *u, void *argument), void *argument);
/* When anything happens next: now, a time, or DS_NEVER. */
int64_t fw_next(const fw *u);

/* Which callback is running, counted from 1; 0 outside of the loop. A call and its answer must not see the same
 * turn. */
uint64_t fw_turn(const fw *u);
uint64_t fw_random(fw *u);

/* A paused world (a stopped process): nothing of it runs, time goes on. */
void fw_pause(ds_world *world, bool paused);
void fw_fail_clock(ds_world *world, bool failing); /* now() < 0 */
void fw_skip_wall(fw *u, int64_t ms);              /* somebody set the calendar */

typedef struct fw_census {
    size_t tasks, timers, requests;
} fw_census;
fw_census fw_alive(const fw *u);

/* ---- HTTP -------------------------------------------------------------------------------------------------------- */

struct fw_request {
    uint64_t number; /* 1, 2, ... */
    fw *universe;
    ds_world *world;
    ds_endpoint *endpoint;
    char *method, *target;
    char *headers[DS_HTTP_HEADERS_MAX + 1]; /* "Name: value"; NULL ends */
    char *body;                             /* NUL-terminated; what http_send added is at its end */
    size_t body_size;
    size_t first_size; /* of the body as it was at http_start */
    size_t reply_max;
    int64_t timeout_ns, started_ns;
    bool urgent, stream, duplex, http2;
    bool ended;     /* on_done has run */
    bool cancelled; /* by http_cancel */
    void *user;     /* the test's */
};

/* The test's server. Called inside http_start, http_send, http_cancel: it may call the functions below, not the code
 * under test. Any member may be NULL. */
typedef struct fw_server {
    void (*on_request)(fw_request *request, void *argument);
    void (*on_send)(fw_request *request, const char *bytes, size_t count, void *argument);
    void (*on_cancel)(fw_request *request, void *argument);
    void *argument;
} fw_server;
void fw_serve(fw *u, const fw_server *server); /* copied */

typedef struct fw_header {
    const char *name;
    const char *value;
} fw_header;

/* How a request ends. Zeroed it is an empty answer with status 0: give at least a status or a fate. */
typedef struct fw_answer {
    ds_http_fate fate;
    int code;   /* for DS_HTTP_REFUSED */
    int status; /* may be set for other fates too: what had come until then */
    bool resent, not_http2;
    const char *body; /* copied */
    size_t body_size;
    const fw_header *headers; /* copied; those that the request wants are reported */
    size_t header_count;
    const char *message;
} fw_answer;

/* All of these take effect `delay_ns` from now, in order of time and, at one time, in the order of the calls. For a
 * request that has ended or was cancelled by then nothing happens, as with a late packet. */
void fw_finish(fw_request *request, int64_t delay_ns, const fw_answer *answer);
void fw_reply(fw_request *request, int64_t delay_ns, int status, const char *body);
void fw_fail(fw_request *request, int64_t delay_ns, ds_http_fate fate, const char *message);
void fw_data(fw_request *request, int64_t delay_ns, const char *bytes, size_t count); /* a piece of a stream */

const char *fw_header_of(const fw_request *request, const char *name); /* value, or NULL */
size_t fw_request_count(const fw *u);                                  /* remembered ones */
fw_request *fw_request_at(const fw *u, size_t index);
fw_request *fw_last_request(const fw *u, const char *target_part); /* newest whose target contains it; NULL */
void fw_forget(fw *u);                                             /* drops the remembered requests that are over */

#endif
