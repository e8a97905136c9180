/* h2_link.c: a connection's life: where it goes, when it is there, whether anybody is at the other end, and its end.
 * What is said over it is not its business, nor which requests it takes.
 */
#include "h2.h"

#if __has_include(<nghttp2/nghttp2.h>)

#include "h2_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

/* Requests at once that neither are urgent nor last. What waits here for its turn is certain not to have been executed
 * when its time is over; what waits in a busy server is not. */
#define STREAMS_MAX 100u

/* etcd puts up with questions that are five seconds apart, and counts those that come sooner. */
#define ASK_AFTER_NS (10 * DS_SECOND)

static int64_t patience_ns(const ds_h2_link *link) {
    return 2 * link->client->connect_timeout_ns;
}

static void timer_in(ds_h2_link *link, int64_t length_ns) {
    ds_timer_set(link->client->world, &link->timer, ds_now(link->client->world) + length_ns);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void part(ds_h2_link *link) {
    if (link->host->link == link) {
        link->host->link = NULL;
    }
    link->news = link->client->news = true;
}

void ds_h2_link_fail(ds_h2_link *link, dsync_code code, bool not_http2, const char *format, ...) {
    if (link->failed) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(link->failure.text, sizeof(link->failure.text), format, arguments);
    va_end(arguments);
    link->failure.code = code;
    link->failure.not_http2 = not_http2;
    link->failed = true;
    part(link);
}

void ds_h2_link_leave(ds_h2_link *link) {
    link->leaving = true;
    part(link);
}

void ds_h2_link_free(ds_h2_link *link) {
    ds_world *world = link->client->world;
    ds_list_remove(&link->node);
    ds_timer_stop(world, &link->timer);
    ds_timer_stop(world, &link->courtesy);
    ds_h2_dial_end(&link->dial);
    if (link->session != NULL) {
        nghttp2_session_del(link->session);
    }
    if (link->fd.fd >= 0) {
        world->ops->fd_unwatch(world, &link->fd);
        (void)close(link->fd.fd);
    }
    if (link->host->link == link) {
        link->host->link = NULL;
    }
    ds_wipe(link->out.data, link->out.size);
    ds_buf_free(&link->out);
    ds_free(link);
}

/* ---- the beginning ----------------------------------------------------------------------------------------------- */

static void on_dialled(ds_h2_dial *dial, int fd, int err) {
    ds_h2_link *link = DS_CONTAINER_OF(dial, ds_h2_link, dial);
    if (fd < 0) {
        const char *hint = ds_http_connect_hint(err);
        bool resource = err == EMFILE || err == ENFILE || err == ENOMEM;
        ds_h2_link_fail(link, resource ? DSYNC_RESOURCE : DSYNC_OK, false, "%s",
                        hint != NULL ? hint : "cannot connect");
        ds_h2_host_suspect(link->host);
        return;
    }
    link->fd.fd = fd;
    if (!ds_h2_session_begin(link)) {
        ds_h2_link_fail(link, DSYNC_RESOURCE, false, "out of memory");
        return;
    }
    link->stage = DS_H2_GREETING;
    link->news = link->client->news = true;
    timer_in(link, patience_ns(link));
    ds_h2_link_watch(link);
}

static void dial(ds_h2_link *link) {
    link->stage = DS_H2_DIAL;
    timer_in(link, link->client->connect_timeout_ns);
    if (link->host->unix_path != NULL) {
        ds_h2_dial_unix(&link->dial, link->host->unix_path);
    } else {
        ds_h2_dial_begin(&link->dial, link->host->addresses, link->host->port);
    }
}

void ds_h2_link_looked_up(ds_h2_link *link, const char *problem) {
    if (problem != NULL) {
        ds_h2_link_fail(link, DSYNC_OK, false, "cannot find the host's address (%s)", problem);
    } else if (!link->failed) {
        dial(link);
    }
}

void ds_h2_link_up(ds_h2_link *link) {
    link->stage = DS_H2_UP;
    link->news = link->client->news = true;
    ds_timer_stop(link->client->world, &link->timer);
}

/* ---- is anybody there? ------------------------------------------------------------------------------------------- */

static void give_up(ds_h2_link *link) {
    double seconds = (double)link->client->connect_timeout_ns / 1e9;
    switch (link->stage) {
    case DS_H2_LOOKUP:
        ds_h2_link_fail(link, DSYNC_OK, false, "looking up the host's address takes too long; is the name server up?");
        break;
    case DS_H2_DIAL:
        ds_h2_link_fail(link, DSYNC_OK, false, "no connection within %.3g s; is the server up and the address right?",
                        seconds);
        ds_h2_host_suspect(link->host);
        break;
    default:
        ds_h2_link_fail(link, DSYNC_OK, false, "connected, but not a word from the server within %.3g s; does it hang?",
                        2 * seconds);
        break;
    }
}

static void on_timer(ds_timer *timer) {
    ds_h2_link *link = DS_CONTAINER_OF(timer, ds_h2_link, timer);
    int64_t now = ds_now(link->client->world);
    if (link->stage != DS_H2_UP) {
        give_up(link);
    } else if (link->asked_ns > 0 && now - link->asked_ns >= patience_ns(link)) {
        ds_h2_link_fail(link, DSYNC_OK, false, "the server has fallen silent: no sign of life within %.3g s",
                        (double)patience_ns(link) / 1e9);
    } else if (link->asked_ns > 0) {
        ds_timer_set(link->client->world, timer, link->asked_ns + patience_ns(link));
    } else if (link->count > 0 && now - link->heard_ns < ASK_AFTER_NS) {
        ds_timer_set(link->client->world, timer, link->heard_ns + ASK_AFTER_NS);
    } else if (link->count > 0) {
        ds_h2_ask(link);
        timer_in(link, patience_ns(link));
    }
}

void ds_h2_link_suspect(ds_h2_link *link) {
    if (link->failed || link->suspect) {
        return;
    }
    link->suspect = true;
    part(link);
    if (link->asked_ns == 0) {
        ds_h2_ask(link);
        timer_in(link, patience_ns(link));
    }
}

void ds_h2_link_heard(ds_h2_link *link) {
    link->heard_ns = ds_now(link->client->world);
    link->asked_ns = 0;
    if (link->suspect) {
        link->suspect = false;
        if (!link->leaving && !link->failed && link->host->link == NULL) {
            link->host->link = link;
        } else {
            link->leaving = true; /* another one has taken its place */
        }
    }
}

/* ---- at work ----------------------------------------------------------------------------------------------------- */

bool ds_h2_link_has_room(const ds_h2_link *link, const ds_h2_request *request) {
    uint32_t most = nghttp2_session_get_remote_settings(link->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return link->count < most && (request->urgent || request->stream || link->count < STREAMS_MAX);
}

void ds_h2_link_watch(ds_h2_link *link) {
    ds_world *world = link->client->world;
    bool unwritten = link->out_written < link->out.size;
    bool idle = link->stage == DS_H2_UP && link->count == 0 && link->asked_ns == 0 && !unwritten;
    unsigned want = DS_FD_READ | (unwritten ? DS_FD_WRITE : 0);
    if (idle) {
        world->ops->fd_unwatch(world, &link->fd);
        ds_timer_stop(world, &link->timer);
        return;
    }
    if (want != link->fd.want || ds_list_empty(&link->fd.node)) {
        link->fd.want = want;
        world->ops->fd_watch(world, &link->fd);
    }
    if (link->stage == DS_H2_UP && link->timer.index == 0) {
        timer_in(link, ASK_AFTER_NS);
    }
}

ds_h2_link *ds_h2_link_new(ds_h2_host *host) {
    ds_h2_client *client = host->client;
    ds_h2_link *link = ds_calloc(1, sizeof(*link));
    if (link == NULL) {
        return NULL;
    }
    link->client = client;
    link->host = host;
    link->timer.fire = on_timer;
    link->courtesy.fire = ds_h2_link_on_courtesy;
    link->dial.world = client->world;
    link->dial.done = on_dialled;
    link->dial.timeout_ns = client->connect_timeout_ns;
    link->fd.fd = -1;
    link->fd.want = DS_FD_READ;
    link->fd.ready = ds_h2_link_ready;
    ds_list_init(&link->fd.node);
    ds_list_init(&link->active);
    ds_list_append(&client->links, &link->node);
    host->link = link;
    switch (ds_h2_host_look(host)) {
    case DS_H2_ADDRESS_KNOWN:
        dial(link);
        break;
    case DS_H2_ADDRESS_SOON:
        link->stage = DS_H2_LOOKUP;
        timer_in(link, client->connect_timeout_ns);
        break;
    case DS_H2_ADDRESS_NONE:
        ds_h2_link_fail(link, DSYNC_RESOURCE, false, "cannot look up the address: out of memory or threads");
        break;
    }
    return link;
}

#endif
