/* test_etcd_stream.c: the etcd backend alone: the stream that carries the watches: what is said on it, and every way in
 * which it ends.
 */
#include "test.h"

#include "etcd_fixture.h"
#include "fake_world_parts.h"

#define FIRST "16777216"  /* id of the first watch: serial 1, slot 0 */
#define SECOND "33554433" /* serial 2, slot 1 */
#define CREATED(id) "{\"result\":{@H,\"watch_id\":\"" id "\",\"created\":true}}\n"
#define EVENT(id, event) "{\"result\":{@H,\"watch_id\":\"" id "\",\"events\":[" event "]}}\n"
#define PUT "{\"kv\":{\"key\":\"cC9r\",\"value\":\"dg==\",\"create_revision\":\"40\",\"mod_revision\":\"51\"}}"
#define DELETED "{\"type\":\"DELETE\",\"kv\":{\"key\":\"cC9r\",\"mod_revision\":\"52\"}}"
#define DELETED_KNOWN                                                                                                  \
    "{\"type\":\"DELETE\",\"kv\":{\"key\":\"cC9r\",\"mod_revision\":\"52\"},\"prev_kv\":{\"key\":\"cC9r\",\"value\":"  \
    "\"dg==\"}}"
#define CANCELED(id, rest) "{\"result\":{@H,\"watch_id\":\"" id "\",\"canceled\":true" rest "}}\n"

static void begin(etcd_case *e, const dsync_options *options) {
    ef_open(e, options);
    if (!ef_watch(e, "p/k")) {
        fw_misuse("no watch");
    }
}

/* ---- what is said ------------------------------------------------------------------------------------------------ */

TEST(tells_what_happens) {
    etcd_case e;
    begin(&e, NULL);
    REQUIRE(e.stream != NULL);
    CHECK_CONTAINS(e.stream->body, "{\"create_request\":{\"key\":\"cC9r\"");
    CHECK_CONTAINS(e.stream->body, "\"watch_id\":\"" FIRST "\"");
    ef_say(&e, CREATED(FIRST));
    CHECK_EQ_TEXT(ef_heard(&e), "ready 50");
    ef_say(&e, CREATED(FIRST)); /* said twice */
    CHECK_EQ_TEXT(ef_heard(&e), "");
    ef_say(&e, EVENT(FIRST, PUT "," DELETED));
    CHECK_EQ_TEXT(ef_heard(&e), "put p/k=v 40, deleted p/k");
    ef_say(&e, "\n" EVENT(FIRST, DELETED_KNOWN) "{\"result\":{@H}}\n"); /* an empty line; a sign of life */
    CHECK_EQ_TEXT(ef_heard(&e), "deleted p/k=v");
    ef_close(&e);
}

TEST(a_line_may_come_in_pieces) {
    static const char line[] = CREATED(FIRST) EVENT(FIRST, PUT) EVENT(FIRST, DELETED);
    const char *text = ef_text(line);
    size_t size = strlen(text);
    for (size_t cut = 0; cut <= size; cut += 7) {
        etcd_case e;
        test_case("cut at %zu", cut);
        begin(&e, NULL);
        text = ef_text(line);
        fw_data(e.stream, 0, text, cut);
        fw_data(e.stream, 0, text + cut, size - cut);
        fw_settle(e.u);
        CHECK_EQ_TEXT(ef_heard(&e), "ready 50, put p/k=v 40, deleted p/k");
        ef_close(&e);
    }
}

/* The slot of a watch is used again; what was said to the one before is not said to the new one. */
TEST(what_was_said_to_another_watch_is_not_heard) {
    const ds_watch_spec spec = {.key = "p/k"};
    etcd_case e;
    begin(&e, NULL);
    ef_say(&e, CREATED(FIRST));
    (void)ef_heard(&e);
    e.backend->ops->unwatch(e.backend, &e.watch);
    for (int i = 0; i < 15; i++) { /* once round */
        REQUIRE(e.backend->ops->watch(e.backend, &e.watch, &spec));
        e.backend->ops->unwatch(e.backend, &e.watch);
    }
    REQUIRE(ef_watch(&e, "p/k"));
    CHECK_CONTAINS(e.stream->body, "\"watch_id\":\"285212672\""); /* serial 17, slot 0 */
    ef_say(&e, CREATED("285212672"));
    CHECK_EQ_TEXT(ef_heard(&e), "ready 50");
    ef_say(&e, EVENT(FIRST, PUT) CANCELED(FIRST, ""));
    ef_say(&e, EVENT("0", PUT) EVENT("-1", PUT) EVENT("285212772", PUT));
    CHECK_EQ_TEXT(ef_heard(&e), "");
    ef_say(&e, EVENT("285212672", PUT));
    CHECK_EQ_TEXT(ef_heard(&e), "put p/k=v 40");
    ef_close(&e);
}

