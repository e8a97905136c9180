/* worker.c: one client that takes, keeps, loses, gives back, cancels and forgets a few locks at once. */
#include "campaign.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RELEASE_MS(ttl) (2 * ((ttl) / 8 < 250 ? 250 : (ttl) / 8) + 500)
#define PATIENCE_MS 5000 /* after which a call that finds no server says so */
#define REST_MS 12000
#define TOLD_MS 500     /* so long a lost lock is kept, for a second announcement to show */
#define UNTOLD_MS 10000 /* a loss that is announced later than that never is */

typedef enum slot_state { FREE, ACQUIRING, HOLDING, LOSING, RELEASING } slot_state;

typedef struct slot {
    slot_state state;
    dsync_lock *lock;
    dsync_op *op, *put;
    int name, told;
    bool cancelled;
    uint64_t acquisition;
    int64_t limit_ns; /* the pending call's own deadline */
    int64_t put_limit_ns;
    int64_t next_ns; /* when to cancel, or to release */
    int64_t lost_ns;
    px_claim claim;
} slot;

typedef struct run {
    px_worker *worker;
    dsync_client *client;
    char id[24];
    slot slots[PX_SLOTS];
    dsync_watcher *watcher; /* of the election */
    dsync_op *look;         /* a read that is under way */
    int64_t look_limit_ns;
} run;

