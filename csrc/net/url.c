/* url.c: the URL of a store and the extra endpoints, split, checked and put into one spelling.
 *
 * Refuses rather than guesses, and every refusal says which part is wrong and how to write it. A text that may hold a
 * password (anything with "@" in a network URL) is never quoted in a message. Schemes are scheme.c's, hosts are
 * host.c's.
 */
#include "url.h"
#include "host.h"
#include "scheme.h"
#include "../base/buf.h"
#include "../base/error.h"

#include <string.h>

#define HOSTS_MAX 128

static bool refuse(dsync_error *error, const char *message) {
    ds_error_set(error, DSYNC_CONFIG, "%s", message);
    return false;
}

static bool no_memory(dsync_error *error) {
    ds_error_no_memory(error);
    return false;
}

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

/* Takes ownership of the buffer. Duplicates are dropped. */
static bool add_origin(ds_url *url, ds_buf *origin, dsync_error *error) {
    if (origin->failed) {
        ds_buf_free(origin);
        return no_memory(error);
    }
    for (size_t i = 0; i < url->host_count; i++) {
        if (strcmp(url->hosts[i], origin->data) == 0) {
            ds_buf_free(origin);
            return true;
        }
    }
    url->hosts[url->host_count++] = origin->data;
    return true;
}

static bool add_host(ds_url *url, const ds_scheme_info *info, ds_span host, const char *where, dsync_error *error) {
    ds_buf origin = DS_BUF_EMPTY;
    ds_buf_add_text(&origin, info->origin);
    if (!ds_host_add(&origin, host.at, host.size, info->port, where, error)) {
        ds_buf_free(&origin);
        return false;
    }
    return add_origin(url, &origin, error);
}

/* "h1,h2:2379" */
static bool add_hosts(ds_url *url, const ds_scheme_info *info, ds_span list, dsync_error *error) {
    for (;;) {
        const char *comma = memchr(list.at, ',', list.size);
        ds_span host = {list.at, comma != NULL ? (size_t)(comma - list.at) : list.size};
        if (!add_host(url, info, host, "URL", error)) {
            return false;
        }
        if (comma == NULL) {
            return true;
        }
        list = ds_span_behind(list, host.size + 1);
    }
}

/* Takes "http://" or "https://" off an endpoint, which must agree with the URL's scheme. */
static bool take_endpoint_scheme(ds_span *endpoint, const ds_scheme_info *info, dsync_error *error) {
    const char *colon = memchr(endpoint->at, ':', endpoint->size);
    ds_span word = {endpoint->at, colon != NULL ? (size_t)(colon - endpoint->at) : 0};
    if (colon == NULL || !ds_span_begins(ds_span_behind(*endpoint, word.size), "://")) {
        return true;
    }
    ds_shown shown;
    bool tls = ds_span_same_word(word, "https");
    if (info->origin[0] == '\0' || (!tls && !ds_span_same_word(word, "http"))) {
        ds_error_set(error, DSYNC_CONFIG, "endpoint \"%s\" begins with \"%.*s://\": write %s",
                     ds_show(&shown, endpoint->at, endpoint->size), (int)(word.size < 20 ? word.size : 20), word.at,
                     info->origin[0] == '\0' ? "host:port only" : "host:port, or http:// or https:// before it");
        return false;
    }
    if (tls != info->tls) {
        const char *other = info->scheme == DS_SCHEME_ETCD ? (tls ? "etcds" : "etcd") : (tls ? "consuls" : "consul");
        ds_error_set(
            error, DSYNC_CONFIG,
            "endpoint \"%s\" is %s TLS, but the URL begins with %s://: use %s:// and the same for all endpoints",
            ds_show(&shown, endpoint->at, endpoint->size), tls ? "with" : "without", info->name, other);
        return false;
    }
    *endpoint = ds_span_behind(*endpoint, word.size + 3);
    return true;
}

