/* test_map.c: the hash map. */
#include "test.h"

#include "../../csrc/base/map.h"

static int things[4000];

static const char *key_of(int number, char *room, size_t size) {
    (void)snprintf(room, size, "lock/%d", number);
    return room;
}

TEST(an_empty_map_has_nothing) {
    ds_map map;
    ds_map_init(&map, 1);
    size_t cursor = 0;
    CHECK_NULL(ds_map_get(&map, "a"));
    CHECK_NULL(ds_map_remove(&map, "a"));
    CHECK_NULL(ds_map_next(&map, &cursor, NULL));
    ds_map_free(&map);
    ds_map_free(&map);
}

TEST(put_get_replace_remove) {
    ds_map map;
    ds_map_init(&map, 7);
    char key[] = "name";
    REQUIRE(ds_map_put(&map, key, &things[0]));
    key[0] = 'X'; /* the map has its own copy */
    CHECK(ds_map_get(&map, "name") == &things[0]);
    CHECK_NULL(ds_map_get(&map, key));
    CHECK_NULL(ds_map_get(&map, "nam"));
    CHECK_NULL(ds_map_get(&map, ""));
    REQUIRE(ds_map_put(&map, "name", &things[1]));
    REQUIRE(ds_map_put(&map, "", &things[2]));
    CHECK_EQ_INT(map.count, 2);
    CHECK(ds_map_remove(&map, "name") == &things[1]);
    CHECK_NULL(ds_map_remove(&map, "name"));
    CHECK(ds_map_get(&map, "") == &things[2]);
    CHECK_EQ_INT(map.count, 1);
    ds_map_free(&map);
}

TEST(thousands_of_keys) {
    char room[32];
    ds_map map;
    ds_map_init(&map, UINT64_C(0x123456789abcdef));
    for (int i = 0; i < 4000; i++) {
        REQUIRE(ds_map_put(&map, key_of(i, room, sizeof(room)), &things[i]));
    }
    for (int i = 0; i < 4000; i += 2) {
        CHECK(ds_map_remove(&map, key_of(i, room, sizeof(room))) == &things[i]);
    }
    CHECK_EQ_INT(map.count, 2000);
    for (int i = 0; i < 4000; i++) {
        void *expected = i % 2 == 0 ? NULL : &things[i];
        CHECK(ds_map_get(&map, key_of(i, room, sizeof(room))) == expected);
    }
    ds_map_free(&map);
}

TEST(coming_and_going_does_not_grow_the_table) {
    char room[32];
    ds_map map;
    ds_map_init(&map, 3);
    REQUIRE(ds_map_put(&map, "stays", &things[0]));
    for (int i = 0; i < 20000; i++) {
        REQUIRE(ds_map_put(&map, key_of(i, room, sizeof(room)), &things[1]));
        CHECK(ds_map_remove(&map, room) == &things[1]);
    }
    CHECK_EQ_INT(map.count, 1);
    CHECK(map.capacity <= 64);
    CHECK(ds_map_get(&map, "stays") == &things[0]);
    ds_map_free(&map);
}

TEST(a_walk_sees_everything_once_and_may_remove_what_it_sees) {
    char room[32];
    bool seen[500] = {false};
    ds_map map;
    ds_map_init(&map, 99);
    for (int i = 0; i < 500; i++) {
        REQUIRE(ds_map_put(&map, key_of(i, room, sizeof(room)), &things[i]));
    }
    size_t cursor = 0;
    const char *key = NULL;
    int *thing = NULL;
    while ((thing = ds_map_next(&map, &cursor, &key)) != NULL) {
        int number = (int)(thing - things);
        CHECK(!seen[number]);
        seen[number] = true;
        CHECK_EQ_TEXT(key, key_of(number, room, sizeof(room)));
        if (number % 3 == 0) {
            CHECK(ds_map_remove(&map, key) == thing);
        }
    }
    for (int i = 0; i < 500; i++) {
        CHECK(seen[i]);
    }
    CHECK_EQ_INT(map.count, 500 - 167);
    ds_map_free(&map);
}

TEST(another_seed_gives_another_order) {
    char room[32];
    ds_map a;
    ds_map b;
    ds_map_init(&a, 1);
    ds_map_init(&b, 2);
    for (int i = 0; i < 100; i++) {
        REQUIRE(ds_map_put(&a, key_of(i, room, sizeof(room)), &things[i]));
        REQUIRE(ds_map_put(&b, room, &things[i]));
    }
    size_t a_cursor = 0;
    size_t b_cursor = 0;
    int same = 0;
    for (int i = 0; i < 100; i++) {
        same += ds_map_next(&a, &a_cursor, NULL) == ds_map_next(&b, &b_cursor, NULL) ? 1 : 0;
    }
    CHECK(same < 50);
    ds_map_free(&a);
    ds_map_free(&b);
}

#ifdef DS_TEST_ALLOC
TEST(a_failed_put_changes_nothing) {
    char room[32];
    EACH_ALLOCATION_FAILS() {
        ds_map map;
        ds_map_init(&map, 5);
        int kept = 0;
        for (int i = 0; i < 40; i++) {
            if (ds_map_put(&map, key_of(i, room, sizeof(room)), &things[i])) {
                kept++;
                CHECK(ds_map_get(&map, room) == &things[i]);
            } else {
                CHECK_NULL(ds_map_get(&map, room));
            }
        }
        CHECK_EQ_INT(map.count, kept);
        CHECK_EQ_INT(kept, ds_test_allocation_failed() ? 39 : 40);
        ds_map_free(&map);
    }
}
#endif
