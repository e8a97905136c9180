/* consul_kv.c: /v1/kv of the model: single keys, listings, and what native clients write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consul_model.h"

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Of one key that is there: of its last change. Of one that is not: of any change. */
static int64_t index_of_one(const cm_view *view, const cm_row *row) {
    return row != NULL ? row->modify : view->index;
}

static int read_one(const cm_view *view, const cm_query *query, ds_buf *out, int64_t *index) {
    const cm_row *row = cm_find(view, query->key);
    *index = index_of_one(view, row);
    if (row == NULL) {
        return 404;
    }
    if (query->raw) {
        ds_buf_add(out, row->value, row->value_size);
        return 200;
    }
    ds_buf_add_char(out, '[');
    cm_print_row(out, row, true);
    ds_buf_add_char(out, ']');
    return 200;
}

/* Deleted keys are remembered for a while, all together here: a listing's index may move without need. */
static int read_below(const cm_view *view, const cm_query *query, ds_buf *out, int64_t *index) {
    size_t count = 0;
    *index = view->grave;
    for (size_t i = 0; i < view->count; i++) {
        const cm_row *row = view->rows[i];
        if (strncmp(row->key, query->key, strlen(query->key)) != 0) {
            continue;
        }
        *index = row->modify > *index ? row->modify : *index;
        ds_buf_add_text(out, count++ == 0 ? "[" : ",");
        if (query->keys) {
            ds_json_add_text(out, row->key, row->key_size);
        } else {
            cm_print_row(out, row, true);
        }
    }
    *index = count > 0 ? *index : view->index;
    ds_buf_add_text(out, count > 0 ? "]" : "");
    return count > 0 ? 200 : 404;
}

int cm_read(const cm *e, const cm_view *view, const cm_query *query, ds_buf *out, int64_t *index) {
    (void)e;
    int status = query->prefix ? read_below(view, query, out, index) : read_one(view, query, out, index);
    *index = *index > 0 ? *index : 1;
    return status;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static int boolean(ds_buf *out, bool value) {
    ds_buf_add_text(out, value ? "true" : "false");
    return 200;
}

static cm_row *written(cm *e, const sim_question *question, const char *key, const cm_row *before) {
    char *flags = cm_param(question->target, "flags");
    cm_row *row = cm_make(e, key, before);
    cm_set_value(row, question->body, question->body_size);
    row->flags = flags != NULL ? strtoull(flags, NULL, 10) : 0;
    row->modify = cm_next_index(e);
    if (before == NULL) {
        row->create = row->modify;
        row->client = question->host->number;
    }
    (void)sim_alloc(flags, 0);
    return row;
}

static int acquire(cm *e, const sim_question *question, const char *key, const char *session, ds_buf *out) {
    const cm_row *before = cm_find(&e->now, key);
    char text[100];
    if (cm_delayed(e, key)) {
        return boolean(out, false);
    }
    if (cm_session_find(e, session) == NULL) {
        (void)snprintf(text, sizeof text, "invalid session \"%s\"", session);
        return cm_error(out, 500, text);
    }
    bool mine = before != NULL && strcmp(before->session, session) == 0;
    if (before != NULL && before->session[0] != '\0' && !mine) {
        return boolean(out, false);
    }
    cm_row *row = written(e, question, key, before);
    row->lock_index += !mine;
    (void)snprintf(row->session, sizeof row->session, "%s", session);
    cm_change_one(e, before, row, question->host->number, CHK_LEFT);
    return boolean(out, true);
}

static int release(cm *e, const sim_question *question, const char *key, const char *session, ds_buf *out) {
    const cm_row *before = cm_find(&e->now, key);
    if (before == NULL || strcmp(before->session, session) != 0) {
        return boolean(out, false);
    }
    cm_row *row = written(e, question, key, before);
    row->session[0] = '\0';
    cm_change_one(e, before, row, question->host->number, CHK_LEFT);
    return boolean(out, true);
}

static bool stale(const cm_row *row, const char *cas) {
    return cas != NULL && strtoll(cas, NULL, 10) != (row != NULL ? row->modify : 0);
}

static int put(cm *e, const sim_question *question, const char *key, const char *cas, ds_buf *out) {
    const cm_row *before = cm_find(&e->now, key);
    if (stale(before, cas)) {
        return boolean(out, false);
    }
    cm_row *row = written(e, question, key, before);
    row->lock_index = 0;
    cm_change_one(e, before, row, question->host->number, CHK_LEFT);
    return boolean(out, true);
}

int cm_kv_put(cm *e, const sim_question *question, ds_buf *out) {
    char *key = cm_path(question->target, "/v1/kv/"), *session = cm_param(question->target, "acquire");
    char *leaving = cm_param(question->target, "release"), *cas = cm_param(question->target, "cas");
    int status = session != NULL   ? acquire(e, question, key, session, out)
                 : leaving != NULL ? release(e, question, key, leaving, out)
                                   : put(e, question, key, cas, out);
    (void)sim_alloc(key, 0);
    (void)sim_alloc(session, 0);
    (void)sim_alloc(leaving, 0);
    (void)sim_alloc(cas, 0);
    return status;
}

int cm_kv_delete(cm *e, const sim_question *question, ds_buf *out) {
    char *key = cm_path(question->target, "/v1/kv/"), *cas = cm_param(question->target, "cas");
    const cm_row *before = cm_find(&e->now, key);
    bool fine = before == NULL || !stale(before, cas);
    if (before != NULL && fine) {
        cm_change_one(e, before, NULL, question->host->number, CHK_LEFT);
    }
    (void)sim_alloc(key, 0);
    (void)sim_alloc(cas, 0);
    return boolean(out, fine);
}
