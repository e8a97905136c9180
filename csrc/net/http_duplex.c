/* http_duplex.c: requests whose body stays open while they are answered.
 *
 * While an upload is paused libcurl (7.88 at least) does not end the transfer, not even when the server has closed the
 * connection, and stops looking at the socket. So we look ourselves: the socket is polled beside libcurl's own, and
 * when it has ended, or has something that libcurl does not want any more, the upload is ended, upon which libcurl
 * finds out whether the answer was complete. (An orderly end followed by a close may be reported as a broken
 * connection, because the end of the upload cannot be sent any more.)
 */
#include "http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define UNHEARD_MAX 3u /* looks at bytes that libcurl leaves lying */

bool ds_http_watch_room(ds_http_client *client, size_t count) {
    if (count <= client->watched_capacity) {
        return true;
    }
    size_t capacity = count + 3;
    struct curl_waitfd *watched = ds_realloc(client->watched, capacity * sizeof(*watched));
    if (watched == NULL) {
        return false;
    }
    client->watched = watched;
    client->watched_capacity = capacity;
    return true;
}

bool ds_http_duplex_begin(ds_http *http) {
    ds_http_client *client = http->client;
    if (!ds_http_watch_room(client, client->duplex_count + 1)) {
        return false;
    }
    client->duplex_count++;
    ds_list_append(&client->duplexes, &http->duplex_node);
    return true;
}

void ds_http_duplex_end(ds_http *http) {
    if (!ds_list_empty(&http->duplex_node)) {
        ds_list_remove(&http->duplex_node);
        http->client->duplex_count--;
    }
}

static void resume(ds_http *http) {
    if (http->upload_paused) {
        http->upload_paused = false;
        (void)curl_easy_pause(http->easy, CURLPAUSE_CONT);
    }
}

void ds_http_duplex_resume(ds_http_client *client) {
    ds_list *node;
    while ((node = ds_list_pop(&client->uploads)) != NULL) {
        resume(DS_LIST_ENTRY(node, ds_http, upload_node));
    }
}

static int local_port_of(curl_socket_t fd) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        return -1;
    }
    if (address.ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)(const void *)&address)->sin6_port);
    }
    return address.ss_family == AF_INET ? ntohs(((const struct sockaddr_in *)(const void *)&address)->sin_port) : 0;
}

/* libcurl does not tell which socket a transfer uses while it lasts, but which local port it has. */
void ds_http_duplex_connected(ds_http *http, int local_port) {
    unsigned count = http->opened_count;
    unsigned most = (unsigned)DS_COUNT(http->opened);
    http->socket = count > 0 ? http->opened[(count - 1) % most] : CURL_SOCKET_BAD;
    for (unsigned i = 0; local_port > 0 && i < count && i < most; i++) {
        if (local_port_of(http->opened[i]) == local_port) {
            http->socket = http->opened[i];
        }
    }
}

static bool has_ended(ds_http *http) {
    char byte;
    ssize_t got = recv(http->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0) {
        http->unheard = http->heard ? 0 : http->unheard + 1;
    } else {
        http->unheard = 0;
    }
    http->heard = false;
    if (got < 0) {
        return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
    }
    return got == 0 || http->unheard >= UNHEARD_MAX;
}

void ds_http_duplex_look(ds_http_client *client) {
    client->watched_count = 0;
    for (ds_list *node = client->duplexes.next; node != &client->duplexes; node = node->next) {
        ds_http *http = DS_LIST_ENTRY(node, ds_http, duplex_node);
        if (http->upload_over || http->socket == CURL_SOCKET_BAD) {
            continue;
        }
        bool unwanted = http->head_ended && http->status != 200;
        if (http->upload_paused && (unwanted || has_ended(http))) {
            http->upload_over = true;
            resume(http);
        } else {
            client->watched[client->watched_count++] =
                (struct curl_waitfd){.fd = http->socket, .events = CURL_WAIT_POLLIN};
        }
    }
}

size_t ds_http_on_read(char *out, size_t one, size_t count, void *argument) {
    ds_http *http = argument;
    size_t size = one * count;
    if (http->sink == NULL) {
        return CURL_READFUNC_ABORT;
    }
    if (size > http->upload.size) {
        size = http->upload.size;
    }
    if (http->upload_over) {
        return 0;
    }
    if (size == 0) {
        http->upload_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    memcpy(out, http->upload.data, size);
    ds_buf_consume(&http->upload, size);
    return size;
}

bool ds_http_send(ds_http_client *client, ds_http *http, const void *bytes, size_t count) {
    if (!http->duplex || http->sink == NULL || http->upload_over) {
        return false;
    }
    ds_buf_add(&http->upload, bytes, count);
    if (http->upload.failed) {
        http->upload.failed = false; /* nothing was added; what is there may still go out */
        return false;
    }
    if (http->state == DS_HTTP_ACTIVE && ds_list_empty(&http->upload_node)) {
        ds_list_append(&client->uploads, &http->upload_node);
    }
    return true;
}
