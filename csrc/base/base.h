/* base.h: the few words every file of dsync speaks: units, allocation, containers.
 *
 * Holds nothing that knows of locks, servers or Lua.
 */
#ifndef DS_BASE_H
#define DS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DS_MS INT64_C(1000000) /* nanoseconds in a millisecond */
#define DS_SECOND INT64_C(1000000000)
#define DS_NEVER INT64_MAX /* a time that does not come */

#define DS_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DS_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#if defined(__GNUC__)
#define DS_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#define DS_MUST_USE __attribute__((warn_unused_result))
#else
#define DS_PRINTF(format_index, first)
#define DS_MUST_USE
#endif

/* All memory of dsync comes through these, so that a test can make the n-th request fail. They return NULL when there
 * is no memory and never abort. ds_free(NULL) does nothing. */
void *ds_malloc(size_t size) DS_MUST_USE;
void *ds_calloc(size_t count, size_t size) DS_MUST_USE;
void *ds_realloc(void *old, size_t size) DS_MUST_USE;
char *ds_strdup(const char *text) DS_MUST_USE;
char *ds_strndup(const char *text, size_t length) DS_MUST_USE; /* result is NUL-terminated */
char *ds_memdup(const void *bytes, size_t size) DS_MUST_USE;   /* any bytes; a NUL is put behind them */
void ds_free(void *memory);

/* Overwrites a secret before it is freed, in a way the compiler keeps. NULL is fine. */
void ds_wipe(void *memory, size_t size);
void ds_free_secret(char *text);

#ifdef DS_TEST_ALLOC
/* Test builds only. Counting from this call on, over all threads, the `nth` allocation fails (0: none), and with
 * `all_after` so does every later one. */
void ds_test_fail_allocation(uint64_t nth, bool all_after);
uint64_t ds_test_allocations(void);   /* asked for since then */
bool ds_test_allocation_failed(void); /* has one been refused since then? */
#endif

#endif
