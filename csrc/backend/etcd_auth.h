/* etcd_auth.h: who we are to etcd: nobody, a user (whose token comes from Authenticate and ends one day), or the bearer
 * of a token given as such or in a file.
 */
#ifndef DS_ETCD_AUTH_H
#define DS_ETCD_AUTH_H

#include "backend.h"
#include "etcd_error.h"
#include "etcd_transport.h"

typedef struct ds_etcd_auth {
    char *user, *password; /* NULL: no user */
    char *token_file;
    /* The token as each encoding has it, such as "Authorization: <token>". All are NULL while there is none. */
    char *headers[DS_ETCD_WIRES];
    uint64_t serial;  /* which token this is; counts up */
    int64_t taken_ns; /* when it was obtained */
    bool off;         /* the server knows no authentication at present */
    bool asking;      /* `exchange` is under way */
    ds_etcd_exchange exchange;
    ds_list waiters;
} ds_etcd_auth;

/* Somebody who cannot go on without a token. Zero it and init `node`. */
typedef struct ds_etcd_auth_waiter ds_etcd_auth_waiter;

/* False: error filled and nothing to free. Refuses to send credentials where others could read them. */
bool ds_etcd_auth_init(ds_etcd_auth *auth, ds_etcd *etcd, const ds_backend_config *config, dsync_error *error);
void ds_etcd_auth_free(ds_etcd_auth *auth);

typedef enum ds_etcd_auth_state {
    DS_ETCD_AUTH_READY,  /* send; with auth->headers, unless they are NULL */
    DS_ETCD_AUTH_WAIT,   /* call ds_etcd_auth_wait first */
    DS_ETCD_AUTH_FAILED, /* error says why */
} ds_etcd_auth_state;
ds_etcd_auth_state ds_etcd_auth_ask(ds_etcd_auth *auth, dsync_error *error);
/* `waiter->done` is called later, with NULL once there is a token, else with the reason. Take the waiter back with
 * ds_list_remove(&waiter->node). */
void ds_etcd_auth_wait(ds_etcd_auth *auth, ds_etcd_auth_waiter *waiter);
/* The server refused header `serial`. True: there is, or can be, a newer one. */
bool ds_etcd_auth_refused(ds_etcd_auth *auth, uint64_t serial);
/* A refused token is final where there is no other to be had. */
ds_etcd_verdict ds_etcd_auth_judge(const ds_etcd_auth *auth, ds_etcd_verdict verdict);
/* Forgets a user's token older than `age_ns`, so that what is opened next lives as long as it can. */
void ds_etcd_auth_freshen(ds_etcd_auth *auth, int64_t age_ns);

#endif
