/* http_server.c: sockets and threads of the unit tests' HTTP server. */
#include "http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct server_connection {
    server *server;
    int index;
    int fd;
} server_connection;

bool server_write(int fd, const void *bytes, size_t size) {
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

bool server_say(int fd, const char *text) {
    return server_write(fd, text, strlen(text));
}

bool server_reply(int fd, int status, const char *headers, const char *body) {
    char head[512];
    (void)snprintf(head, sizeof(head), "HTTP/1.1 %d Whatever\r\n%sContent-Length: %zu\r\n\r\n", status, headers,
                   strlen(body));
    struct iovec parts[2] = {{head, strlen(head)}, {(char *)(uintptr_t)body, strlen(body)}};
    struct msghdr all = {.msg_iov = parts, .msg_iovlen = 2};
    return sendmsg(fd, &all, MSG_NOSIGNAL) == (ssize_t)(parts[0].iov_len + parts[1].iov_len);
}

bool server_is(const server_request *request, const char *method, const char *target) {
    char line[256];
    (void)snprintf(line, sizeof(line), "%s %s HTTP/1.1\r\n", method, target);
    return strncmp(request->text, line, strlen(line)) == 0;
}

/* Reads one request: its head, and a body of Content-Length. What a client sends beyond is a test's own to read. */
static bool server_read(server_request *request) {
    request->size = 0;
    request->text[0] = '\0';
    size_t want = 0;
    for (;;) {
        char *end = strstr(request->text, "\r\n\r\n");
        if (end != NULL && want == 0) {
            char *length = strcasestr(request->text, "\r\nContent-Length:");
            size_t body = length != NULL && length < end ? (size_t)strtoul(length + 17, NULL, 10) : 0;
            want = (size_t)(end + 4 - request->text) + body;
        }
        if (want > 0 && request->size >= want) {
            request->body = end + 4;
            request->body_size = request->size - (size_t)(end + 4 - request->text);
            return true;
        }
        if (request->size >= SERVER_REQUEST_MAX) {
            return false;
        }
        ssize_t got = recv(request->fd, request->text + request->size, SERVER_REQUEST_MAX - request->size, 0);
        if (got <= 0) {
            return false;
        }
        request->size += (size_t)got;
        request->text[request->size] = '\0';
    }
}

static void *server_connection_main(void *argument) {
    server_connection *connection = argument;
    server *self = connection->server;
    server_request *request = malloc(sizeof(*request));
    if (request != NULL) {
        request->server = self;
        request->fd = connection->fd;
        request->nth = 0;
        while (server_read(request)) {
            request->nth++;
            atomic_fetch_add(&self->requests, 1);
            if (!self->handle(request)) {
                break;
            }
        }
        free(request);
    }
    pthread_mutex_lock(&self->mutex);
    (void)close(connection->fd);
    self->fds[connection->index] = -1;
    pthread_mutex_unlock(&self->mutex);
    free(connection);
    return NULL;
}

static void *server_main(void *argument) {
    server *self = argument;
    for (;;) {
        int fd = accept(self->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        server_connection *connection = malloc(sizeof(*connection));
        pthread_mutex_lock(&self->mutex);
        if (connection == NULL || self->count == SERVER_CONNECTIONS) {
            (void)close(fd);
            free(connection);
        } else {
            atomic_fetch_add(&self->connections, 1);
            connection->server = self;
            connection->index = self->count++;
            connection->fd = fd;
            self->fds[connection->index] = fd;
            (void)pthread_create(&self->threads[connection->index], NULL, server_connection_main, connection);
        }
        pthread_mutex_unlock(&self->mutex);
    }
}

bool server_start(server *self, const char *path, bool (*handle)(server_request *), void *context) {
    memset(self, 0, sizeof(*self));
    self->handle = handle;
    self->context = context;
    (void)pthread_mutex_init(&self->mutex, NULL);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr *address = (struct sockaddr *)&in;
    socklen_t size = sizeof(in);
    if (path != NULL) {
        (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
        address = (struct sockaddr *)&un;
        size = sizeof(un);
    }
    self->listener = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (self->listener < 0 || bind(self->listener, address, size) != 0 || listen(self->listener, 128) != 0) {
        return false;
    }
    if (path == NULL && getsockname(self->listener, address, &size) == 0) {
        self->port = ntohs(in.sin_port);
    }
    return pthread_create(&self->thread, NULL, server_main, self) == 0;
}

void server_drop_all(server *self) {
    pthread_mutex_lock(&self->mutex);
    for (int i = 0; i < self->count; i++) {
        if (self->fds[i] >= 0) {
            (void)shutdown(self->fds[i], SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&self->mutex);
}

void server_stop(server *self) {
    (void)shutdown(self->listener, SHUT_RDWR);
    (void)pthread_join(self->thread, NULL);
    (void)close(self->listener);
    server_drop_all(self);
    for (int i = 0; i < self->count; i++) {
        (void)pthread_join(self->threads[i], NULL);
    }
    (void)pthread_mutex_destroy(&self->mutex);
}
