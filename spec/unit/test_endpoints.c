/* test_endpoints.c: which server is asked next. */
#include "test.h"

#include "../../csrc/net/endpoints.h"

static const char *const three[] = {"http://a:1", "http://b:2", "http://c:3"};

TEST(the_present_one_is_kept_while_it_answers) {
    ds_endpoints set;
    REQUIRE(ds_endpoints_init(&set, three, 3));
    CHECK_EQ_TEXT(set.text, "http://a:1, http://b:2, http://c:3");
    for (int i = 0; i < 5; i++) {
        ds_endpoint *endpoint = ds_endpoints_pick(&set, i * DS_SECOND);
        CHECK_EQ_TEXT(endpoint->origin, "http://a:1");
        CHECK_NULL(endpoint->unix_path);
        ds_endpoints_good(&set, endpoint);
    }
    ds_endpoints_free(&set);
    ds_endpoints_free(&set);
}

TEST(after_a_failure_the_next_is_taken_and_kept) {
    ds_endpoints set;
    REQUIRE(ds_endpoints_init(&set, three, 3));
    ds_endpoints_bad(&set, ds_endpoints_pick(&set, 0), 0);
    ds_endpoint *second = ds_endpoints_pick(&set, 0);
    CHECK_EQ_TEXT(second->origin, "http://b:2");
    ds_endpoints_good(&set, second);
    CHECK_EQ_TEXT(ds_endpoints_pick(&set, 100 * DS_SECOND)->origin, "http://b:2");
    ds_endpoints_bad(&set, second, 100 * DS_SECOND);
    CHECK_EQ_TEXT(ds_endpoints_pick(&set, 100 * DS_SECOND)->origin, "http://c:3");
    ds_endpoints_free(&set);
}

TEST(rest_doubles_up_to_five_seconds) {
    static const int64_t rests_ms[] = {125, 250, 500, 1000, 2000, 4000, 5000, 5000};
    ds_endpoints set;
    REQUIRE(ds_endpoints_init(&set, three, 1));
    int64_t now = 7 * DS_SECOND;
    for (size_t i = 0; i < DS_COUNT(rests_ms); i++) {
        ds_endpoints_bad(&set, &set.list[0], now);
        CHECK_EQ_INT(set.list[0].down_until_ns - now, rests_ms[i] * DS_MS);
        now = set.list[0].down_until_ns;
    }
    for (int i = 0; i < 100; i++) {
        ds_endpoints_bad(&set, &set.list[0], now);
        now = set.list[0].down_until_ns;
    }
    ds_endpoints_good(&set, &set.list[0]);
    ds_endpoints_bad(&set, &set.list[0], now);
    CHECK_EQ_INT(set.list[0].down_until_ns - now, 125 * DS_MS);
    ds_endpoints_free(&set);
}

TEST(many_failures_at_one_moment_are_one) {
    ds_endpoints set;
    REQUIRE(ds_endpoints_init(&set, three, 2));
    for (int i = 0; i < 50; i++) {
        ds_endpoints_bad(&set, &set.list[0], 10 + i);
    }
    CHECK_EQ_INT(set.list[0].down_until_ns, 10 + 125 * DS_MS);
    CHECK_EQ_INT(set.failures[0], 1);
    ds_endpoints_free(&set);
}

TEST(when_all_rest_the_one_that_rests_least_long_is_used) {
    ds_endpoints set;
    REQUIRE(ds_endpoints_init(&set, three, 3));
    ds_endpoints_bad(&set, &set.list[0], 30);
    ds_endpoints_bad(&set, &set.list[1], 10);
    ds_endpoints_bad(&set, &set.list[2], 20);
    CHECK_EQ_TEXT(ds_endpoints_pick(&set, 40)->origin, "http://b:2");
    CHECK_EQ_TEXT(ds_endpoints_other(&set, &set.list[1], 40)->origin, "http://c:3");
    ds_endpoints_free(&set);
}

TEST(another_one_than_the_last) {
    ds_endpoints set;
    REQUIRE(ds_endpoints_init(&set, three, 3));
    CHECK_EQ_TEXT(ds_endpoints_other(&set, &set.list[0], 0)->origin, "http://b:2");
    CHECK_EQ_TEXT(ds_endpoints_other(&set, &set.list[2], 0)->origin, "http://a:1");
    ds_endpoints_bad(&set, &set.list[1], 0);
    CHECK_EQ_TEXT(ds_endpoints_other(&set, &set.list[0], 0)->origin, "http://c:3");
    CHECK_EQ_TEXT(ds_endpoints_other(&set, NULL, 0)->origin, "http://a:1");
    CHECK_EQ_INT(set.present, 0);
    ds_endpoints_free(&set);
    REQUIRE(ds_endpoints_init(&set, three, 1));
    CHECK(ds_endpoints_other(&set, &set.list[0], 0) == &set.list[0]);
    ds_endpoints_free(&set);
}

TEST(a_success_elsewhere_moves_there_when_the_present_one_failed) {
    ds_endpoints set;
    REQUIRE(ds_endpoints_init(&set, three, 3));
    ds_endpoints_good(&set, &set.list[2]);
    CHECK_EQ_INT(set.present, 0);
    ds_endpoints_bad(&set, &set.list[0], 0);
    ds_endpoints_good(&set, &set.list[2]);
    CHECK_EQ_TEXT(ds_endpoints_pick(&set, 100 * DS_SECOND)->origin, "http://c:3");
    ds_endpoints_free(&set);
}

TEST(a_unix_socket_has_a_path_and_an_origin) {
    static const char *const origins[] = {"unix:/run/consul.sock"};
    ds_endpoints set;
    REQUIRE(ds_endpoints_init(&set, origins, 1));
    CHECK_EQ_TEXT(set.list[0].unix_path, "/run/consul.sock");
    CHECK_EQ_TEXT(set.list[0].origin, "http://localhost");
    CHECK_EQ_TEXT(set.text, "unix:/run/consul.sock");
    ds_endpoints_free(&set);
}

TEST(no_endpoints_and_the_end_of_time) {
    ds_endpoints set;
    REQUIRE(ds_endpoints_init(&set, NULL, 0));
    CHECK_EQ_TEXT(set.text, "");
    CHECK_NULL(ds_endpoints_pick(&set, 0));
    CHECK_NULL(ds_endpoints_other(&set, NULL, 0));
    ds_endpoints_free(&set);
    REQUIRE(ds_endpoints_init(&set, three, 1));
    ds_endpoints_bad(&set, &set.list[0], DS_NEVER - 5);
    CHECK_EQ_INT(set.list[0].down_until_ns, DS_NEVER);
    ds_endpoints_free(&set);
}

#ifdef DS_TEST_ALLOC
TEST(out_of_memory_leaves_nothing) {
    static const char *const origins[] = {"http://a:1", "unix:/run/x", "http://c:3"};
    EACH_ALLOCATION_FAILS() {
        ds_endpoints set;
        bool made = ds_endpoints_init(&set, origins, 3);
        CHECK_EQ_INT(made, !ds_test_allocation_failed());
        ds_endpoints_free(&set);
    }
}
#endif
