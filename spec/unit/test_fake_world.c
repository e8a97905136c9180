/* The fake world itself: order, time, HTTP fates, and that it notices what is left over. */
#include "fake_world.h"

#include "../../csrc/dsync.h"
#include "test.h"

/* ---- tasks and timers -------------------------------------------------------------------------------------------- */

static char trace[64];

static void note(char c) {
    size_t length = strlen(trace);
    if (length + 1 < sizeof(trace)) {
        trace[length] = c;
        trace[length + 1] = '\0';
    }
}

typedef struct letter {
    ds_task task;
    ds_timer timer;
    ds_world *world;
    uint64_t turn;
    int64_t seen_ns;
    bool again;
    char c;
} letter;

static void run_letter(ds_task *task) {
    letter *l = DS_CONTAINER_OF(task, letter, task);
    note(l->c);
    if (l->again) {
        l->again = false;
        ds_post(l->world, task);
    }
}

static void fire_letter(ds_timer *timer) {
    letter *l = DS_CONTAINER_OF(timer, letter, timer);
    note(l->c);
    l->seen_ns = ds_now(l->world);
    if (l->again) {
        l->again = false;
        ds_timer_set(l->world, timer, l->seen_ns + DS_SECOND);
    }
}

static letter letter_of(ds_world *world, char c) {
    letter l = {.task = {.run = run_letter}, .timer = {.fire = fire_letter}, .world = world, .c = c};
    return l;
}

static void prepare(letter *letters, size_t count) {
    trace[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        ds_list_init(&letters[i].task.node);
    }
}

