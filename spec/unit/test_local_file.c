/* Where a local: database may be, what is refused, and what becomes of one that changes underneath. */
#include "local_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

/* ---- places ------------------------------------------------------------------------------------------------------ */

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    REQUIRE(file != NULL);
    (void)fputs(text, file);
    (void)fclose(file);
}

TEST(a_place_that_cannot_be_trusted_is_refused) {
    char why[256];
    REQUIRE(mkdir("open", 0700) == 0 && chmod("open", 0777) == 0);
    REQUIRE(mkdir("folder", 0700) == 0 && mkdir("beside.db-clients", 0755) == 0);
    REQUIRE(symlink("real.db", "link.db") == 0);
    write_file("first.db", "");
    REQUIRE(link("first.db", "second.db") == 0);
    write_file("garbage.db",
               "This is no database at all, and it is longer than a header of one would be, by far.......");
    REQUIRE(sql("other.db", "CREATE TABLE t(x)"));
    const struct {
        const char *file, *why;
    } rows[] = {{"open/x.db", "by everybody"},   {"folder", "not a file"},        {"folder/", "name a file"},
                {"missing/x.db", "cannot find"}, {"link.db", "symbolic link"},    {"first.db", "second name"},
                {"garbage.db", "damaged"},       {"other.db", "another program"}, {"beside.db", "open to other users"}};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i].file);
        CHECK_EQ_INT(opening(rows[i].file, why), DSYNC_CONFIG);
        CHECK_CONTAINS(why, rows[i].why);
    }
    CHECK_EQ_INT(access("real.db", F_OK), -1);
}

TEST(a_file_of_another_user_is_refused) {
    char why[256];
    if (geteuid() != 0) {
        return; /* it takes root to make one */
    }
    CHECK_EQ_INT(opening("mine.db", why), DSYNC_OK);
    REQUIRE(chown("mine.db", 1, 1) == 0);
    CHECK_EQ_INT(opening("mine.db", why), DSYNC_CONFIG);
    CHECK_CONTAINS(why, "another user");
    REQUIRE(chown("mine.db", 0, 0) == 0 && chown("mine.db-clients", 1, 1) == 0);
    CHECK_EQ_INT(opening("mine.db", why), DSYNC_CONFIG);
    CHECK_CONTAINS(why, "another user");
}

TEST(what_is_made_is_private) {
    char why[256];
    struct stat st;
    mode_t before = umask(0);
    CHECK_EQ_INT(opening("private.db", why), DSYNC_OK);
    (void)umask(before);
    REQUIRE(stat("private.db", &st) == 0);
    CHECK_EQ_INT(st.st_mode & 0777, 0600);
    REQUIRE(stat("private.db-clients", &st) == 0);
    CHECK_EQ_INT(st.st_mode & 0777, 0700);
}

TEST(the_default_is_in_the_runtime_folder_of_the_user) {
    char why[256], path[128];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/run", test_folder);
    REQUIRE(mkdir(path, 0700) == 0 && setenv("XDG_RUNTIME_DIR", path, 1) == 0);
    CHECK_EQ_INT(opening("", why), DSYNC_OK);
    REQUIRE(stat("run/dsync", &st) == 0);
    CHECK_EQ_INT(st.st_mode & 0777, 0700);
    CHECK_EQ_INT(access("run/dsync/locks.db", F_OK), 0);
    REQUIRE(chmod("run/dsync", 0755) == 0);
    CHECK_EQ_INT(opening("", why), DSYNC_CONFIG);
    CHECK_CONTAINS(why, "open to other users");
    REQUIRE(chmod("run/dsync", 0700) == 0 && rename("run/dsync", "run/moved") == 0 &&
            symlink("moved", "run/dsync") == 0);
    CHECK_EQ_INT(opening("", why), DSYNC_CONFIG);
    CHECK_CONTAINS(why, "symbolic link");
    (void)unsetenv("XDG_RUNTIME_DIR");
}

