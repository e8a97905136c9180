/* client.h: the programs that use locks: each client an engine with several actors and an observer. */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "../csrc/core/contender.h"
#include "../csrc/core/observer.h"
#include "../csrc/core/request.h"
#include "sim.h"

#define SIM_LOCKS 3 /* locks 0 and 1, and the election 2 */
#define SIM_ELECTION 2u
#define SIM_ACTORS_MAX 4

typedef struct sim_actor {
    sim_client *client;
    unsigned number, lock;
    bool keeper; /* keeps what it has */
    ds_claim claim;
    ds_waiter waiter;
    ds_release release;
    ds_request request;
    ds_timer next;                                       /* when it does something */
    uint64_t acquire_call, release_call, request_call;   /* the checker's numbers; 0: none */
    int64_t acquire_by_ns, release_by_ns, request_by_ns; /* local */
    uint64_t claim_number, acquisition;                  /* what it was last seen to believe; 0: nothing */
    int64_t until_ns;
    char value[32];
    int code; /* of the last acquire */
} sim_actor;

struct sim_client {
    sim *s;
    sim_host *host;
    ds_engine *engine;
    sim_actor actors[SIM_ACTORS_MAX];
    size_t actor_count;
    int64_t ttl_ms;
    ds_observer observer;
    bool observing, closing, closed;
    int64_t leader; /* token the observer told last */
    uint64_t close_call;
    int64_t close_by_ns;
};

/* actor.c */
void sim_actor_init(sim_actor *actor, sim_client *client, unsigned number);
void sim_actor_observe(sim_actor *actor); /* tells the checker what it believes now */
void sim_actor_rest(sim_actor *actor);    /* gives up whatever it waits for or holds */
void sim_actor_drill(sim_actor *actor);   /* takes its lock, and gives it back at once */
void sim_actor_moved(sim_actor *actor);   /* the clock was moved */
uint64_t sim_call_begin(sim_client *client, int64_t by_local_ns);
void sim_call_end(sim_client *client, uint64_t *call);

/* client.c */
sim_client *sim_client_new(sim *s);
void sim_client_close(sim_client *client, int64_t within_ns);
void sim_client_free(sim_client *client);
void sim_clients_upset(sim *s); /* pauses, kills, jumps */

/* scene.c: one run from beginning to end. */
bool sim_play(sim *s);
/* Which lock an entry's key or guarded data belongs to, -1: none; the data's value is the writer's token. */
int sim_lock_of_key(const char *key, size_t size);
int sim_lock_of_data(const char *key, size_t size, const char *value, int64_t *token);
const char *sim_path_of(unsigned lock);

#endif
