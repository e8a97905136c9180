/* requests.c: questions to the store and guarded writes. */
#include <stdio.h>
#include <string.h>

#include "client.h"

#define PATIENCE_NS (5 * DS_SECOND)

static dsync_op *op_of(ds_request *request) {
    return DS_CONTAINER_OF(request, dsync_op, request);
}

/* ---- how they end ------------------------------------------------------------------------------------------------ */

static bool page(ds_request *request, const ds_reply *reply) {
    return ds_op_add_page(op_of(request), reply);
}

static bool keep_value(dsync_op *op, const char *value, size_t size, int64_t token) {
    if (value == NULL) {
        return true;
    }
    op->value = ds_memdup(value, size);
    op->value_size = size;
    op->token = token;
    op->has_value = op->value != NULL;
    return op->has_value;
}

static void done(ds_request *request, dsync_code code, const char *message, const ds_reply *reply) {
    dsync_op *op = op_of(request);
    if (code == DSYNC_OK && reply != NULL && request->kind == DS_REQUEST_GET &&
        !keep_value(op, reply->value, reply->value_size, reply->token)) {
        code = DSYNC_RESOURCE;
    }
    if (code == DSYNC_OK && reply != NULL && request->kind == DS_REQUEST_PING && reply->server != NULL) {
        (void)keep_value(op, reply->server, strlen(reply->server), 0);
    }
    ds_op_finish(op, code, message);
}

/* ---- how they begin ---------------------------------------------------------------------------------------------- */

/* Takes `key` and `input` over. The client is entered. NULL: error filled. */
static dsync_op *start(dsync_client *client, dsync_lock *lock, ds_request_kind kind, ds_buf *key, ds_buf *input,
                       int64_t timeout_ns, dsync_error *error) {
    bool failed = (key != NULL && key->failed) || (input != NULL && input->failed);
    dsync_op *op = failed ? NULL : ds_op_new(client, DS_OP_REQUEST, lock, error);
    if (op == NULL) {
        if (failed) {
            ds_error_no_memory(error);
        }
        if (key != NULL) {
            ds_buf_free(key);
        }
        if (input != NULL) {
            ds_buf_free(input);
        }
        return NULL;
    }
    op->key = key != NULL ? key->data : NULL;
    op->input = input != NULL ? input->data : NULL;
    op->request.kind = kind;
    op->request.key = op->key;
    op->request.value = op->input != NULL ? op->input : "";
    op->request.value_size = input != NULL ? input->size : 0;
    op->request.timeout_ns = timeout_ns;
    op->request.page = page;
    op->request.done = done;
    return op;
}

/* Begins what start() made, if anything, and leaves the client. */
static dsync_op *run(dsync_client *client, dsync_op *op) {
    if (op != NULL) {
        ds_request_start(client->engine, &op->request);
    }
    ds_client_leave(client);
    return op;
}

static void data_key(const dsync_client *client, const char *key, ds_buf *out) {
    const dsync_options *o = &client->settings.o;
    ds_keyspace space = {
        .prefix = o->prefix, .region = o->region, .global = o->scope != NULL && strcmp(o->scope, "global") == 0};
    ds_key_data(out, &space, key);
}

static bool check_key(const char *key, dsync_error *error) {
    if (key == NULL) {
        ds_error_set(error, DSYNC_INVALID, "key: none given");
        return false;
    }
    return ds_name_check(key, strlen(key), "key", error);
}

/* ---- the store at large ------------------------------------------------------------------------------------------ */

dsync_op *dsync_ping_start(dsync_client *client, int64_t timeout_ms, dsync_error *error) {
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    int64_t timeout_ns = timeout_ms < 0 || timeout_ms > 3600000 ? PATIENCE_NS : timeout_ms * DS_MS;
    return run(client, start(client, NULL, DS_REQUEST_PING, NULL, NULL, timeout_ns, error));
}

dsync_op *dsync_get_start(dsync_client *client, const char *key, dsync_error *error) {
    ds_buf path = DS_BUF_EMPTY;
    if (!check_key(key, error) || !ds_client_enter(client, error)) {
        return NULL;
    }
    data_key(client, key, &path);
    return run(client, start(client, NULL, DS_REQUEST_GET, &path, NULL, PATIENCE_NS, error));
}

static void room_of(const dsync_client *client, bool leader, const char *name_space, ds_buf *out) {
    const dsync_options *o = &client->settings.o;
    ds_keyspace space = {
        .prefix = o->prefix, .region = o->region, .global = o->scope != NULL && strcmp(o->scope, "global") == 0};
    if (leader) {
        ds_key_leader(out, &space, name_space, "");
    } else {
        ds_key_lock(out, &space, "");
    }
}

dsync_op *dsync_locks_start(dsync_client *client, const char *name_prefix, dsync_error *error) {
    ds_buf path = DS_BUF_EMPTY;
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    room_of(client, false, NULL, &path);
    dsync_op *op = start(client, NULL, DS_REQUEST_TREE, &path, NULL, PATIENCE_NS, error);
    if (op != NULL && name_prefix != NULL && name_prefix[0] != '\0') {
        op->name_prefix = ds_strdup(name_prefix);
        if (op->name_prefix == NULL) {
            ds_op_finish(op, DSYNC_RESOURCE, "out of memory");
            ds_client_leave(client);
            return op;
        }
    }
    return run(client, op);
}

