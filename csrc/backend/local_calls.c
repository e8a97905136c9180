/* local_calls.c: the calls of backend.h about queues and data. Each is one transaction. */
#include "local.h"

#include <string.h>

#include "../base/json.h"

/* ---- places ------------------------------------------------------------------------------------------------------ */

/* Where `entry` stands. False: somebody before it is dead and has to go first. */
static bool say_place(loc_store *store, loc_op *op, const char *path, const loc_entry *entry) {
    loc_entry ahead, first;
    op->reply.token = entry->token;
    if (!loc_entry_at(store, LOC_ENTRY_BEFORE, path, entry->token, &ahead)) {
        op->reply.place = DS_PLACE_HELD;
        return true;
    }
    if (!loc_entry_at(store, LOC_ENTRY_FIRST, path, 0, &first)) {
        return true; /* failed */
    }
    if (loc_is_dead(store, first.client)) {
        loc_mark_dead(store, first.client);
        return false;
    }
    op->reply.place = DS_PLACE_WAITING;
    loc_describe(store, op, path, &ahead, &first);
    return true;
}

/* In a writing transaction: the dead go at once. */
static void say_place_now(loc_store *store, loc_op *op, const char *path, const loc_entry *entry) {
    while (!say_place(store, op, path, entry)) {
        loc_reap(store);
        store->dead_count = 0;
    }
}

/* The owner of a queue, if it has one that lives. */
static bool find_owner(loc_store *store, const char *path, loc_entry *out) {
    while (loc_entry_at(store, LOC_ENTRY_FIRST, path, 0, out)) {
        if (!loc_is_dead(store, out->client)) {
            return true;
        }
        loc_client_end(store, out->client);
    }
    return false;
}

static void enter(loc_store *store, loc_op *op, const ds_entry *wanted, bool only_try) {
    loc_session session;
    loc_entry entry, first;
    if (!loc_session_find(store, (int64_t)wanted->lease->nonce, &session)) {
        loc_say_lost(op);
        return;
    }
    bool busy = find_owner(store, wanted->path, &first);
    if (busy && loc_entry_find(store, wanted, &entry)) {
        say_place_now(store, op, wanted->path, &entry);
    } else if ((uint64_t)session.epoch != wanted->lease->epoch) {
        op->reply.place = DS_PLACE_STALE;
    } else if (busy && only_try) {
        op->reply.place = DS_PLACE_BUSY;
        loc_describe(store, op, wanted->path, NULL, &first);
    } else {
        loc_entry_add(store, wanted, &session, &entry);
        op->reply.token = entry.token;
        op->reply.place = DS_PLACE_HELD;
        if (busy) {
            say_place_now(store, op, wanted->path, &entry);
        }
    }
}

void loc_call_enter(ds_backend *backend, ds_call *call, const ds_entry *wanted, bool only_try) {
    ds_local *local = loc_client_of(backend);
    loc_op *op = loc_call_begin(local, call, true);
    if (op != NULL) {
        enter(local->store, op, wanted, only_try);
        loc_call_end(local, op);
    }
}

/* The entry a call is about. False: it is gone, or its session, and that is the answer. */
static bool find(loc_store *store, loc_op *op, const ds_entry *wanted, loc_session *session, loc_entry *entry) {
    if (!loc_session_find(store, (int64_t)wanted->lease->nonce, session)) {
        loc_say_lost(op);
        return false;
    }
    if (!loc_entry_find(store, wanted, entry)) {
        op->reply.place = DS_PLACE_GONE;
        return false;
    }
    return true;
}

