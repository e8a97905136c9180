/* map.h: a hash map from strings to pointers. The map copies its keys and does not own its values, which are never
 * NULL. */
#ifndef DS_MAP_H
#define DS_MAP_H

#include "base.h"

typedef struct ds_map_slot ds_map_slot;
typedef struct ds_map {
    ds_map_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    size_t used; /* count plus removed places */
    uint64_t seed;
} ds_map;

void ds_map_init(ds_map *map, uint64_t seed); /* seed: random, so that names cannot be chosen to collide */
void ds_map_free(ds_map *map);
void *ds_map_get(const ds_map *map, const char *key);                   /* NULL when absent */
bool ds_map_put(ds_map *map, const char *key, void *value) DS_MUST_USE; /* replaces; false: out of memory */
void *ds_map_remove(ds_map *map, const char *key);                      /* what was there, or NULL */
/* Walks the map: *cursor starts at 0; returns NULL at the end. Removing the returned key during the walk is fine,
 * adding is not. */
void *ds_map_next(const ds_map *map, size_t *cursor, const char **key);

#endif
