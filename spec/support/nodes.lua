-- What the servers of tests have in common, whatever their kind: finding their programs, and members that are paused,
-- killed and started again. Knows no server by name.
--
-- A kind gives its servers the methods below (nodes.inherit) and two of its own: argv(i), the command line of member i,
-- and await(i), which waits until that member serves and returns true, or nil and why not. self.nodes[i] has `log`, the
-- path of a file, and gets `process`.

local rig = require "spec.support.rig"

local nodes = {}

-- ---- programs -------------------------------------------------------------------------------------------------------

local function cache()
  local base = os.getenv "XDG_CACHE_HOME"
  if not base or base == "" then base = (os.getenv "HOME" or "/tmp") .. "/.cache" end
  return base .. "/dsync"
end

local found = {}

local function version_of(program, pattern)
  local file = io.open(program, "rb")
  if not file then return nil end
  file:close()
  local code, out = rig.run { program, "--version" }
  return code == 0 and out:match(pattern) or nil
end

-- The folder that holds this version ("3.4") of a program; nil when there is none on this machine. `pattern` captures
-- the version in what the program says of itself.
function nodes.find(name, version, pattern)
  local key = name .. "-" .. version
  if found[key] == nil then
    found[key] = false
    for _, folder in ipairs { cache() .. "/" .. key .. "/usr/bin", "/usr/bin", "/usr/local/bin" } do
      if version_of(folder .. "/" .. name, pattern) == version then
        found[key] = folder
        break
      end
    end
  end
  return found[key] or nil
end

function nodes.list_of(count, make)
  local list = {}
  for i = 1, count do list[i] = make(i) end
  return list
end

-- ---- methods --------------------------------------------------------------------------------------------------------

local methods = {}

function methods:launch(i)
  local node = self.nodes[i]
  node.process = rig.start(self:argv(i), { merge = true, log = node.log })
end

-- Starts every member and waits for all; nil and why not, with none left running.
function methods:launch_all()
  for i = 1, #self.nodes do self:launch(i) end
  for i = 1, #self.nodes do
    local ok, why = self:await(i)
    if not ok then
      self:stop()
      return nil, why
    end
  end
  return true
end

function methods:pid(node)
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
function methods:pause(node)
  for _, n in ipairs(chosen(self, node)) do n.process:signal "STOP" end
end

function methods:resume(node)
  for _, n in ipairs(chosen(self, node)) do n.process:signal "CONT" end
end

-- Kills (signal "KILL" by default) and waits for the end.
function methods:kill(signal, node)
  for _, n in ipairs(chosen(self, node)) do n.process:signal(signal or "KILL") end
  for _, n in ipairs(chosen(self, node)) do
    n.process:wait(10)
    n.process:stop(0)
  end
end

-- Starts killed members again on their old data and waits (options.wait = false: does not) until they serve.
function methods:restart(node, options)
  for i = 1, #self.nodes do
    if not node or node == i then
      if self.nodes[i].process:alive() then self:kill("TERM", i) end
      self:launch(i)
    end
  end
  if options and options.wait == false then return end
  for i = 1, #self.nodes do
    if not node or node == i then assert(self:await(i)) end
  end
end

-- Log of a member, for failure messages.
function methods:log(node)
  return rig.read(self.nodes[node or 1].log) or ""
end

function methods:stop()
  for _, node in ipairs(self.nodes or {}) do
    if node.process then node.process:stop(2) end
  end
end

function nodes.inherit(kind)
  for name, method in pairs(methods) do kind[name] = kind[name] or method end
end

return nodes
