/* op.c: an operation under way, as Lua sees it: poll it, wait a little for it, read its result, let it go.
 *
 * It does not know what the operation is for.
 */
#include "binding.h"

static bind_op *check_op(lua_State *L) {
    bind_op *op = luaL_checkudata(L, 1, BIND_OP);
    if (op->handle == NULL) {
        luaL_error(L, "this operation was freed");
    }
    return op;
}

bind_op *bind_op_push(lua_State *L, dsync_client *client) {
    bind_op *op = lua_newuserdata(L, sizeof(*op));
    op->handle = NULL;
    op->client = NULL;
    luaL_getmetatable(L, BIND_OP);
    lua_setmetatable(L, -2);
    dsync_client_ref(client);
    op->client = client;
    return op;
}

static void let_go(bind_op *op) {
    dsync_op_free(op->handle);
    op->handle = NULL;
    if (op->client != NULL) {
        dsync_client_unref(op->client);
        op->client = NULL;
    }
}

int bind_op_give(lua_State *L, bind_op *op, dsync_op *started, const dsync_error *error) {
    if (started == NULL) {
        let_go(op);
        return bind_fail(L, error);
    }
    op->handle = started;
    return 1;
}

static int op_free(lua_State *L) {
    let_go(luaL_checkudata(L, 1, BIND_OP));
    return 0;
}

/* op:wait([seconds]) -> whether it has ended. */
static int op_wait(lua_State *L) {
    bind_op *op = check_op(L);
    int64_t timeout_ms = bind_check_ms(L, 2);
    lua_pushboolean(L, dsync_op_wait(op->handle, timeout_ms));
    return 1;
}

static int op_done(lua_State *L) {
    lua_pushboolean(L, dsync_op_done(check_op(L)->handle));
    return 1;
}

/* op:result() -> true, or nil, message, code. */
static int op_result(lua_State *L) {
    const char *message = NULL;
    dsync_code code = dsync_op_result(check_op(L)->handle, &message);
    if (code != DSYNC_OK) {
        return bind_fail_with(L, code, message != NULL ? message : dsync_code_name(code));
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int op_cancel(lua_State *L) {
    dsync_op_cancel(check_op(L)->handle);
    return 0;
}

static int op_notify(lua_State *L) {
    dsync_op_notify(check_op(L)->handle);
    return 0;
}

static int op_number(lua_State *L) {
    bind_push_number(L, dsync_op_number(check_op(L)->handle));
    return 1;
}

static void set_time(lua_State *L, const char *field, int64_t ms) {
    if (ms > 0) {
        lua_pushnumber(L, (lua_Number)ms / 1000);
        lua_setfield(L, -2, field);
    }
}

static void set_flag(lua_State *L, const char *field, int value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, field);
}

static void push_entry(lua_State *L, const dsync_entry *entry) {
    lua_createtable(L, 0, 12);
    bind_set_text(L, "name", entry->name);
    bind_set_text(L, "namespace", entry->name_space);
    bind_set_text(L, "key", entry->path);
    bind_set_text(L, "id", entry->id);
    bind_set_value(L, entry->value, entry->value_size, entry->value_is_json);
    bind_set_token(L, entry->token);
    set_time(L, "queued_at", entry->queued_at_ms);
    set_time(L, "acquired_at", entry->acquired_at_ms);
    set_flag(L, "holds", entry->holds);
    set_flag(L, "first", entry->first);
}

/* op:entries() -> a list of tables, in order. */
static int op_entries(lua_State *L) {
    bind_op *op = check_op(L);
    size_t count = dsync_op_entry_count(op->handle);
    lua_newtable(L);
    for (size_t i = 0; i < count; i++) {
        const dsync_entry *entry = dsync_op_entry(op->handle, i);
        if (entry != NULL) {
            push_entry(L, entry);
            lua_rawseti(L, -2, (int)(i + 1));
        }
    }
    return 1;
}

/* op:value() -> nil, or a table with value, token and token_string. */
static int op_value(lua_State *L) {
    size_t size = 0;
    int64_t token = 0;
    const char *value = dsync_op_value(check_op(L)->handle, &size, &token);
    if (value == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_createtable(L, 0, 4);
    bind_set_value(L, value, size, 0);
    bind_set_token(L, token);
    return 1;
}

static const luaL_Reg op_methods[] = {
    {"wait", op_wait},     {"done", op_done},       {"result", op_result}, {"cancel", op_cancel}, {"notify", op_notify},
    {"number", op_number}, {"entries", op_entries}, {"value", op_value},   {"free", op_free},     {NULL, NULL},
};

void bind_op_class(lua_State *L) {
    bind_class(L, BIND_OP, op_methods, op_free);
}
