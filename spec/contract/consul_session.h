/* consul_session.h: for contract tests: one agent for all tests of a program, from the first that asks for it to the
 * program's end, and a rig with a session on it.
 */
#ifndef CONSUL_SESSION_H
#define CONSUL_SESSION_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consul_rig.h"
#include "test.h"

static consul_server server;

__attribute__((destructor)) static void stop_server(void) {
    if (server.folder[0] != '\0') {
        consul_stop(&server);
    }
}

/* A rig with an open session and a lock-delay of nothing. */
TEST_UNUSED static bool open_session(rig *r, ds_lease *lease) {
    static const dsync_setting settings[] = {{"consul.lock_delay", "0"}};
    dsync_options options = {.prefix = "dsync", .id = "tester", .settings = settings, .setting_count = 1};
    if ((server.pid <= 0 && !consul_start(&server)) || !consul_rig_open(r, &server, &options)) {
        return false;
    }
    rig_lease_init(lease, "dsync", 10000);
    return rig_lease(r, lease)->outcome == DS_OK;
}

TEST_UNUSED static void close_session(rig *r, ds_lease *lease) {
    rig_revoke(r, lease);
    r->backend->ops->forget(r->backend, lease);
    rig_close(r);
}

TEST_UNUSED static bool is_held_by(const char *key, const char *session) {
    char owner[72] = "";
    free(consul_value(&server, key, owner));
    return strcmp(owner, session) == 0;
}

TEST_UNUSED static bool entry_exists(rig *r, const ds_entry *entry) {
    char *key = rig_entry_key(r, entry);
    bool exists = consul_has(&server, key);
    ds_free(key);
    return exists;
}

#endif
