-- port.lua: what listens at an endpoint, found out by talking to it: nobody, TLS, another protocol, a proxy, the
-- server.

local clock = require "dsync.cli.doctor.clock"
local faults = require "dsync.cli.doctor.faults"
local process = require "dsync.process"

local port = {}

local PATIENCE = 2

-- What each kind of server is asked, how its answer begins or what it contains, and what it says without a leader.
local QUESTIONS = {
  etcd = { path = "/version", sign = '"etcdserver"', product = "etcd" },
  consul = { path = "/v1/status/leader", sign = '^"', product = "Consul", leaderless = '^""' },
}

local DEFAULT_PORTS = { https = "443", http = "80" } -- ZooKeeper's endpoints always name theirs

--- "http://host:2379" as scheme, host, port.
function port.split(endpoint)
  local scheme, rest = endpoint:match "^(%a+)://(.*)$"
  rest = (rest or endpoint):match "^[^/]*"
  local host, number = rest:match "^%[(.*)%]:?(%d*)$"
  if not host then
    host, number = rest:match "^([^:]*):?(%d*)$"
  end
  return scheme, host, number ~= "" and number or DEFAULT_PORTS[scheme]
end

local function cannot_connect(endpoint, stage, message)
  if stage == "resolve" then
    return faults.finding("connect", endpoint, "unresolved", message)
  end
  local refused = message:find "refused"
  return faults.finding("connect", endpoint, refused and "nothing_listening" or "unreachable", message)
end

-- A broken hello: who speaks TLS answers it with an alert.
local function speaks_tls(host, number)
  local answer = process.exchange(host, number, "\22\3\1\0\4\1\0\0\0", PATIENCE)
  return answer ~= nil and answer:find "^[\21\22]\3" ~= nil
end

local function header(reply, name)
  local head = reply:match "^(.-)\r?\n\r?\n" or reply
  return ("\n" .. head):lower():match("\n" .. name:lower():gsub("%-", "%%-") .. ":%s*([^\r\n]*)")
end

local PROXIES = { "nginx", "haproxy", "envoy", "squid", "varnish", "traefik", "cloudflare", "apache", "caddy" }

-- Who has its hands on the answer, or nil.
local function proxy_of(reply, status)
  local server = header(reply, "server") or ""
  for _, name in ipairs(PROXIES) do
    if server:find(name, 1, true) then
      return server
    end
  end
  return header(reply, "via") or (status == "407" and "a proxy that wants credentials") or nil
end

local function judge_http(endpoint, question, reply)
  local status = reply:match "^HTTP/%d%.%d (%d%d%d)"
  local body = reply:match "\r?\n\r?\n(.*)$" or ""
  local proxy = proxy_of(reply, status)
  local is_it = status == "200" and body:find(question.sign) ~= nil
  if proxy then
    local status_of_it = is_it and "warn" or "fail"
    return faults.finding("connect", endpoint, "proxy", "a proxy answers: " .. proxy, status_of_it), is_it
  elseif not is_it then
    return faults.finding("connect", endpoint, "wrong_protocol",
      "an HTTP server answers (" .. (status or "?") .. "), but it is no " .. question.product), false
  elseif question.leaderless and body:find(question.leaderless) then
    return faults.finding("connect", endpoint, "no_leader", "it knows no leader of its cluster"), false
  end
  return faults.fine("connect", endpoint, "listens"), true
end

local function judge_silence(endpoint, scheme, host, number)
  if speaks_tls(host, number) then
    if scheme == "https" then
      return faults.fine("connect", endpoint, "listens, with TLS"), true
    end
    return faults.finding("connect", endpoint, "tls_needed", "it speaks TLS, the URL does not"), false
  end
  return faults.finding("connect", endpoint, "silent", "no answer to a plain question"), false
end

-- Its own protocol is binary, but it answers one question in plain text unless that is forbidden.
local function judge_zookeeper(endpoint, host, number, reply)
  local version = reply:match "^Zookeeper version: (%d+%.%d+%.%d+)"
  if version then
    return faults.fine("connect", endpoint, "listens, ZooKeeper " .. version), "ZooKeeper " .. version
  elseif reply:find "not currently serving" then
    return faults.finding("connect", endpoint, "no_leader", "it serves nobody: it sees too few of its ensemble")
  elseif reply:find "not in the whitelist" then
    return faults.fine("connect", endpoint, "listens"), true
  end
  local other = reply ~= "" and reply or process.exchange(host, number, "GET / HTTP/1.0\r\n\r\n", PATIENCE) or ""
  if other ~= "" then
    return faults.finding("connect", endpoint, "wrong_protocol", ("it answers %q and is no ZooKeeper"):format(
      other:match "^[^\r\n]*":sub(1, 40)))
  elseif speaks_tls(host, number) then
    return faults.finding("connect", endpoint, "wrong_protocol", "it speaks TLS, which dsync does not to a ZooKeeper")
  end
  return faults.finding("connect", endpoint, "silent", "no answer to a plain question")
end

--- Findings about what listens at an endpoint of this backend, and whether it is worth asking further: true, or product
--- and version where those are known already.
function port.look(backend, endpoint)
  local question = QUESTIONS[backend]
  local scheme, host, number = port.split(endpoint)
  if backend == "zookeeper" and host and number then
    local reply, stage, message = process.exchange(host, number, "srvr", PATIENCE)
    if not reply then
      return { cannot_connect(endpoint, stage, message) }, false
    end
    local finding, go_on = judge_zookeeper(endpoint, host, number, reply)
    return { finding }, go_on or false
  elseif not question or not host or not number then
    return {}, true
  end
  local request = "GET " .. question.path .. " HTTP/1.0\r\nHost: " .. host .. "\r\n\r\n"
  local reply, stage, message = process.exchange(host, number, request, PATIENCE)
  if not reply then
    return { cannot_connect(endpoint, stage, message) }, false
  end
  local finding, go_on
  if reply == "" or reply:find "^[\21\22]\3" or reply:find "HTTPS server" then
    finding, go_on = judge_silence(endpoint, scheme, host, number)
  elseif not reply:find "^HTTP/" then
    finding = faults.finding("connect", endpoint, "wrong_protocol", ("it answers %q, which is not HTTP"):format(
      reply:match "^[^\r\n]*":sub(1, 40)))
  elseif scheme == "https" then
    finding = faults.finding("connect", endpoint, "tls_unexpected", "it speaks plain HTTP, the URL wants TLS")
  else
    finding, go_on = judge_http(endpoint, question, reply)
  end
  local findings = { finding }
  findings[2] = clock.compare(endpoint, reply:match "\n[Dd]ate: ([^\r\n]*)", (process.clock()))
  return findings, go_on == true
end

return port
