/* test_etcd_strange.c: what the etcd backend makes of servers that are not etcd, or etcds that have gone mad. Each
 * answer is canned; the question is only what is said of the request, and what people are told to do.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "etcd_rig.h"
#include "test.h"

/* Except where it is gRPC that is looked at. */
static const dsync_setting json_setting = {"etcd.transport", "json"};
static const dsync_options speaking_json = {
    .prefix = "dsync", .id = "tester", .settings = &json_setting, .setting_count = 1};

/* ---- a server that says what it was told to, one answer per connection ------------------------------------------- */

typedef struct parrot {
    pthread_t thread;
    int listener;
    char url[64];
    const char *const *answers; /* NULL-terminated; the last one for ever. "" closes at once, "-" stays silent */
    int asked;
} parrot;

static void answer_one(const parrot *p, int fd, const char *answer) {
    char request[8192];
    (void)p;
    if (strcmp(answer, "-") == 0) {
        while (read(fd, request, sizeof(request)) > 0) { /* until the other side gives up */
        }
    } else if (read(fd, request, sizeof(request)) > 0 && answer[0] != '\0') {
        (void)!write(fd, answer, strlen(answer));
        shutdown(fd, SHUT_WR);
        while (read(fd, request, sizeof(request)) > 0) {
        }
    }
    close(fd);
}

static void *serve(void *argument) {
    parrot *p = argument;
    for (int fd; (fd = accept(p->listener, NULL, NULL)) >= 0;) {
        const char *answer = p->answers[p->asked];
        if (p->answers[p->asked + 1] != NULL) {
            p->asked++;
        }
        answer_one(p, fd, answer);
    }
    return NULL;
}

static bool parrot_start(parrot *p, const char *const *answers) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    memset(p, 0, sizeof(*p));
    p->answers = answers;
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&address, size) != 0 || listen(p->listener, 16) != 0 ||
        getsockname(p->listener, (struct sockaddr *)&address, &size) != 0) {
        return false;
    }
    snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%d", ntohs(address.sin_port));
    return pthread_create(&p->thread, NULL, serve, p) == 0;
}

static void parrot_stop(parrot *p) {
    shutdown(p->listener, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->listener);
}

#define OK_HEADER "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
#define CLUSTER "\"header\":{\"cluster_id\":\"77\",\"revision\":\"5\"}"
#define LATER "\"header\":{\"cluster_id\":\"77\",\"revision\":\"6\"}"

/* ---- the first answer ever --------------------------------------------------------------------------------------- */

typedef struct first_case {
    const char *answer;
    ds_class outcome;
    dsync_code code;
    const char *message;
} first_case;

