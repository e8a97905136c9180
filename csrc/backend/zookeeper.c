/* zookeeper.c: the ZooKeeper backend as one object: its making, its table of operations, ping and get. */
#include "zookeeper.h"

#include "../base/error.h"
#include "../net/url.h"
#include "zookeeper_load.h"
#include "zookeeper_over.h"

#include <stdio.h>
#include <string.h>

#define LARGEST_VALUE ((size_t)1000 * 1000) /* jute.maxbuffer, less what travels with it */

/* ---- ping and get ------------------------------------------------------------------------------------------------ */

static void on_pinged(ds_zk_call *call, const ds_zk_answer *answer) {
    ds_zookeeper *zookeeper = call->zookeeper;
    if (ds_zk_over(call)) {
        return;
    }
    if (answer->code != DS_ZK_OK) {
        ds_zk_check_chroot(call, answer);
        return;
    }
    snprintf(zookeeper->text, sizeof(zookeeper->text), "ZooKeeper at %s", zookeeper->driver->server(call->link->zk));
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE, .server = zookeeper->text};
    ds_zk_finish(call, &reply);
}

static void on_synced(ds_zk_call *call, const ds_zk_answer *answer) {
    if (!ds_zk_over(call) && answer->code != DS_ZK_OK) {
        ds_zk_fail(call, answer);
    }
}

/* A sync passes the leader, and needs one; the read behind it says whether our root is there. */
static void begin_ping(ds_zk_call *call) {
    ds_zk_request sync = {.kind = DS_ZK_SYNC, .path = call->own.data};
    ds_zk_request exists = {.kind = DS_ZK_EXISTS, .path = call->own.data};
    if (ds_zk_send(call, &sync, on_synced)) {
        (void)ds_zk_send(call, &exists, on_pinged);
    }
}

void ds_zk_ping(ds_backend *backend, ds_call *owner) {
    ds_zk_call *call = ds_zk_start(backend, owner, NULL, begin_ping);
    if (call != NULL) {
        const char *chroot = call->zookeeper->chroot;
        ds_buf_add_text(&call->own, chroot[0] != '\0' ? chroot : "/");
        ds_zk_go(call);
    }
}

static void on_got(ds_zk_call *call, const ds_zk_answer *answer) {
    if (ds_zk_over(call)) {
        return;
    }
    ds_reply reply = {.outcome = DS_OK, .place = DS_PLACE_DONE};
    if (answer->code == DS_ZK_OK) {
        reply.value = answer->data;
        reply.value_size = answer->size;
        reply.token = answer->stat->mzxid;
    } else if (answer->code != DS_ZK_NO_NODE) {
        ds_zk_fail(call, answer);
        return;
    }
    ds_zk_finish(call, &reply);
}

static void begin_get(ds_zk_call *call) {
    ds_zk_request sync = {.kind = DS_ZK_SYNC, .path = call->full.data};
    ds_zk_request get = {.kind = DS_ZK_GET, .path = call->full.data};
    if (ds_zk_send(call, &sync, NULL)) {
        (void)ds_zk_send(call, &get, on_got);
    }
}

void ds_zk_get(ds_backend *backend, ds_call *owner, const char *key) {
    ds_zk_call *call = ds_zk_start(backend, owner, NULL, begin_get);
    if (call != NULL) {
        ds_zk_path(call->zookeeper, &call->full, key);
        ds_zk_go(call);
    }
}

/* ---- the object -------------------------------------------------------------------------------------------------- */

static bool session_key(ds_backend *backend, const ds_lease *lease, char **out) {
    (void)backend;
    ds_buf key = DS_BUF_EMPTY;
    ds_zk_session_key(&key, lease);
    if (key.failed) {
        ds_buf_free(&key);
        return false;
    }
    *out = key.data;
    return true;
}

/* An entry whose node is not known has no key that could be watched; one that the server would not know stands for
 * it. */
