/* etcd_rig.h: for contract tests: a real etcd of one's own, a backend driven by the real loop, and another way to look
 * at the server that shares no code with the backend.
 *
 * The program is $DSYNC_ETCD, else "etcd"; its version must begin with $DSYNC_TEST_ETCD if that is set.
 * It listens on free loopback ports and keeps its data in a folder of its own; both are gone when the test ends. A
 * program that cannot be started fails the test.
 */
#ifndef ETCD_RIG_H
#define ETCD_RIG_H

#include <sys/types.h>

#include "backend/backend.h"
#include "net/loop.h"

/* ---- server ------------------------------------------------------------------------------------------------------ */

typedef struct etcd_server {
    pid_t pid;
    char url[64];
    char folder[64];
    int client_port, peer_port;
} etcd_server;

/* `extra`: more arguments, NULL-terminated, or NULL. */
bool etcd_start(etcd_server *server, const char *const *extra);
void etcd_stop(etcd_server *server);                                  /* as a crash does */
void etcd_stop_and_forget(etcd_server *server);                       /* and removes its data */
bool etcd_start_again(etcd_server *server, const char *const *extra); /* at the same address */

/* POSTs JSON and returns the body, to be freed; NULL when there is no answer. Independent of the backend. */
char *etcd_post(const etcd_server *server, const char *path, const char *json);
void etcd_authorize(const char *token); /* of the requests that follow; kept, not copied; NULL: none */
/* The value of a key, as a string to be freed; NULL when there is no such key. `lease`, `create` may be NULL. */
char *etcd_value(const etcd_server *server, const char *key, int64_t *lease, int64_t *create);
bool etcd_put(const etcd_server *server, const char *key, const char *value, int64_t lease);
bool etcd_delete(const etcd_server *server, const char *key);
int etcd_count(const etcd_server *server, const char *prefix); /* keys that begin so */

/* ---- backend on a loop ------------------------------------------------------------------------------------------- */

typedef struct rig {
    ds_loop *loop;
    ds_world *world;
    ds_backend *backend;
} rig;

/* etcd's messages are encoded as $DSYNC_TEST_TRANSPORT says ("grpc", "json"), or as is usual, unless the options
 * tell. */
bool rig_open(rig *r, const char *const *endpoints, size_t count, const dsync_options *options);
bool rig_open_one(rig *r, const etcd_server *server);
void rig_close(rig *r);

#define RIG_PEERS 1200

/* A reply, copied. */
typedef struct rig_reply {
    ds_call call;
    bool over;
    ds_class outcome;
    dsync_code code;
    ds_place place;
    char message[480], ahead[700], holder_key[700], holder_value[256], next[700], server[64];
    int64_t token, revision, ttl_ms, crowd;
    uint64_t epoch;
    bool resent, has_holder, has_next, has_value;
    char value[256];
    size_t value_size, peer_count;
    struct {
        char path[128], key[200], value[64];
        int64_t token;
        bool holds;
    } peers[RIG_PEERS];
    rig *r;
} rig_reply;

/* Every call waits for its end, at most 10 s; `over` tells whether it came. The answer is in the rig's own storage and
 * lasts until the next call. */
const rig_reply *rig_ping(rig *r);
const rig_reply *rig_lease(rig *r, ds_lease *lease);
const rig_reply *rig_renew(rig *r, const ds_lease *lease);
const rig_reply *rig_revoke(rig *r, const ds_lease *lease);
const rig_reply *rig_enter(rig *r, const ds_entry *entry, bool only_try);
const rig_reply *rig_check(rig *r, const ds_entry *entry);
const rig_reply *rig_leave(rig *r, const ds_entry *entry);
const rig_reply *rig_swap(rig *r, const ds_entry *old, const ds_entry *fresh);
const rig_reply *rig_withdraw(rig *r, const ds_lease *lease, const ds_entry *const *entries, size_t count,
                              uint64_t next_epoch);
const rig_reply *rig_write(rig *r, const ds_entry *entry, ds_write_kind kind, const char *key, const char *value);
const rig_reply *rig_evict(rig *r, const char *path, int64_t token);
const rig_reply *rig_get(rig *r, const char *key);
const rig_reply *rig_list(rig *r, const char *path, bool subtree, size_t limit, const char *after);
void rig_timeout(int64_t timeout_ms); /* of the calls that follow; 0: the usual 2 s */

void rig_lease_init(ds_lease *lease, const char *prefix, int64_t ttl_ms); /* a fresh nonce, epoch 1 */
void rig_entry_init(ds_entry *entry, const ds_lease *lease, const char *path, const char *value);
char *rig_entry_key(rig *r, const ds_entry *entry); /* to be freed with ds_free */
char *rig_session_key(rig *r, const ds_lease *lease);

/* ---- watches ----------------------------------------------------------------------------------------------------- */

#define RIG_EVENTS 64

typedef struct rig_event {
    ds_watch_kind kind;
    char key[200], value[200], message[200];
    bool has_value;
    int64_t token, revision;
    ds_class outcome;
} rig_event;

typedef struct rig_watch {
    ds_watch watch;
    rig *r;
    rig_event events[RIG_EVENTS];
    size_t count;
    size_t wanted;
    bool enough;
} rig_watch;

bool rig_watch_begin(rig *r, rig_watch *watch, const ds_watch_spec *spec);
void rig_watch_end(rig_watch *watch);
/* Waits until there are that many events in all; false: not within timeout_ms. */
bool rig_watch_wait(rig_watch *watch, size_t count, int64_t timeout_ms);
void rig_idle(rig *r, int64_t ms); /* lets the loop run */

#endif
