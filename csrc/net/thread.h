/* thread.h: starting a thread inside somebody else's program. */
#ifndef DS_THREAD_H
#define DS_THREAD_H

#include <pthread.h>

/* A detached thread with a small stack that hears no signals but the synchronous ones: a host that handles signals in
 * certain threads, or waits for them, must not find them delivered here. 0 or an errno. In loop.c. */
int ds_thread_start(pthread_t *thread, void *(*main)(void *), void *argument);

#endif
