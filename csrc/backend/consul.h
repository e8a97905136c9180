/* consul.h: the parts of the Consul backend among themselves. Not seen outside consul*.c.
 *
 * The layers: consul_msg.h (transactions and their JSON) < consul_transport.h (one request to an agent) < calls (here),
 * of which consul_session.c, consul_renew.c, consul_queue.c, consul_check.c, consul_hold.c, consul_leave.c,
 * consul_guard.c and consul_list.c are made.
 * consul_watch.c stands beside them.
 *
 * A queue at a path has these keys:
 *   N  <path>/.lock, or the path itself where somebody else's convention names the key: locked by whoever holds, with a
 *      session of Consul's; what Consul's own clients look at. dsync deletes it when it releases.
 *   T  <path>/.waiting: exists while somebody of dsync waits: new ones must then queue up instead of taking N.
 *   Q  <path>/.queue/<nonce>: one entry. The order is by creation; its CreateIndex is the token.
 *   S  <prefix>/session/<session>: who, and the session's epoch.
 * All but T are locked by their session and vanish with it. Only the oldest entry takes N; as long as one waits, T was
 * there before it. If somebody deletes one of them by hand, neither need be so: an entry older than T may have been
 * passed by, and must go; and whose N is, of its session's entries, is looked for with care (consul_hold.c). An entry
 * never goes alone if N may be its own.
 */
#ifndef DS_CONSUL_H
#define DS_CONSUL_H

#include "../base/map.h"
#include "../net/endpoints.h"
#include "consul_transport.h"

typedef struct ds_consul_settings {
    char *datacenter, *name_space; /* NULL: the agent's own */
    char *checks;                  /* JSON array */
    int64_t lock_delay_ms;
    bool consistent; /* reads */
} ds_consul_settings;

typedef struct ds_consul_auth {
    char *token_file;
    char *header;    /* "X-Consul-Token: ...", or NULL */
    uint64_t serial; /* counts tokens */
} ds_consul_auth;

struct ds_consul {
    ds_backend base;
    ds_endpoints endpoints;
    ds_consul_settings settings;
    ds_consul_auth auth;
    char *prefix, *id, *region; /* the prefix without a leading slash */
    bool known;                 /* an agent has answered sensibly */
    int64_t index;              /* highest seen in what we wrote */
    char version[48];
    char primary[136]; /* the primary datacenter, as an agent names it; "" before it was asked */
    ds_map places;     /* of entries on the server, by nonce */
    ds_list idle;      /* calls to be used again */
    size_t idle_count;
    ds_list queries;   /* blocking ones */
    ds_list beginning; /* watches that no query carries */
};

static inline ds_consul *ds_consul_of(ds_backend *backend) {
    return DS_CONTAINER_OF(backend, ds_consul, base);
}

/* ---- what this client knows of its own entries (consul_place.c) -------------------------------------------------- */

typedef enum ds_consul_standing {
    DS_CONSUL_UNSURE, /* nothing is known */
    DS_CONSUL_BEHIND, /* waits behind `ahead`, which may be empty */
    DS_CONSUL_OWNER,  /* holds N */
    DS_CONSUL_ROBBED, /* held N, and that was not so any more when it was asked; it never holds again, and must go */
} ds_consul_standing;

/* Of one entry. A cache: when in doubt it says UNSURE, and the server is asked. */
typedef struct ds_consul_place {
    ds_list node; /* in its lease's list */
    char nonce[17];
    char *path;
    ds_consul_standing standing;
    void *watch;  /* on it, when there is one */
    bool alone;   /* nobody waited when it took the lock */
    char **ahead; /* keys of older entries, in the order of their age */
    size_t ahead_count;
    int64_t created;      /* CreateIndex of the entry, 0 = not known: made anew under the same key it is another one */
    int64_t modified;     /* ModifyIndex of the entry, as last seen */
    int64_t since;        /* OWNER: ModifyIndex of N, as last seen */
    int64_t lock_created; /* OWNER: CreateIndex of N, which stays while N is held */
    int64_t delayed_ns;   /* when it first met the present lock-delay, 0 = not in one */
} ds_consul_place;

/* What the backend keeps of a lease, in lease->impl. */
typedef struct ds_consul_lease {
    ds_consul *consul;
    uint64_t nonce;   /* the lease's when this was made: another one is another session */
    bool tried;       /* its creation was sent */
    int64_t modified; /* the session key's ModifyIndex at the present epoch */
    ds_list places;
    uint64_t withdrawn_epoch; /* which the last withdrawal has moved the session to, */
    size_t withdrawn;         /* how many of its entries are off the server, */
    char withdrawn_last[17];  /* and the last one of these */
} ds_consul_lease;

