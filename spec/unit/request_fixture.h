/* request_fixture.h: one question or write that notes how it ended, in the log too ("done ok"). */
#ifndef REQUEST_FIXTURE_H
#define REQUEST_FIXTURE_H

#include "../../csrc/core/request.h"
#include "core_fixture.h"
#include "test.h"

typedef struct ask {
    ds_request request;
    desk *d;
    unsigned done, pages;
    dsync_code code;
    char message[500], value[64];
    size_t peers;
    bool page_fails;
    int64_t done_ns;
} ask;

static void on_done(ds_request *request, dsync_code code, const char *message, const ds_reply *reply) {
    ask *a = DS_CONTAINER_OF(request, ask, request);
    CHECK(reply == NULL || code == DSYNC_OK || code == DSYNC_NOT_HELD);
    a->done++;
    a->code = code;
    a->done_ns = fw_now(a->d->u);
    (void)snprintf(a->message, sizeof(a->message), "%s", message);
    (void)snprintf(a->value, sizeof(a->value), "%s", reply != NULL && reply->value != NULL ? reply->value : "");
    sb_note(a->d->backend, "done %s", code == DSYNC_OK ? "ok" : dsync_code_name(code));
}

static bool on_page(ds_request *request, const ds_reply *reply) {
    ask *a = DS_CONTAINER_OF(request, ask, request);
    a->pages++;
    a->peers += reply->peer_count;
    return !a->page_fails;
}

TEST_UNUSED static ask ask_new(desk *d, ds_request_kind kind) {
    return (ask){.d = d,
                 .request = {.kind = kind,
                             .key = "p/data/k",
                             .value = "v",
                             .value_size = 1,
                             .limit = 7,
                             .token = 42,
                             .timeout_ns = 3 * DS_SECOND,
                             .page = on_page,
                             .done = on_done}};
}

TEST_UNUSED static void start(ask *a) {
    ds_request_start(a->d->engine, &a->request);
}

#endif
