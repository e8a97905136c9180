-- runtime.lua: how dsync waits in the program it lives in: the adapter interface, and the choice of an adapter.
--
-- An adapter is a table:
--
--   name                     a string
--   can_wait()            -> true, or nil, message, code where this place in the program cannot wait (code "phase")
--   waiter()              -> an object for one waiting coroutine:
--                            :wait(timeout)  waits until :wake() was called, at most `timeout` seconds (nil: for
--                                            ever); true when woken (also when :wake() came first), false otherwise
--                            :wake()         from any coroutine; harmless when nobody waits
--                            dsync sets the field `interrupt` to a function where a wait can be ended early; an
--                            adapter that ends programs in an orderly way may call it (or ignore it)
--   spawn(fn, ...)           runs fn(...) soon, in a coroutine of its own that may wait; fn never raises
--   attach(get_fd, on_readable) -> a handle with :close(), or nil, message, code. Calls on_readable() whenever the
--                            descriptor that get_fd() returns is readable, until the handle is closed or
--                            on_readable() returns false. get_fd() may answer nil, message, code. The descriptor
--                            belongs to the client and is closed after handle:close(). Clients attach and close
--                            often: keep it cheap
--   now()                 -> seconds on a monotonic clock
--
-- and may have
--
--   parks()               -> false where a wait should block in the core instead of using a waiter. Absent: always true
--   settle()                 called after callbacks were spawned: runs them at once if this place allows it
--
-- All waiting is done in Lua: an adapter's wait() may yield, and no C function is ever between it and the coroutine.

local errors = require "dsync.errors"

local ipairs, pcall, require, type = ipairs, pcall, require, type

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

--- The adapter for the option `runtime`: nil or "auto", the name of a module dsync.runtime.<name>, or an adapter.
function runtime.choose(call, wanted)
  if type(wanted) == "table" then
    return check_adapter(call, wanted)
  elseif wanted == nil or wanted == "auto" then
    return require "dsync.runtime.plain"
  end
  local ok, adapter = pcall(require, "dsync.runtime." .. wanted)
  if not ok or not wanted:find("^[%w_]+$") then
    errors.raise(call .. ': option "runtime": there is no adapter "' .. wanted .. '" (there is "plain")')
  end
  return adapter
end

return runtime
