/* session_watch.c: what is only worth its cost for a session, or for something on it, that stays longer than a moment:
 * the watch on the session key, and hints.
 */
#include "session_parts.h"

#define WATCH_RETRY_NS (500 * DS_MS)

/* ---- hints ------------------------------------------------------------------------------------------------------- */

void ds_session_unhint(ds_session_user *user) {
    ds_list_remove(&user->hint_node);
}

void ds_session_fire_hints(ds_timer *timer) {
    ds_session *session = DS_CONTAINER_OF(timer, ds_session, hints_timer);
    int64_t now = timer->at_ns; /* not the clock's: it may have failed, and this must come to an end */
    if (!session->watched) {
        ds_session_watch_key(session);
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
    if (session->hints_timer.index == 0 || session->hints_timer.at_ns > user->hint_ns) {
        ds_timer_set(session->engine->world, &session->hints_timer, user->hint_ns);
    }
}

/* ---- the watch on the session key -------------------------------------------------------------------------------- */

static void on_watch(ds_watch *watch, const ds_watch_event *event) {
    ds_session *session = DS_CONTAINER_OF(watch, ds_session, watch);
    if (event->kind == DS_WATCH_DELETED) {
        ds_session_lose(session, DSYNC_REASON_SESSION_LOST, "the server ended it");
    } else if (event->kind == DS_WATCH_DOUBT) {
        ds_session_doubt(session, event->message);
    } else if (event->kind == DS_WATCH_ENDED && ds_session_usable(session)) {
        /* Renewals go on meanwhile, and bring the watch back if this does not. */
        session->watched = false;
        if (session->hints_timer.index == 0) {
            ds_timer_set(session->engine->world, &session->hints_timer,
                         ds_now(session->engine->world) + WATCH_RETRY_NS);
        }
    }
}

void ds_session_watch_key(ds_session *session) {
    ds_backend *backend = session->engine->backend;
    char *key = NULL;
    if (!backend->ops->session_key(backend, &session->lease, &key)) {
        return;
    }
    /* In the present, which is instant on every server, and the past may have been compacted. If the key is gone
     * already, an entry's own watch tells, or else the next renewal. */
    ds_watch_spec spec = {
        .key = key, .deletes_only = true, .keys_only = true, .seen = session->lease.created, .lease = &session->lease};
    session->watch.on_event = on_watch;
    session->watched = backend->ops->watch(backend, &session->watch, &spec);
    ds_free(key);
}
