/* events.c: what a client has to tell its host: results that were asked for, losses, notices. */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOTICES_MAX 256 /* waiting to be taken; more are dropped: they are for people */

static void show_pending(dsync_client *client) {
    if (client->signalled) {
        return;
    }
    if (client->event_fd >= 0) {
        uint64_t one = 1;
        client->signalled = write(client->event_fd, &one, sizeof one) == (ssize_t)sizeof one;
    }
    if (client->event_socket >= 0) {
        /* A full socket has bytes the host has yet to read: they say the same. */
        (void)!send(client->event_socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        client->signalled = true;
    }
}

static void show_drained(dsync_client *client) {
    if (client->signalled && client->event_fd >= 0) {
        uint64_t count;
        (void)!read(client->event_fd, &count, sizeof count);
    }
    client->signalled = false;
}

/* A way of showing that did not exist when events began to wait has to be told now. */
static void show_again(dsync_client *client) {
    if (client->has_events) {
        client->signalled = false;
        show_pending(client);
    }
}

void ds_events_hide(dsync_client *client) {
    if (client->event_fd >= 0) {
        close(client->event_fd);
    }
    if (client->event_socket >= 0) {
        close(client->event_socket);
    }
    client->event_fd = -1;
    client->event_socket = -1;
}

void ds_event_push(dsync_client *client, ds_event_node *event) {
    if (!ds_list_empty(&event->node)) {
        return; /* not taken yet: it says the same */
    }
    ds_list_append(&client->events, &event->node);
    atomic_fetch_add(&client->event_count, 1);
    client->has_events = true;
    show_pending(client);
    ds_loop_wake_waiters(client->loop);
}

static void take(dsync_client *client, ds_event_node *event) {
    ds_list_remove(&event->node);
    atomic_fetch_sub(&client->event_count, 1);
    client->has_events = !ds_list_empty(&client->events);
}

void ds_event_withdraw(dsync_client *client, ds_event_node *event) {
    if (!ds_list_empty(&event->node)) {
        take(client, event);
        if (ds_list_empty(&client->events)) {
            show_drained(client); /* or the descriptor would stay readable for nothing */
        }
    }
}

void ds_events_free(dsync_client *client) {
    while (!ds_list_empty(&client->events)) {
        ds_event_node *event = DS_LIST_ENTRY(client->events.next, ds_event_node, node);
        take(client, event);
        if (event->loose) {
            ds_free(event);
        }
    }
}

void ds_notice(void *context, const char *name, const char *message) {
    dsync_client *client = context;
    if (!client->want_notices || client->notices >= NOTICES_MAX) {
        return;
    }
    ds_event_node *event = ds_calloc(1, sizeof *event);
    if (event == NULL) {
        return;
    }
    event->loose = true;
    event->event.type = DSYNC_EVENT_NOTICE;
    snprintf(event->event.name, sizeof event->event.name, "%s", name);
    snprintf(event->event.message, sizeof event->event.message, "%s", message);
    ds_list_init(&event->node);
    client->notices++;
    ds_event_push(client, event);
}

int dsync_next_event(dsync_client *client, dsync_event *event) {
    if (ds_forked(client, NULL) || atomic_load(&client->event_count) == 0) {
        return 0;
    }
    ds_loop_lock(client->loop);
    bool found = !ds_list_empty(&client->events);
    if (found) {
        ds_event_node *first = DS_LIST_ENTRY(client->events.next, ds_event_node, node);
        *event = first->event;
        take(client, first);
        if (first->event.type == DSYNC_EVENT_NOTICE) {
            client->notices--;
        }
        if (first->loose) {
            ds_free(first);
        }
    }
    if (ds_list_empty(&client->events)) {
        show_drained(client);
    }
    ds_loop_unlock(client->loop);
    return found;
}

int dsync_wait_event(dsync_client *client, int64_t timeout_ms) {
    if (ds_forked(client, NULL)) {
        return 0;
    }
    ds_loop_lock(client->loop);
    bool found = ds_loop_wait(client->loop, &client->has_events, ds_deadline_in(timeout_ms));
    ds_loop_unlock(client->loop);
    return found;
}

int dsync_fd(dsync_client *client, dsync_error *error) {
    if (!ds_client_enter(client, error)) {
        return -1;
    }
    if (client->event_fd < 0) {
        client->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (client->event_fd < 0) {
            ds_error_set(error, DSYNC_RESOURCE, "no descriptor for events: %s", strerror(errno));
        } else {
            show_again(client);
        }
    }
    int fd = client->event_fd;
    ds_client_leave(client);
    return fd;
}

dsync_code dsync_event_socket(dsync_client *client, int socket, dsync_error *error) {
    dsync_error failure = {0};
    if (!ds_client_enter(client, &failure)) {
        return ds_error_set(error, failure.code, "%s", failure.message);
    }
    int copy = socket < 0 ? -1 : fcntl(socket, F_DUPFD_CLOEXEC, 3);
    dsync_code code = DSYNC_OK;
    if (socket >= 0 && copy < 0) {
        code = ds_error_set(error, DSYNC_RESOURCE, "no descriptor for events: %s", strerror(errno));
    } else {
        if (client->event_socket >= 0) {
            close(client->event_socket);
        }
        client->event_socket = copy;
        show_again(client);
    }
    ds_client_leave(client);
    return code;
}

void dsync_want_notices(dsync_client *client, int wanted) {
    if (!ds_forked(client, NULL)) {
        ds_loop_lock(client->loop);
        client->want_notices = wanted != 0;
        ds_loop_unlock(client->loop);
    }
}