static bool add_endpoint(ds_url *url, const ds_scheme_info *info, const char *text, dsync_error *error) {
    const ds_span whole = {text != NULL ? text : "", text != NULL ? strlen(text) : 0};
    ds_span endpoint = whole;
    if (!ds_span_check_characters(endpoint, "endpoint", false, error) ||
        !ds_span_check_credentials(endpoint, "endpoint", error) || !ds_span_check_query(endpoint, "endpoint", error) ||
        !take_endpoint_scheme(&endpoint, info, error)) {
        return false;
    }
    const char *slash = memchr(endpoint.at, '/', endpoint.size);
    if (slash != NULL && slash == endpoint.at + endpoint.size - 1 && endpoint.size > 1) {
        endpoint.size--; /* "http://host:port/" is how browsers show it */
    } else if (slash != NULL) {
        ds_shown shown;
        ds_error_set(error, DSYNC_CONFIG,
                     "endpoint \"%s\" has a path: write host:port only; keys are placed by prefix =",
                     ds_show(&shown, whole.at, whole.size));
        return false;
    }
    if (ds_span_has(endpoint, ',')) {
        return refuse(error, "endpoint holds a \",\": give each endpoint as its own element of the list");
    }
    return add_host(url, info, endpoint, "endpoint", error);
}

/* ---- the three kinds of URL -------------------------------------------------------------------------------------- */

static bool set_path(ds_url *url, ds_span path, dsync_error *error) {
    url->path = ds_strndup(path.at, path.size);
    return url->path != NULL || no_memory(error);
}

static bool refuse_path(ds_span path, const ds_scheme_info *info, dsync_error *error) {
    ds_shown shown;
    ds_error_set(error, DSYNC_CONFIG,
                 "URL has the path \"%s\", which %s does not use: write %s and give the place of the keys as prefix =",
                 ds_show(&shown, path.at, path.size), info->name, info->sample);
    return false;
}

/* ZooKeeper's chroot: "/a/b". */
static bool check_chroot(ds_span path, dsync_error *error) {
    size_t start = 1;
    for (size_t at = 1; at <= path.size; at++) {
        if (at < path.size && path.at[at] != '/') {
            continue;
        }
        size_t size = at - start;
        if (size == 0 || ((size == 1 || size == 2) && memcmp(path.at + start, "..", size) == 0)) {
            ds_shown shown;
            ds_error_set(
                error, DSYNC_CONFIG,
                "URL has the chroot \"%s\" with an empty segment, \".\" or \"..\": write it as /app or /app/locks",
                ds_show(&shown, path.at, path.size));
            return false;
        }
        start = at + 1;
    }
    return true;
}

static size_t count_char(ds_span s, char c) {
    size_t count = 0;
    for (size_t i = 0; i < s.size; i++) {
        count += s.at[i] == c ? 1 : 0;
    }
    return count;
}

static bool make_room(ds_url *url, ds_span list, size_t endpoint_count, dsync_error *error) {
    size_t count = count_char(list, ',') + 1;
    if (count > HOSTS_MAX || endpoint_count > HOSTS_MAX - count) {
        ds_error_set(error, DSYNC_CONFIG, "URL and endpoints name more than %d hosts: leave some out", HOSTS_MAX);
        return false;
    }
    url->hosts = ds_calloc(count + endpoint_count, sizeof(*url->hosts));
    return url->hosts != NULL || no_memory(error);
}

static bool parse_hosts(ds_url *url, const ds_scheme_info *info, ds_span rest, const char *const *endpoints,
                        size_t endpoint_count, dsync_error *error) {
    if (!ds_span_check_characters(rest, "URL", false, error) || !ds_span_check_credentials(rest, "URL", error) ||
        !ds_span_check_query(rest, "URL", error)) {
        return false;
    }
    if (!ds_span_begins(rest, "//")) {
        ds_error_set(error, DSYNC_CONFIG, "URL has no \"//\" behind \"%s:\": write %s", info->name, info->sample);
        return false;
    }
    rest = ds_span_behind(rest, 2);
    const char *slash = memchr(rest.at, '/', rest.size);
    ds_span list = {rest.at, slash != NULL ? (size_t)(slash - rest.at) : rest.size};
    ds_span path = ds_span_behind(rest, list.size);
    if (path.size == 1) {
        path.size = 0; /* a slash and nothing behind it says nothing */
    }
    if (path.size > 0 &&
        !(info->scheme == DS_SCHEME_ZOOKEEPER ? check_chroot(path, error) : refuse_path(path, info, error))) {
        return false;
    }
    if (list.size == 0 && endpoint_count == 0) {
        ds_error_set(error, DSYNC_CONFIG, "URL names no host: write %s, or give endpoints", info->sample);
        return false;
    }
    if (!make_room(url, list, endpoint_count, error) || (list.size > 0 && !add_hosts(url, info, list, error))) {
        return false;
    }
    for (size_t i = 0; i < endpoint_count; i++) {
        if (!add_endpoint(url, info, endpoints[i], error)) {
            return false;
        }
    }
    return set_path(url, path, error);
}

