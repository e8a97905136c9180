/* h2_late.h: libnghttp2, loaded when the first request over HTTP/2 is made.
 *
 * As with libcurl (curl_late.h) nothing here is linked against it, so that who does not need it does not have to have
 * it, and its functions are called through a table, under their own names. ds_h2_load (h2.h) fills the table.
 */
#ifndef DS_H2_LATE_H
#define DS_H2_LATE_H

#include <nghttp2/nghttp2.h>

/* Every function of libnghttp2 that is called. */
#define DS_NGHTTP2_FUNCTIONS(X)                                                                                        \
    X(http2_strerror)                                                                                                  \
    X(option_del)                                                                                                      \
    X(option_new)                                                                                                      \
    X(option_set_no_closed_streams)                                                                                    \
    X(session_callbacks_del)                                                                                           \
    X(session_callbacks_new)                                                                                           \
    X(session_callbacks_set_before_frame_send_callback)                                                                \
    X(session_callbacks_set_on_data_chunk_recv_callback)                                                               \
    X(session_callbacks_set_on_frame_recv_callback)                                                                    \
    X(session_callbacks_set_on_header_callback)                                                                        \
    X(session_callbacks_set_on_stream_close_callback)                                                                  \
    X(session_check_request_allowed)                                                                                   \
    X(session_client_new3)                                                                                             \
    X(session_del)                                                                                                     \
    X(session_get_remote_settings)                                                                                     \
    X(session_get_stream_user_data)                                                                                    \
    X(session_mem_recv)                                                                                                \
    X(session_mem_send)                                                                                                \
    X(session_resume_data)                                                                                             \
    X(session_set_local_window_size)                                                                                   \
    X(session_set_stream_user_data)                                                                                    \
    X(session_want_read)                                                                                               \
    X(session_want_write)                                                                                              \
    X(submit_ping)                                                                                                     \
    X(submit_request)                                                                                                  \
    X(submit_rst_stream)                                                                                               \
    X(submit_settings)

#define DS_NGHTTP2_POINTER(name) __typeof__ (&nghttp2_##name)(name);
typedef struct ds_nghttp2_table {
    DS_NGHTTP2_FUNCTIONS(DS_NGHTTP2_POINTER)
} ds_nghttp2_table;

extern ds_nghttp2_table ds_nghttp2;

#ifndef DS_H2_LATE_IMPLEMENTATION
#define nghttp2_http2_strerror ds_nghttp2.http2_strerror
#define nghttp2_option_del ds_nghttp2.option_del
#define nghttp2_option_new ds_nghttp2.option_new
#define nghttp2_option_set_no_closed_streams ds_nghttp2.option_set_no_closed_streams
#define nghttp2_session_callbacks_del ds_nghttp2.session_callbacks_del
#define nghttp2_session_callbacks_new ds_nghttp2.session_callbacks_new
#define nghttp2_session_callbacks_set_before_frame_send_callback                                                       \
    ds_nghttp2.session_callbacks_set_before_frame_send_callback
#define nghttp2_session_callbacks_set_on_data_chunk_recv_callback                                                      \
    ds_nghttp2.session_callbacks_set_on_data_chunk_recv_callback
#define nghttp2_session_callbacks_set_on_frame_recv_callback ds_nghttp2.session_callbacks_set_on_frame_recv_callback
#define nghttp2_session_callbacks_set_on_header_callback ds_nghttp2.session_callbacks_set_on_header_callback
#define nghttp2_session_callbacks_set_on_stream_close_callback ds_nghttp2.session_callbacks_set_on_stream_close_callback
#define nghttp2_session_check_request_allowed ds_nghttp2.session_check_request_allowed
#define nghttp2_session_client_new3 ds_nghttp2.session_client_new3
#define nghttp2_session_del ds_nghttp2.session_del
#define nghttp2_session_get_remote_settings ds_nghttp2.session_get_remote_settings
#define nghttp2_session_get_stream_user_data ds_nghttp2.session_get_stream_user_data
#define nghttp2_session_mem_recv ds_nghttp2.session_mem_recv
#define nghttp2_session_mem_send ds_nghttp2.session_mem_send
#define nghttp2_session_resume_data ds_nghttp2.session_resume_data
#define nghttp2_session_set_local_window_size ds_nghttp2.session_set_local_window_size
#define nghttp2_session_set_stream_user_data ds_nghttp2.session_set_stream_user_data
#define nghttp2_session_want_read ds_nghttp2.session_want_read
#define nghttp2_session_want_write ds_nghttp2.session_want_write
#define nghttp2_submit_ping ds_nghttp2.submit_ping
#define nghttp2_submit_request ds_nghttp2.submit_request
#define nghttp2_submit_rst_stream ds_nghttp2.submit_rst_stream
#define nghttp2_submit_settings ds_nghttp2.submit_settings
#endif

#endif
