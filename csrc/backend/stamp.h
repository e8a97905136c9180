/* stamp.h: what stands in two values that are the same on every store: the session key's, which holds the epoch, and
 * that of an entry which somebody removes by force. Knows no key and sends nothing.
 */
#ifndef DS_STAMP_H
#define DS_STAMP_H

#include "../base/buf.h"
#include "backend.h"

/* What the session key holds at this epoch: {"epoch":3,...info}. The same lease and epoch give the same bytes. */
void ds_stamp_make(ds_buf *out, const ds_lease *lease, uint64_t epoch);
/* The epoch in a session key's value, 0 when there is no memory to read it; false: it is not one of ours. */
bool ds_stamp_epoch(const char *value, size_t size, uint64_t *epoch);
/* `value` with a member that says by whom it was broken; as it is when there is one already. */
void ds_stamp_broken(ds_buf *out, const char *value, size_t size, const char *by);

#endif
