/* zookeeper_call.c: calls in flight: waiting for a connection, sending, and every way to end.
 *
 * The library cannot take a request back, and after a lost connection it does not tell what was never sent. So nothing
 * is handed to it before there is a connection: what still waits here was certainly not executed. A call whose owner
 * has gone lives on, without a voice, until its last answer.
 */
#include "zookeeper.h"

#include "../base/error.h"

#include <string.h>

/* ---- life of a call ---------------------------------------------------------------------------------------------- */

static void call_free(ds_zk_call *call) {
    ds_buf *const buffers[] = {&call->path, &call->full,  &call->own,  &call->other,
                               &call->data, &call->stamp, &call->text, &call->names};
    ds_list_remove(&call->node);
    ds_list_remove(&call->task.node);
    for (size_t i = 0; i < DS_COUNT(buffers); i++) {
        ds_buf_free(buffers[i]);
    }
    ds_zk_listing_free(call);
    ds_free(call);
}

/* Nobody waits any more: timers and tasks are off, and it goes with its last answer. */
static ds_call *let_go(ds_zk_call *call) {
    ds_call *owner = call->owner;
    ds_world *world = call->zookeeper->base.world;
    if (owner != NULL) {
        owner->impl = NULL;
    }
    call->owner = NULL;
    ds_timer_stop(world, &call->deadline);
    ds_timer_stop(world, &call->pause);
    ds_list_remove(&call->task.node);
    return owner;
}

void ds_zk_answered(ds_zk_call *call) {
    if (call->owner == NULL && call->pending == 0) {
        call_free(call);
    }
}

void ds_zk_finish(ds_zk_call *call, ds_reply *reply) {
    ds_call *owner = let_go(call);
    call->pending++; /* the reply's strings are the call's */
    owner->done(owner, reply);
    call->pending--;
    ds_zk_answered(call);
}

void ds_zk_finish_place(ds_zk_call *call, ds_place place) {
    ds_reply reply = {.outcome = DS_OK, .place = place, .token = call->token, .epoch = call->epoch};
    ds_zk_finish(call, &reply);
}

void ds_zk_finish_lost(ds_zk_call *call, const char *why) {
    ds_reply reply = {.outcome = DS_LOST, .message = why};
    ds_zk_finish(call, &reply);
}

static void run_late(ds_task *task) {
    ds_zk_call *call = DS_CONTAINER_OF(task, ds_zk_call, task);
    ds_reply reply = {.outcome = call->late, .message = call->error.message};
    reply.code = call->late == DS_REFUSED ? call->error.code : DSYNC_OK;
    ds_zk_finish(call, &reply);
}

void ds_zk_finish_later(ds_zk_call *call, ds_class outcome, dsync_code code, const char *message) {
    call->late = outcome;
    ds_error_set(&call->error, code, "%s", message);
    ds_post(call->zookeeper->base.world, &call->task);
}

bool ds_zk_no_memory(ds_zk_call *call) {
    if (call->path.failed || call->full.failed || call->own.failed || call->other.failed || call->data.failed ||
        call->stamp.failed || call->text.failed || call->names.failed) {
        ds_zk_finish_later(call, DS_REFUSED, DSYNC_RESOURCE, "out of memory");
        return true;
    }
    return false;
}

void ds_zk_cancel(ds_backend *backend, ds_call *owner) {
    (void)backend;
    ds_zk_call *call = owner->impl;
    if (call == NULL) {
        return;
    }
    if ((void *)call == (void *)owner) {
        owner->impl = NULL;
        ds_list_remove(&owner->task.node);
        return;
    }
    (void)let_go(call);
    ds_zk_answered(call);
}

/* ---- what failures mean ------------------------------------------------------------------------------------------ */

