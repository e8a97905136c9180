/* etcd_fixture.h: the etcd backend alone, and a server that says whatever the test wants it to.
 *
 * The answers of a test are lines, used up one per request: a body (status 200), or
 *   "!503 {...}"           a body with another status
 *   "!resent {..}"         status 200, sent twice by libcurl
 *   "!unsent", "!broken"   no answer, and what is known of the request
 *   "!toolong"             more bytes than were allowed, of a 200 answer
 *   "!unfit"               refused by our own settings
 *   "!silent"              nothing
 * In them @own, @session, @stamp and @next stand for the base64 of the entry's and the session's key and of what the
 * session key holds at this and at the next epoch; @H for the header that every answer has: revision 50 in the first,
 * and one more in each. The fixture's own memory does not come from ds_malloc.
 */
#ifndef ETCD_FIXTURE_H
#define ETCD_FIXTURE_H

#include "../../csrc/backend/etcd.h"
#include "fake_world.h"

#define EF_KV(key, create) "{\"key\":\"" key "\",\"create_revision\":\"" create "\",\"mod_revision\":\"" create "\"}"
#define EF_RANGE(kvs) "{\"response_range\":{\"kvs\":[" kvs "]}}"
#define EF_PUT "{\"response_put\":{}}"
#define EF_DELETED "{\"response_delete_range\":{\"deleted\":\"1\"}}"
#define EF_DONE(responses) "{@H,\"succeeded\":true,\"responses\":[" responses "]}"
#define EF_NOT_DONE(responses) "{@H,\"responses\":[" responses "]}"

typedef struct etcd_case {
    fw *u;
    ds_world *world;
    ds_backend *backend;        /* NULL: it could not be made */
    dsync_error error;          /* why */
    ds_lease lease;             /* open since revision 5, at epoch 3 */
    ds_entry entry;             /* of p/lock/q, token 40 */
    const char *const *answers; /* NULL ends; then there is silence */
    unsigned asked;             /* requests so far */
    ds_call call;
    unsigned done;  /* how often the call was answered */
    ds_reply reply; /* its strings are copied: */
    char message[600], value[200], ahead[200], holder[200], peers[2000];
    ds_watch watch;
    char events[2000], taken[2000];
    unsigned ready, ended;
    void (*on_event)(struct etcd_case *e, const ds_watch_event *event); /* the test's, or NULL */
    fw_request *stream;
} etcd_case;

void ef_open(etcd_case *e, const dsync_options *options); /* NULL: the usual ones; JSON, if they name no transport */
void ef_close(etcd_case *e);                              /* ends the program when something is left over */

typedef void ef_start(etcd_case *e); /* starts one operation with e->call */
/* Starts it with these answers and lets time pass; ends the program unless it ends exactly once, and not at once. */
void ef_ask(etcd_case *e, ef_start *start, const char *const *answers);
void ef_ask_one(etcd_case *e, ef_start *start, const char *answer);
/* Begins e->watch on the key; the loop has run. False: out of memory. */
bool ef_watch(etcd_case *e, const char *key);
/* The server says this on the stream now; the loop has run. Words are replaced. */
void ef_say(etcd_case *e, const char *text);
/* What the watch has heard since the last time: "ready 50, put p/k=v 7, deleted p/k=v, ended 1: why". */
const char *ef_heard(etcd_case *e);
/* The line with its words replaced; good until the next call. */
const char *ef_text(const char *line);

/* The operations on the case's lease and entry. */
void ef_do_open(etcd_case *e);
void ef_do_renew(etcd_case *e);
void ef_do_close(etcd_case *e);
void ef_do_enter(etcd_case *e);
void ef_do_try(etcd_case *e);
void ef_do_check(etcd_case *e);
void ef_do_leave(etcd_case *e);
void ef_do_swap(etcd_case *e);
void ef_do_withdraw(etcd_case *e);
void ef_do_write(etcd_case *e);
void ef_do_evict(etcd_case *e);
void ef_do_get(etcd_case *e);
void ef_do_list(etcd_case *e);
void ef_do_tree(etcd_case *e);
void ef_do_ping(etcd_case *e);

typedef struct ef_operation {
    const char *name;
    ef_start *start;
    const char *answers[4]; /* with which it goes well */
    ds_place place;
} ef_operation;
extern const ef_operation ef_operations[]; /* all of these; a NULL name ends */

#endif
