/* target_core.c: the state machines themselves. Bytes become what hosts ask, what a store answers, and when; the store
 * is scripted and bound by nothing but the form of its answers. What must hold whatever it says:
 *
 *  - nobody believes to hold beyond what the last confirmed grant or renewal of its session allows;
 *  - an acquisition is settled once, and then either lost once or released once;
 *  - every wait, release and request ends by its own deadline;
 *  - after closing, nothing is left: no memory, no timer, no call, no watch.
 */
#include "fuzz.h"

#include "../csrc/core/observer.h"
#include "../csrc/core/request.h"
#include "../spec/unit/core_fixture.h"

#define LOCKS 8
#define REQUESTS 6
#define OBSERVERS 2
#define STEPS 160
#define LATE (100 * DS_MS)

typedef enum stage { FREE, ASKED, HOLDING, LEAVING } stage;

typedef struct user {
    lock *l;
    stage stage;
    int64_t due_ns; /* DS_NEVER: none */
} user;

typedef struct ask {
    ds_request request;
    bool busy;
    int64_t due_ns;
} ask;

typedef struct eye {
    ds_observer observer;
    bool on;
} eye;

static struct {
    fz *in;
    desk d;
    user users[LOCKS];
    ask asks[REQUESTS];
    eye eyes[OBSERVERS];
    bool paused, slept; /* slept: since then nothing can be said of deadlines until everybody was heard */
} t;

static user *user_of(const lock *l) {
    for (size_t i = 0; i < LOCKS; i++) {
        if (t.users[i].l == l) {
            return &t.users[i];
        }
    }
    fz_fail(__FILE__, __LINE__, "a lock that nobody uses");
}

/* ---- what locks hear --------------------------------------------------------------------------------------------- */

static void on_settled(lock *l) {
    user *u = user_of(l);
    FZ_CHECK(u->stage == ASKED);
    u->stage = l->code == DSYNC_OK ? HOLDING : FREE;
    u->due_ns = DS_NEVER;
}

static void on_lost(lock *l) {
    user *u = user_of(l);
    FZ_CHECK(u->stage == HOLDING);
    u->stage = FREE;
}

static void on_released(lock *l) {
    user *u = user_of(l);
    FZ_CHECK(u->stage == LEAVING);
    u->stage = FREE;
    u->due_ns = DS_NEVER;
}

static bool on_page(ds_request *request, const ds_reply *reply) {
    (void)request;
    FZ_CHECK(reply->outcome == DS_OK);
    return true;
}

static void on_answer(ds_request *request, dsync_code code, const char *message, const ds_reply *reply) {
    ask *a = DS_CONTAINER_OF(request, ask, request);
    FZ_CHECK(a->busy && (reply == NULL || code == DSYNC_OK));
    FZ_CHECK(code == DSYNC_OK || (message != NULL && message[0] != '\0'));
    a->busy = false;
}

static void on_change(ds_observer *observer, ds_change_kind kind, const char *path, const ds_member *member,
                      bool missed) {
    eye *e = DS_CONTAINER_OF(observer, eye, observer);
    (void)missed;
    FZ_CHECK(e->on && path != NULL && (member == NULL) == (kind == DS_CHANGE_VACANT));
}

static void on_end(ds_observer *observer, dsync_code code, const char *message) {
    eye *e = DS_CONTAINER_OF(observer, eye, observer);
    FZ_CHECK(e->on && code != DSYNC_OK && message != NULL);
    e->on = false;
}

/* ---- what must hold ---------------------------------------------------------------------------------------------- */

/* When the last confirmed grant or renewal of a session was sent; -1: none was. */
static int64_t confirmed_ns(uint64_t lease, int64_t *ttl_ns) {
    int64_t sent = -1;
    const sb *b = t.d.backend;
    for (size_t i = 0; i < b->call_count; i++) {
        const sb_call *c = b->calls[i];
        bool ok = c->over && !c->cancelled && c->lease == lease && c->reply.outcome == DS_OK;
        if (ok && (c->op == SB_OPEN || c->op == SB_RENEW)) {
            sent = c->at_ns;
            if (c->op == SB_OPEN) {
                *ttl_ns = c->reply.ttl_ms * DS_MS;
            }
        }
    }
    return sent;
}

