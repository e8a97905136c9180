/* http_host.c: where origins are: names are looked up by threads of our own (lookup.h).
 *
 * libcurl could do it, but it waits for its look-up thread when a request is given up, forgets an address that worked
 * when the name server is down, and leaves descriptors open for children. Here a look-up never holds anybody up who has
 * an address: the last good ones are used until better ones have come.
 */
#include "http_internal.h"
#include "lookup.h"

#include <arpa/inet.h>
#include <string.h>

#define REFRESH_NS (60 * DS_SECOND)      /* an address older than this is looked up again, behind its use */
#define SUSPECT_PAUSE_NS (1 * DS_SECOND) /* not more often than this when nobody answers there */

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static void adopt(ds_http_host *host, const char *addresses) {
    ds_buf text = DS_BUF_EMPTY;
    ds_buf_add_format(&text, "%s:%s:%s", host->name, host->port, addresses);
    bool known = host->resolve.data != NULL && !text.failed && strcmp(host->resolve.data, text.data) == 0;
    if (text.failed || known) {
        ds_buf_free(&text);
        return;
    }
    ds_free(host->resolve.data);
    host->resolve.data = text.data;
    host->resolve_news = true;
}

static void lookup_ended(void *context, const char *addresses, const char *problem) {
    ds_http_host *host = context;
    host->lookup = NULL;
    if (addresses != NULL) {
        adopt(host, addresses);
        problem = "out of memory";
    }
    bool usable = host->resolve.data != NULL;
    ds_http_host_ready(host->client, host, usable ? NULL : problem);
}

static bool begin_lookup(ds_http_client *client, ds_http_host *host) {
    host->lookup = ds_lookup_begin(client->world, host->name, lookup_ended, host);
    if (host->lookup != NULL) {
        host->looked_ns = ds_now(client->world);
    }
    return host->lookup != NULL;
}

ds_http_address ds_http_host_look(ds_http_client *client, ds_http_host *host) {
    if (host->name == NULL) {
        return DS_HTTP_ADDRESS_KNOWN;
    }
    bool known = host->resolve.data != NULL;
    if (host->lookup == NULL && (!known || ds_now(client->world) - host->looked_ns > REFRESH_NS)) {
        if (!begin_lookup(client, host) && !known) {
            return DS_HTTP_ADDRESS_NONE;
        }
    }
    return known ? DS_HTTP_ADDRESS_KNOWN : DS_HTTP_ADDRESS_SOON;
}

void ds_http_host_suspect(ds_http_client *client, ds_http_host *host) {
    if (host->name != NULL && host->lookup == NULL && ds_now(client->world) - host->looked_ns > SUSPECT_PAUSE_NS) {
        (void)begin_lookup(client, host); /* no thread to be had now: the next failure tries again */
    }
}

/* ---- origins ----------------------------------------------------------------------------------------------------- */

static void host_free(ds_http_host *host) {
    ds_lookup_abandon(host->lookup);
    ds_list_remove(&host->node);
    ds_free(host->origin);
    ds_free(host->unix_path);
    ds_free(host->url);
    ds_free(host->name);
    ds_free(host->port);
    ds_free(host->connect_to.data);
    ds_free(host->resolve.data);
    ds_free(host);
}

void ds_http_hosts_free(ds_http_client *client) {
    while (!ds_list_empty(&client->hosts)) {
        host_free(DS_LIST_ENTRY(client->hosts.next, ds_http_host, node));
    }
}

static bool is_literal(const char *name) {
    struct in6_addr bytes;
    return name[0] == '[' || inet_pton(AF_INET, name, &bytes) == 1;
}

/* Splits "http://name:port" into name and port. False: out of memory. */
static bool split(ds_http_host *host, const char *authority) {
    const char *bracket = strrchr(authority, ']');
    const char *colon = strrchr(bracket != NULL ? bracket : authority, ':');
    size_t length = colon != NULL ? (size_t)(colon - authority) : strlen(authority);
    host->name = ds_strndup(authority, length);
    host->port = ds_strdup(colon != NULL ? colon + 1 : host->tls ? "443" : "80");
    return host->name != NULL && host->port != NULL;
}

static char *finished(ds_buf *buf) {
    if (buf->failed) {
        ds_buf_free(buf);
    }
    return buf->data;
}

/* Certificates are checked, and SNI sent, for the name in the URL; where to connect is said separately. */
static bool use_server_name(ds_http_host *host, const char *server_name) {
    ds_buf url = DS_BUF_EMPTY;
    ds_buf connect_to = DS_BUF_EMPTY;
    ds_buf_add_format(&url, "https://%s:%s", server_name, host->port);
    ds_buf_add_format(&connect_to, "%s:%s:%s:%s", server_name, host->port, host->name, host->port);
    host->url = finished(&url);
    host->connect_to.data = finished(&connect_to);
    return host->url != NULL && host->connect_to.data != NULL;
}

/* The loopback's name needs no server, and no thread. */
static bool use_loopback(ds_http_host *host) {
    ds_buf resolve = DS_BUF_EMPTY;
    ds_buf_add_format(&resolve, "%s:%s:127.0.0.1,[::1]", host->name, host->port);
    host->resolve.data = finished(&resolve);
    host->resolve_news = true;
    ds_free(host->name);
    host->name = NULL;
    return host->resolve.data != NULL;
}

static bool host_fill(ds_http_host *host, const ds_endpoint *endpoint, const ds_http_client *client) {
    const char *authority = strstr(endpoint->origin, "://");
    host->tls = strncmp(endpoint->origin, "https://", 8) == 0;
    host->origin = ds_strdup(endpoint->origin);
    if (host->origin == NULL) {
        return false;
    }
    if (endpoint->unix_path != NULL) {
        host->unix_path = ds_strdup(endpoint->unix_path);
        host->url = ds_strdup(authority != NULL ? endpoint->origin : "http://localhost");
        return host->unix_path != NULL && host->url != NULL;
    }
    if (!split(host, authority != NULL ? authority + 3 : endpoint->origin)) {
        return false;
    }
    bool named = host->tls && client->server_name != NULL;
    if (named ? !use_server_name(host, client->server_name) : (host->url = ds_strdup(endpoint->origin)) == NULL) {
        return false;
    }
    if (is_literal(host->name)) {
        ds_free(host->name);
        host->name = NULL;
    } else if (strcmp(host->name, "localhost") == 0) {
        return use_loopback(host);
    }
    return true;
}

static bool same_text(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

ds_http_host *ds_http_host_get(ds_http_client *client, const ds_endpoint *endpoint) {
    for (ds_list *node = client->hosts.next; node != &client->hosts; node = node->next) {
        ds_http_host *host = DS_LIST_ENTRY(node, ds_http_host, node);
        if (strcmp(host->origin, endpoint->origin) == 0 && same_text(host->unix_path, endpoint->unix_path)) {
            return host;
        }
    }
    ds_http_host *host = ds_calloc(1, sizeof(*host));
    if (host == NULL) {
        return NULL;
    }
    host->client = client;
    ds_list_init(&host->node);
    ds_list_init(&host->waiting);
    if (!host_fill(host, endpoint, client)) {
        host_free(host);
        return NULL;
    }
    ds_list_append(&client->hosts, &host->node);
    return host;
}
