/* local_mark.c: which watches have to look again, and waking their clients. With the mutex held, on any thread. */
#include "local_watch.h"

#define OWN_AT_ONCE 256 /* of the watches that only a lost message makes worth a look */

void loc_wake_client(ds_local *local) {
    ds_world *world = local->base.world;
    if (local->notified) {
        return;
    }
    local->notified = true;
    if (world == local->store->world) {
        world->ops->post(world, &local->task);
    } else {
        world->ops->notify(world, &local->task);
    }
}

void loc_mark_watch(loc_watch *watch) {
    watch->due = true;
    loc_wake_client(watch->local);
}

ds_list *loc_bucket(loc_store *store, uint64_t number) {
    return &store->buckets[(number * UINT64_C(0x9E3779B97F4A7C15)) >> 56];
}

void loc_mark_client(ds_local *local, bool all) {
    size_t own = 0;
    for (ds_list *node = local->watches.next; node != &local->watches; node = node->next) {
        loc_watch *watch = DS_LIST_ENTRY(node, loc_watch, in_client);
        if (all || watch->foreign || own < OWN_AT_ONCE) {
            own += watch->foreign ? 0 : 1;
            loc_mark_watch(watch);
        }
    }
    /* Next time it is the turn of others. */
    for (; !all && own > 0 && local->watch_count > OWN_AT_ONCE; own--) {
        ds_list_append(&local->watches, ds_list_pop(&local->watches));
    }
}

void loc_mark_watches(loc_store *store, uint64_t number) {
    if (number == LOC_MARK_ALL) {
        for (ds_list *node = store->clients.next; node != &store->clients; node = node->next) {
            loc_mark_client(DS_LIST_ENTRY(node, ds_local, in_store), true);
        }
        return;
    }
    ds_list *list = number == LOC_MARK_LOG ? &store->observing : loc_bucket(store, number);
    for (ds_list *node = list->next; node != list; node = node->next) {
        loc_watch *watch = DS_LIST_ENTRY(node, loc_watch, in_store);
        if (number == LOC_MARK_LOG || watch->mark == number) {
            loc_mark_watch(watch);
        }
    }
}

void loc_mark_waiting(loc_store *store) {
    for (ds_list *node = store->clients.next; node != &store->clients; node = node->next) {
        ds_local *local = DS_LIST_ENTRY(node, ds_local, in_store);
        for (ds_list *link = local->watches.next; local->foreign_count > 0 && link != &local->watches;
             link = link->next) {
            loc_watch *watch = DS_LIST_ENTRY(link, loc_watch, in_client);
            if (watch->foreign) {
                loc_mark_watch(watch);
            }
        }
    }
}

static void end_list(ds_list *watches) {
    for (ds_list *node = watches->next; node != watches; node = node->next) {
        loc_watch *watch = DS_LIST_ENTRY(node, loc_watch, in_client);
        watch->ended = "the database was begun anew";
        watch->observing = false;
        loc_mark_watch(watch);
    }
}

void loc_watches_again(loc_store *store) {
    for (ds_list *node = store->clients.next; node != &store->clients; node = node->next) {
        ds_local *local = DS_LIST_ENTRY(node, ds_local, in_store);
        end_list(&local->watches);
        end_list(&local->batch);
    }
}
