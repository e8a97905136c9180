/* fake_world.c: virtual time: worlds, tasks, timers, and the loop over them. HTTP is in fake_http.c. */
#include "fake_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_world_parts.h"

#define TURNS_MAX 5000000 /* in one moment of virtual time: more is a loop that never ends */

void fw_misuse(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("fake world: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

void *fw_alloc(void *old, size_t size) {
    void *memory = realloc(old, size != 0 ? size : 1);
    if (memory == NULL) {
        fw_misuse("out of memory");
    }
    return memory;
}

/* ---- random ------------------------------------------------------------------------------------------------------ */

/* splitmix64 */
uint64_t fw_random(fw *u) {
    u->seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = u->seed;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void world_random(ds_world *world, void *out, size_t size) {
    fw *u = fw_of(world)->universe;
    unsigned char *bytes = out;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)fw_random(u);
    }
}

/* ---- timers: a heap per world, ordered by time and then by when they were set ------------------------------------ */

static bool earlier(const fw_alarm *a, const fw_alarm *b) {
    return a->timer->at_ns != b->timer->at_ns ? a->timer->at_ns < b->timer->at_ns : a->order < b->order;
}

static void place(fw_place *world, size_t index, fw_alarm alarm) {
    world->alarms[index] = alarm;
    alarm.timer->index = index;
}

static void sift_up(fw_place *world, size_t index, fw_alarm alarm) {
    while (index > 1 && earlier(&alarm, &world->alarms[index / 2])) {
        place(world, index, world->alarms[index / 2]);
        index /= 2;
    }
    place(world, index, alarm);
}

static void sift_down(fw_place *world, size_t index, fw_alarm alarm) {
    for (;;) {
        size_t child = index * 2;
        if (child < world->alarm_count && earlier(&world->alarms[child + 1], &world->alarms[child])) {
            child++;
        }
        if (child > world->alarm_count || !earlier(&world->alarms[child], &alarm)) {
            break;
        }
        place(world, index, world->alarms[child]);
        index = child;
    }
    place(world, index, alarm);
}

static void world_timer_stop(ds_world *base, ds_timer *timer) {
    fw_place *world = fw_of(base);
    size_t index = timer->index;
    if (index == 0) {
        return;
    }
    if (index > world->alarm_count || world->alarms[index].timer != timer) {
        fw_misuse("a timer that belongs to another world, or was overwritten while set");
    }
    timer->index = 0;
    fw_alarm last = world->alarms[world->alarm_count--];
    if (index <= world->alarm_count) {
        sift_up(world, index, last);
        sift_down(world, last.timer->index, last);
    }
}

static void world_timer_set(ds_world *base, ds_timer *timer, int64_t at_ns) {
    fw_place *world = fw_of(base);
    if (timer->fire == NULL) {
        fw_misuse("a timer without fire");
    }
    world_timer_stop(base, timer);
    timer->at_ns = at_ns;
    if (world->alarm_count + 1 >= world->alarm_capacity) {
        world->alarm_capacity = world->alarm_capacity * 2 + 16;
        world->alarms = fw_alloc(world->alarms, world->alarm_capacity * sizeof(*world->alarms));
    }
    world->alarm_count++;
    sift_up(world, world->alarm_count, (fw_alarm){timer, ++world->universe->order});
}

/* ---- what else a world offers ------------------------------------------------------------------------------------ */

static int64_t world_now(ds_world *base) {
    fw_place *world = fw_of(base);
    return world->clock_fails ? -1 : world->universe->now_ns;
}

static int64_t world_wall_ms(ds_world *base) {
    fw *u = fw_of(base)->universe;
    return FW_START_WALL_MS + u->wall_skip_ms + (u->now_ns - FW_START_NS) / DS_MS;
}

static void world_post(ds_world *base, ds_task *task) {
    if (task->run == NULL || task->node.next == NULL) {
        fw_misuse("a task that was not initialised");
    }
    if (ds_list_empty(&task->node)) {
        ds_list_append(&fw_of(base)->tasks, &task->node);
    }
}

static const ds_world_ops world_ops = {
    .now = world_now,
    .wall_ms = world_wall_ms,
    .random = world_random,
    .timer_set = world_timer_set,
    .timer_stop = world_timer_stop,
    .post = world_post,
    .notify = world_post,
    .http_start = fw_http_start,
    .http_cancel = fw_http_cancel,
    .http_send = fw_http_send,
};

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static void begin_turn(fw *u) {
    if (++u->moment_turns > TURNS_MAX) {
        fw_misuse("%d callbacks without time passing", TURNS_MAX);
    }
    u->turn = ++u->turns;
}

/* One task of each world that has one. False: there was none. */
static bool run_tasks(fw *u) {
    bool any = false;
    for (ds_list *node = u->worlds.next; node != &u->worlds; node = node->next) {
        fw_place *world = DS_LIST_ENTRY(node, fw_place, node);
        ds_list *first = world->paused ? NULL : ds_list_pop(&world->tasks);
        if (first != NULL) {
            ds_task *task = DS_LIST_ENTRY(first, ds_task, node);
            begin_turn(u);
            task->run(task);
            u->turn = 0;
            any = true;
        }
    }
    return any;
}

static const fw_alarm *first_alarm(const fw_place *world) {
    return world->paused || world->alarm_count == 0 ? NULL : &world->alarms[1];
}

/* The place whose timer is next, the network's included; NULL: nothing is set anywhere. */
static fw_place *next_place(const fw *u) {
    fw_place *best = u->network->alarm_count > 0 ? u->network : NULL;
    for (ds_list *node = u->worlds.next; node != &u->worlds; node = node->next) {
        fw_place *world = DS_LIST_ENTRY(node, fw_place, node);
        if (first_alarm(world) != NULL && (best == NULL || earlier(first_alarm(world), first_alarm(best)))) {
            best = world;
        }
    }
    return best;
}

static void fire(fw *u, fw_place *world) {
    ds_timer *timer = world->alarms[1].timer;
    world_timer_stop(&world->base, timer);
    if (timer->at_ns > u->now_ns) {
        u->now_ns = timer->at_ns;
        u->moment_turns = 0;
    }
    begin_turn(u);
    timer->fire(timer);
    u->turn = 0;
}

int64_t fw_next(const fw *u) {
    for (ds_list *node = u->worlds.next; node != &u->worlds; node = node->next) {
        fw_place *world = DS_LIST_ENTRY(node, fw_place, node);
        if (!world->paused && !ds_list_empty(&world->tasks)) {
            return u->now_ns;
        }
    }
    fw_place *next = next_place(u);
    int64_t at_ns = next != NULL ? first_alarm(next)->timer->at_ns : DS_NEVER;
    return at_ns > u->now_ns ? at_ns : u->now_ns;
}

bool fw_run_until(fw *u, bool (*condition)(void *argument), void *argument, int64_t limit_ns) {
    if (u->turn != 0) {
        fw_misuse("the loop was run from inside a callback");
    }
    int64_t end_ns = limit_ns > DS_NEVER - u->now_ns ? DS_NEVER : u->now_ns + limit_ns;
    for (;;) {
        if (condition != NULL && condition(argument)) {
            return true;
        }
        if (run_tasks(u)) {
            continue;
        }
        fw_place *next = next_place(u);
        if (next == NULL || first_alarm(next)->timer->at_ns > end_ns) {
            break;
        }
        fire(u, next);
    }
    if (end_ns != DS_NEVER && end_ns > u->now_ns) {
        u->now_ns = end_ns;
        u->moment_turns = 0;
    }
    return condition != NULL && condition(argument);
}

static bool is_set(void *argument) {
    return *(const bool *)argument;
}

bool fw_wait(fw *u, const bool *flag, int64_t limit_ns) {
    union {
        const bool *given;
        void *argument;
    } pointer = {flag};
    return fw_run_until(u, is_set, pointer.argument, limit_ns);
}

void fw_pause(ds_world *base, bool paused) {
    fw_place *world = fw_of(base);
    world->paused = paused;
    if (!paused) {
        fw_http_resume(world);
    }
}

void fw_fail_clock(ds_world *base, bool failing) {
    fw_of(base)->clock_fails = failing;
}

void fw_skip_wall(fw *u, int64_t ms) {
    u->wall_skip_ms += ms;
}

int64_t fw_now(const fw *u) {
    return u->now_ns;
}

uint64_t fw_turn(const fw *u) {
    return u->turn;
}

void fw_settle(fw *u) {
    fw_advance(u, 0);
}

void fw_advance(fw *u, int64_t ns) {
    (void)fw_run_until(u, NULL, NULL, ns);
}

/* ---- appointments: what happens on nobody's behalf --------------------------------------------------------------- */

typedef struct appointment {
    ds_timer timer;
    fw *universe;
    void (*fn)(fw *u, void *argument);
    void (*drop)(void *argument);
    void *argument;
} appointment;

static void keep(ds_timer *timer) {
    appointment *a = DS_CONTAINER_OF(timer, appointment, timer);
    a->fn(a->universe, a->argument);
    free(a);
}

void fw_later(fw *u, int64_t at_ns, void (*fn)(fw *u, void *argument), void (*drop)(void *argument), void *argument) {
    appointment *a = fw_alloc(NULL, sizeof(*a));
    *a = (appointment){.timer = {.fire = keep}, .universe = u, .fn = fn, .drop = drop, .argument = argument};
    world_timer_set(&u->network->base, &a->timer, at_ns > u->now_ns ? at_ns : u->now_ns);
}

void fw_at(fw *u, int64_t at_ns, void (*fn)(fw *u, void *argument), void *argument) {
    fw_later(u, at_ns, fn, NULL, argument);
}

static void drop_appointments(fw *u) {
    for (ds_list *node = u->worlds.next; node != &u->worlds; node = node->next) {
        fw_http_resume(DS_LIST_ENTRY(node, fw_place, node)); /* packets held back are appointments again */
    }
    for (size_t i = 1; i <= u->network->alarm_count; i++) {
        appointment *a = DS_CONTAINER_OF(u->network->alarms[i].timer, appointment, timer);
        if (a->drop != NULL) {
            a->drop(a->argument);
        }
        free(a);
    }
    u->network->alarm_count = 0;
}

/* ---- making and ending ------------------------------------------------------------------------------------------- */

ds_world *fw_add_world(fw *u) {
    fw_place *world = fw_alloc(NULL, sizeof(*world));
    *world = (fw_place){.base = {&world_ops}, .universe = u};
    ds_list_init(&world->tasks);
    ds_list_init(&world->held);
    ds_list_append(&u->worlds, &world->node);
    return &world->base;
}

ds_world *fw_world(fw *u) {
    return &DS_LIST_ENTRY(u->worlds.next, fw_place, node)->base;
}

fw *fw_new(uint64_t seed) {
    fw *u = fw_alloc(NULL, sizeof(*u));
    *u = (fw){.seed = seed, .now_ns = FW_START_NS};
    ds_list_init(&u->worlds);
    u->network = fw_of(fw_add_world(u));
    ds_list_remove(&u->network->node); /* its timers are the packets under way */
    (void)fw_add_world(u);
    return u;
}

fw_census fw_alive(const fw *u) {
    fw_census census = {0, 0, 0};
    size_t timeouts = 0;
    fw_http_alive(u, &census.requests, &timeouts);
    for (ds_list *node = u->worlds.next; node != &u->worlds; node = node->next) {
        fw_place *world = DS_LIST_ENTRY(node, fw_place, node);
        census.timers += world->alarm_count;
        for (ds_list *task = world->tasks.next; task != &world->tasks; task = task->next) {
            census.tasks++;
        }
    }
    census.timers -= timeouts;
    return census;
}

static void free_place(fw_place *world) {
    while (ds_list_pop(&world->tasks) != NULL) {
    }
    free(world->alarms);
    free(world);
}

size_t fw_free(fw *u) {
    fw_census census = fw_alive(u);
    size_t leaks = census.tasks + census.timers + census.requests;
    if (leaks != 0) {
        fprintf(stderr, "fake world: still alive: %zu tasks, %zu timers, %zu requests\n", census.tasks, census.timers,
                census.requests);
    }
    drop_appointments(u);
    fw_http_free(u);
    for (ds_list *node = u->worlds.next, *next; node != &u->worlds; node = next) {
        next = node->next;
        free_place(DS_LIST_ENTRY(node, fw_place, node));
    }
    free_place(u->network);
    free(u);
    return leaks;
}
