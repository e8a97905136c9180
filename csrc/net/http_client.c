/* http_client.c: what outlives a request: libcurl itself, the multi handle, and the pool of used requests with their
 * handles and buffers. Starts and ends nothing.
 */
#include "http_internal.h"

#include "../base/error.h"

#include <string.h>

#define CONNECTIONS_KEPT 128L
#define SPARE_MAX 40u
#define BUFFER_KEPT ((size_t)64 * 1024)

/* ---- the pool ---------------------------------------------------------------------------------------------------- */

static void http_free(ds_http *http) {
    ds_list_remove(&http->node);
    if (http->easy != NULL) {
        curl_easy_cleanup(http->easy);
    }
    ds_wipe(http->store, http->store_used);
    ds_free(http->store);
    ds_buf_free(&http->upload);
    ds_buf_free(&http->reply);
    ds_buf_free(&http->reply_headers);
    ds_free(http);
}

static ds_http *http_new(ds_http_client *client) {
    ds_http *http = ds_calloc(1, sizeof(*http));
    if (http == NULL) {
        return NULL;
    }
    ds_list_init(&http->node);
    ds_list_init(&http->upload_node);
    ds_list_init(&http->duplex_node);
    http->socket = CURL_SOCKET_BAD;
    http->client = client;
    http->deadline.fire = ds_http_on_deadline;
    http->easy = curl_easy_init();
    client->refusal = http->easy != NULL ? ds_http_options_fixed(http) : CURLE_OUT_OF_MEMORY;
    if (client->refusal != CURLE_OK) {
        http_free(http);
        return NULL;
    }
    return http;
}

ds_http *ds_http_take_spare(ds_http_client *client) {
    if (ds_list_empty(&client->spare)) {
        return http_new(client);
    }
    ds_list *newest = client->spare.prev;
    ds_list_remove(newest);
    client->spare_count--;
    return DS_LIST_ENTRY(newest, ds_http, node);
}

static void trim(ds_buf *buf) {
    if (buf->capacity > BUFFER_KEPT) {
        ds_buf_free(buf);
    } else {
        ds_buf_clear(buf);
    }
}

/* Requests carry passwords and tokens: what is kept for the next request holds none of them. */
void ds_http_recycle(ds_http *http) {
    ds_http_client *client = http->client;
    ds_list_remove(&http->node);
    ds_list_remove(&http->upload_node);
    ds_timer_stop(client->world, &http->deadline);
    if (client->spare_count >= SPARE_MAX) {
        http_free(http);
        return;
    }
    ds_wipe(http->store, http->store_used);
    http->store_used = 0;
    if (http->store_capacity > BUFFER_KEPT) {
        ds_free(http->store);
        http->store = NULL;
        http->store_capacity = 0;
    }
    trim(&http->upload);
    trim(&http->reply);
    trim(&http->reply_headers);
    memset(http->value_at, 0, sizeof(http->value_at));
    memset(http->values, 0, sizeof(http->values));
    http->sink = NULL;
    http->upload_paused = http->upload_over = http->heard = http->counted = false;
    http->unheard = http->opened_count = 0;
    http->socket = CURL_SOCKET_BAD;
    http->abort = DS_HTTP_ABORT_NONE;
    http->sends = 0;
    http->status = 0;
    http->head_ended = false;
    http->header_bytes = 0;
    http->header_lines = 0;
    http->curl_error[0] = '\0';
    http->state = DS_HTTP_FREE;
    ds_list_append(&client->spare, &http->node);
    client->spare_count++;
}

/* ---- libcurl as a whole ------------------------------------------------------------------------------------------ */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void global_init(void) {
    global_result = curl_global_init_mem(CURL_GLOBAL_DEFAULT, ds_malloc, ds_free, ds_realloc, ds_strdup, ds_calloc);
}

