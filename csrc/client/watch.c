/* watch.c: watchers: changes of elections, queued until the host takes them. */
#include <stdio.h>
#include <string.h>

#include "client.h"

#define CHANGES_MAX 4096 /* not taken yet; then the oldest go, and the next one says that some were missed */

static dsync_watcher *watcher_of(ds_observer *observer) {
    return DS_CONTAINER_OF(observer, dsync_watcher, observer);
}

static void change_free(ds_queued_change *queued) {
    if (queued != NULL) {
        ds_value_free(&queued->value);
        ds_free(queued->name);
        ds_free(queued->name_space);
        ds_free(queued);
    }
}

static void announce(dsync_watcher *watcher) {
    watcher->something = true;
    ds_event_push(watcher->client, &watcher->event);
    ds_loop_wake_waiters(watcher->client->loop);
}

static bool copy_text(char **to, const char *from, size_t size) {
    *to = from != NULL ? ds_memdup(from, size) : NULL;
    return from == NULL || *to != NULL;
}

static ds_queued_change *copy(dsync_watcher *watcher, ds_change_kind kind, const char *path, const ds_member *member) {
    static const char *const types[] = {[DS_CHANGE_JOINED] = "joined",
                                        [DS_CHANGE_CHANGED] = "changed",
                                        [DS_CHANGE_LEFT] = "left",
                                        [DS_CHANGE_ELECTED] = "elected",
                                        [DS_CHANGE_VACANT] = "vacant"};
    ds_queued_change *queued = ds_calloc(1, sizeof *queued);
    if (queued == NULL) {
        return NULL;
    }
    ds_list_init(&queued->node);
    if (!ds_path_names(watcher->client, path, true, &queued->name, &queued->name_space)) {
        change_free(queued);
        return NULL;
    }
    if (member != NULL) {
        const ds_value *value = &member->value;
        queued->value.value_size = value->value_size;
        queued->value.value_is_json = value->value_is_json;
        if (!copy_text(&queued->value.id, value->id, value->id != NULL ? strlen(value->id) : 0) ||
            !copy_text(&queued->value.value, value->value, value->value_size)) {
            change_free(queued);
            return NULL;
        }
    }
    queued->change = (dsync_change){.type = types[kind],
                                    .name = queued->name,
                                    .name_space = queued->name_space,
                                    .id = queued->value.id,
                                    .value = queued->value.value,
                                    .value_size = queued->value.value_size,
                                    .value_is_json = queued->value.value_is_json,
                                    .token = member != NULL ? member->token : 0};
    return queued;
}

static void on_change(ds_observer *observer, ds_change_kind kind, const char *path, const ds_member *member,
                      bool missed) {
    dsync_watcher *watcher = watcher_of(observer);
    ds_queued_change *queued = copy(watcher, kind, path, member);
    if (queued == NULL) {
        watcher->missed = true;
        return;
    }
    if (watcher->change_count >= CHANGES_MAX) {
        ds_list *oldest = ds_list_pop(&watcher->changes);
        change_free(DS_LIST_ENTRY(oldest, ds_queued_change, node));
        watcher->change_count--;
        DS_LIST_ENTRY(watcher->changes.next, ds_queued_change, node)->change.missed = 1;
    }
    queued->change.missed = missed || watcher->missed;
    watcher->missed = false;
    ds_list_append(&watcher->changes, &queued->node);
    watcher->change_count++;
    announce(watcher);
}

static void on_end(ds_observer *observer, dsync_code code, const char *message) {
    dsync_watcher *watcher = watcher_of(observer);
    watcher->ended = true;
    ds_error_set(&watcher->end, code, "%s", message);
    announce(watcher);
}

