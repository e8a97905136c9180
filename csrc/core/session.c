/* session.c: see session.h. A session's life: OPENING → LIVE ⇄ SUSPECT → CLOSING → CLOSED.
 *
 * One call at a time is under way (open, renew or close, by state); `renew_timer` starts the next one. `deadline_timer`
 * first marks suspicion and then, without asking anybody, the end. Nothing a late reply says moves a deadline that has
 * passed: a session leaves LIVE/SUSPECT for good before it is told to anybody.
 */
#include "session.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "../base/error.h"
#include "departure.h"

#define RETRY_CAP_NS DS_SECOND
#define WATCH_RETRY_NS (500 * DS_MS)
#define MAY(state) (1u << (state))

static const unsigned legal[DS_SESSION_STATES] = {
    [DS_SESSION_OPENING] = MAY(DS_SESSION_LIVE) | MAY(DS_SESSION_CLOSING) | MAY(DS_SESSION_CLOSED),
    [DS_SESSION_LIVE] = MAY(DS_SESSION_SUSPECT) | MAY(DS_SESSION_CLOSING) | MAY(DS_SESSION_CLOSED),
    [DS_SESSION_SUSPECT] = MAY(DS_SESSION_LIVE) | MAY(DS_SESSION_CLOSING) | MAY(DS_SESSION_CLOSED),
    [DS_SESSION_CLOSING] = MAY(DS_SESSION_CLOSED),
    [DS_SESSION_CLOSED] = 0,
};

static const char *const names[DS_SESSION_STATES] = {"opening", "live", "suspect", "closing", "closed"};

const char *ds_session_state_name(ds_session_state state) {
    return names[state];
}

bool ds_session_may_move(ds_session_state from, ds_session_state to) {
    return (legal[from] & MAY(to)) != 0;
}

static void move(ds_session *session, ds_session_state to, const char *why) {
    assert(ds_session_may_move(session->state, to));
    ds_engine_trace(session->engine, "session", session->lease.id, names[session->state], names[to], why);
    session->state = to;
}

static void begin_try(ds_session *session);
static void watch_key(ds_session *session);

/* ---- users -------------------------------------------------------------------------------------------------------- */

static ds_session_user *user_of(ds_list *node) {
    return DS_LIST_ENTRY(node, ds_session_user, node);
}

typedef enum tell_what { TELL_READY, TELL_RENEWED, TELL_SUSPECT, TELL_RECOVERED } tell_what;

/* Tells every user there is now. They may come and go meanwhile, and the session may even be lost: it is only not freed. */
static void tell(ds_session *session, tell_what what) {
    size_t count = 0;
    for (ds_list *link = session->users.next; link != &session->users; link = link->next) {
        count++;
    }
    session->busy++;
    while (count-- > 0 && !ds_list_empty(&session->users) && ds_session_usable(session)) {
        ds_session_user *user = user_of(session->users.next);
        ds_list_remove(&user->node);
        ds_list_append(&session->users, &user->node);
        switch (what) {
        case TELL_READY:
            user->ready(user);
            break;
        case TELL_RENEWED:
            user->renewed(user);
            break;
        case TELL_SUSPECT:
        case TELL_RECOVERED:
            user->suspect(user, what == TELL_SUSPECT);
            break;
        }
    }
    session->busy--;
}

void ds_session_unhint(ds_session_user *user) {
    ds_list_remove(&user->hint_node);
}

static void fire_hints(ds_timer *timer) {
    ds_session *session = DS_CONTAINER_OF(timer, ds_session, hints_timer);
    int64_t now = ds_now(session->engine->world);
    if (!session->watched) {
        watch_key(session);
    }
    while (!ds_list_empty(&session->hints)) {
        ds_session_user *user = DS_LIST_ENTRY(session->hints.next, ds_session_user, hint_node);
        if (user->hint_ns > now) {
            ds_timer_set(session->engine->world, &session->hints_timer, user->hint_ns);
            return;
        }
        ds_session_unhint(user);
        user->hint(user);
    }
}

void ds_session_hint(ds_session_user *user) {
    ds_session *session = user->session;
    if (session == NULL || !ds_list_empty(&user->hint_node)) {
        return;
    }
    user->hint_ns = ds_now(session->engine->world) + DS_HINT_DELAY_NS;
    ds_list_append(&session->hints, &user->hint_node);
    if (session->hints_timer.index == 0) {
        ds_timer_set(session->engine->world, &session->hints_timer, user->hint_ns);
    }
}

