/* local_look.c: whether there is news for a watch. Of one key only its present state matters; of a subtree, the log of
 * changes is read on from where the watch was. */
#include "local_watch.h"

#include <string.h>

#define ROWS_MAX 256 /* of the log at a time */

/* Copies the key, and the value unless it is NULL. False: out of memory. */
static bool add_news(loc_watch *watch, ds_watch_kind kind, const char *key, int64_t token, int64_t revision,
                     const char *value, size_t size) {
    size_t key_size = strlen(key) + 1;
    loc_news *news = ds_malloc(sizeof(*news) + key_size + size + 1);
    if (news == NULL) {
        return false;
    }
    char *text = (char *)(news + 1);
    memcpy(text, key, key_size);
    *news = (loc_news){.kind = kind, .token = token, .revision = revision, .key = text};
    if (value != NULL) {
        memcpy(text + key_size, value, size);
        text[key_size + size] = '\0';
        news->value = text + key_size;
        news->value_size = size;
    }
    ds_list_append(&watch->news, &news->node);
    return true;
}

static void end(loc_watch *watch, const char *why) {
    watch->ended = why;
}

/* ---- one key ----------------------------------------------------------------------------------------------------- */

static void tell_key(loc_watch *watch, ds_watch_kind kind) {
    loc_store *store = watch->local->store;
    ds_buf value = DS_BUF_EMPTY;
    int64_t revision = kind == DS_WATCH_PUT ? watch->modified : store->meta.revision;
    loc_key_value(store, watch->key, &watch->parsed, watch->token, &value);
    bool known = value.size > 0 || kind == DS_WATCH_PUT;
    if (value.failed || !add_news(watch, kind, watch->key, watch->token, revision,
                                  !known               ? NULL
                                  : value.data != NULL ? value.data
                                                       : "",
                                  value.size)) {
        end(watch, "out of memory");
    }
    ds_buf_free(&value);
}

static void look_at_key(loc_watch *watch) {
    loc_store *store = watch->local->store;
    loc_found found;
    loc_key_find(store, watch->key, &watch->parsed, watch->parsed.kind == LOC_KEY_ENTRY ? watch->token : 0, &found);
    if (store->failure != SQLITE_OK) {
        return;
    }
    if (!found.exists && watch->there) {
        watch->there = false;
        tell_key(watch, DS_WATCH_DELETED);
    } else if (found.exists && (!watch->there || found.modified > watch->modified)) {
        watch->there = true;
        watch->token = found.token;
        watch->modified = found.modified;
        if (!watch->deletes_only) {
            tell_key(watch, DS_WATCH_PUT);
        }
    }
}

/* ---- a subtree --------------------------------------------------------------------------------------------------- */

static bool concerns(const loc_watch *watch, const char *key, ds_watch_kind kind) {
    size_t size = strlen(watch->key);
    return strncmp(key, watch->key, size) == 0 && key[size] == '/' &&
           (kind == DS_WATCH_DELETED || !watch->deletes_only);
}

/* Of a value too large for the log, the present one is as good. */
static bool add_row(loc_watch *watch, sqlite3_stmt *sql, ds_watch_kind kind, const char *key) {
    int64_t token = sqlite3_column_int64(sql, 3);
    int64_t revision = sqlite3_column_int64(sql, 1);
    if (sqlite3_column_type(sql, 5) != SQLITE_NULL || kind != DS_WATCH_PUT) {
        const char *value = sqlite3_column_blob(sql, 5);
        return add_news(watch, kind, key, token, revision, value != NULL ? value : "",
                        (size_t)sqlite3_column_bytes(sql, 5));
    }
    ds_buf value = DS_BUF_EMPTY;
    loc_key parsed;
    loc_key_read(key, &parsed);
    loc_key_value(watch->local->store, key, &parsed, token, &value);
    bool added =
        !value.failed && add_news(watch, kind, key, token, revision, value.data != NULL ? value.data : "", value.size);
    ds_buf_free(&value);
    return added;
}

static void look_at_log(loc_watch *watch) {
    loc_store *store = watch->local->store;
    sqlite3_stmt *sql = loc_sql_use(store, LOC_CHANGES);
    (void)sqlite3_bind_int64(sql, 1, watch->cursor);
    int rows = 0;
    while (rows < ROWS_MAX && watch->ended == NULL && loc_sql_row(store, sql)) {
        const char *key = (const char *)sqlite3_column_text(sql, 4);
        ds_watch_kind kind = sqlite3_column_int64(sql, 2) == DS_WATCH_PUT ? DS_WATCH_PUT : DS_WATCH_DELETED;
        if (sqlite3_column_int64(sql, 0) != watch->cursor + 1) {
            end(watch, "too many changes at once");
        } else if (key == NULL || (concerns(watch, key, kind) && !add_row(watch, sql, kind, key))) {
            end(watch, "out of memory");
        }
        watch->cursor++;
        rows++;
    }
    loc_sql_over(sql);
    watch->due = rows == ROWS_MAX;
    if (rows == 0 && store->failure == SQLITE_OK && store->meta.logged > watch->cursor) {
        end(watch, "too many changes at once");
    }
}

void loc_look_at(loc_watch *watch) {
    watch->due = false;
    if (watch->ended != NULL) {
        return;
    }
    if (watch->subtree) {
        look_at_log(watch);
    } else {
        look_at_key(watch);
    }
}
