/* http.c: where an HTTP/1.1 message ends, and bytes over sockets. Nothing here knows a fault. */
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int64_t px_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * PX_SECOND + now.tv_nsec;
}

void px_sleep(int64_t ns) {
    if (ns > 0) {
        struct timespec pause = {ns / PX_SECOND, ns % PX_SECOND};
        nanosleep(&pause, NULL);
    }
}

bool px_add(px_text *text, const void *data, size_t size) {
    if (text->size + size + 1 > text->room) {
        size_t room = (text->size + size + 1) * 2;
        char *grown = realloc(text->data, room);
        if (grown == NULL) {
            return false;
        }
        text->data = grown;
        text->room = room;
    }
    memcpy(text->data + text->size, data, size);
    text->size += size;
    text->data[text->size] = '\0';
    return true;
}

void px_free(px_text *text) {
    free(text->data);
    *text = (px_text){0};
}

/* False: ended, failed, or too late. */
static bool more(int fd, px_text *text, int64_t until_ns) {
    char chunk[16384];
    struct pollfd wait = {fd, POLLIN, 0};
    int64_t left = until_ns - px_now();
    if (left <= 0 || poll(&wait, 1, (int)(left / PX_MS) + 1) <= 0) {
        return false;
    }
    ssize_t got = recv(fd, chunk, sizeof chunk, 0);
    return got > 0 && px_add(text, chunk, (size_t)got);
}

/* The value of a header, 0 characters long at the very least; NULL: not there. `head` ends with an empty line. */
static const char *header(const char *head, const char *name) {
    const char *line = head;
    size_t length = strlen(name);
    while ((line = strstr(line, "\r\n")) != NULL) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            line += length + 1;
            return line + strspn(line, " ");
        }
    }
    return NULL;
}

static bool chunks_ended(const px_message *m) {
    const char *body = m->text.data + m->head;
    size_t size = m->text.size - m->head;
    return (size == 5 && memcmp(body, "0\r\n\r\n", 5) == 0) ||
           (size >= 7 && memcmp(body + size - 7, "\r\n0\r\n\r\n", 7) == 0);
}

static bool read_head(int fd, px_message *m, int64_t until_ns) {
    const char *end;
    while (m->text.data == NULL || (end = strstr(m->text.data, "\r\n\r\n")) == NULL) {
        if (m->text.size > 65536 || !more(fd, &m->text, until_ns)) {
            return false;
        }
    }
    m->head = (size_t)(end - m->text.data) + 4;
    return true;
}

bool px_read(int fd, px_message *m, bool request, int64_t until_ns) {
    if (!read_head(fd, m, until_ns)) {
        return false;
    }
    char mark = m->text.data[m->head];
    m->text.data[m->head] = '\0';
    const char *length = header(m->text.data, "content-length");
    const char *coding = header(m->text.data, "transfer-encoding");
    size_t body = length != NULL ? (size_t)strtoull(length, NULL, 10) : 0;
    bool chunked = coding != NULL && strncasecmp(coding, "chunked", 7) == 0;
    m->text.data[m->head] = mark;
    m->stream = request && chunked;
    m->size = m->head + body;
    if (m->stream) {
        m->size = m->text.size;
        return true;
    }
    while (chunked ? !chunks_ended(m) : m->text.size < m->size) {
        if (!more(fd, &m->text, until_ns)) {
            return false;
        }
    }
    m->size = chunked ? m->text.size : m->size;
    return true;
}

void px_next(px_message *m) {
    size_t rest = m->text.size - m->size;
    if (m->text.data != NULL) {
        memmove(m->text.data, m->text.data + m->size, rest + 1);
    }
    m->text.size = rest;
    m->head = m->size = 0;
}

bool px_send(int fd, const void *data, size_t size) {
    const char *at = data;
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

int px_connect(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return fd;
}

bool px_ask(int port, const char *method, const char *target, const char *body, px_message *reply) {
    char request[700];
    int fd = px_connect(port);
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", method, target,
             strlen(body), body);
    bool done = fd >= 0 && px_send(fd, request, strlen(request)) && px_read(fd, reply, false, px_now() + 5 * PX_SECOND);
    if (fd >= 0) {
        close(fd);
    }
    return done && strstr(reply->text.data, " 200 OK") != NULL;
}

int px_occurrences(const char *text, const char *mark) {
    int found = 0;
    for (const char *at = text; (at = strstr(at, mark)) != NULL; at += strlen(mark)) {
        found++;
    }
    return found;
}

void px_reset(int fd) {
    struct linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}
