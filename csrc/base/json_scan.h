/* json_scan.h: the strict look at a JSON text before cJSON sees it. Used by json.c only. */
#ifndef DS_JSON_SCAN_H
#define DS_JSON_SCAN_H

#include "json.h"

/* First byte of a string in the copy. A number becomes a string that begins with the first mark; a string value that
 * would itself decode to a beginning like a mark gets the second one in front. Keys are never marked. */
#define DS_JSON_NUMBER_MARK '\001'
#define DS_JSON_STRING_MARK '\002'

/* Checks that `text` is exactly one JSON value within the limits and appends the copy for cJSON to `copy`. NULL when
 * all is well, else a static reason; running out of memory is told by copy->failed alone. */
const char *ds_json_scan(ds_buf *copy, const char *text, size_t size, const ds_json_limits *limits);

#endif
