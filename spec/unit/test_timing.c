/* The arithmetic of leases: plan, deadline, renewal, suspicion, pauses. */
#include "test.h"

#include "../../csrc/core/timing.h"

TEST(plans_a_lease) {
    static const struct {
        int64_t ttl_ms;
        int margin_divisor, renew_divisor;
        int64_t margin_ms, renew_ms, try_ms;
    } rows[] = {
        {15000, 5, 3, 3000, 5000, 1875},
        {10000, 3, 4, 3333, 2500, 1250},
        {2000, 5, 3, 400, 666, 250},
        {1000, 5, 3, 250, 333, 125},
        /* the floor of the margin */ {400, 5, 3, 100, 133, 50}, /* and its end */
        {1250, 5, 3, 250, 416, 156},
        {86400000, 5, 3, 17280000, 28800000, 10800000},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_timing t;
        test_case("ttl %d", (int)rows[i].ttl_ms);
        CHECK(ds_timing_plan(&t, rows[i].ttl_ms, rows[i].margin_divisor, rows[i].renew_divisor, 0, NULL));
        CHECK_EQ_INT(t.ttl_ns, rows[i].ttl_ms * DS_MS);
        CHECK_EQ_INT(t.margin_ns / DS_MS, rows[i].margin_ms);
        CHECK_EQ_INT(t.renew_ns / DS_MS, rows[i].renew_ms);
        CHECK_EQ_INT(t.try_ns / DS_MS, rows[i].try_ms);
        CHECK(t.margin_ns <= t.ttl_ns / 2);
        CHECK(t.renew_ns + 3 * t.try_ns + t.margin_ns <= t.ttl_ns);
    }
}

TEST(three_tries_must_fit) {
    static const struct {
        int64_t ttl_ms, request_ms, try_ms; /* try_ms 0: refused */
        const char *ttl_at_least, *request_at_most;
    } rows[] = {
        {15000, 2000, 1875, NULL, NULL}, /* a try is at most an eighth */
        {15000, 1000, 1000, NULL, NULL},
        {15000, 2333, 1875, NULL, NULL},
        {15000, 2334, 0, "15.1", "2.33"},
        {15000, 5000, 0, "32.2", "2.33"},
        {15000, 60000, 0, "385.8", "2.33"},
        {3600000, 900000, 0, "5785.8", "560.00"}, /* no product of two times fits into 63 bits */
        {1000, 250, 0, "1.8", "0.13"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        ds_timing t;
        dsync_error error = {DSYNC_OK, ""};
        test_case("ttl %d request %d", (int)rows[i].ttl_ms, (int)rows[i].request_ms);
        bool fits = ds_timing_plan(&t, rows[i].ttl_ms, 5, 3, rows[i].request_ms, &error);
        CHECK_EQ_INT(fits, rows[i].try_ms != 0);
        if (fits) {
            CHECK_EQ_INT(t.try_ns, rows[i].try_ms * DS_MS);
            continue;
        }
        char part[80];
        CHECK_EQ_INT(error.code, DSYNC_CONFIG);
        (void)snprintf(part, sizeof(part), "ttl of at least %s s", rows[i].ttl_at_least);
        CHECK_CONTAINS(error.message, part);
        (void)snprintf(part, sizeof(part), "request_timeout of at most %s s", rows[i].request_at_most);
        CHECK_CONTAINS(error.message, part);
    }
}

/* The advice of the message must be good advice. */
TEST(what_is_advised_fits) {
    for (int64_t ttl = 1000; ttl < 100000; ttl += 1777) {
        for (int64_t request = 100; request < 60000; request = request * 2 + 13) {
            ds_timing t;
            dsync_error error = {DSYNC_OK, ""};
            double advised = 0;
            if (ds_timing_plan(&t, ttl, 5, 3, request, &error)) {
                continue;
            }
            test_case("ttl %d request %d: %s", (int)ttl, (int)request, error.message);
            const char *at = strstr(error.message, "at least ");
            REQUIRE(at != NULL && sscanf(at, "at least %lf", &advised) == 1);
            CHECK(ds_timing_plan(&t, (int64_t)(advised * 1000), 5, 3, request, NULL));
        }
    }
}

TEST(times_count_from_sending) {
    ds_timing t;
    REQUIRE(ds_timing_plan(&t, 15000, 5, 3, 0, NULL));
    CHECK_EQ_INT(ds_timing_deadline(&t, 100 * DS_SECOND), 112 * DS_SECOND);
    CHECK_EQ_INT(ds_timing_suspicion(&t, 100 * DS_SECOND), 107500 * DS_MS);
    int64_t earliest = DS_NEVER;
    int64_t latest = 0;
    for (uint64_t random = 0; random < 5000; random++) {
        int64_t at = ds_timing_renewal(&t, 100 * DS_SECOND, random * UINT64_C(0x9e3779b97f4a7c15));
        earliest = at < earliest ? at : earliest;
        latest = at > latest ? at : latest;
    }
    CHECK(earliest >= 104500 * DS_MS && earliest < 104510 * DS_MS);
    CHECK(latest <= 105 * DS_SECOND && latest > 104990 * DS_MS);
}

TEST(pauses_double_up_to_their_cap) {
    static const int64_t full_ms[] = {20, 40, 80, 160, 320, 640, 1000, 1000};
    for (unsigned i = 0; i < DS_COUNT(full_ms); i++) {
        test_case("attempt %u", i + 1);
        for (uint64_t random = 0; random < 100; random++) {
            int64_t pause = ds_backoff(i + 1, DS_SECOND, random * UINT64_C(0x9e3779b97f4a7c15));
            CHECK(pause >= full_ms[i] * DS_MS / 2 && pause <= full_ms[i] * DS_MS);
        }
    }
    CHECK(ds_backoff(1, 5 * DS_MS, UINT64_MAX) <= 5 * DS_MS);
    CHECK(ds_backoff(UINT32_MAX, DS_SECOND, 0) == DS_SECOND / 2);
    CHECK(ds_backoff(0, DS_SECOND, 0) == 10 * DS_MS);
}
