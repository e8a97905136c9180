/* zookeeper_queue.c: taking, asking for, exchanging and giving up a place in a queue.
 *
 * The queue is the children of its path that belong to the dialect, in the order of the numbers the server gave them;
 * the lowest owns it. A node's creation (czxid) is the token. After a lost answer the node is found again by its nonce,
 * and is ours only if it belongs to the session of now.
 */
#include "zookeeper.h"

#include "../base/error.h"

#include <string.h>

/* ---- who stands where -------------------------------------------------------------------------------------------- */

void ds_zk_stand(ds_zk_dialect dialect, const ds_zk_answer *children, const char *own, ds_zk_standing *out) {
    int32_t number, own_number = 0, first_number = 0, ahead_number = 0;
    *out = (ds_zk_standing){0};
    out->there = own != NULL && ds_zk_look(dialect, own, &own_number) == DS_ZK_MEMBER;
    bool found = false;
    for (size_t i = 0; i < children->count; i++) {
        const char *name = children->children[i];
        ds_zk_sort sort = ds_zk_look(dialect, name, &number);
        if (sort == DS_ZK_FOREIGN) {
            out->foreign = name;
        }
        if (sort != DS_ZK_MEMBER) {
            continue;
        }
        if (out->first == NULL || ds_zk_before(number, first_number)) {
            out->first = name;
            first_number = number;
        }
        if (own != NULL && strcmp(name, own) == 0) {
            found = true;
        } else if (out->there && ds_zk_before(number, own_number) &&
                   (out->ahead == NULL || ds_zk_before(ahead_number, number))) {
            out->ahead = name;
            ahead_number = number;
        }
    }
    out->there = found;
}

const char *ds_zk_find_child(ds_zk_dialect dialect, const ds_zk_answer *children, const char *nonce) {
    for (size_t i = 0; i < children->count; i++) {
        if (ds_zk_is_of(dialect, children->children[i], nonce)) {
            return children->children[i];
        }
    }
    return NULL;
}

static ds_zk_node *own_node(const ds_zk_call *call) {
    ds_zk_node *node = ds_zk_node_of(call->link, call->nonce);
    return node != NULL && node->full != NULL ? node : NULL;
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

static void remove_own(ds_zk_call *call, ds_zk_then then) {
    ds_zk_request request = {.kind = DS_ZK_DELETE, .path = own_node(call)->full, .version = DS_ZK_ANY_VERSION};
    (void)ds_zk_send(call, &request, then);
}

static void refuse_foreign(ds_zk_call *call) {
    bool kazoo = call->zookeeper->dialect == DS_ZK_KAZOO;
    ds_error_set(
        &call->error, DSYNC_CONFIG,
        "zookeeper: \"%s\" holds entries of %s, with which a lock in the dialect of %s is not exclusive: open with "
        "zookeeper = {dialect = \"%s\"} or use another path",
        call->path.data, kazoo ? "Curator" : "kazoo", kazoo ? "kazoo" : "Curator", kazoo ? "curator" : "kazoo");
    ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_CONFIG, .message = call->error.message};
    ds_zk_finish(call, &reply);
}

/* Ours was made before the others were seen. */
static void on_foreign_left(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NO_NODE) {
        ds_zk_node_gone(call->link, call->nonce);
        refuse_foreign(call);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void on_holder(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    ds_peer holder = {.path = call->path.data, .key = call->other.data, .holds = true};
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_BUSY};
    if (answer->code == DS_ZK_OK) {
        holder.value = answer->data;
        holder.value_size = answer->size;
        holder.token = answer->stat->czxid;
        reply.holder = &holder;
    } else if (answer->code != DS_ZK_NO_NODE) {
        ds_zk_fail(call, answer);
        return;
    }
    ds_zk_finish(call, &reply);
}

static void on_try_left(ds_zk_call *call, const ds_zk_answer *answer) {
    if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NO_NODE) {
        ds_zk_node_gone(call->link, call->nonce);
    } else if (!ds_zk_over(call)) {
        ds_zk_fail(call, answer);
    }
}

/* A try that found somebody: nothing of it stays, and who it is is told. */
static void finish_busy(ds_zk_call *call, const char *holder) {
    ds_buf_clear(&call->other);
    ds_buf_add_format(&call->other, "%s/%s", call->path.data, holder);
    ds_buf_clear(&call->text);
    ds_buf_add_format(&call->text, "%s/%s", call->full.data, holder);
    if (ds_zk_no_memory(call)) {
        return;
    }
    if (own_node(call) != NULL) {
        remove_own(call, on_try_left);
    }
    ds_zk_request request = {.kind = DS_ZK_GET, .path = call->text.data};
    if (!ds_zk_over(call)) {
        (void)ds_zk_send(call, &request, on_holder);
    }
}

