/* consul_place.c: what this client knows of its own entries: whether they hold, and who is older.
 *
 * A queue's older entries only ever go away, so what is noted here about them stays enough: when all of them are gone,
 * the entry is the oldest one. Nothing here is the truth; every transaction says again what it relies on.
 */
#include "consul.h"

#include <stdlib.h>
#include <string.h>

static void drop_ahead(ds_consul_place *place) {
    for (size_t i = 0; i < place->ahead_count; i++) {
        ds_free(place->ahead[i]);
    }
    ds_free(place->ahead);
    place->ahead = NULL;
    place->ahead_count = 0;
}

ds_consul_place *ds_consul_place_find(const ds_consul *consul, const char *nonce) {
    return ds_map_get(&consul->places, nonce);
}

ds_consul_place *ds_consul_place_get(ds_consul *consul, const ds_entry *entry) {
    ds_consul_place *place = ds_consul_place_find(consul, entry->nonce);
    ds_consul_lease *lease = entry->lease->impl;
    if (place != NULL || lease == NULL) {
        return place;
    }
    place = ds_calloc(1, sizeof(*place));
    char *path = ds_strdup(entry->path);
    if (place == NULL || path == NULL || !ds_map_put(&consul->places, entry->nonce, place)) {
        ds_free(place);
        ds_free(path);
        return NULL;
    }
    memcpy(place->nonce, entry->nonce, sizeof(place->nonce));
    place->path = path;
    ds_list_init(&place->node);
    ds_list_append(&lease->places, &place->node);
    return place;
}

void ds_consul_place_forget(ds_consul *consul, const char *nonce) {
    ds_consul_place *place = ds_map_remove(&consul->places, nonce);
    if (place != NULL) {
        ds_list_remove(&place->node);
        drop_ahead(place);
        ds_free(place->path);
        ds_free(place);
    }
}

void ds_consul_place_seen(ds_consul_place *place, const ds_consul_pair *entry) {
    if (place != NULL) {
        place->created = entry->created;
        place->modified = entry->modified;
    }
}

bool ds_consul_place_is_other(const ds_consul_place *place, const ds_consul_pair *entry) {
    return place->created != 0 && entry->created != place->created;
}

void ds_consul_place_owns(ds_consul_place *place, const ds_consul_pair *native) {
    drop_ahead(place);
    place->since = native->modified;
    place->lock_created = native->created;
    place->standing = DS_CONSUL_OWNER;
    place->delayed_ns = 0;
    ds_consul_watch_owner(place);
}

bool ds_consul_place_lost(const ds_consul_place *place, const ds_consul_pair *native) {
    return place->standing == DS_CONSUL_OWNER && native->created != place->lock_created;
}

const ds_consul_pair *ds_consul_nearest(const ds_consul_answer *answer, size_t first, int64_t token) {
    const ds_consul_pair *nearest = NULL;
    for (size_t i = first; i < answer->count; i++) {
        const ds_consul_pair *pair = &answer->pairs[i];
        if (pair->created < token && (nearest == NULL || pair->created > nearest->created)) {
            nearest = pair;
        }
    }
    return nearest;
}

const ds_consul_pair *ds_consul_oldest(const ds_consul_answer *answer, const char *queue, const char *session) {
    const ds_consul_pair *oldest = NULL;
    size_t size = strlen(queue);
    for (size_t i = 0; i < answer->count; i++) {
        const ds_consul_pair *pair = &answer->pairs[i];
        bool of_it = session[0] == '\0' || strcmp(pair->session, session) == 0;
        if (of_it && strncmp(pair->key, queue, size) == 0 && (oldest == NULL || pair->created < oldest->created)) {
            oldest = pair;
        }
    }
    return oldest;
}

static int by_age(const void *left, const void *right) {
    const ds_consul_pair *const *a = left, *const *b = right;
    return ((*a)->created > (*b)->created) - ((*a)->created < (*b)->created);
}

/* False: no memory. */
static bool copy_ahead(ds_consul_place *place, const ds_consul_pair **older, size_t count) {
    place->ahead = ds_calloc(count, sizeof(*place->ahead));
    for (size_t i = 0; place->ahead != NULL && i < count; i++) {
        place->ahead[i] = ds_strdup(older[i]->key);
        if (place->ahead[i] == NULL) {
            return false;
        }
        place->ahead_count++;
    }
    return place->ahead != NULL;
}

void ds_consul_place_behind(ds_consul_place *place, const ds_consul_answer *answer, size_t first, int64_t token) {
    drop_ahead(place);
    place->standing = DS_CONSUL_BEHIND;
    size_t count = 0;
    const ds_consul_pair **older = ds_calloc(answer->count + 1, sizeof(*older));
    for (size_t i = first; older != NULL && i < answer->count; i++) {
        if (answer->pairs[i].created < token) {
            older[count++] = &answer->pairs[i];
        }
    }
    if (count > 0) {
        qsort(older, count, sizeof(*older), by_age);
    }
    if (older == NULL || (count > 0 && !copy_ahead(place, older, count))) {
        drop_ahead(place);
        place->standing = DS_CONSUL_UNSURE;
    }
    ds_free(older);
}
