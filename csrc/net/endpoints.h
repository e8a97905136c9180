/* endpoints.h: which server to ask next. Pure bookkeeping over a fixed set of addresses.
 *
 * The present endpoint is kept while it answers (its connection is warm); after a failure the next one that is not
 * resting is taken. A failed endpoint rests for a moment that doubles with each failure in a row, up to 5 s, and is
 * still used when all of them rest (the one that rests least long).
 */
#ifndef DS_ENDPOINTS_H
#define DS_ENDPOINTS_H

#include "../core/world.h"

typedef struct ds_endpoints {
    ds_endpoint *list;
    unsigned *failures; /* in a row, per endpoint */
    size_t count;
    size_t present;
    char *text; /* all origins, comma separated, for messages */
} ds_endpoints;

bool ds_endpoints_init(ds_endpoints *set, const char *const *origins, size_t count); /* false: out of memory */
void ds_endpoints_free(ds_endpoints *set);
ds_endpoint *ds_endpoints_pick(ds_endpoints *set, int64_t now_ns);
/* The endpoint next after the present one, for a request that must not go where the last try went. Does not change the
 * present one. */
ds_endpoint *ds_endpoints_other(ds_endpoints *set, const ds_endpoint *than, int64_t now_ns);
void ds_endpoints_good(ds_endpoints *set, ds_endpoint *endpoint);
void ds_endpoints_bad(ds_endpoints *set, ds_endpoint *endpoint, int64_t now_ns);

#endif
