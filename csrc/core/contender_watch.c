/* contender_watch.c: what a contender hears of entries: whoever is ahead, and its own; and acquired_at beside its
 * own. */
#include <string.h>

#include "contender_entry.h"

#define RETRY_CAP_NS DS_SECOND
#define EXPLANATION_NS (200 * DS_MS)
#define SMALL_CROWD INT64_C(8) /* entries in a queue */
#define LINGER_NS (5 * DS_SECOND)

/* ---- watching ---------------------------------------------------------------------------------------------------- */

void ds_entry_unwatch(ds_contender *c, ds_watch *watch, bool *on) {
    if (*on) {
        ds_entry_backend(c)->ops->unwatch(ds_entry_backend(c), watch);
        *on = false;
    }
}

/* Must our place be asked for again? */
static bool changes_our_place(const ds_contender *c, const ds_watch_event *event) {
    if (event->kind == DS_WATCH_READY) {
        return event->revision != c->seen;
    }
    return event->kind == DS_WATCH_DELETED && (!c->ahead_whole || strcmp(event->key, c->ahead_key) == 0);
}

static void on_ahead(ds_watch *watch, const ds_watch_event *event) {
    ds_contender *c = DS_CONTAINER_OF(watch, ds_contender, ahead);
    if (event->kind == DS_WATCH_ENDED) {
        /* Counted apart from failed calls: those may go well where no watch ever begins. */
        c->ahead_on = false;
        c->ahead_ended++;
        if (c->state == DS_CONTENDER_WAITING) {
            ds_entry_again_in(c, ds_backoff(c->ahead_ended, RETRY_CAP_NS, ds_random64(c->engine->world)));
        }
        return;
    }
    c->ahead_ended = 0;
    if (c->call.impl != NULL) {
        /* Its answer may be newer than this, and mostly is; a request cut short would cost the connection it is on. */
        c->heard = event->revision > 0 ? event->revision : INT64_MAX;
    } else if (c->state == DS_CONTENDER_WAITING && changes_our_place(c, event)) {
        ds_entry_check(c);
    }
}

/* In a small queue one watch on all of it costs less than a new one at every turn, and it is there before the next
 * turn begins. In a large one everybody would be told of everything. Room between the two, so as not to go back and
 * forth. */
static bool whole_queue(const ds_contender *c, int64_t crowd) {
    bool whole_now = c->ahead_on && c->ahead_whole;
    return whole_now ? crowd <= SMALL_CROWD * 2 : crowd > 0 && crowd <= SMALL_CROWD;
}

void ds_entry_watch_ahead(ds_contender *c, const char *key, int64_t crowd) {
    bool same = c->ahead_key != NULL && strcmp(c->ahead_key, key) == 0;
    bool whole = whole_queue(c, crowd);
    if (!same) {
        char *copy = ds_strdup(key);
        if (copy == NULL) {
            ds_entry_unwatch(c, &c->ahead, &c->ahead_on);
            return; /* the poll goes on */
        }
        ds_free(c->ahead_key);
        c->ahead_key = copy;
    }
    if (c->ahead_on && (c->ahead_whole ? whole : same)) {
        return;
    }
    ds_entry_unwatch(c, &c->ahead, &c->ahead_on);
    /* From now on, not from a past revision: joining the present is instant on every server. READY tells whether
     * something happened before it. */
    ds_watch_spec spec = {.key = whole ? c->path : c->ahead_key,
                          .subtree = whole,
                          .deletes_only = true,
                          .keys_only = true,
                          .seen = c->seen,
                          .asker = &c->user.session->lease};
    c->ahead_whole = whole;
    c->ahead.on_event = on_ahead;
    c->ahead_on = ds_entry_backend(c)->ops->watch(ds_entry_backend(c), &c->ahead, &spec);
}

static void linger_over(ds_timer *timer) {
    ds_contender *c = DS_CONTAINER_OF(timer, ds_contender, linger);
    if (c->state != DS_CONTENDER_ENTERING && c->state != DS_CONTENDER_WAITING) {
        ds_entry_unwatch(c, &c->ahead, &c->ahead_on);
    }
}

void ds_entry_linger(ds_contender *c) {
    if (c->ahead_on && c->ahead_whole) {
        c->linger.fire = linger_over;
        ds_timer_set(c->engine->world, &c->linger, ds_now(c->engine->world) + LINGER_NS);
    } else {
        ds_entry_unwatch(c, &c->ahead, &c->ahead_on);
    }
}

/* Not believed from this moment. Why is worth a question, or a moment's patience for the watch to say it. */
void ds_entry_gone(ds_contender *c, const char *why, int64_t patience_ns) {
    if (c->state == DS_CONTENDER_WAITING) {
        ds_entry_check(c);
        return;
    }
    if (c->state == DS_CONTENDER_HELD) {
        ds_contender_disbelieve(c, DSYNC_REASON_DELETED, why);
    }
    if (c->state == DS_CONTENDER_LOSING && patience_ns > 0) {
        ds_entry_again_in(c, patience_ns);
    } else if (c->state == DS_CONTENDER_LOSING) {
        ds_entry_check(c);
    }
}

