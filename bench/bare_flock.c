/* bare_flock.c PATH N: what a program pays that locks a file with bare system calls: open, flock, unlock, close, N
 * times one after the other. Prints the rate. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
    long cycles = count == 3 ? strtol(arguments[2], NULL, 10) : 0;
    if (cycles <= 0) {
        (void)fprintf(stderr, "usage: bare_flock PATH N\n");
        return 64;
    }
    double since = now();
    for (long i = 0; i < cycles; i++) {
        int fd = open(arguments[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || flock(fd, LOCK_EX) != 0 || flock(fd, LOCK_UN) != 0 || close(fd) != 0) {
            perror(arguments[1]);
            return 1;
        }
    }
    printf("%.0f\n", (double)cycles / (now() - since));
    return 0;
}