ds_consul_place *ds_consul_place_find(const ds_consul *consul, const char *nonce);
/* Found or made (UNSURE). NULL: out of memory. */
ds_consul_place *ds_consul_place_get(ds_consul *consul, const ds_entry *entry);
void ds_consul_place_forget(ds_consul *consul, const char *nonce);              /* harmless when there is none */
void ds_consul_place_seen(ds_consul_place *place, const ds_consul_pair *entry); /* harmless without a place */
/* It is not the entry that was seen before. */
bool ds_consul_place_is_other(const ds_consul_place *place, const ds_consul_pair *entry);
void ds_consul_place_owns(ds_consul_place *place, const ds_consul_pair *native);
/* It owned N, and this N is another one: made anew since, if only by the same session. */
bool ds_consul_place_lost(const ds_consul_place *place, const ds_consul_pair *native);
/* Notes who is older than `token` among the answer's pairs from `first` on, which are all of the queue. */
void ds_consul_place_behind(ds_consul_place *place, const ds_consul_answer *answer, size_t first, int64_t token);
/* The youngest of those, or NULL. */
const ds_consul_pair *ds_consul_nearest(const ds_consul_answer *answer, size_t first, int64_t token);
/* The oldest entry of a session ("" for any) among the answer's pairs that begin with `queue`, or NULL. */
const ds_consul_pair *ds_consul_oldest(const ds_consul_answer *answer, const char *queue, const char *session);

/* ---- a call: one or more requests for one ds_call ---------------------------------------------------------------- */

/* An entry to be taken off the server. */
typedef struct ds_consul_leaver {
    char nonce[17];
    int64_t token;
    char *path;
    bool owns;      /* close: it holds the lock */
    bool contended; /* close: somebody waited */
    unsigned op;    /* close: the guard on its lock */
} ds_consul_leaver;

typedef struct ds_consul_call ds_consul_call;
struct ds_consul_call {
    ds_list node;
    ds_consul *consul;
    ds_call *owner;
    ds_consul_exchange exchange;
    void (*next)(ds_consul_call *call, const ds_consul_answer *answer);   /* the request succeeded */
    bool (*failed)(ds_consul_call *call, const ds_consul_result *result); /* sees failures first; true: dealt with */
    /* What is to be sent once the primary datacenter is known. */
    void (*deferred)(ds_consul_call *call, const ds_consul_answer *answer);
    ds_consul_kind deferred_kind;
    void (*left)(ds_consul_call *call, ds_place place); /* leave: the entry is off the server */
    ds_place end;                                       /* leave: DONE, or GONE if it was not there */
    /* While the lock is looked at: what then, and which entry's it should be (one of the call's nonces). */
    void (*again)(ds_consul_call *call);
    void (*not_held)(ds_consul_call *call);
    const char *holder_nonce;
    ds_write_kind write_kind;
    bool resent;
    bool changed; /* a transaction of this call has changed something */
    ds_task task; /* for failures found before anything was sent */
    ds_class late;
    dsync_error error;

    /* Copies of what the caller's structs say, which may change meanwhile. */
    ds_buf own, other, native, waiting, queue, session, stamp, stamp_next, value, text;
    char id[72]; /* the session's */
    char nonce[17], other_nonce[17];
    int64_t token, other_token, modified, floor;
    int64_t session_created; /* CreateIndex of the session's key, 0 = unknown */
    int64_t revision;        /* of what the last answer shows, 0 = unknown */
    uint64_t epoch;
    unsigned rounds;
    bool only_try;
    bool rest_unseen;            /* the queue was not listed as the holder left */
    ds_lease *lease;             /* open */
    ds_consul_lease *lease_impl; /* withdraw */

    ds_consul_leaver *leavers;
    size_t leaver_count, leaver_at;
    ds_peer holder;
    ds_peer *peers;
    char *strings; /* paths of listed queues */
};

/* NULL: no memory, and the refusal is under way. */
ds_consul_call *ds_consul_begin(ds_backend *backend, ds_call *owner, const ds_lease *lease);
/* An empty transaction to add to. */
ds_consul_txn *ds_consul_txn_of(ds_consul_call *call);
/* Sends it. */
void ds_consul_step(ds_consul_call *call, ds_consul_kind kind,
                    void (*next)(ds_consul_call *call, const ds_consul_answer *answer));
/* Ends the call. Its owner may start another one at once. */
void ds_consul_finish(ds_consul_call *call, ds_reply *reply);
void ds_consul_finish_place(ds_consul_call *call, ds_place place);
void ds_consul_finish_ahead(ds_consul_call *call, const char *ahead); /* WAITING */
void ds_consul_finish_lost(ds_consul_call *call);
/* A server broke its own rules; whatever was asked may have been done. */
void ds_consul_finish_impossible(ds_consul_call *call);
/* Somebody else was quicker every time. */
void ds_consul_finish_restless(ds_consul_call *call);
/* Ends a call that could not even be sent; `done` comes later. */
void ds_consul_refuse_later(ds_consul_call *call, ds_class outcome, dsync_code code, const char *message);
/* True if one of the call's buffers ran out of memory; the refusal is then under way. */
bool ds_consul_no_memory(ds_consul_call *call);
void ds_consul_cancel(ds_backend *backend, ds_call *owner);
void ds_consul_free_idle(ds_consul *consul);

