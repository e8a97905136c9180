/* scripted_watch.c: the test's side of a scripted backend: its log, its shortcuts for answers, and watches. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_world_parts.h"
#include "scripted_parts.h"

/* ---- log --------------------------------------------------------------------------------------------------------- */

void sb_note(sb *b, const char *format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    size_t used = strlen(b->log);
    (void)snprintf(b->log + used, sizeof(b->log) - used, "%s%s", used > 0 ? " | " : "", text);
}

const char *sb_log(sb *b) {
    memcpy(b->taken, b->log, sizeof(b->log));
    b->log[0] = '\0';
    return b->taken;
}

/* ---- which calls are answered how -------------------------------------------------------------------------------- */

void sb_hold(sb *b, sb_op op) {
    b->held[op] = true;
}

void sb_hold_all(sb *b) {
    memset(b->held, 1, sizeof(b->held));
}

void sb_release(sb *b, sb_op op) {
    b->held[op] = false;
}

void sb_release_all(sb *b) {
    memset(b->held, 0, sizeof(b->held));
}

static bool is_pending(const sb_call *call, sb_op op) {
    return call->op == op && !call->over && !call->answered;
}

bool sb_has_pending(const sb *b, sb_op op) {
    for (size_t i = 0; i < b->call_count; i++) {
        if (is_pending(b->calls[i], op)) {
            return true;
        }
    }
    return false;
}

sb_call *sb_pending(sb *b, sb_op op) {
    for (size_t i = 0; i < b->call_count; i++) {
        if (is_pending(b->calls[i], op)) {
            return b->calls[i];
        }
    }
    fw_misuse("no call of kind %d waits; log: %s", (int)op, b->log);
}

size_t sb_count(const sb *b, sb_op op) {
    size_t count = 0;
    for (size_t i = 0; i < b->call_count; i++) {
        count += b->calls[i]->op == op;
    }
    return count;
}

sb_call *sb_last(sb *b, sb_op op) {
    for (size_t i = b->call_count; i-- > 0;) {
        if (b->calls[i]->op == op) {
            return b->calls[i];
        }
    }
    fw_misuse("no call of kind %d was made; log: %s", (int)op, b->log);
}

static void answer_now(sb *b, sb_op op, const ds_reply *reply) {
    sb_answer(sb_pending(b, op), 0, reply);
    fw_settle(b->universe);
}

void sb_ok(sb *b, sb_op op, ds_place place) {
    ds_reply reply = {.outcome = DS_OK, .place = place};
    answer_now(b, op, &reply);
}

void sb_ok_behind(sb *b, sb_op op, const char *ahead) {
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_WAITING, .ahead = ahead};
    answer_now(b, op, &reply);
}

void sb_fail(sb *b, sb_op op, ds_class outcome, const char *message) {
    ds_reply reply = {.outcome = outcome, .message = message};
    answer_now(b, op, &reply);
}

void sb_refuse(sb *b, sb_op op, dsync_code code, const char *message) {
    ds_reply reply = {.outcome = DS_REFUSED, .code = code, .message = message};
    answer_now(b, op, &reply);
}

/* ---- watches ----------------------------------------------------------------------------------------------------- */

typedef struct message {
    ds_task task;
    ds_watch_event event;
    sb_watch *watch;
    char key[300], value[600];
} message;

static void say(ds_task *task) {
    message *m = DS_CONTAINER_OF(task, message, task);
    sb_watch *w = m->watch;
    ds_watch *watch = w->watch;
    if (w->on) {
        if (m->event.kind == DS_WATCH_ENDED) {
            w->on = false;
            watch->impl = NULL;
        }
        watch->on_event(watch, &m->event);
    }
    free(m);
}

static void post_event(sb_watch *w, const ds_watch_event *event) {
    message *m = fw_alloc(NULL, sizeof(*m));
    memset(m, 0, sizeof(*m));
    ds_list_init(&m->task.node);
    m->task.run = say;
    m->watch = w;
    m->event = *event;
    if (event->key != NULL) {
        (void)snprintf(m->key, sizeof(m->key), "%s", event->key);
        m->event.key = m->key;
    }
    if (event->value != NULL) {
        (void)snprintf(m->value, sizeof(m->value), "%s", event->value);
        m->event.value = m->value;
        m->event.value_size = strlen(m->value);
    }
    ds_post(w->owner->base.world, &m->task);
}

