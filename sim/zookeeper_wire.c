/* zookeeper_wire.c: connections between clients and servers: what is sent arrives in order, late, or never, and either
 * end may break off. Knows nothing of what is said.
 */
#include <string.h>

#include "zookeeper_model.h"

#define LATE_MAX_NS (10 * DS_SECOND)

static int64_t latency(sim *s) {
    return sim_between(s, 100000, 2 * DS_MS);
}

/* While a client is cut off nothing passes; what was sent is sent again afterwards. */
static int64_t arrival(const zm_conn *conn, int64_t *last_ns, int64_t delay_ns) {
    sim *s = conn->e->s;
    int64_t at = s->now_ns + latency(s) + delay_ns;
    if (!s->calm && conn->host->cut_until_ns > at) {
        at = conn->host->cut_until_ns + latency(s);
    }
    *last_ns = at > *last_ns ? at : *last_ns;
    return *last_ns;
}

/* ---- to the client ----------------------------------------------------------------------------------------------- */

zm_packet *zm_packet_new(zm_conn *conn, zm_word word) {
    zm_packet *packet = sim_alloc(NULL, sizeof *packet);
    memset(packet, 0, sizeof *packet);
    ds_list_init(&packet->node);
    packet->e = conn->e;
    packet->conn = conn;
    packet->word = word;
    return packet;
}

void zm_packet_free(zm_packet *packet) {
    for (size_t i = 0; i < packet->count; i++) {
        (void)sim_alloc(packet->children[i], 0);
    }
    (void)sim_alloc(packet->children, 0);
    (void)sim_alloc(packet->path, 0);
    (void)sim_alloc(packet->data, 0);
    (void)sim_alloc(packet, 0);
}

static void drop_packet(void *argument) {
    zm_packet_free(argument);
}

static void wake(sim *s, void *argument) {
    zm_conn *conn = argument;
    (void)s;
    if (conn->zk != NULL && !ds_list_empty(&conn->mail)) {
        sim_host_ready(conn->host, (int)conn->number, DS_FD_READ);
    }
}

void zm_wake(zm_conn *conn) {
    sim_at(conn->e->s, conn->e->s->now_ns, conn->host, wake, conn, NULL);
}

void zm_watched(void *servers, sim_host *host, int fd) {
    const zm *e = servers;
    for (ds_list *node = e->conns.next; node != &e->conns; node = node->next) {
        zm_conn *conn = DS_LIST_ENTRY(node, zm_conn, node);
        if (conn->host == host && conn->number == (uint64_t)fd && !ds_list_empty(&conn->mail)) {
            zm_wake(conn);
        }
    }
}

/* In the client's kernel: it need not run. */
static void deliver(sim *s, void *argument) {
    zm_packet *packet = argument;
    (void)s;
    if (packet->conn->zk == NULL) {
        zm_packet_free(packet);
        return;
    }
    ds_list_append(&packet->conn->mail, &packet->node);
    zm_wake(packet->conn);
}

void zm_to_client(zm_packet *packet, int64_t delay_ns) {
    zm_conn *conn = packet->conn;
    sim *s = conn->e->s;
    if (conn->mute) {
        zm_packet_free(packet);
        return;
    }
    if (sim_hit(s, SIM_STREAM_BURST)) {
        delay_ns += sim_between(s, 0, 1500 * DS_MS);
    }
    sim_at(s, arrival(conn, &conn->to_client_ns, delay_ns), NULL, deliver, packet, drop_packet);
}

/* ---- to the server ----------------------------------------------------------------------------------------------- */

void zm_ask_free(zm_ask *ask) {
    for (size_t i = 0; ask->parts != NULL && i < ask->request.count; i++) {
        (void)sim_alloc((char *)ask->parts[i].path, 0);
        (void)sim_alloc((char *)ask->parts[i].data, 0);
    }
    (void)sim_alloc(ask->parts, 0);
    (void)sim_alloc((char *)ask->request.path, 0);
    (void)sim_alloc((char *)ask->request.data, 0);
    (void)sim_alloc(ask->path, 0);
    (void)sim_alloc(ask, 0);
}

static void drop_ask(void *argument) {
    zm_ask_free(argument);
}

static void break_off(sim *s, void *argument) {
    (void)s;
    zm_hang_up(argument);
}

