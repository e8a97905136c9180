-- waiting.lua: waiting for operations in the way of the client's runtime adapter: parked in a waiter, or blocking in
-- the core, in slices so short that Ctrl-C and callbacks get their chance.

local cancel_module = require "dsync.cancel"
local dispatch = require "dsync.dispatch"
local errors = require "dsync.errors"
local guard = require "dsync.guard"

local error, pcall, select = error, pcall, select

local waiting = {}

local SLICE = 0.1 -- longest single wait in the core: how late a signal's Lua hook can run
local CANCELLED = cancel_module.MESSAGE

local OPEN_ENDED = { acquire = true, revoked = true } -- may take as long as others please
local KEPT = { release = true, close_start = true } -- ending dsync.run does not cancel them

--- Whether a wait uses a waiter of the adapter (else it blocks in the core).
function waiting.parks(client)
  local adapter = client._adapter
  return not adapter.parks or adapter.parks()
end

-- Waits in the core, driving the client on this very thread. False when callbacks have begun to wait meanwhile, so that
-- the scheduler has to turn.
local function block(client, op, guarded)
  while not op:wait(SLICE) do
    dispatch.pump(client)
    dispatch.settle(client)
    guard.look(guarded)
    if waiting.parks(client) then
      return false
    end
  end
  return true
end

local function park(client, op, waiter)
  local wanted, message, code = dispatch.want(client)
  if not wanted then
    op:cancel()
    if select(3, op:result()) ~= "cancelled" then
      return true -- it had ended meanwhile
    end
    return nil, message, code
  end
  local number = op:number()
  client._waiters[number] = waiter
  op:notify()
  while not op:done() do
    waiter:wait()
  end
  client._waiters[number] = nil
  if not client._closed then
    dispatch.unwant(client)
  end
  return true
end

local function wait_for(client, op, cancel, method)
  local hook, waiter, why
  local kept = KEPT[method]
  local function stop()
    op:cancel()
    if waiter then
      waiter:wake()
    end
  end
  if cancel then
    hook = stop
    cancel:add_hook(hook)
  end
  local guarded = not kept and guard.waits(stop) or nil
  local blocked, ended = true, nil
  if not waiting.parks(client) then
    -- An error can only be the host's own (Ctrl-C raises from a hook): nothing of the operation must outlive it.
    blocked, ended = pcall(block, client, op, guarded)
    if not blocked and not kept then
      op:cancel()
    end
  end
  local parked, message, code = true, nil, nil
  if blocked and not ended then
    waiter = client._adapter.waiter()
    waiter.open_ended = OPEN_ENDED[method]
    waiter.interrupt = not kept and function(_, reason, reason_code)
      why = reason_code and { reason, reason_code }
      stop()
    end or nil
    parked, message, code = park(client, op, waiter)
  end
  if parked and why and select(3, op:result()) == "cancelled" then
    parked, message, code = nil, why[1], why[2]
  end
  if hook then
    cancel:remove_hook(hook)
  end
  guard.waited(guarded, stop)
  if not blocked then
    error(ended, 0)
  end
  return parked, message, code
end

--- Waits until `op`, begun by `method`, has ended. True, or nil, message, code.
function waiting.await(client, op, cancel, method)
  if not op:done() then
    local ok, message, code = wait_for(client, op, cancel, method)
    if not ok then
      return nil, message, code
    end
  end
  if not client._closed then
    dispatch.pump(client)
    dispatch.settle(client)
  end
  return op:result()
end

--- Begins an operation, object:method(...), and waits for it. The ended operation, for its results (the caller frees
--- it), or nil, message, code. A programming error that only the core could see is raised.
function waiting.call(client, cancel, object, method, ...)
  if cancel and cancel:cancelled() then
    return nil, CANCELLED, "cancelled"
  end
  local can, message, code = client._adapter.can_wait(OPEN_ENDED[method])
  if not can then
    return nil, message, code
  end
  local op
  op, message, code = object[method](object, ...)
  if op then
    can, message, code = waiting.await(client, op, cancel, method)
    if can then
      return op
    end
    op:free()
  end
  if code == "invalid" then
    errors.raise(method .. ": " .. message)
  end
  return nil, message, code
end

--- As call, for operations whose success is all there is to know: true, or nil, message, code.
function waiting.perform(client, cancel, object, method, ...)
  local op, message, code = waiting.call(client, cancel, object, method, ...)
  if not op then
    return nil, message, code
  end
  op:free()
  return true
end

-- Waits on `waiter` for at most `seconds`: true, or nil, message, "cancelled".
local function wait_on(waiter, seconds, cancel)
  local function hook()
    waiter:wake()
  end
  if cancel then
    cancel:add_hook(hook)
  end
  waiter.open_ended = true
  waiter.interrupt = hook
  local guarded = guard.waits(hook)
  waiter:wait(seconds)
  guard.waited(guarded, hook)
  if cancel then
    cancel:remove_hook(hook)
    if cancel:cancelled() then
      return nil, CANCELLED, "cancelled"
    end
  end
  return true
end

--- Waits `seconds`, or until cancelled: true, or nil, message, "cancelled".
function waiting.pause(client, seconds, cancel)
  return wait_on(client._adapter.waiter(), seconds, cancel)
end

--- Waits until an event of the client was taken, at most `seconds`: true, or nil, message, "cancelled".
function waiting.idle(client, seconds, cancel)
  local waiter = client._adapter.waiter()
  client._idle[waiter] = true
  local ok, message, code = wait_on(waiter, seconds, cancel)
  client._idle[waiter] = nil
  return ok, message, code
end

return waiting
