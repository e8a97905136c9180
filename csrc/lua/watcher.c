/* watcher.c: a watch on elections, as Lua sees it: take the next change, wait a little for one, close. */
#include "binding.h"

typedef struct bind_watcher {
    dsync_watcher *handle; /* NULL once finalised */
    dsync_client *client;  /* a reference */
} bind_watcher;

static bind_watcher *check_watcher(lua_State *L) {
    bind_watcher *watcher = luaL_checkudata(L, 1, BIND_WATCHER);
    if (watcher->handle == NULL) {
        luaL_error(L, "this watcher was freed");
    }
    return watcher;
}

static void let_go(bind_watcher *watcher) {
    dsync_watcher_free(watcher->handle);
    watcher->handle = NULL;
    if (watcher->client != NULL) {
        dsync_client_unref(watcher->client);
        watcher->client = NULL;
    }
}

int bind_new_watcher(lua_State *L, dsync_client *client, const char *name_space, const char *name, const char *key) {
    bind_watcher *watcher = lua_newuserdata(L, sizeof(*watcher));
    watcher->handle = NULL;
    watcher->client = NULL;
    luaL_getmetatable(L, BIND_WATCHER);
    lua_setmetatable(L, -2);
    dsync_error error = {0};
    watcher->handle = dsync_watch(client, name_space, name, key, &error);
    if (watcher->handle == NULL) {
        return bind_fail(L, &error);
    }
    dsync_client_ref(client);
    watcher->client = client;
    return 1;
}

static int watcher_free(lua_State *L) {
    let_go(luaL_checkudata(L, 1, BIND_WATCHER));
    return 0;
}

static void push_change(lua_State *L, const dsync_change *change) {
    lua_createtable(L, 0, 9);
    bind_set_text(L, "type", change->type);
    bind_set_text(L, "name", change->name);
    bind_set_text(L, "namespace", change->name_space);
    bind_set_text(L, "id", change->id);
    bind_set_value(L, change->value, change->value_size, change->value_is_json);
    bind_set_token(L, change->token);
    lua_pushboolean(L, change->missed);
    lua_setfield(L, -2, "missed");
}

/* watcher:next() -> a table; false when there is nothing now; nil, message, code at the end. */
static int watcher_next(lua_State *L) {
    bind_watcher *watcher = check_watcher(L);
    dsync_change change = {0};
    dsync_error error = {0};
    int got = dsync_watch_next(watcher->handle, &change, &error);
    if (got < 0) {
        return bind_fail(L, &error);
    }
    if (got == 0) {
        lua_pushboolean(L, 0);
    } else {
        push_change(L, &change);
    }
    return 1;
}

/* watcher:wait([seconds]) -> whether next() has something to say. */
static int watcher_wait(lua_State *L) {
    bind_watcher *watcher = check_watcher(L);
    int64_t timeout_ms = bind_check_ms(L, 2);
    lua_pushboolean(L, dsync_watch_wait(watcher->handle, timeout_ms));
    return 1;
}

static int watcher_number(lua_State *L) {
    bind_push_number(L, dsync_watcher_number(check_watcher(L)->handle));
    return 1;
}

static int watcher_close(lua_State *L) {
    dsync_watcher_close(check_watcher(L)->handle);
    return 0;
}

static const luaL_Reg watcher_methods[] = {
    {"next", watcher_next},   {"wait", watcher_wait}, {"number", watcher_number},
    {"close", watcher_close}, {"free", watcher_free}, {NULL, NULL},
};

void bind_watcher_class(lua_State *L) {
    bind_class(L, BIND_WATCHER, watcher_methods, watcher_free);
}
