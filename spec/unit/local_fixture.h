/* local_fixture.h: memory_fixture.h for local: the same clients in virtual time, on databases in a folder of the test's
 * own, which is the current folder while the tests run. */
#ifndef LOCAL_FIXTURE_H
#define LOCAL_FIXTURE_H

#define MAKE_BACKEND ds_local_backend
#include "memory_fixture.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char test_folder[64];
static pid_t test_process;

static void remove_test_folder(void) {
    char command[100];
    (void)snprintf(command, sizeof(command), "rm -rf %s", test_folder);
    if (getpid() == test_process && system(command) != 0) {
        perror(command);
    }
}

__attribute__((constructor)) static void make_test_folder(void) {
    (void)snprintf(test_folder, sizeof(test_folder), "/tmp/dsync-unit-XXXXXX");
    if (mkdtemp(test_folder) == NULL || chdir(test_folder) != 0) {
        perror("cannot make a folder for the tests");
        exit(1);
    }
    test_process = getpid();
    (void)atexit(remove_test_folder);
}

/* Says something to a database as another program would. False: it refused. */
TEST_UNUSED static bool sql(const char *file, const char *text) {
    sqlite3 *db = NULL;
    bool done = sqlite3_open(file, &db) == SQLITE_OK && sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK;
    (void)sqlite3_close(db);
    return done;
}

/* A client of the database `file`, without a session. */
TEST_UNUSED static client local_client(fw *u, const char *file) {
    client c = client_new(u, "c");
    c.backend->ops->destroy(c.backend);
    c.backend = backend_on(fw_add_world(u), file, "c");
    return c;
}

/* What opening a session on `file` is answered; the message in `why`, of 256 bytes. */
TEST_UNUSED static dsync_code opening(const char *file, char *why) {
    fw *u = fw_new(1);
    client c = local_client(u, file);
    answer a;
    prepare(&a, u)->call.done = on_answer;
    why[0] = '\0';
    CALL(&c, &a, open, &c.lease);
    dsync_code code = a.reply.outcome == DS_OK        ? DSYNC_OK
                      : a.reply.outcome == DS_REFUSED ? a.reply.code
                                                      : DSYNC_UNAVAILABLE;
    keep_text(why, 256, a.message);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
    return code;
}

#endif
