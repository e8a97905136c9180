/* zookeeper_guard.c: writes under a guard: withdrawing entries whose fate is uncertain, values and data while an entry
 * owns its queue, and the removal of somebody else's entry.
 */
#include "zookeeper.h"
#include "stamp.h"

#include "../base/error.h"

#include <string.h>

#define MARK_NS (250 * DS_MS) /* between marking an entry as broken and removing it: its owner reads why */

/* ---- removing several nodes -------------------------------------------------------------------------------------- */

/* The names stand in call->names; those before `at` are gone, and `count` of those behind it are being removed. */
static void remove_some(ds_zk_call *call);

static void on_removed(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK || (call->count == 1 && answer->code == DS_ZK_NO_NODE)) {
        for (; call->count > 0; call->count--) {
            call->at += strlen(call->names.data + call->at) + 1;
        }
    } else if (answer->code == DS_ZK_NO_NODE) {
        call->tries = 1; /* one of them was gone already: the rest one by one */
    } else {
        ds_zk_fail(call, answer);
        return;
    }
    remove_some(call);
}

static void remove_some(ds_zk_call *call) {
    ds_zk_request parts[DS_ZK_PARTS_MAX];
    size_t most = call->tries > 0 ? 1 : DS_ZK_PARTS_MAX, count = 0;
    for (size_t at = call->at; at < call->names.size && count < most; count++) {
        const char *name = call->names.data + at;
        parts[count] = (ds_zk_request){.kind = DS_ZK_DELETE, .path = name, .version = DS_ZK_ANY_VERSION};
        at += strlen(name) + 1;
    }
    if (count == 0) {
        call->then(call);
        return;
    }
    call->count = count;
    ds_zk_request multi = {.kind = DS_ZK_MULTI, .parts = parts, .count = count};
    (void)ds_zk_send(call, count == 1 ? &parts[0] : &multi, on_removed);
}

void ds_zk_remove_names(ds_zk_call *call, void (*then)(ds_zk_call *call)) {
    call->at = 0;
    call->tries = 0;
    call->then = then;
    remove_some(call);
}

void ds_zk_add_name(ds_zk_call *call, const char *full) {
    ds_buf_add(&call->names, full, strlen(full) + 1);
}

/* ---- withdraw: find, remove, write the epoch --------------------------------------------------------------------- */

/* The entries stand in call->data as "nonce\0path\0", one after the other; those before `at` have been looked for. */
static void find_next(ds_zk_call *call);

static void on_epoch(ds_zk_call *call, const ds_zk_answer *answer) {
    if (answer->code == DS_ZK_OK) {
        call->link->stamp_version = answer->stat->version;
    }
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK) {
        ds_zk_finish_place(call, DS_PLACE_DONE);
    } else if (answer->code == DS_ZK_NO_NODE) {
        ds_zk_finish_lost(call, "zookeeper: the session's node is gone");
    } else {
        ds_zk_fail(call, answer);
    }
}

static void write_epoch(ds_zk_call *call) {
    for (size_t at = 0; at < call->data.size; at += strlen(call->data.data + at) + 1) {
        ds_zk_node_gone(call->link, call->data.data + at);
        at += strlen(call->data.data + at) + 1;
    }
    ds_zk_request request = {.kind = DS_ZK_SET, .path = call->own.data, .version = DS_ZK_ANY_VERSION};
    request.data = call->stamp.data;
    request.size = call->stamp.size;
    (void)ds_zk_send(call, &request, on_epoch);
}

static void on_searched(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code != DS_ZK_OK && answer->code != DS_ZK_NO_NODE) {
        ds_zk_fail(call, answer);
        return;
    }
    const char *nonce = call->data.data + call->at;
    const char *name = ds_zk_find_child(call->zookeeper->dialect, answer, nonce);
    if (name != NULL) {
        ds_buf_clear(&call->text);
        ds_buf_add_format(&call->text, "%s/%s", call->full.data, name);
        ds_zk_add_name(call, call->text.failed ? "" : call->text.data);
    }
    call->at += strlen(nonce) + 1;
    call->at += strlen(call->data.data + call->at) + 1;
    if (!ds_zk_no_memory(call)) {
        find_next(call);
    }
}

/* Each is looked for, even where its name is known, as the leader has the queue now: a creation whose answer was lost
 * is ordered before this, because a session's requests are, and a connection that was given up takes none any more. */
static void find_next(ds_zk_call *call) {
    if (call->at >= call->data.size) {
        ds_zk_remove_names(call, write_epoch);
        return;
    }
    const char *path = call->data.data + call->at + strlen(call->data.data + call->at) + 1;
    ds_zk_path(call->zookeeper, &call->full, path);
    if (ds_zk_no_memory(call)) {
        return;
    }
    ds_zk_request sync = {.kind = DS_ZK_SYNC, .path = call->full.data};
    ds_zk_request children = {.kind = DS_ZK_CHILDREN, .path = call->full.data};
    if (ds_zk_send(call, &sync, NULL)) {
        (void)ds_zk_send(call, &children, on_searched);
    }
}

