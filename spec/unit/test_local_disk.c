/* What a disk can do to a local: database: full, read-only, not ours to write to, on the network, put back to an older
 * state. Disks are made in processes with mounts of their own, which takes root and says so where there is none. */
#include "../../csrc/backend/local_sql.h"
#include "local_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- disks of one's own ------------------------------------------------------------------------------------------ */

enum { NO_DISK = 100 };

/* False: there are none to be had here. */
static bool mount_disk(const char *folder, const char *size) {
    char options[64];
    (void)snprintf(options, sizeof(options), "size=%s,mode=700", size);
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, "") == 0 &&
           mkdir(folder, 0700) == 0 && mount("tmpfs", folder, "tmpfs", 0, options) == 0;
}

/* `body` in a process of its own: 0 if all was well, NO_DISK, or the number of what was not. */
static void check_in_process(int (*body)(void)) {
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(body());
    }
    int status = -1;
    CHECK_EQ_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_DISK) {
        printf("skipped: %s: no disks can be mounted here\n", test_running);
    } else {
        CHECK_EQ_INT(WEXITSTATUS(status), 0);
    }
}

static bool is_place(ds_place wanted, client *c, place *p) {
    answer a;
    CALL(c, &a, enter, &p->entry, false);
    return a.reply.outcome == DS_OK && a.reply.place == wanted;
}

/* Writes until nothing more goes. False: it ended in another way than it should. */
static bool fill(client *c, place *p, answer *a) {
    static char large[20000];
    for (unsigned i = 0; i < 100; i++) {
        char key[64];
        (void)snprintf(key, sizeof(key), "dsync/data/%u", i);
        ds_write write = {DS_WRITE_PUT, &p->entry, key, large, sizeof(large)};
        CALL(c, a, write, &write);
        if (a->reply.outcome != DS_OK) {
            return a->reply.outcome == DS_REFUSED && a->reply.code == DSYNC_RESOURCE &&
                   strstr(a->message, "full") != NULL;
        }
    }
    return false;
}

static int on_a_full_disk(void) {
    if (!mount_disk("disk", "512k")) {
        return NO_DISK;
    }
    fw *u = fw_new(1);
    client c = local_client(u, "disk/x.db");
    client d = local_client(u, "disk/x.db");
    place p, q;
    answer a;
    if (open_session(&c) != DS_OK || open_session(&d) != DS_OK ||
        !is_place(DS_PLACE_HELD, &c, place_of(&p, &c, PATH, 1))) {
        return 1;
    }
    if (!fill(&c, &p, &a)) {
        return 2;
    }
    if (is_place(DS_PLACE_HELD, &d, place_of(&q, &d, PATH, 2))) {
        return 3;
    }
    CALL(&c, &a, check, &p.entry);
    if (a.reply.outcome != DS_OK || a.reply.place != DS_PLACE_HELD) {
        return 4;
    }
    if (mount("none", "disk", "tmpfs", MS_REMOUNT, "size=4m") != 0) { /* somebody makes room */
        return NO_DISK;
    }
    return is_place(DS_PLACE_WAITING, &d, &q) && leave(&c, &p) == DS_PLACE_DONE && check(&d, &q) == DS_PLACE_HELD ? 0
                                                                                                                  : 5;
}

TEST(a_full_disk_is_told_lets_nobody_in_and_all_goes_on_when_there_is_room) {
    check_in_process(on_a_full_disk);
}

static int made_on_a_full_disk(void) {
    char why[256];
    if (!mount_disk("little", "8k")) {
        return NO_DISK;
    }
    if (opening("little/x.db", why) != DSYNC_RESOURCE) {
        return 1;
    }
    return strstr(why, "full") != NULL || strstr(why, "No space") != NULL ? 0 : 2;
}

TEST(a_database_cannot_be_made_on_a_full_disk) {
    check_in_process(made_on_a_full_disk);
}

static int on_a_read_only_disk(void) {
    char why[256];
    if (!mount_disk("readonly", "1m")) {
        return NO_DISK;
    }
    if (opening("readonly/x.db", why) != DSYNC_OK) {
        return 1;
    }
    if (mount("none", "readonly", "tmpfs", MS_REMOUNT | MS_RDONLY, "") != 0) {
        return 2;
    }
    if (opening("readonly/x.db", why) != DSYNC_CONFIG || strstr(why, "Read-only file system") == NULL) {
        return 3;
    }
    return opening("readonly/y.db", why) == DSYNC_CONFIG && strstr(why, "Read-only file system") != NULL ? 0 : 4;
}

TEST(a_read_only_disk_is_told) {
    check_in_process(on_a_read_only_disk);
}

