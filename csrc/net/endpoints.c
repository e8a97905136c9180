/* endpoints.c: the choice of the next server. Opens nothing and knows no protocol; time is given to it. */
#include "endpoints.h"
#include "../base/buf.h"

#include <string.h>

#define FIRST_REST (125 * DS_MS)
#define LONGEST_REST (5 * DS_SECOND)
#define UNIX_MARK "unix:"

/* A unix socket still needs an origin to build URLs with; the host in it is never resolved. */
static bool set_address(ds_endpoint *endpoint, const char *origin) {
    if (strncmp(origin, UNIX_MARK, strlen(UNIX_MARK)) != 0) {
        endpoint->origin = ds_strdup(origin);
        return endpoint->origin != NULL;
    }
    endpoint->origin = ds_strdup("http://localhost");
    endpoint->unix_path = ds_strdup(origin + strlen(UNIX_MARK));
    return endpoint->origin != NULL && endpoint->unix_path != NULL;
}

static bool fill(ds_endpoints *set, const char *const *origins) {
    ds_buf text = DS_BUF_EMPTY;
    bool complete = true;
    for (size_t i = 0; i < set->count && complete; i++) {
        ds_buf_add_text(&text, i > 0 ? ", " : "");
        ds_buf_add_text(&text, origins[i]);
        complete = set_address(&set->list[i], origins[i]);
    }
    ds_buf_add(&text, "", 1); /* storage even for no endpoint */
    if (text.failed) {
        ds_buf_free(&text);
    }
    set->text = text.data;
    return complete && set->text != NULL;
}

bool ds_endpoints_init(ds_endpoints *set, const char *const *origins, size_t count) {
    *set = (ds_endpoints){NULL, NULL, count, 0, NULL};
    set->list = ds_calloc(count, sizeof(*set->list));
    set->failures = ds_calloc(count, sizeof(*set->failures));
    if (set->list != NULL && set->failures != NULL && fill(set, origins)) {
        return true;
    }
    ds_endpoints_free(set);
    return false;
}

void ds_endpoints_free(ds_endpoints *set) {
    for (size_t i = 0; set->list != NULL && i < set->count; i++) {
        ds_free(set->list[i].origin);
        ds_free(set->list[i].unix_path);
    }
    ds_free(set->list);
    ds_free(set->failures);
    ds_free(set->text);
    *set = (ds_endpoints){NULL, NULL, 0, 0, NULL};
}

/* The first one that does not rest, going round from `start`, else the one that rests least long; never `except`,
 * unless there is no other. */
static ds_endpoint *choose(ds_endpoints *set, size_t start, const ds_endpoint *except, int64_t now_ns) {
    ds_endpoint *best = NULL;
    for (size_t i = 0; i < set->count; i++) {
        ds_endpoint *candidate = &set->list[(start + i) % set->count];
        if (candidate == except) {
            continue;
        }
        if (candidate->down_until_ns <= now_ns) {
            return candidate;
        }
        if (best == NULL || candidate->down_until_ns < best->down_until_ns) {
            best = candidate;
        }
    }
    return best != NULL ? best : &set->list[start % set->count];
}

ds_endpoint *ds_endpoints_pick(ds_endpoints *set, int64_t now_ns) {
    if (set->count == 0) {
        return NULL;
    }
    ds_endpoint *chosen = choose(set, set->present, NULL, now_ns);
    set->present = (size_t)(chosen - set->list);
    return chosen;
}

ds_endpoint *ds_endpoints_other(ds_endpoints *set, const ds_endpoint *than, int64_t now_ns) {
    if (set->count == 0) {
        return NULL;
    }
    size_t start = than != NULL ? (size_t)(than - set->list) + 1 : set->present;
    return choose(set, start, than, now_ns);
}

void ds_endpoints_good(ds_endpoints *set, ds_endpoint *endpoint) {
    size_t index = (size_t)(endpoint - set->list);
    set->failures[index] = 0;
    endpoint->down_until_ns = 0;
    if (set->failures[set->present] > 0) {
        set->present = index;
    }
}

void ds_endpoints_bad(ds_endpoints *set, ds_endpoint *endpoint, int64_t now_ns) {
    if (endpoint->down_until_ns > now_ns) {
        return; /* many requests fail at once when a server goes; that is one failure */
    }
    unsigned *failures = &set->failures[endpoint - set->list];
    int64_t rest = FIRST_REST;
    for (unsigned i = 0; i < *failures && rest < LONGEST_REST; i++) {
        rest *= 2;
    }
    rest = rest < LONGEST_REST ? rest : LONGEST_REST;
    if (*failures < 16) {
        ++*failures;
    }
    endpoint->down_until_ns = now_ns < DS_NEVER - rest ? now_ns + rest : DS_NEVER;
}
