/* zookeeper_swap.c: handing a lock to a waiter of the same client: the old entry goes and a new one comes at the tail
 * in one multi, whose answer has no creation number: that is asked for afterwards.
 */
#include "zookeeper.h"

#include <string.h>

static void tell_place(ds_zk_call *call, const ds_zk_answer *children) {
    ds_zk_node *node = ds_zk_node_of(call->link, call->nonce);
    ds_zk_standing standing;
    ds_zk_stand(call->zookeeper->dialect, children, node->name, &standing);
    node->first = standing.there && standing.ahead == NULL;
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_HELD, .token = node->czxid};
    if (!standing.there) {
        /* Taken away by somebody the moment it was made; being in the queue is what the next look will deny. */
        reply.place = DS_PLACE_WAITING;
    } else if (standing.ahead != NULL) {
        ds_buf_clear(&call->other);
        ds_buf_add_format(&call->other, "%s/%s", call->path.data, standing.ahead);
        if (ds_zk_no_memory(call)) {
            return;
        }
        reply.place = DS_PLACE_WAITING;
        reply.ahead = call->other.data;
    }
    ds_zk_finish(call, &reply);
}

static void on_children(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK) {
        tell_place(call, answer);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void on_created(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK && answer->stat->owner == call->link->session) {
        if (!ds_zk_node_is(call->link, call->nonce, call->text.data, answer->stat->czxid)) {
            ds_zk_finish_later(call, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
        }
    } else if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NO_NODE) {
        /* Made, and gone again: as if the old one had been taken away. */
        ds_zk_node_gone(call->link, call->nonce);
        ds_zk_finish_place(call, DS_PLACE_GONE);
    } else {
        ds_zk_fail(call, answer);
    }
}

/* `text` is the new entry's node. */
static void ask_token(ds_zk_call *call) {
    ds_zk_request exists = {.kind = DS_ZK_EXISTS, .path = call->text.data};
    ds_zk_request children = {.kind = DS_ZK_CHILDREN, .path = call->full.data};
    if (ds_zk_send(call, &exists, on_created)) {
        (void)ds_zk_send(call, &children, on_children);
    }
}

static void on_swapped(ds_zk_call *call, const ds_zk_answer *answer) {
    if (answer->code == DS_ZK_OK) {
        ds_zk_node_gone(call->link, call->other_nonce);
        (void)ds_zk_node_is(call->link, call->nonce, answer->path, 0);
    }
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK) {
        ds_buf_clear(&call->text);
        ds_buf_add_text(&call->text, answer->path);
        if (!ds_zk_no_memory(call)) {
            ask_token(call);
        }
    } else if (answer->code == DS_ZK_NO_NODE) {
        ds_zk_node_gone(call->link, call->nonce);
        ds_zk_node_gone(call->link, call->other_nonce);
        ds_zk_finish_place(call, DS_PLACE_GONE);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void exchange(ds_zk_call *call) {
    const ds_zk_node *old = ds_zk_node_of(call->link, call->other_nonce);
    if (old == NULL || old->full == NULL) {
        ds_zk_finish_later(call, DS_AMBIGUOUS, DSYNC_OK, "zookeeper: the entry to be handed on is not known");
        return;
    }
    if (!ds_zk_node_asked(call->link, call->nonce)) {
        ds_zk_finish_later(call, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
        return;
    }
    ds_zk_request parts[] = {{.kind = DS_ZK_DELETE, .path = old->full, .version = DS_ZK_ANY_VERSION},
                             {.kind = DS_ZK_CREATE, .path = call->own.data}};
    parts[1].flags = DS_ZK_EPHEMERAL | DS_ZK_SEQUENTIAL;
    parts[1].data = call->data.data != NULL ? call->data.data : "";
    parts[1].size = call->data.size;
    ds_zk_request multi = {.kind = DS_ZK_MULTI, .parts = parts, .count = DS_COUNT(parts)};
    (void)ds_zk_send(call, &multi, on_swapped);
}

/* An earlier copy of the request was left without an answer: the new entry is there, or the old one, or neither. */
static void on_looked(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code != DS_ZK_OK && answer->code != DS_ZK_NO_NODE) {
        ds_zk_fail(call, answer);
        return;
    }
    const char *name = ds_zk_find_child(call->zookeeper->dialect, answer, call->nonce);
    if (name == NULL) {
        exchange(call);
        return;
    }
    ds_zk_node_gone(call->link, call->other_nonce);
    ds_buf_clear(&call->text);
    ds_buf_add_format(&call->text, "%s/%s", call->full.data, name);
    if (!ds_zk_no_memory(call)) {
        ask_token(call);
    }
}

static void begin_swap(ds_zk_call *call) {
    if (ds_zk_node_of(call->link, call->nonce) == NULL) {
        exchange(call);
        return;
    }
    ds_zk_request sync = {.kind = DS_ZK_SYNC, .path = call->full.data};
    ds_zk_request children = {.kind = DS_ZK_CHILDREN, .path = call->full.data};
    if (ds_zk_send(call, &sync, NULL)) {
        (void)ds_zk_send(call, &children, on_looked);
    }
}

void ds_zk_swap(ds_backend *backend, ds_call *owner, const ds_entry *old, const ds_entry *fresh) {
    ds_zk_call *call = ds_zk_start(backend, owner, fresh->lease, begin_swap);
    if (call == NULL) {
        return;
    }
    memcpy(call->nonce, fresh->nonce, sizeof(call->nonce));
    memcpy(call->other_nonce, old->nonce, sizeof(call->other_nonce));
    ds_buf_add_text(&call->path, fresh->path);
    ds_zk_path(call->zookeeper, &call->full, fresh->path);
    ds_zk_entry_path(call->zookeeper, &call->own, fresh);
    ds_buf_add(&call->data, fresh->value, fresh->value_size);
    ds_zk_go(call);
}
