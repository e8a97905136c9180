/* lock.c: a lock or a candidate, as Lua sees it. What it costs to ask is nothing; what has to wait is an operation. */
#include "binding.h"
#include "guard.h"

#include <stdio.h>

typedef struct bind_lock {
    dsync_lock *handle;  /* NULL once finalised */
    bind_client *client; /* the client's userdata, kept alive by the anchor table */
    dsync_client *ref;   /* a reference */
} bind_lock;

static dsync_lock *check_lock(lua_State *L) {
    bind_lock *lock = luaL_checkudata(L, 1, BIND_LOCK);
    if (lock->handle == NULL) {
        luaL_error(L, "this lock was freed");
    }
    return lock->handle;
}

int bind_new_lock(lua_State *L, int client_index, int is_leader) {
    bind_client *client = bind_check_client(L, client_index);
    const char *name = bind_check_text(L, 2, 0);
    dsync_lock_options options;
    dsync_lock_options_init(&options);
    bind_read_lock_options(L, 3, &options);

    bind_lock *lock = lua_newuserdata(L, sizeof(*lock));
    lock->handle = NULL;
    lock->client = client;
    lock->ref = NULL;
    luaL_getmetatable(L, BIND_LOCK);
    lua_setmetatable(L, -2);
    bind_get_anchor(L, client_index);
    bind_set_anchor(L, -2);

    dsync_error error = {0};
    lock->handle = is_leader ? dsync_leader_new(client->handle, name, &options, &error)
                             : dsync_lock_new(client->handle, name, &options, &error);
    if (lock->handle == NULL) {
        return bind_fail(L, &error);
    }
    dsync_client_ref(client->handle);
    lock->ref = client->handle;
    return 1;
}

/* A lock that is collected while it is held is released in the background; the client remembers that it was, so that
 * Lua can say so when it is next awake. */
static int lock_free(lua_State *L) {
    bind_lock *lock = luaL_checkudata(L, 1, BIND_LOCK);
    if (lock->handle == NULL) {
        return 0;
    }
    if (dsync_held(lock->handle)) {
        lock->client->collected++;
        (void)snprintf(lock->client->collected_name, sizeof(lock->client->collected_name), "%s",
                       dsync_lock_name(lock->handle));
    }
    dsync_lock_free(lock->handle);
    lock->handle = NULL;
    dsync_client_unref(lock->ref);
    lock->ref = NULL;
    return 0;
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static int lock_number(lua_State *L) {
    bind_push_number(L, dsync_lock_number(check_lock(L)));
    return 1;
}

static int lock_name(lua_State *L) {
    lua_pushstring(L, dsync_lock_name(check_lock(L)));
    return 1;
}

static int lock_key(lua_State *L) {
    lua_pushstring(L, dsync_lock_key(check_lock(L)));
    return 1;
}

static int lock_held(lua_State *L) {
    lua_pushboolean(L, dsync_held(check_lock(L)));
    return 1;
}

static int lock_valid_for(lua_State *L) {
    lua_pushnumber(L, (lua_Number)dsync_valid_for_ms(check_lock(L)) / 1000);
    return 1;
}

static int lock_margin(lua_State *L) {
    lua_pushnumber(L, (lua_Number)dsync_margin_ms(check_lock(L)) / 1000);
    return 1;
}

/* The state, and in a lock-delay the time of its end at the latest, in seconds since 1970. */
static int lock_state(lua_State *L) {
    const dsync_lock *lock = check_lock(L);
    int64_t until_ms = dsync_lock_delayed_until_ms(lock);
    lua_pushstring(L, dsync_lock_state(lock));
    if (until_ms == 0) {
        return 1;
    }
    lua_pushnumber(L, (lua_Number)until_ms / 1000);
    return 2;
}

static int fail_no_token(lua_State *L) {
    return bind_fail_with(L, DSYNC_NOT_HELD, "there is no token: this object has not been held yet");
}

static int lock_token(lua_State *L) {
    int64_t token = dsync_token(check_lock(L));
    return token == 0 ? fail_no_token(L) : bind_push_token(L, token);
}

static int lock_token_string(lua_State *L) {
    int64_t token = dsync_token(check_lock(L));
    if (token == 0) {
        return fail_no_token(L);
    }
    bind_push_token_text(L, token);
    return 1;
}

static int lock_acquisition(lua_State *L) {
    bind_push_number(L, dsync_acquisition(check_lock(L)));
    return 1;
}

/* lock:lost_reason() -> why the last acquisition was lost, or nil. */
static int lock_lost_reason(lua_State *L) {
    dsync_reason reason = dsync_lost_reason(check_lock(L));
    if (reason == DSYNC_NOT_LOST) {
        lua_pushnil(L);
    } else {
        lua_pushstring(L, dsync_reason_name(reason));
    }
    return 1;
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

static int lock_acquire(lua_State *L) {
    dsync_lock *lock = check_lock(L);
    dsync_acquire_options options;
    dsync_acquire_options_init(&options);
    bind_read_acquire_options(L, 2, &options);
    bind_op *op = bind_op_push(L, dsync_lock_client(lock));
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_acquire_start(lock, &options, &error), &error);
}

static int lock_release(lua_State *L) {
    dsync_lock *lock = check_lock(L);
    bind_op *op = bind_op_push(L, dsync_lock_client(lock));
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_release_start(lock, &error), &error);
}

