/* process.c: see process.h. A page that the kernel empties in a forked child says whether the remembered answer is this
 * process's own. It sees every fork, also those that run no pthread_atfork handlers. */
#include "process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic pid_t *remembered; /* in that page; NULL: the kernel offers no such page (before Linux 4.14) */

static void make_page(void) {
#ifdef MADV_WIPEONFORK
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return;
    }
    if (madvise(page, size, MADV_WIPEONFORK) != 0) {
        (void)munmap(page, size);
        return;
    }
    remembered = page;
#endif
}

pid_t ds_process(void) {
    (void)pthread_once(&once, make_page);
    if (remembered == NULL) {
        return getpid();
    }
    pid_t pid = atomic_load_explicit(remembered, memory_order_relaxed);
    if (pid == 0) {
        pid = getpid();
        atomic_store_explicit(remembered, pid, memory_order_relaxed);
    }
    return pid;
}
