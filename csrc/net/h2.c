/* h2.c: the life of requests over HTTP/2: asked for, queued, on a stream, ended; and the client that has them.
 *
 * Whatever the core asks for is only put on a list: the core may ask from inside libnghttp2's callbacks, or while
 * another thread polls. ds_h2_run works the lists off.
 */
#include "h2.h"

#if __has_include(<nghttp2/nghttp2.h>)

#include "h2_internal.h"

#include "../base/error.h"

#include <stdio.h>

#define MESSAGE_SIZE 480

static ds_h2_request *request_of(ds_http *http) {
    return (ds_h2_request *)(void *)http;
}

static ds_h2_request *entry(ds_list *node) {
    return DS_LIST_ENTRY(node, ds_h2_request, node);
}

/* ---- ending ------------------------------------------------------------------------------------------------------ */

static void tell(ds_h2_request *self, const ds_http_result *result) {
    ds_http_sink *sink = self->sink;
    self->sink = NULL;
    self->state = DS_H2_ENDING;
    ds_list_remove(&self->node);
    ds_list_remove(&self->upload_node);
    ds_timer_stop(self->client->world, &self->deadline);
    if (sink != NULL) {
        sink->on_done(sink, result);
    }
    ds_h2_request_recycle(self);
}

void ds_h2_let_go(ds_h2_request *self, uint32_t error_code, ds_h2_outcome outcome) {
    ds_h2_client *client = self->client;
    ds_h2_link *link = self->link;
    self->sent = self->framed && link->written > self->frame_at;
    (void)nghttp2_session_set_stream_user_data(link->session, self->stream_id, NULL);
    if (error_code != DS_H2_CLOSED) {
        (void)nghttp2_submit_rst_stream(link->session, NGHTTP2_FLAG_NONE, self->stream_id, error_code);
        link->news = true;
    }
    ds_list_remove(&self->node);
    ds_list_remove(&self->upload_node);
    link->count--;
    client->news = true;
    self->link = NULL;
    self->outcome = outcome;
    if (outcome != DS_H2_OPEN) {
        self->state = DS_H2_ENDED;
        ds_list_append(&client->ended, &self->node);
    }
}

void ds_h2_end_failed(ds_h2_request *self, const ds_h2_failure *failure) {
    char text[MESSAGE_SIZE];
    ds_http_result result;
    ds_h2_judge_failure(self, failure, &result, text, sizeof(text));
    tell(self, &result);
}

void ds_h2_on_deadline(ds_timer *timer) {
    ds_h2_request *self = DS_CONTAINER_OF(timer, ds_h2_request, deadline);
    char text[MESSAGE_SIZE];
    ds_http_result result;
    if (self->state == DS_H2_ENDED) {
        return; /* it came just in time */
    }
    if (self->state == DS_H2_ACTIVE) {
        ds_h2_link *link = self->link;
        ds_h2_let_go(self, NGHTTP2_CANCEL, DS_H2_OPEN);
        if (self->sent && link->heard_ns <= self->begun_ns) {
            ds_h2_link_suspect(link);
        }
    }
    ds_h2_judge_timeout(self, &result, text, sizeof(text));
    tell(self, &result);
}

static void tell_ended(ds_h2_client *client) {
    ds_list all;
    ds_list *node;
    ds_list_init(&all);
    ds_list_splice(&all, &client->ended);
    while ((node = ds_list_pop(&all)) != NULL) {
        char text[MESSAGE_SIZE];
        ds_http_result result;
        ds_h2_judge(entry(node), &result, text, sizeof(text));
        tell(entry(node), &result);
    }
}

