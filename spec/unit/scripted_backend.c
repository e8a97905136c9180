/* scripted_backend.c: calls: recording them, checking them, answering them. Watches and the log are in
 * scripted_watch.c. */
#include "scripted_backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_world_parts.h"
#include "scripted_parts.h"

static const char *const names[SB_OPS] = {"ping", "open",     "renew", "close", "enter", "check", "leave",
                                          "swap", "withdraw", "write", "evict", "get",   "list"};

sb *sb_of(ds_backend *base) {
    return DS_CONTAINER_OF(base, sb, base);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

size_t sb_session_number(sb *b, uint64_t nonce) {
    for (size_t i = 0; i < b->session_count; i++) {
        if (b->sessions[i] == nonce) {
            return i + 1;
        }
    }
    if (nonce == 0 || nonce > INT64_MAX || b->session_count == DS_COUNT(b->sessions)) {
        fw_misuse("session nonce %llu", (unsigned long long)nonce);
    }
    b->sessions[b->session_count++] = nonce;
    return b->session_count;
}

size_t sb_entry_number(sb *b, const char *nonce) {
    for (size_t i = 0; i < b->entry_count; i++) {
        if (strcmp(b->entries[i], nonce) == 0) {
            return i + 1;
        }
    }
    if (strlen(nonce) != 16 || strspn(nonce, "0123456789abcdef") != 16 || b->entry_count == DS_COUNT(b->entries)) {
        fw_misuse("entry nonce \"%s\"", nonce);
    }
    memcpy(b->entries[b->entry_count++], nonce, 17);
    return b->entry_count;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void fill_in(sb_call *c, ds_reply *r) {
    sb *b = c->owner;
    bool placed = r->place == DS_PLACE_HELD || r->place == DS_PLACE_WAITING || r->place == DS_PLACE_DELAYED;
    if (r->outcome != DS_OK) {
        return;
    }
    if ((c->op == SB_ENTER || c->op == SB_SWAP) && placed && r->token == 0) {
        r->token = ++b->revision;
    }
    if (c->op == SB_OPEN) {
        r->ttl_ms = r->ttl_ms != 0 ? r->ttl_ms : c->opening->ttl_ms;
        r->epoch = r->epoch != 0 ? r->epoch : c->epoch;
        (void)snprintf(c->opening->id, sizeof(c->opening->id), "s%zu", sb_session_number(b, c->lease));
        c->opening->created = ++b->revision;
        if (c->opening->impl == NULL) {
            c->opening->impl = fw_alloc(NULL, 1);
            b->leases++;
        }
    }
    if (c->op == SB_WITHDRAW && r->place == DS_PLACE_DONE && r->epoch == 0) {
        r->epoch = c->next_epoch;
    }
    if (r->revision == 0) {
        r->revision = b->revision;
    }
    if (c->op == SB_LEAVE || c->op == SB_WITHDRAW) {
        b->revision++;
    }
}

static void deliver(sb_call *c) {
    ds_call *call = c->call;
    ds_timer_stop(c->owner->base.world, &c->timer);
    c->over = true;
    c->call = NULL;
    call->impl = NULL;
    fill_in(c, &c->reply);
    bool spared = c->owner->ops.reuses_names && c->token > 0;
    if (c->op == SB_LEAVE && c->reply.outcome == DS_OK && !spared) {
        c->owner->retired[sb_entry_number(c->owner, c->entry) - 1] = 1;
    }
    call->done(call, &c->reply);
}

static void run_answer(ds_task *task) {
    deliver(DS_CONTAINER_OF(task, sb_call, task));
}

static void fire_answer(ds_timer *timer) {
    deliver(DS_CONTAINER_OF(timer, sb_call, timer));
}

void sb_answer(sb_call *c, int64_t delay_ns, const ds_reply *reply) {
    ds_world *world = c->owner->base.world;
    if (c->over || c->answered) {
        fw_misuse("\"%s\" has been answered or cancelled", c->text);
    }
    c->answered = true;
    c->reply = *reply;
    if (delay_ns == 0) {
        ds_timer_stop(world, &c->timer);
        ds_post(world, &c->task);
    } else {
        ds_timer_set(world, &c->timer, fw_now(c->owner->universe) + delay_ns);
    }
}

static ds_reply standing_answer(sb_op op) {
    static const ds_place places[SB_OPS] = {
        [SB_ENTER] = DS_PLACE_HELD,    [SB_CHECK] = DS_PLACE_HELD, [SB_LEAVE] = DS_PLACE_DONE,
        [SB_SWAP] = DS_PLACE_HELD,     [SB_WRITE] = DS_PLACE_DONE, [SB_EVICT] = DS_PLACE_DONE,
        [SB_WITHDRAW] = DS_PLACE_DONE,
    };
    return (ds_reply){.outcome = DS_OK, .place = places[op], .server = "scripted 1"};
}

/* ---- starting a call --------------------------------------------------------------------------------------------- */

static sb_call *record(ds_backend *base, sb_op op, ds_call *call) {
    sb *b = sb_of(base);
    if (call->impl != NULL) {
        fw_misuse("%s was started while it is under way", names[op]);
    }
    if (call->done == NULL || call->timeout_ns <= 0) {
        fw_misuse("%s has nobody to answer to, or no timeout", names[op]);
    }
    sb_call *c = fw_alloc(NULL, sizeof(*c));
    memset(c, 0, sizeof(*c));
    c->op = op;
    c->owner = b;
    c->call = call;
    c->urgent = call->urgent;
    c->at_ns = fw_now(b->universe);
    c->timeout_ns = call->timeout_ns;
    c->timer.fire = fire_answer;
    c->task.run = run_answer;
    ds_list_init(&c->task.node);
    call->impl = c;
    b->calls = fw_alloc(b->calls, (b->call_count + 1) * sizeof(sb_call *));
    b->calls[b->call_count++] = c;
    return c;
}

static void start(sb_call *c) {
    sb *b = c->owner;
    if (!b->quiet[c->op]) {
        sb_note(b, "%s", c->text);
    }
    if (b->on_call != NULL) {
        b->on_call(b, c);
    }
    if (!b->held[c->op]) {
        ds_reply reply = standing_answer(c->op);
        sb_answer(c, 0, &reply);
        return;
    }
    c->reply = (ds_reply){.outcome = DS_AMBIGUOUS, .message = "timed out"};
    ds_timer_set(b->base.world, &c->timer, c->at_ns + c->timeout_ns);
}

static void keep(char *out, size_t size, const char *text, size_t length) {
    (void)snprintf(out, size, "%.*s", (int)length, text != NULL ? text : "");
}

static void take_lease(sb_call *c, const ds_lease *lease) {
    c->lease = lease->nonce;
    c->epoch = lease->epoch;
}

static void take_entry(sb_call *c, const ds_entry *entry, bool enters) {
    sb *b = c->owner;
    take_lease(c, entry->lease);
    keep(c->path, sizeof(c->path), entry->path, SIZE_MAX >> 33);
    keep(c->entry, sizeof(c->entry), entry->nonce, 16);
    c->token = entry->token;
    size_t number = sb_entry_number(b, entry->nonce);
    if (!enters) {
        return;
    }
    if (entry->value == NULL || b->retired[number - 1]) {
        fw_misuse("e%zu is entered %s", number, entry->value == NULL ? "without a value" : "after it was removed");
    }
    keep(c->value, sizeof(c->value), entry->value, entry->value_size);
}

#define SAY(c, ...) (void)snprintf((c)->text, sizeof((c)->text), __VA_ARGS__)

static void sb_ping_op(ds_backend *base, ds_call *call) {
    sb_call *c = record(base, SB_PING, call);
    SAY(c, "ping");
    start(c);
}

static void with_lease(ds_backend *base, sb_op op, ds_call *call, const ds_lease *lease, ds_lease *opening) {
    sb_call *c = record(base, op, call);
    take_lease(c, lease);
    c->opening = opening;
    SAY(c, "%s s%zu", names[op], sb_session_number(c->owner, lease->nonce));
    start(c);
}

static void sb_open_op(ds_backend *base, ds_call *call, ds_lease *lease) {
    with_lease(base, SB_OPEN, call, lease, lease);
}

static void sb_renew_op(ds_backend *base, ds_call *call, const ds_lease *lease) {
    with_lease(base, SB_RENEW, call, lease, NULL);
}

static void sb_close_op(ds_backend *base, ds_call *call, const ds_lease *lease) {
    with_lease(base, SB_CLOSE, call, lease, NULL);
}

static void sb_enter_op(ds_backend *base, ds_call *call, const ds_entry *entry, bool only_try) {
    sb_call *c = record(base, SB_ENTER, call);
    take_entry(c, entry, true);
    c->only_try = only_try;
    SAY(c, "%s e%zu", only_try ? "try" : "enter", sb_entry_number(c->owner, entry->nonce));
    start(c);
}

static void with_entry(ds_backend *base, sb_op op, ds_call *call, const ds_entry *entry) {
    sb_call *c = record(base, op, call);
    take_entry(c, entry, false);
    SAY(c, "%s e%zu", names[op], sb_entry_number(c->owner, entry->nonce));
    start(c);
}

static void sb_check_op(ds_backend *base, ds_call *call, const ds_entry *entry) {
    with_entry(base, SB_CHECK, call, entry);
}

static void sb_leave_op(ds_backend *base, ds_call *call, const ds_entry *entry) {
    with_entry(base, SB_LEAVE, call, entry);
}

static void sb_swap_op(ds_backend *base, ds_call *call, const ds_entry *old, const ds_entry *fresh) {
    sb_call *c = record(base, SB_SWAP, call);
    take_entry(c, fresh, true);
    keep(c->old, sizeof(c->old), old->nonce, 16);
    if (old->lease != fresh->lease || strcmp(old->path, fresh->path) != 0 || old->token == 0) {
        fw_misuse("a swap between queues, or of an entry that never was in");
    }
    SAY(c, "swap e%zu>e%zu", sb_entry_number(c->owner, old->nonce), sb_entry_number(c->owner, fresh->nonce));
    start(c);
}

static void sb_withdraw_op(ds_backend *base, ds_call *call, const ds_lease *lease, const ds_entry *const *entries,
                           size_t count, uint64_t next_epoch) {
    sb_call *c = record(base, SB_WITHDRAW, call);
    take_lease(c, lease);
    c->next_epoch = next_epoch;
    c->count = count;
    if (count > DS_WITHDRAW_MAX || next_epoch <= lease->epoch) {
        fw_misuse("withdrawal of %zu entries, epoch %llu to %llu", count, (unsigned long long)lease->epoch,
                  (unsigned long long)next_epoch);
    }
    SAY(c, "withdraw s%zu", sb_session_number(c->owner, lease->nonce));
    for (size_t i = 0; i < count; i++) {
        if (entries[i]->lease != lease) {
            fw_misuse("withdrawal of another session's entry");
        }
        size_t used = strlen(c->text);
        (void)snprintf(c->text + used, sizeof(c->text) - used, " e%zu", sb_entry_number(c->owner, entries[i]->nonce));
    }
    size_t used = strlen(c->text);
    (void)snprintf(c->text + used, sizeof(c->text) - used, " ->%llu", (unsigned long long)next_epoch);
    start(c);
}

static void sb_write_op(ds_backend *base, ds_call *call, const ds_write *write) {
    sb_call *c = record(base, SB_WRITE, call);
    static const char *const kinds[] = {"write", "put", "delete"};
    take_entry(c, write->entry, false);
    if (write->entry->token == 0 || (write->kind == DS_WRITE_VALUE) != (write->key == NULL)) {
        fw_misuse("a write without its token or key");
    }
    keep(c->value, sizeof(c->value), write->value, write->value_size);
    SAY(c, "%s e%zu%s%s", kinds[write->kind], sb_entry_number(c->owner, write->entry->nonce),
        write->key != NULL ? " " : "", write->key != NULL ? write->key : "");
    start(c);
}

static void sb_evict_op(ds_backend *base, ds_call *call, const char *path, int64_t token) {
    sb_call *c = record(base, SB_EVICT, call);
    keep(c->path, sizeof(c->path), path, strlen(path));
    c->token = token;
    SAY(c, "evict %s %lld", path, (long long)token);
    start(c);
}

static void sb_get_op(ds_backend *base, ds_call *call, const char *key) {
    sb_call *c = record(base, SB_GET, call);
    keep(c->path, sizeof(c->path), key, strlen(key));
    SAY(c, "get %s", key);
    start(c);
}

static void sb_list_op(ds_backend *base, ds_call *call, const ds_list_spec *spec) {
    sb_call *c = record(base, SB_LIST, call);
    keep(c->path, sizeof(c->path), spec->path, strlen(spec->path));
    keep(c->after, sizeof(c->after), spec->after, spec->after != NULL ? strlen(spec->after) : 0);
    c->subtree = spec->subtree;
    c->limit = spec->limit;
    SAY(c, "list %s%s%s%s", spec->path, spec->subtree ? "/..." : "", spec->after != NULL ? " after " : "", c->after);
    start(c);
}

/* ---- the rest of the interface ----------------------------------------------------------------------------------- */

static void sb_cancel_op(ds_backend *base, ds_call *call) {
    sb_call *c = call->impl;
    if (c == NULL) {
        return;
    }
    ds_timer_stop(base->world, &c->timer);
    ds_list_remove(&c->task.node);
    c->over = true;
    c->cancelled = true;
    c->call = NULL;
    call->impl = NULL;
}

static void sb_forget_op(ds_backend *base, ds_lease *lease) {
    if (lease->impl != NULL) {
        sb_of(base)->leases--;
        free(lease->impl);
        lease->impl = NULL;
    }
}

static const char *sb_endpoints_op(ds_backend *base) {
    (void)base;
    return "scripted://";
}

static bool make_key(sb *b, char **out, const char *text) {
    *out = b->key_fails ? NULL : ds_strdup(text);
    return *out != NULL;
}

static bool sb_session_key_op(ds_backend *base, const ds_lease *lease, char **out) {
    char text[300];
    (void)snprintf(text, sizeof(text), "%s/session/%016llx", lease->prefix, (unsigned long long)lease->nonce);
    return make_key(sb_of(base), out, text);
}

static bool sb_entry_key_op(ds_backend *base, const ds_entry *entry, char **out) {
    char text[300];
    (void)snprintf(text, sizeof(text), "%s/%s", entry->path, entry->nonce);
    return make_key(sb_of(base), out, text);
}

static void sb_destroy_op(ds_backend *base) {
    sb *b = sb_of(base);
    for (size_t i = 0; i < b->call_count; i++) {
        if (!b->calls[i]->over) {
            fw_misuse("destroyed while \"%s\" is under way", b->calls[i]->text);
        }
    }
    if (sb_watches_on(b) > 0 || b->leases > 0) {
        fw_misuse("destroyed with %zu watches on and %zu leases remembered", sb_watches_on(b), b->leases);
    }
    b->destroyed = true;
}

sb *sb_new(fw *u, ds_world *world) {
    sb *b = fw_alloc(NULL, sizeof(*b));
    memset(b, 0, sizeof(*b));
    b->ops = (ds_backend_ops){.name = "scripted",
                              .ttl_min_ms = 1000,
                              .ttl_max_ms = 86400000,
                              .margin_divisor = 5,
                              .renew_divisor = 3,
                              .destroy = sb_destroy_op,
                              .cancel = sb_cancel_op,
                              .endpoint_list = sb_endpoints_op,
                              .ping = sb_ping_op,
                              .open = sb_open_op,
                              .renew = sb_renew_op,
                              .close = sb_close_op,
                              .forget = sb_forget_op,
                              .session_key = sb_session_key_op,
                              .enter = sb_enter_op,
                              .check = sb_check_op,
                              .leave = sb_leave_op,
                              .swap = sb_swap_op,
                              .withdraw = sb_withdraw_op,
                              .write = sb_write_op,
                              .evict = sb_evict_op,
                              .get = sb_get_op,
                              .list = sb_list_op,
                              .watch = sb_watch_op,
                              .unwatch = sb_unwatch_op,
                              .entry_key = sb_entry_key_op};
    b->base = (ds_backend){.ops = &b->ops, .world = world};
    b->universe = u;
    b->revision = 100;
    return b;
}

void sb_free(sb *b) {
    if (!b->destroyed) {
        fw_misuse("the backend was not destroyed");
    }
    for (size_t i = 0; i < b->call_count; i++) {
        free(b->calls[i]);
    }
    for (size_t i = 0; i < b->watch_count; i++) {
        free(b->watches[i]);
    }
    free(b->calls);
    free(b->watches);
    free(b);
}
