/* fake_world_parts.h: what fake_world.c and fake_http.c share; tests include fake_world.h only. */
#ifndef FAKE_WORLD_PARTS_H
#define FAKE_WORLD_PARTS_H

#include "fake_world.h"

typedef struct fw_alarm {
    ds_timer *timer;
    uint64_t order;
} fw_alarm;

typedef struct fw_place {
    ds_world base;
    ds_list node;
    fw *universe;
    ds_list tasks;
    fw_alarm *alarms; /* a heap in [1, alarm_count] */
    size_t alarm_count, alarm_capacity;
    ds_list held; /* packets that came while it was paused */
    bool paused, clock_fails;
} fw_place;

struct fw {
    uint64_t seed;
    uint64_t order; /* of timers set */
    uint64_t turns, turn, moment_turns;
    int64_t now_ns, wall_skip_ms;
    ds_list worlds;
    fw_place *network; /* not in `worlds`: its timers are appointments */
    fw_server server;
    ds_http **requests; /* in the order of their numbers */
    size_t request_count, request_capacity;
    uint64_t request_numbers;
};

static inline fw_place *fw_of(ds_world *base) {
    return DS_CONTAINER_OF(base, fw_place, base);
}

_Noreturn void fw_misuse(const char *format, ...) DS_PRINTF(1, 2);
void *fw_alloc(void *old, size_t size); /* realloc that does not fail */
/* As fw_at; `drop` (or NULL) frees the argument if the universe ends before. */
void fw_later(fw *u, int64_t at_ns, void (*fn)(fw *u, void *argument), void (*drop)(void *argument), void *argument);

ds_http *fw_http_start(ds_world *base, const ds_http_request *request, ds_http_sink *sink);
void fw_http_cancel(ds_world *base, ds_http *http);
bool fw_http_send(ds_world *base, ds_http *http, const void *bytes, size_t count);
void fw_http_alive(const fw *u, size_t *requests, size_t *timeouts);
void fw_http_resume(fw_place *world);
void fw_http_free(fw *u);

#endif
