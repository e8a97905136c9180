/* session.c: see session.h. A session's life: OPENING → LIVE ⇄ SUSPECT → CLOSING → CLOSED. Here is its beginning and
 * its end; what keeps it alive is in session_renew.c, who hangs on it in session_users.c.
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
#include "session_parts.h"

#define RETRY_CAP_NS DS_SECOND
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

void ds_session_move(ds_session *session, ds_session_state to, const char *why) {
    assert(ds_session_may_move(session->state, to));
    ds_engine_trace(session->engine, "session", session->lease.id, names[session->state], names[to], why);
    session->state = to;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

void ds_session_stop(ds_session *session) {
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
    ds_session_stop(session);
    ds_list_remove(&session->node);
    session->engine->stats.sessions--;
    backend->ops->forget(backend, &session->lease);
    ds_spare_names_free(&session->spare_names);
    ds_free(session);
}

void ds_session_spare_name(ds_session *session, const ds_entry *entry) {
    if (session->engine->backend->ops->reuses_names) {
        ds_spare_names_keep(&session->spare_names, entry);
    }
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

void ds_session_finish(ds_session *session, const char *why) {
    ds_session_move(session, DS_SESSION_CLOSED, why);
    ds_session_stop(session);
    ds_departures_end(session, DSYNC_UNKNOWN);
    ds_session_sweep(session);
}

void ds_session_closed(ds_call *call, const ds_reply *reply) {
    ds_session *session = DS_CONTAINER_OF(call, ds_session, call);
    ds_world *world = session->engine->world;
    if (reply->outcome == DS_OK || reply->outcome == DS_LOST || reply->outcome == DS_RESET) {
        ds_session_finish(session, "confirmed gone");
        return;
    }
    /* The last grant or renewal may still be on its way: the server cannot hold the session longer than this. */
    int64_t gone_ns = (session->trying_ns > session->sent_ns ? session->trying_ns : session->sent_ns) +
                      2 * session->timing.ttl_ns + 2 * DS_SECOND;
    int64_t now = ds_now(world);
    /* Nothing rests on one that never was: a client that is closed does not wait for a server that is not there. */
    bool is_idle = session->sent_ns == 0 && session->engine->closing && reply->outcome == DS_NOT_EXECUTED;
    if (reply->outcome == DS_REFUSED || now >= gone_ns || is_idle) {
        ds_session_finish(session, "left to expire");
        return;
    }
    session->attempt++;
    ds_timer_set(world, &session->renew_timer, now + ds_backoff(session->attempt, RETRY_CAP_NS, ds_random64(world)));
}

/* Leaves the server without it. Whatever still departs one by one goes with it. */
void ds_session_begin_close(ds_session *session, const char *why) {
    bool never_sent = session->trying_ns == 0;
    ds_session_stop(session);
    ds_session_move(session, DS_SESSION_CLOSING, why);
    ds_departures_end(session, DSYNC_UNKNOWN);
    session->attempt = 0;
    if (never_sent) {
        ds_session_finish(session, "never sent");
        return;
    }
    ds_session_begin_try(session);
}

void ds_session_end(ds_session *session) {
    if (session->state < DS_SESSION_CLOSING) {
        ds_session_begin_close(session, "ended");
    }
}

void ds_session_lose(ds_session *session, dsync_reason reason, const char *why) {
    if (session->state >= DS_SESSION_CLOSING) {
        return;
    }
    ds_engine *engine = session->engine;
    /* Not usable any more before anybody hears: whoever starts anew in a callback gets a fresh one. It is ended on the
     * server even if that said it was gone: a deleted session key leaves the lease and the entries behind. */
    ds_session_stop(session);
    ds_session_move(session, DS_SESSION_CLOSING, why);
    session->busy++;
    ds_session_doom(session, reason);
    ds_engine_notice(engine, "session_lost", "session %s of %s: %s", session->lease.id, engine->config.id, why);
    /* By the clock alone: what was being released may have been released in time. */
    ds_departures_end(session, reason == DSYNC_REASON_EXPIRED ? DSYNC_UNKNOWN : DSYNC_LOST);
    ds_session_dismiss(session, reason, DSYNC_OK, NULL);
    session->busy--;
    session->attempt = 0;
    ds_session_begin_try(session);
}

bool ds_session_reply_ends(ds_session *session, const ds_reply *reply) {
    if (reply->outcome == DS_LOST) {
        ds_session_lose(session, DSYNC_REASON_SESSION_LOST,
                        reply->message != NULL ? reply->message : "the server ended it");
        return true;
    }
    if (reply->outcome == DS_RESET) {
        ds_session_lose(session, DSYNC_REASON_CLUSTER_RESET, reply->message != NULL ? reply->message : "cluster reset");
        return true;
    }
    return false;
}

/* ---- making one -------------------------------------------------------------------------------------------------- */

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
    session->lease.global = params->global;
    session->lease.epoch = 1;
    ds_list_init(&session->users);
    ds_list_init(&session->hints);
    ds_list_init(&session->departures);
    ds_list_init(&session->dirty);
    ds_list_init(&session->withdrawing);
    session->renew_timer.fire = ds_session_try_again;
    session->deadline_timer.fire = ds_session_deadline_fired;
    session->hints_timer.fire = ds_session_fire_hints;
    ds_list_append(&engine->sessions, &session->node);
    engine->stats.sessions++;
    ds_session_begin_try(session);
    return session;
}

static ds_session *find(ds_engine *engine, const ds_session_params *params) {
    for (ds_list *link = engine->sessions.next; link != &engine->sessions; link = link->next) {
        ds_session *session = DS_LIST_ENTRY(link, ds_session, node);
        if (session->params.ttl_ms == params->ttl_ms && session->params.owner == params->owner &&
            session->params.global == params->global && session->state < DS_SESSION_CLOSING) {
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
