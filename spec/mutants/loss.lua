-- loss.lua: bugs about the end of a claim: told once, in time, in the right order, and final.
return {
  {
    name = "lost_revives", rule = "LOST is final; a read never restores HELD", breaks = "a read restores it",
    file = "core/contender_entry.c", after = "static void explained(", from = "c->dirty = true;",
    to = "c->state = DS_CONTENDER_HELD; atomic_store(&c->holder->claim->state, DS_CLAIM_HELD); return;",
    by = "test_contender_own",
  },
  {
    name = "told_before_disbelieved", rule = "the state changes before any callback",
    breaks = "others on a lost session still believe when the first one is told",
    file = "core/session.c", from = "ds_session_doom(session, reason);", to = "", by = "test_session_loss",
  },
  {
    name = "sent_before_disbelieved", rule = "the state changes before any request",
    breaks = "the session is being ended on the server while it is still believed",
    file = "core/session.c", from = "ds_session_doom(session, reason);",
    to = "ds_session_begin_try(session); ds_session_doom(session, reason);", by = "test_session_loss",
  },
  {
    name = "loss_twice", rule = "a loss is announced once", breaks = "twice",
    file = "core/contender.c", from = "waiter->ended(waiter, reason);",
    to = "waiter->ended(waiter, reason); waiter->ended(waiter, reason);", by = "test_contender_own",
  },
  {
    name = "loss_silent", rule = "every loss is announced", breaks = "no loss is",
    file = "core/contender.c", from = "waiter->ended(waiter, reason);", to = "", by = "test_contender_own",
  },
  {
    name = "loss_late", rule = "a loss is announced at D, with the network silent", breaks = "a TTL later",
    file = "core/session_renew.c", from = "suspect ? session->deadline_ns : suspicion",
    to = "suspect ? session->deadline_ns + session->timing.ttl_ns : suspicion", by = "test_session",
  },
  {
    name = "loss_after_release", rule = "what was released is not announced as lost", breaks = "it is",
    file = "core/contender_release.c", after = "void ds_waiter_release(", from = "c->holder = NULL;",
    to = "c->holder = NULL; waiter->ended(waiter, DSYNC_REASON_EXPIRED);", by = "test_contender",
  },
  {
    name = "settled_twice", rule = "an answer is given once", breaks = "twice",
    file = "core/contender.c", from = "waiter->settled(waiter, code, message);",
    to = "waiter->settled(waiter, code, message); waiter->settled(waiter, code, message);", by = "test_contender",
  },
  {
    name = "suspicion_silent", rule = "HELD -> SUSPECT -> LOST", breaks = "nobody hears of suspicion",
    file = "core/session_renew.c", from = "ds_session_tell(session, DS_TELL_SUSPECT);", to = "", by = "test_session",
  },
  {
    name = "release_guessed", rule = "a release is true, lost or unknown", breaks = "unknown is said to be true",
    file = "core/contender_release.c", from = "release->done(release, DSYNC_UNKNOWN, release->free_by_ms);",
    to = "release->done(release, DSYNC_OK, release->free_by_ms);", by = "test_contender_swap",
  },
  {
    name = "own_watch_missing", rule = "holders and waiters watch their own entry", breaks = "they do not",
    file = "core/contender_watch.c", after = "void ds_entry_watch_own(ds_contender *c) {", from = "c->own_on",
    to = "true",
    by = "test_contender_own",
  },
  {
    name = "own_watch_gap", rule = "a watch that ended may have missed something", breaks = "nobody looks behind it",
    file = "core/contender_watch.c", from = "c->own_ended && ds_entry_has_place(c)", to = "false",
    by = "test_contender_own",
  },
  {
    name = "session_watch_missing", rule = "holders hear of their session's end",
    breaks = "only the next renewal tells",
    file = "core/session_watch.c", from = "event->kind == DS_WATCH_DELETED", to = "false", by = "test_session_loss",
  },
  {
    name = "timeout_missing", rule = "every call ends by its own deadline", breaks = "acquire has none",
    file = "core/contender.c", from = "wait_ns != DS_NEVER", to = "false", by = "test_contender",
  },
  {
    name = "close_unbounded", rule = "close is bounded by close_timeout", breaks = "it waits for the server",
    file = "core/engine.c", from = "ds_timer_set(engine->world, &engine->close_timer, until_ns);", to = "",
    by = "test_engine",
  },
  {
    name = "write_denied_unseen", rule = "a guarded write that was refused is a loss",
    breaks = "it is reported as done",
    file = "core/request.c", from = "reply->place == DS_PLACE_GONE", after = "static void wrote(", to = "false",
    by = "test_request_write",
  },
}
