/* consul_queue.h: pieces that entering, checking, swapping, writing and leaving share. */
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
/* HELD, as the answer shows the lock. */
void ds_consul_finish_held(ds_consul_call *call, const ds_consul_answer *answer);
void ds_consul_finish_delayed(ds_consul_call *call, ds_place place); /* nobody is let in for a while */
/* The call's entry is not there, but its session may still have the lock: makes sure that no other entry of it is
 * meant, and ends the call with GONE. */
void ds_consul_finish_gone(ds_consul_call *call);

/* consul_hold.c */
/* Whose the lock is, of the entries in the call's queue as the answer shows it; NULL: nobody's there. */
const ds_consul_pair *ds_consul_holder(const ds_consul_call *call, const ds_consul_answer *answer,
                                       const ds_consul_pair *native);
/* Guard: the lock is still that of the entry, which is one of this client's that hold. */
void ds_consul_if_held(ds_consul_call *call, ds_consul_txn *txn, const char *nonce);
/* That guard failed: goes on with `again` if it is all the same, else with `not_held`. `nonce` is one of the call's. */
void ds_consul_look_at_lock(ds_consul_call *call, const char *nonce, void (*again)(ds_consul_call *call),
                            void (*not_held)(ds_consul_call *call));

/* consul_check.c: each ends the call. */
/* Asks where the call's entry stands. */
void ds_consul_tell_place(ds_consul_call *call);
/* The same, with the whole queue as the answer's pairs from `first` on. */
void ds_consul_go_on(ds_consul_call *call, const ds_consul_answer *answer, size_t first);
/* The entry should hold the lock: does it? */
void ds_consul_verify(ds_consul_call *call);

#endif
