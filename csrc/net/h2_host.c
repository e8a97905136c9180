/* h2_host.c: where origins are: names are looked up by threads of our own (lookup.h), and the last good addresses are
 * used until better ones have come, so that nobody waits who has an address.
 */
#include "h2.h"

#if __has_include(<nghttp2/nghttp2.h>)

#include "h2_internal.h"
#include "lookup.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define REFRESH_NS (60 * DS_SECOND)      /* an address older than this is looked up again, behind its use */
#define SUSPECT_PAUSE_NS (1 * DS_SECOND) /* not more often than this when nobody answers there */

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static void lookup_ended(void *context, const char *addresses, const char *problem) {
    ds_h2_host *host = context;
    host->lookup = NULL;
    char *fresh = addresses != NULL ? ds_strdup(addresses) : NULL;
    if (fresh != NULL) {
        ds_free(host->addresses);
        host->addresses = fresh;
    } else if (addresses != NULL) {
        problem = "out of memory";
    }
    if (host->link != NULL && host->link->stage == DS_H2_LOOKUP) {
        ds_h2_link_looked_up(host->link, host->addresses != NULL ? NULL : problem);
    }
}

static bool begin_lookup(ds_h2_host *host) {
    host->lookup = ds_lookup_begin(host->client->world, host->name, lookup_ended, host);
    if (host->lookup != NULL) {
        host->looked_ns = ds_now(host->client->world);
    }
    return host->lookup != NULL;
}

ds_h2_address ds_h2_host_look(ds_h2_host *host) {
    bool known = host->addresses != NULL;
    if (host->name == NULL) {
        return DS_H2_ADDRESS_KNOWN;
    }
    if (host->lookup == NULL && (!known || ds_now(host->client->world) - host->looked_ns > REFRESH_NS)) {
        if (!begin_lookup(host) && !known) {
            return DS_H2_ADDRESS_NONE;
        }
    }
    return known ? DS_H2_ADDRESS_KNOWN : DS_H2_ADDRESS_SOON;
}

void ds_h2_host_suspect(ds_h2_host *host) {
    if (host->name != NULL && host->lookup == NULL &&
        ds_now(host->client->world) - host->looked_ns > SUSPECT_PAUSE_NS) {
        (void)begin_lookup(host); /* no thread to be had now: the next failure tries again */
    }
}

/* ---- origins ----------------------------------------------------------------------------------------------------- */

void ds_h2_host_free(ds_h2_host *host) {
    ds_lookup_abandon(host->lookup);
    ds_list_remove(&host->node);
    ds_free(host->origin);
    ds_free(host->unix_path);
    ds_free(host->authority);
    ds_free(host->name);
    ds_free(host->addresses);
    ds_free(host);
}

static bool is_literal(const char *name) {
    struct in6_addr bytes;
    return name[0] == '[' || inet_pton(AF_INET, name, &bytes) == 1;
}

/* The loopback's name needs no server, and no thread. */
static bool fill_addresses(ds_h2_host *host) {
    bool loopback = strcmp(host->name, "localhost") == 0;
    if (loopback || is_literal(host->name)) {
        host->addresses = loopback ? ds_strdup("127.0.0.1,[::1]") : host->name;
        if (loopback) {
            ds_free(host->name);
        }
        host->name = NULL;
        return host->addresses != NULL;
    }
    return true;
}

static bool fill(ds_h2_host *host, const ds_endpoint *endpoint) {
    const char *scheme = strstr(endpoint->origin, "://");
    host->origin = ds_strdup(endpoint->origin);
    if (endpoint->unix_path != NULL) {
        host->unix_path = ds_strdup(endpoint->unix_path);
        host->authority = ds_strdup(scheme != NULL ? scheme + 3 : "localhost");
        return host->origin != NULL && host->unix_path != NULL && host->authority != NULL;
    }
    const char *authority = scheme != NULL ? scheme + 3 : endpoint->origin;
    const char *bracket = strrchr(authority, ']');
    const char *colon = strrchr(bracket != NULL ? bracket : authority, ':');
    host->port = (uint16_t)(colon != NULL ? strtoul(colon + 1, NULL, 10) : 80);
    host->authority = ds_strdup(authority);
    host->name = ds_strndup(authority, colon != NULL ? (size_t)(colon - authority) : strlen(authority));
    return host->origin != NULL && host->authority != NULL && host->name != NULL && fill_addresses(host);
}

static bool same_text(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

ds_h2_host *ds_h2_host_get(ds_h2_client *client, const ds_endpoint *endpoint) {
    for (ds_list *node = client->hosts.next; node != &client->hosts; node = node->next) {
        ds_h2_host *host = DS_LIST_ENTRY(node, ds_h2_host, node);
        if (strcmp(host->origin, endpoint->origin) == 0 && same_text(host->unix_path, endpoint->unix_path)) {
            return host;
        }
    }
    ds_h2_host *host = ds_calloc(1, sizeof(*host));
    if (host == NULL) {
        return NULL;
    }
    host->client = client;
    ds_list_init(&host->node);
    ds_list_init(&host->queue);
    if (!fill(host, endpoint)) {
        ds_h2_host_free(host);
        return NULL;
    }
    ds_list_append(&client->hosts, &host->node);
    return host;
}

#endif
