/* http.c: the life of requests: asked for, queued, on the wire, ended. What they carry, how libcurl is set up and what
 * their end means is in the other http_ files.
 *
 * Whatever the core asks for is only put on a list: the core may ask from inside libcurl's own callbacks, or while
 * another thread polls. ds_http_run works the lists off.
 */
#include "http_internal.h"

#include <stdio.h>

/* More requests than this at once only make a server slower. Urgent requests and streams do not count. */
#define WIRE_MAX 32u
#define MESSAGE_SIZE 480

/* ---- ending ------------------------------------------------------------------------------------------------------ */

void ds_http_leave_wire(ds_http *http) {
    ds_http_client *client = http->client;
    (void)curl_multi_remove_handle(client->multi, http->easy);
    ds_http_duplex_end(http);
    client->in_multi--;
    if (http->counted) {
        http->counted = false;
        client->on_wire--;
    }
}

static void tell(ds_http *http, const ds_http_result *result) {
    ds_http_sink *sink = http->sink;
    http->sink = NULL;
    http->state = DS_HTTP_ENDING;
    ds_list_remove(&http->node);
    ds_list_remove(&http->upload_node);
    ds_timer_stop(http->client->world, &http->deadline);
    if (result->fate == DS_HTTP_NOT_SENT) {
        ds_http_host_suspect(http->client, http->host);
    }
    if (sink != NULL) {
        sink->on_done(sink, result);
    }
    ds_http_recycle(http);
}

static void end_early(ds_http *http, ds_http_fate fate, dsync_code code, const char *why) {
    char text[MESSAGE_SIZE];
    ds_http_result result;
    ds_http_judge_early(http, fate, code, why, &result, text, sizeof(text));
    tell(http, &result);
}

