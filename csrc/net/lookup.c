/* lookup.c: see lookup.h. Remembers nothing: what is done with an address is the asker's business. */
#include "lookup.h"

#include "../base/buf.h"
#include "thread.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define ADDRESSES_MAX 16

/* Shared by the thread and the loop; whoever is second to be done with it frees it. */
struct ds_lookup {
    pthread_mutex_t mutex;
    ds_world *world;
    ds_lookup_fn done; /* NULL: nobody waits any more */
    void *context;
    bool ended;
    char *name;
    ds_buf addresses;
    int err; /* of getaddrinfo */
    ds_task task;
};

static void lookup_free(ds_lookup *lookup) {
    ds_buf_free(&lookup->addresses);
    ds_free(lookup->name);
    (void)pthread_mutex_destroy(&lookup->mutex);
    ds_free(lookup);
}

static void add_address(ds_buf *out, const struct sockaddr *address, bool first) {
    char text[INET6_ADDRSTRLEN] = "";
    bool v6 = address->sa_family == AF_INET6;
    const void *bytes = v6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                           : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (inet_ntop(address->sa_family, bytes, text, sizeof(text)) != NULL) {
        ds_buf_add_format(out, v6 ? "%s[%s]" : "%s%s", first ? "" : ",", text);
    }
}

static void look_up(ds_lookup *lookup) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    lookup->err = getaddrinfo(lookup->name, NULL, &hints, &list);
    if (lookup->err != 0) {
        return;
    }
    int count = 0;
    for (const struct addrinfo *item = list; item != NULL && count < ADDRESSES_MAX; item = item->ai_next) {
        if (item->ai_family == AF_INET || item->ai_family == AF_INET6) {
            add_address(&lookup->addresses, item->ai_addr, count++ == 0);
        }
    }
    freeaddrinfo(list);
    if (count == 0) {
        lookup->err = EAI_NONAME;
    } else if (lookup->addresses.failed) {
        lookup->err = EAI_MEMORY;
    }
}

static void *lookup_main(void *argument) {
    ds_lookup *lookup = argument;
    (void)pthread_setname_np(pthread_self(), "dsync-dns");
    look_up(lookup);
    pthread_mutex_lock(&lookup->mutex);
    lookup->ended = true;
    bool wanted = lookup->done != NULL;
    if (wanted) {
        lookup->world->ops->notify(lookup->world, &lookup->task);
    }
    pthread_mutex_unlock(&lookup->mutex);
    if (!wanted) {
        lookup_free(lookup);
    }
    return NULL;
}

static void lookup_ended(ds_task *task) {
    ds_lookup *lookup = DS_CONTAINER_OF(task, ds_lookup, task);
    pthread_mutex_lock(&lookup->mutex); /* the thread may not have let go yet */
    ds_lookup_fn done = lookup->done;
    pthread_mutex_unlock(&lookup->mutex);
    bool found = lookup->err == 0;
    done(lookup->context, found ? lookup->addresses.data : NULL, found ? NULL : gai_strerror(lookup->err));
    lookup_free(lookup);
}

ds_lookup *ds_lookup_begin(ds_world *world, const char *name, ds_lookup_fn done, void *context) {
    ds_lookup *lookup = ds_calloc(1, sizeof(*lookup));
    if (lookup == NULL || pthread_mutex_init(&lookup->mutex, NULL) != 0) {
        ds_free(lookup);
        return NULL;
    }
    lookup->world = world;
    lookup->done = done;
    lookup->context = context;
    lookup->task.run = lookup_ended;
    ds_list_init(&lookup->task.node);
    lookup->name = ds_strdup(name);
    pthread_t thread;
    if (lookup->name == NULL || ds_thread_start(&thread, lookup_main, lookup) != 0) {
        lookup_free(lookup);
        return NULL;
    }
    return lookup;
}

void ds_lookup_abandon(ds_lookup *lookup) {
    if (lookup == NULL) {
        return;
    }
    pthread_mutex_lock(&lookup->mutex);
    bool ended = lookup->ended;
    lookup->done = NULL;
    pthread_mutex_unlock(&lookup->mutex);
    if (ended) {
        ds_take_back(lookup->world, &lookup->task);
        lookup_free(lookup);
    }
}
