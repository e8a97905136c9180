/* etcd_session.h: for contract tests: one etcd for all tests of a program, from the first that asks for it to the
 * program's end, and a rig with a session on it.
 */
#ifndef ETCD_SESSION_H
#define ETCD_SESSION_H

#include <stdlib.h>

#include "etcd_rig.h"
#include "test.h"

static etcd_server server;

__attribute__((destructor)) static void stop_server(void) {
    if (server.folder[0] != '\0') {
        etcd_stop_and_forget(&server);
    }
}

TEST_UNUSED static bool open_rig(rig *r) {
    return (server.pid > 0 || etcd_start(&server, NULL)) && rig_open_one(r, &server);
}

/* A rig with an open session. */
TEST_UNUSED static bool open_session(rig *r, ds_lease *lease) {
    if (!open_rig(r)) {
        return false;
    }
    rig_lease_init(lease, "dsync", 5000);
    return rig_lease(r, lease)->outcome == DS_OK;
}

TEST_UNUSED static void close_session(rig *r, ds_lease *lease) {
    rig_revoke(r, lease);
    r->backend->ops->forget(r->backend, lease);
    rig_close(r);
}

TEST_UNUSED static bool key_exists(const char *key) {
    char *value = etcd_value(&server, key, NULL, NULL);
    free(value);
    return value != NULL;
}

TEST_UNUSED static bool entry_exists(rig *r, const ds_entry *entry) {
    char *key = rig_entry_key(r, entry);
    bool exists = key_exists(key);
    ds_free(key);
    return exists;
}

#endif
