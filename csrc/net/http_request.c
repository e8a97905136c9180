/* http_request.c: takes over what a caller asked for. Copies; knows nothing of libcurl's state. */
#include "http_internal.h"

#include <string.h>
#include <strings.h>

static bool reserve(ds_http *http, size_t size) {
    if (size <= http->store_capacity) {
        return true;
    }
    size_t capacity = size < 1024 ? 1024 : size;
    char *store = ds_malloc(capacity);
    if (store == NULL) {
        return false;
    }
    ds_free(http->store); /* wiped when the last request ended */
    http->store = store;
    http->store_capacity = capacity;
    return true;
}

static char *put(ds_http *http, const void *bytes, size_t size) {
    char *at = http->store + http->store_used;
    if (size > 0) {
        memcpy(at, bytes, size);
    }
    at[size] = '\0';
    http->store_used += size + 1;
    return at;
}

static void add_header(ds_http *http, char *line) {
    struct curl_slist *node = &http->headers[http->header_count];
    node->data = line;
    node->next = NULL;
    if (http->header_count > 0) {
        http->headers[http->header_count - 1].next = node;
    }
    http->header_count++;
}

static void add_headers(ds_http *http, const ds_http_request *request, bool has_body) {
    /* libcurl reads header lines only; its list type is older than const. */
    static char no_expect[] = "Expect:";
    static char no_type[] = "Content-Type:";
    static char chunked[] = "Transfer-Encoding: chunked";
    static char closing[] = "Connection: close";
    bool typed = false;
    http->header_count = 0;
    for (const char *const *line = request->headers; *line != NULL; line++) {
        add_header(http, put(http, *line, strlen(*line)));
        typed = typed || strncasecmp(*line, "Content-Type:", 13) == 0;
    }
    if (!has_body && !request->duplex) {
        return;
    }
    add_header(http, no_expect);
    if (request->duplex) {
        add_header(http, chunked);
        add_header(http, closing);
    }
    if (!typed) {
        add_header(http, no_type);
    }
}

bool ds_http_prepare(ds_http *http, const ds_http_request *request) {
    size_t origin_size = strlen(http->host->url);
    size_t target_size = strlen(request->target);
    size_t method_size = strlen(request->method);
    size_t size = origin_size + target_size + 1 + method_size + 1 + request->body_size + 1;
    for (const char *const *line = request->headers; *line != NULL; line++) {
        size += strlen(*line) + 1;
    }
    if (!reserve(http, size)) {
        return false;
    }
    http->unsound = ds_http_unsound(request);
    http->url = put(http, http->host->url, origin_size);
    http->store_used--;
    (void)put(http, request->target, target_size);
    http->method = put(http, request->method, method_size);
    http->read_only = strcmp(request->method, "GET") == 0;
    bool has_body = request->body_size > 0 || !http->read_only;
    add_headers(http, request, has_body);
    http->body = put(http, request->body, request->body_size);
    http->body_size = request->body_size;
    memcpy(http->want_headers, request->want_headers, sizeof(http->want_headers));
    http->reply_max = request->reply_max;
    http->timeout_ns = request->timeout_ns;
    http->urgent = request->urgent;
    http->stream = request->stream || request->duplex;
    http->duplex = request->duplex;
    if (http->duplex) {
        ds_buf_add(&http->upload, request->body, request->body_size);
    }
    return !http->upload.failed;
}
