/* options.c: option tables, already checked by the Lua layer, into the structs of dsync.h.
 *
 * What is wrong with an option is said in Lua, where the caller's words are known; here a wrong type can only come from
 * a program that uses dsync.core directly, and raises.
 */
#include "binding.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_SECONDS 3.2e9 /* a century: far from overflow in any unit */

int64_t bind_to_ms(lua_Number seconds) {
    if (!(seconds >= 0) || seconds > LONGEST_SECONDS) {
        return -1;
    }
    double ms = (double)seconds * 1000.0;
    int64_t whole = (int64_t)ms;
    return (double)whole < ms - 1e-6 ? whole + 1 : whole;
}

int64_t bind_check_ms(lua_State *L, int index) {
    return lua_isnoneornil(L, index) ? -1 : bind_to_ms(luaL_checknumber(L, index));
}

const char *bind_check_text(lua_State *L, int index, int optional) {
    if (optional && lua_isnoneornil(L, index)) {
        return NULL;
    }
    size_t length;
    const char *text = luaL_checklstring(L, index, &length);
    if (memchr(text, '\0', length) != NULL) {
        luaL_argerror(L, index, "contains a zero byte");
    }
    return text;
}

int64_t bind_check_token(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TNUMBER) {
#if BIND_EXACT_INTEGERS
        return (int64_t)luaL_checkinteger(L, index);
#else
        lua_Number number = lua_tonumber(L, index);
        if (!(number >= 0) || number > (lua_Number)BIND_EXACT_MAX || number != (lua_Number)(int64_t)number) {
            luaL_argerror(L, index, "not an exact token: give it as a string (token_string)");
        }
        return (int64_t)number;
#endif
    }
    const char *text = bind_check_text(L, index, 0);
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text < '0' || *text > '9') {
        luaL_argerror(L, index, "not a token");
    }
    return (int64_t)number;
}

/* ---- reading fields ---------------------------------------------------------------------------------------------- */

/* The string stays alive as a value of the table. NULL when the field is absent. */
static const char *field_bytes(lua_State *L, int table, const char *name, size_t *size) {
    const char *text = NULL;
    lua_getfield(L, table, name);
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TSTRING) {
            luaL_error(L, "option \"%s\" must be a string", name);
        }
        text = lua_tolstring(L, -1, size);
    }
    lua_pop(L, 1);
    return text;
}

static const char *field_text(lua_State *L, int table, const char *name) {
    size_t size = 0;
    const char *text = field_bytes(L, table, name, &size);
    if (text != NULL && memchr(text, '\0', size) != NULL) {
        luaL_error(L, "option \"%s\" contains a zero byte", name);
    }
    return text;
}

static void field_ms(lua_State *L, int table, const char *name, int64_t *out) {
    lua_getfield(L, table, name);
    if (!lua_isnil(L, -1)) {
        *out = bind_to_ms(luaL_checknumber(L, -1));
    }
    lua_pop(L, 1);
}

static void field_flag(lua_State *L, int table, const char *name, int *out) {
    lua_getfield(L, table, name);
    if (!lua_isnil(L, -1)) {
        *out = lua_toboolean(L, -1);
    }
    lua_pop(L, 1);
}

/* A list of strings into an array that is left on the stack. Pushes exactly one value. */
static const char *const *field_list(lua_State *L, int table, const char *name, size_t *count) {
    lua_getfield(L, table, name);
    if (lua_isnil(L, -1)) {
        *count = 0;
        return NULL;
    }
    luaL_checktype(L, -1, LUA_TTABLE);
    int list = lua_gettop(L);
    *count = bind_rawlen(L, list);
    const char **texts = lua_newuserdata(L, (*count + 1) * sizeof(*texts));
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, list, (int)(i + 1));
        if (lua_type(L, -1) != LUA_TSTRING) {
            luaL_error(L, "option \"%s\" must be a list of strings", name);
        }
        texts[i] = lua_tostring(L, -1); /* alive as an element of the list */
        lua_pop(L, 1);
    }
    lua_remove(L, list);
    return texts;
}