/* What goes wrong with the connection at this moment, and how much longer the request takes. */
static int64_t mistreat(zm_conn *conn, zm_ask *ask) {
    static const sim_fault of_answer[] = {SIM_LOST_REPLY, SIM_RESET,     SIM_ERROR,
                                          SIM_GARBAGE,    SIM_TRUNCATED, SIM_TOO_MANY};
    sim *s = conn->e->s;
    for (size_t i = 0; i < DS_COUNT(of_answer) && ask->fault == SIM_FAULTS; i++) {
        ask->fault = sim_hit(s, of_answer[i]) ? of_answer[i] : SIM_FAULTS;
    }
    if (sim_hit(s, SIM_DROP)) {
        conn->deaf = true;
        sim_at(s, s->now_ns + sim_between(s, 0, DS_SECOND), NULL, break_off, conn, NULL);
    }
    if (sim_hit(s, SIM_STREAM_SILENT)) {
        conn->deaf = conn->deaf || sim_random(s) % 2;
        conn->mute = true;
    }
    if (sim_hit(s, SIM_STREAM_BREAK) || sim_hit(s, SIM_STREAM_GARBAGE)) {
        sim_at(s, s->now_ns + sim_between(s, 0, 20 * DS_MS), NULL, break_off, conn, NULL);
    }
    if (sim_hit(s, SIM_NO_QUORUM)) {
        int64_t until = s->now_ns + sim_between(s, 0, 4 * DS_SECOND), before = conn->e->stalled_until_ns;
        conn->e->stalled_until_ns = until > before ? until : before;
    }
    if (sim_hit(s, SIM_LATE)) {
        return sim_between(s, 0, LATE_MAX_NS);
    }
    return sim_hit(s, SIM_DELAY) ? sim_between(s, 0, DS_SECOND) : 0;
}

void zm_to_server(zm_conn *conn, zm_ask *ask) {
    sim *s = conn->e->s;
    s->counts->requests++;
    ask->e = conn->e;
    ask->conn = conn;
    ask->member = conn->member;
    ask->fault = SIM_FAULTS;
    ds_list_init(&ask->node);
    ds_list_init(&ask->way);
    int64_t delay = mistreat(conn, ask);
    sim_at(s, arrival(conn, &conn->to_server_ns, delay), NULL, zm_arrive, ask, drop_ask);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

zm_conn *zm_connect(zm *e, ds_zk *zk, sim_host *host, size_t member) {
    sim *s = e->s;
    zm_conn *conn = sim_alloc(NULL, sizeof *conn);
    memset(conn, 0, sizeof *conn);
    conn->e = e;
    conn->number = 1000 + ++e->numbers;
    conn->member = member;
    conn->host = host;
    conn->zk = zk;
    conn->open = true;
    ds_list_init(&conn->asks);
    ds_list_init(&conn->mail);
    ds_list_append(&e->conns, &conn->node);
    bool there = zm_serves(e, member);
    if (sim_hit(s, SIM_REFUSED) || (!there && sim_random(s) % 2)) {
        conn->deaf = true;
        zm_hang_up(conn);
    } else if (!there) {
        conn->deaf = conn->mute = true;
    }
    return conn;
}

/* The server hears of it after all that was sent before. */
void zm_closed_by_client(zm_conn *conn) {
    sim *s = conn->e->s;
    conn->zk = NULL;
    ds_list *node;
    while ((node = ds_list_pop(&conn->mail)) != NULL) {
        zm_packet_free(DS_LIST_ENTRY(node, zm_packet, node));
    }
    sim_at(s, arrival(conn, &conn->to_server_ns, 0), NULL, break_off, conn, NULL);
}

/* What is on its way is freed with the event that carries it. */
void zm_conns_free(zm *e) {
    while (ds_list_pop(&e->ways) != NULL) {
    }
    ds_list *node, *ask;
    while ((node = ds_list_pop(&e->conns)) != NULL) {
        zm_conn *conn = DS_LIST_ENTRY(node, zm_conn, node);
        while ((ask = ds_list_pop(&conn->asks)) != NULL) {
            zm_ask *left = DS_LIST_ENTRY(ask, zm_ask, node);
            if (!left->travels) {
                zm_ask_free(left);
            }
        }
        conn->open = false;
        for (size_t i = 0; i < conn->mark_count; i++) {
            (void)sim_alloc(conn->marks[i].path, 0);
        }
        while ((ask = ds_list_pop(&conn->mail)) != NULL) {
            zm_packet_free(DS_LIST_ENTRY(ask, zm_packet, node));
        }
        (void)sim_alloc(conn->marks, 0);
        (void)sim_alloc(conn, 0);
    }
}
