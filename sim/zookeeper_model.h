/* zookeeper_model.h: a model of a ZooKeeper ensemble and of the library that speaks to it, among its own parts.
 *
 * zookeeper_tree.c keeps nodes; zookeeper_leader.c orders changes and ends sessions; zookeeper_member.c is one server:
 * it applies the changes some time later, answers reads from what it has, and speaks to its connections;
 * zookeeper_wire.c carries bytes in order and breaks connections; zookeeper_library.c stands in for libzookeeper behind
 * the backend's seam; zookeeper_upset.c is what goes wrong in an ensemble by itself.
 */
#ifndef SIM_ZOOKEEPER_MODEL_H
#define SIM_ZOOKEEPER_MODEL_H

#include "../csrc/backend/zookeeper_seam.h"
#include "client.h"
#include "model.h"

#define ZM_NOBODY 63u
#define ZM_TICK_NS (2 * DS_SECOND)

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

typedef struct zm_node {
    char *path, *data;
    size_t size;
    ds_zk_stat stat;
    int32_t made; /* children ever made: the next one's number */
    bool container;
    unsigned client; /* who made it: the checker's knowledge, not ZooKeeper's */
} zm_node;

typedef struct zm_tree {
    zm_node *nodes;
    size_t count, capacity;
} zm_tree;

typedef struct zm_change {
    ds_zk_kind kind; /* CREATE, DELETE, SET */
    char *path, *data;
    size_t size;
    int64_t owner;
    bool container;
    unsigned client;
} zm_change;

/* What was done at one zxid. */
typedef struct zm_txn {
    int64_t zxid;
    int64_t at_ns, ends; /* ends: the session that it ends, or 0 */
    zm_change *changes;
    size_t count;
} zm_txn;

/* ---- sessions and connections ------------------------------------------------------------------------------------ */

typedef struct zm_session {
    int64_t id, timeout_ns, expires_ns, made_ns;
    int64_t ended_ns; /* DS_NEVER: alive */
    unsigned client;
    size_t owner; /* the member it was last connected to, as the leader knows */
} zm_session;

/* A request, copied. */
typedef struct zm_ask {
    ds_list node; /* of its connection, in the order they came */
    ds_list way;  /* of those on their way to the leader */
    struct zm *e;
    struct zm_conn *conn;
    uint64_t number; /* the library's */
    int64_t session;
    size_t member;
    ds_zk_request request; /* strings are its own */
    ds_zk_request *parts;
    bool ping, handshake, ends_session;
    bool resets;       /* sets `parts` anew, as far as nothing has changed since */
    int64_t seen_zxid; /* handshake, resets */
    int64_t timeout_ns;
    /* The leader's answer. */
    bool travels;       /* to the leader: freed when it has come there */
    bool decided, dead; /* dead: it gets no answer, and its connection ends */
    size_t after;       /* the member must have applied so many changes before it answers */
    ds_zk_code code;
    size_t failed_at;
    char *path;
    ds_zk_stat stat;
    sim_fault fault; /* what becomes of the answer */
} zm_ask;

typedef enum zm_word { ZM_WELCOME, ZM_ANSWER, ZM_EVENT, ZM_END } zm_word;

/* What a server says. */
typedef struct zm_packet {
    ds_list node;
    struct zm *e;
    struct zm_conn *conn;
    zm_word word;
    uint64_t number;
    int64_t zxid, session, timeout_ns;
    ds_zk_code code;
    size_t failed_at;
    char *path, *data;
    size_t size;
    bool has_stat;
    ds_zk_stat stat;
    char **children;
    size_t count;
    ds_zk_change change;
} zm_packet;

typedef struct zm_mark {
    char *path;
    bool children;
} zm_mark;

typedef struct zm_conn {
    ds_list node;
    struct zm *e;
    uint64_t number; /* its client's descriptor */
    size_t member;
    sim_host *host;
    struct ds_zk *zk;    /* NULL: the client's end is closed */
    bool accepted, open; /* the server's end */
    bool deaf, mute;     /* what is sent to it, what it sends, is lost from now on */
    int64_t session;
    int64_t to_server_ns, to_client_ns;
    ds_list asks;
    zm_mark *marks;
    size_t mark_count, mark_capacity;
    ds_list mail; /* zm_packet that have arrived at the client */
} zm_conn;

typedef struct zm_member {
    zm_tree tree;
    size_t applied; /* so many of the changes */
    int64_t apply_ns;
    int64_t isolated_until_ns, serves_until_ns; /* cut off from the others; before it notices */
    int64_t to_leader_ns;
    bool was_leader; /* believes it is, while cut off */
} zm_member;

typedef struct zm {
    sim *s;
    zm_tree now;
    zm_txn *txns;
    size_t txn_count, txn_capacity;
    zm_session *sessions;
    size_t session_count, session_capacity;
    zm_member members[SIM_MEMBERS];
    size_t leader;
    int64_t zxid, election_until_ns, stalled_until_ns, ppm;
    int64_t restored_ns; /* what was before is forgotten */
    int64_t limit_ns;    /* while a session is taken away: how long its locks may still be believed; else 0 */
    uint64_t numbers;
    ds_list conns, libraries, ways;
} zm;

/* zookeeper_tree.c */
char *zm_copy(const void *bytes, size_t size);
zm_node *zm_find(const zm_tree *tree, const char *path);
zm_node *zm_parent(const zm_tree *tree, const char *path);
void zm_apply(zm_tree *tree, const zm_change *change, int64_t zxid);
void zm_tree_copy(const zm_tree *tree, zm_tree *out);
void zm_tree_free(zm_tree *tree);
void zm_change_free(zm_change *change);

/* zookeeper_leader.c */
void zm_start_nodes(zm *e);
void zm_tell_entry(zm *e, chk_kind kind, const zm_node *node, chk_cause cause);
void zm_forget_txns(zm *e, size_t kept);
zm_session *zm_session_of(const zm *e, int64_t id);
zm_session *zm_session_make(zm *e, int64_t timeout_ns, unsigned client, size_t member);
void zm_touch(zm *e, zm_session *session);
void zm_session_end(zm *e, zm_session *session, chk_cause cause);
void zm_execute(zm *e, zm_ask *ask);
/* As somebody of no session (0), or of a native one. */
ds_zk_code zm_do(zm *e, const ds_zk_request *request, int64_t session, unsigned by);

/* zookeeper_member.c */
void zm_arrive(sim *s, void *argument); /* a zm_ask at its connection's server */
void zm_committed(zm *e);               /* something was: the members will hear of it */
void zm_catch_up(zm *e, size_t member);
void zm_advance(zm_conn *conn);
bool zm_serves(const zm *e, size_t member);
void zm_hang_up(zm_conn *conn); /* by the server */
void zm_hang_up_all(zm *e, size_t member);

/* zookeeper_wire.c */
zm_conn *zm_connect(zm *e, struct ds_zk *zk, sim_host *host, size_t member);
void zm_to_server(zm_conn *conn, zm_ask *ask);
void zm_to_client(zm_packet *packet, int64_t delay_ns); /* takes it */
void zm_closed_by_client(zm_conn *conn);
void zm_watched(void *servers, sim_host *host, int fd);
void zm_wake(zm_conn *conn); /* its host is to look at what has come */
zm_packet *zm_packet_new(zm_conn *conn, zm_word word);
void zm_packet_free(zm_packet *packet);
void zm_ask_free(zm_ask *ask);
void zm_conns_free(zm *e);

/* zookeeper_library.c */
extern const ds_zk_driver zm_driver;
void zm_libraries_free(zm *e);
void zm_died(void *servers, sim_host *host);

#endif
