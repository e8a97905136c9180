/* h2_server.c: frames, sockets and the thread of the unit tests' HTTP/2 server. */
#include "h2_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- answering --------------------------------------------------------------------------------------------------- */

static ssize_t h2_on_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t size, uint32_t *flags,
                          nghttp2_data_source *source, void *user) {
    h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    (void)source;
    (void)user;
    size_t left = stream->reply_size - stream->reply_sent;
    size = size < left ? size : left;
    if (stream->reply != NULL) {
        memcpy(out, stream->reply + stream->reply_sent, size);
    } else {
        memset(out, 'b', size);
    }
    stream->reply_sent += size;
    if (stream->reply_sent < stream->reply_size) {
        return (ssize_t)size;
    }
    if (stream->holds) {
        return size > 0 ? (ssize_t)size : NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream->trailer != NULL) {
        nghttp2_nv trailer = {(uint8_t *)(uintptr_t)stream->trailer, (uint8_t *)(uintptr_t)stream->trailer_value,
                              strlen(stream->trailer), strlen(stream->trailer_value), 0};
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        (void)nghttp2_submit_trailer(session, id, &trailer, 1);
    }
    return (ssize_t)size;
}

void h2_more(h2_stream *stream, const char *bytes, size_t size) {
    char *grown = realloc(stream->reply, stream->reply_size + size + 1);
    if (grown != NULL) {
        memcpy(grown + stream->reply_size, bytes, size);
        stream->reply = grown;
        stream->reply_size += size;
        grown[stream->reply_size] = '\0';
    }
}

void h2_answer(h2_stream *stream, const char *status, const char *const *headers) {
    nghttp2_nv list[80];
    size_t count = 1;
    list[0] = (nghttp2_nv){(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t)status, 7, strlen(status), 0};
    for (; headers != NULL && headers[0] != NULL && count < 80; headers += 2) {
        list[count++] = (nghttp2_nv){(uint8_t *)(uintptr_t)headers[0], (uint8_t *)(uintptr_t)headers[1],
                                     strlen(headers[0]), strlen(headers[1]), 0};
    }
    nghttp2_data_provider body = {.read_callback = h2_on_read};
    (void)nghttp2_submit_response(stream->connection->session, stream->id, list, count, &body);
}

void h2_reply(h2_stream *stream, const char *status, const char *body) {
    h2_more(stream, body, strlen(body));
    h2_answer(stream, status, NULL);
}

void h2_head_only(h2_stream *stream, const char *name, const char *value) {
    nghttp2_nv list[2] = {{(uint8_t *)(uintptr_t) ":status", (uint8_t *)(uintptr_t) "200", 7, 3, 0},
                          {(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), 0}};
    (void)nghttp2_submit_response(stream->connection->session, stream->id, list, 2, NULL);
}

void h2_reset(h2_stream *stream, uint32_t code) {
    (void)nghttp2_submit_rst_stream(stream->connection->session, 0, stream->id, code);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static int h2_on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    h2_connection *connection = user;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    h2_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    stream->connection = connection;
    stream->id = frame->hd.stream_id;
    stream->next = connection->streams;
    connection->streams = stream;
    int open = atomic_fetch_add(&connection->server->open, 1) + 1;
    if (open > atomic_load(&connection->server->most_open)) {
        atomic_store(&connection->server->most_open, open);
    }
    (void)nghttp2_session_set_stream_user_data(session, stream->id, stream);
    return 0;
}

static int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                        const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
    h2_stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)flags;
    (void)user;
    if (stream == NULL) {
        return 0;
    }
    if (strcmp((const char *)name, ":method") == 0) {
        (void)snprintf(stream->method, sizeof(stream->method), "%s", (const char *)value);
    } else if (strcmp((const char *)name, ":path") == 0) {
        (void)snprintf(stream->path, sizeof(stream->path), "%s", (const char *)value);
    }
    size_t used = strlen(stream->head);
    (void)snprintf(stream->head + used, sizeof(stream->head) - used, "%.*s: %.*s\n", (int)name_size, (const char *)name,
                   (int)value_size, (const char *)value);
    return 0;
}

static void h2_serve(h2_stream *stream) {
    if (!stream->served) {
        atomic_fetch_add(&stream->connection->server->requests, 1);
    }
    stream->served = true;
    stream->connection->server->handle(stream);
}

static int h2_on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t size,
                       void *user) {
    h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    (void)flags;
    (void)user;
    if (stream == NULL) {
        return 0;
    }
    if (strncmp(stream->path, "/duplex", 7) == 0) {
        stream->body_size = 0; /* each piece by itself */
    }
    if (size > H2_BODY_MAX - stream->body_size) {
        size = H2_BODY_MAX - stream->body_size;
    }
    memcpy(stream->body + stream->body_size, bytes, size);
    stream->body_size += size;
    if (strncmp(stream->path, "/duplex", 7) == 0) {
        h2_serve(stream);
    }
    return 0;
}

static int h2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    h2_connection *connection = user;
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
        atomic_fetch_add(&connection->server->pings, 1);
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        atomic_fetch_add(&connection->server->resets, 1);
    }
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) {
        return 0;
    }
    h2_stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    bool duplex = stream != NULL && strncmp(stream->path, "/duplex", 7) == 0;
    if (stream != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        stream->whole = true;
    }
    if (stream != NULL && (stream->whole || (duplex && frame->hd.type == NGHTTP2_HEADERS))) {
        h2_serve(stream);
    }
    return 0;
}

