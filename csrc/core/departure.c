/* departure.c: see departure.h. */
#include "departure.h"

#include <string.h>

#define RETRY_CAP_NS DS_SECOND

static ds_departure *departure_of(ds_list *node) {
    return DS_LIST_ENTRY(node, ds_departure, node);
}

/* Ends one: told, freed. The session may be swept by the caller afterwards. */
static void end(ds_departure *departure, dsync_code code) {
    ds_engine *engine = departure->session->engine;
    engine->backend->ops->cancel(engine->backend, &departure->call);
    ds_timer_stop(engine->world, &departure->timer);
    ds_list_remove(&departure->node);
    engine->stats.cleaning--;
    ds_departed_fn departed = departure->departed;
    void *context = departure->context;
    ds_free(departure->path);
    ds_free(departure);
    if (departed != NULL) {
        departed(context, code);
    }
}

static void end_all(ds_list *list, dsync_code code) {
    while (!ds_list_empty(list)) {
        end(departure_of(list->next), code);
    }
}

void ds_departures_end(ds_session *session, dsync_code code) {
    end_all(&session->departures, code);
    end_all(&session->withdrawing, code);
    end_all(&session->dirty, code);
}

/* ---- one by one -------------------------------------------------------------------------------------------------- */

static void left(ds_call *call, const ds_reply *reply) {
    ds_departure *departure = DS_CONTAINER_OF(call, ds_departure, call);
    ds_session *session = departure->session;
    ds_world *world = session->engine->world;
    if (reply->resent) {
        session->engine->stats.resent++;
    }
    if (reply->outcome == DS_OK) {
        /* After an unanswered try "gone" may be our own doing. */
        bool removed = reply->place == DS_PLACE_DONE || departure->attempt > 0 || reply->resent;
        if (departure->entry.token > 0) { /* else a copy of this removal would take any entry of that name */
            ds_session_spare_name(session, &departure->entry);
        }
        end(departure, removed ? DSYNC_OK : DSYNC_LOST);
        ds_session_sweep(session);
    } else if (!ds_session_reply_ends(session, reply)) {
        departure->attempt++;
        session->engine->stats.retries++;
        ds_timer_set(world, &departure->timer,
                     ds_now(world) + ds_backoff(departure->attempt, RETRY_CAP_NS, ds_random64(world)));
    }
}

static void try_leave(ds_departure *departure) {
    ds_engine *engine = departure->session->engine;
    departure->call.done = left;
    departure->call.timeout_ns = ds_engine_request_timeout(engine, departure->session->timing.ttl_ns);
    engine->backend->ops->leave(engine->backend, &departure->call, &departure->entry);
}

static void leave_again(ds_timer *timer) {
    try_leave(DS_CONTAINER_OF(timer, ds_departure, timer));
}

/* ---- withdrawal -------------------------------------------------------------------------------------------------- */

static void send_withdrawal(ds_session *session);

static void withdrawn(ds_call *call, const ds_reply *reply) {
    ds_session *session = DS_CONTAINER_OF(call, ds_session, withdraw_call);
    ds_world *world = session->engine->world;
    if (reply->outcome == DS_OK && reply->place == DS_PLACE_DONE) {
        session->lease.epoch = reply->epoch;
        session->withdraw_attempt = 0;
        session->busy++;
        end_all(&session->withdrawing, DSYNC_OK);
        session->busy--;
        ds_session_withdraw(session);
        ds_session_sweep(session);
    } else if (reply->outcome == DS_OK || reply->outcome == DS_REFUSED) {
        /* Somebody else wrote our session key, or will not let us: late copies could no longer be kept out. */
        ds_session_lose(session, DSYNC_REASON_SESSION_LOST,
                        reply->message != NULL ? reply->message : "the session key was changed by somebody else");
    } else if (!ds_session_reply_ends(session, reply)) {
        session->withdraw_attempt++;
        session->engine->stats.retries++;
        ds_timer_set(world, &session->withdraw_timer,
                     ds_now(world) + ds_backoff(session->withdraw_attempt, RETRY_CAP_NS, ds_random64(world)));
    }
}

static void withdraw_again(ds_timer *timer) {
    send_withdrawal(DS_CONTAINER_OF(timer, ds_session, withdraw_timer));
}

/* The same entries and the same epoch until it is confirmed: only then is a repetition harmless. */
static void send_withdrawal(ds_session *session) {
    ds_backend *backend = session->engine->backend;
    const ds_entry *entries[DS_WITHDRAW_MAX];
    size_t count = 0;
    for (ds_list *link = session->withdrawing.next; link != &session->withdrawing; link = link->next) {
        ds_departure *departure = departure_of(link);
        if (departure->path != NULL) {
            entries[count++] = &departure->entry;
        }
    }
    session->withdraw_call.done = withdrawn;
    session->withdraw_call.urgent = true;
    session->withdraw_call.timeout_ns = ds_engine_request_timeout(session->engine, session->timing.ttl_ns);
    session->withdraw_timer.fire = withdraw_again;
    backend->ops->withdraw(backend, &session->withdraw_call, &session->lease, entries, count, session->next_epoch);
}

void ds_session_withdraw(ds_session *session) {
    if (!ds_list_empty(&session->withdrawing) || ds_list_empty(&session->dirty) || !ds_session_usable(session)) {
        return;
    }
    for (size_t i = 0; i < DS_WITHDRAW_MAX && !ds_list_empty(&session->dirty); i++) {
        ds_list_append(&session->withdrawing, ds_list_pop(&session->dirty));
    }
    session->next_epoch = session->lease.epoch + 1;
    send_withdrawal(session);
}

/* ---- beginning one ----------------------------------------------------------------------------------------------- */

ds_departure *ds_depart(ds_session *session, const ds_entry *entry, bool dirty, ds_departed_fn departed,
                        void *context) {
    ds_departure *departure = ds_calloc(1, sizeof *departure);
    char *path = departure != NULL && entry != NULL ? ds_strdup(entry->path) : NULL;
    if (departure == NULL || (entry != NULL && path == NULL)) {
        ds_free(departure);
        ds_session_lose(session, DSYNC_REASON_SESSION_LOST, "out of memory while releasing");
        return NULL;
    }
    ds_list_init(&departure->node);
    departure->session = session;
    if (entry != NULL) {
        departure->entry = *entry;
        departure->path = path;
        departure->entry.path = path;
        departure->entry.value = NULL;
        departure->entry.value_size = 0;
        departure->entry.lease = &session->lease;
    }
    departure->dirty = dirty || entry == NULL;
    departure->departed = departed;
    departure->context = context;
    departure->timer.fire = leave_again;
    session->engine->stats.cleaning++;
    if (departure->dirty) {
        ds_list_append(&session->dirty, &departure->node);
        ds_session_withdraw(session);
    } else {
        ds_list_append(&session->departures, &departure->node);
        try_leave(departure);
    }
    return departure;
}

void ds_departure_forget(ds_departure *departure) {
    departure->departed = NULL;
    departure->context = NULL;
}
