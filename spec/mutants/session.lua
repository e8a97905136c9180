-- session.lua: bugs about sessions: opened, kept, and ended on the server.
return {
  {
    name = "close_leaves_lease", rule = "a closed client leaves nothing on the server", breaks = "its lease runs on",
    file = "core/session.c", after = "bool never_sent =", from = "never_sent", to = "true", by = "test_session",
  },
  {
    name = "lost_leaves_lease", rule = "whatever a lost session left is removed", breaks = "it runs on",
    file = "core/session.c", after = { "void ds_session_lose(", "session->attempt = 0;" },
    from = "ds_session_begin_try(session);", to = "ds_session_finish(session, why);", by = "test_session",
  },
  {
    name = "close_given_up", rule = "ending a session is repeated until confirmed", breaks = "it is sent once",
    file = "core/session.c", from = "reply->outcome == DS_REFUSED || now >= gone_ns", to = "true", by = "test_engine",
  },
  {
    name = "failure_sticks", rule = "each try goes to the next endpoint", breaks = "the one that failed is asked again",
    file = "net/endpoints.c", from = "endpoint->down_until_ns = now_ns < DS_NEVER - rest ? now_ns + rest : DS_NEVER;",
    to = "endpoint->down_until_ns = 0;", by = "test_endpoints",
  },
  {
    name = "confirm_missing", rule = "a renewal ends with a confirmation", breaks = "a positive TTL is believed",
    file = "backend/etcd_session.c", from = "ds_etcd_step_txn(call, &txn, on_confirmed);",
    to = "(void)txn; ds_etcd_reply none = {.succeeded = true}; on_confirmed(call, &none);",
    by = "test_etcd_requests", sim = true,
  },
  {
    name = "confirm_by_read", rule = "the confirmation writes", breaks = "it only reads, and a member may lag",
    file = "backend/etcd_session.c", after = { "static void on_kept_alive(", "txn = {&compare, 1, &put, " }, from = "1",
    to = "0", by = "test_etcd_requests",
  },
  {
    name = "confirm_any_key", rule = "the confirmation is of this very session",
    breaks = "it is of whatever is there", file = "backend/etcd_session.c",
    from = "ds_etcd_if_created(ds_bytes_of(&call->session), call->token)",
    to = "ds_etcd_if_created(ds_bytes_of(&call->own), 0)", by = "test_etcd_requests",
  },
  {
    name = "grant_not_repeatable", rule = "a repeated grant that exists is one's own", breaks = "it is refused",
    file = "backend/etcd_session.c", from = "!ds_etcd_lease_exists(&result->status)", to = "true",
    by = "test_etcd_answers",
  },
  {
    name = "stranger_session_key", rule = "a session key of another lease is not one's own", breaks = "it is taken",
    file = "backend/etcd_session.c", from = "kv->lease != call->lease_id", to = "false", by = "test_etcd_answers",
  },
}
