/* etcd_msg.c: the little that etcd's messages need besides their declaration: comparison, access, memory. */
#include "etcd_msg.h"

#include <string.h>

#define BLOCK_SIZE ((size_t)4096)

struct ds_etcd_block {
    ds_etcd_block *next;
    size_t size, used;
    max_align_t memory[];
};

bool ds_bytes_equal(ds_bytes left, ds_bytes right) {
    return left.size == right.size && (left.size == 0 || memcmp(left.data, right.data, left.size) == 0);
}

const ds_etcd_answer *ds_etcd_answer_at(const ds_etcd_reply *reply, size_t index, ds_etcd_op_kind kind) {
    if (index >= reply->answer_count || reply->answers[index].kind != kind) {
        return NULL;
    }
    return &reply->answers[index];
}

static ds_etcd_block *add_block(ds_etcd_arena *arena, size_t least) {
    size_t size = least > BLOCK_SIZE ? least : BLOCK_SIZE;
    ds_etcd_block *block = ds_malloc(sizeof(*block) + size);
    if (block == NULL) {
        return NULL;
    }
    block->size = size;
    block->used = 0;
    block->next = arena->blocks;
    arena->blocks = block;
    return block;
}

void *ds_etcd_arena_get(ds_etcd_arena *arena, size_t count, size_t size) {
    const size_t unit = sizeof(max_align_t);
    if (size != 0 && count > (SIZE_MAX / 2 - unit) / size) {
        return NULL;
    }
    size_t need = (count * size + unit - 1) / unit * unit;
    ds_etcd_block *block = arena->blocks;
    if (block == NULL || block->size - block->used < need) {
        block = add_block(arena, need);
        if (block == NULL) {
            return NULL;
        }
    }
    void *memory = (char *)block->memory + block->used;
    block->used += need;
    memset(memory, 0, need);
    return memory;
}

const char *ds_etcd_arena_copy(ds_etcd_arena *arena, const char *bytes, size_t size) {
    char *copy = ds_etcd_arena_get(arena, size + 1, 1);
    if (copy != NULL && size > 0) {
        memcpy(copy, bytes, size);
    }
    return copy;
}

void ds_etcd_arena_clear(ds_etcd_arena *arena) {
    ds_etcd_block *kept = NULL;
    while (arena->blocks != NULL) {
        ds_etcd_block *block = arena->blocks;
        arena->blocks = block->next;
        ds_wipe(block->memory, block->used);
        if (kept == NULL && block->size == BLOCK_SIZE) {
            kept = block;
        } else {
            ds_free(block);
        }
    }
    if (kept != NULL) {
        kept->next = NULL;
        kept->used = 0;
        arena->blocks = kept;
    }
}

void ds_etcd_arena_free(ds_etcd_arena *arena) {
    ds_etcd_arena_clear(arena);
    ds_free(arena->blocks);
    arena->blocks = NULL;
}
