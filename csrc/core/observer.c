/* observer.c: see observer.h. Watch from now on, then list, then tell the difference; every event after that is applied
 * to the state in memory. Whatever is doubtful (an event while listing, a watch that ended) leads to listing again.
 */
#include "observer_parts.h"

#include <string.h>

#define OLD_MAX 6 /* listings in a row that are older than the watch */
#define RETRY_CAP_NS DS_SECOND
#define REFRESH_NS (60 * DS_SECOND)

static void list_all(ds_observer *observer);

/* The end of work on the state, in which a callback may have ended the observer. */
static void leave(ds_observer *observer) {
    if (--observer->busy == 0 && observer->engine == NULL) {
        ds_observer_forget(observer);
    }
}

static bool same_text(const char *a, size_t a_size, const char *b, size_t b_size) {
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return a_size == b_size && memcmp(a, b, a_size) == 0;
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static void tell(ds_observer *observer, ds_change_kind kind, const ds_election *election, const ds_member *member) {
    if (observer->engine != NULL) {
        observer->on_change(observer, kind, election->path, member, observer->missed);
    }
}

/* One entry as it is now. False: out of memory. */
static bool apply_put(ds_observer *observer, ds_election *election, const char *key, int64_t token, const char *text,
                      size_t size) {
    ds_value value;
    if (!ds_value_read(text, size, &value)) {
        return false;
    }
    ds_member *member = ds_election_find(election, key);
    if (member != NULL && member->token != token) {
        tell(observer, DS_CHANGE_LEFT, election, member);
        ds_member_free(election, member);
        member = NULL;
    }
    if (member == NULL) {
        member = ds_election_add(election, key, token, &value);
        if (member == NULL) {
            ds_value_free(&value);
            return false;
        }
        member->listed = true;
        tell(observer, DS_CHANGE_JOINED, election, member);
        return true;
    }
    member->listed = true;
    /* acquired_at may have been added: no change worth telling. */
    bool same = same_text(member->value.value, member->value.value_size, value.value, value.value_size);
    ds_value_free(&member->value);
    member->value = value;
    if (!same) {
        tell(observer, DS_CHANGE_CHANGED, election, member);
    }
    return true;
}

/* Who owns the queue, or NULL. */
static const ds_member *owner(const ds_observer *observer, ds_election *election) {
    for (ds_list *link = election->members.next; link != &election->members; link = link->next) {
        const ds_member *member = ds_member_of(link);
        if (member->holds || !observer->engine->backend->ops->delays) {
            return member;
        }
    }
    return NULL;
}

static void tell_leader(ds_observer *observer, ds_election *election) {
    if (observer->engine == NULL) {
        return; /* ended by a callback */
    }
    const ds_member *first = owner(observer, election);
    int64_t leader = first != NULL ? first->token : 0;
    if (election->told && leader == election->leader) {
        return;
    }
    election->told = true;
    election->leader = leader;
    tell(observer, first != NULL ? DS_CHANGE_ELECTED : DS_CHANGE_VACANT, election, first);
}

static void drop_unlisted(ds_observer *observer, ds_election *election) {
    ds_list *link = election->members.next;
    while (link != &election->members) {
        ds_member *member = ds_member_of(link);
        link = link->next;
        if (!member->listed) {
            tell(observer, DS_CHANGE_LEFT, election, member);
            ds_member_free(election, member);
        }
    }
}

/* The listing is complete: tell what is left to tell. */
static void conclude(ds_observer *observer) {
    if (!observer->subtree && ds_observer_election(observer, observer->path) == NULL) {
        observer->again = true;
        return;
    }
    ds_list *link = observer->elections.next;
    while (link != &observer->elections && observer->engine != NULL) {
        ds_election *election = ds_election_of(link);
        link = link->next;
        drop_unlisted(observer, election);
        tell_leader(observer, election);
        if (observer->subtree && ds_list_empty(&election->members)) {
            ds_election_free(observer, election);
        }
    }
    observer->synced = true;
    observer->missed = false;
}

/* ---- listing ----------------------------------------------------------------------------------------------------- */

static void later(ds_observer *observer) {
    if (observer->engine == NULL) {
        return; /* ended by a callback */
    }
    ds_world *world = observer->engine->world;
    observer->attempt++;
    ds_timer_set(world, &observer->timer,
                 ds_now(world) + ds_backoff(observer->attempt, RETRY_CAP_NS, ds_random64(world)));
}

static bool take_page(ds_observer *observer, const ds_reply *reply) {
    for (size_t i = 0; i < reply->peer_count; i++) {
        const ds_peer *peer = &reply->peers[i];
        ds_election *election = ds_observer_election(observer, peer->path);
        if (election == NULL || !apply_put(observer, election, peer->key, peer->token, peer->value, peer->value_size)) {
            return false;
        }
        ds_member *member = observer->engine != NULL ? ds_election_find(election, peer->key) : NULL;
        if (member != NULL) {
            member->holds = peer->holds;
        }
    }
    return true;
}

static void send_list(ds_observer *observer) {
    ds_backend *backend = observer->engine->backend;
    ds_list_spec spec = {.path = observer->path, .subtree = observer->subtree, .after = observer->after};
    observer->call.timeout_ns = ds_engine_request_timeout(observer->engine, 40 * DS_SECOND);
    backend->ops->list(backend, &observer->call, &spec);
}

/* What happened between such a listing and the watch's beginning would be missed. In some stores revisions can fall for
 * good: then it is believed after some tries. */
static bool is_too_old(const ds_observer *observer, const ds_reply *reply) {
    return reply->outcome == DS_OK && reply->revision != 0 && reply->revision < observer->since &&
           observer->attempt < OLD_MAX;
}

static void take_listing(ds_observer *observer, const ds_reply *reply) {
    if (is_too_old(observer, reply) || reply->outcome != DS_OK || !take_page(observer, reply)) {
        later(observer);
        return;
    }
    if (observer->engine == NULL) {
        return; /* ended by a callback */
    }
    observer->attempt = 0;
    ds_free(observer->after);
    observer->after = reply->next != NULL ? ds_strdup(reply->next) : NULL;
    if (reply->next != NULL && observer->after == NULL) {
        later(observer);
        return;
    }
    if (observer->after != NULL) {
        observer->listing = true;
        send_list(observer);
        return;
    }
    observer->revision = reply->revision;
    conclude(observer);
    if (observer->engine == NULL) {
        return;
    }
    if (observer->again) {
        list_all(observer);
    } else if (!observer->watching) {
        /* The watch ended while this was under way: its next try must not wait for the refresh. */
        observer->synced = false;
        observer->missed = true;
        later(observer);
    } else {
        ds_timer_set(observer->engine->world, &observer->timer, ds_now(observer->engine->world) + REFRESH_NS);
    }
}

static void listed(ds_call *call, const ds_reply *reply) {
    ds_observer *observer = DS_CONTAINER_OF(call, ds_observer, call);
    observer->listing = false;
    if (reply->outcome == DS_REFUSED) {
        ds_observer_end(observer, reply->code, reply->message != NULL ? reply->message : "refused");
        return;
    }
    observer->busy++;
    take_listing(observer, reply);
    leave(observer);
}

static void list_all(ds_observer *observer) {
    for (ds_list *e = observer->elections.next; e != &observer->elections; e = e->next) {
        ds_election *election = ds_election_of(e);
        for (ds_list *m = election->members.next; m != &election->members; m = m->next) {
            ds_member_of(m)->listed = false;
        }
    }
    ds_free(observer->after);
    observer->after = NULL;
    observer->again = false;
    observer->listing = true;
    observer->call.done = listed;
    send_list(observer);
}

/* ---- watching ---------------------------------------------------------------------------------------------------- */

/* The path of an entry is its key without the last segment; but all below the path of one election is in its queue, as
 * in its listing. NULL: out of memory. */
static ds_election *election_of_entry(ds_observer *observer, const char *key, size_t length) {
    if (!observer->subtree) {
        return ds_observer_election(observer, observer->path);
    }
    char *path = ds_strndup(key, length);
    ds_election *election = path != NULL ? ds_observer_election(observer, path) : NULL;
    ds_free(path);
    return election;
}

static void apply_event(ds_observer *observer, const ds_watch_event *event) {
    const char *slash = strrchr(event->key, '/');
    if (slash == NULL) {
        return;
    }
    ds_election *election = election_of_entry(observer, event->key, (size_t)(slash - event->key));
    if (election == NULL) {
        later(observer);
        return;
    }
    if (event->kind == DS_WATCH_PUT) {
        const char *text = event->value != NULL ? event->value : "";
        if (!apply_put(observer, election, event->key, event->token, text,
                       event->value != NULL ? event->value_size : 0)) {
            later(observer);
        }
    } else {
        ds_member *member = ds_election_find(election, event->key);
        if (member != NULL) {
            tell(observer, DS_CHANGE_LEFT, election, member);
            ds_member_free(election, member);
        }
    }
    if (observer->engine != NULL) {
        tell_leader(observer, election);
    }
}

static void on_watch(ds_watch *watch, const ds_watch_event *event) {
    ds_observer *observer = DS_CONTAINER_OF(watch, ds_observer, watch);
    switch (event->kind) {
    case DS_WATCH_READY:
    case DS_WATCH_CHANGED:
        observer->since = event->kind == DS_WATCH_READY ? event->revision : observer->since;
        if (observer->listing) {
            observer->again = true; /* that one may be older than the watch */
        } else {
            list_all(observer);
        }
        break;
    case DS_WATCH_ENDED:
        observer->watching = false;
        observer->missed = observer->missed || observer->synced;
        observer->synced = false;
        later(observer);
        break;
    case DS_WATCH_PUT:
    case DS_WATCH_DELETED:
        if (observer->listing || !observer->synced) {
            observer->again = true;
        } else if (event->revision > observer->revision) {
            observer->busy++;
            apply_event(observer, event);
            leave(observer);
        }
        break;
    case DS_WATCH_DOUBT:
        break;
    }
}

static void tick(ds_timer *timer) {
    ds_observer *observer = DS_CONTAINER_OF(timer, ds_observer, timer);
    ds_backend *backend = observer->engine->backend;
    if (!observer->watching) {
        ds_watch_spec spec = {.key = observer->path, .subtree = true};
        observer->watch.on_event = on_watch;
        observer->watching = backend->ops->watch(backend, &observer->watch, &spec);
        if (!observer->watching) {
            later(observer);
            return;
        }
        /* Its READY leads to the first listing; behind that is a poll, as behind every watch. */
        ds_timer_set(observer->engine->world, &observer->timer, ds_now(observer->engine->world) + REFRESH_NS);
    } else if (!observer->listing) {
        list_all(observer);
    }
}

bool ds_observer_start(ds_engine *engine, ds_observer *observer, const char *path, bool subtree) {
    observer->path = ds_strdup(path);
    if (observer->path == NULL) {
        return false;
    }
    observer->engine = engine;
    observer->subtree = subtree;
    ds_list_init(&observer->elections);
    ds_map_init(&observer->by_path, ds_random64(engine->world));
    ds_list_init(&observer->node);
    ds_list_append(&engine->observers, &observer->node);
    engine->stats.watches++;
    observer->timer.fire = tick;
    tick(&observer->timer);
    return true;
}

void ds_observer_end(ds_observer *observer, dsync_code code, const char *message) {
    ds_engine *engine = observer->engine;
    if (engine == NULL) {
        return;
    }
    observer->engine = NULL;
    engine->backend->ops->unwatch(engine->backend, &observer->watch);
    engine->backend->ops->cancel(engine->backend, &observer->call);
    ds_timer_stop(engine->world, &observer->timer);
    ds_list_remove(&observer->node);
    engine->stats.watches--;
    if (observer->busy == 0) {
        ds_observer_forget(observer);
    }
    observer->on_end(observer, code, message);
}
