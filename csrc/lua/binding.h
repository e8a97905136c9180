/* binding.h: what the files of the Lua binding share.
 *
 * The binding turns handles of dsync.h into userdata and offers every waiting call as start, poll and finish: it never
 * waits longer than the caller said, never calls back into Lua and never keeps a lua_State. Waiting, callbacks and
 * everything people see are written in Lua on top of it.
 *
 * A failure is (nil, message, code). A finaliser only lets go: none of the calls it makes waits.
 */
#ifndef DSYNC_LUA_BINDING_H
#define DSYNC_LUA_BINDING_H

#include "../dsync.h"
#include "compat.h"

#define BIND_CLIENT "dsync.core.client"
#define BIND_LOCK "dsync.core.lock"
#define BIND_OP "dsync.core.op"
#define BIND_WATCHER "dsync.core.watcher"
#define BIND_POLLER "dsync.core.poller"
#define BIND_LINK "dsync.core.link"

#define BIND_NAME_MAX 512

typedef struct bind_client {
    dsync_client *handle;                   /* NULL once finalised */
    unsigned collected;                     /* held locks that the collector took since Lua last asked */
    char collected_name[BIND_NAME_MAX + 1]; /* the last of them */
} bind_client;

/* ---- module.c ---------------------------------------------------------------------------------------------------- */

/* (nil, message, code) on the stack; returns 3. */
int bind_fail(lua_State *L, const dsync_error *error);
int bind_fail_with(lua_State *L, dsync_code code, const char *message);
/* Creates the metatable `name` with these methods (and __gc), or does nothing when it is there. Leaves the stack
 * alone. */
void bind_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction finalise);
void bind_methods(lua_State *L, const luaL_Reg *methods); /* into the table on top */

void bind_client_class(lua_State *L);
void bind_lock_class(lua_State *L);
void bind_op_class(lua_State *L);
void bind_watcher_class(lua_State *L);
void bind_poller_class(lua_State *L);
void bind_link_class(lua_State *L);

/* ---- options.c --------------------------------------------------------------------------------------------------- */

/* Seconds to milliseconds, rounded up so that a short time never becomes none. Negative, not a number or too long:
 * -1. */
int64_t bind_to_ms(lua_Number seconds);
/* Argument `index`: seconds, or nil for -1 ("for ever"). */
int64_t bind_check_ms(lua_State *L, int index);
/* A string argument without zero bytes; NULL for nil when `optional`. Raises otherwise. */
const char *bind_check_text(lua_State *L, int index, int optional);

/* Fill options from the table at `index` (nil: nothing). The strings belong to the table. May push values that have to
 * stay on the stack until the options have been used. */
void bind_read_client_options(lua_State *L, int index, dsync_options *options);
void bind_read_lock_options(lua_State *L, int index, dsync_lock_options *options);
void bind_read_acquire_options(lua_State *L, int index, dsync_acquire_options *options);
/* A token: an exact number or a string of digits. Raises otherwise. */
int64_t bind_check_token(lua_State *L, int index);

/* ---- client.c, lock.c, op.c, watcher.c, poller.c, link.c --------------------------------------------------------- */

int bind_open(lua_State *L); /* core.open */
bind_client *bind_check_client(lua_State *L, int index);
/* Pushes the userdata of a lock or candidate of the client at `client_index`; (nil, message, code) on failure. Returns
 * the number of results. */
int bind_new_lock(lua_State *L, int client_index, int is_leader);

typedef struct bind_op {
    dsync_op *handle;     /* NULL: freed, or it never began */
    dsync_client *client; /* a reference, so that the client outlives its operations */
} bind_op;

/* An operation is made in two steps, because making a userdata can raise: first the empty one is pushed, then it is
 * given what a *_start call returned. bind_op_give returns the number of results. */
bind_op *bind_op_push(lua_State *L, dsync_client *client);
int bind_op_give(lua_State *L, bind_op *op, dsync_op *started, const dsync_error *error);

int bind_poller(lua_State *L); /* core.poller */
int bind_link(lua_State *L);   /* core.link */

int bind_new_watcher(lua_State *L, dsync_client *client, const char *name_space, const char *name, const char *key);

/* Pushes a value read from the store, or nil, and whether it is JSON, as fields of the table on top. */
void bind_set_value(lua_State *L, const char *value, size_t size, int is_json);
void bind_set_text(lua_State *L, const char *field, const char *text); /* nothing when text is NULL */
/* Sets token (when this Lua can hold it exactly) and token_string. */
void bind_set_token(lua_State *L, int64_t token);
/* Pushes a token and returns 1, or pushes (nil, message, "range") and returns 3. */
int bind_push_token(lua_State *L, int64_t token);
void bind_push_token_text(lua_State *L, int64_t token);

#endif
