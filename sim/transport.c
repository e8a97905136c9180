/* transport.c: requests on their way, and what happens to them there. The servers' side of it is the model's. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "transport_parts.h"

#define LATE_MAX_NS (10 * DS_SECOND)
#define FIRST_REFUSAL 429 /* from this HTTP status on, servers have executed nothing, or do not know */

/* What a client hears of a request, on its way. */
typedef struct answer {
    sim_host *host;
    uint64_t http;
    sim_hearing heard;
} answer;

/* ---- small things ------------------------------------------------------------------------------------------------ */

int64_t sim_latency(sim *s) {
    return sim_between(s, 100000, 2 * DS_MS);
}

char *sim_copied(const void *bytes, size_t size) {
    char *copy = sim_alloc(NULL, size + 1);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    copy[size] = '\0';
    return copy;
}

bool sim_is_cut(const sim *s, const sim_host *host) {
    return !s->calm && host->cut_until_ns > s->now_ns;
}

ds_http *sim_http_find(const sim_host *host, uint64_t number) {
    for (ds_list *link = host->requests.next; link != &host->requests; link = link->next) {
        ds_http *http = DS_LIST_ENTRY(link, ds_http, node);
        if (http->number == number) {
            return http;
        }
    }
    return NULL;
}

static void forget(ds_http *http) {
    http->host->base.ops->timer_stop(&http->host->base, &http->patience);
    ds_list_remove(&http->node);
    if (http->stream != NULL) {
        http->stream->http = 0;
        sim_stream_unref(http->stream);
    }
    (void)sim_alloc(http, 0);
}

/* The values of the wanted headers, cut out of a copy of the lines. */
static void pick_headers(const ds_http *http, char *lines, const char **values) {
    char *end;
    for (char *line = lines; line != NULL && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        char *colon = strstr(line, ": ");
        *end = '\0';
        for (size_t i = 0; colon != NULL && http->want_headers[i] != NULL; i++) {
            size_t length = strlen(http->want_headers[i]);
            if (length == (size_t)(colon - line) && strncasecmp(line, http->want_headers[i], length) == 0) {
                values[i] = colon + 2;
            }
        }
    }
}

