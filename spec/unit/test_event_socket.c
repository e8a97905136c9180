/* How a client shows that it has events: bytes on a socket of the host's, and a descriptor that is quiet again when
 * there is nothing left to take. */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../csrc/dsync.h"
#include "test.h"

typedef struct fixture {
    dsync_client *client;
    dsync_lock *held, *wanted;
    int ours, theirs; /* the pair of sockets */
} fixture;

static void begin(fixture *f, const char *url) {
    dsync_error error = {0};
    int pair[2] = {-1, -1};
    CHECK_EQ_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    f->ours = pair[0];
    f->theirs = pair[1];
    f->client = dsync_open(url, NULL, &error);
    CHECK_EQ_TEXT(error.message, "");
    f->held = dsync_lock_new(f->client, "a", NULL, &error);
    f->wanted = dsync_lock_new(f->client, "a", NULL, &error);
    CHECK_EQ_INT(dsync_acquire(f->held, NULL, &error), DSYNC_OK);
}

static void end(fixture *f) {
    dsync_lock_free(f->held);
    dsync_lock_free(f->wanted);
    CHECK_EQ_INT(dsync_close(f->client, -1, NULL), DSYNC_OK);
    dsync_client_unref(f->client);
    close(f->ours);
    close(f->theirs);
}

static int readable(int fd, int timeout_ms) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, timeout_ms) == 1;
}

static int bytes(int fd) {
    char buffer[64];
    ssize_t count = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    return count > 0 ? (int)count : 0;
}

/* An operation that has ended and says so. */
static dsync_op *contend(fixture *f) {
    dsync_acquire_options options;
    dsync_acquire_options_init(&options);
    options.wait_ms = 0;
    dsync_op *op = dsync_acquire_start(f->wanted, &options, NULL);
    CHECK(op != NULL);
    CHECK_EQ_INT(dsync_op_wait(op, 5000), 1);
    dsync_op_notify(op);
    return op;
}

static int drain(dsync_client *client) {
    dsync_event event;
    int count = 0;
    while (dsync_next_event(client, &event)) {
        count++;
    }
    return count;
}

TEST(a_byte_comes_when_events_begin_to_wait) {
    fixture f;
    begin(&f, "memory:byte");
    CHECK_EQ_INT(dsync_event_socket(f.client, f.theirs, NULL), DSYNC_OK);
    CHECK_EQ_INT(bytes(f.ours), 0);
    for (int round = 0; round < 3; round++) {
        dsync_op *one = contend(&f);
        dsync_op *two = contend(&f);
        CHECK_EQ_INT(readable(f.ours, 5000), 1);
        CHECK_EQ_INT(bytes(f.ours), 1); /* one for all that wait */
        CHECK_EQ_INT(drain(f.client), 2);
        CHECK_EQ_INT(bytes(f.ours), 0);
        dsync_op_free(one);
        dsync_op_free(two);
    }
    end(&f);
}

TEST(what_waits_already_is_told_at_once) {
    fixture f;
    begin(&f, "memory:already");
    dsync_op *op = contend(&f);
    CHECK_EQ_INT(dsync_event_socket(f.client, f.theirs, NULL), DSYNC_OK);
    CHECK_EQ_INT(bytes(f.ours), 1);
    int fd = dsync_fd(f.client, NULL);
    CHECK_EQ_INT(readable(fd, 0), 1); /* the other way of hearing of it as well */
    CHECK_EQ_INT(drain(f.client), 1);
    CHECK_EQ_INT(readable(fd, 0), 0);
    dsync_op_free(op);
    end(&f);
}

TEST(minus_one_ends_it_and_the_socket_stays_the_hosts) {
    fixture f;
    begin(&f, "memory:end");
    CHECK_EQ_INT(dsync_event_socket(f.client, f.theirs, NULL), DSYNC_OK);
    CHECK_EQ_INT(dsync_event_socket(f.client, -1, NULL), DSYNC_OK);
    dsync_op *op = contend(&f);
    CHECK_EQ_INT(bytes(f.ours), 0);
    dsync_op_free(op);
    CHECK_EQ_INT(send(f.theirs, "x", 1, MSG_NOSIGNAL), 1);
    CHECK_EQ_INT(bytes(f.ours), 1);
    end(&f);
}

TEST(a_reader_that_does_not_read_or_has_gone_stops_nobody) {
    fixture f;
    begin(&f, "memory:full");
    CHECK_EQ_INT(dsync_event_socket(f.client, f.theirs, NULL), DSYNC_OK);
    while (send(f.theirs, "full", 4, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    dsync_op_free(contend(&f));
    CHECK_EQ_INT(shutdown(f.ours, SHUT_RDWR), 0);
    dsync_op *op = contend(&f);
    CHECK_EQ_INT(drain(f.client), 1);
    dsync_op_free(op);
    end(&f);
}

/* A descriptor that stays readable for nothing makes a host's loop spin. */
TEST(an_event_that_nobody_took_leaves_no_descriptor_readable) {
    fixture f;
    begin(&f, "memory:withdrawn");
    int fd = dsync_fd(f.client, NULL);
    dsync_op *op = contend(&f);
    CHECK_EQ_INT(readable(fd, 0), 1);
    dsync_op_free(op);
    CHECK_EQ_INT(readable(fd, 0), 0);
    CHECK_EQ_INT(drain(f.client), 0);
    op = contend(&f);
    CHECK_EQ_INT(readable(fd, 0), 1);
    CHECK_EQ_INT(drain(f.client), 1);
    CHECK_EQ_INT(readable(fd, 0), 0);
    dsync_op_free(op);
    end(&f);
}

TEST(a_closed_client_takes_no_socket) {
    fixture f;
    begin(&f, "memory:closed");
    dsync_error error = {0};
    CHECK_EQ_INT(dsync_close(f.client, -1, NULL), DSYNC_OK);
    CHECK_EQ_INT(dsync_event_socket(f.client, f.theirs, &error), DSYNC_CLOSED);
    CHECK(error.message[0] != '\0');
    end(&f);
}
