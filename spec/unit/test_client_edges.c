/* The public C API at its edges: the longest times, lists with holes, many threads that make locks, a lack of
 * memory. */
#include <pthread.h>

#include "memory_client.h"

#define THREADS 4
#define ROUNDS 300

/* A program that means "for ever" may well say it with the largest number there is. */
TEST(the_longest_times_are_no_short_ones) {
    dsync_error error = {0};
    dsync_acquire_options longest;
    dsync_client *client = open_memory("longest");
    dsync_lock *one = dsync_lock_new(client, "a", NULL, &error);
    dsync_lock *two = dsync_lock_new(client, "a", NULL, &error);
    dsync_acquire_options_init(&longest);
    longest.wait_ms = longest.hold_ms = INT64_MAX;
    CHECK_EQ_INT(dsync_acquire(one, &longest, &error), DSYNC_OK);
    CHECK_EQ_INT(dsync_held(one), 1);
    longest.wait_ms = INT64_MAX / 1000;
    longest.hold_ms = INT64_MAX / 1000000 - 1; /* fits by itself, but not when the present is added */
    dsync_op *op = dsync_acquire_start(two, &longest, &error);
    CHECK_EQ_INT(dsync_op_wait(op, 20), 0);
    CHECK_EQ_INT(dsync_release(one, &error), DSYNC_OK);
    CHECK_EQ_INT(dsync_op_wait(op, INT64_MAX), 1);
    CHECK_EQ_INT(dsync_op_result(op, NULL), DSYNC_OK);
    CHECK_EQ_INT(dsync_held(two), 1);
    dsync_op_free(op);
    dsync_lock_free(one);
    dsync_lock_free(two);
    CHECK_EQ_INT(dsync_close(client, INT64_MAX, &error), DSYNC_OK);
    dsync_client_unref(client);
}

TEST(lists_with_holes_are_refused) {
    static const char *const endpoints[] = {"127.0.0.1:1", NULL};
    static const dsync_setting unnamed[] = {{NULL, "json"}}, unset[] = {{"etcd.transport", NULL}};
    const struct {
        const char *message;
        dsync_options options;
    } rows[] = {
        {"endpoints: element 1 of 2 is NULL", {.endpoints = endpoints, .endpoint_count = 2}},
        {"endpoints: element 0 of 1 is NULL", {.endpoint_count = 1}},
        {"settings: element 0 of 1 is NULL", {.settings = unnamed, .setting_count = 1}},
        {"settings: element 0 of 1 is NULL", {.settings = unset, .setting_count = 1}},
        {"settings: element 0 of 3 is NULL", {.setting_count = 3}},
        {"value is NULL, but value_size is 4", {.value_size = 4}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dsync_options options = rows[i].options;
        dsync_error error = {0};
        options.size = sizeof options;
        CHECK(dsync_open("etcd://127.0.0.1:1", &options, &error) == NULL);
        CHECK_EQ_INT(error.code, DSYNC_CONFIG);
        CHECK_CONTAINS(error.message, rows[i].message);
    }
}

static void *make_global(void *argument) {
    dsync_lock_options global;
    dsync_lock_options_init(&global);
    global.scope = "global";
    for (int i = 0; i < ROUNDS; i++) {
        dsync_lock_free(dsync_lock_new(argument, "anywhere", &global, NULL));
    }
    return NULL;
}

/* The first lock of this scope is warned of: an event, put where other threads take theirs. */
TEST(threads_make_locks_while_events_are_taken) {
    pthread_t threads[THREADS];
    dsync_event event;
    unsigned told = 0;
    dsync_client *client = open_memory("makers");
    dsync_want_notices(client, 1);
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ_INT(pthread_create(&threads[i], NULL, make_global, client), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        told += dsync_next_event(client, &event) == 1;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    while (dsync_next_event(client, &event) == 1) {
        told++;
    }
    CHECK_EQ_UINT(told, 1);
    end(client);
}

#ifdef DS_TEST_ALLOC
/* No memory to look at a value is no fault of the value. */
TEST(a_value_is_not_blamed_for_a_lack_of_memory) {
    static const char value[] = "{\"a\":[1,2]}";
    dsync_error error = {0};
    dsync_lock_options options;
    dsync_lock_options_init(&options);
    options.value = value;
    options.value_size = strlen(value);
    options.value_is_json = 1;
    dsync_client *client = open_memory("blame");
    dsync_lock *lock = dsync_lock_new(client, "a", NULL, &error);
    CHECK_EQ_INT(dsync_acquire(lock, NULL, &error), DSYNC_OK);
    EACH_ALLOCATION_FAILS() {
        memset(&error, 0, sizeof error);
        dsync_lock *other = dsync_lock_new(client, "b", &options, &error);
        CHECK(other != NULL || error.code == DSYNC_RESOURCE);
        CHECK_LACKS(error.message, "JSON");
        dsync_lock_free(other);
    }
    EACH_ALLOCATION_FAILS() {
        memset(&error, 0, sizeof error);
        dsync_op *op = dsync_proclaim_start(lock, value, strlen(value), 1, &error);
        CHECK(op != NULL || error.code == DSYNC_RESOURCE);
        CHECK_LACKS(error.message, "JSON");
        dsync_op_free(op);
    }
    dsync_lock_free(lock);
    end(client);
}
#endif
