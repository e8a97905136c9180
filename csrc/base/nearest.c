/* nearest.c: edit distance between short words, for hints in messages only: nothing ever acts on its answer. */
#include "nearest.h"

#include <string.h>

#define WORD_MAX 48

/* The letters that count, in lower case; returns how many, or WORD_MAX + 1 when there are too many. */
static size_t fold(char *out, const char *word) {
    size_t length = 0;
    for (; *word != '\0'; word++) {
        if (*word == '_' || *word == '-') {
            continue;
        }
        if (length == WORD_MAX) {
            return WORD_MAX + 1;
        }
        out[length++] = *word >= 'A' && *word <= 'Z' ? (char)(*word - 'A' + 'a') : *word;
    }
    return length;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Optimal string alignment: insertions, deletions, substitutions and swapped neighbours cost 1. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size) {
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0];
    size_t *above = rows[1];
    size_t *row = rows[2];
    for (size_t j = 0; j <= b_size; j++) {
        above[j] = j;
    }
    memcpy(before, above, sizeof(rows[0][0]) * (b_size + 1));
    for (size_t i = 1; i <= a_size; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = smaller(smaller(above[j] + 1, row[j - 1] + 1), above[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = smaller(row[j], before[j - 2] + 1);
            }
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b_size];
}

const char *ds_nearest(const char *word, const char *const *known) {
    char wanted[WORD_MAX];
    char other[WORD_MAX];
    size_t length = fold(wanted, word);
    if (length == 0 || length > WORD_MAX) {
        return NULL;
    }
    size_t limit = length <= 3 ? 1 : length <= 7 ? 2 : length / 3;
    const char *best = NULL;
    for (; *known != NULL; known++) {
        size_t other_length = fold(other, *known);
        if (other_length == 0 || other_length > WORD_MAX) {
            continue;
        }
        size_t mistakes = distance(wanted, length, other, other_length);
        /* A word that shares no letter with another is not near it, however short both are. */
        if (mistakes <= limit && mistakes < length && mistakes < other_length) {
            best = *known;
            if (mistakes == 0) {
                return best;
            }
            limit = mistakes - 1;
        }
    }
    return best;
}