static int h2_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    h2_connection *connection = user;
    (void)session;
    (void)code;
    for (h2_stream **at = &connection->streams; *at != NULL; at = &(*at)->next) {
        if ((*at)->id == id) {
            h2_stream *stream = *at;
            *at = stream->next;
            free(stream->reply);
            free(stream);
            atomic_fetch_sub(&connection->server->open, 1);
            break;
        }
    }
    return 0;
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void h2_connection_end(h2_connection *connection) {
    nghttp2_session_del(connection->session);
    connection->session = NULL;
    while (connection->streams != NULL) {
        (void)h2_on_close(NULL, connection->streams->id, 0, connection);
    }
    (void)close(connection->fd);
    connection->fd = -1;
}

bool h2_flush(h2_connection *connection) {
    const uint8_t *bytes;
    ssize_t size;
    while (!connection->cut && (size = nghttp2_session_mem_send(connection->session, &bytes)) > 0) {
        while (size > 0) {
            ssize_t sent = send(connection->fd, bytes, (size_t)size, MSG_NOSIGNAL);
            if (sent <= 0) {
                return false;
            }
            bytes += sent;
            size -= sent;
        }
    }
    return !connection->cut && !connection->cut_after;
}

static void h2_connection_read(h2_connection *connection) {
    static uint8_t bytes[64 * 1024];
    ssize_t got = recv(connection->fd, bytes, sizeof(bytes), 0);
    bool good = got > 0 && nghttp2_session_mem_recv(connection->session, bytes, (size_t)got) == got;
    if (!h2_flush(connection) || !good ||
        (!nghttp2_session_want_read(connection->session) && !nghttp2_session_want_write(connection->session))) {
        h2_connection_end(connection);
    }
}

static void h2_accept(h2_server *self) {
    int fd = accept4(self->listener, NULL, NULL, SOCK_CLOEXEC);
    h2_connection *connection = NULL;
    for (int i = 0; fd >= 0 && i < H2_CONNECTIONS && connection == NULL; i++) {
        connection = self->connections[i].fd < 0 ? &self->connections[i] : NULL;
    }
    if (connection == NULL) {
        return;
    }
    atomic_fetch_add(&self->accepted, 1);
    memset(connection, 0, sizeof(*connection));
    connection->server = self;
    connection->fd = fd;
    nghttp2_session_callbacks *callbacks;
    (void)nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, h2_on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_on_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, h2_on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_on_close);
    (void)nghttp2_session_server_new(&connection->session, callbacks, connection);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, self->most_streams};
    (void)nghttp2_submit_settings(connection->session, 0, &settings, self->most_streams > 0 ? 1 : 0);
    (void)h2_flush(connection);
}

static void *h2_server_main(void *argument) {
    h2_server *self = argument;
    while (!atomic_load(&self->ends)) {
        struct pollfd polled[H2_CONNECTIONS + 2] = {{.fd = self->listener, .events = POLLIN},
                                                    {.fd = self->wake, .events = POLLIN}};
        for (int i = 0; i < H2_CONNECTIONS; i++) {
            const h2_connection *connection = &self->connections[i];
            polled[i + 2] = (struct pollfd){.fd = connection->deaf ? -1 : connection->fd, .events = POLLIN};
        }
        (void)poll(polled, H2_CONNECTIONS + 2, 1000);
        uint64_t count;
        if (polled[1].revents != 0) {
            (void)!read(self->wake, &count, sizeof(count));
        }
        bool drop = atomic_load(&self->drops);
        for (int i = 0; i < H2_CONNECTIONS; i++) {
            h2_connection *connection = &self->connections[i];
            if (connection->fd >= 0 && drop) {
                h2_connection_end(connection);
            } else if (connection->fd >= 0 && polled[i + 2].fd == connection->fd && polled[i + 2].revents != 0) {
                h2_connection_read(connection);
            }
        }
        if (drop) {
            atomic_store(&self->drops, false);
        }
        if (polled[0].revents != 0) {
            h2_accept(self);
        }
    }
    for (int i = 0; i < H2_CONNECTIONS; i++) {
        if (self->connections[i].fd >= 0) {
            h2_connection_end(&self->connections[i]);
        }
    }
    return NULL;
}

static void nudge(h2_server *self) {
    uint64_t one = 1;
    (void)!write(self->wake, &one, sizeof(one));
}

bool h2_server_start(h2_server *self, const char *path, int port, uint32_t most_streams, void (*handle)(h2_stream *)) {
    memset(self, 0, sizeof(*self));
    for (int i = 0; i < H2_CONNECTIONS; i++) {
        self->connections[i].fd = -1;
    }
    self->handle = handle;
    self->most_streams = most_streams;
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in6 in6 = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr *address = (struct sockaddr *)&in;
    socklen_t size = sizeof(in);
    if (path != NULL && strcmp(path, "::1") == 0) {
        address = (struct sockaddr *)&in6;
        size = sizeof(in6);
    } else if (path != NULL) {
        (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
        address = (struct sockaddr *)&un;
        size = sizeof(un);
    }
    int one = 1;
    self->wake = eventfd(0, EFD_CLOEXEC);
    self->listener = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(self->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (self->listener < 0 || bind(self->listener, address, size) != 0 || listen(self->listener, 128) != 0) {
        return false;
    }
    if (path == NULL && getsockname(self->listener, address, &size) == 0) {
        self->port = ntohs(in.sin_port);
    }
    return pthread_create(&self->thread, NULL, h2_server_main, self) == 0;
}

void h2_server_drop_all(h2_server *self) {
    atomic_store(&self->drops, true);
    nudge(self);
    while (atomic_load(&self->drops)) {
        (void)usleep(1000);
    }
}

void h2_server_stop(h2_server *self) {
    atomic_store(&self->ends, true);
    nudge(self);
    (void)pthread_join(self->thread, NULL);
    (void)close(self->listener);
    (void)close(self->wake);
}