TEST(a_watch_from_the_past_is_ready_there) {
    etcd_case e;
    ef_open(&e, NULL);
    REQUIRE(ef_watch(&e, "p/first"));
    ds_watch watch = {.on_event = e.watch.on_event};
    e.backend->ops->unwatch(e.backend, &e.watch);
    e.watch = watch;
    REQUIRE(
        e.backend->ops->watch(e.backend, &e.watch, &(ds_watch_spec){.key = "p/k", .since = 20, .deletes_only = true}));
    fw_settle(e.u);
    CHECK_CONTAINS(e.stream->body, "\"start_revision\":\"20\",\"filters\":[\"NOPUT\"]");
    ef_say(&e, CREATED(FIRST)); /* the answer to the one that was given up */
    ef_say(&e, CREATED(SECOND));
    CHECK_EQ_TEXT(ef_heard(&e), "ready 19");
    ef_close(&e);
}

/* ---- how one watch ends ------------------------------------------------------------------------------------------ */

TEST(how_the_server_ends_a_watch) {
    static const struct {
        const char *line, *heard;
    } rows[] = {
        {CANCELED(FIRST, ",\"compact_revision\":\"30\""), "ended 0: etcd has compacted everything up to revision 30"},
        {CANCELED(FIRST, ",\"cancel_reason\":\"etcdserver: no leader\""),
         "ended 1: etcd at http://127.0.0.1:2379: etcdserver: no leader"},
        {CANCELED(FIRST, ""), "ended 1: etcd at http://127.0.0.1:2379: the watch was cancelled"},
        {CANCELED(FIRST, ",\"created\":true,\"cancel_reason\":\"x\""), "ended 1: etcd at http://127.0.0.1:2379: x"},
        {CANCELED("-1", ",\"created\":true,\"cancel_reason\":\"x\""), "ended 1: etcd at http://127.0.0.1:2379: x"},
        {CANCELED(FIRST, ",\"cancel_reason\":\"rpc error: permission denied\""),
         "ended 5: etcd at http://127.0.0.1:2379: rpc error: permission denied; grant the user's role read on the "
         "prefix"},
        {CANCELED("-1", ",\"cancel_reason\":\"x\""), ""}, /* whose is it? nobody's that was being made */
        {CANCELED("17", ",\"compact_revision\":\"30\""), ""},
        {CANCELED("17", ",\"cancel_reason\":\"x\""), ""},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        etcd_case e;
        test_case("%s", rows[i].line);
        begin(&e, NULL);
        ef_say(&e, rows[i].line);
        CHECK_EQ_TEXT(ef_heard(&e), rows[i].heard);
        CHECK_EQ_INT(e.watch.impl == NULL, rows[i].heard[0] != '\0');
        ef_close(&e);
    }
}

static void unwatch_at_once(etcd_case *e, const ds_watch_event *event) {
    if (event->kind == DS_WATCH_PUT) {
        e->backend->ops->unwatch(e->backend, &e->watch);
    }
}

TEST(an_owner_may_stop_listening_at_any_word) {
    etcd_case e;
    begin(&e, NULL);
    e.on_event = unwatch_at_once;
    ef_say(&e, CREATED(FIRST) EVENT(FIRST, PUT "," PUT "," DELETED) EVENT(FIRST, DELETED));
    CHECK_EQ_TEXT(ef_heard(&e), "ready 50, put p/k=v 40");
    CHECK_NULL(e.watch.impl);
    ef_close(&e);
}

static void watch_again(etcd_case *e, const ds_watch_event *event) {
    if (event->kind == DS_WATCH_ENDED && e->ended == 1) {
        e->watch.impl = NULL;
        (void)e->backend->ops->watch(e->backend, &e->watch, &(ds_watch_spec){.key = "p/k"});
    }
}

/* ---- how the stream ends ----------------------------------------------------------------------------------------- */

