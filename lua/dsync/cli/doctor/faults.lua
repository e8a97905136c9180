-- faults.lua: what can be wrong with a server, how it shows in a message, and what to do about it.
--
-- A finding is { check, status = "ok" / "warn" / "fail", where, fault, detail, advice }.

local codes = require "dsync.cli.codes"

local ipairs = ipairs

local faults = {}

--- Advice and exit code for each fault; the names are stable.
faults.known = {
  nothing_listening = { code = codes.unavailable, advice = "start the server, or correct the port in the URL" },
  unreachable = { code = codes.unavailable,
    advice = "check the address, the route and the firewalls between here and there" },
  unresolved = { code = codes.unavailable,
    advice = "check the host's name in the URL, and this machine's name service" },
  wrong_protocol = { code = codes.unavailable,
    advice = "give the server's own client port (usually etcd 2379, Consul 8500, ZooKeeper 2181)" },
  silent = { code = codes.unavailable,
    advice = "it accepts connections and says nothing: is the server stuck, or a firewall or proxy in between?" },
  tls_needed = { code = codes.config, advice = "the server speaks TLS: use etcds:// (or consuls://) and set --tls-ca" },
  tls_unexpected = { code = codes.config,
    advice = "the server speaks no TLS on this port: use etcd:// (or consul://), or switch TLS on at the server" },
  certificate_expired = { code = codes.denied,
    advice = "renew the server's certificate (and check this machine's date: " .. os.date "!%Y-%m-%d" .. ")" },
  certificate_name = { code = codes.denied,
    advice = "connect by a name that is in the certificate, or give that name as --tls-server-name" },
  certificate_untrusted = { code = codes.denied,
    advice = "give the authority that signed the server's certificate as --tls-ca" },
  client_certificate = { code = codes.denied,
    advice = "the server wants a client certificate that it trusts: check --tls-cert and --tls-key" },
  tls_files = { code = codes.config, advice = "check the files of --tls-ca, --tls-cert and --tls-key" },
  auth_missing = { code = codes.denied,
    advice = "set --user and DSYNC_PASSWORD, or DSYNC_AUTH_TOKEN, or --token-file (ZooKeeper: DSYNC_DIGEST)" },
  auth_wrong = { code = codes.denied, advice = "check the user's name and password, or the token" },
  permission = { code = codes.denied, advice = "grant the user read and write on all keys below the prefix" },
  no_leader = { code = codes.unavailable,
    advice = "most members of the cluster must be up and reach one another: look at the other members" },
  read_only = { code = codes.unavailable, advice = "this member takes no writes: use the other members" },
  space = { code = codes.resource,
    advice = "compact and defragment the server, then disarm its alarm; until then it is read-only" },
  proxy = { code = codes.unavailable,
    advice = "give the server's own address, or let the proxy pass HTTP/2 and long streams unbuffered" },
  version_bug = { advice = "upgrade the server" },
  clock_jump = { advice = "let a time service slew the clock instead of setting it; leases do not depend on it, the "
    .. "times that people see do" },
  clock_skew = { advice = "set this machine's clock, or the server's: certificates and shown times depend on it" },
  slow = { advice = "the server, its disk or the network is slow for the ttl in use: use a longer ttl" },
  alone = { advice = "use local: for this host, or the URL of a server for several" },
  settings = { code = codes.config, advice = "correct the options" },
  other = { code = codes.unavailable, advice = "look at the server's log" },
}

-- The first that is found in a message decides.
local SIGNS = {
  { "learner", "read_only" },
  { "read%-?only", "read_only" },
  { "space exceeded", "space" },
  { "no leader", "no_leader" },
  { "No cluster leader", "no_leader" },
  { "certificate has expired", "certificate_expired" },
  { "does not match", "certificate_name" },
  { "subject name matches", "certificate_name" },
  { "not to be trusted", "certificate_untrusted" },
  { "does not accept our certificate", "client_certificate" },
  { "cannot use the TLS files", "tls_files" },
  { "TLS handshake failed", "tls_unexpected" },
  { "user name is empty", "auth_missing" },
  { "wants a user and password", "auth_missing" },
  { "authentication failed", "auth_wrong" },
  { "invalid auth token", "auth_wrong" },
  { "ACL not found", "auth_wrong" },
  { "does not accept who is asking", "auth_wrong" },
  { "[Pp]ermission denied", "permission" },
  { "not permitted by the node's ACL", "permission" },
  { "connection refused", "nothing_listening" },
  { "no route", "unreachable" },
  { "nobody answered at that address", "unreachable" },
  { "cannot find the host", "unresolved" },
  { "cannot be spoken to in gRPC", "proxy" },
  { "not HTTP", "wrong_protocol" },
  { "answered HTTP 40[47]", "proxy" },
  { "answered HTTP 50[234]", "proxy" },
  { "answered HTTP", "wrong_protocol" },
  { "no answer within", "silent" },
  { "no connection within", "unreachable" },
}

--- The fault that a message of the library tells of. `anonymous`: we gave no credentials, and some servers let whoever
--- gives none do little instead of asking for them.
function faults.of(message, code, anonymous)
  for _, sign in ipairs(SIGNS) do
    if message:find(sign[1]) then
      return anonymous and sign[2] == "permission" and "auth_missing" or sign[2]
    end
  end
  return code == "config" and "settings" or code == "denied" and "permission" or "other"
end

--- A finding that something is wrong, with its advice.
function faults.finding(check, where, fault, detail, status)
  return {
    check = check, status = status or "fail", where = where, fault = fault, detail = detail,
    advice = faults.known[fault].advice,
  }
end

--- A finding that something is as it should be.
function faults.fine(check, where, detail)
  return { check = check, status = "ok", where = where, detail = detail }
end

return faults
