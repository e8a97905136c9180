/* The end of a process: exit() waits for clients that close, in a forked child as well. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../csrc/dsync.h"
#include "test.h"

static dsync_op *closing;

/* Registered before the library's own handler, and therefore run after it. */
static void look_at_exit(void) {
    if (closing != NULL) {
        _exit(dsync_op_done(closing) ? 0 : 1);
    }
}

/* A server that takes connections and never says a word. */
static int silent_server(char *url, size_t size) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        return -1;
    }
    (void)snprintf(url, size, "etcd://127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}

/* Ends this process while a client waits for an answer that its session has been ended. */
static void exit_while_closing(const char *url) {
    dsync_error error = {0};
    alarm(20);
    dsync_client *client = dsync_open(url, NULL, &error);
    dsync_lock *lock = client != NULL ? dsync_lock_new(client, "a", NULL, &error) : NULL;
    dsync_op *op = lock != NULL ? dsync_acquire_start(lock, NULL, &error) : NULL;
    if (op == NULL || dsync_op_wait(op, 50) != 0) {
        printf("  %s\n", error.message);
        _exit(2);
    }
    closing = dsync_close_start(client, 300, &error);
    exit(closing != NULL ? 0 : 3);
}

static int status_of(pid_t child) {
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}

TEST(exit_waits_for_closings) {
    char url[64];
    int fd = silent_server(url, sizeof url);
    REQUIRE(fd >= 0);
    pid_t child = fork();
    if (child == 0) {
        (void)atexit(look_at_exit);
        exit_while_closing(url);
    }
    CHECK_EQ_INT(status_of(child), 0);
    close(fd);
}

TEST(exit_waits_in_the_child_of_a_process_that_has_closed_clients) {
    char url[64];
    int fd = silent_server(url, sizeof url);
    REQUIRE(fd >= 0);
    pid_t parent = fork();
    if (parent == 0) {
        (void)atexit(look_at_exit);
        dsync_client *earlier = dsync_open("memory:", NULL, NULL);
        bool held = dsync_acquire(dsync_lock_new(earlier, "a", NULL, NULL), NULL, NULL) == DSYNC_OK;
        bool closed = dsync_close(earlier, -1, NULL) == DSYNC_OK;
        pid_t child = fork();
        if (child == 0) {
            exit_while_closing(url);
        }
        _exit(held && closed && status_of(child) == 0 ? 0 : 1);
    }
    CHECK_EQ_INT(status_of(parent), 0);
    close(fd);
}
