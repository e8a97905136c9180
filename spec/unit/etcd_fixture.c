/* etcd_fixture.c: see etcd_fixture.h. */
#include "etcd_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_world_parts.h"

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static long long revision; /* of the answer under way */

static const struct {
    const char *word, *text;
    bool encoded;
} words[] = {
    {"@own", "p/lock/q/abc-00000000000000aa", true},
    {"@session", "p/session/abc", true},
    {"@stamp", "{\"epoch\":3}", true},
    {"@next", "{\"epoch\":4}", true},
    {"@H", "", false},
};

static const char header[] = "\"header\":{\"cluster_id\":\"7\",\"revision\":\"%lld\"}";

static size_t encode(char *out, const char *text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = strlen(text), at = 0;
    for (size_t i = 0; i < size; i += 3) {
        unsigned bits = (unsigned)(unsigned char)text[i] << 16;
        bits |= i + 1 < size ? (unsigned)(unsigned char)text[i + 1] << 8 : 0;
        bits |= i + 2 < size ? (unsigned)(unsigned char)text[i + 2] : 0;
        out[at++] = digits[bits >> 18];
        out[at++] = digits[bits >> 12 & 63];
        out[at++] = i + 1 < size ? digits[bits >> 6 & 63] : '=';
        out[at++] = i + 2 < size ? digits[bits & 63] : '=';
    }
    return at;
}

static size_t expand(char *out, size_t size, const char *line) {
    size_t at = 0;
    while (*line != '\0' && at + 200 < size) {
        size_t i = 0;
        while (i < DS_COUNT(words) && strncmp(line, words[i].word, strlen(words[i].word)) != 0) {
            i++;
        }
        if (i == DS_COUNT(words)) {
            out[at++] = *line++;
            continue;
        }
        line += strlen(words[i].word);
        if (words[i].encoded) {
            at += encode(out + at, words[i].text);
        } else {
            at += (size_t)snprintf(out + at, size - at, header, revision);
        }
    }
    return at;
}

const char *ef_text(const char *line) {
    static char text[20000];
    text[expand(text, sizeof text, line)] = '\0';
    return text;
}

static bool answer_fate(fw_request *request, const char *line) {
    static const struct {
        const char *word;
        fw_answer answer;
    } fates[] = {
        {"!silent", {.status = 0}},
        {"!unsent", {.fate = DS_HTTP_NOT_SENT, .message = "connection refused"}},
        {"!broken", {.fate = DS_HTTP_UNKNOWN, .message = "connection reset"}},
        {"!toolong", {.fate = DS_HTTP_REFUSED, .code = DSYNC_PROTOCOL, .status = 200, .message = "too long"}},
        {"!unfit", {.fate = DS_HTTP_REFUSED, .code = DSYNC_CONFIG, .message = "bad certificate"}},
    };
    for (size_t i = 0; i < DS_COUNT(fates); i++) {
        if (strcmp(line, fates[i].word) == 0) {
            if (i > 0) {
                fw_finish(request, DS_MS, &fates[i].answer);
            }
            return true;
        }
    }
    return false;
}

static void answer(fw_request *request, const char *line) {
    fw_answer reply = {.status = 200};
    if (answer_fate(request, line)) {
        return;
    }
    if (strncmp(line, "!resent ", 8) == 0) {
        reply.resent = true;
        line += 8;
    } else if (line[0] == '!') {
        reply.status = (int)strtol(line + 1, NULL, 10);
        line += 5;
    }
    reply.body = ef_text(line);
    revision++;
    reply.body_size = strlen(reply.body);
    fw_finish(request, DS_MS, &reply);
}

static void on_request(fw_request *request, void *argument) {
    etcd_case *e = argument;
    e->asked++;
    if (request->stream) {
        e->stream = request;
    } else if (e->answers != NULL && *e->answers != NULL) {
        answer(request, *e->answers++);
    }
}

/* ---- the case ---------------------------------------------------------------------------------------------------- */

/* These options and, unless they say otherwise, JSON. */
static dsync_options speaking_json(const dsync_options *given) {
    static dsync_setting settings[8];
    dsync_options options = *given;
    settings[0] = (dsync_setting){"etcd.transport", "json"};
    for (size_t i = 0; i < given->setting_count && i + 1 < DS_COUNT(settings); i++) {
        settings[i + 1] = given->settings[i];
    }
    options.settings = settings;
    options.setting_count = given->setting_count + 1;
    return options;
}

void ef_open(etcd_case *e, const dsync_options *given) {
    static const char *const endpoints[] = {"http://127.0.0.1:2379", "http://127.0.0.1:22379"};
    static const dsync_options usual = {.prefix = "p", .id = "node", .max_value = 65536};
    dsync_options options = speaking_json(given != NULL ? given : &usual);
    ds_backend_config config = {.options = &options, .endpoints = endpoints, .endpoint_count = 2};
    memset(e, 0, sizeof *e);
    revision = 50;
    e->u = fw_new(3);
    e->world = fw_world(e->u);
    fw_serve(e->u, &(fw_server){.on_request = on_request, .argument = e});
    e->backend = ds_etcd_backend(e->world, &config, &e->error);
    e->lease = (ds_lease){.nonce = 0xabc, .prefix = "p", .info = "{}", .ttl_ms = 15000, .epoch = 3, .created = 5};
    e->entry = (ds_entry){.lease = &e->lease, .path = "p/lock/q", .nonce = "00000000000000aa", .token = 40};
    e->entry.value = "v";
    e->entry.value_size = 1;
}