/* `fresh`: it is only being entered, and what does not fit may still be refused. */
static void tell_place(ds_zk_call *call, const ds_zk_answer *children, bool fresh) {
    ds_zk_node *node = own_node(call);
    ds_zk_standing standing;
    ds_zk_stand(call->zookeeper->dialect, children, node != NULL ? node->name : NULL, &standing);
    if (!standing.there) {
        ds_zk_node_gone(call->link, call->nonce);
        ds_zk_finish_place(call, fresh ? DS_PLACE_STALE : DS_PLACE_GONE);
        return;
    }
    call->token = node->czxid;
    node->first = standing.ahead == NULL;
    if (standing.foreign != NULL && fresh) {
        remove_own(call, on_foreign_left);
    } else if (standing.foreign != NULL && standing.ahead != NULL) {
        refuse_foreign(call);
    } else if (standing.ahead == NULL) {
        ds_zk_finish_place(call, DS_PLACE_HELD);
    } else if (call->only_try) {
        finish_busy(call, standing.first);
    } else {
        ds_buf_clear(&call->other);
        ds_buf_add_format(&call->other, "%s/%s", call->path.data, standing.ahead);
        if (!ds_zk_no_memory(call)) {
            ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_WAITING, .token = call->token};
            reply.ahead = call->other.data;
            ds_zk_finish(call, &reply);
        }
    }
}

/* ---- enter ------------------------------------------------------------------------------------------------------- */

static void create(ds_zk_call *call);

static void ask_children(ds_zk_call *call, ds_zk_then then) {
    ds_zk_request request = {.kind = DS_ZK_CHILDREN, .path = call->full.data};
    (void)ds_zk_send(call, &request, then);
}

/* As the leader has it: an answer of a server that lags behind would miss what was made a moment ago. */
static void ask_children_now(ds_zk_call *call, ds_zk_then then) {
    ds_zk_request sync = {.kind = DS_ZK_SYNC, .path = call->full.data};
    if (ds_zk_send(call, &sync, NULL)) {
        ask_children(call, then);
    }
}