const char *ds_zk_code_text(ds_zk_code code) {
    switch (code) {
    case DS_ZK_NO_NODE:
        return "a node is missing";
    case DS_ZK_NODE_EXISTS:
        return "a node is there already";
    case DS_ZK_BAD_VERSION:
        return "a node was changed by somebody else";
    case DS_ZK_NOT_EMPTY:
        return "a node has children";
    case DS_ZK_EPHEMERAL_PARENT:
        return "a parent is an ephemeral node, which has no children";
    case DS_ZK_NO_AUTH:
        return "not permitted by the node's ACL; zookeeper = {digest = \"user:secret\"} gives credentials";
    case DS_ZK_BAD_ACL:
        return "the server refuses the ACL: acl = \"creator\" needs zookeeper.digest";
    case DS_ZK_BAD_ARGUMENTS:
        return "a name has characters that ZooKeeper does not allow";
    case DS_ZK_UNKNOWN_REQUEST:
        return "the server does not know the request: ZooKeeper 3.5 or newer is needed";
    case DS_ZK_EXPIRED:
        return "the session has expired";
    case DS_ZK_LOSS:
        return "the connection was lost";
    case DS_ZK_NOT_TAKEN:
        return "the server does not take requests now";
    case DS_ZK_CLOSING:
        return "closed";
    case DS_ZK_NO_MEMORY:
        return "out of memory";
    case DS_ZK_OK:
    case DS_ZK_OTHER:
        break;
    }
    return "an error it has no name for";
}

static ds_class class_of(const ds_zk_call *call, ds_zk_code code, dsync_code *refusal) {
    *refusal = DSYNC_OK;
    switch (code) {
    case DS_ZK_EXPIRED:
        return DS_LOST;
    case DS_ZK_NOT_TAKEN: /* this request; what went before it was taken, perhaps */
        return call->wrote ? DS_AMBIGUOUS : DS_NOT_EXECUTED;
    case DS_ZK_NO_AUTH:
    case DS_ZK_BAD_ACL:
        *refusal = DSYNC_DENIED;
        return DS_REFUSED;
    case DS_ZK_BAD_ARGUMENTS:
    case DS_ZK_EPHEMERAL_PARENT:
        *refusal = DSYNC_CONFIG;
        return DS_REFUSED;
    case DS_ZK_UNKNOWN_REQUEST:
        *refusal = DSYNC_UNSUPPORTED;
        return DS_REFUSED;
    case DS_ZK_NO_MEMORY:
        *refusal = DSYNC_RESOURCE;
        return DS_REFUSED;
    default:
        return call->wrote ? DS_AMBIGUOUS : DS_NOT_EXECUTED;
    }
}

static void explain(ds_zk_call *call, dsync_code code, const char *why) {
    const ds_zookeeper *zookeeper = call->zookeeper;
    const char *server = call->link != NULL && call->link->zk != NULL ? zookeeper->driver->server(call->link->zk) : "";
    if (call->full.size > 0 && !call->full.failed) {
        ds_shown shown;
        ds_error_set(&call->error, code, "zookeeper at %s: %s (%s)", server[0] != '\0' ? server : zookeeper->hosts.text,
                     why, ds_show(&shown, call->full.data, call->full.size));
    } else {
        ds_error_set(&call->error, code, "zookeeper at %s: %s", server[0] != '\0' ? server : zookeeper->hosts.text,
                     why);
    }
}

