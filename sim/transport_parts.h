/* transport_parts.h: what transport.c (single requests) and stream.c share. */
#ifndef SIM_TRANSPORT_PARTS_H
#define SIM_TRANSPORT_PARTS_H

#include "model.h"
#include "sim.h"

struct ds_http {
    ds_list node;
    sim_host *host;
    uint64_t number;
    ds_http_sink *sink;
    sim_stream *stream;
    bool was_sent, resent;
    ds_timer patience;
};

/* One copy of a request. */
typedef struct sim_packet {
    sim *s;
    sim_host *host;
    uint64_t http;
    size_t member;
    char *target, *authorization, *body;
    size_t body_size;
    int64_t reply_delay_ns;
    sim_fault fault; /* what becomes of the answer; SIM_FAULTS: nothing */
    bool silent;     /* its answer goes nowhere */
    bool stale;
} sim_packet;

int64_t sim_latency(sim *s);
char *sim_copied(const void *bytes, size_t size);
bool sim_is_cut(const sim *s, const sim_host *host);
ds_http *sim_http_find(const sim_host *host, uint64_t number); /* NULL: it is over */
void sim_http_finish(ds_http *http, ds_http_fate fate, int status, const char *body, size_t size);
void sim_send_answer(const sim_packet *p, int64_t delay_ns, ds_http_fate fate, int status, const char *body,
                     size_t size);
void sim_packet_drop(void *argument);
sim_question sim_question_of(const sim_packet *p);
void sim_packet_refuse(sim_packet *p, ds_http_fate fate, int status); /* takes the packet */

/* stream.c */
void sim_stream_start(ds_http *http, sim_packet *p); /* takes the packet */
void sim_stream_send(sim_stream *stream, const char *bytes, size_t count);
void sim_stream_hang_up(sim_stream *stream);
void sim_stream_unref(sim_stream *stream);

#endif
