/* client.c: opening, sharing and closing a client. */
#include "client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/json.h"
#include "../base/process.h"
#include "../base/rfc3339.h"
#include "../net/url.h"

#define UNAVAILABLE_NS (5 * DS_SECOND)
#define CENTURY_MS (INT64_C(36525) * 86400 * 1000)

/* ---- small things ------------------------------------------------------------------------------------------------ */

uint64_t ds_next_number(void) {
    static _Atomic uint64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

int64_t ds_span(int64_t span_ms) {
    return span_ms < 0 || span_ms > CENTURY_MS ? DS_NEVER : span_ms * DS_MS;
}

int64_t ds_deadline_in(int64_t timeout_ms) {
    int64_t span = ds_span(timeout_ms);
    return span == DS_NEVER ? DS_NEVER : ds_clock_ns() + span;
}

bool ds_forked(const dsync_client *client, dsync_error *error) {
    if (client->pid == ds_process()) {
        return false;
    }
    ds_error_set(error, DSYNC_FORKED,
                 "this client belongs to process %ld, which forked this one: open a client of your own",
                 (long)client->pid);
    return true;
}

bool ds_client_enter(dsync_client *client, dsync_error *error) {
    if (ds_forked(client, error)) {
        return false;
    }
    ds_loop_lock(client->loop);
    if (client->closing) {
        ds_loop_unlock(client->loop);
        ds_error_set(error, DSYNC_CLOSED, "the client is closed");
        return false;
    }
    if (!ds_loop_start(client->loop, error)) {
        ds_loop_unlock(client->loop);
        return false;
    }
    return true;
}

void ds_client_leave(dsync_client *client) {
    ds_loop_unlock(client->loop);
}

void dsync_free(void *memory) {
    ds_free(memory);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void destroy(dsync_client *client) {
    if (client->engine != NULL) {
        ds_engine_free(client->engine);
    }
    if (client->loop != NULL) {
        ds_loop_free(client->loop);
    }
    ds_events_hide(client);
    ds_settings_free(&client->settings);
    ds_free(client);
}

static bool name_node(dsync_client *client, char *host, size_t host_size, dsync_error *error) {
    if (gethostname(host, host_size) != 0) {
        snprintf(host, host_size, "localhost");
    }
    host[host_size - 1] = '\0';
    if (client->settings.o.id != NULL) {
        return true;
    }
    char id[160];
    unsigned random = (unsigned)(ds_random64(ds_loop_world(client->loop)) & 0xffffff);
    snprintf(id, sizeof id, "%s:%ld:%06x", host, (long)client->pid, random);
    client->settings.o.id = ds_settings_keep(&client->settings, id);
    if (client->settings.o.id == NULL) {
        ds_error_no_memory(error);
        return false;
    }
    return true;
}

static bool write_info(dsync_client *client, const char *host, ds_buf *info) {
    ds_world *world = ds_loop_world(client->loop);
    ds_buf_add_text(info, "{\"id\":");
    ds_json_add_text(info, client->settings.o.id, strlen(client->settings.o.id));
    ds_buf_add_text(info, ",\"host\":");
    ds_json_add_text(info, host, strlen(host));
    ds_buf_add_format(info, ",\"pid\":%ld,\"since\":\"", (long)client->pid);
    (void)ds_rfc3339_add(info, world->ops->wall_ms(world));
    ds_buf_add_text(info, "\"}");
    return !info->failed;
}

static ds_backend *make_backend(dsync_client *client, const ds_url *url, dsync_error *error) {
    ds_world *world = ds_loop_world(client->loop);
    const char *path = url->path;
    ds_backend_config config = {.options = &client->settings.o,
                                .endpoints = (const char *const *)url->hosts,
                                .endpoint_count = url->host_count,
                                .tls = url->tls};
    switch (url->scheme) {
    case DS_SCHEME_MEMORY:
        config.endpoints = &path;
        config.endpoint_count = 1;
        return ds_memory_backend(world, &config, error);
    case DS_SCHEME_ETCD:
        return ds_etcd_backend(world, &config, error);
    case DS_SCHEME_LOCAL:
        config.endpoints = &path;
        config.endpoint_count = 1;
        return ds_local_backend(world, &config, error);
    case DS_SCHEME_CONSUL:
        return ds_consul_backend(world, &config, error);
    case DS_SCHEME_ZOOKEEPER:
        config.root = url->path;
        return ds_zookeeper_backend(world, &config, error);
    }
    ds_error_set(error, DSYNC_UNSUPPORTED, "this build of dsync has no backend for \"%s\"", client->settings.url);
    return NULL;
}

/* Such a client may never need libcurl, whose loading and leaving cost more than a lock. */
static bool may_do_without_curl(const ds_url *url) {
    return url->scheme == DS_SCHEME_ZOOKEEPER || (url->scheme == DS_SCHEME_ETCD && !url->tls);
}

static bool make_loop(dsync_client *client, const ds_url *url, dsync_error *error) {
    const dsync_options *o = &client->settings.o;
    ds_http_config http = {.connect_timeout_ms = o->connect_timeout_ms,
                           .tls_ca = o->tls_ca,
                           .tls_cert = o->tls_cert,
                           .tls_key = o->tls_key,
                           .tls_server_name = o->tls_server_name,
                           .tls_insecure_skip_verify = o->tls_insecure_skip_verify != 0,
                           .late = may_do_without_curl(url)};
    bool network = url->scheme != DS_SCHEME_MEMORY && url->scheme != DS_SCHEME_LOCAL;
    client->loop = ds_loop_new(network ? &http : NULL, error);
    return client->loop != NULL;
}

static bool make_engine(dsync_client *client, const ds_url *url, dsync_error *error) {
    char host[128];
    ds_buf info = DS_BUF_EMPTY;
    if (!make_loop(client, url, error) || !name_node(client, host, sizeof host, error)) {
        return false;
    }
    ds_backend *backend = make_backend(client, url, error);
    if (backend == NULL) {
        return false;
    }
    ds_engine_config config = {.prefix = client->settings.o.prefix,
                               .id = client->settings.o.id,
                               .request_timeout_ms = client->settings.o.request_timeout_ms,
                               .unavailable_ns = UNAVAILABLE_NS,
                               .notice = ds_notice,
                               .context = client};
    bool fits = ds_settings_fit(&client->settings, backend->ops, error);
    if (fits && write_info(client, host, &info)) {
        config.info = info.data;
        client->engine = ds_engine_new(ds_loop_world(client->loop), backend, &config);
    }
    if (client->engine == NULL) {
        backend->ops->destroy(backend);
        if (fits) {
            ds_error_no_memory(error);
        }
    }
    ds_buf_free(&info);
    return client->engine != NULL;
}

static void loop_failed(void *argument) {
    dsync_client *client = argument;
    ds_notice(client, "error", "the client's event loop failed; its locks are lost when their time is over");
}

dsync_client *dsync_open(const char *url, const dsync_options *options, dsync_error *error) {
    ds_url parsed;
    const char *text = url;
    if (text != NULL && text[0] == '\0') {
        ds_error_set(error, DSYNC_CONFIG, "the URL is empty: leave it out for $DSYNC_URL, else local:");
        return NULL;
    }
    if (text == NULL) {
        text = getenv("DSYNC_URL");
    }
    if (text == NULL || text[0] == '\0') {
        text = "local:";
    }
    dsync_client *client = ds_calloc(1, sizeof *client);
    if (client == NULL) {
        ds_error_no_memory(error);
        return NULL;
    }
    client->refs = 1;
    client->pid = ds_process();
    client->event_fd = -1;
    client->event_socket = -1;
    ds_list_init(&client->events);
    ds_list_init(&client->in_exit_line);
    ds_list_init(&client->closers);
    if (!ds_settings_copy(&client->settings, options, error)) {
        destroy(client);
        return NULL;
    }
    client->settings.url = ds_strdup(text);
    if (client->settings.url == NULL) {
        ds_error_no_memory(error);
        destroy(client);
        return NULL;
    }
    const dsync_options *o = &client->settings.o;
    if (!ds_url_parse(&parsed, text, o->endpoints, o->endpoint_count, error)) {
        destroy(client);
        return NULL;
    }
    bool made = make_engine(client, &parsed, error);
    ds_url_free(&parsed);
    if (!made) {
        destroy(client);
        return NULL;
    }
    ds_loop_on_failure(client->loop, loop_failed, client);
    return client;
}

/* ---- closing ----------------------------------------------------------------------------------------------------- */

static void thread_is_over(void *argument) {
    dsync_client *client = argument;
    ds_exit_leave(client);
    dsync_client_unref(client);
}

static dsync_code close_result(const dsync_client *client, dsync_error *error) {
    if (client->closed && client->confirmed) {
        return DSYNC_OK;
    }
    return ds_error_set(error, DSYNC_UNKNOWN,
                        "closed, but the server did not confirm it: what was held there will be free in at most %.3g s",
                        (double)client->settings.o.ttl_ms / 1e3);
}

static void tell_closers(dsync_client *client) {
    dsync_error error = {0};
    dsync_code code = close_result(client, &error);
    ds_list *link;
    while ((link = ds_list_pop(&client->closers)) != NULL) {
        ds_op_finish(DS_LIST_ENTRY(link, dsync_op, node), code, error.message);
    }
}

static void engine_closed(void *context, bool confirmed) {
    dsync_client *client = context;
    client->closed = true;
    client->confirmed = confirmed;
    tell_closers(client);
    ds_loop_wake_waiters(client->loop);
    (void)ds_loop_finish(client->loop, thread_is_over, client);
}

/* Under the mutex. The engine tells its users at once and the server behind that. */
static void begin_close(dsync_client *client, int64_t timeout_ms) {
    client->closing = true;
    if (!ds_loop_started(client->loop)) {
        client->closed = true; /* nothing was ever begun */
        client->confirmed = true;
        return;
    }
    ds_exit_join(client);
    dsync_client_ref(client); /* the thread's */
    ds_engine_close(client->engine, ds_deadline_in(timeout_ms), engine_closed, client);
}

dsync_code dsync_close(dsync_client *client, int64_t timeout_ms, dsync_error *error) {
    if (ds_forked(client, error)) {
        return DSYNC_FORKED;
    }
    if (timeout_ms < 0) {
        timeout_ms = client->settings.o.close_timeout_ms;
    }
    ds_loop_lock(client->loop);
    int64_t deadline = ds_deadline_in(timeout_ms);
    if (!client->closing) {
        begin_close(client, timeout_ms);
    }
    (void)ds_loop_wait(client->loop, &client->closed, deadline == DS_NEVER ? DS_NEVER : deadline + 100 * DS_MS);
    bool closed = client->closed;
    dsync_code code = close_result(client, error);
    if (closed) {
        ds_events_hide(client);
    }
    ds_loop_unlock(client->loop);
    if (closed) {
        ds_exit_await(client);
    }
    return code;
}

dsync_op *dsync_close_start(dsync_client *client, int64_t timeout_ms, dsync_error *error) {
    if (ds_forked(client, error)) {
        return NULL;
    }
    ds_loop_lock(client->loop);
    dsync_op *op = ds_op_new(client, DS_OP_CLOSE, NULL, error);
    if (op != NULL) {
        ds_list_append(&client->closers, &op->node);
    }
    if (!client->closing) {
        begin_close(client, timeout_ms < 0 ? client->settings.o.close_timeout_ms : timeout_ms);
    }
    if (client->closed) {
        tell_closers(client);
    }
    ds_loop_unlock(client->loop);
    return op;
}

void dsync_close_later(dsync_client *client) {
    if (ds_forked(client, NULL)) {
        return;
    }
    ds_loop_lock(client->loop);
    if (!client->closing) {
        begin_close(client, client->settings.o.close_timeout_ms);
    }
    ds_loop_unlock(client->loop);
}

void dsync_client_ref(dsync_client *client) {
    atomic_fetch_add_explicit(&client->refs, 1, memory_order_relaxed);
}

void dsync_client_unref(dsync_client *client) {
    if (client == NULL || ds_forked(client, NULL)) {
        return; /* a child must not touch what may be in the middle of a change */
    }
    if (atomic_fetch_sub_explicit(&client->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    ds_loop_lock(client->loop);
    if (!client->closing) {
        begin_close(client, client->settings.o.close_timeout_ms);
    }
    /* Not yet: then the thread has taken a reference and comes back here. */
    bool over = client->closed;
    ds_loop_unlock(client->loop);
    if (over) {
        ds_events_free(client);
        destroy(client);
    }
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

const char *dsync_client_id(const dsync_client *client) {
    return client->settings.o.id;
}

const char *dsync_client_backend(const dsync_client *client) {
    return client->engine->backend->ops->name;
}

const char *dsync_client_endpoints(const dsync_client *client) {
    return client->engine->backend->ops->endpoint_list(client->engine->backend);
}

char *dsync_client_options(const dsync_client *client) {
    ds_buf json = DS_BUF_EMPTY;
    if (!ds_settings_json(&client->settings, &json)) {
        ds_buf_free(&json);
        return NULL;
    }
    return json.data;
}

void dsync_client_stats(dsync_client *client, dsync_stats *stats) {
    dsync_stats now = {.size = sizeof now};
    if (!ds_forked(client, NULL)) {
        ds_loop_lock(client->loop);
        const ds_engine_stats *e = &client->engine->stats;
        now.requests = ds_loop_requests(client->loop);
        now.renewals = e->renewals;
        now.retries = e->retries;
        now.acquisitions = e->acquisitions;
        now.releases = e->releases;
        now.losses = e->losses;
        now.resent = e->resent;
        now.sessions = e->sessions;
        now.entries = e->entries;
        now.held = e->held;
        now.waiting = e->waiting;
        now.watches = e->watches;
        now.cleaning = e->cleaning;
        ds_loop_unlock(client->loop);
    }
    size_t size = stats->size < sizeof now ? stats->size : sizeof now;
    now.size = stats->size;
    memcpy(stats, &now, size);
}
