/* consul_block.c: blocking queries of the model: answered when what they ask for has changed, or when their time is
 * up. */
#include <string.h>

#include "consul_model.h"

#define WAIT_NS (300 * DS_SECOND)

typedef struct wait {
    ds_list node;
    cm *e;
    cm_query query;
    sim_packet *packet;
    size_t member;
    uint64_t number;
} wait;

void cm_query_free(cm_query *query) {
    (void)sim_alloc(query->key, 0);
}

static void finish(wait *w) {
    ds_list_remove(&w->node);
    cm_query_free(&w->query);
    (void)sim_alloc(w, 0);
}

static void reply(wait *w, const cm_view *view, bool known_leader) {
    sim_extra extra = {DS_BUF_EMPTY, 0};
    sim_question question = {.extra = &extra};
    ds_buf body = DS_BUF_EMPTY;
    int64_t index;
    int status = cm_read(w->e, view, &w->query, &body, &index);
    cm_headers(&question, index, known_leader);
    sim_answer_later(w->packet, status, &extra.headers, &body);
    ds_buf_free(&extra.headers);
    ds_buf_free(&body);
    finish(w);
}

static bool isolated(const wait *w) {
    return w->e->isolated_until_ns[w->member] > w->e->s->now_ns;
}

void cm_wake(cm *e) {
    ds_list *next;
    for (ds_list *link = e->waits.next; link != &e->waits; link = next) {
        next = link->next;
        wait *w = DS_LIST_ENTRY(link, wait, node);
        ds_buf body = DS_BUF_EMPTY;
        int64_t index;
        (void)cm_read(e, &e->now, &w->query, &body, &index);
        ds_buf_free(&body);
        if (index > w->query.index && !isolated(w)) {
            reply(w, &e->now, true);
        }
    }
}

/* The number of a query that may be over by then. */
typedef struct alarm {
    cm *e;
    uint64_t number;
} alarm;

static void drop_alarm(void *argument) {
    (void)sim_alloc(argument, 0);
}

static void time_is_up(sim *s, void *argument) {
    alarm *a = argument;
    (void)s;
    for (ds_list *link = a->e->waits.next; link != &a->e->waits; link = link->next) {
        wait *w = DS_LIST_ENTRY(link, wait, node);
        if (w->number == a->number) {
            reply(w, &w->e->now, !isolated(w));
            break;
        }
    }
    drop_alarm(a);
}

int cm_block(cm *e, const sim_question *question, cm_query *query) {
    sim *s = e->s;
    int64_t time = query->wait_ns > 0 ? query->wait_ns : WAIT_NS;
    wait *w = sim_alloc(NULL, sizeof *w);
    *w = (wait){.e = e, .query = *query, .packet = question->packet, .member = question->member};
    w->number = ++s->numbers;
    ds_list_append(&e->waits, &w->node);
    alarm *a = sim_alloc(NULL, sizeof *a);
    *a = (alarm){e, w->number};
    sim_at(s, s->now_ns + time + sim_between(s, 0, time / 16), NULL, time_is_up, a, drop_alarm);
    return SIM_LATER;
}

static void refuse(wait *w) {
    ds_buf body = DS_BUF_EMPTY, none = DS_BUF_EMPTY;
    int status = cm_error(&body, 500, "rpc error making call: EOF");
    sim_answer_later(w->packet, status, &none, &body);
    ds_buf_free(&body);
    finish(w);
}

void cm_break(cm *e, size_t member, bool lost) {
    ds_list *next;
    for (ds_list *link = e->waits.next; link != &e->waits; link = next) {
        next = link->next;
        wait *w = DS_LIST_ENTRY(link, wait, node);
        if (member != SIM_MEMBERS && w->member != member) {
            continue;
        }
        if (lost) {
            refuse(w);
        } else {
            reply(w, &e->now, false);
        }
    }
}