static void detach(ds_session_user *user) {
    ds_session_unhint(user);
    ds_list_remove(&user->node);
    user->session = NULL;
}

void ds_session_detach(ds_session_user *user) {
    ds_session *session = user->session;
    if (session == NULL) {
        return;
    }
    detach(user);
    ds_session_sweep(session);
}

/* Takes every user off and tells it; none can be told twice. */
static void dismiss(ds_session *session, dsync_reason reason, dsync_code code, const char *message) {
    ds_list round;
    ds_list_init(&round);
    ds_list_splice(&round, &session->users);
    ds_list *link;
    while ((link = ds_list_pop(&round)) != NULL) {
        ds_session_user *user = user_of(link);
        detach(user);
        if (code != DSYNC_OK) {
            user->failed(user, code, message);
        } else {
            user->lost(user, reason);
        }
    }
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static void stop_everything(ds_session *session) {
    ds_world *world = session->engine->world;
    ds_backend *backend = session->engine->backend;
    ds_timer_stop(world, &session->renew_timer);
    ds_timer_stop(world, &session->deadline_timer);
    ds_timer_stop(world, &session->hints_timer);
    ds_timer_stop(world, &session->withdraw_timer);
    backend->ops->cancel(backend, &session->call);
    backend->ops->cancel(backend, &session->withdraw_call);
    backend->ops->unwatch(backend, &session->watch);
}

void ds_session_free(ds_session *session) {
    ds_backend *backend = session->engine->backend;
    stop_everything(session);
    ds_list_remove(&session->node);
    session->engine->stats.sessions--;
    backend->ops->forget(backend, &session->lease);
    ds_free(session);
}

void ds_session_sweep(ds_session *session) {
    if (!ds_list_empty(&session->users) || session->busy > 0) {
        return;
    }
    if (session->state == DS_SESSION_CLOSED) {
        ds_engine *engine = session->engine;
        ds_session_free(session);
        ds_engine_settle(engine);
    } else if (session->params.owner != 0 && session->state != DS_SESSION_CLOSING &&
               ds_list_empty(&session->departures) && ds_list_empty(&session->dirty) &&
               ds_list_empty(&session->withdrawing)) {
        ds_session_end(session);
    }
}

static void finish(ds_session *session, const char *why) {
    move(session, DS_SESSION_CLOSED, why);
    stop_everything(session);
    ds_departures_end(session);
    ds_session_sweep(session);
}

static void closed(ds_call *call, const ds_reply *reply) {
    ds_session *session = DS_CONTAINER_OF(call, ds_session, call);
    ds_world *world = session->engine->world;
    if (reply->outcome == DS_OK || reply->outcome == DS_LOST || reply->outcome == DS_RESET) {
        finish(session, "confirmed gone");
        return;
    }
    /* The last grant or renewal may still be on its way: the server cannot hold the session longer than this. */
    int64_t gone_ns = (session->trying_ns > session->sent_ns ? session->trying_ns : session->sent_ns) +
                      2 * session->timing.ttl_ns + 2 * DS_SECOND;
    int64_t now = ds_now(world);
    if (reply->outcome == DS_REFUSED || now >= gone_ns) {
        finish(session, "left to expire");
        return;
    }
    session->attempt++;
    ds_timer_set(world, &session->renew_timer,
                 now + ds_backoff(session->attempt, RETRY_CAP_NS, ds_random64(world)));
}

/* Leaves the server without it. Whatever still departs one by one goes with it. */
static void begin_close(ds_session *session, const char *why) {
    bool never_sent = session->trying_ns == 0;
    stop_everything(session);
    move(session, DS_SESSION_CLOSING, why);
    ds_departures_end(session);
    session->attempt = 0;
    if (never_sent) {
        finish(session, "never sent");
        return;
    }
    begin_try(session);
}

void ds_session_end(ds_session *session) {
    if (session->state < DS_SESSION_CLOSING) {
        begin_close(session, "ended");
    }
}

void ds_session_lose(ds_session *session, dsync_reason reason, const char *why) {
    if (session->state >= DS_SESSION_CLOSING) {
        return;
    }
    ds_engine *engine = session->engine;
    ds_engine_notice(engine, "session_lost", "session %s of %s: %s", session->lease.id, engine->config.id, why);
    /* Not usable any more before anybody hears: whoever starts anew in a callback gets a fresh one. It is ended on the
     * server even if that said it was gone: a deleted session key leaves the lease and the entries behind. */
    stop_everything(session);
    move(session, DS_SESSION_CLOSING, why);
    session->busy++;
    ds_departures_end(session);
    dismiss(session, reason, DSYNC_OK, NULL);
    session->busy--;
    session->attempt = 0;
    begin_try(session);
}

bool ds_session_reply_ends(ds_session *session, const ds_reply *reply) {
    if (reply->outcome == DS_LOST) {
        ds_session_lose(session, DSYNC_REASON_SESSION_LOST, reply->message != NULL ? reply->message : "the server ended it");
        return true;
    }
    if (reply->outcome == DS_RESET) {
        ds_session_lose(session, DSYNC_REASON_CLUSTER_RESET, reply->message != NULL ? reply->message : "cluster reset");
        return true;
    }
    return false;
}

/* ---- the deadline --------------------------------------------------------------------------------------------------- */

static bool past_deadline(ds_session *session) {
    ds_world *world = session->engine->world;
    int64_t now = ds_now(world);
    return now < 0 || now >= session->deadline_ns || world->ops->wall_ms(world) >= session->wall_deadline_ms;
}

static void set_deadline_timer(ds_session *session) {
    int64_t suspicion = ds_timing_suspicion(&session->timing, session->sent_ns);
    bool suspect = session->state == DS_SESSION_SUSPECT || suspicion > session->deadline_ns;
    ds_timer_set(session->engine->world, &session->deadline_timer, suspect ? session->deadline_ns : suspicion);
}

static void deadline_fired(ds_timer *timer) {
    ds_session *session = DS_CONTAINER_OF(timer, ds_session, deadline_timer);
    if (past_deadline(session)) {
        char why[280];
        snprintf(why, sizeof why, "not renewed in time%s%s", session->last_error[0] != '\0' ? ": " : "",
                 session->last_error);
        ds_session_lose(session, DSYNC_REASON_EXPIRED, why);
        return;
    }
    if (session->state == DS_SESSION_LIVE) {
        move(session, DS_SESSION_SUSPECT, "overdue");
        ds_engine_notice(session->engine, "suspect", "session %s has not been renewed for half its ttl: %s",
                         session->lease.id, session->last_error[0] != '\0' ? session->last_error : "no answer yet");
        tell(session, TELL_SUSPECT);
    }
    set_deadline_timer(session);
}

/* The request sent at trying_ns was confirmed: believe from then on. */
static void confirmed(ds_session *session, int64_t granted_ms) {
    if (granted_ms > 0 && granted_ms != session->timing.ttl_ns / DS_MS) {
        const ds_backend_ops *ops = session->engine->backend->ops;
        /* A server may grant another ttl than was asked for: plan with what it gave. */
        (void)ds_timing_plan(&session->timing, granted_ms, ops->margin_divisor, ops->renew_divisor, 0, NULL);
    }
    session->sent_ns = session->trying_ns;
    session->deadline_ns = ds_timing_deadline(&session->timing, session->sent_ns);
    session->wall_deadline_ms =
        session->trying_wall_ms + (session->timing.ttl_ns - session->timing.margin_ns) / DS_MS;
    session->attempt = 0;
    session->last_error[0] = '\0';
}

/* ---- tries ----------------------------------------------------------------------------------------------------------- */

static void note_error(ds_session *session, const ds_reply *reply) {
    snprintf(session->last_error, sizeof session->last_error, "%s", reply->message != NULL ? reply->message : "no answer");
    session->attempt++;
    session->engine->stats.retries++;
}

static void retry_later(ds_session *session) {
    ds_world *world = session->engine->world;
    int64_t pause = ds_backoff(session->attempt, session->timing.try_ns, ds_random64(world));
    ds_timer_set(world, &session->renew_timer, ds_now(world) + pause);
}

static void schedule_renewal(ds_session *session) {
    ds_world *world = session->engine->world;
    ds_timer_set(world, &session->renew_timer,
                 ds_timing_renewal(&session->timing, session->sent_ns, ds_random64(world)));
}

static void opened(ds_call *call, const ds_reply *reply) {
    ds_session *session = DS_CONTAINER_OF(call, ds_session, call);
    if (reply->outcome == DS_REFUSED) {
        char message[200];
        snprintf(message, sizeof message, "%s", reply->message != NULL ? reply->message : "refused");
        dsync_code code = reply->code;
        move(session, DS_SESSION_CLOSING, message);
        session->busy++;
        dismiss(session, DSYNC_NOT_LOST, code, message);
        session->busy--;
        finish(session, "could not be opened");
        return;
    }
    if (reply->outcome != DS_OK) {
        if (reply->outcome == DS_LOST || reply->outcome == DS_RESET) {
            /* Whatever that id was, it is used up: start over under another one. */
            session->trying_ns = 0;
            session->lease.nonce = ds_random64(session->engine->world) >> 1;
        }
        note_error(session, reply);
        retry_later(session);
        return;
    }
    session->lease.epoch = reply->epoch;
    confirmed(session, reply->ttl_ms);
    move(session, DS_SESSION_LIVE, "opened");
    if (past_deadline(session)) {
        ds_session_lose(session, DSYNC_REASON_EXPIRED, "opening took longer than the ttl");
        return;
    }
    set_deadline_timer(session);
    schedule_renewal(session);
    tell(session, TELL_READY);
    ds_session_sweep(session);
}

static void renewed(ds_call *call, const ds_reply *reply) {
    ds_session *session = DS_CONTAINER_OF(call, ds_session, call);
    if (ds_session_reply_ends(session, reply)) {
        return;
    }
    if (past_deadline(session)) {
        ds_session_lose(session, DSYNC_REASON_EXPIRED, "not renewed in time");
        return;
    }
    if (reply->outcome != DS_OK) {
        note_error(session, reply);
        retry_later(session);
        return;
    }
    session->engine->stats.renewals++;
    confirmed(session, reply->ttl_ms);
    if (past_deadline(session)) {
        ds_session_lose(session, DSYNC_REASON_EXPIRED, "the renewal took longer than the ttl");
        return;
    }
    if (session->state == DS_SESSION_SUSPECT) {
        move(session, DS_SESSION_LIVE, "renewed");
        ds_engine_notice(session->engine, "recovered", "session %s was renewed in time", session->lease.id);
        tell(session, TELL_RECOVERED);
    }
    set_deadline_timer(session);
    schedule_renewal(session);
    tell(session, TELL_RENEWED);
    ds_session_sweep(session);
}

static void begin_try(ds_session *session) {
    ds_world *world = session->engine->world;
    ds_backend *backend = session->engine->backend;
    session->call.urgent = true;
    session->call.timeout_ns = session->timing.try_ns;
    switch (session->state) {
    case DS_SESSION_OPENING:
        session->call.timeout_ns = ds_engine_request_timeout(session->engine, session->timing.ttl_ns);
        /* Replays keep the first time: the lease may run since then. Too old, and another id is cleaner. */
        if (session->trying_ns == 0) {
            session->trying_ns = ds_now(world);
            session->trying_wall_ms = world->ops->wall_ms(world);
        }
        session->call.done = opened;
        backend->ops->open(backend, &session->call, &session->lease);
        break;
    case DS_SESSION_LIVE:
    case DS_SESSION_SUSPECT:
        session->trying_ns = ds_now(world);
        session->trying_wall_ms = world->ops->wall_ms(world);
        session->call.done = renewed;
        backend->ops->renew(backend, &session->call, &session->lease);
        break;
    case DS_SESSION_CLOSING:
        session->call.done = closed;
        backend->ops->close(backend, &session->call, &session->lease);
        break;
    case DS_SESSION_CLOSED:
    case DS_SESSION_STATES:
        break;
    }
}

static void try_again(ds_timer *timer) {
    ds_session *session = DS_CONTAINER_OF(timer, ds_session, renew_timer);
    if (ds_session_usable(session) && past_deadline(session)) {
        ds_session_lose(session, DSYNC_REASON_EXPIRED, "not renewed in time");
        return;
    }
    bool stale_open = session->state == DS_SESSION_OPENING && session->trying_ns != 0 &&
                      ds_now(session->engine->world) - session->trying_ns > session->timing.ttl_ns / 2;
    if (stale_open) {
        /* An old lease that may or may not run: leave it to its users' successor and remove it. */
        ds_engine *engine = session->engine;
        ds_list users;
        ds_list_init(&users);
        ds_list_splice(&users, &session->users);
        ds_session_params params = session->params;
        char why[200];
        snprintf(why, sizeof why, "%s", session->last_error);
        begin_close(session, "no answer");
        ds_list *link;
        while ((link = ds_list_pop(&users)) != NULL) {
            ds_session_user *user = user_of(link);
            detach(user);
            dsync_error error;
            ds_session *next = ds_session_attach(engine, &params, user, &error);
            if (next == NULL) {
                user->failed(user, error.code, error.message);
            } else if (next->last_error[0] == '\0') {
                snprintf(next->last_error, sizeof next->last_error, "%s", why);
            }
        }
        return;
    }
    begin_try(session);
}

/* ---- the watch on the session key -------------------------------------------------------------------------------------- */

static void on_watch(ds_watch *watch, const ds_watch_event *event) {
    ds_session *session = DS_CONTAINER_OF(watch, ds_session, watch);
    if (event->kind == DS_WATCH_DELETED) {
        ds_session_lose(session, DSYNC_REASON_SESSION_LOST, "the server ended it");
    } else if (event->kind == DS_WATCH_ENDED && ds_session_usable(session)) {
        /* Renewals go on meanwhile; the next one brings the watch back. */
        session->watched = false;
        if (session->hints_timer.index == 0) {
            ds_timer_set(session->engine->world, &session->hints_timer,
                         ds_now(session->engine->world) + WATCH_RETRY_NS);
        }
    }
}

static void watch_key(ds_session *session) {
    ds_backend *backend = session->engine->backend;
    char *key = NULL;
    if (!backend->ops->session_key(backend, &session->lease, &key)) {
        return;
    }
    ds_watch_spec spec = {.key = key, .deletes_only = true, .since = session->lease.created + 1, .lease = &session->lease};
    session->watch.on_event = on_watch;
    session->watched = backend->ops->watch(backend, &session->watch, &spec);
    ds_free(key);
}

/* ---- making one ---------------------------------------------------------------------------------------------------------- */

static ds_session *make(ds_engine *engine, const ds_session_params *params, dsync_error *error) {
    const ds_backend_ops *ops = engine->backend->ops;
    ds_timing timing;
    if (!ds_timing_plan(&timing, params->ttl_ms, ops->margin_divisor, ops->renew_divisor,
                        engine->config.request_timeout_ms, error)) {
        return NULL;
    }
    ds_session *session = ds_calloc(1, sizeof *session);
    if (session == NULL) {
        ds_error_set(error, DSYNC_RESOURCE, "out of memory for a session");
        return NULL;
    }
    session->engine = engine;
    session->params = *params;
    session->timing = timing;
    session->state = DS_SESSION_OPENING;
    session->lease.nonce = ds_random64(engine->world) >> 1;
    session->lease.prefix = engine->config.prefix;
    session->lease.info = engine->config.info;
    session->lease.ttl_ms = params->ttl_ms;
    session->lease.epoch = 1;
    ds_list_init(&session->users);
    ds_list_init(&session->hints);
    ds_list_init(&session->departures);
    ds_list_init(&session->dirty);
    ds_list_init(&session->withdrawing);
    session->renew_timer.fire = try_again;
    session->deadline_timer.fire = deadline_fired;
    session->hints_timer.fire = fire_hints;
    ds_list_append(&engine->sessions, &session->node);
    engine->stats.sessions++;
    begin_try(session);
    return session;
}

static ds_session *find(ds_engine *engine, const ds_session_params *params) {
    for (ds_list *link = engine->sessions.next; link != &engine->sessions; link = link->next) {
        ds_session *session = DS_LIST_ENTRY(link, ds_session, node);
        if (session->params.ttl_ms == params->ttl_ms && session->params.owner == params->owner &&
            session->state < DS_SESSION_CLOSING) {
            return session;
        }
    }
    return NULL;
}

ds_session *ds_session_attach(ds_engine *engine, const ds_session_params *params, ds_session_user *user,
                              dsync_error *error) {
    ds_session *session = find(engine, params);
    if (session == NULL) {
        session = make(engine, params, error);
    }
    if (session != NULL) {
        user->session = session;
        ds_list_append(&session->users, &user->node);
    }
    return session;
}
