/* consul_txn.c: transactions of the model, from JSON to JSON: every operation is tried, and all errors are told. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "consul_model.h"

#define OPERATIONS_MAX 64
#define WHAT_MAX 400

static const ds_json_limits limits = {32, 100000};

typedef struct work {
    cm *e;
    cm_view *view;
    unsigned client;
    int64_t index; /* of what it writes */
    ds_buf results, errors;
    size_t at;
} work;

typedef struct operation {
    const char *verb, *key, *session;
    ds_buf value;
    uint64_t flags;
    int64_t index;
} operation;

void cm_print_row(ds_buf *out, const cm_row *row, bool with_value) {
    ds_buf_add_format(out, "{\"LockIndex\":%lld,\"Key\":", (long long)row->lock_index);
    ds_json_add_text(out, row->key, row->key_size);
    ds_buf_add_format(out, ",\"Flags\":%llu,\"Value\":", (unsigned long long)row->flags);
    if (with_value && row->value_size > 0) {
        ds_buf_add_char(out, '"');
        ds_buf_add_base64(out, row->value, row->value_size);
        ds_buf_add_char(out, '"');
    } else {
        ds_buf_add_text(out, "null");
    }
    if (row->session[0] != '\0') {
        ds_buf_add_format(out, ",\"Session\":\"%s\"", row->session);
    }
    ds_buf_add_format(out, ",\"CreateIndex\":%lld,\"ModifyIndex\":%lld}", (long long)row->create,
                      (long long)row->modify);
}

static void result(work *w, const cm_row *row, bool with_value) {
    ds_buf_add_text(&w->results, w->results.size > 0 ? ",{\"KV\":" : "{\"KV\":");
    cm_print_row(&w->results, row, with_value);
    ds_buf_add_char(&w->results, '}');
}

static void fail(work *w, const char *format, ...) DS_PRINTF(2, 3);

