-- ngx.lua: the adapter for nginx with the Lua module, and OpenResty.
--
-- A waiter parks on a semaphore, which may be posted from any other request of the worker. What posts them, and the end
-- of the worker, is ngx_pump.lua's business.

local core = require "dsync.core"
local pump = require "dsync.runtime.ngx_pump"
local semaphore = require "ngx.semaphore"

local error, pairs, setmetatable = error, pairs, setmetatable
local max, min = math.max, math.min
local ngx = require "ngx"
local now = core.now

local adapter = { name = "ngx", now = now, spawn = pump.spawn, attach = pump.attach, opened = pump.opened }

local SLICE = 1 -- longest single wait: how late a worker that shuts down is noticed at the latest

-- Where nginx lets Lua wait.
local WAITS = {
  rewrite = true, server_rewrite = true, access = true, content = true, timer = true, preread = true,
  ssl_cert = true, ssl_session_fetch = true, ssl_client_hello = true,
}

local EXITING = "this worker of nginx is shutting down"

--- nil, message, "phase" where nginx cannot wait; nil, message, "exiting" for open-ended waits in a worker that ends.
function adapter.can_wait(open_ended)
  local phase = ngx.get_phase()
  if not WAITS[phase] then
    return nil, 'nginx cannot wait in the phase "' .. phase .. '": do it from a timer, '
      .. "ngx.timer.at(0, function() ... end), or in the phases rewrite, access or content", "phase"
  elseif open_ended and pump.is_exiting() then
    return nil, EXITING, "exiting"
  end
  return true
end

--- A client has a thread, and workers are forked after "init": it would exist in none of them.
function adapter.can_open()
  if ngx.get_phase() == "init" then
    return nil, 'a client cannot be opened in the phase "init", before the workers are forked: open it at its first '
      .. "use, or in init_worker_by_lua", "phase"
  elseif pump.is_exiting() then
    return nil, EXITING, "exiting"
  end
  return true
end

------------------------------------------------------------------------------------------------------------- waiters

local Waiter = {}
Waiter.__index = Waiter

-- Ends an open-ended wait, once.
local function interrupt(waiter)
  if waiter.open_ended and waiter.interrupt and not waiter.interrupted then
    waiter.interrupted = true
    waiter:interrupt(EXITING, "exiting")
  end
end

local parked = setmetatable({}, { __mode = "k" }) -- a request that is aborted never takes its waiter out

function pump.on_exit()
  local list = {}
  for waiter in pairs(parked) do
    list[#list + 1] = waiter
  end
  for i = 1, #list do
    interrupt(list[i])
  end
end

-- True, or false when the time is over.
local function wait_slice(waiter, deadline)
  local left = deadline and deadline - now() or SLICE
  if left <= 0 then
    return false
  end
  local ok, problem = waiter.semaphore:wait(min(max(left, 0.001), SLICE))
  if not ok and problem ~= "timeout" then
    error("cannot wait: " .. problem, 0)
  elseif not waiter.woken and pump.is_exiting() then
    interrupt(waiter)
  end
  return true
end

function Waiter:wait(timeout)
  local deadline = timeout and now() + timeout
  parked[self] = true
  repeat until self.woken or not wait_slice(self, deadline)
  parked[self] = nil
  local woken = self.woken
  self.woken = false
  return woken
end

function Waiter:wake()
  if not self.woken then
    self.woken = true
    if parked[self] then
      self.semaphore:post(1)
    end
  end
end

function adapter.waiter()
  return setmetatable({ woken = false, semaphore = semaphore.new(0) }, Waiter)
end

return adapter
