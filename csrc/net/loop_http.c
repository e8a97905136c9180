/* loop_http.c: a loop's HTTP clients, one for each version, made when the first request needs them, so that a program
 * loads only the library that it uses. Knows nothing of either protocol.
 */
#include "loop_internal.h"

#include "../base/error.h"

#include <stdio.h>
#include <string.h>

/* A request that nobody can send, until its sink has been told so. */
typedef struct refused_request {
    ds_http_any any;
    ds_list node; /* loop->refused */
    ds_http_sink *sink;
    ds_http_result result;
    char text[sizeof(((dsync_error *)0)->message)];
} refused_request;

static ds_loop *loop_of(ds_world *world) {
    return DS_CONTAINER_OF(world, ds_loop, world);
}

static ds_http_kind kind_of(const ds_http *http) {
    return ((const ds_http_any *)(const void *)http)->kind;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static bool copy_text(const char **to, const char *from) {
    *to = from != NULL ? ds_strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

static bool copy_config(ds_http_config *to, const ds_http_config *from) {
    to->connect_timeout_ms = from->connect_timeout_ms;
    to->tls_insecure_skip_verify = from->tls_insecure_skip_verify;
    return copy_text(&to->tls_ca, from->tls_ca) && copy_text(&to->tls_cert, from->tls_cert) &&
           copy_text(&to->tls_key, from->tls_key) && copy_text(&to->tls_server_name, from->tls_server_name);
}

bool ds_loop_http_begin(ds_loop *loop, const ds_http_config *config, dsync_error *error) {
    if (!copy_config(&loop->http_config, config)) {
        ds_error_no_memory(error);
        return false;
    }
    if (!config->late) {
        loop->http = ds_http_client_new(config, &loop->world, error);
    }
    return config->late || loop->http != NULL;
}

void ds_loop_http_hang_up(ds_loop *loop) {
    if (loop->http != NULL) {
        ds_http_hang_up(loop->http);
    }
    if (loop->h2 != NULL) {
        ds_h2_hang_up(loop->h2);
    }
}

void ds_loop_http_end(ds_loop *loop) {
    ds_list *node;
    while ((node = ds_list_pop(&loop->refused)) != NULL) {
        ds_free(DS_LIST_ENTRY(node, refused_request, node));
    }
    ds_http_client_free(loop->http);
    ds_h2_client_free(loop->h2);
    ds_http_config *config = &loop->http_config;
    const char *const texts[] = {config->tls_ca, config->tls_cert, config->tls_key, config->tls_server_name};
    for (size_t i = 0; i < DS_COUNT(texts); i++) {
        ds_free((char *)(uintptr_t)texts[i]);
    }
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

bool ds_loop_http_pending(const ds_loop *loop) {
    return !ds_list_empty(&loop->refused) || (loop->http != NULL && ds_http_pending(loop->http)) ||
           (loop->h2 != NULL && ds_h2_pending(loop->h2));
}

static void tell_refused(ds_loop *loop) {
    static const char *const no_headers[DS_HTTP_HEADERS_MAX] = {NULL};
    ds_list *node;
    while ((node = ds_list_pop(&loop->refused)) != NULL) {
        refused_request *refused = DS_LIST_ENTRY(node, refused_request, node);
        refused->result.header_values = no_headers;
        refused->result.message = refused->text;
        ds_http_sink *sink = refused->sink;
        refused->sink = NULL;
        sink->on_done(sink, &refused->result);
        ds_free(refused);
    }
}

void ds_loop_http_run(ds_loop *loop) {
    tell_refused(loop);
    if (loop->h2 != NULL) {
        ds_h2_run(loop->h2);
    }
    if (loop->http != NULL) {
        ds_http_run(loop->http);
    }
    ds_loop_run_tasks(loop);
}

/* ---- the world's operations -------------------------------------------------------------------------------------- */

static ds_http *refuse(ds_loop *loop, const ds_http_request *request, ds_http_sink *sink, ds_http_fate fate,
                       const dsync_error *why) {
    refused_request *refused = ds_calloc(1, sizeof(*refused));
    if (refused == NULL) {
        return NULL;
    }
    refused->any.kind = DS_HTTP_KIND_REFUSED;
    refused->sink = sink;
    refused->result.fate = fate;
    refused->result.code = (int)why->code;
    refused->result.not_http2 = request->http2 && why->code == DSYNC_UNSUPPORTED;
    (void)snprintf(refused->text, sizeof(refused->text), "%s", why->message);
    ds_list_append(&loop->refused, &refused->node);
    return (ds_http *)(void *)refused;
}

static ds_http *start_http2(ds_loop *loop, const ds_http_request *request, ds_http_sink *sink) {
    dsync_error error = {DSYNC_UNSUPPORTED, "HTTP/2 is spoken without TLS only"};
    bool tls = strncmp(request->endpoint->origin, "https:", 6) == 0;
    if (loop->h2 == NULL && !tls) {
        loop->h2 = ds_h2_client_new(&loop->http_config, &loop->world, &error);
    }
    return loop->h2 != NULL && !tls ? ds_h2_start(loop->h2, request, sink)
                                    : refuse(loop, request, sink, DS_HTTP_NOT_SENT, &error);
}

ds_http *ds_loop_http_start(ds_world *world, const ds_http_request *request, ds_http_sink *sink) {
    ds_loop *loop = loop_of(world);
    dsync_error error;
    loop->requests++;
    if (!loop->network) {
        return NULL;
    }
    if (request->http2) {
        return start_http2(loop, request, sink);
    }
    if (loop->http == NULL) {
        loop->http = ds_http_client_new(&loop->http_config, world, &error);
    }
    if (loop->http == NULL) {
        ds_http_fate fate = error.code == DSYNC_RESOURCE ? DS_HTTP_NOT_SENT : DS_HTTP_REFUSED;
        return refuse(loop, request, sink, fate, &error);
    }
    return ds_http_start(loop->http, request, sink);
}

void ds_loop_http_cancel(ds_world *world, ds_http *http) {
    ds_loop *loop = loop_of(world);
    switch (kind_of(http)) {
    case DS_HTTP_KIND_1:
        ds_http_cancel(loop->http, http);
        break;
    case DS_HTTP_KIND_2:
        ds_h2_cancel(loop->h2, http);
        break;
    case DS_HTTP_KIND_REFUSED: {
        refused_request *refused = (refused_request *)(void *)http;
        if (refused->sink != NULL) { /* else it is being told just now */
            ds_list_remove(&refused->node);
            ds_free(refused);
        }
        break;
    }
    }
}

bool ds_loop_http_send(ds_world *world, ds_http *http, const void *bytes, size_t count) {
    ds_loop *loop = loop_of(world);
    switch (kind_of(http)) {
    case DS_HTTP_KIND_1:
        return ds_http_send(loop->http, http, bytes, count);
    case DS_HTTP_KIND_2:
        return ds_h2_send(loop->h2, http, bytes, count);
    case DS_HTTP_KIND_REFUSED:
        break;
    }
    return false;
}
