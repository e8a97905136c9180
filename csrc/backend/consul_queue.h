/* consul_queue.h: pieces that entering, swapping and writing share. */
#ifndef DS_CONSUL_QUEUE_H
#define DS_CONSUL_QUEUE_H

#include "consul.h"

/* Copies what the call needs to know of the entry. */
void ds_consul_fill(ds_consul_call *call, const ds_entry *entry);
/* The session key's ModifyIndex at the lease's epoch. */
int64_t ds_consul_epoch_index(const ds_lease *lease);
/* Two operations: the lock for the call's session, and `own` marked as its holder. */
void ds_consul_add_take(ds_consul_call *call, ds_consul_txn *txn, const char *own);
/* Takes the token from what a transaction has just written. False: the call is over (an older state, or nonsense). */
bool ds_consul_note_written(ds_consul_call *call, const ds_consul_pair *pair);
void ds_consul_finish_held(ds_consul_call *call);
/* The call's entry is gone but its session has the lock: gives that back, and ends the call with GONE. */
void ds_consul_leave_stray(ds_consul_call *call);
/* Asks where the call's entry stands, and ends the call with that. */
void ds_consul_tell_place(ds_consul_call *call);

#endif
