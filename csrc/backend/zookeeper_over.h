/* zookeeper_over.h: the ZooKeeper backend over a driver that is given, for the simulator and for tests. */
#ifndef DS_ZOOKEEPER_OVER_H
#define DS_ZOOKEEPER_OVER_H

#include "backend.h"
#include "zookeeper_seam.h"

/* As ds_zookeeper_backend, over this driver instead of the loaded module's. */
ds_backend *ds_zookeeper_backend_over(ds_world *world, const ds_backend_config *config, const ds_zk_driver *driver,
                                      dsync_error *error);

#endif
