/* world.c: virtual time: what happens when, on which host, by whose clock. Knows nothing of requests or locks. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model.h"

#define START_NS (1000 * DS_SECOND)
#define START_WALL_MS INT64_C(1700000000000)
#define STEPS_MAX 3000000 /* of one run; a usual one takes some thousands */
#define FAR_NS (INT64_C(4000) * DS_SECOND)

/* ---- chance ------------------------------------------------------------------------------------------------------ */

static uint64_t rotate(uint64_t x, int by) {
    return (x << by) | (x >> (64 - by));
}

/* xoroshiro128+ */
uint64_t sim_random(sim *s) {
    uint64_t a = s->random[0], b = s->random[1], result = a + b;
    b ^= a;
    s->random[0] = rotate(a, 24) ^ b ^ (b << 16);
    s->random[1] = rotate(b, 37);
    return result;
}

int64_t sim_between(sim *s, int64_t low, int64_t high) {
    return low + (int64_t)(sim_random(s) % (uint64_t)(high - low + 1));
}

bool sim_chance(sim *s, unsigned per_100000) {
    return per_100000 > 0 && sim_random(s) % 100000 < per_100000;
}

static uint64_t split(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void sim_mix(sim *s, uint64_t number) {
    s->digest = (s->digest ^ number) * UINT64_C(0x100000001b3);
    s->digest = rotate(s->digest, 29);
}

bool sim_see(sim *s, const chk_event *event) {
    bool inside = sim_memory_client(false);
    sim_mix(s, (uint64_t)event->kind);
    bool fine = chk_see(&s->check, event);
    (void)sim_memory_client(inside);
    return fine;
}

void sim_note(sim *s, const char *format, ...) {
    sim_mix(s, (uint64_t)s->now_ns);
    sim_mix(s, (uint64_t)(unsigned char)format[0]);
    if (!s->trace) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    printf("%11.6f  ", (double)(s->now_ns - START_NS) / 1e9);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

/* ---- appointments ------------------------------------------------------------------------------------------------ */

static bool sooner(const sim_event *a, const sim_event *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void sink(sim *s, size_t at) {
    sim_event moved = s->events[at];
    for (size_t child; (child = 2 * at) <= s->event_count; at = child) {
        if (child < s->event_count && sooner(&s->events[child + 1], &s->events[child])) {
            child++;
        }
        if (!sooner(&s->events[child], &moved)) {
            break;
        }
        s->events[at] = s->events[child];
    }
    s->events[at] = moved;
}

void sim_at(sim *s, int64_t at_ns, sim_host *host, void (*run)(sim *, void *), void *argument, void (*drop)(void *)) {
    if (s->event_count + 2 > s->event_capacity) {
        s->event_capacity = s->event_capacity == 0 ? 256 : s->event_capacity * 2;
        s->events = sim_alloc(s->events, s->event_capacity * sizeof *s->events);
    }
    sim_event event = {at_ns > s->now_ns ? at_ns : s->now_ns, ++s->order, host, run, argument, drop};
    size_t at = ++s->event_count;
    for (; at > 1 && sooner(&event, &s->events[at / 2]); at /= 2) {
        s->events[at] = s->events[at / 2];
    }
    s->events[at] = event;
}

static sim_event take_event(sim *s) {
    sim_event first = s->events[1];
    s->events[1] = s->events[s->event_count--];
    if (s->event_count > 0) {
        sink(s, 1);
    }
    return first;
}

/* ---- a host's clock ---------------------------------------------------------------------------------------------- */

int64_t sim_local(const sim_host *host) {
    int64_t passed = host->s->now_ns - host->base_true_ns;
    return host->base_local_ns + passed + passed * host->ppm / 1000000;
}

int64_t sim_true(const sim_host *host, int64_t local_ns) {
    int64_t left = local_ns - host->base_local_ns;
    if (local_ns == DS_NEVER || left > FAR_NS) {
        return DS_NEVER;
    }
    int64_t guess = host->base_true_ns + (int64_t)((double)left / (1.0 + (double)host->ppm / 1e6));
    /* The clock ticks in whole steps: the first moment at which it shows at least this. */
    for (int64_t passed = guess - host->base_true_ns; passed + passed * host->ppm / 1000000 < left;) {
        guess += left - (passed + passed * host->ppm / 1000000);
        passed = guess - host->base_true_ns;
    }
    return guess;
}

static void rebase(sim_host *host) {
    host->base_local_ns = sim_local(host);
    host->base_true_ns = host->s->now_ns;
}

void sim_host_jump(sim_host *host, int64_t ns) {
    rebase(host);
    host->base_local_ns += ns;
}

/* ---- ds_world ---------------------------------------------------------------------------------------------------- */

static sim_host *host_of(ds_world *world) {
    return DS_CONTAINER_OF(world, sim_host, base);
}

static int64_t world_now(ds_world *world) {
    return sim_local(host_of(world));
}

static int64_t world_wall(ds_world *world) {
    return host_of(world)->wall_ms + sim_local(host_of(world)) / DS_MS;
}

static void world_random(ds_world *world, void *out, size_t size) {
    for (size_t done = 0; done < size; done += sizeof(uint64_t)) {
        uint64_t number = sim_random(host_of(world)->s);
        memcpy((char *)out + done, &number, size - done < sizeof number ? size - done : sizeof number);
    }
}

static bool before(const sim_alarm *a, const sim_alarm *b) {
    return a->timer->at_ns != b->timer->at_ns ? a->timer->at_ns < b->timer->at_ns : a->order < b->order;
}

static void place(sim_host *host, size_t at, sim_alarm alarm) {
    host->alarms[at] = alarm;
    alarm.timer->index = at;
}

static void settle_alarm(sim_host *host, size_t at) {
    sim_alarm moved = host->alarms[at];
    for (; at > 1 && before(&moved, &host->alarms[at / 2]); at /= 2) {
        place(host, at, host->alarms[at / 2]);
    }
    for (size_t child; (child = 2 * at) <= host->alarm_count; at = child) {
        if (child < host->alarm_count && before(&host->alarms[child + 1], &host->alarms[child])) {
            child++;
        }
        if (!before(&host->alarms[child], &moved)) {
            break;
        }
        place(host, at, host->alarms[child]);
    }
    place(host, at, moved);
}

static void world_timer_stop(ds_world *world, ds_timer *timer) {
    sim_host *host = host_of(world);
    size_t at = timer->index;
    if (at == 0) {
        return;
    }
    timer->index = 0;
    sim_alarm last = host->alarms[host->alarm_count--];
    if (last.timer != timer) {
        place(host, at, last);
        settle_alarm(host, at);
    }
}

static void world_timer_set(ds_world *world, ds_timer *timer, int64_t at_ns) {
    sim_host *host = host_of(world);
    world_timer_stop(world, timer);
    if (host->alarm_count + 2 > host->alarm_capacity) {
        host->alarm_capacity = host->alarm_capacity == 0 ? 64 : host->alarm_capacity * 2;
        host->alarms = sim_alloc(host->alarms, host->alarm_capacity * sizeof *host->alarms);
    }
    timer->at_ns = at_ns;
    host->alarm_count++;
    place(host, host->alarm_count, (sim_alarm){timer, ++host->s->order});
    settle_alarm(host, host->alarm_count);
}

static void world_post(ds_world *world, ds_task *task) {
    if (ds_list_empty(&task->node)) {
        ds_list_append(&host_of(world)->tasks, &task->node);
    }
}

static void world_fd_watch(ds_world *world, ds_fd *fd) {
    sim_host *host = host_of(world);
    if (ds_list_empty(&fd->node)) {
        ds_list_append(&host->fds, &fd->node);
    }
    if (host->s->model->watched != NULL) {
        host->s->model->watched(host->s->servers, host, fd->fd);
    }
}

static void world_fd_unwatch(ds_world *world, ds_fd *fd) {
    (void)world;
    ds_list_remove(&fd->node);
}

void sim_host_ready(sim_host *host, int number, unsigned events) {
    for (ds_list *link = host->fds.next; link != &host->fds; link = link->next) {
        ds_fd *fd = DS_LIST_ENTRY(link, ds_fd, node);
        if (fd->fd == number && (fd->want & events) != 0) {
            (void)sim_memory_client(true);
            fd->ready(fd, fd->want & events);
            (void)sim_memory_client(false);
            return;
        }
    }
}

static const ds_world_ops world_ops = {
    .now = world_now,
    .wall_ms = world_wall,
    .random = world_random,
    .timer_set = world_timer_set,
    .timer_stop = world_timer_stop,
    .post = world_post,
    .notify = world_post,
    .http_start = sim_http_start,
    .http_cancel = sim_http_cancel,
    .http_send = sim_http_send,
    .fd_watch = world_fd_watch,
    .fd_unwatch = world_fd_unwatch,
};

sim_host *sim_host_new(sim *s) {
    size_t at = 0;
    while (at < s->host_count && s->hosts[at] != NULL) {
        at++;
    }
    sim_host *host = sim_alloc(NULL, sizeof *host);
    memset(host, 0, sizeof *host);
    s->hosts[at] = host;
    s->host_count = at == s->host_count ? at + 1 : s->host_count;
    host->base.ops = &world_ops;
    host->s = s;
    host->number = (unsigned)at;
    host->base_true_ns = s->now_ns;
    host->base_local_ns = sim_between(s, DS_SECOND, 500 * DS_SECOND);
    host->wall_ms = START_WALL_MS;
    ds_list_init(&host->tasks);
    ds_list_init(&host->inbox);
    ds_list_init(&host->requests);
    ds_list_init(&host->fds);
    return host;
}

void sim_host_kill(sim_host *host) {
    sim *s = host->s;
    host->dead = true;
    while (host->alarm_count > 0) {
        world_timer_stop(&host->base, host->alarms[1].timer);
    }
    while (ds_list_pop(&host->tasks) != NULL) {
    }
    while (ds_list_pop(&host->fds) != NULL) {
    }
    sim_http_drop(host);
    if (s->model->died != NULL) {
        s->model->died(s->servers, host);
    }
}

static void resume(sim *s, void *argument) {
    sim_host *host = argument;
    host->paused = false;
    host->resumed_ns = s->now_ns;
    if (!host->dead) {
        sim_note(s, "client %u runs again", host->number);
        (void)sim_see(s, &(chk_event){.kind = CHK_RESUME, .at_ns = s->now_ns, .client = host->number});
    }
}

void sim_host_pause(sim_host *host, int64_t ns) {
    sim *s = host->s;
    host->paused = true;
    sim_note(s, "client %u is stopped for %.3f s", host->number, (double)ns / 1e9);
    (void)sim_see(s, &(chk_event){.kind = CHK_PAUSE, .at_ns = s->now_ns, .client = host->number});
    sim_at(s, s->now_ns + ns, NULL, resume, host, NULL);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static sim_host *with_task(sim *s) {
    for (size_t i = 0; i < s->host_count; i++) {
        sim_host *host = s->hosts[i];
        if (!host->paused && !host->dead && !ds_list_empty(&host->tasks)) {
            return host;
        }
    }
    return NULL;
}

static sim_host *with_alarm(sim *s, int64_t *at_ns) {
    sim_host *found = NULL;
    *at_ns = DS_NEVER;
    for (size_t i = 0; i < s->host_count; i++) {
        sim_host *host = s->hosts[i];
        if (host->paused || host->dead || host->alarm_count == 0) {
            continue;
        }
        int64_t at = sim_true(host, host->alarms[1].timer->at_ns);
        if (at < *at_ns) {
            *at_ns = at;
            found = host;
        }
    }
    return found;
}

static void run_task(sim_host *host) {
    ds_task *task = DS_LIST_ENTRY(ds_list_pop(&host->tasks), ds_task, node);
    (void)sim_memory_client(true);
    task->run(task);
    (void)sim_memory_client(false);
}

static void run_alarm(sim_host *host) {
    ds_timer *timer = host->alarms[1].timer;
    world_timer_stop(&host->base, timer);
    (void)sim_memory_client(true);
    timer->fire(timer);
    (void)sim_memory_client(false);
}

typedef struct late {
    ds_list node;
    sim_event event;
} late;

static void run_event(sim *s, sim_event *event) {
    if (event->host != NULL && event->host->dead) {
        if (event->drop != NULL) {
            event->drop(event->argument);
        }
    } else if (event->host != NULL && event->host->paused) {
        late *kept = sim_alloc(NULL, sizeof *kept);
        kept->event = *event;
        ds_list_append(&event->host->inbox, &kept->node);
    } else {
        event->run(s, event->argument);
    }
}

/* Whom something came for while it was stopped. */
static sim_host *with_mail(sim *s) {
    for (size_t i = 0; i < s->host_count; i++) {
        if (!s->hosts[i]->paused && !ds_list_empty(&s->hosts[i]->inbox)) {
            return s->hosts[i];
        }
    }
    return NULL;
}

static void run_mail(sim *s, sim_host *host) {
    late *kept = DS_LIST_ENTRY(ds_list_pop(&host->inbox), late, node);
    sim_event event = kept->event;
    (void)sim_alloc(kept, 0);
    run_event(s, &event);
}

/* Mail comes before anything later, for nothing overtakes on a connection; whether it comes before the timers that are
 * overdue on the same host is left to chance. */
bool sim_run(sim *s, int64_t until_ns, void (*step)(sim *s, sim_host *host)) {
    while (s->check.broken == 0) {
        int64_t alarm_ns, event_ns = s->event_count > 0 ? s->events[1].at_ns : DS_NEVER;
        sim_host *mail = with_mail(s), *host = mail;
        bool mail_first = mail != NULL && sim_random(s) % 2;
        if (++s->steps > STEPS_MAX) {
            s->check.broken = CHK_HANG;
            (void)snprintf(s->check.why, sizeof s->check.why, "the run goes on and on in no time");
            return false;
        }
        if (mail_first) {
            run_mail(s, mail);
        } else if ((host = with_task(s)) != NULL) {
            run_task(host);
        } else if ((host = with_alarm(s, &alarm_ns)) != NULL && alarm_ns <= (mail != NULL ? s->now_ns : until_ns) &&
                   alarm_ns <= event_ns) {
            s->now_ns = alarm_ns > s->now_ns ? alarm_ns : s->now_ns;
            run_alarm(host);
        } else if (mail != NULL) {
            host = mail;
            run_mail(s, mail);
        } else if (event_ns <= until_ns) {
            sim_event event = take_event(s);
            s->now_ns = event.at_ns > s->now_ns ? event.at_ns : s->now_ns;
            host = event.host;
            run_event(s, &event);
        } else {
            s->now_ns = until_ns > s->now_ns ? until_ns : s->now_ns;
            return true;
        }
        step(s, host);
    }
    return false;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

sim *sim_new(uint64_t seed, const sim_model_ops *model, sim_counts *counts, bool trace) {
    sim *s = sim_alloc(NULL, sizeof *s);
    memset(s, 0, sizeof *s);
    uint64_t state = seed;
    s->seed = seed;
    s->random[0] = split(&state);
    s->random[1] = split(&state);
    s->now_ns = START_NS;
    s->model = model;
    s->counts = counts;
    s->trace = trace;
    chk_init(&s->check);
    s->check.orphan_ns = model->times.orphan_ns;
    s->check.copies_ns = model->times.copies_ns;
    s->check.owners = model->owners;
    sim_memory_begin(s);
    sim_plan_make(s);
    s->servers = model->start(s);
    return s;
}

void sim_free(sim *s) {
    for (size_t i = 0; i < s->host_count; i++) {
        sim_http_drop(s->hosts[i]);
    }
    s->model->stop(s->servers);
    while (s->event_count > 0) {
        sim_event event = take_event(s);
        if (event.drop != NULL) {
            event.drop(event.argument);
        }
    }
    for (size_t i = 0; i < s->host_count; i++) {
        sim_host *host = s->hosts[i];
        ds_list *link;
        while ((link = ds_list_pop(&host->inbox)) != NULL) {
            late *kept = DS_LIST_ENTRY(link, late, node);
            if (kept->event.drop != NULL) {
                kept->event.drop(kept->event.argument);
            }
            (void)sim_alloc(kept, 0);
        }
        (void)sim_alloc(host->alarms, 0);
        (void)sim_alloc(host, 0);
    }
    chk_free(&s->check);
    (void)sim_alloc(s->events, 0);
    (void)sim_alloc(s, 0);
}
