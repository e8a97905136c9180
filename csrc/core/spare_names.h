/* spare_names.h: names of entries that are gone, for those that come next.
 *
 * Some stores keep something of every name they have ever seen, until somebody compacts them, and go through all of
 * that whenever they look at a queue: there, an entry in a name of its own makes every later one dearer. So the entries
 * of one session in one queue go by the same few names.
 *
 * A name comes here only once its entry is known to be gone, by its token: never after an outcome that was in doubt.
 * What may still be under way then is harmless to the next entry of that name. Removals, exchanges and writes name the
 * token they mean; and an entry that a late copy of a request makes is the next one's, because that finds it there.
 *
 * Remembers one name a queue, of some hundred queues; those it forgets are simply not used again.
 */
#ifndef DS_SPARE_NAMES_H
#define DS_SPARE_NAMES_H

#include "../backend/backend.h"

typedef struct ds_spare_names {
    struct ds_spare_name *slots; /* NULL before the first */
} ds_spare_names;

/* The entry is gone for certain, or was certainly never made. Out of memory: it is forgotten. */
void ds_spare_names_keep(ds_spare_names *names, const ds_entry *entry);
/* Gives the entry (its path is set) a spare name of its queue: `nonce` and `former`. False: there is none. */
bool ds_spare_names_take(ds_spare_names *names, ds_entry *entry);
void ds_spare_names_free(ds_spare_names *names);

#endif
