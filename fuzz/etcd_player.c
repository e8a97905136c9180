/* etcd_player.c: see etcd_player.h. */
#include "etcd_player.h"

#include "../csrc/base/json.h"
#include "../csrc/dsync.h"

static struct {
    fz *in;
    const char *nonces[2];
} player;

static void add_number(ds_buf *out, const char *name) {
    ds_buf_add_format(out, "\"%s\":\"", name);
    ds_buf_add_int(out, fz_flag(player.in) ? (int64_t)fz_byte(player.in) : fz_int64(player.in));
    ds_buf_add_text(out, "\"");
}

static void add_header(ds_buf *out) {
    static const char *const clusters[] = {"7", "7", "7", "8", "0"};
    ds_buf_add_format(out, "\"header\":{\"cluster_id\":\"%s\",", clusters[fz_pick(player.in, DS_COUNT(clusters))]);
    add_number(out, "revision");
    ds_buf_add_char(out, '}');
}

/* Sometimes a key of ours, told by its number. */
static void add_bytes(ds_buf *out, const char *name) {
    static const char *const known[] = {"p/lock/q/", "p/session/5", "{\"epoch\":1}", "{\"id\":\"n\",\"value\":\"v\"}"};
    size_t which = fz_pick(player.in, DS_COUNT(known) + 2), size;
    ds_buf_add_format(out, "\"%s\":\"", name);
    if (which < DS_COUNT(known)) {
        ds_buf whole = DS_BUF_EMPTY;
        ds_buf_add_text(&whole, known[which]);
        if (which == 0) {
            ds_buf_add_format(&whole, "%016x-%s", 5, player.nonces[fz_flag(player.in) ? 0 : 1]);
        }
        ds_buf_add_base64(out, whole.data, whole.size);
        ds_buf_free(&whole);
    } else {
        const char *bytes = fz_bytes(player.in, 100, &size);
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
    size_t count = fz_pick(player.in, 4);
    for (size_t i = 0; i < count; i++) {
        ds_buf_add_text(out, i > 0 ? "," : "");
        add_kv(out);
    }
    ds_buf_add_text(out, fz_flag(player.in) ? "],\"more\":true" : "]");
}

/* One response to each operation of a branch, as a server must; or what it must not. */
static void add_txn(ds_buf *out, const char *body, size_t size) {
    static const char *const kinds[] = {"request_range", "request_put", "request_delete_range"};
    static const char *const answers[] = {"response_range", "response_put", "response_delete_range"};
    bool succeeded = fz_flag(player.in), honest = fz_pick(player.in, 8) != 0, first = true;
    ds_json_limits limits = {32, size + 16};
    ds_json *json = ds_json_parse(body, size, &limits, NULL, NULL);
    FZ_CHECK(json != NULL || ds_test_allocation_failed()); /* ours may be the one that is refused */
    add_header(out);
    ds_buf_add_format(out, ",\"succeeded\":%s,\"responses\":[", succeeded ? "true" : "false");
    const ds_json *item = ds_json_first(ds_json_array(json, succeeded ? "success" : "failure"));
    for (; item != NULL && (honest || fz_pick(player.in, 4) != 0); item = ds_json_next(item), first = false) {
        size_t kind = 0;
        while (kind < 2 && ds_json_member(item, kinds[kind]) == NULL) {
            kind++;
        }
        kind = honest ? kind : fz_pick(player.in, 3);
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
        const char *token = fz_text(player.in, 40);
        ds_json_add_text(out, token, strlen(token));
    } else {
        add_header(out);
        ds_buf_add_char(out, ',');
        add_number(out, fz_flag(player.in) ? "TTL" : "ID");
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
    size_t which = fz_pick(player.in, DS_COUNT(words) + 1);
    const char *text = which < DS_COUNT(words) ? words[which] : fz_text(player.in, 100);
    ds_buf_add_format(out, "{\"code\":%u,\"message\":", fz_byte(player.in) % 20U);
    ds_json_add_text(out, text, strlen(text));
    ds_buf_add_char(out, '}');
}

static void add_line(ds_buf *out, int64_t id) {
    ds_buf_add_text(out, "{\"result\":{");
    add_header(out);
    ds_buf_add_format(out, ",\"watch_id\":\"%lld\"", (long long)id);
    size_t kind = fz_pick(player.in, 5);
    if (kind == 0) {
        ds_buf_add_text(out, ",\"created\":true");
    } else if (kind == 1) {
        ds_buf_add_text(out, ",\"canceled\":true,");
        add_number(out, "compact_revision");
        ds_buf_add_text(out, ",\"cancel_reason\":");
        const char *reason = fz_text(player.in, 60);
        ds_json_add_text(out, reason, strlen(reason));
    } else {
        ds_buf_add_text(out, ",\"events\":[");
        for (size_t i = 0; i < kind; i++) {
            ds_buf_add_text(out, i > 0 ? "," : "");
            ds_buf_add_text(out, fz_flag(player.in) ? "{\"type\":\"DELETE\",\"kv\":" : "{\"kv\":");
            add_kv(out);
            if (fz_flag(player.in)) {
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
    size_t wanted = fz_pick(player.in, 6);
    int64_t id = 1;
    for (const char *at = request->body; wanted < 5 && (at = strstr(at, "\"watch_id\":\"")) != NULL; at++) {
        id = strtoll(at + 12, NULL, 10);
        if (wanted-- == 0) {
            break;
        }
    }
    return wanted == 5 ? fz_int64(player.in) : id;
}

/* Whole lines, or cut anywhere. */
void etcd_player_stream(fw_request *request) {
    ds_buf out = DS_BUF_EMPTY;
    size_t size;
    if (fz_pick(player.in, 4) == 0) {
        const char *bytes = fz_bytes(player.in, 300, &size);
        ds_buf_add(&out, bytes, size);
    } else {
        add_line(&out, an_id(request));
    }
    size_t cut = out.size > 0 ? fz_byte(player.in) % out.size : 0;
    fw_data(request, 0, out.size > 0 ? out.data : "", cut);
    fw_data(request, fz_byte(player.in) * DS_MS, out.size > 0 ? out.data + cut : "", out.size - cut);
    ds_buf_free(&out);
}

static void on_request(fw_request *request, void *argument) {
    static const int statuses[] = {200, 200, 302, 400, 401, 403, 404, 412, 429, 500, 503};
    (void)argument;
    ds_buf out = DS_BUF_EMPTY;
    size_t size;
    int64_t delay = fz_flag(player.in) ? 0 : fz_byte(player.in) * 10 * DS_MS;
    fw_answer answer = {.status = 200, .resent = fz_pick(player.in, 8) == 7};
    if (request->stream && fz_pick(player.in, 3) != 2) {
        etcd_player_stream(request);
        return;
    }
    switch (fz_pick(player.in, 8)) {
    case 0:
    case 1:
    case 2:
    case 3:
        add_answer(&out, request);
        break;
    case 4:
        add_error(&out);
        answer.status = statuses[fz_pick(player.in, DS_COUNT(statuses))];
        break;
    case 5: {
        const char *bytes = fz_bytes(player.in, 600, &size);
        ds_buf_add(&out, bytes, size);
        answer.status = statuses[fz_pick(player.in, DS_COUNT(statuses))];
        break;
    }
    case 6:
        answer.status = 0;
        answer.fate = (ds_http_fate)(1 + fz_pick(player.in, 3));
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

void etcd_player_begin(fz *in, fw *u, const char *first_nonce, const char *second_nonce) {
    fw_server server = {.on_request = on_request};
    player.in = in;
    player.nonces[0] = first_nonce;
    player.nonces[1] = second_nonce;
    fw_serve(u, &server);
}
