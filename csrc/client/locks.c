/* locks.c: lock objects and candidates: making them and asking them. Acquiring and releasing: holds.c. */
#include <string.h>

#include "../base/json.h"
#include "../base/utf8.h"
#include "client.h"

void dsync_lock_options_init(dsync_lock_options *options) {
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
    options->wait_ms = -2;
    options->raw = -1;
    options->own_session = -1;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

bool ds_lock_path(dsync_client *client, const char *name, const dsync_lock_options *options, bool leader, ds_buf *out,
                  dsync_error *error) {
    const dsync_options *o = &client->settings.o;
    const char *scope = options->scope != NULL ? options->scope : o->scope;
    const char *name_space = options->name_space != NULL ? options->name_space : o->name_space;
    ds_keyspace space = {.prefix = o->prefix, .region = o->region};
    if (scope != NULL && strcmp(scope, "global") == 0) {
        space.global = true;
    } else if (scope != NULL && strcmp(scope, "region") != 0) {
        ds_error_set(error, DSYNC_INVALID, "scope \"%.40s\": use \"region\" or \"global\"", scope);
        return false;
    } else if (scope != NULL && o->region == NULL) {
        ds_error_set(error, DSYNC_INVALID, "scope \"region\" needs a region: open the client with region = \"...\"");
        return false;
    }
    if (!ds_name_check(name, strlen(name), "name", error) ||
        !ds_name_check(name_space, strlen(name_space), "namespace", error)) {
        return false;
    }
    if (options->key != NULL) {
        if (!ds_path_check(options->key, strlen(options->key), "key", error)) {
            return false;
        }
        ds_buf_add_text(out, options->key);
    } else if (leader) {
        ds_key_leader(out, &space, name_space, name);
    } else {
        ds_key_lock(out, &space, name);
    }
    if (out->failed) {
        ds_error_no_memory(error);
        return false;
    }
    if (space.global && !client->warned_global) {
        client->warned_global = true;
        ds_notice(client, "warning", "scope \"global\" makes every region depend on one: prefer locks within a region");
    }
    return true;
}

bool ds_lock_check_value(const dsync_client *client, const char *value, size_t size, bool is_json, dsync_error *error) {
    if (size > client->settings.o.max_value) {
        ds_error_set(error, DSYNC_INVALID, "value has %zu bytes, more than max_value = %zu", size,
                     client->settings.o.max_value);
        return false;
    }
    if (is_json) {
        const ds_json_limits limits = {.depth = 32, .tokens = 100000};
        bool no_memory = false;
        const char *why = "";
        ds_json *json = ds_json_parse(value, size, &limits, &no_memory, &why);
        if (json == NULL && no_memory) {
            ds_error_no_memory(error);
            return false;
        }
        if (json == NULL) {
            ds_error_set(error, DSYNC_INVALID, "value is not JSON: %s", why);
            return false;
        }
        ds_json_free(json);
    }
    return true;
}

static bool take_value(dsync_lock *lock, const dsync_lock_options *options, dsync_error *error) {
    const dsync_options *o = &lock->client->settings.o;
    bool own = options->has_value || options->value != NULL;
    const char *value = own ? options->value : o->value;
    size_t size = own ? options->value_size : o->value_size;
    lock->value_is_json = own && options->value_is_json;
    lock->value_size = size;
    if (!ds_lock_check_value(lock->client, value, size, lock->value_is_json, error)) {
        return false;
    }
    if (value != NULL) {
        lock->value = ds_memdup(value, size);
        if (lock->value == NULL) {
            ds_error_no_memory(error);
            return false;
        }
    }
    return true;
}

static bool take_times(dsync_lock *lock, const dsync_lock_options *options, dsync_error *error) {
    const dsync_options *o = &lock->client->settings.o;
    lock->params.ttl_ms = options->ttl_ms != 0 ? options->ttl_ms : o->ttl_ms;
    lock->wait_ms = options->wait_ms != -2 ? options->wait_ms : o->wait_ms;
    lock->hold_ms = options->hold_ms != 0 ? options->hold_ms : o->hold_ms;
    bool own = options->own_session < 0 ? o->own_session != 0 : options->own_session != 0;
    lock->params.owner = own ? lock->number : 0;
    lock->raw = options->raw < 0 ? o->raw != 0 : options->raw != 0;
    if (lock->hold_ms < 0 || lock->wait_ms < -1) {
        ds_error_set(error, DSYNC_INVALID, "%s: a negative time", lock->hold_ms < 0 ? "hold" : "wait");
        return false;
    }
    return ds_ttl_check(lock->params.ttl_ms, o->request_timeout_ms, lock->client->engine->backend->ops, error);
}

static void free_lock(dsync_lock *lock) {
    ds_free(lock->revoked_event);
    ds_free(lock->given);
    ds_free(lock->value);
    ds_free(lock->node_id);
    ds_free(lock->path);
    ds_free(lock->name);
    ds_free(lock);
}

static dsync_lock *make(dsync_client *client, const char *name, const dsync_lock_options *options, bool leader,
                        dsync_error *error) {
    dsync_lock_options o;
    dsync_lock_options_init(&o);
    if (options != NULL) {
        memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    }
    if (ds_forked(client, error)) {
        return NULL;
    }
    if (name == NULL) {
        ds_error_set(error, DSYNC_INVALID, "name: none given");
        return NULL;
    }
    dsync_lock *lock = ds_calloc(1, sizeof *lock);
    ds_buf path = DS_BUF_EMPTY;
    if (lock == NULL) {
        ds_error_no_memory(error);
        return NULL;
    }
    ds_loop_lock(client->loop); /* a warning is an event, and other threads take events */
    bool named = ds_lock_path(client, name, &o, leader, &path, error);
    ds_loop_unlock(client->loop);
    if (!named) {
        ds_buf_free(&path);
        ds_free(lock);
        return NULL;
    }
    const char *id = o.id != NULL ? o.id : client->settings.o.id;
    lock->refs = 1;
    lock->client = client;
    lock->number = ds_next_number();
    lock->leader = leader;
    lock->path = path.data;
    lock->params.global = ds_key_is_global(client->settings.o.prefix, path.data);
    lock->name = ds_strdup(name);
    lock->node_id = ds_strdup(id);
    ds_claim_init(&lock->claim);
    lock->waiter.claim = &lock->claim;
    ds_list_init(&lock->revoked);
    ds_list_init(&lock->alarms);
    if (lock->name == NULL || lock->node_id == NULL) {
        ds_error_no_memory(error);
    } else if (id[0] == '\0' || strlen(id) > 256 || !ds_utf8_valid(id, strlen(id))) {
        ds_error_set(error, DSYNC_INVALID, "id: give 1 to 256 bytes of UTF-8");
    } else if (take_value(lock, &o, error) && take_times(lock, &o, error)) {
        dsync_client_ref(client);
        return lock;
    }
    free_lock(lock);
    return NULL;
}

dsync_lock *dsync_lock_new(dsync_client *client, const char *name, const dsync_lock_options *options,
                           dsync_error *error) {
    return make(client, name, options, false, error);
}

dsync_lock *dsync_leader_new(dsync_client *client, const char *name, const dsync_lock_options *options,
                             dsync_error *error) {
    return make(client, name, options, true, error);
}

void ds_lock_unref(dsync_lock *lock) {
    if (atomic_fetch_sub_explicit(&lock->refs, 1, memory_order_acq_rel) == 1) {
        dsync_client *client = lock->client;
        free_lock(lock);
        dsync_client_unref(client);
    }
}

void dsync_lock_free(dsync_lock *lock) {
    if (lock == NULL || ds_forked(lock->client, NULL)) {
        return;
    }
    ds_loop_lock(lock->client->loop);
    lock->gone = true;
    ds_waiter_drop(&lock->waiter);
    ds_lock_end_waits(lock, DSYNC_OK, "");
    if (lock->revoked_event != NULL) {
        ds_event_withdraw(lock->client, lock->revoked_event);
    }
    ds_loop_unlock(lock->client->loop);
    ds_lock_unref(lock);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

uint64_t dsync_lock_number(const dsync_lock *lock) {
    return lock->number;
}

const char *dsync_lock_name(const dsync_lock *lock) {
    return lock->name;
}

const char *dsync_lock_key(const dsync_lock *lock) {
    return lock->path;
}

dsync_client *dsync_lock_client(const dsync_lock *lock) {
    return lock->client;
}

static int64_t left_ns(const dsync_lock *lock) {
    if (ds_claim_get(&lock->claim) != DS_CLAIM_HELD || ds_forked(lock->client, NULL)) {
        return 0;
    }
    ds_world *world = ds_loop_world(lock->client->loop);
    return ds_claim_left(&lock->claim, ds_now(world), world->ops->wall_ms(world));
}

int dsync_held(const dsync_lock *lock) {
    return left_ns(lock) > 0;
}

int64_t dsync_valid_for_ms(const dsync_lock *lock) {
    return left_ns(lock) / DS_MS;
}

int64_t dsync_margin_ms(const dsync_lock *lock) {
    return atomic_load_explicit(&lock->claim.margin_ns, memory_order_relaxed) / DS_MS;
}

const char *dsync_lock_state(const dsync_lock *lock) {
    ds_claim_state state = ds_claim_get(&lock->claim);
    if (ds_forked(lock->client, NULL)) {
        return "forked";
    }
    if (state == DS_CLAIM_HELD && left_ns(lock) == 0) {
        return "lost";
    }
    if (state == DS_CLAIM_HELD && atomic_load(&lock->claim.suspect)) {
        return "suspect";
    }
    return ds_claim_state_name(state);
}

int64_t dsync_lock_delayed_until_ms(const dsync_lock *lock) {
    bool delayed = ds_claim_get(&lock->claim) == DS_CLAIM_DELAYED;
    return delayed ? atomic_load(&lock->claim.delayed_until_ms) : 0;
}

int64_t dsync_token(const dsync_lock *lock) {
    return atomic_load(&lock->claim.token);
}

uint64_t dsync_acquisition(const dsync_lock *lock) {
    return atomic_load(&lock->claim.acquisition);
}

dsync_reason dsync_lost_reason(const dsync_lock *lock) {
    if (ds_forked(lock->client, NULL)) {
        return DSYNC_NOT_LOST; /* the parent's may well be held */
    }
    dsync_reason reason = (dsync_reason)atomic_load(&lock->claim.reason);
    bool silent = ds_claim_get(&lock->claim) == DS_CLAIM_HELD && left_ns(lock) == 0;
    return silent ? DSYNC_REASON_EXPIRED : reason;
}
