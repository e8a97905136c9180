/* clock.c: the clock that deadlines are measured with. It goes on while the machine sleeps and never jumps. */
#include "loop.h"

#include <time.h>

int64_t ds_clock_ns(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0 && clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return -1;
    }
    return (int64_t)now.tv_sec * DS_SECOND + now.tv_nsec;
}
