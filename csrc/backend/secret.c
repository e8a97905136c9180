/* secret.c: reading secret files with suspicion. */
#include "secret.h"

#include "../base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool ds_secret_fits_header(const char *text) {
    const char *at = text;
    while (*at >= 0x21 && *at <= 0x7e) {
        at++;
    }
    return at != text && *at == '\0';
}

static ssize_t read_all(int fd, char *out, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, out + done, size - done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? -1 : (ssize_t)done;
        }
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static bool trusted(int fd, const char *path, dsync_error *error) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        ds_error_set(error, DSYNC_CONFIG, "secret file %s is not a regular file", path);
        return false;
    }
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        ds_error_set(error, DSYNC_CONFIG, "secret file %s is open to other users; chmod 600 it", path);
        return false;
    }
    if (st.st_size > DS_SECRET_MAX) {
        ds_error_set(error, DSYNC_CONFIG, "secret file %s is larger than %d bytes", path, DS_SECRET_MAX);
        return false;
    }
    return true;
}

static char *first_line(const char *text, size_t size) {
    size_t end = 0;
    while (end < size && text[end] != '\n' && text[end] != '\0') {
        end++;
    }
    size_t begin = 0;
    while (begin < end && (text[begin] == ' ' || text[begin] == '\t')) {
        begin++;
    }
    while (end > begin && (text[end - 1] == ' ' || text[end - 1] == '\t' || text[end - 1] == '\r')) {
        end--;
    }
    return ds_strndup(text + begin, end - begin);
}

static char *read_secret(int fd, const char *path, dsync_error *error) {
    char text[DS_SECRET_MAX];
    ssize_t size = read_all(fd, text, sizeof(text));
    if (size < 0) {
        ds_error_set(error, DSYNC_CONFIG, "cannot read secret file %s: %s", path, strerror(errno));
        return NULL;
    }
    char *secret = first_line(text, (size_t)size);
    ds_wipe(text, sizeof(text));
    if (secret == NULL) {
        ds_error_no_memory(error);
    } else if (!ds_secret_fits_header(secret)) {
        ds_error_set(error, DSYNC_CONFIG, "secret file %s is empty or holds more than visible ASCII", path);
        ds_free_secret(secret);
        secret = NULL;
    }
    return secret;
}

char *ds_secret_read(const char *path, dsync_error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        ds_error_set(error, DSYNC_CONFIG, "cannot open secret file %s: %s", path,
                     errno == ELOOP ? "it is a symbolic link" : strerror(errno));
        return NULL;
    }
    char *secret = trusted(fd, path, error) ? read_secret(fd, path, error) : NULL;
    close(fd);
    return secret;
}
