/* http_options.c: how libcurl is set up: once per handle (security), and per request. No transfer is started here. */
#include "http_internal.h"

#include <string.h>

#define KEEPALIVE_IDLE_S 15L
#define KEEPALIVE_PROBE_S 5L

/* A chain of settings that ends at the first refusal. */
#define SET(option, value)                                                                                             \
    do {                                                                                                               \
        CURLcode set_result = curl_easy_setopt(http->easy, (option), (value));                                         \
        if (set_result != CURLE_OK) {                                                                                  \
            return set_result;                                                                                         \
        }                                                                                                              \
    } while (0)

/* Names, verification and files of TLS. Only the authorities the user names count, if any are named. No session is
 * resumed: that would skip the verification, and libcurl 7.88 frees twice what it could not keep of one for want of
 * memory. */
static CURLcode set_tls(ds_http *http) {
    const ds_http_client *client = http->client;
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    SET(CURLOPT_SSL_VERIFYPEER, client->insecure ? 0L : 1L);
    SET(CURLOPT_SSL_VERIFYHOST, client->insecure ? 0L : 2L);
    if (client->ca != NULL) {
        SET(CURLOPT_CAINFO, client->ca);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (client->cert != NULL) {
        SET(CURLOPT_SSLCERT, client->cert);
        SET(CURLOPT_SSLCERTTYPE, "PEM");
    }
    if (client->key != NULL) {
        SET(CURLOPT_SSLKEY, client->key);
        SET(CURLOPT_SSLKEYTYPE, "PEM");
        SET(CURLOPT_KEYPASSWD, ""); /* an encrypted key fails instead of asking on the terminal */
    }
    return CURLE_OK;
}

static CURLcode set_protocols(ds_http *http) {
#if LIBCURL_VERSION_NUM >= 0x075500
    if (curl_easy_setopt(http->easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK) {
        SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
        return CURLE_OK;
    }
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)); /* libraries before 7.85 */
    SET(CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
    return CURLE_OK;
}

/* libcurl sends a request again by itself when a reused connection turns out to be dead; we must know of it. */
static CURLcode set_send_counter(ds_http *http) {
#if LIBCURL_VERSION_NUM >= 0x075000
    if (curl_easy_setopt(http->easy, CURLOPT_PREREQFUNCTION, ds_http_on_send) == CURLE_OK) {
        SET(CURLOPT_PREREQDATA, http);
        return CURLE_OK;
    }
#endif
    SET(CURLOPT_DEBUGFUNCTION, ds_http_on_trace); /* libraries before 7.80: slower, the same knowledge */
    SET(CURLOPT_DEBUGDATA, http);
    SET(CURLOPT_VERBOSE, 1L);
    return CURLE_OK;
}

CURLcode ds_http_options_fixed(ds_http *http) {
    CURLcode result = set_protocols(http);
    result = result == CURLE_OK ? set_tls(http) : result;
    result = result == CURLE_OK ? set_send_counter(http) : result;
    if (result != CURLE_OK) {
        return result;
    }
    SET(CURLOPT_PRIVATE, http);
    SET(CURLOPT_ERRORBUFFER, http->curl_error);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_NOPROGRESS, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_USERAGENT, "dsync/" DSYNC_VERSION);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_HTTP_CONTENT_DECODING, 0L);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_DNS_CACHE_TIMEOUT, -1L); /* http_host.c decides what is in it */
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)http->client->connect_timeout_ms);
    SET(CURLOPT_OPENSOCKETFUNCTION, ds_http_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, http);
    SET(CURLOPT_HEADERFUNCTION, ds_http_on_header);
    SET(CURLOPT_HEADERDATA, http);
    SET(CURLOPT_WRITEFUNCTION, ds_http_on_body);
    SET(CURLOPT_WRITEDATA, http);
    SET(CURLOPT_READFUNCTION, ds_http_on_read);
    SET(CURLOPT_READDATA, http);
    return CURLE_OK;
}

static CURLcode set_method(ds_http *http) {
    bool post = strcmp(http->method, "POST") == 0;
    if (http->duplex) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, NULL);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)-1);
    } else if (http->body_size > 0 || !http->read_only) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)http->body_size);
        SET(CURLOPT_POSTFIELDS, http->body); /* not copied: lives until the request has ended */
    } else {
        SET(CURLOPT_HTTPGET, 1L);
    }
    SET(CURLOPT_CUSTOMREQUEST, post || http->read_only ? NULL : http->method);
    return CURLE_OK;
}

static CURLcode set_route(ds_http *http) {
    ds_http_host *host = http->host;
    SET(CURLOPT_CONNECT_TO, host->connect_to.data != NULL ? &host->connect_to : NULL);
    SET(CURLOPT_UNIX_SOCKET_PATH, host->unix_path);
    if (host->resolve_news || http->resolve_set) {
        SET(CURLOPT_RESOLVE, host->resolve_news ? &host->resolve : NULL);
        http->resolve_set = host->resolve_news;
        host->resolve_news = false;
    }
    return CURLE_OK;
}

/* A stream has a connection to itself: it can neither be sent twice nor leave half an answer behind. It may be
 * silent for hours, so the system must find out when the other side is gone, in about the time that a request would
 * take to. */
static CURLcode set_connection(ds_http *http) {
    long idle = KEEPALIVE_IDLE_S;
    long probe = KEEPALIVE_PROBE_S;
    if (http->stream) {
        idle = (long)(2 * http->client->connect_timeout_ms / 1000);
        idle = idle < 1 ? 1 : idle;
        probe = idle > 1 ? idle / 2 : 1;
    }
    SET(CURLOPT_TCP_KEEPIDLE, idle);
    SET(CURLOPT_TCP_KEEPINTVL, probe);
    SET(CURLOPT_FRESH_CONNECT, http->stream ? 1L : 0L);
    SET(CURLOPT_FORBID_REUSE, http->stream ? 1L : 0L);
    return CURLE_OK;
}

CURLcode ds_http_options_request(ds_http *http) {
    CURLcode result = set_method(http);
    result = result == CURLE_OK ? set_route(http) : result;
    result = result == CURLE_OK ? set_connection(http) : result;
    if (result != CURLE_OK) {
        return result;
    }
    SET(CURLOPT_URL, http->url);
    SET(CURLOPT_HTTPHEADER, http->header_count > 0 ? http->headers : NULL);
    return CURLE_OK;
}