static void check_holder(const user *u) {
    if (!lock_held(u->l)) {
        return;
    }
    const ds_session *session = ds_waiter_session(&u->l->waiter);
    FZ_CHECK(u->stage == HOLDING && session != NULL && !t.d.engine->closing);
    int64_t ttl_ns = 0, sent = confirmed_ns(session->lease.nonce, &ttl_ns);
    int64_t margin = ttl_ns / 5 > 250 * DS_MS ? ttl_ns / 5 : 250 * DS_MS;
    margin = margin < ttl_ns / 2 ? margin : ttl_ns / 2;
    FZ_CHECK(sent >= 0 && fw_now(t.d.u) < sent + ttl_ns - margin);
    FZ_CHECK(atomic_load(&u->l->claim.token) > 0);
}

static void check_all(void) {
    int64_t now = fw_now(t.d.u);
    for (size_t i = 0; i < LOCKS; i++) {
        if (t.users[i].l == NULL) {
            continue;
        }
        check_holder(&t.users[i]);
        FZ_CHECK(t.slept || t.users[i].due_ns > now - LATE);
        for (size_t k = 0; k < i; k++) { /* one path, one entry, one holder */
            const user *a = &t.users[i], *b = &t.users[k];
            FZ_CHECK(b->l == NULL || a->l->waiter.contender == NULL ||
                     a->l->waiter.contender != b->l->waiter.contender || !lock_held(a->l) || !lock_held(b->l));
        }
    }
    for (size_t i = 0; i < REQUESTS; i++) {
        FZ_CHECK(t.slept || !t.asks[i].busy || t.asks[i].due_ns > now - LATE);
    }
}

/* ---- what hosts do ----------------------------------------------------------------------------------------------- */

static int64_t a_time(void) {
    static const int64_t times[] = {0,    1,    10,   100,   500,   1000,  2500,  4500,
                                    5000, 7500, 9000, 11999, 12000, 12001, 15000, 60000};
    return times[fz_pick(t.in, DS_COUNT(times))] * DS_MS;
}

static void acquire(user *u) {
    static const char *const paths[] = {QUEUE, QUEUE, "p/lock/b", "p/lock/c"};
    if (u->l == NULL) {
        u->l = lock_new(&t.d, "L");
        u->l->on_settled = on_settled;
        u->l->on_ended = on_lost;
        u->l->on_released = on_released;
        u->due_ns = DS_NEVER;
    }
    if (u->stage == HOLDING) {
        ds_waiter_look(&u->l->waiter);
        ds_waiter_end_loss(&u->l->waiter);
    }
    if (u->stage != FREE) {
        return;
    }
    ds_waiter *w = &u->l->waiter;
    w->only_try = fz_pick(t.in, 4) == 3;
    w->shared = fz_pick(t.in, 4) != 3;
    w->params.owner = fz_pick(t.in, 4) == 3 ? (uint64_t)(u - t.users) + 1 : 0;
    w->params.ttl_ms = fz_pick(t.in, 4) == 3 ? 2000 : TTL_MS;
    int64_t wait = a_time(), hold = a_time();
    w->wait_ns = wait == 0 || w->only_try ? DS_NEVER : wait;
    w->hold_ns = hold == 0 ? DS_NEVER : hold;
    u->stage = ASKED;
    u->due_ns = w->wait_ns == DS_NEVER ? DS_NEVER : fw_now(t.d.u) + w->wait_ns;
    lock_acquire_at(u->l, paths[fz_pick(t.in, DS_COUNT(paths))]);
}

