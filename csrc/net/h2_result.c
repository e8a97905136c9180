/* h2_result.c: what can be said of a request over HTTP/2 that has ended, for the core (fate, code) and for people
 * (message).
 */
#include "h2.h"

#if __has_include(<nghttp2/nghttp2.h>)

#include "h2_internal.h"

#include <stdio.h>

#define TEXT(...) ((void)snprintf(text, text_size, __VA_ARGS__))

static void begin(ds_h2_request *self, ds_http_result *result, char *text) {
    text[0] = '\0';
    *result = (ds_http_result){.fate = self->sent ? DS_HTTP_UNKNOWN : DS_HTTP_NOT_SENT,
                               .status = self->status,
                               .header_values = self->values,
                               .message = text};
}

static void answer(ds_h2_request *self, ds_http_result *result) {
    result->fate = DS_HTTP_ANSWERED;
    result->body = self->reply.size > 0 ? self->reply.data : NULL;
    result->body_size = self->reply.size;
    for (size_t i = 0; i < DS_HTTP_HEADERS_MAX; i++) {
        self->values[i] = self->value_at[i] > 0 ? self->reply_headers.data + self->value_at[i] - 1 : NULL;
    }
}

static void judge_reset(ds_h2_request *self, ds_http_result *result, char *text, size_t text_size) {
    /* Whoever has begun to answer has looked at the request, whatever it says afterwards. */
    switch (self->head_ended ? NGHTTP2_INTERNAL_ERROR : self->error_code) {
    case NGHTTP2_REFUSED_STREAM:
        result->fate = DS_HTTP_NOT_SENT; /* RFC 9113, 8.7: not processed at all */
        TEXT("the server takes no requests just now");
        break;
    case NGHTTP2_HTTP_1_1_REQUIRED:
        result->fate = DS_HTTP_NOT_SENT;
        result->not_http2 = true;
        result->code = DSYNC_UNSUPPORTED;
        TEXT("the server wants an older HTTP than HTTP/2");
        break;
    case NGHTTP2_PROTOCOL_ERROR:
    case NGHTTP2_FRAME_SIZE_ERROR:
    case NGHTTP2_COMPRESSION_ERROR:
        result->code = DSYNC_PROTOCOL;
        TEXT("the answer breaks the rules of HTTP/2; is this the right port?");
        break;
    default:
        TEXT("the server broke off the answer (%s)", nghttp2_http2_strerror(self->error_code));
        break;
    }
}

void ds_h2_judge(ds_h2_request *self, ds_http_result *result, char *text, size_t text_size) {
    begin(self, result, text);
    if (self->outcome == DS_H2_COMPLETE) {
        answer(self, result);
        return;
    }
    if (self->outcome == DS_H2_RESET) {
        judge_reset(self, result, text, text_size);
        return;
    }
    /* What only reads can be refused for good; a write that was answered at too great length may have happened. */
    result->code = (int)(self->outcome == DS_H2_NO_MEMORY ? DSYNC_RESOURCE : DSYNC_PROTOCOL);
    if (self->sent) {
        result->fate = self->read_only ? DS_HTTP_REFUSED : DS_HTTP_UNKNOWN;
    }
    if (self->outcome == DS_H2_TOO_LONG) {
        TEXT("the answer is longer than %zu bytes; is this the right kind of server?", self->reply_max);
    } else if (self->outcome == DS_H2_TOO_MANY) {
        TEXT("the answer has too many headers; is this the right kind of server?");
    } else {
        TEXT("out of memory");
    }
}

void ds_h2_judge_failure(ds_h2_request *self, const ds_h2_failure *failure, ds_http_result *result, char *text,
                         size_t text_size) {
    begin(self, result, text);
    result->code = (int)failure->code;
    result->not_http2 = failure->not_http2 && !self->sent;
    TEXT("%s", failure->text);
}

void ds_h2_judge_timeout(ds_h2_request *self, ds_http_result *result, char *text, size_t text_size) {
    const ds_h2_link *link = self->host->link;
    double seconds = (double)self->timeout_ns / 1e9;
    begin(self, result, text);
    if (self->sent) {
        TEXT("no answer within %.3g s", seconds);
    } else if (link != NULL && link->stage == DS_H2_LOOKUP) {
        TEXT("looking up the host's address takes too long; is the name server up?");
    } else if (link != NULL && link->stage != DS_H2_UP) {
        TEXT("no connection within %.3g s; is the server up and the address right?", seconds);
    } else {
        TEXT("not sent within %.3g s, because too many other requests were under way", seconds);
    }
}

void ds_h2_judge_unsound(ds_h2_request *self, ds_http_result *result, char *text, size_t text_size) {
    begin(self, result, text);
    result->fate = DS_HTTP_REFUSED;
    result->code = (int)DSYNC_CONFIG;
    TEXT("%s", self->unsound);
}

#endif