static int without_rights(void) {
    char why[256];
    if (geteuid() != 0) {
        return NO_DISK;
    }
    if (chmod(test_folder, 0711) != 0 || mkdir("theirs", 0700) != 0 || chown("theirs", 65534, 65534) != 0 ||
        setegid(65534) != 0 || seteuid(65534) != 0) {
        return 1;
    }
    if (opening("theirs/x.db", why) != DSYNC_OK) {
        return 2;
    }
    if (chmod("theirs/x.db", 0400) != 0 || opening("theirs/x.db", why) != DSYNC_CONFIG ||
        strstr(why, "rights") == NULL) {
        return 3;
    }
    if (chmod("theirs/x.db", 0600) != 0 || chmod("theirs", 0500) != 0 || opening("theirs/y.db", why) != DSYNC_CONFIG ||
        strstr(why, "Permission denied") == NULL) {
        return 4;
    }
    return 0;
}

TEST(rights_that_are_missing_are_told) {
    check_in_process(without_rights);
}

static int mounted_alone(void) {
    char why[256];
    if (!mount_disk("volume", "1m")) {
        return NO_DISK;
    }
    if (opening("volume/x.db", why) != DSYNC_OK) {
        return 1;
    }
    int fd = open("volume/y.db", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || close(fd) != 0 || mount("volume/x.db", "volume/y.db", "none", MS_BIND, "") != 0) {
        return 2;
    }
    return opening("volume/y.db", why) == DSYNC_CONFIG && strstr(why, "mount the folder") != NULL ? 0 : 3;
}

TEST(a_file_that_a_container_was_given_alone_is_refused) {
    check_in_process(mounted_alone);
}

/* ---- file systems of the network --------------------------------------------------------------------------------- */

static unsigned long pretended; /* 0: what is so */

/* Instead of the C library's: there is no network file system here, so the kernel's answer about one is put in. */
int statfs(const char *path, struct statfs *out) {
    int result = (int)syscall(SYS_statfs, path, out);
    if (result == 0 && pretended != 0) {
        memset(&out->f_type, 0, sizeof(out->f_type));
        memcpy(&out->f_type, &pretended,
               sizeof(out->f_type) < sizeof(pretended) ? sizeof(out->f_type) : sizeof(pretended));
    }
    return result;
}

TEST(a_network_file_system_is_refused_by_its_name) {
    static const struct {
        unsigned long magic;
        const char *name;
    } rows[] = {{0x6969, "NFS"},      {0xFF534D42, "CIFS"}, {0xFE534D42, "SMB"},
                {0x65735546, "FUSE"}, {0x01021997, "9P"},   {0x00C36400, "Ceph"}};
    char why[256];
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        test_case("%s", rows[i].name);
        pretended = rows[i].magic;
        CHECK_EQ_INT(opening("remote.db", why), DSYNC_CONFIG);
        CHECK_CONTAINS(why, rows[i].name);
        CHECK_CONTAINS(why, "etcd://");
        CHECK_EQ_INT(access("remote.db", F_OK), -1);
    }
    pretended = 0;
    CHECK_EQ_INT(opening("remote.db", why), DSYNC_OK);
}

/* ---- what a power failure leaves --------------------------------------------------------------------------------- */

static bool copy(const char *from, const char *to) {
    char command[200];
    (void)snprintf(command, sizeof(command), "cp '%s' '%s'", from, to);
    return system(command) == 0;
}

/* The highest token that `count` turns were given. */
static int64_t use(const char *file, unsigned count) {
    fw *u = fw_new(1);
    client c = local_client(u, file);
    place p = {0};
    CHECK_EQ_INT(open_session(&c), DS_OK);
    for (unsigned i = 0; i < count; i++) {
        CHECK_EQ_INT(enter(&c, place_of(&p, &c, PATH, i + 1)), DS_PLACE_HELD);
        CHECK_EQ_INT(leave(&c, &p), DS_PLACE_DONE);
    }
    int64_t token = p.entry.token;
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
    return token;
}

TEST(after_a_power_failure_tokens_go_on_upwards) {
    int64_t first = use("power.db", 1);
    REQUIRE(copy("power.db", "old") && copy("power.db-wal", "old-wal"));
    int64_t before = use("power.db", 200);
    CHECK(before > first + 100);
    /* What the disk had at the last synchronisation is what there is at the next boot. */
    REQUIRE(copy("old", "power.db") && copy("old-wal", "power.db-wal") && unlink("power.db-shm") == 0);
    REQUIRE(sql("power.db", "UPDATE meta SET boot='the boot before'"));
    CHECK(use("power.db", 1) > before);
}

