/* timing.c: see timing.h. */
#include "timing.h"

#include "../base/error.h"

#define MARGIN_FLOOR_NS (250 * DS_MS)
#define FIRST_PAUSE_NS (20 * DS_MS)
#define REQUEST_LEAST_NS (250 * DS_MS)
#define REQUEST_MOST_NS (5 * DS_SECOND)

uint64_t ds_random64(ds_world *world) {
    uint64_t number = 0;
    world->ops->random(world, &number, sizeof number);
    return number;
}

bool ds_timing_plan(ds_timing *timing, int64_t ttl_ms, int margin_divisor, int renew_divisor,
                    int64_t request_timeout_ms, dsync_error *error) {
    int64_t ttl = ttl_ms * DS_MS;
    int64_t margin = ttl / margin_divisor;
    if (margin < MARGIN_FLOOR_NS) {
        margin = MARGIN_FLOOR_NS < ttl / 4 ? MARGIN_FLOOR_NS : ttl / 4;
    }
    timing->ttl_ns = ttl;
    timing->margin_ns = margin;
    timing->renew_ns = ttl / renew_divisor;
    timing->try_ns = ttl / 8;
    if (request_timeout_ms == 0) {
        return true;
    }
    int64_t room = (ttl - margin - timing->renew_ns) / 3;
    if (request_timeout_ms * DS_MS > room) {
        /* Shown rounded to the side that fits; in floating point, because the product of two times may not fit 63
         * bits. */
        int64_t need_ds = (int64_t)((double)request_timeout_ms / 100 * (double)ttl / (double)room) + 1;
        int64_t most_cs = room / (10 * DS_MS);
        ds_error_set(error, DSYNC_CONFIG,
                     "ttl of %g s is too small for a request_timeout of %g s: a renewal must have time for three tries "
                     "before the lock expires; use a ttl of at least %.1f s or a request_timeout of at most %.2f s",
                     (double)ttl_ms / 1e3, (double)request_timeout_ms / 1e3, (double)need_ds / 10,
                     (double)most_cs / 100);
        return false;
    }
    if (request_timeout_ms * DS_MS < timing->try_ns) {
        timing->try_ns = request_timeout_ms * DS_MS;
    }
    return true;
}

int64_t ds_timing_request(int64_t request_timeout_ms, int64_t ttl_ns) {
    if (request_timeout_ms != 0) {
        return request_timeout_ms * DS_MS;
    }
    int64_t timeout = ttl_ns / 8;
    if (timeout < REQUEST_LEAST_NS) {
        return REQUEST_LEAST_NS;
    }
    return timeout > REQUEST_MOST_NS ? REQUEST_MOST_NS : timeout;
}

int64_t ds_timing_deadline(const ds_timing *timing, int64_t sent_ns) {
    return sent_ns + timing->ttl_ns - timing->margin_ns;
}

int64_t ds_timing_renewal(const ds_timing *timing, int64_t sent_ns, uint64_t random) {
    int64_t jitter = timing->renew_ns / 10;
    return sent_ns + timing->renew_ns - (int64_t)(random % (uint64_t)(jitter + 1));
}

int64_t ds_timing_suspicion(const ds_timing *timing, int64_t sent_ns) {
    return sent_ns + timing->ttl_ns / 2;
}

int64_t ds_backoff(unsigned attempt, int64_t cap_ns, uint64_t random) {
    int64_t pause = FIRST_PAUSE_NS;
    for (unsigned i = 1; i < attempt && pause < cap_ns; i++) {
        pause *= 2;
    }
    if (pause > cap_ns) {
        pause = cap_ns;
    }
    return pause / 2 + (int64_t)(random % (uint64_t)(pause / 2 + 1));
}
