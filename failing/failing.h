/* failing.h: a machine that fails: every n-th allocation (oom.c), every n-th system call (sysfail.c).
 *
 * A scenario is what a host may do, written so that it goes on whatever fails: each helper takes NULL, checks what must
 * hold, and remembers the codes it saw. A campaign runs each scenario again and again, with one more thing failing each
 * time, in a process of its own under a watchdog. Afterwards, with nothing failing any more, another client must get
 * what the scenario used, and nothing may have leaked.
 */
#ifndef FAILING_H
#define FAILING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../csrc/dsync.h"

/* ---- scenarios --------------------------------------------------------------------------------------------------- */

/* Where scenarios run: the URLs come from the command line, "" = not here. */
typedef enum fl_place { FL_MEMORY, FL_LOCAL, FL_ETCD, FL_AUTH, FL_TLS, FL_PLACES } fl_place;

#define FL_ON(place) (1U << (place))
#define FL_EVERYWHERE (FL_ON(FL_MEMORY) | FL_ON(FL_LOCAL) | FL_ON(FL_ETCD))

typedef struct fl_scenario {
    const char *name;
    bool (*run)(void); /* true: everything went as it does when nothing fails */
    unsigned places;
    bool lua; /* runs in a Lua */
} fl_scenario;

extern const fl_scenario fl_locks[], fl_store[], fl_elections[], fl_endings[], fl_lua[]; /* name NULL ends each */
extern const char *fl_lua_program;                                                       /* the file that fl_lua runs */

/* All of these take NULL for what an earlier failure kept from being made. */
dsync_client *fl_open(void (*tune)(dsync_options *options)); /* where the scenario runs */
dsync_client *fl_open_url(const char *url, const dsync_options *options);
void fl_fill(dsync_options *options); /* what the place needs: ttl, credentials, certificates */
void fl_close(dsync_client *client);  /* and lets go of it */
dsync_lock *fl_lock(dsync_client *client, const char *name);
dsync_lock *fl_leader(dsync_client *client, const char *name);
bool fl_acquire(dsync_lock *lock, int64_t wait_ms); /* true: held */
dsync_op *fl_acquire_start(dsync_lock *lock, int64_t wait_ms);
void fl_release(dsync_lock *lock);
/* Waits for an operation, frees it; true: DSYNC_OK. `error` says why `op` is NULL, if it is. It must end within
 * `limit_ms`. */
bool fl_end(dsync_op *op, const dsync_error *error, int64_t limit_ms);
bool fl_held(const dsync_lock *lock);
void fl_exclude(const dsync_lock *one, const dsync_lock *other); /* never both */
void fl_code(dsync_code code, const char *message);              /* a call said this */

_Noreturn void fl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, of what a machine that was slow for a moment leads to as well: the point is run again. */
#define FL_LATE 97 /* the status that such a process ends with */
_Noreturn void fl_fail_late(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- a campaign -------------------------------------------------------------------------------------------------- */

/* One way of failing. */
typedef struct fl_kind {
    const char *name;
    bool (*used)(const fl_scenario *scenario, fl_place place);
    void (*arm)(int variant, uint64_t nth, bool all_after); /* counts from now on; nth 0: only counts */
    uint64_t (*disarm)(bool *failed);                       /* how many there were, and whether one has failed */
    int variants;                                           /* such as errno values */
    bool fresh;                                             /* each point in a process of its own */
} fl_kind;

typedef struct fl_campaign {
    const char *title; /* "oom" */
    const fl_kind *kinds;
    size_t kind_count;
    unsigned codes; /* bits of the codes that a failure may lead to, besides what the scenario sees without one */
    void (*prepare)(void); /* in each process, before anything of the library is used; or NULL */
} fl_campaign;

int fl_main(const fl_campaign *campaign, int count, char **arguments);

/* The one that runs. */
extern const char *fl_urls[FL_PLACES];
extern fl_place fl_here;
extern int fl_worker; /* which of those that run at once */
void fl_seen_reset(void);
uint64_t fl_seen(void);           /* bits of the codes since then */
void fl_allow(uint64_t codes);    /* all others are wrong */
void fl_others_may_have_it(void); /* with nothing failing: what scenarios use is free */

#endif
