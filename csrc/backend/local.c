/* local.c: the local: backend: a client of this process's store, its answers, and the calls about sessions.
 *
 * A call takes effect at once, on the caller's thread, in one transaction; only its answer is deferred, through a task
 * posted to the caller's own world. The calls about queues and data are in local_calls.c.
 */
#include "local.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/error.h"
#include "../base/process.h"

#define FREE_OPS_MAX 64
#define TTL_MIN_MS 1000
#define TTL_MAX_MS (INT64_C(365) * 24 * 3600 * 1000)

ds_local *loc_client_of(ds_backend *backend) {
    return DS_CONTAINER_OF(backend, ds_local, base);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static loc_op *op_take(ds_local *local) {
    ds_list *node = ds_list_pop(&local->free_ops);
    if (node != NULL) {
        local->free_count--;
        return DS_LIST_ENTRY(node, loc_op, node);
    }
    loc_op *op = ds_calloc(1, sizeof(*op));
    if (op != NULL) {
        ds_list_init(&op->node);
    }
    return op;
}

static void op_free(loc_op *op) {
    ds_buf_free(&op->text);
    ds_free(op->peers);
    ds_free(op);
}

static void op_give(ds_local *local, loc_op *op) {
    if (local->free_count == FREE_OPS_MAX) {
        op_free(op);
        return;
    }
    ds_buf_free(&op->text);
    ds_free(op->peers);
    op->peers = NULL;
    op->lease = NULL;
    ds_list_append(&local->free_ops, &op->node);
    local->free_count++;
}

/* The lease learns of its session only now, when its owner is there to hear of it. */
static void fill_lease(const loc_op *op) {
    ds_lease *lease = op->lease;
    if (op->reply.outcome == DS_OK) {
        (void)snprintf(lease->id, sizeof(lease->id), "%016" PRIx64, lease->nonce);
        lease->created = op->created;
    }
}

static void answer(ds_task *task) {
    ds_call *call = DS_CONTAINER_OF(task, ds_call, task);
    loc_op *op = call->impl;
    ds_local *local = op->local;
    call->impl = NULL;
    if (op->lease != NULL) {
        fill_lease(op);
    }
    local->told = op->reply.revision;
    local->busy++;
    call->done(call, &op->reply); /* the call may be gone afterwards */
    local->busy--;
    op_give(local, op);
    loc_client_idle(local);
}

static void answer_no_memory(ds_task *task) {
    static const ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_RESOURCE, .message = "out of memory"};
    ds_call *call = DS_CONTAINER_OF(task, ds_call, task);
    ds_local *local = call->impl;
    call->impl = NULL;
    local->busy++;
    call->done(call, &reply);
    local->busy--;
    loc_client_idle(local);
}

/* The answer is posted here, and filled in before the world runs it. */
static loc_op *begin(ds_local *local, ds_call *call) {
    ds_list_init(&call->task.node);
    loc_op *op = op_take(local);
    if (op == NULL) {
        call->impl = local;
        call->task.run = answer_no_memory;
    } else {
        op->local = local;
        op->reply = (ds_reply){.outcome = DS_OK, .message = ""};
        call->impl = op;
        call->task.run = answer;
    }
    ds_post(local->base.world, &call->task);
    return op;
}

/* Whatever the call had to say, this is the answer. */
void loc_say_fault(loc_op *op) {
    const loc_store *store = op->local->store;
    (void)snprintf(op->message, sizeof(op->message), "%s", store->fault.message);
    op->reply = (ds_reply){.outcome = store->fault_class, .message = op->message};
    op->reply.code = store->fault_class == DS_REFUSED ? store->fault.code : DSYNC_OK;
}

loc_op *loc_call_begin(ds_local *local, ds_call *call, bool write) {
    loc_op *op = begin(local, call);
    if (op == NULL) {
        return NULL;
    }
    loc_lock(local->store, local->base.world);
    if (!loc_begin(local->store, write)) {
        loc_say_fault(op);
        loc_unlock(local->store);
        return NULL;
    }
    return op;
}

void loc_call_end(ds_local *local, loc_op *op) {
    loc_store *store = local->store;
    if (loc_commit(store)) {
        op->reply.revision = store->meta.revision;
    } else {
        loc_say_fault(op);
    }
    loc_unlock(store);
}

void loc_say_lost(loc_op *op) {
    op->reply.outcome = DS_LOST;
    op->reply.message = "the session has ended";
}

void loc_say_live(loc_op *op, const loc_session *session) {
    op->reply.place = DS_PLACE_DONE;
    op->reply.ttl_ms = session->ttl_ms;
    op->reply.epoch = (uint64_t)session->epoch;
}

