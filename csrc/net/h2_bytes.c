/* h2_bytes.c: what is read from and written to a connection. Whatever is to be said in one turn of the loop is written
 * at once; when the socket takes no more, the rest waits in libnghttp2.
 */
#include "h2.h"

#if __has_include(<nghttp2/nghttp2.h>)

#include "h2_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define OUT_MAX ((size_t)64 * 1024) /* more is not asked of libnghttp2 before this has been written */
#define READS_MAX 16                /* then others have their turn */

/* Servers measure the way with a PING beside every answer. The replies to these travel with the next request, which
 * saves a system call on either side; those that open windows do not wait when much has come. */
#define COURTESY_NS (5 * DS_MS)
#define COURTESY_BYTES ((size_t)64 * 1024)

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* A server that speaks HTTP/2 begins with a frame of settings. */
static bool greets(const ds_h2_link *link) {
    static const char expected[] = {4, 0, 0, 0, 0, 0}; /* type, flags, stream */
    const unsigned char *head = (const unsigned char *)link->greeting;
    for (size_t i = 3; i < link->greeting_size; i++) {
        if (link->greeting[i] != expected[i - 3]) {
            return false;
        }
    }
    return head[0] == 0 && (link->greeting_size < 2 || head[1] <= 0x40);
}

static bool check_greeting(ds_h2_link *link, const char *bytes, size_t size) {
    size_t room = sizeof(link->greeting) - link->greeting_size;
    memcpy(link->greeting + link->greeting_size, bytes, size < room ? size : room);
    link->greeting_size += size < room ? size : room;
    if (greets(link)) {
        return true;
    }
    size_t compared = link->greeting_size < 5 ? link->greeting_size : 5;
    bool older = memcmp(link->greeting, "HTTP/", compared) == 0;
    ds_h2_link_fail(link, DSYNC_UNSUPPORTED, true, "%s",
                    older ? "the server speaks an older HTTP than HTTP/2"
                          : "what answers there does not speak HTTP/2; is this the right port?");
    return false;
}

static const char breaks_rules[] = "the server breaks the rules of HTTP/2; is it the right port?";

static void take(ds_h2_link *link, const char *bytes, size_t size) {
    if (link->greeting_size < sizeof(link->greeting) && !check_greeting(link, bytes, size)) {
        return;
    }
    link->client->starved = false;
    ssize_t taken = nghttp2_session_mem_recv(link->session, (const uint8_t *)bytes, size);
    link->unthanked += size;
    if (taken == NGHTTP2_ERR_NOMEM || link->client->starved) {
        ds_h2_link_fail(link, DSYNC_RESOURCE, false, "out of memory");
    } else if (taken < 0 || (!link->leaving && !nghttp2_session_check_request_allowed(link->session))) {
        ds_h2_link_fail(link, DSYNC_PROTOCOL, false, "%s", breaks_rules);
    }
}

static void broken(ds_h2_link *link, int err) {
    if (link->stage == DS_H2_GREETING) {
        bool closed = err == 0 || err == ECONNRESET || err == EPIPE;
        ds_h2_link_fail(link, DSYNC_OK, closed, "%s",
                        closed ? "the server closes the connection instead of speaking HTTP/2"
                               : "the connection broke before anything was sent");
    } else {
        ds_h2_link_fail(link, DSYNC_OK, false,
                        err == 0 ? "the server closed the connection before the answer was complete"
                                 : "the connection broke before the answer was complete");
    }
}

void ds_h2_link_read(ds_h2_link *link) {
    ds_h2_client *client = link->client;
    for (int i = 0; i < READS_MAX && !link->failed; i++) {
        ssize_t got = recv(link->fd.fd, client->in, sizeof(client->in), MSG_DONTWAIT);
        if (got > 0) {
            if (i == 0) {
                ds_h2_link_heard(link);
            }
            take(link, client->in, (size_t)got);
            if ((size_t)got < sizeof(client->in)) {
                return;
            }
        } else if (got == 0) {
            broken(link, 0);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR) {
            broken(link, errno);
        }
    }
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool fill(ds_h2_link *link) {
    link->client->starved = false;
    while (link->out.size - link->out_written < OUT_MAX) {
        const uint8_t *bytes;
        ssize_t size = nghttp2_session_mem_send(link->session, &bytes);
        bool starved = link->client->starved;
        if (size == 0 && !starved) {
            return true;
        }
        if (size > 0) {
            ds_buf_add(&link->out, bytes, (size_t)size);
            link->framed += (uint64_t)size;
        }
        if (size < 0 || starved || link->out.failed) { /* what is lost cannot be made up for */
            bool memory = size >= 0 || starved || size == NGHTTP2_ERR_NOMEM;
            ds_h2_link_fail(link, memory ? DSYNC_RESOURCE : DSYNC_PROTOCOL, false, "%s",
                            memory ? "out of memory" : "the server breaks the rules of HTTP/2");
            return false;
        }
    }
    return true;
}

/* False: nothing more to write, or not now. */
static bool write_some(ds_h2_link *link) {
    size_t left = link->out.size - link->out_written;
    if (left == 0) {
        return false;
    }
    ssize_t sent = send(link->fd.fd, link->out.data + link->out_written, left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        if (errno == EINTR) {
            return true;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            int err = errno;
            ds_h2_link_read(link); /* it may have said something before it went */
            if (!link->failed) {
                broken(link, err);
            }
        }
        return false;
    }
    link->written += (uint64_t)sent;
    link->out_written += (size_t)sent;
    ds_wipe(link->out.data + link->out_written - sent, (size_t)sent);
    if (link->out_written == link->out.size) {
        link->out_written = 0;
        if (link->out.capacity > 4 * OUT_MAX) {
            ds_buf_free(&link->out);
        }
        ds_buf_clear(&link->out);
    } else if (link->out_written > OUT_MAX) {
        ds_buf_consume(&link->out, link->out_written);
        link->out_written = 0;
    }
    return true;
}

void ds_h2_link_write(ds_h2_link *link) {
    link->news = false;
    link->unthanked = 0;
    ds_timer_stop(link->client->world, &link->courtesy);
    do {
        if (!fill(link)) {
            return;
        }
    } while (write_some(link));
    if (!link->failed && link->count > 0 && !nghttp2_session_want_read(link->session)) {
        ds_h2_link_fail(link, DSYNC_PROTOCOL, false, "%s", breaks_rules);
    }
    if (!link->failed) {
        ds_h2_link_watch(link);
    }
}

void ds_h2_link_ready(ds_fd *fd, unsigned events) {
    ds_h2_link *link = DS_CONTAINER_OF(fd, ds_h2_link, fd);
    link->client->news = true; /* ds_h2_run writes what there is to say, and tells what has ended */
    if ((events & DS_FD_READ) != 0) {
        ds_h2_link_read(link);
    }
    link->news = link->news || (events & DS_FD_WRITE) != 0 || link->unthanked > COURTESY_BYTES;
    if (!link->news && !link->failed && link->courtesy.index == 0 && nghttp2_session_want_write(link->session)) {
        ds_timer_set(link->client->world, &link->courtesy, ds_now(link->client->world) + COURTESY_NS);
    }
}

void ds_h2_link_on_courtesy(ds_timer *timer) {
    ds_h2_link *link = DS_CONTAINER_OF(timer, ds_h2_link, courtesy);
    link->news = link->client->news = true;
}

#endif
