/* ops.c: operations as the host sees them: waiting, results, cancelling. */
#include "client.h"

#include <string.h>

dsync_op *ds_op_new(dsync_client *client, ds_op_kind kind, dsync_lock *lock, dsync_error *error) {
    dsync_op *op = ds_calloc(1, sizeof *op);
    if (op == NULL) {
        ds_error_no_memory(error);
        return NULL;
    }
    op->refs = 2;
    op->client = client;
    op->kind = kind;
    op->number = ds_next_number();
    op->code = DSYNC_UNKNOWN;
    op->lock = lock;
    op->event.event.type = DSYNC_EVENT_DONE;
    op->event.event.number = op->number;
    ds_list_init(&op->event.node);
    ds_list_init(&op->node);
    ds_list_init(&op->entries);
    dsync_client_ref(client);
    if (lock != NULL) {
        atomic_fetch_add(&lock->refs, 1);
    }
    return op;
}

/* Never the last use of the client under its own mutex: dropping an op may drop the client. */
static void unref(dsync_op *op) {
    if (atomic_fetch_sub_explicit(&op->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    dsync_client *client = op->client;
    ds_op_free_results(op);
    ds_free(op->message);
    ds_free(op->key);
    ds_free(op->input);
    ds_free(op->value);
    ds_free(op->name_prefix);
    if (op->lock != NULL) {
        ds_lock_unref(op->lock);
    }
    ds_free(op);
    dsync_client_unref(client);
}

void ds_op_finish(dsync_op *op, dsync_code code, const char *message) {
    dsync_client *client = op->client;
    op->code = code;
    if (code != DSYNC_OK && message != NULL && message[0] != '\0') {
        op->message = ds_strdup(message); /* without memory: the code's name must do */
    }
    op->done = true;
    atomic_store_explicit(&op->ended, 1, memory_order_release);
    if (op->notify) {
        ds_event_push(client, &op->event);
    }
    ds_loop_wake_waiters(client->loop);
    /* Never the last one: the host's is dropped after its op has ended (dsync_op_free). */
    atomic_fetch_sub_explicit(&op->refs, 1, memory_order_acq_rel);
}

int dsync_op_done(const dsync_op *op) {
    return atomic_load_explicit(&op->ended, memory_order_acquire);
}

int dsync_op_wait(dsync_op *op, int64_t timeout_ms) {
    if (dsync_op_done(op)) {
        return 1;
    }
    if (ds_forked(op->client, NULL)) {
        return 1;
    }
    ds_loop_lock(op->client->loop);
    bool done = ds_loop_wait(op->client->loop, &op->done, ds_deadline_in(timeout_ms));
    ds_loop_unlock(op->client->loop);
    return done;
}

dsync_code dsync_op_result(const dsync_op *op, const char **message) {
    dsync_code code = dsync_op_done(op) ? op->code : DSYNC_UNKNOWN;
    const char *text = op->message != NULL && dsync_op_done(op) ? op->message : "";
    if (!dsync_op_done(op) && ds_forked(op->client, NULL)) {
        code = DSYNC_FORKED;
        text = "this client belongs to the parent process: open a client of your own";
    }
    if (message != NULL) {
        *message = text[0] != '\0' || code == DSYNC_OK ? text : dsync_code_name(code);
    }
    return code;
}

uint64_t dsync_op_number(const dsync_op *op) {
    return op->number;
}

static void cancel(dsync_op *op) {
    if (op->done) {
        return;
    }
    switch (op->kind) {
    case DS_OP_ACQUIRE:
        ds_waiter_cancel(&op->lock->waiter, DSYNC_CANCELLED, "cancelled");
        break;
    case DS_OP_RELEASE:
        ds_release_forget(&op->release);
        ds_op_finish(op, DSYNC_CANCELLED, "no longer waited for; the release itself goes on");
        break;
    case DS_OP_REVOKED: {
        ds_world *world = ds_loop_world(op->client->loop);
        ds_timer_stop(world, &op->timer);
        ds_list_remove(&op->node);
        ds_op_finish(op, DSYNC_CANCELLED, "cancelled");
        break;
    }
    case DS_OP_REQUEST:
        ds_request_end(&op->request, DSYNC_CANCELLED, "cancelled");
        break;
    case DS_OP_CLOSE:
        ds_list_remove(&op->node);
        ds_op_finish(op, DSYNC_CANCELLED, "no longer waited for; the closing itself goes on");
        break;
    case DS_OP_READY:
        break;
    }
}

void dsync_op_cancel(dsync_op *op) {
    if (ds_forked(op->client, NULL)) {
        return;
    }
    ds_loop_lock(op->client->loop);
    cancel(op);
    ds_loop_unlock(op->client->loop);
}

void dsync_op_notify(dsync_op *op) {
    if (ds_forked(op->client, NULL)) {
        return;
    }
    ds_loop_lock(op->client->loop);
    op->notify = true;
    if (op->done) {
        ds_event_push(op->client, &op->event);
    }
    ds_loop_unlock(op->client->loop);
}

void dsync_op_free(dsync_op *op) {
    if (op == NULL || ds_forked(op->client, NULL)) {
        return;
    }
    dsync_client *client = op->client;
    ds_loop_lock(client->loop);
    cancel(op);
    ds_event_withdraw(client, &op->event);
    ds_loop_unlock(client->loop);
    unref(op);
}

dsync_code ds_op_await(dsync_op *op, dsync_error *error) {
    const char *message;
    if (op == NULL) {
        return error->code;
    }
    (void)dsync_op_wait(op, -1);
    dsync_code code = dsync_op_result(op, &message);
    if (code != DSYNC_OK) {
        ds_error_set(error, code, "%s", message);
    }
    dsync_op_free(op);
    return code;
}
