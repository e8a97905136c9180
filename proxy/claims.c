/* claims.c: every interval for which a client's held() was true, and whether two of one lock ever met. */
#include "campaign.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static px_claim *claims;
static size_t count, room;
static uint64_t total;
static px_claim last[PX_NAMES]; /* of each name, from the rounds before */

const char *px_name(int name) {
    static char names[PX_NAMES][8];
    static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&making);
    snprintf(names[name], sizeof names[name], "n%02d", name);
    pthread_mutex_unlock(&making);
    return names[name];
}

void px_claimed(const px_claim *claim) {
    pthread_mutex_lock(&mutex);
    if (count == room) {
        size_t more = room * 2 + 64;
        px_claim *grown = realloc(claims, more * sizeof *claims);
        if (grown == NULL) {
            abort();
        }
        claims = grown;
        room = more;
    }
    claims[count++] = *claim;
    total++;
    pthread_mutex_unlock(&mutex);
}

uint64_t px_claim_count(void) {
    return total;
}

static int by_name_and_time(const void *a, const void *b) {
    const px_claim *x = a, *y = b;
    if (x->name != y->name) {
        return x->name < y->name ? -1 : 1;
    }
    return x->from_ns < y->from_ns ? -1 : x->from_ns > y->from_ns;
}

static void judge(const px_claim *before, const px_claim *claim) {
    if (before->token == 0) {
        return;
    }
    if (claim->from_ns <= before->until_ns) {
        px_report(PX_OVERLAP,
                  "%s: %s (token %" PRId64 ", until %" PRId64 ") and %s (token %" PRId64 ", from %" PRId64 ")",
                  px_name(claim->name), before->owner, before->token, before->until_ns, claim->owner, claim->token,
                  claim->from_ns);
    }
    if (claim->token <= before->token) {
        px_report(PX_TOKEN, "%s: %s had token %" PRId64 ", then %s had %" PRId64, px_name(claim->name), before->owner,
                  before->token, claim->owner, claim->token);
    }
}

void px_judge_claims(void) {
    pthread_mutex_lock(&mutex);
    qsort(claims, count, sizeof *claims, by_name_and_time);
    for (size_t i = 0; i < count; i++) {
        px_claim *before = &last[claims[i].name];
        judge(before, &claims[i]);
        if (claims[i].until_ns > before->until_ns) {
            *before = claims[i];
        }
    }
    count = 0;
    pthread_mutex_unlock(&mutex);
}
