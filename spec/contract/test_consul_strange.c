/* test_consul_strange.c: what the Consul backend makes of answers that a real agent gives only by bad luck. Each is
 * canned.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "consul_rig.h"
#include "test.h"

/* ---- an agent that says what it was told to, one answer per connection ------------------------------------------- */

typedef struct parrot {
    pthread_t thread;
    int listener;
    char url[64];
    const char *const *answers; /* NULL-terminated; the last one for ever */
    int asked;
} parrot;

static void *serve(void *argument) {
    parrot *p = argument;
    for (int fd; (fd = accept(p->listener, NULL, NULL)) >= 0;) {
        char request[8192];
        const char *answer = p->answers[p->asked];
        if (p->answers[p->asked + 1] != NULL) {
            p->asked++;
        }
        if (read(fd, request, sizeof(request)) > 0) {
            (void)!write(fd, answer, strlen(answer));
            shutdown(fd, SHUT_WR);
            while (read(fd, request, sizeof(request)) > 0) {
            }
        }
        close(fd);
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

#define SESSION "01234567-89ab-cdef-0123-456789abcdef"
#define OK_HEADER "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
#define FAILED_HEADER "HTTP/1.1 409 Conflict\r\nConnection: close\r\n\r\n"
#define CREATED OK_HEADER "{\"ID\":\"" SESSION "\"}"
#define KEY_MADE                                                                                                       \
    OK_HEADER "{\"Results\":[{\"KV\":{\"Key\":\"dsync/session/" SESSION "\",\"Session\":\"" SESSION                    \
              "\",\"Value\":null,\"Flags\":0,\"LockIndex\":1,\"CreateIndex\":7,\"ModifyIndex\":7}}],\"Errors\":null}"
#define REFUSED "HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n\r\n"
#define EXISTS(op) "{\"OpIndex\":" op ",\"What\":\"key exists\"}"
#define FAILED(errors) FAILED_HEADER "{\"Results\":null,\"Errors\":[" errors "]}"

typedef ds_class ask(rig *r, ds_lease *lease);

/* Of what is asked once a session is open. */
static ds_class outcome_of(ask *what, const char *const *answers) {
    parrot p;
    rig r;
    ds_lease lease;
    dsync_options options = {.prefix = "dsync", .id = "tester"};
    ds_class outcome = DS_REFUSED;
    if (!parrot_start(&p, answers)) {
        return outcome;
    }
    if (consul_rig_open_at(&r, &(const char *){p.url}, 1, &options)) {
        rig_lease_init(&lease, "dsync", 10000);
        if (rig_lease(&r, &lease)->outcome == DS_OK) {
            outcome = what(&r, &lease);
        }
        r.backend->ops->forget(r.backend, &lease);
        rig_close(&r);
    }
    parrot_stop(&p);
    return outcome;
}

static ds_class enter(rig *r, ds_lease *lease) {
    ds_entry entry;
    rig_entry_init(&entry, lease, "dsync/lock/x", "x");
    return rig_enter(r, &entry, false)->outcome;
}

static ds_class try_once(rig *r, ds_lease *lease) {
    ds_entry entry;
    rig_entry_init(&entry, lease, "dsync/lock/x", "x");
    return rig_enter(r, &entry, true)->outcome;
}

static ds_class renew(rig *r, ds_lease *lease) {
    return rig_renew(r, lease)->outcome;
}

/* ---- a request that the server got twice ------------------------------------------------------------------------- */

TEST(a_refusal_after_somebody_was_there_leaves_nothing) {
    static const char *const answers[] = {CREATED, KEY_MADE, FAILED(EXISTS("2")), REFUSED, NULL};
    CHECK_EQ_INT(outcome_of(enter, answers), DS_NOT_EXECUTED);
    CHECK_EQ_INT(outcome_of(try_once, answers), DS_NOT_EXECUTED);
}

TEST(a_refusal_after_the_second_copy_of_a_request_leaves_what_the_first_one_made) {
    static const char *const answers[] = {CREATED, KEY_MADE, FAILED(EXISTS("2") "," EXISTS("3")), REFUSED, NULL};
    CHECK_EQ_INT(outcome_of(enter, answers), DS_AMBIGUOUS);
    CHECK_EQ_INT(outcome_of(try_once, answers), DS_AMBIGUOUS);
}

TEST(so_it_does_at_the_tail_of_the_queue) {
    static const char *const answers[] = {CREATED, KEY_MADE, FAILED(EXISTS("2")), FAILED(EXISTS("1")), REFUSED, NULL};
    CHECK_EQ_INT(outcome_of(enter, answers), DS_AMBIGUOUS);
}

TEST(an_epoch_that_moved_between_two_copies_leaves_what_the_first_one_made) {
    static const char *const alone[] = {CREATED, KEY_MADE, FAILED(EXISTS("0")), KEY_MADE, NULL};
    static const char *const twice[] = {CREATED, KEY_MADE, FAILED(EXISTS("0") "," EXISTS("3")), KEY_MADE, NULL};
    CHECK_EQ_INT(outcome_of(enter, alone), DS_OK); /* its place is stale */
    CHECK_EQ_INT(outcome_of(enter, twice), DS_AMBIGUOUS);
    CHECK_EQ_INT(outcome_of(try_once, twice), DS_AMBIGUOUS);
}

/* ---- a server that has become the leader and has not caught up --------------------------------------------------- */

#define UNKNOWN_SESSION "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nSession id '" SESSION "' not found\n"

TEST(a_session_is_gone_when_a_confirmed_read_says_so_not_the_renewal) {
    static const char *const there[] = {CREATED, KEY_MADE, UNKNOWN_SESSION, KEY_MADE, NULL};
    static const char *const gone[] = {CREATED, KEY_MADE, UNKNOWN_SESSION, FAILED(EXISTS("0")), NULL};
    static const char *const silent[] = {CREATED, KEY_MADE, UNKNOWN_SESSION, REFUSED, NULL};
    CHECK_EQ_INT(outcome_of(renew, there), DS_NOT_EXECUTED);
    CHECK_EQ_INT(outcome_of(renew, gone), DS_LOST);
    CHECK_EQ_INT(outcome_of(renew, silent), DS_NOT_EXECUTED);
}