/* Reads first: a writing transaction is needed only when somebody has died or run out of time. */
void loc_call_check(ds_backend *backend, ds_call *call, const ds_entry *wanted) {
    ds_local *local = loc_client_of(backend);
    loc_store *store = local->store;
    loc_session session;
    loc_entry entry;
    loc_op *op = loc_call_begin(local, call, false);
    if (op == NULL) {
        return;
    }
    bool told = store->now_ns < store->meta.next_expiry_ns && store->dead_count == 0 &&
                (!find(store, op, wanted, &session, &entry) || say_place(store, op, wanted->path, &entry));
    if (!told && loc_commit(store)) {
        op->reply = (ds_reply){.outcome = DS_OK, .message = ""};
        if (!loc_begin(store, true)) {
            loc_say_fault(op);
            loc_unlock(store);
            return;
        }
        if (find(store, op, wanted, &session, &entry)) {
            say_place_now(store, op, wanted->path, &entry);
        }
    } else if (!told) {
        loc_say_fault(op);
        loc_unlock(store);
        return;
    }
    loc_call_end(local, op);
}

/* An entry has no life without its session, so the session is asked for only when there is no entry. */
void loc_call_leave(ds_backend *backend, ds_call *call, const ds_entry *wanted) {
    ds_local *local = loc_client_of(backend);
    loc_session session;
    loc_entry entry;
    loc_op *op = loc_call_begin(local, call, true);
    if (op == NULL) {
        return;
    }
    if (loc_entry_find(local->store, wanted, &entry)) {
        loc_entry_drop(local->store, wanted->path, &entry);
        op->reply.place = DS_PLACE_DONE;
    } else {
        (void)find(local->store, op, wanted, &session, &entry);
    }
    loc_call_end(local, op);
}

void loc_call_swap(ds_backend *backend, ds_call *call, const ds_entry *old, const ds_entry *fresh) {
    ds_local *local = loc_client_of(backend);
    loc_store *store = local->store;
    loc_session session;
    loc_entry leaving, entry;
    loc_op *op = loc_call_begin(local, call, true);
    if (op == NULL) {
        return;
    }
    /* When the old one is gone but the fresh one is there, this is a copy of a swap that was done. */
    bool old_there = find(store, op, old, &session, &leaving);
    bool fresh_there = op->reply.outcome == DS_OK && loc_entry_find(store, fresh, &entry);
    if (old_there && !fresh_there) {
        loc_entry_drop(store, old->path, &leaving);
        loc_entry_add(store, fresh, &session, &entry);
    }
    if (old_there || fresh_there) {
        say_place_now(store, op, fresh->path, &entry);
    }
    loc_call_end(local, op);
}

void loc_call_withdraw(ds_backend *backend, ds_call *call, const ds_lease *lease, const ds_entry *const *entries,
                       size_t count, uint64_t next_epoch) {
    ds_local *local = loc_client_of(backend);
    loc_store *store = local->store;
    loc_session session;
    loc_entry entry;
    loc_op *op = loc_call_begin(local, call, true);
    if (op == NULL) {
        return;
    }
    if (!loc_session_find(store, (int64_t)lease->nonce, &session)) {
        loc_say_lost(op);
    } else {
        for (size_t i = 0; i < count; i++) {
            if (loc_entry_find(store, entries[i], &entry)) {
                loc_entry_drop(store, entries[i]->path, &entry);
            }
        }
        loc_session_advance(store, &session, next_epoch);
        loc_say_live(op, &session);
    }
    loc_call_end(local, op);
}

/* ---- writes and reads -------------------------------------------------------------------------------------------- */

static void apply(loc_store *store, const loc_entry *entry, const ds_write *write) {
    switch (write->kind) {
    case DS_WRITE_VALUE:
        loc_entry_write(store, write->entry->path, entry, write->value, write->value_size);
        break;
    case DS_WRITE_PUT:
        loc_data_put(store, write->key, write->value, write->value_size);
        break;
    case DS_WRITE_DELETE:
        loc_data_drop(store, write->key);
        break;
    }
}

