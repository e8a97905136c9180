-- guard.lua: lock:guard(fn, ...): runs fn, and stops it when the lock is lost.
--
-- guard.c interrupts what is busy; here waits of dsync inside fn are ended, and results and errors sorted out. A frame
-- is one guard under way; frames of one coroutine are chained by `outer`.

local errors = require "dsync.errors"
local protect = require "dsync.protect"

local coroutine, error, pairs, rawequal, rawget, setmetatable, type =
  coroutine, error, pairs, rawequal, rawget, setmetatable, type

local guard = {}

local SHARED_HOOK = type(rawget(_G, "jit")) == "table" -- LuaJIT has one debug hook for all coroutines
-- Where the hook raises nothing: in all of dsync, or, in a program that has renamed its files, at least in this one.
local OWN = errors.own or debug.getinfo(1, "S").source
local MAIN = {} -- stands for the main program, which is no coroutine in Lua 5.1

-- Coroutine -> its innermost frame, which refers to the coroutine and is kept by its stack.
local frames = setmetatable({}, { __mode = "kv" })

local function innermost()
  local co = coroutine.running() or MAIN
  while co do
    if frames[co] then
      return frames[co]
    end
    co = protect.outer(co)
  end
end

------------------------------------------------------------------------------------------------------------- waiting

--- A wait begins: stop() is called if a lock whose guard runs this coroutine is lost. Returns what waited() takes.
function guard.waits(stop)
  local frame = innermost()
  local inner = frame
  while frame do
    frame.stops[stop] = true
    frame = frame.outer
  end
  return inner
end

--- The wait is over.
function guard.waited(frame, stop)
  while frame do
    frame.stops[stop] = nil
    frame = frame.outer
  end
end

-- The event of the loss was taken: waits end, so that fn comes to the hook.
local function interrupt(frame)
  if frame.told or frame.over then
    return
  end
  frame.told = true
  frame.core:arm()
  local stops = frame.stops
  frame.stops = {}
  for stop in pairs(stops) do
    stop()
  end
end

--- lock:check raises the error of the loss itself: the hook of a guard around it has no need to, and the grace begins.
function guard.raised(object)
  local frame = innermost()
  while frame do
    if rawequal(frame.object, object) then
      frame.core:raised()
    end
    frame = frame.outer
  end
end

--- For waits that block, during which the event of another client's loss would not be taken: looks for losses.
function guard.look(frame)
  while frame do
    if frame.core:lost() then
      interrupt(frame)
    end
    frame = frame.outer
  end
end

--------------------------------------------------------------------------------------------------------------- running

local function finish(frame, lost, ok, ...)
  local self = frame.object
  local co = coroutine.running() or MAIN
  frame.over = true
  if frames[co] == frame then
    frames[co] = frame.before
  end
  self._slot:remove(frame.on_lost)
  if not ok then
    local failure = ...
    if errors.is_lost(failure) and rawequal(failure.lock, self) then
      return nil, failure.message, "lost"
    end
    error(failure, 0)
  end
  local reason, message = self:_loss()
  if lost or (reason and self:_acq() == frame.acquisition) then
    return nil, message .. " before the function returned: somebody else may have held it meanwhile", "lost"
  end
  return ...
end

-- The order of results of a call that was not made by guard.c.
local function over(frame, ...)
  return finish(frame, frame.core:finish(), ...)
end

local function enter(frame, fn)
  return function(...)
    local co = coroutine.running() or MAIN
    frame.before = frames[co]
    frames[co] = frame
    return fn(...)
  end
end

--- Runs fn(...): its results, or nil, message, code when the lock was lost before it returned, or was not held at all.
--- Raises fn's own errors.
function guard.run(self, fn, ...)
  local acquisition = self:_acq()
  local frame = { object = self, acquisition = acquisition, stops = {}, outer = innermost() }
  local function make_error()
    local reason, message = self:_loss()
    return errors.failure(message, "lost", self, reason)
  end
  local one, message, code = self._core:guard(make_error, OWN, SHARED_HOOK)
  if not one then
    return nil, message, code
  end
  frame.core = one
  function frame.on_lost()
    interrupt(frame)
  end
  self._slot:add(self, acquisition, frame.on_lost)
  if one.call then
    return finish(frame, one:call(protect.traceback, enter(frame, fn), ...))
  end
  return over(frame, protect.call(enter(frame, fn), ...))
end

return guard