static bool parse_socket(ds_url *url, const ds_scheme_info *info, ds_span rest, dsync_error *error) {
    if (!ds_span_begins(rest, "///") || rest.size < 4) {
        ds_error_set(error, DSYNC_CONFIG, "URL needs the full path of a socket behind \"%s://\": write %s", info->name,
                     info->sample);
        return false;
    }
    rest = ds_span_behind(rest, 2);
    if (!ds_span_check_characters(rest, "URL", true, error) || !ds_span_check_query(rest, "URL", error)) {
        return false;
    }
    if (rest.size > 107) { /* sun_path without its NUL */
        return refuse(error, "URL has a socket path longer than 107 bytes, more than the system can connect to");
    }
    ds_buf origin = DS_BUF_EMPTY;
    ds_buf_add_text(&origin, "unix:");
    ds_buf_add(&origin, rest.at, rest.size);
    url->hosts = ds_calloc(1, sizeof(*url->hosts));
    if (url->hosts == NULL) {
        ds_buf_free(&origin);
        return no_memory(error);
    }
    return add_origin(url, &origin, error) && set_path(url, (ds_span){"", 0}, error);
}

static bool parse_place(ds_url *url, const ds_scheme_info *info, ds_span rest, dsync_error *error) {
    if (!ds_span_check_characters(rest, "URL", info->scheme == DS_SCHEME_LOCAL, error) ||
        !ds_span_check_query(rest, "URL", error)) {
        return false;
    }
    bool is_file = info->scheme == DS_SCHEME_LOCAL && ds_span_begins(rest, "///");
    if (ds_span_begins(rest, "//") && !is_file) {
        ds_error_set(error, DSYNC_CONFIG, "URL has \"//\" behind \"%s:\", but there is no host to name: write %s",
                     info->name, info->sample);
        return false;
    }
    return set_path(url, is_file ? ds_span_behind(rest, 2) : rest, error);
}

static bool parse(ds_url *url, const char *text, const char *const *endpoints, size_t endpoint_count,
                  dsync_error *error) {
    ds_span rest = {text != NULL ? text : "", text != NULL ? strlen(text) : 0};
    if (rest.size == 0) {
        return refuse(error, "URL is empty: write etcd://host:port, or another of " DS_SCHEME_LIST);
    }
    const ds_scheme_info *info = ds_scheme_take(&rest, error);
    if (info == NULL) {
        return false;
    }
    url->scheme = info->scheme;
    url->tls = info->tls;
    if (info->kind == DS_URL_HOSTS) {
        return parse_hosts(url, info, rest, endpoints, endpoint_count, error);
    }
    if (endpoint_count > 0) {
        ds_error_set(error, DSYNC_CONFIG,
                     "endpoints are given, but a URL that begins with \"%s:\" has no use for them: "
                     "leave them out or use etcd://, consul:// or zookeeper://",
                     info->name);
        return false;
    }
    return info->kind == DS_URL_SOCKET ? parse_socket(url, info, rest, error) : parse_place(url, info, rest, error);
}

bool ds_url_parse(ds_url *url, const char *text, const char *const *endpoints, size_t endpoint_count,
                  dsync_error *error) {
    *url = (ds_url){DS_SCHEME_MEMORY, false, NULL, 0, NULL};
    if (parse(url, text, endpoints, endpoint_count, error)) {
        return true;
    }
    ds_url_free(url);
    return false;
}

void ds_url_free(ds_url *url) {
    for (size_t i = 0; i < url->host_count; i++) {
        ds_free(url->hosts[i]);
    }
    ds_free(url->hosts);
    ds_free(url->path);
    *url = (ds_url){DS_SCHEME_MEMORY, false, NULL, 0, NULL};
}

bool ds_url_is_loopback(const char *origin) {
    ds_span s = {origin, strlen(origin)};
    if (ds_span_begins(s, "unix:")) {
        return true;
    }
    size_t scheme = ds_span_begins(s, "http://") ? 7 : ds_span_begins(s, "https://") ? 8 : 0;
    return ds_host_is_loopback(s.at + scheme, s.size - scheme);
}