static bool watched_path(dsync_client *client, const char *name_space, const char *name, const char *key, ds_buf *path,
                         dsync_error *error) {
    dsync_lock_options options;
    dsync_lock_options_init(&options);
    options.name_space = name_space;
    options.key = key;
    bool all = name == NULL && key == NULL;
    /* With any valid name in its place, the path of a namespace is checked like the others. */
    if (!ds_lock_path(client, name != NULL ? name : "-", &options, true, path, error)) {
        return false;
    }
    if (all) {
        path->size -= strlen("/-");
        path->data[path->size] = '\0';
    }
    return true;
}

dsync_watcher *dsync_watch(dsync_client *client, const char *name_space, const char *name, const char *key,
                           dsync_error *error) {
    ds_buf path = DS_BUF_EMPTY;
    if (!ds_client_enter(client, error)) {
        return NULL;
    }
    if (!watched_path(client, name_space, name, key, &path, error)) {
        ds_buf_free(&path);
        ds_client_leave(client);
        return NULL;
    }
    dsync_watcher *watcher = ds_calloc(1, sizeof *watcher);
    if (watcher != NULL) {
        watcher->client = client;
        watcher->number = ds_next_number();
        watcher->observer.on_change = on_change;
        watcher->observer.on_end = on_end;
        watcher->event.event.type = DSYNC_EVENT_WATCH;
        watcher->event.event.number = watcher->number;
        ds_list_init(&watcher->event.node);
        ds_list_init(&watcher->changes);
    }
    if (watcher == NULL ||
        !ds_observer_start(client->engine, &watcher->observer, path.data, name == NULL && key == NULL)) {
        ds_error_no_memory(error);
        ds_free(watcher);
        watcher = NULL;
    } else {
        dsync_client_ref(client);
    }
    ds_buf_free(&path);
    ds_client_leave(client);
    return watcher;
}

int dsync_watch_next(dsync_watcher *watcher, dsync_change *change, dsync_error *error) {
    dsync_client *client = watcher->client;
    int result = 0;
    if (ds_forked(client, error)) {
        return -1;
    }
    ds_loop_lock(client->loop);
    change_free(watcher->current);
    watcher->current = NULL;
    ds_list *first = ds_list_pop(&watcher->changes);
    if (first != NULL) {
        watcher->current = DS_LIST_ENTRY(first, ds_queued_change, node);
        watcher->change_count--;
        *change = watcher->current->change;
        result = 1;
    } else if (watcher->ended) {
        ds_error_set(error, watcher->end.code, "%s", watcher->end.message);
        result = -1;
    }
    watcher->something = !ds_list_empty(&watcher->changes) || watcher->ended;
    ds_loop_unlock(client->loop);
    return result;
}

int dsync_watch_wait(dsync_watcher *watcher, int64_t timeout_ms) {
    if (ds_forked(watcher->client, NULL)) {
        return 1;
    }
    ds_loop_lock(watcher->client->loop);
    bool something = ds_loop_wait(watcher->client->loop, &watcher->something, ds_deadline_in(timeout_ms));
    ds_loop_unlock(watcher->client->loop);
    return something;
}

uint64_t dsync_watcher_number(const dsync_watcher *watcher) {
    return watcher->number;
}

void dsync_watcher_close(dsync_watcher *watcher) {
    if (ds_forked(watcher->client, NULL)) {
        return;
    }
    ds_loop_lock(watcher->client->loop);
    ds_observer_end(&watcher->observer, DSYNC_CLOSED, "the watcher was closed");
    ds_loop_unlock(watcher->client->loop);
}

void dsync_watcher_free(dsync_watcher *watcher) {
    if (watcher == NULL || ds_forked(watcher->client, NULL)) {
        return;
    }
    dsync_client *client = watcher->client;
    dsync_watcher_close(watcher);
    ds_loop_lock(client->loop);
    ds_event_withdraw(client, &watcher->event);
    ds_loop_unlock(client->loop);
    ds_list *link;
    while ((link = ds_list_pop(&watcher->changes)) != NULL) {
        change_free(DS_LIST_ENTRY(link, ds_queued_change, node));
    }
    change_free(watcher->current);
    ds_free(watcher);
    dsync_client_unref(client);
}
