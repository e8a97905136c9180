/* timing.h: the arithmetic of leases. Pure: every function is a function of its arguments.
 *
 * A session is believed for `ttl - margin`, counted from before its last confirmed renewal was sent; it is renewed
 * every `renew`, with room for three tries in between. The clocks of client and server are never compared, only their
 * rates.
 */
#ifndef DS_TIMING_H
#define DS_TIMING_H

#include "../dsync.h"
#include "world.h"

typedef struct ds_timing {
    int64_t ttl_ns;
    int64_t margin_ns; /* what clock drift and scheduling may cost: at least 250 ms, or a quarter of a shorter ttl */
    int64_t renew_ns;  /* pause between renewals, before jitter */
    int64_t try_ns;    /* one renewal with its confirmation, connecting included */
} ds_timing;

/* Plans for a lease of `ttl_ms`. `request_timeout_ms` 0: derived from the ttl. False: DSYNC_CONFIG, when three tries do
 * not fit into the ttl; the message names both and what would fit. */
bool ds_timing_plan(ds_timing *timing, int64_t ttl_ms, int margin_divisor, int renew_divisor,
                    int64_t request_timeout_ms, dsync_error *error);

/* How long one request may take: as asked for, or (0) an eighth of the ttl, at least 0.25 s and at most 5 s. */
int64_t ds_timing_request(int64_t request_timeout_ms, int64_t ttl_ns);

/* Until when a session may be believed whose grant or renewal was sent (queued) at `sent_ns`. */
int64_t ds_timing_deadline(const ds_timing *timing, int64_t sent_ns);
/* When to renew next: `renew_ns` after `sent_ns`, earlier by up to a tenth. */
int64_t ds_timing_renewal(const ds_timing *timing, int64_t sent_ns, uint64_t random);
/* When a session without a confirmed renewal becomes suspect. */
int64_t ds_timing_suspicion(const ds_timing *timing, int64_t sent_ns);
/* Pause before try number `attempt` (1 = the first repetition): short, then doubling up to `cap_ns`, with jitter. */
int64_t ds_backoff(unsigned attempt, int64_t cap_ns, uint64_t random);

#endif