void sb_event(sb_watch *w, const ds_watch_event *event) {
    if (w == NULL || !w->on) {
        fw_misuse("an event for a watch that is off");
    }
    post_event(w, event);
    fw_settle(w->owner->universe);
}

void sb_deleted(sb_watch *w, const char *value) {
    sb_event(w, &(ds_watch_event){.kind = DS_WATCH_DELETED,
                                  .key = w != NULL ? w->key : NULL,
                                  .value = value,
                                  .revision = w != NULL ? ++w->owner->revision : 0});
}

void sb_ended(sb_watch *w) {
    sb_event(w, &(ds_watch_event){.kind = DS_WATCH_ENDED, .outcome = DS_NOT_EXECUTED, .message = "the stream broke"});
}

void sb_put(sb_watch *w, const char *key, int64_t token, const char *value) {
    sb_event(w, &(ds_watch_event){.kind = DS_WATCH_PUT,
                                  .key = key,
                                  .value = value,
                                  .token = token,
                                  .revision = w != NULL ? ++w->owner->revision : 0});
}

void sb_gone(sb_watch *w, const char *key) {
    sb_event(w,
             &(ds_watch_event){.kind = DS_WATCH_DELETED, .key = key, .revision = w != NULL ? ++w->owner->revision : 0});
}

static void name_watch(sb *b, sb_watch *w, const ds_watch_spec *spec) {
    const char *last = strrchr(spec->key, '/');
    (void)snprintf(w->name, sizeof(w->name), "%s", spec->key);
    for (size_t i = 0; last != NULL && i < b->entry_count; i++) {
        if (strcmp(last + 1, b->entries[i]) == 0) {
            (void)snprintf(w->name, sizeof(w->name), "e%zu", i + 1);
        }
    }
    if (strstr(spec->key, "/session/") != NULL && spec->lease != NULL) {
        (void)snprintf(w->name, sizeof(w->name), "s%zu", sb_session_number(b, spec->lease->nonce));
    }
}

bool sb_watch_op(ds_backend *base, ds_watch *watch, const ds_watch_spec *spec) {
    sb *b = sb_of(base);
    if (watch->impl != NULL || watch->on_event == NULL) {
        fw_misuse("a watch on %s was begun twice, or nobody listens", spec->key);
    }
    if (b->watch_fails) {
        return false;
    }
    sb_watch *w = fw_alloc(NULL, sizeof(*w));
    memset(w, 0, sizeof(*w));
    (void)snprintf(w->key, sizeof(w->key), "%s", spec->key);
    w->subtree = spec->subtree;
    w->deletes_only = spec->deletes_only;
    w->keys_only = spec->keys_only;
    w->since = spec->since;
    w->asker = spec->asker != NULL ? spec->asker->nonce : 0;
    w->on = true;
    w->owner = b;
    w->watch = watch;
    name_watch(b, w, spec);
    watch->impl = w;
    b->watches = fw_alloc(b->watches, (b->watch_count + 1) * sizeof(sb_watch *));
    b->watches[b->watch_count++] = w;
    if (!b->watch_silent) {
        post_event(
            w, &(ds_watch_event){.kind = DS_WATCH_READY, .revision = spec->since > 0 ? spec->since - 1 : b->revision});
    }
    return true;
}

void sb_unwatch_op(ds_backend *base, ds_watch *watch) {
    (void)base;
    sb_watch *w = watch->impl;
    if (w != NULL) {
        w->on = false;
        watch->impl = NULL;
    }
}

sb_watch *sb_watching(sb *b, const char *name) {
    for (size_t i = 0; i < b->watch_count; i++) {
        if (b->watches[i]->on && strcmp(b->watches[i]->name, name) == 0) {
            return b->watches[i];
        }
    }
    return NULL;
}

size_t sb_watches_on(const sb *b) {
    size_t count = 0;
    for (size_t i = 0; i < b->watch_count; i++) {
        count += b->watches[i]->on;
    }
    return count;
}
