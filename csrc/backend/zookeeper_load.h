/* zookeeper_load.h: finding the module that has libzookeeper in it. */
#ifndef DS_ZOOKEEPER_LOAD_H
#define DS_ZOOKEEPER_LOAD_H

#include "../dsync.h"
#include "zookeeper_seam.h"

/* The driver of libdsync-zookeeper.so, loaded once per process and never unloaded. NULL: error filled. */
const ds_zk_driver *ds_zk_driver_load(dsync_error *error);

#endif
