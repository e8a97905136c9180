-- luv.lua: the adapter for luv (libuv).
--
-- A call waits in whatever coroutine it is made and is resumed from the loop. Outside of coroutines it behaves as in a
-- plain program, but not inside a callback of the loop: that cannot yield, and must not block.

local core = require "dsync.core"
local plain = require "dsync.runtime.plain"
local protect = require "dsync.protect"
local scheduler = require "dsync.scheduler"
local uv = require "luv"

local coroutine, error, io, setmetatable, tostring = coroutine, error, io, setmetatable, tostring
local select, unpack = select, table.unpack or unpack
local traceback = debug.traceback
local ceil = math.ceil
local now = core.now

local adapter = { name = "luv", now = now }

-- The running coroutine, if it can yield to the loop.
local function yieldable()
  local co, is_main = coroutine.running()
  if co and not is_main and not scheduler.in_task() then
    return co
  end
end

function adapter.can_wait()
  if uv.loop_mode() and not yieldable() and not scheduler.in_task() then
    return nil, "a callback of the loop cannot wait: call dsync in a coroutine, coroutine.wrap(function() ... end)()",
      "phase"
  end
  return true
end

function adapter.parks()
  return yieldable() ~= nil or plain.parks()
end

function adapter.settle()
  if not uv.loop_mode() and not yieldable() then
    plain.settle()
  end
end

-------------------------------------------------------------------------------------------------- what is to be resumed

local queue = {} -- coroutines, waiters' or new ones
local soon = uv.new_timer() -- one inactive timer does not keep the loop alive
local scheduled = false

local function resume(co, ...)
  local ok, failure = coroutine.resume(co, ...)
  if not ok then
    -- An error that reached libuv would end the process.
    io.stderr:write("dsync: error in a coroutine: ", traceback(co, tostring(failure)), "\n")
  end
end

local function run_queue()
  scheduled = false
  local list = queue
  queue = {}
  for i = 1, #list do
    local waiter = list[i]
    if waiter.co then
      local co = waiter.co
      waiter.co = nil
      resume(co)
    end
  end
end

local function push(waiter)
  queue[#queue + 1] = waiter
  if not scheduled then
    scheduled = true
    soon:start(0, 0, run_queue)
  end
end

function adapter.spawn(fn, ...)
  if not uv.loop_mode() and not yieldable() then
    return plain.spawn(fn, ...)
  end
  local count, arguments = select("#", ...), { ... }
  push {
    co = coroutine.create(function()
      fn(unpack(arguments, 1, count))
    end),
  }
end

------------------------------------------------------------------------------------------------------------- waiters

local Waiter = {}
Waiter.__index = Waiter

local parked = {} -- luacheck: ignore 241 (waiters: nobody else may know their coroutines, which would be collected)

-- Whoever else resumes the coroutine meanwhile does no harm.
local function park(waiter, seconds)
  local timer
  if seconds then
    timer = uv.new_timer()
    uv.update_time() -- timers count from there
    timer:start(ceil(seconds * 1000), 0, function()
      push(waiter)
    end)
  end
  parked[waiter] = true
  waiter.co = protect.outermost(yieldable() or error("no coroutine to wait in", 0))
  repeat
    coroutine.yield()
  until not waiter.co
  parked[waiter] = nil
  if timer then
    timer:stop()
    timer:close()
  end
end

function Waiter:wait(timeout)
  local deadline = timeout and now() + timeout
  while not self.woken do
    local left = deadline and deadline - now()
    if left and left <= 0 then
      break
    end
    park(self, left)
  end
  local woken = self.woken
  self.woken = false
  return woken
end

function Waiter:wake()
  self.woken = true
  if self.co then
    push(self)
  end
end

function adapter.waiter()
  if not yieldable() then
    return plain.waiter()
  end
  return setmetatable({ woken = false }, Waiter)
end

--------------------------------------------------------------------------------------------------------- descriptors

local Handle = {}
Handle.__index = Handle

-- Tasks of dsync.run turn a loop of their own.
function Handle:follow()
  if plain.parks() and not self.plain then
    self.plain = scheduler.attach(self.fd, self.on_readable)
  end
end

-- libuv has to let go of the descriptor before it is closed.
function Handle:close()
  if self.poll then
    self.poll:stop()
    self.poll:close()
    self.poll = nil
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
  local poll
  poll, message = uv.new_poll(fd)
  if not poll then
    return nil, "libuv cannot wait on the client's descriptor: " .. tostring(message), "resource"
  end
  local handle = setmetatable({ fd = fd, on_readable = on_readable, poll = poll }, Handle)
  poll:start("r", function()
    if on_readable() == false then
      handle:close()
    end
    if scheduled then
      soon:stop()
      run_queue()
    end
  end)
  handle:follow()
  return handle
end

return adapter