TEST(when_the_stream_ends_each_watch_hears_it) {
    static const struct {
        fw_answer answer; /* zeroed: the text is said instead */
        const char *text;
        ds_class outcome;
        const char *message;
    } rows[] = {
        {{.fate = DS_HTTP_UNKNOWN, .message = "reset"}, NULL, DS_NOT_EXECUTED, "watch stream: reset"},
        {{.fate = DS_HTTP_NOT_SENT, .message = "refused"}, NULL, DS_NOT_EXECUTED, "watch stream: refused"},
        {{.fate = DS_HTTP_REFUSED, .message = "certificate"}, NULL, DS_REFUSED, "certificate"},
        {{.fate = DS_HTTP_REFUSED, .status = 200, .message = "too long"}, NULL, DS_NOT_EXECUTED, "too long"},
        {{.status = 200}, NULL, DS_NOT_EXECUTED, "ended the watch stream"},
        {{.status = 403}, NULL, DS_REFUSED, "refuses access"},
        {{.status = 503, .body = "{\"code\":14,\"message\":\"no leader\"}"}, NULL, DS_NOT_EXECUTED, "no leader"},
        {{.status = 401, .body = "{\"code\":16,\"message\":\"invalid auth token\"}"}, NULL, DS_REFUSED, "wants a user"},
        {{.status = 0}, "nonsense\n", DS_NOT_EXECUTED, "not etcd's JSON"},
        {{.status = 0}, "{\"what\":1}\n", DS_NOT_EXECUTED, "not etcd's JSON"},
        {{.status = 0},
         "{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}\n",
         DS_NOT_EXECUTED,
         "no leader"},
        {{.status = 0},
         "{\"error\":{\"grpc_code\":7,\"message\":\"permission denied\"}}\n",
         DS_REFUSED,
         "permission denied"},
        {{.status = 0}, "{\"result\":{\"header\":{\"cluster_id\":\"9\"}}}\n", DS_RESET, "cluster 9"},
    };
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        etcd_case e;
        test_case("row %zu", i);
        begin(&e, NULL);
        ef_say(&e, CREATED(FIRST));
        (void)ef_heard(&e);
        e.on_event = watch_again;
        if (rows[i].text != NULL) {
            ef_say(&e, rows[i].text);
        } else {
            fw_answer answer = rows[i].answer;
            answer.body_size = answer.body != NULL ? strlen(answer.body) : 0;
            fw_finish(e.stream, 0, &answer);
            fw_settle(e.u);
        }
        const char *heard = ef_heard(&e);
        char expected[20];
        (void)snprintf(expected, sizeof expected, "ended %d: ", (int)rows[i].outcome);
        CHECK_CONTAINS(heard, expected);
        CHECK_CONTAINS(heard, rows[i].message);
        CHECK_EQ_UINT(e.ended, 1);
        /* Begun again from inside, it is on the next stream. */
        ef_say(&e, rows[i].outcome == DS_RESET ? "{\"result\":{\"header\":{\"cluster_id\":\"9\"},\"watch_id\":\"" SECOND
                                                 "\",\"created\":true}}\n"
                                               : CREATED(SECOND));
        CHECK_EQ_UINT(e.ready, 2);
        ef_close(&e);
    }
}

TEST(an_endless_line_ends_the_stream) {
    static char piece[1 << 20];
    etcd_case e;
    memset(piece, 'x', sizeof piece);
    begin(&e, NULL);
    for (int i = 0; i < 8; i++) {
        fw_data(e.stream, 0, piece, sizeof piece);
    }
    fw_settle(e.u);
    CHECK_EQ_UINT(e.ended, 0);
    fw_data(e.stream, 0, piece, sizeof piece);
    fw_settle(e.u);
    CHECK_CONTAINS(ef_heard(&e), "too large");
    ef_close(&e);
}

/* ---- silence and idleness ---------------------------------------------------------------------------------------- */

#define PROGRESS "{\"progress_request\":{}}"

TEST(a_silent_stream_is_asked_for_a_sign_of_life) {
    etcd_case e;
    begin(&e, NULL);
    ef_say(&e, CREATED(FIRST));
    fw_advance(e.u, 9 * DS_SECOND);
    CHECK_LACKS(e.stream->body, PROGRESS);
    fw_advance(e.u, 2 * DS_SECOND);
    CHECK_CONTAINS(e.stream->body, PROGRESS);
    ef_say(&e, "{\"result\":{@H}}\n");
    fw_advance(e.u, 6 * DS_SECOND);
    CHECK_EQ_TEXT(ef_heard(&e), "ready 50");
    fw_advance(e.u, 12 * DS_SECOND); /* asked again, and no answer */
    CHECK_CONTAINS(ef_heard(&e), "went silent");
    ef_close(&e);
}

