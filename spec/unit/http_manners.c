/* http_manners.c: what the server of the HTTP tests does on each path. It knows of no test. */
#include "http_manners.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

atomic_int http_most_in_flight;
atomic_int http_before_urgent;
atomic_bool http_await_urgent;
static atomic_int in_flight;

static void pause_ms(int ms) {
    (void)usleep((useconds_t)ms * 1000);
}

static bool path_is(const server_request *request, const char *target) {
    const char *space = strchr(request->text, ' ');
    size_t size = strlen(target);
    return space != NULL && strncmp(space + 1, target, size) == 0 && space[1 + size] == ' ';
}

static bool reply_many_headers(const server_request *request, int lines, int size) {
    bool ok = server_say(request->fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; ok && i < lines; i++) {
        char line[4096];
        (void)snprintf(line, sizeof(line), "X-%d: %0*d\r\n", i, size, 0);
        ok = server_say(request->fd, line);
    }
    return ok && server_say(request->fd, "Content-Length: 0\r\n\r\n");
}

static bool serve_pieces(const server_request *request) {
    bool ok = server_say(request->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; ok && i < 5; i++) {
        ok = server_say(request->fd, "6\r\npiece\n\r\n");
        pause_ms(5);
    }
    return ok && server_say(request->fd, "0\r\n\r\n");
}

/* Echoes what is uploaded, at once, while the upload goes on; "bye" ends it. */
static bool serve_duplex(const server_request *request) {
    char bytes[4096];
    ssize_t got = 0;
    bool ok = strstr(request->text, "Connection: close\r\n") != NULL &&
              strstr(request->text, "Transfer-Encoding: chunked\r\n") != NULL &&
              server_say(request->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    (void)snprintf(bytes, sizeof(bytes), "%s", request->body);
    got = (ssize_t)strlen(bytes);
    while (ok) {
        if (got > 0) {
            bytes[got] = '\0';
            char chunk[4200];
            (void)snprintf(chunk, sizeof(chunk), "%zx\r\n%s\r\n", strlen(bytes), bytes);
            ok = server_say(request->fd, chunk);
            if (strstr(bytes, "bye") != NULL) {
                (void)server_say(request->fd, "0\r\n\r\n");
                break;
            }
        }
        got = recv(request->fd, bytes, sizeof(bytes) - 200, 0);
        ok = ok && got > 0;
    }
    return false;
}

static bool serve_counted(const server_request *request) {
    int now = atomic_fetch_add(&in_flight, 1) + 1;
    int most = atomic_load(&http_most_in_flight);
    while (now > most && !atomic_compare_exchange_weak(&http_most_in_flight, &most, now)) {
    }
    pause_ms(20);
    for (int i = 0; i < 100 && atomic_load(&http_await_urgent); i++) {
        pause_ms(10);
    }
    atomic_fetch_sub(&in_flight, 1);
    return server_reply(request->fd, 200, "", "counted");
}

bool http_serve(server_request *request) {
    int fd = request->fd;
    if (path_is(request, "/echo")) {
        char method[16];
        (void)snprintf(method, sizeof(method), "%.*s", (int)strcspn(request->text, " "), request->text);
        char body[2048];
        (void)snprintf(body, sizeof(body), "%s:%s", method, request->body);
        return server_reply(fd, 200, "X-Wanted: yes \r\nx-second:two\r\nX-Wanted: again\r\n", body);
    }
    if (path_is(request, "/head")) {
        *(request->body - 2) = '\0';
        return server_reply(fd, 200, "", request->text);
    }
    if (path_is(request, "/missing")) {
        return server_reply(fd, 404, "", "no such thing");
    }
    if (path_is(request, "/redirect")) {
        return server_reply(fd, 301, "Location: /echo\r\n", "");
    }
    if (path_is(request, "/nothing")) {
        return false;
    }
    if (path_is(request, "/half")) {
        (void)server_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
        return false;
    }
    if (path_is(request, "/halfhead")) {
        (void)server_say(fd, "HTTP/1.1 200 OK\r\nContent-Le");
        return false;
    }
    if (path_is(request, "/garbage")) {
        (void)server_say(fd, "220 mail.example.org ESMTP ready\r\n");
        return false;
    }
    if (path_is(request, "/big")) {
        char big[3000];
        memset(big, 'b', sizeof(big));
        big[sizeof(big) - 1] = '\0';
        return server_reply(fd, 200, "", big);
    }
    if (path_is(request, "/gzip")) {
        return server_reply(fd, 200, "Content-Encoding: gzip\r\n", "not decoded");
    }
    if (path_is(request, "/headers")) {
        return reply_many_headers(request, 100, 10);
    }
    if (path_is(request, "/longheaders")) {
        return reply_many_headers(request, 20, 2000);
    }
    if (path_is(request, "/interim")) {
        (void)server_say(fd, "HTTP/1.1 103 Early\r\nX-Wanted: no\r\n\r\n");
        return server_reply(fd, 200, "X-Wanted: yes\r\n", "late");
    }
    if (path_is(request, "/slow")) {
        pause_ms(300);
        return server_reply(fd, 200, "", "slow");
    }
    if (path_is(request, "/pieces")) {
        return serve_pieces(request);
    }
    if (path_is(request, "/duplex")) {
        return serve_duplex(request);
    }
    if (path_is(request, "/breaks")) { /* says that it goes on, and goes */
        (void)server_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhi!\r\n");
        pause_ms(30);
        return false;
    }
    if (path_is(request, "/ends")) {
        (void)server_say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhi!\r\n");
        pause_ms(30);
        (void)server_say(fd, "0\r\n\r\n");
        pause_ms(30);
        return false;
    }
    if (path_is(request, "/counted")) {
        return serve_counted(request);
    }
    if (path_is(request, "/urgent")) {
        atomic_store(&http_before_urgent, atomic_load(&request->server->requests));
        atomic_store(&http_await_urgent, false);
        return server_reply(fd, 200, "", "urgent");
    }
    if (path_is(request, "/dies")) { /* as a server does that closes an idle connection just now */
        return request->nth == 1 ? server_reply(fd, 200, "", "alive") : false;
    }
    return server_reply(fd, 404, "", "?");
}
