/* http_result.c: what can be said of a request that has ended, for the core (fate, code) and for people (message). */
#include "http_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT(...) ((void)snprintf(text, text_size, __VA_ARGS__))

static void not_answered(ds_http *http, ds_http_result *result) {
    result->fate = http->sends > 0 ? DS_HTTP_UNKNOWN : DS_HTTP_NOT_SENT;
}

static void refused(ds_http_result *result, dsync_code code) {
    result->fate = DS_HTTP_REFUSED;
    result->code = (int)code;
}

/* ---- no connection ----------------------------------------------------------------------------------------------- */

static void judge_connect(ds_http *http, ds_http_result *result, char *text, size_t text_size) {
    long os_error = 0;
    (void)curl_easy_getinfo(http->easy, CURLINFO_OS_ERRNO, &os_error);
    const char *hint = ds_http_connect_hint(os_error);
    not_answered(http, result);
    result->code = os_error == EMFILE || os_error == ENFILE ? DSYNC_RESOURCE : 0;
    TEXT("%s", hint != NULL ? hint : "cannot connect");
}

static void judge_time(ds_http *http, int64_t limit_ns, ds_http_result *result, char *text, size_t text_size) {
    not_answered(http, result);
    double seconds = (double)limit_ns / 1e9;
    if (http->sends > 0) {
        TEXT("no answer within %.3g s", seconds);
    } else {
        TEXT("no connection within %.3g s; is the server up and the address right?", seconds);
    }
}

/* ---- TLS --------------------------------------------------------------------------------------------------------- */

/* With TLS 1.3 a server judges our certificate only after the handshake: its verdict comes as an alert where the answer
 * should be. It never looked at the request then. */
static bool is_certificate_alert(const ds_http *http) {
    const char *alert = strstr(http->curl_error, "alert");
    return alert != NULL && (strstr(alert, "certificate") != NULL || strstr(alert, "unknown ca") != NULL);
}

static void judge_alert(ds_http *http, ds_http_result *result, char *text, size_t text_size) {
    refused(result, DSYNC_DENIED);
    TEXT("the server does not accept our certificate (%s); check tls cert and key", http->curl_error);
}

static void judge_handshake(ds_http *http, ds_http_result *result, char *text, size_t text_size) {
    if (is_certificate_alert(http)) {
        judge_alert(http, result, text, text_size);
        return;
    }
    not_answered(http, result);
    TEXT("TLS handshake failed (%s); does the server speak TLS on this port?", http->curl_error);
}

static void judge_broken(ds_http *http, ds_http_result *result, char *text, size_t text_size) {
    if (http->host->tls && http->status == 0 && is_certificate_alert(http)) {
        judge_alert(http, result, text, text_size);
        return;
    }
    not_answered(http, result);
    TEXT("the connection broke before the answer was complete");
}

/* ---- our own limits ---------------------------------------------------------------------------------------------- */

static void judge_abort(ds_http *http, ds_http_result *result, char *text, size_t text_size) {
    /* What only reads can be refused for good; a write that was answered at too great length may have happened. */
    refused(result, http->abort == DS_HTTP_ABORT_MEMORY ? DSYNC_RESOURCE : DSYNC_PROTOCOL);
    if (!http->read_only) {
        result->fate = DS_HTTP_UNKNOWN;
    }
    switch (http->abort) {
    case DS_HTTP_ABORT_BODY_SIZE:
        TEXT("the answer is longer than %zu bytes; is this the right kind of server?", http->reply_max);
        break;
    case DS_HTTP_ABORT_HEADERS:
        TEXT("the answer has too many headers; is this the right kind of server?");
        break;
    default:
        TEXT("out of memory while reading the answer");
        break;
    }
}

