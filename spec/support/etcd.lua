-- Real etcd servers for tests: one member or three, on free loopback ports, with data in memory where possible.
--
--   local server = etcd.start { version = "3.5", nodes = 3, tls = true, client_cert = true, auth = true }
--   dsync.open(server.url, server.options)
--   server:etcdctl { "get", "", "--prefix" }
--   server:pause(2); server:resume(2); server:kill("KILL", 1); server:restart(1); server:stop()
--
-- Ends with the Lua process at the latest. Knows nothing about dsync but the names of its tls, auth and
-- transport options.

local certs = require "spec.support.certs"
local nodes = require "spec.support.nodes"
local rig = require "spec.support.rig"

local etcd = {}

local server = {} -- methods of what etcd.start returns
server.__index = server
nodes.inherit(server)

local READY = "serving client traffic" -- the last line of a start, secured or not; the port is open by then

-- The folder that holds etcd and etcdctl of this version ("3.4", "3.5"); nil when there is none on this machine.
function etcd.find(version)
  return nodes.find("etcd", version, "etcd Version: (%d+%.%d+)")
end

-- ---- starting -------------------------------------------------------------------------------------------------------

function server:argv(i)
  local node, settings = self.nodes[i], self.settings
  local argv = {
    self.bin .. "/etcd", "--name", "n" .. i, "--data-dir", node.data, "--logger", "zap", "--log-outputs", "stderr",
    "--listen-client-urls", node.client, "--advertise-client-urls", node.client, "--listen-peer-urls", node.peer,
    "--initial-advertise-peer-urls", node.peer, "--initial-cluster-token", self.token, "--initial-cluster",
    table.concat(nodes.list_of(#self.nodes, function(n) return ("n%d=%s"):format(n, self.nodes[n].peer) end), ","),
  }
  local function add(...)
    for _, value in ipairs { ... } do argv[#argv + 1] = tostring(value) end
  end
  if settings.tls then
    local identity = self.certs[settings.identity or "server"]
    add("--cert-file", identity.cert, "--key-file", identity.key)
  end
  if settings.client_cert then add("--client-cert-auth", "--trusted-ca-file", self.certs.ca) end
  if settings.auth_token_ttl then add("--auth-token-ttl", settings.auth_token_ttl) end
  if settings.quota then add("--quota-backend-bytes", settings.quota) end
  add((table.unpack or unpack)(settings.extra or {})) -- luacheck: globals unpack
  return argv
end

function server:await(i, timeout)
  local line, why, said = self.nodes[i].process:expect(READY, timeout or 30)
  if line then return true end
  return nil, ("etcd %s did not start (%s):\n%s"):format(self.version, why, said)
end

local function lay_out(self)
  local count = self.settings.nodes or 1
  local ports = rig.ports(2 * count)
  local folder = rig.tempdir(true)
  local scheme = self.settings.tls and "https" or "http"
  self.nodes = nodes.list_of(count, function(i)
    return {
      client = ("%s://127.0.0.1:%d"):format(scheme, ports[i]), peer = "http://127.0.0.1:" .. ports[count + i],
      endpoint = "127.0.0.1:" .. ports[i], port = ports[i],
      data = folder .. "/n" .. i, log = folder .. "/n" .. i .. ".log",
    }
  end)
  self.token = folder
  self.endpoints = nodes.list_of(count, function(i) return self.nodes[i].endpoint end)
  self.url = (self.settings.tls and "etcds://" or "etcd://") .. table.concat(self.endpoints, ",")
  self.http = self.nodes[1].client
end

-- One try; a port may have been taken meanwhile, hence the caller's second one.
local function try(self)
  lay_out(self)
  return self:launch_all()
end

-- root may do everything; the user dsync (password secret) may use the keys below settings.auth_prefixes, by default
-- those that the specs use.
local function enable_auth(self)
  local function must(...)
    local ok, err = self:etcdctl({ ... }, { anonymous = true })
    if not ok then error("etcdctl " .. table.concat({ ... }, " ") .. ": " .. err, 0) end
  end
  must("user", "add", "root:" .. self.root_password)
  must("user", "grant-role", "root", "root")
  must("role", "add", "dsync")
  for _, prefix in ipairs(self.settings.auth_prefixes or { "dsync/", "/dsync/", "spec/", "/spec/" }) do
    must("role", "grant-permission", "dsync", "--prefix=true", "readwrite", prefix)
  end
  must("user", "add", "dsync:secret")
  must("user", "grant-role", "dsync", "dsync")
  must("auth", "enable")
end

-- settings: version, nodes, tls, client_cert, auth, auth_prefixes, auth_token_ttl (seconds), quota (bytes), identity
-- (name of the server's certificate in certs.make(): "server", "expired", "wrong_name"), extra (further arguments),
-- grpc or json (how clients are to speak to it).
-- Returns nil and a message when there is no such etcd on this machine; anything else that fails is an error.
function etcd.start(settings)
  settings = settings or {}
  local version = settings.version or os.getenv "DSYNC_TEST_ETCD" or "3.4"
  local bin = etcd.find(version)
  if not bin then return nil, "no etcd " .. version .. " on this machine" end
  local self = setmetatable({ version = version, bin = bin, settings = settings }, server)
  self.root_password = "root-secret"
  self.options = {}
  if settings.tls then
    self.certs = certs.make()
    self.options.tls = { ca = self.certs.ca }
    if settings.client_cert then
      self.options.tls.cert, self.options.tls.key = self.certs.client.cert, self.certs.client.key
    end
  end
  local ok, why = try(self)
  if not ok then ok, why = try(self) end
  if not ok then error(why, 2) end
  if settings.auth then
    enable_auth(self)
    self.options.auth = { user = "dsync", password = "secret" }
  end
  for _, transport in ipairs { "grpc", "json" } do
    if settings[transport] then self.options.etcd = { transport = transport } end
  end
  return self
end

-- ---- using ----------------------------------------------------------------------------------------------------------

local function ctl_argv(self, args, options)
  local argv = { self.bin .. "/etcdctl", "--endpoints",
    options.node and self.nodes[options.node].client
      or table.concat(nodes.list_of(#self.nodes, function(i) return self.nodes[i].client end), ",") }
  if self.settings.tls then
    argv[#argv + 1] = "--cacert"
    argv[#argv + 1] = self.certs.ca
    if self.settings.client_cert then
      for _, value in ipairs { "--cert", self.certs.client.cert, "--key", self.certs.client.key } do
        argv[#argv + 1] = value
      end
    end
  end
  if self.settings.auth and not options.anonymous then
    argv[#argv + 1] = "--user"
    argv[#argv + 1] = options.user or "root:" .. self.root_password
  end
  for _, value in ipairs(args) do argv[#argv + 1] = tostring(value) end
  return argv
end

local ctl_env = { ETCDCTL_API = "3" }

-- Runs etcdctl and returns what it printed; nil and its complaint when it failed.
-- options: timeout, input, node (ask this member only), user ("name:password"), anonymous.
function server:etcdctl(args, options)
  options = options or {}
  local code, out, err = rig.run(ctl_argv(self, args, options),
    { timeout = options.timeout or 10, input = options.input, env = ctl_env })
  if code == 0 then return out end
  return nil, (code and err or "timeout") .. tostring(out)
end

-- Starts an etcdctl that runs on (lock, elect, watch): the process, to read lines from and to stop.
function server:etcdctl_start(args, options)
  return rig.start(ctl_argv(self, args, options or {}), { merge = true, env = ctl_env })
end

local function leading(self, i)
  local out = self:etcdctl({ "endpoint", "status", "-w", "json" }, { node = i, timeout = 2 })
  local leader, member = (out or ""):match '"leader":(%d+)', (out or ""):match '"member_id":(%d+)'
  return leader ~= nil and leader == member
end

-- The number of the member that leads, waiting for an election if need be; nil when none does within `timeout` (10 s).
function server:leader(timeout)
  local limit = os.time() + (timeout or 10)
  repeat
    for i = 1, #self.nodes do
      if self.nodes[i].process:alive() and leading(self, i) then return i end
    end
  until os.time() >= limit
  return nil
end

return etcd
