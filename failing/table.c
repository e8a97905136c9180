/* table.c: the table of a campaign for people, and the report for machines. */
#include "table.h"

#include <stdio.h>

typedef unsigned long long number;

void fl_row_add(fl_row *to, const fl_row *row) {
    to->combinations += row->combinations;
    to->points += row->points;
    to->all += row->all;
    to->refused += row->refused;
    to->unharmed += row->unharmed;
    to->late += row->late;
    to->failures += row->failures;
    for (int code = 0; code < DSYNC_CODE_COUNT; code++) {
        to->codes[code] += row->codes[code];
    }
}

static void print_row(const fl_row *r) {
    printf("%-18s %12llu %9llu %9llu %11llu %9llu %9llu %9llu\n", r->kind, (number)r->combinations, (number)r->points,
           (number)r->all, (number)r->refused, (number)r->unharmed, (number)r->late, (number)r->failures);
}

static void write_kind(FILE *out, const fl_row *r) {
    fprintf(out,
            "{\"kind\":\"%s\",\"combinations\":%llu,\"points\":%llu,\"of\":%llu,\"failed\":%llu,\"unharmed\":%llu,"
            "\"repeated\":%llu,\"failures\":%llu,\"said\":{",
            r->kind, (number)r->combinations, (number)r->points, (number)r->all, (number)r->refused,
            (number)r->unharmed, (number)r->late, (number)r->failures);
    for (int code = 0; code < DSYNC_CODE_COUNT; code++) {
        fprintf(out, "%s\"%s\":%llu", code > 0 ? "," : "", dsync_code_name((dsync_code)code), (number)r->codes[code]);
    }
    fputs("}}", out);
}

static void write_report(const fl_summary *summary, const fl_row *sum) {
    FILE *out = fopen(summary->report, "w");
    if (out == NULL) {
        perror(summary->report);
        return;
    }
    fprintf(out, "{\"campaign\":\"%s\",\"commit\":\"%s\",\"seconds\":%lld,\"scenarios\":%zu,\"points\":%llu,",
            summary->title, summary->commit, (long long)summary->seconds, summary->scenarios, (number)sum->points);
    fprintf(out, "\"failed\":%llu,\"repeated\":%llu,\"failures\":%llu,\"kinds\":[", (number)sum->refused,
            (number)sum->late, (number)sum->failures);
    for (size_t k = 0; k < summary->count; k++) {
        fputs(k > 0 ? "," : "", out);
        write_kind(out, &summary->rows[k]);
    }
    fputs("]}\n", out);
    fclose(out);
}

uint64_t fl_tell(const fl_summary *summary) {
    fl_row sum = {.kind = "all"};
    printf("%-18s %12s %9s %9s %11s %9s %9s %9s\n", summary->title, "combinations", "points", "of", "did fail",
           "unharmed", "repeated", "failures");
    for (size_t k = 0; k < summary->count; k++) {
        print_row(&summary->rows[k]);
        fl_row_add(&sum, &summary->rows[k]);
    }
    print_row(&sum);
    write_report(summary, &sum);
    printf("%s: %llu points over %zu scenarios in %lld s\n", summary->title, (number)sum.points, summary->scenarios,
           (long long)summary->seconds);
    printf("%llu passed, %llu failed\n", (number)sum.points, (number)sum.failures);
    return sum.failures;
}
