-- dispatch.lua: from a client's events to the waiters and callbacks they are for.
--
-- The core says "operation 17 ended", "lock 3 was lost", "watcher 5 has news". Here waiters are woken and callbacks are
-- put into coroutines of their own. Fields used of a client: _core, _adapter, _waiters, _watchers, _slots, _idle,
-- _wanted, _handle, _closed, _on_event.

local protect = require "dsync.protect"

local io, ipairs, pairs = io, ipairs, pairs
local setmetatable, tostring = setmetatable, tostring

local dispatch = {}

----------------------------------------------------------------------------------------------------------- callbacks

local function to_stderr(message)
  io.stderr:write("dsync: ", message, "\n")
end

local function run_on_event(on_event, event)
  local ok, message = protect.call(on_event, event)
  if not ok then
    to_stderr("error in on_event: " .. tostring(message))
  end
end

--- Hands an event to the client's on_event function, in a coroutine of its own. Whether there is one.
function dispatch.emit(client, event)
  local on_event = client._on_event
  if on_event then
    client._adapter.spawn(run_on_event, on_event, event)
    return true
  end
  return false
end

--- Says that a callback failed: to on_event, else to stderr. Nothing else must suffer from it.
function dispatch.report(client, where, failure)
  local message = "error in " .. where .. ": " .. tostring(failure)
  if not dispatch.emit(client, { type = "error", message = message }) then
    to_stderr(message)
  end
end

local function run_callback(client, where, fn, ...)
  local ok, failure = protect.call(fn, ...)
  if not ok then
    dispatch.report(client, where, failure)
  end
end

--- Runs a callback in a coroutine of its own; its error is reported and goes no further.
function dispatch.callback(client, where, fn, ...)
  client._adapter.spawn(run_callback, client, where, fn, ...)
end

--- Lets callbacks that were spawned run at once where the runtime can do that.
function dispatch.settle(client)
  local settle = client._adapter.settle
  if settle then
    settle()
  end
end

-------------------------------------------------------------------------------------------------------------- events

local handlers = {}

function handlers.done(client, number)
  local waiter = client._waiters[number]
  if waiter then
    waiter:wake()
  end
end

function handlers.watch(client, number)
  local watcher = client._watchers[number]
  if watcher then
    watcher:_wake()
  end
end

function handlers.revoked(client, number, reason, acquisition)
  local slot = client._slots[number]
  if slot then
    slot:fire(acquisition, reason)
  end
end

function handlers.notice(client, name, message)
  dispatch.emit(client, { type = name, message = message })
end

local function take(client, kind, ...)
  if kind then
    handlers[kind](client, ...)
    return true
  end
  return false
end

local function tell_collected(client, count, name)
  if count then
    local others = count > 1 and " (and " .. (count - 1) .. " more)" or ""
    local message = 'lock "' .. name .. '"' .. others .. " was collected as garbage while it was held: it is being "
      .. "released in the background; keep a reference to a lock for as long as you need it"
    dispatch.emit(client, { type = "collected", message = message })
  end
end

--- Takes every event that is there and starts what it is for. How many there were.
function dispatch.pump(client)
  local core, count = client._core, 0
  while take(client, core:next_event()) do
    count = count + 1
  end
  tell_collected(client, core:collected())
  if count > 0 then
    client._dispatched = (client._dispatched or 0) + count
    for waiter in pairs(client._idle) do
      waiter:wake()
    end
  end
  return count
end

-- The adapter must not keep a client alive that the program has dropped.
local function reader_of(client)
  local weak = setmetatable({ client }, { __mode = "v" })
  return function()
    local one = weak[1]
    if not one then
      return false
    end
    dispatch.pump(one)
  end
end

--- Somebody wants this client's events while the program is elsewhere: attaches its descriptor to the runtime. True, or
--- nil, message, code. Each want needs its unwant.
function dispatch.want(client)
  local present = client._handle
  if present and present.follow then
    present:follow()
  elseif not present and not client._closed then
    local core = client._core
    local handle, message, code = client._adapter.attach(function()
      return core:fd()
    end, reader_of(client), core)
    if not handle then
      return nil, message, code
    end
    client._handle = handle
  end
  client._wanted = client._wanted + 1
  return true
end

function dispatch.unwant(client)
  client._wanted = client._wanted - 1
  if client._wanted <= 0 then
    dispatch.detach(client)
  end
end

function dispatch.detach(client)
  client._wanted = 0
  local handle = client._handle
  if handle then
    client._handle = nil
    handle:close()
  end
end

--- Wakes everybody who waits on this client, so that they look again.
function dispatch.wake_all(client)
  for _, list in ipairs { client._waiters, client._watchers } do
    for _, one in pairs(list) do
      (one.wake or one._wake)(one)
    end
  end
end

return dispatch
