/* utf8.h: reading UTF-8 strictly: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef DS_UTF8_H
#define DS_UTF8_H

#include "base.h"

/* The length of the sequence at `text` (of which `left` bytes exist), or 0 if it is none. `code_point` may be NULL. */
size_t ds_utf8_sequence(const char *text, size_t left, uint32_t *code_point);
bool ds_utf8_valid(const char *text, size_t length);
/* The most bytes, at most `most`, that can be kept of `text` without cutting a sequence in two. */
size_t ds_utf8_cut(const char *text, size_t length, size_t most);
/* U+0000-001F, U+007F and U+0080-009F: nothing to put into a name, a log line or a terminal. */
bool ds_is_control(uint32_t code_point);

#endif