static void fail(work *w, const char *format, ...) {
    char what[WHAT_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    ds_buf_add_format(&w->errors, "%s{\"OpIndex\":%zu,\"What\":", w->errors.size > 0 ? "," : "", w->at);
    ds_json_add_text(&w->errors, what, length < WHAT_MAX ? (size_t)length : WHAT_MAX - 1);
    ds_buf_add_char(&w->errors, '}');
}

/* ---- writes ------------------------------------------------------------------------------------------------------ */

/* A changed or new row with the operation's value; still to be given its session. */
static cm_row *write_row(work *w, const operation *op, const cm_row *before) {
    cm_row *row = cm_make(w->e, op->key, before);
    cm_set_value(row, op->value.data, op->value.size);
    row->flags = op->flags;
    row->modify = w->index;
    if (before == NULL) {
        row->create = w->index;
        row->client = w->client;
    }
    return row;
}

static void put(work *w, const cm_row *before, const cm_row *after) {
    cm_view_set(w->view, before, after);
    result(w, after, false);
}

static void set(work *w, const operation *op, const cm_row *before) {
    cm_row *row = write_row(w, op, before);
    row->lock_index = 0;
    put(w, before, row);
}

static void lock(work *w, const operation *op, const cm_row *before) {
    bool mine = before != NULL && strcmp(before->session, op->session) == 0;
    if (op->session[0] == '\0') {
        fail(w, "missing session");
    } else if (cm_session_find(w->e, op->session) == NULL) {
        fail(w, "invalid session \"%s\"", op->session);
    } else if (before != NULL && before->session[0] != '\0' && !mine) {
        fail(w, "failed to lock key \"%s\", lock is already held", op->key);
    } else {
        cm_row *row = write_row(w, op, before);
        row->lock_index += !mine;
        (void)snprintf(row->session, sizeof row->session, "%s", op->session);
        put(w, before, row);
    }
}

static void unlock(work *w, const operation *op, const cm_row *before) {
    if (op->session[0] == '\0') {
        fail(w, "missing session");
    } else if (before == NULL || strcmp(before->session, op->session) != 0) {
        fail(w, "failed to unlock key \"%s\", lock isn't held, or is held by another session", op->key);
    } else {
        cm_row *row = write_row(w, op, before);
        row->session[0] = '\0';
        put(w, before, row);
    }
}

static void cas(work *w, const operation *op, const cm_row *before) {
    if (op->index != (before != NULL ? before->modify : 0)) {
        fail(w, "failed to set key \"%s\", index is stale", op->key);
    } else {
        set(w, op, before);
    }
}

static void delete_one(work *w, const operation *op, const cm_row *before) {
    (void)op;
    cm_view_set(w->view, before, NULL);
}

static void delete_cas(work *w, const operation *op, const cm_row *before) {
    if (before != NULL && before->modify != op->index) {
        fail(w, "failed to delete key \"%s\", index is stale", op->key);
    } else {
        cm_view_set(w->view, before, NULL);
    }
}

static bool below(const cm_row *row, const operation *op) {
    return strncmp(row->key, op->key, strlen(op->key)) == 0;
}

static void delete_tree(work *w, const operation *op, const cm_row *before) {
    (void)before;
    for (size_t i = 0; i < w->view->count;) {
        if (below(w->view->rows[i], op)) {
            cm_view_set(w->view, w->view->rows[i], NULL);
        } else {
            i++;
        }
    }
}

/* ---- reads ------------------------------------------------------------------------------------------------------- */

static void get(work *w, const operation *op, const cm_row *row) {
    if (row == NULL) {
        fail(w, "key \"%s\" doesn't exist", op->key);
    } else {
        result(w, row, true);
    }
}

static void get_tree(work *w, const operation *op, const cm_row *row) {
    (void)row;
    for (size_t i = 0; i < w->view->count; i++) {
        if (below(w->view->rows[i], op)) {
            result(w, w->view->rows[i], true);
        }
    }
}

static void check_session(work *w, const operation *op, const cm_row *row) {
    if (row == NULL) {
        fail(w, "failed to check session, key \"%s\" doesn't exist", op->key);
    } else if (strcmp(row->session, op->session) != 0) {
        fail(w, "failed session check for key \"%s\", current session \"%s\" != \"%s\"", op->key, row->session,
             op->session);
    } else {
        result(w, row, false);
    }
}

static void check_index(work *w, const operation *op, const cm_row *row) {
    if (row == NULL) {
        fail(w, "failed to check index, key \"%s\" doesn't exist", op->key);
    } else if (row->modify != op->index) {
        fail(w, "failed index check for key \"%s\", current modify index %lld != %lld", op->key, (long long)row->modify,
             (long long)op->index);
    } else {
        result(w, row, false);
    }
}

static void check_not_exists(work *w, const operation *op, const cm_row *row) {
    if (row != NULL) {
        fail(w, "key \"%s\" exists", op->key);
    }
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *verb;
    bool writes;
    void (*run)(work *w, const operation *op, const cm_row *row);
} verbs[] = {
    {"set", true, set},
    {"lock", true, lock},
    {"unlock", true, unlock},
    {"cas", true, cas},
    {"delete", true, delete_one},
    {"delete-cas", true, delete_cas},
    {"delete-tree", true, delete_tree},
    {"get", false, get},
    {"get-tree", false, get_tree},
    {"check-session", false, check_session},
    {"check-index", false, check_index},
    {"check-not-exists", false, check_not_exists},
};

static size_t verb_of(const operation *op) {
    size_t at = 0;
    while (at < DS_COUNT(verbs) && strcmp(verbs[at].verb, op->verb) != 0) {
        at++;
    }
    return at;
}

static const char *text_or_empty(const ds_json *object, const char *name) {
    const char *text = ds_json_text(object, name);
    return text != NULL ? text : "";
}

static bool parse(const ds_json *item, operation *op) {
    const ds_json *kv = ds_json_object(item, "KV");
    const char *value = ds_json_text(kv, "Value");
    *op = (operation){.verb = text_or_empty(kv, "Verb"), .key = text_or_empty(kv, "Key")};
    op->session = text_or_empty(kv, "Session");
    (void)ds_json_uint64(kv, "Flags", &op->flags);
    (void)ds_json_int64(kv, "Index", &op->index);
    return kv != NULL && (value == NULL || ds_base64_decode(value, strlen(value), &op->value));
}

/* What the leader refuses before anything is tried: then nothing else is told. */
static void check_before(work *w, const operation *ops, size_t count) {
    for (w->at = 0; w->at < count; w->at++) {
        if (ops[w->at].key[0] == '\0') {
            fail(w, "Must provide key");
        } else if (strcmp(ops[w->at].verb, "lock") == 0 && cm_delayed(w->e, ops[w->at].key)) {
            fail(w, "failed to lock key \"%s\" due to lock delay", ops[w->at].key);
        }
    }
}

static void run(work *w, const operation *ops, size_t count) {
    for (w->at = 0; w->at < count; w->at++) {
        size_t verb = verb_of(&ops[w->at]);
        if (verb == DS_COUNT(verbs)) {
            fail(w, "unknown KV verb \"%s\"", ops[w->at].verb);
        } else {
            verbs[verb].run(w, &ops[w->at], cm_find(w->view, ops[w->at].key));
        }
    }
}

static int answer(work *w, bool writing, ds_buf *out) {
    bool failed = w->errors.size > 0;
    ds_buf_add_text(out, failed ? "{\"Results\":null,\"Errors\":[" : "{\"Results\":[");
    ds_buf_add(out, failed ? w->errors.data : w->results.data, failed ? w->errors.size : w->results.size);
    ds_buf_add_text(out, failed ? "]" : "],\"Errors\":null");
    ds_buf_add_text(out,
                    writing ? "}" : ",\"Index\":0,\"LastContact\":0,\"KnownLeader\":true,\"ConsistencyLevel\":\"\"}");
    return failed ? 409 : 200;
}

static int execute(cm *e, const cm_view *seen, const sim_question *question, const operation *ops, size_t count,
                   ds_buf *out) {
    bool writing = false;
    for (size_t i = 0; i < count; i++) {
        size_t verb = verb_of(&ops[i]);
        writing = writing || (verb < DS_COUNT(verbs) && verbs[verb].writes);
    }
    cm_view fresh;
    cm_view_copy(writing ? &e->now : seen, &fresh);
    work w = {.e = e, .view = &fresh, .client = question->host->number, .index = cm_next_index(e)};
    check_before(&w, ops, count);
    if (w.errors.size == 0) {
        run(&w, ops, count);
    }
    if (!writing) {
        cm_headers(question, 0, true);
    } else if (w.errors.size == 0) {
        cm_commit(e, &fresh, w.client, CHK_LEFT);
    } else {
        e->now.index++; /* a refused one is in the log as well */
    }
    int status = answer(&w, writing, out);
    cm_view_free(&fresh);
    ds_buf_free(&w.results);
    ds_buf_free(&w.errors);
    return status;
}

/* `view`: what a transaction that only reads sees. */
int cm_txn(cm *e, const cm_view *view, const sim_question *question, ds_buf *out) {
    operation ops[OPERATIONS_MAX];
    size_t count = 0;
    bool no_memory, fine = true;
    ds_json *request = ds_json_parse(question->body, question->body_size, &limits, &no_memory, NULL);
    for (const ds_json *item = ds_json_first(request); fine && item != NULL; item = ds_json_next(item)) {
        fine = count < OPERATIONS_MAX && parse(item, &ops[count]);
        count += fine;
    }
    int status = request != NULL && fine ? execute(e, view, question, ops, count, out)
                                         : cm_error(out, 400, "Failed to parse body: model: not a transaction");
    for (size_t i = 0; i < count; i++) {
        ds_buf_free(&ops[i].value);
    }
    ds_json_free(request);
    return status;
}