/* It is the key that opening the session made, and of this session. A late copy of that request may have made it anew
 * after somebody deleted it: no guard on its index holds any more, and the session is as good as lost. */
bool ds_consul_is_session_key(const ds_consul_call *call, const ds_consul_pair *pair);
/* The guard on the session key failed: is the session gone (LOST), or has its epoch moved (`place`)? Asks. */
void ds_consul_finish_unless_lost(ds_consul_call *call);

/* How a session is called in Consul: by the lease's nonce. */
#define DS_CONSUL_NAME_SIZE 40
void ds_consul_session_name(char *out, size_t size, const ds_lease *lease);
bool ds_consul_is_session_id(const char *id); /* ids go into URLs */

/* ---- keys (consul_keys.c) ---------------------------------------------------------------------------------------- */

bool ds_consul_ends_native(const char *key); /* no other key begins with one that does */
void ds_consul_key_native(const ds_consul *consul, ds_buf *out, const char *path);
void ds_consul_key_waiting(const ds_consul *consul, ds_buf *out, const char *path);
void ds_consul_key_queue(const ds_consul *consul, ds_buf *out, const char *path); /* ends with a slash */
void ds_consul_key_entry(const ds_consul *consul, ds_buf *out, const char *path, const char *nonce);
void ds_consul_key_session(ds_buf *out, const ds_lease *lease);
/* Where somebody who removes an entry leaves the reason: "<path>/.broken/<nonce>". */
void ds_consul_add_broken_key(ds_buf *out, const char *entry_key);
const char *ds_consul_bare(const char *path); /* without the slash it may begin with */
/* Is it in the primary datacenter? */
bool ds_consul_is_global(const ds_consul *consul, const char *path);
bool ds_consul_is_entry(const char *key);
/* How much of the key others begin with, too, that may be watched together with it. */
size_t ds_consul_room(const ds_consul *consul, const char *key);
/* Percent-encoded; with `slashes` they stay. */
void ds_consul_add_escaped(ds_buf *out, const char *text, bool slashes);

/* ---- settings and token (consul_settings.c) ---------------------------------------------------------------------- */

bool ds_consul_settings_init(ds_consul_settings *settings, const dsync_options *options, dsync_error *error);
void ds_consul_settings_free(ds_consul_settings *settings);
const char *ds_consul_datacenter(const ds_consul *consul, bool global); /* NULL: the agent's own */
bool ds_consul_needs_primary(const ds_consul *consul, bool global);     /* it must be asked for first */
bool ds_consul_auth_init(ds_consul *consul, const ds_backend_config *config, dsync_error *error);
void ds_consul_auth_free(ds_consul_auth *auth);
bool ds_consul_auth_ready(ds_consul *consul, dsync_error *error); /* reads the token's file when needed */
bool ds_consul_auth_refused(ds_consul *consul, uint64_t serial);  /* true: there is another token now */

/* ---- operations (backend.h) -------------------------------------------------------------------------------------- */

void ds_consul_ping(ds_backend *backend, ds_call *call);
void ds_consul_get_value(ds_backend *backend, ds_call *call, const char *key);
void ds_consul_open(ds_backend *backend, ds_call *call, ds_lease *lease);
void ds_consul_renew(ds_backend *backend, ds_call *call, const ds_lease *lease);
void ds_consul_close(ds_backend *backend, ds_call *call, const ds_lease *lease);
void ds_consul_forget(ds_backend *backend, ds_lease *lease);
void ds_consul_enter(ds_backend *backend, ds_call *call, const ds_entry *entry, bool only_try);
void ds_consul_check(ds_backend *backend, ds_call *call, const ds_entry *entry);
void ds_consul_leave(ds_backend *backend, ds_call *call, const ds_entry *entry);
void ds_consul_swap(ds_backend *backend, ds_call *call, const ds_entry *old, const ds_entry *fresh);
void ds_consul_withdraw(ds_backend *backend, ds_call *call, const ds_lease *lease, const ds_entry *const *entries,
                        size_t count, uint64_t next_epoch);
void ds_consul_write(ds_backend *backend, ds_call *call, const ds_write *write);
void ds_consul_evict(ds_backend *backend, ds_call *call, const char *path, int64_t token);
void ds_consul_list(ds_backend *backend, ds_call *call, const ds_list_spec *spec);
/* Takes the reason for the removal of an entry from where evict() left it: `value`, NULL when there is none. */
void ds_consul_reason(ds_backend *backend, ds_call *call, const char *entry_key);
void ds_consul_watch_owner(ds_consul_place *place);  /* its entry holds now */
void ds_consul_watch_robbed(ds_consul_place *place); /* its entry held, and does no longer */
/* When nobody watches anything: what is still being asked is not waited for. */
void ds_consul_drop_left(ds_consul *consul);
void ds_consul_free_watches(ds_consul *consul); /* those still on hear nothing more */
bool ds_consul_watch(ds_backend *backend, ds_watch *watch, const ds_watch_spec *spec);
void ds_consul_unwatch(ds_backend *backend, ds_watch *watch);

#endif
