/* http.h: what the loop asks of HTTP/1.1. Requests themselves come in through world.h.
 *
 * The client belongs to its loop: every call needs the loop's mutex, and no call but ds_http_poll is made while
 * somebody polls. What the core asks for (start, cancel, send) is only put on lists; ds_http_run does it.
 */
#ifndef DS_HTTP_H
#define DS_HTTP_H

#include "http_any.h"
#include "loop.h"

typedef struct ds_http_client ds_http_client;

/* Loads libcurl and starts it, once for the process; any thread. False with `error` (may be NULL) filled: it cannot. */
bool ds_http_load(dsync_error *error);
/* NULL with `error` filled: out of memory or descriptors, or a libcurl that cannot do what is asked. */
ds_http_client *ds_http_client_new(const ds_http_config *config, ds_world *world, dsync_error *error);
void ds_http_client_free(ds_http_client *client); /* requests in flight are cancelled silently */
/* Closes the connections that are kept for later, unless some request is still on the wire. */
void ds_http_hang_up(ds_http_client *client);

bool ds_http_pending(const ds_http_client *client); /* is there something that ds_http_run would do at once? */
bool ds_http_busy(const ds_http_client *client);    /* is anything on the wire, so that somebody must poll? */
/* Starts, cancels and resumes what was asked for, moves bytes, and reports what has ended. Sinks are called. */
void ds_http_run(ds_http_client *client);
/* Takes note of further descriptors (ds_fd.node) for the next ds_http_poll. False: out of memory. */
bool ds_http_look_at(ds_http_client *client, const ds_list *fds);
/* Without the mutex: sleeps until a socket is ready, ds_http_wake was called or the time is over. False: cannot
 * poll. */
bool ds_http_poll(ds_http_client *client, int timeout_ms);
void ds_http_wake(ds_http_client *client); /* any thread */

/* The HTTP part of the world's operations. */
ds_http *ds_http_start(ds_http_client *client, const ds_http_request *request, ds_http_sink *sink);
void ds_http_cancel(ds_http_client *client, ds_http *http);
bool ds_http_send(ds_http_client *client, ds_http *http, const void *bytes, size_t count);

#endif