static const first_case first_cases[] = {
    {OK_HEADER "<!DOCTYPE html><title>It works!</title>", DS_REFUSED, DSYNC_PROTOCOL, "is this an etcd v3 server"},
    {OK_HEADER "{\"header\":{\"cluster_id\":\"77\",", DS_REFUSED, DSYNC_PROTOCOL, "is this an etcd v3 server"},
    {OK_HEADER "{}", DS_REFUSED, DSYNC_PROTOCOL, "is this an etcd v3 server"},
    {OK_HEADER "[]", DS_REFUSED, DSYNC_PROTOCOL, "is this an etcd v3 server"},
    {OK_HEADER "", DS_REFUSED, DSYNC_PROTOCOL, "is this an etcd v3 server"},
    {"HTTP/1.1 301 Moved\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", DS_REFUSED, DSYNC_CONFIG,
     "answered HTTP 301; redirects are not followed: give the server's own URL"},
    {"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
     DS_REFUSED, DSYNC_CONFIG, "https"},
    {"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\nno", DS_REFUSED, DSYNC_DENIED, "HTTP 403"},
    {"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n404 page not found\n", DS_REFUSED, DSYNC_CONFIG,
     "JSON gateway"},
    {"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n{\"code\":5,\"message\":\"Not Found\",\"details\":[]}",
     DS_REFUSED, DSYNC_CONFIG, "is this an etcd v3 server"},
    {"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n", DS_NOT_EXECUTED, DSYNC_OK, "HTTP 401"},
    {"HTTP/1.1 429 Too Many\r\nConnection: close\r\n\r\n", DS_NOT_EXECUTED, DSYNC_OK, "HTTP 429"},
    {"HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\n<html>", DS_AMBIGUOUS, DSYNC_OK, "HTTP 500"},
    {"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n<html>", DS_AMBIGUOUS, DSYNC_OK, "HTTP 502"},
    {"HTTP/1.1 503 Unavailable\r\nConnection: close\r\n\r\n"
     "{\"error\":\"etcdserver: no leader\",\"message\":\"etcdserver: no leader\",\"code\":14}",
     DS_NOT_EXECUTED, DSYNC_OK, "no leader"},
    {"HTTP/1.1 503 Unavailable\r\nConnection: close\r\n\r\n"
     "{\"error\":\"etcdserver: leader changed\",\"message\":\"etcdserver: leader changed\",\"code\":14}",
     DS_AMBIGUOUS, DSYNC_OK, "leader changed"},
    {"HTTP/1.1 504 Late\r\nConnection: close\r\n\r\n{\"code\":4,\"message\":\"context deadline exceeded\"}",
     DS_AMBIGUOUS, DSYNC_OK, "deadline"},
    {"HTTP/1.1 429 Too Many\r\nConnection: close\r\n\r\n"
     "{\"code\":8,\"message\":\"etcdserver: mvcc: database space exceeded\"}",
     DS_REFUSED, DSYNC_RESOURCE, "NOSPACE"},
    {"HTTP/1.1 429 Too Many\r\nConnection: close\r\n\r\n{\"code\":8,\"message\":\"etcdserver: too many requests\"}",
     DS_NOT_EXECUTED, DSYNC_OK, "too many requests"},
    {"HTTP/1.1 501 No\r\nConnection: close\r\n\r\n{\"code\":12,\"message\":\"unknown method\"}", DS_REFUSED,
     DSYNC_UNSUPPORTED, "unknown method"},
    {"", DS_AMBIGUOUS, DSYNC_OK, ""},
    {"-", DS_AMBIGUOUS, DSYNC_OK, "no answer"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{" CLUSTER, DS_AMBIGUOUS, DSYNC_OK, ""},
};

TEST(the_first_answer_of_a_stranger) {
    rig_timeout(400);
    for (size_t i = 0; i < DS_COUNT(first_cases); i++) {
        const first_case *c = &first_cases[i];
        const char *const answers[] = {c->answer, NULL};
        const char *endpoint;
        parrot p;
        rig r;
        test_case("%zu: %.60s", i, c->answer);
        REQUIRE(parrot_start(&p, answers));
        endpoint = p.url;
        REQUIRE(rig_open(&r, &endpoint, 1, &speaking_json));
        ds_lease lease;
        rig_lease_init(&lease, "dsync", 5000);
        const rig_reply *reply = rig_lease(&r, &lease);
        CHECK(reply->over);
        CHECK_EQ_INT(reply->outcome, c->outcome);
        CHECK_EQ_INT(reply->code, c->code);
        CHECK_CONTAINS(reply->message, c->message);
        CHECK_CONTAINS(reply->message, p.url);
        rig_close(&r);
        parrot_stop(&p);
    }
    rig_timeout(0);
}

/* ---- nonsense from one that has talked sense --------------------------------------------------------------------- */

static const char good_range[] = OK_HEADER "{" CLUSTER "}";

static const char *const later_answers[] = {
    OK_HEADER "<html>",
    OK_HEADER "{",
    OK_HEADER "{" CLUSTER "}", /* a transaction without its answers */
    OK_HEADER "{" CLUSTER ",\"succeeded\":true}",
    OK_HEADER "{" CLUSTER ",\"succeeded\":true,\"responses\":[{},{},{}]}",
    OK_HEADER "{" LATER ",\"succeeded\":true,\"responses\":[{\"response_put\":{}},{\"response_range\":{}},"
              "{\"response_range\":{}}]}", /* put, and yet nobody there */
    OK_HEADER "{" CLUSTER ",\"succeeded\":\"yes\"}",
    OK_HEADER "{" CLUSTER ",\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"not base64\"}]}}]}",
    OK_HEADER "{" CLUSTER ",\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"YQ==\"}]}}]}",
    OK_HEADER "{" CLUSTER ",\"responses\":{}}",
};

TEST(nonsense_after_sense_says_nothing_of_a_write) {
    for (size_t i = 0; i < DS_COUNT(later_answers); i++) {
        const char *const answers[] = {good_range, good_range, later_answers[i], NULL};
        parrot p;
        rig r;
        test_case("%zu", i);
        REQUIRE(parrot_start(&p, answers));
        const char *endpoint = p.url;
        REQUIRE(rig_open(&r, &endpoint, 1, &speaking_json));
        CHECK_EQ_INT(rig_ping(&r)->outcome, DS_OK);
        ds_lease lease;
        ds_entry entry;
        rig_lease_init(&lease, "dsync", 5000);
        rig_entry_init(&entry, &lease, "dsync/lock/x", "v");
        const rig_reply *reply = rig_enter(&r, &entry, false);
        CHECK_EQ_INT(reply->outcome, DS_AMBIGUOUS);
        CHECK_CONTAINS(reply->message, p.url);
        rig_close(&r);
        parrot_stop(&p);
    }
}

TEST(an_older_state_is_asked_again_and_then_a_reset) {
    static const char newer[] = OK_HEADER "{\"header\":{\"cluster_id\":\"77\",\"revision\":\"9\"}}";
    static const char older[] = OK_HEADER "{\"header\":{\"cluster_id\":\"77\",\"revision\":\"8\"}}";
    static const char *const once[] = {newer, older, newer, NULL};
    static const char *const always[] = {newer, older, NULL};
    parrot p;
    rig r;
    REQUIRE(parrot_start(&p, once));
    const char *endpoint = p.url;
    REQUIRE(rig_open(&r, &endpoint, 1, &speaking_json));
    rig_timeout(500);
    CHECK_EQ_INT(rig_get(&r, "k")->outcome, DS_OK);
    const rig_reply *reply = rig_get(&r, "k");
    CHECK_EQ_INT(reply->outcome, DS_OK);
    CHECK_EQ_INT(reply->revision, 9);
    CHECK(reply->resent);
    rig_close(&r);
    parrot_stop(&p);

    REQUIRE(parrot_start(&p, always));
    endpoint = p.url;
    REQUIRE(rig_open(&r, &endpoint, 1, &speaking_json));
    CHECK_EQ_INT(rig_get(&r, "k")->outcome, DS_OK);
    reply = rig_get(&r, "k");
    CHECK_EQ_INT(reply->outcome, DS_RESET);
    CHECK_CONTAINS(reply->message, "revision 8");
    CHECK_EQ_INT(rig_get(&r, "k")->outcome, DS_OK); /* that is how it is from now on */
    rig_close(&r);
    parrot_stop(&p);
    rig_timeout(0);
}

/* Repeated until the revision had caught up, it would hide that a backup was restored under us. */
TEST(an_older_state_that_took_a_write_is_a_reset_at_once) {
    static const char wrote[] = OK_HEADER "{" CLUSTER ",\"succeeded\":true,\"responses\":[{\"response_put\":{}},"
                                          "{\"response_range\":{}}]}";
    static const char *const answers[] = {good_range, wrote, NULL};
    parrot p;
    rig r;
    REQUIRE(parrot_start(&p, answers));
    const char *endpoint = p.url;
    REQUIRE(rig_open(&r, &endpoint, 1, &speaking_json));
    CHECK_EQ_INT(rig_ping(&r)->outcome, DS_OK);
    CHECK_EQ_INT(rig_get(&r, "k")->outcome, DS_OK);
    ds_lease lease;
    ds_entry entry;
    rig_lease_init(&lease, "dsync", 5000);
    rig_entry_init(&entry, &lease, "dsync/lock/x", "v");
    const rig_reply *reply = rig_enter(&r, &entry, false);
    CHECK_EQ_INT(reply->outcome, DS_RESET);
    CHECK(!reply->resent);
    CHECK_CONTAINS(reply->message, "revision 5");
    rig_close(&r);
    parrot_stop(&p);
}

TEST(another_cluster_is_a_reset) {
    static const char other[] = OK_HEADER "{\"header\":{\"cluster_id\":\"78\",\"revision\":\"900\"}}";
    static const char *const answers[] = {good_range, other, NULL};
    parrot p;
    rig r;
    REQUIRE(parrot_start(&p, answers));
    const char *endpoint = p.url;
    REQUIRE(rig_open(&r, &endpoint, 1, &speaking_json));
    CHECK_EQ_INT(rig_get(&r, "k")->outcome, DS_OK);
    const rig_reply *reply = rig_get(&r, "k");
    CHECK_EQ_INT(reply->outcome, DS_RESET);
    CHECK_CONTAINS(reply->message, "cluster 4e");
    CHECK_EQ_INT(rig_get(&r, "k")->outcome, DS_OK);
    rig_close(&r);
    parrot_stop(&p);
}

TEST(a_keepalive_without_a_ttl_is_lost) {
    static const char *const answers[] = {OK_HEADER "{\"result\":{" CLUSTER ",\"ID\":\"5\"}}\n", NULL};
    static const char *const errors[] = {
        OK_HEADER "{\"error\":{\"grpc_code\":5,\"http_code\":404,\"message\":\"etcdserver: requested lease not found\","
                  "\"http_status\":\"Not Found\"}}\n",
        NULL};
    static const char *const no_leader[] = {
        OK_HEADER "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}\n", NULL};
    static const struct {
        const char *const *answers;
        ds_class outcome;
    } cases[] = {{answers, DS_LOST}, {errors, DS_LOST}, {no_leader, DS_NOT_EXECUTED}};
    for (size_t i = 0; i < DS_COUNT(cases); i++) {
        parrot p;
        rig r;
        ds_lease lease;
        test_case("%zu", i);
        REQUIRE(parrot_start(&p, cases[i].answers));
        const char *endpoint = p.url;
        REQUIRE(rig_open(&r, &endpoint, 1, &speaking_json));
        rig_lease_init(&lease, "dsync", 5000);
        lease.created = 3;
        CHECK_EQ_INT(rig_renew(&r, &lease)->outcome, cases[i].outcome);
        rig_close(&r);
        parrot_stop(&p);
    }
}

/* ---- watch streams ----------------------------------------------------------------------------------------------- */

#define STREAM "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
#define MADE "{\"result\":{" CLUSTER ",\"watch_id\":\"16777216\",\"created\":true}}\n"

static const struct {
    const char *answer;
    size_t events; /* the last one is the end */
    ds_class outcome;
} stream_cases[] = {
    {STREAM MADE, 2, DS_NOT_EXECUTED},
    {STREAM MADE "<html>\n", 2, DS_NOT_EXECUTED},
    {STREAM "<html>\n", 1, DS_NOT_EXECUTED},
    {STREAM MADE "{\"result\":{" CLUSTER ",\"watch_id\":\"16777216\",\"events\":[{\"kv\":{\"key\":\"YQ==\"}}]}}\n", 3,
     DS_NOT_EXECUTED},
    {STREAM MADE "{\"result\":{" CLUSTER ",\"watch_id\":\"99\",\"events\":[{\"kv\":{\"key\":\"YQ==\"}}]}}\n", 2,
     DS_NOT_EXECUTED},
    {STREAM MADE "{\"result\":{" CLUSTER ",\"watch_id\":\"16777216\",\"events\":[{}]}}\n", 2, DS_NOT_EXECUTED},
    {STREAM MADE "\n\n{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}\n", 2, DS_NOT_EXECUTED},
    {STREAM MADE "{\"result\":{\"header\":{\"cluster_id\":\"78\"},\"watch_id\":\"16777216\"}}\n", 2, DS_RESET},
    {STREAM "{\"result\":{" CLUSTER ",\"watch_id\":\"-1\",\"created\":true,\"canceled\":true,"
            "\"cancel_reason\":\"etcdserver: permission denied\"}}\n",
     1, DS_REFUSED},
    {"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nno", 1, DS_REFUSED},
    {"HTTP/1.1 503 Late\r\nConnection: close\r\n\r\nno", 1, DS_NOT_EXECUTED},
    {"", 1, DS_NOT_EXECUTED},
};

TEST(strange_streams_end_the_watch_once) {
    for (size_t i = 0; i < DS_COUNT(stream_cases); i++) {
        const char *const answers[] = {stream_cases[i].answer, NULL};
        parrot p;
        rig r;
        rig_watch w;
        test_case("%zu", i);
        REQUIRE(parrot_start(&p, answers));
        const char *endpoint = p.url;
        REQUIRE(rig_open(&r, &endpoint, 1, &speaking_json));
        ds_watch_spec spec = {.key = "a"};
        REQUIRE(rig_watch_begin(&r, &w, &spec));
        CHECK(rig_watch_wait(&w, stream_cases[i].events, 2000));
        rig_idle(&r, 20);
        REQUIRE(w.count > 0);
        CHECK_EQ_UINT(w.count, stream_cases[i].events);
        CHECK_EQ_INT(w.events[w.count - 1].kind, DS_WATCH_ENDED);
        CHECK_EQ_INT(w.events[w.count - 1].outcome, stream_cases[i].outcome);
        CHECK_NULL(w.watch.impl);
        rig_close(&r);
        parrot_stop(&p);
    }
}
