/* contender_release.c: giving up: a holder releases, hands over, or goes away; and how the entry leaves the server. */
#include <string.h>

#include "contender_entry.h"

/* Leaves the session it had, unless whoever heard of that session's loss has begun anew already. */
static void part(ds_contender *c, ds_session *session) {
    if (c->user.session == session) {
        ds_session_detach(&c->user);
    }
}

/* ---- releasing --------------------------------------------------------------------------------------------------- */

void ds_release_finish(ds_release *release, dsync_code code) {
    if (release == NULL) {
        return;
    }
    ds_timer_stop(release->engine->world, &release->timer);
    release->contender = NULL;
    release->departure = NULL;
    release->done(release, code, release->free_by_ms);
}

void ds_release_forget(ds_release *release) {
    ds_timer_stop(release->engine->world, &release->timer);
    if (release->departure != NULL) {
        ds_departure_forget(release->departure);
    }
    if (release->contender != NULL) {
        release->contender->releasing = NULL;
    }
    release->departure = NULL;
    release->contender = NULL;
}

static void release_overdue(ds_timer *timer) {
    ds_release *release = DS_CONTAINER_OF(timer, ds_release, timer);
    ds_release_forget(release);
    release->done(release, DSYNC_UNKNOWN, release->free_by_ms);
}

static void departed(void *context, dsync_code code) {
    ds_release *release = context;
    release->departure = NULL;
    ds_release_finish(release, code);
}

/* Everything of the present entry's: a watch on the whole queue serves the next one as well. */
static void halt(ds_contender *c) {
    ds_backend *backend = ds_entry_backend(c);
    backend->ops->cancel(backend, &c->call);
    backend->ops->cancel(backend, &c->mark_call);
    ds_entry_unwatch(c, &c->own, &c->own_on);
    ds_timer_stop(c->engine->world, &c->timer);
    ds_session_unhint(&c->user);
}

/* False: out of memory, nothing was done. */
static bool hand_over(ds_contender *c, ds_release *release) {
    c->old = c->entry;
    if (!ds_entry_renew_identity(c)) {
        return false;
    }
    c->swapping = true;
    c->releasing = release;
    if (release != NULL) {
        release->contender = c;
    }
    ds_contender_move(c, DS_CONTENDER_ENTERING, "handed over");
    ds_contender_patience(c);
    ds_entry_swap(c);
    return true;
}

void ds_waiter_release(ds_waiter *waiter, ds_release *release, int64_t timeout_ns) {
    ds_contender *c = waiter->contender;
    ds_engine *engine = c->engine;
    ds_session *session = c->user.session;
    int64_t now = ds_now(engine->world);
    engine->stats.releases++;
    ds_timer_stop(engine->world, &waiter->timer);
    ds_waiter_show(waiter, DS_CLAIM_RELEASING, "released");
    waiter->state = DS_WAITER_DONE;
    waiter->contender = NULL;
    c->holder = NULL;
    if (release != NULL) {
        memset(&release->timer, 0, sizeof release->timer);
        release->engine = engine;
        release->departure = NULL;
        release->contender = NULL;
        release->timer.fire = release_overdue;
        release->free_by_ms = engine->world->ops->wall_ms(engine->world) + session->timing.ttl_ns / DS_MS;
        ds_timer_set(engine->world, &release->timer, now + timeout_ns);
    }
    ds_waiter *next = ds_contender_front(c);
    bool dirty = c->dirty;
    halt(c);
    if (next != NULL && ds_same_params(&next->params, &waiter->params) && !dirty && hand_over(c, release)) {
        return;
    }
    ds_entry_linger(c);
    c->sent = false;
    c->dirty = false;
    ds_contender_move(c, DS_CONTENDER_IDLE, "released");
    ds_departure *departure = ds_depart(session, &c->entry, dirty, release != NULL ? departed : NULL, release);
    if (release != NULL && departure != NULL) {
        release->departure = departure;
    }
    part(c, session);
    ds_contender_proceed(c);
    if (departure == NULL) {
        ds_release_finish(release, DSYNC_LOST);
    }
}

