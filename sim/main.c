/* main.c: runs seeds, counts, and shows the first failure in full.
 *
 *     sim [--seeds N] [--first K] [--seed K] [--seconds S] [--model NAME] [--report FILE] [--trace]
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "model.h"

#define SHOWN_MAX 20

typedef struct options {
    uint64_t seeds, first;
    bool one, trace;
    double seconds;
    const char *report, *commit;
    const sim_model_ops *model;
} options;

typedef struct totals {
    sim_counts counts;
    uint64_t runs, failed, believed, exceptions, told, accepted, rejected, steps, revived;
    uint64_t by_rule[CHK_RULES], leaks;
    uint64_t shown[SHOWN_MAX];
    double virtual_seconds, longest_exempt;
    double seconds;
} totals;

typedef struct outcome {
    bool fine;
    chk_rule rule;
    char why[260];
    uint64_t digest;
    size_t leaked;
} outcome;

static double clock_seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static outcome run(uint64_t seed, const sim_model_ops *model, totals *t, bool trace) {
    sim *s = sim_new(seed, model, &t->counts, trace);
    outcome o = {.fine = sim_play(s)};
    o.rule = s->check.broken;
    (void)snprintf(o.why, sizeof o.why, "%s", s->check.why);
    if (!o.fine && o.rule == 0) {
        o.rule = CHK_HANG;
        (void)snprintf(o.why, sizeof o.why, "a client was not closed in time");
    }
    o.digest = s->digest;
    t->believed += s->check.believed;
    t->exceptions += s->check.exceptions;
    t->told += s->check.told;
    t->revived += s->check.revived;
    t->accepted += s->check.fence_accepted;
    t->rejected += s->check.fence_rejected;
    t->steps += s->steps;
    t->virtual_seconds += (double)(s->now_ns - 1000 * DS_SECOND) / 1e9;
    double exempt = (double)s->check.longest_exempt_ns / 1e9;
    t->longest_exempt = exempt > t->longest_exempt ? exempt : t->longest_exempt;
    bool killed = s->killed;
    sim_free(s);
    o.leaked = sim_memory_end();
    if (o.fine && !killed && o.leaked > 0) {
        o.fine = false;
        o.rule = CHK_NONSENSE;
        (void)snprintf(o.why, sizeof o.why, "%zu blocks of memory were not given back", o.leaked);
        t->leaks++;
    }
    return o;
}

/* ---- what is shown ----------------------------------------------------------------------------------------------- */

static uint64_t all_faults(const totals *t) {
    uint64_t sum = 0;
    for (int i = 0; i < SIM_FAULTS; i++) {
        sum += t->counts.faults[i];
    }
    return sum;
}

static void show(const options *o, const totals *t) {
    printf("\nsim %s: seeds %llu..%llu in %.0f s (%.0f a minute), %.0f hours of virtual time\n", o->model->name,
           (unsigned long long)o->first, (unsigned long long)(o->first + t->runs - 1), t->seconds,
           (double)t->runs * 60 / (t->seconds > 0 ? t->seconds : 1), t->virtual_seconds / 3600);
    for (int i = 0; i < SIM_FAULTS; i++) {
        printf("  %-24s %12llu\n", sim_fault_names[i], (unsigned long long)t->counts.faults[i]);
    }
    printf("  %-24s %12llu\n", "faults", (unsigned long long)all_faults(t));
    printf("  %-24s %12llu\n", "requests", (unsigned long long)t->counts.requests);
    printf("  %-24s %12llu\n", "calls", (unsigned long long)t->counts.calls);
    printf("  %-24s %12llu\n", "acquisitions", (unsigned long long)t->counts.acquisitions);
    printf("  %-24s %12llu\n", "losses announced", (unsigned long long)t->told);
    printf("  %-24s %12llu accepted, %llu rejected\n", "fenced writes", (unsigned long long)t->accepted,
           (unsigned long long)t->rejected);
    printf("  %-24s %12llu\n", "guarded writes applied", (unsigned long long)t->counts.data_writes);
    printf("  %-24s %12llu (the server took the lock away early; longest %.3f s)\n", "stated exceptions",
           (unsigned long long)t->exceptions, t->longest_exempt);
    printf("  %-24s %12llu (entries that a restore brought back, unnoticed)\n", "revived",
           (unsigned long long)t->revived);
    printf("  %-24s %12llu\n", "violations", (unsigned long long)t->failed);
    for (int i = 1; i < CHK_RULES; i++) {
        if (t->by_rule[i] > 0) {
            printf("    %-42s %8llu\n", chk_rule_names[i], (unsigned long long)t->by_rule[i]);
        }
    }
    if (t->failed == 0) {
        printf("  bound at 95 %%: at most %.2g of runs like these fail (3/N)\n",
               3.0 / (double)(t->runs > 0 ? t->runs : 1));
    }
    for (uint64_t i = 0; i < t->failed && i < SHOWN_MAX; i++) {
        printf("  replay: make sim SEED=%llu\n", (unsigned long long)t->shown[i]);
    }
}