static int lock_revoked(lua_State *L) {
    dsync_lock *lock = check_lock(L);
    int64_t timeout_ms = bind_check_ms(L, 2);
    bind_op *op = bind_op_push(L, dsync_lock_client(lock));
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_revoked_start(lock, timeout_ms, &error), &error);
}

static int lock_put(lua_State *L) {
    dsync_lock *lock = check_lock(L);
    const char *key = bind_check_text(L, 2, 0);
    size_t size;
    const char *value = luaL_checklstring(L, 3, &size);
    bind_op *op = bind_op_push(L, dsync_lock_client(lock));
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_put_start(lock, key, value, size, &error), &error);
}

static int lock_delete(lua_State *L) {
    dsync_lock *lock = check_lock(L);
    const char *key = bind_check_text(L, 2, 0);
    bind_op *op = bind_op_push(L, dsync_lock_client(lock));
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_delete_start(lock, key, &error), &error);
}

static int lock_proclaim(lua_State *L) {
    dsync_lock *lock = check_lock(L);
    size_t size;
    const char *value = luaL_checklstring(L, 2, &size);
    int is_json = lua_toboolean(L, 3);
    bind_op *op = bind_op_push(L, dsync_lock_client(lock));
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_proclaim_start(lock, value, size, is_json, &error), &error);
}

/* lock:queue([limit]) */
static int lock_queue(lua_State *L) {
    dsync_lock *lock = check_lock(L);
    lua_Integer limit = luaL_optinteger(L, 2, 0);
    bind_op *op = bind_op_push(L, dsync_lock_client(lock));
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_queue_start(lock, limit > 0 ? (size_t)limit : 0, &error), &error);
}

static int lock_guard(lua_State *L) {
    return bind_guard(L, check_lock(L));
}

static const luaL_Reg lock_methods[] = {
    {"number", lock_number},
    {"name", lock_name},
    {"key", lock_key},
    {"held", lock_held},
    {"valid_for", lock_valid_for},
    {"margin", lock_margin},
    {"state", lock_state},
    {"token", lock_token},
    {"token_string", lock_token_string},
    {"acquisition", lock_acquisition},
    {"lost_reason", lock_lost_reason},
    {"acquire", lock_acquire},
    {"release", lock_release},
    {"revoked", lock_revoked},
    {"put", lock_put},
    {"delete", lock_delete},
    {"proclaim", lock_proclaim},
    {"queue", lock_queue},
    {"guard", lock_guard},
    {NULL, NULL},
};

void bind_lock_class(lua_State *L) {
    bind_class(L, BIND_LOCK, lock_methods, lock_free);
}
