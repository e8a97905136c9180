/* http_host.c: where origins are: names are looked up by threads of our own.
 *
 * libcurl could do it, but it waits for its look-up thread when a request is given up, forgets an address that worked
 * when the name server is down, and leaves descriptors open for children. Here a look-up never holds anybody up who has
 * an address: the last good ones are used until better ones have come.
 */
#include "http_internal.h"
#include "loop_internal.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define REFRESH_NS (60 * DS_SECOND)      /* an address older than this is looked up again, behind its use */
#define SUSPECT_PAUSE_NS (1 * DS_SECOND) /* not more often than this when nobody answers there */
#define ADDRESSES_MAX 16

/* ---- the thread --------------------------------------------------------------------------------------------------- */

/* Shared by the thread and the loop; whoever is second to be done with it frees it. */
typedef struct ds_lookup {
    pthread_mutex_t mutex;
    ds_http_host *host; /* NULL: nobody waits any more */
    bool ended;
    char *name, *port;
    ds_buf addresses; /* "name:port:address,address" */
    int err;          /* of getaddrinfo */
    ds_task task;
} ds_lookup;

static void lookup_free(ds_lookup *lookup) {
    ds_buf_free(&lookup->addresses);
    ds_free(lookup->name);
    ds_free(lookup->port);
    (void)pthread_mutex_destroy(&lookup->mutex);
    ds_free(lookup);
}

static void add_address(ds_buf *out, const struct sockaddr *address, bool first) {
    char text[INET6_ADDRSTRLEN] = "";
    bool v6 = address->sa_family == AF_INET6;
    const void *bytes = v6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                           : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (inet_ntop(address->sa_family, bytes, text, sizeof(text)) != NULL) {
        ds_buf_add_format(out, v6 ? "%s[%s]" : "%s%s", first ? "" : ",", text);
    }
}

static void look_up(ds_lookup *lookup) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    lookup->err = getaddrinfo(lookup->name, NULL, &hints, &list);
    if (lookup->err != 0) {
        return;
    }
    ds_buf_add_format(&lookup->addresses, "%s:%s:", lookup->name, lookup->port);
    int count = 0;
    for (const struct addrinfo *item = list; item != NULL && count < ADDRESSES_MAX; item = item->ai_next) {
        if (item->ai_family == AF_INET || item->ai_family == AF_INET6) {
            add_address(&lookup->addresses, item->ai_addr, count++ == 0);
        }
    }
    freeaddrinfo(list);
    if (count == 0) {
        lookup->err = EAI_NONAME;
    } else if (lookup->addresses.failed) {
        lookup->err = EAI_MEMORY;
    }
}

static void *lookup_main(void *argument) {
    ds_lookup *lookup = argument;
    (void)pthread_setname_np(pthread_self(), "dsync-dns");
    look_up(lookup);
    pthread_mutex_lock(&lookup->mutex);
    lookup->ended = true;
    ds_http_host *host = lookup->host;
    if (host != NULL) {
        ds_world *world = host->client->world;
        world->ops->notify(world, &lookup->task);
    }
    pthread_mutex_unlock(&lookup->mutex);
    if (host == NULL) {
        lookup_free(lookup);
    }
    return NULL;
}

/* ---- the loop's side ---------------------------------------------------------------------------------------------- */

static void adopt(ds_http_host *host, ds_lookup *lookup) {
    if (host->resolve.data != NULL && strcmp(host->resolve.data, lookup->addresses.data) == 0) {
        return;
    }
    ds_free(host->resolve.data);
    host->resolve.data = lookup->addresses.data;
    host->resolve_news = true;
    lookup->addresses = (ds_buf)DS_BUF_EMPTY;
}

static void lookup_ended(ds_task *task) {
    ds_lookup *lookup = DS_CONTAINER_OF(task, ds_lookup, task);
    pthread_mutex_lock(&lookup->mutex); /* the thread may not have let go yet */
    ds_http_host *host = lookup->host;
    pthread_mutex_unlock(&lookup->mutex);
    host->lookup = NULL;
    int err = lookup->err;
    if (err == 0) {
        adopt(host, lookup);
    }
    lookup_free(lookup);
    bool usable = host->resolve.data != NULL;
    ds_http_host_ready(host->client, host, usable ? NULL : gai_strerror(err));
}

static bool begin_lookup(ds_http_client *client, ds_http_host *host) {
    ds_lookup *lookup = ds_calloc(1, sizeof(*lookup));
    if (lookup == NULL || pthread_mutex_init(&lookup->mutex, NULL) != 0) {
        ds_free(lookup);
        return false;
    }
    lookup->host = host;
    lookup->task.run = lookup_ended;
    ds_list_init(&lookup->task.node);
    lookup->name = ds_strdup(host->name);
    lookup->port = ds_strdup(host->port);
    pthread_t thread;
    if (lookup->name == NULL || lookup->port == NULL || ds_thread_start(&thread, lookup_main, lookup) != 0) {
        lookup_free(lookup);
        return false;
    }
    host->lookup = lookup;
    host->looked_ns = ds_now(client->world);
    return true;
}

static void abandon_lookup(ds_http_host *host) {
    ds_lookup *lookup = host->lookup;
    if (lookup == NULL) {
        return;
    }
    pthread_mutex_lock(&lookup->mutex);
    bool ended = lookup->ended;
    lookup->host = NULL;
    pthread_mutex_unlock(&lookup->mutex);
    if (ended) {
        ds_take_back(host->client->world, &lookup->task);
        lookup_free(lookup);
    }
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

/* ---- origins ------------------------------------------------------------------------------------------------------ */

static void host_free(ds_http_host *host) {
    abandon_lookup(host);
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
