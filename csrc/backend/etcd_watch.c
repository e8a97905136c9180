/* etcd_watch.c: beginning and ending watches; which watch an id on the stream means.
 *
 * Speaks to no server: a new watch is put in the stream's queue, and the stream (etcd_stream.c) is told to look there.
 */
#include "etcd.h"

#include <string.h>

/* ---- ids: a serial in the upper bits, a slot in the lower -------------------------------------------------------- */

#define SLOT_BITS 24
#define SLOT_MASK ((INT64_C(1) << SLOT_BITS) - 1)

static bool grow_slots(ds_etcd_stream *stream) {
    size_t count = stream->slot_count == 0 ? 16 : stream->slot_count * 2;
    if (count > (size_t)SLOT_MASK) {
        return false;
    }
    ds_etcd_watching **grown = ds_realloc(stream->slots, count * sizeof(*grown));
    if (grown == NULL) {
        return false;
    }
    memset(grown + stream->slot_count, 0, (count - stream->slot_count) * sizeof(*grown));
    stream->slots = grown;
    stream->slot_hint = stream->slot_count;
    stream->slot_count = count;
    return true;
}

static bool take_slot(ds_etcd_stream *stream, ds_etcd_watching *watching) {
    if (stream->count == stream->slot_count && !grow_slots(stream)) {
        return false;
    }
    size_t slot = stream->slot_hint;
    while (stream->slots[slot] != NULL) {
        slot = (slot + 1) % stream->slot_count;
    }
    stream->slots[slot] = watching;
    stream->slot_hint = (slot + 1) % stream->slot_count;
    stream->count++;
    watching->id = (++stream->serial << SLOT_BITS) | (int64_t)slot;
    return true;
}

ds_etcd_watching *ds_etcd_watching_find(const ds_etcd_stream *stream, int64_t id) {
    size_t slot = (size_t)(id & SLOT_MASK);
    ds_etcd_watching *watching = id > 0 && slot < stream->slot_count ? stream->slots[slot] : NULL;
    return watching != NULL && watching->id == id ? watching : NULL;
}

static void free_watching(ds_etcd_stream *stream, ds_etcd_watching *watching) {
    stream->slots[watching->id & SLOT_MASK] = NULL;
    stream->count--;
    ds_list_remove(&watching->node);
    ds_free(watching->key);
    ds_free(watching);
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

void ds_etcd_watching_end(ds_etcd_stream *stream, ds_etcd_watching *watching, ds_class outcome, const char *message) {
    ds_watch *owner = watching->owner;
    free_watching(stream, watching);
    if (stream->count == 0) {
        ds_etcd_stream_unused(stream);
    }
    if (owner != NULL) {
        owner->impl = NULL;
        ds_watch_event event = {.kind = DS_WATCH_ENDED, .outcome = outcome, .message = message};
        owner->on_event(owner, &event);
    }
}

void ds_etcd_watching_end_all(ds_etcd_stream *stream, ds_class outcome, const char *message) {
    ds_list all;
    ds_list_init(&all);
    ds_list_splice(&all, &stream->on);
    ds_list_splice(&all, &stream->asked);
    ds_list_splice(&all, &stream->queued);
    while (!ds_list_empty(&all)) {
        ds_etcd_watching_end(stream, DS_LIST_ENTRY(all.next, ds_etcd_watching, node), outcome, message);
    }
}

static void drop_all(ds_etcd_stream *stream, ds_list *list) {
    while (!ds_list_empty(list)) {
        ds_etcd_watching *watching = DS_LIST_ENTRY(list->next, ds_etcd_watching, node);
        if (watching->owner != NULL) {
            watching->owner->impl = NULL;
        }
        free_watching(stream, watching);
    }
}

void ds_etcd_watching_drop_all(ds_etcd_stream *stream) {
    drop_all(stream, &stream->queued);
    drop_all(stream, &stream->asked);
    drop_all(stream, &stream->on);
    ds_free(stream->slots);
    stream->slots = NULL;
}

void ds_etcd_watching_ask_again(ds_etcd_stream *stream) {
    ds_list *node;
    while ((node = ds_list_pop(&stream->asked)) != NULL) {
        ds_etcd_watching *watching = DS_LIST_ENTRY(node, ds_etcd_watching, node);
        watching->stream_number = 0;
        ds_list_append(&stream->queued, node);
        if (watching->owner == NULL) {
            ds_etcd_watching_end(stream, watching, DS_OK, ""); /* given up meanwhile */
        }
    }
}

/* ---- watch and unwatch ------------------------------------------------------------------------------------------- */

/* One key, or [key + "/", key + "0"). */
static bool set_range(ds_etcd_watching *watching, const ds_watch_spec *spec) {
    size_t size = strlen(spec->key);
    watching->key = ds_malloc(spec->subtree ? 2 * size + 2 : size + 1);
    if (watching->key == NULL) {
        return false;
    }
    memcpy(watching->key, spec->key, size + 1);
    watching->size = size;
    if (spec->subtree) {
        watching->key[watching->size++] = '/';
        memcpy(watching->key + watching->size, spec->key, size);
        watching->key[watching->size + size] = '/' + 1;
        watching->end_size = size + 1;
    }
    return true;
}

static ds_etcd_watching *new_watching(ds_etcd_stream *stream, ds_watch *owner, const ds_watch_spec *spec) {
    ds_etcd_watching *watching = ds_calloc(1, sizeof(*watching));
    if (watching == NULL) {
        return NULL;
    }
    ds_list_init(&watching->node);
    watching->owner = owner;
    watching->since = spec->since;
    watching->deletes_only = spec->deletes_only;
    watching->keys_only = spec->keys_only;
    if (!set_range(watching, spec) || !take_slot(stream, watching)) {
        ds_free(watching->key);
        ds_free(watching);
        return NULL;
    }
    return watching;
}

bool ds_etcd_watch(ds_backend *backend, ds_watch *watch, const ds_watch_spec *spec) {
    ds_etcd_stream *stream = &ds_etcd_of(backend)->stream;
    ds_etcd_watching *watching = new_watching(stream, watch, spec);
    if (watching == NULL) {
        return false;
    }
    watch->impl = watching;
    ds_list_append(&stream->queued, &watching->node);
    ds_etcd_stream_used(stream);
    return true;
}

void ds_etcd_unwatch(ds_backend *backend, ds_watch *watch) {
    ds_etcd_stream *stream = &ds_etcd_of(backend)->stream;
    ds_etcd_watching *watching = watch->impl;
    if (watching == NULL) {
        return;
    }
    watch->impl = NULL;
    watching->owner = NULL;
    /* One that was begun on a stream now over has nothing to cancel. */
    bool begun = watching->stream_number == stream->number;
    if (begun) {
        stream->wire->watch_cancel(&stream->out, watching->id);
        ds_post(backend->world, &stream->flush);
    }
    /* The answer to its creation is still to come, and may have to be told from others by its turn alone. */
    if (!begun || watching->answered) {
        ds_etcd_watching_end(stream, watching, DS_OK, "");
    }
}