static void release(user *u) {
    if (u->stage == HOLDING) {
        ds_waiter_look(&u->l->waiter);
    }
    if (u->stage == HOLDING && ds_waiter_entry(&u->l->waiter) != NULL) {
        int64_t timeout = a_time() + DS_MS;
        u->stage = LEAVING;
        u->due_ns = fw_now(t.d.u) + timeout;
        lock_release(u->l, timeout);
        FZ_CHECK(!lock_held(u->l));
    }
}

static void drop(user *u) {
    if (u->l == NULL) {
        return;
    }
    if (u->stage == LEAVING) {
        ds_release_forget(&u->l->release);
    }
    if (u->stage == ASKED) {
        lock_cancel(u->l);
        FZ_CHECK(u->stage == FREE);
    }
    lock_free(u->l);
    *u = (user){.l = NULL};
}

static void request(ask *a, user *u) {
    if (a->busy) {
        ds_request_end(&a->request, DSYNC_CANCELLED, "cancelled");
        FZ_CHECK(!a->busy);
        return;
    }
    ds_request_kind kind = (ds_request_kind)fz_pick(t.in, DS_REQUEST_VALUE + 1);
    bool guarded = kind >= DS_REQUEST_PUT;
    if (guarded && (u->l == NULL || u->stage != HOLDING)) {
        return;
    }
    int64_t timeout = a_time() + DS_MS;
    a->request = (ds_request){.kind = kind,
                              .key = kind == DS_REQUEST_VALUE  ? NULL
                                     : kind == DS_REQUEST_TREE ? "p/lock"
                                                               : QUEUE,
                              .value = "v",
                              .value_size = 1,
                              .token = 5,
                              .limit = fz_pick(t.in, 3),
                              .waiter = guarded ? &u->l->waiter : NULL,
                              .timeout_ns = timeout,
                              .page = on_page,
                              .done = on_answer};
    a->busy = true;
    a->due_ns = fw_now(t.d.u) + timeout;
    ds_request_start(t.d.engine, &a->request);
}

/* A waiter must outlive the requests that use it. */
static void end_requests_of(const user *u) {
    for (size_t i = 0; u->l != NULL && i < REQUESTS; i++) {
        if (t.asks[i].busy && t.asks[i].request.waiter == &u->l->waiter) {
            ds_request_end(&t.asks[i].request, DSYNC_CANCELLED, "cancelled");
        }
    }
}

static void observe(eye *e) {
    if (e->on) {
        ds_observer_end(&e->observer, DSYNC_CLOSED, "ended");
        FZ_CHECK(!e->on);
        return;
    }
    e->observer = (ds_observer){.on_change = on_change, .on_end = on_end};
    e->on = true;
    e->on = ds_observer_start(t.d.engine, &e->observer, fz_flag(t.in) ? "p/lock" : QUEUE, fz_flag(t.in));
}

/* ---- what the store says ----------------------------------------------------------------------------------------- */

