-- keep.lua: the loop behind lock:keep and leader:run: gain, be told of the loss, gain again, until stopped.
--
-- Does not know whether it keeps a lock or a leadership: `gain` and `give_up` do.

local cancel = require "dsync.cancel"
local dispatch = require "dsync.dispatch"
local protect = require "dsync.protect"
local waiting = require "dsync.waiting"

local error, setmetatable = error, setmetatable

local keep = {}

local PATIENCE = 1 -- seconds for a callback to notice the loss before people are told that it goes on

local Run = { __name = "dsync.run" }
Run.__index = Run

function Run:__tostring()
  return "dsync run (" .. (self._stopped and "stopped" or "running") .. ")"
end

--- Ends the loop: what is held is given up, and keep() or run() returns true.
function Run:stop()
  self._stopped = true
  self._canceller:cancel()
end

function Run:stopped()
  return self._stopped
end

-- What trying again cannot mend.
local FINAL = {
  denied = true, config = true, unsupported = true, closed = true, forked = true,
  exiting = true, phase = true, already_held = true, cancelled = true,
}

local function notice(spec, kind, message)
  dispatch.emit(spec.client, { type = kind, message = spec.where .. ": " .. message })
end

-- Runs spec.on_gained(object, run) in a coroutine of its own. Its error ends the whole loop.
local function start(spec, object, run)
  local job = { waiter = spec.client._adapter.waiter(), done = spec.on_gained == nil }
  if job.done then
    return job
  end
  spec.client._adapter.spawn(function()
    local ok, failure = protect.call(spec.on_gained, object, run)
    job.done = true
    if not ok and not run._failure then
      run._failure = { failure }
      run:stop()
    end
    job.waiter:wake()
  end)
  dispatch.settle(spec.client)
  return job
end

-- The next acquisition waits until the callback of this one has returned, so that the two never run at once.
local function wait_for_job(spec, job, run)
  if job.done then
    return
  end
  local function wake()
    job.waiter:wake()
  end
  run._canceller:add_hook(wake)
  local told = false
  while not job.done and not run._stopped do
    if not job.waiter:wait(not told and PATIENCE or nil) and not told then
      told = true
      notice(spec, "still_running", "lost, and waiting for the callback to return before it is acquired again")
    end
  end
  run._canceller:remove_hook(wake)
end

local function hold_once(spec, object, run)
  local job = start(spec, object, run)
  local reason, message, code = object:revoked { cancel = run._canceller }
  local exiting = code == "exiting"
  if exiting then
    run:stop() -- the callback may see it before the hold is over
  elseif not reason and code ~= "cancelled" and code ~= "not_held" then
    return nil, message, code
  end
  if reason and reason ~= "released" and spec.on_lost then
    dispatch.callback(spec.client, "on_revoked in " .. spec.where, spec.on_lost, object, run, reason)
    dispatch.settle(spec.client)
  end
  if not run._stopped and code ~= "cancelled" then
    wait_for_job(spec, job, run)
    return true
  end
  local released, why, kind = spec.give_up(object)
  if not released and kind == "unknown" then
    notice(spec, "release_unknown", why)
  end
  return run._stopped and not exiting, message, code
end

local function loop(spec, run)
  while not run._stopped do
    local object, message, code = spec.gain(run._canceller)
    if object then
      local ok
      ok, message, code = hold_once(spec, object, run)
      if not ok then
        return nil, message, code
      end
    elseif not run._stopped then
      if FINAL[code] then
        return nil, message, code
      end
      notice(spec, "retry", message)
      waiting.pause(spec.client, spec.retry_interval or 1, run._canceller)
    end
  end
  return true
end

--- spec: client, where (for messages), gain(canceller) -> object or nil, message, code, give_up(object), on_gained,
--- on_lost, retry_interval, cancel, begin(run) -> finish function (both optional). True once stopped; nil, message,
--- code when it cannot go on; an error of on_gained is raised.
function keep.loop(spec)
  local run = setmetatable({ _stopped = false, _canceller = cancel.new() }, Run)
  local cancelled = false
  local function outer()
    cancelled = true
    run:stop()
  end
  if spec.cancel then
    spec.cancel:add_hook(outer)
  end
  local finish = spec.begin and spec.begin(run)
  local ok, message, code = loop(spec, run)
  if spec.cancel then
    spec.cancel:remove_hook(outer)
  end
  run:stop()
  if finish then
    finish()
  end
  if run._failure then
    error(run._failure[1], 0)
  elseif cancelled then
    return nil, cancel.MESSAGE, "cancelled"
  end
  return ok, message, code
end

return keep
