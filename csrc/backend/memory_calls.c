/* memory_calls.c: the calls of backend.h about queues and data. Each is one step under the store's mutex. */
#include "memory.h"

#include <string.h>

#include "../base/json.h"

/* ---- queues ------------------------------------------------------------------------------------------------------ */

/* Where `entry` stands. When only the description fails, what the call did stands: the caller cannot know. */
static void say_place(mem_op *op, const mem_entry *entry) {
    const mem_entry *ahead = mem_entry_ahead(entry);
    op->reply.token = entry->node.token;
    op->reply.place = ahead == NULL ? DS_PLACE_HELD : DS_PLACE_WAITING;
    if (ahead != NULL && !mem_describe(op, ahead, mem_queue_first(entry->queue))) {
        op->reply.outcome = DS_AMBIGUOUS;
        op->reply.message = "out of memory";
    }
}

static void say_busy(mem_op *op, const mem_queue *queue) {
    op->reply.place = DS_PLACE_BUSY;
    if (!mem_describe(op, NULL, mem_queue_first(queue))) {
        mem_refuse_no_memory(op);
    }
}

static void enter(ds_memory *memory, mem_op *op, const ds_entry *wanted, bool only_try) {
    mem_session *session = mem_session_find(wanted->lease);
    if (session == NULL) {
        mem_say_lost(op);
        return;
    }
    mem_entry *entry = mem_entry_find(memory->store, wanted);
    if (entry == NULL && session->epoch != wanted->lease->epoch) {
        op->reply.place = DS_PLACE_STALE;
        return;
    }
    mem_queue *queue = only_try && entry == NULL ? mem_queue_find(memory->store, wanted->path) : NULL;
    if (queue != NULL) {
        say_busy(op, queue);
        return;
    }
    if (entry == NULL && (entry = mem_entry_add(memory, session, wanted, NULL)) == NULL) {
        mem_refuse_no_memory(op);
        return;
    }
    say_place(op, entry);
}

void mem_call_enter(ds_backend *backend, ds_call *call, const ds_entry *entry, bool only_try) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op != NULL) {
        enter(memory, op, entry, only_try);
        mem_end(memory, op);
    }
}

/* The entry a call is about; NULL: it is gone, or its session, and that is the answer. */
static mem_entry *find(ds_memory *memory, mem_op *op, const ds_entry *wanted) {
    if (mem_session_find(wanted->lease) == NULL) {
        mem_say_lost(op);
        return NULL;
    }
    mem_entry *entry = mem_entry_find(memory->store, wanted);
    if (entry == NULL) {
        op->reply.place = DS_PLACE_GONE;
    }
    return entry;
}

void mem_call_check(ds_backend *backend, ds_call *call, const ds_entry *wanted) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    mem_entry *entry = find(memory, op, wanted);
    if (entry != NULL) {
        say_place(op, entry);
    }
    mem_end(memory, op);
}

void mem_call_leave(ds_backend *backend, ds_call *call, const ds_entry *wanted) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    mem_entry *entry = find(memory, op, wanted);
    if (entry != NULL) {
        mem_entry_remove(memory, entry);
        op->reply.place = DS_PLACE_DONE;
    }
    mem_end(memory, op);
}

void mem_call_swap(ds_backend *backend, ds_call *call, const ds_entry *old, const ds_entry *fresh) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    /* When the old one is gone but the fresh one is there, this is a copy of a swap that was done. */
    mem_entry *leaving = find(memory, op, old);
    mem_entry *entry = mem_session_find(fresh->lease) != NULL ? mem_entry_find(memory->store, fresh) : NULL;
    if (leaving != NULL && entry == NULL) {
        entry = mem_entry_add(memory, leaving->session, fresh, leaving);
        if (entry == NULL) {
            mem_refuse_no_memory(op);
        }
    }
    if (entry != NULL) {
        say_place(op, entry);
    }
    mem_end(memory, op);
}

void mem_call_withdraw(ds_backend *backend, ds_call *call, const ds_lease *lease, const ds_entry *const *entries,
                       size_t count, uint64_t next_epoch) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    mem_session *session = mem_session_find(lease);
    if (session == NULL) {
        mem_say_lost(op);
    } else {
        for (size_t i = 0; i < count; i++) {
            mem_entry *entry = mem_entry_find(memory->store, entries[i]);
            if (entry != NULL) {
                mem_entry_remove(memory, entry);
            }
        }
        /* A late copy of an earlier withdrawal must not bring an old epoch back. */
        if (next_epoch > session->epoch) {
            session->epoch = next_epoch;
        }
        mem_say_live(op, session);
    }
    mem_end(memory, op);
}

