/* actor.c: somebody who asks for a lock, holds it for a while, writes under it, gives it back or loses it. Plays the
 * part of the client layer above the core, and tells the checker of everything it sees.
 */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "model.h"

#define PATIENCE_NS (5 * DS_SECOND)

static sim *sim_of(const sim_actor *actor) {
    return actor->client->s;
}

static chk_event event_of(const sim_actor *actor, chk_kind kind) {
    return (chk_event){.kind = kind,
                       .at_ns = sim_of(actor)->now_ns,
                       .client = actor->client->host->number,
                       .lock = actor->lock,
                       .claim = actor->claim_number};
}

static void note(const sim_actor *actor, const char *what, const char *more) {
    sim_note(sim_of(actor), "client %u.%u: %s lock %u%s%s", actor->client->host->number, actor->number, what,
             actor->lock, more[0] != '\0' ? ": " : "", more);
}

/* ---- what it believes -------------------------------------------------------------------------------------------- */

static int64_t believed_until(const sim_actor *actor) {
    const sim_host *host = actor->client->host;
    int64_t until = atomic_load(&actor->claim.deadline_ns), hold = atomic_load(&actor->claim.hold_until_ns);
    int64_t wall = (atomic_load(&actor->claim.wall_deadline_ms) - host->wall_ms) * DS_MS;
    until = hold < until ? hold : until;
    return sim_true(host, wall < until ? wall : until);
}

/* What held() would answer now. */
static bool says_held(const sim_actor *actor) {
    ds_world *world = &actor->client->host->base;
    return ds_claim_left(&actor->claim, world->ops->now(world), world->ops->wall_ms(world)) > 0;
}

static void tell(sim_actor *actor, chk_kind kind) {
    chk_event event = event_of(actor, kind);
    event.until_ns = actor->until_ns;
    event.token = atomic_load(&actor->claim.token);
    (void)sim_see(sim_of(actor), &event);
}

