/* h2.h: HTTP/2 without TLS, over libnghttp2: what the loop asks of it. Requests themselves come in through world.h.
 *
 * All requests to one endpoint share one connection, which is made when the first of them is started and then kept. The
 * client belongs to its loop: every call needs the loop's mutex, and ds_h2_run is only called while nobody polls. What
 * the core asks for (start, cancel, send) is only put on lists; ds_h2_run does it, with one write for all of it.
 */
#ifndef DS_H2_H
#define DS_H2_H

#include "http_any.h"
#include "loop.h"

typedef struct ds_h2_client ds_h2_client;

/* Loads libnghttp2; any thread. False with DSYNC_UNSUPPORTED (`error` may be NULL): this machine does not have it. */
bool ds_h2_load(dsync_error *error);
/* NULL with `error` filled: DSYNC_UNSUPPORTED when there is no libnghttp2, DSYNC_RESOURCE when there is no memory. */
ds_h2_client *ds_h2_client_new(const ds_http_config *config, ds_world *world, dsync_error *error);
void ds_h2_client_free(ds_h2_client *client); /* requests in flight are cancelled silently */
void ds_h2_hang_up(ds_h2_client *client);     /* closes the connections that no request uses */

bool ds_h2_pending(const ds_h2_client *client); /* is there something that ds_h2_run would do at once? */
/* Starts, cancels and resumes what was asked for, writes, and reports what has ended. Sinks are called. Reading happens
 * when the loop finds a connection's descriptor ready. */
void ds_h2_run(ds_h2_client *client);

/* The world's operations for such requests. */
ds_http *ds_h2_start(ds_h2_client *client, const ds_http_request *request, ds_http_sink *sink);
void ds_h2_cancel(ds_h2_client *client, ds_http *http);
bool ds_h2_send(ds_h2_client *client, ds_http *http, const void *bytes, size_t count);

#endif
