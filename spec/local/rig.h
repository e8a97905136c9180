/* rig.h: processes that fight for one lock of a local: database, and what they believed when.
 *
 * Every worker is a process of its own that writes its claims into memory shared with the program that started it. A
 * claim is a span of time in which dsync_held() answered yes. All processes share one clock, so that two claims that
 * overlap are two believers, without any allowance.
 */
#ifndef LOCAL_RIG_H
#define LOCAL_RIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "dsync.h"

#define RIG_WORKERS 8
#define RIG_CLAIMS 400000 /* of one worker */
#define RIG_MS INT64_C(1000000)

typedef struct rig_claim {
    int64_t asked, begin, end; /* end 0: not over */
    int64_t token;
    int worker;
} rig_claim;

typedef struct rig_slot {
    pid_t pid;
    _Atomic bool holds;
    _Atomic uint32_t count;   /* complete claims; the one behind them may be under way */
    _Atomic int64_t worst_ns; /* from asking to having released, without the work */
    rig_claim claims[RIG_CLAIMS];
} rig_slot;

typedef struct rig {
    char url[512];
    int64_t ttl_ms;
    int64_t work_ns;  /* 0: none */
    int64_t pause_ns; /* between a release and the next acquire */
    _Atomic bool stop;
    pid_t watcher;
    _Atomic int64_t late_ns;
    rig_slot slots[RIG_WORKERS];
} rig;

bool rig_is_long(void); /* the long form of a campaign was asked for */
int64_t rig_now(void);
void rig_sleep(int64_t ns);
uint64_t rig_random(void);
/* A rig with an empty database in a folder of its own. Ends the program when that cannot be. */
rig *rig_new(const char *name);
void rig_free(rig *r);
const char *rig_file(const rig *r); /* of the database */
pid_t rig_writer(const rig *r);     /* whose transaction is under way, 0: nobody's */
void rig_start(rig *r, int worker);
void rig_stop(rig *r, int workers); /* all end by themselves */
/* From the one call to the other: how late a process was woken at worst that does nothing but sleep. */
void rig_watch_machine(rig *r);
double rig_late_ms(rig *r, const char *what);
/* A bound of time is for a machine that has nothing else to do. A busy one makes everybody late, in each of the many
 * steps of a turn among eight. */
double rig_allow_ms(double limit_ms, double late_ms);
/* Checks of all claims: none overlap, tokens rise in the order of claims. A token is given when one enters the queue,
 * so turns were then taken in the order of asking. */
size_t rig_check(const rig *r, const char *what);
void rig_expect(bool condition, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A figure of the report; also an expectation that counts. `format` says of what. */
void rig_figure(double value, const char *unit, const char *format, ...) __attribute__((format(printf, 3, 4)));
void rig_at_most(double value, double limit, const char *unit, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void rig_at_least(double value, double limit, const char *unit, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int rig_result(void); /* prints the last line; the exit status */
int rig_compare_ns(const void *a, const void *b);

#endif
