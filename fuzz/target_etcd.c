/* target_etcd.c: the etcd backend before a hostile server. The bytes choose which calls are made, and for each request
 * whether it is answered well, badly, by half, late or never; on the watch stream, too. What must hold is backend.h: each
 * call ends once, in its time, never from inside the function that began it, and says only what its kind can say.
 */
#include "fuzz.h"

#include "../csrc/backend/backend.h"
#include "../csrc/base/json.h"
#include "../spec/unit/fake_world.h"

#define CALLS 24
#define WATCHES 4
#define CALL_TIME (2 * DS_SECOND)

typedef enum op { OPEN, RENEW, CLOSE, ENTER, TRY, CHECK, LEAVE, SWAP, WITHDRAW, WRITE, EVICT, GET, LIST, PING, OPS } op;

typedef struct one {
    ds_call call;
    op kind;
    bool begun, starting, over;
    int64_t until_ns;
} one;

typedef struct look {
    ds_watch watch;
    bool on, starting;
} look;

static struct {
    fz *in;
    fw *u;
    ds_backend *backend;
    ds_lease lease;
    ds_entry entry, fresh;
    one calls[CALLS];
    look watches[WATCHES];
    size_t count;
} t;

/* ---- the server --------------------------------------------------------------------------------------------------- */

static void add_number(ds_buf *out, const char *name) {
    ds_buf_add_format(out, "\"%s\":\"", name);
    ds_buf_add_int(out, fz_flag(t.in) ? (int64_t)fz_byte(t.in) : fz_int64(t.in));
    ds_buf_add_text(out, "\"");
}

static void add_header(ds_buf *out) {
    static const char *const clusters[] = {"7", "7", "7", "8", "0"};
    ds_buf_add_format(out, "\"header\":{\"cluster_id\":\"%s\",", clusters[fz_pick(t.in, DS_COUNT(clusters))]);
    add_number(out, "revision");
    ds_buf_add_char(out, '}');
}

/* Sometimes a key of ours, told by its number. */
static void add_bytes(ds_buf *out, const char *name) {
    static const char *const known[] = {"p/lock/q/", "p/session/5", "{\"epoch\":1}", "{\"id\":\"n\",\"value\":\"v\"}"};
    size_t which = fz_pick(t.in, DS_COUNT(known) + 2), size;
    ds_buf_add_format(out, "\"%s\":\"", name);
    if (which < DS_COUNT(known)) {
        ds_buf whole = DS_BUF_EMPTY;
        ds_buf_add_text(&whole, known[which]);
        if (which == 0) {
            ds_buf_add_format(&whole, "%016x-%s", 5, fz_flag(t.in) ? t.entry.nonce : t.fresh.nonce);
        }
        ds_buf_add_base64(out, whole.data, whole.size);
        ds_buf_free(&whole);
    } else {
        const char *bytes = fz_bytes(t.in, 100, &size);
        ds_buf_add_base64(out, bytes, size);
    }
    ds_buf_add_text(out, "\"");
}

static void add_kv(ds_buf *out) {
    ds_buf_add_char(out, '{');
    add_bytes(out, "key");
    ds_buf_add_char(out, ',');
    add_bytes(out, "value");
    ds_buf_add_char(out, ',');
    add_number(out, "create_revision");
    ds_buf_add_char(out, ',');
    add_number(out, "mod_revision");
    ds_buf_add_char(out, ',');
    add_number(out, "lease");
    ds_buf_add_char(out, '}');
}

static void add_range(ds_buf *out) {
    add_header(out);
    ds_buf_add_text(out, ",\"kvs\":[");
    size_t count = fz_pick(t.in, 4);
    for (size_t i = 0; i < count; i++) {
        ds_buf_add_text(out, i > 0 ? "," : "");
        add_kv(out);
    }
    ds_buf_add_text(out, fz_flag(t.in) ? "],\"more\":true" : "]");
}

