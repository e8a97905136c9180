/* curl_late.h: libcurl, loaded when the first client that speaks HTTP is made.
 *
 * libcurl brings some thirty libraries along, and the dynamic linker needs several milliseconds for them: more than the
 * whole life of a short program that uses only the local backend. So nothing here is linked against it; its functions
 * are called through a table, under their own names: by http_internal.h, which includes <curl/curl.h> first. Others can
 * only have it loaded.
 */
#ifndef DS_CURL_LATE_H
#define DS_CURL_LATE_H

#include "../dsync.h"

#include <stdbool.h>

/* Loads libcurl unless it is there; false with DSYNC_UNSUPPORTED when it is not there. Any thread. */
bool ds_curl_load(dsync_error *error);

#ifdef LIBCURL_VERSION_NUM

/* Every function of libcurl that is called. */
#define DS_CURL_FUNCTIONS(X)                                                                                           \
    X(easy_cleanup)                                                                                                    \
    X(easy_getinfo)                                                                                                    \
    X(easy_init)                                                                                                       \
    X(easy_pause)                                                                                                      \
    X(easy_setopt)                                                                                                     \
    X(easy_strerror)                                                                                                   \
    X(global_init_mem)                                                                                                 \
    X(multi_add_handle)                                                                                                \
    X(multi_cleanup)                                                                                                   \
    X(multi_info_read)                                                                                                 \
    X(multi_init)                                                                                                      \
    X(multi_perform)                                                                                                   \
    X(multi_poll)                                                                                                      \
    X(multi_remove_handle)                                                                                             \
    X(multi_setopt)                                                                                                    \
    X(multi_wakeup)                                                                                                    \
    X(version_info)

/* Type checks that are macros of libcurl's headers; the prototypes remain. */
#undef curl_easy_getinfo
#undef curl_easy_setopt
#undef curl_multi_setopt

#define DS_CURL_POINTER(name) __typeof__ (&curl_##name)(name);
typedef struct ds_curl_table {
    DS_CURL_FUNCTIONS(DS_CURL_POINTER)
} ds_curl_table;

extern ds_curl_table ds_curl;

#ifndef DS_CURL_LATE_IMPLEMENTATION
#define curl_easy_cleanup ds_curl.easy_cleanup
#define curl_easy_getinfo ds_curl.easy_getinfo
#define curl_easy_init ds_curl.easy_init
#define curl_easy_pause ds_curl.easy_pause
#define curl_easy_setopt ds_curl.easy_setopt
#define curl_easy_strerror ds_curl.easy_strerror
#define curl_global_init_mem ds_curl.global_init_mem
#define curl_multi_add_handle ds_curl.multi_add_handle
#define curl_multi_cleanup ds_curl.multi_cleanup
#define curl_multi_info_read ds_curl.multi_info_read
#define curl_multi_init ds_curl.multi_init
#define curl_multi_perform ds_curl.multi_perform
#define curl_multi_poll ds_curl.multi_poll
#define curl_multi_remove_handle ds_curl.multi_remove_handle
#define curl_multi_setopt ds_curl.multi_setopt
#define curl_multi_wakeup ds_curl.multi_wakeup
#define curl_version_info ds_curl.version_info
#endif

#endif

#endif