void loc_call_write(ds_backend *backend, ds_call *call, const ds_write *write) {
    ds_local *local = loc_client_of(backend);
    loc_store *store = local->store;
    loc_session session;
    loc_entry entry, ahead;
    loc_op *op = loc_call_begin(local, call, true);
    if (op == NULL) {
        return;
    }
    if (find(store, op, write->entry, &session, &entry)) {
        if ((uint64_t)session.epoch != write->entry->lease->epoch) {
            op->reply.place = DS_PLACE_STALE;
        } else if (write->kind != DS_WRITE_VALUE &&
                   loc_entry_at(store, LOC_ENTRY_BEFORE, write->entry->path, entry.token, &ahead)) {
            op->reply.place = DS_PLACE_WAITING;
        } else {
            op->reply.place = DS_PLACE_DONE;
            apply(store, &entry, write);
        }
    }
    loc_call_end(local, op);
}

/* The last value of an evicted entry: what it was, and who did it. */
static void add_broken(ds_local *local, const char *path, const loc_entry *entry, ds_buf *out) {
    loc_store *store = local->store;
    ds_buf before = DS_BUF_EMPTY, key = DS_BUF_EMPTY;
    loc_key parsed;
    loc_key_entry(&key, path, entry->session, entry->nonce);
    if (!key.failed) {
        loc_key_read(key.data, &parsed);
        loc_key_value(store, key.data, &parsed, entry->token, &before);
    }
    bool object = before.size >= 2 && before.data[0] == '{' && before.data[before.size - 1] == '}';
    if (object) {
        ds_buf_add(out, before.data, before.size - 1);
        ds_buf_add_text(out, before.size > 2 ? "," : "");
    } else {
        ds_buf_add_char(out, '{');
    }
    ds_buf_add_text(out, DS_BROKEN_MARK ":");
    ds_json_add_text(out, local->id, strlen(local->id));
    ds_buf_add_char(out, '}');
    if (key.failed || before.failed || out->failed) {
        loc_fail(store, SQLITE_NOMEM);
    }
    ds_buf_free(&before);
    ds_buf_free(&key);
}

void loc_call_evict(ds_backend *backend, ds_call *call, const char *path, int64_t token) {
    ds_local *local = loc_client_of(backend);
    loc_store *store = local->store;
    loc_entry entry;
    loc_op *op = loc_call_begin(local, call, true);
    if (op == NULL) {
        return;
    }
    op->reply.place = DS_PLACE_GONE;
    if (loc_entry_at(store, LOC_ENTRY_TOKEN, path, token, &entry)) {
        ds_buf value = DS_BUF_EMPTY;
        add_broken(local, path, &entry, &value);
        loc_broken_note(store, path, &entry, value.data, value.size);
        loc_entry_drop(store, path, &entry);
        ds_buf_free(&value);
        op->reply.place = DS_PLACE_DONE;
    }
    loc_call_end(local, op);
}

void loc_call_get(ds_backend *backend, ds_call *call, const char *key) {
    ds_local *local = loc_client_of(backend);
    loc_store *store = local->store;
    loc_found found;
    loc_key parsed;
    loc_op *op = loc_call_begin(local, call, false);
    if (op == NULL) {
        return;
    }
    loc_key_read(key, &parsed);
    loc_key_find(store, key, &parsed, 0, &found);
    if (found.exists) {
        loc_key_value(store, key, &parsed, found.token, &op->text);
        ds_buf_add(&op->text, "", 0);
        if (op->text.failed) {
            loc_fail(store, SQLITE_NOMEM);
        }
        op->reply.value = op->text.data != NULL ? op->text.data : "";
        op->reply.value_size = op->text.size;
        op->reply.token = found.modified;
    }
    loc_call_end(local, op);
}

void loc_call_list(ds_backend *backend, ds_call *call, const ds_list_spec *spec) {
    ds_local *local = loc_client_of(backend);
    loc_store *store = local->store;
    loc_op *op = loc_call_begin(local, call, false);
    if (op == NULL) {
        return;
    }
    bool clean = store->now_ns < store->meta.next_expiry_ns && !loc_any_dead(store);
    if (!clean && (!loc_commit(store) || !loc_begin(store, true))) {
        loc_say_fault(op);
        loc_unlock(store);
        return;
    }
    loc_list(store, op, spec);
    loc_call_end(local, op);
}
