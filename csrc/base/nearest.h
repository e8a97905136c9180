/* nearest.h: "did you mean ...?" for misspelt words. */
#ifndef DS_NEAREST_H
#define DS_NEAREST_H

#include "base.h"

/* The word of the NULL-terminated list `known` that `word` most likely meant, or NULL if none is near. Case, "_" and
 * "-" count for nothing; swapped neighbours count as one mistake. */
const char *ds_nearest(const char *word, const char *const *known);

#endif
