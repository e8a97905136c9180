/* lookup.h: finding the addresses of a host's name, in a thread of its own, so that no loop ever waits for a
 * resolver. */
#ifndef DS_LOOKUP_H
#define DS_LOOKUP_H

#include "../core/world.h"

typedef struct ds_lookup ds_lookup;

/* `addresses`: "10.0.0.1,[fe80::1]", valid during the call, or NULL and `problem` says why, for people. */
typedef void (*ds_lookup_fn)(void *context, const char *addresses, const char *problem);

/* `done` is called once, from the loop. NULL: out of memory or threads. */
ds_lookup *ds_lookup_begin(ds_world *world, const char *name, ds_lookup_fn done, void *context);
/* Nobody waits for it any more. NULL does nothing. */
void ds_lookup_abandon(ds_lookup *lookup);

#endif
