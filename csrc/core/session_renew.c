/* session_renew.c: opening a session and keeping it alive: tries, the deadline, suspicion. The only place that moves a
 * deadline.
 */
#include <stdio.h>

#include "session_parts.h"

/* ---- the deadline ------------------------------------------------------------------------------------------------ */

bool ds_session_past_deadline(const ds_session *session) {
    ds_world *world = session->engine->world;
    int64_t now = ds_now(world);
    return now < 0 || now >= session->deadline_ns || world->ops->wall_ms(world) >= session->wall_deadline_ms;
}

static void set_deadline_timer(ds_session *session) {
    int64_t suspicion = ds_timing_suspicion(&session->timing, session->sent_ns);
    bool suspect = session->state == DS_SESSION_SUSPECT || suspicion > session->deadline_ns;
    ds_timer_set(session->engine->world, &session->deadline_timer, suspect ? session->deadline_ns : suspicion);
}

void ds_session_deadline_fired(ds_timer *timer) {
    ds_session *session = DS_CONTAINER_OF(timer, ds_session, deadline_timer);
    if (ds_session_past_deadline(session)) {
        char why[280];
        snprintf(why, sizeof why, "not renewed in time%s%s", session->last_error[0] != '\0' ? ": " : "",
                 session->last_error);
        ds_session_lose(session, DSYNC_REASON_EXPIRED, why);
        return;
    }
    if (session->state == DS_SESSION_LIVE) {
        ds_session_move(session, DS_SESSION_SUSPECT, "overdue");
        ds_engine_notice(session->engine, "suspect", "session %s has not been renewed for half its ttl: %s",
                         session->lease.id, session->last_error[0] != '\0' ? session->last_error : "no answer yet");
        ds_session_tell(session, DS_TELL_SUSPECT);
    }
    set_deadline_timer(session);
}

void ds_session_doubt(ds_session *session, const char *why) {
    if (!ds_session_usable(session)) {
        return;
    }
    ds_world *world = session->engine->world;
    if (session->call.impl == NULL) {
        ds_timer_set(world, &session->renew_timer, ds_now(world));
    }
    if (session->state == DS_SESSION_LIVE) {
        ds_session_move(session, DS_SESSION_SUSPECT, "connection lost");
        set_deadline_timer(session);
        ds_engine_notice(session->engine, "suspect", "session %s: %s", session->lease.id,
                         why != NULL ? why : "its connection is lost");
        ds_session_tell(session, DS_TELL_SUSPECT);
    }
}

/* The request sent at trying_ns was confirmed: believe from then on. */
static void confirmed(ds_session *session, int64_t granted_ms) {
    if (granted_ms > 0 && granted_ms != session->timing.ttl_ns / DS_MS) {
        const ds_backend_ops *ops = session->engine->backend->ops;
        /* A server may grant another ttl than was asked for: plan with what it gave. */
        int64_t request_ns = session->engine->config.request_timeout_ms * DS_MS;
        (void)ds_timing_plan(&session->timing, granted_ms, ops->margin_divisor, ops->renew_divisor, 0, NULL);
        if (request_ns != 0 && request_ns < session->timing.try_ns) {
            session->timing.try_ns = request_ns;
        }
    }
    session->sent_ns = session->trying_ns;
    session->deadline_ns = ds_timing_deadline(&session->timing, session->sent_ns);
    /* Begun milliseconds count, that of the reading and the last one: on an undisturbed host deadline_ns comes
     * first. */
    int64_t good_ns = session->timing.ttl_ns - session->timing.margin_ns;
    session->wall_deadline_ms = session->trying_wall_ms + (good_ns + DS_MS - 1) / DS_MS + 1;
    session->attempt = 0;
    session->last_error[0] = '\0';
}

/* ---- tries ------------------------------------------------------------------------------------------------------- */

