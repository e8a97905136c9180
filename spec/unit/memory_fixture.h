/* memory_fixture.h: clients of one memory: store in virtual time, and calls that wait for their answer. */
#ifndef MEMORY_FIXTURE_H
#define MEMORY_FIXTURE_H

#include "../../csrc/backend/backend.h"
#include "../../csrc/base/buf.h"
#include "fake_world.h"
#include "test.h"

#define PATH "dsync/lock/a"
#ifndef MAKE_BACKEND /* local: has the same queues */
#define MAKE_BACKEND ds_memory_backend
#endif

/* An answer, with its strings copied. */
typedef struct answer {
    ds_call call;
    fw *universe;
    uint64_t turn; /* in which the call was made */
    unsigned count;
    ds_reply reply;
    char ahead[128], holder_key[128], holder_value[128], holder_path[128], value[128], server[64], next[128];
    char message[256];
    ds_buf listed; /* "path key=value token holds\n" */
} answer;

typedef struct client {
    fw *universe;
    ds_backend *backend;
    ds_lease lease;
} client;

TEST_UNUSED static void keep_text(char *out, size_t size, const char *text) {
    (void)snprintf(out, size, "%s", text != NULL ? text : "");
}

static void on_answer(ds_call *call, const ds_reply *reply) {
    answer *a = DS_CONTAINER_OF(call, answer, call);
    CHECK(fw_turn(a->universe) != a->turn); /* never from inside the call */
    CHECK_NULL(call->impl);
    a->count++;
    a->reply = *reply;
    keep_text(a->ahead, sizeof(a->ahead), reply->ahead);
    keep_text(a->message, sizeof(a->message), reply->message);
    keep_text(a->value, sizeof(a->value), reply->value);
    keep_text(a->server, sizeof(a->server), reply->server);
    keep_text(a->next, sizeof(a->next), reply->next);
    if (reply->holder != NULL) {
        keep_text(a->holder_key, sizeof(a->holder_key), reply->holder->key);
        keep_text(a->holder_value, sizeof(a->holder_value), reply->holder->value);
        keep_text(a->holder_path, sizeof(a->holder_path), reply->holder->path);
    }
    for (size_t i = 0; i < reply->peer_count; i++) {
        const ds_peer *peer = &reply->peers[i];
        CHECK(strncmp(peer->key, peer->path, strlen(peer->path)) == 0);
        ds_buf_add_format(&a->listed, "%s %.*s %s\n", peer->path, (int)peer->value_size, peer->value,
                          peer->holds ? "holds" : "waits");
    }
}

static answer *prepare(answer *a, fw *u) {
    *a = (answer){.call = {.done = on_answer, .timeout_ns = DS_SECOND}, .universe = u, .turn = fw_turn(u)};
    return a;
}

TEST_UNUSED static ds_backend *backend_on(ds_world *world, const char *name, const char *id) {
    dsync_options options = {.id = id};
    ds_backend_config config = {.options = &options, .endpoints = &name, .endpoint_count = 1};
    dsync_error error;
    return MAKE_BACKEND(world, &config, &error);
}

/* A client in a world of its own, without a session. */
TEST_UNUSED static client client_new(fw *u, const char *id) {
    client c = {.universe = u, .backend = backend_on(fw_add_world(u), "test", id)};
    static uint64_t nonces = 0xabc0;
    c.lease = (ds_lease){.nonce = ++nonces, .prefix = "dsync", .info = "{\"who\":1}", .ttl_ms = 10000, .epoch = 1};
    return c;
}

#define CALL(c, out, op, ...)                                                                                          \
    do {                                                                                                               \
        (c)->backend->ops->op((c)->backend, &prepare((out), (c)->universe)->call, ##__VA_ARGS__);                      \
        CHECK_EQ_UINT((out)->count, 0);                                                                                \
        fw_settle((c)->universe);                                                                                      \
        CHECK_EQ_UINT((out)->count, 1);                                                                                \
    } while (0)

TEST_UNUSED static ds_class open_session(client *c) {
    answer a;
    CALL(c, &a, open, &c->lease);
    return a.reply.outcome;
}

TEST_UNUSED static client client_open(fw *u, const char *id) {
    client c = client_new(u, id);
    CHECK_EQ_INT(open_session(&c), DS_OK);
    return c;
}

TEST_UNUSED static void client_free(client *c) {
    c->backend->ops->forget(c->backend, &c->lease);
    c->backend->ops->destroy(c->backend);
}

/* An entry of this client's with a nonce made from `number`; its value is the number. */
typedef struct place {
    ds_entry entry;
    char value[24];
} place;

TEST_UNUSED static place *place_of(place *p, const client *c, const char *path, unsigned number) {
    *p = (place){.entry = {.lease = &c->lease, .path = path}};
    (void)snprintf(p->entry.nonce, sizeof(p->entry.nonce), "%016x", number);
    (void)snprintf(p->value, sizeof(p->value), "%u", number);
    p->entry.value = p->value;
    p->entry.value_size = strlen(p->value);
    return p;
}

/* Enters and notes the token; returns the place. */
TEST_UNUSED static ds_place enter(client *c, place *p) {
    answer a;
    CALL(c, &a, enter, &p->entry, false);
    CHECK_EQ_INT(a.reply.outcome, DS_OK);
    p->entry.token = a.reply.token;
    return a.reply.place;
}

TEST_UNUSED static ds_place check(client *c, const place *p) {
    answer a;
    CALL(c, &a, check, &p->entry);
    return a.reply.outcome == DS_OK ? a.reply.place : DS_PLACE_NONE;
}

TEST_UNUSED static ds_place leave(client *c, const place *p) {
    answer a;
    CALL(c, &a, leave, &p->entry);
    return a.reply.outcome == DS_OK ? a.reply.place : DS_PLACE_NONE;
}

/* What a queue (or all below a path) looks like. */
TEST_UNUSED static const char *listing(client *c, const char *path, bool subtree) {
    static char text[512];
    ds_list_spec spec = {.path = path, .subtree = subtree};
    answer a;
    CALL(c, &a, list, &spec);
    keep_text(text, sizeof(text), a.listed.data);
    ds_buf_free(&a.listed);
    return text;
}

#endif
