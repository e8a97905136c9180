/* zookeeper_hosts.h: the servers' names and the addresses behind them: the library is given addresses only, because it
 * would wait for a resolver. The last good addresses stay until better ones have come. */
#ifndef DS_ZOOKEEPER_HOSTS_H
#define DS_ZOOKEEPER_HOSTS_H

#include "../base/buf.h"
#include "../net/lookup.h"

typedef struct ds_zk_hosts ds_zk_hosts;

typedef struct ds_zk_host {
    ds_zk_hosts *hosts;
    char *name, *port; /* name: an address is kept as it is, IPv6 in brackets */
    char *addresses;   /* "10.0.0.1,[::1]"; NULL: not known yet */
    bool literal;
    ds_lookup *lookup;
} ds_zk_host;

struct ds_zk_hosts {
    ds_world *world;
    ds_zk_host *list;
    size_t count, asking;
    int64_t asked_ns;
    char *text;       /* "h1:2181, h2:2181", for messages */
    char problem[96]; /* of the last look-up that failed */
    ds_list waiters;  /* ds_zk_hosts_waiter.node */
};

/* Who waits until there is an address. Embedded in its owner; initialise `node` with ds_list_init. */
typedef struct ds_zk_hosts_waiter ds_zk_hosts_waiter;
struct ds_zk_hosts_waiter {
    ds_list node;
    void (*known)(ds_zk_hosts_waiter *waiter);
};

bool ds_zk_hosts_init(ds_zk_hosts *hosts, ds_world *world, const char *const *endpoints, size_t count);
void ds_zk_hosts_free(ds_zk_hosts *hosts);
/* True: "10.0.0.1:2181,[::1]:2181" is in `out`, in random order (unless that failed), and names older than a minute are
 * looked up again behind its use. False: nothing is known yet, `waiter` will hear. */
bool ds_zk_hosts_get(ds_zk_hosts *hosts, ds_buf *out, ds_zk_hosts_waiter *waiter);
void ds_zk_hosts_cancel(ds_zk_hosts_waiter *waiter);

#endif
