/* consul_record.c: tells the checker whose entries come and go, and who holds: the native key of a lock says which
 * session has it, and which of that session's entries it is the history tells.
 */
#include <stdio.h>
#include <string.h>

#include "consul_model.h"

/* Which lock a key is an entry of, or (`native`) the native key of; -1: none. */
static int lock_of(const char *key, bool native) {
    for (unsigned i = 0; i < SIM_LOCKS; i++) {
        size_t length = strlen(sim_path_of(i));
        if (strncmp(key, sim_path_of(i), length) == 0 &&
            (native ? strcmp(key + length, "/.lock") == 0 : strncmp(key + length, "/.queue/", 8) == 0)) {
            return (int)i;
        }
    }
    return -1;
}

static void tell_entry(cm *e, chk_kind kind, const cm_row *row, chk_cause cause) {
    static const char *const causes[] = {"left", "expired", "taken"};
    int lock = lock_of(row->key, false);
    if (lock < 0) {
        return;
    }
    sim *s = e->s;
    sim_note(s, "server: entry %lld of lock %d %s%s (client %u)", (long long)row->create, lock,
             kind == CHK_ENTER ? "made" : "gone: ", kind == CHK_ENTER ? "" : causes[cause], row->client);
    (void)sim_see(s, &(chk_event){.kind = kind,
                                  .at_ns = s->now_ns,
                                  .client = row->client,
                                  .lock = (unsigned)lock,
                                  .token = row->create,
                                  .until_ns = kind == CHK_GONE ? e->limit_ns : 0,
                                  .cause = cause});
}

static void tell_data(cm *e, const cm_row *row) {
    int64_t token = 0;
    int lock = sim_lock_of_data(row->key, row->key_size, row->value, &token);
    if (lock >= 0) {
        sim *s = e->s;
        s->counts->data_writes++;
        sim_note(s, "server: guarded write of token %lld under lock %d", (long long)token, lock);
        (void)sim_see(s, &(chk_event){.kind = CHK_DATA, .at_ns = s->now_ns, .lock = (unsigned)lock, .token = token});
    }
}

/* ---- who holds --------------------------------------------------------------------------------------------------- */

static const cm_row *entry_of(const cm *e, unsigned lock, int64_t token) {
    for (size_t i = 0; i < e->now.count; i++) {
        if (e->now.rows[i]->create == token && lock_of(e->now.rows[i]->key, false) == (int)lock) {
            return e->now.rows[i];
        }
    }
    return NULL;
}

/* Who took the native key last wrote its entry in the same step. A native key that was written by others since is still
 * its owner's. */
static const cm_row *holder(const cm *e, unsigned lock) {
    const cm_row *native = NULL, *before = entry_of(e, lock, e->owner[lock]), *first = NULL;
    for (size_t i = 0; i < e->now.count; i++) {
        native = lock_of(e->now.rows[i]->key, true) == (int)lock ? e->now.rows[i] : native;
    }
    if (native == NULL || native->session[0] == '\0') {
        return NULL;
    }
    for (size_t i = 0; i < e->now.count; i++) {
        const cm_row *row = e->now.rows[i];
        if (lock_of(row->key, false) != (int)lock || strcmp(row->session, native->session) != 0) {
            continue;
        }
        if (row->modify == native->modify) {
            return row;
        }
        first = first == NULL || row->create < first->create ? row : first;
    }
    return before != NULL && strcmp(before->session, native->session) == 0 ? before : first;
}

static void tell_owner(cm *e, unsigned lock, unsigned by) {
    sim *s = e->s;
    const cm_row *now = holder(e, lock), *before = entry_of(e, lock, e->owner[lock]);
    int64_t token = now != NULL ? now->create : 0;
    if (token == e->owner[lock]) {
        return;
    }
    if (before != NULL && before->client != by) {
        sim_note(s, "server: lock %u is taken from entry %lld", lock, (long long)before->create);
        (void)sim_see(s, &(chk_event){.kind = CHK_ROBBED, .at_ns = s->now_ns, .lock = lock, .token = before->create});
    }
    e->owner[lock] = token;
    sim_note(s, "server: lock %u is held by entry %lld", lock, (long long)token);
    (void)sim_see(s, &(chk_event){.kind = CHK_OWNER, .at_ns = s->now_ns, .lock = lock, .token = token});
}

static void tell_owners(cm *e, unsigned by) {
    for (unsigned i = 0; i < SIM_LOCKS; i++) {
        tell_owner(e, i, by);
    }
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

/* Of an entry that is deleted by a client: by its own or by another. */
static chk_cause cause_of(const cm_row *row, unsigned by, chk_cause cause) {
    return cause == CHK_LEFT && row->client != by ? CHK_TAKEN : cause;
}

void cm_tell(cm *e, size_t first, unsigned by, chk_cause cause) {
    size_t end = e->change_count;
    for (size_t i = first; i < end; i++) {
        const cm_change *change = &e->changes[i];
        if (change->after == NULL || (change->before != NULL && change->before->create != change->after->create)) {
            tell_entry(e, CHK_GONE, change->before, cause_of(change->before, by, cause));
        }
    }
    for (size_t i = first; i < end; i++) {
        const cm_change *change = &e->changes[i];
        if (change->after != NULL && (change->before == NULL || change->before->create != change->after->create)) {
            tell_entry(e, CHK_ENTER, change->after, CHK_LEFT);
        }
    }
    tell_owners(e, by);
    for (size_t i = first; i < end; i++) {
        if (e->changes[i].after != NULL) {
            tell_data(e, e->changes[i].after);
        }
    }
}

void cm_tell_restored(cm *e, const cm_view *gone) {
    sim *s = e->s;
    for (size_t i = 0; i < gone->count; i++) {
        const cm_row *row = cm_find(&e->now, gone->rows[i]->key);
        if (row == NULL || row->create != gone->rows[i]->create) {
            tell_entry(e, CHK_GONE, gone->rows[i], CHK_TAKEN);
        }
    }
    (void)sim_see(s, &(chk_event){.kind = CHK_RESTORE, .at_ns = s->now_ns});
    for (size_t i = 0; i < e->now.count; i++) {
        const cm_row *row = cm_find(gone, e->now.rows[i]->key);
        if (row == NULL || row->create != e->now.rows[i]->create) {
            tell_entry(e, CHK_ENTER, e->now.rows[i], CHK_LEFT);
        }
    }
    tell_owners(e, CM_NOBODY);
}
