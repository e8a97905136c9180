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
    const char *want_headers[DS_HTTP_HEADERS_MAX + 1];
    ds_timer patience;
};

/* One copy of a request. */
struct sim_packet {
    sim *s;
    sim_host *host;
    uint64_t http;
    size_t member;
    char *method, *target, *authorization, *body;
    size_t body_size;
    int64_t reply_delay_ns;
    sim_fault fault; /* what becomes of the answer; SIM_FAULTS: nothing */
    bool silent;     /* its answer goes nowhere */
    bool twice;      /* executed so */
    bool stale;
};

/* What a client hears of a request. */
typedef struct sim_hearing {
    ds_http_fate fate;
    int status;
    const char *headers; /* lines, or NULL */
    const char *body;
    size_t size;
} sim_hearing;

int64_t sim_latency(sim *s);
char *sim_copied(const void *bytes, size_t size);
bool sim_is_cut(const sim *s, const sim_host *host);
ds_http *sim_http_find(const sim_host *host, uint64_t number); /* NULL: it is over */
void sim_http_finish(ds_http *http, const sim_hearing *heard);
void sim_send_answer(const sim_packet *p, int64_t delay_ns, const sim_hearing *heard);
void sim_packet_drop(void *argument);
sim_question sim_question_of(sim_packet *p, sim_extra *extra);
void sim_packet_refuse(sim_packet *p, ds_http_fate fate, int status); /* takes the packet */

/* stream.c */
void sim_stream_start(ds_http *http, sim_packet *p); /* takes the packet */
void sim_stream_send(sim_stream *stream, const char *bytes, size_t count);
void sim_stream_hang_up(sim_stream *stream);
void sim_stream_unref(sim_stream *stream);

#endif
