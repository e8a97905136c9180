/* memory.c: the memory: backend: a client of a store inside this process, its answers, and the calls about sessions.
 *
 * A call takes effect at once, on the caller's thread, under the store's mutex; only its answer is deferred, through a
 * task posted to the caller's own world. The calls about queues and data are in memory_calls.c, the state changes
 * themselves in memory_store.c, and word of them to watches in memory_watch.c.
 */
#include "memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/error.h"
#include "../base/process.h"

#define FREE_OPS_MAX 64
#define TTL_MIN_MS 100
#define TTL_MAX_MS (INT64_C(365) * 24 * 3600 * 1000)

ds_memory *mem_client_of(ds_backend *backend) {
    return DS_CONTAINER_OF(backend, ds_memory, base);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static mem_op *op_take(ds_memory *memory) {
    ds_list *node = ds_list_pop(&memory->free_ops);
    if (node != NULL) {
        memory->free_count--;
        return DS_LIST_ENTRY(node, mem_op, node);
    }
    mem_op *op = ds_calloc(1, sizeof(*op));
    if (op != NULL) {
        ds_list_init(&op->node);
    }
    return op;
}

static void op_give(ds_memory *memory, mem_op *op) {
    ds_free(op->text);
    if (op->session != NULL) {
        mem_lock(memory);
        mem_node_unref(&op->session->node);
        mem_unlock(memory);
    }
    if (memory->free_count == FREE_OPS_MAX) {
        ds_free(op);
        return;
    }
    op->text = NULL;
    op->session = NULL;
    op->lease = NULL;
    ds_list_append(&memory->free_ops, &op->node);
    memory->free_count++;
}

/* The lease learns of its session only now, when its owner is there to hear of it. */
static void fill_lease(mem_op *op) {
    ds_lease *lease = op->lease;
    (void)snprintf(lease->id, sizeof(lease->id), "%016" PRIx64, lease->nonce);
    lease->created = op->session->node.token;
    mem_session *before = lease->impl;
    lease->impl = op->session;
    op->session = before; /* its reference goes back with the op */
}

static void answer(ds_task *task) {
    ds_call *call = DS_CONTAINER_OF(task, ds_call, task);
    mem_op *op = call->impl;
    ds_memory *memory = op->memory;
    call->impl = NULL;
    if (op->lease != NULL) {
        fill_lease(op);
    }
    memory->busy++;
    call->done(call, &op->reply); /* the call may be gone afterwards */
    memory->busy--;
    op_give(memory, op);
    mem_client_idle(memory);
}

static void answer_no_memory(ds_task *task) {
    static const ds_reply reply = {.outcome = DS_REFUSED, .code = DSYNC_RESOURCE, .message = "out of memory"};
    ds_call *call = DS_CONTAINER_OF(task, ds_call, task);
    ds_memory *memory = call->impl;
    call->impl = NULL;
    memory->busy++;
    call->done(call, &reply);
    memory->busy--;
    mem_client_idle(memory);
}

/* The answer is posted here, and filled in before the world runs it. */
static mem_op *begin(ds_memory *memory, ds_call *call) {
    ds_list_init(&call->task.node);
    mem_op *op = op_take(memory);
    if (op == NULL) {
        call->impl = memory;
        call->task.run = answer_no_memory;
    } else {
        op->memory = memory;
        op->reply = (ds_reply){.outcome = DS_OK, .message = ""};
        call->impl = op;
        call->task.run = answer;
    }
    ds_post(memory->base.world, &call->task);
    return op;
}

mem_op *mem_begin(ds_memory *memory, ds_call *call) {
    mem_op *op = begin(memory, call);
    if (op != NULL) {
        mem_lock(memory);
    }
    return op;
}

void mem_end(ds_memory *memory, mem_op *op) {
    op->reply.revision = memory->store->revision;
    mem_unlock(memory);
}

void mem_refuse_no_memory(mem_op *op) {
    op->reply.outcome = DS_REFUSED;
    op->reply.code = DSYNC_RESOURCE;
    op->reply.message = "out of memory";
}

void mem_say_lost(mem_op *op) {
    op->reply.outcome = DS_LOST;
    op->reply.message = "the session has ended";
}

static void memory_cancel(ds_backend *backend, ds_call *call) {
    if (call->impl == NULL) {
        return;
    }
    ds_list_remove(&call->task.node);
    if (call->task.run == answer) {
        op_give(mem_client_of(backend), call->impl);
    }
    call->impl = NULL;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static void memory_ping(ds_backend *backend, ds_call *call) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op != NULL) {
        op->reply.server = "memory of this process";
        mem_end(memory, op);
    }
}

void mem_say_live(mem_op *op, const mem_session *session) {
    op->reply.place = DS_PLACE_DONE;
    op->reply.ttl_ms = session->ttl_ms;
    op->reply.epoch = session->epoch;
}

/* The time a session is counted from. False: the clock failed, and that is the answer. */
static bool read_clock(ds_memory *memory, mem_op *op, int64_t *now_ns) {
    *now_ns = ds_now(memory->base.world);
    if (*now_ns < 0) {
        op->reply.outcome = DS_NOT_EXECUTED;
        op->reply.message = "the clock cannot be read";
        return false;
    }
    return true;
}

static void memory_open(ds_backend *backend, ds_call *call, ds_lease *lease) {
    ds_memory *memory = mem_client_of(backend);
    int64_t now_ns;
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    if (read_clock(memory, op, &now_ns)) {
        mem_session *session = mem_session_open(memory, lease, now_ns);
        if (session != NULL) {
            mem_node_ref(&session->node);
            op->session = session;
            op->lease = lease;
            mem_say_live(op, session);
        } else {
            mem_refuse_no_memory(op);
        }
    }
    mem_end(memory, op);
}

