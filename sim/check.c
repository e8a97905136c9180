/* check.c: see check.h. What is over is forgotten, so that a long history costs no more than a short one. */
#include "check_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const chk_rule_names[CHK_RULES] = {
    [0] = "none",
    [CHK_TWO_BELIEVERS] = "two believers",
    [CHK_OUTSIDE_RECORD] = "a claim outside of the server's record",
    [CHK_REVIVED] = "a claim that had ended is believed again",
    [CHK_SILENT_LOSS] = "a loss not announced in time",
    [CHK_TOLD_TWICE] = "a loss announced that was none, or twice",
    [CHK_TOKEN_ORDER] = "tokens out of order",
    [CHK_STALE_WRITE] = "a stale write was applied",
    [CHK_ORPHAN] = "an entry nobody wants was left behind",
    [CHK_HANG] = "a call did not end in time",
    [CHK_EXEMPT_TOO_LONG] = "a taken lock was believed for too long",
    [CHK_UNSERVED] = "a free lock was not had in time",
    [CHK_BLIND] = "an observer is wrong",
    [CHK_NONSENSE] = "a history that cannot be",
};

void chk_init(chk *c) {
    memset(c, 0, sizeof *c);
    c->calm_ns = c->restored_ns = CHK_NO_TIME;
    c->orphan_ns = CHK_ORPHAN_NS;
    for (size_t i = 0; i < CHK_CLIENTS; i++) {
        c->resumed_ns[i] = CHK_NO_TIME;
    }
}

void chk_free(chk *c) {
    free(c->entries);
    free(c->claims);
    free(c->calls);
    memset(c, 0, sizeof *c);
}

void *chk_grow(void *old, size_t *capacity, size_t size) {
    *capacity = *capacity == 0 ? 32 : *capacity * 2;
    void *grown = realloc(old, *capacity * size);
    if (grown == NULL) {
        fputs("check: out of memory\n", stderr);
        abort();
    }
    return grown;
}

void chk_broke(chk *c, chk_rule rule, const char *format, ...) {
    if (c->broken != 0) {
        return;
    }
    c->broken = rule;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(c->why, sizeof c->why, format, arguments);
    va_end(arguments);
}

/* ---- what is known ----------------------------------------------------------------------------------------------- */

chk_entry *chk_entry_of(const chk *c, unsigned lock, int64_t token) {
    for (size_t i = c->entry_count; i-- > 0;) {
        if (c->entries[i].token == token && c->entries[i].lock == lock) {
            return &c->entries[i];
        }
    }
    return NULL;
}

static int64_t first_of(const chk *c, unsigned lock) {
    int64_t head = 0;
    for (size_t i = 0; i < c->entry_count; i++) {
        const chk_entry *entry = &c->entries[i];
        if (!entry->gone && entry->lock == lock && (head == 0 || entry->token < head)) {
            head = entry->token;
        }
    }
    return head;
}

int64_t chk_head(const chk *c, unsigned lock) {
    return c->owners ? c->owner[lock] : first_of(c, lock);
}

unsigned chk_head_client(const chk *c, unsigned lock) {
    const chk_entry *head = chk_entry_of(c, lock, chk_head(c, lock));
    return head != NULL ? head->client : CHK_CLIENTS;
}

bool chk_head_revived(const chk *c, unsigned lock) {
    const chk_entry *head = chk_entry_of(c, lock, chk_head(c, lock)), *first = chk_entry_of(c, lock, first_of(c, lock));
    return (head != NULL && head->revived) || (first != NULL && first->revived);
}

bool chk_believes(const chk_claim *claim, int64_t now) {
    return !claim->ended && claim->until_ns > now;
}

static bool runs(const chk *c, unsigned client, int64_t now, int64_t since) {
    return !c->paused[client] && (c->resumed_ns[client] == CHK_NO_TIME || now - c->resumed_ns[client] > since);
}

/* What no later event can be about. */
static void forget(chk *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->claim_count; i++) {
        const chk_claim *claim = &c->claims[i];
        bool over = (claim->told || claim->released || claim->dead) && c->now_ns - claim->until_ns > 30 * DS_SECOND;
        if (!over) {
            c->claims[kept++] = *claim;
        }
    }
    c->claim_count = kept;
    kept = 0;
    for (size_t i = 0; i < c->entry_count; i++) {
        if (!c->entries[i].gone || c->now_ns - c->entries[i].gone_ns < 30 * DS_SECOND) {
            c->entries[kept++] = c->entries[i];
        }
    }
    c->entry_count = kept;
}

