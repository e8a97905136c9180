/* rfc3339.h: points in time as people and tools write them: "2024-05-06T07:08:09.123Z". For values that are read by
 * people, never for deadlines. */
#ifndef DS_RFC3339_H
#define DS_RFC3339_H

#include "buf.h"

/* Appends milliseconds since 1970 in UTC. False, and nothing appended: outside the years 0000-9999. */
bool ds_rfc3339_add(ds_buf *out, int64_t ms);
/* Reads a complete date and time with any fraction and any offset; more than milliseconds is cut off. */
bool ds_rfc3339_read(const char *text, size_t length, int64_t *ms);

#endif
