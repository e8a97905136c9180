-- Real Consul agents for tests: one server or three, on free loopback ports, with data in memory where possible.
--
--   local server = consul.start { nodes = 3, tls = true, client_cert = true, acl = true }
--   dsync.open(server.url, server.options)
--   server:consul { "kv", "get", "-recurse", "spec/" }
--   server:pause(2); server:resume(2); server:kill("KILL", 1); server:restart(1); server:stop()
--
-- Ends with the Lua process at the latest. Knows nothing about dsync but the names of its tls and auth options.

local certs = require "spec.support.certs"
local nodes = require "spec.support.nodes"
local rig = require "spec.support.rig"

local consul = {}

local server = {} -- methods of what consul.start returns
server.__index = server
nodes.inherit(server)

local VERSION = "1.8"
local READY = "Consul agent running!" -- it listens; whether there is a leader is asked afterwards

-- The folder that holds the program; nil when there is none on this machine.
function consul.find()
  return nodes.find("consul", VERSION, "Consul v(%d+%.%d+)")
end

-- ---- starting -------------------------------------------------------------------------------------------------------

local function json(value)
  if type(value) ~= "table" then return type(value) == "string" and ("%q"):format(value) or tostring(value) end
  local parts = {}
  if value[1] ~= nil then
    for i = 1, #value do parts[i] = json(value[i]) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for name, field in pairs(value) do parts[#parts + 1] = ("%q:%s"):format(name, json(field)) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function config_of(self, i)
  local node, settings = self.nodes[i], self.settings
  local config = {
    server = true, bootstrap_expect = #self.nodes, node_name = "n" .. i, data_dir = node.data,
    datacenter = self.datacenter, bind_addr = "127.0.0.1", client_addr = "127.0.0.1", disable_update_check = true,
    retry_interval = "1s", performance = { raft_multiplier = 1 },
    ports = { http = settings.tls and -1 or node.port, https = settings.tls and node.port or -1, dns = -1, grpc = -1,
      server = node.rpc, serf_lan = node.serf, serf_wan = -1 },
  }
  if #self.nodes > 1 then
    config.retry_join = nodes.list_of(#self.nodes, function(n) return "127.0.0.1:" .. self.nodes[n].serf end)
  end
  if settings.tls then
    local identity = self.certs[settings.identity or "server"]
    config.cert_file, config.key_file, config.ca_file = identity.cert, identity.key, self.certs.ca
    config.verify_incoming_https = settings.client_cert or false
  end
  if settings.acl then
    config.acl = { enabled = true, default_policy = "deny",
      tokens = { master = self.master_token, agent = self.master_token } }
  end
  for name, value in pairs(settings.extra or {}) do config[name] = value end
  return config
end

function server:argv(i)
  local file = self.nodes[i].data .. ".json"
  rig.write(file, json(config_of(self, i)))
  return { self.bin .. "/consul", "agent", "-config-file", file }
end

-- It serves once there is a leader, and the leader has listed every member: sessions belong to a listed one.
function server:await(i, timeout)
  local limit = os.time() + (timeout or 30)
  local line, why, said = self.nodes[i].process:expect(READY, timeout or 30)
  while line and os.time() < limit do
    local list
    list, said = self:consul({ "catalog", "nodes" }, { node = i })
    local missing = false
    for n = 1, #self.nodes do missing = missing or not (list and list:find("\nn" .. n .. " ", 1, true)) end
    if not missing then return true end
    why = "it lists " .. tostring(list)
    rig.run { "sleep", "0.05" }
  end
  return nil, ("consul did not start (%s):\n%s"):format(why, said or self:log(i))
end

local function lay_out(self)
  local count = self.settings.nodes or 1
  local ports = rig.ports(3 * count)
  local folder = rig.tempdir(true)
  local scheme = self.settings.tls and "https" or "http"
  self.nodes = nodes.list_of(count, function(i)
    return {
      client = ("%s://127.0.0.1:%d"):format(scheme, ports[i]), endpoint = "127.0.0.1:" .. ports[i], port = ports[i],
      rpc = ports[count + i], serf = ports[2 * count + i],
      data = folder .. "/n" .. i, log = folder .. "/n" .. i .. ".log",
    }
  end)
  self.endpoints = nodes.list_of(count, function(i) return self.nodes[i].endpoint end)
  self.url = (self.settings.tls and "consuls://" or "consul://") .. table.concat(self.endpoints, ",")
  self.http = self.nodes[1].client
end

-- Tries until it works: right after a start the ACL system is still being set up.
local function must(self, args, options)
  local limit = os.time() + 20
  local out, err = self:consul(args, options)
  while not out and os.time() < limit do
    rig.run { "sleep", "0.1" }
    out, err = self:consul(args, options)
  end
  if out then return out end
  error("consul " .. table.concat(args, " ") .. ": " .. err, 0)
end

-- The token of self.options may do what the documentation says a client needs, below settings.acl_prefixes, by default
-- those that the specs use; the master token may do everything.
local function enable_acl(self)
  local rules = { 'session_prefix "" { policy = "write" }', 'agent_prefix "" { policy = "read" }' }
  for _, prefix in ipairs(self.settings.acl_prefixes or { "dsync/", "spec/" }) do
    rules[#rules + 1] = ('key_prefix "%s" { policy = "write" }'):format(prefix)
  end
  must(self, { "acl", "policy", "create", "-name", "dsync", "-rules", table.concat(rules, "\n") })
  must(self, { "acl", "token", "create", "-policy-name", "dsync", "-secret", self.token })
  for i = 1, #self.nodes do
    must(self, { "acl", "token", "read", "-self" }, { node = i, token = self.token })
  end
end

-- settings: nodes, tls, client_cert, acl, acl_prefixes, identity (name of the server's certificate in certs.make()),
-- datacenter, extra (further fields of the configuration). Returns nil and a message when there is no Consul on this
-- machine; anything else that fails is an error.
function consul.start(settings)
  settings = settings or {}
  local bin = consul.find()
  if not bin then return nil, "no consul " .. VERSION .. " on this machine" end
  local self = setmetatable({ version = VERSION, bin = bin, settings = settings, options = {} }, server)
  self.datacenter = settings.datacenter or "dc1"
  self.master_token = "11111111-2222-3333-4444-555555555555"
  self.token = "66666666-7777-8888-9999-aaaaaaaaaaaa"
  if settings.tls then
    self.certs = certs.make()
    self.options.tls = { ca = self.certs.ca }
    if settings.client_cert then
      self.options.tls.cert, self.options.tls.key = self.certs.client.cert, self.certs.client.key
    end
  end
  local ok, why
  for _ = 1, 2 do -- a port may have been taken meanwhile
    if not ok then
      lay_out(self)
      ok, why = self:launch_all()
    end
  end
  if not ok then error(why, 2) end
  if settings.acl then
    enable_acl(self)
    self.options.auth = { token = self.token }
  end
  return self
end

-- ---- using ----------------------------------------------------------------------------------------------------------

-- What the program is told about where to find the server. It wants flags between the subcommands and the arguments,
-- and some of its subcommands have subcommands: the environment says it without that.
local function ctl_env(self, options)
  local env = { CONSUL_HTTP_ADDR = self.nodes[options.node or 1].client, CONSUL_HTTP_TOKEN = options.token
    or self.settings.acl and not options.anonymous and self.master_token or "" }
  if self.settings.tls then
    env.CONSUL_CACERT = self.certs.ca
    if self.settings.client_cert then
      env.CONSUL_CLIENT_CERT, env.CONSUL_CLIENT_KEY = self.certs.client.cert, self.certs.client.key
    end
  end
  return env
end

local function ctl_argv(self, args)
  local argv = { self.bin .. "/consul" }
  for _, value in ipairs(args) do argv[#argv + 1] = tostring(value) end
  return argv
end

-- Runs the consul program and returns what it printed; nil and its complaint when it failed.
-- options: timeout, input, node (ask this member, otherwise the first), token (otherwise the master's), anonymous.
function server:consul(args, options)
  options = options or {}
  local code, out, err = rig.run(ctl_argv(self, args),
    { timeout = options.timeout or 10, input = options.input, env = ctl_env(self, options) })
  if code == 0 then return out end
  return nil, (code and err or "timeout") .. tostring(out)
end

-- Starts one that runs on (lock, watch): the process, to read lines from and to stop.
function server:consul_start(args, options)
  return rig.start(ctl_argv(self, args), { merge = true, env = ctl_env(self, options or {}) })
end

local function leader_rpc(self, i)
  local out = self:consul({ "operator", "raft", "list-peers", "-stale" }, { node = i, timeout = 3 })
  for line in (out or ""):gmatch "[^\n]+" do
    local port = line:match ":(%d+)%s+leader"
    if port then return tonumber(port) end
  end
end

-- The number of the member that leads, waiting for an election if need be; nil when none does within `timeout` (10 s).
function server:leader(timeout)
  local limit = os.time() + (timeout or 10)
  repeat
    for i = 1, #self.nodes do
      if self.nodes[i].process:alive() then
        local rpc = leader_rpc(self, i)
        for n = 1, #self.nodes do
          if rpc == self.nodes[n].rpc and self.nodes[n].process:alive() then return n end
        end
      end
    end
  until os.time() >= limit
  return nil
end

return consul
