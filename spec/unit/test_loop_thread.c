/* test_loop_thread.c: the event loop's own thread: the signals that it takes, what an idle one costs, and how it
 * ends. */
#include "loop_fixture.h"

#include <dirent.h>
#include <limits.h>

/* ---- signals ----------------------------------------------------------------------------------------------------- */

/* Reads a line of the status of the thread called "dsync". ULLONG_MAX: there is no such thread. */
static unsigned long long thread_status(const char *field, int base) {
    DIR *folder = opendir("/proc/self/task");
    struct dirent *entry;
    unsigned long long value = ULLONG_MAX;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char path[300];
        char line[200];
        bool ours = false;
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "re");
        while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
            ours = ours || strcmp(line, "Name:\tdsync\n") == 0;
            if (ours && strncmp(line, field, strlen(field)) == 0) {
                value = strtoull(line + strlen(field) + 1, NULL, base);
            }
        }
        if (status != NULL) {
            (void)fclose(status);
        }
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    return value;
}

TEST(the_thread_hears_no_signals_but_the_synchronous_ones) {
    guard(20);
    ds_loop *loop = loop_new(false, true);
    pause_ms(50);
    unsigned long long blocked = thread_status("SigBlk:", 16);
    const int open[] = {SIGILL, SIGFPE, SIGSEGV, SIGBUS};
    const int closed[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGALRM, SIGCHLD, SIGPIPE, SIGPROF};
    for (size_t i = 0; i < DS_COUNT(open); i++) {
        CHECK((blocked >> (open[i] - 1) & 1u) == 0);
    }
    for (size_t i = 0; i < DS_COUNT(closed); i++) {
        CHECK((blocked >> (closed[i] - 1) & 1u) == 1);
    }
    sigset_t mine;
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mine);
    CHECK(sigismember(&mine, SIGUSR1) == 0);
    (void)loop_end(loop);
}

/* ---- costs ------------------------------------------------------------------------------------------------------- */

static long switches_of_this_thread(void) {
    FILE *status = fopen("/proc/thread-self/status", "re");
    char line[200];
    long value = -1;
    while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0) {
            value = strtol(line + 24, NULL, 10);
        }
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return value;
}

TEST(an_idle_loop_with_an_open_stream_hardly_wakes_up) {
    guard(30);
    server remote;
    REQUIRE(server_start(&remote, NULL, endless_answer, NULL));
    char origin[64];
    origin_of(&remote, origin, sizeof(origin));
    ds_endpoint endpoint = {.origin = origin};
    ds_loop *loop = loop_new(true, true);
    stream watch;
    flag far_away;
    flag_init(&far_away, loop);
    ds_loop_lock(loop);
    stream_open(&watch, loop, &endpoint);
    ds_timer_set(ds_loop_world(loop), &far_away.timer, ds_clock_ns() + 3600 * DS_SECOND);
    CHECK(ds_loop_wait(loop, &watch.begun, ds_clock_ns() + 5 * DS_SECOND));
    ds_loop_unlock(loop);

    pause_ms(300);
    unsigned long long idle = thread_status("voluntary_ctxt_switches:", 10);
    pause_ms(2000);
    idle = thread_status("voluntary_ctxt_switches:", 10) - idle;
    CHECK(idle < 10);

    bool never = false;
    long mine = switches_of_this_thread();
    ds_loop_lock(loop);
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 300 * DS_MS);
    unsigned long long other = thread_status("voluntary_ctxt_switches:", 10);
    (void)ds_loop_wait(loop, &never, ds_clock_ns() + 2 * DS_SECOND);
    other = thread_status("voluntary_ctxt_switches:", 10) - other;
    ds_loop_unlock(loop);
    mine = switches_of_this_thread() - mine;
    CHECK(mine < 12);
    CHECK(other < 10);
    (void)loop_end(loop);
    server_stop(&remote);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

TEST(finish_waits_for_nobody_and_runs_what_was_posted) {
    guard(20);
    for (int network = 0; network < 2; network++) {
        for (int ms = 0; ms < 12; ms += 3) {
            ds_loop *loop = loop_new(network == 1, true);
            flag one;
            flag_init(&one, loop);
            pause_ms(ms);
            ds_loop_lock(loop);
            ds_post(ds_loop_world(loop), &one.task);
            ds_loop_unlock(loop);
            int64_t begun = ds_clock_ns();
            CHECK(!loop_end(loop));
            CHECK(ds_clock_ns() - begun < 900 * DS_MS);
            CHECK(one.done);
        }
    }
}