TEST(two_names_of_one_folder_are_one_database) {
    fw *u = fw_new(1);
    REQUIRE(mkdir("one", 0700) == 0 && symlink("one", "two") == 0);
    client a = local_client(u, "one/x.db"), b = local_client(u, "two/x.db");
    place p, q;
    CHECK_EQ_INT(open_session(&a), DS_OK);
    CHECK_EQ_INT(open_session(&b), DS_OK);
    CHECK_EQ_INT(enter(&a, place_of(&p, &a, PATH, 1)), DS_PLACE_HELD);
    CHECK_EQ_INT(enter(&b, place_of(&q, &b, PATH, 2)), DS_PLACE_WAITING);
    client_free(&a); /* which closes descriptors of the same files */
    CHECK_EQ_INT(check(&b, &q), DS_PLACE_HELD);
    client c = local_client(u, "one/x.db");
    CHECK_EQ_INT(open_session(&c), DS_OK);
    CHECK_EQ_INT(enter(&c, place_of(&p, &c, PATH, 3)), DS_PLACE_WAITING);
    client_free(&c);
    client_free(&b);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* How often the log has begun anew, from its header. */
static unsigned log_round(const char *file) {
    unsigned char header[16] = {0};
    FILE *log = fopen(file, "rb");
    CHECK(log != NULL && fread(header, 1, sizeof(header), log) == sizeof(header));
    if (log != NULL) {
        (void)fclose(log);
    }
    return (unsigned)header[12] << 24 | (unsigned)header[13] << 16 | (unsigned)header[14] << 8 | header[15];
}

TEST(many_short_lives_leave_a_short_log) {
    unsigned first = 0;
    for (unsigned i = 0; i < 200; i++) {
        fw *u = fw_new(i + 1);
        client c = local_client(u, "short.db");
        place p;
        CHECK_EQ_INT(open_session(&c), DS_OK);
        CHECK_EQ_INT(enter(&c, place_of(&p, &c, PATH, 1)), DS_PLACE_HELD);
        client_free(&c);
        CHECK_EQ_UINT(fw_free(u), 0);
        first = i == 0 ? log_round("short.db-wal") : first;
    }
    CHECK(log_round("short.db-wal") >= first + 2);
    struct stat about;
    REQUIRE(stat("short.db-wal", &about) == 0);
    CHECK(about.st_size < 1500 * 1000);
}

/* ---- changes underneath ------------------------------------------------------------------------------------------ */

TEST(a_database_that_is_taken_away_loses_its_sessions_and_no_token_comes_again) {
    fw *u = fw_new(1);
    client c = local_client(u, "gone.db");
    place p, q;
    answer a;
    CHECK_EQ_INT(open_session(&c), DS_OK);
    (void)enter(&c, place_of(&p, &c, PATH, 1));
    REQUIRE(unlink("gone.db") == 0 && unlink("gone.db-wal") == 0 && unlink("gone.db-shm") == 0);
    fw_skip_wall(u, 2000); /* such things take a person more than a moment */
    fw_advance(u, 10 * DS_MS);
    CALL(&c, &a, check, &p.entry);
    CHECK_EQ_INT(a.reply.outcome, DS_LOST);
    c.lease.nonce++;
    CHECK_EQ_INT(open_session(&c), DS_OK);
    CHECK_EQ_INT(enter(&c, place_of(&q, &c, PATH, 2)), DS_PLACE_HELD);
    CHECK(q.entry.token > p.entry.token);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_boot_ends_all_sessions_and_skips_the_tokens_that_may_have_been_used) {
    fw *u = fw_new(1);
    client before = local_client(u, "boot.db");
    place p, q;
    answer a;
    CHECK_EQ_INT(open_session(&before), DS_OK);
    (void)enter(&before, place_of(&p, &before, PATH, 1));
    pid_t other = fork(); /* that knows nothing of what its parent has open */
    if (other == 0) {
        _exit(sql("boot.db", "UPDATE meta SET boot='another one', revision=revision-1") ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(other, &status, 0) == other && status == 0);
    CALL(&before, &a, check, &p.entry); /* already open: it was there before */
    CHECK_EQ_INT(a.reply.place, DS_PLACE_HELD);

    client late = local_client(u, "./boot.db");
    CHECK_EQ_INT(open_session(&late), DS_REFUSED); /* while one of the boot before lives, there was no boot */
    client_free(&before);
    CHECK_EQ_INT(open_session(&late), DS_OK);
    CHECK_EQ_INT(enter(&late, place_of(&q, &late, PATH, 2)), DS_PLACE_HELD);
    CHECK(q.entry.token > p.entry.token + 1000000);
    client_free(&late);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_damaged_database_says_so) {
    fw *u = fw_new(1);
    client c = local_client(u, "hurt.db");
    char why[256];
    CHECK_EQ_INT(open_session(&c), DS_OK);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
    REQUIRE(sql("hurt.db", "PRAGMA wal_checkpoint(TRUNCATE)"));
    int fd = open("hurt.db", O_WRONLY);
    char junk[1024];
    memset(junk, 0x5a, sizeof(junk));
    for (off_t at = 1024; fd >= 0 && at < 16 * 1024; at += 1024) {
        CHECK(pwrite(fd, junk, sizeof(junk), at) == (ssize_t)sizeof(junk));
    }
    (void)close(fd);
    CHECK_EQ_INT(opening("hurt.db", why), DSYNC_CONFIG);
    CHECK_CONTAINS(why, "damaged");
}

/* ---- settings ---------------------------------------------------------------------------------------------------- */

TEST(unknown_settings_are_refused) {
    fw *u = fw_new(1);
    const dsync_setting settings[] = {{"etcd.transport", "json"}, {"local.size", "1"}};
    dsync_options options = {.settings = settings, .setting_count = 2};
    ds_backend_config config = {.options = &options};
    dsync_error error;
    CHECK_NULL(ds_local_backend(fw_world(u), &config, &error));
    CHECK_EQ_INT(error.code, DSYNC_CONFIG);
    CHECK_CONTAINS(error.message, "local.size");
    (void)fw_free(u);
}