void ds_http_on_deadline(ds_timer *timer) {
    ds_http *http = DS_CONTAINER_OF(timer, ds_http, deadline);
    char text[MESSAGE_SIZE];
    ds_http_result result;
    ds_http_judge_timeout(http, &result, text, sizeof(text));
    if (http->state == DS_HTTP_ACTIVE) {
        ds_sigpipe guard;
        ds_sigpipe_begin(http->client, &guard);
        ds_http_leave_wire(http);
        ds_sigpipe_end(&guard);
    }
    tell(http, &result);
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static void enter_wire(ds_http *http) {
    ds_http_client *client = http->client;
    CURLcode refused = ds_http_options_request(http);
    if (refused != CURLE_OK) {
        bool memory = refused == CURLE_OUT_OF_MEMORY;
        end_early(http, memory ? DS_HTTP_NOT_SENT : DS_HTTP_REFUSED, memory ? DSYNC_RESOURCE : DSYNC_CONFIG,
                  curl_easy_strerror(refused));
        return;
    }
    if ((http->duplex && !ds_http_duplex_begin(http)) || curl_multi_add_handle(client->multi, http->easy) != CURLM_OK) {
        ds_http_duplex_end(http);
        end_early(http, DS_HTTP_NOT_SENT, DSYNC_RESOURCE, "out of memory");
        return;
    }
    client->in_multi++;
    http->counted = !http->urgent && !http->stream;
    client->on_wire += http->counted ? 1u : 0u;
    http->state = DS_HTTP_ACTIVE;
    ds_list_append(&client->active, &http->node);
}

static void wait_for_address(ds_http *http) {
    ds_world *world = http->client->world;
    int64_t latest = ds_now(world) + http->client->connect_timeout_ms * DS_MS;
    http->state = DS_HTTP_RESOLVING;
    ds_list_append(&http->host->waiting, &http->node);
    if (latest < http->ends_ns) {
        ds_timer_set(world, &http->deadline, latest);
    }
}

static void start(ds_http *http) {
    if (http->unsound != NULL) {
        end_early(http, DS_HTTP_REFUSED, DSYNC_CONFIG, http->unsound);
        return;
    }
    switch (ds_http_host_look(http->client, http->host)) {
    case DS_HTTP_ADDRESS_KNOWN:
        enter_wire(http);
        break;
    case DS_HTTP_ADDRESS_SOON:
        wait_for_address(http);
        break;
    case DS_HTTP_ADDRESS_NONE:
        end_early(http, DS_HTTP_NOT_SENT, DSYNC_RESOURCE, "cannot look up the address: out of memory or threads");
        break;
    }
}

void ds_http_host_ready(ds_http_client *client, ds_http_host *host, const char *problem) {
    ds_list all;
    ds_list *node;
    ds_list_init(&all);
    ds_list_splice(&all, &host->waiting);
    while ((node = ds_list_pop(&all)) != NULL) {
        ds_http *http = DS_LIST_ENTRY(node, ds_http, node);
        if (problem == NULL) {
            http->state = DS_HTTP_NEW;
            ds_list_append(&client->fresh, &http->node);
            if (http->ends_ns == DS_NEVER) {
                ds_timer_stop(client->world, &http->deadline);
            } else {
                ds_timer_set(client->world, &http->deadline, http->ends_ns);
            }
        } else {
            char why[200];
            (void)snprintf(why, sizeof(why), "cannot find the host's address (%s)", problem);
            end_early(http, DS_HTTP_NOT_SENT, DSYNC_OK, why);
        }
    }
}

static bool has_room(const ds_http_client *client) {
    return client->on_wire < WIRE_MAX;
}

static void start_all(ds_http_client *client) {
    ds_list *node;
    while (!ds_list_empty(&client->queue) && has_room(client)) {
        start(DS_LIST_ENTRY(ds_list_pop(&client->queue), ds_http, node));
    }
    while ((node = ds_list_pop(&client->fresh)) != NULL) {
        ds_http *http = DS_LIST_ENTRY(node, ds_http, node);
        if (http->urgent || http->stream || has_room(client)) {
            start(http);
        } else {
            http->state = DS_HTTP_QUEUED;
            ds_list_append(&client->queue, &http->node);
        }
    }
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

void ds_http_drop_cancelled(ds_http_client *client) {
    ds_list *node;
    while ((node = ds_list_pop(&client->cancelled)) != NULL) {
        ds_http *http = DS_LIST_ENTRY(node, ds_http, node);
        ds_http_leave_wire(http);
        ds_http_recycle(http);
    }
}

static void report_ended(ds_http_client *client) {
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        CURLcode curl = message->data.result; /* the message is gone with the handle */
        char *private = NULL;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        ds_http *http = (ds_http *)(void *)private;
        char text[MESSAGE_SIZE];
        ds_http_result result;
        ds_http_judge(http, curl, &result, text, sizeof(text));
        ds_http_leave_wire(http);
        tell(http, &result);
    }
}

void ds_http_run(ds_http_client *client) {
    ds_sigpipe guard;
    ds_sigpipe_begin(client, &guard);
    ds_http_drop_cancelled(client);
    ds_http_duplex_resume(client);
    start_all(client);
    if (client->in_multi > 0) {
        int running;
        (void)curl_multi_perform(client->multi, &running);
        report_ended(client);
        ds_http_duplex_look(client);
    }
    ds_sigpipe_end(&guard);
}

bool ds_http_pending(const ds_http_client *client) {
    return !ds_list_empty(&client->fresh) || !ds_list_empty(&client->cancelled) || !ds_list_empty(&client->uploads) ||
           (!ds_list_empty(&client->queue) && has_room(client));
}

bool ds_http_busy(const ds_http_client *client) {
    return client->in_multi > 0;
}

bool ds_http_look_at(ds_http_client *client, const ds_list *fds) {
    unsigned at = client->watched_count;
    client->brought_count = 0;
    for (const ds_list *node = fds->next; node != fds; node = node->next, at++) {
        const ds_fd *fd = DS_LIST_ENTRY(node, const ds_fd, node);
        if (!ds_http_watch_room(client, (size_t)at + 1)) {
            return false;
        }
        int events = ((fd->want & DS_FD_READ) != 0 ? CURL_WAIT_POLLIN : 0) |
                     ((fd->want & DS_FD_WRITE) != 0 ? CURL_WAIT_POLLOUT : 0);
        client->watched[at] = (struct curl_waitfd){.fd = fd->fd, .events = (short)events};
    }
    client->brought_count = at - client->watched_count;
    return true;
}

bool ds_http_poll(ds_http_client *client, int timeout_ms) {
    CURLMcode result = curl_multi_poll(client->multi, client->watched, client->watched_count + client->brought_count,
                                       timeout_ms, NULL);
    return result == CURLM_OK;
}

void ds_http_wake(ds_http_client *client) {
    (void)curl_multi_wakeup(client->multi);
}

/* ---- what the core asks for -------------------------------------------------------------------------------------- */

ds_http *ds_http_start(ds_http_client *client, const ds_http_request *request, ds_http_sink *sink) {
    ds_http_host *host = ds_http_host_get(client, request->endpoint);
    ds_http *http = host != NULL ? ds_http_take_spare(client) : NULL;
    if (http == NULL) {
        return NULL;
    }
    http->host = host;
    if (!ds_http_prepare(http, request)) {
        ds_http_recycle(http);
        return NULL;
    }
    int64_t now = ds_now(client->world);
    http->sink = sink;
    http->ends_ns = request->timeout_ns < DS_NEVER - now ? now + request->timeout_ns : DS_NEVER;
    if (http->ends_ns != DS_NEVER) {
        ds_timer_set(client->world, &http->deadline, http->ends_ns);
    }
    http->state = DS_HTTP_NEW;
    ds_list_append(&client->fresh, &http->node);
    return http;
}

void ds_http_cancel(ds_http_client *client, ds_http *http) {
    http->sink = NULL;
    if (http->state == DS_HTTP_ACTIVE) {
        http->state = DS_HTTP_CANCELLED;
        ds_timer_stop(client->world, &http->deadline);
        ds_list_remove(&http->upload_node);
        ds_list_remove(&http->node);
        ds_list_append(&client->cancelled, &http->node);
    } else if (http->state != DS_HTTP_CANCELLED && http->state != DS_HTTP_ENDING) {
        ds_http_recycle(http);
    }
}