void ds_waiter_look(ds_waiter *waiter) {
    ds_contender *c = waiter->contender;
    if (waiter->state != DS_WAITER_HOLDING || c->state != DS_CONTENDER_HELD) {
        return;
    }
    ds_world *world = c->engine->world;
    int64_t now = ds_now(world);
    int64_t wall = world->ops->wall_ms(world);
    if (ds_claim_left(waiter->claim, now, wall) > 0) {
        return;
    }
    if (now >= atomic_load(&waiter->claim->hold_until_ns)) {
        ds_contender_lose(c, DSYNC_REASON_EXPIRED);
    } else {
        ds_session_lose(c->user.session, DSYNC_REASON_EXPIRED, "not renewed in time");
    }
}

void ds_waiter_drop(ds_waiter *waiter) {
    ds_waiter_look(waiter);
    if (waiter->state == DS_WAITER_QUEUED) {
        ds_waiter_cancel(waiter, DSYNC_CANCELLED, "let go");
    } else if (waiter->state == DS_WAITER_HOLDING && waiter->contender->state == DS_CONTENDER_HELD) {
        ds_waiter_release(waiter, NULL, 0);
    } else if (waiter->state == DS_WAITER_HOLDING) {
        ds_waiter_end_loss(waiter);
    }
}

void ds_waiter_end_loss(ds_waiter *waiter) {
    if (waiter->state == DS_WAITER_HOLDING && waiter->contender->state == DS_CONTENDER_LOSING) {
        ds_contender_lose(waiter->contender, (dsync_reason)atomic_load(&waiter->claim->reason));
    }
}

const ds_entry *ds_waiter_entry(const ds_waiter *waiter) {
    bool holding = waiter->state == DS_WAITER_HOLDING && waiter->contender->state == DS_CONTENDER_HELD;
    return holding ? &waiter->contender->entry : NULL;
}

ds_session *ds_waiter_session(const ds_waiter *waiter) {
    return waiter->contender != NULL ? waiter->contender->user.session : NULL;
}

bool ds_waiter_claim_value(ds_waiter *waiter) {
    ds_contender *c = waiter->contender;
    bool uncertain = c->mark_uncertain || c->mark_call.impl != NULL;
    c->engine->backend->ops->cancel(c->engine->backend, &c->mark_call);
    c->marked = true;
    c->mark_uncertain = false;
    return uncertain;
}

int64_t ds_waiter_held_wall_ms(const ds_waiter *waiter) {
    return waiter->contender != NULL ? waiter->contender->held_wall_ms : 0;
}

/* ---- getting out ------------------------------------------------------------------------------------------------- */

void ds_entry_stop(ds_contender *c) {
    halt(c);
    ds_timer_stop(c->engine->world, &c->linger);
    ds_entry_unwatch(c, &c->ahead, &c->ahead_on);
}

void ds_entry_abandon(ds_contender *c, const char *why) {
    ds_session *session = c->user.session;
    ds_release *release = c->releasing;
    bool unsure = c->dirty || (c->sent && c->call.impl != NULL && c->state == DS_CONTENDER_ENTERING);
    bool swapping = c->swapping;
    bool sent = c->sent;
    ds_entry_stop(c);
    ds_timer_stop(c->engine->world, &c->patience);
    c->releasing = NULL;
    c->swapping = false;
    c->sent = false;
    c->dirty = false;
    ds_contender_move(c, DS_CONTENDER_IDLE, why);
    if (session != NULL && ds_session_usable(session) && sent) {
        if (swapping) {
            /* In this order: once the old entry is gone, no copy of the exchange can make the new one. */
            ds_departed_fn told = release != NULL ? departed : NULL;
            ds_departure *departure = ds_depart(session, &c->old, true, told, release);
            if (release != NULL && departure != NULL) {
                release->contender = NULL;
                release->departure = departure;
                release = NULL;
            }
            unsure = true;
        }
        if (ds_session_usable(session)) {
            (void)ds_depart(session, &c->entry, unsure, NULL, NULL);
        }
    }
    part(c, session);
    ds_release_finish(release, DSYNC_LOST);
}