void ef_close(etcd_case *e) {
    if (e->backend != NULL) {
        e->backend->ops->unwatch(e->backend, &e->watch);
        e->backend->ops->cancel(e->backend, &e->call);
        e->backend->ops->forget(e->backend, &e->lease);
        e->backend->ops->destroy(e->backend);
    }
    if (fw_free(e->u) != 0) {
        fw_misuse("the etcd backend left something behind");
    }
}

static void keep(char *out, size_t size, const char *text) {
    (void)snprintf(out, size, "%s", text != NULL ? text : "");
}

static void on_done(ds_call *call, const ds_reply *reply) {
    etcd_case *e = DS_CONTAINER_OF(call, etcd_case, call);
    e->done++;
    e->reply = *reply;
    keep(e->message, sizeof e->message, reply->message);
    keep(e->ahead, sizeof e->ahead, reply->ahead);
    keep(e->value, sizeof e->value, reply->value);
    keep(e->holder, sizeof e->holder, reply->holder != NULL ? reply->holder->key : NULL);
    e->peers[0] = '\0';
    for (size_t i = 0; i < reply->peer_count; i++) {
        size_t used = strlen(e->peers);
        (void)snprintf(e->peers + used, sizeof e->peers - used, "%s%s", i > 0 ? " " : "", reply->peers[i].key);
    }
}

void ef_ask(etcd_case *e, ef_start *start, const char *const *answers) {
    fw_forget(e->u); /* what is left are the requests of this one */
    e->answers = answers;
    e->asked = 0;
    e->done = 0;
    e->call = (ds_call){.done = on_done, .timeout_ns = 2 * DS_SECOND};
    start(e);
    if (e->done != 0) {
        fw_misuse("answered from inside the call");
    }
    fw_advance(e->u, 3 * DS_SECOND);
    if (e->done != 1 || e->call.impl != NULL) {
        fw_misuse("answered %u times", e->done);
    }
}

void ef_ask_one(etcd_case *e, ef_start *start, const char *line) {
    const char *const answers[] = {line, NULL};
    ef_ask(e, start, answers);
}

#define OPS e->backend->ops

/* ---- watching ---------------------------------------------------------------------------------------------------- */

static void on_event(ds_watch *watch, const ds_watch_event *event) {
    etcd_case *e = DS_CONTAINER_OF(watch, etcd_case, watch);
    size_t used = strlen(e->events);
    char *out = e->events + used;
    size_t left = sizeof e->events - used;
    if (used > 0) {
        out += snprintf(out, left, ", ");
        left -= 2;
    }
    e->ready += event->kind == DS_WATCH_READY;
    e->ended += event->kind == DS_WATCH_ENDED;
    switch (event->kind) {
    case DS_WATCH_READY:
        (void)snprintf(out, left, "ready %lld", (long long)event->revision);
        break;
    case DS_WATCH_PUT:
        (void)snprintf(out, left, "put %s=%.*s %lld", event->key, (int)event->value_size, event->value,
                       (long long)event->token);
        break;
    case DS_WATCH_DELETED:
        (void)snprintf(out, left, "deleted %s%s%.*s", event->key, event->value != NULL ? "=" : "",
                       (int)event->value_size, event->value != NULL ? event->value : "");
        break;
    case DS_WATCH_CHANGED:
        (void)snprintf(out, left, "changed");
        break;
    case DS_WATCH_DOUBT:
        (void)snprintf(out, left, "doubt");
        break;
    case DS_WATCH_ENDED:
        (void)snprintf(out, left, "ended %d: %s", (int)event->outcome, event->message);
        break;
    }
    if (e->on_event != NULL) {
        e->on_event(e, event);
    }
}

bool ef_watch(etcd_case *e, const char *key) {
    e->watch.on_event = on_event;
    bool begun = OPS->watch(e->backend, &e->watch, &(ds_watch_spec){.key = key});
    fw_settle(e->u);
    return begun;
}

void ef_say(etcd_case *e, const char *text) {
    const char *said = ef_text(text);
    fw_data(e->stream, 0, said, strlen(said));
    fw_settle(e->u);
}

