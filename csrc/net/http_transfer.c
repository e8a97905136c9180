/* http_transfer.c: what libcurl calls while bytes move. These run with the loop's mutex held, inside
 * curl_multi_perform, and so must not call libcurl; what they hear goes into the request or straight to a stream's
 * sink. */
#include "http_internal.h"

#include <string.h>
#include <strings.h>

/* Anything but the number of bytes offered makes libcurl end the transfer. */
static size_t refuse(ds_http *http, ds_http_abort why) {
    http->abort = why;
    return 0;
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */

/* "HTTP/1.1 200 OK": also begins anew after an interim answer. */
static bool begins_answer(ds_http *http, const char *line, size_t size) {
    if (size < 12 || strncasecmp(line, "HTTP/", 5) != 0) {
        return false;
    }
    const char *space = memchr(line, ' ', size);
    http->status = 0;
    http->head_ended = false;
    for (size_t i = 1; space != NULL && i <= 3 && space + i < line + size && space[i] >= '0' && space[i] <= '9'; i++) {
        http->status = http->status * 10 + (space[i] - '0');
    }
    ds_buf_clear(&http->reply_headers);
    memset(http->value_at, 0, sizeof(http->value_at));
    return true;
}

static bool is_empty_line(const char *line, size_t size) {
    return size <= 2 && (line[0] == '\r' || line[0] == '\n');
}

static void keep_value(ds_http *http, size_t index, const char *value, size_t size) {
    while (size > 0 && (value[0] == ' ' || value[0] == '\t')) {
        value++;
        size--;
    }
    while (size > 0 && (unsigned char)value[size - 1] <= ' ') {
        size--;
    }
    http->value_at[index] = http->reply_headers.size + 1;
    ds_buf_add(&http->reply_headers, value, size);
    ds_buf_add_char(&http->reply_headers, '\0');
}

static void keep_if_wanted(ds_http *http, const char *line, size_t size) {
    const char *colon = memchr(line, ':', size);
    if (colon == NULL || memchr(line, '\0', size) != NULL) {
        return;
    }
    size_t name = (size_t)(colon - line);
    for (size_t i = 0; i < DS_HTTP_HEADERS_MAX && http->want_headers[i] != NULL; i++) {
        if (http->value_at[i] == 0 && strlen(http->want_headers[i]) == name &&
            strncasecmp(http->want_headers[i], line, name) == 0) {
            keep_value(http, i, colon + 1, size - name - 1);
            return;
        }
    }
}

size_t ds_http_on_header(char *line, size_t one, size_t count, void *argument) {
    ds_http *http = argument;
    size_t size = one * count;
    http->heard = true;
    if (http->sink == NULL) {
        return refuse(http, DS_HTTP_ABORT_CANCELLED);
    }
    http->header_bytes += size;
    if (++http->header_lines > DS_HTTP_HEADER_LINES_MAX || http->header_bytes > DS_HTTP_HEADER_BYTES_MAX) {
        return refuse(http, DS_HTTP_ABORT_HEADERS);
    }
    if (is_empty_line(line, size)) {
        http->head_ended = true;
    } else if (!begins_answer(http, line, size) &&
               !http->head_ended) { /* after the head: trailers, which nobody wants */
        keep_if_wanted(http, line, size);
    }
    return http->reply_headers.failed ? refuse(http, DS_HTTP_ABORT_MEMORY) : size;
}

/* ---- bodies ------------------------------------------------------------------------------------------------------ */

size_t ds_http_on_body(char *bytes, size_t one, size_t count, void *argument) {
    ds_http *http = argument;
    size_t size = one * count;
    http->heard = true;
    if (http->sink == NULL) {
        return refuse(http, DS_HTTP_ABORT_CANCELLED);
    }
    if (http->stream && http->status == 200) {
        http->sink->on_data(http->sink, bytes, size);
        return http->sink == NULL ? refuse(http, DS_HTTP_ABORT_CANCELLED) : size;
    }
    if (size > http->reply_max || http->reply.size > http->reply_max - size) {
        return refuse(http, DS_HTTP_ABORT_BODY_SIZE);
    }
    ds_buf_add(&http->reply, bytes, size);
    return http->reply.failed ? refuse(http, DS_HTTP_ABORT_MEMORY) : size;
}

/* ---- how often was it sent? -------------------------------------------------------------------------------------- */

int ds_http_on_send(void *argument, char *ip, char *local_ip, int port, int local_port) {
    ds_http *http = argument;
    (void)ip;
    (void)local_ip;
    (void)port;
    if (http->duplex) {
        ds_http_duplex_connected(http, local_port);
    }
    http->sends++;
    return 0; /* CURL_PREREQFUNC_OK, which older headers do not have */
}

int ds_http_on_trace(CURL *easy, curl_infotype kind, char *data, size_t size, void *argument) {
    ds_http *http = argument;
    (void)easy;
    /* The head of a request may be traced in several pieces; only the first begins with the method. */
    size_t method = strlen(http->method);
    if (kind == CURLINFO_HEADER_OUT && size > method && strncmp(data, http->method, method) == 0) {
        if (http->duplex && http->sends == 0) {
            ds_http_duplex_connected(http, 0);
        }
        http->sends++;
    }
    return 0;
}
