/* model.h: what a model of a kind of server must be able to do. One file family and one row in models[] per store. */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "../csrc/backend/backend.h"
#include "sim.h"

/* What an answer has besides its body. */
typedef struct sim_extra {
    ds_buf headers;   /* "Name: value\n", one after the other */
    int64_t delay_ns; /* how long the server thinks about it */
} sim_extra;

typedef struct sim_packet sim_packet;

typedef struct sim_question {
    size_t member;
    sim_host *host; /* from whom; for the checker, not for the answer */
    const char *method, *target, *authorization;
    const char *body;
    size_t body_size;
    bool stale; /* a read may be answered from an older state */
    sim_extra *extra;
    sim_packet *packet; /* what is answered later, if ask() says so */
} sim_question;

#define SIM_LATER 0
void sim_answer_later(sim_packet *packet, int status, const ds_buf *headers, const ds_buf *body);
void sim_answer_never(sim_packet *packet);

/* How long things take with these servers. */
typedef struct sim_times {
    int64_t ttls_ms[4];
    int64_t orphan_ns; /* how long an unwanted entry may stay once the faults are over */
    int64_t drill_ns;  /* how long a lock may be unavailable after that */
    int64_t
        copies_ns;    /* how long after a restore a copy of a request from before can come, and nothing gives it away */
    int64_t blind_ns; /* how long an answer that never came may keep an observer from the news */
} sim_times;

struct sim_model_ops {
    const char *name;
    ds_backend *(*backend)(ds_world *world, const ds_backend_config *config, dsync_error *error);
    bool auth;    /* knows users */
    bool natives; /* other programs use its locks, too (SIM_NATIVE) */
    bool owners;  /* the first in the queue does not hold by being first: CHK_OWNER says who does */
    sim_times times;
    /* The settings of one client (dsync_options), or NULL. */
    const dsync_setting *(*settings)(sim *s, size_t *count);
    void *(*start)(sim *s);
    void (*stop)(void *servers);
    /* Executes one request and appends the answer; returns the HTTP status, or SIM_LATER. */
    int (*ask)(void *servers, const sim_question *question, ds_buf *answer);
    /* The answer of a server that does not know what will become of the request. */
    int (*unsure)(void *servers, ds_buf *answer);
    /* False: refused, with `status` and `answer`. */
    bool (*open)(void *servers, sim_stream *stream, const sim_question *question, int *status, ds_buf *answer);
    void (*data)(void *servers, sim_stream *stream, const char *bytes, size_t count);
    void (*closed)(void *servers, sim_stream *stream); /* by the client */
    /* A fault of the servers' own. */
    void (*upset)(void *servers, sim_fault fault);
    void (*heal)(void *servers);
    const char *const *origins; /* where the members are, if not where etcd's would be */
    /* Of a model whose clients have descriptors: a host looks at this one from now on; a host is no more. NULL,
     * both. */
    void (*watched)(void *servers, sim_host *host, int fd);
    void (*died)(void *servers, sim_host *host);
};

extern const sim_model_ops *const sim_models[];
extern const sim_model_ops sim_model_etcd, sim_model_consul, sim_model_zookeeper;

#endif