static void judge_protocol(ds_http *http, ds_http_result *result, char *text, size_t text_size) {
    not_answered(http, result);
    result->code = DSYNC_PROTOCOL;
    TEXT("the answer is not HTTP; is this the right port?");
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static void judge_failure(ds_http *http, CURLcode curl, ds_http_result *result, char *text, size_t text_size) {
    switch (curl) {
    case CURLE_COULDNT_CONNECT:
        judge_connect(http, result, text, text_size);
        return;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        not_answered(http, result);
        TEXT("cannot find the host's address; is its name right?");
        return;
    case CURLE_OPERATION_TIMEDOUT:
        judge_time(http, http->client->connect_timeout_ms * DS_MS, result, text, text_size);
        return;
    case CURLE_SSL_CONNECT_ERROR:
        judge_handshake(http, result, text, text_size);
        return;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        refused(result, DSYNC_DENIED);
        TEXT("the server's certificate is not to be trusted (%s); check tls ca and server_name", http->curl_error);
        return;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_CRL_BADFILE:
        refused(result, DSYNC_CONFIG);
        TEXT("cannot use the TLS files (%s); check tls ca, cert and key", http->curl_error);
        return;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        if (http->sends > 0) {
            judge_protocol(http, result, text, text_size);
            return;
        }
        refused(result, DSYNC_CONFIG);
        TEXT("this libcurl cannot speak to such an address (%s)", http->curl_error);
        return;
    case CURLE_URL_MALFORMAT:
    case CURLE_NOT_BUILT_IN:
    case CURLE_UNKNOWN_OPTION:
    case CURLE_BAD_FUNCTION_ARGUMENT:
        refused(result, DSYNC_CONFIG);
        TEXT("libcurl refuses the request (%s)", curl_easy_strerror(curl));
        return;
    case CURLE_GOT_NOTHING:
        not_answered(http, result);
        TEXT("the server closed the connection without an answer");
        return;
    case CURLE_OUT_OF_MEMORY:
        not_answered(http, result);
        result->code = DSYNC_RESOURCE;
        TEXT("out of memory");
        return;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
        judge_broken(http, result, text, text_size);
        return;
    default:
        not_answered(http, result);
        TEXT("%s", curl_easy_strerror(curl));
        return;
    }
}

static void answer(ds_http *http, ds_http_result *result, const char **values) {
    result->body = http->reply.size > 0 ? http->reply.data : NULL;
    result->body_size = http->reply.size;
    for (size_t i = 0; i < DS_HTTP_HEADERS_MAX; i++) {
        values[i] = http->value_at[i] > 0 ? http->reply_headers.data + http->value_at[i] - 1 : NULL;
    }
}

static void begin(ds_http *http, ds_http_result *result, char *text) {
    text[0] = '\0';
    result->fate = DS_HTTP_ANSWERED;
    result->code = 0;
    result->status = (int)http->status;
    result->resent = http->sends > 1;
    result->not_http2 = false;
    result->body = NULL;
    result->body_size = 0;
    result->message = text;
}

void ds_http_judge(ds_http *http, CURLcode curl, ds_http_result *result, char *text, size_t text_size) {
    begin(http, result, text);
    if (curl == CURLE_OK && !http->head_ended) {
        curl = CURLE_PARTIAL_FILE; /* libcurl takes a head that breaks off for an empty answer */
    }
    if (curl == CURLE_OK) {
        answer(http, result, http->values);
    } else if (http->abort != DS_HTTP_ABORT_NONE) {
        judge_abort(http, result, text, text_size);
    } else {
        judge_failure(http, curl, result, text, text_size);
    }
    result->header_values = http->values;
}

void ds_http_judge_timeout(ds_http *http, ds_http_result *result, char *text, size_t text_size) {
    begin(http, result, text);
    result->header_values = http->values;
    not_answered(http, result);
    if (http->state == DS_HTTP_RESOLVING) {
        TEXT("looking up the host's address takes too long; is the name server up?");
    } else if (http->state == DS_HTTP_ACTIVE) {
        judge_time(http, http->timeout_ns, result, text, text_size);
    } else {
        TEXT("not sent within %.3g s, because too many other requests were under way", (double)http->timeout_ns / 1e9);
    }
}

void ds_http_judge_early(ds_http *http, ds_http_fate fate, dsync_code code, const char *why, ds_http_result *result,
                         char *text, size_t text_size) {
    begin(http, result, text);
    result->header_values = http->values;
    result->fate = fate;
    result->code = (int)code;
    TEXT("%s", why);
}
