-- time.lua: bugs about deadlines, clocks, and what held() is made of.
return {
  {
    name = "margin_sign", rule = "D = sent + TTL - margin", breaks = "the margin is added",
    file = "core/timing.c", from = "sent_ns + timing->ttl_ns - timing->margin_ns",
    to = "sent_ns + timing->ttl_ns + timing->margin_ns", by = "test_timing",
  },
  {
    name = "margin_none", rule = "D = sent + TTL - margin", breaks = "no margin at all",
    file = "core/timing.c", from = "sent_ns + timing->ttl_ns - timing->margin_ns",
    to = "sent_ns + timing->ttl_ns", by = "test_timing",
  },
  {
    name = "margin_floor", rule = "margin at least 250 ms", breaks = "a short ttl has a margin of less",
    file = "core/timing.c", from = "margin < MARGIN_FLOOR_NS", to = "false", by = "test_timing",
  },
  {
    name = "deadline_from_receipt", rule = "D counts from before the request was queued", breaks = "from its answer",
    file = "core/session_renew.c", from = "session->sent_ns = session->trying_ns;",
    to = "session->sent_ns = ds_now(session->engine->world);", by = "test_session",
  },
  {
    name = "ttl_as_asked", rule = "the granted TTL counts", breaks = "the TTL that was asked for counts",
    file = "core/session_renew.c", from = "granted_ms > 0 && granted_ms != session->timing.ttl_ns / DS_MS",
    to = "false", by = "test_session",
  },
  {
    name = "renewal_after_deadline", rule = "replies after D extend nothing", breaks = "a late renewal revives",
    file = "core/session_renew.c", after = "static void renewed(", from = "ds_session_past_deadline(session)",
    to = "false", by = "test_session_clock",
  },
  {
    name = "renewal_guessed", rule = "an ambiguous outcome is never a success",
    breaks = "a renewal without an answer counts as one",
    file = "core/session_renew.c", after = "static void renewed(", from = "reply->outcome != DS_OK",
    to = "reply->outcome != DS_OK && reply->outcome != DS_AMBIGUOUS", by = "test_session",
  },
  {
    name = "renew_late", rule = "renew every TTL/3", breaks = "renews when the margin begins",
    file = "core/timing.c", from = "timing->renew_ns = ttl / renew_divisor;", to = "timing->renew_ns = ttl - margin;",
    by = "test_timing",
  },
  {
    name = "renew_in_step", rule = "renewals have jitter", breaks = "all clients renew at one moment",
    file = "core/timing.c", from = "(int64_t)(random % (uint64_t)(jitter + 1))", to = "(int64_t)(random & 0)",
    by = "test_timing",
  },
  {
    name = "three_tries", rule = "renew + 3 tries + margin fit into the TTL, or open says so",
    breaks = "any request_timeout is taken",
    file = "core/timing.c", from = "request_timeout_ms * DS_MS > room", to = "false", by = "test_timing",
  },
  {
    name = "endless_try", rule = "a try lasts TTL/8 at most", breaks = "a try lasts a whole TTL",
    file = "core/session_renew.c", from = "session->call.timeout_ns = session->timing.try_ns;",
    to = "session->call.timeout_ns = session->timing.ttl_ns;", by = "test_session",
  },
  {
    name = "flag_held", rule = "held is computed, never stored", breaks = "the state alone is asked",
    file = "core/claim.c", from = "until > now_ns ? until - now_ns : 0", to = "DS_SECOND", by = "test_claim",
  },
  {
    name = "clock_failed", rule = "a clock that fails means not held", breaks = "its error is taken for a time",
    file = "core/claim.c", from = "now_ns < 0", to = "false", by = "test_claim",
  },
  {
    name = "wall_ignored", rule = "CLOCK_REALTIME may shorten validity", breaks = "it is not asked",
    file = "core/claim.c", from = "wall_ms >= wall_until", to = "false", by = "test_claim",
  },
  {
    name = "wall_extends", rule = "CLOCK_REALTIME may only shorten validity", breaks = "it prolongs",
    file = "core/claim.c", from = "return left;",
    to = "return wall_until - wall_ms > left / DS_MS ? (wall_until - wall_ms) * DS_MS : left;", by = "test_claim",
  },
  {
    name = "hold_ignored", rule = "hold = limits how long a lock is held", breaks = "only the lease does",
    file = "core/claim.c", from = "hold < until", to = "false", by = "test_claim",
  },
  {
    name = "held_too_late", rule = "an answer after D makes nobody a holder",
    breaks = "a lock is had under a session that is over",
    file = "core/contender_entry.c", after = "static void held(", from = "ds_session_past_deadline(session)",
    to = "false", by = "test_session_clock",
  },
}