bool ds_http_load(dsync_error *error) {
    if (!ds_curl_load(error)) {
        return false;
    }
    (void)pthread_once(&global_once, global_init);
    if (global_result != CURLE_OK) {
        ds_error_set(error, DSYNC_RESOURCE, "libcurl cannot start: %s", curl_easy_strerror(global_result));
        return false;
    }
    return true;
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

static bool copy_text(char **to, const char *from) {
    *to = from != NULL && from[0] != '\0' ? ds_strdup(from) : NULL;
    return *to != NULL || from == NULL || from[0] == '\0';
}

static bool copy_config(ds_http_client *client, const ds_http_config *config) {
    client->connect_timeout_ms = config->connect_timeout_ms > 0 ? config->connect_timeout_ms : 1000;
    client->insecure = config->tls_insecure_skip_verify;
    return copy_text(&client->ca, config->tls_ca) && copy_text(&client->cert, config->tls_cert) &&
           copy_text(&client->key, config->tls_key) && copy_text(&client->server_name, config->tls_server_name);
}

static CURLM *new_multi(void) {
    CURLM *multi = ds_http_multi_new();
    if (multi != NULL && (curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT) != CURLM_OK ||
                          curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) != CURLM_OK)) {
        (void)curl_multi_cleanup(multi);
        multi = NULL;
    }
    return multi;
}

ds_http_client *ds_http_client_new(const ds_http_config *config, ds_world *world, dsync_error *error) {
    static const unsigned SENDS_WITHOUT_SIGPIPE = 0x075700;
    if (!ds_http_load(error)) {
        return NULL;
    }
    ds_http_client *client = ds_calloc(1, sizeof(*client));
    if (client == NULL) {
        ds_error_no_memory(error);
        return NULL;
    }
    ds_list *const lists[] = {&client->fresh,   &client->queue,    &client->active, &client->cancelled,
                              &client->uploads, &client->duplexes, &client->spare,  &client->hosts};
    for (size_t i = 0; i < DS_COUNT(lists); i++) {
        ds_list_init(lists[i]);
    }
    client->world = world;
    client->guard_sigpipe = curl_version_info(CURLVERSION_NOW)->version_num < SENDS_WITHOUT_SIGPIPE;
    client->multi = new_multi();
    if (client->multi == NULL || !copy_config(client, config)) {
        ds_http_client_free(client);
        ds_error_set(error, DSYNC_RESOURCE, "cannot set up HTTP: out of memory or file descriptors");
        return NULL;
    }
    ds_http *first = http_new(client); /* a libcurl that cannot do what every request needs is found out here */
    if (first == NULL) {
        bool memory = client->refusal == CURLE_OK || client->refusal == CURLE_OUT_OF_MEMORY;
        ds_error_set(error, memory ? DSYNC_RESOURCE : DSYNC_UNSUPPORTED, "cannot set up HTTP: %s",
                     memory ? "out of memory" : curl_easy_strerror(client->refusal));
        ds_http_client_free(client);
        return NULL;
    }
    ds_http_recycle(first);
    return client;
}

/* libcurl closes idle connections only together with the handle that keeps them. */
void ds_http_hang_up(ds_http_client *client) {
    ds_http_drop_cancelled(client);
    CURLM *fresh = client->in_multi == 0 ? new_multi() : NULL;
    if (fresh == NULL) {
        return;
    }
    ds_sigpipe guard;
    ds_sigpipe_begin(client, &guard);
    (void)curl_multi_cleanup(client->multi);
    client->multi = fresh;
    ds_sigpipe_end(&guard);
}

static void free_all(ds_http_client *client, ds_list *list) {
    ds_list *node;
    while ((node = ds_list_pop(list)) != NULL) {
        ds_http *http = DS_LIST_ENTRY(node, ds_http, node);
        if (http->state == DS_HTTP_ACTIVE || http->state == DS_HTTP_CANCELLED) {
            ds_http_leave_wire(http);
        }
        ds_list_remove(&http->upload_node);
        ds_timer_stop(client->world, &http->deadline);
        http_free(http);
    }
}

void ds_http_client_free(ds_http_client *client) {
    if (client == NULL) {
        return;
    }
    ds_sigpipe guard;
    ds_sigpipe_begin(client, &guard);
    ds_list *const lists[] = {&client->fresh, &client->queue, &client->active, &client->cancelled, &client->spare};
    for (size_t i = 0; i < DS_COUNT(lists); i++) {
        free_all(client, lists[i]);
    }
    for (ds_list *node = client->hosts.next; node != &client->hosts; node = node->next) {
        free_all(client, &DS_LIST_ENTRY(node, ds_http_host, node)->waiting);
    }
    ds_http_hosts_free(client);
    if (client->multi != NULL) {
        (void)curl_multi_cleanup(client->multi);
    }
    ds_sigpipe_end(&guard);
    ds_free(client->watched);
    ds_free(client->ca);
    ds_free(client->cert);
    ds_free(client->key);
    ds_free(client->server_name);
    ds_free(client);
}