/* ---- writes and reads -------------------------------------------------------------------------------------------- */

static void apply(ds_memory *memory, mem_op *op, mem_entry *entry, const ds_write *write) {
    if (write->kind == DS_WRITE_DELETE) {
        mem_data_delete(memory, write->key);
        return;
    }
    mem_value *value = mem_value_new(write->value, write->value_size);
    if (value == NULL && write->value_size != 0) {
        mem_refuse_no_memory(op);
    } else if (write->kind == DS_WRITE_VALUE) {
        mem_node_write(memory, &entry->node, value);
    } else if (!mem_data_put(memory, write->key, value)) {
        mem_value_unref(value);
        mem_refuse_no_memory(op);
    }
}

void mem_call_write(ds_backend *backend, ds_call *call, const ds_write *write) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    mem_entry *entry = find(memory, op, write->entry);
    if (entry != NULL && entry->session->epoch != write->entry->lease->epoch) {
        op->reply.place = DS_PLACE_STALE;
    } else if (entry != NULL && write->kind != DS_WRITE_VALUE && mem_entry_ahead(entry) != NULL) {
        op->reply.place = DS_PLACE_WAITING;
    } else if (entry != NULL) {
        op->reply.place = DS_PLACE_DONE;
        apply(memory, op, entry, write);
    }
    mem_end(memory, op);
}

/* The last value of an evicted entry: what it was, and who did it. NULL: out of memory. */
static mem_value *broken_value(ds_memory *memory, const mem_value *before) {
    ds_buf text = DS_BUF_EMPTY;
    size_t size = before != NULL ? before->size : 0;
    if (size >= 2 && before->bytes[0] == '{' && before->bytes[size - 1] == '}') {
        ds_buf_add(&text, before->bytes, size - 1);
        ds_buf_add_text(&text, size > 2 ? "," : "");
    } else {
        ds_buf_add_char(&text, '{');
    }
    ds_buf_add_text(&text, DS_BROKEN_MARK ":");
    ds_json_add_text(&text, memory->id, strlen(memory->id));
    ds_buf_add_char(&text, '}');
    mem_value *value = text.failed ? NULL : mem_value_new(text.data, text.size);
    ds_buf_free(&text);
    return value;
}

static mem_entry *by_token(mem_store *store, const char *path, int64_t token) {
    mem_queue *queue = mem_queue_find(store, path);
    for (ds_list *node = queue != NULL ? queue->entries.next : NULL; node != NULL && node != &queue->entries;
         node = node->next) {
        mem_entry *entry = DS_LIST_ENTRY(node, mem_entry, in_queue);
        if (entry->node.token == token) {
            return entry;
        }
    }
    return NULL;
}

void mem_call_evict(ds_backend *backend, ds_call *call, const char *path, int64_t token) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    mem_entry *entry = by_token(memory->store, path, token);
    mem_value *value = entry != NULL ? broken_value(memory, entry->node.value) : NULL;
    if (value != NULL) {
        mem_value_unref(entry->node.value);
        entry->node.value = value;
        mem_entry_remove(memory, entry);
        op->reply.place = DS_PLACE_DONE;
    } else if (entry != NULL) {
        mem_refuse_no_memory(op);
    } else {
        op->reply.place = DS_PLACE_GONE;
    }
    mem_end(memory, op);
}

static void say_value(mem_op *op, const mem_node *node) {
    size_t size = node->value != NULL ? node->value->size : 0;
    char *copy = ds_malloc(size + 1);
    if (copy == NULL) {
        mem_refuse_no_memory(op);
        return;
    }
    if (size > 0) {
        memcpy(copy, node->value->bytes, size);
    }
    copy[size] = '\0';
    op->text = copy;
    op->reply.value = copy;
    op->reply.value_size = size;
    op->reply.token = node->modified;
}

void mem_call_get(ds_backend *backend, ds_call *call, const char *key) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    const mem_node *node = mem_node_find(memory->store, key);
    if (node != NULL) {
        say_value(op, node);
    }
    mem_end(memory, op);
}

void mem_call_list(ds_backend *backend, ds_call *call, const ds_list_spec *spec) {
    ds_memory *memory = mem_client_of(backend);
    mem_op *op = mem_begin(memory, call);
    if (op == NULL) {
        return;
    }
    if (!mem_list(memory->store, op, spec)) {
        mem_refuse_no_memory(op);
    }
    mem_end(memory, op);
}