static void note_error(ds_session *session, const ds_reply *reply) {
    snprintf(session->last_error, sizeof session->last_error, "%s",
             reply->message != NULL ? reply->message : "no answer");
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
        ds_session_move(session, DS_SESSION_CLOSING, message);
        session->busy++;
        ds_session_dismiss(session, DSYNC_NOT_LOST, code, message);
        session->busy--;
        ds_session_finish(session, "could not be opened");
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
    ds_session_move(session, DS_SESSION_LIVE, "opened");
    if (ds_session_past_deadline(session)) {
        ds_session_lose(session, DSYNC_REASON_EXPIRED, "opening took longer than the ttl");
        return;
    }
    set_deadline_timer(session);
    schedule_renewal(session);
    ds_session_tell(session, DS_TELL_READY);
    ds_session_sweep(session);
}

static void renewed(ds_call *call, const ds_reply *reply) {
    ds_session *session = DS_CONTAINER_OF(call, ds_session, call);
    if (ds_session_reply_ends(session, reply)) {
        return;
    }
    if (ds_session_past_deadline(session)) {
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
    if (ds_session_past_deadline(session)) {
        ds_session_lose(session, DSYNC_REASON_EXPIRED, "the renewal took longer than the ttl");
        return;
    }
    if (session->state == DS_SESSION_SUSPECT) {
        ds_session_move(session, DS_SESSION_LIVE, "renewed");
        ds_engine_notice(session->engine, "recovered", "session %s was renewed in time", session->lease.id);
        ds_session_tell(session, DS_TELL_RECOVERED);
    }
    set_deadline_timer(session);
    schedule_renewal(session);
    if (!session->watched) {
        ds_session_watch_key(session);
    }
    ds_session_tell(session, DS_TELL_RENEWED);
    ds_session_sweep(session);
}

void ds_session_begin_try(ds_session *session) {
    ds_world *world = session->engine->world;
    ds_backend *backend = session->engine->backend;
    session->call.urgent = true;
    session->call.timeout_ns = session->timing.try_ns;
    switch (session->state) {
    case DS_SESSION_OPENING:
        session->call.timeout_ns = ds_engine_request_timeout(session->engine, session->timing.ttl_ns);
        /* A repeated try counts from the first, since when the lease may be running. */
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
        session->call.done = ds_session_closed;
        backend->ops->close(backend, &session->call, &session->lease);
        break;
    case DS_SESSION_CLOSED:
    case DS_SESSION_STATES:
        break;
    }
}

/* Where a session costs a system call or two, one that nobody uses is not worth its renewals. */
static bool is_superfluous(const ds_session *session) {
    return session->engine->backend->ops->local && ds_session_usable(session) && ds_list_empty(&session->users) &&
           session->busy == 0 && ds_list_empty(&session->departures) && ds_list_empty(&session->dirty) &&
           ds_list_empty(&session->withdrawing);
}

void ds_session_try_again(ds_timer *timer) {
    ds_session *session = DS_CONTAINER_OF(timer, ds_session, renew_timer);
    if (is_superfluous(session)) {
        ds_session_end(session);
        return;
    }
    if (ds_session_usable(session) && ds_session_past_deadline(session)) {
        ds_session_lose(session, DSYNC_REASON_EXPIRED, "not renewed in time");
        return;
    }
    bool stale_open = session->state == DS_SESSION_OPENING && session->trying_ns != 0 &&
                      ds_now(session->engine->world) - session->trying_ns > session->timing.ttl_ns / 2;
    if (stale_open) {
        /* Should this lease run, it has run for too long: its users get a new one, and it is removed. */
        ds_engine *engine = session->engine;
        ds_list users;
        ds_list_init(&users);
        ds_list_splice(&users, &session->users);
        ds_session_params params = session->params;
        char why[200];
        snprintf(why, sizeof why, "%s", session->last_error);
        ds_session_begin_close(session, "no answer");
        ds_list *link;
        while ((link = ds_list_pop(&users)) != NULL) {
            ds_session_user *user = ds_session_user_of(link);
            ds_session_leave(user);
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
    ds_session_begin_try(session);
}