/* Backend settings arrive as one flat list: name, value, name, value ... Pushes two values. */
static void read_settings(lua_State *L, int table, dsync_options *options) {
    size_t count = 0;
    const char *const *texts = field_list(L, table, "settings", &count);
    size_t pairs = count / 2;
    dsync_setting *settings = lua_newuserdata(L, (pairs + 1) * sizeof(*settings));
    for (size_t i = 0; i < pairs; i++) {
        settings[i].name = texts[2 * i];
        settings[i].value = texts[2 * i + 1];
    }
    options->settings = settings;
    options->setting_count = pairs;
}

static void read_credentials(lua_State *L, int table, dsync_options *options) {
    options->tls_ca = field_text(L, table, "tls_ca");
    options->tls_cert = field_text(L, table, "tls_cert");
    options->tls_key = field_text(L, table, "tls_key");
    options->tls_server_name = field_text(L, table, "tls_server_name");
    options->auth_user = field_text(L, table, "auth_user");
    options->auth_password = field_text(L, table, "auth_password");
    options->auth_token = field_text(L, table, "auth_token");
    options->auth_token_file = field_text(L, table, "auth_token_file");
    field_flag(L, table, "tls_insecure_skip_verify", &options->tls_insecure_skip_verify);
    field_flag(L, table, "allow_plaintext_credentials", &options->allow_plaintext_credentials);
}

void bind_read_client_options(lua_State *L, int index, dsync_options *options) {
    if (lua_isnoneornil(L, index)) {
        return;
    }
    luaL_checktype(L, index, LUA_TTABLE);
    options->prefix = field_text(L, index, "prefix");
    options->id = field_text(L, index, "id");
    options->name_space = field_text(L, index, "namespace");
    options->region = field_text(L, index, "region");
    options->scope = field_text(L, index, "scope");
    options->value = field_bytes(L, index, "value", &options->value_size);
    field_ms(L, index, "ttl", &options->ttl_ms);
    field_ms(L, index, "wait", &options->wait_ms);
    field_ms(L, index, "retry_interval", &options->retry_interval_ms);
    field_ms(L, index, "hold", &options->hold_ms);
    field_ms(L, index, "connect_timeout", &options->connect_timeout_ms);
    field_ms(L, index, "request_timeout", &options->request_timeout_ms);
    field_ms(L, index, "close_timeout", &options->close_timeout_ms);
    field_flag(L, index, "raw", &options->raw);
    field_flag(L, index, "own_session", &options->own_session);
    lua_getfield(L, index, "max_value");
    if (!lua_isnil(L, -1)) {
        options->max_value = (size_t)luaL_checknumber(L, -1);
    }
    lua_pop(L, 1);
    read_credentials(L, index, options);
    options->endpoints = field_list(L, index, "endpoints", &options->endpoint_count);
    read_settings(L, index, options);
}

void bind_read_lock_options(lua_State *L, int index, dsync_lock_options *options) {
    if (lua_isnoneornil(L, index)) {
        return;
    }
    luaL_checktype(L, index, LUA_TTABLE);
    field_ms(L, index, "ttl", &options->ttl_ms);
    field_ms(L, index, "wait", &options->wait_ms);
    field_ms(L, index, "hold", &options->hold_ms);
    options->value = field_bytes(L, index, "value", &options->value_size);
    options->has_value = options->value != NULL;
    field_flag(L, index, "value_is_json", &options->value_is_json);
    field_flag(L, index, "raw", &options->raw);
    field_flag(L, index, "own_session", &options->own_session);
    options->scope = field_text(L, index, "scope");
    options->key = field_text(L, index, "key");
    options->id = field_text(L, index, "id");
    options->name_space = field_text(L, index, "namespace");
}

void bind_read_acquire_options(lua_State *L, int index, dsync_acquire_options *options) {
    if (lua_isnoneornil(L, index)) {
        return;
    }
    luaL_checktype(L, index, LUA_TTABLE);
    field_ms(L, index, "wait", &options->wait_ms);
    field_ms(L, index, "hold", &options->hold_ms);
    options->value = field_bytes(L, index, "value", &options->value_size);
    options->has_value = options->value != NULL;
    field_flag(L, index, "value_is_json", &options->value_is_json);
}