TEST(a_log_that_was_removed_takes_no_token_back) {
    char why[256];
    (void)use("log.db", 1);
    REQUIRE(sql("log.db", "PRAGMA wal_checkpoint(TRUNCATE)"));
    int64_t before = use("log.db", 200);
    REQUIRE(unlink("log.db-wal") == 0 && unlink("log.db-shm") == 0);
    CHECK(use("log.db", 1) > before);
    CHECK_EQ_INT(opening("log.db", why), DSYNC_OK);
}

static int open_and_be_refused(void) {
    char why[256];
    return opening("used.db", why) == DSYNC_CONFIG && strstr(why, "end them") != NULL ? 0 : 1;
}

/* As long as a process has the old files open, nobody begins anew: two would hold. */
static void take_away_in_use(bool all) {
    fw *u = fw_new(1);
    client c = local_client(u, "used.db");
    place p, q;
    answer a;
    CHECK_EQ_INT(open_session(&c), DS_OK);
    CHECK_EQ_INT(enter(&c, place_of(&p, &c, PATH, 1)), DS_PLACE_HELD);
    REQUIRE(unlink("used.db-wal") == 0 && unlink("used.db-shm") == 0 && (!all || unlink("used.db") == 0));
    check_in_process(open_and_be_refused);
    fw_skip_wall(u, 2000);
    fw_advance(u, 10 * DS_MS);
    CALL(&c, &a, check, &p.entry); /* which looks, closes, and begins anew: nobody else is there */
    CHECK_EQ_INT(a.reply.outcome, DS_LOST);
    c.lease.nonce++;
    CHECK_EQ_INT(open_session(&c), DS_OK);
    CHECK_EQ_INT(enter(&c, place_of(&q, &c, PATH, 2)), DS_PLACE_HELD);
    CHECK(q.entry.token > p.entry.token);
    client_free(&c);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_log_that_was_removed_in_use_is_refused_until_its_users_are_gone) {
    take_away_in_use(false);
}

/* The tests before have used up tokens faster than the calendar, which a new one goes by, allows. */
static void remove_used(void) {
    CHECK(unlink("used.db") == 0 && unlink("used.db-wal") == 0 && unlink("used.db-shm") == 0);
}

TEST(a_database_that_was_removed_in_use_is_not_made_anew_until_its_users_are_gone) {
    remove_used();
    take_away_in_use(true);
}

/* ---- the layer that writes the log ------------------------------------------------------------------------------- */

static uint32_t random_state = 1;

static unsigned any(unsigned below) {
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % below;
}

static bool say(sqlite3 *db, const char *format, unsigned a, unsigned b) {
    char text[200];
    (void)snprintf(text, sizeof(text), format, a, b);
    return sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK;
}

/* Random transactions through the layer, some taken back, beside a connection without it that sees the same. */
TEST(what_the_layer_writes_is_what_others_read) {
    sqlite3 *ours = NULL, *plain = NULL;
    unsigned rows = 0, turns = 0;
    REQUIRE(sqlite3_open_v2("layer.db", &ours, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, loc_log_layer()) ==
            SQLITE_OK);
    REQUIRE(sqlite3_open_v2("layer.db", &plain, SQLITE_OPEN_READWRITE, "unix") == SQLITE_OK);
    REQUIRE(say(ours,
                "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA cache_spill=OFF; PRAGMA synchronous=NORMAL", 0,
                0));
    REQUIRE(say(ours, "CREATE TABLE t(id INTEGER PRIMARY KEY, value BLOB)", 0, 0));
    for (turns = 0; turns < 400; turns++) {
        sqlite3 *db = any(3) == 0 ? plain : ours;
        bool kept = any(4) != 0;
        unsigned count = any(4) + 1;
        REQUIRE(say(db, "BEGIN IMMEDIATE", 0, 0));
        for (unsigned i = 0; i < count; i++) {
            REQUIRE(say(db, "INSERT INTO t(value) VALUES(randomblob(%u))", any(10) == 0 ? 40000 : any(3000), 0));
        }
        REQUIRE(say(db, kept ? "COMMIT" : "ROLLBACK", 0, 0));
        rows += kept ? count : 0;
        if (any(20) == 0) {
            REQUIRE(say(any(2) == 0 ? plain : ours, "PRAGMA wal_checkpoint(PASSIVE)", 0, 0));
        }
    }
    sqlite3_stmt *query = NULL;
    const char *question = "SELECT count(*), (SELECT integrity_check FROM pragma_integrity_check) FROM t";
    REQUIRE(sqlite3_prepare_v2(plain, question, -1, &query, NULL) == SQLITE_OK && sqlite3_step(query) == SQLITE_ROW);
    CHECK_EQ_UINT((unsigned)sqlite3_column_int(query, 0), rows);
    CHECK_EQ_TEXT((const char *)sqlite3_column_text(query, 1), "ok");
    (void)sqlite3_finalize(query);
    (void)sqlite3_close(ours);
    (void)sqlite3_close(plain);
}