static bool entry_key(ds_backend *backend, const ds_entry *entry, char **out) {
    (void)backend;
    const ds_zk_link *link = ds_zk_link_of(entry->lease);
    const ds_zk_node *node = link != NULL ? ds_zk_node_of(link, entry->nonce) : NULL;
    ds_buf key = DS_BUF_EMPTY;
    ds_buf_add_format(&key, "%s/%s", entry->path, node != NULL && node->full != NULL ? node->name : entry->nonce);
    if (key.failed) {
        ds_buf_free(&key);
        return false;
    }
    *out = key.data;
    return true;
}

static const char *endpoint_list(ds_backend *backend) {
    return ds_zookeeper_of(backend)->hosts.text;
}

static void destroy(ds_backend *backend) {
    ds_zookeeper *zookeeper = ds_zookeeper_of(backend);
    ds_zk_links_free(zookeeper);
    ds_zk_hosts_free(&zookeeper->hosts);
    ds_free_secret(zookeeper->digest);
    ds_free(zookeeper->chroot);
    ds_free(zookeeper->prefix);
    ds_free(zookeeper->id);
    ds_free(zookeeper);
}

static const ds_backend_ops zookeeper_ops = {
    .name = "zookeeper",
    .ttl_min_ms = 1000, /* a server grants at least two of its ticks, 4 s by default, and says so */
    .ttl_max_ms = INT64_C(1000) * 60 * 60 * 24,
    .margin_divisor = 3, /* a follower passes signs of life on with its own pings only */
    .renew_divisor = 4,
    .local = false,
    .destroy = destroy,
    .cancel = ds_zk_cancel,
    .endpoint_list = endpoint_list,
    .ping = ds_zk_ping,
    .open = ds_zk_open,
    .renew = ds_zk_renew,
    .close = ds_zk_close,
    .forget = ds_zk_forget,
    .session_key = session_key,
    .enter = ds_zk_enter,
    .check = ds_zk_check,
    .leave = ds_zk_leave,
    .swap = ds_zk_swap,
    .withdraw = ds_zk_withdraw,
    .write = ds_zk_write,
    .evict = ds_zk_evict,
    .get = ds_zk_get,
    .list = ds_zk_list,
    .watch = ds_zk_watch_on,
    .unwatch = ds_zk_watch_off,
    .entry_key = entry_key,
};

/* ---- settings ---------------------------------------------------------------------------------------------------- */

typedef struct settings {
    const char *digest, *acl, *dialect;
} settings;

static bool read_settings(const dsync_options *options, settings *out, dsync_error *error) {
    for (size_t i = 0; i < options->setting_count; i++) {
        const dsync_setting *setting = &options->settings[i];
        if (strncmp(setting->name, "zookeeper.", 10) != 0) {
            continue;
        }
        const char *name = setting->name + 10;
        const char **to = strcmp(name, "digest") == 0    ? &out->digest
                          : strcmp(name, "acl") == 0     ? &out->acl
                          : strcmp(name, "dialect") == 0 ? &out->dialect
                                                         : NULL;
        if (to == NULL) {
            ds_shown shown;
            ds_error_set(error, DSYNC_CONFIG,
                         "unknown setting \"%s\"; zookeeper knows \"zookeeper.digest\", \"zookeeper.acl\" and "
                         "\"zookeeper.dialect\"",
                         ds_show(&shown, setting->name, strlen(setting->name)));
            return false;
        }
        *to = setting->value;
    }
    return true;
}

static bool check_choice(const char *name, const char *value, const char *a, const char *b, dsync_error *error) {
    if (value == NULL || strcmp(value, a) == 0 || strcmp(value, b) == 0) {
        return true;
    }
    ds_shown shown;
    ds_error_set(error, DSYNC_CONFIG, "zookeeper.%s is \"%s\"; it must be \"%s\" or \"%s\"", name,
                 ds_show(&shown, value, strlen(value)), a, b);
    return false;
}