void sim_actor_observe(sim_actor *actor) {
    bool held = ds_claim_get(&actor->claim) == DS_CLAIM_HELD;
    uint64_t acquisition = atomic_load(&actor->claim.acquisition);
    if (held && acquisition != actor->acquisition) {
        actor->acquisition = acquisition;
        actor->claim_number = ++sim_of(actor)->numbers;
        actor->until_ns = believed_until(actor);
        sim_of(actor)->counts->acquisitions++;
        note(actor, "holds", "");
        tell(actor, CHK_BELIEVE);
    } else if (held && actor->claim_number != 0 && believed_until(actor) != actor->until_ns) {
        actor->until_ns = believed_until(actor);
        tell(actor, CHK_UNTIL);
    } else if (says_held(actor) && actor->until_ns <= sim_of(actor)->now_ns) {
        actor->until_ns = sim_of(actor)->now_ns + DS_SECOND; /* against its own deadlines */
        tell(actor, CHK_UNTIL);
    } else if (!held && actor->claim_number != 0 && actor->until_ns != 0) {
        actor->until_ns = 0;
        tell(actor, CHK_LOSE);
    }
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

uint64_t sim_call_begin(sim_client *client, int64_t by_local_ns) {
    sim *s = client->s;
    uint64_t call = ++s->numbers;
    s->counts->calls++;
    sim_note(s, "client %u: call %llu begins, %.3f s", client->host->number, (unsigned long long)call,
             by_local_ns == DS_NEVER ? -1.0 : (double)(by_local_ns - sim_local(client->host)) / 1e9);
    (void)sim_see(s, &(chk_event){.kind = CHK_CALL,
                                  .at_ns = s->now_ns,
                                  .client = client->host->number,
                                  .call = call,
                                  .until_ns = sim_true(client->host, by_local_ns)});
    return call;
}

void sim_call_end(sim_client *client, uint64_t *call) {
    sim *s = client->s;
    if (*call != 0) {
        (void)sim_see(
            s, &(chk_event){.kind = CHK_DONE, .at_ns = s->now_ns, .client = client->host->number, .call = *call});
    }
    *call = 0;
}

static void move_call(const sim_actor *actor, uint64_t call, int64_t by_local_ns) {
    chk_event event = event_of(actor, CHK_MOVE);
    event.call = call;
    int64_t by = sim_true(actor->client->host, by_local_ns);
    event.until_ns = by > event.at_ns ? by : event.at_ns;
    if (call != 0) {
        (void)sim_see(sim_of(actor), &event);
    }
}

void sim_actor_moved(sim_actor *actor) {
    move_call(actor, actor->acquire_call, actor->acquire_by_ns);
    move_call(actor, actor->release_call, actor->release_by_ns);
    move_call(actor, actor->request_call, actor->request_by_ns);
    sim_actor_observe(actor);
}

static int64_t after(const sim_actor *actor, int64_t ns) {
    return sim_local(actor->client->host) + ns;
}

static void think_in(sim_actor *actor, int64_t ns) {
    ds_world *world = &actor->client->host->base;
    world->ops->timer_set(world, &actor->next, after(actor, ns));
}

/* ---- acquiring --------------------------------------------------------------------------------------------------- */

static void think(sim_actor *actor);

static void settled(ds_waiter *waiter, dsync_code code, const char *message) {
    sim_actor *actor = DS_CONTAINER_OF(waiter, sim_actor, waiter);
    sim *s = sim_of(actor);
    actor->code = (int)code;
    sim_note(s, "client %u.%u: acquire of lock %u ends: %s%s%s", actor->client->host->number, actor->number,
             actor->lock, code == DSYNC_OK ? "held" : dsync_code_name(code), message[0] != '\0' ? ": " : "", message);
    sim_call_end(actor->client, &actor->acquire_call);
    sim_actor_observe(actor);
    if (!s->calm && sim_random(s) % 8 == 0) {
        think(actor);
    } else if (s->calm && actor->code == DSYNC_OK && !actor->keeper) {
        think_in(actor, sim_between(s, 0, 5 * DS_MS));
    } else {
        think_in(actor, sim_random(s) % 4 == 0 ? 0 : sim_between(s, 0, 1200 * DS_MS));
    }
}

static void ended(ds_waiter *waiter, dsync_reason reason) {
    sim_actor *actor = DS_CONTAINER_OF(waiter, sim_actor, waiter);
    sim *s = sim_of(actor);
    s->counts->losses++;
    sim_actor_observe(actor);
    note(actor, "is told that it lost", dsync_reason_name(reason));
    tell(actor, CHK_TOLD);
    actor->claim_number = 0;
    if (!s->calm && sim_random(s) % 4 == 0) {
        think(actor);
    } else {
        think_in(actor, sim_between(s, 0, 500 * DS_MS));
    }
}

static void acquire(sim_actor *actor, bool only_try, int64_t wait_ns) {
    sim *s = sim_of(actor);
    ds_waiter *waiter = &actor->waiter;
    ds_waiter_look(waiter);
    ds_waiter_end_loss(waiter);
    if (waiter->state != DS_WAITER_DONE || actor->client->closing) {
        return;
    }
    waiter->only_try = only_try;
    waiter->wait_ns = wait_ns;
    waiter->hold_ns = !s->calm && sim_random(s) % 10 == 0 ? sim_between(s, DS_MS, 4 * DS_SECOND) : DS_NEVER;
    int64_t limit = only_try ? PATIENCE_NS : wait_ns;
    actor->acquire_by_ns = limit == DS_NEVER ? DS_NEVER : after(actor, limit);
    actor->acquire_call = sim_call_begin(actor->client, actor->acquire_by_ns);
    note(actor, only_try ? "tries" : "asks for", "");
    ds_acquire(actor->client->engine, sim_path_of(actor->lock), waiter);
}

static void ask(sim_actor *actor) {
    sim *s = sim_of(actor);
    bool only_try = sim_random(s) % 4 == 0;
    int64_t wait = sim_random(s) % 3 == 0 ? DS_NEVER : sim_between(s, 10 * DS_MS, 4 * DS_SECOND);
    acquire(actor, only_try, only_try ? 0 : wait);
    if (actor->waiter.state == DS_WAITER_QUEUED) {
        think_in(actor, sim_between(s, 0, 6 * DS_SECOND));
    }
}

/* ---- holding ----------------------------------------------------------------------------------------------------- */

static void released(ds_release *release, dsync_code code, int64_t free_by_ms) {
    sim_actor *actor = DS_CONTAINER_OF(release, sim_actor, release);
    (void)free_by_ms;
    note(actor, "has released", dsync_code_name(code));
    sim_call_end(actor->client, &actor->release_call);
}

static void release(sim_actor *actor) {
    sim *s = sim_of(actor);
    ds_waiter_look(&actor->waiter);
    if (ds_waiter_entry(&actor->waiter) == NULL) {
        return;
    }
    sim_actor_observe(actor);
    note(actor, "releases", "");
    actor->until_ns = 0;
    tell(actor, CHK_RELEASE);
    actor->claim_number = 0;
    think_in(actor, sim_between(s, 0, 500 * DS_MS));
    if (actor->release_call != 0 || (!s->calm && sim_random(s) % 5 == 0)) {
        ds_waiter_drop(&actor->waiter);
        return;
    }
    int64_t limit = sim_between(s, 200 * DS_MS, 3 * DS_SECOND);
    actor->release_by_ns = after(actor, limit);
    actor->release_call = sim_call_begin(actor->client, actor->release_by_ns);
    actor->release.done = released;
    ds_waiter_release(&actor->waiter, &actor->release, limit);
}

typedef struct late_write {
    unsigned lock;
    int64_t token;
} late_write;

static void drop_late(void *argument) {
    (void)sim_alloc(argument, 0);
}

static void reach_store(sim *s, void *argument) {
    const late_write *w = argument;
    sim_note(s, "store: a write with token %lld of lock %u", (long long)w->token, w->lock);
    (void)sim_see(s, &(chk_event){.kind = CHK_FENCE, .at_ns = s->now_ns, .lock = w->lock, .token = w->token});
    drop_late(argument);
}

/* To a store outside, which looks at the token only; on its way for any time. */
static void write_outside(sim_actor *actor) {
    sim *s = sim_of(actor);
    late_write *w = sim_alloc(NULL, sizeof *w);
    *w = (late_write){actor->lock, atomic_load(&actor->claim.token)};
    sim_at(s, s->now_ns + (sim_random(s) % 4 == 0 ? sim_between(s, 0, 3 * DS_SECOND) : DS_MS), NULL, reach_store, w,
           drop_late);
}

static void request_done(ds_request *request, dsync_code code, const char *message, const ds_reply *reply) {
    sim_actor *actor = DS_CONTAINER_OF(request, sim_actor, request);
    (void)message;
    (void)reply;
    note(actor, "request ends under", dsync_code_name(code));
    sim_call_end(actor->client, &actor->request_call);
}

static void start_request(sim_actor *actor, ds_request_kind kind) {
    static const char *const data[] = {"dsync/data/K0", "dsync/data/K1", "dsync/data/K2"};
    ds_request *request = &actor->request;
    sim *s = sim_of(actor);
    if (actor->request_call != 0) {
        return;
    }
    bool write = kind == DS_REQUEST_PUT || kind == DS_REQUEST_VALUE;
    memset(request, 0, sizeof *request);
    (void)snprintf(actor->value, sizeof actor->value, "%lld", (long long)atomic_load(&actor->claim.token));
    request->kind = kind;
    request->key = kind == DS_REQUEST_PUT || kind == DS_REQUEST_GET ? data[actor->lock] : sim_path_of(actor->lock);
    request->value = actor->value;
    request->value_size = strlen(actor->value);
    request->waiter = write ? &actor->waiter : NULL;
    request->token = chk_head(&s->check, actor->lock);
    request->timeout_ns = sim_between(s, 100 * DS_MS, PATIENCE_NS);
    request->done = request_done;
    actor->request_by_ns = after(actor, request->timeout_ns);
    actor->request_call = sim_call_begin(actor->client, actor->request_by_ns);
    note(actor, "request under", write ? "write" : "read");
    ds_request_start(actor->client->engine, request);
}

static void use(sim_actor *actor) {
    sim *s = sim_of(actor);
    switch (sim_random(s) % 6) {
    case 0:
        start_request(actor, sim_random(s) % 2 ? DS_REQUEST_PUT : DS_REQUEST_VALUE);
        break;
    case 1:
    case 2:
        if (says_held(actor)) {
            write_outside(actor);
        }
        break;
    case 3:
        if (!actor->keeper) {
            release(actor);
            return;
        }
        break;
    default:
        break;
    }
    think_in(actor, sim_between(s, 0, actor->keeper ? 2500 * DS_MS : 500 * DS_MS));
}

/* ---- thinking ---------------------------------------------------------------------------------------------------- */

static void idle(sim_actor *actor) {
    sim *s = sim_of(actor);
    switch (sim_random(s) % 12) {
    case 0:
        start_request(actor, sim_random(s) % 2 ? DS_REQUEST_GET : DS_REQUEST_LIST);
        think_in(actor, 100 * DS_MS);
        break;
    case 1:
        if (s->plan.rate[SIM_DELETED] > 0 && chk_head(&s->check, actor->lock) > 0 &&
            chk_head_client(&s->check, actor->lock) != actor->client->host->number) {
            start_request(actor, DS_REQUEST_EVICT);
        }
        think_in(actor, 100 * DS_MS);
        break;
    default:
        ask(actor);
        break;
    }
}

static void think(sim_actor *actor) {
    sim *s = sim_of(actor);
    if (actor->client->closing) {
        return;
    }
    if (actor->waiter.state == DS_WAITER_HOLDING && s->calm) {
        if (!actor->keeper) {
            release(actor);
        }
    } else if (actor->waiter.state == DS_WAITER_HOLDING) {
        use(actor);
    } else if (s->calm) {
        return;
    } else if (actor->waiter.state == DS_WAITER_QUEUED) {
        if (sim_random(s) % 2 == 0) {
            ds_waiter_cancel(&actor->waiter, DSYNC_CANCELLED, "changed its mind");
        } else {
            think_in(actor, sim_between(s, 0, 4 * DS_SECOND));
        }
    } else {
        idle(actor);
    }
}

static void think_again(ds_timer *timer) {
    think(DS_CONTAINER_OF(timer, sim_actor, next));
}

void sim_actor_rest(sim_actor *actor) {
    if (actor->waiter.state == DS_WAITER_QUEUED) {
        ds_waiter_cancel(&actor->waiter, DSYNC_CANCELLED, "enough");
    } else if (actor->waiter.state == DS_WAITER_HOLDING && !actor->keeper) {
        release(actor);
    }
}

void sim_actor_drill(sim_actor *actor) {
    if (actor->waiter.state == DS_WAITER_HOLDING) {
        actor->keeper = false;
        release(actor);
    }
    actor->keeper = false;
    actor->code = -1;
    acquire(actor, false, sim_of(actor)->model->times.drill_ns);
}

void sim_actor_init(sim_actor *actor, sim_client *client, unsigned number) {
    sim *s = client->s;
    memset(actor, 0, sizeof *actor);
    actor->client = client;
    actor->number = number;
    actor->lock = (unsigned)(sim_random(s) % SIM_LOCKS);
    actor->keeper = sim_random(s) % 8 == 0;
    actor->next.fire = think_again;
    ds_claim_init(&actor->claim);
    ds_waiter *waiter = &actor->waiter;
    waiter->claim = &actor->claim;
    waiter->label = sim_path_of(actor->lock);
    waiter->params.ttl_ms = client->ttl_ms;
    waiter->params.owner = sim_random(s) % 6 == 0 ? number + 1 : 0;
    waiter->node_id = "node";
    waiter->value = "v";
    waiter->value_size = 1;
    waiter->raw = sim_random(s) % 8 == 0;
    waiter->shared = actor->lock != SIM_ELECTION;
    waiter->settled = settled;
    waiter->ended = ended;
    think_in(actor, sim_between(s, 0, 300 * DS_MS));
}