void ds_waiter_gone(ds_waiter *waiter) {
    ds_contender *c = waiter->contender;
    if (waiter->state != DS_WAITER_HOLDING || c->state != DS_CONTENDER_HELD) {
        return;
    }
    ds_entry_watch_own(c);
    ds_entry_gone(c, "the server no longer has the entry", EXPLANATION_NS);
}

/* ---- acquired_at ------------------------------------------------------------------------------------------------- */

static void mark_done(ds_call *call, const ds_reply *reply) {
    ds_contender *c = DS_CONTAINER_OF(call, ds_contender, mark_call);
    if (c->user.session == NULL || ds_session_reply_ends(c->user.session, reply)) {
        return;
    }
    if (reply->outcome == DS_AMBIGUOUS || reply->resent) {
        c->mark_uncertain = true;
    } else if (reply->outcome == DS_OK && reply->place == DS_PLACE_GONE) {
        ds_waiter_gone(c->holder);
    } else if (reply->outcome == DS_NOT_EXECUTED) {
        c->marked = false; /* the next renewal that goes well brings it up again */
    } else if (reply->outcome == DS_OK && reply->place == DS_PLACE_STALE) {
        c->marked = false;
        ds_session_hint(&c->user);
    }
}

static void mark_acquired(ds_contender *c) {
    ds_backend *backend = ds_entry_backend(c);
    c->marked = true;
    if (c->mark_call.impl != NULL || !ds_entry_make_value(c, c->holder, c->held_wall_ms)) {
        return;
    }
    ds_write write = {
        .kind = DS_WRITE_VALUE, .entry = &c->entry, .value = c->entry.value, .value_size = c->entry.value_size};
    c->mark_call.done = mark_done;
    c->mark_call.timeout_ns = ds_engine_request_timeout(c->engine, c->user.session->timing.ttl_ns);
    backend->ops->write(backend, &c->mark_call, &write);
}

static void mark_once(ds_contender *c) {
    if (c->state == DS_CONTENDER_HELD && !c->marked) {
        mark_acquired(c);
    }
}

/* ---- the own entry ----------------------------------------------------------------------------------------------- */

static void on_own(ds_watch *watch, const ds_watch_event *event) {
    ds_contender *c = DS_CONTAINER_OF(watch, ds_contender, own);
    if (event->kind == DS_WATCH_DELETED) {
        bool broken = event->value != NULL && event->value_size > 0 &&
                      memmem(event->value, event->value_size, DS_BROKEN_MARK, strlen(DS_BROKEN_MARK)) != NULL;
        if (broken && (c->state == DS_CONTENDER_HELD || c->state == DS_CONTENDER_LOSING)) {
            ds_contender_lose(c, DSYNC_REASON_BROKEN);
        } else {
            ds_entry_gone(c, "entry deleted", 0);
        }
    } else if (event->kind == DS_WATCH_ENDED) {
        c->own_on = false;
        c->own_ended = true;
        /* One that never began is left to the next renewal: a server that refuses it is not asked at once again. */
        if (c->own_ready && ds_entry_has_place(c)) {
            ds_session_hint(&c->user);
        }
    } else if (event->kind == DS_WATCH_READY) {
        c->own_ready = true;
        if (c->own_ended && ds_entry_has_place(c)) {
            ds_entry_check(c);
        }
        mark_once(c);
    }
}

void ds_entry_watch_own(ds_contender *c) {
    char *key = NULL;
    if (c->own_on || !ds_entry_backend(c)->ops->entry_key(ds_entry_backend(c), &c->entry, &key)) {
        return;
    }
    /* Once it has ended it begins in the present, because the past may have been compacted, and READY looks for
     * itself. */
    int64_t since = c->own_ended ? 0 : c->entry.token + 1;
    ds_watch_spec spec = {.key = key, .deletes_only = true, .since = since, .lease = &c->user.session->lease};
    c->own_ready = false;
    c->own.on_event = on_own;
    c->own_on = ds_entry_backend(c)->ops->watch(ds_entry_backend(c), &c->own, &spec);
    ds_free(key);
}

void ds_entry_hint(ds_session_user *user) {
    ds_contender *c = DS_CONTAINER_OF(user, ds_contender, user);
    if (!ds_entry_has_place(c)) {
        return;
    }
    bool watched = c->own_on;
    ds_entry_watch_own(c);
    if (watched || !c->own_on) {
        mark_once(c);
    } /* else once the watch has begun: etcd lets one that begins behind a later write wait for up to 100 ms */
}

void ds_entry_renewed(ds_contender *c) {
    if (ds_entry_has_place(c) && (!c->own_on || (c->state == DS_CONTENDER_HELD && !c->marked))) {
        ds_session_hint(&c->user);
    }
}
