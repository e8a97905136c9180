/* consul_error.h: what an answer of Consul's other than success means for a request. Pure. */
#ifndef DS_CONSUL_ERROR_H
#define DS_CONSUL_ERROR_H

#include "backend.h"

typedef struct ds_consul_verdict {
    ds_class outcome;
    dsync_code code;    /* DS_REFUSED */
    bool token_refused; /* nothing was executed; another token may help */
    bool server_ailing; /* prefer another agent for a while */
    const char *advice; /* what to do about it, or NULL; static */
} ds_consul_verdict;

/* `text`: the body, which is the server's own words. `known`: an agent has answered this client well before. */
ds_consul_verdict ds_consul_judge(int http, const char *text, bool known);

#endif
