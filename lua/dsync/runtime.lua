-- runtime.lua: how dsync waits in the program it lives in: the adapter interface, and the choice of an adapter.
--
-- An adapter is a table:
--
--   name                     a string
--   can_wait(open_ended)  -> true, or nil, message, code where this place in the program cannot wait (code "phase"), or
--                            not for something that takes as long as others please (code "exiting")
--   waiter()              -> an object for one waiting coroutine:
--                            :wait(timeout)  waits until :wake() was called, at most `timeout` seconds (nil: for
--                                            ever); true when woken (also when :wake() came first), false otherwise
--                            :wake()         from any coroutine; harmless when nobody waits
--                            dsync sets two fields: `interrupt`, where a wait can be ended early, and `open_ended`.
--                            An adapter that ends programs in an orderly way may call waiter:interrupt(message, code);
--                            others ignore them
--   spawn(fn, ...)           runs fn(...) soon, in a coroutine of its own that may wait; fn never raises
--   attach(get_fd, on_readable, core) -> a handle with :close(), or nil, message, code. Calls on_readable() whenever
--                            the descriptor that get_fd() returns is readable, until the handle is closed or
--                            on_readable() returns false. get_fd() may answer nil, message, code. The descriptor
--                            belongs to the client and is closed after handle:close(). Clients attach and close
--                            often: keep it cheap. `core` is the client as dsync.core knows it
--   now()                 -> seconds on a monotonic clock that never goes back
--
-- and may have
--
--   parks()               -> false where a wait should block in the core instead of using a waiter. Absent: always true
--   settle()                 called after callbacks were spawned: runs them at once if this place allows it
--   handle:follow()          called when something else begins to wait while a handle is open: a program with several
--                            loops may be in another one now
--   can_open()            -> true, or nil, message, code where no client can be opened
--   opened(client)           called with every new client of this adapter
--
-- All waiting is done in Lua: an adapter's wait() may yield, and no C function is ever between it and the coroutine.

local errors = require "dsync.errors"
local scheduler = require "dsync.scheduler"

local ipairs, package, pcall, require = ipairs, package, pcall, require
local tostring, type = tostring, type

local runtime = {}

local REQUIRED = { "can_wait", "waiter", "spawn", "attach", "now" }

local function check_adapter(call, adapter)
  if type(adapter.name) ~= "string" then
    errors.raise(call .. ': option "runtime": an adapter needs a name')
  end
  for _, method in ipairs(REQUIRED) do
    if type(adapter[method]) ~= "function" then
      errors.raise(call .. ': option "runtime": the adapter "' .. adapter.name .. '" has no function ' .. method)
    end
  end
  return adapter
end

-- Modules are asked only when the program has loaded them already.
local function is_running(module, question)
  local loaded = package.loaded[module]
  local answer = type(loaded) == "table" and loaded[question]
  if type(answer) == "function" then
    answer = answer()
  end
  return answer and true or false
end

-- The event loop that this very code runs in.
local function surrounding()
  local ngx = package.loaded.ngx -- the global is hidden from modules that a request loads
  if type(ngx) == "table" and ngx.get_phase and ngx.timer then
    return "ngx"
  elseif scheduler.in_task() then
    return "plain"
  elseif is_running("cqueues", "running") then
    return "cqueues"
  elseif is_running("luv", "loop_mode") then
    return "luv"
  elseif is_running("copas", "running") then
    return "copas"
  end
  return "plain"
end

--- The adapter for the option `runtime`: nil or "auto", the name of a module dsync.runtime.<name>, or an adapter.
function runtime.choose(call, wanted)
  if type(wanted) == "table" then
    return check_adapter(call, wanted)
  elseif wanted == nil or wanted == "auto" then
    wanted = surrounding()
  elseif not wanted:find("^[%w_]+$") then
    errors.raise(call .. ': option "runtime": "' .. wanted .. '" is no name of an adapter')
  end
  local ok, adapter = pcall(require, "dsync.runtime." .. wanted)
  if not ok then
    errors.raise(call .. ': option "runtime": no adapter "' .. wanted .. '" (there are "plain", "cqueues", "luv", '
      .. '"copas" and "ngx"): ' .. tostring(adapter):match("^[^\n]*"))
  end
  return check_adapter(call, adapter)
end

return runtime
