/* consul_queue.h: pieces that entering, swapping and writing share. */
#ifndef DS_CONSUL_QUEUE_H
#define DS_CONSUL_QUEUE_H

#include "consul.h"

/* Copies what the call needs to know of the entry. */
void ds_consul_fill(ds_consul_call *call, const ds_entry *entry);
/* The session key's ModifyIndex at the lease's epoch. */
int64_t ds_consul_epoch_index(const ds_lease *lease);
/* The lock for the call's session; shows the call's value. */
void ds_consul_add_take(ds_consul_call *call, ds_consul_txn *txn);
/* The call's entry with the call's value. */
void ds_consul_add_entry(ds_consul_call *call, ds_consul_txn *txn);
/* Takes the token from what a transaction has just written. False: the call is over (an older state, or nonsense). */
bool ds_consul_note_written(ds_consul_call *call, const ds_consul_pair *pair);
/* Takes the call's entry off the server, then `then`. */
void ds_consul_leave_with(ds_consul_call *call, void (*then)(ds_consul_call *call, ds_place place));
void ds_consul_finish_held(ds_consul_call *call);
/* The call's entry is not there, but its session may still have the lock: makes sure that no other entry of it is meant,
 * and ends the call with GONE. */
void ds_consul_finish_gone(ds_consul_call *call);
/* Asks where the call's entry stands, and ends the call with that. */
void ds_consul_tell_place(ds_consul_call *call);

#endif