static uint64_t roll(px_worker *worker, uint64_t sides) {
    worker->state = px_mix(worker->state);
    return worker->state % sides;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static void check_end(const run *r, const char *what, int64_t limit_ns) {
    int64_t late = px_now() - limit_ns;
    atomic_fetch_add(&px.calls, 1);
    if (late > atomic_load(&px.worst_end_ns)) {
        atomic_store(&px.worst_end_ns, late);
    }
    if (late <= PX_GRACE) {
        return;
    }
    /* The thread that ends it and the one that asks whether it has ended may each have been kept waiting. */
    int64_t lag = px_machine_lag(limit_ns);
    if (late <= PX_GRACE + 2 * lag) {
        atomic_fetch_add(&px.excused, 1);
        return;
    }
    px_report(PX_OVERDUE, "%s: %s ended %.0f ms after its deadline, on a machine late by %.0f ms", r->id, what,
              (double)late / PX_MS, (double)lag / PX_MS);
}

/* ---- one lock ---------------------------------------------------------------------------------------------------- */

static void drop_put(run *r, slot *s) {
    if (s->put != NULL && dsync_op_done(s->put)) {
        check_end(r, "put", s->put_limit_ns);
    }
    dsync_op_free(s->put);
    s->put = NULL;
}

static void clear(run *r, slot *s) {
    drop_put(r, s);
    dsync_op_free(s->op);
    dsync_lock_free(s->lock);
    memset(s, 0, sizeof *s);
}

static int choose_name(run *r) {
    uint64_t n = roll(r->worker, 100);
    if (n < 70) {
        return 6 + r->worker->number % (PX_NAMES - 6); /* its own: slots of one client take turns */
    }
    return (int)(n < 80 ? roll(r->worker, 2) : roll(r->worker, 6));
}

static void begin(run *r, slot *s) {
    dsync_error error;
    dsync_acquire_options how;
    dsync_lock_options lock;
    dsync_lock_options_init(&lock);
    dsync_acquire_options_init(&how);
    s->name = choose_name(r);
    lock.own_session = roll(r->worker, 40) == 0;
    s->lock = s->name == 0 ? dsync_leader_new(r->client, px_name(0), &lock, &error)
                           : dsync_lock_new(r->client, px_name(s->name), &lock, &error);
    static const int64_t waits[] = {0, 60, 300, 300, 1200, 3000, 3000, 6000};
    how.wait_ms = waits[roll(r->worker, 8)];
    int64_t now = px_now();
    s->op = s->lock != NULL ? dsync_acquire_start(s->lock, &how, &error) : NULL;
    if (s->op == NULL) {
        px_report(PX_STUCK, "%s: acquire did not begin: %s", r->id, error.message);
        clear(r, s);
        return;
    }
    dsync_op_notify(s->op);
    s->state = ACQUIRING;
    s->limit_ns = now + (how.wait_ms == 0 ? PATIENCE_MS : how.wait_ms) * PX_MS;
    s->next_ns = roll(r->worker, 8) == 0 ? now + (int64_t)roll(r->worker, 500) * PX_MS : INT64_MAX;
}

/* Asks held(), between two looks at the clock, and stretches the claim. */
static bool believes(slot *s) {
    int64_t before = px_now();
    bool held = dsync_held(s->lock);
    int64_t after = px_now();
    if (held && s->claim.from_ns == 0) {
        s->claim.from_ns = after;
        s->claim.until_ns = after;
    } else if (held) {
        s->claim.until_ns = before;
    }
    return held;
}

static void end_claim(slot *s) {
    if (s->claim.from_ns != 0) {
        px_claimed(&s->claim);
    }
    s->claim.from_ns = 0;
}

static void acquired(run *r, slot *s) {
    static const uint64_t most_ms[] = {0, 0, 0, 0, 0, 0, 5, 5, 5, 5, 5, 30, 30, 30, 30, 30, 30, 200, 200, 3500};
    dsync_op_free(s->op);
    s->op = NULL;
    s->state = HOLDING;
    s->claim = (px_claim){.name = s->name, .token = dsync_token(s->lock)};
    snprintf(s->claim.owner, sizeof s->claim.owner, "%s", r->id);
    s->acquisition = dsync_acquisition(s->lock);
    uint64_t most = most_ms[roll(r->worker, sizeof most_ms / sizeof most_ms[0])];
    s->next_ns = px_now() + (int64_t)roll(r->worker, most + 1) * PX_MS;
    atomic_fetch_add(&px.acquired, 1);
    if (believes(s) && roll(r->worker, 5) == 0) {
        s->put_limit_ns = px_now() + PATIENCE_MS * PX_MS;
        s->put = dsync_put_start(s->lock, px_name(s->name), r->id, strlen(r->id), NULL);
    }
}

static void release(run *r, slot *s) {
    dsync_error error;
    (void)believes(s);
    end_claim(s);
    if (roll(r->worker, 12) == 0) {
        clear(r, s); /* forgotten while held: released in the background */
        return;
    }
    int64_t now = px_now();
    s->op = dsync_release_start(s->lock, &error);
    if (s->op == NULL) {
        clear(r, s);
        return;
    }
    dsync_op_notify(s->op);
    s->state = RELEASING;
    s->limit_ns = now + RELEASE_MS(px.ttl_ms) * PX_MS;
}

static void lost(slot *s) {
    end_claim(s);
    s->state = LOSING;
    s->lost_ns = px_now();
    atomic_fetch_add(&px.lost, 1);
}

static void step_acquiring(run *r, slot *s, bool hurry) {
    int64_t now = px_now();
    if (!dsync_op_done(s->op)) {
        if (!s->cancelled && (now >= s->next_ns || hurry)) {
            s->cancelled = true;
            if (roll(r->worker, 3) == 0) {
                clear(r, s); /* with all that hangs on it */
                return;
            }
            dsync_op_cancel(s->op);
            s->limit_ns = now;
        }
        return;
    }
    const char *message;
    dsync_code code = dsync_op_result(s->op, &message);
    check_end(r, s->cancelled ? "cancelled acquire" : "acquire", s->limit_ns);
    if (code == DSYNC_OK) {
        acquired(r, s);
        return;
    }
    atomic_fetch_add(s->cancelled ? &px.cancelled : &px.failed, 1);
    clear(r, s);
}

static void step_holding(run *r, slot *s, bool hurry) {
    if (!believes(s)) {
        lost(s);
    } else if (hurry || px_now() >= s->next_ns) {
        release(r, s);
    } else if (s->put != NULL && dsync_op_done(s->put)) {
        drop_put(r, s);
    }
}

static void step_losing(run *r, slot *s) {
    int64_t since = px_now() - s->lost_ns;
    if (since < TOLD_MS * PX_MS || (s->told == 0 && since < UNTOLD_MS * PX_MS)) {
        return;
    }
    if (s->told != 1) {
        px_report(PX_UNTOLD, "%s: the loss of %s was announced %d times", r->id, px_name(s->name), s->told);
    }
    clear(r, s);
}

static void step_releasing(run *r, slot *s) {
    if (!dsync_op_done(s->op)) {
        return;
    }
    const char *message;
    dsync_code code = dsync_op_result(s->op, &message);
    check_end(r, "release", s->limit_ns);
    atomic_fetch_add(code == DSYNC_OK ? &px.released : code == DSYNC_UNKNOWN ? &px.unknown : &px.lost, 1);
    clear(r, s);
}

static void step(run *r, slot *s, bool hurry) {
    switch (s->state) {
    case FREE:
        if (!hurry) {
            begin(r, s);
        }
        break;
    case ACQUIRING:
        step_acquiring(r, s, hurry);
        break;
    case HOLDING:
        step_holding(r, s, hurry);
        break;
    case LOSING:
        step_losing(r, s);
        break;
    case RELEASING:
        step_releasing(r, s);
        break;
    }
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static void look(run *r) {
    if (r->look != NULL) {
        if (dsync_op_done(r->look)) {
            check_end(r, "read", r->look_limit_ns);
            dsync_op_free(r->look);
            r->look = NULL;
        }
        return;
    }
    if (roll(r->worker, 400) != 0) {
        return;
    }
    r->look_limit_ns = px_now() + PATIENCE_MS * PX_MS;
    switch (roll(r->worker, 4)) {
    case 0:
        r->look = dsync_get_start(r->client, px_name(6 + r->worker->number % (PX_NAMES - 6)), NULL);
        break;
    case 1:
        r->look = dsync_locks_start(r->client, "", NULL);
        break;
    case 2:
        r->look = dsync_members_start(r->client, NULL, NULL);
        break;
    default:
        r->look = dsync_ping_start(r->client, -1, NULL);
        break;
    }
}

/* Who leads, as the watcher tells it. */
static void follow(run *r) {
    dsync_change change;
    dsync_error error;
    int got = 0;
    while (r->watcher != NULL && (got = dsync_watch_next(r->watcher, &change, &error)) > 0) {
        if (strcmp(change.type, "elected") == 0) {
            atomic_store(&px.leader_seen[r->worker->number], change.token);
        } else if (strcmp(change.type, "vacant") == 0) {
            atomic_store(&px.leader_seen[r->worker->number], 0);
        }
    }
    if (got < 0 || r->watcher == NULL) {
        dsync_watcher_free(r->watcher); /* a refusal on the way ends it: begin another */
        r->watcher = dsync_watch(r->client, NULL, px_name(0), NULL, &error);
        atomic_store(&px.leader_seen[r->worker->number], 0);
        atomic_fetch_add(&px.watchers, 1);
    }
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

static void take_events(run *r) {
    dsync_event event;
    (void)dsync_wait_event(r->client, 2);
    follow(r);
    look(r);
    while (dsync_next_event(r->client, &event)) {
        for (int i = 0; i < PX_SLOTS && event.type == DSYNC_EVENT_REVOKED; i++) {
            slot *s = &r->slots[i];
            if (s->lock != NULL && dsync_lock_number(s->lock) == event.number &&
                dsync_acquisition(s->lock) == event.acquisition) {
                s->told++;
            }
        }
    }
}

static bool busy(const run *r) {
    for (int i = 0; i < PX_SLOTS; i++) {
        if (r->slots[i].state != FREE) {
            return true;
        }
    }
    return false;
}

static bool open_client(run *r) {
    char url[64];
    dsync_options options;
    dsync_error error;
    dsync_options_init(&options);
    const px_store *store = px.proxy.store;
    snprintf(url, sizeof url, "%s://127.0.0.1:%d", store->scheme, r->worker->direct ? px.server_port : px.proxy.port);
    snprintf(r->id, sizeof r->id, "w%d.%d", r->worker->number, atomic_load(&px.round));
    options.prefix = "proxy";
    options.ttl_ms = px.ttl_ms;
    options.settings = store->setting;
    options.setting_count = store->setting != NULL;
    options.id = r->id;
    r->client = dsync_open(url, &options, &error);
    if (r->client == NULL) {
        px_report(PX_STUCK, "%s: open: %s", r->id, error.message);
    }
    atomic_fetch_add(&px.clients, 1);
    return r->client != NULL;
}

/* Whatever is held is lost, without a release. */
static void close_client(run *r) {
    for (int i = 0; i < PX_SLOTS; i++) {
        if (r->slots[i].state == HOLDING) {
            (void)believes(&r->slots[i]);
            end_claim(&r->slots[i]);
        }
    }
    int64_t limit = px_now() + 2000 * PX_MS;
    (void)dsync_close(r->client, -1, NULL);
    check_end(r, "close", limit);
    atomic_fetch_add(&px.closes, 1);
    for (int i = 0; i < PX_SLOTS; i++) {
        clear(r, &r->slots[i]);
    }
    dsync_op_free(r->look);
    dsync_watcher_free(r->watcher);
    r->look = NULL;
    r->watcher = NULL;
    dsync_client_unref(r->client);
    r->client = NULL;
}

static void await_rest(run *r) {
    int64_t begun = px_now();
    dsync_stats stats = {.size = sizeof stats};
    do {
        take_events(r);
        dsync_client_stats(r->client, &stats);
    } while ((stats.entries > 0 || stats.cleaning > 0 || stats.waiting > 0) && px_now() < begun + REST_MS * PX_MS);
    int64_t took = px_now() - begun;
    if (took > atomic_load(&px.worst_rest_ns)) {
        atomic_store(&px.worst_rest_ns, took);
    }
    if (stats.entries > 0 || stats.cleaning > 0 || stats.waiting > 0) {
        px_report(PX_STUCK, "%s: %" PRIu64 " entries, %" PRIu64 " on their way out, %" PRIu64 " waiting after %d ms",
                  r->id, stats.entries, stats.cleaning, stats.waiting, REST_MS);
    }
}

static void rest(run *r, int round) {
    while (busy(r)) {
        for (int i = 0; i < PX_SLOTS; i++) {
            step(r, &r->slots[i], true);
        }
        take_events(r);
    }
    await_rest(r);
    atomic_fetch_add(&px.resting, 1);
    while (atomic_load(&px.phase) == PX_REST && atomic_load(&px.round) == round) {
        take_events(r);
    }
}

void *px_work(void *argument) {
    run r = {.worker = argument};
    while (atomic_load(&px.phase) != PX_END && (r.client != NULL || open_client(&r))) {
        int round = atomic_load(&px.round);
        if (atomic_load(&px.phase) == PX_REST) {
            rest(&r, round);
            continue;
        }
        for (int i = 0; i < PX_SLOTS; i++) {
            step(&r, &r.slots[i], false);
        }
        take_events(&r);
        if (roll(r.worker, 9000) == 0) {
            close_client(&r);
        }
    }
    if (r.client != NULL) {
        close_client(&r);
    }
    atomic_fetch_add(&px.ended, 1);
    return NULL;
}
