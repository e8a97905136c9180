/* results.c: what lists bring back: entries of queues, with names and values decoded. */
#include <string.h>

#include "client.h"

static void listed_free(ds_listed *listed) {
    ds_list_remove(&listed->node);
    ds_value_free(&listed->value);
    ds_free((char *)(uintptr_t)listed->entry.name);
    ds_free((char *)(uintptr_t)listed->entry.name_space);
    ds_free((char *)(uintptr_t)listed->entry.path);
    ds_free(listed);
}

void ds_op_free_results(dsync_op *op) {
    while (!ds_list_empty(&op->entries)) {
        listed_free(DS_LIST_ENTRY(op->entries.next, ds_listed, node));
    }
    op->entry_count = 0;
    op->last_entry = NULL;
}

static char *decoded(const char *text, size_t length) {
    ds_buf name = DS_BUF_EMPTY;
    ds_name_decode(&name, text, length);
    if (name.failed) {
        ds_buf_free(&name);
        return NULL;
    }
    return name.data != NULL ? name.data : ds_strdup("");
}

/* Where the names begin in a path below "<...>/lock/" or "<...>/leader/"; NULL when the path is none of ours. */
static const char *names_in(const dsync_client *client, const char *path, bool leader) {
    const char *prefix = client->settings.o.prefix;
    size_t length = strlen(prefix);
    const char *room = leader ? "/leader/" : "/lock/";
    if (strncmp(path, prefix, length) != 0) {
        return NULL;
    }
    /* Regions and names contain no such segment: names are encoded and a region named so is the user's own riddle. */
    const char *found = strstr(path + length, room);
    return found != NULL ? found + strlen(room) : NULL;
}

bool ds_path_names(const dsync_client *client, const char *path, bool leader, char **name, char **name_space) {
    const char *rest = names_in(client, path, leader);
    const char *slash = rest != NULL && leader ? strchr(rest, '/') : NULL;
    *name = NULL;
    *name_space = NULL;
    if (rest == NULL || (leader && slash == NULL)) {
        *name = ds_strdup(path);
        return *name != NULL;
    }
    if (!leader) {
        *name = decoded(rest, strlen(rest));
        return *name != NULL;
    }
    *name_space = decoded(rest, (size_t)(slash - rest));
    *name = decoded(slash + 1, strlen(slash + 1));
    if (*name == NULL || *name_space == NULL) {
        ds_free(*name);
        ds_free(*name_space);
        *name = *name_space = NULL;
        return false;
    }
    return true;
}

static ds_listed *make(dsync_op *op, const ds_peer *peer) {
    ds_listed *listed = ds_calloc(1, sizeof *listed);
    char *name = NULL;
    char *name_space = NULL;
    char *path = ds_strdup(peer->path);
    bool made = listed != NULL && path != NULL &&
                ds_path_names(op->client, peer->path, op->leaders, &name, &name_space) &&
                ds_value_read(peer->value, peer->value_size, &listed->value);
    if (!made) {
        ds_free(listed);
        ds_free(path);
        ds_free(name);
        ds_free(name_space);
        return NULL;
    }
    ds_list_init(&listed->node);
    listed->entry = (dsync_entry){.name = name,
                                  .name_space = name_space,
                                  .path = path,
                                  .id = listed->value.id,
                                  .value = listed->value.value,
                                  .value_size = listed->value.value_size,
                                  .value_is_json = listed->value.value_is_json,
                                  .token = peer->token,
                                  .queued_at_ms = listed->value.queued_at_ms,
                                  .acquired_at_ms = listed->value.acquired_at_ms,
                                  .holds = peer->holds};
    return listed;
}

bool ds_op_add_page(dsync_op *op, const ds_reply *reply) {
    for (size_t i = 0; i < reply->peer_count; i++) {
        ds_listed *listed = make(op, &reply->peers[i]);
        if (listed == NULL) {
            return false;
        }
        if (op->name_prefix != NULL && strncmp(listed->entry.name, op->name_prefix, strlen(op->name_prefix)) != 0) {
            listed_free(listed);
            continue;
        }
        const char *before = "";
        if (!ds_list_empty(&op->entries)) {
            before = DS_LIST_ENTRY(op->entries.prev, ds_listed, node)->entry.path;
        }
        listed->entry.first = strcmp(before, listed->entry.path) != 0;
        ds_list_append(&op->entries, &listed->node);
        op->entry_count++;
    }
    return true;
}

size_t dsync_op_entry_count(const dsync_op *op) {
    return dsync_op_done(op) ? op->entry_count : 0;
}

const dsync_entry *dsync_op_entry(const dsync_op *op, size_t index) {
    if (index >= dsync_op_entry_count(op)) {
        return NULL;
    }
    /* Read in order by one reader, as lists are: the place is remembered in the op, which is logically unchanged. */
    dsync_op *memo = (dsync_op *)(uintptr_t)op;
    if (memo->last_entry == NULL || index < memo->last_index) {
        memo->last_entry = op->entries.next;
        memo->last_index = 0;
    }
    while (memo->last_index < index) {
        memo->last_entry = memo->last_entry->next;
        memo->last_index++;
    }
    return &DS_LIST_ENTRY(memo->last_entry, ds_listed, node)->entry;
}

const char *dsync_op_value(const dsync_op *op, size_t *size, int64_t *token) {
    bool has = dsync_op_done(op) && op->has_value;
    if (size != NULL) {
        *size = has ? op->value_size : 0;
    }
    if (token != NULL) {
        *token = has ? op->token : 0;
    }
    return has ? op->value : NULL;
}
