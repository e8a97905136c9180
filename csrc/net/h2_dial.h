/* h2_dial.h: connecting to a host of several addresses, without waiting for the dead among them. */
#ifndef DS_H2_DIAL_H
#define DS_H2_DIAL_H

#include "../core/world.h"

#define DS_DIAL_AT_ONCE 4

typedef struct ds_h2_dial ds_h2_dial;

/* Embedded in its owner; zeroed, then begun. */
struct ds_h2_dial {
    ds_world *world;
    /* Called once, perhaps before ds_h2_dial_begin returns: a connected socket that is the owner's now, or -1 and
     * why. */
    void (*done)(ds_h2_dial *dial, int fd, int err);
    char *addresses;  /* a copy */
    const char *rest; /* of them, what has not been tried; NULL: the dial is over or was not begun */
    uint16_t port;
    int64_t timeout_ns;
    ds_timer next;                /* tries another address although the last has not failed */
    ds_fd tries[DS_DIAL_AT_ONCE]; /* fd -1: none */
    unsigned count;
    int err;
};

/* `addresses`: "10.0.0.1,[fe80::1]". */
void ds_h2_dial_begin(ds_h2_dial *dial, const char *addresses, uint16_t port);
void ds_h2_dial_unix(ds_h2_dial *dial, const char *path);
void ds_h2_dial_end(ds_h2_dial *dial); /* harmless when it is over or was not begun */

#endif