static void answer(sb_op op) {
    static const ds_place places[][4] = {
        [SB_ENTER] = {DS_PLACE_HELD, DS_PLACE_WAITING, DS_PLACE_STALE, DS_PLACE_DELAYED},
        [SB_CHECK] = {DS_PLACE_HELD, DS_PLACE_WAITING, DS_PLACE_GONE, DS_PLACE_DELAYED},
        [SB_LEAVE] = {DS_PLACE_DONE, DS_PLACE_DONE, DS_PLACE_GONE, DS_PLACE_GONE},
        [SB_SWAP] = {DS_PLACE_HELD, DS_PLACE_WAITING, DS_PLACE_GONE, DS_PLACE_DELAYED},
        [SB_WITHDRAW] = {DS_PLACE_DONE, DS_PLACE_DONE, DS_PLACE_DONE, DS_PLACE_DONE},
        [SB_WRITE] = {DS_PLACE_DONE, DS_PLACE_DONE, DS_PLACE_STALE, DS_PLACE_GONE},
        [SB_EVICT] = {DS_PLACE_DONE, DS_PLACE_DONE, DS_PLACE_GONE, DS_PLACE_GONE},
        [SB_LIST] = {DS_PLACE_NONE, DS_PLACE_NONE, DS_PLACE_NONE, DS_PLACE_NONE}};
    static const dsync_code codes[] = {DSYNC_DENIED, DSYNC_CONFIG, DSYNC_PROTOCOL, DSYNC_RESOURCE, DSYNC_UNSUPPORTED};
    static const ds_peer peers[] = {{.path = QUEUE,
                                     .key = QUEUE "/a",
                                     .value = "{\"id\":\"n\",\"value\":\"v\"}",
                                     .value_size = 22,
                                     .token = 1,
                                     .holds = true},
                                    {.path = QUEUE, .key = QUEUE "/b", .value = "w", .value_size = 1, .token = 2}};
    if (!sb_has_pending(t.d.backend, op)) {
        return;
    }
    sb_call *call = sb_pending(t.d.backend, op);
    ds_reply reply = {.outcome = (ds_class)(fz_flag(t.in) ? DS_OK : (int)fz_pick(t.in, DS_REFUSED + 1)),
                      .message = "the store's words",
                      .resent = fz_pick(t.in, 4) == 3};
    if (reply.outcome == DS_REFUSED) {
        reply.code = codes[fz_pick(t.in, DS_COUNT(codes))];
    }
    if (reply.outcome == DS_OK) {
        reply.message = NULL;
        reply.place = op < DS_COUNT(places) ? places[op][fz_pick(t.in, 4)] : DS_PLACE_NONE;
        reply.ahead = reply.place == DS_PLACE_WAITING ? QUEUE "/x" : NULL;
        reply.delay_ms = reply.place == DS_PLACE_DELAYED ? fz_byte(t.in) * 10 : 0;
        if (op == SB_ENTER && call->only_try && reply.place == DS_PLACE_WAITING) {
            reply.place = DS_PLACE_BUSY;
            reply.ahead = NULL;
            reply.holder = &peers[0];
        }
        if (op == SB_LIST) {
            reply.peers = peers;
            reply.peer_count = fz_pick(t.in, 3);
            reply.next = call->subtree && call->after[0] == '\0' && fz_flag(t.in) ? QUEUE : NULL;
        }
        if (op == SB_OPEN && fz_flag(t.in)) {
            reply.ttl_ms = 1000 + fz_byte(t.in) * 100; /* servers round */
        }
        reply.revision = fz_flag(t.in) ? ++t.d.backend->revision : 0;
        reply.server = "scripted 1";
    }
    sb_answer(call, fz_flag(t.in) ? 0 : 1 + fz_byte(t.in) * 50 * DS_MS, &reply);
}

static void say(void) {
    sb *b = t.d.backend;
    size_t on = 0, wanted = fz_byte(t.in);
    for (size_t i = 0; i < b->watch_count; i++) {
        on += b->watches[i]->on;
    }
    if (on == 0) {
        return;
    }
    sb_watch *w = NULL;
    for (size_t i = 0, at = wanted % on; i < b->watch_count && w == NULL; i++) {
        if (b->watches[i]->on && at-- == 0) {
            w = b->watches[i];
        }
    }
    ds_watch_event event = {.kind = (ds_watch_kind)fz_pick(t.in, DS_WATCH_ENDED + 1),
                            .key = w->subtree ? QUEUE "/a" : w->key,
                            .token = 1 + fz_byte(t.in),
                            .revision = fz_flag(t.in) ? ++b->revision : 1,
                            .message = "the watch ended"};
    if (event.kind == DS_WATCH_PUT || fz_flag(t.in)) {
        event.value = fz_flag(t.in) ? "{\"id\":\"n\"}" : "{\"id\":\"n\"," DS_BROKEN_MARK ":\"m\"}";
        event.value_size = strlen(event.value);
    }
    if (event.kind == DS_WATCH_ENDED) {
        event.outcome = (ds_class)(DS_NOT_EXECUTED + fz_pick(t.in, DS_REFUSED));
    }
    sb_event(w, &event);
}

