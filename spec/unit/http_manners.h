/* http_manners.h: what the server of the HTTP tests answers, well and badly, each on a path of its own. */
#ifndef DS_TEST_HTTP_MANNERS_H
#define DS_TEST_HTTP_MANNERS_H

#include "http_server.h"

/* A server's handler. */
bool http_serve(server_request *request);

extern atomic_int http_most_in_flight; /* of "/counted", at once */
extern atomic_int http_before_urgent;  /* requests until "/urgent" came, and that one */
extern atomic_bool http_await_urgent;  /* "/counted" is answered after "/urgent", or after a second */

#endif
