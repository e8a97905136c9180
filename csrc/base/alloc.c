/* alloc.c: the one place where dsync asks for memory and gives it back.
 *
 * Memory from here is malloc's, so that what the public API hands out may be freed by dsync_free or, by a host that
 * insists, by free. Holds no pools and no statistics beyond the counter of test builds.
 */
#include "base.h"

#include <stdlib.h>
#include <string.h>

#ifdef DS_TEST_ALLOC
#include <stdatomic.h>

static _Atomic uint64_t asked;
static _Atomic uint64_t fail_at;
static atomic_bool fail_after;
static atomic_bool refused;

void ds_test_fail_allocation(uint64_t nth, bool all_after) {
    atomic_store(&fail_at, 0);
    atomic_store(&asked, 0);
    atomic_store(&refused, false);
    atomic_store(&fail_after, all_after);
    atomic_store(&fail_at, nth);
}

uint64_t ds_test_allocations(void) {
    return atomic_load(&asked);
}

bool ds_test_allocation_failed(void) {
    return atomic_load(&refused);
}

static bool allowed(void) {
    uint64_t number = atomic_fetch_add(&asked, 1) + 1;
    uint64_t at = atomic_load(&fail_at);
    if (at == 0 || number < at || (number > at && !atomic_load(&fail_after))) {
        return true;
    }
    atomic_store(&refused, true);
    return false;
}
#else
static inline bool allowed(void) {
    return true;
}
#endif

/* An empty block is one byte, because NULL means "no memory" everywhere. */
static size_t at_least_one(size_t size) {
    return size > 0 ? size : 1;
}

void *ds_malloc(size_t size) {
    return allowed() ? malloc(at_least_one(size)) : NULL;
}

void *ds_calloc(size_t count, size_t size) {
    return allowed() ? calloc(at_least_one(count), at_least_one(size)) : NULL;
}

void *ds_realloc(void *old, size_t size) {
    return allowed() ? realloc(old, at_least_one(size)) : NULL;
}

char *ds_strdup(const char *text) {
    return ds_strndup(text, strlen(text));
}

char *ds_strndup(const char *text, size_t length) {
    const char *end = length > 0 ? memchr(text, '\0', length) : NULL;
    return ds_memdup(text, end != NULL ? (size_t)(end - text) : length);
}

char *ds_memdup(const void *bytes, size_t size) {
    if (size == SIZE_MAX) {
        return NULL;
    }
    char *copy = ds_malloc(size + 1);
    if (copy == NULL) {
        return NULL;
    }
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    copy[size] = '\0';
    return copy;
}

void ds_free(void *memory) {
    free(memory);
}

/* Called through a volatile pointer, which no compiler may see through: a plain memset before free is dropped. */
static void *(*const volatile wipe)(void *, int, size_t) = memset;

void ds_wipe(void *memory, size_t size) {
    if (memory != NULL && size > 0) {
        wipe(memory, 0, size);
    }
}

void ds_free_secret(char *text) {
    if (text != NULL) {
        ds_wipe(text, strlen(text));
        ds_free(text);
    }
}