/* One response to each operation of a branch, as a server must; or what it must not. */
static void add_txn(ds_buf *out, const char *body, size_t size) {
    static const char *const kinds[] = {"request_range", "request_put", "request_delete_range"};
    static const char *const answers[] = {"response_range", "response_put", "response_delete_range"};
    bool succeeded = fz_flag(t.in), honest = fz_pick(t.in, 8) != 0, first = true;
    ds_json_limits limits = {32, size + 16};
    ds_json *json = ds_json_parse(body, size, &limits, NULL, NULL);
    FZ_CHECK(json != NULL || ds_test_allocation_failed()); /* ours may be the one that is refused */
    add_header(out);
    ds_buf_add_format(out, ",\"succeeded\":%s,\"responses\":[", succeeded ? "true" : "false");
    const ds_json *item = ds_json_first(ds_json_array(json, succeeded ? "success" : "failure"));
    for (; item != NULL && (honest || fz_pick(t.in, 4) != 0); item = ds_json_next(item), first = false) {
        size_t kind = 0;
        while (kind < 2 && ds_json_member(item, kinds[kind]) == NULL) {
            kind++;
        }
        kind = honest ? kind : fz_pick(t.in, 3);
        ds_buf_add_format(out, "%s{\"%s\":{", first ? "" : ",", answers[kind]);
        if (kind == 0) {
            add_range(out);
        } else if (kind == 2) {
            add_number(out, "deleted");
        }
        ds_buf_add_text(out, "}}");
    }
    ds_buf_add_char(out, ']');
    ds_json_free(json);
}

static void add_answer(ds_buf *out, const fw_request *request) {
    ds_buf_add_char(out, '{');
    if (strcmp(request->target, "/v3/kv/txn") == 0) {
        add_txn(out, request->body, request->body_size);
    } else if (strcmp(request->target, "/v3/kv/range") == 0) {
        add_range(out);
    } else if (strcmp(request->target, "/v3/lease/keepalive") == 0) {
        ds_buf_add_text(out, "\"result\":{");
        add_header(out);
        ds_buf_add_char(out, ',');
        add_number(out, "TTL");
        ds_buf_add_char(out, '}');
    } else if (strcmp(request->target, "/v3/auth/authenticate") == 0) {
        add_header(out);
        ds_buf_add_text(out, ",\"token\":");
        const char *token = fz_text(t.in, 40);
        ds_json_add_text(out, token, strlen(token));
    } else {
        add_header(out);
        ds_buf_add_char(out, ',');
        add_number(out, fz_flag(t.in) ? "TTL" : "ID");
        ds_buf_add_text(out, ",\"version\":\"3.4.23\"");
    }
    ds_buf_add_char(out, '}');
}

static void add_error(ds_buf *out) {
    static const char *const words[] = {"etcdserver: requested lease not found",
                                        "etcdserver: lease already exists",
                                        "etcdserver: invalid auth token",
                                        "etcdserver: permission denied",
                                        "etcdserver: user name is empty",
                                        "etcdserver: authentication is not enabled",
                                        "etcdserver: no leader",
                                        "etcdserver: too many requests",
                                        "etcdserver: mvcc: database space exceeded",
                                        "etcdserver: mvcc: required revision has been compacted",
                                        "etcdserver: request timed out"};
    size_t which = fz_pick(t.in, DS_COUNT(words) + 1);
    const char *text = which < DS_COUNT(words) ? words[which] : fz_text(t.in, 100);
    ds_buf_add_format(out, "{\"code\":%u,\"message\":", fz_byte(t.in) % 20U);
    ds_json_add_text(out, text, strlen(text));
    ds_buf_add_char(out, '}');
}

static void add_line(ds_buf *out, int64_t id) {
    ds_buf_add_text(out, "{\"result\":{");
    add_header(out);
    ds_buf_add_format(out, ",\"watch_id\":\"%lld\"", (long long)id);
    size_t kind = fz_pick(t.in, 5);
    if (kind == 0) {
        ds_buf_add_text(out, ",\"created\":true");
    } else if (kind == 1) {
        ds_buf_add_text(out, ",\"canceled\":true,");
        add_number(out, "compact_revision");
        ds_buf_add_text(out, ",\"cancel_reason\":");
        const char *reason = fz_text(t.in, 60);
        ds_json_add_text(out, reason, strlen(reason));
    } else {
        ds_buf_add_text(out, ",\"events\":[");
        for (size_t i = 0; i < kind; i++) {
            ds_buf_add_text(out, i > 0 ? "," : "");
            ds_buf_add_text(out, fz_flag(t.in) ? "{\"type\":\"DELETE\",\"kv\":" : "{\"kv\":");
            add_kv(out);
            if (fz_flag(t.in)) {
                ds_buf_add_text(out, ",\"prev_kv\":");
                add_kv(out);
            }
            ds_buf_add_char(out, '}');
        }
        ds_buf_add_char(out, ']');
    }
    ds_buf_add_text(out, "}}\n");
}