const char *ef_heard(etcd_case *e) {
    (void)snprintf(e->taken, sizeof e->taken, "%s", e->events);
    e->events[0] = '\0';
    return e->taken;
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

void ef_do_open(etcd_case *e) {
    OPS->open(e->backend, &e->call, &e->lease);
}

void ef_do_renew(etcd_case *e) {
    OPS->renew(e->backend, &e->call, &e->lease);
}

void ef_do_close(etcd_case *e) {
    OPS->close(e->backend, &e->call, &e->lease);
}

void ef_do_enter(etcd_case *e) {
    OPS->enter(e->backend, &e->call, &e->entry, false);
}

void ef_do_try(etcd_case *e) {
    OPS->enter(e->backend, &e->call, &e->entry, true);
}

void ef_do_check(etcd_case *e) {
    OPS->check(e->backend, &e->call, &e->entry);
}

void ef_do_leave(etcd_case *e) {
    OPS->leave(e->backend, &e->call, &e->entry);
}

void ef_do_swap(etcd_case *e) {
    ds_entry old = e->entry;
    old.nonce[0] = 'f';
    OPS->swap(e->backend, &e->call, &old, &e->entry);
}

void ef_do_withdraw(etcd_case *e) {
    const ds_entry *entries[] = {&e->entry};
    OPS->withdraw(e->backend, &e->call, &e->lease, entries, 1, e->lease.epoch + 1);
}

void ef_do_write(etcd_case *e) {
    ds_write write = {.kind = DS_WRITE_PUT, .entry = &e->entry, .key = "p/data/k", .value = "v", .value_size = 1};
    OPS->write(e->backend, &e->call, &write);
}

void ef_do_evict(etcd_case *e) {
    OPS->evict(e->backend, &e->call, "p/lock/q", 40);
}

void ef_do_get(etcd_case *e) {
    OPS->get(e->backend, &e->call, "p/data/k");
}

void ef_do_list(etcd_case *e) {
    OPS->list(e->backend, &e->call, &(ds_list_spec){.path = "p/lock/q"});
}

void ef_do_tree(etcd_case *e) {
    OPS->list(e->backend, &e->call, &(ds_list_spec){.path = "p", .subtree = true});
}

void ef_do_ping(etcd_case *e) {
    OPS->ping(e->backend, &e->call);
}

#define OWN EF_RANGE(EF_KV("@own", "50"))
#define GRANTED "{@H,\"ID\":\"2748\",\"TTL\":\"15\"}"

const ef_operation ef_operations[] = {
    {"open", ef_do_open, {GRANTED, EF_DONE(EF_PUT)}, DS_PLACE_DONE},
    {"open again",
     ef_do_open,
     {"!412 {\"code\":9,\"message\":\"etcdserver: lease already exists\"}", "{\"result\":" GRANTED "}",
      EF_NOT_DONE(
          EF_RANGE("{\"key\":\"@session\",\"value\":\"@stamp\",\"create_revision\":\"50\",\"lease\":\"2748\"}"))},
     DS_PLACE_DONE},
    {"renew", ef_do_renew, {"{\"result\":" GRANTED "}", EF_DONE(EF_PUT)}, DS_PLACE_DONE},
    {"close", ef_do_close, {"{@H}"}, DS_PLACE_DONE},
    {"enter", ef_do_enter, {EF_DONE(EF_PUT "," OWN)}, DS_PLACE_HELD},
    {"enter again", ef_do_enter, {EF_NOT_DONE(OWN "," EF_RANGE("")), EF_DONE(EF_RANGE(""))}, DS_PLACE_HELD},
    {"try", ef_do_try, {EF_DONE(EF_PUT)}, DS_PLACE_HELD},
    {"check", ef_do_check, {EF_DONE(EF_RANGE(""))}, DS_PLACE_HELD},
    {"leave", ef_do_leave, {EF_DONE(EF_DELETED)}, DS_PLACE_DONE},
    {"swap", ef_do_swap, {EF_DONE(EF_DELETED "," EF_PUT "," OWN)}, DS_PLACE_HELD},
    {"withdraw", ef_do_withdraw, {EF_DONE(EF_PUT "," EF_DELETED)}, DS_PLACE_DONE},
    {"write", ef_do_write, {EF_DONE(EF_PUT)}, DS_PLACE_DONE},
    {"evict",
     ef_do_evict,
     {"{@H,\"kvs\":[" EF_KV("@own", "40") "],\"count\":\"1\"}", EF_DONE(EF_PUT), EF_DONE(EF_DELETED)},
     DS_PLACE_DONE},
    {"get", ef_do_get, {"{@H,\"kvs\":[" EF_KV("@own", "40") "]}"}, DS_PLACE_DONE},
    {"list",
     ef_do_list,
     {"{@H,\"more\":true,\"kvs\":[" EF_KV("@own", "40") "]}", "{@H,\"kvs\":[" EF_KV("@own", "41") "]}"},
     DS_PLACE_DONE},
    {"tree",
     ef_do_tree,
     {"{@H,\"more\":true,\"kvs\":[" EF_KV("@own", "40") "]}", "{@H,\"kvs\":[" EF_KV("@own", "41") "]}"},
     DS_PLACE_DONE},
    {"ping", ef_do_ping, {"{@H}", "{@H,\"version\":\"3.4.99\"}"}, DS_PLACE_DONE},
    {NULL, NULL, {NULL}, DS_PLACE_NONE},
};
