/* loop_timers.c: the timers of a loop, a pairing heap whose links live in the timers. No clock, no threads. */
#include "loop_internal.h"

/* A node's `prev` is its left sibling, or its parent if it is the first child; the root has none. */

static ds_timer *meld(ds_timer *a, ds_timer *b) {
    if (a == NULL || b == NULL) {
        return a != NULL ? a : b;
    }
    if (b->at_ns < a->at_ns) {
        ds_timer *swap = a;
        a = b;
        b = swap;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child != NULL) {
        a->child->prev = b;
    }
    a->child = b;
    return a;
}

/* Joins a list of siblings into one heap: in pairs from the left, then the pairs from the right. Iterative, because a
 * list may be as long as there are timers. */
static ds_timer *meld_siblings(ds_timer *first) {
    ds_timer *pairs = NULL;
    while (first != NULL) {
        ds_timer *a = first;
        ds_timer *b = a->next;
        first = b != NULL ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b != NULL) {
            b->next = b->prev = NULL;
        }
        ds_timer *pair = meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    ds_timer *root = NULL;
    while (pairs != NULL) {
        ds_timer *next = pairs->next;
        pairs->next = NULL;
        root = meld(root, pairs);
        pairs = next;
    }
    return root;
}

void ds_timers_stop(ds_timers *timers, ds_timer *timer) {
    if (timer->index == 0) {
        return;
    }
    if (timer == timers->root) {
        timers->root = meld_siblings(timer->child);
    } else {
        if (timer->prev->child == timer) {
            timer->prev->child = timer->next;
        } else {
            timer->prev->next = timer->next;
        }
        if (timer->next != NULL) {
            timer->next->prev = timer->prev;
        }
        timers->root = meld(timers->root, meld_siblings(timer->child));
    }
    timer->child = timer->next = timer->prev = NULL;
    timer->index = 0;
    timers->count--;
}

void ds_timers_set(ds_timers *timers, ds_timer *timer, int64_t at_ns) {
    ds_timers_stop(timers, timer);
    timer->at_ns = at_ns;
    timer->index = 1;
    timer->child = timer->next = timer->prev = NULL;
    timers->root = meld(timers->root, timer);
    timers->count++;
}

int64_t ds_timers_next(const ds_timers *timers) {
    return timers->root != NULL ? timers->root->at_ns : DS_NEVER;
}

void ds_timers_run(ds_timers *timers, int64_t now_ns) {
    for (size_t left = timers->count; left > 0 && ds_timers_next(timers) <= now_ns; left--) {
        ds_timer *timer = timers->root;
        ds_timers_stop(timers, timer);
        timer->fire(timer);
    }
}
