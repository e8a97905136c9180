-- queue.lua: bugs about queues, on the server and in the client.
return {
  {
    name = "claim_before_confirm", rule = "a watch is a hint; the truth is a transaction afterwards",
    breaks = "the event alone makes the next one a holder",
    file = "core/contender_entry.c", after = "void ds_entry_check(", from = "start_call(c, checked);",
    to = "if (c->state == DS_CONTENDER_WAITING) { held(c, c->entry.token); return; } start_call(c, checked);",
    by = "test_contender",
  },
  {
    name = "ahead_watch_missing", rule = "waiters watch their predecessor", breaks = "they only poll",
    file = "core/contender_watch.c", from = "c->ahead_on && (c->ahead_whole ? whole : same)",
    to = "true", by = "test_contender_entry",
  },
  {
    name = "ahead_watch_gap", rule = "a watch starts after the answer that it rests on",
    breaks = "what happened between is not looked for",
    file = "core/contender_watch.c", from = "event->revision != c->seen",
    to = "false", by = "test_contender_entry",
  },
  {
    name = "poll_missing", rule = "every watch has a poll behind it", breaks = "a silent watch is waited for for ever",
    file = "core/contender_entry.c",
    from = "ds_entry_again_in(c, next_poll(c));",
    to = "", by = "test_contender_entry",
  },
  {
    name = "waiter_stranded", rule = "a waiter whose session died re-enters", breaks = "it waits for nothing",
    file = "core/contender_session.c", after = "static void on_lost(", from = "ds_contender_proceed(c);", to = "",
    by = "test_contender_entry",
  },
  {
    name = "local_order", rule = "local waiters take turns in order", breaks = "the last one comes first",
    file = "core/contender_entry.h", from = "DS_LIST_ENTRY(c->waiters.next, ds_waiter, node)",
    to = "DS_LIST_ENTRY(c->waiters.prev, ds_waiter, node)", by = "test_contender",
  },
  {
    name = "cancelled_keeps_entry", rule = "who gives up leaves nothing behind", breaks = "its entry stays",
    file = "core/contender.c", after = "void ds_waiter_cancel(", from = "ds_entry_abandon(c, message);",
    to = "c->sent = false; ds_entry_abandon(c, message);", by = "test_contender",
  },
  {
    name = "cancelled_keeps_turn", rule = "a cancelled local waiter passes the entry on",
    breaks = "the entry is withdrawn, and its place in the queue lost",
    file = "core/contender.c", after = "void ds_waiter_cancel(",
    from = "next == NULL || !ds_same_params(&next->params, &waiter->params)", to = "true", by = "test_contender",
  },
  {
    name = "handed_past_queue", rule = "a handed-over entry goes to the tail, with its own token",
    breaks = "the next local waiter takes over the holder's entry and token",
    file = "core/contender_release.c", after = "static bool hand_over(",
    from = "ds_entry_swap(c);", to = "c->entry = c->old; ds_entry_check(c);", by = "test_contender_swap",
  },
  {
    name = "swap_unguarded", rule = "release and re-entry are one guarded step",
    breaks = "the new entry is made whether or not the old one was there",
    file = "backend/etcd_queue.c", after = { "void ds_etcd_swap(", "txn = {&compare, " }, from = "1", to = "0",
    by = "test_etcd_requests", sim = true,
  },
  {
    name = "own_session_shared", rule = "session = own is one's own", breaks = "it is shared",
    file = "core/session.c", from = "session->params.owner == params->owner", to = "true", by = "test_session_loss",
  },
  {
    name = "vacancy_silent", rule = "observers report vacancy", breaks = "they report leaders only",
    file = "core/observer.c", from = "election->told && leader == election->leader",
    to = "(election->told && leader == election->leader) || first == NULL", by = "test_observer",
  },
  {
    name = "observer_trusts_watch", rule = "a watch that ended may have missed something",
    breaks = "an observer goes on from where it was",
    file = "core/observer.c", after = "static void on_watch(", from = "list_all(observer);", to = "",
    by = "test_observer",
  },
  {
    name = "slash_in_name", rule = "a name is one segment of its key", breaks = "a slash in it makes two",
    file = "core/name.c", from = "strcspn(name, \"/%\")", to = "strlen(name)", by = "test_name",
  },
  {
    name = "dots_in_name", rule = "no name means another key to servers and proxies", breaks = "\"..\" may be one",
    file = "core/name.c", after = "bool ds_name_check(", from = "is_dots(name, length)", to = "false", by = "test_name",
  },
  {
    name = "region_left_out", rule = "each region has its own locks", breaks = "all regions share them",
    file = "core/name.c", from = "space->region != NULL && space->region[0] != '\\0'", to = "false", by = "test_name",
  },
}
