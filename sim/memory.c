/* memory.c: stands between the library and malloc (the linker's --wrap), to refuse memory now and then, and to know
 * what was not given back. The simulator's own memory is separate and never fails.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *memory);

typedef struct block {
    ds_list node;
} block;

static ds_list blocks;
static sim *world;
static bool in_client;

void *sim_alloc(void *old, size_t size) {
    if (size == 0) {
        __real_free(old);
        return NULL;
    }
    void *memory = __real_realloc(old, size);
    if (memory == NULL) {
        fputs("sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void sim_memory_begin(sim *s) {
    world = s;
    in_client = false;
    ds_list_init(&blocks);
}

bool sim_memory_client(bool inside) {
    bool before = in_client;
    in_client = inside;
    return before;
}

size_t sim_memory_end(void) {
    size_t count = 0;
    ds_list *link;
    while (world != NULL && (link = ds_list_pop(&blocks)) != NULL) {
        __real_free(DS_LIST_ENTRY(link, block, node));
        count++;
    }
    world = NULL;
    return count;
}

static bool refused(void) {
    return in_client && world != NULL && sim_hit(world, SIM_NO_MEMORY);
}

static void *given(block *fresh) {
    if (fresh == NULL) {
        return NULL;
    }
    if (world != NULL) {
        ds_list_append(&blocks, &fresh->node);
    } else {
        ds_list_init(&fresh->node);
    }
    return fresh + 1;
}

void *__wrap_malloc(size_t size) {
    return refused() ? NULL : given(__real_malloc(size + sizeof(block)));
}

void *__wrap_calloc(size_t count, size_t size) {
    if (size != 0 && count > (SIZE_MAX - sizeof(block)) / size) {
        return NULL;
    }
    return refused() ? NULL : given(__real_calloc(1, count * size + sizeof(block)));
}

void __wrap_free(void *memory) {
    if (memory != NULL) {
        block *old = (block *)memory - 1;
        ds_list_remove(&old->node);
        __real_free(old);
    }
}

void *__wrap_realloc(void *memory, size_t size) {
    if (memory == NULL) {
        return __wrap_malloc(size);
    }
    if (refused()) {
        return NULL;
    }
    block *old = (block *)memory - 1;
    ds_list_remove(&old->node);
    block *fresh = __real_realloc(old, size + sizeof(block));
    ds_list *back = fresh != NULL ? &fresh->node : &old->node;
    ds_list_init(back);
    ds_list_append(&blocks, back);
    return fresh != NULL ? fresh + 1 : NULL;
}
