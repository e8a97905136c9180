/* spare_names.c: see spare_names.h. A table with one place for each hash of a path: who comes later takes it. */
#include "spare_names.h"

#include <string.h>

#include "../base/base.h"

#define SLOTS 512

typedef struct ds_spare_name {
    uint64_t path_hash; /* where two paths have one, a name of the one is as good for the other */
    char nonce[sizeof((ds_entry *)NULL)->nonce]; /* "": none */
    int64_t former;
} ds_spare_name;

/* FNV-1a */
static uint64_t hash_of(const char *path) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *path != '\0'; path++) {
        hash = (hash ^ (unsigned char)*path) * UINT64_C(1099511628211);
    }
    return hash;
}

void ds_spare_names_keep(ds_spare_names *names, const ds_entry *entry) {
    if (names->slots == NULL) {
        names->slots = ds_calloc(SLOTS, sizeof *names->slots);
    }
    if (names->slots == NULL) {
        return;
    }
    uint64_t hash = hash_of(entry->path);
    ds_spare_name *slot = &names->slots[hash % SLOTS];
    slot->path_hash = hash;
    memcpy(slot->nonce, entry->nonce, sizeof slot->nonce);
    slot->former = entry->token > entry->former ? entry->token : entry->former;
}

bool ds_spare_names_take(ds_spare_names *names, ds_entry *entry) {
    if (names->slots == NULL) {
        return false;
    }
    uint64_t hash = hash_of(entry->path);
    ds_spare_name *slot = &names->slots[hash % SLOTS];
    if (slot->path_hash != hash || slot->nonce[0] == '\0') {
        return false;
    }
    memcpy(entry->nonce, slot->nonce, sizeof entry->nonce);
    entry->former = slot->former;
    slot->nonce[0] = '\0';
    return true;
}

void ds_spare_names_free(ds_spare_names *names) {
    ds_free(names->slots);
    names->slots = NULL;
}
