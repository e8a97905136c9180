/* literal.c: what libzookeeper asks the resolver, answered here: it asks anew before each connection, and although it
 * is given addresses only, libc's getaddrinfo asks the kernel for all its interfaces then, under a lock of the whole
 * process. With many clients, or a busy kernel, that keeps a loop for a second and more.
 *
 * It also takes addresses in brackets, as the library passes them on: libc would refuse those of IPv6.
 *
 * Seen by nobody but the library, which is linked into the same module. Knows no names.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct place {
    struct addrinfo info;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
} place;

static int fill(place *p, const char *node, uint16_t port) {
    if (inet_pton(AF_INET, node, &p->at.v4.sin_addr) == 1) {
        p->at.v4.sin_family = AF_INET;
        p->at.v4.sin_port = htons(port);
        p->info.ai_addrlen = sizeof(p->at.v4);
    } else if (inet_pton(AF_INET6, node, &p->at.v6.sin6_addr) == 1) {
        p->at.v6.sin6_family = AF_INET6;
        p->at.v6.sin6_port = htons(port);
        p->info.ai_addrlen = sizeof(p->at.v6);
    } else {
        return EAI_NONAME;
    }
    p->info.ai_addr = &p->at.any;
    p->info.ai_family = p->at.any.sa_family;
    return 0;
}

__attribute__((visibility("hidden"))) int getaddrinfo(const char *restrict node, const char *restrict service,
                                                      const struct addrinfo *restrict hints,
                                                      struct addrinfo **restrict out) {
    unsigned long port = service != NULL ? strtoul(service, NULL, 10) : 0;
    if (node == NULL || port > UINT16_MAX) {
        return EAI_NONAME;
    }
    place *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return EAI_MEMORY;
    }
    p->info.ai_socktype = hints != NULL && hints->ai_socktype != 0 ? hints->ai_socktype : SOCK_STREAM;
    p->info.ai_protocol = IPPROTO_TCP;
    char bare[INET6_ADDRSTRLEN];
    size_t length = strlen(node);
    if (node[0] == '[' && length >= 2 && length - 2 < sizeof(bare)) { /* the library leaves them on */
        memcpy(bare, node + 1, length - 2);
        bare[length - 2] = '\0';
        node = bare;
    }
    int rc = fill(p, node, (uint16_t)port);
    if (rc != 0) {
        free(p);
        return rc;
    }
    *out = &p->info;
    return 0;
}

/* `info` is the place's first member. */
__attribute__((visibility("hidden"))) void freeaddrinfo(struct addrinfo *list) {
    free(list);
}
