-- dsync.lua: distributed locks and leader election. `local dsync = require "dsync"`.
--
-- Only the doors: clients are made in dsync/client.lua, coroutines run in dsync/scheduler.lua.

local cancel = require "dsync.cancel"
local check = require "dsync.check"
local client = require "dsync.client"
local core = require "dsync.core"
local json = require "dsync.json"
local scheduler = require "dsync.scheduler"

local io, tostring = io, tostring

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
  scheduler.waiter():wait(seconds)
end

return dsync
