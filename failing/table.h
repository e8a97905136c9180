/* table.h: what a campaign counts, and how it tells of it. */
#ifndef FAILING_TABLE_H
#define FAILING_TABLE_H

#include "failing.h"

/* Of one kind of failure. */
typedef struct fl_row {
    const char *kind;
    uint64_t combinations; /* of a scenario and a place */
    uint64_t points;       /* that were run */
    uint64_t all;          /* that there are */
    uint64_t refused;      /* in which the thing did fail */
    uint64_t unharmed;     /* and the scenario went as it does without */
    uint64_t late;         /* runs that a slow machine may have spoilt, and that were repeated */
    uint64_t failures;
    uint64_t codes[DSYNC_CODE_COUNT]; /* points in which a call said so */
} fl_row;

typedef struct fl_summary {
    const char *title, *commit, *report; /* report: the file to write */
    const fl_row *rows;
    size_t count, scenarios;
    int64_t seconds;
} fl_summary;

void fl_row_add(fl_row *to, const fl_row *row);
/* Prints the table, writes the report. How many failures there were. */
uint64_t fl_tell(const fl_summary *summary);

#endif
