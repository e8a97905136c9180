-- adapter.lua: how dsync waits inside the loop of host.c. The interface is described in dsync/runtime.lua.
--
-- A coroutine that waits parks in a waiter; whoever wakes the waiter, or the loop when the time is over, resumes it.

local protect = require "dsync.protect"

local host = _G.host
local adapter = { name = "host", now = host.now }
local parked = {} -- waiters with a coroutine in them, which nobody else might keep

local function resume(co, ...)
  local ok, message = coroutine.resume(co, ...)
  if not ok then
    io.stderr:write(debug.traceback(co, message), "\n")
  end
end

-- The running coroutine, as the loop has to resume it; nil in the main program, which cannot wait.
local function current()
  local co, is_main = coroutine.running()
  return co and not is_main and protect.outermost(co) or nil
end

function adapter.can_wait()
  if current() then
    return true
  end
  return nil, "the main program cannot wait: use it in a coroutine that adapter.spawn() began", "phase"
end

local Waiter = {}
Waiter.__index = Waiter

function Waiter:wait(timeout)
  if not self.woken then
    local co = current()
    local timer
    if timeout then
      timer = host.after(timeout, function()
        timer = nil
        if parked[self] == co then
          parked[self] = nil
          resume(co)
        end
      end)
    end
    parked[self] = co
    coroutine.yield()
    if timer then
      host.forget(timer)
    end
  end
  local woken = self.woken
  self.woken = false
  return woken
end

function Waiter:wake()
  local co = parked[self]
  self.woken = true
  if co then
    parked[self] = nil
    host.after(0, function()
      resume(co)
    end)
  end
end

function adapter.waiter()
  return setmetatable({ woken = false }, Waiter)
end

function adapter.spawn(fn, ...)
  local count, arguments = select("#", ...), { ... }
  host.after(0, function()
    resume(coroutine.create(fn), (table.unpack or unpack)(arguments, 1, count)) -- luacheck: globals unpack
  end)
end

function adapter.attach(get_fd, on_readable)
  local fd, message, code = get_fd()
  if not fd then
    return nil, message, code
  end
  local handle = {}
  local watch = host.watch(fd, function()
    if on_readable() == false then
      handle:close()
    end
  end)
  function handle.close()
    if watch then
      host.forget(watch)
      watch = nil
    end
  end
  return handle
end

return adapter
