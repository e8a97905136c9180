/* zookeeper_hosts.c: see zookeeper_hosts.h. */
#include "zookeeper_hosts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define REFRESH_NS (60 * DS_SECOND) /* names older than this are looked up again when somebody connects */
#define PAUSE_NS (1 * DS_SECOND)    /* not more often than this while nothing is found */
#define ADDRESSES_MAX 64

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void tell(ds_zk_hosts *hosts) {
    ds_list round;
    ds_list_init(&round);
    ds_list_splice(&round, &hosts->waiters);
    ds_list *node;
    while ((node = ds_list_pop(&round)) != NULL) {
        ds_zk_hosts_waiter *waiter = DS_LIST_ENTRY(node, ds_zk_hosts_waiter, node);
        waiter->known(waiter);
    }
}

static void on_looked_up(void *context, const char *addresses, const char *problem) {
    ds_zk_host *host = context;
    ds_zk_hosts *hosts = host->hosts;
    host->lookup = NULL;
    hosts->asking--;
    char *copy = addresses != NULL ? ds_strdup(addresses) : NULL;
    if (copy != NULL) {
        ds_free(host->addresses);
        host->addresses = copy;
    } else {
        snprintf(hosts->problem, sizeof(hosts->problem), "%s: %s", host->name,
                 problem != NULL ? problem : "out of memory");
    }
    if (hosts->asking == 0 || copy != NULL) {
        tell(hosts);
    }
}

static void ask(ds_zk_hosts *hosts) {
    hosts->asked_ns = ds_now(hosts->world);
    for (size_t i = 0; i < hosts->count; i++) {
        ds_zk_host *host = &hosts->list[i];
        if (host->literal || host->lookup != NULL) {
            continue;
        }
        host->lookup = ds_lookup_begin(hosts->world, host->name, on_looked_up, host);
        hosts->asking += host->lookup != NULL;
    }
}

/* ---- what is known ----------------------------------------------------------------------------------------------- */

/* An address as its own entry, before or behind those there are, so that clients spread over the servers. */
static void add_server(ds_buf *out, const char *address, size_t length, const char *port, bool before) {
    ds_buf whole = DS_BUF_EMPTY;
    if (!before && out->size > 0) {
        ds_buf_add_char(out, ',');
    }
    ds_buf *to = before ? &whole : out;
    ds_buf_add(to, address, length);
    ds_buf_add_char(to, ':');
    ds_buf_add_text(to, port);
    if (before) {
        if (out->size > 0) {
            ds_buf_add_char(&whole, ',');
            ds_buf_add(&whole, out->data, out->size);
        }
        ds_buf_clear(out);
        ds_buf_add(out, whole.data != NULL ? whole.data : "", whole.size);
        out->failed = out->failed || whole.failed;
    }
    ds_buf_free(&whole);
}

static void add_host(ds_buf *out, const ds_zk_host *host, uint64_t *random) {
    const char *next = host->addresses;
    while (next != NULL && *next != '\0') {
        size_t length = strcspn(next, ",");
        add_server(out, next, length, host->port, (*random & 1) != 0);
        *random >>= 1;
        next += length + (next[length] == ',');
    }
}

bool ds_zk_hosts_get(ds_zk_hosts *hosts, ds_buf *out, ds_zk_hosts_waiter *waiter) {
    uint64_t random = ds_random64(hosts->world);
    size_t first = (size_t)(random >> 32) % hosts->count;
    bool names = false;
    ds_buf_clear(out);
    for (size_t i = 0; i < hosts->count; i++) {
        const ds_zk_host *host = &hosts->list[(first + i) % hosts->count];
        names = names || !host->literal;
        add_host(out, host, &random);
    }
    bool known = out->size > 0 || out->failed;
    int64_t age = ds_now(hosts->world) - hosts->asked_ns;
    if (names && hosts->asking == 0 && (hosts->asked_ns == 0 || age > (known ? REFRESH_NS : PAUSE_NS))) {
        ask(hosts);
    }
    if (!known && ds_list_empty(&waiter->node)) {
        ds_list_append(&hosts->waiters, &waiter->node);
    }
    return known;
}

void ds_zk_hosts_cancel(ds_zk_hosts_waiter *waiter) {
    ds_list_remove(&waiter->node);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* An address, or the one name that needs no resolver. */
static bool fill(ds_zk_host *host, const char *endpoint) {
    const char *colon = strrchr(endpoint, ':');
    size_t length = colon != NULL ? (size_t)(colon - endpoint) : strlen(endpoint);
    struct in_addr bytes;
    host->name = ds_strndup(endpoint, length);
    host->port = ds_strdup(colon != NULL ? colon + 1 : "2181");
    if (host->name == NULL || host->port == NULL) {
        return false;
    }
    bool loopback = strcmp(host->name, "localhost") == 0;
    host->literal = loopback || host->name[0] == '[' || inet_pton(AF_INET, host->name, &bytes) == 1;
    if (host->literal) {
        host->addresses = ds_strdup(loopback ? "127.0.0.1,[::1]" : host->name);
    }
    return !host->literal || host->addresses != NULL;
}

bool ds_zk_hosts_init(ds_zk_hosts *hosts, ds_world *world, const char *const *endpoints, size_t count) {
    ds_buf text = DS_BUF_EMPTY;
    hosts->world = world;
    ds_list_init(&hosts->waiters);
    hosts->list = ds_calloc(count, sizeof(*hosts->list));
    if (hosts->list == NULL) {
        return false;
    }
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        hosts->list[i].hosts = hosts;
        hosts->count = i + 1;
        good = fill(&hosts->list[i], endpoints[i]);
        ds_buf_add_text(&text, i > 0 ? ", " : "");
        ds_buf_add_text(&text, endpoints[i]);
    }
    hosts->text = text.data;
    return good && !text.failed;
}

void ds_zk_hosts_free(ds_zk_hosts *hosts) {
    for (size_t i = 0; i < hosts->count; i++) {
        ds_zk_host *host = &hosts->list[i];
        ds_lookup_abandon(host->lookup);
        ds_free(host->name);
        ds_free(host->port);
        ds_free(host->addresses);
    }
    ds_free(hosts->list);
    ds_free(hosts->text);
}
