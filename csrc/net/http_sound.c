/* http_sound.c: what holds for HTTP of every version: what can be sent at all, and why nobody can be reached. Pure. */
#include "http_any.h"

#include <errno.h>
#include <string.h>

static bool is_visible(const char *text) {
    for (; *text != '\0'; text++) {
        if (*text <= 0x20 || *text >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* "Name: value", the name a token, the value printable ASCII: nothing may begin a line of its own. */
static bool header_is_sound(const char *line) {
    size_t name = strspn(line, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (name == 0 || line[name] != ':') {
        return false;
    }
    for (const char *value = line + name + 1; *value != '\0'; value++) {
        if (*value < 0x20 || *value > 0x7e) {
            return false;
        }
    }
    return true;
}

const char *ds_http_unsound(const ds_http_request *request) {
    if (request->target[0] != '/' || !is_visible(request->target) || strchr(request->target, '#') != NULL) {
        return "the request's path has characters that cannot be sent";
    }
    for (const char *const *line = request->headers; *line != NULL; line++) {
        if (!header_is_sound(*line)) {
            return "a request header has characters that cannot be sent; is there a line break or a non-ASCII "
                   "character in a token or password?";
        }
    }
    return NULL;
}

const char *ds_http_connect_hint(long os_error) {
    switch (os_error) {
    case ECONNREFUSED:
        return "connection refused; is a server listening there?";
    case ENOENT:
        return "there is no such socket; is the server running?";
    case EACCES:
    case EPERM:
        return "the system does not let this process connect there";
    case EMFILE:
    case ENFILE:
        return "no file descriptor left for a connection; raise the limit (ulimit -n)";
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL:
        return "no route to that host; is the address right?";
    case ETIMEDOUT:
        return "nobody answered at that address; is a firewall in between?";
    default:
        return NULL;
    }
}
