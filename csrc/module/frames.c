/* frames.c: refuses what would be the end of libzookeeper, and of the process with it. At an answer that nobody asked
 * for the library fails an assertion; of a frame that is too short it reads on behind its end; and for one of an
 * impossible length it finds no memory and then waits, while its socket stays readable, for the rest of its patience.
 * Here such a connection is broken instead, which the library survives: it tries the next server.
 *
 * And keeps a connection's end from it until it reads. Where it cannot send, it closes the socket without a word:
 * requests that were under way are neither answered nor lost, and watches asked for then are never set.
 *
 * Seen by nobody but the library, which is linked into the same module: its connect, send and recv are these. Knows
 * where frames begin and whose number an answer has, and nothing of what is in them.
 */
#include "frames.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LENGTH 4
#define LEAST 16                          /* number, zxid, error */
#define MOST ((uint32_t)1024 * 1024 * 64) /* far beyond what any server is allowed to send (jute.maxbuffer: 1 MB) */

static _Thread_local zk_frames *present;

zk_frames *zk_frames_begin(zk_frames *frames) {
    zk_frames *before = present;
    present = frames;
    return before;
}

void zk_frames_answered(void) {
    if (present != NULL && present->asked > 0) {
        present->asked--;
    }
}

static uint32_t word(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Numbers of what the server says without a request of ours: an event, a ping's answer, that of credentials, of
 * watches. */
static bool is_special(int32_t number) {
    return number == -1 || number == -2 || number == -4 || number == -8;
}

/* The library never reads beyond the end of a frame. */
static bool fits(zk_frames *f, const unsigned char *bytes, size_t count) {
    bool length_known = f->at >= LENGTH, number_known = f->at >= sizeof(f->head);
    if (!number_known) {
        size_t room = sizeof(f->head) - f->at;
        memcpy(f->head + f->at, bytes, count < room ? count : room);
    }
    f->at += count;
    uint32_t length = f->at >= LENGTH ? word(f->head) : LEAST;
    if (!length_known && (length < LEAST || length > MOST)) {
        return false;
    }
    if (!number_known && f->at >= sizeof(f->head) && f->asked == 0 && !is_special((int32_t)word(f->head + LENGTH))) {
        return false;
    }
    if (f->at == (size_t)length + LENGTH) {
        f->at = 0;
    }
    return true;
}

/* The first that comes has a length that is known to the library beforehand. */
static void greet(zk_frames *f, size_t wanted, size_t count) {
    f->greeting = f->greeting == 0 ? wanted : f->greeting;
    f->greeting -= count;
    f->greeted = f->greeting == 0;
}

__attribute__((visibility("hidden"))) int connect(int fd, const struct sockaddr *address, socklen_t size) {
    if (present != NULL) {
        *present = (zk_frames){.asked = present->asked, .ending = present->ending};
    }
    return (int)syscall(SYS_connect, fd, address, size);
}

/* What is broken is also readable: the loop will find out. */
__attribute__((visibility("hidden"))) ssize_t send(int fd, const void *data, size_t size, int flags) {
    ssize_t sent = sendto(fd, data, size, flags, NULL, 0);
    if (sent < 0 && (present == NULL || !present->ending)) {
        errno = EAGAIN;
    }
    return sent;
}

__attribute__((visibility("hidden"))) ssize_t recv(int fd, void *to, size_t size, int flags) {
    ssize_t got = recvfrom(fd, to, size, flags, NULL, NULL);
    zk_frames *f = present;
    if (got <= 0 || f == NULL) {
        return got;
    }
    if (!f->greeted) {
        greet(f, size, (size_t)got);
    } else if (!fits(f, to, (size_t)got)) {
        errno = EBADMSG;
        return -1;
    }
    return got;
}
