/* process.h: which process is this? Asked at every call, because a forked child must not touch what its parent owns,
 * and therefore without a system call. */
#ifndef DS_PROCESS_H
#define DS_PROCESS_H

#include <sys/types.h>

/* As getpid(). Any thread; not from a child made with vfork(), which shares its parent's memory. */
pid_t ds_process(void);

#endif
