/* local_list.c: what a reply says about others in a queue, copied out of the database into the answer's own memory. */
#include "local.h"

#include <string.h>

#define PAGE_PEERS 512
#define PAGE_BYTES ((size_t)1 << 20)

/* While text is still being added its memory may move: until the end, pointers into it are offsets. */
static const char *offset(const ds_buf *text) {
    return (const char *)(uintptr_t)text->size;
}

static const char *settled(const ds_buf *text, const char *offset_text) {
    return text->data + (uintptr_t)offset_text;
}

static void add_end(ds_buf *text) {
    ds_buf_add(text, "", 1);
}

static void settle_peer(const ds_buf *text, ds_peer *peer) {
    peer->path = settled(text, peer->path);
    peer->key = settled(text, peer->key);
    peer->value = settled(text, peer->value);
}

/* ---- one --------------------------------------------------------------------------------------------------------- */

void loc_describe(loc_store *store, loc_op *op, const char *path, const loc_entry *ahead, const loc_entry *holder) {
    ds_buf *text = &op->text;
    loc_key parsed;
    op->holder = (ds_peer){.token = holder->token, .holds = true};
    op->holder.key = offset(text);
    loc_key_entry(text, path, holder->session, holder->nonce);
    add_end(text);
    op->holder.path = offset(text);
    ds_buf_add_text(text, path);
    add_end(text);
    const char *ahead_key = offset(text);
    if (ahead != NULL) {
        loc_key_entry(text, path, ahead->session, ahead->nonce);
        add_end(text);
    }
    op->holder.value = offset(text);
    size_t before = text->size;
    if (!text->failed) {
        char *key = ds_strdup(text->data + (uintptr_t)op->holder.key);
        if (key != NULL) {
            loc_key_read(key, &parsed);
            loc_key_value(store, key, &parsed, holder->token, text);
        }
        text->failed = text->failed || key == NULL;
        ds_free(key);
    }
    op->holder.value_size = text->size - before;
    add_end(text);
    if (text->failed) {
        loc_fail(store, SQLITE_NOMEM);
        return;
    }
    settle_peer(text, &op->holder);
    op->reply.holder = &op->holder;
    op->reply.ahead = ahead != NULL ? settled(text, ahead_key) : NULL;
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

typedef struct page {
    ds_peer *peers;
    size_t count, capacity;
    const char *path; /* offset of the last one's */
    bool more;
} page;

static bool grow(page *p) {
    if (p->count < p->capacity) {
        return true;
    }
    size_t capacity = p->capacity == 0 ? 16 : p->capacity * 2;
    ds_peer *peers = ds_realloc(p->peers, capacity * sizeof(*peers));
    if (peers == NULL) {
        return false;
    }
    p->peers = peers;
    p->capacity = capacity;
    return true;
}

/* A row of LOC_LIST_...: path, token, session, nonce, value. False: it begins the next page. */
static bool add_row(ds_buf *text, page *p, sqlite3_stmt *sql) {
    const char *path = (const char *)sqlite3_column_text(sql, 0);
    bool same = p->count > 0 && strcmp(path, settled(text, p->path)) == 0;
    if (!same && p->count > 0 && (p->count >= PAGE_PEERS || text->size >= PAGE_BYTES)) {
        p->more = true;
        return false;
    }
    if (!same) {
        p->path = offset(text);
        ds_buf_add_text(text, path);
        add_end(text);
    }
    if (text->failed || !grow(p)) {
        text->failed = true;
        return false;
    }
    ds_peer *peer = &p->peers[p->count++];
    *peer = (ds_peer){.path = p->path, .key = offset(text), .token = sqlite3_column_int64(sql, 1), .holds = !same};
    loc_key_entry(text, path, sqlite3_column_int64(sql, 2), sqlite3_column_int64(sql, 3));
    add_end(text);
    peer->value = offset(text);
    const void *value = sqlite3_column_blob(sql, 4);
    peer->value_size = (size_t)sqlite3_column_bytes(sql, 4);
    ds_buf_add(text, value != NULL ? value : "", peer->value_size);
    add_end(text);
    return !text->failed;
}

/* The rows meant, in the order of paths and tokens. `low` and `high` must outlive the statement's use. */
static sqlite3_stmt *select_rows(loc_store *store, const ds_list_spec *spec, ds_buf *low, ds_buf *high) {
    sqlite3_stmt *sql = loc_sql_use(store, spec->subtree ? LOC_LIST_TREE : LOC_LIST_QUEUE);
    ds_buf_add_text(low, spec->subtree && spec->after != NULL ? spec->after : spec->path);
    if (spec->subtree && spec->after == NULL) {
        ds_buf_add_char(low, '/');
    }
    ds_buf_add_text(high, spec->path);
    ds_buf_add_char(high, '/' + 1);
    if (low->failed || high->failed) {
        return NULL;
    }
    (void)sqlite3_bind_text(sql, 1, low->data, -1, SQLITE_STATIC);
    if (spec->subtree) {
        (void)sqlite3_bind_text(sql, 2, high->data, -1, SQLITE_STATIC);
    } else {
        (void)sqlite3_bind_int64(sql, 2, spec->limit == 0 || spec->limit > INT32_MAX ? -1 : (int64_t)spec->limit);
    }
    return sql;
}

static void finish(loc_op *op, page *p) {
    for (size_t i = 0; i < p->count; i++) {
        settle_peer(&op->text, &p->peers[i]);
    }
    op->reply.peers = p->peers;
    op->reply.peer_count = p->count;
    op->reply.next = p->more ? settled(&op->text, p->path) : NULL;
}

void loc_list(loc_store *store, loc_op *op, const ds_list_spec *spec) {
    page p = {.peers = NULL};
    ds_buf low = DS_BUF_EMPTY, high = DS_BUF_EMPTY;
    sqlite3_stmt *sql = select_rows(store, spec, &low, &high);
    while (sql != NULL && loc_sql_row(store, sql)) {
        if (!add_row(&op->text, &p, sql)) {
            break;
        }
    }
    if (sql != NULL) {
        loc_sql_over(sql);
    }
    op->peers = p.peers;
    if (sql == NULL || op->text.failed) {
        loc_fail(store, SQLITE_NOMEM);
    } else {
        finish(op, &p);
    }
    ds_buf_free(&low);
    ds_buf_free(&high);
}