static void no_memory(ds_zk_call *call) {
    ds_zk_finish_later(call, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
}

static void on_created(ds_zk_call *call, const ds_zk_answer *answer) {
    if (answer->code == DS_ZK_OK) {
        /* Even if nobody waits any more: whoever cleans up behind it finds it sooner. */
        bool kept = ds_zk_node_is(call->link, call->nonce, answer->path, answer->stat->czxid);
        call->created = kept;
        if (!kept && !ds_zk_over(call)) {
            no_memory(call);
        }
    } else if (!ds_zk_over(call) && answer->code != DS_ZK_NO_NODE) {
        ds_zk_fail(call, answer);
    }
}

/* The answer to what was sent in the same flight as the creation. */
static void on_created_children(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (call->created && answer->code == DS_ZK_OK) {
        tell_place(call, answer, true);
    } else if (!call->created) {
        ds_zk_make_parents(call, call->own.data, create);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void create(ds_zk_call *call) {
    if (!ds_zk_node_asked(call->link, call->nonce)) {
        no_memory(call);
        return;
    }
    ds_zk_request request = {.kind = DS_ZK_CREATE, .path = call->own.data};
    request.flags = DS_ZK_EPHEMERAL | DS_ZK_SEQUENTIAL;
    request.data = call->data.data != NULL ? call->data.data : "";
    request.size = call->data.size;
    if (ds_zk_send(call, &request, on_created)) {
        ask_children(call, on_created_children);
    }
}

static void on_adopted(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_NO_NODE) {
        ds_zk_node_gone(call->link, call->nonce);
        ds_zk_finish_place(call, DS_PLACE_STALE);
    } else if (answer->code == DS_ZK_OK && answer->stat->owner != call->link->session) {
        ds_zk_finish_lost(call, "zookeeper: the entry belongs to an earlier session");
    } else if (answer->code != DS_ZK_OK) {
        ds_zk_fail(call, answer);
    } else if (!ds_zk_node_is(call->link, call->nonce, call->text.data, answer->stat->czxid)) {
        no_memory(call);
    } else {
        call->created = true;
    }
}

static void adopt(ds_zk_call *call, const char *name) {
    ds_buf_clear(&call->text);
    ds_buf_add_format(&call->text, "%s/%s", call->full.data, name);
    if (ds_zk_no_memory(call)) {
        return;
    }
    ds_zk_request request = {.kind = DS_ZK_EXISTS, .path = call->text.data};
    if (ds_zk_send(call, &request, on_adopted)) {
        ask_children(call, on_created_children);
    }
}

static void on_looked(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code != DS_ZK_OK && answer->code != DS_ZK_NO_NODE) {
        ds_zk_fail(call, answer);
        return;
    }
    const char *name = ds_zk_find_child(call->zookeeper->dialect, answer, call->nonce);
    ds_zk_standing standing;
    ds_zk_stand(call->zookeeper->dialect, answer, NULL, &standing);
    if (name != NULL) {
        adopt(call, name);
    } else if (standing.foreign != NULL) {
        refuse_foreign(call);
    } else if (call->only_try && standing.first != NULL) {
        finish_busy(call, standing.first);
    } else {
        create(call);
    }
}

/* A try looks before it makes a node: whoever waits must not be disturbed by those who only ask. And an entry that was
 * asked for before may be there. */
static void begin_enter(ds_zk_call *call) {
    if (call->only_try || ds_zk_node_of(call->link, call->nonce) != NULL) {
        ask_children_now(call, on_looked);
    } else {
        create(call);
    }
}

static ds_zk_call *start(ds_backend *backend, ds_call *owner, const ds_entry *entry, void (*begin)(ds_zk_call *call)) {
    ds_zk_call *call = ds_zk_start(backend, owner, entry->lease, begin);
    if (call != NULL) {
        memcpy(call->nonce, entry->nonce, sizeof(call->nonce));
        call->token = entry->token;
        ds_buf_add_text(&call->path, entry->path);
        ds_zk_path(call->zookeeper, &call->full, entry->path);
        ds_zk_entry_path(call->zookeeper, &call->own, entry);
    }
    return call;
}

void ds_zk_enter(ds_backend *backend, ds_call *owner, const ds_entry *entry, bool only_try) {
    ds_zk_call *call = start(backend, owner, entry, begin_enter);
    if (call != NULL) {
        call->only_try = only_try;
        ds_buf_add(&call->data, entry->value, entry->value_size);
        ds_zk_go(call);
    }
}

/* ---- check ------------------------------------------------------------------------------------------------------- */

static void on_checked(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NO_NODE) {
        tell_place(call, answer, false);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void begin_check(ds_zk_call *call) {
    ask_children(call, on_checked);
}

void ds_zk_check(ds_backend *backend, ds_call *owner, const ds_entry *entry) {
    ds_zk_call *call = start(backend, owner, entry, begin_check);
    if (call != NULL) {
        ds_zk_go(call);
    }
}

/* ---- leave ------------------------------------------------------------------------------------------------------- */

static void begin_leave(ds_zk_call *call);

static void on_left(ds_zk_call *call, const ds_zk_answer *answer) {
    if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NO_NODE) {
        ds_zk_node_gone(call->link, call->nonce);
    }
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NO_NODE) {
        ds_zk_finish_place(call, answer->code == DS_ZK_OK ? DS_PLACE_DONE : DS_PLACE_GONE);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void on_leaver(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code != DS_ZK_OK && answer->code != DS_ZK_NO_NODE) {
        ds_zk_fail(call, answer);
        return;
    }
    const char *name = ds_zk_find_child(call->zookeeper->dialect, answer, call->nonce);
    if (name == NULL) {
        ds_zk_node_gone(call->link, call->nonce);
        ds_zk_finish_place(call, DS_PLACE_GONE);
        return;
    }
    ds_buf_clear(&call->text);
    ds_buf_add_format(&call->text, "%s/%s", call->full.data, name);
    if (ds_zk_no_memory(call)) {
        return;
    }
    if (!ds_zk_node_is(call->link, call->nonce, call->text.data, 0)) {
        no_memory(call);
        return;
    }
    begin_leave(call);
}

static void begin_leave(ds_zk_call *call) {
    if (own_node(call) != NULL) {
        remove_own(call, on_left);
    } else {
        ask_children_now(call, on_leaver);
    }
}

void ds_zk_leave(ds_backend *backend, ds_call *owner, const ds_entry *entry) {
    ds_zk_call *call = start(backend, owner, entry, begin_leave);
    if (call != NULL) {
        ds_zk_go(call);
    }
}
