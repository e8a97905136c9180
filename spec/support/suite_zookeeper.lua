-- For specs about ZooKeeper itself: servers of their own, a kazoo beside them, and a proxy that mistreats.
--
--   local bench = require("spec.support.suite_zookeeper").bench { nodes = 3 }
--   setup(bench.start)
--   teardown(bench.stop)
--   after_each(suite.cleanup)
--   ... bench.kazoo:ask "children /x"; bench.children(lock:key())

local rig = require "spec.support.rig"
local suite = require "spec.support.suite"
local zookeeper = require "spec.support.zookeeper"

local tools = {}

local peer = {}
peer.__index = peer

-- A kazoo client in a process of its own.
function tools.kazoo(hosts, digest)
  local process = rig.start({ "/usr/bin/python3", "spec/support/kazoo_peer.py", hosts, digest }, { merge = true })
  assert(process:expect("^ready", 60))
  return setmetatable({ process = process, heard = {} }, peer)
end

function peer:line(timeout)
  return self.process:line(timeout or 0)
end

-- What it answers: the text behind "ok"; nil and the error. What its locks say meanwhile is kept for expect().
function peer:ask(command)
  self.process:write(command .. "\n")
  local limit = suite.now() + suite.patience
  while suite.now() < limit do
    local line = self.process:line(1)
    local verdict, rest = (line or ""):match "^(%a+) ?(.*)$"
    if verdict == "ok" then return rest end
    if verdict == "error" then return nil, rest end
    if line then self.heard[#self.heard + 1] = line end
  end
  error("kazoo does not answer: " .. command)
end

-- Has it said this line? Other coroutines go on meanwhile.
function peer:said(wanted)
  local line = self.process:line(0)
  while line do
    self.heard[#self.heard + 1] = line
    line = self.process:line(0)
  end
  for i, heard in ipairs(self.heard) do
    if heard == wanted then
      table.remove(self.heard, i)
      return true
    end
  end
  return false
end

function peer:expect(wanted)
  suite.eventually(wanted .. " from kazoo", function() return self:said(wanted) end)
end

function peer:stop()
  self.process:stop(1)
end

-- A proxy before one server: proxy:tell "lose 15 1"; how many requests the rules have met.
function tools.proxy(port)
  local process = rig.start({ "/usr/bin/python3", "spec/support/zookeeper_proxy.py", tostring(port) }, { merge = true })
  local _, own = process:expect("^port (%d+)", 30)
  local proxy = { port = tonumber(own) }
  function proxy.tell(_, rule)
    process:write(rule .. "\n")
    local _, met = process:expect("^ok (%d+)", 30)
    return tonumber(met)
  end
  function proxy.stop() process:stop(1) end
  return proxy
end

-- Servers for the tests of one block; suite.open() means them between start() and stop().
function tools.bench(settings)
  local bench = {}

  function bench.start()
    bench.server = assert(zookeeper.start(settings))
    suite.use(bench.server.url, bench.server.options)
    bench.kazoo = tools.kazoo(table.concat(bench.server.endpoints, ","))
  end

  function bench.stop()
    suite.use()
    if bench.kazoo then bench.kazoo:stop() end
    if bench.server then bench.server:stop() end
  end

  -- The names of the nodes below a path, as kazoo lists them.
  function bench.children(path)
    local list, text = {}, bench.kazoo:ask("children " .. (path:match "^/" and path or "/" .. path))
    for name in (text or ""):gmatch "%S+" do list[#list + 1] = name end
    return list
  end

  function bench.entries(path, count)
    suite.eventually(count .. " entries", function() return #bench.children(path) == count end)
  end

  -- Under a folder of the test's own, because paths are absolute.
  function bench.path(stem)
    return "/" .. suite.prefix() .. "/" .. (stem or "native")
  end

  return bench
end

function tools.median(list)
  table.sort(list)
  return list[math.floor((#list + 1) / 2)]
end

return tools
