/* scripted_parts.h: what scripted_backend.c and scripted_watch.c share; tests include scripted_backend.h only. */
#ifndef SCRIPTED_PARTS_H
#define SCRIPTED_PARTS_H

#include "scripted_backend.h"

sb *sb_of(ds_backend *base);
size_t sb_session_number(sb *b, uint64_t nonce); /* s1 is 1 */
size_t sb_entry_number(sb *b, const char *nonce);
bool sb_watch_op(ds_backend *base, ds_watch *watch, const ds_watch_spec *spec);
void sb_unwatch_op(ds_backend *base, ds_watch *watch);

#endif
