-- revoke.lua: the on_revoked callbacks of one lock or candidate: each belongs to one acquisition and runs at most once.
--
-- A slot lives in the lock's object; the client refers to it weakly by the lock's number.

local dispatch = require "dsync.dispatch"

local setmetatable = setmetatable

local revoke = {}

local Slot = {}
Slot.__index = Slot

local function where_of(object)
  return "on_revoked of " .. object._what .. ' "' .. object:name() .. '"'
end

local function call(self, object, fn, reason)
  dispatch.callback(self.client, where_of(object), fn, object, reason)
end

local function settle(self, kept)
  self.callbacks = kept
  if #kept == 0 and self.wanting then
    self.wanting = nil
    if not self.client._closed then
      dispatch.unwant(self.client)
    end
  end
end

--- fn(object, reason) when the acquisition with this number is lost.
function Slot:add(object, acquisition, fn)
  self.callbacks[#self.callbacks + 1] = { object = object, acquisition = acquisition, fn = fn }
  if not self.wanting then
    -- Without a descriptor the callbacks still run, in the program's next call.
    self.wanting = dispatch.want(self.client)
  end
end

--- `fn` is not wanted any more.
function Slot:remove(fn)
  local kept = {}
  for i = 1, #self.callbacks do
    if self.callbacks[i].fn ~= fn then
      kept[#kept + 1] = self.callbacks[i]
    end
  end
  settle(self, kept)
end

--- Runs fn(object, reason) now.
function Slot:call(object, fn, reason)
  call(self, object, fn, reason)
  dispatch.settle(self.client)
end

local function take(self, acquisition)
  local kept, taken = {}, {}
  for i = 1, #self.callbacks do
    local callback = self.callbacks[i]
    local list = callback.acquisition == acquisition and taken or kept
    list[#list + 1] = callback
  end
  settle(self, kept)
  return taken
end

--- The acquisition was lost: everybody who asked is told.
function Slot:fire(acquisition, reason)
  local taken = take(self, acquisition)
  for i = 1, #taken do
    call(self, taken[i].object, taken[i].fn, reason)
  end
end

--- The acquisition ended in order: nobody is told.
function Slot:drop(acquisition)
  if #self.callbacks > 0 then
    take(self, acquisition)
  end
end

--- The acquisition was given up, however that ended: nobody is told any more. Whoever was to hear of a loss from before
-- will hear of it, or has.
function Slot:released(core, acquisition)
  if core:acquisition() ~= acquisition or not core:lost_reason() then
    self:drop(acquisition)
  end
end

function revoke.new(client, core)
  local slot = setmetatable({ client = client, callbacks = {} }, Slot)
  client._slots[core:number()] = slot
  return slot
end

return revoke
