/* zookeeper_session.c: the session as dsync sees it: one ephemeral node whose content says who and which epoch, and
 * that is written anew as a heartbeat.
 *
 * The library's pings are answered by any follower, and prove little; a write passes the leader. The node is no lock's,
 * so that nobody is woken by it.
 */
#include "zookeeper.h"
#include "stamp.h"

#include "../base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- open: connect, then make the node --------------------------------------------------------------------------- */

static void create_stamp(ds_zk_call *call);

static void opened(ds_zk_call *call, int64_t czxid, int32_t version) {
    ds_zk_link *link = call->link;
    ds_lease *lease = call->lease;
    link->stamp_version = version;
    lease->created = czxid;
    (void)snprintf(lease->id, sizeof(lease->id), "%" PRIx64, (uint64_t)link->session);
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE, .epoch = call->epoch};
    reply.ttl_ms = call->zookeeper->driver->timeout_ms(link->zk);
    ds_zk_finish(call, &reply);
}

/* There already: made by an earlier copy of this request, if it is this session's. */
static void on_existing(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_NO_NODE) {
        create_stamp(call);
    } else if (answer->code != DS_ZK_OK) {
        ds_zk_fail(call, answer);
    } else if (answer->stat->owner != call->link->session) {
        ds_zk_finish_lost(call, "zookeeper: an earlier session still has this one's name");
    } else {
        opened(call, answer->stat->czxid, answer->stat->version);
    }
}

static void on_created(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK) {
        opened(call, answer->stat->czxid, answer->stat->version);
    } else if (answer->code == DS_ZK_NO_NODE) {
        ds_zk_make_parents(call, call->full.data, create_stamp);
    } else if (answer->code == DS_ZK_NODE_EXISTS) {
        ds_zk_request request = {.kind = DS_ZK_EXISTS, .path = call->full.data};
        (void)ds_zk_send(call, &request, on_existing);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void create_stamp(ds_zk_call *call) {
    ds_zk_request request = {.kind = DS_ZK_CREATE, .path = call->full.data, .flags = DS_ZK_EPHEMERAL};
    request.data = call->stamp.data;
    request.size = call->stamp.size;
    (void)ds_zk_send(call, &request, on_created);
}

static void fill(ds_zk_call *call, const ds_lease *lease, uint64_t epoch) {
    ds_zk_session_key(&call->path, lease);
    ds_zk_path(call->zookeeper, &call->full, call->path.failed ? "" : call->path.data);
    ds_stamp_make(&call->stamp, lease, epoch);
    call->epoch = epoch;
}

void ds_zk_open(ds_backend *backend, ds_call *owner, ds_lease *lease) {
    ds_zk_link *link = ds_zk_lease_link(ds_zookeeper_of(backend), lease);
    ds_zk_call *call = ds_zk_start(backend, owner, lease, create_stamp);
    if (call != NULL && link == NULL) {
        ds_zk_finish_later(call, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
    } else if (call != NULL) {
        call->lease = lease;
        fill(call, lease, lease->epoch);
        ds_zk_go(call);
    }
}

/* ---- renew ------------------------------------------------------------------------------------------------------- */

static void write_stamp(ds_zk_call *call);

static void finish_renewed(ds_zk_call *call) {
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE, .epoch = call->epoch};
    reply.ttl_ms = call->zookeeper->driver->timeout_ms(call->link->zk);
    ds_zk_finish(call, &reply);
}

static void on_stamp(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK && answer->stat->owner == call->link->session) {
        call->link->stamp_version = answer->stat->version;
        write_stamp(call);
    } else if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NO_NODE) {
        ds_zk_finish_lost(call, "zookeeper: the session's node is gone");
    } else {
        ds_zk_fail(call, answer);
    }
}

/* Whether the last write arrived is not known after a lost connection. */
static void ask_version(ds_zk_call *call) {
    ds_zk_request request = {.kind = DS_ZK_EXISTS, .path = call->full.data};
    (void)ds_zk_send(call, &request, on_stamp);
}

static void on_written(ds_zk_call *call, const ds_zk_answer *answer) {
    if (answer->code == DS_ZK_OK && answer->stat->version > call->link->stamp_version) {
        call->link->stamp_version = answer->stat->version;
    }
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK) {
        finish_renewed(call);
    } else if (answer->code == DS_ZK_NO_NODE) {
        ds_zk_finish_lost(call, "zookeeper: the session's node is gone");
    } else if (answer->code == DS_ZK_BAD_VERSION && !call->retried) {
        call->retried = true; /* a withdrawal wrote it meanwhile, or an unanswered renewal */
        ask_version(call);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void write_stamp(ds_zk_call *call) {
    if (call->link->stamp_version < 0) {
        ask_version(call);
        return;
    }
    ds_zk_request request = {.kind = DS_ZK_SET, .path = call->full.data, .version = call->link->stamp_version};
    request.data = call->stamp.data;
    request.size = call->stamp.size;
    (void)ds_zk_send(call, &request, on_written);
}

void ds_zk_renew(ds_backend *backend, ds_call *owner, const ds_lease *lease) {
    ds_zk_call *call = ds_zk_start(backend, owner, lease, write_stamp);
    if (call != NULL) {
        fill(call, lease, lease->epoch);
        ds_zk_go(call);
    }
}

/* ---- close: what there is, then the session ---------------------------------------------------------------------- */

static void closed(ds_zk_call *call) {
    ds_zk_link *link = call->link;
    call->closing = true;
    call->lease->impl = NULL;
    ds_zk_retire(link, true);
    ds_zk_finish_place(call, DS_PLACE_DONE);
}

/* Removed and confirmed, because the library does not wait for the answer to the end of a session, and whoever is next
 * may be told now. */
static void remove_all(ds_zk_call *call) {
    ds_zk_remove_names(call, closed);
}

void ds_zk_close(ds_backend *backend, ds_call *owner, const ds_lease *lease) {
    ds_zk_call *call = ds_zk_start(backend, owner, lease, remove_all);
    if (call == NULL) {
        return;
    }
    call->lease = (ds_lease *)(uintptr_t)lease; /* still the core's when this ends: it is cancelled first */
    fill(call, lease, lease->epoch);
    size_t cursor = 0;
    const char *nonce;
    const ds_zk_node *node;
    while (call->link != NULL && (node = ds_map_next(&call->link->nodes, &cursor, &nonce)) != NULL) {
        if (node->full != NULL) {
            ds_zk_add_name(call, node->full);
        }
    }
    if (!call->full.failed) {
        ds_zk_add_name(call, call->full.data);
    }
    ds_zk_go(call);
}

void ds_zk_forget(ds_backend *backend, ds_lease *lease) {
    ds_zk_link *link = ds_zk_link_of(lease);
    const ds_zookeeper *zookeeper = ds_zookeeper_of(backend);
    lease->impl = NULL;
    for (ds_list *node = zookeeper->links.next; node != &zookeeper->links; node = node->next) {
        if (DS_LIST_ENTRY(node, ds_zk_link, node) == link) { /* not closed in order before */
            ds_zk_retire(link, true);
            return;
        }
    }
}
