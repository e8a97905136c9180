-- transport.lua: bugs about HTTP, JSON and secrets.
return {
  {
    name = "int64_as_double", rule = "64-bit integers never pass through a double", breaks = "they do",
    file = "base/json.c", from = "text != NULL && ds_parse_int64(text, strlen(text), out)",
    to = "text != NULL && (*out = (int64_t)strtod(text, NULL), true)", by = "test_json_values",
  },
  {
    name = "duplicate_key", rule = "a duplicate key is an error", breaks = "one of them is taken",
    file = "base/json.c", after = "verdict keys = ", from = "all_keys(json)", to = "FINE", by = "test_json",
  },
  {
    name = "redirect_followed", rule = "redirects are not followed", breaks = "they are",
    file = "net/http_options.c", from = "SET(CURLOPT_FOLLOWLOCATION, 0L);", to = "SET(CURLOPT_FOLLOWLOCATION, 1L);",
    by = "test_http",
  },
  {
    name = "peer_unverified", rule = "VERIFYPEER", breaks = "any certificate will do",
    file = "net/http_options.c", from = "SET(CURLOPT_SSL_VERIFYPEER, client->insecure ? 0L : 1L);",
    to = "SET(CURLOPT_SSL_VERIFYPEER, 0L);", by = "test_http_tls",
  },
  {
    name = "host_unverified", rule = "VERIFYHOST 2", breaks = "a certificate of another host will do",
    file = "net/http_options.c", from = "SET(CURLOPT_SSL_VERIFYHOST, client->insecure ? 0L : 2L);",
    to = "SET(CURLOPT_SSL_VERIFYHOST, 0L);", by = "test_http_tls",
  },
  {
    name = "proxy_from_environment", rule = "no proxy from the environment", breaks = "it is used",
    file = "net/http_options.c", from = "SET(CURLOPT_PROXY, \"\");\n    SET(CURLOPT_NOPROXY, \"*\");", to = "",
    by = "test_http",
  },
  {
    name = "reply_unlimited", rule = "answers are capped", breaks = "any length is read",
    file = "net/http_transfer.c", from = "size > http->reply_max || http->reply.size > http->reply_max - size",
    to = "false", by = "test_http_faults",
  },
  {
    name = "headers_unlimited", rule = "headers are capped", breaks = "any number is read",
    file = "net/http_transfer.c",
    from = "++http->header_lines > DS_HTTP_HEADER_LINES_MAX || http->header_bytes > DS_HTTP_HEADER_BYTES_MAX",
    to = "false", by = "test_http_faults",
  },
  {
    name = "plaintext_credentials", rule = "credentials over plain HTTP to another host are refused", breaks = "sent",
    file = "backend/etcd_auth.c", from = "!(user || token || file) || options->allow_plaintext_credentials",
    to = "true", by = "test_etcd_transport",
  },
  {
    name = "secret_in_message", rule = "no secret in a message", breaks = "the token is in it",
    file = "backend/etcd_transport.c", after = "static void judge_error(",
    from = "ds_etcd_explain(&exchange->error, exchange->endpoint, http, status, verdict.advice);",
    to = "ds_etcd_explain(&exchange->error, exchange->endpoint, http, status, etcd->auth.headers[0]);",
    by = "test_etcd_sign_in",
  },
  {
    name = "secret_not_wiped", rule = "secrets are wiped on free", breaks = "they stay in memory",
    file = "base/alloc.c", from = "wipe(memory, 0, size);", to = "", by = "test_buf",
  },
  {
    name = "secret_file_open", rule = "secret files are no business of others", breaks = "any mode will do",
    file = "backend/secret.c", from = "(st.st_mode & (S_IRWXG | S_IRWXO)) != 0", to = "false", by = "test_secret",
  },
  {
    name = "header_injection", rule = "header values are visible ASCII", breaks = "anything goes",
    file = "backend/secret.c", from = "return at != text && *at == '\\0';", to = "return *text != '\\0';",
    by = "test_secret",
  },
}
