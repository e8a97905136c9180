/* contender_session.c: a contender and its session: what it does when that is ready, renewed or lost, and how long it
 * bears that nobody answers.
 */
#include <stdio.h>

#include "contender_entry.h"

static ds_contender *contender_of(ds_session_user *user) {
    return DS_CONTAINER_OF(user, ds_contender, user);
}

static void on_ready(ds_session_user *user) {
    ds_contender *c = contender_of(user);
    if (c->state == DS_CONTENDER_ENTERING && c->call.impl == NULL && c->timer.index == 0) {
        ds_entry_enter(c);
    }
}

static void on_failed(ds_session_user *user, dsync_code code, const char *message) {
    ds_contender_fail_all(contender_of(user), code, message);
}

static void on_doomed(ds_session_user *user, dsync_reason reason) {
    ds_contender *c = contender_of(user);
    if (c->state == DS_CONTENDER_HELD) {
        ds_contender_disbelieve(c, reason, "session lost");
    }
}

static void on_lost(ds_session_user *user, dsync_reason reason) {
    ds_contender *c = contender_of(user);
    if (c->holder != NULL) {
        ds_contender_lose(c, reason);
        return;
    }
    if (c->state == DS_CONTENDER_IDLE) {
        return;
    }
    /* Everything under the session goes with it: start over under a fresh one, in the same local order. */
    ds_release *release = c->releasing;
    c->releasing = NULL;
    c->sent = false;
    ds_entry_abandon(c, "session lost while waiting");
    ds_release_finish(release, reason == DSYNC_REASON_EXPIRED ? DSYNC_UNKNOWN : DSYNC_LOST);
    ds_contender_proceed(c);
}

static void on_renewed(ds_session_user *user) {
    ds_contender *c = contender_of(user);
    if (c->holder != NULL) {
        ds_claim *claim = c->holder->claim;
        atomic_store_explicit(&claim->wall_deadline_ms, user->session->wall_deadline_ms, memory_order_relaxed);
        atomic_store_explicit(&claim->deadline_ns, user->session->deadline_ns, memory_order_relaxed);
    }
    ds_entry_renewed(c);
}

static void on_suspect(ds_session_user *user, bool suspect) {
    ds_contender *c = contender_of(user);
    if (c->holder != NULL) {
        atomic_store_explicit(&c->holder->claim->suspect, suspect, memory_order_relaxed);
    }
}

void ds_contender_patience(ds_contender *c) {
    c->since_ns = ds_now(c->engine->world);
    c->attempt = 0;
    c->answered = false;
    c->last_error[0] = '\0';
    ds_timer_set(c->engine->world, &c->patience, c->since_ns + c->engine->config.unavailable_ns);
}

static void out_of_patience(ds_timer *timer) {
    ds_contender *c = DS_CONTAINER_OF(timer, ds_contender, patience);
    const char *why = c->last_error;
    if (why[0] == '\0' && c->user.session != NULL && c->user.session->last_error[0] != '\0') {
        why = c->user.session->last_error;
    }
    char message[360];
    snprintf(message, sizeof message, "no server answers (%s): %s",
             c->engine->backend->ops->endpoint_list(c->engine->backend), why[0] != '\0' ? why : "no reply in time");
    ds_contender_fail_all(c, DSYNC_UNAVAILABLE, message);
}

void ds_contender_begin(ds_contender *c) {
    ds_waiter *front = ds_contender_front(c);
    dsync_error error;
    ds_contender_move(c, DS_CONTENDER_ENTERING, "asked for");
    for (ds_list *link = c->waiters.next; link != &c->waiters; link = link->next) {
        ds_waiter_show(DS_LIST_ENTRY(link, ds_waiter, node), DS_CLAIM_ENTERING, "asked for");
    }
    ds_contender_patience(c);
    ds_session *session = ds_session_attach(c->engine, &front->params, &c->user, &error);
    if (session == NULL) {
        ds_contender_fail_all(c, error.code, error.message);
    } else if (ds_session_usable(session)) {
        ds_entry_enter(c);
    }
}

void ds_contender_listen(ds_contender *c) {
    ds_list_init(&c->user.node);
    ds_list_init(&c->user.hint_node);
    c->user.ready = on_ready;
    c->user.failed = on_failed;
    c->user.doomed = on_doomed;
    c->user.lost = on_lost;
    c->user.renewed = on_renewed;
    c->user.suspect = on_suspect;
    c->user.hint = ds_entry_hint;
    c->patience.fire = out_of_patience;
}