TEST(what_is_heard_puts_the_question_off) {
    etcd_case e;
    begin(&e, NULL);
    ef_say(&e, CREATED(FIRST));
    for (int i = 0; i < 5; i++) {
        fw_advance(e.u, 6 * DS_SECOND);
        ef_say(&e, EVENT(FIRST, PUT));
    }
    CHECK_LACKS(e.stream->body, PROGRESS);
    CHECK_EQ_UINT(e.ended, 0);
    ef_close(&e);
}

/* A request to the same server could not be made: is the stream still alive? */
TEST(a_failing_request_casts_doubt_on_the_stream) {
    static const char *const fates[] = {"!broken", "!unsent"};
    for (size_t i = 0; i < DS_COUNT(fates); i++) {
        etcd_case e;
        begin(&e, NULL);
        ef_say(&e, CREATED(FIRST));
        fw_request *stream = e.stream;
        e.answers = (const char *const[]){fates[i], fates[i], NULL};
        e.call = (ds_call){.done = e.call.done, .timeout_ns = DS_SECOND};
        ef_ask_one(&e, ef_do_get, fates[i]);
        CHECK_CONTAINS(stream->body, PROGRESS);
        ef_ask_one(&e, ef_do_get, fates[i]); /* the other server: no second doubt */
        CHECK_NULL(strstr(strstr(stream->body, PROGRESS) + 1, PROGRESS));
        fw_advance(e.u, 6 * DS_SECOND);
        CHECK_CONTAINS(ef_heard(&e), "went silent");
        ef_close(&e);
    }
}

TEST(a_stream_nobody_listens_to_is_given_up) {
    etcd_case e;
    begin(&e, NULL);
    ef_say(&e, CREATED(FIRST));
    e.backend->ops->unwatch(e.backend, &e.watch);
    fw_settle(e.u);
    CHECK_CONTAINS(e.stream->body, "{\"cancel_request\":{\"watch_id\":\"" FIRST "\"}}");
    fw_advance(e.u, 5 * DS_SECOND);
    CHECK(!e.stream->cancelled);
    REQUIRE(ef_watch(&e, "p/k")); /* in time: it goes on */
    fw_advance(e.u, 6 * DS_SECOND);
    CHECK(!e.stream->cancelled);
    ef_say(&e, CREATED(SECOND));
    e.backend->ops->unwatch(e.backend, &e.watch);
    fw_advance(e.u, 11 * DS_SECOND);
    CHECK(e.stream->cancelled);
    ef_close(&e);
}

TEST(a_watch_given_up_before_it_was_sent_was_never_begun) {
    etcd_case e;
    ef_open(&e, NULL);
    e.watch.on_event = NULL;
    REQUIRE(e.backend->ops->watch(e.backend, &e.watch, &(ds_watch_spec){.key = "p/k"}));
    e.backend->ops->unwatch(e.backend, &e.watch);
    e.backend->ops->unwatch(e.backend, &e.watch);
    fw_advance(e.u, DS_SECOND);
    CHECK_NULL(e.stream);
    ef_close(&e);
}

TEST(a_watch_given_up_before_it_was_answered) {
    etcd_case e;
    begin(&e, NULL);
    e.backend->ops->unwatch(e.backend, &e.watch);
    fw_settle(e.u);
    ef_say(&e, EVENT(FIRST, PUT) CREATED(FIRST) EVENT(FIRST, PUT));
    CHECK_EQ_TEXT(ef_heard(&e), "");
    ef_close(&e);
}

TEST(many_watches_share_the_stream) {
    enum { COUNT = 40 };
    static etcd_case e;
    static ds_watch watches[COUNT];
    begin(&e, NULL);
    memset(watches, 0, sizeof watches);
    for (int i = 0; i < COUNT; i++) {
        watches[i].on_event = e.watch.on_event;
        ds_watch_spec spec = {.key = "p/many", .subtree = i % 2 == 0};
        REQUIRE(e.backend->ops->watch(e.backend, &watches[i], &spec));
    }
    fw_settle(e.u);
    size_t creations = 0;
    for (const char *at = e.stream->body; (at = strstr(at, "create_request")) != NULL; at++) {
        creations++;
    }
    CHECK_EQ_UINT(creations, COUNT + 1);
    for (int i = 0; i < COUNT; i++) {
        e.backend->ops->unwatch(e.backend, &watches[i]);
    }
    ef_close(&e);
}
