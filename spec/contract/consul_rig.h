/* consul_rig.h: for contract tests: a Consul agent of one's own, and another way to look at it that shares no code with
 * the backend. Calls of the backend are made as in etcd_rig.h.
 *
 * The program is $DSYNC_CONSUL, else "consul". It listens on free loopback ports and keeps everything in memory.
 */
#ifndef CONSUL_RIG_H
#define CONSUL_RIG_H

#include "etcd_rig.h"

typedef struct consul_server {
    pid_t pid;
    char url[64];
    char folder[64];
    int port;
} consul_server;

bool consul_start(consul_server *server);
void consul_stop(consul_server *server); /* as a crash does; removes its folder */

/* One request; the body of the answer, to be freed, NULL when there is none. `status` may be NULL. */
char *consul_ask(const consul_server *server, const char *method, const char *path, const char *body, long *status);
/* The value of a key, to be freed; NULL when there is no such key. `session` (72 bytes) may be NULL. */
char *consul_value(const consul_server *server, const char *key, char *session);
bool consul_has(const consul_server *server, const char *key);
int consul_count(const consul_server *server, const char *prefix); /* keys that begin so */
bool consul_put(const consul_server *server, const char *key, const char *query, const char *value);
bool consul_delete(const consul_server *server, const char *key);
/* A plain session of somebody else's. */
bool consul_session(const consul_server *server, const char *body, char *id, size_t size);
void consul_destroy(const consul_server *server, const char *id);

bool consul_rig_open(rig *r, const consul_server *server, const dsync_options *options);
bool consul_rig_open_at(rig *r, const char *const *endpoints, size_t count, const dsync_options *options);

#endif