TEST(tasks_run_in_order_and_only_from_the_loop) {
    fw *u = fw_new(1);
    ds_world *world = fw_world(u);
    letter l[] = {letter_of(world, 'a'), letter_of(world, 'b'), letter_of(world, 'c')};
    prepare(l, 3);
    l[0].again = true;
    for (size_t i = 0; i < 3; i++) {
        ds_post(world, &l[i].task);
        ds_post(world, &l[i].task);
    }
    CHECK_EQ_TEXT(trace, "");
    ds_list_remove(&l[1].task.node);
    fw_settle(u);
    CHECK_EQ_TEXT(trace, "aca");
    CHECK_EQ_INT(fw_now(u), FW_START_NS);
    CHECK_EQ_UINT(fw_turn(u), 0);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(timers_fire_at_their_time_ties_in_order_of_setting) {
    fw *u = fw_new(1);
    ds_world *world = fw_world(u);
    letter l[] = {letter_of(world, 'a'), letter_of(world, 'b'), letter_of(world, 'c'), letter_of(world, 'd')};
    prepare(l, 4);
    int64_t start = fw_now(u);
    ds_timer_set(world, &l[0].timer, start + 3 * DS_SECOND);
    ds_timer_set(world, &l[1].timer, start + 2 * DS_SECOND);
    ds_timer_set(world, &l[2].timer, start + 2 * DS_SECOND);
    ds_timer_set(world, &l[3].timer, start + 9 * DS_SECOND);
    ds_timer_set(world, &l[0].timer, start + 1 * DS_SECOND); /* moved */
    ds_timer_stop(world, &l[3].timer);
    ds_timer_stop(world, &l[3].timer);
    l[0].again = true; /* once more a second later: after b and c, which were set before */
    CHECK_EQ_INT(fw_next(u), start + DS_SECOND);
    fw_advance(u, 10 * DS_SECOND);
    CHECK_EQ_TEXT(trace, "abca");
    CHECK_EQ_INT(l[0].seen_ns, start + 2 * DS_SECOND);
    CHECK_EQ_INT(l[1].seen_ns, start + 2 * DS_SECOND);
    CHECK_EQ_INT(fw_now(u), start + 10 * DS_SECOND);
    CHECK_EQ_INT(fw_next(u), DS_NEVER);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(many_timers_come_sorted) {
    enum { COUNT = 500 };
    static letter l[COUNT];
    fw *u = fw_new(7);
    ds_world *world = fw_world(u);
    for (size_t i = 0; i < COUNT; i++) {
        l[i] = letter_of(world, 'x');
        ds_timer_set(world, &l[i].timer, fw_now(u) + (int64_t)(fw_random(u) % 1000) * DS_MS);
    }
    for (size_t i = 0; i < COUNT; i += 3) {
        ds_timer_stop(world, &l[i].timer);
    }
    fw_advance(u, 2 * DS_SECOND);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_EQ_INT(l[i].seen_ns, i % 3 == 0 ? 0 : l[i].timer.at_ns);
    }
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(the_same_seed_is_the_same_run) {
    fw *a = fw_new(42);
    fw *b = fw_new(42);
    fw *c = fw_new(43);
    uint64_t x, y, z;
    fw_world(a)->ops->random(fw_world(a), &x, sizeof(x));
    fw_world(b)->ops->random(fw_world(b), &y, sizeof(y));
    fw_world(c)->ops->random(fw_world(c), &z, sizeof(z));
    CHECK_EQ_UINT(x, y);
    CHECK(x != z);
    (void)fw_free(a);
    (void)fw_free(b);
    (void)fw_free(c);
}

TEST(a_paused_world_runs_nothing_while_another_goes_on) {
    fw *u = fw_new(1);
    ds_world *first = fw_world(u);
    ds_world *second = fw_add_world(u);
    letter l[] = {letter_of(first, 'a'), letter_of(second, 'b'), letter_of(first, 'c')};
    prepare(l, 3);
    ds_timer_set(first, &l[0].timer, fw_now(u) + DS_SECOND);
    ds_timer_set(second, &l[1].timer, fw_now(u) + DS_SECOND);
    ds_post(first, &l[2].task);
    fw_pause(first, true);
    fw_advance(u, 5 * DS_SECOND);
    CHECK_EQ_TEXT(trace, "b");
    fw_pause(first, false);
    fw_settle(u);
    CHECK_EQ_TEXT(trace, "bca");
    CHECK_EQ_INT(l[0].seen_ns, FW_START_NS + 5 * DS_SECOND);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(clock_and_calendar_can_fail) {
    fw *u = fw_new(1);
    ds_world *world = fw_world(u);
    CHECK_EQ_INT(world->ops->wall_ms(world), FW_START_WALL_MS);
    fw_advance(u, 5 * DS_MS);
    fw_skip_wall(u, -1000);
    CHECK_EQ_INT(world->ops->wall_ms(world), FW_START_WALL_MS - 995);
    fw_fail_clock(world, true);
    CHECK(ds_now(world) < 0);
    fw_fail_clock(world, false);
    CHECK_EQ_INT(ds_now(world), FW_START_NS + 5 * DS_MS);
    (void)fw_free(u);
}

TEST(leftovers_are_counted) {
    fw *u = fw_new(1);
    ds_world *world = fw_world(u);
    letter l[] = {letter_of(world, 'a'), letter_of(world, 'b')};
    prepare(l, 2);
    ds_post(world, &l[0].task);
    ds_timer_set(world, &l[1].timer, fw_now(u) + 1);
    fw_census alive = fw_alive(u);
    CHECK_EQ_UINT(alive.tasks, 1);
    CHECK_EQ_UINT(alive.timers, 1);
    ds_list_remove(&l[0].task.node);
    CHECK_EQ_UINT(fw_alive(u).tasks, 0);
    ds_timer_stop(world, &l[1].timer);
    CHECK_EQ_UINT(fw_free(u), 0);
}

/* ---- HTTP -------------------------------------------------------------------------------------------------------- */

typedef struct client {
    ds_http_sink sink;
    fw *universe;
    unsigned done;
    ds_http_fate fate;
    int status, code;
    bool resent;
    char body[64], header[32], data[64], message[64];
    int64_t at_ns;
} client;

static void on_data(ds_http_sink *sink, const char *bytes, size_t count) {
    client *c = DS_CONTAINER_OF(sink, client, sink);
    strncat(c->data, bytes, count < 20 ? count : 20);
    CHECK(fw_turn(c->universe) != 0);
}

static void on_done(ds_http_sink *sink, const ds_http_result *result) {
    client *c = DS_CONTAINER_OF(sink, client, sink);
    c->done++;
    c->fate = result->fate;
    c->status = result->status;
    c->code = result->code;
    c->resent = result->resent;
    (void)snprintf(c->body, sizeof(c->body), "%s", result->body != NULL ? result->body : "(none)");
    (void)snprintf(c->header, sizeof(c->header), "%s",
                   result->header_values[0] != NULL ? result->header_values[0] : "(none)");
    (void)snprintf(c->message, sizeof(c->message), "%s", result->message);
    c->at_ns = fw_now(c->universe);
    CHECK(fw_turn(c->universe) != 0);
}

static ds_endpoint endpoint = {.origin = NULL};

static client client_of(fw *u) {
    client c = {.sink = {on_data, on_done}, .universe = u};
    return c;
}

static ds_http_request request_to(const char *target) {
    ds_http_request request = {.endpoint = &endpoint,
                               .method = "POST",
                               .target = target,
                               .headers = {"Content-Type: application/json", "X-One:1"},
                               .want_headers = {"X-Index"},
                               .body = "{}",
                               .body_size = 2,
                               .timeout_ns = DS_SECOND};
    return request;
}

static ds_http *start(fw *u, client *c, const ds_http_request *request) {
    return fw_world(u)->ops->http_start(fw_world(u), request, &c->sink);
}

static void answer_ok(fw_request *request, void *argument) {
    const fw_header headers[] = {{"x-index", "17"}, {"other", "x"}};
    const fw_answer answer = {
        .status = 200, .body = "hello", .body_size = 5, .headers = headers, .header_count = 2, .resent = true};
    (void)argument;
    fw_finish(request, 10 * DS_MS, &answer);
}

TEST(a_request_is_recorded_and_answered_later) {
    fw *u = fw_new(1);
    fw_serve(u, &(fw_server){.on_request = answer_ok});
    client c = client_of(u);
    ds_http_request request = request_to("/v3/kv/txn");
    request.urgent = true;
    CHECK(start(u, &c, &request) != NULL);
    CHECK_EQ_UINT(c.done, 0);
    const fw_request *seen = fw_last_request(u, "txn");
    REQUIRE(seen != NULL);
    CHECK_EQ_TEXT(seen->method, "POST");
    CHECK_EQ_TEXT(seen->body, "{}");
    CHECK(seen->endpoint == &endpoint && seen->urgent && !seen->stream && !seen->duplex);
    CHECK_EQ_INT(seen->timeout_ns, DS_SECOND);
    CHECK_EQ_TEXT(fw_header_of(seen, "content-type"), "application/json");
    CHECK_EQ_TEXT(fw_header_of(seen, "x-one"), "1");
    CHECK_NULL(fw_header_of(seen, "x-on"));
    fw_advance(u, 9 * DS_MS);
    CHECK_EQ_UINT(c.done, 0);
    fw_advance(u, 5 * DS_SECOND);
    CHECK_EQ_UINT(c.done, 1);
    CHECK_EQ_INT(c.fate, DS_HTTP_ANSWERED);
    CHECK_EQ_INT(c.status, 200);
    CHECK(c.resent);
    CHECK_EQ_TEXT(c.body, "hello");
    CHECK_EQ_TEXT(c.header, "17");
    CHECK_EQ_INT(c.at_ns, FW_START_NS + 10 * DS_MS);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(an_unanswered_request_times_out_and_a_late_answer_is_dropped) {
    fw *u = fw_new(1);
    client c = client_of(u);
    ds_http_request request = request_to("/x");
    (void)start(u, &c, &request);
    CHECK_EQ_UINT(fw_alive(u).requests, 1);
    CHECK_EQ_UINT(fw_alive(u).timers, 0);
    fw_reply(fw_request_at(u, 0), 2 * DS_SECOND, 200, "late");
    fw_advance(u, 3 * DS_SECOND);
    CHECK_EQ_UINT(c.done, 1);
    CHECK_EQ_INT(c.fate, DS_HTTP_UNKNOWN);
    CHECK_EQ_INT(c.at_ns, FW_START_NS + DS_SECOND);
    CHECK(fw_request_at(u, 0)->ended);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(fates_and_caps) {
    fw *u = fw_new(1);
    client refused = client_of(u);
    client large = client_of(u);
    ds_http_request request = request_to("/x");
    (void)start(u, &refused, &request);
    fw_fail(fw_request_at(u, 0), 0, DS_HTTP_NOT_SENT, "refused");
    request.reply_max = 4;
    (void)start(u, &large, &request);
    fw_reply(fw_request_at(u, 1), 0, 200, "12345");
    fw_settle(u);
    CHECK_EQ_INT(refused.fate, DS_HTTP_NOT_SENT);
    CHECK_EQ_TEXT(refused.message, "refused");
    CHECK_EQ_TEXT(refused.header, "(none)");
    CHECK_EQ_INT(large.fate, DS_HTTP_REFUSED);
    CHECK_EQ_INT(large.code, DSYNC_PROTOCOL);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_stream_comes_in_pieces_and_can_be_cancelled) {
    fw *u = fw_new(1);
    client c = client_of(u);
    ds_http_request request = request_to("/v3/watch");
    request.stream = true;
    request.timeout_ns = DS_NEVER;
    ds_http *http = start(u, &c, &request);
    fw_data(fw_request_at(u, 0), 20 * DS_MS, "two ", 4);
    fw_data(fw_request_at(u, 0), 10 * DS_MS, "one ", 4);
    fw_data(fw_request_at(u, 0), 20 * DS_MS, "three", 5);
    fw_data(fw_request_at(u, 0), 30 * DS_MS, "never", 5);
    fw_advance(u, 25 * DS_MS);
    CHECK_EQ_TEXT(c.data, "one two three");
    fw_world(u)->ops->http_cancel(fw_world(u), http);
    fw_advance(u, DS_SECOND);
    CHECK_EQ_TEXT(c.data, "one two three");
    CHECK_EQ_UINT(c.done, 0);
    CHECK(fw_request_at(u, 0)->cancelled);
    CHECK_EQ_UINT(fw_free(u), 0);
}

static void echo(fw_request *request, const char *bytes, size_t count, void *argument) {
    (void)argument;
    fw_data(request, DS_MS, bytes, count);
}

static void count_cancel(fw_request *request, void *argument) {
    (void)request;
    ++*(unsigned *)argument;
}

TEST(a_duplex_request_takes_more_body) {
    fw *u = fw_new(1);
    unsigned cancels = 0;
    fw_serve(u, &(fw_server){.on_send = echo, .on_cancel = count_cancel, .argument = &cancels});
    client c = client_of(u);
    ds_http_request request = request_to("/v3/watch");
    request.stream = request.duplex = true;
    request.timeout_ns = DS_NEVER;
    ds_http *http = start(u, &c, &request);
    CHECK(fw_world(u)->ops->http_send(fw_world(u), http, "abc", 3));
    CHECK_EQ_TEXT(fw_request_at(u, 0)->body, "{}abc");
    CHECK_EQ_UINT(fw_request_at(u, 0)->first_size, 2);
    fw_advance(u, DS_MS);
    CHECK_EQ_TEXT(c.data, "abc");
    fw_world(u)->ops->http_cancel(fw_world(u), http);
    CHECK_EQ_UINT(cancels, 1);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(a_paused_world_hears_after_it_goes_on) {
    fw *u = fw_new(1);
    client c = client_of(u);
    ds_http_request request = request_to("/x");
    request.timeout_ns = 10 * DS_SECOND;
    (void)start(u, &c, &request);
    fw_reply(fw_request_at(u, 0), DS_MS, 200, "x");
    fw_pause(fw_world(u), true);
    fw_advance(u, DS_SECOND);
    CHECK_EQ_UINT(c.done, 0);
    fw_pause(fw_world(u), false);
    fw_settle(u);
    CHECK_EQ_INT(c.status, 200);
    CHECK_EQ_UINT(fw_free(u), 0);
}

TEST(forgotten_requests_are_dropped_when_over) {
    fw *u = fw_new(1);
    client c[2] = {client_of(u), client_of(u)};
    ds_http_request request = request_to("/x");
    (void)start(u, &c[0], &request);
    (void)start(u, &c[1], &request);
    fw_reply(fw_request_at(u, 0), 0, 200, NULL);
    fw_settle(u);
    CHECK_EQ_TEXT(c[0].body, "(none)");
    fw_forget(u);
    CHECK_EQ_UINT(fw_request_count(u), 1);
    CHECK_EQ_UINT(fw_request_at(u, 0)->number, 2);
    fw_advance(u, 2 * DS_SECOND);
    CHECK_EQ_UINT(c[1].done, 1);
    CHECK_EQ_UINT(fw_free(u), 0);
}

static void mark(fw *u, void *argument) {
    *(int64_t *)argument = fw_now(u);
}

TEST(appointments_and_waiting) {
    fw *u = fw_new(1);
    int64_t seen = 0;
    fw_at(u, fw_now(u) + 5 * DS_MS, mark, &seen);
    fw_at(u, fw_now(u) + DS_SECOND, mark, &seen);
    bool never = false;
    CHECK(!fw_wait(u, &never, 20 * DS_MS));
    CHECK_EQ_INT(seen, FW_START_NS + 5 * DS_MS);
    CHECK_EQ_INT(fw_now(u), FW_START_NS + 20 * DS_MS);
    CHECK_EQ_UINT(fw_free(u), 0); /* the appointment that was not kept is nobody's leak */
}
