/* h2_frames.c: what libnghttp2 calls while frames come and go, and what is said to it. These callbacks run inside
 * nghttp2_session_mem_recv and _mem_send, with the loop's mutex held; what they hear goes into the request or straight
 * to a stream's sink. Ends are only noted: sinks are told when libnghttp2 has returned.
 */
#include "h2.h"

#if __has_include(<nghttp2/nghttp2.h>)

#include "h2_internal.h"

#include <string.h>
#include <strings.h>

/* A sink takes what comes at once, so that these are no bounds on memory, only on what a server may send unasked. */
#define STREAM_WINDOW (1 << 20)
#define LINK_WINDOW (8 << 20)

/* ---- headers ----------------------------------------------------------------------------------------------------- */

static void begin_answer(ds_h2_request *self, const uint8_t *value, size_t size) {
    self->status = 0;
    for (size_t i = 0; i < size && i < 3 && value[i] >= '0' && value[i] <= '9'; i++) {
        self->status = self->status * 10 + (value[i] - '0');
    }
    ds_buf_clear(&self->reply_headers);
    memset(self->value_at, 0, sizeof(self->value_at));
}

static void keep_if_wanted(ds_h2_request *self, const uint8_t *name, size_t name_size, const uint8_t *value,
                           size_t value_size) {
    for (size_t i = 0; i < DS_HTTP_HEADERS_MAX && self->want_headers[i] != NULL; i++) {
        if (self->value_at[i] == 0 && strlen(self->want_headers[i]) == name_size &&
            strncasecmp(self->want_headers[i], (const char *)name, name_size) == 0 &&
            (value_size == 0 || memchr(value, '\0', value_size) == NULL)) {
            self->value_at[i] = self->reply_headers.size + 1;
            ds_buf_add(&self->reply_headers, value, value_size);
            ds_buf_add_char(&self->reply_headers, '\0');
            return;
        }
    }
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
    (void)flags;
    (void)user;
    ds_h2_request *self = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (self == NULL || self->sink == NULL) {
        return 0;
    }
    self->header_bytes += name_size + value_size + 4; /* as a line of HTTP/1.1 */
    if (++self->header_lines > DS_HTTP_HEADER_LINES_MAX || self->header_bytes > DS_HTTP_HEADER_BYTES_MAX) {
        ds_h2_let_go(self, NGHTTP2_CANCEL, DS_H2_TOO_MANY);
        return 0;
    }
    if (name_size == 7 && memcmp(name, ":status", 7) == 0) {
        begin_answer(self, value, value_size);
    } else {
        keep_if_wanted(self, name, name_size, value, value_size);
    }
    if (self->reply_headers.failed) {
        ds_h2_let_go(self, NGHTTP2_CANCEL, DS_H2_NO_MEMORY);
    }
    return 0;
}

/* ---- bodies ------------------------------------------------------------------------------------------------------ */

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes, size_t size,
                   void *user) {
    (void)flags;
    (void)user;
    ds_h2_request *self = nghttp2_session_get_stream_user_data(session, stream_id);
    if (self == NULL || self->sink == NULL) {
        return 0;
    }
    if (self->stream && self->status == 200) {
        self->sink->on_data(self->sink, (const char *)bytes, size);
    } else if (size > self->reply_max || self->reply.size > self->reply_max - size) {
        ds_h2_let_go(self, NGHTTP2_CANCEL, DS_H2_TOO_LONG);
    } else {
        ds_buf_add(&self->reply, bytes, size);
        if (self->reply.failed) {
            ds_h2_let_go(self, NGHTTP2_CANCEL, DS_H2_NO_MEMORY);
        }
    }
    return 0;
}

static ssize_t on_read(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t size, uint32_t *flags,
                       nghttp2_data_source *source, void *user) {
    (void)source;
    (void)user;
    ds_h2_request *self = nghttp2_session_get_stream_user_data(session, stream_id);
    if (self == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* cancelled: the stream is reset */
    }
    if (self->duplex) {
        size = size < self->upload.size ? size : self->upload.size;
        if (size == 0) {
            return NGHTTP2_ERR_DEFERRED;
        }
        memcpy(out, self->upload.data, size);
        ds_buf_consume(&self->upload, size);
        return (ssize_t)size;
    }
    size_t left = self->body_size - self->body_sent;
    size = size < left ? size : left;
    memcpy(out, self->body + self->body_sent, size);
    self->body_sent += size;
    if (self->body_sent == self->body_size) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)size;
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static int before_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    const ds_h2_link *link = user;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        ds_h2_request *self = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (self != NULL && !self->framed) {
            self->framed = true;
            self->frame_at = link->framed;
        }
    }
    return 0;
}