/* ---- the server's side ------------------------------------------------------------------------------------------- */

/* The entry is back, and so is its session. */
static void renewable_again(chk *c, const chk_entry *entry) {
    for (size_t i = 0; i < c->claim_count; i++) {
        if (c->claims[i].lock == entry->lock && c->claims[i].token == entry->token) {
            c->claims[i].exempt_until_ns = DS_NEVER;
        }
    }
}

static void on_enter(chk *c, const chk_event *e) {
    chk_entry *old = chk_entry_of(c, e->lock, e->token);
    if (old != NULL && (!old->gone || c->restores == 0)) {
        chk_broke(c, CHK_NONSENSE, "entry %lld was made twice", (long long)e->token);
        return;
    }
    bool revived = c->restored_ns != CHK_NO_TIME && e->at_ns - c->restored_ns <= c->copies_ns;
    if (old != NULL) {
        old->gone = old->robbed = false;
        old->revived = revived;
        renewable_again(c, old);
        return;
    }
    if (c->entry_count == c->entry_capacity) {
        c->entries = chk_grow(c->entries, &c->entry_capacity, sizeof *c->entries);
    }
    c->entries[c->entry_count++] =
        (chk_entry){.lock = e->lock, .client = e->client, .token = e->token, .revived = revived};
}

static void gone_from(chk *c, const chk_event *e, chk_claim *claim) {
    if (claim->dead) {
        return;
    }
    if (e->cause == CHK_TAKEN) {
        if (chk_believes(claim, e->at_ns) && claim->exempt_ns == CHK_NO_TIME) {
            claim->exempt_ns = e->at_ns;
            claim->exempt_until_ns = e->until_ns != 0 ? e->until_ns : DS_NEVER;
            chk_check_limit(c, claim);
        }
        return;
    }
    bool exempt = claim->exempt_ns != CHK_NO_TIME || c->restores > 0;
    if (chk_believes(claim, e->at_ns) && !exempt) {
        chk_broke(c, CHK_OUTSIDE_RECORD,
                  "client %u believes to hold lock %u (token %lld) for %.3f s more, but its entry has %s",
                  claim->client, claim->lock, (long long)claim->token, (double)(claim->until_ns - e->at_ns) / 1e9,
                  e->cause == CHK_EXPIRED ? "expired" : "been removed by itself");
    } else if (e->cause == CHK_EXPIRED && !claim->told && !claim->released &&
               runs(c, claim->client, e->at_ns, CHK_SLACK_NS)) {
        chk_broke(c, CHK_SILENT_LOSS,
                  "lock %u (token %lld) can be handed on, and client %u was not told that it lost it", claim->lock,
                  (long long)claim->token, claim->client);
    }
}

static void on_gone(chk *c, const chk_event *e) {
    chk_entry *entry = chk_entry_of(c, e->lock, e->token);
    if (entry == NULL || entry->gone) {
        chk_broke(c, CHK_NONSENSE, "entry %lld is removed and was not there", (long long)e->token);
        return;
    }
    entry->gone = true;
    entry->cause = e->cause;
    entry->gone_ns = e->at_ns;
    entry->limit_ns = e->until_ns != 0 ? e->until_ns : DS_NEVER;
    for (size_t i = 0; i < c->claim_count; i++) {
        if (c->claims[i].lock == e->lock && c->claims[i].token == e->token) {
            gone_from(c, e, &c->claims[i]);
        }
    }
}

static void on_robbed(chk *c, const chk_event *e) {
    chk_entry *entry = chk_entry_of(c, e->lock, e->token);
    if (entry == NULL || entry->gone) {
        chk_broke(c, CHK_NONSENSE, "entry %lld is robbed and was not there", (long long)e->token);
        return;
    }
    entry->robbed = true;
    entry->gone_ns = e->at_ns;
    chk_event taken = *e;
    taken.cause = CHK_TAKEN;
    for (size_t i = 0; i < c->claim_count; i++) {
        if (c->claims[i].lock == e->lock && c->claims[i].token == e->token) {
            gone_from(c, &taken, &c->claims[i]);
        }
    }
}

