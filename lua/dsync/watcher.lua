-- watcher.lua: following elections: `for event in watcher do` or watcher:next([timeout]).

local cancel_module = require "dsync.cancel"
local dispatch = require "dsync.dispatch"
local errors = require "dsync.errors"
local options = require "dsync.options"
local protect = require "dsync.protect"
local waiting = require "dsync.waiting"

local pairs, setmetatable = pairs, setmetatable

local watcher = {}

local SLICE = 0.1

local Watcher = { __name = "dsync.watcher" }
Watcher.__index = Watcher

function Watcher:__tostring()
  return "dsync watcher (" .. (self._closed and "closed" or "open") .. ")"
end

-- Several coroutines may wait for one watcher; whoever looks first gets the change.
function Watcher:_wake()
  for waiter in pairs(self._waiting) do
    waiter:wake()
  end
end

-- Waits in the core for at most `seconds`; lets callbacks run between the slices.
local function block(self, seconds)
  self._core:wait(seconds)
  dispatch.pump(self._client)
  dispatch.settle(self._client)
end

local function park(self, seconds, cancel)
  local client = self._client
  local ok, message, code = dispatch.want(client)
  if not ok then
    return nil, message, code
  end
  local waiter = client._adapter.waiter()
  waiter.open_ended = true
  waiter.interrupt = function(_, _, why)
    if why == "exiting" then
      waiter:wake() -- next() looks again
    else
      self:close()
    end
  end
  self._waiting[waiter] = true
  local function wake()
    waiter:wake()
  end
  if cancel then
    cancel:add_hook(wake)
  end
  waiter:wait(seconds)
  self._waiting[waiter] = nil
  if cancel then
    cancel:remove_hook(wake)
  end
  if not client._closed then
    dispatch.unwant(client)
  end
  return true
end

local function wait(self, deadline, cancel)
  local client = self._client
  local left = deadline and deadline - client._adapter.now()
  if left and left <= 0 then
    return nil, "no change in that time", "timeout"
  elseif waiting.parks(client) then
    return park(self, left, cancel)
  end
  block(self, left and left < SLICE and left or SLICE)
  return true
end

--- The next change, {type, name, namespace, id, value, token, token_string, missed}; nil, message, code ("timeout",
--- "cancelled", "closed", ...).
function Watcher:next(given)
  local timeout, cancel = options.timeout("next", given)
  local client = self._client
  local deadline = timeout and client._adapter.now() + timeout
  local can, message, code
  while true do
    can, message, code = client._adapter.can_wait(true)
    if not can then
      return nil, message, code
    end
    if cancel and cancel:cancelled() then
      return nil, cancel_module.MESSAGE, "cancelled"
    end
    local event
    event, message, code = self._core:next()
    if event then
      return options.decode_value(event)
    elseif event == nil then
      return nil, message, code
    end
    can, message, code = wait(self, deadline, cancel)
    if not can then
      return nil, message, code
    end
  end
end

-- The iterator. Lua 5.1 cannot yield in one.
function Watcher:__call()
  if not protect.pcall_yields and waiting.parks(self._client) then
    local event, message, code = self._core:next()
    if event == false then
      errors.raise("this Lua cannot wait in a for loop inside a coroutine: use `local event = watcher:next()`")
    elseif event == nil then
      return nil, message, code
    end
    return options.decode_value(event)
  end
  return (self:next())
end

--- Ends the watcher: whoever waits on it is told "closed".
function Watcher:close()
  if not self._closed then
    self._closed = true
    self._core:close()
    self:_wake()
  end
  return true
end

function Watcher:__close()
  self:close()
end

function watcher.new(client, namespace, name, key)
  local core, message, code = client._core:watch(namespace, name, key)
  if not core then
    if code == "invalid" then
      errors.raise("watch: " .. message)
    end
    return nil, message, code
  end
  local one = setmetatable({ _client = client, _core = core, _waiting = {}, _closed = false }, Watcher)
  client._watchers[core:number()] = one
  return one
end

return watcher
