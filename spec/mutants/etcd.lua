-- etcd.lua: bugs about etcd's protocol: transactions, revisions, clusters, watches.
return {
  {
    name = "nonce_missing",
    rule = "every entry has a fresh nonce; a release is guarded by its own entry, not by the session",
    breaks = "entries of one session are told apart by nothing", file = "backend/etcd_keys.c",
    from = "ds_buf_add_format(out, \"/%\" PRIx64 \"-%s\", entry->lease->nonce, entry->nonce);",
    to = "ds_buf_add_format(out, \"/%\" PRIx64, entry->lease->nonce);", by = "test_etcd_requests", sim = true,
  },
  {
    name = "name_given_twice", rule = "a name is used again once its entry is gone", breaks = "by two entries at once",
    file = "core/spare_names.c", from = "slot->nonce[0] = '\\0';", to = "", by = "test_spare_names",
  },
  {
    name = "former_entry_taken", rule = "an entry that is back shows an older state",
    breaks = "it is taken for the new one",
    file = "backend/etcd_queue.c", from = "own->create <= call->former", to = "false", by = "test_etcd_answers",
  },
  {
    name = "delete_by_name", rule = "delete never by bare name", breaks = "whatever has the name now is removed",
    file = "backend/etcd_queue.c", from = "entry->token > 0 ? 1 : 0", to = "0", by = "test_etcd_requests",
  },
  {
    name = "token_of_wrong_answer", rule = "the token is the create revision of one's own entry",
    breaks = "after a replay it is the revision of the answer",
    file = "backend/etcd_queue.c", from = "call->token = own->create;", to = "call->token = call->etcd->revision;",
    by = "test_etcd_answers", sim = true,
  },
  {
    name = "try_takes_all", rule = "a try compares the whole range", breaks = "it compares its own key only",
    file = "backend/etcd_queue.c", after = { "void ds_etcd_enter(", "ds_bytes_of(&call->stamp))};", "if (" },
    from = "only_try", to = "false", by = "test_etcd_requests", sim = true,
  },
  {
    name = "range_too_wide", rule = "a queue is what lies below its path", breaks = "and what begins like it",
    file = "backend/etcd_keys.c", from = "ds_buf_add_char(begin, '/');", to = "", by = "test_etcd_requests",
  },
  {
    name = "write_unguarded", rule = "a guarded write compares its own entry", breaks = "only the session's epoch",
    file = "backend/etcd_guard.c", from = "ds_etcd_if_created(own, entry->token)",
    to = "ds_etcd_if_value(session, ds_bytes_of(&call->stamp))", by = "test_etcd_requests", sim = true,
  },
  {
    name = "write_epoch_free", rule = "a guarded write compares the epoch", breaks = "only its own entry",
    file = "backend/etcd_guard.c", after = { "void ds_etcd_write(", "txn = {compares, " }, from = "2",
    to = "1", by = "test_etcd_requests",
  },
  {
    name = "evict_any", rule = "an eviction is of one token", breaks = "it is of whoever is there",
    file = "backend/etcd_guard.c", from = "request.as.range.min_create = request.as.range.max_create = token;", to = "",
    by = "test_etcd_requests",
  },
  {
    name = "predecessor_any", rule = "the predecessor is older than oneself", breaks = "the newest is taken for it",
    file = "backend/etcd_queue.c", from = "nearest.as.range.max_create = call->token - 1;", to = "",
    by = "test_etcd_requests",
  },
  {
    name = "revision_falls", rule = "answers older than one already seen are dropped", breaks = "they are believed",
    file = "backend/etcd_transport.c", from = "outdated && !may_lag(exchange->kind)",
    to = "false", by = "test_etcd_transport",
  },
  {
    name = "write_in_the_past", rule = "a falling revision is a reset", breaks = "a write may stand still",
    file = "backend/etcd_transport.c", from = "(revision == exchange->floor && has_written(reply))",
    to = "false", by = "test_etcd_transport",
  },
  {
    name = "write_repeated", rule = "a write in an older state is not repeated", breaks = "it is asked for again",
    file = "backend/etcd_transport.c", from = "again < exchange->deadline_ns - FIRST_PAUSE && !has_written(reply)",
    to = "again < exchange->deadline_ns - FIRST_PAUSE", by = "test_etcd_transport",
  },
  {
    name = "other_cluster", rule = "another cluster id is a reset", breaks = "it is not looked at",
    file = "backend/etcd_server.c", from = "header->cluster_id != 0 && header->cluster_id != etcd->cluster_id",
    to = "false", by = "test_etcd_answers",
  },
  {
    name = "old_lease_new_cluster", rule = "nothing of before counts after a reset", breaks = "sessions go on",
    file = "backend/etcd_call.c", from = "impl == NULL || impl->generation == etcd->generation", to = "true",
    by = "test_etcd_transport",
  },
  {
    name = "lease_lost_refused", rule = "\"lease not found\" means lost", breaks = "it is a wrong setting",
    file = "backend/etcd_error.c", after = "static ds_etcd_verdict judge_code(", from = "ds_etcd_lease_missing(status)",
    to = "false", by = "test_etcd_error",
  },
  {
    name = "no_leader_ambiguous", rule = "\"no leader\" was not executed", breaks = "it is ambiguous",
    file = "backend/etcd_error.c", from = "says(status, before_execution[i])",
    to = "i > 0 && says(status, before_execution[i])", by = "test_etcd_error",
  },
  {
    name = "redirect_retried", rule = "3xx, 400, 403 fail at once", breaks = "they are tried again",
    file = "backend/etcd_error.c", from = "http >= 300 && http < 400", to = "false", by = "test_etcd_error",
  },
  {
    name = "leader_not_asked_for", rule = "requests carry hasleader", breaks = "they do not",
    file = "backend/etcd_server.c", from = "wire->headers[count] != NULL",
    to = "wire->headers[count] != NULL && wire->headers[count + 1] != NULL", by = "test_etcd_transport",
  },
  {
    name = "no_status", rule = "an answer without gRPC's status is none", breaks = "it is taken for success",
    file = "backend/etcd_grpc.c", from = "!read_code(values[WANT_STATUS], &status->code)",
    to = "!read_code(values[WANT_STATUS] != NULL ? values[WANT_STATUS] : \"0\", &status->code)", by = "test_etcd_grpc",
  },
  {
    name = "compressed_frame", rule = "a compressed frame is not read", breaks = "it is taken for a message",
    file = "backend/etcd_grpc.c", from = "bytes.size > 0 && prefix[0] != 0", to = "false", by = "test_etcd_grpc",
  },
  {
    name = "number_of_65_bits", rule = "integers from the network are exact", breaks = "the highest bits are lost",
    file = "backend/etcd_pb_decode.c", from = "shift == 63 && byte > 1", to = "false", by = "test_etcd_pb_decode",
  },
  {
    name = "watch_not_asked_again", rule = "what was not sent is sent in the other encoding",
    breaks = "watches are forgotten", file = "backend/etcd_stream.c", from = "ds_etcd_watching_ask_again(stream);",
    to = "", by = "test_etcd_fallback",
  },
  {
    name = "stream_silence", rule = "every watch has a bounded life", breaks = "a silent stream is believed for ever",
    file = "backend/etcd_stream.c", from = "silent < SILENCE", to = "true", by = "test_etcd_stream",
  },
  {
    name = "stream_end_silent", rule = "the end of a stream is told to its watches", breaks = "it is not",
    file = "backend/etcd_stream.c", after = "void ds_etcd_stream_end(",
    from = "ds_etcd_watching_end_all(stream, outcome, message);", to = "(void)outcome; (void)message;",
    by = "test_etcd_stream",
  },
  {
    name = "compaction_silent", rule = "a compacted watch has ended", breaks = "it is taken to go on",
    file = "backend/etcd_events.c", from = "reply->compact_revision > 0",
    to = "reply->compact_revision > 0 && (watching = NULL) == NULL", by = "test_etcd_stream",
  },
  {
    name = "watch_skips", rule = "a watch never skips revisions", breaks = "it begins one too late",
    file = "backend/etcd_watch.c", from = "watching->since = spec->since;",
    to = "watching->since = spec->since > 0 ? spec->since + 1 : 0;", by = "test_etcd_stream",
  },
  {
    name = "auth_endless", rule = "a refused token is renewed once", breaks = "without end",
    file = "backend/etcd_transport.c", from = "verdict.token_refused && !exchange->anew",
    to = "verdict.token_refused", by = "test_etcd_sign_in",
  },
  {
    name = "auth_never", rule = "an expired token is renewed", breaks = "the request fails",
    file = "backend/etcd_transport.c", from = "verdict.token_refused && !exchange->anew",
    to = "false", by = "test_etcd_sign_in",
  },
  {
    name = "etcd_second_copy", rule = "an entry that a second copy of its request found was made by the first",
    breaks = "a refusal after it leaves nothing", file = "backend/etcd_queue.c",
    from = "call->made_before = true;", to = "call->made_before = false;", by = "test_etcd_answers",
  },
}
