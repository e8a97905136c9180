/* consul_store.c: the model's keys, and what they were before. Knows nothing of what keys mean. */
#include <string.h>

#include "consul_model.h"

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static char *copy_bytes(const char *data, size_t size) {
    char *copy = sim_alloc(NULL, size + 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    copy[size] = '\0';
    return copy;
}

cm_row *cm_make(cm *e, const char *key, const cm_row *like) {
    cm_row *row = sim_alloc(NULL, sizeof *row);
    memset(row, 0, sizeof *row);
    if (like != NULL) {
        *row = *like;
    }
    row->key_size = strlen(key);
    row->key = copy_bytes(key, row->key_size);
    row->value = copy_bytes(like != NULL ? like->value : "", row->value_size);
    row->next_made = e->made;
    e->made = row;
    return row;
}

void cm_set_value(cm_row *row, const char *value, size_t size) {
    (void)sim_alloc(row->value, 0);
    row->value = copy_bytes(value, size);
    row->value_size = size;
}

/* ---- views ------------------------------------------------------------------------------------------------------- */

const cm_row *cm_find(const cm_view *view, const char *key) {
    for (size_t i = 0; i < view->count; i++) {
        if (strcmp(view->rows[i]->key, key) == 0) {
            return view->rows[i];
        }
    }
    return NULL;
}

void cm_view_copy(const cm_view *view, cm_view *out) {
    *out = *view;
    out->capacity = view->count + 8;
    out->rows = sim_alloc(NULL, out->capacity * sizeof *out->rows);
    if (view->count > 0) {
        memcpy(out->rows, view->rows, view->count * sizeof *out->rows);
    }
}

void cm_view_free(cm_view *view) {
    (void)sim_alloc(view->rows, 0);
    memset(view, 0, sizeof *view);
}

/* In the order of the keys, as a listing shows them. */
static void insert(cm_view *view, const cm_row *row) {
    if (view->count == view->capacity) {
        view->capacity = view->capacity == 0 ? 16 : view->capacity * 2;
        view->rows = sim_alloc(view->rows, view->capacity * sizeof *view->rows);
    }
    size_t at = view->count++;
    for (; at > 0 && strcmp(view->rows[at - 1]->key, row->key) > 0; at--) {
        view->rows[at] = view->rows[at - 1];
    }
    view->rows[at] = row;
}

static size_t place_of(const cm_view *view, const cm_row *row) {
    size_t at = 0;
    while (view->rows[at] != row) {
        at++;
    }
    return at;
}

void cm_view_set(cm_view *view, const cm_row *before, const cm_row *after) {
    if (before != NULL && after != NULL) {
        view->rows[place_of(view, before)] = after;
    } else if (after != NULL) {
        insert(view, after);
    } else if (before != NULL) {
        size_t at = place_of(view, before);
        memmove(&view->rows[at], &view->rows[at + 1], (view->count - at - 1) * sizeof *view->rows);
        view->count--;
    }
}

void cm_view_back(const cm *e, size_t changes, cm_view *out) {
    cm_view_copy(&e->now, out);
    for (size_t i = e->change_count; i > 0 && changes > 0; i--, changes--) {
        const cm_change *change = &e->changes[i - 1];
        cm_view_set(out, change->after, change->before);
        out->grave = change->grave_before;
        out->index = i > 1 ? e->changes[i - 2].index : e->base_index;
    }
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

int64_t cm_next_index(const cm *e) {
    return e->now.index + 1;
}

static void note_change(cm *e, int64_t index, const cm_row *before, const cm_row *after) {
    if (e->change_count == e->change_capacity) {
        e->change_capacity = e->change_capacity == 0 ? 128 : e->change_capacity * 2;
        e->changes = sim_alloc(e->changes, e->change_capacity * sizeof *e->changes);
    }
    e->changes[e->change_count++] = (cm_change){e->s->now_ns, index, e->now.grave, before, after};
}

/* Both are sorted: what is in one only, or not the same, has changed. */
static void note_changes(cm *e, const cm_view *fresh, int64_t index) {
    size_t a = 0, b = 0;
    while (a < e->now.count || b < fresh->count) {
        const cm_row *old = a < e->now.count ? e->now.rows[a] : NULL, *made = b < fresh->count ? fresh->rows[b] : NULL;
        int order = old == NULL ? 1 : made == NULL ? -1 : strcmp(old->key, made->key);
        if (order != 0 || old != made) {
            note_change(e, index, order <= 0 ? old : NULL, order >= 0 ? made : NULL);
        }
        a += order <= 0;
        b += order >= 0;
    }
}

static bool deletes(const cm *e, size_t first) {
    for (size_t i = first; i < e->change_count; i++) {
        if (e->changes[i].after == NULL) {
            return true;
        }
    }
    return false;
}

void cm_commit(cm *e, cm_view *fresh, unsigned by, chk_cause cause) {
    size_t first = e->change_count;
    int64_t index = cm_next_index(e), grave = e->now.grave;
    note_changes(e, fresh, index);
    (void)sim_alloc(e->now.rows, 0);
    e->now = *fresh;
    *fresh = (cm_view){0};
    /* Other things are written to the same log. */
    e->now.index = index + sim_between(e->s, 0, 2);
    e->now.grave = deletes(e, first) ? index : grave;
    cm_tell(e, first, by, cause);
    cm_wake(e);
}

void cm_change_one(cm *e, const cm_row *before, cm_row *after, unsigned by, chk_cause cause) {
    cm_view fresh;
    cm_view_copy(&e->now, &fresh);
    cm_view_set(&fresh, before, after);
    cm_commit(e, &fresh, by, cause);
}

/* ---- an older state ---------------------------------------------------------------------------------------------- */

static void revive_sessions(cm *e, int64_t until_ns) {
    for (size_t i = 0; i < e->session_count; i++) {
        cm_session *session = &e->sessions[i];
        bool alive = session->made_ns <= until_ns && session->ended_ns > until_ns;
        session->ended_ns = alive ? DS_NEVER : session->ended_ns < e->s->now_ns ? session->ended_ns : e->s->now_ns;
        if (alive) {
            cm_session_extend(e, session);
        }
    }
}

/* The state of `until_ns` is the present one again. A running cluster goes on counting from where it was; one that was
 * built anew from the older state does not. */
void cm_restore(cm *e, int64_t until_ns, bool keep_index) {
    size_t back = 0;
    until_ns = until_ns > e->restored_ns ? until_ns : e->restored_ns;
    e->restored_ns = e->s->now_ns;
    while (back < e->change_count && e->changes[e->change_count - 1 - back].at_ns > until_ns) {
        back++;
    }
    int64_t index = e->now.index;
    cm_view gone = e->now, old;
    cm_view_back(e, back, &old);
    e->now = old;
    e->now.index = keep_index ? index + 1 : old.index;
    e->change_count = 0;
    e->base_index = e->now.index;
    revive_sessions(e, until_ns);
    cm_tell_restored(e, &gone);
    cm_view_free(&gone);
}

void cm_free(cm *e) {
    while (e->made != NULL) {
        cm_row *row = e->made;
        e->made = row->next_made;
        (void)sim_alloc(row->key, 0);
        (void)sim_alloc(row->value, 0);
        (void)sim_alloc(row, 0);
    }
    for (size_t i = 0; i < e->session_count; i++) {
        (void)sim_alloc(e->sessions[i].name, 0);
        (void)sim_alloc(e->sessions[i].ttl, 0);
    }
    for (size_t i = 0; i < e->delay_count; i++) {
        (void)sim_alloc(e->delays[i].key, 0);
    }
    cm_view_free(&e->now);
    (void)sim_alloc(e->changes, 0);
    (void)sim_alloc(e->sessions, 0);
    (void)sim_alloc(e->delays, 0);
    (void)sim_alloc(e, 0);
}