dsync_op *dsync_members_start(dsync_client *client, const char *name_space, dsync_error *error) {
    ds_buf path = DS_BUF_EMPTY;
    const char *room = name_space != NULL ? name_space : client->settings.o.name_space;
    if (!ds_name_check(room, strlen(room), "namespace", error) || !ds_client_enter(client, error)) {
        return NULL;
    }
    room_of(client, true, room, &path);
    dsync_op *op = start(client, NULL, DS_REQUEST_TREE, &path, NULL, PATIENCE_NS, error);
    if (op != NULL) {
        op->leaders = true;
    }
    return run(client, op);
}

dsync_op *dsync_break_start(dsync_client *client, const char *name, const dsync_lock_options *options, int64_t token,
                            dsync_error *error) {
    ds_buf path = DS_BUF_EMPTY;
    dsync_lock_options o;
    dsync_lock_options_init(&o);
    if (options != NULL) {
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    }
    if (name == NULL || token <= 0) {
        ds_error_set(error, DSYNC_INVALID, "%s", name == NULL ? "name: none given" : "token: give the holder's token");
        return NULL;
    }
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    if (!ds_lock_path(client, name, &o, false, &path, error)) {
        ds_buf_free(&path);
        ds_client_leave(client);
        return NULL;
    }
    dsync_op *op = start(client, NULL, DS_REQUEST_EVICT, &path, NULL, PATIENCE_NS, error);
    if (op != NULL) {
        op->request.token = token;
    }
    return run(client, op);
}

/* ---- of one lock ------------------------------------------------------------------------------------------------- */

dsync_op *dsync_queue_start(dsync_lock *lock, size_t limit, dsync_error *error) {
    dsync_client *client = lock->client;
    ds_buf path = DS_BUF_EMPTY;
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    ds_buf_add_text(&path, lock->path);
    dsync_op *op = start(client, lock, DS_REQUEST_LIST, &path, NULL, PATIENCE_NS, error);
    if (op != NULL) {
        op->leaders = lock->leader;
        op->request.limit = limit;
    }
    return run(client, op);
}

static dsync_op *write_start(dsync_lock *lock, ds_request_kind kind, ds_buf *key, ds_buf *value, dsync_error *error) {
    dsync_client *client = lock->client;
    ds_waiter_look(&lock->waiter);
    dsync_op *op = start(client, lock, kind, key, value, PATIENCE_NS, error);
    if (op == NULL) {
        ds_client_leave(client);
        return NULL;
    }
    if (ds_claim_get(&lock->claim) == DS_CLAIM_LOST) {
        op->kind = DS_OP_READY;
        ds_op_finish(op, DSYNC_LOST, "the lock was lost");
        ds_client_leave(client);
        return op;
    }
    op->request.waiter = &lock->waiter;
    return run(client, op);
}

dsync_op *dsync_put_start(dsync_lock *lock, const char *key, const void *value, size_t size, dsync_error *error) {
    dsync_client *client = lock->client;
    ds_buf path = DS_BUF_EMPTY;
    ds_buf bytes = DS_BUF_EMPTY;
    if (!check_key(key, error)) {
        return NULL;
    }
    if (size > client->settings.o.max_value) {
        ds_error_set(error, DSYNC_INVALID, "value has %zu bytes, more than max_value = %zu", size,
                     client->settings.o.max_value);
        return NULL;
    }
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    data_key(client, key, &path);
    ds_buf_add(&bytes, value, size);
    return write_start(lock, DS_REQUEST_PUT, &path, &bytes, error);
}

dsync_op *dsync_delete_start(dsync_lock *lock, const char *key, dsync_error *error) {
    dsync_client *client = lock->client;
    ds_buf path = DS_BUF_EMPTY;
    if (!check_key(key, error) || !ds_client_enter(client, error)) {
        return NULL;
    }
    data_key(client, key, &path);
    return write_start(lock, DS_REQUEST_DELETE, &path, NULL, error);
}

dsync_op *dsync_proclaim_start(dsync_lock *lock, const void *value, size_t size, int is_json, dsync_error *error) {
    dsync_client *client = lock->client;
    ds_buf stored = DS_BUF_EMPTY;
    const char *why = "";
    if (size > client->settings.o.max_value) {
        ds_error_set(error, DSYNC_INVALID, "value has %zu bytes, more than max_value = %zu", size,
                     client->settings.o.max_value);
        return NULL;
    }
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    bool made = ds_value_make(&stored, lock->node_id, value, size, is_json != 0, lock->raw, lock->waiter.queued_wall_ms,
                              ds_waiter_held_wall_ms(&lock->waiter), &why);
    if (!made) {
        if (stored.failed) {
            ds_error_no_memory(error);
        } else {
            ds_error_set(error, DSYNC_INVALID, "value is not JSON: %s", why);
        }
        ds_buf_free(&stored);
        ds_client_leave(client);
        return NULL;
    }
    return write_start(lock, DS_REQUEST_VALUE, NULL, &stored, error);
}
