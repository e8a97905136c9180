-- Real ZooKeeper servers for tests: one or an ensemble of three, on free loopback ports, data in memory where possible.
--
--   local server = zookeeper.start { nodes = 3, tick = 500 }
--   dsync.open(server.url, server.options)
--   server:ask("mntr")
--   server:pause(2); server:resume(2); server:kill("KILL", 1); server:restart(1); server:stop()
--
-- Ends with the Lua process at the latest.

local rig = require "spec.support.rig"

local zookeeper = {}

local server = {} -- methods of what zookeeper.start returns
server.__index = server

local JAR = "/usr/share/java/zookeeper.jar"

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- Is there a ZooKeeper on this machine?
function zookeeper.find()
  return exists(JAR) and rig.run { "sh", "-c", "command -v java" } == 0
end

-- ---- starting -------------------------------------------------------------------------------------------------------

local function config_of(self, i)
  local node, settings = self.nodes[i], self.settings
  local lines = {
    "tickTime=" .. (settings.tick or 500), "initLimit=20", "syncLimit=10",
    "dataDir=" .. node.data, "clientPort=" .. node.port, "clientPortAddress=127.0.0.1",
    "minSessionTimeout=1000", "maxSessionTimeout=60000", "maxClientCnxns=0", "admin.enableServer=false",
    "4lw.commands.whitelist=*",
  }
  if #self.nodes > 1 then
    for n, other in ipairs(self.nodes) do
      lines[#lines + 1] = ("server.%d=127.0.0.1:%d:%d"):format(n, other.peer, other.election)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

-- A small heap, and no compiler that outlasts the test. Nothing is synced to disk: no test cuts the power.
local function argv_of(self, i)
  return {
    "java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no",
    "-Dzookeeper.container.checkIntervalMs=" .. (self.settings.container_check or 60000),
    "-Djava.net.preferIPv4Stack=true", "-cp", JAR .. ":/usr/share/java/slf4j-simple.jar",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "org.apache.zookeeper.server.quorum.QuorumPeerMain", self.nodes[i].config,
  }
end

local function launch(self, i)
  self.nodes[i].process = rig.start(argv_of(self, i), { merge = true, log = self.nodes[i].log })
end

local ASK = [[
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)
s.settimeout(2)
s.sendall(sys.argv[2].encode())
while True:
    data = s.recv(65536)
    if not data: break
    sys.stdout.write(data.decode())
]]

-- What a server says to one of the four-letter words; nil when it says nothing.
function server:ask(word, node)
  local code, out = rig.run({ "python3", "-c", ASK, self.nodes[node or 1].port, word }, { timeout = 5 })
  return code == 0 and out ~= "" and out or nil
end

local function mode(self, i)
  return (self:ask("srvr", i) or ""):match "Mode: (%a+)"
end

local function await(self, i, timeout)
  local limit = os.time() + (timeout or 60)
  while not mode(self, i) do
    if os.time() > limit or not self.nodes[i].process:alive() then
      return nil, "ZooKeeper did not start:\n" .. (rig.read(self.nodes[i].log) or "")
    end
    rig.run({ "sleep", "0.1" })
  end
  return true
end

local function lay_out(self)
  local count = self.settings.nodes or 1
  local ports = rig.ports(3 * count)
  local folder = rig.tempdir(true)
  self.nodes, self.endpoints = {}, {}
  for i = 1, count do
    local node = { port = ports[i], peer = ports[count + i], election = ports[2 * count + i] }
    node.data, node.log, node.config = folder .. "/n" .. i, folder .. "/n" .. i .. ".log", folder .. "/n" .. i .. ".cfg"
    node.endpoint = "127.0.0.1:" .. node.port
    self.nodes[i], self.endpoints[i] = node, node.endpoint
  end
  for i, node in ipairs(self.nodes) do
    assert(rig.run { "mkdir", "-p", node.data } == 0)
    rig.write(node.data .. "/myid", i .. "\n")
    rig.write(node.config, config_of(self, i))
  end
  self.url = "zookeeper://" .. table.concat(self.endpoints, ",")
  self.http = "" -- it has none
end

-- One try; a port may have been taken meanwhile, hence the caller's second one.
local function try(self)
  lay_out(self)
  for i = 1, #self.nodes do launch(self, i) end
  for i = 1, #self.nodes do
    local ok, why = await(self, i)
    if not ok then
      self:stop()
      return nil, why
    end
  end
  return true
end

-- settings: nodes, tick (ms), container_check (ms). nil and a message: there is no ZooKeeper on this machine.
function zookeeper.start(settings)
  if not zookeeper.find() then return nil, "no ZooKeeper on this machine" end
  local self = setmetatable({ version = "", settings = settings or {}, options = {} }, server)
  local ok, why = try(self)
  if not ok then ok, why = try(self) end
  if not ok then error(why, 2) end
  return self
end

-- ---- using ----------------------------------------------------------------------------------------------------------

function server:pid(node)
  return self.nodes[node or 1].process.pid
end

local function chosen(self, node)
  local list = {}
  for i = 1, #self.nodes do
    if not node or node == i then list[#list + 1] = self.nodes[i] end
  end
  return list
end

-- Without `node`: every member.
function server:pause(node)
  for _, n in ipairs(chosen(self, node)) do n.process:signal "STOP" end
end

function server:resume(node)
  for _, n in ipairs(chosen(self, node)) do n.process:signal "CONT" end
end

-- Kills (signal "KILL" by default) and waits for the end.
function server:kill(signal, node)
  for _, n in ipairs(chosen(self, node)) do n.process:signal(signal or "KILL") end
  for _, n in ipairs(chosen(self, node)) do
    n.process:wait(10)
    n.process:stop(0)
  end
end

-- Starts killed members again on their old data and waits (options.wait = false: does not) until they serve.
function server:restart(node, options)
  for i = 1, #self.nodes do
    if not node or node == i then
      if self.nodes[i].process:alive() then self:kill("TERM", i) end
      launch(self, i)
    end
  end
  if options and options.wait == false then return end
  for i = 1, #self.nodes do
    if not node or node == i then assert(await(self, i)) end
  end
end

-- The number of the member that leads; nil when none does within `timeout` (10 s).
function server:leader(timeout)
  local limit = os.time() + (timeout or 10)
  repeat
    for i = 1, #self.nodes do
      local said = self.nodes[i].process:alive() and mode(self, i)
      if said == "leader" or said == "standalone" then return i end
    end
  until os.time() >= limit
  return nil
end

-- A number from the server's counters, such as "zk_packets_received".
function server:counter(name, node)
  return tonumber((self:ask("mntr", node) or ""):match(name .. "%s+(%d+)"))
end

-- Log of a member, for failure messages.
function server:log(node)
  return rig.read(self.nodes[node or 1].log) or ""
end

function server:stop()
  for _, node in ipairs(self.nodes or {}) do
    if node.process then node.process:stop(2) end
  end
end

return zookeeper
