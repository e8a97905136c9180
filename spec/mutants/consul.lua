-- consul.lua: bugs about Consul's sessions and keys, most of them about what is left when somebody deletes one by hand.
return {
  {
    name = "consul_epoch_free", rule = "every acquire compares the session's epoch", breaks = "it compares the session",
    file = "backend/consul_queue.c", after = "static void fast(",
    from = "ds_consul_if_index(txn, call->session.data, call->modified);",
    to = "ds_consul_if_session(txn, call->session.data, call->id);", by = "consul",
  },
  {
    name = "consul_confirm_missing", rule = "after a renewal the session must have its key",
    breaks = "the renewal will do",
    file = "backend/consul_renew.c", from = "ds_consul_failed(answer, 0) || made_anew", to = "made_anew", by = "consul",
  },
  {
    name = "consul_key_anew", rule = "a session whose key was made anew is lost", breaks = "it is refused for ever",
    file = "backend/consul_call.c", from = "pair->created == call->session_created", to = "true", by = "consul",
  },
  {
    name = "consul_destroy_first", rule = "what a session holds is given back before it ends",
    breaks = "it ends first, and leaves a lock-delay", file = "backend/consul_close.c",
    after = "static void give_back(ds_consul_call *call) {", from = "call->leaver_at == call->leaver_count",
    to = "true",
    by = "consul",
  },
  {
    name = "consul_evict_any", rule = "an eviction is of one token", breaks = "it is of whoever is there",
    file = "backend/consul_guard.c", from = "pair->created == call->token", to = "pair->created != 0", by = "consul",
  },
  {
    name = "consul_write_unguarded", rule = "a guarded write needs its own entry", breaks = "the session will do",
    file = "backend/consul_guard.c", after = "static void write_guarded(ds_consul_call *call) {",
    from = "ds_consul_if_index(txn, call->own.data, place->modified);",
    to = "ds_consul_if_index(txn, call->session.data, call->modified);", by = "consul",
  },
  {
    name = "consul_any_lock", rule = "the lock must be the one that was taken",
    breaks = "one of the same session will do",
    file = "backend/consul_place.c", from = "native->created != place->lock_created", to = "native == NULL",
    by = "consul",
  },
  {
    name = "consul_guard_by_session", rule = "who relies on the lock names it by its index",
    breaks = "by its session, which may have taken it for another entry", file = "backend/consul_hold.c",
    after = "void ds_consul_if_held(", from = "place->standing == DS_CONSUL_OWNER", to = "place == NULL", by = "consul",
  },
  {
    name = "consul_passed_by", rule = "an entry older than the mark of those who wait has been passed by",
    breaks = "it holds with its old token", file = "backend/consul_check.c", from = "mark->created > own->created",
    to = "mark == NULL", by = "consul",
  },
  {
    name = "consul_unmarked", rule = "without the mark nobody takes a turn", breaks = "it is waited for",
    file = "backend/consul_check.c", from = "ahead == NULL && unmarked",
    to = "ahead == NULL && unmarked && place == NULL",
    by = "consul",
  },
  {
    name = "consul_entry_unasked", rule = "a renewal asks whether those who hold have their entries",
    breaks = "it does not",
    file = "backend/consul_renew.c", from = "call->leaver_count == HELD_MAX || !name_keys(call, place)", to = "true",
    by = "consul",
  },
  {
    name = "consul_exchange_orphan", rule = "an exchange that finds its entry deleted gives the lock back",
    breaks = "the lock stays with the session", file = "backend/consul_guard.c",
    after = { "static void on_fresh_sought(", "turn_to_old(call);" }, from = "ds_consul_finish_gone(call);",
    to = "ds_consul_finish_place(call, DS_PLACE_GONE);", by = "consul",
  },
  {
    name = "consul_watch_key_only", rule = "a lock is watched for who has it", breaks = "only for its being there",
    file = "backend/consul_watch.c", from = "strcmp(w->session, pair->session) == 0", to = "true", by = "consul",
  },
  {
    name = "consul_withdraw_anew", rule = "a withdrawal goes on where its last try ended",
    breaks = "each try begins with the first entry", file = "backend/consul_withdraw.c",
    from = "impl->withdrawn_epoch == call->epoch", to = "call->epoch == 0", by = "consul",
  },
  {
    name = "consul_second_copy", rule = "an entry that a second copy of its request found was made by the first",
    breaks = "a refusal after it leaves nothing", file = "backend/consul_queue.c",
    from = "call->changed || exists", to = "call->changed", by = "consul",
  },
  {
    name = "consul_entry_by_name", rule = "an entry made anew under the same key is another one",
    breaks = "a write is let through by its name", file = "backend/consul_guard.c",
    from = "place != NULL && place->modified != 0", to = "place == NULL", by = "consul",
  },
  {
    name = "consul_renew_by_name", rule = "a renewal notices that a holder's entry is another one",
    breaks = "any entry of that name is taken for it", file = "backend/consul_renew.c",
    from = "ds_consul_place_is_other(place, own)", to = "false", by = "consul",
  },
  {
    name = "consul_waiter_only", rule = "one that waits sees whose the lock is as it leaves",
    breaks = "it looks at its own entry only", file = "backend/consul_leave.c",
    after = "static void on_waiter_left(", from = "strcmp(native->session, call->id) == 0", to = "false", by = "consul",
  },
  {
    name = "consul_wait_by_name", rule = "a waiting entry made anew under the same key is another one",
    breaks = "it gets the lock under a token that is too old", file = "backend/consul_check.c",
    after = "static bool is_other(", from = "own->created != call->token", to = "own->created == 0", by = "consul",
  },
}
