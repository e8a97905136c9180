/* client.c: a client, as Lua sees it: its facts, its events, and the operations that belong to no lock. */
#include "binding.h"

#include <string.h>

bind_client *bind_check_client(lua_State *L, int index) {
    bind_client *client = luaL_checkudata(L, index, BIND_CLIENT);
    if (client->handle == NULL) {
        luaL_error(L, "this client was freed");
    }
    return client;
}

static dsync_client *check_handle(lua_State *L) {
    return bind_check_client(L, 1)->handle;
}

/* open([url [, options]]) -> client, or nil, message, code. */
int bind_open(lua_State *L) {
    const char *url = bind_check_text(L, 1, 1);
    lua_settop(L, 2);
    dsync_options options;
    dsync_options_init(&options);
    bind_read_client_options(L, 2, &options);

    bind_client *client = lua_newuserdata(L, sizeof(*client));
    memset(client, 0, sizeof(*client));
    luaL_getmetatable(L, BIND_CLIENT);
    lua_setmetatable(L, -2);
    lua_createtable(L, 1, 0); /* the anchor that its locks share: it keeps this userdata alive */
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, 1);
    bind_set_anchor(L, -2);

    dsync_error error = {0};
    client->handle = dsync_open(url, &options, &error);
    return client->handle != NULL ? 1 : bind_fail(L, &error);
}

static int client_free(lua_State *L) {
    bind_client *client = luaL_checkudata(L, 1, BIND_CLIENT);
    if (client->handle != NULL) {
        dsync_close_later(client->handle);
        dsync_client_unref(client->handle);
        client->handle = NULL;
    }
    return 0;
}

/* client:close([seconds]) -> true, or nil, message, code. Waits. */
static int client_close(lua_State *L) {
    dsync_client *client = check_handle(L);
    dsync_error error = {0};
    if (dsync_close(client, bind_check_ms(L, 2), &error) != DSYNC_OK) {
        return bind_fail(L, &error);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* client:close_start([seconds]) -> operation. */
static int client_close_start(lua_State *L) {
    dsync_client *client = check_handle(L);
    int64_t timeout_ms = bind_check_ms(L, 2);
    bind_op *op = bind_op_push(L, client);
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_close_start(client, timeout_ms, &error), &error);
}

static int client_close_later(lua_State *L) {
    dsync_close_later(check_handle(L));
    return 0;
}

/* ---- facts ------------------------------------------------------------------------------------------------------- */

static int client_id(lua_State *L) {
    lua_pushstring(L, dsync_client_id(check_handle(L)));
    return 1;
}

static int client_backend(lua_State *L) {
    lua_pushstring(L, dsync_client_backend(check_handle(L)));
    return 1;
}

static int client_endpoints(lua_State *L) {
    lua_pushstring(L, dsync_client_endpoints(check_handle(L)));
    return 1;
}

static int push_text(lua_State *L) {
    lua_pushstring(L, lua_touserdata(L, 1));
    return 1;
}

/* client:options() -> JSON text. The copy is made in a protected call, so that the original is freed whatever
 * happens. */
static int client_options(lua_State *L) {
    char *text = dsync_client_options(check_handle(L));
    if (text == NULL) {
        return bind_fail_with(L, DSYNC_RESOURCE, "out of memory");
    }
    lua_pushcfunction(L, push_text);
    lua_pushlightuserdata(L, text);
    int failed = lua_pcall(L, 1, 1, 0);
    dsync_free(text);
    return failed ? lua_error(L) : 1;
}

static void set_count(lua_State *L, const char *field, uint64_t count) {
    bind_push_number(L, count);
    lua_setfield(L, -2, field);
}

static int client_stats(lua_State *L) {
    dsync_stats stats;
    memset(&stats, 0, sizeof(stats));
    stats.size = sizeof(stats);
    dsync_client_stats(check_handle(L), &stats);
    lua_createtable(L, 0, 13);
    set_count(L, "requests", stats.requests);
    set_count(L, "renewals", stats.renewals);
    set_count(L, "retries", stats.retries);
    set_count(L, "acquisitions", stats.acquisitions);
    set_count(L, "releases", stats.releases);
    set_count(L, "losses", stats.losses);
    set_count(L, "resent", stats.resent);
    set_count(L, "sessions", stats.sessions);
    set_count(L, "entries", stats.entries);
    set_count(L, "held", stats.held);
    set_count(L, "waiting", stats.waiting);
    set_count(L, "watches", stats.watches);
    set_count(L, "cleaning", stats.cleaning);
    return 1;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

/* client:next_event() -> nothing, or
 *   "done", number | "watch", number | "revoked", number, reason, acquisition | "notice", name, message */
static int client_next_event(lua_State *L) {
    dsync_event event;
    if (!dsync_next_event(check_handle(L), &event)) {
        return 0;
    }
    switch (event.type) {
    case DSYNC_EVENT_DONE:
        lua_pushliteral(L, "done");
        bind_push_number(L, event.number);
        return 2;
    case DSYNC_EVENT_WATCH:
        lua_pushliteral(L, "watch");
        bind_push_number(L, event.number);
        return 2;
    case DSYNC_EVENT_REVOKED:
        lua_pushliteral(L, "revoked");
        bind_push_number(L, event.number);
        lua_pushstring(L, dsync_reason_name(event.reason));
        bind_push_number(L, event.acquisition);
        return 4;
    case DSYNC_EVENT_NOTICE:
        lua_pushliteral(L, "notice");
        lua_pushstring(L, event.name);
        lua_pushstring(L, event.message);
        return 3;
    case DSYNC_EVENT_NONE:
        break;
    }
    return 0;
}

static int client_wait_event(lua_State *L) {
    dsync_client *client = check_handle(L);
    lua_pushboolean(L, dsync_wait_event(client, bind_check_ms(L, 2)));
    return 1;
}

static int client_fd(lua_State *L) {
    dsync_error error = {0};
    int fd = dsync_fd(check_handle(L), &error);
    if (fd < 0) {
        return bind_fail(L, &error);
    }
    lua_pushinteger(L, fd);
    return 1;
}

static int client_want_notices(lua_State *L) {
    dsync_want_notices(check_handle(L), lua_toboolean(L, 2));
    return 0;
}

/* client:collected() -> nothing, or how many held locks the collector took since the last question, and the name of the
 * last one. */
static int client_collected(lua_State *L) {
    bind_client *client = bind_check_client(L, 1);
    if (client->collected == 0) {
        return 0;
    }
    bind_push_number(L, client->collected);
    lua_pushstring(L, client->collected_name);
    client->collected = 0;
    return 2;
}

/* ---- objects and operations -------------------------------------------------------------------------------------- */

static int client_lock(lua_State *L) {
    return bind_new_lock(L, 1, 0);
}

static int client_leader(lua_State *L) {
    return bind_new_lock(L, 1, 1);
}

static int client_ping(lua_State *L) {
    dsync_client *client = check_handle(L);
    int64_t timeout_ms = bind_check_ms(L, 2);
    bind_op *op = bind_op_push(L, client);
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_ping_start(client, timeout_ms, &error), &error);
}

static int client_get(lua_State *L) {
    dsync_client *client = check_handle(L);
    const char *key = bind_check_text(L, 2, 0);
    bind_op *op = bind_op_push(L, client);
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_get_start(client, key, &error), &error);
}

