/* model.h: what a model of a kind of server must be able to do. One file family and one row in models[] per store. */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "../csrc/backend/backend.h"
#include "sim.h"

typedef struct sim_question {
    size_t member;
    sim_host *host; /* from whom; for the checker, not for the answer */
    const char *target, *authorization;
    const char *body;
    size_t body_size;
    bool stale; /* a read may be answered from an older state */
} sim_question;

struct sim_model_ops {
    const char *name;
    ds_backend *(*backend)(ds_world *world, const ds_backend_config *config, dsync_error *error);
    bool auth; /* knows users */
    void *(*start)(sim *s);
    void (*stop)(void *servers);
    /* Executes one request and appends the answer; returns the HTTP status. */
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
};

extern const sim_model_ops *const sim_models[];
extern const sim_model_ops sim_model_etcd;

#endif
