/* fuzz.h: what every target shares: bytes as a source of choices, and the one assertion.
 *
 * A target is one C file with fz_target(): libFuzzer gives it bytes, it turns them into calls of the library's own
 * object files, and whatever FZ_CHECK refuses, a sanitizer reports, or leaks, is a finding. It keeps nothing from one
 * input to the next.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../csrc/base/base.h"
#include "../csrc/base/buf.h"

/* What is left of an input. Once it is used up, every choice is 0 and every text empty. */
typedef struct fz {
    const uint8_t *at;
    size_t left;
    void *pieces[64]; /* texts handed out */
    size_t piece_count;
} fz;

uint8_t fz_byte(fz *in);
size_t fz_pick(fz *in, size_t count); /* 0 .. count-1 */
bool fz_flag(fz *in);
int64_t fz_int64(fz *in); /* often at a limit */
/* Bytes in a block of exactly their size, so that a read beyond them is seen; lives until fz_end. */
const char *fz_bytes(fz *in, size_t most, size_t *size);
const char *fz_rest(fz *in, size_t *size);
const char *fz_text(fz *in, size_t most); /* NUL-terminated, and without one inside */
void fz_end(fz *in);

_Noreturn void fz_fail(const char *file, int line, const char *what);
#define FZ_CHECK(condition) ((condition) ? (void)0 : fz_fail(__FILE__, __LINE__, #condition))

/* Is it fit to be shown: UTF-8 without control characters, and something at all? */
void fz_check_message(const char *message);

void fz_target(fz *in);

#endif