static void memory_renew(ds_backend *backend, ds_call *call, const ds_lease *lease) {
    ds_memory *memory = mem_client_of(backend);
    int64_t now_ns;
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    mem_session *session = mem_session_find(lease);
    if (session == NULL) {
        mem_say_lost(op);
    } else if (read_clock(memory, op, &now_ns)) {
        mem_session_renew(session, now_ns);
        mem_say_live(op, session);
    }
    mem_end(memory, op);
}

static void memory_close(ds_backend *backend, ds_call *call, const ds_lease *lease) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    mem_session *session = mem_session_find(lease);
    if (session != NULL) {
        mem_session_end(memory, session);
    }
    op->reply.place = DS_PLACE_DONE;
    mem_end(memory, op);
}

static void memory_forget(ds_backend *backend, ds_lease *lease) {
    ds_memory *memory = mem_client_of(backend);
    mem_session *session = lease->impl;
    lease->impl = NULL;
    if (session != NULL && memory->process == ds_process()) {
        mem_lock(memory);
        mem_node_unref(&session->node);
        mem_unlock(memory);
    }
}

static bool take_text(ds_buf *text, char **out) {
    if (text->failed) {
        ds_buf_free(text);
        return false;
    }
    *out = text->data;
    return true;
}

static bool memory_session_key(ds_backend *backend, const ds_lease *lease, char **out) {
    (void)backend;
    ds_buf text = DS_BUF_EMPTY;
    mem_session_key(&text, lease);
    return take_text(&text, out);
}

static bool memory_entry_key(ds_backend *backend, const ds_entry *entry, char **out) {
    (void)backend;
    ds_buf text = DS_BUF_EMPTY;
    mem_entry_key(&text, entry);
    return take_text(&text, out);
}

/* ---- a client ---------------------------------------------------------------------------------------------------- */

static const char *memory_address(ds_backend *backend) {
    return mem_client_of(backend)->address;
}

static void free_client(ds_memory *memory) {
    ds_list *node;
    while ((node = ds_list_pop(&memory->free_ops)) != NULL) {
        ds_free(DS_LIST_ENTRY(node, mem_op, node));
    }
    ds_free(memory->address);
    ds_free(memory->id);
    ds_free(memory);
}

void mem_client_idle(ds_memory *memory) {
    if (memory->destroyed && memory->busy == 0) {
        mem_client_part(memory);
        mem_store_put(memory);
        free_client(memory);
    }
}

static void memory_destroy(ds_backend *backend) {
    ds_memory *memory = mem_client_of(backend);
    if (memory->process != ds_process()) {
        free_client(memory);
        return;
    }
    mem_client_hush(memory);
    memory->destroyed = true;
    mem_client_idle(memory);
}

static const ds_backend_ops memory_ops = {
    .name = "memory",
    .ttl_min_ms = TTL_MIN_MS,
    .ttl_max_ms = TTL_MAX_MS,
    .margin_divisor = 5,
    .renew_divisor = 3,
    .local = true,
    .destroy = memory_destroy,
    .cancel = memory_cancel,
    .endpoint_list = memory_address,
    .ping = memory_ping,
    .open = memory_open,
    .renew = memory_renew,
    .close = memory_close,
    .forget = memory_forget,
    .session_key = memory_session_key,
    .enter = mem_call_enter,
    .check = mem_call_check,
    .leave = mem_call_leave,
    .swap = mem_call_swap,
    .withdraw = mem_call_withdraw,
    .write = mem_call_write,
    .evict = mem_call_evict,
    .get = mem_call_get,
    .list = mem_call_list,
    .watch = mem_watch_start,
    .unwatch = mem_watch_stop,
    .entry_key = memory_entry_key,
};

/* There is nothing to set. */
static bool check_settings(const dsync_options *options, dsync_error *error) {
    for (size_t i = 0; options != NULL && i < options->setting_count; i++) {
        const char *name = options->settings[i].name;
        if (strncmp(name, "memory.", strlen("memory.")) == 0) {
            ds_shown shown;
            (void)ds_error_set(error, DSYNC_CONFIG, "unknown setting %s: memory: has none",
                               ds_show(&shown, name, strlen(name)));
            return false;
        }
    }
    return true;
}

static bool copy_names(ds_memory *memory, const ds_backend_config *config, const char *name) {
    const char *id = config->options != NULL ? config->options->id : NULL;
    ds_buf address = DS_BUF_EMPTY;
    ds_buf_add_text(&address, "memory:");
    ds_buf_add_text(&address, name);
    memory->id = ds_strdup(id != NULL ? id : "");
    if (!take_text(&address, &memory->address)) {
        memory->address = NULL;
    }
    return memory->id != NULL && memory->address != NULL;
}

ds_backend *ds_memory_backend(ds_world *world, const ds_backend_config *config, dsync_error *error) {
    const char *name = config->endpoint_count > 0 ? config->endpoints[0] : "";
    if (!check_settings(config->options, error)) {
        return NULL;
    }
    ds_memory *memory = ds_calloc(1, sizeof(*memory));
    if (memory == NULL) {
        (void)ds_error_no_memory(error);
        return NULL;
    }
    memory->base = (ds_backend){&memory_ops, world};
    memory->process = ds_process();
    ds_list_init(&memory->free_ops);
    if (!copy_names(memory, config, name) || (memory->store = mem_store_get(name, world)) == NULL) {
        free_client(memory);
        (void)ds_error_no_memory(error);
        return NULL;
    }
    mem_client_join(memory);
    return &memory->base;
}
