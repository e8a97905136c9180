/* selftest.c: is the judge just? Histories made to be right must be accepted, and the same histories with one thing
 * made wrong must be rejected. A judge that accepts everything would make every campaign a success.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../check.h"

#define HISTORIES 1000
#define EVENTS_MAX 4000
#define LOCKS 3
#define CLIENTS 6

typedef struct history {
    chk_event events[EVENTS_MAX];
    size_t count;
    uint64_t random;
    uint64_t number;
    bool owners; /* as of a server where being first is not yet holding */
} history;

static uint64_t next_random(history *h) {
    uint64_t z = (h->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int64_t between(history *h, int64_t low, int64_t high) {
    return low + (int64_t)(next_random(h) % (uint64_t)(high - low + 1));
}

static void add(history *h, chk_event event) {
    if (h->count == EVENTS_MAX) {
        fputs("selftest: a history is too long\n", stderr);
        exit(1);
    }
    h->events[h->count++] = event;
}

static int by_time(const void *a, const void *b) {
    const chk_event *left = a, *right = b;
    if (left->at_ns != right->at_ns) {
        return left->at_ns < right->at_ns ? -1 : 1;
    }
    return left->call != right->call ? (left->call < right->call ? -1 : 1) : 0;
}

/* ---- right ones -------------------------------------------------------------------------------------------------- */

typedef struct turn {
    int64_t entered, begun, ended, left; /* `left`: when the entry goes */
    int64_t token;
    unsigned lock, client;
    uint64_t claim;
    enum { RELEASED, EXPIRED, TAKEN } how;
} turn;

static chk_event of(const turn *t, chk_kind kind, int64_t at) {
    return (chk_event){
        .kind = kind, .at_ns = at, .client = t->client, .lock = t->lock, .claim = t->claim, .token = t->token};
}

static void add_call(history *h, const turn *t) {
    uint64_t call = ++h->number;
    chk_event begin = of(t, CHK_CALL, t->entered - DS_MS), done = of(t, CHK_DONE, t->begun);
    begin.call = done.call = call;
    begin.until_ns = next_random(h) % 2 ? DS_NEVER : t->begun + between(h, 0, DS_SECOND);
    add(h, begin);
    add(h, done);
}

/* From just before it believes until its entry goes; or until somebody takes it from the entry, which goes later. */
static void add_owner(history *h, const turn *t, chk_event *gone) {
    chk_event nobody = of(t, CHK_OWNER, t->left + 1);
    nobody.token = 0;
    add(h, of(t, CHK_OWNER, t->begun - DS_MS));
    add(h, nobody);
    if (t->how == TAKEN && next_random(h) % 2) {
        add(h, of(t, CHK_ROBBED, t->left));
        gone->at_ns = t->ended + 100 * DS_MS;
        gone->cause = CHK_LEFT;
    }
}

static void add_end(history *h, const turn *t) {
    chk_event gone = of(t, CHK_GONE, t->left);
    if (t->how == RELEASED) {
        gone.cause = CHK_LEFT;
        add(h, of(t, CHK_RELEASE, t->ended));
    } else {
        gone.cause = t->how == EXPIRED ? CHK_EXPIRED : CHK_TAKEN;
        add(h, of(t, CHK_LOSE, t->ended));
        add(h, of(t, CHK_TOLD, t->ended + 1000));
    }
    if (h->owners) {
        add_owner(h, t, &gone);
    }
    add(h, gone);
}

static void add_turn(history *h, const turn *t) {
    add(h, of(t, CHK_ENTER, t->entered));
    add_call(h, t);
    chk_event believe = of(t, CHK_BELIEVE, t->begun);
    int64_t middle = t->begun + (t->ended - t->begun) / 2;
    believe.until_ns = t->begun + (t->ended - t->begun) * 3 / 4;
    add(h, believe);
    chk_event until = of(t, CHK_UNTIL, middle);
    until.until_ns = t->ended;
    add(h, until);
    if (next_random(h) % 2) {
        add(h, of(t, CHK_DATA, t->begun + (middle - t->begun) / 2));
        add(h, of(t, CHK_FENCE, t->begun + (middle - t->begun) / 2 + 1));
    }
    add_end(h, t);
}

static void make_lock(history *h, unsigned lock) {
    int64_t at = 1000 * DS_SECOND, token = between(h, 1, 50);
    for (int64_t turns = between(h, 3, 12); turns > 0; turns--) {
        turn t = {.lock = lock, .claim = ++h->number};
        t.client = lock * 2 + (unsigned)(turns % 2);
        t.how = (int)(next_random(h) % 3);
        /* It may have queued while the one before it held. */
        t.entered = at - between(h, 0, 200 * DS_MS);
        t.begun = at + between(h, 2 * DS_MS, 50 * DS_MS);
        t.ended = t.begun + between(h, 500 * DS_MS, 3 * DS_SECOND);
        t.left = t.how == TAKEN ? t.ended - between(h, DS_MS, 100 * DS_MS) : t.ended + between(h, DS_MS, 300 * DS_MS);
        t.token = token += between(h, 1, 5);
        add_turn(h, &t);
        at = (t.how == TAKEN ? t.ended : t.left) + 201 * DS_MS;
    }
}

static void make(history *h, uint64_t seed) {
    h->count = 0;
    h->random = seed;
    h->number = 0;
    h->owners = seed % 2 == 0;
    for (unsigned lock = 0; lock < LOCKS; lock++) {
        make_lock(h, lock);
    }
    int64_t last = 0;
    for (size_t i = 0; i < h->count; i++) {
        last = h->events[i].at_ns > last ? h->events[i].at_ns : last;
    }
    add(h, (chk_event){.kind = CHK_CALM, .at_ns = last});
    for (int64_t at = 1000 * DS_SECOND; at < last + 22 * DS_SECOND; at += 250 * DS_MS) {
        add(h, (chk_event){.kind = CHK_TICK, .at_ns = at});
    }
    add(h, (chk_event){.kind = CHK_END, .at_ns = last + 23 * DS_SECOND});
    qsort(h->events, h->count, sizeof h->events[0], by_time);
}

/* ---- wrong ones -------------------------------------------------------------------------------------------------- */

static chk_event *any(history *h, chk_kind kind) {
    size_t count = 0;
    for (size_t i = 0; i < h->count; i++) {
        count += h->events[i].kind == kind;
    }
    size_t chosen = count > 0 ? (size_t)(next_random(h) % count) : 0;
    for (size_t i = 0; i < h->count; i++) {
        if (h->events[i].kind == kind && chosen-- == 0) {
            return &h->events[i];
        }
    }
    return NULL;
}

static chk_event *same_claim(history *h, const chk_event *event, chk_kind kind) {
    for (size_t i = 0; i < h->count; i++) {
        const chk_event *e = &h->events[i];
        bool match = kind == CHK_GONE || kind == CHK_ENTER ? e->lock == event->lock && e->token == event->token
                                                           : e->claim == event->claim;
        if (e->kind == kind && match) {
            return &h->events[i];
        }
    }
    return NULL;
}

static void drop(history *h, const chk_event *event) {
    size_t at = (size_t)(event - h->events);
    memmove(&h->events[at], &h->events[at + 1], (--h->count - at) * sizeof *event);
}

static void insert(history *h, chk_event event) {
    add(h, event);
    qsort(h->events, h->count, sizeof h->events[0], by_time);
}

static bool drop_one(history *h, chk_kind kind) {
    chk_event *event = any(h, kind);
    if (event != NULL) {
        drop(h, event);
    }
    return event != NULL;
}

/* Each makes one thing wrong; false: it does not fit this history. */
static bool lose_announcement(history *h) {
    return drop_one(h, CHK_TOLD);
}

static bool announce_twice(history *h) {
    chk_event *told = any(h, CHK_TOLD);
    if (told == NULL) {
        return false;
    }
    chk_event again = *told;
    again.at_ns += 1000;
    insert(h, again);
    return true;
}

static bool announce_release(history *h) {
    chk_event *release = any(h, CHK_RELEASE);
    if (release == NULL) {
        return false;
    }
    chk_event told = *release;
    told.kind = CHK_TOLD;
    told.at_ns += 1;
    insert(h, told);
    return true;
}

static bool keep_believing(history *h) {
    return drop_one(h, CHK_RELEASE);
}

static bool believe_too_long(history *h) {
    chk_event *lose = any(h, CHK_LOSE);
    chk_event *gone = lose != NULL ? same_claim(h, lose, CHK_GONE) : NULL;
    if (gone == NULL || gone->cause != CHK_EXPIRED) {
        return false;
    }
    chk_event *told = same_claim(h, lose, CHK_TOLD), *until = same_claim(h, lose, CHK_UNTIL);
    until->until_ns = gone->at_ns + DS_MS;
    told->at_ns = lose->at_ns = gone->at_ns + DS_MS;
    told->at_ns++;
    qsort(h->events, h->count, sizeof h->events[0], by_time);
    return true;
}

static bool revive(history *h) {
    chk_event *lose = any(h, CHK_LOSE);
    if (lose == NULL) {
        return false;
    }
    chk_event until = *lose;
    until.kind = CHK_UNTIL;
    until.at_ns += 1;
    until.until_ns = until.at_ns + DS_SECOND;
    insert(h, until);
    return true;
}

static bool leave_orphan(history *h) {
    return drop_one(h, CHK_GONE);
}

static bool hold_without_entry(history *h) {
    return drop_one(h, CHK_ENTER);
}

static bool jump_queue(history *h) {
    chk_event *believe = any(h, CHK_BELIEVE);
    chk_event entry = *believe, second = *believe, end = *believe;
    entry.kind = CHK_ENTER;
    second.client = entry.client = end.client = (believe->client + 1) % CLIENTS;
    second.token = entry.token = end.token = believe->token + 1000;
    second.claim = end.claim = 1000000;
    second.at_ns = entry.at_ns = believe->at_ns + 1000;
    second.until_ns = second.at_ns + 1000;
    end.kind = CHK_RELEASE;
    end.at_ns = second.at_ns + 500;
    entry.at_ns--;
    insert(h, entry);
    insert(h, second);
    insert(h, end);
    return true;
}

/* Another client believes in the very same entry. */
static bool share(history *h) {
    const chk_event *believe = any(h, CHK_BELIEVE);
    chk_event second = *believe, end = *believe;
    second.client = end.client = (believe->client + 1) % CLIENTS;
    second.claim = end.claim = 1000000;
    second.at_ns = believe->at_ns + 1000;
    second.until_ns = second.at_ns + 1000;
    end.kind = CHK_RELEASE;
    end.at_ns = second.at_ns + 500;
    insert(h, second);
    insert(h, end);
    return true;
}

static bool repeat_token(history *h) {
    /* The last turn of a lock gets a token smaller than the first one's. */
    unsigned lock = (unsigned)(next_random(h) % LOCKS);
    int64_t last = 0;
    for (size_t i = 0; i < h->count; i++) {
        last = h->events[i].kind == CHK_BELIEVE && h->events[i].lock == lock ? h->events[i].token : last;
    }
    for (size_t i = 0; i < h->count; i++) {
        if (h->events[i].lock == lock && h->events[i].token == last) {
            h->events[i].token = 1;
        }
    }
    return true;
}

static bool end_late(history *h) {
    chk_event *call = any(h, CHK_CALL);
    call->until_ns = 0;
    for (size_t i = 0; i < h->count; i++) {
        if (h->events[i].kind == CHK_DONE && h->events[i].call == call->call) {
            call->until_ns = h->events[i].at_ns - CHK_SLACK_NS - DS_MS;
        }
    }
    return true;
}

static bool never_end(history *h) {
    return drop_one(h, CHK_DONE);
}

static bool write_stale(history *h) {
    chk_event *gone = any(h, CHK_GONE);
    chk_event data = *gone;
    data.kind = CHK_DATA;
    data.at_ns += 1;
    insert(h, data);
    return true;
}

static bool own_something_else(history *h) {
    for (size_t i = 0; i < h->count; i++) {
        if (h->events[i].kind == CHK_OWNER && h->events[i].token != 0 && next_random(h) % 3 == 0) {
            h->events[i].token += 1000;
            return true;
        }
    }
    return false;
}

typedef bool corrupt_fn(history *h);
static corrupt_fn *const corruptions[] = {lose_announcement, announce_twice, announce_release,  keep_believing,
                                          believe_too_long,  revive,         leave_orphan,      hold_without_entry,
                                          jump_queue,        repeat_token,   end_late,          never_end,
                                          write_stale,       share,          own_something_else};
static const char *const names[] = {"lose_announcement", "announce_twice", "announce_release",  "keep_believing",
                                    "believe_too_long",  "revive",         "leave_orphan",      "hold_without_entry",
                                    "jump_queue",        "repeat_token",   "end_late",          "never_end",
                                    "write_stale",       "share",          "own_something_else"};

static bool judge(const history *h, chk_rule *rule, char *why, size_t size) {
    chk c;
    chk_init(&c);
    c.owners = h->owners;
    for (size_t i = 0; i < h->count && chk_see(&c, &h->events[i]); i++) {
    }
    *rule = c.broken;
    (void)snprintf(why, size, "%s", c.why);
    chk_free(&c);
    return *rule == 0;
}

/* An operator takes a lock away, a restore gives it back, and its holder has noticed neither: that is right. Without
 * the restore it is not. */
static bool judge_restored(history *h, bool restored, chk_rule *rule) {
    turn t = {.claim = 1, .token = 5, .begun = 10 * DS_SECOND};
    char why[260];
    chk_event believe = of(&t, CHK_BELIEVE, t.begun), gone = of(&t, CHK_GONE, t.begun + DS_SECOND);
    chk_event nobody = of(&t, CHK_OWNER, gone.at_ns);
    memset(h, 0, sizeof *h);
    h->owners = true;
    believe.until_ns = 100 * DS_SECOND;
    gone.cause = CHK_TAKEN;
    nobody.token = 0;
    add(h, of(&t, CHK_ENTER, t.begun));
    add(h, of(&t, CHK_OWNER, t.begun));
    add(h, believe);
    add(h, gone);
    add(h, nobody);
    add(h, of(&t, CHK_RESTORE, 12 * DS_SECOND));
    if (restored) {
        add(h, of(&t, CHK_ENTER, 12 * DS_SECOND));
        add(h, of(&t, CHK_OWNER, 12 * DS_SECOND));
    }
    add(h, of(&t, CHK_CALM, 13 * DS_SECOND));
    add(h, of(&t, CHK_TICK, 40 * DS_SECOND));
    return judge(h, rule, why, sizeof why);
}

int main(void) {
    static history h;
    int accepted = 0, rejected = 0, by_rule[CHK_RULES] = {0};
    chk_rule rule;
    char why[260];
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        make(&h, seed);
        if (judge(&h, &rule, why, sizeof why)) {
            accepted++;
        } else {
            printf("history %llu is right and was rejected: %s\n", (unsigned long long)seed, why);
        }
    }
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        make(&h, seed);
        size_t kind = (size_t)(seed % DS_COUNT(corruptions));
        while (!corruptions[kind](&h)) {
            kind = (kind + 1) % DS_COUNT(corruptions);
        }
        if (!judge(&h, &rule, why, sizeof why)) {
            rejected++;
            by_rule[rule]++;
        } else {
            printf("history %llu is wrong (%s) and was accepted\n", (unsigned long long)seed, names[kind]);
        }
    }
    if (!judge_restored(&h, true, &rule)) {
        accepted--;
        puts("a lock that a restore gave back was not accepted");
    }
    if (judge_restored(&h, false, &rule) || rule != CHK_EXEMPT_TOO_LONG) {
        rejected--;
        puts("a lock that was taken for good was accepted");
    }
    printf("checker: %d of %d right histories accepted, %d of %d wrong ones rejected\n", accepted, HISTORIES, rejected,
           HISTORIES);
    for (int i = 1; i < CHK_RULES; i++) {
        if (by_rule[i] > 0) {
            printf("  %-42s %5d\n", chk_rule_names[i], by_rule[i]);
        }
    }
    return accepted == HISTORIES && rejected == HISTORIES ? 0 : 1;
}
