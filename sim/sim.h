/* sim.h: a simulated world: several client processes, each with a clock of its own, and one cluster of model servers,
 * in virtual time on one thread. The clients run the library's own objects; everything around them is here.
 *
 * world.c keeps time, transport.c carries requests and loses them, faults.c decides what goes wrong, a model (model.h)
 * plays the servers, client.c the programs that use locks, and check.c judges. Nothing here reads a real clock, and the
 * same seed gives the same run. The simulator's own memory never fails: it aborts.
 */
#ifndef SIM_H
#define SIM_H

#include "../csrc/base/buf.h"
#include "../csrc/core/world.h"
#include "check.h"
#include "faults.h"

#define SIM_HOSTS_MAX 16
#define SIM_MEMBERS 3

typedef struct sim sim;
typedef struct sim_host sim_host;
typedef struct sim_model_ops sim_model_ops;
typedef struct sim_client sim_client;

/* Something that happens at a time. `host`: on whose behalf (waits while it is paused, dropped when it dies); or
 * NULL. */
typedef struct sim_event {
    int64_t at_ns; /* true time */
    uint64_t order;
    sim_host *host;
    void (*run)(sim *s, void *argument);
    void *argument;
    void (*drop)(void *argument); /* instead of run, or NULL */
} sim_event;

typedef struct sim_alarm {
    ds_timer *timer;
    uint64_t order;
} sim_alarm;

/* One process: a clock, timers, tasks. */
struct sim_host {
    ds_world base;
    sim *s;
    unsigned number;
    bool paused, dead;
    int64_t base_true_ns, base_local_ns; /* the clock: local = base_local + (true - base_true) * (1 + ppm/1e6) */
    int64_t ppm;
    int64_t cut_until_ns; /* no server hears of it before */
    int64_t wall_ms;      /* the calendar when the local clock showed 0 */
    ds_list tasks;
    sim_alarm *alarms; /* a heap in [1, alarm_count] */
    size_t alarm_count, alarm_capacity;
    ds_list inbox;      /* what came while it was paused: sim_late */
    ds_list requests;   /* ds_http in flight */
    ds_list fds;        /* ds_fd that it looks at */
    int64_t resumed_ns; /* when it last came back */
    sim_client *client;
};

struct sim {
    uint64_t seed, random[2];
    int64_t now_ns; /* true time */
    uint64_t order, steps;
    sim_event *events; /* a heap in [1, event_count] */
    size_t event_count, event_capacity;
    sim_host *hosts[SIM_HOSTS_MAX];
    size_t host_count;
    sim_plan plan;
    sim_counts *counts;
    const sim_model_ops *model;
    void *servers; /* the model's */
    chk check;
    uint64_t digest; /* of everything that happened, to compare two runs */
    bool trace;
    bool calm;        /* no faults from now on */
    uint64_t numbers; /* given to requests, calls and claims */
    bool killed;      /* a client was: its memory is not given back */
    void *scene;      /* client.c's */
};

/* ---- world.c ----------------------------------------------------------------------------------------------------- */

sim *sim_new(uint64_t seed, const sim_model_ops *model, sim_counts *counts, bool trace);
void sim_free(sim *s);
uint64_t sim_random(sim *s);
int64_t sim_between(sim *s, int64_t low, int64_t high); /* both included */
bool sim_chance(sim *s, unsigned per_100000);
void sim_note(sim *s, const char *format, ...) DS_PRINTF(2, 3); /* a line of the trace; also feeds the digest */
void sim_mix(sim *s, uint64_t number);
bool sim_see(sim *s, const chk_event *event); /* chk_see, also from inside the library's callbacks */

void sim_at(sim *s, int64_t at_ns, sim_host *host, void (*run)(sim *, void *), void *argument, void (*drop)(void *));
/* Runs until `until_ns`, calling `step` after each thing that happened (with the host it happened on, or NULL). False:
 * the checker has found something. */
bool sim_run(sim *s, int64_t until_ns, void (*step)(sim *s, sim_host *host));

sim_host *sim_host_new(sim *s);
void sim_host_kill(sim_host *host); /* it never runs again; its requests under way go on without it */
int64_t sim_local(const sim_host *host);
int64_t sim_true(const sim_host *host, int64_t local_ns); /* when its clock will show this */
void sim_host_jump(sim_host *host, int64_t ns);
void sim_host_pause(sim_host *host, int64_t ns);
/* A descriptor of a model's has something for its host, if it looks at it. */
void sim_host_ready(sim_host *host, int fd, unsigned events);

/* ---- transport.c ------------------------------------------------------------------------------------------------- */

ds_http *sim_http_start(ds_world *world, const ds_http_request *request, ds_http_sink *sink);
void sim_http_cancel(ds_world *world, ds_http *http);
bool sim_http_send(ds_world *world, ds_http *http, const void *bytes, size_t count);
void sim_http_drop(sim_host *host);

/* The server's side of a duplex request. The model keeps `state`; it may write and close at any time. */
typedef struct sim_stream sim_stream;
struct sim_stream {
    ds_list node; /* in the model's list */
    sim *s;
    uint64_t http; /* number of the request; 0 once the client is gone */
    sim_host *host;
    size_t member;
    void *state;
    bool open;   /* the model's side */
    bool silent; /* everything on it is lost from now on */
    unsigned refs;
    int64_t to_server_ns, to_client_ns; /* nothing overtakes anything on one connection */
};
void sim_stream_write(sim_stream *stream, const char *bytes, size_t count);
void sim_stream_close(sim_stream *stream, bool reset);

/* ---- memory.c ---------------------------------------------------------------------------------------------------- */

void *sim_alloc(void *old, size_t size); /* never NULL */
void sim_memory_begin(sim *s);
bool sim_memory_client(bool inside); /* allocations are the library's from now on; returns what was before */
size_t sim_memory_end(void);         /* frees everything; how many blocks the library had not given back */

#endif