void sim_http_finish(ds_http *http, const sim_hearing *heard) {
    const char *values[DS_HTTP_HEADERS_MAX] = {NULL};
    char *lines = heard->headers != NULL ? sim_copied(heard->headers, strlen(heard->headers)) : NULL;
    ds_http_sink *sink = http->sink;
    ds_http_result result = {.fate = heard->fate, .status = heard->status, .resent = http->resent};
    result.body = heard->size > 0 ? heard->body : NULL;
    result.body_size = heard->size;
    pick_headers(http, lines, values);
    result.header_values = values;
    result.message = heard->fate == DS_HTTP_ANSWERED   ? ""
                     : heard->fate == DS_HTTP_NOT_SENT ? "connection refused"
                                                       : "no complete answer";
    sim_note(http->host->s, "client %u hears %s %d %.*s", http->host->number, result.message, heard->status,
             (int)(heard->size < 200 ? heard->size : 200), heard->body);
    forget(http);
    (void)sim_memory_client(true);
    sink->on_done(sink, &result);
    (void)sim_memory_client(false);
    (void)sim_alloc(lines, 0);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void drop_answer(void *argument) {
    answer *a = argument;
    (void)sim_alloc((char *)a->heard.headers, 0);
    (void)sim_alloc((char *)a->heard.body, 0);
    (void)sim_alloc(a, 0);
}

static void deliver_answer(sim *s, void *argument) {
    answer *a = argument;
    ds_http *http = sim_http_find(a->host, a->http);
    if (http != NULL && !sim_is_cut(s, a->host)) {
        sim_http_finish(http, &a->heard);
    }
    drop_answer(a);
}

void sim_send_answer(const sim_packet *p, int64_t delay_ns, const sim_hearing *heard) {
    answer *a = sim_alloc(NULL, sizeof *a);
    *a = (answer){p->host, p->http, *heard};
    a->heard.headers = heard->headers != NULL ? sim_copied(heard->headers, strlen(heard->headers)) : NULL;
    a->heard.body = sim_copied(heard->body, heard->size);
    sim_at(p->s, p->s->now_ns + delay_ns, p->host, deliver_answer, a, drop_answer);
}

static void spoil(sim_packet *p, const sim_hearing *true_one) {
    static const char *const nonsense[] = {"",
                                           "<html>Service</html>",
                                           "{}",
                                           "{\"header\":",
                                           "null",
                                           "[1,2]",
                                           "{\"result\":{}}",
                                           "{\"header\":{\"cluster_id\":1}}",
                                           "\xff\xfe\x01"};
    sim_hearing heard = *true_one;
    const char *text = nonsense[sim_random(p->s) % DS_COUNT(nonsense)];
    switch (p->fault) {
    case SIM_LOST_REPLY:
        return;
    case SIM_RESET:
        heard = (sim_hearing){.fate = DS_HTTP_UNKNOWN, .body = ""};
        break;
    case SIM_ERROR:
        heard = (sim_hearing){DS_HTTP_ANSWERED, 500 + (int)(sim_random(p->s) % 5), NULL, text, strlen(text)};
        break;
    case SIM_GARBAGE:
        heard.status = 200;
        heard.body = text;
        heard.size = strlen(text);
        break;
    case SIM_TRUNCATED:
        heard.fate = sim_random(p->s) % 2 == 0 ? DS_HTTP_UNKNOWN : DS_HTTP_ANSWERED;
        heard.size = heard.size > 0 ? (size_t)sim_between(p->s, 0, (int64_t)heard.size - 1) : 0;
        break;
    default:
        break;
    }
    sim_send_answer(p, p->reply_delay_ns, &heard);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

void sim_packet_drop(void *argument) {
    sim_packet *p = argument;
    (void)sim_alloc(p->method, 0);
    (void)sim_alloc(p->target, 0);
    (void)sim_alloc(p->authorization, 0);
    (void)sim_alloc(p->body, 0);
    (void)sim_alloc(p, 0);
}

sim_question sim_question_of(sim_packet *p, sim_extra *extra) {
    return (sim_question){p->member, p->host,      p->method, p->target, p->authorization,
                          p->body,   p->body_size, p->stale,  extra,     p};
}

void sim_answer_later(sim_packet *p, int status, const ds_buf *headers, const ds_buf *body) {
    if (!p->silent) {
        spoil(p, &(sim_hearing){DS_HTTP_ANSWERED, status, headers->data, body->data, body->size});
    }
    sim_packet_drop(p);
}

void sim_answer_never(sim_packet *p) {
    sim_packet_drop(p);
}

/* By something on the way, which passes on the second answer and tells nobody; unless that is a refusal: then nobody
 * could know that the request was executed. */
static int ask_again(sim_packet *p, int status, ds_buf *body, sim_extra *extra) {
    ds_buf second = DS_BUF_EMPTY;
    sim_extra more = {DS_BUF_EMPTY, 0};
    sim_question question = sim_question_of(p, &more);
    int again = p->s->model->ask(p->s->servers, &question, &second);
    if (again < FIRST_REFUSAL) {
        ds_buf body_before = *body, headers_before = extra->headers;
        *body = second;
        *extra = more;
        second = body_before;
        more.headers = headers_before;
        status = again;
    }
    ds_buf_free(&more.headers);
    ds_buf_free(&second);
    return status;
}

static void arrive(sim *s, void *argument) {
    sim_packet *p = argument;
    ds_buf body = DS_BUF_EMPTY;
    sim_extra extra = {DS_BUF_EMPTY, 0};
    sim_question question = sim_question_of(p, &extra);
    int status = s->model->ask(s->servers, &question, &body);
    if (p->twice && status < FIRST_REFUSAL) {
        status = ask_again(p, status, &body, &extra);
    }
    if (status != SIM_LATER) {
        p->reply_delay_ns += extra.delay_ns;
        sim_answer_later(p, status, &extra.headers, &body);
    }
    ds_buf_free(&extra.headers);
    ds_buf_free(&body);
}

static sim_packet *copy_packet(const sim_packet *p) {
    sim_packet *copy = sim_alloc(NULL, sizeof *copy);
    *copy = *p;
    copy->method = sim_copied(p->method, strlen(p->method));
    copy->target = sim_copied(p->target, strlen(p->target));
    copy->authorization = p->authorization != NULL ? sim_copied(p->authorization, strlen(p->authorization)) : NULL;
    copy->body = sim_copied(p->body, p->body_size);
    return copy;
}

static void travel(sim_packet *p, int64_t delay_ns) {
    sim_at(p->s, p->s->now_ns + delay_ns, NULL, arrive, p, sim_packet_drop);
}

void sim_packet_refuse(sim_packet *p, ds_http_fate fate, int status) {
    sim_send_answer(p, p->reply_delay_ns, &(sim_hearing){fate, status, NULL, "", 0});
    sim_packet_drop(p);
}

/* A server that gives up on a request which may yet be executed. */
static void leave_unsure(sim_packet *p) {
    ds_buf body = DS_BUF_EMPTY;
    int status = p->s->model->unsure(p->s->servers, &body);
    sim_send_answer(p, 2 * p->reply_delay_ns, &(sim_hearing){DS_HTTP_ANSWERED, status, NULL, body.data, body.size});
    ds_buf_free(&body);
    if (sim_random(p->s) % 2 == 0) {
        sim_packet_drop(p);
        return;
    }
    p->silent = true;
    travel(p, sim_between(p->s, DS_MS, LATE_MAX_NS / 2));
}

static void duplicate(ds_http *http, sim_packet *p) {
    sim_packet *copy = copy_packet(p);
    sim *s = p->s;
    http->resent = true;
    copy->silent = sim_random(s) % 2 == 0;
    p->silent = !copy->silent;
    travel(copy, copy->silent ? sim_between(s, 0, LATE_MAX_NS) : sim_latency(s));
    travel(p, p->silent ? sim_between(s, 0, LATE_MAX_NS) : sim_latency(s));
}

static void transmit(ds_http *http, sim_packet *p, int64_t timeout_ns) {
    static const sim_fault of_answer[] = {SIM_LOST_REPLY, SIM_RESET, SIM_ERROR, SIM_GARBAGE, SIM_TRUNCATED};
    sim *s = p->s;
    p->reply_delay_ns = sim_latency(s);
    p->stale = sim_hit(s, SIM_STALE_READ);
    if (sim_is_cut(s, p->host)) {
        sim_packet_drop(p);
    } else if (sim_hit(s, SIM_REFUSED)) {
        sim_packet_refuse(p, DS_HTTP_NOT_SENT, 0);
    } else if (sim_hit(s, SIM_DROP)) {
        sim_packet_drop(p);
    } else if (sim_hit(s, SIM_TOO_MANY)) {
        sim_packet_refuse(p, DS_HTTP_ANSWERED, 429);
    } else if (sim_hit(s, SIM_NO_QUORUM)) {
        leave_unsure(p);
    } else if (sim_hit(s, SIM_LATE)) {
        travel(p, timeout_ns + sim_between(s, 0, LATE_MAX_NS));
    } else if (sim_hit(s, SIM_DUPLICATE)) {
        duplicate(http, p);
    } else {
        p->twice = strcmp(p->method, "GET") != 0 && sim_hit(s, SIM_TWICE);
        for (size_t i = 0; i < DS_COUNT(of_answer) && p->fault == SIM_FAULTS; i++) {
            p->fault = sim_hit(s, of_answer[i]) ? of_answer[i] : SIM_FAULTS;
        }
        bool slow = sim_hit(s, SIM_DELAY);
        p->reply_delay_ns = slow ? sim_between(s, 0, timeout_ns) : p->reply_delay_ns;
        travel(p, slow ? sim_between(s, 0, timeout_ns) : sim_latency(s));
    }
}

/* ---- ds_world ---------------------------------------------------------------------------------------------------- */

static void out_of_patience(ds_timer *timer) {
    ds_http *http = DS_CONTAINER_OF(timer, ds_http, patience);
    sim_http_finish(http, &(sim_hearing){.fate = DS_HTTP_UNKNOWN, .body = ""});
}

static sim_packet *make_packet(const ds_http *http, const ds_http_request *request) {
    sim_packet *p = sim_alloc(NULL, sizeof *p);
    memset(p, 0, sizeof *p);
    p->s = http->host->s;
    p->host = http->host;
    p->http = http->number;
    p->fault = SIM_FAULTS;
    /* "http://10.0.0.<member + 1>:2379" */
    p->member = (size_t)(request->endpoint->origin[14] - '1') % SIM_MEMBERS;
    p->method = sim_copied(request->method, strlen(request->method));
    p->target = sim_copied(request->target, strlen(request->target));
    for (size_t i = 0; request->headers[i] != NULL; i++) {
        if (strncmp(request->headers[i], "Authorization: ", 15) == 0) {
            p->authorization = sim_copied(request->headers[i] + 15, strlen(request->headers[i] + 15));
        }
    }
    p->body = sim_copied(request->body, request->body_size);
    p->body_size = request->body_size;
    return p;
}

ds_http *sim_http_start(ds_world *world, const ds_http_request *request, ds_http_sink *sink) {
    sim_host *host = DS_CONTAINER_OF(world, sim_host, base);
    if (sim_hit(host->s, SIM_NO_MEMORY)) {
        return NULL;
    }
    ds_http *http = sim_alloc(NULL, sizeof *http);
    memset(http, 0, sizeof *http);
    http->host = host;
    http->number = ++host->s->numbers;
    http->sink = sink;
    http->patience.fire = out_of_patience;
    memcpy(http->want_headers, request->want_headers, sizeof http->want_headers);
    ds_list_append(&host->requests, &http->node);
    host->s->counts->requests++;
    if (request->timeout_ns != DS_NEVER) {
        world->ops->timer_set(world, &http->patience, sim_local(host) + request->timeout_ns);
    }
    sim_packet *p = make_packet(http, request);
    if (request->stream) {
        sim_stream_start(http, p);
    } else {
        transmit(http, p, request->timeout_ns);
    }
    return http;
}

bool sim_http_send(ds_world *world, ds_http *http, const void *bytes, size_t count) {
    (void)world;
    if (sim_hit(http->host->s, SIM_NO_MEMORY)) {
        return false;
    }
    if (http->stream != NULL && !http->stream->silent) {
        sim_stream_send(http->stream, bytes, count);
    }
    return true;
}

static void hang_up(ds_http *http) {
    if (http->stream != NULL) {
        sim_stream_hang_up(http->stream);
    }
    forget(http);
}

void sim_http_cancel(ds_world *world, ds_http *http) {
    (void)world;
    hang_up(http);
}

void sim_http_drop(sim_host *host) {
    while (!ds_list_empty(&host->requests)) {
        hang_up(DS_LIST_ENTRY(host->requests.next, ds_http, node));
    }
}