void ds_zk_fail(ds_zk_call *call, const ds_zk_answer *answer) {
    dsync_code refusal;
    ds_class outcome = class_of(call, answer->code, &refusal);
    explain(call, refusal, ds_zk_code_text(answer->code));
    ds_reply reply = {.outcome = outcome, .code = refusal, .message = call->error.message};
    ds_zk_finish(call, &reply);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

/* What has arrived while this process was kept from running is not late. True: the call has ended by it. */
static bool ended_meanwhile(ds_zk_call *call) {
    ds_zk_link *link = call->link;
    if (link->life != DS_ZK_UP || call->pending == 0) {
        return false;
    }
    call->pending++; /* lives through this */
    link->zookeeper->driver->drive(link->zk, DS_FD_READ);
    call->pending--;
    if (call->owner != NULL) {
        return false;
    }
    ds_zk_answered(call);
    return true;
}

/* Why there is no connection. */
static void explain_absence(ds_zk_call *call) {
    const char *problem = call->link->zk == NULL ? call->zookeeper->hosts.problem : "";
    explain(call, DSYNC_UNAVAILABLE, problem[0] != '\0' ? problem : "no server can be reached");
}

/* The answer did not come. Where nothing at all has come since, the connection is of no use either. */
static void on_deadline(ds_timer *timer) {
    ds_zk_call *call = DS_CONTAINER_OF(timer, ds_zk_call, deadline);
    ds_zk_link *link = call->link;
    if (ended_meanwhile(call)) {
        return;
    }
    bool silent = call->begun && call->pending > 0 && link->heard_ns <= call->begun_ns && link->life == DS_ZK_UP;
    if (call->begun) {
        explain(call, DSYNC_UNAVAILABLE, "no answer in time");
    } else {
        explain_absence(call);
    }
    ds_reply reply = {.outcome = call->wrote ? DS_AMBIGUOUS : DS_NOT_EXECUTED, .message = call->error.message};
    if (silent) {
        ds_zk_drop(link);
    }
    ds_zk_finish(call, &reply);
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static void run_no_memory(ds_task *task) {
    ds_call *owner = DS_CONTAINER_OF(task, ds_call, task);
    ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_RESOURCE, .message = "out of memory"};
    owner->impl = NULL;
    owner->done(owner, &reply);
}

static void refuse_without_memory(ds_backend *backend, ds_call *owner) {
    owner->impl = owner; /* in flight, without anything of ours */
    owner->task.run = run_no_memory;
    ds_list_init(&owner->task.node);
    ds_post(backend->world, &owner->task);
}

static ds_zk_call *make(ds_zookeeper *zookeeper, ds_call *owner) {
    ds_zk_call *call = ds_calloc(1, sizeof(*call));
    if (call == NULL) {
        return NULL;
    }
    call->zookeeper = zookeeper;
    call->owner = owner;
    call->task.run = run_late;
    call->deadline.fire = on_deadline;
    ds_list_init(&call->node);
    ds_list_init(&call->task.node);
    for (size_t i = 0; i < DS_ZK_SLOTS; i++) {
        call->slots[i].call = call;
    }
    return call;
}

ds_zk_call *ds_zk_start(ds_backend *backend, ds_call *owner, const ds_lease *lease, void (*begin)(ds_zk_call *call)) {
    ds_zookeeper *zookeeper = ds_zookeeper_of(backend);
    ds_zk_link *link = lease != NULL ? ds_zk_link_of(lease) : ds_zk_any_link(zookeeper);
    ds_zk_call *call = link != NULL || lease != NULL ? make(zookeeper, owner) : NULL;
    if (call == NULL) {
        refuse_without_memory(backend, owner);
        return NULL;
    }
    owner->impl = call;
    call->begin = begin;
    call->link = link;
    return call;
}

static void begin(ds_zk_call *call) {
    call->begun = true;
    call->begun_ns = ds_now(call->zookeeper->base.world);
    ds_list_remove(&call->node);
    ds_list_append(&call->link->calls, &call->node);
    call->begin(call);
}

void ds_zk_go(ds_zk_call *call) {
    ds_zk_link *link = call->link;
    ds_world *world = call->zookeeper->base.world;
    if (ds_zk_no_memory(call)) {
        return;
    }
    if (link == NULL || link->life == DS_ZK_DEAD) {
        bool denied = link != NULL && link->denied;
        ds_zk_finish_later(call, denied ? DS_REFUSED : DS_LOST, denied ? DSYNC_DENIED : DSYNC_OK,
                           denied ? "zookeeper: the server refuses the credentials in zookeeper.digest"
                                  : "zookeeper: the session is gone");
        return;
    }
    int64_t now = ds_now(world);
    if (call->owner->timeout_ns < DS_NEVER - now) {
        ds_timer_set(world, &call->deadline, now + call->owner->timeout_ns);
    }
    if (link->life == DS_ZK_UP) {
        begin(call);
    } else {
        ds_list_append(&link->waiting, &call->node);
    }
}

/* Those that wait now, as long as the link lives as it does. They stay in its list until their turn comes: should it
 * die meanwhile, it ends them. */
static void each_waiting(ds_zk_link *link, void (*visit)(ds_zk_call *call)) {
    ds_zk_life life = link->life;
    size_t count = 0;
    for (ds_list *node = link->waiting.next; node != &link->waiting; node = node->next) {
        count++;
    }
    for (; count > 0 && link->life == life && !ds_list_empty(&link->waiting); count--) {
        visit(DS_LIST_ENTRY(link->waiting.next, ds_zk_call, node));
    }
}

void ds_zk_begin_waiting(ds_zk_link *link) {
    each_waiting(link, begin);
}

static void fail_absent(ds_zk_call *call) {
    ds_list_remove(&call->node);
    explain_absence(call);
    ds_reply reply = {.outcome = DS_NOT_EXECUTED, .message = call->error.message};
    ds_zk_finish(call, &reply);
}

void ds_zk_fail_waiting(ds_zk_link *link) {
    each_waiting(link, fail_absent);
}

/* Those that wait, and those that wait for nothing but a timer of their own; the others are ended by their answers. */
void ds_zk_link_ended(ds_zk_link *link, const char *why) {
    ds_list round;
    ds_list_init(&round);
    ds_list_splice(&round, &link->waiting);
    ds_list_splice(&round, &link->calls);
    ds_list *node;
    while ((node = ds_list_pop(&round)) != NULL) {
        ds_zk_call *call = DS_LIST_ENTRY(node, ds_zk_call, node);
        if (call->owner == NULL || call->closing || !ds_list_empty(&call->task.node)) {
            continue;
        }
        ds_error_set(&call->error, DSYNC_DENIED, "%s", why);
        ds_reply reply = {.outcome = link->denied ? DS_REFUSED : DS_LOST, .message = call->error.message};
        reply.code = link->denied ? DSYNC_DENIED : DSYNC_OK;
        ds_zk_finish(call, &reply);
    }
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void on_answer(ds_zk_op *op, const ds_zk_answer *answer) {
    ds_zk_slot *slot = DS_CONTAINER_OF(op, ds_zk_slot, op);
    ds_zk_call *call = slot->call;
    ds_zk_then then = slot->then;
    slot->then = NULL;
    call->pending--;
    if (answer->code == DS_ZK_CLOSING) {
        call->link = NULL; /* being freed; calls with an owner were told before */
        if (call->owner == NULL) {
            ds_zk_answered(call);
        }
        return;
    }
    if (answer->code != DS_ZK_LOSS) {
        call->link->heard_ns = ds_now(call->zookeeper->base.world);
    }
    call->pending++; /* lives through this */
    call->answering = slot;
    then(call, answer);
    call->pending--;
    ds_zk_answered(call);
}

static ds_zk_slot *free_slot(ds_zk_call *call) {
    for (size_t i = 0; i < DS_ZK_SLOTS; i++) {
        if (call->slots[i].then == NULL) {
            return &call->slots[i];
        }
    }
    return NULL;
}

/* Of a request that only has to go before another one. */
static void ignore(ds_zk_call *call, const ds_zk_answer *answer) {
    (void)call;
    (void)answer;
}

static bool changes(ds_zk_kind kind) {
    return kind == DS_ZK_CREATE || kind == DS_ZK_DELETE || kind == DS_ZK_SET || kind == DS_ZK_MULTI;
}

bool ds_zk_send(ds_zk_call *call, const ds_zk_request *request, ds_zk_then then) {
    return ds_zk_send_in(call, free_slot(call), request, then);
}

bool ds_zk_send_in(ds_zk_call *call, ds_zk_slot *slot, const ds_zk_request *request, ds_zk_then then) {
    ds_zk_link *link = call->link;
    ds_zk_code code = DS_ZK_NOT_TAKEN;
    if (slot != NULL && link->life == DS_ZK_UP) {
        slot->op.done = on_answer;
        slot->then = then != NULL ? then : ignore;
        code = link->zookeeper->driver->submit(link->zk, request, &slot->op);
    }
    if (code == DS_ZK_OK) {
        call->pending++;
        call->wrote = call->wrote || changes(request->kind);
        ds_zk_look_again(link);
        return true;
    }
    if (slot != NULL) {
        slot->then = NULL;
    }
    dsync_code refusal;
    ds_class outcome = class_of(call, code, &refusal);
    explain(call, refusal, ds_zk_code_text(code));
    call->late = outcome;
    ds_post(call->zookeeper->base.world, &call->task);
    return false;
}
