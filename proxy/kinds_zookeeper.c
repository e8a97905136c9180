/* kinds_zookeeper.c: what is left on a ZooKeeper. What its requests are for: frames.c. */
#include "proxy.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 5000

/* What the server says to one of its four-letter words, to the end. */
static bool ask(int port, const char *word, px_text *out) {
    char chunk[16384];
    int fd = px_connect(port);
    bool done = fd >= 0 && px_send(fd, word, strlen(word));
    while (done) {
        struct pollfd wait = {fd, POLLIN, 0};
        ssize_t got = poll(&wait, 1, PATIENCE_MS) == 1 ? recv(fd, chunk, sizeof chunk, 0) : -1;
        if (got <= 0) {
            done = got == 0;
            break;
        }
        done = px_add(out, chunk, (size_t)got);
    }
    if (fd >= 0) {
        close(fd);
    }
    return done && out->data != NULL;
}

static int keys(int port, bool sessions, px_message *shown) {
    px_free(&shown->text);
    *shown = (px_message){0};
    if (!ask(port, "dump", &shown->text)) {
        return -1;
    }
    const char *nodes = strstr(shown->text.data, "ephemeral nodes dump");
    if (nodes == NULL) {
        return -1;
    }
    shown->head = (size_t)(nodes - shown->text.data);
    return px_occurrences(nodes, "/proxy/lock/") + px_occurrences(nodes, "/proxy/leader/") +
           (sessions ? px_occurrences(nodes, "/proxy/session/") : 0);
}

static int sessions(int port) {
    px_text reply = {0};
    int found = -1;
    if (ask(port, "dump", &reply)) {
        char *end = strstr(reply.data, "ephemeral nodes dump");
        if (end != NULL) {
            *end = '\0';
            found = px_occurrences(reply.data, "\t0x");
        }
    }
    px_free(&reply);
    return found;
}

const px_store px_zookeeper = {
    .name = "zookeeper",
    .scheme = "zookeeper",
    .ttl_ms = 4000,
    .per_mille = 80, /* each ends a connection that all requests of a session share */
    .frames = true,
    .keys = keys,
    .sessions = sessions,
};