static int client_locks(lua_State *L) {
    dsync_client *client = check_handle(L);
    const char *prefix = bind_check_text(L, 2, 0);
    bind_op *op = bind_op_push(L, client);
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_locks_start(client, prefix, &error), &error);
}

static int client_members(lua_State *L) {
    dsync_client *client = check_handle(L);
    const char *name_space = bind_check_text(L, 2, 1);
    bind_op *op = bind_op_push(L, client);
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_members_start(client, name_space, &error), &error);
}

/* client:break_lock(name, options, token) */
static int client_break_lock(lua_State *L) {
    dsync_client *client = check_handle(L);
    const char *name = bind_check_text(L, 2, 0);
    int64_t token = bind_check_token(L, 4);
    dsync_lock_options options;
    dsync_lock_options_init(&options);
    bind_read_lock_options(L, 3, &options);
    bind_op *op = bind_op_push(L, client);
    dsync_error error = {0};
    return bind_op_give(L, op, dsync_break_start(client, name, &options, token, &error), &error);
}

/* client:watch(namespace, name, key), each may be nil. */
static int client_watch(lua_State *L) {
    dsync_client *client = check_handle(L);
    const char *name_space = bind_check_text(L, 2, 1);
    const char *name = bind_check_text(L, 3, 1);
    const char *key = bind_check_text(L, 4, 1);
    return bind_new_watcher(L, client, name_space, name, key);
}

static const luaL_Reg client_methods[] = {
    {"close", client_close},
    {"close_start", client_close_start},
    {"close_later", client_close_later},
    {"id", client_id},
    {"backend", client_backend},
    {"endpoints", client_endpoints},
    {"options", client_options},
    {"stats", client_stats},
    {"next_event", client_next_event},
    {"wait_event", client_wait_event},
    {"fd", client_fd},
    {"want_notices", client_want_notices},
    {"collected", client_collected},
    {"lock", client_lock},
    {"leader", client_leader},
    {"ping", client_ping},
    {"get", client_get},
    {"locks", client_locks},
    {"members", client_members},
    {"break_lock", client_break_lock},
    {"watch", client_watch},
    {NULL, NULL},
};

void bind_client_class(lua_State *L) {
    bind_class(L, BIND_CLIENT, client_methods, client_free);
}
