/* mutant.c: see mutant.h. */
#include "mutant.h"

#include <stdlib.h>
#include <string.h>

static const char *chosen;

__attribute__((constructor)) static void choose(void) {
    chosen = getenv("DSYNC_MUTANT");
}

bool ds_mutant(const char *name) {
    return chosen != NULL && strcmp(chosen, name) == 0;
}