static bool check_digest(const settings *s, const ds_backend_config *config, dsync_error *error) {
    if (s->acl != NULL && strcmp(s->acl, "creator") == 0 && s->digest == NULL) {
        ds_error_set(error, DSYNC_CONFIG, "zookeeper.acl = \"creator\" needs zookeeper.digest = \"user:secret\"");
        return false;
    }
    if (s->digest == NULL) {
        return true;
    }
    const char *colon = strchr(s->digest, ':');
    if (colon == NULL || colon == s->digest || colon[1] == '\0') {
        ds_error_set(error, DSYNC_CONFIG, "zookeeper.digest must be \"user:secret\"");
        return false;
    }
    for (size_t i = 0; i < config->endpoint_count; i++) {
        if (!config->options->allow_plaintext_credentials && !ds_url_is_loopback(config->endpoints[i])) {
            ds_error_set(
                error, DSYNC_CONFIG,
                "zookeeper.digest would cross the network unencrypted to %s: set allow_plaintext_credentials = "
                "true if that network is trusted",
                config->endpoints[i]);
            return false;
        }
    }
    return true;
}

static bool check_others(const dsync_options *o, dsync_error *error) {
    if (o->auth_user != NULL || o->auth_token != NULL || o->auth_token_file != NULL) {
        ds_error_set(error, DSYNC_CONFIG,
                     "zookeeper takes no auth = {...}: give zookeeper = {digest = \"user:secret\"} instead");
        return false;
    }
    if (o->tls_ca != NULL || o->tls_cert != NULL || o->tls_server_name != NULL || o->tls_insecure_skip_verify) {
        ds_error_set(
            error, DSYNC_UNSUPPORTED,
            "tls = {...}: the ZooKeeper client library is built without TLS; use a tunnel (stunnel, WireGuard)");
        return false;
    }
    if (o->max_value > LARGEST_VALUE) {
        ds_error_set(error, DSYNC_CONFIG, "max_value of %zu bytes: zookeeper allows %zu", o->max_value, LARGEST_VALUE);
        return false;
    }
    return true;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static bool fill(ds_zookeeper *zookeeper, const ds_backend_config *config, const settings *s) {
    const dsync_options *o = config->options;
    zookeeper->dialect = s->dialect != NULL && strcmp(s->dialect, "kazoo") == 0 ? DS_ZK_KAZOO : DS_ZK_CURATOR;
    zookeeper->creator_only = s->digest != NULL && (s->acl == NULL || strcmp(s->acl, "creator") == 0);
    zookeeper->ttl_ms = o->ttl_ms;
    zookeeper->connect_timeout_ms = o->connect_timeout_ms;
    zookeeper->digest = s->digest != NULL ? ds_strdup(s->digest) : NULL;
    zookeeper->chroot = ds_strdup(config->root != NULL ? config->root : "");
    zookeeper->prefix = ds_strdup(o->prefix);
    zookeeper->id = ds_strdup(o->id);
    return (s->digest == NULL || zookeeper->digest != NULL) && zookeeper->chroot != NULL && zookeeper->prefix != NULL &&
           zookeeper->id != NULL &&
           ds_zk_hosts_init(&zookeeper->hosts, zookeeper->base.world, config->endpoints, config->endpoint_count);
}

ds_backend *ds_zookeeper_backend_over(ds_world *world, const ds_backend_config *config, const ds_zk_driver *driver,
                                      dsync_error *error) {
    settings s = {0};
    if (!read_settings(config->options, &s, error) || !check_choice("acl", s.acl, "creator", "open", error) ||
        !check_choice("dialect", s.dialect, "curator", "kazoo", error) || !check_digest(&s, config, error) ||
        !check_others(config->options, error)) {
        return NULL;
    }
    ds_zookeeper *zookeeper = ds_calloc(1, sizeof(*zookeeper));
    if (zookeeper == NULL) {
        ds_error_no_memory(error);
        return NULL;
    }
    zookeeper->base.ops = &zookeeper_ops;
    zookeeper->base.world = world;
    zookeeper->driver = driver;
    ds_list_init(&zookeeper->links);
    ds_list_init(&zookeeper->retired);
    ds_list_init(&zookeeper->reap.node);
    if (!fill(zookeeper, config, &s)) {
        destroy(&zookeeper->base);
        ds_error_no_memory(error);
        return NULL;
    }
    return &zookeeper->base;
}

ds_backend *ds_zookeeper_backend(ds_world *world, const ds_backend_config *config, dsync_error *error) {
    const ds_zk_driver *driver = ds_zk_driver_load(error);
    return driver != NULL ? ds_zookeeper_backend_over(world, config, driver, error) : NULL;
}
