/* observer_parts.h: what an observer's files share: observer.c watches, lists and tells, observer_state.c remembers.
 * For nobody else.
 */
#ifndef DS_OBSERVER_PARTS_H
#define DS_OBSERVER_PARTS_H

#include "observer.h"

static inline ds_member *ds_member_of(ds_list *node) {
    return DS_LIST_ENTRY(node, ds_member, node);
}

static inline ds_election *ds_election_of(ds_list *node) {
    return DS_LIST_ENTRY(node, ds_election, node);
}

/* The election at this path, made where there was none. NULL: out of memory. */
ds_election *ds_observer_election(ds_observer *observer, const char *path);
void ds_election_free(ds_observer *observer, ds_election *election);
void ds_observer_forget(ds_observer *observer); /* everything */

ds_member *ds_election_find(const ds_election *election, const char *key); /* NULL: not there */
/* Takes the value over, and puts the member where its token belongs. NULL: out of memory; then nothing is taken. */
ds_member *ds_election_add(ds_election *election, const char *key, int64_t token, const ds_value *value);
void ds_member_free(ds_election *election, ds_member *member);

#endif
