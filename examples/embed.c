/* embed.c: a C program that holds a lock while it works, without Lua.
 *
 *   cc embed.c $(pkg-config --cflags --libs dsync) -o embed
 *   DSYNC_URL=etcd://127.0.0.1:2379 ./embed
 *
 * It waits for results with poll(), as a program with an event loop of its own would, and asks dsync_held() before each
 * step: the answer is computed from this machine's clock and needs no network.
 */
#include <poll.h>
#include <stdio.h>

#include "dsync.h"

static int complain(const char *what, dsync_code code, const char *message) {
    fprintf(stderr, "%s: %s: %s\n", what, dsync_code_name(code), message);
    return 1;
}

/* Takes events until `op` has ended. Losses are told here too, whatever the program is waiting for. */
static void run_until(dsync_client *client, dsync_op *op, dsync_lock *lock) {
    struct pollfd events = {.fd = dsync_fd(client, NULL), .events = POLLIN};
    dsync_op_notify(op);
    while (!dsync_op_done(op)) {
        dsync_event event;
        (void)poll(&events, 1, 1000);
        while (dsync_next_event(client, &event)) {
            if (event.type == DSYNC_EVENT_REVOKED && event.number == dsync_lock_number(lock)) {
                printf("lost: %s\n", dsync_reason_name(event.reason));
            }
        }
    }
}

static int work(dsync_client *client, dsync_lock *lock) {
    dsync_error error = {0};
    const char *message;
    dsync_op *op = dsync_acquire_start(lock, NULL, &error);
    if (op == NULL) {
        return complain("acquire", error.code, error.message);
    }
    run_until(client, op, lock);
    dsync_code code = dsync_op_result(op, &message);
    if (code != DSYNC_OK) {
        int failed = complain("acquire", code, message);
        dsync_op_free(op);
        return failed;
    }
    dsync_op_free(op);
    printf("held, token %lld\n", (long long)dsync_token(lock));
    for (int step = 1; step <= 3; step++) {
        if (!dsync_held(lock)) {
            printf("stopped before step %d\n", step);
            return 1;
        }
        printf("step %d\n", step);
    }
    code = dsync_release(lock, &error); /* blocking: this thread drives the client meanwhile */
    if (code != DSYNC_OK) {
        return complain("release", code, error.message);
    }
    printf("released\n");
    return 0;
}

int main(int argc, char **argv) {
    dsync_error error = {0};
    dsync_client *client = dsync_open(argc > 1 ? argv[1] : NULL, NULL, &error);
    if (client == NULL) {
        return complain("open", error.code, error.message);
    }
    dsync_lock *lock = dsync_lock_new(client, "example-embed", NULL, &error);
    int failed = lock == NULL ? complain("lock", error.code, error.message) : work(client, lock);
    dsync_lock_free(lock);
    if (dsync_close(client, -1, &error) != DSYNC_OK) {
        failed = complain("close", error.code, error.message);
    }
    dsync_client_unref(client);
    return failed;
}