/* The ids that a stream was asked for, told by the text of the requests. */
static int64_t an_id(const fw_request *request) {
    size_t wanted = fz_pick(t.in, 6);
    int64_t id = 1;
    for (const char *at = request->body; wanted < 5 && (at = strstr(at, "\"watch_id\":\"")) != NULL; at++) {
        id = strtoll(at + 12, NULL, 10);
        if (wanted-- == 0) {
            break;
        }
    }
    return wanted == 5 ? fz_int64(t.in) : id;
}

/* Whole lines, or cut anywhere. */
static void stream_data(fw_request *request) {
    ds_buf out = DS_BUF_EMPTY;
    size_t size;
    if (fz_pick(t.in, 4) == 0) {
        const char *bytes = fz_bytes(t.in, 300, &size);
        ds_buf_add(&out, bytes, size);
    } else {
        add_line(&out, an_id(request));
    }
    size_t cut = out.size > 0 ? fz_byte(t.in) % out.size : 0;
    fw_data(request, 0, out.size > 0 ? out.data : "", cut);
    fw_data(request, fz_byte(t.in) * DS_MS, out.size > 0 ? out.data + cut : "", out.size - cut);
    ds_buf_free(&out);
}

static void on_request(fw_request *request, void *argument) {
    static const int statuses[] = {200, 200, 302, 400, 401, 403, 404, 412, 429, 500, 503};
    (void)argument;
    ds_buf out = DS_BUF_EMPTY;
    size_t size;
    int64_t delay = fz_flag(t.in) ? 0 : fz_byte(t.in) * 10 * DS_MS;
    fw_answer answer = {.status = 200, .resent = fz_pick(t.in, 8) == 7};
    if (request->stream && fz_pick(t.in, 3) != 2) {
        stream_data(request);
        return;
    }
    switch (fz_pick(t.in, 8)) {
    case 0:
    case 1:
    case 2:
    case 3:
        add_answer(&out, request);
        break;
    case 4:
        add_error(&out);
        answer.status = statuses[fz_pick(t.in, DS_COUNT(statuses))];
        break;
    case 5: {
        const char *bytes = fz_bytes(t.in, 600, &size);
        ds_buf_add(&out, bytes, size);
        answer.status = statuses[fz_pick(t.in, DS_COUNT(statuses))];
        break;
    }
    case 6:
        answer.status = 0;
        answer.fate = (ds_http_fate)(1 + fz_pick(t.in, 3));
        answer.code = answer.fate == DS_HTTP_REFUSED ? DSYNC_CONFIG : 0;
        answer.message = "no answer";
        break;
    default:
        return; /* never */
    }
    answer.body = out.data;
    answer.body_size = out.size;
    fw_finish(request, delay, &answer);
    ds_buf_free(&out);
}

/* ---- the owner of the calls ---------------------------------------------------------------------------------------- */

static bool may_say(op kind, ds_place place) {
    static const unsigned allowed[OPS] = {
        [ENTER] = 1U << DS_PLACE_HELD | 1U << DS_PLACE_WAITING | 1U << DS_PLACE_STALE,
        [TRY] = 1U << DS_PLACE_HELD | 1U << DS_PLACE_BUSY | 1U << DS_PLACE_STALE | 1U << DS_PLACE_WAITING,
        [CHECK] = 1U << DS_PLACE_HELD | 1U << DS_PLACE_WAITING | 1U << DS_PLACE_GONE,
        [LEAVE] = 1U << DS_PLACE_DONE | 1U << DS_PLACE_GONE,
        [SWAP] = 1U << DS_PLACE_HELD | 1U << DS_PLACE_WAITING | 1U << DS_PLACE_GONE | 1U << DS_PLACE_STALE,
        [WITHDRAW] = 1U << DS_PLACE_DONE | 1U << DS_PLACE_STALE,
        [WRITE] = 1U << DS_PLACE_DONE | 1U << DS_PLACE_STALE | 1U << DS_PLACE_GONE,
        [EVICT] = 1U << DS_PLACE_DONE | 1U << DS_PLACE_GONE,
    };
    return allowed[kind] == 0 || (allowed[kind] >> place & 1) != 0;
}