static void local_cancel(ds_backend *backend, ds_call *call) {
    if (call->impl == NULL) {
        return;
    }
    ds_list_remove(&call->task.node);
    if (call->task.run == answer) {
        op_give(loc_client_of(backend), call->impl);
    }
    call->impl = NULL;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static void local_ping(ds_backend *backend, ds_call *call) {
    ds_local *local = loc_client_of(backend);
    loc_op *op = loc_call_begin(local, call, false);
    if (op != NULL) {
        op->reply.server = "SQLite on this host";
        loc_call_end(local, op);
    }
}

/* False: the clock failed, and that is the answer. */
static bool has_clock(loc_op *op) {
    if (op->local->store->now_ns < 0) {
        op->reply.outcome = DS_NOT_EXECUTED;
        op->reply.message = "the clock cannot be read";
        return false;
    }
    return true;
}

static void local_open(ds_backend *backend, ds_call *call, ds_lease *lease) {
    ds_local *local = loc_client_of(backend);
    loc_op *op = loc_call_begin(local, call, true);
    if (op == NULL) {
        return;
    }
    if (has_clock(op)) {
        loc_session session;
        loc_session_open(local->store, lease, &session);
        op->lease = lease;
        op->created = session.created;
        loc_say_live(op, &session);
    }
    loc_call_end(local, op);
}

static void local_renew(ds_backend *backend, ds_call *call, const ds_lease *lease) {
    ds_local *local = loc_client_of(backend);
    loc_op *op = loc_call_begin(local, call, true);
    if (op == NULL) {
        return;
    }
    loc_session session;
    if (!loc_session_find(local->store, (int64_t)lease->nonce, &session)) {
        loc_say_lost(op);
    } else if (has_clock(op)) {
        loc_session_renew(local->store, &session);
        loc_say_live(op, &session);
    }
    loc_call_end(local, op);
}

static void local_close(ds_backend *backend, ds_call *call, const ds_lease *lease) {
    ds_local *local = loc_client_of(backend);
    loc_op *op = loc_call_begin(local, call, true);
    if (op != NULL) {
        loc_session_end(local->store, (int64_t)lease->nonce);
        op->reply.place = DS_PLACE_DONE;
        loc_call_end(local, op);
    }
}

static void local_forget(ds_backend *backend, ds_lease *lease) {
    (void)backend;
    lease->impl = NULL;
}

static bool take_text(ds_buf *text, char **out) {
    if (text->failed) {
        ds_buf_free(text);
        return false;
    }
    *out = text->data;
    return true;
}

static bool local_session_key(ds_backend *backend, const ds_lease *lease, char **out) {
    (void)backend;
    ds_buf text = DS_BUF_EMPTY;
    loc_key_session(&text, lease->prefix, (int64_t)lease->nonce);
    return take_text(&text, out);
}

static bool local_entry_key(ds_backend *backend, const ds_entry *entry, char **out) {
    (void)backend;
    ds_buf text = DS_BUF_EMPTY;
    loc_key_entry(&text, entry->path, (int64_t)entry->lease->nonce, loc_nonce(entry->nonce));
    return take_text(&text, out);
}

/* ---- a client ---------------------------------------------------------------------------------------------------- */

static const char *local_address(ds_backend *backend) {
    return loc_client_of(backend)->address;
}

static void free_client(ds_local *local) {
    ds_list *node;
    while ((node = ds_list_pop(&local->free_ops)) != NULL) {
        op_free(DS_LIST_ENTRY(node, loc_op, node));
    }
    ds_free(local->address);
    ds_free(local->id);
    ds_free(local);
}

void loc_client_idle(ds_local *local) {
    if (local->destroyed && local->busy == 0) {
        loc_client_part(local);
        loc_store_put(local->store, local->base.world);
        free_client(local);
    }
}

static void local_destroy(ds_backend *backend) {
    ds_local *local = loc_client_of(backend);
    if (local->process != ds_process()) {
        free_client(local);
        return;
    }
    loc_client_hush(local);
    local->destroyed = true;
    loc_client_idle(local);
}

static const ds_backend_ops local_ops = {
    .name = "local",
    .ttl_min_ms = TTL_MIN_MS,
    .ttl_max_ms = TTL_MAX_MS,
    .margin_divisor = 5,
    .renew_divisor = 3,
    .local = true,
    .destroy = local_destroy,
    .cancel = local_cancel,
    .endpoint_list = local_address,
    .ping = local_ping,
    .open = local_open,
    .renew = local_renew,
    .close = local_close,
    .forget = local_forget,
    .session_key = local_session_key,
    .enter = loc_call_enter,
    .check = loc_call_check,
    .leave = loc_call_leave,
    .swap = loc_call_swap,
    .withdraw = loc_call_withdraw,
    .write = loc_call_write,
    .evict = loc_call_evict,
    .get = loc_call_get,
    .list = loc_call_list,
    .watch = loc_watch_start,
    .unwatch = loc_watch_stop,
    .entry_key = local_entry_key,
};

/* There is nothing to set. */
static bool check_settings(const dsync_options *options, dsync_error *error) {
    for (size_t i = 0; options != NULL && i < options->setting_count; i++) {
        const char *name = options->settings[i].name;
        if (strncmp(name, "local.", strlen("local.")) == 0) {
            ds_shown shown;
            (void)ds_error_set(error, DSYNC_CONFIG, "unknown setting %s: local: has none",
                               ds_show(&shown, name, strlen(name)));
            return false;
        }
    }
    return true;
}

static bool fill_names(ds_local *local, const ds_backend_config *config, const char *path) {
    const char *id = config->options != NULL ? config->options->id : NULL;
    ds_buf address = DS_BUF_EMPTY;
    ds_buf_add_text(&address, "local:");
    ds_buf_add_text(&address, path);
    local->id = ds_strdup(id != NULL ? id : "");
    if (!take_text(&address, &local->address)) {
        local->address = NULL;
    }
    return local->id != NULL && local->address != NULL;
}

ds_backend *ds_local_backend(ds_world *world, const ds_backend_config *config, dsync_error *error) {
    char *path = NULL;
    bool by_default = false;
    if (!check_settings(config->options, error) ||
        !loc_path_choose(config->endpoint_count > 0 ? config->endpoints[0] : "", &path, &by_default, error)) {
        return NULL;
    }
    ds_local *local = ds_calloc(1, sizeof(*local));
    if (local != NULL) {
        local->base = (ds_backend){&local_ops, world};
        local->process = ds_process();
        ds_list_init(&local->free_ops);
    }
    if (local == NULL || !fill_names(local, config, path) || (local->store = loc_store_get(path, by_default)) == NULL) {
        if (local != NULL) {
            free_client(local);
        }
        ds_free(path);
        (void)ds_error_no_memory(error);
        return NULL;
    }
    ds_free(path);
    loc_client_join(local);
    return &local->base;
}
