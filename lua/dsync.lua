-- dsync.lua: distributed locks and leader election. `local dsync = require "dsync"`.
--
-- Only the doors: clients are made in dsync/client.lua, coroutines run in dsync/scheduler.lua.

local cancel = require "dsync.cancel"
local check = require "dsync.check"
local client = require "dsync.client"
local core = require "dsync.core"
local errors = require "dsync.errors"
local guard = require "dsync.guard"
local json = require "dsync.json"
local scheduler = require "dsync.scheduler"

local io, tostring, type = io, tostring, type

local dsync = { version = core.version, _VERSION = "dsync " .. core.version }

--- Opens a client: dsync.open([url [, options]]) or dsync.open(options). No I/O. nil, message, code on bad values.
dsync.open = client.open

--- A canceller, to be passed as `cancel = c` to calls that wait; c:cancel() ends them.
dsync.canceller = cancel.new

--- Stands for JSON's null in tables read from other programs' values.
dsync.null = json.null

--- Runs fn(...) in a coroutine in which calls of dsync wait without keeping others from running, until fn and
--- everything spawned meanwhile has ended. Returns fn's results; raises its error, or a spawned function's, with its
--- traceback.
function dsync.run(fn, ...)
  check.callable("run", "fn", fn)
  return scheduler.run(fn, ...)
end

local function report(task)
  if task.failure then
    io.stderr:write("dsync: error in a spawned function: ", tostring(task.failure[1]), "\n")
  end
end

--- Runs fn(...) in another coroutine: within dsync.run, or else whenever the program waits in a call of dsync.
function dsync.spawn(fn, ...)
  check.callable("spawn", "fn", fn)
  scheduler.spawn(scheduler.running() and scheduler.ended_in_run or report, fn, ...)
end

--- Waits; other coroutines of dsync.run go on meanwhile.
function dsync.sleep(seconds)
  if seconds == nil then
    seconds = 0
  end
  check.seconds("sleep", "seconds", seconds)
  local waiter = scheduler.waiter()
  local function stop()
    waiter:wake()
  end
  local guarded = guard.waits(stop)
  waiter:wait(seconds)
  guard.waited(guarded, stop)
end

--- Whether an error that was caught says that a lock was lost; and then the reason, and the lock: what lock:guard()
--- raises inside its function, and lock:check().
dsync.is_lost = errors.is_lost

--- Waits until a descriptor (a number) is readable, at most `seconds` (nil: for ever); other coroutines of dsync.run go
--- on meanwhile. Whether it is. For plain Lua: a program with an event loop asks that loop.
function dsync.readable(fd, seconds)
  if type(fd) ~= "number" or not (fd >= 0 and fd < 2 ^ 31 and fd % 1 == 0) then
    errors.argument("readable", "fd", "a descriptor's number", fd)
  end
  check.seconds("readable", "seconds", seconds)
  local waiter = scheduler.waiter()
  local handle = scheduler.attach(fd, function()
    waiter:wake()
    return false
  end)
  local function stop()
    waiter:wake()
  end
  local guarded = guard.waits(stop)
  local is_readable = waiter:wait(seconds)
  guard.waited(guarded, stop)
  handle.close()
  return is_readable
end

--- The signal by which guards interrupt busy functions: a number; false for none; nil to choose one that nobody uses
--- (SIGURG, else a real-time signal). True, or nil, message, "config" when the program uses that signal itself.
function dsync.guard_signal(signal)
  if signal ~= nil and signal ~= false and type(signal) ~= "number" then
    errors.argument("guard_signal", "signal", "a number, false or nil", signal)
  end
  return core.guard_signal(signal)
end

return dsync
