/* memory_watcher.h: a watch on a client of memory_fixture.h that notes what it is told. */
#ifndef MEMORY_WATCHER_H
#define MEMORY_WATCHER_H

#include "memory_fixture.h"

typedef struct watcher {
    ds_watch watch;
    fw *universe;
    client *client;
    char log[256]; /* "ready put:1=value del:1=value ended ": a key is its nonce without zeros */
    int64_t ready, last;
    ds_class outcome;
    unsigned count;
    bool stop; /* unwatches at the next event */
} watcher;

static const char *short_key(const char *key) {
    const char *dash = strrchr(key, '-');
    return dash != NULL ? dash + 1 + strspn(dash + 1, "0") : key;
}

TEST_PRINTF(2, 3) static void note(watcher *w, const char *format, ...) {
    size_t size = strlen(w->log);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(w->log + size, sizeof(w->log) - size, format, arguments);
    va_end(arguments);
}

static void on_event(ds_watch *watch, const ds_watch_event *event) {
    watcher *w = DS_CONTAINER_OF(watch, watcher, watch);
    CHECK(fw_turn(w->universe) != 0);
    CHECK((watch->impl == NULL) == (event->kind == DS_WATCH_ENDED));
    CHECK(event->revision >= w->last || event->kind == DS_WATCH_READY);
    w->last = event->revision;
    w->count++;
    switch (event->kind) {
    case DS_WATCH_READY:
        w->ready = event->revision;
        note(w, "ready ");
        break;
    case DS_WATCH_PUT:
    case DS_WATCH_DELETED:
        CHECK((event->token > 0 || event->kind == DS_WATCH_DELETED) && event->token <= event->revision);
        note(w, "%s:%s=%.*s ", event->kind == DS_WATCH_PUT ? "put" : "del", short_key(event->key),
             (int)event->value_size, event->value);
        break;
    case DS_WATCH_CHANGED: /* this store names every change */
        CHECK(false);
        break;
    case DS_WATCH_ENDED:
        w->outcome = event->outcome;
        CHECK(event->message[0] != '\0');
        note(w, "ended ");
        break;
    }
    if (w->stop) {
        w->client->backend->ops->unwatch(w->client->backend, watch);
    }
}

static void watch(watcher *w, client *c, const ds_watch_spec *spec) {
    *w = (watcher){.watch = {.on_event = on_event}, .universe = c->universe, .client = c};
    CHECK(c->backend->ops->watch(c->backend, &w->watch, spec));
    CHECK_EQ_UINT(w->count, 0);
}

TEST_UNUSED static void watch_entry(watcher *w, client *c, const place *p, bool deletes_only, int64_t since) {
    char *key = NULL;
    CHECK(c->backend->ops->entry_key(c->backend, &p->entry, &key));
    ds_watch_spec spec = {.key = key, .deletes_only = deletes_only, .since = since};
    watch(w, c, &spec);
    ds_free(key);
}

/* What was seen since the last look. */
TEST_UNUSED static const char *seen(watcher *w) {
    static char text[256];
    fw_settle(w->universe);
    keep_text(text, sizeof(text), w->log);
    w->log[0] = '\0';
    return text;
}

TEST_UNUSED static void unwatch(watcher *w) {
    w->client->backend->ops->unwatch(w->client->backend, &w->watch);
    CHECK_NULL(w->watch.impl);
}

TEST_UNUSED static int64_t revision_of(client *c) {
    answer a;
    CALL(c, &a, ping);
    return a.reply.revision;
}

TEST_UNUSED static void write_value(client *c, const place *p, const char *value) {
    ds_write write = {.kind = DS_WRITE_VALUE, .entry = &p->entry, .value = value, .value_size = strlen(value)};
    answer a;
    CALL(c, &a, write, &write);
    CHECK_EQ_INT(a.reply.place, DS_PLACE_DONE);
}

#endif
