-- uncertain.lua: bugs about requests whose outcome nobody knows, and about copies that arrive late.
return {
  {
    name = "held_by_guess", rule = "an ambiguous outcome is never held", breaks = "an acquire without an answer is",
    file = "core/contender_entry.c", after = "static void entered(", from = "c->dirty = true;",
    to = "if (reply->outcome == DS_AMBIGUOUS) { held(c, 1); return; } c->dirty = true;", by = "test_contender_entry",
  },
  {
    name = "blind_retry", rule = "an ambiguous acquire is replayed or withdrawn", breaks = "it is sent anew as another",
    file = "core/contender_entry.c", from = "!c->sent && !ds_entry_renew_identity(c)",
    to = "!ds_entry_renew_identity(c)", by = "test_contender_entry",
  },
  {
    name = "unanswered_is_clean", rule = "an acquire without an answer is withdrawn with a new epoch",
    breaks = "its entry is removed without one",
    file = "core/contender_entry.c", from = "reply->outcome == DS_AMBIGUOUS || reply->resent", to = "reply->resent",
    by = "test_contender_entry",
  },
  {
    name = "resent_is_clean", rule = "an acquire that was sent twice is withdrawn with a new epoch",
    breaks = "its entry is removed without one",
    file = "core/contender_entry.c", from = "reply->outcome == DS_AMBIGUOUS || reply->resent",
    to = "reply->outcome == DS_AMBIGUOUS", by = "test_contender_entry",
  },
  {
    name = "resend_unseen", rule = "libcurl's own repetition is noticed", breaks = "it is not",
    file = "net/http_result.c", from = "result->resent = http->sends > 1;", to = "result->resent = false;",
    by = "test_http_faults",
  },
  {
    name = "epoch_not_bumped", rule = "a withdrawal writes a new epoch", breaks = "it writes the present one",
    file = "core/departure.c", from = "session->next_epoch = session->lease.epoch + 1;",
    to = "session->next_epoch = session->lease.epoch;", by = "test_departure",
  },
  {
    name = "epoch_forgotten", rule = "acquires after a withdrawal carry the new epoch", breaks = "the old one",
    file = "core/departure.c", from = "session->lease.epoch = reply->epoch;", to = "", by = "test_departure",
  },
  {
    name = "epoch_not_compared", rule = "every acquire compares the session's epoch", breaks = "none does",
    file = "backend/etcd_queue.c", after = { "void ds_etcd_enter(", "txn = {compares, " }, from = "2", to = "1",
    by = "test_etcd_requests", sim = true,
  },
  {
    name = "withdrawal_given_up", rule = "an unconfirmed withdrawal is repeated", breaks = "it is sent once",
    file = "core/departure.c", after = "static void withdrawn(",
    from = "ds_now(world) + ds_backoff(session->withdraw_attempt, RETRY_CAP_NS, ds_random64(world))", to = "DS_NEVER",
    by = "test_departure",
  },
  {
    name = "leaving_given_up", rule = "an unconfirmed removal is repeated", breaks = "it is sent once",
    file = "core/departure.c", after = "static void left(",
    from = "ds_now(world) + ds_backoff(departure->attempt, RETRY_CAP_NS, ds_random64(world))", to = "DS_NEVER",
    by = "test_departure",
  },
  {
    name = "write_unfenced", rule = "no late copy of a write undoes a later one",
    breaks = "a repeated write is not followed by a new epoch",
    file = "core/request.c", from = "request->unsure = true;", to = "", by = "test_request_write",
  },
  {
    name = "late_answer", rule = "replies are matched to requests; late ones are ignored",
    breaks = "an answer on an old watch is taken for one on the new",
    file = "backend/etcd_watch.c", from = "watching != NULL && watching->id == id", to = "watching != NULL",
    by = "test_etcd_stream", sim = true,
  },
  {
    name = "reset_not_executed", rule = "a broken connection is ambiguous", breaks = "it counts as not executed",
    file = "backend/etcd_transport.c", from = "http->fate == DS_HTTP_NOT_SENT && !exchange->resent", to = "true",
    by = "test_etcd_transport", sim = true,
  },
  {
    name = "copy_not_executed", rule = "a copy sent earlier may have been executed",
    breaks = "the last one decides alone",
    file = "backend/etcd_transport.c", from = "http->fate == DS_HTTP_NOT_SENT && !exchange->resent",
    to = "http->fate == DS_HTTP_NOT_SENT", by = "test_etcd_transport",
  },
  {
    name = "timeout_not_sent", rule = "a timeout after sending is ambiguous", breaks = "it counts as not sent",
    file = "net/http_result.c", from = "http->sends > 0 ? DS_HTTP_UNKNOWN : DS_HTTP_NOT_SENT", to = "DS_HTTP_NOT_SENT",
    by = "test_http_faults",
  },
  {
    name = "status_5xx_not_executed", rule = "other 5xx are ambiguous", breaks = "they count as not executed",
    file = "backend/etcd_error.c", after = "static ds_etcd_verdict judge_http(", from = "return ambiguous();",
    to = "return not_executed(NULL);", by = "test_etcd_error", sim = true,
  },
  {
    name = "unknown_not_executed", rule = "anything unknown on a write is ambiguous", breaks = "it counts as refused",
    file = "backend/etcd_error.c", after = "default:", from = "return ambiguous();",
    to = "return refused(DSYNC_PROTOCOL, NULL);", by = "test_etcd_error",
  },
}
