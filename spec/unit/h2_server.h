/* h2_server.h: a small HTTP/2 server inside a unit test, over libnghttp2's server side: one thread for all connections,
 * one handler that decides everything. It does what servers must not do, too.
 */
#ifndef DS_TEST_H2_SERVER_H
#define DS_TEST_H2_SERVER_H

#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_CONNECTIONS 64
#define H2_BODY_MAX 4096

typedef struct h2_server h2_server;
typedef struct h2_connection h2_connection;

typedef struct h2_stream {
    h2_connection *connection;
    struct h2_stream *next;
    int32_t id;
    char method[16], path[256], head[2048]; /* head: every header as "name: value\n" */
    char body[H2_BODY_MAX + 1];
    size_t body_size;
    bool whole;  /* the request has ended */
    bool served; /* the handler has had it */
    /* The answer: `reply` (owned, freed with the stream) or `reply_size` bytes 'b' when it is NULL. */
    char *reply;
    size_t reply_size, reply_sent;
    bool holds; /* more of the answer will come */
    const char *trailer, *trailer_value;
} h2_stream;

struct h2_connection {
    h2_server *server;
    int fd;
    nghttp2_session *session;
    h2_stream *streams;
    bool deaf;      /* reads nothing any more */
    bool cut;       /* close it now, without another word */
    bool cut_after; /* close it when everything is written */
};

struct h2_server {
    int listener, wake, port;
    uint32_t most_streams;
    /* Called when a request has ended, for paths that begin with /duplex at its head and for each piece. */
    void (*handle)(h2_stream *stream);
    pthread_t thread;
    h2_connection connections[H2_CONNECTIONS];
    atomic_bool ends, drops;
    atomic_int accepted, requests, resets, pings, open, most_open;
};

/* `path` NULL: port `port`, or a free one, of 127.0.0.1; "::1": of that; else a unix socket. `most_streams` 0: any
 * number on one connection. */
bool h2_server_start(h2_server *self, const char *path, int port, uint32_t most_streams, void (*handle)(h2_stream *));
void h2_server_stop(h2_server *self);
/* Closes every connection the server has, as a crash would. */
void h2_server_drop_all(h2_server *self);

/* For handlers. */
void h2_more(h2_stream *stream, const char *bytes, size_t size); /* adds to `reply` */
/* `headers`: pairs of names and values, NULL ends. The body is what was put into `reply` before. */
void h2_answer(h2_stream *stream, const char *status, const char *const *headers);
void h2_reply(h2_stream *stream, const char *status, const char *body);
void h2_head_only(h2_stream *stream, const char *name, const char *value); /* which ends the stream */
void h2_reset(h2_stream *stream, uint32_t code);
/* Writes what there is. False: the connection is to be closed. */
bool h2_flush(h2_connection *connection);

#endif
