/* target_etcd.c: the etcd backend before a hostile server (etcd_player.h). The bytes choose which calls are made. What
 * must hold is backend.h: each call ends once, in its time, never from inside the function that began it, and says only
 * what its kind can say.
 */
#include "etcd_player.h"

#include "../csrc/backend/backend.h"

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

/* ---- the owner of the calls -------------------------------------------------------------------------------------- */

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

/* ---- one run ----------------------------------------------------------------------------------------------------- */

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
    memset(&t, 0, sizeof(t));
    t.in = in;
    t.u = fw_new(3);
    t.lease = (ds_lease){.nonce = 5, .prefix = "p", .info = "{}", .ttl_ms = 15000, .epoch = 1, .id = "5"};
    t.entry = (ds_entry){
        .lease = &t.lease, .path = "p/lock/q", .nonce = "0123456789abcdef", .token = 9, .value = "v", .value_size = 1};
    t.fresh = t.entry;
    t.fresh.nonce[0] = '1';
    t.fresh.token = 0;
    etcd_player_begin(in, t.u, t.entry.nonce, t.fresh.nonce);
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
                etcd_player_stream(stream);
            }
        } else {
            fw_advance(t.u, fz_byte(in) * (what == OPS + 7 ? 100 : 1) * DS_MS);
        }
    }
    ds_test_fail_allocation(0, false);
    shut();
}
