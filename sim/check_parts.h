/* check_parts.h: what check.c and check_claims.c share. */
#ifndef SIM_CHECK_PARTS_H
#define SIM_CHECK_PARTS_H

#include "check.h"

void *chk_grow(void *old, size_t *capacity, size_t size);
void chk_broke(chk *c, chk_rule rule, const char *format, ...) DS_PRINTF(3, 4); /* the first one counts */
chk_entry *chk_entry_of(const chk *c, unsigned lock, int64_t token);
bool chk_believes(const chk_claim *claim, int64_t now);

/* check_claims.c */
void chk_check_limit(chk *c, const chk_claim *claim);
void chk_on_believe(chk *c, const chk_event *e);
void chk_about_claim(chk *c, const chk_event *e);

#endif
