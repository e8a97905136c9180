-- cqueues.lua: the adapter for cqueues.
--
-- A client's descriptor is polled by one coroutine in each controller in which somebody waits. Outside of every
-- controller a call behaves as in a plain program.

local condition = require "cqueues.condition"
local core = require "dsync.core"
local cqueues = require "cqueues"
local plain = require "dsync.runtime.plain"
local scheduler = require "dsync.scheduler"

local pairs, select, setmetatable, table = pairs, select, setmetatable, table
local unpack = table.unpack or unpack
local now = core.now

local adapter = { name = "cqueues", now = now }

local LOOK_AGAIN = 5 -- seconds after which a poller asks whether its client is still there

-- The controller whose coroutine is running, unless that is a task of dsync.run.
local function controller()
  return not scheduler.in_task() and cqueues.running() or nil
end

function adapter.can_wait()
  return true
end

function adapter.parks()
  return controller() ~= nil or plain.parks()
end

function adapter.settle()
  if not controller() then
    plain.settle()
  end
end

local spawned = {} -- what shall run, in order: cqueues begins coroutines in an order of its own

local function run_next()
  local task = table.remove(spawned, 1)
  task.fn(unpack(task, 1, task.n))
end

function adapter.spawn(fn, ...)
  local cq = controller()
  if not cq then
    return plain.spawn(fn, ...)
  end
  spawned[#spawned + 1] = { fn = fn, n = select("#", ...), ... }
  cq:wrap(run_next)
end

------------------------------------------------------------------------------------------------------------- waiters

local Waiter = {}
Waiter.__index = Waiter

function Waiter:wait(timeout)
  local deadline = timeout and now() + timeout
  while not self.woken do
    local left = deadline and deadline - now()
    if left and left <= 0 then
      break
    end
    self.condition:wait(left)
  end
  local woken = self.woken
  self.woken = false
  return woken
end

function Waiter:wake()
  self.woken = true
  self.condition:signal()
end

function adapter.waiter()
  if not controller() then
    return plain.waiter()
  end
  return setmetatable({ woken = false, condition = condition.new() }, Waiter)
end

--------------------------------------------------------------------------------------------------------- descriptors

local Handle = {}
Handle.__index = Handle

local function poll_in(cq, handle)
  local source = { pollfd = handle.fd, events = "r" }
  while handle.pollers[cq] do
    cqueues.poll(source, LOOK_AGAIN)
    if handle.pollers[cq] and handle.on_readable() == false then
      handle:close()
    end
  end
end

function Handle:follow()
  local cq = controller()
  if not cq then
    self.plain = self.plain or scheduler.attach(self.fd, self.on_readable)
  elseif not self.pollers[cq] then
    self.pollers[cq] = true
    cq:wrap(poll_in, cq, self)
  end
end

-- Pollers that wait for the descriptor are woken, and cqueues forgets it before it is closed.
function Handle:close()
  for cq in pairs(self.pollers) do
    self.pollers[cq] = nil
    cq:cancel(self.fd)
  end
  if self.plain then
    self.plain.close()
    self.plain = nil
  end
end

function adapter.attach(get_fd, on_readable)
  local fd, message, code = get_fd()
  if not fd then
    return nil, message, code
  end
  local handle = setmetatable({ fd = fd, on_readable = on_readable, pollers = {} }, Handle)
  handle:follow()
  return handle
end

return adapter
