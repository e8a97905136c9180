/* h2_result.c: what can be said of a request over HTTP/2 that has ended, for the core (fate, code) and for people
 * (message).
 */
#include "h2.h"

#if __has_include(<nghttp2/nghttp2.h>)

#include "h2_internal.h"

#include <stdio.h>

#define TEXT(...) ((void)snprintf(text, text_size, __VA_ARGS__))

static const char *origin(const ds_h2_request *self) {
    return self->host->origin;
}

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
        TEXT("%s: the server takes no requests just now", origin(self));
        break;
    case NGHTTP2_HTTP_1_1_REQUIRED:
        result->fate = DS_HTTP_NOT_SENT;
        result->not_http2 = true;
        result->code = DSYNC_UNSUPPORTED;
        TEXT("%s: the server wants an older HTTP than HTTP/2", origin(self));
        break;
    case NGHTTP2_PROTOCOL_ERROR:
    case NGHTTP2_FRAME_SIZE_ERROR:
    case NGHTTP2_COMPRESSION_ERROR:
        result->code = DSYNC_PROTOCOL;
        TEXT("%s: the answer breaks the rules of HTTP/2; is this the right port?", origin(self));
        break;
    default:
        TEXT("%s: the server broke off the answer (%s)", origin(self), nghttp2_http2_strerror(self->error_code));
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
        TEXT("%s: the answer is longer than %zu bytes; is this the right kind of server?", origin(self),
             self->reply_max);
    } else if (self->outcome == DS_H2_TOO_MANY) {
        TEXT("%s: the answer has too many headers; is this the right kind of server?", origin(self));
    } else {
        TEXT("%s: out of memory", origin(self));
    }
}

void ds_h2_judge_failure(ds_h2_request *self, const ds_h2_failure *failure, ds_http_result *result, char *text,
                         size_t text_size) {
    begin(self, result, text);
    result->code = (int)failure->code;
    result->not_http2 = failure->not_http2 && !self->sent;
    TEXT("%s: %s", origin(self), failure->text);
}

void ds_h2_judge_timeout(ds_h2_request *self, ds_http_result *result, char *text, size_t text_size) {
    const ds_h2_link *link = self->host->link;
    double seconds = (double)self->timeout_ns / 1e9;
    begin(self, result, text);
    if (self->sent) {
        TEXT("%s: no answer within %.3g s", origin(self), seconds);
    } else if (link != NULL && link->stage == DS_H2_LOOKUP) {
        TEXT("%s: looking up the host's address takes too long; is the name server up?", origin(self));
    } else if (link != NULL && link->stage != DS_H2_UP) {
        TEXT("%s: no connection within %.3g s; is the server up and the address right?", origin(self), seconds);
    } else {
        TEXT("%s: not sent within %.3g s, because too many other requests were under way", origin(self), seconds);
    }
}

void ds_h2_judge_unsound(ds_h2_request *self, ds_http_result *result, char *text, size_t text_size) {
    begin(self, result, text);
    result->fate = DS_HTTP_REFUSED;
    result->code = (int)DSYNC_CONFIG;
    TEXT("%s: %s", origin(self), self->unsound);
}

#endif
