/* grpc_fixture.h: the etcd backend alone, and a server that answers in gRPC what the test wants it to, or that speaks
 * no HTTP/2: then it answers in JSON.
 */
#ifndef DS_TEST_GRPC_FIXTURE_H
#define DS_TEST_GRPC_FIXTURE_H

#include "test.h"

#include <stdlib.h>

#include "etcd_fixture.h"
#include "hex.h"

/* Cluster 7, revision 50. */
#define HEADER "0a0408071832"
#define FRAME(size, hex) "00000000" size hex
#define EMPTY FRAME("06", HEADER)
/* What is said of an answer: HTTP status, content type, grpc-status, grpc-message, body; "-" is nothing. */
#define OK(body) "200 application/grpc 0 - " body
#define FAILED(status, message) "200 application/grpc " status " " message " -"
#define JSON_OK "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"50\"}}"

static const dsync_setting grpc_setting = {"etcd.transport", "grpc"};
static const dsync_setting auto_setting = {"etcd.transport", "auto"};
TEST_UNUSED static const dsync_options only_grpc = {
    .prefix = "p", .id = "node", .max_value = 65536, .settings = &grpc_setting, .setting_count = 1};
TEST_UNUSED static const dsync_options either = {
    .prefix = "p", .id = "node", .max_value = 65536, .settings = &auto_setting, .setting_count = 1};

TEST_UNUSED static void say(fw_request *request, const char *line) {
    char words[5][400], body[400];
    const char *at = line;
    for (size_t i = 0; i < DS_COUNT(words); i++) {
        size_t size = strcspn(at, " ");
        memcpy(words[i], at, size);
        words[i][size] = '\0';
        at += size + (at[size] != '\0');
    }
    fw_header headers[3];
    size_t count = 0;
    static const char *const names[] = {"content-type", "grpc-status", "grpc-message"};
    for (size_t i = 0; i < DS_COUNT(names); i++) {
        if (strcmp(words[i + 1], "-") != 0) {
            headers[count++] = (fw_header){names[i], words[i + 1]};
        }
    }
    fw_answer answer = {.status = (int)strtol(words[0], NULL, 10), .headers = headers, .header_count = count};
    answer.body = body;
    answer.body_size = strcmp(words[4], "-") != 0 ? unhex_into(body, words[4]) : 0;
    fw_finish(request, DS_MS, &answer);
}

static const char *const *lines; /* one for each request over HTTP/2; NULL: HTTP/2 is not spoken */
static unsigned json_count, grpc_count;
static fw_request *stream;
static dsync_code how_certain = DSYNC_UNSUPPORTED;

static void on_request(fw_request *request, void *argument) {
    (void)argument;
    if (!request->http2) {
        json_count++;
        if (request->stream) {
            stream = request;
        } else {
            fw_reply(request, DS_MS, 200, JSON_OK);
        }
        return;
    }
    grpc_count++;
    if (*lines == NULL) {
        fw_finish(
            request, DS_MS,
            &(fw_answer){
                .fate = DS_HTTP_NOT_SENT, .code = (int)how_certain, .not_http2 = true, .message = "no HTTP/2 there"});
    } else if (request->stream) {
        stream = request;
    } else {
        say(request, *lines++);
    }
}

TEST_UNUSED static void begin(etcd_case *e, const dsync_options *options, const char *const *said) {
    lines = said;
    json_count = grpc_count = 0;
    stream = NULL;
    how_certain = DSYNC_UNSUPPORTED;
    ef_open(e, options);
    fw_serve(e->u, &(fw_server){.on_request = on_request});
}

TEST_UNUSED static void ask(etcd_case *e, ef_start *start) {
    ef_ask(e, start, NULL);
}

TEST_UNUSED static const char *const nothing[] = {NULL};

#endif
