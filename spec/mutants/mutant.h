/* mutant.h: is this deliberate bug the one that this process is to have? Included before every file of the mutants
 * build (see make.lua) and of no other. */
#ifndef DS_MUTANT_H
#define DS_MUTANT_H

#include <stdbool.h>

bool ds_mutant(const char *name); /* DSYNC_MUTANT in the environment names it */

#endif
