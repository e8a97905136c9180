/* test_etcd_grpc_watch.c: the etcd backend's stream of watches over gRPC: frames cut anywhere, how it ends, and what is
 * no frame; and the lack of memory at any point of this encoding.
 */
#include "grpc_fixture.h"

/* ---- watches ----------------------------------------------------------------------------------------------------- */

/* Of watch 16777216: created; then p/k=v put at 40, deleted at 52. */
#define CREATED                                                                                                        \
    FRAME("0d", HEADER "1080808008"                                                                                    \
                       "1801")
#define EVENTS                                                                                                         \
    FRAME("28", HEADER "1080808008"                                                                                    \
                       "5a0e"                                                                                          \
                       "120c"                                                                                          \
                       "0a03702f6b"                                                                                    \
                       "1028"                                                                                          \
                       "1833"                                                                                          \
                       "2a0176"                                                                                        \
                       "5a0b"                                                                                          \
                       "0801"                                                                                          \
                       "1207"                                                                                          \
                       "0a03702f6b"                                                                                    \
                       "1834")

static void hear(const char *hex, size_t cut) {
    char bytes[400];
    size_t size = unhex_into(bytes, hex);
    fw_data(stream, 0, bytes, cut);
    fw_data(stream, 0, bytes + cut, size - cut);
}

TEST(events_come_in_frames_cut_anywhere) {
    static const char *const said[] = {OK(EMPTY), NULL};
    char bytes[400];
    size_t size = unhex_into(bytes, CREATED EVENTS);
    for (size_t cut = 0; cut <= size; cut++) {
        etcd_case e;
        test_case("cut at %zu", cut);
        begin(&e, &either, said);
        REQUIRE(ef_watch(&e, "p/k") && stream != NULL && stream->http2 && stream->duplex);
        CHECK_EQ_TEXT(stream->target, "/etcdserverpb.Watch/Watch");
        hear(CREATED EVENTS, cut);
        fw_settle(e.u);
        CHECK_EQ_TEXT(ef_heard(&e), "ready 50, put p/k=v 40, deleted p/k");
        ef_close(&e);
    }
}

TEST(how_a_stream_ends) {
    static const struct {
        const char *line, *heard;
    } rows[] = {
        {FAILED("14", "etcdserver:%20no%20leader"), "ended 1: etcd at http://127.0.0.1:2379: etcdserver: no leader"},
        {"200 application/grpc 0 - -", "ended 1: etcd at http://127.0.0.1:2379 ended the watch stream"},
        {"200 application/grpc - - -",
         "ended 1: etcd at http://127.0.0.1:2379: the watch stream ended without gRPC's status"},
        {FAILED("7", "etcdserver:%20permission%20denied"), "ended 5: etcd at http://127.0.0.1:2379: etcdserver: "
                                                           "permission denied; grant the user's role readwrite on the "
                                                           "prefix"},
        {"301 text/html - - -", "ended 5: etcd at http://127.0.0.1:2379 answered HTTP 301; redirects are not followed: "
                                "give the server's own URL"},
    };
    static const char *const said[] = {OK(EMPTY), NULL};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        etcd_case e;
        test_case("%s", rows[i].line);
        begin(&e, &only_grpc, said);
        REQUIRE(ef_watch(&e, "p/k"));
        say(stream, rows[i].line);
        fw_advance(e.u, 2 * DS_MS);
        CHECK_EQ_TEXT(ef_heard(&e), rows[i].heard);
        ef_close(&e);
    }
}

TEST(what_is_no_frame_ends_the_stream) {
    static const char *const rows[] = {"3c68746d6c3e",
                                       "01"
                                       "00000000",
                                       FRAME("02", "0000"), FRAME("02", "0a05")};
    static const char *const said[] = {OK(EMPTY), NULL};
    for (size_t i = 0; i < DS_COUNT(rows); i++) {
        etcd_case e;
        test_case("%s", rows[i]);
        begin(&e, &only_grpc, said);
        REQUIRE(ef_watch(&e, "p/k"));
        hear(rows[i], 1);
        fw_settle(e.u);
        CHECK_EQ_TEXT(ef_heard(&e), "ended 1: the watch stream is not etcd's gRPC");
        ef_close(&e);
    }
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

#ifdef DS_TEST_ALLOC
TEST(survives_any_lack_of_memory) {
    static const char *const said[] = {OK(EMPTY), OK(EMPTY), OK(EMPTY), NULL};
    EACH_ALLOCATION_FAILS() {
        etcd_case e;
        begin(&e, &either, said);
        if (e.backend != NULL) {
            ask(&e, ef_do_get);
            CHECK(ds_test_allocation_failed() || e.reply.outcome == DS_OK);
            if (ef_watch(&e, "p/k") && stream != NULL) {
                hear(CREATED EVENTS, 9);
                fw_settle(e.u);
            }
        }
        ef_close(&e);
    }
    EACH_ALLOCATION_FAILS() {
        etcd_case e;
        begin(&e, &either, nothing);
        if (e.backend != NULL) {
            ask(&e, ef_do_get);
            CHECK(ds_test_allocation_failed() || e.reply.outcome == DS_OK);
            (void)ef_watch(&e, "p/k");
            fw_advance(e.u, 2 * DS_MS);
        }
        ef_close(&e);
    }
}
#endif