static void on_stream_frame(ds_h2_request *self, const nghttp2_frame *frame) {
    if (frame->hd.type == NGHTTP2_HEADERS && self->status >= 200) {
        self->head_ended = true;
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && self->head_ended) {
        /* What we have not sent is of no interest to the server any more; a whole request needs no reset. */
        bool whole = !self->duplex && self->body_sent == self->body_size;
        ds_h2_let_go(self, whole ? DS_H2_CLOSED : NGHTTP2_NO_ERROR, DS_H2_COMPLETE);
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    ds_h2_link *link = user;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA: {
        ds_h2_request *self = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (self != NULL && self->sink != NULL) {
            on_stream_frame(self, frame);
        }
        break;
    }
    case NGHTTP2_SETTINGS:
        if (link->stage == DS_H2_GREETING && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
            ds_h2_link_up(link);
        }
        break;
    case NGHTTP2_GOAWAY:
        ds_h2_link_leave(link);
        break;
    default:
        break;
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *user) {
    const ds_h2_link *link = user;
    ds_h2_request *self = nghttp2_session_get_stream_user_data(session, stream_id);
    if (self != NULL) {
        self->error_code = error_code;
        ds_h2_let_go(self, DS_H2_CLOSED, link->client->starved ? DS_H2_NO_MEMORY : DS_H2_RESET);
    }
    return 0;
}

/* ---- what is said to libnghttp2 ---------------------------------------------------------------------------------- */

static void *noted(void *user, void *memory) {
    ds_h2_client *client = user;
    client->starved = client->starved || memory == NULL;
    return memory;
}

static void *get(size_t size, void *user) {
    return noted(user, ds_malloc(size));
}

static void give_back(void *memory, void *user) {
    (void)user;
    ds_free(memory);
}

static void *get_zeroed(size_t count, size_t size, void *user) {
    return noted(user, ds_calloc(count, size));
}

static void *get_other(void *old, size_t size, void *user) {
    return noted(user, ds_realloc(old, size));
}

bool ds_h2_setup(ds_h2_client *client) {
    client->memory = (nghttp2_mem){
        .mem_user_data = client, .malloc = get, .free = give_back, .calloc = get_zeroed, .realloc = get_other};
    if (nghttp2_session_callbacks_new(&client->callbacks) != 0 || nghttp2_option_new(&client->option) != 0) {
        return false;
    }
    nghttp2_session_callbacks_set_on_header_callback(client->callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(client->callbacks, on_data);
    nghttp2_session_callbacks_set_before_frame_send_callback(client->callbacks, before_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(client->callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(client->callbacks, on_close);
    nghttp2_option_set_no_closed_streams(client->option, 1);
    return true;
}

bool ds_h2_session_begin(ds_h2_link *link) {
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)DS_HTTP_HEADER_BYTES_MAX},
    };
    ds_h2_client *client = link->client;
    return nghttp2_session_client_new3(&link->session, client->callbacks, link, client->option, &client->memory) == 0 &&
           nghttp2_submit_settings(link->session, NGHTTP2_FLAG_NONE, settings, DS_COUNT(settings)) == 0 &&
           nghttp2_session_set_local_window_size(link->session, NGHTTP2_FLAG_NONE, 0, LINK_WINDOW) == 0;
}

bool ds_h2_submit(ds_h2_link *link, ds_h2_request *request) {
    nghttp2_data_provider body = {.source = {.ptr = NULL}, .read_callback = on_read};
    bool has_body = request->duplex || request->body_size > 0;
    request->stream_id = nghttp2_submit_request(link->session, NULL, request->headers, request->header_count,
                                                has_body ? &body : NULL, request);
    return request->stream_id > 0;
}

void ds_h2_ask(ds_h2_link *link) {
    if (nghttp2_submit_ping(link->session, NGHTTP2_FLAG_NONE, NULL) == 0) {
        link->asked_ns = ds_now(link->client->world);
        link->news = link->client->news = true;
    }
}

#endif
