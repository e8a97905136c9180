/* Secrets in files: which are read, and what may stand in a header. */
#include "test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../csrc/backend/secret.h"
#include "../../csrc/base/base.h"

static char folder[64], path[80];

static void make_file(const char *text, size_t size, mode_t mode) {
    (void)snprintf(folder, sizeof folder, "/tmp/dsync-secret-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        abort();
    }
    (void)snprintf(path, sizeof path, "%s/secret", folder);
    FILE *file = fopen(path, "w");
    if (file == NULL || fwrite(text, 1, size, file) != size || fclose(file) != 0 || chmod(path, mode) != 0) {
        abort();
    }
}

static void remove_file(void) {
    (void)unlink(path);
    (void)rmdir(folder);
}

static char *read_it(const char *text, size_t size, mode_t mode, dsync_error *error) {
    make_file(text, size, mode);
    char *secret = ds_secret_read(path, error);
    remove_file();
    return secret;
}

TEST(the_first_line_is_the_secret) {
    static const struct {
        const char *text, *secret;
    } rows[] = {
        {"sesame", "sesame"},        {"sesame\n", "sesame"},         {"sesame\r\n", "sesame"},
        {"  sesame \t\n", "sesame"}, {"\tsesame\nmore\n", "sesame"}, {"a.b-c_d~!", "a.b-c_d~!"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        dsync_error error = {DSYNC_OK, ""};
        test_case("row %zu", i);
        char *secret = read_it(rows[i].text, strlen(rows[i].text), 0600, &error);
        CHECK_EQ_TEXT(secret, rows[i].secret);
        ds_free_secret(secret);
    }
}

TEST(no_secret_is_made_of_anything_else) {
    static const char *const texts[] = {"", "\n", " \t\n", "two words\n", "caf\xc3\xa9", "a\x7f", "a\x01b", "\nsesame"};
    for (size_t i = 0; i < DS_COUNT(texts); i++) {
        dsync_error error = {DSYNC_OK, ""};
        test_case("row %zu", i);
        CHECK_NULL(read_it(texts[i], strlen(texts[i]), 0600, &error));
        CHECK_EQ_INT(error.code, DSYNC_CONFIG);
        CHECK_LACKS(error.message, "sesame");
        CHECK_LACKS(error.message, "words");
    }
}

TEST(a_file_that_others_may_open_is_refused) {
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0602, 0610, 0601, 0777};
    for (size_t i = 0; i < DS_COUNT(modes); i++) {
        dsync_error error = {DSYNC_OK, ""};
        test_case("mode %o", (unsigned)modes[i]);
        CHECK_NULL(read_it("sesame", 6, modes[i], &error));
        CHECK_CONTAINS(error.message, "chmod 600");
        CHECK_LACKS(error.message, "sesame");
    }
}

TEST(only_a_regular_file_of_moderate_size) {
    static char large[DS_SECRET_MAX + 1];
    dsync_error error;
    memset(large, 'x', sizeof large);
    CHECK_NULL(read_it(large, sizeof large, 0600, &error));
    CHECK_CONTAINS(error.message, "larger than");
    make_file("sesame", 6, 0600);
    char link[100];
    (void)snprintf(link, sizeof link, "%s/link", folder);
    CHECK_EQ_INT(symlink(path, link), 0);
    CHECK_NULL(ds_secret_read(link, &error));
    CHECK_CONTAINS(error.message, "symbolic link");
    (void)unlink(link);
    CHECK_EQ_INT(mkfifo(link, 0600), 0);
    CHECK_NULL(ds_secret_read(link, &error)); /* and it does not wait for a writer */
    CHECK_CONTAINS(error.message, "not a regular file");
    (void)unlink(link);
    CHECK_NULL(ds_secret_read(link, &error));
    CHECK_CONTAINS(error.message, "No such file");
    remove_file();
}

TEST(what_fits_into_a_header) {
    CHECK(ds_secret_fits_header("a"));
    CHECK(ds_secret_fits_header("!~"));
    CHECK(!ds_secret_fits_header(""));
    CHECK(!ds_secret_fits_header(" a"));
    CHECK(!ds_secret_fits_header("a\r\nX-Evil: 1"));
    CHECK(!ds_secret_fits_header("a\tb"));
    CHECK(!ds_secret_fits_header("\x80"));
}
