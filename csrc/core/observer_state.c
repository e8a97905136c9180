/* observer_state.c: what an observer has been told: elections and their members, each found by its name however many
 * there are. Tells nobody anything.
 */
#include "observer_parts.h"

#include <string.h>

/* ---- elections --------------------------------------------------------------------------------------------------- */

static ds_election *make(ds_observer *observer, const char *path) {
    ds_election *election = ds_calloc(1, sizeof *election);
    char *copy = ds_strdup(path);
    if (election == NULL || copy == NULL || !ds_map_put(&observer->by_path, path, election)) {
        ds_free(election);
        ds_free(copy);
        return NULL;
    }
    election->path = copy;
    ds_list_init(&election->members);
    ds_map_init(&election->by_key, observer->by_path.seed);
    ds_list_append(&observer->elections, &election->node);
    return election;
}

ds_election *ds_observer_election(ds_observer *observer, const char *path) {
    ds_election *election = ds_map_get(&observer->by_path, path);
    return election != NULL ? election : make(observer, path);
}

void ds_election_free(ds_observer *observer, ds_election *election) {
    while (!ds_list_empty(&election->members)) {
        ds_member_free(election, ds_member_of(election->members.next));
    }
    ds_list_remove(&election->node);
    ds_map_remove(&observer->by_path, election->path);
    ds_map_free(&election->by_key);
    ds_free(election->path);
    ds_free(election);
}

void ds_observer_forget(ds_observer *observer) {
    while (!ds_list_empty(&observer->elections)) {
        ds_election_free(observer, ds_election_of(observer->elections.next));
    }
    ds_map_free(&observer->by_path);
    ds_free(observer->path);
    ds_free(observer->after);
    observer->path = NULL;
    observer->after = NULL;
}

/* ---- their members ----------------------------------------------------------------------------------------------- */

ds_member *ds_election_find(const ds_election *election, const char *key) {
    return ds_map_get(&election->by_key, key);
}

static void put_in_order(ds_election *election, ds_member *member) {
    ds_list *before = election->members.prev;
    while (before != &election->members && ds_member_of(before)->token > member->token) {
        before = before->prev;
    }
    member->node.prev = before;
    member->node.next = before->next;
    before->next->prev = &member->node;
    before->next = &member->node;
}

ds_member *ds_election_add(ds_election *election, const char *key, int64_t token, const ds_value *value) {
    ds_member *member = ds_calloc(1, sizeof *member);
    char *copy = ds_strdup(key);
    if (member == NULL || copy == NULL || !ds_map_put(&election->by_key, key, member)) {
        ds_free(member);
        ds_free(copy);
        return NULL;
    }
    member->key = copy;
    member->token = token;
    member->value = *value;
    put_in_order(election, member);
    return member;
}

void ds_member_free(ds_election *election, ds_member *member) {
    ds_list_remove(&member->node);
    ds_map_remove(&election->by_key, member->key);
    ds_value_free(&member->value);
    ds_free(member->key);
    ds_free(member);
}