void ds_zk_withdraw(ds_backend *backend, ds_call *owner, const ds_lease *lease, const ds_entry *const *entries,
                    size_t count, uint64_t next_epoch) {
    ds_zk_call *call = ds_zk_start(backend, owner, lease, find_next);
    if (call == NULL) {
        return;
    }
    call->epoch = next_epoch;
    ds_zk_session_key(&call->path, lease);
    ds_zk_path(call->zookeeper, &call->own, call->path.failed ? "" : call->path.data);
    ds_stamp_make(&call->stamp, lease, next_epoch);
    for (size_t i = 0; i < count; i++) {
        ds_buf_add(&call->data, entries[i]->nonce, strlen(entries[i]->nonce) + 1);
        ds_buf_add(&call->data, entries[i]->path, strlen(entries[i]->path) + 1);
    }
    ds_zk_go(call);
}

/* ---- write ------------------------------------------------------------------------------------------------------- */

static void write_data(ds_zk_call *call);

static void on_value(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NO_NODE) {
        ds_zk_finish_place(call, answer->code == DS_ZK_OK ? DS_PLACE_DONE : DS_PLACE_GONE);
    } else {
        ds_zk_fail(call, answer);
    }
}

/* The first part of the multi is the guard, the second the write. */
static void on_data(ds_zk_call *call, const ds_zk_answer *answer) {
    static const unsigned TRIES = 20;
    if (ds_zk_over(call)) {
        return;
    }
    bool guarded = answer->code == DS_ZK_NO_NODE && answer->failed_at == 0;
    bool removed = answer->code == DS_ZK_NO_NODE && call->write == DS_WRITE_DELETE; /* by somebody: nothing to delete */
    if (guarded) {
        ds_zk_finish_place(call, DS_PLACE_GONE);
    } else if (answer->code == DS_ZK_OK || removed) {
        ds_zk_finish_place(call, DS_PLACE_DONE);
    } else if (answer->code == DS_ZK_NO_NODE && call->tries++ < TRIES && !call->created) {
        call->created = true; /* not there yet: made, not changed */
        write_data(call);
    } else if (answer->code == DS_ZK_NO_NODE && call->tries < TRIES) {
        ds_zk_make_parents(call, call->full.data, write_data);
    } else if (answer->code == DS_ZK_NODE_EXISTS && call->tries++ < TRIES) {
        call->created = false;
        write_data(call);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void write_data(ds_zk_call *call) {
    const ds_zk_node *node = ds_zk_node_of(call->link, call->nonce);
    if (node == NULL || node->full == NULL) {
        ds_zk_finish_place(call, DS_PLACE_GONE);
        return;
    }
    ds_zk_request change = {.kind = DS_ZK_SET, .path = call->full.data, .version = DS_ZK_ANY_VERSION};
    change.data = call->data.data != NULL ? call->data.data : "";
    change.size = call->data.size;
    if (call->write == DS_WRITE_DELETE) {
        change.kind = DS_ZK_DELETE;
    } else if (call->created) {
        change.kind = DS_ZK_CREATE;
    }
    ds_zk_request parts[] = {{.kind = DS_ZK_CHECK, .path = node->full, .version = DS_ZK_ANY_VERSION}, change};
    ds_zk_request multi = {.kind = DS_ZK_MULTI, .parts = parts, .count = DS_COUNT(parts)};
    (void)ds_zk_send(call, &multi, on_data);
}

/* A node that was first stays first until it goes: its being there is its owning the queue. */
static void begin_write(ds_zk_call *call) {
    const ds_zk_node *node = ds_zk_node_of(call->link, call->nonce);
    if (call->write != DS_WRITE_VALUE) {
        write_data(call);
    } else if (node == NULL || node->full == NULL) {
        ds_zk_finish_later(call, DS_NOT_EXECUTED, DSYNC_OK, "zookeeper: the entry is not known");
    } else {
        ds_zk_request request = {.kind = DS_ZK_SET, .path = node->full, .version = DS_ZK_ANY_VERSION};
        request.data = call->data.data != NULL ? call->data.data : "";
        request.size = call->data.size;
        (void)ds_zk_send(call, &request, on_value);
    }
}

void ds_zk_write(ds_backend *backend, ds_call *owner, const ds_write *write) {
    const ds_entry *entry = write->entry;
    ds_zk_call *call = ds_zk_start(backend, owner, entry->lease, begin_write);
    if (call == NULL) {
        return;
    }
    memcpy(call->nonce, entry->nonce, sizeof(call->nonce));
    call->write = write->kind;
    ds_zk_path(call->zookeeper, &call->full, write->kind == DS_WRITE_VALUE ? entry->path : write->key);
    ds_buf_add(&call->data, write->value, write->value_size);
    ds_zk_go(call);
}

/* ---- evict: mark, remove ----------------------------------------------------------------------------------------- */

static void look_at_marked(ds_zk_call *call);

static void on_evicted(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NO_NODE) {
        ds_zk_finish_place(call, DS_PLACE_DONE); /* gone since it was marked: its owner has read why */
    } else if (answer->code == DS_ZK_BAD_VERSION && call->tries++ < 10) {
        look_at_marked(call); /* its owner wrote meanwhile, and the mark is lost */
    } else {
        ds_zk_fail(call, answer);
    }
}

static void remove_marked(ds_timer *timer) {
    ds_zk_call *call = DS_CONTAINER_OF(timer, ds_zk_call, pause);
    ds_zk_request request = {.kind = DS_ZK_DELETE, .path = call->text.data, .version = call->version};
    (void)ds_zk_send(call, &request, on_evicted);
}

static void on_marked(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    ds_world *world = call->zookeeper->base.world;
    if (answer->code == DS_ZK_OK) {
        call->version = answer->stat->version;
        call->pause.fire = remove_marked;
        ds_timer_set(world, &call->pause, ds_now(world) + MARK_NS);
    } else if (answer->code == DS_ZK_NO_NODE) {
        ds_zk_finish_place(call, DS_PLACE_GONE);
    } else if (answer->code == DS_ZK_BAD_VERSION && call->tries++ < 10) {
        look_at_marked(call);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void on_victim(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_NO_NODE || (answer->code == DS_ZK_OK && answer->stat->czxid != call->token)) {
        ds_zk_finish_place(call, DS_PLACE_GONE);
        return;
    }
    if (answer->code != DS_ZK_OK) {
        ds_zk_fail(call, answer);
        return;
    }
    ds_stamp_broken(&call->data, answer->data, answer->size, call->zookeeper->id);
    if (ds_zk_no_memory(call)) {
        return;
    }
    ds_zk_request request = {.kind = DS_ZK_SET, .path = call->text.data, .version = answer->stat->version};
    request.data = call->data.data;
    request.size = call->data.size;
    (void)ds_zk_send(call, &request, on_marked);
}

static void look_at_marked(ds_zk_call *call) {
    ds_zk_request request = {.kind = DS_ZK_GET, .path = call->text.data};
    (void)ds_zk_send(call, &request, on_victim);
}

/* The names of the queue stand in call->names, those looked at before `at`. */
static void look_for_token(ds_zk_call *call);

static void on_candidate(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code == DS_ZK_OK && answer->stat->czxid == call->token) {
        look_at_marked(call);
    } else if (answer->code == DS_ZK_OK || answer->code == DS_ZK_NO_NODE) {
        look_for_token(call);
    } else {
        ds_zk_fail(call, answer);
    }
}

static void look_for_token(ds_zk_call *call) {
    if (call->at >= call->names.size) {
        ds_zk_finish_place(call, DS_PLACE_GONE);
        return;
    }
    ds_buf_clear(&call->text);
    ds_buf_add_text(&call->text, call->names.data + call->at);
    call->at += strlen(call->names.data + call->at) + 1;
    if (ds_zk_no_memory(call)) {
        return;
    }
    ds_zk_request request = {.kind = DS_ZK_EXISTS, .path = call->text.data};
    (void)ds_zk_send(call, &request, on_candidate);
}

static void on_queue(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code != DS_ZK_OK && answer->code != DS_ZK_NO_NODE) {
        ds_zk_fail(call, answer);
        return;
    }
    ds_zk_standing standing;
    int32_t number;
    ds_zk_stand(call->zookeeper->dialect, answer, NULL, &standing);
    for (int others = 0; others < 2; others++) { /* most often it is the first's token */
        for (size_t i = 0; i < answer->count; i++) {
            const char *name = answer->children[i];
            bool member = ds_zk_look(call->zookeeper->dialect, name, &number) == DS_ZK_MEMBER;
            if (member && (name != standing.first) == (others != 0)) {
                ds_buf_add_format(&call->names, "%s/%s", call->full.data, name);
                ds_buf_add_char(&call->names, '\0');
            }
        }
    }
    if (!ds_zk_no_memory(call)) {
        look_for_token(call);
    }
}

static void begin_evict(ds_zk_call *call) {
    ds_zk_request sync = {.kind = DS_ZK_SYNC, .path = call->full.data};
    ds_zk_request children = {.kind = DS_ZK_CHILDREN, .path = call->full.data};
    if (ds_zk_send(call, &sync, NULL)) {
        (void)ds_zk_send(call, &children, on_queue);
    }
}

void ds_zk_evict(ds_backend *backend, ds_call *owner, const char *path, int64_t token) {
    ds_zk_call *call = ds_zk_start(backend, owner, NULL, begin_evict);
    if (call != NULL) {
        call->token = token;
        ds_zk_path(call->zookeeper, &call->full, path);
        ds_zk_go(call);
    }
}