static void check_ok(op kind, const ds_reply *reply) {
    FZ_CHECK(may_say(kind, reply->place));
    FZ_CHECK(reply->revision >= 0);
    if (reply->place == DS_PLACE_HELD || reply->place == DS_PLACE_WAITING) {
        FZ_CHECK(reply->token > 0);
        FZ_CHECK(reply->place == DS_PLACE_HELD || reply->ahead != NULL);
    }
    FZ_CHECK(reply->place != DS_PLACE_BUSY || (reply->holder != NULL && reply->holder->key != NULL));
    FZ_CHECK((kind != OPEN && kind != RENEW) || reply->ttl_ms > 0);
    FZ_CHECK(kind != OPEN || (t.lease.id[0] != '\0' && memchr(t.lease.id, '\0', sizeof(t.lease.id)) != NULL));
    FZ_CHECK(kind != WITHDRAW || reply->place == DS_PLACE_STALE || reply->epoch > t.lease.epoch);
    for (size_t i = 0; kind == LIST && i < reply->peer_count; i++) {
        const ds_peer *peer = &reply->peers[i];
        FZ_CHECK(peer->path != NULL && peer->key != NULL && peer->token > 0);
        FZ_CHECK(peer->value != NULL || peer->value_size == 0);
        FZ_CHECK(strncmp(peer->key, peer->path, strlen(peer->path)) == 0);
    }
}

static void on_done(ds_call *call, const ds_reply *reply) {
    one *c = DS_CONTAINER_OF(call, one, call);
    FZ_CHECK(c->begun && !c->starting && !c->over && call->impl == NULL);
    c->over = true;
    FZ_CHECK(reply->outcome <= DS_REFUSED && (reply->outcome == DS_REFUSED) == (reply->code != DSYNC_OK));
    if (reply->outcome == DS_OK) {
        check_ok(c->kind, reply);
    } else {
        FZ_CHECK(reply->message != NULL);
        fz_check_message(reply->message);
    }
    FZ_CHECK(fw_now(t.u) <= c->until_ns + 100 * DS_MS);
}

static void on_event(ds_watch *watch, const ds_watch_event *event) {
    look *w = DS_CONTAINER_OF(watch, look, watch);
    FZ_CHECK(w->on && !w->starting && event->kind <= DS_WATCH_ENDED);
    FZ_CHECK(event->kind != DS_WATCH_PUT || (event->key != NULL && event->value != NULL));
    FZ_CHECK(event->kind != DS_WATCH_DELETED || event->key != NULL);
    FZ_CHECK(event->kind != DS_WATCH_ENDED || watch->impl == NULL);
    w->on = event->kind != DS_WATCH_ENDED;
}

static void begin(op kind) {
    one *c = &t.calls[t.count++];
    ds_backend *b = t.backend;
    const ds_backend_ops *ops = b->ops;
    const ds_entry *entries[] = {&t.entry, &t.fresh};
    ds_write write = {.kind = (ds_write_kind)fz_pick(t.in, 3), .entry = &t.entry, .value = "v", .value_size = 1};
    ds_list_spec list = {.path = "p/lock", .subtree = fz_flag(t.in), .limit = fz_pick(t.in, 3)};
    c->kind = kind;
    c->begun = c->starting = true;
    c->call = (ds_call){.done = on_done, .timeout_ns = CALL_TIME, .urgent = fz_flag(t.in)};
    c->until_ns = fw_now(t.u) + CALL_TIME;
    write.key = write.kind != DS_WRITE_VALUE ? "p/data/k" : NULL;
    list.after = list.subtree && fz_flag(t.in) ? "p/lock/a" : NULL;
    switch (kind) {
    case OPEN:
        ops->open(b, &c->call, &t.lease);
        break;
    case RENEW:
        ops->renew(b, &c->call, &t.lease);
        break;
    case CLOSE:
        ops->close(b, &c->call, &t.lease);
        break;
    case ENTER:
        ops->enter(b, &c->call, &t.entry, false);
        break;
    case TRY:
        ops->enter(b, &c->call, &t.entry, true);
        break;
    case CHECK:
        ops->check(b, &c->call, &t.entry);
        break;
    case LEAVE:
        ops->leave(b, &c->call, &t.entry);
        break;
    case SWAP:
        ops->swap(b, &c->call, &t.entry, &t.fresh);
        break;
    case WITHDRAW:
        ops->withdraw(b, &c->call, &t.lease, entries, fz_pick(t.in, 3), t.lease.epoch + 1);
        break;
    case WRITE:
        ops->write(b, &c->call, &write);
        break;
    case EVICT:
        ops->evict(b, &c->call, "p/lock/q", 1 + fz_byte(t.in));
        break;
    case GET:
        ops->get(b, &c->call, "p/data/k");
        break;
    case LIST:
        ops->list(b, &c->call, &list);
        break;
    default:
        ops->ping(b, &c->call);
        break;
    }
    c->starting = false;
}

