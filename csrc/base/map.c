/* map.c: open addressing with linear probing; a removed place is marked until the next growth, which is why a walk may
 * remove what it sees. Keys are hashed with SipHash-1-3, so that a client cannot be slowed down by chosen names.
 */
#include "map.h"

#include <string.h>

#define FIRST_CAPACITY 16

struct ds_map_slot {
    char *key; /* NULL: never used; removed_key: was used */
    void *value;
    uint64_t hash;
};

static char removed_key[1];

static uint64_t rotate(uint64_t x, unsigned by) {
    return x << by | x >> (64U - by);
}

static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static uint64_t hash_of(uint64_t seed, const char *key, size_t length) {
    uint64_t other = ~rotate(seed, 29);
    uint64_t v[4] = {seed ^ UINT64_C(0x736f6d6570736575), other ^ UINT64_C(0x646f72616e646f6d),
                     seed ^ UINT64_C(0x6c7967656e657261), other ^ UINT64_C(0x7465646279746573)};
    const unsigned char *in = (const unsigned char *)key;
    uint64_t word = 0;
    for (size_t i = 0; i < length; i++) {
        word |= (uint64_t)in[i] << (8 * (i % 8));
        if (i % 8 == 7) {
            v[3] ^= word;
            sip_round(v);
            v[0] ^= word;
            word = 0;
        }
    }
    word |= (uint64_t)length << 56;
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static bool is_live(const ds_map_slot *slot) {
    return slot->key != NULL && slot->key != removed_key;
}

void ds_map_init(ds_map *map, uint64_t seed) {
    *map = (ds_map){NULL, 0, 0, 0, seed};
}

void ds_map_free(ds_map *map) {
    for (size_t i = 0; i < map->capacity; i++) {
        if (is_live(&map->slots[i])) {
            ds_free(map->slots[i].key);
        }
    }
    ds_free(map->slots);
    ds_map_init(map, map->seed);
}

static ds_map_slot *find(const ds_map *map, const char *key, uint64_t hash) {
    if (map->count == 0) {
        return NULL;
    }
    for (size_t i = (size_t)hash & (map->capacity - 1);; i = (i + 1) & (map->capacity - 1)) {
        ds_map_slot *slot = &map->slots[i];
        if (slot->key == NULL) {
            return NULL;
        }
        if (is_live(slot) && slot->hash == hash && strcmp(slot->key, key) == 0) {
            return slot;
        }
    }
}

static ds_map_slot *free_slot(ds_map_slot *slots, size_t capacity, uint64_t hash) {
    size_t i = (size_t)hash & (capacity - 1);
    while (slots[i].key != NULL) {
        i = (i + 1) & (capacity - 1);
    }
    return &slots[i];
}

/* A new table, at most half full and without removed places. */
static bool rebuild(ds_map *map) {
    size_t capacity = FIRST_CAPACITY;
    while (capacity / 2 <= map->count) {
        capacity *= 2;
    }
    ds_map_slot *slots = ds_calloc(capacity, sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (is_live(&map->slots[i])) {
            *free_slot(slots, capacity, map->slots[i].hash) = map->slots[i];
        }
    }
    ds_free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    map->used = map->count;
    return true;
}

void *ds_map_get(const ds_map *map, const char *key) {
    const ds_map_slot *slot = find(map, key, hash_of(map->seed, key, strlen(key)));
    return slot != NULL ? slot->value : NULL;
}

bool ds_map_put(ds_map *map, const char *key, void *value) {
    size_t length = strlen(key);
    uint64_t hash = hash_of(map->seed, key, length);
    ds_map_slot *slot = find(map, key, hash);
    if (slot != NULL) {
        slot->value = value;
        return true;
    }
    /* One place in four stays unused: that is what ends a search. */
    if (map->used >= map->capacity / 4 * 3 && !rebuild(map)) {
        return false;
    }
    char *copy = ds_strndup(key, length);
    if (copy == NULL) {
        return false;
    }
    *free_slot(map->slots, map->capacity, hash) = (ds_map_slot){copy, value, hash};
    map->count++;
    map->used++;
    return true;
}

void *ds_map_remove(ds_map *map, const char *key) {
    ds_map_slot *slot = find(map, key, hash_of(map->seed, key, strlen(key)));
    if (slot == NULL) {
        return NULL;
    }
    void *value = slot->value;
    ds_free(slot->key);
    slot->key = removed_key;
    slot->value = NULL;
    map->count--;
    return value;
}

void *ds_map_next(const ds_map *map, size_t *cursor, const char **key) {
    while (*cursor < map->capacity) {
        const ds_map_slot *slot = &map->slots[(*cursor)++];
        if (is_live(slot)) {
            if (key != NULL) {
                *key = slot->key;
            }
            return slot->value;
        }
    }
    return NULL;
}
