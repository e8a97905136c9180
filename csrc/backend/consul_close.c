/* consul_close.c: the end of a session.
 *
 * Destroying a session takes its keys with it, but leaves a lock-delay on each lock it held: so these are given back
 * first. What does not belong to a session, the mark that somebody waits, is removed last, and only if that goes at
 * once.
 */
#include "consul.h"

#include <stdio.h>
#include <string.h>

#define OPS_OF_ONE 4 /* for one entry, at most */

static void give_back(ds_consul_call *call);
static void tidy_next(ds_consul_call *call);

/* ---- marks ------------------------------------------------------------------------------------------------------- */

static void on_tidied(ds_consul_call *call, const ds_consul_answer *answer) {
    (void)answer;
    tidy_next(call);
}

static void on_mark_read(ds_consul_call *call, const ds_consul_answer *answer) {
    const ds_consul_pair *mark = ds_consul_find(answer, call->waiting.data);
    if (mark == NULL || answer->count > 1) {
        tidy_next(call); /* somebody waits still, or has tidied up */
        return;
    }
    ds_consul_delete_if(ds_consul_txn_of(call), call->waiting.data, mark->modified);
    ds_consul_step(call, DS_CONSUL_TXN, on_tidied);
}

/* Whatever comes of it, the session has ended. */
static bool on_not_tidied(ds_consul_call *call, const ds_consul_result *result) {
    (void)result;
    ds_consul_finish_place(call, DS_PLACE_DONE);
    return true;
}