/* To one that was robbed the lock may come back, by a late copy of its own request; and a restore brings back what had
 * been removed: then it is right again. */
static void on_owner(chk *c, const chk_event *e) {
    chk_entry *entry = chk_entry_of(c, e->lock, e->token);
    c->owner[e->lock] = e->token;
    if (entry == NULL || entry->gone) {
        return;
    }
    entry->robbed = false;
    for (size_t i = 0; i < c->claim_count; i++) {
        if (c->claims[i].lock == e->lock && c->claims[i].token == e->token && chk_believes(&c->claims[i], e->at_ns)) {
            c->claims[i].exempt_ns = CHK_NO_TIME;
            c->claims[i].exempt_until_ns = DS_NEVER;
        }
    }
}

static void on_fence(chk *c, const chk_event *e) {
    uint64_t index = 0;
    bool exempt = false;
    for (size_t i = 0; i < c->claim_count; i++) {
        if (c->claims[i].lock == e->lock && c->claims[i].token == e->token) {
            index = c->claims[i].index;
            exempt = c->claims[i].exempt_ns != CHK_NO_TIME;
        }
    }
    if (e->token < c->fence[e->lock]) {
        c->fence_rejected++;
        return;
    }
    c->fence_accepted++;
    if (index < c->fence_index[e->lock] && c->restores == 0) {
        chk_broke(c, CHK_STALE_WRITE, "the store took token %lld of lock %u after that of a later holder",
                  (long long)e->token, e->lock);
    }
    c->fence[e->lock] = e->token;
    if (!exempt) { /* it may have begun after its entry was taken, beside a later one's claim */
        c->fence_index[e->lock] = index;
    }
}