static void pass(int64_t ns) {
    fw_advance(t.d.u, ns);
    t.slept = t.slept && t.paused; /* awake for a moment: everybody was heard */
}

static void pause_or_wake(void) {
    t.paused = !t.paused;
    t.slept = true;
    fw_pause(t.d.world, t.paused);
    fw_settle(t.d.u);
    t.slept = t.paused;
}

static void step(void) {
    user *u = &t.users[fz_pick(t.in, LOCKS)];
    size_t kind = fz_pick(t.in, 24);
    if (kind < 4) {
        acquire(u);
    } else if (kind < 6) {
        release(u);
    } else if (kind < 12) {
        answer((sb_op)fz_pick(t.in, SB_OPS));
    } else if (kind < 14) {
        pass(a_time());
    } else if (kind < 16) {
        say();
    } else {
        switch (kind) {
        case 16:
            if (u->stage == ASKED) {
                lock_cancel(u->l);
                FZ_CHECK(u->stage == FREE);
            }
            break;
        case 17:
            end_requests_of(u);
            drop(u);
            break;
        case 18:
            request(&t.asks[fz_pick(t.in, REQUESTS)], u);
            break;
        case 19:
            observe(&t.eyes[fz_pick(t.in, OBSERVERS)]);
            break;
        case 20:
            sb_hold(t.d.backend, (sb_op)fz_pick(t.in, SB_OPS));
            break;
        case 21:
            sb_release(t.d.backend, (sb_op)fz_pick(t.in, SB_OPS));
            break;
        case 22:
            if (fz_pick(t.in, 4) == 0) {
                pause_or_wake();
            } else if (u->l != NULL && u->stage == HOLDING) {
                ds_waiter_look(&u->l->waiter);
            }
            break;
        default:
            fw_skip_wall(t.d.u, fz_pick(t.in, 2) == 0 ? 1000 : -1000);
        }
    }
}

static void shut(void) {
    if (t.paused) {
        pause_or_wake();
    }
    for (size_t i = 0; i < REQUESTS; i++) {
        if (t.asks[i].busy && fz_flag(t.in)) {
            ds_request_end(&t.asks[i].request, DSYNC_CANCELLED, "cancelled");
        }
    }
    sb_release_all(t.d.backend);
    desk_shut(&t.d, 60 * DS_SECOND);
    for (size_t i = 0; i < LOCKS; i++) {
        FZ_CHECK(t.users[i].l == NULL || !lock_held(t.users[i].l));
        FZ_CHECK(t.users[i].stage == FREE || t.users[i].stage == LEAVING);
    }
    fw_advance(t.d.u, 61 * DS_SECOND);
    for (size_t i = 0; i < LOCKS; i++) {
        FZ_CHECK(t.users[i].stage == FREE);
    }
    for (size_t i = 0; i < REQUESTS; i++) {
        FZ_CHECK(!t.asks[i].busy);
    }
    for (size_t i = 0; i < OBSERVERS; i++) {
        FZ_CHECK(!t.eyes[i].on);
    }
    FZ_CHECK(desk_close(&t.d));
}

void fz_target(fz *in) {
    memset(&t, 0, sizeof(t));
    t.in = in;
    desk_open(&t.d);
    size_t nth = fz_byte(in);
    t.d.backend->ops.reuses_names = nth % 2 == 1;
    ds_test_fail_allocation(nth >= 128 ? nth - 127 : 0, false);
    /* The scripted store remembers so many. */
    for (int i = 0; i < STEPS && in->left > 0 && t.d.backend->session_count < 150 && t.d.backend->entry_count < 300;
         i++) {
        step();
        fw_settle(t.d.u);
        check_all();
    }
    ds_test_fail_allocation(0, false);
    shut();
}
