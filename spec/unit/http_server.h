/* http_server.h: a small HTTP server inside a unit test: one thread per connection, one handler that decides
 * everything. It does what servers must not do, too. Not strict about what it reads. What it answers is the
 * handler's.
 */
#ifndef DS_TEST_HTTP_SERVER_H
#define DS_TEST_HTTP_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define SERVER_CONNECTIONS 256
#define SERVER_REQUEST_MAX 65536

typedef struct server server;

typedef struct server_request {
    server *server;
    int fd;
    int nth;                           /* on this connection, from 1 */
    char text[SERVER_REQUEST_MAX + 1]; /* head and what has come of the body */
    size_t size;
    char *body; /* in text */
    size_t body_size;
} server_request;

struct server {
    int listener;
    int port;
    bool (*handle)(server_request *request); /* false: close the connection */
    void *context;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_t threads[SERVER_CONNECTIONS];
    int fds[SERVER_CONNECTIONS];
    int count;
    atomic_int connections, requests;
};

/* `path` NULL: a free port of 127.0.0.1; else a unix socket. */
bool server_start(server *self, const char *path, bool (*handle)(server_request *), void *context);
void server_stop(server *self);
/* Closes every connection the server has, as a crash would. */
void server_drop_all(server *self);

/* For handlers. False: the client is gone. */
bool server_write(int fd, const void *bytes, size_t size);
bool server_say(int fd, const char *text);
/* `headers`: whole lines, each with its end. Sent at once with the body. */
bool server_reply(int fd, int status, const char *headers, const char *body);
bool server_is(const server_request *request, const char *method, const char *target);

#endif
