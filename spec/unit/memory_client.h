/* memory_client.h: a client of the public C API on a store of its own in memory. */
#ifndef MEMORY_CLIENT_H
#define MEMORY_CLIENT_H

#include <stdio.h>

#include "../../csrc/dsync.h"
#include "test.h"

static inline dsync_client *open_memory(const char *name) {
    char url[64];
    dsync_error error = {0};
    snprintf(url, sizeof url, "memory:%s", name);
    dsync_client *client = dsync_open(url, NULL, &error);
    CHECK_EQ_TEXT(error.message, "");
    return client;
}

/* Closes it and lets go of it. */
static inline void end(dsync_client *client) {
    CHECK_EQ_INT(dsync_close(client, -1, NULL), DSYNC_OK);
    dsync_client_unref(client);
}

#endif