static void cancel(one *c) {
    if (c->begun && !c->over) {
        t.backend->ops->cancel(t.backend, &c->call);
        FZ_CHECK(c->call.impl == NULL);
        c->begun = false;
    }
}

static void watch(look *w) {
    ds_watch_spec spec = {
        .key = "p/lock/q", .subtree = fz_flag(t.in), .deletes_only = fz_flag(t.in), .since = fz_byte(t.in)};
    if (w->on) {
        t.backend->ops->unwatch(t.backend, &w->watch);
        w->on = false;
        return;
    }
    w->watch = (ds_watch){.on_event = on_event};
    w->starting = w->on = true;
    w->on = t.backend->ops->watch(t.backend, &w->watch, &spec);
    w->starting = false;
}

/* ---- one run -------------------------------------------------------------------------------------------------------- */

static bool open_backend(void) {
    static const char *const endpoints[] = {"http://127.0.0.1:2379", "http://127.0.0.1:2380"};
    static const dsync_setting json = {"etcd.transport", "json"};
    dsync_options options = {.prefix = "p", .id = "n", .max_value = 65536, .settings = &json, .setting_count = 1};
    if (fz_flag(t.in)) {
        options.auth_user = "u";
        options.auth_password = "x";
    }
    ds_backend_config config = {.options = &options, .endpoints = endpoints, .endpoint_count = 1 + fz_pick(t.in, 2)};
    dsync_error error;
    t.backend = ds_etcd_backend(fw_world(t.u), &config, &error);
    return t.backend != NULL;
}

static void shut(void) {
    fw_advance(t.u, CALL_TIME + DS_SECOND);
    for (size_t i = 0; i < t.count; i++) {
        FZ_CHECK(!t.calls[i].begun || t.calls[i].over);
    }
    for (size_t i = 0; i < WATCHES; i++) {
        t.backend->ops->unwatch(t.backend, &t.watches[i].watch);
        t.watches[i].on = false;
    }
    t.backend->ops->forget(t.backend, &t.lease);
    t.backend->ops->destroy(t.backend);
    fw_settle(t.u);
    FZ_CHECK(fw_free(t.u) == 0);
}

void fz_target(fz *in) {
    fw_server server = {.on_request = on_request};
    memset(&t, 0, sizeof(t));
    t.in = in;
    t.u = fw_new(3);
    t.lease = (ds_lease){.nonce = 5, .prefix = "p", .info = "{}", .ttl_ms = 15000, .epoch = 1, .id = "5"};
    t.entry = (ds_entry){
        .lease = &t.lease, .path = "p/lock/q", .nonce = "0123456789abcdef", .token = 9, .value = "v", .value_size = 1};
    t.fresh = t.entry;
    t.fresh.nonce[0] = '1';
    t.fresh.token = 0;
    fw_serve(t.u, &server);
    size_t nth = fz_byte(in);
    if (!open_backend()) {
        (void)fw_free(t.u);
        return;
    }
    ds_test_fail_allocation(nth >= 128 ? nth - 127 : 0, false);
    while (in->left > 0) {
        size_t what = fz_pick(in, OPS + 8);
        if (what < OPS && t.count < CALLS) {
            begin((op)what);
        } else if (what < OPS + 2) {
            watch(&t.watches[fz_pick(in, WATCHES)]);
        } else if (what < OPS + 3 && t.count > 0) {
            cancel(&t.calls[fz_pick(in, t.count)]);
        } else if (what < OPS + 5) {
            fw_request *stream = fw_last_request(t.u, "/v3/watch");
            if (stream != NULL && !stream->ended && !stream->cancelled) {
                stream_data(stream);
            }
        } else {
            fw_advance(t.u, fz_byte(in) * (what == OPS + 7 ? 100 : 1) * DS_MS);
        }
    }
    ds_test_fail_allocation(0, false);
    shut();
}