static void report(const options *o, const totals *t) {
    FILE *file = o->report != NULL ? fopen(o->report, "w") : NULL;
    if (file == NULL) {
        return;
    }
    fprintf(file, "{\n  \"campaign\": \"sim\",\n  \"model\": \"%s\",\n  \"commit\": \"%s\",\n", o->model->name,
            o->commit);
    fprintf(file, "  \"first_seed\": %llu,\n  \"seeds\": %llu,\n  \"seconds\": %.1f,\n  \"virtual_seconds\": %.0f,\n",
            (unsigned long long)o->first, (unsigned long long)t->runs, t->seconds, t->virtual_seconds);
    fprintf(file, "  \"faults\": {");
    for (int i = 0; i < SIM_FAULTS; i++) {
        fprintf(file, "%s\n    \"%s\": %llu", i > 0 ? "," : "", sim_fault_names[i],
                (unsigned long long)t->counts.faults[i]);
    }
    fprintf(file, "\n  },\n  \"fault_count\": %llu,\n  \"requests\": %llu,\n  \"calls\": %llu,\n",
            (unsigned long long)all_faults(t), (unsigned long long)t->counts.requests,
            (unsigned long long)t->counts.calls);
    fprintf(
        file,
        "  \"acquisitions\": %llu,\n  \"losses\": %llu,\n  \"fenced_accepted\": %llu,\n  \"fenced_rejected\": %llu,\n",
        (unsigned long long)t->counts.acquisitions, (unsigned long long)t->told, (unsigned long long)t->accepted,
        (unsigned long long)t->rejected);
    fprintf(file, "  \"exceptions\": %llu,\n  \"revived\": %llu,\n  \"violations\": %llu,\n  \"failed_seeds\": [",
            (unsigned long long)t->exceptions, (unsigned long long)t->revived, (unsigned long long)t->failed);
    for (uint64_t i = 0; i < t->failed && i < SHOWN_MAX; i++) {
        fprintf(file, "%s%llu", i > 0 ? ", " : "", (unsigned long long)t->shown[i]);
    }
    fprintf(file, "],\n  \"bound_95\": %s%.3g\n}\n",
            t->failed == 0 ? "" : "null, \"bound_if_none\": ", 3.0 / (double)(t->runs > 0 ? t->runs : 1));
    (void)fclose(file);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void note_failure(totals *t, uint64_t seed, const outcome *o) {
    if (t->failed < SHOWN_MAX) {
        t->shown[t->failed] = seed;
        printf("seed %llu: %s: %s\n", (unsigned long long)seed, chk_rule_names[o->rule], o->why);
        (void)fflush(stdout);
    }
    t->failed++;
    t->by_rule[o->rule]++;
}

/* Shows one seed twice: the second time with everything written down, and the same to the byte. */
static int replay(const options *o) {
    totals silent = {0}, traced = {0};
    outcome first = run(o->first, o->model, &silent, false);
    outcome second = run(o->first, o->model, &traced, true);
    printf("seed %llu: %s%s%s\n", (unsigned long long)o->first, second.fine ? "fine" : chk_rule_names[second.rule],
           second.fine ? "" : ": ", second.why);
    if (first.digest != second.digest) {
        printf("the two runs of this seed differ\n");
        return 1;
    }
    return second.fine ? 0 : 1;
}

static int campaign(const options *o) {
    totals t = {0};
    double begin = clock_seconds();
    for (uint64_t i = 0; i < o->seeds; i++) {
        outcome result = run(o->first + i, o->model, &t, false);
        t.runs++;
        if (!result.fine) {
            note_failure(&t, o->first + i, &result);
        }
        t.seconds = clock_seconds() - begin;
        if (o->seconds > 0 && t.seconds > o->seconds) {
            break;
        }
    }
    show(o, &t);
    report(o, &t);
    if (t.failed > 0 && o->trace) {
        options again = *o;
        again.first = t.shown[0];
        (void)replay(&again);
    }
    return t.failed == 0 ? 0 : 1;
}

static const sim_model_ops *model_named(const char *name) {
    for (size_t i = 0; sim_models[i] != NULL; i++) {
        if (strcmp(sim_models[i]->name, name) == 0) {
            return sim_models[i];
        }
    }
    fprintf(stderr, "sim: no model \"%s\"\n", name);
    exit(64);
}

int main(int count, char **arguments) {
    static const struct option known[] = {{"seeds", 1, NULL, 'n'},   {"first", 1, NULL, 'f'}, {"seed", 1, NULL, 's'},
                                          {"seconds", 1, NULL, 't'}, {"model", 1, NULL, 'm'}, {"report", 1, NULL, 'r'},
                                          {"commit", 1, NULL, 'c'},  {"trace", 0, NULL, 'v'}, {NULL, 0, NULL, 0}};
    options o = {.seeds = 10000, .first = 1, .commit = "unknown", .model = sim_models[0]};
    for (int letter; (letter = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        switch (letter) {
        case 'n':
            o.seeds = strtoull(optarg, NULL, 10);
            break;
        case 's':
            o.one = true;
            o.first = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            o.first = strtoull(optarg, NULL, 10);
            break;
        case 't':
            o.seconds = strtod(optarg, NULL);
            break;
        case 'm':
            o.model = model_named(optarg);
            break;
        case 'r':
            o.report = optarg;
            break;
        case 'c':
            o.commit = optarg;
            break;
        case 'v':
            o.trace = true;
            break;
        default:
            return 64;
        }
    }
    return o.one ? replay(&o) : campaign(&o);
}
