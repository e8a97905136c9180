/* Forks: a holder's lock goes with the holder though its forked child lives; a child that opens the same database for
 * itself is a process like any other; containers with pid numbers of their own notice each other's death as well. */
#include "rig.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static dsync_client *client_of(const rig *r) {
    dsync_error error;
    dsync_client *client = dsync_open(r->url, NULL, &error);
    if (client == NULL) {
        (void)fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    return client;
}

static dsync_code acquire(dsync_lock *lock, int64_t wait_ms) {
    dsync_acquire_options options;
    dsync_error error;
    dsync_acquire_options_init(&options);
    options.wait_ms = wait_ms;
    return dsync_acquire(lock, &options, &error);
}

static dsync_lock *lock_of(dsync_client *client, const char *name) {
    dsync_error error;
    return dsync_lock_new(client, name, NULL, &error);
}

static void end(dsync_client *client, dsync_lock *lock) {
    dsync_error error;
    (void)dsync_close(client, -1, &error);
    dsync_lock_free(lock);
    dsync_client_unref(client);
}

/* In a process of its own: `body`, with the pipe's writing end. Returns its pid. */
static pid_t in_child(rig *r, int (*body)(rig *r, int out), int *in) {
    int ends[2];
    if (pipe(ends) != 0) {
        exit(1);
    }
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        _exit(body(r, ends[1]));
    }
    (void)close(ends[1]);
    *in = ends[0];
    return pid;
}

static bool await(int in) {
    char byte = 0;
    return read(in, &byte, 1) == 1 && byte == 'y';
}

static void tell(int out, bool what) {
    if (write(out, what ? "y" : "n", 1) != 1) {
        _exit(1);
    }
}

/* ---- a holder with a child --------------------------------------------------------------------------------------- */

static int hold_with_a_child(rig *r, int out) {
    dsync_lock *lock = lock_of(client_of(r), "a");
    bool held = acquire(lock, -1) == DSYNC_OK;
    pid_t child = fork();
    if (child == 0) {
        rig_sleep(4000 * RIG_MS); /* with everything it inherited still open */
        _exit(0);
    }
    tell(out, held);
    rig_sleep(60000 * RIG_MS);
    return 0;
}

static void the_child_of_a_killed_holder_holds_nothing(void) {
    rig *r = rig_new("child");
    int in = -1;
    pid_t holder = in_child(r, hold_with_a_child, &in);
    rig_expect(await(in), "the holder holds");
    dsync_client *client = client_of(r);
    dsync_lock *lock = lock_of(client, "a");
    rig_expect(acquire(lock, 50) == DSYNC_TIMEOUT, "and others do not");
    (void)kill(holder, SIGKILL);
    (void)waitpid(holder, NULL, 0);
    int64_t since = rig_now();
    dsync_code code = acquire(lock, 3000);
    double took = (double)(rig_now() - since) / 1e6;
    rig_expect(code == DSYNC_OK, "killed, with a forked child alive: free after %.1f ms (%s)", took,
               dsync_code_name(code));
    (void)close(in);
    end(client, lock);
    rig_free(r);
}

/* ---- a child with a client of its own ---------------------------------------------------------------------------- */

static dsync_lock *inherited;

static int use_it_too(rig *r, int out) {
    dsync_error error;
    bool dead = !dsync_held(inherited) && dsync_release(inherited, &error) == DSYNC_FORKED;
    dsync_client *client = client_of(r);
    dsync_lock *lock = lock_of(client, "a");
    tell(out, dead && acquire(lock, 0) == DSYNC_CONTENDED);
    bool got = acquire(lock, 5000) == DSYNC_OK;
    dsync_lock *other = lock_of(client, "b");
    for (int i = 0; i < 500 && got; i++) {
        got = acquire(other, 1000) == DSYNC_OK && dsync_release(other, &error) == DSYNC_OK;
    }
    tell(out, got && dsync_held(lock));
    rig_sleep(300 * RIG_MS);
    bool kept = dsync_held(lock) && dsync_release(lock, &error) == DSYNC_OK;
    dsync_lock_free(other);
    end(client, lock);
    return kept ? 0 : 1;
}

static void a_child_may_open_the_same_database(void) {
    rig *r = rig_new("family");
    dsync_error error;
    dsync_client *client = client_of(r);
    int in = -1, status = -1;
    inherited = lock_of(client, "a");
    rig_expect(acquire(inherited, -1) == DSYNC_OK, "the parent holds");
    pid_t child = in_child(r, use_it_too, &in);
    rig_expect(await(in), "a child's copy of the lock is dead, and its own client waits like any other");
    rig_expect(dsync_held(inherited) && dsync_release(inherited, &error) == DSYNC_OK,
               "the parent's is its own to release");
    rig_expect(await(in), "then the child holds, and goes on working");
    end(client, inherited); /* the parent closes the database, which must not take the log away from the child */
    client = client_of(r);
    dsync_lock *lock = lock_of(client, "a");
    rig_expect(acquire(lock, 0) == DSYNC_CONTENDED,
               "the child's lock is there after the parent closed and opened again");
    rig_expect(acquire(lock, 5000) == DSYNC_OK, "and free when the child releases it");
    (void)waitpid(child, &status, 0);
    rig_expect(status == 0, "the child held until then");
    (void)close(in);
    end(client, lock);
    rig_free(r);
}

/* ---- pid namespaces ---------------------------------------------------------------------------------------------- */

static int hold_elsewhere(rig *r, int out) {
    if (unshare(CLONE_NEWPID) != 0) {
        return 100;
    }
    pid_t first = fork(); /* process 1 of a namespace of its own */
    if (first == 0) {
        dsync_lock *lock = lock_of(client_of(r), "a");
        tell(out, acquire(lock, -1) == DSYNC_OK);
        rig_sleep(400 * RIG_MS);
        (void)kill(getpid(), SIGKILL); /* no effect on a process 1 */
        _exit(0);
    }
    (void)waitpid(first, NULL, 0);
    return 0;
}

static int wait_elsewhere(rig *r, int out) {
    if (unshare(CLONE_NEWPID) != 0) {
        return 100;
    }
    pid_t first = fork();
    if (first == 0) {
        dsync_client *client = client_of(r);
        dsync_lock *lock = lock_of(client, "a");
        int64_t since = rig_now();
        dsync_code code = acquire(lock, 5000);
        tell(out, code == DSYNC_OK && rig_now() - since > 100 * RIG_MS);
        end(client, lock);
        _exit(0);
    }
    (void)waitpid(first, NULL, 0);
    return 0;
}

static void processes_that_cannot_see_each_other(void) {
    rig *r = rig_new("namespaces");
    int holder_in = -1, waiter_in = -1;
    pid_t holder = in_child(r, hold_elsewhere, &holder_in);
    if (!await(holder_in)) {
        printf("skipped: pid namespaces cannot be made here\n");
    } else {
        pid_t waiter = in_child(r, wait_elsewhere, &waiter_in);
        rig_expect(await(waiter_in), "both number 1 in a namespace of its own: the end of one is noticed by the other");
        (void)waitpid(waiter, NULL, 0);
        (void)close(waiter_in);
    }
    (void)waitpid(holder, NULL, 0);
    (void)close(holder_in);
    rig_free(r);
}

int main(void) {
    the_child_of_a_killed_holder_holds_nothing();
    a_child_may_open_the_same_database();
    processes_that_cannot_see_each_other();
    return rig_result();
}