static void tidy_next(ds_consul_call *call) {
    while (call->leaver_at < call->leaver_count && !call->leavers[call->leaver_at].contended) {
        call->leaver_at++;
    }
    if (call->leaver_at == call->leaver_count) {
        ds_consul_finish_place(call, DS_PLACE_DONE);
        return;
    }
    const ds_consul_leaver *leaver = &call->leavers[call->leaver_at++];
    ds_consul_key_waiting(call->consul, &call->waiting, leaver->path);
    ds_consul_key_queue(call->consul, &call->queue, leaver->path);
    if (call->waiting.failed || call->queue.failed) {
        ds_consul_finish_place(call, DS_PLACE_DONE);
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    ds_consul_tree(txn, call->waiting.data);
    ds_consul_tree(txn, call->queue.data);
    ds_consul_step(call, DS_CONSUL_READ, on_mark_read);
}

/* ---- the session ------------------------------------------------------------------------------------------------- */

static void on_destroyed(ds_consul_call *call, const ds_consul_answer *answer) {
    (void)answer;
    ds_consul_drop_left(call->consul);
    call->failed = on_not_tidied;
    call->leaver_at = 0;
    tidy_next(call);
}

static bool on_not_destroyed(ds_consul_call *call, const ds_consul_result *result) {
    if (result->outcome != DS_LOST) {
        return false;
    }
    ds_consul_finish_place(call, DS_PLACE_DONE);
    return true;
}

static void destroy(ds_consul_call *call) {
    call->failed = on_not_destroyed;
    ds_consul_step(call, DS_CONSUL_DESTROY, on_destroyed);
}

/* ---- what it holds ----------------------------------------------------------------------------------------------- */

static size_t end_of_batch(const ds_consul_call *call) {
    size_t most = call->leaver_at + DS_CONSUL_OPS_MAX / OPS_OF_ONE;
    return most < call->leaver_count ? most : call->leaver_count;
}

static void on_given_back(ds_consul_call *call, const ds_consul_answer *answer) {
    size_t end = end_of_batch(call);
    bool spoilt = false;
    for (size_t i = call->leaver_at; i < end; i++) {
        ds_consul_leaver *leaver = &call->leavers[i];
        if (leaver->owns && ds_consul_failed(answer, leaver->op)) {
            leaver->owns = false; /* somebody has taken the lock away: without that one, again */
            spoilt = true;
        }
        ds_consul_key_waiting(call->consul, &call->waiting, leaver->path);
        leaver->contended = !call->waiting.failed && ds_consul_find(answer, call->waiting.data) != NULL;
    }
    if (!spoilt) {
        call->leaver_at = end;
    }
    give_back(call);
}

static void add_one(ds_consul_call *call, ds_consul_txn *txn, ds_consul_leaver *leaver) {
    const ds_consul *consul = call->consul;
    ds_consul_key_native(consul, &call->native, leaver->path);
    ds_consul_key_entry(consul, &call->own, leaver->path, leaver->nonce);
    ds_consul_key_waiting(consul, &call->waiting, leaver->path);
    if (call->native.failed || call->own.failed || call->waiting.failed) {
        txn->body.failed = true;
        return;
    }
    leaver->op = txn->count;
    if (leaver->owns) {
        ds_consul_if_session(txn, call->native.data, call->id);
        ds_consul_delete(txn, call->native.data);
    }
    ds_consul_delete(txn, call->own.data);
    ds_consul_tree(txn, call->waiting.data);
}

static void give_back(ds_consul_call *call) {
    if (call->leaver_at == call->leaver_count) {
        destroy(call);
        return;
    }
    ds_consul_txn *txn = ds_consul_txn_of(call);
    size_t end = end_of_batch(call);
    for (size_t i = call->leaver_at; i < end; i++) {
        add_one(call, txn, &call->leavers[i]);
    }
    ds_consul_step(call, DS_CONSUL_TXN, on_given_back);
}

/* Without memory for the list its locks are free only when the lock-delay is over. */
static void list_places(ds_consul_call *call, const ds_consul_lease *impl) {
    size_t count = 0;
    for (const ds_list *node = impl->places.next; node != &impl->places; node = node->next) {
        count++;
    }
    call->leavers = count > 0 ? ds_calloc(count, sizeof(*call->leavers)) : NULL;
    for (ds_list *node = impl->places.next; call->leavers != NULL && node != &impl->places; node = node->next) {
        const ds_consul_place *place = DS_LIST_ENTRY(node, ds_consul_place, node);
        ds_consul_leaver *leaver = &call->leavers[call->leaver_count];
        memcpy(leaver->nonce, place->nonce, sizeof(leaver->nonce));
        leaver->owns = place->standing == DS_CONSUL_OWNER;
        leaver->path = ds_strdup(place->path);
        if (leaver->path == NULL) {
            return;
        }
        call->leaver_count++;
    }
}

/* ---- close ------------------------------------------------------------------------------------------------------- */

/* Opening may have got as far as a session that we never heard of. */
static void on_listed(ds_consul_call *call, const ds_consul_answer *answer) {
    for (const ds_json *item = ds_json_first(answer->json); item != NULL; item = ds_json_next(item)) {
        const char *found = ds_json_is_object(item) ? ds_json_text(item, "Name") : NULL;
        const char *id = found != NULL ? ds_json_text(item, "ID") : NULL;
        if (found != NULL && strcmp(found, call->text.data) == 0 && ds_consul_is_session_id(id)) {
            snprintf(call->id, sizeof(call->id), "%s", id);
            destroy(call);
            return;
        }
    }
    ds_consul_finish_place(call, DS_PLACE_DONE);
}

void ds_consul_close(ds_backend *backend, ds_call *owner, const ds_lease *lease) {
    ds_consul_call *call = ds_consul_begin(backend, owner, lease);
    if (call == NULL) {
        return;
    }
    char name[DS_CONSUL_NAME_SIZE];
    ds_consul_session_name(name, sizeof(name), lease);
    ds_buf_add_text(&call->text, name);
    if (ds_consul_no_memory(call)) {
        return;
    }
    if (lease->impl == NULL) {
        ds_consul_refuse_later(call, DS_LOST, DSYNC_OK, "Consul: the session was never opened");
    } else if (lease->id[0] == '\0') {
        ds_consul_step(call, DS_CONSUL_LIST, on_listed);
    } else {
        list_places(call, lease->impl);
        give_back(call);
    }
}
