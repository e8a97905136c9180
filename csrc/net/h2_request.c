/* h2_request.c: takes over what a caller asked for, and keeps used requests for the next. Knows nothing of
 * connections. */
#include "h2.h"

#if __has_include(<nghttp2/nghttp2.h>)

#include "h2_internal.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define SPARE_MAX 64u
#define BUFFER_KEPT ((size_t)64 * 1024)

/* ---- copying ----------------------------------------------------------------------------------------------------- */

static bool reserve(ds_h2_request *self, size_t size) {
    if (size <= self->store_capacity) {
        return true;
    }
    size_t capacity = size < 1024 ? 1024 : size;
    char *store = ds_malloc(capacity);
    if (store == NULL) {
        return false;
    }
    ds_free(self->store); /* wiped when the last request ended */
    self->store = store;
    self->store_capacity = capacity;
    return true;
}

static char *put(ds_h2_request *self, const void *bytes, size_t size) {
    char *at = self->store + self->store_used;
    if (size > 0) {
        memcpy(at, bytes, size);
    }
    self->store_used += size;
    return at;
}

static void add(ds_h2_request *self, const char *name, size_t name_size, const char *value, size_t value_size) {
    /* Neither end keeps a secret in its table of headers. */
    bool secret = (name_size == 13 && memcmp(name, "authorization", 13) == 0) ||
                  (name_size == 5 && memcmp(name, "token", 5) == 0) ||
                  (name_size == 14 && memcmp(name, "x-consul-token", 14) == 0);
    self->headers[self->header_count++] =
        (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                     .value = (uint8_t *)(uintptr_t)value,
                     .namelen = name_size,
                     .valuelen = value_size,
                     .flags = secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
}

static void add_copy(ds_h2_request *self, const char *name, const char *value) {
    size_t size = strlen(value);
    add(self, name, strlen(name), put(self, value, size), size);
}

static void add_line(ds_h2_request *self, const char *line) {
    size_t size = strlen(line);
    size_t name = (size_t)(strchr(line, ':') - line);
    char *copy = put(self, line, size);
    for (size_t i = 0; i < name; i++) {
        copy[i] = (char)tolower((unsigned char)copy[i]);
    }
    size_t value = name + 1;
    while (value < size && (copy[value] == ' ' || copy[value] == '\t')) {
        value++;
    }
    while (size > value && (copy[size - 1] == ' ' || copy[size - 1] == '\t')) {
        size--;
    }
    add(self, copy, name, copy + value, size - value);
}

static bool names_itself(const ds_http_request *request) {
    for (const char *const *line = request->headers; *line != NULL; line++) {
        if (strncasecmp(*line, "User-Agent:", 11) == 0) {
            return true;
        }
    }
    return false;
}

static void add_headers(ds_h2_request *self, const ds_http_request *request) {
    static const char agent[] = "dsync/" DSYNC_VERSION;
    const char *authority = self->host->authority; /* lives as long as the client */
    self->header_count = 0;
    add_copy(self, ":method", request->method);
    add(self, ":scheme", 7, "http", 4);
    add_copy(self, ":path", request->target);
    add(self, ":authority", 10, authority, strlen(authority));
    for (const char *const *line = request->headers; *line != NULL; line++) {
        add_line(self, *line);
    }
    if (!names_itself(request)) {
        add(self, "user-agent", 10, agent, sizeof(agent) - 1);
    }
}

bool ds_h2_request_prepare(ds_h2_request *self, const ds_http_request *request) {
    self->unsound = ds_http_unsound(request);
    size_t size = strlen(request->method) + strlen(request->target) + (request->duplex ? 0 : request->body_size);
    for (const char *const *line = request->headers; *line != NULL; line++) {
        size += strlen(*line);
    }
    if (!reserve(self, size)) {
        return false;
    }
    if (self->unsound == NULL) {
        add_headers(self, request);
    }
    memcpy(self->want_headers, request->want_headers, sizeof(self->want_headers));
    self->read_only = strcmp(request->method, "GET") == 0;
    self->reply_max = request->reply_max;
    self->timeout_ns = request->timeout_ns;
    self->urgent = request->urgent;
    self->stream = request->stream || request->duplex;
    self->duplex = request->duplex;
    if (self->duplex) {
        ds_buf_add(&self->upload, request->body, request->body_size);
        return !self->upload.failed;
    }
    self->body = put(self, request->body, request->body_size);
    self->body_size = request->body_size;
    return true;
}

/* ---- the pool ---------------------------------------------------------------------------------------------------- */

void ds_h2_request_free(ds_h2_request *self) {
    ds_list_remove(&self->node);
    ds_list_remove(&self->upload_node);
    ds_timer_stop(self->client->world, &self->deadline);
    ds_wipe(self->store, self->store_used);
    ds_free(self->store);
    ds_buf_free(&self->upload);
    ds_buf_free(&self->reply);
    ds_buf_free(&self->reply_headers);
    ds_free(self);
}

ds_h2_request *ds_h2_request_take(ds_h2_client *client) {
    if (!ds_list_empty(&client->spare)) {
        ds_list *newest = client->spare.prev;
        ds_list_remove(newest);
        client->spare_count--;
        return DS_LIST_ENTRY(newest, ds_h2_request, node);
    }
    ds_h2_request *self = ds_calloc(1, sizeof(*self));
    if (self != NULL) {
        self->any.kind = DS_HTTP_KIND_2;
        self->client = client;
        self->deadline.fire = ds_h2_on_deadline;
        ds_list_init(&self->node);
        ds_list_init(&self->upload_node);
    }
    return self;
}

static void trim(ds_buf *buf) {
    if (buf->capacity > BUFFER_KEPT) {
        ds_buf_free(buf);
    } else {
        ds_buf_clear(buf);
    }
}

/* Requests carry passwords and tokens: what is kept for the next request holds none of them. */
void ds_h2_request_recycle(ds_h2_request *self) {
    ds_h2_client *client = self->client;
    if (client->spare_count >= SPARE_MAX) {
        ds_h2_request_free(self);
        return;
    }
    ds_list_remove(&self->node);
    ds_list_remove(&self->upload_node);
    ds_timer_stop(client->world, &self->deadline);
    ds_wipe(self->store, self->store_used);
    self->store_used = 0;
    if (self->store_capacity > BUFFER_KEPT) {
        ds_free(self->store);
        self->store = NULL;
        self->store_capacity = 0;
    }
    trim(&self->upload);
    trim(&self->reply);
    trim(&self->reply_headers);
    memset(self->value_at, 0, sizeof(self->value_at));
    memset(self->values, 0, sizeof(self->values));
    self->sink = NULL;
    self->link = NULL;
    self->unsound = NULL;
    self->body = NULL;
    self->body_size = self->body_sent = 0;
    self->stream_id = 0;
    self->framed = self->sent = self->head_ended = false;
    self->outcome = DS_H2_OPEN;
    self->error_code = 0;
    self->status = 0;
    self->header_bytes = 0;
    self->header_lines = 0;
    self->state = DS_H2_FREE;
    ds_list_append(&client->spare, &self->node);
    client->spare_count++;
}

#endif
