/* Processes that end without a word: what they held goes at once, also when whoever clears up after them ends, too. */
#include "local_fixture.h"

#include <glob.h>
#include <sys/wait.h>

#define FILE_NAME "death.db"

/* A process takes the lock and ends. */
static void hold_and_end(void) {
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        fw *u = fw_new(2);
        client c = local_client(u, FILE_NAME);
        place p = {0};
        _exit(open_session(&c) == DS_OK && enter(&c, place_of(&p, &c, PATH, 1)) == DS_PLACE_HELD ? 0 : 1);
    }
    int status = -1;
    CHECK_EQ_INT(waitpid(pid, &status, 0), pid);
    CHECK_EQ_INT(status, 0);
}

static size_t files_of_processes(void) {
    glob_t found;
    size_t count = glob(FILE_NAME "-clients/*.alive", 0, NULL, &found) == 0 ? found.gl_pathc : 0;
    globfree(&found);
    return count;
}

/* The file that tells that a process is dead was removed before the transaction was committed; where that came to
 * nothing, its entries stood in the way until their ttl was over. */
TEST(a_clearing_up_that_came_to_nothing_is_done_again) {
    fw *u = fw_new(1);
    client c = local_client(u, FILE_NAME);
    place p = {0};
    answer a;
    CHECK_EQ_INT(open_session(&c), DS_OK);
    hold_and_end();
    CHECK_EQ_UINT(files_of_processes(), 2);
    REQUIRE(
        sql(FILE_NAME, "CREATE TRIGGER refuse BEFORE UPDATE OF revision ON meta BEGIN SELECT RAISE(ABORT, 'no'); END"));
    CALL(&c, &a, enter, &place_of(&p, &c, PATH, 2)->entry, false);
    CHECK(a.reply.outcome != DS_OK);
    CHECK_EQ_UINT(files_of_processes(), 2);
    REQUIRE(sql(FILE_NAME, "DROP TRIGGER refuse"));
    CHECK_EQ_INT(enter(&c, place_of(&p, &c, PATH, 3)), DS_PLACE_HELD);
    CHECK_EQ_UINT(files_of_processes(), 1);
    CHECK_EQ_INT(leave(&c, &p), DS_PLACE_DONE);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_file_without_a_row_does_not_stay) {
    fw *u = fw_new(1);
    hold_and_end();
    REQUIRE(sql(FILE_NAME, "DELETE FROM clients; DELETE FROM sessions; DELETE FROM entries"));
    CHECK_EQ_UINT(files_of_processes(), 1);
    client c = local_client(u, FILE_NAME);
    CHECK_EQ_INT(open_session(&c), DS_OK);
    CHECK_EQ_UINT(files_of_processes(), 1); /* its own */
    client_free(&c);
    CHECK_EQ_UINT(files_of_processes(), 0);
    CHECK_EQ_UINT(fw_free(u), 0);
}
