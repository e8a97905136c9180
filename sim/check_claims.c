/* check_claims.c: what the judge makes of the clients' claims. */
#include "check_parts.h"

static chk_claim *claim_of(const chk *c, uint64_t number) {
    for (size_t i = c->claim_count; i-- > 0;) {
        if (c->claims[i].number == number) {
            return &c->claims[i];
        }
    }
    return NULL;
}

/* A session that is gone can be renewed no more. */
void chk_check_limit(chk *c, const chk_claim *claim) {
    if (claim->until_ns > claim->exempt_until_ns) {
        chk_broke(c, CHK_EXEMPT_TOO_LONG,
                  "client %u believes to hold lock %u (token %lld) for %.3f s too long: its session is gone",
                  claim->client, claim->lock, (long long)claim->token,
                  (double)(claim->until_ns - claim->exempt_until_ns) / 1e9);
    }
}

static bool restored_lately(const chk *c, const chk_claim *claim) {
    return c->restored_ns != CHK_NO_TIME && claim->begun_ns < c->restored_ns + 15 * DS_SECOND;
}

static void check_overlap(chk *c, const chk_claim *fresh, int64_t now) {
    for (size_t i = 0; i < c->claim_count; i++) {
        const chk_claim *other = &c->claims[i];
        if (other == fresh || other->lock != fresh->lock || other->dead || !chk_believes(other, now)) {
            continue;
        }
        if (other->exempt_ns != CHK_NO_TIME || fresh->exempt_ns != CHK_NO_TIME || restored_lately(c, other)) {
            c->exceptions++;
        } else {
            chk_broke(c, CHK_TWO_BELIEVERS, "lock %u: client %u (token %lld) and client %u (token %lld)", fresh->lock,
                      other->client, (long long)other->token, fresh->client, (long long)fresh->token);
        }
    }
}

static void check_record(chk *c, chk_claim *claim, int64_t now) {
    const chk_entry *entry = chk_entry_of(c, claim->lock, claim->token);
    if (entry == NULL) {
        chk_broke(c, CHK_OUTSIDE_RECORD, "client %u believes to hold lock %u with token %lld, which was never there",
                  claim->client, claim->lock, (long long)claim->token);
    } else if (entry->gone && entry->cause == CHK_TAKEN) {
        claim->exempt_ns = entry->gone_ns;
        claim->exempt_until_ns = entry->limit_ns;
        chk_check_limit(c, claim);
    } else if (entry->gone && c->restores == 0 && chk_believes(claim, now)) {
        chk_broke(c, CHK_OUTSIDE_RECORD, "client %u believes to hold lock %u with token %lld, which is gone",
                  claim->client, claim->lock, (long long)claim->token);
    } else if (!entry->gone && chk_head(c, claim->lock) != claim->token && entry->robbed) {
        claim->exempt_ns = entry->gone_ns;
    } else if (!entry->gone && chk_head(c, claim->lock) != claim->token && c->restores == 0) {
        chk_broke(c, CHK_OUTSIDE_RECORD, "client %u believes to hold lock %u with token %lld, but %lld holds it",
                  claim->client, claim->lock, (long long)claim->token, (long long)chk_head(c, claim->lock));
    }
}

void chk_on_believe(chk *c, const chk_event *e) {
    if (claim_of(c, e->claim) != NULL || e->until_ns <= e->at_ns) {
        chk_broke(c, CHK_NONSENSE, "claim %llu began twice or was over at once", (unsigned long long)e->claim);
        return;
    }
    if (c->claim_count == c->claim_capacity) {
        c->claims = chk_grow(c->claims, &c->claim_capacity, sizeof *c->claims);
    }
    chk_claim *claim = &c->claims[c->claim_count++];
    *claim = (chk_claim){.number = e->claim,
                         .index = ++c->claims_begun,
                         .lock = e->lock,
                         .client = e->client,
                         .token = e->token,
                         .until_ns = e->until_ns,
                         .begun_ns = e->at_ns,
                         .exempt_ns = CHK_NO_TIME,
                         .exempt_until_ns = DS_NEVER};
    c->believed++;
    check_record(c, claim, e->at_ns);
    check_overlap(c, claim, e->at_ns);
    if (e->token <= c->last_token[e->lock]) {
        if (c->restores > 0 || claim->exempt_ns != CHK_NO_TIME) {
            c->exceptions++;
            return;
        } else {
            chk_broke(c, CHK_TOKEN_ORDER, "lock %u: token %lld after %lld", e->lock, (long long)e->token,
                      (long long)c->last_token[e->lock]);
        }
    }
    c->last_token[e->lock] = e->token;
}

static void on_until(chk *c, const chk_event *e, chk_claim *claim) {
    if (claim->ended || (claim->until_ns <= e->at_ns && e->until_ns > e->at_ns)) {
        chk_broke(c, CHK_REVIVED, "client %u believes again to hold lock %u (token %lld)", claim->client, claim->lock,
                  (long long)claim->token);
    }
    claim->until_ns = e->until_ns;
    chk_check_limit(c, claim);
}

static void end_claim(chk *c, chk_claim *claim, int64_t now) {
    int64_t end = claim->until_ns < now ? claim->until_ns : now;
    if (claim->exempt_ns != CHK_NO_TIME && !claim->ended && end - claim->exempt_ns > c->longest_exempt_ns) {
        c->longest_exempt_ns = end - claim->exempt_ns;
    }
    claim->ended = true;
    claim->until_ns = end;
}

static void on_told(chk *c, const chk_event *e, chk_claim *claim) {
    if (claim->told || claim->released) {
        chk_broke(c, CHK_TOLD_TWICE, "client %u hears of the loss of lock %u (token %lld) %s", claim->client,
                  claim->lock, (long long)claim->token, claim->told ? "again" : "after it had released it");
    }
    end_claim(c, claim, e->at_ns);
    claim->told = true;
    c->told++;
}

void chk_about_claim(chk *c, const chk_event *e) {
    chk_claim *claim = claim_of(c, e->claim);
    if (claim == NULL) {
        chk_broke(c, CHK_NONSENSE, "claim %llu is unknown", (unsigned long long)e->claim);
    } else if (e->kind == CHK_UNTIL) {
        on_until(c, e, claim);
    } else if (e->kind == CHK_TOLD) {
        on_told(c, e, claim);
    } else {
        if (e->kind == CHK_RELEASE && (claim->told || claim->released)) {
            chk_broke(c, CHK_NONSENSE, "claim %llu is released twice", (unsigned long long)e->claim);
        }
        end_claim(c, claim, e->at_ns);
        claim->released = claim->released || e->kind == CHK_RELEASE;
    }
}