static void drop_cancelled(ds_h2_client *client) {
    while (!ds_list_empty(&client->cancelled)) {
        ds_h2_request *self = entry(client->cancelled.next);
        ds_h2_let_go(self, NGHTTP2_CANCEL, DS_H2_OPEN);
        ds_h2_request_recycle(self);
    }
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void fail_queue(ds_h2_host *host, const ds_h2_failure *failure) {
    ds_list all;
    ds_list *node;
    ds_list_init(&all);
    ds_list_splice(&all, &host->queue);
    while ((node = ds_list_pop(&all)) != NULL) {
        ds_h2_end_failed(entry(node), failure);
    }
}

/* Those that have no stream go on to the next connection, unless this one was of no use to anybody. */
static void bury(ds_h2_link *link) {
    ds_h2_client *client = link->client;
    ds_h2_host *host = link->host;
    ds_h2_failure failure = link->failure;
    bool useless = !link->carried && host->link == NULL;
    while (!ds_list_empty(&link->active)) {
        ds_h2_request *self = entry(link->active.next);
        ds_h2_let_go(self, DS_H2_CLOSED, DS_H2_OPEN);
        ds_h2_end_failed(self, &failure);
    }
    drop_cancelled(client); /* sinks may have cancelled others of this connection */
    ds_h2_link_free(link);
    if (useless) {
        fail_queue(host, &failure);
    }
}

static void look_after(ds_h2_link *link) {
    bool over = link->leaving && link->count == 0 && link->out_written == link->out.size;
    if (over && !link->carried) {
        ds_h2_link_fail(link, DSYNC_OK, false, "the server takes no requests just now");
    }
    if (link->failed) {
        bury(link);
    } else if (over) {
        ds_h2_link_free(link);
    }
}

static void look_after_all(ds_h2_client *client) {
    ds_list all;
    ds_list *node;
    ds_list_init(&all);
    ds_list_splice(&all, &client->links);
    while ((node = ds_list_pop(&all)) != NULL) {
        ds_list_append(&client->links, node);
        look_after(DS_LIST_ENTRY(node, ds_h2_link, node));
    }
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

static void put_back(ds_h2_host *host, ds_h2_request *self) {
    ds_list_append(host->queue.next, &self->node); /* before the first */
    self->state = DS_H2_QUEUED;
}

/* Behind what is as urgent as it. */
static void queue(ds_h2_request *self) {
    ds_list *before = &self->host->queue;
    if (self->urgent) {
        before = before->next;
        while (before != &self->host->queue && entry(before)->urgent) {
            before = before->next;
        }
    }
    ds_list_append(before, &self->node);
    self->state = DS_H2_QUEUED;
}

static void submit(ds_h2_link *link, ds_h2_request *self) {
    ds_list_remove(&self->node);
    if (!ds_h2_submit(link, self)) {
        put_back(link->host, self);
        if (self->stream_id == NGHTTP2_ERR_NOMEM) {
            ds_h2_link_fail(link, DSYNC_RESOURCE, false, "out of memory");
        } else {
            ds_h2_link_leave(link); /* no number is left for another stream */
        }
        return;
    }
    self->state = DS_H2_ACTIVE;
    self->link = link;
    self->begun_ns = ds_now(self->client->world);
    ds_list_append(&link->active, &self->node);
    link->count++;
    link->carried = link->news = true;
}

/* A connection that nobody has looked at may have ended meanwhile. */
static bool is_there(ds_h2_link *link) {
    if (link->count == 0) {
        ds_h2_link_read(link);
        link->heard_ns = ds_now(link->client->world); /* from now on silence counts */
    }
    return link->host->link == link;
}

static void feed(ds_h2_host *host) {
    static const ds_h2_failure no_memory = {.code = DSYNC_RESOURCE, .text = "out of memory"};
    while (!ds_list_empty(&host->queue)) {
        if (host->link == NULL && ds_h2_link_new(host) == NULL) {
            fail_queue(host, &no_memory);
            return;
        }
        ds_h2_link *link = host->link;
        if (link == NULL || link->stage != DS_H2_UP) {
            return;
        }
        if (is_there(link)) {
            if (!ds_h2_link_has_room(link, entry(host->queue.next))) {
                return;
            }
            submit(link, entry(host->queue.next));
        } else if (!link->carried) {
            return; /* it went before it was of any use: so would the next one */
        }
    }
}

static void take_fresh(ds_h2_client *client) {
    ds_list *node;
    while ((node = ds_list_pop(&client->fresh)) != NULL) {
        ds_h2_request *self = entry(node);
        if (self->unsound == NULL) {
            queue(self);
        } else {
            char text[MESSAGE_SIZE];
            ds_http_result result;
            ds_h2_judge_unsound(self, &result, text, sizeof(text));
            tell(self, &result);
        }
    }
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

void ds_h2_run(ds_h2_client *client) {
    ds_list *node;
    client->news = false;
    tell_ended(client);
    drop_cancelled(client);
    while ((node = ds_list_pop(&client->uploads)) != NULL) {
        ds_h2_request *self = DS_LIST_ENTRY(node, ds_h2_request, upload_node);
        (void)nghttp2_session_resume_data(self->link->session, self->stream_id);
        self->link->news = true;
    }
    look_after_all(client);
    take_fresh(client);
    for (node = client->hosts.next; node != &client->hosts; node = node->next) {
        feed(DS_LIST_ENTRY(node, ds_h2_host, node));
    }
    for (node = client->links.next; node != &client->links; node = node->next) {
        ds_h2_link *link = DS_LIST_ENTRY(node, ds_h2_link, node);
        if (link->failed || link->fd.fd < 0) {
            continue;
        }
        if (link->news) {
            ds_h2_link_write(link);
        } else {
            ds_h2_link_watch(link);
        }
    }
}

bool ds_h2_pending(const ds_h2_client *client) {
    return client->news || !ds_list_empty(&client->fresh) || !ds_list_empty(&client->cancelled) ||
           !ds_list_empty(&client->uploads) || !ds_list_empty(&client->ended);
}

/* ---- what the core asks for -------------------------------------------------------------------------------------- */

ds_http *ds_h2_start(ds_h2_client *client, const ds_http_request *request, ds_http_sink *sink) {
    ds_h2_host *host = ds_h2_host_get(client, request->endpoint);
    ds_h2_request *self = host != NULL ? ds_h2_request_take(client) : NULL;
    if (self == NULL) {
        return NULL;
    }
    self->host = host;
    if (!ds_h2_request_prepare(self, request)) {
        ds_h2_request_recycle(self);
        return NULL;
    }
    int64_t now = ds_now(client->world);
    self->sink = sink;
    if (request->timeout_ns < DS_NEVER - now) {
        ds_timer_set(client->world, &self->deadline, now + request->timeout_ns);
    }
    self->state = DS_H2_NEW;
    ds_list_append(&client->fresh, &self->node);
    return (ds_http *)(void *)self;
}

void ds_h2_cancel(ds_h2_client *client, ds_http *http) {
    ds_h2_request *self = request_of(http);
    self->sink = NULL;
    if (self->state == DS_H2_ACTIVE) {
        self->state = DS_H2_CANCELLED;
        ds_timer_stop(client->world, &self->deadline);
        ds_list_remove(&self->upload_node);
        ds_list_remove(&self->node);
        ds_list_append(&client->cancelled, &self->node);
    } else if (self->state != DS_H2_CANCELLED && self->state != DS_H2_ENDING) {
        ds_h2_request_recycle(self);
    }
}

bool ds_h2_send(ds_h2_client *client, ds_http *http, const void *bytes, size_t count) {
    ds_h2_request *self = request_of(http);
    if (!self->duplex || self->sink == NULL || self->state == DS_H2_ENDED) {
        return false;
    }
    ds_buf_add(&self->upload, bytes, count);
    if (self->upload.failed) {
        self->upload.failed = false; /* nothing was added; what is there may still go out */
        return false;
    }
    if (self->state == DS_H2_ACTIVE && ds_list_empty(&self->upload_node)) {
        ds_list_append(&client->uploads, &self->upload_node);
    }
    return true;
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

ds_h2_client *ds_h2_client_new(const ds_http_config *config, ds_world *world, dsync_error *error) {
    if (!ds_h2_load(error)) {
        return NULL;
    }
    ds_h2_client *client = ds_calloc(1, sizeof(*client));
    if (client == NULL) {
        ds_error_no_memory(error);
        return NULL;
    }
    ds_list *const lists[] = {&client->fresh, &client->cancelled, &client->uploads, &client->ended,
                              &client->spare, &client->hosts,     &client->links};
    for (size_t i = 0; i < DS_COUNT(lists); i++) {
        ds_list_init(lists[i]);
    }
    client->world = world;
    client->connect_timeout_ns = (config->connect_timeout_ms > 0 ? config->connect_timeout_ms : 1000) * DS_MS;
    if (!ds_h2_setup(client)) {
        ds_h2_client_free(client);
        ds_error_no_memory(error);
        return NULL;
    }
    return client;
}

void ds_h2_hang_up(ds_h2_client *client) {
    ds_list all;
    ds_list *node;
    drop_cancelled(client);
    ds_list_init(&all);
    ds_list_splice(&all, &client->links);
    while ((node = ds_list_pop(&all)) != NULL) {
        ds_h2_link *link = DS_LIST_ENTRY(node, ds_h2_link, node);
        ds_list_append(&client->links, node);
        if (link->count == 0 && (link->host->link != link || ds_list_empty(&link->host->queue))) {
            ds_h2_link_free(link);
        }
    }
}

static void free_all(ds_list *list) {
    while (!ds_list_empty(list)) {
        ds_h2_request_free(entry(list->next));
    }
}

void ds_h2_client_free(ds_h2_client *client) {
    if (client == NULL) {
        return;
    }
    ds_list *const lists[] = {&client->fresh, &client->cancelled, &client->ended, &client->spare};
    for (size_t i = 0; i < DS_COUNT(lists); i++) {
        free_all(lists[i]);
    }
    while (!ds_list_empty(&client->links)) {
        ds_h2_link *link = DS_LIST_ENTRY(client->links.next, ds_h2_link, node);
        free_all(&link->active);
        ds_h2_link_free(link);
    }
    while (!ds_list_empty(&client->hosts)) {
        ds_h2_host *host = DS_LIST_ENTRY(client->hosts.next, ds_h2_host, node);
        free_all(&host->queue);
        ds_h2_host_free(host);
    }
    if (client->callbacks != NULL) {
        nghttp2_session_callbacks_del(client->callbacks);
    }
    if (client->option != NULL) {
        nghttp2_option_del(client->option);
    }
    ds_free(client);
}

#endif