static void on_data(chk *c, const chk_event *e) {
    const chk_entry *entry = chk_entry_of(c, e->lock, e->token);
    bool there = entry != NULL && !entry->gone;
    if (!there || (c->restores == 0 && chk_head(c, e->lock) != e->token)) {
        chk_broke(c, CHK_STALE_WRITE, "a guarded write of token %lld of lock %u was applied, whose holder is %lld",
                  (long long)e->token, e->lock, (long long)chk_head(c, e->lock));
    }
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static int64_t late(const chk *c, const chk_call *call, int64_t now) {
    int64_t since = call->until_ns;
    if (since == DS_NEVER) {
        return 0;
    }
    int64_t resumed = c->resumed_ns[call->client];
    return now - (resumed != CHK_NO_TIME && resumed > since ? resumed : since);
}

static void check_late(chk *c, const chk_call *call, int64_t now) {
    if (!c->paused[call->client] && late(c, call, now) > CHK_SLACK_NS) {
        chk_broke(c, CHK_HANG, "call %llu of client %u is %.3f s late", (unsigned long long)call->number, call->client,
                  (double)late(c, call, now) / 1e9);
    }
}

static void about_call(chk *c, const chk_event *e) {
    size_t i = 0;
    while (i < c->call_count && c->calls[i].number != e->call) {
        i++;
    }
    if ((e->kind == CHK_CALL) == (i < c->call_count)) {
        chk_broke(c, CHK_NONSENSE, "call %llu begins twice or ends twice", (unsigned long long)e->call);
    } else if (e->kind == CHK_CALL) {
        if (c->call_count == c->call_capacity) {
            c->calls = chk_grow(c->calls, &c->call_capacity, sizeof *c->calls);
        }
        c->calls[c->call_count++] = (chk_call){e->call, e->client, e->until_ns};
    } else if (e->kind == CHK_MOVE) {
        c->calls[i].until_ns = e->until_ns;
    } else {
        check_late(c, &c->calls[i], e->at_ns);
        c->calls[i] = c->calls[--c->call_count];
    }
}

static void kill_client(chk *c, unsigned client) {
    for (size_t i = 0; i < c->claim_count; i++) {
        if (c->claims[i].client == client && !c->claims[i].told && !c->claims[i].released) {
            c->claims[i].dead = c->claims[i].ended = true;
        }
    }
    for (size_t i = c->call_count; i-- > 0;) {
        if (c->calls[i].client == client) {
            c->calls[i] = c->calls[--c->call_count];
        }
    }
}

/* ---- as time passes ---------------------------------------------------------------------------------------------- */

static void check_claim(chk *c, const chk_claim *claim, int64_t now, bool end) {
    bool open = !claim->told && !claim->released && !claim->dead;
    if (open && !chk_believes(claim, now) &&
        (end || (now - claim->until_ns > CHK_TELL_NS && runs(c, claim->client, now, CHK_TELL_NS)))) {
        chk_broke(c, CHK_SILENT_LOSS, "client %u was never told that it lost lock %u (token %lld)", claim->client,
                  claim->lock, (long long)claim->token);
    }
    int64_t since = c->calm_ns > claim->exempt_ns ? c->calm_ns : claim->exempt_ns;
    if (claim->exempt_ns != CHK_NO_TIME && c->calm_ns != CHK_NO_TIME && !claim->dead && chk_believes(claim, now) &&
        now - since > CHK_EXEMPT_NS) {
        chk_broke(c, CHK_EXEMPT_TOO_LONG, "client %u still believes to hold lock %u (token %lld), which is gone",
                  claim->client, claim->lock, (long long)claim->token);
    }
}

static void check_orphans(chk *c, int64_t now) {
    for (size_t i = 0; i < c->entry_count; i++) {
        const chk_entry *entry = &c->entries[i];
        bool wanted = entry->gone;
        for (size_t k = 0; k < c->claim_count && !wanted; k++) {
            wanted = c->claims[k].lock == entry->lock && c->claims[k].token == entry->token &&
                     chk_believes(&c->claims[k], now);
        }
        if (!wanted && entry->revived) {
            c->revived++;
        } else if (!wanted) {
            chk_broke(c, CHK_ORPHAN, "entry %lld of lock %u, made by client %u, is still there",
                      (long long)entry->token, entry->lock, entry->client);
        }
    }
}

static void on_tick(chk *c, const chk_event *e) {
    bool end = e->kind == CHK_END;
    for (size_t i = 0; i < c->claim_count; i++) {
        check_claim(c, &c->claims[i], e->at_ns, end);
    }
    for (size_t i = 0; i < c->call_count; i++) {
        check_late(c, &c->calls[i], e->at_ns);
    }
    if (end && c->call_count > 0) {
        chk_broke(c, CHK_HANG, "call %llu of client %u never ended", (unsigned long long)c->calls[0].number,
                  c->calls[0].client);
    }
    if (end || (!c->looked && c->calm_ns != CHK_NO_TIME && e->at_ns - c->calm_ns >= c->orphan_ns)) {
        check_orphans(c, e->at_ns);
        c->looked = true;
    }
    forget(c);
}

bool chk_see(chk *c, const chk_event *e) {
    if (e->at_ns < c->now_ns) {
        chk_broke(c, CHK_NONSENSE, "time goes backwards");
    }
    if (c->broken != 0) {
        return false;
    }
    c->now_ns = e->at_ns;
    switch (e->kind) {
    case CHK_ENTER:
        on_enter(c, e);
        break;
    case CHK_GONE:
        on_gone(c, e);
        break;
    case CHK_BELIEVE:
        chk_on_believe(c, e);
        break;
    case CHK_UNTIL:
    case CHK_RELEASE:
    case CHK_LOSE:
    case CHK_TOLD:
        chk_about_claim(c, e);
        break;
    case CHK_CALL:
    case CHK_MOVE:
    case CHK_DONE:
        about_call(c, e);
        break;
    case CHK_PAUSE:
        c->paused[e->client] = true;
        break;
    case CHK_RESUME:
        c->paused[e->client] = false;
        c->resumed_ns[e->client] = e->at_ns;
        break;
    case CHK_KILL:
        kill_client(c, e->client);
        break;
    case CHK_FENCE:
        on_fence(c, e);
        break;
    case CHK_DATA:
        on_data(c, e);
        break;
    case CHK_RESTORE:
        c->restores++;
        c->restored_ns = e->at_ns;
        memset(c->last_token, 0, sizeof c->last_token);
        break;
    case CHK_OWNER:
        on_owner(c, e);
        break;
    case CHK_ROBBED:
        on_robbed(c, e);
        break;
    case CHK_CALM:
        c->calm_ns = e->at_ns;
        break;
    case CHK_TICK:
    case CHK_END:
        on_tick(c, e);
        break;
    }
    return c->broken == 0;
}
